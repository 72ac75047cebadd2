// Tested: roving::once.
#include <atomic>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;

TEST_CASE("once: one runs its function, the others wait for it", "[sync][once]") {
  const place where = GENERATE(from_range(places()));
  int ran = 0;  // by `once` alone
  std::atomic<bool> was_early{false};
  roving::run({.shards = where.shards}, [&] {
    roving::once first;
    int value = 0;
    crew tasks{where};
    for (int i = 0; i < 20; ++i) {
      tasks.spawn([&] {
        first.call([&] {
          ++ran;
          for (int turn = 0; turn < 3; ++turn) roving::yield();
          value = 7;
        });
        if (value != 7 || !first.done()) was_early = true;
      });
    }
    tasks.join();
  });
  CHECK(ran == 1);
  CHECK_FALSE(was_early);
}

TEST_CASE("once: if it throws, the next who waits runs its own", "[sync][once]") {
  std::vector<std::string> order;
  bool done_before = true;
  bool done_after = false;
  roving::run({.shards = 1}, [&] {
    roving::once first;
    const auto enter = [&](const char* name, bool throws) {
      return [&first, &order, name, throws] {
        try {
          first.call([&] {
            order.push_back(name);
            roving::yield();
            if (throws) throw std::runtime_error{"no"};
          });
          order.push_back(std::string{name} + " returned");
        } catch (const std::runtime_error&) {
          order.push_back(std::string{name} + " threw");
        }
      };
    };
    crew tasks{{1, false}};
    tasks.spawn(enter("a", true));
    tasks.spawn(enter("b", true));
    tasks.spawn(enter("c", false));
    tasks.spawn(enter("d", false));
    roving::yield();
    done_before = first.done();
    tasks.join();
    done_after = first.done();
  });
  CHECK(order == std::vector<std::string>{"a", "a threw", "b", "b threw", "c", "c returned", "d returned"});
  CHECK_FALSE(done_before);
  CHECK(done_after);
}

TEST_CASE("once: a runner that is cancelled leaves it to the next, and so does one that never began", "[sync][once]") {
  std::vector<std::string> order;
  std::vector<bool> cancelled;
  roving::run({.shards = 1}, [&] {
    roving::once first;
    roving::task<void> next;
    const auto run = [&](const char* name) {
      first.call([&] {
        order.push_back(name);
        roving::yield();
      });
    };
    const auto runner = roving::spawn([&] {
      try {
        run("runner");
      } catch (const roving::cancelled&) {
        next.cancel();  // its turn has come, and it has not run
        throw;
      }
    });
    next = roving::spawn([&] { run("next"); });
    const auto last = roving::spawn([&] { run("last"); });
    roving::yield();
    runner.cancel();
    last.join();
    cancelled = {runner.cancelled(), next.cancelled(), last.cancelled()};
  });
  CHECK(order == std::vector<std::string>{"runner", "last"});
  CHECK(cancelled == std::vector<bool>{true, true, false});
}

TEST_CASE("once: it is done once under random cancels and errors", "[sync][once]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> done{0};
  std::atomic<int> not_done{0};
  const int turns = rounds(100);
  for (int turn = 0; turn < turns; ++turn) {
    roving::run({.shards = where.shards}, [&] {
      roving::once first;
      std::atomic<int> tries{0};
      crew tasks{where};
      for (int i = 0; i < 6; ++i) {
        tasks.spawn([&] {
          try {
            first.call([&] {
              roving::yield();
              if (++tries < 3) throw std::runtime_error{"again"};
              ++done;
            });
            if (!first.done()) ++not_done;
          } catch (const std::runtime_error&) {
          }
        });
      }
      tasks[0].cancel();
      roving::yield();
      tasks[static_cast<std::size_t>(turn) % 6].cancel();
      tasks.join();
    });
  }
  CHECK(done == turns);
  CHECK(not_done == 0);
}

TEST_CASE("once: threads and tasks do it once", "[sync][once]") {
  const place where = GENERATE(from_range(places()));
  roving::once first;
  int ran = 0;
  const auto call = [&] { first.call([&] { ++ran; }); };
  std::thread thread{call};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 0; i < 4; ++i) tasks.spawn(call);
    tasks.join();
  });
  thread.join();
  CHECK(ran == 1);
}
