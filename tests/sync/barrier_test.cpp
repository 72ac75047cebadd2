// Tested: roving::barrier.
#include <algorithm>
#include <array>
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;

TEST_CASE("C110 barrier: each party gets another number, again and again", "[sync][barrier]") {
  const place where = GENERATE(from_range(places()));
  constexpr std::size_t parties = 5;
  const std::size_t turns = static_cast<std::size_t>(rounds(200));
  std::vector<std::array<std::atomic<int>, parties>> came(turns);
  std::atomic<bool> was_early{false};
  std::atomic<std::size_t> arrived{0};
  roving::run({.shards = where.shards}, [&] {
    roving::barrier meet{parties};
    crew tasks{where};
    for (std::size_t i = 0; i < parties; ++i) {
      tasks.spawn([&] {
        for (std::size_t turn = 0; turn < turns; ++turn) {
          ++arrived;
          ++came[turn][meet.wait()];
          if (arrived < (turn + 1) * parties) was_early = true;
        }
      });
    }
    tasks.join();
  });
  CHECK_FALSE(was_early);
  bool each_once = true;
  for (const auto& turn : came)
    each_once = each_once && std::ranges::all_of(turn, [](int count) { return count == 1; });
  CHECK(each_once);
}

TEST_CASE("C110 barrier: the last party does not suspend", "[sync][barrier]") {
  std::vector<std::string> order;
  std::size_t waited = 0;
  std::size_t number = 9;
  roving::run({.shards = 1}, [&] {
    roving::barrier meet{2};
    const auto other = roving::spawn([&] {
      meet.wait();
      order.push_back("other");
    });
    roving::yield();
    waited = meet.n_waiting();
    number = meet.wait();
    order.push_back("last");
    other.join();
  });
  CHECK(order == std::vector<std::string>{"last", "other"});
  CHECK(waited == 1);
  CHECK(number == 1);
}

TEST_CASE("C110 barrier: who comes while it drains waits until it is empty, and is counted then", "[sync][barrier]") {
  std::vector<std::string> order;
  std::size_t waited_while_draining = 9;
  std::size_t waited_after = 9;
  roving::run({.shards = 1}, [&] {
    roving::barrier meet{2};
    const auto enter = [&](const char* name) {
      return [&meet, &order, name] {
        meet.wait();
        order.push_back(name);
      };
    };
    const auto first = roving::spawn(enter("first"));
    roving::yield();
    meet.wait();  // drains from here on: the first has not run
    order.push_back("second");
    waited_while_draining = meet.n_waiting();
    const auto late = roving::spawn(enter("late"));
    first.join();
    while (meet.n_waiting() == 0) roving::yield();
    waited_after = meet.n_waiting();
    meet.wait();
    late.join();
  });
  CHECK(order == std::vector<std::string>{"second", "first", "late"});
  CHECK(waited_while_draining == 0);
  CHECK(waited_after == 1);
}

TEST_CASE("C110 barrier: one of a single party never suspends, one of none is an error", "[sync][barrier]") {
  CHECK_THROWS_AS(roving::barrier{0}, roving::broken_contract);
  roving::barrier alone{1};
  CHECK(alone.parties() == 1);
  CHECK(alone.wait() == 0);
  CHECK(alone.wait() == 0);
}

TEST_CASE("C111 barrier: a party that is cancelled while it fills no longer counts", "[sync][barrier]") {
  const place where = GENERATE(from_range(places()));
  bool was_cancelled = false;
  std::size_t waited = 9;
  std::atomic<int> passed{0};
  roving::run({.shards = where.shards}, [&] {
    roving::barrier meet{3};
    const auto pass = [&] {
      meet.wait();
      ++passed;
    };
    crew tasks{where};
    auto& gone = tasks.spawn(pass);
    wait_until_parked(gone);
    wait_until_parked(tasks.spawn(pass));
    gone.cancel();
    gone.join();
    was_cancelled = gone.cancelled();
    waited = meet.n_waiting();
    wait_until_parked(tasks.spawn(pass));
    tasks.spawn(pass);
    tasks.join();
  });
  CHECK(was_cancelled);
  CHECK(waited == 1);
  CHECK(passed == 3);
}

TEST_CASE("C111 barrier: abort breaks it for who waits and who comes, until it is reset", "[sync][barrier]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> broken{0};
  std::atomic<int> passed{0};
  bool was_broken = false;
  bool is_broken = true;
  roving::run({.shards = where.shards}, [&] {
    roving::barrier meet{3};
    const auto pass = [&] {
      try {
        meet.wait();
        ++passed;
      } catch (const roving::broken_barrier&) {
        ++broken;
      }
    };
    crew tasks{where};
    wait_until_parked(tasks.spawn(pass));
    wait_until_parked(tasks.spawn(pass));
    meet.abort();
    tasks.join();
    was_broken = meet.broken();
    tasks.spawn(pass);
    tasks.join();
    meet.reset();
    is_broken = meet.broken();
    for (int i = 0; i < 3; ++i) tasks.spawn(pass);
    tasks.join();
  });
  CHECK(broken == 3);
  CHECK(was_broken);
  CHECK_FALSE(is_broken);
  CHECK(passed == 3);
}

TEST_CASE("C111 barrier: reset throws out who waits, and it fills anew", "[sync][barrier]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> broken{0};
  std::atomic<int> passed{0};
  std::size_t waited = 9;
  roving::run({.shards = where.shards}, [&] {
    roving::barrier meet{3};
    const auto pass = [&] {
      try {
        meet.wait();
        ++passed;
      } catch (const roving::broken_barrier&) {
        ++broken;
      }
    };
    crew tasks{where};
    wait_until_parked(tasks.spawn(pass));
    wait_until_parked(tasks.spawn(pass));
    meet.reset();
    tasks.join();
    waited = meet.n_waiting();
    for (int i = 0; i < 3; ++i) tasks.spawn(pass);
    tasks.join();
  });
  CHECK(broken == 2);
  CHECK(passed == 3);
  CHECK(waited == 0);
}

TEST_CASE("C111 barrier: it stays usable under random cancels", "[sync][barrier]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(300);
  std::atomic<int> passed{0};
  std::size_t waited = 9;
  roving::run({.shards = where.shards}, [&] {
    roving::barrier meet{2};
    std::atomic<int> cancels{0};
    crew tasks{where};
    for (int i = 0; i < 5; ++i) {
      tasks.spawn([&] {
        while (cancels < turns) {
          try {
            meet.wait();
            ++passed;
          } catch (const roving::cancelled&) {
            ++cancels;
          }
        }
      });
    }
    tasks.cancel_until_done(4);  // the last one, too, that waits alone
    waited = meet.n_waiting();
  });
  CHECK(passed > 0);
  CHECK(waited == 0);
}

TEST_CASE("barrier: threads and tasks meet", "[sync][barrier]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(200);
  roving::barrier meet{3};
  std::atomic<int> passed{0};
  const auto pass = [&] {
    for (int i = 0; i < turns; ++i) {
      meet.wait();
      ++passed;
    }
  };
  std::thread thread{pass};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    tasks.spawn(pass);
    tasks.spawn(pass);
    tasks.join();
  });
  thread.join();
  CHECK(passed == 3 * turns);
}
