// Tested: wait. Tasks write down what they saw; the test's own thread checks it after run().
#include <atomic>
#include <deque>
#include <stdexcept>
#include <thread>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;
using namespace std::chrono_literals;

namespace {

// Tasks that end when they are told to, by number.
struct told_tasks {
  explicit told_tasks(const place& where, int count) {
    for (int i = 0; i < count; ++i) {
      promises.emplace_back();
      tasks.push_back(roving::spawn(at(where, static_cast<unsigned>(i)),
                                    [goes = promises.back().get_future()]() mutable { goes.get(); }));
    }
  }
  void end(std::size_t which) { promises[which].set_value(); }
  void fail(std::size_t which) { promises[which].set_exception(std::make_exception_ptr(error("told to"))); }
  // To places in `tasks`.
  [[nodiscard]] std::vector<int> numbers_of(const std::vector<roving::task<void>*>& handles) const {
    std::vector<int> made;
    for (const auto* each : handles) made.push_back(static_cast<int>(each - tasks.data()));
    return made;
  }

  std::deque<roving::promise<void>> promises;
  std::vector<roving::task<void>> tasks;
};

}  // namespace

TEST_CASE("C67 wait: all_completed comes back when all are done, failed and cancelled ones too", "[runtime][wait]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> done;
  std::vector<int> pending;
  int reports = run_in(where, [&] {
    told_tasks of{where, 3};
    wait_until_waiting(of.tasks[2]);
    auto ender = roving::spawn(at(where, 1), [&] {
      of.fail(1);
      of.tasks[2].cancel();
      of.tasks[2].join();
      of.end(0);
    });
    const auto result = roving::wait(of.tasks);
    done = of.numbers_of(result.done);
    pending = of.numbers_of(result.pending);
    (void)of.tasks[1].exception();
    ender.join();
  });
  CHECK(done == numbers(3));
  CHECK(pending.empty());
  CHECK(reports == 0);
}

TEST_CASE("C67 wait: first_completed comes back with the first, in argument order", "[runtime][wait]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> done;
  std::vector<int> pending;
  run_in(where, [&] {
    told_tasks of{where, 4};
    of.end(2);
    const auto result = roving::wait(of.tasks, roving::first_completed);
    done = of.numbers_of(result.done);
    pending = of.numbers_of(result.pending);
    for (const std::size_t i : {0U, 1U, 3U}) of.end(i);
    (void)roving::wait(of.tasks);
  });
  CHECK(done == std::vector<int>{2});
  CHECK(pending == std::vector<int>{0, 1, 3});
}

TEST_CASE("C67 wait: everything that is done when it wakes is among the done", "[runtime][wait]") {
  std::vector<int> done;
  run_in_order([&] {
    told_tasks of{{1, false}, 3};
    roving::yield();
    auto ender = roving::spawn([&] {
      of.end(2);
      of.end(0);
    });
    const auto result = roving::wait(of.tasks, roving::first_completed);
    done = of.numbers_of(result.done);
    of.end(1);
    of.tasks[1].join();
    ender.join();
  });
  CHECK(done == std::vector<int>{0, 2});
}

TEST_CASE("C67 wait: first_exception comes back with the first failure; one that was cancelled is none",
          "[runtime][wait]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> done;
  std::vector<int> pending;
  std::size_t done_without = 0;
  const int reports = run_in(where, [&] {
    told_tasks of{where, 4};
    wait_until_waiting(of.tasks[0]);
    of.tasks[0].cancel();
    of.tasks[0].join();
    of.end(1);
    of.tasks[1].join();
    auto ender = roving::spawn(at(where, 2), [&] { of.fail(3); });
    const auto result = roving::wait(of.tasks, roving::first_exception);
    done = of.numbers_of(result.done);
    pending = of.numbers_of(result.pending);
    of.end(2);
    ender.join();

    told_tasks without{where, 2};
    without.end(0);
    without.end(1);
    done_without = roving::wait(without.tasks, roving::first_exception).done.size();
  });
  CHECK(done == std::vector<int>{0, 1, 3});
  CHECK(pending == std::vector<int>{2});
  CHECK(done_without == 2);
  CHECK(reports == 1);  // nobody fetched the error: waiting does not
}

TEST_CASE("C67 wait: it wakes two generations after the end, also for what was done before", "[runtime][wait]") {
  int ended = 0;
  int woke = 0;
  int called = 0;
  int woke_again = 0;
  run_in_order([&] {
    const generations clock;
    roving::promise<void> go;
    auto task = roving::spawn([&, goes = go.get_future()]() mutable {
      goes.get();
      ended = clock.now();
    });
    const std::vector<roving::task_handle*> one{&task};
    auto waiter = roving::spawn([&] {
      (void)roving::wait(one);
      woke = clock.now();
      called = clock.now();
      (void)roving::wait(one);
      woke_again = clock.now();
    });
    for (int i = 0; i < 3; ++i) roving::yield();
    go.set_value();
    waiter.join();
  });
  CHECK(woke == ended + 2);
  CHECK(woke_again == called + 2);
}

TEST_CASE("C67 wait: handles of any kind may be mixed by pointer, and each counts once", "[runtime][wait]") {
  const place where = GENERATE(from_range(places()));
  std::size_t done = 0;
  std::size_t views = 0;
  std::size_t futures = 0;
  run_in(where, [&] {
    auto number = roving::spawn(at(where, 1), [] { return 1; });
    auto nothing = roving::spawn(at(where, 2), [] { roving::yield(); });
    done = roving::wait(std::vector<roving::task_handle*>{&number, &nothing, &number}).done.size();

    std::vector<roving::task_view> seen = roving::all_tasks();
    views = roving::wait(seen, roving::first_completed, 0s).pending.size();

    roving::promise<int> kept;
    const auto shared = kept.get_future().share();
    auto keeper = roving::spawn(at(where, 3), [&] { kept.set_value(3); });
    std::vector<roving::shared_future<int>> copies{shared, shared};
    futures = roving::wait(copies).done.size();
    keeper.join();
  });
  CHECK(done == 2);
  CHECK(views >= 1);
  CHECK(futures == 1);
}

TEST_CASE("C68 wait: when its time has passed it throws nothing and cancels nothing", "[runtime][wait]") {
  const place where = GENERATE(from_range(places()));
  const auto timeout = GENERATE(-1ms, 0ms, 1ms);
  std::vector<int> done;
  std::vector<int> pending;
  bool early = false;
  bool went_on = false;
  run_in(where, [&] {
    told_tasks of{where, 2};
    of.end(1);
    of.tasks[1].join();
    const auto start = roving::now();
    const auto result = roving::wait(of.tasks, roving::all_completed, timeout);
    early = roving::now() < start + timeout;
    done = of.numbers_of(result.done);
    pending = of.numbers_of(result.pending);
    of.end(0);
    of.tasks[0].join();
    went_on = !of.tasks[0].cancelled();
  });
  CHECK(done == std::vector<int>{1});
  CHECK(pending == std::vector<int>{0});
  CHECK_FALSE(early);
  CHECK(went_on);
}

TEST_CASE("C68 wait: what ends in time leaves no timer behind", "[runtime][wait]") {
  const place where = GENERATE(from_range(places()));
  int woke = 0;
  run_in(where, [&] {
    for (int i = 0; i < 20; ++i) {
      told_tasks of{where, 2};
      of.end(0);
      of.end(1);
      woke += static_cast<int>(roving::wait(of.tasks, roving::all_completed, 24h).done.size());
    }
  });
  CHECK(woke == 40);
}

TEST_CASE("C69 wait: a cancel of the waiter leaves the tasks alone; nothing to wait for is an error",
          "[runtime][wait]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  bool all_alive = false;
  bool refused = false;
  run_in(where, [&] {
    told_tasks of{where, 2};
    auto waiter = roving::spawn(at(where, 1), [&] { (void)roving::wait(of.tasks); });
    wait_until_waiting(waiter);
    waiter.cancel("m");
    thrown = thrown_by([&] { waiter.get(); });
    all_alive = !of.tasks[0].done() && !of.tasks[1].done();
    of.end(0);
    of.end(1);
    all_alive =
        all_alive && roving::wait(of.tasks).done.size() == 2 && !of.tasks[0].cancelled() && !of.tasks[1].cancelled();
    std::vector<roving::task<void>> none;
    try {
      (void)roving::wait(none);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
  });
  CHECK(thrown == "cancelled: m");
  CHECK(all_alive);
  CHECK(refused);
}

TEST_CASE("wait: a plain thread blocks in it, also with a timeout", "[runtime][wait]") {
  roving::runtime all{{.shards = 2}};
  std::size_t pending = 0;
  std::size_t done = 0;
  roving::promise<void> go;
  std::thread outsider{[&] {
    std::vector<roving::future<void>> futures;
    futures.push_back(all.submit(roving::anywhere, [goes = go.get_future()]() mutable { goes.get(); }));
    pending = roving::wait(futures, roving::all_completed, 1ms).pending.size();
    go.set_value();
    done = roving::wait(futures).done.size();
  }};
  all.run([&] { roving::blocking([&] { outsider.join(); }); });
  CHECK(pending == 1);
  CHECK(done == 1);
}

TEST_CASE("wait: ends, timeouts and cancels at random race, and each wait comes back once", "[runtime][wait]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(2000);
  int began = 0;
  int ended = 0;
  run_in(where, [&] {
    dice draw{5};
    for (int turn = 0; turn < turns; ++turn) {
      std::vector<roving::task<void>> tasks;
      for (unsigned i = 0; i < 3; ++i)
        tasks.push_back(roving::spawn(at(where, i), [pause = draw() % 3] {
          for (auto left = pause; left > 0; --left) roving::yield();
        }));
      const auto condition = draw() % 2 == 0 ? roving::first_completed : roving::all_completed;
      const auto span = std::chrono::microseconds{draw() % 20};
      ++began;
      auto waiter = roving::spawn(at(where, draw() % 4), [&, condition, span] {
        try {
          (void)roving::wait(tasks, condition, span);
        } catch (const roving::cancelled&) {
        }
        return true;
      });
      if (draw() % 2 == 0) {
        roving::yield();
        waiter.cancel();
      }
      waiter.join();
      ++ended;
    }
  });
  CHECK(began == turns);
  CHECK(ended == turns);
}
