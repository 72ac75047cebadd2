// Tested: who holds a shard is reported while it does. The report itself ends the stall, so nothing depends on time.
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/sanitizers.hpp"
#include "scheduler/stall_watch.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::Contains;

namespace {

#if defined(__x86_64__) && defined(__linux__)
constexpr bool threads_answer = !roving::detail::thread_sanitizer;
#else
constexpr bool threads_answer = false;
#endif

[[gnu::noinline]] void compute_for_long(const std::atomic<bool>& until) {
  while (!until.load(std::memory_order_relaxed)) {
  }
  asm volatile("");  // no tail call
}

// Takes the first report of a shard, and lets go whoever waits for it.
struct witness {
  explicit witness(unsigned of_shard) noexcept : shard{of_shard} {}
  roving::stall_handler handler() {
    return [this](const roving::stall& what) {
      if (what.shard != shard || came.load()) return;
      first = what;
      came = true;
    };
  }
  unsigned shard;
  roving::stall first;
  std::atomic<bool> came{false};
};

std::vector<int> signals_with_a_handler() {
  std::vector<int> found;
  for (int signal = SIGRTMIN; signal <= SIGRTMAX; ++signal) {
    struct sigaction action {};
    ::sigaction(signal, nullptr, &action);
    if (action.sa_handler != SIG_DFL) found.push_back(signal);
  }
  return found;
}

}  // namespace

TEST_CASE("stall: an idle shard sees that another is held, and by whom", "[runtime][stall]") {
  witness saw{1};
  unsigned line = 0;
  roving::run({.shards = 2, .stall_threshold = 2ms, .on_stall = saw.handler()}, [&] {
    line = __LINE__ + 1;
    roving::spawn(roving::attributes{.placement = roving::on_shard(1), .name = "hog"}, [&] {
      compute_for_long(saw.came);
    }).get();
  });
  CHECK(saw.first.held_for >= 2ms);
  CHECK(saw.first.unreported == 0);
  if (threads_answer) {
    CHECK(saw.first.task == "hog");
    CHECK_THAT(saw.first.site.file, Contains("stall_test.cpp"));
    CHECK(saw.first.site.line == line);
    CHECK_THAT(saw.first.stack, Contains("compute_for_long"));
  }
}

// 20 looks of half a millisecond in which nobody runs, and nobody watches any more.
TEST_CASE("stall: it is seen after all have slept for long too", "[runtime][stall]") {
  const bool run_anew = GENERATE(false, true);
  witness saw{0};
  roving::runtime sleepy{{.shards = 2, .stall_threshold = 2ms, .on_stall = saw.handler()}};
  if (run_anew) std::this_thread::sleep_for(50ms);  // nobody runs it
  sleepy.run([&] {
    if (!run_anew) roving::sleep_for(50ms);
    compute_for_long(saw.came);
  });
  if (threads_answer) CHECK(saw.first.task == "Task-1");
}

TEST_CASE("stall: a watchdog sees it where no shard is idle", "[runtime][stall]") {
  const unsigned shards = GENERATE(1u, 2u);
  witness saw{0};
  std::atomic<bool> other_came{shards == 1};
  const auto handler = [&, first = saw.handler()](const roving::stall& what) {
    if (what.shard == 1) other_came = true;
    first(what);
  };
  roving::run({.shards = shards, .stall_threshold = 2ms, .watchdog = true, .on_stall = handler}, [&] {
    roving::task<void> other;
    if (shards == 2) other = roving::spawn(roving::on_shard(1), [&] { compute_for_long(other_came); });
    compute_for_long(saw.came);
    if (other.valid()) other.get();
  });
  if (threads_answer) {
    CHECK(saw.first.task == "Task-1");
    CHECK_THAT(saw.first.stack, Contains("compute_for_long"));
  }
}

TEST_CASE("stall: a callback that holds its shard is reported too", "[runtime][stall]") {
  witness saw{0};
  roving::run({.shards = 1, .stall_threshold = 2ms, .watchdog = true, .on_stall = saw.handler()}, [&] {
    roving::promise<void> ran;
    auto end = ran.get_future();
    roving::post([&] {
      compute_for_long(saw.came);
      ran.set_value();
    });
    end.get();
  });
  if (threads_answer) {
    CHECK(saw.first.task == "callback");
    CHECK_THAT(saw.first.stack, Contains("compute_for_long"));
  }
}

TEST_CASE("stall: who is stuck in a blocking call is seen there, and the call goes on", "[runtime][stall]") {
  int ends[2];
  REQUIRE(::pipe(ends) == 0);
  witness saw{1};
  const auto handler = [&, first = saw.handler()](const roving::stall& what) {
    first(what);
    if (what.shard == 1 && ::write(ends[1], "x", 1) != 1) std::abort();
  };
  ssize_t got = 0;
  int error = 0;
  roving::run({.shards = 2, .stall_threshold = 2ms, .on_stall = handler}, [&] {
    roving::spawn(roving::on_shard(1), [&] {
      char byte = 0;
      got = ::read(ends[0], &byte, 1);
      error = errno;
    }).get();
  });
  CHECK(got == 1);
  CHECK((got == 1 || error != EINTR));
  if (threads_answer) CHECK_THAT(saw.first.stack, Contains("read"));
  ::close(ends[0]);
  ::close(ends[1]);
}

TEST_CASE("stall: where all signals were blocked, it is seen as well", "[runtime][stall]") {
  if (!threads_answer) return;
  sigset_t all;
  sigset_t before;
  ::sigfillset(&all);
  ::pthread_sigmask(SIG_SETMASK, &all, &before);
  ::pthread_sigmask(SIG_SETMASK, nullptr, &all);  // what can be blocked
  witness saw{1};
  roving::run({.shards = 2, .stall_threshold = 2ms, .on_stall = saw.handler()},
              [&] { roving::spawn(roving::on_shard(1), [&] { compute_for_long(saw.came); }).get(); });
  sigset_t after;
  ::pthread_sigmask(SIG_SETMASK, &before, &after);
  CHECK_THAT(saw.first.stack, Contains("compute_for_long"));
  for (int signal = 1; signal <= SIGRTMAX; ++signal)
    CHECK(::sigismember(&after, signal) == ::sigismember(&all, signal));
}

TEST_CASE("stall: a handler that throws is reported as unhandled", "[runtime][stall]") {
  std::atomic<bool> came{false};
  std::mutex lock;
  std::string said;
  roving::run({.shards = 2,
               .on_unhandled =
                   [&](const roving::unhandled& what) {
                     const std::scoped_lock hold{lock};
                     said = what.message;
                     came = true;
                   },
               .stall_threshold = 2ms,
               .on_stall = [](const roving::stall&) { throw std::runtime_error{"no"}; }},
              [&] { roving::spawn(roving::on_shard(1), [&] { compute_for_long(came); }).get(); });
  CHECK(said == "the handler of stalls threw");
}

TEST_CASE("stall: no handler of a signal stays when the last runtime has ended", "[runtime][stall]") {
  const std::vector<int> before = signals_with_a_handler();
  std::vector<int> during;
  std::vector<int> two;
  {
    roving::runtime outer{{.shards = 1}};
    roving::run({.shards = 2}, [&] { during = signals_with_a_handler(); });
    two = signals_with_a_handler();
  }
  CHECK(during.size() == before.size() + (threads_answer ? 1 : 0));
  CHECK(two == during);
  CHECK(signals_with_a_handler() == before);
}

TEST_CASE("stall: a threshold below 0 is refused", "[runtime][stall]") {
  CHECK_THROWS_AS(roving::run({.shards = 1, .stall_threshold = -1ms}, [] {}), std::invalid_argument);
}

TEST_CASE("stall: the watchdog sleeps while all shards do", "[runtime][stall]") {
#if defined(__linux__)
  // How often the thread of that name went to sleep.
  const auto sleeps = []() -> long {
    for (const auto& each : std::filesystem::directory_iterator{"/proc/self/task"}) {
      std::string name;
      std::getline(std::ifstream{each.path() / "comm"}, name);
      if (name != "roving-watchdog") continue;
      std::ifstream status{each.path() / "status"};
      for (std::string word; status >> word;)
        if (word == "voluntary_ctxt_switches:") {
          long count = -1;
          status >> count;
          return count;
        }
    }
    return -1;
  };
  long before = -1;
  long after = -1;
  roving::run({.shards = 2, .stall_threshold = 1ms, .watchdog = true}, [&] {
    while (sleeps() < 1) roving::yield();
    before = sleeps();
    roving::sleep_for(400ms);  // 800 looks, if it looked
    after = sleeps();
  });
  CHECK(before >= 1);
  CHECK(after - before < 200);
#endif
}

TEST_CASE("stall: a slice is overdue when its counter has not moved for the threshold, once", "[runtime][stall]") {
  using roving::detail::slice_gauge;
  const roving::time_point start{1s};
  slice_gauge gauge;
  CHECK_FALSE(gauge.look(7, start, 25ms));
  CHECK_FALSE(gauge.look(7, start + 24ms, 25ms));
  const auto held_for = gauge.look(7, start + 26ms, 25ms);
  REQUIRE(held_for);
  CHECK(*held_for == 26ms);
  CHECK_FALSE(gauge.look(7, start + 60ms, 25ms));  // said already
  CHECK_FALSE(gauge.look(8, start + 61ms, 25ms));  // the next slice
  CHECK_FALSE(gauge.look(8, start + 80ms, 25ms));
  CHECK(gauge.look(8, start + 86ms, 25ms));
  gauge.reset();  // the shard slept
  CHECK_FALSE(gauge.look(8, start + 90ms, 25ms));
  CHECK(gauge.look(8, start + 115ms, 25ms));
}

TEST_CASE("stall: a shard is reported once a second, and told how often it was not", "[runtime][stall]") {
  using roving::detail::report_limit;
  const roving::time_point start{1s};
  report_limit limit{1s};
  CHECK(limit.admit(start) == 0U);
  CHECK_FALSE(limit.admit(start + 1ms));
  CHECK_FALSE(limit.admit(start + 999ms));
  CHECK(limit.admit(start + 1s) == 2U);
  CHECK_FALSE(limit.admit(start + 1500ms));
  CHECK(limit.admit(start + 3s) == 1U);
  CHECK(limit.admit(start + 5s) == 0U);
  limit.take_back(0);  // it came to nothing, so the next may go
  CHECK(limit.admit(start + 5s) == 0U);
}
