// Everything at once, for as long as one likes: HTTP over loopback by Boost.Beast, timers, timeouts, locks, queues,
// work that is stolen, blocking and compute work, failing groups; while clients cancel requests half-way, reset
// connections or vanish, and handlers do so too. Under half of the runtimes the kernel has faults (faulty_calls.hpp):
// some interrupt, find nothing, and take and give less than there is; of others calls fail for want of descriptors or
// memory, or since the connection is gone.
//
//     soak [--minutes N] [--seconds N] [--seed N]
//
// It runs in rounds of a few seconds. Each request has an id of its own, and the ledger knows what becomes of it: at
// the end of a round every id that was answered has been served once, and no other was served but such that its client
// gave up, or was told of an error; of these there are no more than calls that failed. What is shared under locks must
// add up. Then nothing of the round may be left: descriptors, threads and mappings are as many as before, resident
// memory as much as after the first rounds. Every few rounds the runtime is closed and another one made, with other
// options.
//
// Ends with `N passed, M failed`, of rounds.
#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <memory>
#include <mutex>
#include <random>
#include <stdexcept>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include <malloc.h>
#include <unistd.h>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>

#include <roving/asio.hpp>
#include <roving/roving.hpp>

#include "io/poller.hpp"
#include "scheduler/sanitizers.hpp"
#include "tests/faults/faulty_calls.hpp"
#include "tests/faults/seams.hpp"

namespace {

namespace http = boost::beast::http;
using namespace std::chrono_literals;
using stream = roving::asio_stream<roving::tcp_stream>;
using request = http::request<http::string_body>;
using response = http::response<http::string_body>;
using random = std::mt19937;

// --- what becomes of requests ----------------------------------------------------------------------------------------

class ledger {
 public:
  void ask(std::uint64_t id) {
    change(id, [](state& of) { of.was_asked = true; });
  }
  void serve(std::uint64_t id) {
    change(id, [](state& of) { ++of.times_served; });
  }
  void answered(std::uint64_t id) {
    change(id, [](state& of) { of.was_answered = true; });
  }
  void give_up(std::uint64_t id) {
    change(id, [](state& of) { of.was_given_up = true; });
  }

  struct sums {
    std::uint64_t asked = 0, answered = 0, given_up = 0;
    std::uint64_t lost = 0;      // neither answered nor given up
    std::uint64_t doubled = 0;   // served twice
    std::uint64_t unserved = 0;  // answered, and not served
    std::uint64_t unasked = 0;   // served, and nobody asked
  };
  // Of all since the last time.
  sums settle() {
    sums all;
    for (part& each : parts_) {
      const std::lock_guard guard{each.mutex};
      for (const auto& [id, of] : each.states) {
        all.asked += of.was_asked;
        all.answered += of.was_answered;
        all.given_up += of.was_given_up;
        all.lost += !of.was_answered && !of.was_given_up;
        all.doubled += of.times_served > 1;
        all.unserved += of.was_answered && of.times_served == 0;
        all.unasked += !of.was_asked;
      }
      each.states = {};
    }
    return all;
  }

 private:
  struct state {
    bool was_asked = false, was_answered = false, was_given_up = false;
    unsigned times_served = 0;
  };
  struct part {
    std::mutex mutex;  // held for short, and never across a suspension
    std::unordered_map<std::uint64_t, state> states;
  };
  template <class Change>
  void change(std::uint64_t id, Change how) {
    part& of = parts_[id % std::size(parts_)];
    const std::lock_guard guard{of.mutex};
    how(of.states[id]);
  }
  part parts_[16];
};

// --- the server ------------------------------------------------------------------------------------------------------

long fibonacci(unsigned n) {
  if (n < 2) return n;
  auto one = roving::spawn(roving::anywhere, [n] { return fibonacci(n - 1); });
  const long other = fibonacci(n - 2);
  return one.get() + other;
}

struct job {
  std::uint64_t number = 0;
  roving::promise<std::uint64_t> done;
};

// What handlers share, and what it must add up to.
struct shared_state {
  ledger ids;
  roving::mutex lock;
  std::uint64_t under_lock = 0;
  std::atomic<std::uint64_t> locked{0};
  roving::semaphore permits{3};
  std::atomic<int> with_permit{0};
  std::atomic<std::uint64_t> wrong{0};
  roving::queue<job> jobs{4};
  std::atomic<std::uint64_t> served{0};
};

constexpr std::string_view kinds[] = {"echo",  "sleep",   "blocking", "compute", "steal", "lock",
                                      "queue", "permits", "timeout",  "group",   "drop"};

// Returns what is answered; false: nothing is, and the connection is reset.
bool handle(shared_state& shared, std::string_view kind, std::uint64_t number, std::string& answer) {
  answer = std::to_string(number);
  if (kind == "sleep") {
    roving::sleep_for(std::chrono::microseconds{number % 1500});
  } else if (kind == "blocking") {
    answer = roving::blocking([number] {
      ::usleep(static_cast<useconds_t>(number % 300));
      return std::to_string(number);
    });
  } else if (kind == "compute") {
    answer = std::to_string(roving::compute([number] {
      std::uint64_t sum = 0;
      for (std::uint64_t i = 0; i < 2000; ++i) sum += i ^ number;
      for (std::uint64_t i = 0; i < 2000; ++i) sum -= i ^ number;
      return sum + number;
    }));
  } else if (kind == "steal") {
    if (fibonacci(8) != 21) ++shared.wrong;
  } else if (kind == "lock") {
    const std::scoped_lock held{shared.lock};
    const std::uint64_t before = shared.under_lock;
    roving::yield();
    if (shared.under_lock != before) ++shared.wrong;
    shared.under_lock = before + 1;
    ++shared.locked;
  } else if (kind == "queue") {
    job mine{number, {}};
    auto done = mine.done.get_future();
    shared.jobs.put(std::move(mine));
    answer = std::to_string(done.get());
  } else if (kind == "permits") {
    shared.permits.acquire();
    struct release {
      shared_state& of;
      ~release() {
        --of.with_permit;
        of.permits.release();
      }
    } held{shared};
    if (++shared.with_permit > 3) ++shared.wrong;
    roving::sleep_for(std::chrono::microseconds{number % 100});
  } else if (kind == "timeout") {
    try {
      roving::with_timeout(std::chrono::microseconds{number % 200},
                           [&] { roving::sleep_for(std::chrono::microseconds{number % 300}); });
    } catch (const roving::timeout_error&) {
    }
  } else if (kind == "group") {
    try {
      roving::with_task_group([&](roving::task_group& group) {
        group.spawn([] { roving::sleep_for(1h); });
        group.spawn(roving::anywhere, [] { throw std::runtime_error{"by design"}; });
      });
      ++shared.wrong;
    } catch (const roving::exception_group&) {
    }
  } else if (kind == "drop") {
    return false;
  }
  return true;
}

void serve_connection(shared_state& shared, roving::tcp_stream connection) {
  stream over{std::move(connection)};
  boost::beast::flat_buffer buffer;
  boost::system::error_code error;
  for (;;) {
    request asked;
    http::read(over, buffer, asked, error);
    if (error) return;  // its end, or its client's
    const std::string target{asked.target()};
    const std::size_t slash = target.find('/', 1);
    const std::uint64_t id = std::stoull(target.substr(slash + 1));
    shared.ids.serve(id);
    shared.served.fetch_add(1, std::memory_order_relaxed);
    response answer{http::status::ok, 11};
    if (!handle(shared, std::string_view{target}.substr(1, slash - 1), id, answer.body())) {
      std::error_code ignored;
      over.next_layer().set_linger(0s, ignored);
      return;
    }
    answer.keep_alive(true);
    answer.prepare_payload();
    http::write(over, answer, error);
    if (error) return;
  }
}

// --- clients ---------------------------------------------------------------------------------------------------------

class client {
 public:
  client(shared_state& shared, roving::endpoint server, std::uint64_t number, unsigned seed,
         std::atomic<std::uint64_t>& broken, bool calls_fail)
      : shared_{shared},
        server_{std::move(server)},
        next_id_{number << 40U},
        chance_{seed},
        broken_{broken},
        calls_fail_{calls_fail} {}

  void run(roving::time_point until) {
    while (roving::now() < until) {
      if (!over_) {
        std::error_code error;
        auto connection = roving::tcp_stream::connect(server_, error);
        if (error && calls_fail_) continue;
        if (error) throw std::system_error{error, "soak: connect"};
        over_.emplace(std::move(connection));
      }
      const std::uint64_t id = ++next_id_;
      const std::string_view kind = kinds[chance_() % std::size(kinds)];
      shared_.ids.ask(id);
      if (chance_() % 16 == 0)
        ask_and_give_up(kind, id);
      else
        ask(kind, id);
    }
    over_.reset();
  }

 private:
  void ask(std::string_view kind, std::uint64_t id) {
    request asked{http::verb::get, "/" + std::string{kind} + "/" + std::to_string(id), 11};
    response answer;
    boost::system::error_code error;
    http::write(*over_, asked, error);
    if (!error) http::read(*over_, buffer_, answer, error);
    if (error && kind == "drop") {
      shared_.ids.give_up(id);
      disconnect();
    } else if (error) {
      if (++broken_ <= 10 && !calls_fail_)
        std::fprintf(stderr, "soak: %s: %s\n", asked.target().data(), error.message().c_str());
      if (calls_fail_) shared_.ids.give_up(id);  // it was told
      disconnect();
    } else {
      shared_.ids.answered(id);
      if (answer.body() != std::to_string(id)) ++shared_.wrong;
    }
  }

  // A task of its own asks, and is cancelled at any moment.
  void ask_and_give_up(std::string_view kind, std::uint64_t id) {
    {
      auto asking = roving::spawn(chance_() % 2 == 0 ? roving::anywhere : roving::here, [&] {
        http::write(*over_, request{http::verb::get, "/" + std::string{kind} + "/" + std::to_string(id), 11});
        response answer;
        http::read(*over_, buffer_, answer);
      });
      roving::sleep_for(std::chrono::microseconds{chance_() % 300});
      asking.cancel();
      asking.join();
      if (!asking.cancelled()) (void)asking.exception();  // it was faster, or dropped: that is as good
    }
    shared_.ids.give_up(id);
    std::error_code ignored;
    if (chance_() % 2 == 0) over_->next_layer().set_linger(0s, ignored);
    disconnect();
  }

  void disconnect() {
    over_.reset();
    buffer_.clear();
  }

  shared_state& shared_;
  roving::endpoint server_;
  std::uint64_t next_id_;
  random chance_;
  std::atomic<std::uint64_t>& broken_;
  const bool calls_fail_;
  std::optional<stream> over_;
  boost::beast::flat_buffer buffer_;
};

// --- what is left ----------------------------------------------------------------------------------------------------

struct footprint {
  std::size_t descriptors = 0, threads = 0, mappings = 0, resident_kib = 0;
};

std::size_t entries_of(const char* folder) {
  return static_cast<std::size_t>(
      std::distance(std::filesystem::directory_iterator{folder}, std::filesystem::directory_iterator{}));
}

// But for the one that reports stalls: it begins with the first of them, whenever that is.
std::size_t threads_of_ours() {
  std::size_t count = 0;
  for (const auto& each : std::filesystem::directory_iterator{"/proc/self/task"}) {
    std::ifstream file{each.path() / "comm"};
    std::string name;
    if (std::getline(file, name) && name != "roving-watchdog") ++count;
  }
  return count;
}

footprint measure() {
  ::malloc_trim(0);
  footprint now;
  now.descriptors = entries_of("/proc/self/fd");
  now.threads = threads_of_ours();
  std::ifstream maps{"/proc/self/maps"};
  for (std::string line; std::getline(maps, line);) ++now.mappings;
  std::ifstream statm{"/proc/self/statm"};
  std::size_t pages = 0;
  statm >> pages >> pages;
  now.resident_kib = pages * static_cast<std::size_t>(::sysconf(_SC_PAGESIZE)) / 1024;
  return now;
}

// --- rounds ----------------------------------------------------------------------------------------------------------

struct settings {
  std::chrono::seconds length{600};
  unsigned seed = 1;
};

constexpr unsigned rounds_of_a_runtime = 4;
constexpr unsigned warm_up_rounds = 2;  // of the process: what is kept for use again is there then
constexpr auto round_takes = 5s;

struct outcome {
  unsigned passed = 0, failed = 0;
  std::uint64_t requests = 0;
};

class soak {
 public:
  explicit soak(const settings& chosen) : chosen_{chosen}, chance_{chosen.seed}, ends_{roving::now() + chosen.length} {}

  outcome run() {
    while (roving::now() < ends_) with_one_runtime();
    return sum_;
  }

 private:
  void with_one_runtime() {
    roving::options how;
    how.shards = 1 + chance_() % 4;
    how.deque_capacity = std::size_t{2} << chance_() % 8;
    how.blocking_threads_at_most = 1 + chance_() % 8;
    how.blocking_idle_for = 100ms;
    how.seed = chance_();
    how.handle_sigint = false;
    test::faulty_kernel kernel{chance_()};
    const bool has_faults = runtimes_++ % 2 == 0;
    std::printf("%u shards, queues of %zu, %u blocking threads%s\n", *how.shards, how.deque_capacity,
                how.blocking_threads_at_most, has_faults ? ", a kernel with faults" : "");
    roving::runtime runtime = test::make_runtime(how, [&](roving::detail::scheduler_options& seams) {
      if (!has_faults) return;
      seams.make_parker = [&](unsigned) {
        roving::detail::poller_options made;
        made.epoll = &kernel.epoll;
        return roving::detail::make_poller(kernel.calls, made);
      };
    });
    runtime.run([&] {
      for (unsigned i = 0; i < rounds_of_a_runtime && roving::now() < ends_; ++i)
        one_round(kernel, has_faults ? rates_of_round(i) : test::rates{}, i == 0);
    });
    runtime.close();
  }

  // In parts of 1,000 calls.
  static test::rates rates_of_round(unsigned number) {
    test::rates often{.interrupts = 20, .would_block = 20, .short_counts = 50};
    if (number % 2 != 0) often.hard = 1;
    return often;
  }

  void one_round(test::faulty_kernel& kernel, const test::rates& faults, bool is_first_of_runtime) {
    shared_state shared;
    std::atomic<std::uint64_t> broken{0};
    const std::uint64_t failed_before = kernel.plan.failures();
    const std::uint64_t soft_before = kernel.plan.soft();
    {
      std::vector<roving::task<void>> workers;
      for (int i = 0; i < 3; ++i)
        workers.push_back(roving::spawn(roving::anywhere, [&] {
          for (;;) {
            try {
              job next = shared.jobs.get();
              next.done.set_value(next.number);
            } catch (const roving::queue_shut_down&) {
              return;
            }
          }
        }));
      roving::tcp_listener listener{{"127.0.0.1", 0}};
      const roving::endpoint server = listener.local_endpoint();
      auto serving = roving::spawn([&] {
        roving::serve_options how;
        how.handlers = roving::anywhere;
        how.retry_after = 1ms;
        how.on_accept_error = [&](const std::error_code&) {
          if (faults.hard == 0) ++shared.wrong;
        };
        how.on_error = [&](const std::exception_ptr&) { ++shared.wrong; };
        roving::serve(listener, how,
                      [&](roving::tcp_stream connection) { serve_connection(shared, std::move(connection)); });
      });
      const roving::time_point until = std::min(ends_, roving::now() + round_takes);
      constexpr unsigned client_count = 24;
      (void)roving::tcp_stream::connect(server);  // it listens, and its descriptor is registered
      kernel.plan.set(faults);
      {
        std::vector<roving::task<void>> clients;
        for (unsigned i = 0; i < client_count; ++i) {
          const auto where = i % 2 == 0 ? roving::anywhere : roving::on_shard(i / 2 % roving::shard_count());
          clients.push_back(roving::spawn(where, [&, number = ++clients_, seed = static_cast<unsigned>(chance_())] {
            client{shared, server, number, seed, broken, faults.hard != 0}.run(until);
          }));
        }
        for (auto& each : clients) each.get();
      }
      kernel.plan.set({});
      serving.cancel();  // no more connections; those there are end with their clients
      serving.join();
      shared.jobs.shutdown();
      for (auto& each : workers) each.get();
    }
    const std::uint64_t failed = kernel.plan.failures() - failed_before;
    const std::uint64_t soft = kernel.plan.soft() - soft_before;
    if (failed + soft != 0)
      std::printf("%llu calls failed, %llu fell short; %llu requests were told of an error\n",
                  static_cast<unsigned long long>(failed), static_cast<unsigned long long>(soft),
                  static_cast<unsigned long long>(broken.load()));
    judge(shared, faults, failed, broken, is_first_of_runtime);
  }

  void judge(shared_state& shared, const test::rates& faults, std::uint64_t failed_calls, std::uint64_t broken,
             bool is_first_of_runtime) {
    const ledger::sums ids = shared.ids.settle();
    roving::sleep_for(300ms);  // for the threads of blocking(), which leave when they are idle
    const footprint now = measure();
    std::vector<std::string> wrong;
    const auto expect_none = [&](std::uint64_t count, const char* what) {
      if (count != 0) wrong.push_back(std::to_string(count) + ' ' + what);
    };
    expect_none(broken - std::min(broken, failed_calls), "requests whose connection broke and nobody had broken it");
    expect_none(ids.lost - std::min(ids.lost, broken), "requests were lost");
    expect_none((faults.hard != 0) != (failed_calls != 0), "rounds had the wrong faults");
    expect_none(ids.doubled, "requests were served twice");
    expect_none(ids.unserved, "requests were answered and not served");
    expect_none(ids.unasked, "requests were served that nobody sent");
    expect_none(ids.asked == 0, "requests is all that there were");
    expect_none(shared.wrong, "things did not add up");
    expect_none(shared.under_lock != shared.locked, "counts under a lock are wrong");
    if (shared.with_permit != 0) wrong.emplace_back("permits were lost");
    if (is_first_of_runtime) of_runtime_ = now;
    if (++rounds_ == warm_up_rounds) warm_ = now;
    const auto expect_at_most = [&](std::size_t count, std::size_t most, const char* what) {
      if (count > most)
        wrong.push_back(std::to_string(count) + ' ' + what + ", at most " + std::to_string(most) + " were expected");
    };
    expect_at_most(now.descriptors, of_runtime_.descriptors, "descriptors");
    expect_at_most(now.threads, of_runtime_.threads, "threads");
    if (rounds_ > warm_up_rounds && !roving::detail::address_sanitizer && !roving::detail::thread_sanitizer) {
      // Sanitizers keep what was freed. Runtimes of other sizes differ by their stacks and rings.
      expect_at_most(now.mappings, warm_.mappings + warm_.mappings / 2 + 64, "mappings");
      expect_at_most(now.resident_kib, warm_.resident_kib * 3 / 2 + 32 * 1024, "KiB of memory");
    }
    std::printf(
        "round %u: %llu requests, %llu answered, %llu given up; %zu descriptors, %zu threads, %zu mappings, "
        "%zu KiB%s\n",
        rounds_, static_cast<unsigned long long>(ids.asked), static_cast<unsigned long long>(ids.answered),
        static_cast<unsigned long long>(ids.given_up), now.descriptors, now.threads, now.mappings, now.resident_kib,
        wrong.empty() ? "" : "  FAILED");
    for (const std::string& each : wrong) std::printf("  %s\n", each.c_str());
    std::fflush(stdout);
    sum_.requests += ids.asked;
    ++(wrong.empty() ? sum_.passed : sum_.failed);
  }

  const settings chosen_;
  random chance_;
  const roving::time_point ends_;
  outcome sum_;
  unsigned rounds_ = 0;
  unsigned runtimes_ = 0;
  std::uint64_t clients_ = 0;
  footprint warm_;
  footprint of_runtime_;
};

std::optional<settings> read_arguments(int count, char** arguments) {
  settings chosen;
  for (int i = 1; i < count; i += 2) {
    const std::string_view option = arguments[i];
    char* end = nullptr;
    const unsigned long number = i + 1 < count ? std::strtoul(arguments[i + 1], &end, 10) : 0;
    if (number == 0 || *end != '\0' || number > 1'000'000) return std::nullopt;
    if (option == "--minutes")
      chosen.length = std::chrono::minutes{number};
    else if (option == "--seconds")
      chosen.length = std::chrono::seconds{number};
    else if (option == "--seed")
      chosen.seed = static_cast<unsigned>(number);
    else
      return std::nullopt;
  }
  return chosen;
}

}  // namespace

int main(int count, char** arguments) {
  const std::optional<settings> chosen = read_arguments(count, arguments);
  if (!chosen) {
    std::fputs("usage: soak [--minutes N] [--seconds N] [--seed N], numbers from 1 to 1000000\n", stderr);
    return 2;
  }
  ::mallopt(M_ARENA_MAX, 1);  // or each thread that comes and goes may leave one behind
  const footprint before = measure();
  outcome done = soak{*chosen}.run();
  const footprint after = measure();
  std::printf("%llu requests; descriptors before and after: %zu, %zu; threads: %zu, %zu\n",
              static_cast<unsigned long long>(done.requests), before.descriptors, after.descriptors, before.threads,
              after.threads);
  if (after.descriptors != before.descriptors) ++done.failed;
  std::printf("%u passed, %u failed\n", done.passed, done.failed);
  return done.failed != 0 ? 1 : 0;
}
