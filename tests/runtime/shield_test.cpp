// Tested: shield. Tasks write down what they saw; the test's own thread checks it after run().
#include <atomic>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;
using namespace std::chrono_literals;

TEST_CASE("C71 shield: a cancel of the waiter does not reach the task, which goes on", "[runtime][shield]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  int value = 0;
  run_in(where, [&] {
    roving::event go_on;
    auto inner = roving::spawn(at(where, 1), [&] {
      go_on.wait();
      return 7;
    });
    auto outer = roving::spawn(at(where, 2), [&] { (void)roving::shield(inner); });
    wait_until_waiting(inner);
    wait_until_waiting(outer);
    outer.cancel("m");
    thrown = thrown_by([&] { outer.get(); });
    go_on.set();
    value = inner.get();
  });
  CHECK(thrown == "cancelled: m");
  CHECK(value == 7);
}

TEST_CASE("C71 shield: of a task that is given to it: it has its value, or goes on by itself", "[runtime][shield]") {
  const place where = GENERATE(from_range(places()));
  int value = 0;
  std::string thrown;
  bool inner_cancelled = true;
  std::atomic<bool> inner_ended{false};
  run_in(where, [&] {
    value = roving::shield(roving::spawn(at(where, 1), [] {
      roving::yield();
      return 5;
    }));
    auto go_on = std::make_shared<roving::event>();
    auto begun = std::make_shared<roving::event>();
    auto outer = roving::spawn(at(where, 2), [&, go_on, begun] {
      roving::shield(roving::spawn(at(where, 3), [&, go_on, begun] {
        begun->set();
        try {
          go_on->wait();
          inner_cancelled = false;
        } catch (const roving::cancelled&) {
        }
        inner_ended = true;
      }));
    });
    begun->wait();
    wait_until_waiting(outer);
    outer.cancel();
    thrown = thrown_by([&] { outer.get(); });
    go_on->set();
    while (!inner_ended) roving::yield();
  });
  CHECK(value == 5);
  CHECK(thrown == "cancelled");
  CHECK_FALSE(inner_cancelled);
}

TEST_CASE("C72 shield: the task's own end comes through: value, exception, cancel", "[runtime][shield]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> thrown;
  int value = 0;
  unsigned cancelling = 99;
  const int reports = run_in(where, [&] {
    roving::event go;
    auto works = roving::spawn(at(where, 1), [&] {
      go.wait();
      return 3;
    });
    auto fails = roving::spawn(at(where, 2), [&] {
      go.wait();
      throw error("x");
    });
    auto is_cancelled = roving::spawn(at(where, 3), [] { park(); });
    wait_until_waiting(is_cancelled);
    auto others = roving::spawn(at(where, 4), [&] {
      go.set();
      is_cancelled.cancel("m");
    });
    value = roving::shield(works);
    thrown.push_back(thrown_by([&] { roving::shield(fails); }));
    thrown.push_back(thrown_by([&] { roving::shield(is_cancelled); }));
    cancelling = roving::this_task::cancelling();
    others.join();
  });
  CHECK(value == 3);
  REQUIRE(thrown.size() == 2);
  CHECK(thrown[0] == "x");
  CHECK(thrown[1].substr(0, 9) == "cancelled");
  CHECK(cancelling == 0);
  CHECK(reports == 0);
}

TEST_CASE("C72 shield: of what is done it does not suspend; else it wakes two generations after", "[runtime][shield]") {
  bool other_ran = true;
  int value = 0;
  int ended = 0;
  int woke = 0;
  run_in_order([&] {
    auto inner = roving::spawn([] { return 4; });
    roving::yield();
    other_ran = false;
    auto other = roving::spawn([&] { other_ran = true; });
    value = roving::shield(inner);
    if (other_ran) value = -1;
    other.join();

    const generations clock;
    roving::promise<void> go;
    auto later = roving::spawn([&, goes = go.get_future()]() mutable {
      goes.get();
      ended = clock.now();
    });
    auto waiter = roving::spawn([&] {
      roving::shield(later);
      woke = clock.now();
    });
    for (int i = 0; i < 3; ++i) roving::yield();
    go.set_value();
    waiter.join();
  });
  CHECK(value == 4);
  CHECK(woke == ended + 2);
}

TEST_CASE("C72 shield: of a future that is cancelled while the waiter is", "[runtime][shield]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  bool future_cancelled = true;
  run_in(where, [&] {
    roving::promise<int> promise;
    auto future = promise.get_future();
    auto waiter = roving::spawn(at(where, 1), [&] { (void)roving::shield(future); });
    wait_until_waiting(waiter);
    waiter.cancel();
    thrown = thrown_by([&] { waiter.get(); });
    future_cancelled = future.cancelled();
    promise.set_value(1);
  });
  CHECK(thrown == "cancelled");
  CHECK_FALSE(future_cancelled);
}

TEST_CASE("C73 shield: a failure after the waiter was cancelled is reported once, unless somebody fetches it",
          "[runtime][shield]") {
  const place where = GENERATE(from_range(places()));
  const bool fetched = GENERATE(false, true);
  const int reports = run_in(where, [&] {
    roving::event go_on;
    auto inner = roving::spawn(at(where, 1), [&] {
      go_on.wait();
      throw error("late");
    });
    auto outer = roving::spawn(at(where, 2), [&] { roving::shield(inner); });
    wait_until_waiting(outer);
    outer.cancel();
    outer.join();
    go_on.set();
    inner.join();
    if (fetched) (void)inner.exception();
  });
  CHECK(reports == (fetched ? 0 : 1));
}

TEST_CASE("shield: the end of the task and cancels of the waiter race, and the task is never cancelled",
          "[runtime][shield]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(3000);
  std::atomic<int> cancelled{0};
  int completed = 0;
  run_in(where, [&] {
    dice draw{11};
    for (int turn = 0; turn < turns; ++turn) {
      auto inner = roving::spawn(at(where, draw() % 4), [&, pause = draw() % 3] {
        try {
          for (auto left = pause; left > 0; --left) roving::yield();
        } catch (const roving::cancelled&) {
          ++cancelled;
        }
        return 1;
      });
      auto outer = roving::spawn(at(where, draw() % 4), [&] { (void)roving::shield(inner); });
      for (auto pause = draw() % 3; pause > 0; --pause) roving::yield();
      outer.cancel();
      outer.join();
      completed += inner.get();
    }
  });
  CHECK(cancelled == 0);
  CHECK(completed == turns);
}
