// Tested: that the sanitizers see through fibers: what is wrong in a task is found there and told with its stack, and
// what is right is not reported (the rest of the tests shows that). Each fault is planted in a process of its own.
//
// Only in builds with the sanitizer in question.
#include <atomic>
#include <string>

#include "scheduler/sanitizers.hpp"
#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/child_process.hpp"

#if ROVING_THREAD_SANITIZER || ROVING_ADDRESS_SANITIZER

using namespace roving_test;
using Catch::Matchers::Contains;

namespace {

// What such a process said before it was ended for it.
std::string report_of(const char* child) {
  child_process process{child};
  CHECK(process.end() != "status 0");
  return process.text();
}

}  // namespace

#  if ROVING_THREAD_SANITIZER

// Nothing orders the two but that they were spawned and joined, whatever their shards do.
TEST_CASE("two shards write one number", "[.child]") {
  if (!begin_child()) return;
  roving::run({.shards = 2}, [] {
    int number = 0;
    auto here = roving::spawn(roving::on_shard(0), [&] { ++number; });
    auto there = roving::spawn(roving::on_shard(1), [&] { ++number; });
    here.join();
    there.join();
  });
}

// The same in order: the second is spawned by the first, which waits for it.
TEST_CASE("two shards write one number in turn", "[.child]") {
  if (!begin_child()) return;
  int number = 0;
  roving::run({.shards = 2}, [&] {
    for (int turn = 0; turn < 100; ++turn) {
      ++number;
      roving::spawn(roving::on_shard(1), [&] { ++number; }).join();
      roving::spawn(roving::anywhere, [&] {
        ++number;
        roving::yield();
        ++number;
      }).join();
    }
  });
  std::_Exit(number == 400 ? 0 : 1);
}

TEST_CASE("sanitizers: a race of tasks on two shards is reported", "[sanitizers]") {
  const std::string report = report_of("two shards write one number");
  CHECK_THAT(report, Contains("WARNING: ThreadSanitizer: data race"));
  CHECK_THAT(report, Contains("sanitizers_test.cpp"));
}

TEST_CASE("sanitizers: tasks that wait for each other are no race", "[sanitizers]") {
  child_process process{"two shards write one number in turn"};
  CHECK(process.end() == "status 0");
  CHECK(process.text().empty());
}

#  else

namespace {

// Whatever the compiler may find out, it must not know the index. UndefinedBehaviorSanitizer would be first.
[[gnu::no_sanitize_undefined]] int read_at(const volatile int* numbers, int index) { return numbers[index]; }

}  // namespace

TEST_CASE("a task reads behind an array on its stack", "[.child]") {
  if (!begin_child()) return;
  roving::run({.shards = 2}, [] {
    roving::spawn(roving::anywhere, [] {
      int numbers[4] = {1, 2, 3, 4};
      roving::yield();  // it has been away meanwhile
      std::atomic<int> index{4};
      std::_Exit(read_at(numbers, index) == 0 ? 0 : 0);
    }).join();
  });
}

TEST_CASE("a task reads what another has freed", "[.child]") {
  if (!begin_child()) return;
  roving::run({.shards = 2}, [] {
    auto number = std::make_unique<std::atomic<int>>(1);
    std::atomic<int>* const stale = number.get();
    roving::spawn(roving::on_shard(1), [&] { number.reset(); }).join();
    std::_Exit(stale->load() == 1 ? 0 : 0);
  });
}

TEST_CASE("sanitizers: an overflow on a task's stack is reported", "[sanitizers]") {
  const std::string report = report_of("a task reads behind an array on its stack");
  CHECK_THAT(report, Contains("ERROR: AddressSanitizer: stack-buffer-overflow"));
  CHECK_THAT(report, Contains("sanitizers_test.cpp"));
}

TEST_CASE("sanitizers: a use after free across shards is reported", "[sanitizers]") {
  const std::string report = report_of("a task reads what another has freed");
  CHECK_THAT(report, Contains("ERROR: AddressSanitizer: heap-use-after-free"));
  CHECK_THAT(report, Contains("sanitizers_test.cpp"));
}

#    if ROVING_TEST_FAKE_STACKS

namespace {

[[gnu::noinline]] std::atomic<int>* address_of_a_local() {
  std::atomic<int> local{1};
  std::atomic<std::atomic<int>*> address{&local};
  return address;
}

}  // namespace

TEST_CASE("a task reads a local of a function that has returned", "[.child]") {
  if (!begin_child()) return;
  roving::run({.shards = 2}, [] {
    roving::spawn(roving::anywhere, [] {
      std::atomic<int>* const stale = address_of_a_local();
      roving::yield();
      std::_Exit(stale->load() == 1 ? 0 : 0);
    }).join();
  });
}

TEST_CASE("sanitizers: a use after return is reported", "[sanitizers]") {
  const std::string report = report_of("a task reads a local of a function that has returned");
  CHECK_THAT(report, Contains("ERROR: AddressSanitizer: stack-use-after-return"));
}

#    else

TEST_CASE("a task forgets memory", "[.child]") {
  if (!begin_child()) return;
  roving::run({.shards = 1}, [] {
    roving::spawn([] {
      std::atomic<int*> forgotten{new int{3}};
      roving::yield();
      forgotten = nullptr;
    }).join();
  });
}

TEST_CASE("sanitizers: a leak of a task is reported", "[sanitizers]") {
  const std::string report = report_of("a task forgets memory");
  CHECK_THAT(report, Contains("ERROR: LeakSanitizer: detected memory leaks"));
}

#    endif
#  endif
#endif
