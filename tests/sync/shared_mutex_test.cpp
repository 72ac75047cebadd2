// Tested: roving::shared_mutex.
#include <atomic>
#include <mutex>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;

TEST_CASE("shared_mutex: readers share it, a writer has it alone", "[sync][shared_mutex]") {
  roving::shared_mutex lock;
  lock.lock_shared();
  CHECK(lock.try_lock_shared());
  CHECK_FALSE(lock.try_lock());
  lock.unlock_shared();
  CHECK_FALSE(lock.try_lock());
  lock.unlock_shared();
  CHECK(lock.try_lock());
  CHECK_FALSE(lock.try_lock());
  CHECK_FALSE(lock.try_lock_shared());
  lock.unlock();
  lock.lock();
  lock.unlock();
}

TEST_CASE("shared_mutex: unlocking what is not locked that way is an error", "[sync][shared_mutex]") {
  roving::shared_mutex lock;
  CHECK_THROWS_AS(lock.unlock(), roving::not_locked);
  CHECK_THROWS_AS(lock.unlock_shared(), roving::not_locked);
  const std::shared_lock reads{lock};
  CHECK_THROWS_AS(lock.unlock(), roving::not_locked);
}

TEST_CASE("shared_mutex: first come, first served, and readers next to each other go in together",
          "[sync][shared_mutex]") {
  std::vector<std::string> order;
  roving::run({.shards = 1}, [&] {
    roving::shared_mutex lock;
    const auto read = [&](const char* name) {
      return [&lock, &order, name] {
        const std::shared_lock hold{lock};
        order.push_back(std::string{"+"} + name);
        roving::yield();
        order.push_back(std::string{"-"} + name);
      };
    };
    const auto write = [&](const char* name) {
      return [&lock, &order, name] {
        const std::unique_lock hold{lock};
        order.push_back(std::string{"+"} + name);
        roving::yield();
        order.push_back(std::string{"-"} + name);
      };
    };
    lock.lock_shared();
    crew tasks{{1, false}};
    tasks.spawn(write("w1"));
    tasks.spawn(read("r1"));
    tasks.spawn(read("r2"));
    tasks.spawn(write("w2"));
    tasks.spawn(read("r3"));
    roving::yield();
    if (lock.try_lock_shared()) order.push_back("passed");  // not past a writer who waits
    lock.unlock_shared();
    tasks.join();
  });
  CHECK(order == std::vector<std::string>{"+w1", "-w1", "+r1", "+r2", "-r1", "-r2", "+w2", "-w2", "+r3", "-r3"});
}

TEST_CASE("shared_mutex: when a waiting writer is cancelled the readers behind it go in", "[sync][shared_mutex]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> read{0};
  bool was_cancelled = false;
  bool is_free = false;
  roving::run({.shards = where.shards}, [&] {
    roving::shared_mutex lock;
    crew tasks{where};
    lock.lock_shared();
    auto& writer = tasks.spawn([&] { lock.lock(); });
    wait_until_parked(writer);
    for (int i = 0; i < 3; ++i) {
      wait_until_parked(tasks.spawn([&] {
        const std::shared_lock hold{lock};
        ++read;
      }));
    }
    writer.cancel();
    tasks.join();  // while the first reader still has it
    was_cancelled = writer.cancelled();
    lock.unlock_shared();
    is_free = lock.try_lock();
  });
  CHECK(read == 3);
  CHECK(was_cancelled);
  CHECK(is_free);
}

TEST_CASE("shared_mutex: one that is cancelled after its grant gives it back", "[sync][shared_mutex]") {
  const bool alone = GENERATE(true, false);
  bool next_had_it = false;
  bool was_cancelled = false;
  bool is_free = false;
  roving::run({.shards = 1}, [&] {
    roving::shared_mutex lock;
    lock.lock();
    const auto granted = roving::spawn([&] { alone ? lock.lock() : lock.lock_shared(); });
    const auto next = roving::spawn([&] {
      const std::unique_lock hold{lock};
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

TEST_CASE("shared_mutex: trying may pass those that were woken, and not twice", "[sync][shared_mutex]") {
  const bool waits_alone = GENERATE(true, false);
  std::vector<bool> tried;
  bool had_it = false;
  roving::run({.shards = 1}, [&] {
    roving::shared_mutex lock;
    lock.lock();
    const auto waits = roving::spawn([&] {
      waits_alone ? lock.lock() : lock.lock_shared();
      had_it = true;
      waits_alone ? lock.unlock() : lock.unlock_shared();
    });
    roving::yield();
    tried.push_back(lock.try_lock());
    lock.unlock();
    tried.push_back(lock.try_lock());
    roving::yield();  // it comes, and waits again
    lock.unlock();
    tried.push_back(lock.try_lock());
    waits.join();
    tried.push_back(lock.try_lock());
  });
  CHECK(tried == std::vector<bool>{false, true, false, true});
  CHECK(had_it);
}

TEST_CASE("shared_mutex: std::scoped_lock takes two in either order", "[sync][shared_mutex]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(500);
  roving::shared_mutex left;
  roving::shared_mutex right;
  int counted = 0;
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 0; i < 8; ++i) {
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
  CHECK(counted == 8 * turns);
}

TEST_CASE("shared_mutex: what it guards stays whole under random cancels", "[sync][shared_mutex]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(1500);
  std::atomic<int> torn{0};
  bool is_free = false;
  roving::run({.shards = where.shards}, [&] {
    roving::shared_mutex lock;
    int left = 0;
    int right = 0;
    crew tasks{where};
    for (int i = 0; i < 8; ++i) {
      const bool writes = i % 3 == 0;
      tasks.spawn([&, writes] {
        for (int done = 0; done < turns;) {
          try {
            if (writes) {
              const std::unique_lock hold{lock};
              ++left;
              ++right;
            } else {
              const std::shared_lock hold{lock};
              if (left != right) ++torn;
              if (done % 8 == 0) roving::yield();
            }
            ++done;
          } catch (const roving::cancelled&) {
          }
        }
      });
    }
    tasks.cancel_until_done(5);
    is_free = lock.try_lock();
  });
  CHECK(torn == 0);
  CHECK(is_free);
}

TEST_CASE("shared_mutex: threads and tasks read and write", "[sync][shared_mutex]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(1000);
  roving::shared_mutex lock;
  int counted = 0;  // by the writers
  std::atomic<int> went_back{0};
  const auto write = [&] {
    for (int i = 0; i < turns; ++i) {
      const std::unique_lock hold{lock};
      ++counted;
    }
  };
  const auto read = [&] {
    for (int i = 0, last = 0; i < turns; ++i) {
      const std::shared_lock hold{lock};
      if (counted < last) ++went_back;
      last = counted;
    }
  };
  std::thread writer{write};
  std::thread reader{read};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 0; i < 2; ++i) tasks.spawn(write);
    for (int i = 0; i < 2; ++i) tasks.spawn(read);
    tasks.join();
  });
  writer.join();
  reader.join();
  CHECK(counted == 3 * turns);
  CHECK(went_back == 0);
}
