// Tested: roving::mutex.
#include <atomic>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;

TEST_CASE("C99 mutex: first come, first served, over 100 waiters", "[sync][mutex]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> order;
  roving::run({.shards = where.shards}, [&] {
    roving::mutex lock;
    crew tasks{where};
    lock.lock();
    for (int i = 0; i < 100; ++i) {
      wait_until_parked(tasks.spawn([&, i] {
        const std::scoped_lock hold{lock};
        order.push_back(i);
      }));
    }
    lock.unlock();
    tasks.join();
  });
  CHECK(order == numbers(100));
}

TEST_CASE("C99 mutex: only one at a time has it, be they tasks or threads", "[sync][mutex]") {
  const place where = GENERATE(from_range(places()));
  constexpr int tasks_count = 8;
  constexpr int threads_count = 2;
  const int turns = rounds(1000);
  roving::mutex lock;
  int counted = 0;  // by the mutex alone
  const auto count = [&] {
    for (int i = 0; i < turns; ++i) {
      const std::scoped_lock hold{lock};
      ++counted;
    }
  };
  std::vector<std::thread> threads;
  for (int i = 0; i < threads_count; ++i) threads.emplace_back(count);
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 0; i < tasks_count; ++i) tasks.spawn(count);
    tasks.join();
  });
  for (auto& each : threads) each.join();
  CHECK(counted == (tasks_count + threads_count) * turns);
  CHECK_FALSE(lock.locked());
}

TEST_CASE("C100 mutex: unlock and lock in a row go behind those who wait", "[sync][mutex]") {
  std::vector<std::string> order;
  bool was_locked = true;
  bool would_suspend = false;
  roving::run({.shards = 1}, [&] {
    roving::mutex lock;
    const auto enter = [&](const char* name) {
      return [&lock, &order, name] {
        const std::scoped_lock hold{lock};
        order.push_back(name);
      };
    };
    lock.lock();
    const auto first = roving::spawn(enter("first"));
    const auto second = roving::spawn(enter("second"));
    roving::yield();
    lock.unlock();
    was_locked = lock.locked();  // it is free, and kept for the first
    would_suspend = lock.would_suspend();
    lock.lock();
    order.push_back("main");
    lock.unlock();
    first.join();
    second.join();
  });
  CHECK(order == std::vector<std::string>{"first", "second", "main"});
  CHECK_FALSE(was_locked);
  CHECK(would_suspend);
}

TEST_CASE("C100 mutex: a newcomer passes those who were cancelled", "[sync][mutex]") {
  bool would_suspend = true;
  bool waiter_had_it = true;
  roving::run({.shards = 1}, [&] {
    roving::mutex lock;
    lock.lock();
    const auto waits = roving::spawn([&] {
      lock.lock();
      waiter_had_it = true;
    });
    roving::yield();
    waiter_had_it = false;
    waits.cancel();
    lock.unlock();
    would_suspend = lock.would_suspend();
    lock.lock();  // before the cancelled one has run
    waits.join();
    lock.unlock();
  });
  CHECK_FALSE(would_suspend);
  CHECK_FALSE(waiter_had_it);
}

TEST_CASE("mutex: try_lock may pass one that was woken, and not twice", "[sync][mutex]") {
  std::vector<bool> tried;
  std::vector<std::string> order;
  roving::run({.shards = 1}, [&] {
    roving::mutex lock;
    lock.lock();
    const auto first = roving::spawn([&] {
      const std::scoped_lock hold{lock};
      order.push_back("first");
      roving::yield();
    });
    const auto second = roving::spawn([&] {
      const std::scoped_lock hold{lock};
      order.push_back("second");
    });
    roving::yield();
    tried.push_back(lock.try_lock());  // no: it is locked
    lock.unlock();
    tried.push_back(lock.try_lock());  // passes the first
    roving::yield();                   // the first comes, and waits again, still before the second
    lock.unlock();
    tried.push_back(lock.try_lock());  // not again
    first.join();
    second.join();
    tried.push_back(lock.try_lock());
  });
  CHECK(tried == std::vector<bool>{false, true, false, true});
  CHECK(order == std::vector<std::string>{"first", "second"});
}

TEST_CASE("mutex: one that was passed and is then cancelled leaves the mutex to the next", "[sync][mutex]") {
  const bool while_it_waits = GENERATE(false, true);
  bool next_had_it = false;
  bool was_cancelled = false;
  roving::run({.shards = 1}, [&] {
    roving::mutex lock;
    lock.lock();
    const auto passed = roving::spawn([&] { lock.lock(); });
    const auto next = roving::spawn([&] {
      const std::scoped_lock hold{lock};
      next_had_it = true;
    });
    roving::yield();
    lock.unlock();
    if (!lock.try_lock()) return;
    if (while_it_waits) roving::yield();
    passed.cancel();
    lock.unlock();
    passed.join();
    next.join();
    was_cancelled = passed.cancelled();
  });
  CHECK(next_had_it);
  CHECK(was_cancelled);
}

TEST_CASE("C101 mutex: a waiter that is cancelled while it is queued leaves the line", "[sync][mutex]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<bool> next_had_it{false};
  bool was_cancelled = false;
  bool is_free = false;
  roving::run({.shards = where.shards}, [&] {
    roving::mutex lock;
    crew tasks{where};
    lock.lock();
    auto& cancelled = tasks.spawn([&] { lock.lock(); });
    wait_until_parked(cancelled);
    wait_until_parked(tasks.spawn([&] {
      const std::scoped_lock hold{lock};
      next_had_it = true;
    }));
    cancelled.cancel();
    cancelled.join();
    was_cancelled = cancelled.cancelled();
    lock.unlock();
    tasks.join();
    is_free = lock.try_lock();
  });
  CHECK(next_had_it);
  CHECK(was_cancelled);
  CHECK(is_free);
}

TEST_CASE("C101 mutex: a waiter that is cancelled in the tick of its grant leaves it to the next", "[sync][mutex]") {
  bool next_had_it = false;
  bool was_cancelled = false;
  bool is_free = false;
  roving::run({.shards = 1}, [&] {
    roving::mutex lock;
    lock.lock();
    const auto granted = roving::spawn([&] { lock.lock(); });
    const auto next = roving::spawn([&] {
      const std::scoped_lock hold{lock};
      next_had_it = true;
    });
    roving::yield();
    lock.unlock();
    granted.cancel();
    granted.join();
    next.join();
    was_cancelled = granted.cancelled();
    is_free = lock.try_lock();
  });
  CHECK(next_had_it);
  CHECK(was_cancelled);
  CHECK(is_free);
}

TEST_CASE("C101 mutex: one holder at a time, and no lost lock, under random cancels", "[sync][mutex]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(2000);
  std::atomic<int> inside{0};
  std::atomic<int> most_inside{0};
  bool is_free = false;
  roving::run({.shards = where.shards}, [&] {
    roving::mutex lock;
    crew tasks{where};
    for (int i = 0; i < 8; ++i) {
      tasks.spawn([&] {
        for (int done = 0; done < turns;) {
          try {
            const std::scoped_lock hold{lock};
            if (const int now = ++inside; now > most_inside) most_inside = now;
            --inside;
            ++done;
            if (done % 4 == 0) roving::yield();
          } catch (const roving::cancelled&) {
          }
        }
      });
    }
    tasks.spawn([&] {  // who only tries is as good a holder
      for (int done = 0; done < turns;) {
        if (lock.try_lock()) {
          if (++inside != 1) most_inside = 2;
          --inside;
          lock.unlock();
        }
        ++done;
        try {
          roving::yield();
        } catch (const roving::cancelled&) {
        }
      }
    });
    tasks.cancel_until_done(1);
    is_free = lock.try_lock();
  });
  CHECK(most_inside == 1);
  CHECK(is_free);
}

TEST_CASE("C102 mutex: unlocking one that is not locked is an error", "[sync][mutex]") {
  roving::mutex lock;
  CHECK_THROWS_AS(lock.unlock(), roving::not_locked);
  lock.lock();
  lock.unlock();
  CHECK_THROWS_AS(lock.unlock(), roving::not_locked);
  CHECK(lock.try_lock());  // it is as it was
}

TEST_CASE("C102 mutex: unlocking one that is kept for a waiter is an error", "[sync][mutex]") {
  bool threw = false;
  bool waiter_had_it = false;
  roving::run({.shards = 1}, [&] {
    roving::mutex lock;
    lock.lock();
    const auto waits = roving::spawn([&] {
      const std::scoped_lock hold{lock};
      waiter_had_it = true;
    });
    roving::yield();
    lock.unlock();
    try {
      lock.unlock();
    } catch (const roving::not_locked&) {
      threw = true;
    }
    waits.join();
  });
  CHECK(threw);
  CHECK(waiter_had_it);
}

TEST_CASE("C133 mutex: in no_cancel a waiter keeps its place, and the cancel comes after", "[sync][mutex]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<bool> had_it{false};
  std::atomic<bool> came_after{false};
  roving::run({.shards = where.shards}, [&] {
    roving::mutex lock;
    crew tasks{where};
    lock.lock();
    auto& waits = tasks.spawn([&] {
      {
        const roving::no_cancel hold_back;
        const std::scoped_lock hold{lock};
        had_it = true;
      }
      try {
        roving::yield();
      } catch (const roving::cancelled&) {
        came_after = true;
        throw;
      }
    });
    wait_until_parked(waits);
    waits.cancel();
    lock.unlock();
    tasks.join();
  });
  CHECK(had_it);
  CHECK(came_after);
}

TEST_CASE("mutex: std::scoped_lock takes two in either order", "[sync][mutex]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(500);
  roving::mutex left;
  roving::mutex right;
  int counted = 0;
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 0; i < 6; ++i) {
      tasks.spawn([&, i] {
        for (int turn = 0; turn < turns; ++turn) {
          const std::scoped_lock hold{i % 2 == 0 ? left : right, i % 2 == 0 ? right : left};
          ++counted;
          if (turn % 8 == 0) roving::yield();
        }
      });
    }
    tasks.join();
  });
  CHECK(counted == 6 * turns);
}

TEST_CASE("mutex: who unlocks it last may destroy it", "[sync][mutex]") {
  struct shared {
    roving::mutex lock;
    int users = 2;
  };
  const place where = GENERATE(from_range(places()));
  std::atomic<int> destroyed{0};
  const int turns = rounds(1000);
  roving::run({.shards = where.shards}, [&] {
    for (int turn = 0; turn < turns; ++turn) {
      auto* const object = new shared;
      const auto use = [&destroyed, object] {
        bool is_last = false;
        {
          const std::scoped_lock hold{object->lock};
          is_last = --object->users == 0;
        }
        if (!is_last) return;
        delete object;
        ++destroyed;
      };
      crew tasks{where};
      tasks.spawn(use);
      tasks.spawn(use);
      tasks.join();
    }
  });
  CHECK(destroyed == turns);
}
