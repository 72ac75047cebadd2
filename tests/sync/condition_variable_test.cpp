// Tested: roving::condition_variable.
#include <algorithm>
#include <atomic>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;

TEST_CASE("C104 condition_variable: wait and notify want the mutex locked", "[sync][condition_variable]") {
  roving::mutex lock;
  roving::condition_variable changed{lock};
  CHECK_THROWS_AS(changed.wait(), roving::not_locked);
  CHECK_THROWS_AS(changed.notify(), roving::not_locked);
  CHECK_THROWS_AS(changed.notify_all(), roving::not_locked);
  CHECK_FALSE(lock.locked());
  const std::scoped_lock hold{lock};
  changed.notify();  // nobody waits: nothing happens
  changed.notify_all();
}

TEST_CASE("C104 condition_variable: notify wakes as many as it says, first come, first served",
          "[sync][condition_variable]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> order;
  std::vector<std::size_t> woken_after;
  roving::run({.shards = where.shards}, [&] {
    roving::mutex lock;
    roving::condition_variable changed{lock};
    crew tasks{where};
    for (int i = 0; i < 10; ++i) {
      wait_until_parked(tasks.spawn([&, i] {
        const std::scoped_lock hold{lock};
        changed.wait();
        order.push_back(i);
      }));
    }
    const auto notify = [&](auto how, std::size_t expected) {
      {
        const std::scoped_lock hold{lock};
        how();
      }
      for (;;) {
        roving::yield();
        const std::scoped_lock hold{lock};
        if (order.size() >= expected) return woken_after.push_back(order.size());
      }
    };
    notify([&] { changed.notify_one(); }, 1);
    notify([&] { changed.notify(3); }, 4);
    notify([&] { changed.notify_all(); }, 10);
    tasks.join();
  });
  CHECK(woken_after == std::vector<std::size_t>{1, 4, 10});
  if (where.shards > 1) {  // those woken together come to the mutex as they may
    std::sort(order.begin() + 1, order.begin() + 4);
    std::sort(order.begin() + 4, order.end());
  }
  CHECK(order == numbers(10));
}

TEST_CASE("C104 condition_variable: with a predicate it waits until that is true", "[sync][condition_variable]") {
  const place where = GENERATE(from_range(places()));
  int reached = -1;
  roving::run({.shards = where.shards}, [&] {
    roving::mutex lock;
    roving::condition_variable changed{lock};
    int count = 0;
    crew tasks{where};
    tasks.spawn([&] {
      const std::scoped_lock hold{lock};
      changed.wait([&] { return count >= 5; });
      reached = count;
    });
    tasks.spawn([&] {
      for (int i = 0; i < 5; ++i) {
        {
          const std::scoped_lock hold{lock};
          ++count;
          changed.notify_one();
        }
        roving::yield();
      }
    });
    tasks.join();
  });
  CHECK(reached == 5);
}

TEST_CASE("C105 condition_variable: a waiter that is cancelled has the mutex when it is thrown out",
          "[sync][condition_variable]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<bool> was_locked{false};
  bool was_cancelled = false;
  bool is_free = false;
  roving::run({.shards = where.shards}, [&] {
    roving::mutex lock;
    roving::condition_variable changed{lock};
    crew tasks{where};
    auto& waits = tasks.spawn([&] {
      const std::scoped_lock hold{lock};
      try {
        changed.wait();
      } catch (const roving::cancelled&) {
        was_locked = !lock.try_lock();
        throw;
      }
    });
    wait_until_parked(waits);
    waits.cancel();
    tasks.join();
    was_cancelled = waits.cancelled();
    is_free = lock.try_lock();
  });
  CHECK(was_locked);
  CHECK(was_cancelled);
  CHECK(is_free);
}

TEST_CASE("C105 condition_variable: cancels that come while it locks again are held back, the last is thrown",
          "[sync][condition_variable]") {
  std::string message;
  bool ended_too_early = true;
  bool owned_it = false;
  roving::run({.shards = 1}, [&] {
    roving::mutex lock;
    roving::condition_variable changed{lock};
    bool has_ended = false;
    const auto waits = roving::spawn([&] {
      std::unique_lock hold{lock};
      try {
        changed.wait();
      } catch (const roving::cancelled& cancel) {
        message = cancel.message();
        owned_it = lock.locked();
      }
      has_ended = true;
    });
    roving::yield();
    {
      const std::scoped_lock hold{lock};
      changed.notify_one();
      for (const char* text : {"first", "second", "third"}) {
        roving::yield();  // it tries to lock the mutex again
        waits.cancel(text);
      }
      roving::yield();
      ended_too_early = has_ended;
    }
    waits.join();
  });
  CHECK(message == "third");
  CHECK_FALSE(ended_too_early);
  CHECK(owned_it);
}

TEST_CASE("C106 condition_variable: a waiter that is notified and then cancelled passes it on",
          "[sync][condition_variable]") {
  bool was_cancelled = false;
  bool other_woken = false;
  roving::run({.shards = 1}, [&] {
    roving::mutex lock;
    roving::condition_variable changed{lock};
    const auto notified = roving::spawn([&] {
      const std::scoped_lock hold{lock};
      changed.wait();
    });
    const auto other = roving::spawn([&] {
      const std::scoped_lock hold{lock};
      changed.wait();
      other_woken = true;
    });
    roving::yield();
    {
      const std::scoped_lock hold{lock};
      changed.notify_one();
      notified.cancel();
    }
    notified.join();
    other.join();
    was_cancelled = notified.cancelled();
  });
  CHECK(was_cancelled);
  CHECK(other_woken);
}

TEST_CASE("C106 condition_variable: a bounded buffer loses nothing under random cancels",
          "[sync][condition_variable]") {
  const place where = GENERATE(from_range(places()));
  constexpr int pairs = 3;
  constexpr int room = 2;
  const int turns = rounds(1500);
  int put = 0;  // all three by the mutex
  int taken = 0;
  int inside = 0;
  bool over = false;
  roving::run({.shards = where.shards}, [&] {
    roving::mutex lock;
    roving::condition_variable may_put{lock};
    roving::condition_variable may_take{lock};
    crew tasks{where};
    const auto work = [&](roving::condition_variable& mine, roving::condition_variable& theirs, int limit, int step,
                          int& count) {
      for (int done = 0; done < turns;) {
        try {
          const std::scoped_lock hold{lock};
          mine.wait([&] { return inside != limit; });
          inside += step;
          if (inside < 0 || inside > room) over = true;
          theirs.notify_one();
          ++count;
          ++done;
        } catch (const roving::cancelled&) {
        }
      }
    };
    for (int i = 0; i < pairs; ++i) {
      tasks.spawn([&] { work(may_put, may_take, room, 1, put); });
      tasks.spawn([&] { work(may_take, may_put, 0, -1, taken); });
    }
    tasks.cancel_until_done(3);
  });
  CHECK(put == pairs * turns);
  CHECK(taken == pairs * turns);
  CHECK(inside == 0);
  CHECK_FALSE(over);
}

TEST_CASE("condition_variable: a thread and a task take turns", "[sync][condition_variable]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(1000);
  roving::mutex lock;
  roving::condition_variable changed{lock};
  int turn = 0;
  const auto play = [&](int mine) {
    for (int i = 0; i < turns; ++i) {
      const std::scoped_lock hold{lock};
      changed.wait([&] { return turn % 2 == mine; });
      ++turn;
      changed.notify_all();
    }
  };
  std::thread thread{[&] { play(1); }};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    tasks.spawn([&] { play(0); });
    tasks.join();
  });
  thread.join();
  CHECK(turn == 2 * turns);
}
