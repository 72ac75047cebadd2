// Tested: debug mode in a program that is linked with roving::debug_locks: who suspends with a locked std::mutex is
// told.
// told.
#include <chrono>
#include <mutex>
#include <string>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/broken_contracts.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using Catch::Matchers::Contains;

namespace {

[[gnu::noinline]] void lock_it(std::mutex& which) {
  which.lock();
  asm volatile("");  // no tail call
}

// What is told of a program.
std::vector<std::string> told_of(const std::function<void()>& program, bool debug = true) {
  std::vector<std::string> all;
  roving::run({.shards = 1, .on_unhandled = roving_test::note_broken_contracts(all), .debug = debug}, program);
  return all;
}

}  // namespace

TEST_CASE("debug locks: who suspends while it holds a std::mutex is told, with the place", "[debug_locks]") {
  std::mutex first;
  std::mutex second;
  const auto all = told_of([&] {
    roving::spawn(roving::attributes{.name = "holder"}, [&] {
      lock_it(first);
      const std::scoped_lock hold{second};
      roving::sleep_for(1us);
      first.unlock();
      roving::yield();  // said already
    }).get();
  });
  REQUIRE(all.size() == 1);
  CHECK_THAT(all[0],
             Contains("holder: it suspends in sleep_for while it holds a pthread mutex, locked in ") &&
                 Contains("lock_it(std::mutex&)") && Contains(", and in "));
}

TEST_CASE("debug locks: what is unlocked before is not", "[debug_locks]") {
  const auto all = told_of([] {
    std::mutex one;
    std::timed_mutex other;
    std::recursive_mutex third;
    for (int i = 0; i < 20; ++i) {
      {
        const std::scoped_lock hold{one, third};
        const std::scoped_lock again{third};
        if (other.try_lock_for(1s)) other.unlock();
      }
      if (one.try_lock()) one.unlock();
      roving::yield();
    }
  });
  CHECK(all.empty());
}

TEST_CASE("debug locks: a task that is spawned eagerly is not told of its parent's", "[debug_locks]") {
  const auto all = told_of([] {
    std::mutex lock;
    std::unique_lock hold{lock};
    auto child = roving::spawn(roving::attributes{.name = "child", .eager = true}, [] { roving::yield(); });
    hold.unlock();
    hold.lock();
    roving::yield();
    hold.unlock();
    child.get();
  });
  REQUIRE(all.size() == 1);
  CHECK_THAT(all[0], Contains("Task-1: it suspends in yield"));
}

TEST_CASE("debug locks: out of debug mode nothing is told", "[debug_locks]") {
  const auto all = told_of(
      [] {
        std::mutex lock;
        const std::scoped_lock hold{lock};
        roving::yield();
      },
      false);
  CHECK(all.empty());
}
