// Tested: SIGINT. The signals are real: they are sent to this process, or by and to a process that runs one of the
// hidden test cases here.
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <cstdio>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"

using namespace roving_test;
using namespace std::chrono_literals;
using names = std::vector<std::string>;

namespace {

// While it lives, SIGINT is as a process of its own would find it: Catch2's handler is away, be it ignored or not.
class default_sigint {
 public:
  default_sigint() {
    struct sigaction plain {};
    plain.sa_handler = SIG_DFL;
    ::sigaction(SIGINT, &plain, &before_);
  }
  default_sigint(const default_sigint&) = delete;
  default_sigint& operator=(const default_sigint&) = delete;
  ~default_sigint() { ::sigaction(SIGINT, &before_, nullptr); }

 private:
  struct sigaction before_ {};
};

bool is_default_now() {
  struct sigaction now {};
  ::sigaction(SIGINT, nullptr, &now);
  return now.sa_handler == SIG_DFL;
}

void interrupt() { ::kill(::getpid(), SIGINT); }

template <class Function>
std::string end_of_run(const roving::options& chosen, Function main) {
  try {
    roving::run(chosen, main);
  } catch (const roving::interrupted&) {
    return "interrupted";
  } catch (const roving::cancelled&) {
    return "cancelled";
  } catch (const std::exception& error) {
    return error.what();
  }
  return "returned";
}

void say(const char* text) {
  std::fputs(text, stderr);
  std::fflush(stderr);
}

// Said once main has parked. A signal that comes while a fiber runs is handled when ThreadSanitizer sees that fiber
// next, be it in the next century.
void say_from_the_loop(const char* text) {
  roving::post([text] { say(text); });
}

roving::options with_shards(unsigned shards) {
  roving::options chosen;
  chosen.shards = shards;
  return chosen;
}

}  // namespace

TEST_CASE("C123 SIGINT: the first cancels main; what is left is cancelled and joined; run throws interrupted",
          "[interrupt]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const bool from_thread = GENERATE(false, true);
  const default_sigint plain;
  names order;
  std::atomic<int> cleaned{0};
  std::thread sender;
  const std::string end = end_of_run(with_shards(shards), [&] {
    for (unsigned i = 0; i < 8; ++i) {
      auto left = roving::spawn(i % 2 == 0 ? roving::anywhere : roving::on_shard(i % shards), [&] {
        try {
          park();
        } catch (const roving::cancelled&) {
          roving::yield();
          ++cleaned;
          throw;
        }
      });
      wait_until_waiting(left);
      left.detach();
    }
    if (from_thread)
      sender = std::thread{[view = roving::this_task::handle()] {
        while (view.waits_in() == nullptr) std::this_thread::yield();  // every shard may sleep by now
        interrupt();
      }};
    else
      interrupt();
    order.push_back(thrown_by([] { park(); }));
    order.push_back("cancelling " + std::to_string(roving::this_task::cancelling()));
    throw roving::cancelled{};
  });
  if (sender.joinable()) sender.join();
  CHECK(end == "interrupted");
  CHECK(order == names{"cancelled", "cancelling 1"});
  CHECK(cleaned == 8);
  CHECK(is_default_now());
}

TEST_CASE("C123 SIGINT: a main that ends by itself is not reported as interrupted", "[interrupt]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const default_sigint plain;
  const auto run = [&](auto main) { return end_of_run(with_shards(shards), main); };
  CHECK(run([] {
          interrupt();
          static_cast<void>(thrown_by([] { park(); }));
        }) == "returned");
  CHECK(run([] {
          interrupt();
          static_cast<void>(thrown_by([] { park(); }));
          throw error("its own");
        }) == "its own");
  CHECK(run([] {  // somebody else cancelled it as well
          roving::this_task::cancel();
          interrupt();
          while (roving::this_task::cancelling() < 2) static_cast<void>(thrown_by([] { roving::yield(); }));
          throw roving::cancelled{};
        }) == "cancelled");
  CHECK(run([] { roving::this_task::cancel(); }) == "cancelled");
  CHECK(is_default_now());
}

TEST_CASE("C123 SIGINT: each run has its own, and one that came too late for the first is not the second's",
          "[interrupt]") {
  const default_sigint plain;
  roving::runtime all{{.shards = 2}};
  const auto run = [&] {
    try {
      all.run([] {
        interrupt();
        park();
      });
    } catch (const roving::interrupted&) {
      return std::string{"interrupted"};
    }
    return std::string{"returned"};
  };
  CHECK(run() == "interrupted");
  CHECK(run() == "interrupted");
  all.run([] { interrupt(); });  // ends before the loop can deliver it
  CHECK(all.run([] { return thrown_by([] { roving::yield(); }); }) == "nothing");
}

TEST_CASE("C123 SIGINT: it is left alone where somebody handles it, by option, and off the first thread",
          "[interrupt]") {
  const default_sigint plain;
  static std::atomic<int> handled{0};
  struct sigaction theirs {};
  theirs.sa_handler = [](int) { ++handled; };
  ::sigaction(SIGINT, &theirs, nullptr);
  CHECK(end_of_run(with_shards(1), [] {
          interrupt();
          roving::yield();
        }) == "returned");
  CHECK(handled == 1);

  theirs.sa_handler = SIG_DFL;
  ::sigaction(SIGINT, &theirs, nullptr);
  bool by_option = false;
  bool off_the_first_thread = false;
  roving::options without = with_shards(1);
  without.handle_sigint = false;
  CHECK(end_of_run(without, [&] { by_option = is_default_now(); }) == "returned");
  std::thread{[&] {
    static_cast<void>(end_of_run(with_shards(2), [&] { off_the_first_thread = is_default_now(); }));
  }}.join();
  CHECK(by_option);
  CHECK(off_the_first_thread);
}

TEST_CASE("C123 SIGINT: where a handler has reset itself, nobody handles it", "[interrupt]") {
  const default_sigint plain;
  struct sigaction theirs {};
  theirs.sa_sigaction = [](int, siginfo_t*, void*) {};
  theirs.sa_flags = static_cast<int>(static_cast<unsigned>(SA_SIGINFO) | static_cast<unsigned>(SA_RESETHAND));
  ::sigaction(SIGINT, &theirs, nullptr);
  interrupt();
  REQUIRE(is_default_now());
  bool is_handled = false;
  CHECK(end_of_run(with_shards(1), [&] {
          is_handled = !is_default_now();
          if (!is_handled) return;
          interrupt();
          park();
        }) == "interrupted");
  CHECK(is_handled);
}

TEST_CASE("a main that swallows SIGINT", "[.child]") {
  if (!begin_child()) return;
  roving::run({.shards = 2}, [] {
    say_from_the_loop("ready\n");
    for (;;)
      if (thrown_by([] { park(); }) == "cancelled") say("swallowed\n");
  });
}

TEST_CASE("a main that holds its shard", "[.child]") {
  if (!begin_child()) return;
  roving::run({.shards = 2}, [] {
    interrupt();
    say("once\n");
    interrupt();
    for (;;) std::this_thread::yield();
  });
}

TEST_CASE("a main that is interrupted once", "[.child]") {
  if (!begin_child()) return;
  try {
    roving::run({.shards = 2}, [] {
      say_from_the_loop("ready\n");
      park();
    });
  } catch (const roving::interrupted& error) {
    say(error.what());
    std::_Exit(7);
  }
}

TEST_CASE("C123 SIGINT: twice ends the process as SIGINT does, in whatever main is", "[interrupt]") {
  SECTION("a main that swallows the first") {
    child_process child{"a main that swallows SIGINT"};
    REQUIRE(child.wait_for_text("ready\n"));
    child.send(SIGINT);
    REQUIRE(child.wait_for_text("swallowed\n"));
    child.send(SIGINT);
    CHECK(child.end() == "signal " + std::to_string(SIGINT));
    CHECK(child.text() == "ready\nswallowed\n");
  }
  SECTION("a main that never lets its loop run") {
    child_process child{"a main that holds its shard"};
    CHECK(child.end() == "signal " + std::to_string(SIGINT));
    CHECK(child.text() == "once\n");
  }
  SECTION("once, from outside, is an end in order") {
    child_process child{"a main that is interrupted once"};
    REQUIRE(child.wait_for_text("ready\n"));
    child.send(SIGINT);
    CHECK(child.end() == "status 7");
    CHECK(child.text() == "ready\nrun: interrupted by SIGINT");
  }
}
