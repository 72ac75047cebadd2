// Tested: roving::latch.
#include <atomic>
#include <memory>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;

TEST_CASE("latch: all who wait go on when it has been counted down", "[sync][latch]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> passed{0};
  std::atomic<bool> was_early{false};
  int passed_before = -1;
  roving::run({.shards = where.shards}, [&] {
    roving::latch gate{4};
    crew tasks{where};
    for (int i = 0; i < 10; ++i) {
      wait_until_parked(tasks.spawn([&] {
        gate.wait();
        if (!gate.try_wait()) was_early = true;
        ++passed;
      }));
    }
    gate.count_down();
    gate.count_down(2);
    roving::yield();
    passed_before = passed;
    gate.count_down();
    gate.wait();  // open for good
    tasks.join();
  });
  CHECK(passed_before == 0);
  CHECK(passed == 10);
  CHECK_FALSE(was_early);
}

TEST_CASE("latch: who arrives and waits goes on with the last to arrive", "[sync][latch]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> arrived{0};
  std::atomic<bool> was_early{false};
  roving::run({.shards = where.shards}, [&] {
    roving::latch gate{8};
    crew tasks{where};
    for (int i = 0; i < 8; ++i) {
      tasks.spawn([&] {
        ++arrived;
        gate.arrive_and_wait();
        if (arrived != 8) was_early = true;
      });
    }
    tasks.join();
  });
  CHECK_FALSE(was_early);
}

TEST_CASE("latch: counting below zero is an error and counts nothing", "[sync][latch]") {
  roving::latch gate{2};
  CHECK_THROWS_AS(gate.count_down(3), roving::counted_too_far);
  CHECK_FALSE(gate.try_wait());
  gate.count_down(2);
  CHECK(gate.try_wait());
  CHECK_THROWS_AS(gate.count_down(), roving::counted_too_far);
  gate.wait();
  roving::latch open{0};
  open.wait();
}

TEST_CASE("latch: a waiter that is cancelled is forgotten, and stays counted", "[sync][latch]") {
  const place where = GENERATE(from_range(places()));
  bool was_cancelled = false;
  std::atomic<bool> passed{false};
  roving::run({.shards = where.shards}, [&] {
    roving::latch gate{2};
    crew tasks{where};
    auto& gone = tasks.spawn([&] { gate.arrive_and_wait(); });
    wait_until_parked(gone);
    gone.cancel();
    gone.join();
    was_cancelled = gone.cancelled();
    tasks.spawn([&] {
      gate.arrive_and_wait();
      passed = true;
    });
    tasks.join();
  });
  CHECK(was_cancelled);
  CHECK(passed);
}

TEST_CASE("latch: a thread that waits may destroy it while count_down has yet to return", "[sync][latch]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(300);
  int waited = 0;
  std::atomic<roving::latch*> current{nullptr};
  std::atomic<bool> is_over{false};
  std::thread thread{[&] {
    for (;;) {
      roving::latch* const gate = current.exchange(nullptr);
      if (gate != nullptr) gate->count_down();
      if (gate == nullptr && is_over) return;
    }
  }};
  roving::run({.shards = where.shards}, [&] {
    for (int turn = 0; turn < turns; ++turn) {
      roving::latch gate{1};
      current = &gate;
      gate.wait();
      ++waited;
    }
  });
  is_over = true;
  thread.join();
  CHECK(waited == turns);
}
