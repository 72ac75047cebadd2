// Tested: roving::semaphore and roving::bounded_semaphore.
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;

TEST_CASE("C107 semaphore: first come, first served", "[sync][semaphore]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> order;
  roving::run({.shards = where.shards}, [&] {
    roving::semaphore permits{1};
    crew tasks{where};
    permits.acquire();
    for (int i = 0; i < 50; ++i) {
      wait_until_parked(tasks.spawn([&, i] {
        permits.acquire();
        order.push_back(i);
        permits.release();
      }));
    }
    permits.release();
    tasks.join();
  });
  CHECK(order == numbers(50));
}

TEST_CASE("C107 semaphore: nobody passes while one that was woken has yet to run", "[sync][semaphore]") {
  std::vector<std::string> order;
  std::ptrdiff_t value_after = -1;
  bool was_locked = false;
  bool could_try = true;
  roving::run({.shards = 1}, [&] {
    roving::semaphore permits{0};
    const auto waits = roving::spawn([&] {
      permits.acquire();
      order.push_back("first");
    });
    roving::yield();
    permits.release(2);
    value_after = permits.value();  // one is the waiter's
    was_locked = permits.locked();
    could_try = permits.try_acquire();
    permits.acquire();
    order.push_back("main");
    waits.join();
  });
  CHECK(value_after == 1);
  CHECK(was_locked);
  CHECK_FALSE(could_try);
  CHECK(order == std::vector<std::string>{"first", "main"});
}

TEST_CASE("C108 semaphore: a waiter that is cancelled after its grant leaves the permit to the next",
          "[sync][semaphore]") {
  bool next_had_it = false;
  bool was_cancelled = false;
  std::ptrdiff_t value_after = -1;
  roving::run({.shards = 1}, [&] {
    roving::semaphore permits{1};
    permits.acquire();
    const auto granted = roving::spawn([&] { permits.acquire(); });
    const auto next = roving::spawn([&] {
      permits.acquire();
      next_had_it = true;
    });
    roving::yield();
    permits.release();
    granted.cancel();
    granted.join();
    next.join();
    was_cancelled = granted.cancelled();
    value_after = permits.value();
  });
  CHECK(next_had_it);
  CHECK(was_cancelled);
  CHECK(value_after == 0);
}

TEST_CASE("C108 semaphore: a cancelled waiter at the front holds nobody up", "[sync][semaphore]") {
  bool next_had_it = false;
  std::ptrdiff_t value_after = -1;
  bool was_locked = true;
  roving::run({.shards = 1}, [&] {
    roving::semaphore permits{0};
    const auto gone = roving::spawn([&] { permits.acquire(); });
    const auto next = roving::spawn([&] {
      permits.acquire();
      next_had_it = true;
    });
    roving::yield();
    gone.cancel();
    permits.release(2);  // the cancelled one has not run yet
    next.join();
    gone.join();
    value_after = permits.value();
    was_locked = permits.locked();
  });
  CHECK(next_had_it);
  CHECK(value_after == 1);
  CHECK_FALSE(was_locked);
}

TEST_CASE("C108 semaphore: no permit is lost or made under random cancels", "[sync][semaphore]") {
  const place where = GENERATE(from_range(places()));
  constexpr int permits_count = 3;
  const int turns = rounds(2000);
  std::atomic<int> inside{0};
  std::atomic<bool> too_many{false};
  std::ptrdiff_t value_after = -1;
  roving::run({.shards = where.shards}, [&] {
    roving::semaphore permits{permits_count};
    crew tasks{where};
    for (int i = 0; i < 8; ++i) {
      tasks.spawn([&] {
        for (int done = 0; done < turns;) {
          try {
            permits.acquire();
          } catch (const roving::cancelled&) {
            continue;
          }
          if (++inside > permits_count) too_many = true;
          ++done;
          try {
            if (done % 2 == 0) roving::yield();
          } catch (const roving::cancelled&) {
          }
          --inside;
          permits.release();
        }
      });
    }
    tasks.cancel_until_done(2);
    value_after = permits.value();
  });
  CHECK_FALSE(too_many);
  CHECK(value_after == permits_count);
}

TEST_CASE("C109 semaphore: to begin with a negative number, or to release one, is an error", "[sync][semaphore]") {
  CHECK_THROWS_AS(roving::semaphore{-1}, roving::broken_contract);
  CHECK_THROWS_AS(roving::bounded_semaphore{-1}, roving::broken_contract);
  roving::semaphore permits{1};
  CHECK_THROWS_AS(permits.release(-1), roving::broken_contract);
  CHECK_THROWS_AS(permits.release(PTRDIFF_MAX), roving::broken_contract);
  CHECK(permits.value() == 1);
}

TEST_CASE("C109 bounded_semaphore: one release too many is an error and changes nothing", "[sync][semaphore]") {
  roving::bounded_semaphore permits{2};
  CHECK_THROWS_AS(permits.release(), roving::released_too_often);
  CHECK(permits.try_acquire());
  CHECK_THROWS_AS(permits.release(2), roving::released_too_often);
  CHECK(permits.value() == 1);
  permits.acquire();
  CHECK(permits.locked());
  CHECK_FALSE(permits.try_acquire());
  permits.release(2);
  CHECK(permits.value() == 2);
}

TEST_CASE("semaphore: threads and tasks share the permits", "[sync][semaphore]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(1000);
  roving::semaphore one{1};
  int counted = 0;  // by the semaphore alone
  const auto count = [&] {
    for (int i = 0; i < turns; ++i) {
      one.acquire();
      ++counted;
      one.release();
    }
  };
  std::thread thread{count};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 0; i < 4; ++i) tasks.spawn(count);
    tasks.join();
  });
  thread.join();
  CHECK(counted == 5 * turns);
}
