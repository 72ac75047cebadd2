// Tested: as_completed. Tasks write down what they saw; the test's own thread checks it after run().
#include <atomic>
#include <deque>
#include <thread>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;
using namespace std::chrono_literals;

TEST_CASE("C70 as_completed: gives handles in the order in which they end, failures too", "[runtime][as_completed]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  run_in(where, [&] {
    std::deque<roving::promise<std::string>> promises(4);
    std::vector<roving::task<std::string>> tasks;
    for (auto& each : promises)
      tasks.push_back(roving::spawn(at(where, static_cast<unsigned>(tasks.size())),
                                    [goes = each.get_future()]() mutable { return goes.get(); }));
    // Each ends when the one before it was given.
    const std::vector<std::size_t> order{2, 0, 3, 1};
    auto next = order.begin();
    const auto end_next = [&] {
      if (next == order.end()) return;
      const std::size_t which = *next++;
      if (which == 3)
        promises[which].set_exception(std::make_exception_ptr(error("x")));
      else
        promises[which].set_value(std::to_string(which));
    };
    end_next();
    for (auto& done : roving::as_completed(tasks)) {
      seen.push_back(done.done() ? thrown_by([&] { seen.push_back(done.get()); }) : "not done");
      end_next();
    }
  });
  CHECK(seen == std::vector<std::string>{"2", "nothing", "0", "nothing", "x", "1", "nothing"});
}

TEST_CASE("C70 as_completed: what is done already comes in argument order, each once", "[runtime][as_completed]") {
  std::vector<int> seen;
  std::vector<int> of_shared;
  run_in_order([&] {
    std::vector<roving::task<int>> tasks;
    for (int i = 0; i < 4; ++i) tasks.push_back(roving::spawn([i] { return i; }));
    roving::yield();
    std::vector<roving::task<int>*> with_repetitions{&tasks[2], &tasks[0], &tasks[2], &tasks[3], &tasks[0], &tasks[1]};
    for (auto& done : roving::as_completed(with_repetitions)) seen.push_back(done.get());

    roving::promise<int> kept;
    const auto shared = kept.get_future().share();
    kept.set_value(5);
    for (auto& done : roving::as_completed(std::vector<roving::shared_future<int>>{shared, shared}))
      of_shared.push_back(done.get());
  });
  CHECK(seen == std::vector<int>{2, 0, 3, 1});
  CHECK(of_shared == std::vector<int>{5});
}

TEST_CASE("C70 as_completed: an end is given two generations later", "[runtime][as_completed]") {
  int ended = 0;
  int given = 0;
  run_in_order([&] {
    const generations clock;
    roving::promise<void> go;
    std::vector<roving::task<void>> tasks;
    tasks.push_back(roving::spawn([&, goes = go.get_future()]() mutable {
      goes.get();
      ended = clock.now();
    }));
    auto looper = roving::spawn([&] {
      for (auto& done : roving::as_completed(tasks)) given = done.done() ? clock.now() : 0;
    });
    for (int i = 0; i < 3; ++i) roving::yield();
    go.set_value();
    looper.join();
  });
  CHECK(given == ended + 2);
}

TEST_CASE("C70 as_completed: the timeout throws for the rest and cancels nothing", "[runtime][as_completed]") {
  const place where = GENERATE(from_range(places()));
  const auto timeout = GENERATE(0ms, 1ms);
  int given = 0;
  std::string thrown;
  bool went_on = false;
  int late_throws = 0;
  run_in(where, [&] {
    roving::event go_on;
    std::vector<roving::task<int>> tasks;
    tasks.push_back(roving::spawn(at(where, 1), [&] { return 1; }));
    for (unsigned i = 2; i < 4; ++i)
      tasks.push_back(roving::spawn(at(where, i), [&] {
        go_on.wait();
        return 2;
      }));
    tasks[0].join();
    thrown = thrown_by([&] {
      for (auto& done : roving::as_completed(tasks, timeout)) given += done.get();
    });
    auto in_time = roving::as_completed(tasks, 0ms);
    auto at = in_time.begin();
    for (int i = 0; i < 2; ++i) late_throws += thrown_by([&] { ++at; }) == "timeout" ? 1 : 0;
    go_on.set();
    for (auto& each : tasks) each.join();
    went_on = tasks[1].get() == 2 && tasks[2].get() == 2;
  });
  CHECK(thrown == "timeout");
  CHECK(given == 1);
  CHECK(went_on);
  CHECK(late_throws == 2);
}

TEST_CASE("C70 as_completed: a timer that has gone off lets only those through that were told of before",
          "[runtime][as_completed]") {
  std::vector<int> seen;
  std::string thrown;
  run_in_order([&] {
    roving::promise<void> go;
    std::vector<roving::task<int>> tasks;
    tasks.push_back(roving::spawn([] { return 1; }));
    tasks.push_back(roving::spawn([goes = go.get_future()]() mutable {
      goes.get();
      return 2;
    }));
    thrown = thrown_by([&] {
      for (auto& done : roving::as_completed(tasks, 1ms)) {
        seen.push_back(done.get());
        roving::sleep_for(2ms);
        go.set_value();  // it ends after the timer, and before anybody asks
        tasks[1].join();
        for (int i = 0; i < 3; ++i) roving::yield();
      }
    });
  });
  CHECK(seen == std::vector<int>{1});
  CHECK(thrown == "timeout");
}

TEST_CASE("C70 as_completed: a cancel of its task leaves what is waited for alone; it may be left early",
          "[runtime][as_completed]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  int values = 0;
  run_in(where, [&] {
    roving::event go_on;
    std::vector<roving::task<int>> tasks;
    for (unsigned i = 0; i < 3; ++i)
      tasks.push_back(roving::spawn(at(where, i), [&, i] {
        if (i > 0) go_on.wait();
        return 1;
      }));
    auto looper = roving::spawn(at(where, 1), [&] {
      for (auto& done : roving::as_completed(tasks, 24h)) values += done.get();
    });
    tasks[0].join();
    wait_until_waiting(looper);
    looper.cancel("m");
    thrown = thrown_by([&] { looper.get(); });
    for (auto& done : roving::as_completed(tasks)) {
      values += 10 * done.get();
      break;
    }
    go_on.set();
    for (auto& each : tasks) values += 100 * each.get();
  });
  CHECK(thrown == "cancelled: m");
  CHECK((values == 310 || values == 311));  // the first may have been given before the cancel
}

TEST_CASE("as_completed: a plain thread goes through futures, also within a time", "[runtime][as_completed]") {
  roving::runtime all{{.shards = 2}};
  int sum = 0;
  std::string thrown;
  roving::promise<void> go;
  std::thread outsider{[&] {
    std::vector<roving::future<int>> futures;
    for (int i = 1; i < 4; ++i) futures.push_back(all.submit(roving::anywhere, [i] { return i; }));
    for (auto& done : roving::as_completed(futures)) sum += done.get();
    std::vector<roving::future<void>> late;
    late.push_back(go.get_future());
    thrown = thrown_by([&] {
      for (auto& done : roving::as_completed(late, 1ms)) done.get();
    });
  }};
  all.run([&] { roving::blocking([&] { outsider.join(); }); });
  CHECK(sum == 6);
  CHECK(thrown == "timeout");
}

TEST_CASE("as_completed: each of many is given once, whatever races", "[runtime][as_completed]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(200);
  long given = 0;
  long timed_out = 0;
  run_in(where, [&] {
    dice draw{9};
    for (int turn = 0; turn < turns; ++turn) {
      std::vector<roving::task<int>> tasks;
      for (unsigned i = 0; i < 20; ++i)
        tasks.push_back(roving::spawn(at(where, i), [pause = draw() % 5] {
          for (auto left = pause; left > 0; --left) roving::yield();
          return 1;
        }));
      const bool hurries = draw() % 3 == 0;
      try {
        for (auto& done : roving::as_completed(tasks, hurries ? roving::duration{20us} : roving::duration{24h}))
          given += done.get();
      } catch (const roving::timeout_error&) {
        ++timed_out;
      }
      for (auto& each : tasks) each.join();
      if (!hurries) given -= 20;
    }
  });
  CHECK(given >= 0);
  CHECK(given <= 20L * turns);
  CHECK(timed_out <= turns);
}
