// Tested: roving::promise, future and shared_future, and their done-callbacks. Tasks write down what they saw; the
// test's own thread checks it after run().
#include <atomic>
#include <deque>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;
using namespace std::chrono_literals;
using names = std::vector<std::string>;

namespace {

std::exception_ptr error(const char* text) { return std::make_exception_ptr(std::runtime_error{text}); }

template <class Function>
std::string thrown_by(Function f) {
  try {
    f();
  } catch (const roving::cancelled& caught) {
    return caught.has_message() ? "Cancelled(" + std::string{caught.message()} + ")" : "Cancelled";
  } catch (const roving::invalid_state&) {
    return "InvalidState";
  } catch (const roving::broken_promise&) {
    return "BrokenPromise";
  } catch (const std::exception& caught) {
    return caught.what();
  }
  return "nothing";
}

}  // namespace

TEST_CASE("C19 future: a new one is not done, and has nothing to give", "[sync][future]") {
  roving::promise<int> promise;
  auto future = promise.get_future();
  CHECK(future.valid());
  CHECK_FALSE(future.done());
  CHECK_FALSE(future.cancelled());
  CHECK(thrown_by([&] { static_cast<void>(future.value()); }) == "InvalidState");
  CHECK(thrown_by([&] { static_cast<void>(future.exception()); }) == "InvalidState");
  CHECK(thrown_by([&] { static_cast<void>(promise.get_future()); }) == "InvalidState");
  roving::future<int> empty;
  CHECK_FALSE(empty.valid());
  CHECK(thrown_by([&] { static_cast<void>(empty.done()); }) == "InvalidState");
  CHECK(thrown_by([&] { static_cast<void>(empty.get()); }) == "InvalidState");
}

TEST_CASE("C20 future: it is completed once", "[sync][future]") {
  SECTION("with a value") {
    roving::promise<std::string> promise;
    auto future = promise.get_future();
    promise.set_value(3, 'x');
    CHECK(future.done());
    CHECK(future.value() == "xxx");
    CHECK(future.exception() == nullptr);
    CHECK(thrown_by([&] { promise.set_value("again"); }) == "InvalidState");
    CHECK(thrown_by([&] { promise.set_exception(error("late")); }) == "InvalidState");
    CHECK_FALSE(promise.try_set_value("again"));
    CHECK_FALSE(promise.try_set_exception(error("late")));
    CHECK_FALSE(future.cancel());
    CHECK(future.get() == "xxx");
    CHECK_FALSE(future.valid());
  }
  SECTION("with an exception") {
    roving::promise<void> promise;
    auto future = promise.get_future();
    promise.set_exception(error("mine"));
    CHECK(thrown_by([&] { promise.set_value(); }) == "InvalidState");
    CHECK_FALSE(promise.try_set_exception(error("late")));
    CHECK_FALSE(future.cancel());
    CHECK(thrown_by([&] { future.get(); }) == "mine");
  }
  SECTION("with a reference") {
    int target = 1;
    roving::promise<int&> promise;
    auto future = promise.get_future();
    promise.set_value(target);
    future.value() = 2;
    CHECK(&future.get() == &target);
    CHECK(target == 2);
  }
  SECTION("with what can only be moved") {
    roving::promise<std::unique_ptr<int>> promise;
    auto future = promise.get_future();
    promise.set_value(std::make_unique<int>(4));
    CHECK(*future.value() == 4);
    CHECK(*future.get() == 4);
  }
  SECTION("never with a null exception") {
    roving::promise<int> promise;
    CHECK(thrown_by([&] { promise.set_exception(nullptr); }) == "InvalidState");
    promise.set_value(1);
  }
}

TEST_CASE("C20 future: a value whose construction throws completes it with that exception", "[sync][future]") {
  struct picky {
    explicit picky(int) { throw std::runtime_error{"no"}; }
  };
  roving::promise<picky> promise;
  auto future = promise.get_future();
  CHECK(thrown_by([&] { promise.set_value(1); }) == "no");
  CHECK(future.done());
  CHECK(thrown_by([&] { static_cast<void>(future.get()); }) == "no");
}

TEST_CASE("C21 future: cancel is true once, and its message is thrown", "[sync][future]") {
  roving::promise<int> promise;
  auto future = promise.get_future().share();
  CHECK(future.cancel("why"));
  CHECK_FALSE(future.cancel("again"));
  CHECK(future.done());
  CHECK(future.cancelled());
  CHECK(promise.cancelled());
  CHECK_FALSE(promise.try_set_value(1));
  for (int i = 0; i < 2; ++i) {
    CHECK(thrown_by([&] { static_cast<void>(future.value()); }) == "Cancelled(why)");
    CHECK(thrown_by([&] { static_cast<void>(future.get()); }) == "Cancelled(why)");
    CHECK(thrown_by([&] { static_cast<void>(future.exception()); }) == "Cancelled(why)");
  }
  roving::promise<int> silent;
  auto without = silent.get_future();
  CHECK(without.cancel());
  CHECK(thrown_by([&] { static_cast<void>(without.get()); }) == "Cancelled");
}

TEST_CASE("C22 future: the same exception object is thrown each time", "[sync][future]") {
  roving::promise<int> promise;
  auto future = promise.get_future().share();
  const std::exception_ptr given = error("mine");
  promise.set_exception(given);
  CHECK(future.exception() == given);
  std::vector<const void*> seen;
  for (int i = 0; i < 3; ++i) {
    try {
      static_cast<void>(i == 0 ? future.get() : future.value());
    } catch (const std::runtime_error& caught) {
      seen.push_back(&caught);
    }
  }
  REQUIRE(seen.size() == 3);
  CHECK(seen[0] == seen[1]);
  CHECK(seen[1] == seen[2]);
}

TEST_CASE("C23 on_done: callbacks run after set_value, in the order of registration, once each", "[sync][future]") {
  const int how = GENERATE(0, 1, 2);
  names order;
  roving::run({.shards = 1}, [&] {
    roving::promise<int> promise;
    auto future = promise.get_future().share();
    for (int i = 0; i < 5; ++i) future.on_done([&, i] { order.push_back("f" + std::to_string(i)); });
    roving::post([&] { order.push_back("posted before"); });
    if (how == 0) promise.set_value(1);
    if (how == 1) promise.set_exception(error("mine"));
    if (how == 2) future.cancel();
    order.push_back("set");
    roving::post([&] { order.push_back("posted after"); });
    roving::yield();
    order.push_back("next tick");
    roving::yield();
    static_cast<void>(thrown_by([&] { static_cast<void>(future.get()); }));
  });
  CHECK(order == names{"set", "posted before", "f0", "f1", "f2", "f3", "f4", "posted after", "next tick"});
}

TEST_CASE("C24 on_done: on what is done it is posted, not called", "[sync][future]") {
  names order;
  roving::run({.shards = 1}, [&] {
    roving::promise<void> promise;
    auto future = promise.get_future();
    promise.set_value();
    roving::post([&] { order.push_back("posted before"); });
    future.on_done([&] { order.push_back("done"); });
    order.push_back("main");
    auto ended = roving::spawn([] {});
    ended.join();
    ended.on_done([&] { order.push_back("task"); });
    order.push_back("main again");
    roving::yield();
  });
  CHECK(order == names{"main", "posted before", "done", "main again", "task"});
}

TEST_CASE("C25 remove_on_done: says how many registrations went", "[sync][future]") {
  names order;
  std::vector<std::size_t> removed;
  bool is_equal = false;
  roving::run({.shards = 1}, [&] {
    roving::promise<void> promise;
    auto future = promise.get_future();
    const auto a = future.on_done([&] { order.push_back("a"); });
    const auto b = future.on_done([&] { order.push_back("b"); });
    is_equal = future.on_done(a) == a && !(a == b);
    future.on_done([&] { order.push_back("c"); });
    future.on_done(a);
    removed.push_back(future.remove_on_done(a));
    removed.push_back(future.remove_on_done(a));
    future.on_done(a);
    removed.push_back(future.remove_on_done(b));
    const roving::done_callback never{[] {}};
    removed.push_back(future.remove_on_done(never));
    promise.set_value();
    removed.push_back(future.remove_on_done(a));  // on its way
    for (int i = 0; i < 2; ++i) roving::yield();
  });
  CHECK(is_equal);
  CHECK(removed == std::vector<std::size_t>{3, 0, 1, 0, 0});
  CHECK(order == names{"c", "a"});
}

TEST_CASE("C25 on_done: callbacks may add and remove, and one is good for several futures", "[sync][future]") {
  names order;
  std::vector<std::size_t> removed;
  roving::run({.shards = 1}, [&] {
    roving::promise<void> first;
    roving::promise<void> second;
    auto future = first.get_future();
    auto other = second.get_future();
    roving::done_callback last{[&] { order.push_back("last"); }};
    future.on_done([&] {
      order.push_back("first");
      removed.push_back(future.remove_on_done(last));  // too late: it is in this tick
      removed.push_back(other.remove_on_done(last));
      future.on_done([&] { order.push_back("added"); });
      other.on_done(last);
      other.on_done(last);
    });
    future.on_done(last);
    other.on_done(last);
    first.set_value();
    for (int i = 0; i < 3; ++i) roving::yield();
    second.set_value();
    roving::yield();
  });
  CHECK(order == names{"first", "last", "added", "last", "last"});
  CHECK(removed == std::vector<std::size_t>{0, 1});
}

TEST_CASE("C25 on_done: what is removed, and what is never called, is destroyed", "[sync][future]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const auto token = std::make_shared<int>(0);
  std::vector<long> counts;
  roving::promise<void> outlives;
  auto future = outlives.get_future();
  roving::run({.shards = shards}, [&] {
    auto removed = future.on_done([token] {});
    static_cast<void>(future.remove_on_done(removed));
    counts.push_back(token.use_count());  // `removed` has it
    removed = {};
    counts.push_back(token.use_count());
    roving::spawn(roving::on_shard(shards - 1), [&] { future.on_done([token] { ++*token; }); }).join();
  });
  counts.push_back(token.use_count());
  outlives.set_value();  // the runtime is gone: nothing is called
  counts.push_back(token.use_count());
  CHECK(counts == std::vector<long>{2, 1, 2, 1});
  CHECK(*token == 0);
}

TEST_CASE("C25 on_done: what a callback throws is reported, and the others run", "[sync][future]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  std::atomic<int> ran{0};
  std::atomic<int> reports{0};
  std::atomic<int> named{0};
  roving::run({.shards = shards,
               .on_unhandled =
                   [&](const roving::unhandled& what) {
                     ++reports;
                     if (what.message.find("exception in a done-callback") == 0 &&
                         what.message.find("future_test.cpp") != std::string::npos)
                       ++named;
                   }},
              [&] {
                roving::promise<void> promise;
                auto future = promise.get_future();
                roving::spawn(roving::on_shard(shards - 1), [&] {
                  future.on_done([] { throw std::runtime_error{"boom"}; });
                  future.on_done([&] { ++ran; });
                }).join();
                promise.set_value();
                while (ran == 0) roving::yield();
              });
  CHECK(reports == 1);
  CHECK(named == 1);
}

TEST_CASE("C25 on_done: with an executor it is posted there, from anywhere", "[sync][future]") {
  struct queue_executor {
    void post(std::function<void()> f) { queued.push_back(std::move(f)); }
    std::deque<std::function<void()>> queued;
  };
  queue_executor executor;
  int called = 0;
  roving::promise<void> promise;
  auto future = promise.get_future();
  const auto kept = future.on_done(executor, [&] { ++called; });  // no shard here
  future.on_done(executor, kept);
  const auto removed = future.on_done(executor, [&] { called += 100; });
  CHECK(future.remove_on_done(removed) == 1);
  promise.set_value();
  CHECK(called == 0);
  REQUIRE(executor.queued.size() == 2);
  for (const auto& each : executor.queued) each();
  CHECK(called == 2);

  // A shard of a runtime is one.
  const unsigned shards = GENERATE(1u, 2u, 4u);
  roving::runtime all{{.shards = shards}};
  std::thread::id ran_on;
  std::thread::id thread_of_shard;
  all.run([&] {
    thread_of_shard = roving::spawn(roving::on_shard(shards - 1), [] { return std::this_thread::get_id(); }).get();
    roving::promise<void> done;
    auto is_done = done.get_future();
    roving::promise<void> other;
    auto of_other = other.get_future();
    std::thread outsider{[&] {
      of_other.on_done(all.on_shard(shards - 1), [&] {
        ran_on = std::this_thread::get_id();
        done.set_value();
      });
      other.set_value();
    }};
    is_done.get();
    outsider.join();
  });
  CHECK(ran_on == thread_of_shard);
}

TEST_CASE("C25 on_done: an executor that refuses is reported", "[sync][future]") {
  struct refuses {
    void post(const std::function<void()>&) { throw std::runtime_error{"full"}; }
  };
  int reports = 0;
  const auto token = std::make_shared<int>(0);
  roving::run({.shards = 1,
               .on_unhandled =
                   [&](const roving::unhandled& what) {
                     if (what.message.find("executor") != std::string::npos) ++reports;
                   }},
              [&] {
                roving::promise<void> promise;
                auto future = promise.get_future();
                future.on_done(refuses{}, [token] {});
                promise.set_value();
              });
  CHECK(reports == 1);
  CHECK(token.use_count() == 1);
}

TEST_CASE("C26 future: getting what is done does not yield", "[sync][future]") {
  bool callback_ran = true;
  bool callback_ran_later = false;
  roving::run({.shards = 1}, [&] {
    roving::promise<int> promise;
    auto future = promise.get_future().share();
    promise.set_value(1);
    auto ended = roving::spawn([] { return 2; });
    ended.join();
    bool ran = false;
    roving::post([&] { ran = true; });
    static_cast<void>(future.get());
    future.wait();
    static_cast<void>(future.wait_for(1h));
    ended.join();
    static_cast<void>(ended.get());
    callback_ran = ran;
    roving::yield();
    callback_ran_later = ran;
  });
  CHECK_FALSE(callback_ran);
  CHECK(callback_ran_later);
}

TEST_CASE("C27 future: callback, waiter, callback run in the order in which they came, in one tick", "[sync][future]") {
  const bool of_task = GENERATE(false, true);
  names order;
  roving::run({.shards = 1}, [&] {
    roving::promise<void> promise;
    auto future = promise.get_future().share();
    auto task = roving::spawn([&] { future.get(); });
    roving::yield();
    const auto on_done = [&](auto f) { of_task ? task.on_done(f) : future.on_done(f); };
    on_done([&] {
      order.push_back("cb1");
      roving::post([&] { order.push_back("next tick"); });
    });
    auto waiter = roving::spawn([&] {
      of_task ? task.get() : future.get();
      order.push_back("waiter");
    });
    roving::yield();
    on_done([&] { order.push_back("cb2"); });
    promise.set_value();
    waiter.join();
    roving::yield();
  });
  CHECK(order == names{"cb1", "waiter", "cb2", "next tick"});
}

TEST_CASE("C28 future: its waiters resume in the order in which they came, in one tick", "[sync][future]") {
  std::vector<int> order;
  int ticks_between = 0;
  roving::run({.shards = 1}, [&] {
    roving::promise<void> promise;
    auto future = promise.get_future().share();
    std::vector<roving::task<void>> waiters;
    for (int i = 0; i < 50; ++i)
      waiters.push_back(roving::spawn([&, i] {
        future.get();
        order.push_back(i);
      }));
    roving::yield();
    promise.set_value();
    roving::yield();
    while (order.size() < 50) {
      ++ticks_between;
      roving::yield();
    }
  });
  CHECK(order == numbers(50));
  CHECK(ticks_between == 0);
}

TEST_CASE("C29 future: an exception that nobody fetched is reported once, when it goes", "[sync][future]") {
  const int how = GENERATE(range(0, 8));
  std::vector<std::string> reports;
  roving::run({.shards = 1,
               .on_unhandled =
                   [&](const roving::unhandled& what) {
                     reports.push_back(what.message + ": " + thrown_by([&] { std::rethrow_exception(what.error); }));
                   }},
              [&] {
                roving::promise<int> promise;
                auto future = promise.get_future().share();
                const auto copy = future;
                if (how < 5) promise.set_exception(error("mine"));
                switch (how) {
                  case 0:
                    break;  // nobody asks
                  case 1:
                    static_cast<void>(thrown_by([&] { static_cast<void>(copy.value()); }));
                    break;
                  case 2:
                    static_cast<void>(copy.exception());
                    break;
                  case 3:
                    static_cast<void>(thrown_by([&] { static_cast<void>(future.get()); }));
                    break;
                  case 4:
                    future.wait();
                    break;  // throws nothing of it, so it fetches nothing
                  case 5:
                    promise.set_value(1);
                    break;
                  case 6:
                    future.cancel();
                    break;
                  default:
                    break;  // the promise breaks, and nobody wants it
                }
              });
  if (how == 0 || how == 4)
    CHECK(reports == names{"future exception was never retrieved: mine"});
  else
    CHECK(reports.empty());
}

TEST_CASE("C30 future: it is awaited from other shards and from plain threads", "[sync][future]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> sum{0};
  std::atomic<int> errors{0};
  std::atomic<int> on_its_shard{0};
  roving::run({.shards = where.shards}, [&] {
    roving::promise<int> value;
    roving::promise<int> broken;
    auto of_value = value.get_future().share();
    auto of_broken = broken.get_future().share();
    const auto await_both = [&] {
      sum += of_value.get();
      if (thrown_by([&] { static_cast<void>(of_broken.get()); }) == "mine") ++errors;
    };
    crew tasks{where};
    for (int i = 0; i < 10; ++i)
      tasks.spawn([&] {
        const bool roves = roving::this_task::is_roving();
        const unsigned before = roving::this_task::shard();
        await_both();
        if (roves || roving::this_task::shard() == before) ++on_its_shard;
      });
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i) threads.emplace_back(await_both);
    for (std::size_t i = 0; i < tasks.size(); ++i) wait_until_parked(tasks[i]);
    value.set_value(5);
    broken.set_exception(error("mine"));
    tasks.join();
    for (auto& each : threads) each.join();
  });
  CHECK(sum == 13 * 5);
  CHECK(errors == 13);
  CHECK(on_its_shard == 10);
}

TEST_CASE("C30 future: a plain thread waits with a time limit", "[sync][future]") {
  roving::promise<int> promise;
  auto future = promise.get_future();
  CHECK_FALSE(future.wait_for(1ms));
  CHECK_FALSE(future.wait_until(roving::now()));
  std::thread other{[&] { promise.set_value(3); }};
  CHECK(future.wait_for(1h));
  other.join();
  CHECK(future.get() == 3);
}

TEST_CASE("C31 future: completed by a plain thread, the waiter resumes on its own shard", "[sync][future]") {
  const place where = GENERATE(from_range(places()));
  constexpr int rounds_count = 300;
  std::atomic<int> wrong{0};
  std::atomic<int> got{0};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (unsigned t = 0; t < where.shards; ++t)
      tasks.spawn([&] {
        for (int i = 0; i < rounds_count; ++i) {
          const unsigned before = roving::this_task::shard();
          roving::promise<int> promise;
          auto future = promise.get_future();
          std::thread other{[&promise, i] { promise.set_value(i); }};
          if (future.get() == i) ++got;
          if (!roving::this_task::is_roving() && roving::this_task::shard() != before) ++wrong;
          other.join();
        }
      });
    tasks.join();
  });
  CHECK(wrong == 0);
  CHECK(got == rounds_count * static_cast<int>(where.shards));
}

TEST_CASE("C31 future: cancelling who waits cancels the source", "[sync][future]") {
  const place where = GENERATE(from_range(places()));
  bool source_cancelled = false;
  bool waiter_cancelled = false;
  bool could_set = true;
  std::string message;
  roving::run({.shards = where.shards}, [&] {
    roving::promise<int> promise;
    auto future = promise.get_future();
    crew tasks{where};
    auto& waiter = tasks.spawn([&] { static_cast<void>(future.get()); });
    wait_until_parked(waiter);
    waiter.cancel("stop");
    source_cancelled = promise.cancelled();
    waiter.join();
    waiter_cancelled = waiter.cancelled();
    message = thrown_by([&] { waiter.get(); });
    could_set = promise.try_set_value(1);
  });
  CHECK(source_cancelled);
  CHECK(waiter_cancelled);
  CHECK(message == "Cancelled(stop)");
  CHECK_FALSE(could_set);
}

TEST_CASE("C31 future: completing it after its waiter's runtime is closed does nothing", "[sync][future]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const bool from_a_thread = GENERATE(false, true);
  roving::promise<int> promise;
  auto future = promise.get_future().share();
  std::string end;
  std::atomic<int> called{0};
  const auto token = std::make_shared<int>(0);
  roving::run({.shards = shards}, [&] {
    auto waiter = roving::spawn(roving::on_shard(shards - 1), [&] {
      future.on_done([&called, token] { ++called; });
      end = thrown_by([&] { future.wait(); });  // which leaves the future alone
    });
    wait_until_parked(waiter);
    waiter.detach();
  });
  CHECK(end == "Cancelled");
  CHECK_FALSE(future.done());
  CHECK(token.use_count() == 2);
  if (from_a_thread)
    std::thread{[&] { promise.set_value(1); }}.join();
  else
    promise.set_value(1);
  CHECK(future.value() == 1);
  CHECK(called == 0);
  CHECK(token.use_count() == 1);
}

TEST_CASE("C31 future: threads complete futures while the runtime of their waiters ends", "[sync][future]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  for (int round = 0; round < 100; ++round) {
    std::thread completer;
    {
      roving::run({.shards = shards}, [&] {
        auto promise = std::make_shared<roving::promise<void>>();
        auto future = promise->get_future();
        completer = std::thread{[promise] { promise->set_value(); }};
        future.get();  // and the runtime goes, while the thread is still in set_value()
      });
    }
    completer.join();
  }
  SUCCEED();
}

TEST_CASE("C137 promise: destroyed unset, it breaks, and all who wait are told", "[sync][future]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> told{0};
  std::atomic<int> called{0};
  roving::run({.shards = where.shards}, [&] {
    auto promise = std::make_unique<roving::promise<int>>();
    auto future = promise->get_future().share();
    crew tasks{where};
    for (int i = 0; i < 5; ++i)
      tasks.spawn([&] {
        if (thrown_by([&] { static_cast<void>(future.get()); }) == "BrokenPromise") ++told;
      });
    std::thread outsider{[&] {
      if (thrown_by([&] { static_cast<void>(future.get()); }) == "BrokenPromise") ++told;
    }};
    future.on_done([&] { ++called; });
    for (std::size_t i = 0; i < tasks.size(); ++i) wait_until_parked(tasks[i]);
    promise.reset();
    tasks.join();
    outsider.join();
    while (called == 0) roving::yield();
  });
  CHECK(told == 6);
  CHECK(called == 1);
}
