// What ./dev gates counts: each operation so many times, alone on one thread, the same way each time.
//
//     gates OPERATION COUNT     prints totals of this process as JSON
//     gates --about             what it was compiled with
//
// gates.py runs each operation with a count and with twice that, under callgrind or strace; what it costs once is the
// difference, so that starting and stopping cancel out.
//
// Instructions are to be the same in each run, so the shard's clock is one that counts how often it was read: the
// poller is then asked after so many tasks and never after so much time. What depends on time by its nature (shards
// that sleep) has the real clock, and its calls are counted, not its instructions.
#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/uio.h>
#include <unistd.h>
#include <boost/version.hpp>

#include <roving/roving.hpp>

#include "perf/counted_allocations.hpp"
#include "perf/hops.hpp"
#include "perf/plain_clients.hpp"
#include "perf/resident_memory.hpp"
#include "runtime/runtime_access.hpp"
#include "scheduler/clock.hpp"

#if __has_include(<gnu/libc-version.h>)
#  include <gnu/libc-version.h>
#endif

namespace {

using namespace std::chrono_literals;
using roving_perf::plain_clients;

/// A name and a total; what is printed.
using totals = std::vector<std::pair<const char*, double>>;

class counting_clock final : public roving::detail::clock_source {
 public:
  roving::time_point now() noexcept override { return start_ + roving::duration{++reads_}; }

 private:
  roving::time_point start_ = roving::detail::system_clock_source().now();
  roving::duration::rep reads_ = 0;  // one thread has it
};

template <class Program>
void on_one_shard(Program program) {
  counting_clock clock;
  roving::detail::scheduler_options chosen = roving::detail::checked_options({.shards = 1, .handle_sigint = false});
  chosen.clock = &clock;
  roving::runtime runtime = roving::detail::runtime_access::make(std::move(chosen));
  runtime.run(program);
}

template <class Program>
void on_one_shard_roving(Program program) {
  on_one_shard([&] { roving::spawn(roving::anywhere, program).get(); });
}

template <class Once>
void repeat(std::uint64_t count, Once once) {
  for (; count != 0; --count) once();
}

// --- tasks -----------------------------------------------------------------------------------------------------------

// Two tasks, `count` yields in all.
void yield_to_and_fro(std::uint64_t count, roving::placement where) {
  on_one_shard([&] {
    const auto half = [&] { repeat(count / 2, [] { roving::yield(); }); };
    const roving::task<void> first = roving::spawn(where, half);
    const roving::task<void> second = roving::spawn(where, half);
    first.join();
    second.join();
  });
}

void yield_pinned(std::uint64_t count, totals&) { yield_to_and_fro(count, roving::here); }
void yield_roving(std::uint64_t count, totals&) { yield_to_and_fro(count, roving::anywhere); }

void spawn_get_pinned(std::uint64_t count, totals&) {
  on_one_shard([&] { repeat(count, [] { roving::spawn([] {}).get(); }); });
}

void spawn_get_roving(std::uint64_t count, totals&) {
  on_one_shard_roving([&] { repeat(count, [] { roving::spawn([] {}).get(); }); });
}

void spawn_1000_then_join(std::uint64_t count) {
  std::vector<roving::task<void>> tasks;
  tasks.reserve(1000);
  repeat(count / 1000, [&] {
    for (int i = 0; i < 1000; ++i) tasks.push_back(roving::spawn([] {}));
    for (auto& each : tasks) each.get();
    tasks.clear();
  });
}

void spawn_1000_pinned(std::uint64_t count, totals&) {
  on_one_shard([&] { spawn_1000_then_join(count); });
}

void spawn_1000_roving(std::uint64_t count, totals&) {
  on_one_shard_roving([&] { spawn_1000_then_join(count); });
}

// A child for one of the two calls, the other one by the caller.
std::uint64_t fib(std::uint64_t n) {
  if (n < 2) return n;
  roving::task<std::uint64_t> left = roving::spawn([n] { return fib(n - 1); });
  const std::uint64_t right = fib(n - 2);
  return left.get() + right;
}

void fork_join(std::uint64_t count, totals&) {
  constexpr std::uint64_t spawns_of_fib_10 = 88;
  on_one_shard_roving([&] { repeat(count / spawns_of_fib_10, [] { static_cast<void>(fib(10)); }); });
}

void group_of_10_roving(std::uint64_t count, totals&) {
  on_one_shard_roving([&] {
    repeat(count / 10,
           [] { roving::with_task_group([](roving::task_group& group) { repeat(10, [&] { group.spawn([] {}); }); }); });
  });
}

void gather_two(std::uint64_t count, totals&) {
  on_one_shard([&] { repeat(count, [] { static_cast<void>(roving::gather([] { return 1; }, [] { return 2; })); }); });
}

void cancel_waiting(std::uint64_t count, totals&) {
  on_one_shard([&] {
    roving::event never;
    repeat(count, [&] {
      const roving::task<void> waits = roving::spawn([&] { never.wait(); });
      roving::yield();
      waits.cancel();
      waits.join();
    });
  });
}

void read_context_var(std::uint64_t count, totals&) {
  on_one_shard([&] {
    roving::context_var<int> number{1};
    number.set(2);
    repeat(count, [&] { static_cast<void>(number.get()); });
  });
}

// --- handing over ----------------------------------------------------------------------------------------------------

template <class Bell>
void hop(std::uint64_t count, totals&) {
  on_one_shard([&] { roving_perf::hop_to_and_fro<Bell>(count); });
}

void queue_put_get(std::uint64_t count, totals&) {
  on_one_shard([&] {
    roving::queue<int> items;
    repeat(count, [&] {
      items.put(1);
      static_cast<void>(items.get());
    });
  });
}

void mutex_lock_unlock(std::uint64_t count, totals&) {
  on_one_shard([&] {
    roving::mutex mutex;
    repeat(count, [&] {
      mutex.lock();
      mutex.unlock();
    });
  });
}

void post(std::uint64_t count, totals&) {
  on_one_shard([&] {
    repeat(count / 100, [] {
      roving::event called;
      repeat(99, [] { roving::post([] {}); });
      roving::post([&] { called.set(); });
      called.wait();
    });
  });
}

// --- timers ----------------------------------------------------------------------------------------------------------

void timer_set_cancel(std::uint64_t count, totals&) {
  on_one_shard([&] {
    const roving::time_point deadline = roving::now() + 1h;
    repeat(count, [&] { roving::post_at(deadline, [] {}).cancel(); });
  });
}

void deadline_scope(std::uint64_t count, totals&) {
  on_one_shard([&] {
    const roving::time_point deadline = roving::now() + 1h;
    repeat(count, [&] { roving::with_deadline(deadline, [] {}); });
  });
}

// --- echo ------------------------------------------------------------------------------------------------------------

struct echo_server {
  roving::tcp_listener listener{{"127.0.0.1", 0}};
  std::size_t connections;
  std::size_t answered = 0;  // in this round
  roving::event all_answered;

  explicit echo_server(std::size_t count) : connections{count} {}

  void answer(roving::tcp_stream stream) {
    std::array<char, 4096> buffer;
    std::error_code error;
    while (const std::size_t bytes = stream.read_some(buffer, error)) {
      stream.write_all({buffer.data(), bytes}, error);
      if (error) return;
      if (++answered == connections) all_answered.set();
    }
  }

  // All that have connected, each with a task of its own, which waits for its first request when this returns.
  std::vector<roving::task<void>> accept_all() {
    std::vector<roving::task<void>> tasks;
    for (std::size_t i = 0; i < connections; ++i)
      tasks.push_back(roving::spawn([this, stream = listener.accept()]() mutable { answer(std::move(stream)); }));
    roving::yield();
    return tasks;
  }
};

void echo(std::uint64_t count, std::size_t connections) {
  on_one_shard([&] {
    echo_server server{connections};
    std::vector<roving::task<void>> tasks;
    {
      plain_clients clients{connections, server.listener.local_endpoint()};
      tasks = server.accept_all();
      repeat(count / connections, [&] {
        clients.ask_all();
        server.all_answered.wait();
        server.all_answered.clear();
        server.answered = 0;
        clients.hear_all();
      });
    }
    for (auto& each : tasks) each.get();
  });
}

void echo_100(std::uint64_t count, totals&) { echo(count, 100); }
void echo_1(std::uint64_t count, totals&) { echo(count, 1); }

// --- memory ----------------------------------------------------------------------------------------------------------

// Resident bytes when `count` tasks are there, less those before; first unstarted, then waiting.
void memory_of_tasks(std::uint64_t count, totals& found) {
  on_one_shard([&] {
    std::vector<roving::task<void>> tasks;
    tasks.reserve(count);
    repeat(count, [&] { tasks.emplace_back(); });  // touches the memory of the handles
    roving::event never;
    const double before = roving_perf::resident_bytes();
    const double tables_before = roving_perf::page_table_bytes();
    for (auto& each : tasks) each = roving::spawn([&] { never.wait(); });
    found.emplace_back("unstarted_bytes", roving_perf::resident_bytes() - before);
    while (never.waiting() != count) roving::yield();
    found.emplace_back("parked_bytes", roving_perf::resident_bytes() - before);
    found.emplace_back("page_table_bytes", roving_perf::page_table_bytes() - tables_before);
    never.set();
    for (auto& each : tasks) each.join();
  });
}

// A connection whose task has answered once and waits. What the kernel keeps for it is not in there.
void memory_of_connections(std::uint64_t count, totals& found) {
  on_one_shard([&] {
    echo_server server{count};
    std::vector<roving::task<void>> tasks;
    {
      plain_clients clients{count, server.listener.local_endpoint()};
      const double before = roving_perf::resident_bytes();
      tasks = server.accept_all();
      clients.ask_all();
      server.all_answered.wait();
      clients.hear_all();
      found.emplace_back("connection_bytes", roving_perf::resident_bytes() - before);
    }
    for (auto& each : tasks) each.get();
  });
}

// --- shards that sleep -----------------------------------------------------------------------------------------------

// `count` posts to a shard that is in the middle of a task.
void post_to_awake(std::uint64_t count, totals&) {
  roving::run({.shards = 2, .handle_sigint = false}, [&] {
    std::atomic<bool> is_there{false};
    std::atomic<bool> all_posted{false};
    const roving::task<void> busy = roving::spawn(roving::on_shard(1), [&] {
      is_there.store(true);
      while (!all_posted.load()) {
      }
    });
    while (!is_there.load()) {
    }
    repeat(count, [] { roving::on_shard(1).post([] {}); });
    all_posted.store(true);
    busy.join();
  });
}

// `count` times ten posts to a shard that has had nothing to do for a while.
void post_to_asleep(std::uint64_t count, totals& found) {
  roving::runtime runtime{{.shards = 2, .handle_sigint = false}};
  runtime.run([&] {
    repeat(count, [] {
      roving::sleep_for(1ms);
      repeat(10, [] { roving::on_shard(1).post([] {}); });
    });
  });
  double sleeps = 0;
  for (const roving::shard_counters& shard : runtime.counters()) sleeps += static_cast<double>(shard.sleeps);
  found.emplace_back("sleeps", sleeps);
}

// `count` milliseconds without anything to do, after something was done everywhere. The calls that fail mark where they
// begin and end.
void idle(std::uint64_t count, totals&) {
  roving::run({.shards = 2, .handle_sigint = false}, [&] {
    spawn_1000_then_join(1000);
    roving::spawn(roving::on_shard(1), [] {}).get();
    const auto mark = [] { [[maybe_unused]] const ssize_t none = ::readv(-1, nullptr, 0); };
    mark();
    roving::sleep_for(std::chrono::milliseconds{count});
    mark();
  });
}

// --- the whole -------------------------------------------------------------------------------------------------------

constexpr std::pair<std::string_view, void (*)(std::uint64_t, totals&)> operations[] = {
    {"yield_pinned", yield_pinned},
    {"yield_roving", yield_roving},
    {"spawn_get_pinned", spawn_get_pinned},
    {"spawn_get_roving", spawn_get_roving},
    {"spawn_1000_pinned", spawn_1000_pinned},
    {"spawn_1000_roving", spawn_1000_roving},
    {"fork_join", fork_join},
    {"group_of_10_roving", group_of_10_roving},
    {"gather_two", gather_two},
    {"cancel_waiting", cancel_waiting},
    {"read_context_var", read_context_var},
    {"semaphore_hop", hop<roving_perf::semaphore_bell>},
    {"event_hop", hop<roving_perf::event_bell>},
    {"queue_hop", hop<roving_perf::queue_bell>},
    {"queue_put_get", queue_put_get},
    {"mutex_lock_unlock", mutex_lock_unlock},
    {"post", post},
    {"timer_set_cancel", timer_set_cancel},
    {"deadline_scope", deadline_scope},
    {"echo_100", echo_100},
    {"echo_1", echo_1},
    {"memory_of_tasks", memory_of_tasks},
    {"memory_of_connections", memory_of_connections},
    {"post_to_awake", post_to_awake},
    {"post_to_asleep", post_to_asleep},
    {"idle", idle},
};

void print_about() {
#if defined(__clang__)
  const char* const compiler = "clang " __clang_version__;
#else
  const char* const compiler = "g++ " __VERSION__;
#endif
#if defined(__GLIBC__)
  const char* const libc = ::gnu_get_libc_version();
#else
  const char* const libc = "another";
#endif
  std::printf("{\"compiler\": \"%s\", \"libc\": \"%s\", \"boost\": \"%s\"}\n", compiler, libc, BOOST_LIB_VERSION);
}

}  // namespace

int main(int arguments, char** argument) {
  try {
    if (arguments == 2 && std::string_view{argument[1]} == "--about") {
      print_about();
      return 0;
    }
    std::uint64_t count = 0;
    const auto* const found = arguments == 3 ? std::find_if(std::begin(operations), std::end(operations),
                                                            [&](const auto& each) { return each.first == argument[1]; })
                                             : std::end(operations);
    if (found == std::end(operations) ||
        std::from_chars(argument[2], argument[2] + std::strlen(argument[2]), count).ec != std::errc{}) {
      std::fputs("gates OPERATION COUNT\ngates --about\n", stderr);
      return 2;
    }
    roving_perf::allow_many_descriptors();
    totals all;
    found->second(count, all);
    std::printf("{\"allocations\": %llu", static_cast<unsigned long long>(roving_perf::allocations()));
    for (const auto& [name, total] : all) std::printf(", \"%s\": %.0f", name, total);
    std::puts("}");
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "gates: %s\n", error.what());
    return 1;
  }
}
