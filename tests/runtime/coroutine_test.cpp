// Tested: C++20 coroutines on roving. Tasks write down what they saw; the test's own thread checks it after run().
#include <algorithm>
#include <atomic>
#include <coroutine>
#include <exception>
#include <memory>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/migrate.hpp"

using namespace roving_test;
using namespace std::chrono_literals;

namespace {

roving::coroutine<int> value(int of) { co_return of; }

roving::coroutine<> note(std::vector<std::string>& seen, std::string what) {
  seen.push_back(std::move(what));
  co_return;
}

roving::coroutine<> fail(std::string what) {
  throw error(what);
  co_return;
}

roving::coroutine<int> get(roving::future<int> of) { co_return co_await std::move(of); }

// Waits for ever, unless it is cancelled, and says how it ended.
roving::coroutine<int> wait_for_ever(std::vector<std::string>& seen, std::string name) {
  try {
    co_await roving::resume_after(24h);
  } catch (const roving::cancelled& thrown) {
    seen.push_back(name + " cancelled" + (thrown.has_message() ? ": " + std::string{thrown.message()} : ""));
    throw;
  }
  co_return 0;
}

// Something of another library: resumes its awaiter on a thread of its own.
class on_a_thread {
 public:
  explicit on_a_thread(std::vector<std::thread>& threads, std::atomic<bool>* may_go_on = nullptr)
      : threads_{threads}, may_go_on_{may_go_on} {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  void await_suspend(std::coroutine_handle<> self) const {
    threads_.emplace_back([self, may_go_on = may_go_on_] {
      while (may_go_on != nullptr && !*may_go_on) std::this_thread::yield();
      self.resume();
    });
  }
  int await_resume() const noexcept { return 42; }

 private:
  std::vector<std::thread>& threads_;
  std::atomic<bool>* may_go_on_;
};

// A coroutine type of another library, as small as can be.
template <bool Throws>
struct begins_at_once {
  struct promise_type {
    begins_at_once get_return_object() noexcept { return {}; }
    std::suspend_never initial_suspend() noexcept { return {}; }
    std::suspend_never final_suspend() noexcept { return {}; }
    void return_void() noexcept {}
    void unhandled_exception() {
      if (Throws) throw;
      std::terminate();
    }
  };
};

template <class Handle>
begins_at_once<false> await_elsewhere(Handle of, std::vector<std::string>& seen, roving::event& ended) {
  try {
    seen.push_back(std::to_string(co_await std::move(of)) + (roving::in_task() ? " in a task" : " in a callback"));
  } catch (const roving::cancelled&) {
    seen.emplace_back("cancelled");
  } catch (const std::exception& thrown) {
    seen.emplace_back(thrown.what());
  }
  ended.set();
}

}  // namespace

// --- values ----------------------------------------------------------------------------------------------------------

TEST_CASE("coroutine: awaits others and gives their values", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  int sum = 0;
  std::vector<std::string> seen;
  run_in(where, [&] {
    const auto all = [&](int& counter) -> roving::coroutine<int> {
      const auto reference = [](int& to) -> roving::coroutine<int&> { co_return to; };
      const auto pointer = []() -> roving::coroutine<std::unique_ptr<int>> { co_return std::make_unique<int>(10); };
      co_await reference(counter) += 1;
      int& same = co_await reference(counter);
      same += 1;
      const std::unique_ptr<int> ten = co_await pointer();
      auto later = value(100);
      co_await note(seen, "before");
      co_return counter + *ten + co_await std::move(later);
    };
    int counter = 0;
    auto lazy = all(counter);
    seen.emplace_back("made");
    sum = roving::await(std::move(lazy));
    seen.push_back(std::to_string(counter));
  });
  CHECK(sum == 112);
  CHECK(seen == std::vector<std::string>{"made", "before", "2"});
}

TEST_CASE("coroutine: awaits tasks and futures of every kind", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> seen;
  run_in(where, [&] {
    const auto all = [&]() -> roving::coroutine<> {
      roving::promise<int> promise;
      auto setter = roving::spawn(at(where, 1), [&] {
        roving::yield();
        promise.set_value(1);
      });
      seen.push_back(co_await promise.get_future());
      co_await setter;
      seen.push_back(co_await roving::spawn(at(where, 2), [] {
        roving::yield();
        return 2;
      }));
      auto kept = roving::spawn(at(where, 3), [] { return 3; });
      const int& in_task = co_await kept;
      seen.push_back(in_task);
      roving::promise<int> other;
      const auto shared = other.get_future().share();
      auto second = roving::spawn(at(where, 1), [&] { other.set_value(4); });
      seen.push_back(co_await shared);
      seen.push_back(co_await shared);  // is there already
      co_await std::move(second);
      auto lvalue = roving::promise<int>{}.get_future();
      try {
        co_await lvalue;
      } catch (const roving::broken_promise&) {
        seen.push_back(5);
      }
    };
    roving::await(all());
    roving::promise<int> promise;
    promise.set_value(6);
    seen.push_back(roving::await(promise.get_future()));
    roving::await(roving::spawn([&] { seen.push_back(7); }));
  });
  CHECK(seen == std::vector<int>{1, 2, 3, 4, 4, 5, 6, 7});
}

TEST_CASE("coroutine: exceptions come out of co_await, and of await()", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  run_in(where, [&] {
    const auto outer = [&]() -> roving::coroutine<int> {
      try {
        co_await fail("first");
      } catch (const std::runtime_error& thrown) {
        seen.emplace_back(thrown.what());
      }
      co_await roving::spawn([]() -> int { throw error("of a task"); });
      co_return 1;
    };
    seen.push_back(thrown_by([&] { roving::await(outer()); }));
    auto task = roving::spawn(at(where, 1), outer());
    seen.push_back(thrown_by([&] { task.get(); }));
  });
  CHECK(seen == std::vector<std::string>{"first", "of a task", "first", "of a task"});
}

TEST_CASE("coroutine: is part of the task that drives it, and may call what blocks a fiber", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  roving::context_var<int> number{0};
  std::vector<std::string> seen;
  run_in(where, [&] {
    roving::mutex mutex;
    const auto body = [&]() -> roving::coroutine<> {
      seen.push_back(roving::this_task::name());
      number.set(number.get() + 1);
      roving::yield();
      const std::scoped_lock hold{mutex};
      co_await roving::resume_after(1us);
      for (const int n : roving::generator<int>{[](auto& yield_value) {
             roving::yield();
             yield_value(7);
           }})
        seen.push_back(std::to_string(n));
      seen.push_back(std::to_string(roving::await(value(8))));  // one that blocks, inside
      seen.push_back(roving::this_task::name() + " " + std::to_string(number.get()));
    };
    roving::attributes what;
    what.name = "driver";
    what.placement = at(where, 1);
    roving::spawn(what, [&] {
      number.set(10);
      roving::await(body());
      seen.push_back(std::to_string(number.get()));
    }).get();
  });
  CHECK(seen == std::vector<std::string>{"driver", "7", "8", "driver 11", "11"});
}

TEST_CASE("coroutine: can be given to whatever takes callables", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> seen;
  run_in(where, [&] {
    const auto slow = [](int of) -> roving::coroutine<int> {
      co_await roving::resume_after(1us);
      co_return of;
    };
    seen.push_back(roving::spawn(at(where, 1), slow(1)).get());
    const auto [a, b] = roving::gather(slow(2), value(3));
    seen.push_back(a);
    seen.push_back(b);
    std::atomic<int> sum{0};
    const auto add = [&](int of) -> roving::coroutine<> { sum += co_await slow(of); };
    roving::with_task_group([&](roving::task_group& group) {
      for (int i = 0; i < 4; ++i) group.spawn(at(where, static_cast<unsigned>(i)), add(i));
    });
    seen.push_back(sum);
  });
  CHECK(seen == std::vector<int>{1, 2, 3, 6});
}

TEST_CASE("coroutine: one that is never awaited does not run; one is awaited once", "[runtime][coroutine]") {
  const auto alive = std::make_shared<int>(0);
  std::vector<std::string> seen;
  const auto holds = [&](std::shared_ptr<int>) -> roving::coroutine<int> {
    seen.emplace_back("runs");
    co_return 1;
  };
  roving::run({.shards = 1}, [&] {
    {
      auto unused = holds(alive);
      auto moved = std::move(unused);
      seen.push_back(std::to_string(alive.use_count()) + (moved.valid() && !unused.valid() ? " valid" : " not valid"));
    }
    seen.push_back(std::to_string(alive.use_count()));
    const auto is_invalid = [&](auto f) {
      try {
        f();
        seen.emplace_back("nothing");
      } catch (const roving::invalid_state&) {
        seen.emplace_back("invalid_state");
      }
    };
    auto once = value(1);
    roving::await(std::move(once));
    is_invalid([&] { roving::await(std::move(once)); });
    is_invalid([] { roving::await(roving::coroutine<int>{}); });
    is_invalid([&] { roving::await(roving::when_all(value(1), std::move(once))); });
    is_invalid([&] {
      const auto awaits = [&]() -> roving::coroutine<> { co_await std::move(once); };
      roving::await(awaits());
    });
    roving::event called;
    roving::post([&] {
      try {
        roving::await(value(1));
      } catch (const roving::not_in_task&) {
        seen.emplace_back("not_in_task");
      }
      called.set();
    });
    called.wait();
  });
  CHECK(seen ==
        std::vector<std::string>{"2 valid", "1", "invalid_state", "invalid_state", "invalid_state", "invalid_state",
                                 "not_in_task"});
}

TEST_CASE("coroutine: chains of any length need no stack", "[runtime][coroutine]") {
  const int length = rounds(100'000);
  struct chain {
    static roving::coroutine<int> down(int depth) {
      if (depth == 0) {
        co_await roving::resume_after(1us);
        co_return 0;
      }
      co_return 1 + co_await down(depth - 1);
    }
    static roving::coroutine<int> along(int count) {
      int sum = 0;
      for (int i = 0; i < count; ++i) sum += co_await value(1);
      co_return sum;
    }
    static roving::coroutine<int> fails(int depth) {
      if (depth == 0) throw error("from below");
      co_return co_await fails(depth - 1);
    }
  };
  int down = 0;
  int along = 0;
  std::string thrown;
  roving::run({.shards = 1}, [&] {
    down = roving::await(chain::down(length));
    along = roving::await(chain::along(length));
    thrown = thrown_by([&] { roving::await(chain::fails(length / 100)); });
  });
  CHECK(down == length);
  CHECK(along == length);
  CHECK(thrown == "from below");
}

// --- several in one task ---------------------------------------------------------------------------------------------

TEST_CASE("when_all: runs coroutines interleaved in one task, and gives their values in order",
          "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  constexpr int count = 1000;
  std::vector<int> values;
  std::vector<int> order;
  std::tuple<int, std::monostate, std::string> few;
  std::size_t tasks = 0;
  run_in(where, [&] {
    std::vector<roving::promise<int>> promises(count);
    std::vector<roving::coroutine<int>> all;
    std::atomic<int> begun{0};
    const auto one = [&](int number) -> roving::coroutine<int> {
      ++begun;
      const int got = co_await promises[static_cast<std::size_t>(number)].get_future();
      order.push_back(number);
      co_return 2 * got;
    };
    for (int i = 0; i < count; ++i) all.push_back(one(i));
    auto setter = roving::spawn(at(where, 1), [&] {
      while (begun < count) roving::yield();
      tasks = roving::all_tasks().size();
      for (int i = count; i-- > 0;) promises[static_cast<std::size_t>(i)].set_value(i);
    });
    values = roving::await(roving::when_all(std::move(all)));
    setter.get();
    const auto text = []() -> roving::coroutine<std::string> { co_return "text"; };
    few = roving::await(roving::when_all(value(1), roving::when_all(std::vector<roving::coroutine<>>{}), text()));
  });
  std::vector<int> expected;
  for (int i = 0; i < count; ++i) expected.push_back(2 * i);
  CHECK(values == expected);
  std::vector<int> backwards;
  for (int i = count; i-- > 0;) backwards.push_back(i);
  CHECK(order == backwards);
  CHECK(few == std::tuple{1, std::monostate{}, std::string{"text"}});
  CHECK(tasks <= 3);
}

TEST_CASE("when_all: resume_after and resume_at end in the order of their deadlines, equal ones as they came",
          "[runtime][coroutine]") {
  const bool on_plain_thread = GENERATE(false, true);
  std::vector<int> order;
  bool early = false;
  const auto sleeps = [&](roving::time_point deadline, int number) -> roving::coroutine<> {
    co_await roving::resume_at(deadline);
    early = early || roving::now() < deadline;
    order.push_back(number);
  };
  const auto run = [&] {
    const roving::time_point start = roving::now();
    roving::await(roving::when_all(sleeps(start + 3ms, 3), sleeps(start + 1ms, 1), sleeps(start + 2ms, 2),
                                   sleeps(start + 1ms, 11), sleeps(start - 1ms, 0)));
  };
  if (on_plain_thread)
    run();
  else
    roving::run({.shards = 1}, run);
  CHECK(order == std::vector<int>{0, 1, 11, 2, 3});
  CHECK(!early);
}

TEST_CASE("when_all: the first that throws has the others cancelled, and is thrown when all have ended",
          "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  std::string thrown;
  std::uint32_t cancels = 0;
  run_in(where, [&] {
    roving::event go_on;
    auto cleans_up = [&](roving::task<int> task) -> roving::coroutine<int> {
      try {
        co_return co_await task;
      } catch (const roving::cancelled&) {
        cancels = task.cancelling();
        seen.emplace_back("task cancelled");
        throw error("second");  // is not told
      }
    };
    auto slow_to_end = roving::spawn(at(where, 1), [&]() -> int {
      try {
        park();
      } catch (const roving::cancelled&) {
        go_on.wait();
        roving::yield();
        throw;
      }
      return 0;
    });
    wait_until_waiting(slow_to_end);
    const auto fails = [&]() -> roving::coroutine<> {
      co_await roving::resume_after(1us);
      go_on.set();
      throw error("first");
    };
    const auto inner = [&]() -> roving::coroutine<> {  // a group in the group
      co_await roving::when_all(wait_for_ever(seen, "a"), wait_for_ever(seen, "b"));
    };
    thrown = thrown_by([&] { roving::await(roving::when_all(inner(), fails(), cleans_up(std::move(slow_to_end)))); });
    seen.push_back(thrown_by([] { roving::yield(); }));
  });
  CHECK(thrown == "first");
  CHECK(cancels == 1);
  std::sort(seen.begin(), seen.end());
  CHECK(seen == std::vector<std::string>{"a cancelled", "b cancelled", "nothing", "task cancelled"});
}

TEST_CASE("when_all: one that fails cancels also who has what it waited for, and has not gone on yet",
          "[runtime][coroutine]") {
  std::vector<std::string> seen;
  run_in_order([&] {
    roving::promise<int> first;
    roving::promise<int> second;
    const auto waits = [&]() -> roving::coroutine<> {
      try {
        co_await roving::when_all(get(first.get_future()));
        seen.emplace_back("goes on");
      } catch (const roving::cancelled&) {
        seen.emplace_back("cancelled");
      }
    };
    const auto fails = [&]() -> roving::coroutine<> {
      co_await second.get_future();
      throw error("fails");
    };
    auto task = roving::spawn(roving::when_all(waits(), fails()));
    wait_until_waiting(task);
    first.set_value(1);
    second.set_value(2);
    seen.push_back(thrown_by([&] { task.get(); }));
  });
  CHECK(seen == std::vector<std::string>{"cancelled", "fails"});
}

// --- cancellation ----------------------------------------------------------------------------------------------------

TEST_CASE("coroutine: a cancel of the task is passed on to the future that is awaited", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  bool promise_cancelled = false;
  run_in(where, [&] {
    roving::promise<int> promise;
    const auto outer = [&]() -> roving::coroutine<int> {
      seen.push_back(co_await [&]() -> roving::coroutine<std::string> {
        try {
          co_await get(promise.get_future());
        } catch (const roving::cancelled& thrown) {
          co_return "cancelled: " + std::string{thrown.message()};
        }
        co_return "not cancelled";
      }());
      co_await roving::resume_after(1us);  // it is delivered once
      co_return 5;
    };
    auto task = roving::spawn(at(where, 1), outer());
    wait_until_waiting(task);
    task.cancel("m");
    seen.push_back(std::to_string(task.get()));
    promise_cancelled = promise.cancelled();
  });
  CHECK(promise_cancelled);
  CHECK(seen == std::vector<std::string>{"cancelled: m", "5"});
}

TEST_CASE("coroutine: a cancel is passed on to the task that is awaited, which may refuse it", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  run_in(where, [&] {
    std::atomic<bool> waits{false};
    const auto awaits = [&](bool refuses) -> roving::coroutine<int> {
      co_return co_await roving::spawn(at(where, 2), [&, refuses] {
        waits = true;
        try {
          park();
        } catch (const roving::cancelled&) {
          if (!refuses) throw;
        }
        return 3;
      });
    };
    for (const bool refuses : {true, false}) {
      waits = false;
      auto task = roving::spawn(at(where, 1), awaits(refuses));
      while (!waits) roving::yield();
      wait_until_waiting(task);
      task.cancel();
      seen.push_back(thrown_by([&] { seen.push_back(std::to_string(task.get())); }));
      seen.emplace_back(task.cancelled() ? "cancelled" : "not cancelled");
    }
  });
  CHECK(seen == std::vector<std::string>{"3", "nothing", "not cancelled", "cancelled", "cancelled"});
}

TEST_CASE("coroutine: a cancel reaches all that run in the task, once", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  std::atomic<std::uint32_t> cancels{0};
  bool was_cancelled = false;
  run_in(where, [&] {
    const auto inner = [&]() -> roving::coroutine<> {
      co_await roving::when_all(wait_for_ever(seen, "a"), wait_for_ever(seen, "b"));
    };
    const auto awaits = [&]() -> roving::coroutine<> {
      co_await roving::spawn(at(where, 2), [&] {
        try {
          park();
        } catch (const roving::cancelled&) {
          for (int i = 0; i < 10; ++i) roving::yield();  // time for a second one, which must not come
          cancels = roving::this_task::cancelling();
          throw;
        }
      });
    };
    const auto all = [&]() -> roving::coroutine<> {
      co_await roving::when_all(inner(), awaits(), wait_for_ever(seen, "c"));
    };
    auto task = roving::spawn(at(where, 1), all());
    wait_until_waiting(task);
    for (int i = 0; i < 20; ++i) roving::yield();
    task.cancel("m");
    task.join();
    was_cancelled = task.cancelled();
  });
  std::sort(seen.begin(), seen.end());
  CHECK(seen == std::vector<std::string>{"a cancelled: m", "b cancelled: m", "c cancelled: m"});
  CHECK(was_cancelled);
  CHECK(cancels <= 1);  // none when it was cancelled before its first step
}

TEST_CASE("coroutine: a cancel that comes between the event and the resumption is thrown in that wait",
          "[runtime][coroutine]") {
  std::vector<std::string> seen;
  run_in_order([&] {
    roving::promise<int> promise;
    auto task = roving::spawn(get(promise.get_future()));
    wait_until_waiting(task);
    promise.set_value(1);
    task.cancel("m");
    seen.push_back(thrown_by([&] { task.get(); }));
    // Before its first step.
    auto unstarted = roving::spawn(note(seen, "runs"));
    unstarted.cancel();
    seen.push_back(thrown_by([&] { unstarted.get(); }));
    // By itself.
    const auto own = [&]() -> roving::coroutine<int> {
      roving::this_task::cancel("own");
      co_await value(1);  // waits for nothing
      seen.emplace_back("goes on");
      co_await roving::resume_after(24h);
      co_return 1;
    };
    auto cancels_itself = roving::spawn(own());
    seen.push_back(thrown_by([&] { cancels_itself.get(); }));
  });
  CHECK(seen == std::vector<std::string>{"cancelled: m", "cancelled", "goes on", "cancelled: own"});
}

TEST_CASE("coroutine: no_cancel and timeouts of the task hold for its coroutines", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  run_in(where, [&] {
    roving::promise<int> promise;
    auto held_back = roving::spawn(at(where, 1), [&] {
      {
        const roving::no_cancel hold_back;
        seen.push_back(std::to_string(roving::await(get(promise.get_future()))));
      }
      seen.push_back(thrown_by([] { roving::yield(); }));
    });
    wait_until_waiting(held_back);
    held_back.cancel("m");
    promise.set_value(7);
    held_back.join();
    seen.push_back(thrown_by([&] { roving::with_timeout(1ms, [&] { roving::await(wait_for_ever(seen, "x")); }); }));
  });
  CHECK(seen == std::vector<std::string>{"7", "cancelled: m", "x cancelled", "timeout"});
}

TEST_CASE("C121 shutdown: coroutines end with their task", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  roving::options chosen;
  chosen.shards = where.shards;
  roving::run(chosen, [&] {
    auto task = roving::spawn(at(where, 1), roving::when_all(wait_for_ever(seen, "a"), wait_for_ever(seen, "b")));
    wait_until_waiting(task);
    task.detach();
  });
  std::sort(seen.begin(), seen.end());
  CHECK(seen == std::vector<std::string>{"a cancelled", "b cancelled"});
}

// --- other libraries -------------------------------------------------------------------------------------------------

TEST_CASE("await: what another library resumes on any thread goes on in its task", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  constexpr int count = 20;
  std::vector<std::vector<std::thread>> threads(count);
  std::atomic<int> right{0};
  std::atomic<int> strays{0};
  run_in(where, [&] {
    std::vector<roving::task<void>> all;
    for (unsigned i = 0; i < count; ++i)
      all.push_back(roving::spawn(at(where, i), [&, i] {
        const auto body = [&]() -> roving::coroutine<int> {
          int sum = 0;
          for (int round = 0; round < 3; ++round) {
            sum += co_await on_a_thread{threads[i]};
            if (!roving::in_task()) ++strays;
            if (!where.is_roving && roving::this_task::shard() != i % where.shards) ++strays;
          }
          co_return sum;
        };
        if (roving::await(body()) == 126 && roving::await(on_a_thread{threads[i]}) == 42) ++right;
      }));
    for (auto& each : all) each.get();
  });
  for (auto& each : threads)
    for (auto& thread : each) thread.join();
  CHECK(right == count);
  CHECK(strays == 0);
}

namespace {

// The ways in which an awaiter may answer.
struct answers {
  enum class how { ready, no, at_once, self, other, throws, throws_later };
  how as;
  [[nodiscard]] bool await_ready() const noexcept { return as == how::ready; }
  int await_resume() const {
    if (as == how::throws_later) throw error("later");
    return static_cast<int>(as);
  }
};
struct says_bool : answers {
  [[nodiscard]] bool await_suspend(std::coroutine_handle<> self) const {
    if (as == how::throws) throw error("throws");
    if (as == how::no) return false;
    self.resume();
    return true;
  }
};
struct says_nothing : answers {
  void await_suspend(std::coroutine_handle<> self) const { self.resume(); }
};
struct says_whom : answers {
  std::coroutine_handle<> whom{};
  [[nodiscard]] std::coroutine_handle<> await_suspend(std::coroutine_handle<> self) const {
    if (as == how::self) return self;
    self.resume();
    return std::noop_coroutine();
  }
};
struct has_member {
  answers::how as;
  says_nothing operator co_await() const { return {{as}}; }
};
struct has_free {
  answers::how as;
};
says_bool operator co_await(const has_free& of) { return {{of.as}}; }

}  // namespace

TEST_CASE("await: every kind of awaiter", "[runtime][coroutine]") {
  using how = answers::how;
  std::vector<int> seen;
  std::vector<std::string> thrown;
  roving::run({.shards = 1}, [&] {
    for (const how as : {how::ready, how::no, how::at_once}) seen.push_back(roving::await(says_bool{{as}}));
    seen.push_back(roving::await(says_nothing{{how::at_once}}));
    for (const how as : {how::self, how::other}) seen.push_back(roving::await(says_whom{{as}}));
    seen.push_back(roving::await(has_member{how::at_once}));
    const has_free lvalue{how::no};
    seen.push_back(roving::await(lvalue));
    thrown.push_back(thrown_by([] { roving::await(says_bool{{how::throws}}); }));
    thrown.push_back(thrown_by([] { roving::await(says_bool{{how::throws_later}}); }));
    const auto caught = [&]() -> roving::coroutine<> {  // and goes on
      try {
        co_await says_bool{{how::throws}};
      } catch (const std::runtime_error& error) {
        thrown.emplace_back(error.what());
      }
      seen.push_back(co_await says_nothing{{how::at_once}});
      roving::promise<int> promise;
      promise.set_value(9);
      seen.push_back(co_await promise.get_future());
    };
    roving::await(caught());
  });
  CHECK(seen == std::vector<int>{0, 1, 2, 2, 3, 4, 2, 1, 2, 9});
  CHECK(thrown == std::vector<std::string>{"throws", "later", "throws"});
}

TEST_CASE("await: a cancel waits until what another library has is over", "[runtime][coroutine]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  std::vector<std::thread> threads;
  run_in(where, [&] {
    for (const bool waits_again : {true, false}) {
      std::atomic<bool> may_go_on{false};
      const auto body = [&]() -> roving::coroutine<int> {
        seen.push_back(std::to_string(co_await on_a_thread{threads, &may_go_on}));
        if (waits_again) co_await roving::resume_after(24h);
        co_return 1;
      };
      auto task = roving::spawn(at(where, 1), [&] {
        const int got = roving::await(body());
        seen.push_back(std::to_string(got));
        roving::yield();
      });
      wait_until_waiting(task);
      task.cancel("m");
      for (int i = 0; i < 5; ++i) roving::yield();
      may_go_on = true;
      seen.push_back(thrown_by([&] { task.get(); }));
    }
  });
  for (auto& each : threads) each.join();
  CHECK(seen == std::vector<std::string>{"42", "cancelled: m", "42", "1", "cancelled: m"});
}

TEST_CASE("coroutine: one of another library that awaits a task or future is resumed in a callback of the same shard",
          "[runtime][coroutine]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  std::vector<std::string> seen;
  bool no_shard = false;
  roving::run({.shards = shards}, [&] {
    roving::spawn(roving::on_shard(shards - 1), [&] {
      roving::event ended;
      const auto next = [&] {
        ended.wait();
        ended.clear();
      };
      roving::event go_on;
      await_elsewhere(roving::spawn(roving::on_shard(0),
                                    [&] {
                                      go_on.wait();
                                      return 1;
                                    }),
                      seen, ended);
      seen.emplace_back("goes on");
      go_on.set();
      next();
      roving::promise<int> promise;
      await_elsewhere(promise.get_future(), seen, ended);
      promise.set_value(2);
      next();
      roving::promise<int> shared;
      await_elsewhere(shared.get_future().share(), seen, ended);
      shared.set_exception(std::make_exception_ptr(error("failed")));
      next();
      roving::promise<int> ready;
      ready.set_value(4);
      await_elsewhere(ready.get_future(), seen, ended);
      next();
      auto cancelled = roving::spawn([]() -> int {
        park();
        return 0;
      });
      cancelled.cancel();
      await_elsewhere(std::move(cancelled), seen, ended);
      next();
    }).get();
    roving::blocking([&] {  // on a plain thread there is nowhere to go on
      roving::promise<int> promise;
      try {
        [](roving::future<int> of) -> begins_at_once<true> { co_await std::move(of); }(promise.get_future());
      } catch (const roving::no_shard&) {
        no_shard = true;
      }
    });
  });
  CHECK(
      seen ==
      std::vector<std::string>{"goes on", "1 in a callback", "2 in a callback", "failed", "4 in a task", "cancelled"});
  CHECK(no_shard);
}

TEST_CASE("await: on a plain thread it blocks", "[runtime][coroutine]") {
  std::vector<int> seen;
  std::vector<std::thread> threads;
  roving::runtime runtime{{.shards = 2}};
  roving::promise<int> promise;
  std::thread setter{[&] { promise.set_value(1); }};
  seen.push_back(roving::await(get(promise.get_future())));
  setter.join();
  seen.push_back(roving::await(on_a_thread{threads}));
  const auto several = [&]() -> roving::coroutine<int> {
    auto later = runtime.on_shard(1).post([] {});
    const auto [a, b] = co_await roving::when_all(
        value(2), [&]() -> roving::coroutine<int> { co_return co_await on_a_thread{threads}; }());
    co_return a + b;
  };
  seen.push_back(roving::await(several()));
  for (auto& each : threads) each.join();
  CHECK(seen == std::vector<int>{1, 42, 44});
}

// --- stress ----------------------------------------------------------------------------------------------------------

TEST_CASE("coroutine: thousands in tasks that migrate, some of which are cancelled", "[runtime][coroutine]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  constexpr int tasks = 20;
  const int each_has = rounds(200);
  std::atomic<long> sum{0};
  std::atomic<int> ended{0};
  std::atomic<int> whole{0};
  int was_cancelled = 0;
  roving::run({.shards = shards}, [&] {
    test::migrator migrate;
    const auto one = [&](int task, int number) -> roving::coroutine<int> {
      struct last {
        std::atomic<int>& count;
        ~last() { ++count; }
      } const end{ended};
      if (number == 0 && task % 5 == 0 && shards > 1) migrate();
      int got = co_await roving::spawn(roving::anywhere, [number] {
        if (number % 7 == 0) roving::yield();
        return number;
      });
      co_await roving::resume_after(std::chrono::microseconds{number % 40});
      got += co_await value(1);
      co_return got;
    };
    std::vector<roving::task<void>> all;
    for (int task = 0; task < tasks; ++task)
      all.push_back(roving::spawn(roving::anywhere, [&, task] {
        std::vector<roving::coroutine<int>> several;
        for (int i = 0; i < each_has; ++i) several.push_back(one(task, i));
        for (const int got : roving::await(roving::when_all(std::move(several)))) sum += got;
        ++whole;
      }));
    dice roll{7};
    for (int i = 0; i < 5; ++i) {
      for (auto pause = roll() % 8; pause > 0; --pause) roving::yield();
      all[roll() % tasks].cancel();
    }
    for (auto& each : all) {
      each.join();
      if (each.cancelled()) ++was_cancelled;
    }
  });
  const long of_one = static_cast<long>(each_has) * (each_has - 1) / 2 + each_has;
  CHECK(was_cancelled + whole == tasks);
  CHECK(sum == whole * of_one);
  CHECK(ended <= tasks * each_has);
  CHECK(ended >= whole * each_has);
}
