// What waiting costs in memory: tasks, connections, and how much of a stack the library itself uses. Labels say what
// each is measured against; see bench.py.
//
// Resident bytes are the kernel's count of pages that were touched. Its own tables for them are counted apart. What it
// keeps for a socket is not in there: a connection's buffers are its, and the same for every server.
#include <array>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <benchmark/benchmark.h>
#include <malloc.h>

#include <roving/roving.hpp>

#include "perf/plain_clients.hpp"
#include "perf/resident_memory.hpp"
#include "scheduler/fiber.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace {

using namespace std::chrono_literals;

// --- tasks -----------------------------------------------------------------------------------------------------------

// A process has vm.max_map_count of them at most, 65,530 by default.
double mappings() {
  std::ifstream file{"/proc/self/maps"};
  double lines = 0;
  for (std::string line; std::getline(file, line);) ++lines;
  return lines;
}

double available_bytes() {
  std::ifstream file{"/proc/meminfo"};
  for (std::string word; file >> word;) {
    double kilobytes = 0;
    if (word == "MemAvailable:" && file >> kilobytes) return kilobytes * 1024;
  }
  throw std::runtime_error{"there is no MemAvailable in /proc/meminfo"};
}

// Guards: resident bytes of a task that waits, its stack included, and of one that has not run yet; that the kernel's
// limit on mappings is far, a million of them or not. Where the kernel can't guard a stack without a mapping of its own
// (before Linux 6.13), it is met, and the error says so.
// Says nothing of: tasks that went deep; the kernel's page tables, which are counted on their own.
void memory_of_tasks(benchmark::State& state) {
  const auto count = static_cast<std::size_t>(state.range(0));
  constexpr double generous_bytes = 8192;
  if (available_bytes() < generous_bytes * static_cast<double>(count))
    return state.SkipWithError("there is not so much memory here");
  for (auto _ : state) {
    try {
      ::malloc_trim(0);  // what an earlier benchmark left
      roving::run({.shards = 1}, [&] {
        std::vector<roving::task<void>> tasks;
        tasks.reserve(count);
        for (std::size_t i = 0; i < count; ++i) tasks.emplace_back();  // touches the memory of the handles
        roving::event never;
        const double before = roving_perf::resident_bytes();
        const double tables_before = roving_perf::page_table_bytes();
        const double mappings_before = mappings();
        for (auto& each : tasks) each = roving::spawn([&] { never.wait(); });
        const double spawned = roving_perf::resident_bytes();
        for (int idle_turns = 0; idle_turns < 100;) {  // all have begun; those that got no stack have ended
          const std::size_t waiting = never.waiting();
          roving::yield();
          idle_turns = never.waiting() == waiting ? idle_turns + 1 : 0;
        }
        const double parked = roving_perf::resident_bytes();
        const auto per_task = [&](double bytes) { return benchmark::Counter(bytes / static_cast<double>(count)); };
        state.counters["unstarted_bytes"] = per_task(spawned - before);
        state.counters["parked_bytes"] = per_task(parked - before);
        state.counters["page_table_bytes"] = per_task(roving_perf::page_table_bytes() - tables_before);
        state.counters["mappings"] = mappings() - mappings_before;
        never.set();
        for (auto& each : tasks) each.get();
      });
    } catch (const std::exception& error) {
      state.SkipWithError(error.what());
    }
  }
  state.SetLabel("parked_bytes<=4608 parked_bytes/4096 unstarted_bytes<=192 mappings<=10000");
}
BENCHMARK(memory_of_tasks)
    ->ArgName("tasks")
    ->Arg(100'000)
    ->Arg(1'000'000)
    ->Iterations(1)
    ->Unit(benchmark::kMillisecond);

// --- connections -----------------------------------------------------------------------------------------------------

// What raw epoll keeps for one: its buffer and some words (limit_echo.cpp).
constexpr int raw_epoll_bytes = 4096 + 32;

template <std::size_t buffer_bytes>
void answer(roving::tcp_stream stream, std::size_t& answered, std::size_t wanted, roving::event& all_answered) {
  std::array<char, buffer_bytes> buffer;
  std::error_code error;
  while (const std::size_t bytes = stream.read_some(buffer, error)) {
    stream.write_all({buffer.data(), bytes}, error);
    if (error) return;
    if (++answered == wanted) all_answered.set();
  }
}

// Guards: resident bytes of a connection that has been answered once and is silent now: its task, stack and descriptor.
// Says nothing of: what its handler keeps of its own, but for a buffer of that size on its stack.
template <std::size_t buffer_bytes>
void memory_of_connections(benchmark::State& state) {
  roving_perf::allow_many_descriptors();
  const auto count = static_cast<std::size_t>(state.range(0));
  for (auto _ : state) {
    ::malloc_trim(0);  // what an earlier benchmark left
    roving::run({.shards = 1}, [&] {
      roving::tcp_listener listener{{"127.0.0.1", 0}};
      std::size_t answered = 0;
      roving::event all_answered;
      std::vector<roving::task<void>> tasks;
      tasks.reserve(count);
      {
        roving_perf::plain_clients clients{count, listener.local_endpoint()};
        const double before = roving_perf::resident_bytes();
        for (std::size_t i = 0; i < count; ++i)
          tasks.push_back(roving::spawn([&, stream = listener.accept()]() mutable {
            answer<buffer_bytes>(std::move(stream), answered, count, all_answered);
          }));
        roving::yield();
        clients.ask_all();
        all_answered.wait();
        clients.hear_all();
        state.counters["connection_bytes"] = (roving_perf::resident_bytes() - before) / static_cast<double>(count);
      }
      for (auto& each : tasks) each.get();
    });
  }
  state.SetLabel("connection_bytes/" + std::to_string(raw_epoll_bytes));
}
void connection_with_buffer_of_4096(benchmark::State& state) { memory_of_connections<4096>(state); }
BENCHMARK(connection_with_buffer_of_4096)->ArgName("connections")->Arg(4000)->Iterations(1);
void connection_with_buffer_of_512(benchmark::State& state) { memory_of_connections<512>(state); }
BENCHMARK(connection_with_buffer_of_512)->ArgName("connections")->Arg(4000)->Iterations(1);

// --- stacks ----------------------------------------------------------------------------------------------------------

constexpr std::byte untouched{0xa5};

// Writes over all of this task's stack below its caller, and says where that begins.
[[gnu::noinline]] std::byte* paint_stack() noexcept {
  const roving::detail::fiber* const on =
      roving::detail::this_shard()->current()->runs_on.load(std::memory_order_relaxed);
  constexpr std::ptrdiff_t own_frame_bytes = 256;  // more than it has; less deep is not told
  auto* const end = static_cast<std::byte*>(__builtin_frame_address(0)) - own_frame_bytes;
  for (volatile std::byte* at = on->memory.limit; at != end; ++at) *at = untouched;
  return on->memory.limit;
}

// Guards: how deep the library's own calls go, from the top of a task's stack, the task's body included.
// Says nothing of: what users call.
void depth(benchmark::State& state, void (*call)()) {
  double deepest_bytes = 0;
  for (auto _ : state) {
    roving::run({.shards = 1}, [&] {
      roving::spawn([&] {
        const std::byte* at = paint_stack();
        call();
        while (*at == untouched) ++at;
        const roving::detail::fiber* const on =
            roving::detail::this_shard()->current()->runs_on.load(std::memory_order_relaxed);
        deepest_bytes = static_cast<double>(on->memory.top - at);
      }).get();
    });
  }
  state.counters["deepest_bytes"] = deepest_bytes;
}

void exchange_bytes() {
  roving::tcp_listener listener{{"127.0.0.1", 0}};
  const roving::task<void> other = roving::spawn([&] {
    roving::tcp_stream stream = listener.accept();
    stream.write_all(std::string_view{"hello"});
  });
  roving::tcp_stream stream = roving::tcp_stream::connect(listener.local_endpoint());
  std::array<char, 16> buffer;
  while (stream.read_some(buffer) != 0) {
  }
  other.join();
}

const std::pair<const char*, void (*)()> calls[] = {
    {"depth_of_nothing", [] {}},
    {"depth_of_yield", [] { roving::yield(); }},
    {"depth_of_sleep", [] { roving::sleep_for(1us); }},
    {"depth_of_spawn_and_get", [] { roving::spawn([] {}).get(); }},
    {"depth_of_group",
     [] { roving::with_task_group([](roving::task_group& group) { group.spawn([] { roving::yield(); }); }); }},
    {"depth_of_timeout",
     [] {
       try {
         roving::with_timeout(1us, [] { roving::event{}.wait(); });
       } catch (const roving::timeout_error&) {
       }
     }},
    {"depth_of_connection", exchange_bytes},
    {"depth_of_blocking", [] { roving::blocking([] {}); }},
    {"depth_of_printf_double",
     [] {
       std::array<char, 64> text;
       benchmark::DoNotOptimize(std::snprintf(text.data(), text.size(), "%.3f", 1e10));
     }},
};

void add_depths() {
  for (const auto& [name, call] : calls)
    benchmark::RegisterBenchmark(name, [call = call](benchmark::State& state) { depth(state, call); })->Iterations(1);
}

}  // namespace

int main(int count, char** arguments) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 1;
  add_depths();
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}
