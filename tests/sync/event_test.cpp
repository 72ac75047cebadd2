// Tested: roving::event.
#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;

TEST_CASE("C103 event: set wakes every waiter, also when it is cleared at once", "[sync][event]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> woken{0};
  bool is_set = true;
  std::size_t waited = 0;
  std::size_t wait_still = 1;
  roving::run({.shards = where.shards}, [&] {
    roving::event ready;
    crew tasks{where};
    for (int i = 0; i < 30; ++i) {
      wait_until_parked(tasks.spawn([&] {
        ready.wait();
        woken.fetch_add(1, std::memory_order_relaxed);
      }));
    }
    waited = ready.waiting();
    ready.set();
    ready.clear();
    wait_still = ready.waiting();
    tasks.join();
    is_set = ready.is_set();
  });
  CHECK(woken == 30);
  CHECK(waited == 30);
  CHECK(wait_still == 0);
  CHECK_FALSE(is_set);
}

TEST_CASE("C103 event: waiters are woken in the order in which they came", "[sync][event]") {
  std::vector<int> order;
  roving::run({.shards = 1}, [&] {
    roving::event ready;
    crew tasks{{1, false}};
    for (int i = 0; i < 20; ++i) {
      tasks.spawn([&, i] {
        ready.wait();
        order.push_back(i);
      });
    }
    roving::yield();
    ready.set();
    tasks.join();
  });
  CHECK(order == numbers(20));
}

TEST_CASE("C103 event: waiting for one that is set does not suspend", "[sync][event]") {
  bool other_ran = false;
  bool other_ran_before = true;
  roving::run({.shards = 1}, [&] {
    roving::event ready;
    ready.set();
    const auto other = roving::spawn([&] { other_ran = true; });
    ready.wait();
    other_ran_before = other_ran;
    other.join();
  });
  CHECK(other_ran);
  CHECK_FALSE(other_ran_before);
}

TEST_CASE("C103 event: a waiter that is cancelled is forgotten, one woken before the cancel too", "[sync][event]") {
  const place where = GENERATE(from_range(places()));
  bool was_cancelled = false;
  std::size_t wait_still = 2;
  std::atomic<bool> other_woken{false};
  roving::run({.shards = where.shards}, [&] {
    roving::event ready;
    crew tasks{where};
    auto& gone = tasks.spawn([&] { ready.wait(); });
    wait_until_parked(gone);
    wait_until_parked(tasks.spawn([&] {
      ready.wait();
      other_woken = true;
    }));
    gone.cancel();
    gone.join();
    was_cancelled = gone.cancelled();
    wait_still = ready.waiting();
    ready.set();
    tasks.join();
  });
  CHECK(was_cancelled);
  CHECK(wait_still == 1);
  CHECK(other_woken);
}

TEST_CASE("C103 event: set and cancel race, and each waiter is done once", "[sync][event]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(3000);
  std::atomic<int> ended{0};
  std::atomic<int> began{0};
  roving::run({.shards = where.shards}, [&] {
    roving::event ready;
    crew tasks{where};
    for (int i = 0; i < 4; ++i) {
      tasks.spawn([&] {
        for (int turn = 0; turn < turns; ++turn) {
          ++began;
          try {
            ready.wait();
          } catch (const roving::cancelled&) {
          }
          ++ended;
        }
      });
    }
    tasks.wait_until_started();
    std::minstd_rand draw{7};
    while (!tasks.done()) {
      if (draw() % 2 == 0) tasks[draw() % tasks.size()].cancel();
      ready.set();
      if (draw() % 2 == 0) ready.clear();
      roving::yield();
    }
  });
  CHECK(began == 4 * turns);
  CHECK(ended == 4 * turns);
}

TEST_CASE("event: threads wait for tasks and tasks for threads", "[sync][event]") {
  const place where = GENERATE(from_range(places()));
  roving::event to_thread;
  roving::event to_task;
  int passed = 0;  // by the events alone
  std::thread thread{[&] {
    to_thread.wait();
    ++passed;
    to_task.set();
  }};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    tasks.spawn([&] {
      ++passed;
      to_thread.set();
      to_task.wait();
      ++passed;
    });
    tasks.join();
  });
  thread.join();
  CHECK(passed == 3);
}

TEST_CASE("event: who comes back from wait may destroy it while set has yet to return", "[sync][event]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(2000);
  int waited = 0;
  roving::run({.shards = where.shards}, [&] {
    for (int turn = 0; turn < turns; ++turn) {
      auto ready = std::make_unique<roving::event>();
      crew tasks{where};
      tasks.spawn([] {});  // so that the next one is on another shard
      tasks.spawn([raw = ready.get()] { raw->set(); });
      if (turn % 2 == 0) roving::yield();
      ready->wait();
      ready.reset();
      ++waited;
      tasks.join();
    }
  });
  CHECK(waited == turns);
}
