// Tested: blocking() and compute(), executors, submit(), and what becomes of their work when a runtime closes.
//
// Threads are held by signals, and a test waits until a thread or a task has come to a point, so that no order is left
// to chance or to time.
#include <algorithm>
#include <atomic>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/sanitizers.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/plain_signal.hpp"
#include "tests/sync/places.hpp"

#if ROVING_WITH_TBB
#  include <tbb/blocked_range.h>
#  include <tbb/parallel_reduce.h>
#endif
#if defined(__linux__)
#  include <sched.h>
#endif

using namespace roving_test;
using namespace std::chrono_literals;

namespace {

template <class Condition>
void yield_until(Condition holds) {
  while (!holds()) roving::yield();
}

// What was reported as unhandled, by any thread.
class reports {
 public:
  [[nodiscard]] roving::unhandled_handler handler() {
    return [this](const roving::unhandled& what) {
      const std::lock_guard guard{mutex_};
      messages_.push_back(what.message);
    };
  }
  [[nodiscard]] std::vector<std::string> messages() {
    const std::lock_guard guard{mutex_};
    return messages_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> messages_;
};

// Begins, and ends when it may.
struct held_call {
  plain_signal begun;
  plain_signal may_end;
  std::atomic<bool> has_ended{false};

  void operator()() {
    begun.set();
    may_end.wait();
    has_ended = true;
  }
};

// Both of them, told apart by how they are called.
enum class way { blocking, compute };

template <class Function>
decltype(auto) call_off_shard(way how, Function&& f) {
  if (how == way::blocking) return roving::blocking(std::forward<Function>(f));
  return roving::compute(std::forward<Function>(f));
}

}  // namespace

// --- blocking() and compute()

TEST_CASE("C114 blocking and compute: value and exception come back, and it runs off every shard",
          "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  const way how = GENERATE(way::blocking, way::compute);
  std::atomic<int> sum{0};
  std::atomic<int> caught{0};
  std::atomic<int> on_a_shard{0};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 1; i <= 100; ++i) {
      tasks.spawn([&, i] {
        sum += call_off_shard(how, [&, i] {
          try {
            (void)roving::shard_count();
            ++on_a_shard;
          } catch (const roving::no_shard&) {
          }
          return i;
        });
        try {
          call_off_shard(how, [i]() -> int { throw std::runtime_error{std::to_string(i)}; });
        } catch (const std::runtime_error& error) {
          if (error.what() == std::to_string(i)) ++caught;
        }
      });
    }
    tasks.join();
  });
  CHECK(sum == 5050);
  CHECK(caught == 100);
  CHECK(on_a_shard == 0);
}

TEST_CASE("C114 blocking and compute: nothing, references and what can only be moved come back",
          "[runtime][executor]") {
  const way how = GENERATE(way::blocking, way::compute);
  bool called = false;
  bool same = false;
  int moved = 0;
  roving::run({.shards = 1}, [&] {
    call_off_shard(how, [&] { called = true; });
    int number = 1;
    same = &call_off_shard(how, [&]() -> int& { return number; }) == &number;
    const auto owner = call_off_shard(how, [only = std::make_unique<int>(7)]() mutable { return std::move(only); });
    moved = *owner;
  });
  CHECK(called);
  CHECK(same);
  CHECK(moved == 7);
}

TEST_CASE("C114 blocking and compute: the context is copied; submit takes it by with_context only",
          "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> seen_inside{0};
  std::atomic<int> seen_after{0};
  std::atomic<int> seen_raw{0};
  std::atomic<int> seen_with_context{0};
  roving::context_var<int> number{-1};
  roving::blocking_pool own;
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 0; i < 20; ++i) {
      tasks.spawn([&, i] {
        number.set(i);
        for (const way how : {way::blocking, way::compute}) {
          call_off_shard(how, [&, i] {
            if (number.get() == i) ++seen_inside;
            number.set(1000);
          });
          if (number.get() == i) ++seen_after;
        }
        const auto use = [&](auto&& executor) {
          if (roving::submit(executor, [&] { return number.get(); }).get() == -1) ++seen_raw;
          if (roving::submit(executor, roving::with_context([&] { return number.get(); })).get() == i)
            ++seen_with_context;
        };
        use(own);
        use(roving::blocking_executor{});
        use(roving::compute_executor{});
        use(roving::anywhere_executor{});
        use(roving::shard_executor{0});
      });
    }
    tasks.join();
  });
  CHECK(seen_inside == 40);
  CHECK(seen_after == 40);
  CHECK(seen_raw == 100);
  CHECK(seen_with_context == 100);
}

TEST_CASE("C114 blocking and compute: the shard goes on while the caller is parked", "[runtime][executor]") {
  const way how = GENERATE(way::blocking, way::compute);
  bool others_ran = false;
  roving::run({.shards = 1}, [&] {
    held_call work;
    const auto caller = roving::spawn([&] { call_off_shard(how, work); });
    yield_until([&] { return work.begun.is_set(); });
    const auto other = roving::spawn([&] { others_ran = !work.has_ended; });
    other.join();
    work.may_end.set();
    caller.join();
  });
  CHECK(others_ran);
}

TEST_CASE("C114 blocking and compute: refused where nothing can be parked", "[runtime][executor]") {
  CHECK_THROWS_AS(roving::blocking([] {}), roving::no_shard);
  CHECK_THROWS_AS(roving::compute([] {}), roving::no_shard);
  bool refused = false;
  roving::run({.shards = 1}, [&] {
    roving::blocking([&] {
      try {
        roving::blocking([] {});
      } catch (const roving::no_shard&) {
        refused = true;
      }
    });
  });
  CHECK(refused);
}

TEST_CASE("blocking: calls that wait for each other all get a thread", "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> begun{0};
  roving::run({.shards = where.shards, .blocking_threads_at_most = 20}, [&] {
    crew tasks{where};
    for (int i = 0; i < 20; ++i) {
      tasks.spawn([&] {
        roving::blocking([&] {
          ++begun;
          while (begun < 20) std::this_thread::yield();
        });
      });
    }
    tasks.join();
  });
  CHECK(begun == 20);
}

TEST_CASE("C115 blocking and compute: work that has begun is waited for, then the cancel is thrown",
          "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  const way how = GENERATE(way::blocking, way::compute);
  bool done_too_early = true;
  bool ended_before_it_was_thrown = false;
  bool was_cancelled = false;
  std::string message;
  std::uint32_t requests = 0;
  roving::run({.shards = where.shards}, [&] {
    held_call work;
    crew tasks{where};
    auto& caller = tasks.spawn([&] {
      try {
        call_off_shard(how, work);
      } catch (const roving::cancelled& thrown) {
        ended_before_it_was_thrown = work.has_ended;
        message = thrown.message();
        roving::yield();  // once: the second request was the same throw
        throw;
      }
    });
    yield_until([&] { return work.begun.is_set() && is_parked(caller); });
    caller.cancel("first");
    caller.cancel("second");
    for (int i = 0; i < 10; ++i) roving::yield();
    done_too_early = caller.done();
    work.may_end.set();
    caller.join();
    was_cancelled = caller.cancelled();
    requests = caller.cancelling();
  });
  CHECK_FALSE(done_too_early);
  CHECK(ended_before_it_was_thrown);
  CHECK(was_cancelled);
  CHECK(message == "first");
  CHECK(requests == 2);
}

TEST_CASE("C115 blocking and compute: queued work that is cancelled never runs, and ends at once",
          "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  const way how = GENERATE(way::blocking, way::compute);
  std::atomic<int> ran{0};
  int cancelled_at_once = 0;
  roving::run({.shards = where.shards, .blocking_threads_at_most = 1, .compute_threads = 1}, [&] {
    held_call work;
    crew tasks{where};
    tasks.spawn([&] { call_off_shard(how, work); });
    yield_until([&] { return work.begun.is_set(); });
    for (int i = 0; i < 10; ++i) wait_until_parked(tasks.spawn([&] { call_off_shard(how, [&] { ++ran; }); }));
    for (std::size_t i = 1; i < tasks.size(); ++i) {
      if (i % 2 == 0) continue;
      tasks[i].cancel();
      tasks[i].join();  // though the only thread is busy
      if (tasks[i].cancelled()) ++cancelled_at_once;
    }
    work.may_end.set();
    tasks.join();
  });
  CHECK(cancelled_at_once == 5);
  CHECK(ran == 5);
}

TEST_CASE("C115 blocking: a cancel that is pending keeps the work from beginning", "[runtime][executor]") {
  bool ran = false;
  bool thrown = false;
  roving::run({.shards = 1}, [&] {
    auto caller = roving::spawn([&] {
      roving::this_task::cancel();
      try {
        roving::blocking([&] { ran = true; });
      } catch (const roving::cancelled&) {
        thrown = true;
      }
    });
    caller.join();
  });
  CHECK(thrown);
  CHECK_FALSE(ran);
}

TEST_CASE("C115 blocking: an exception of work that was cancelled meanwhile is reported", "[runtime][executor]") {
  reports seen;
  bool was_cancelled = false;
  roving::run({.shards = 1, .on_unhandled = seen.handler()}, [&] {
    held_call work;
    auto caller = roving::spawn([&] {
      roving::blocking([&] {
        work();
        throw std::runtime_error{"late"};
      });
    });
    yield_until([&] { return work.begun.is_set(); });
    caller.cancel();
    roving::yield();
    work.may_end.set();
    caller.join();
    was_cancelled = caller.cancelled();
  });
  CHECK(was_cancelled);
  CHECK(seen.messages() == std::vector<std::string>{"exception of a call that was cancelled meanwhile"});
}

TEST_CASE("C133 blocking: in no_cancel the value comes back though a cancel is pending", "[runtime][executor]") {
  int value = 0;
  bool thrown_after = false;
  roving::run({.shards = 1}, [&] {
    held_call work;
    auto caller = roving::spawn([&] {
      {
        const roving::no_cancel hold;
        value = roving::blocking([&] {
          work();
          return 5;
        });
      }
      try {
        roving::yield();
      } catch (const roving::cancelled&) {
        thrown_after = true;
      }
    });
    yield_until([&] { return work.begun.is_set(); });
    caller.cancel();
    work.may_end.set();
    caller.join();
  });
  CHECK(value == 5);
  CHECK(thrown_after);
}

TEST_CASE("C115 blocking: cancels race with work that begins and ends", "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  const int count = rounds(4000);
  std::atomic<int> ran{0};
  std::atomic<int> returned{0};
  std::atomic<int> cancelled_after{0};
  std::atomic<int> cancelled_before{0};
  roving::run({.shards = where.shards, .blocking_threads_at_most = 2}, [&] {
    crew tasks{where};
    for (int i = 0; i < count; ++i) {
      tasks.spawn([&] {
        bool began = false;
        try {
          roving::blocking([&] {
            began = true;
            ++ran;
          });
          ++returned;
        } catch (const roving::cancelled&) {
          ++(began ? cancelled_after : cancelled_before);
        }
      });
      if (i % 8 == 0) roving::yield();
      if (i >= 5) tasks[static_cast<std::size_t>(i) - 5].cancel();
    }
    tasks.join();
  });
  // A task that was cancelled before its first step is none of these.
  CHECK(returned + cancelled_after == ran);
  CHECK(returned + cancelled_after + cancelled_before <= count);
}

#if defined(__linux__)
TEST_CASE("blocking and compute: their threads are not kept on the core of the shard that started them",
          "[runtime][executor]") {
  const way how = GENERATE(way::blocking, way::compute);
  cpu_set_t before;
  cpu_set_t inside;
  CPU_ZERO(&before);
  CPU_ZERO(&inside);
  REQUIRE(::sched_getaffinity(0, sizeof before, &before) == 0);
  roving::run({.shards = 1, .pin_threads = roving::when::always},
              [&] { call_off_shard(how, [&] { (void)::sched_getaffinity(0, sizeof inside, &inside); }); });
  CHECK(CPU_EQUAL(&before, &inside));
}
#endif

#if ROVING_WITH_TBB
TEST_CASE("compute: oneTBB's parallel algorithms run inside", "[runtime][executor]") {
  if (roving::detail::thread_sanitizer) return;  // the system's oneTBB is not instrumented: all of it would be reported
  const place where = GENERATE(from_range(places()));
  std::atomic<int> right{0};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 0; i < 8; ++i) {
      tasks.spawn([&] {
        const long sum = roving::compute([] {
          return tbb::parallel_reduce(
              tbb::blocked_range<long>{0, 100000}, 0L,
              [](const tbb::blocked_range<long>& range, long value) {
                for (long number = range.begin(); number != range.end(); ++number) value += number;
                return value;
              },
              std::plus<>{});
        });
        if (sum == 4999950000L) ++right;
      });
    }
    tasks.join();
  });
  CHECK(right == 8);
}
#endif

TEST_CASE("compute: no more calls at once than options.compute_threads", "[runtime][executor]") {
  std::atomic<int> now{0};
  std::atomic<int> most{0};
  roving::run({.shards = 2, .compute_threads = 3}, [&] {
    crew tasks{{2, true}};
    for (int i = 0; i < 60; ++i) {
      tasks.spawn([&] {
        roving::compute([&] {
          const int together = ++now;
          for (int seen = most; together > seen && !most.compare_exchange_weak(seen, together);) {
          }
          std::this_thread::yield();
          --now;
        });
      });
    }
    tasks.join();
  });
  CHECK(most <= 3);
}

TEST_CASE("options: what blocking can't be is refused", "[runtime][executor]") {
  CHECK_THROWS_AS(roving::run({.blocking_threads_at_most = 0}, [] {}), std::invalid_argument);
  CHECK_THROWS_AS(roving::run({.blocking_idle_for = -1s}, [] {}), std::invalid_argument);
}

// --- submit() to pools

TEST_CASE("C114 submit: value and exception, by way of a future", "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> sum{0};
  std::atomic<int> caught{0};
  roving::blocking_pool own_threads{{.threads_at_most = 3}};
  roving::compute_pool own_arena{{.threads = 2}};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 1; i <= 20; ++i) {
      tasks.spawn([&, i] {
        const auto use = [&](auto&& executor) {
          sum += roving::submit(executor, [i] { return i; }).get();
          try {
            roving::submit(executor, []() -> int { throw std::runtime_error{"broken"}; }).get();
          } catch (const std::runtime_error&) {
            ++caught;
          }
          roving::submit(executor, [] {}).get();
        };
        use(roving::blocking_executor{});
        use(roving::compute_executor{});
        use(own_threads);
        use(own_arena);
        use(roving::anywhere_executor{});
        use(roving::shard_executor{static_cast<unsigned>(i) % roving::shard_count()});
      });
    }
    tasks.join();
  });
  CHECK(sum == 6 * 210);
  CHECK(caught == 6 * 20);
}

TEST_CASE("C115 submit: a cancelled future of work that has begun ends at once, and the work finishes alone",
          "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  bool at_once = false;
  held_call work;
  roving::run({.shards = where.shards}, [&] {
    roving::blocking_executor pool;
    crew tasks{where};
    auto& awaiter = tasks.spawn([&] { roving::submit(pool, [&] { work(); }).get(); });
    yield_until([&] { return work.begun.is_set(); });
    awaiter.cancel();
    awaiter.join();
    at_once = awaiter.cancelled() && !work.has_ended;
    work.may_end.set();
  });
  CHECK(at_once);
  CHECK(work.has_ended);  // close() waited for it
}

TEST_CASE("C115 submit: a cancelled future of queued work means that it never runs", "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> ran{0};
  int cancelled_count = 0;
  std::weak_ptr<int> owned;
  roving::run({.shards = where.shards, .blocking_threads_at_most = 1}, [&] {
    roving::blocking_executor pool;
    held_call work;
    const auto busy = roving::submit(pool, [&] { work(); });
    work.begun.wait();
    std::vector<roving::future<void>> queued;
    const auto captured = std::make_shared<int>(1);
    owned = captured;
    for (int i = 0; i < 10; ++i) queued.push_back(roving::submit(pool, [&ran, captured] { ++ran; }));
    for (std::size_t i = 0; i < queued.size(); i += 2) {
      if (!queued[i].cancel("not wanted")) continue;
      try {
        queued[i].get();
      } catch (const roving::cancelled& thrown) {
        if (thrown.message() == "not wanted") ++cancelled_count;
      }
    }
    work.may_end.set();
    for (std::size_t i = 1; i < queued.size(); i += 2) queued[i].get();
    busy.wait();
  });
  CHECK(cancelled_count == 5);
  CHECK(ran == 5);
  CHECK(owned.expired());
}

TEST_CASE("C116 submit: a plain thread gets value, exception and a timeout from a runtime's tasks",
          "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  const roving::placement at = where.is_roving ? roving::anywhere : roving::on_shard(where.shards - 1);
  int value = 0;
  bool threw = false;
  bool was_done = true;
  bool was_cancelled = false;
  roving::runtime all{{.shards = where.shards}};
  roving::event end;
  plain_signal running;
  std::thread outside{[&] {
    running.wait();
    value = all.submit(at,
                       [] {
                         roving::yield();
                         return 42;
                       })
                .get();
    try {
      all.submit(at, []() -> int { throw std::runtime_error{"broken"}; }).get();
    } catch (const std::runtime_error&) {
      threw = true;
    }
    auto never = all.submit(at, [] { roving::sleep_for(1h); });
    was_done = never.wait_for(1ms);
    never.cancel();
    try {
      never.get();
    } catch (const roving::cancelled&) {
      was_cancelled = true;
    }
    end.set();
  }};
  all.run([&] {
    running.set();
    end.wait();
  });
  outside.join();
  CHECK(value == 42);
  CHECK(threw);
  CHECK_FALSE(was_done);
  CHECK(was_cancelled);
}

TEST_CASE("C117 submit: a foreign future's cancel reaches the fiber, with its message", "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  const bool by_executor = GENERATE(false, true);
  std::string message;
  roving::runtime all{{.shards = where.shards}};
  roving::event end;
  plain_signal running;
  plain_signal in_the_fiber;
  std::thread outside{[&] {
    running.wait();
    const auto body = [&] {
      in_the_fiber.set();
      try {
        roving::sleep_for(1h);
      } catch (const roving::cancelled& thrown) {
        message = thrown.message();
        end.set();
        throw;
      }
    };
    roving::future<void> future;
    if (!by_executor)
      future = all.submit(where.is_roving ? roving::anywhere : roving::on_shard(where.shards - 1), body);
    else if (where.is_roving)
      future = roving::submit(roving::anywhere_executor{all}, body);
    else
      future = roving::submit(roving::shard_executor{all, where.shards - 1}, body);
    in_the_fiber.wait();
    future.cancel("from outside");
  }};
  all.run([&] {
    running.set();
    end.wait();
  });
  outside.join();
  CHECK(message == "from outside");
}

TEST_CASE("submit: an exception of work whose future was cancelled is reported where it ran", "[runtime][executor]") {
  reports seen;
  roving::run({.shards = 1, .on_unhandled = seen.handler()}, [&] {
    roving::promise<void> ended;
    // An executor of tasks, so that the report has a runtime to go to.
    struct in_task {
      void post(std::function<void()> f) const { roving::spawn(std::move(f)).detach(); }
    };
    roving::event go;
    bool begun = false;
    const auto future = roving::submit(in_task{}, [&] {
      begun = true;
      go.wait();
      throw std::runtime_error{"late"};
    });
    yield_until([&] { return begun; });
    future.cancel();
    go.set();
    for (int i = 0; i < 5; ++i) roving::yield();
    ended.set_value();
  });
  CHECK(seen.messages() == std::vector<std::string>{"exception of submitted work whose future was cancelled"});
}

// --- post()

TEST_CASE("post: each executor runs what is posted, where it says", "[runtime][executor]") {
  const unsigned shards = GENERATE(1U, 2U, 4U);
  std::atomic<int> ran{0};
  std::atomic<int> on_the_right_shard{0};
  std::atomic<int> roved{0};
  roving::run({.shards = shards}, [&] {
    for (unsigned i = 0; i < shards; ++i) {
      roving::shard_executor{i}.post([&, i] {
        roving::yield();  // it is a task
        if (roving::this_task::shard() == i) ++on_the_right_shard;
        ++ran;
      });
    }
    roving::anywhere_executor{}.post([&] {
      if (roving::this_task::is_roving()) ++roved;
      ++ran;
    });
    roving::blocking_executor{}.post([&] { ++ran; });
    roving::compute_executor{}.post([&] { ++ran; });
    yield_until([&] { return ran == static_cast<int>(shards) + 3; });
  });
  CHECK(on_the_right_shard == static_cast<int>(shards));
  CHECK(roved == 1);
}

TEST_CASE("post: what a posted callable throws is reported once", "[runtime][executor]") {
  reports seen;
  reports seen_by_own;
  {
    roving::blocking_pool own{{.on_unhandled = seen_by_own.handler()}};
    own.post([] { throw std::runtime_error{"own"}; });
    own.post([] { throw 1; });
    roving::run({.shards = 1, .on_unhandled = seen.handler()}, [&] {
      roving::blocking_executor{}.post([] { throw std::runtime_error{"of the runtime"}; });
      roving::shard_executor{0}.post([] { throw std::runtime_error{"of a task"}; });
      yield_until([&] { return seen.messages().size() == 2; });
    });
    while (seen_by_own.messages().size() < 2) std::this_thread::yield();
  }
  std::vector<std::string> messages = seen.messages();
  std::sort(messages.begin(), messages.end());
  CHECK(messages ==
        std::vector<std::string>{"exception of a callable that was posted to a pool",
                                 "task exception was never retrieved"});
  CHECK(seen_by_own.messages().size() == 2);
}

TEST_CASE("executors: shards are checked, and so is that there is a runtime", "[runtime][executor]") {
  CHECK_THROWS_AS(roving::shard_executor{0}, roving::no_shard);
  CHECK_THROWS_AS(roving::anywhere_executor{}, roving::no_shard);
  CHECK_THROWS_AS(roving::blocking_executor{}, roving::no_shard);
  CHECK_THROWS_AS(roving::compute_executor{}, roving::no_shard);
  roving::runtime all{{.shards = 2}};
  CHECK_THROWS_AS((roving::shard_executor{all, 2}), std::out_of_range);
  CHECK_THROWS_AS(roving::blocking_pool{{.threads_at_most = 0}}, std::invalid_argument);
  CHECK_THROWS_AS((roving::blocking_pool{{.idle_for = -1s}}), std::invalid_argument);
  CHECK_THROWS_AS((roving::compute_pool{{.idle_for = -1s}}), std::invalid_argument);
}

// --- executors of one's own

namespace {

// A thread for each callable.
class thread_each {
 public:
  thread_each() = default;
  thread_each(const thread_each&) = delete;
  thread_each& operator=(const thread_each&) = delete;
  ~thread_each() {
    for (std::thread& each : threads_) each.join();
  }
  void post(std::function<void()> f) {
    const std::lock_guard guard{mutex_};
    threads_.emplace_back(std::move(f));
  }

 private:
  std::mutex mutex_;
  std::vector<std::thread> threads_;
};

// Keeps what it gets until it is told to run or forget it.
class by_hand {
 public:
  void post(std::function<void()> f) { kept_.push_back(std::move(f)); }
  void run_all() {
    for (auto& each : std::exchange(kept_, {})) {
      each();
      each();  // more often than it should: once counts
    }
  }
  void forget() { kept_.clear(); }

 private:
  std::vector<std::function<void()>> kept_;
};

struct refusing {
  template <class Function>
  void post(Function&&) {
    throw std::runtime_error{"full"};
  }
};

static_assert(roving::executor<thread_each>);
static_assert(roving::executor<by_hand>);
static_assert(roving::executor<refusing>);
static_assert(roving::executor<const roving::shard_executor>);
static_assert(roving::executor<roving::blocking_pool>);
static_assert(!roving::executor<int>);

}  // namespace

TEST_CASE("user executors: a future is completed by any thread", "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> sum{0};
  thread_each threads;
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 1; i <= 10; ++i) tasks.spawn([&, i] { sum += roving::submit(threads, [i] { return i; }).get(); });
    tasks.join();
  });
  CHECK(sum == 55);
}

TEST_CASE("user executors: a callable runs once, is dropped with its future cancelled, or not taken",
          "[runtime][executor]") {
  int ran = 0;
  by_hand hand;
  auto first = roving::submit(hand, [&] { return ++ran; });
  CHECK_FALSE(first.done());
  hand.run_all();
  CHECK(first.get() == 1);
  CHECK(ran == 1);

  auto dropped = roving::submit(hand, [&] { return ++ran; });
  hand.forget();
  CHECK(dropped.cancelled());
  CHECK_THROWS_AS(dropped.get(), roving::cancelled);

  refusing full;
  CHECK_THROWS_AS(roving::submit(full, [] {}), std::runtime_error);

  auto cancelled_first = roving::submit(hand, [&] { return ++ran; });
  CHECK(cancelled_first.cancel());
  hand.run_all();
  CHECK(ran == 1);
}

// --- shutdown

TEST_CASE("C118 shutdown: started work is waited for, queued work is run, later work refused", "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  held_call work;
  std::atomic<int> queued_ran{0};
  roving::future<void> started;
  roving::future<int> queued;
  roving::future<int> given_up;
  std::optional<roving::blocking_executor> pool;
  std::optional<roving::shard_executor> shard;
  {
    roving::runtime all{{.shards = where.shards, .blocking_threads_at_most = 1}};
    all.run([&] {
      pool.emplace();
      shard.emplace(0U);
      started = roving::submit(*pool, [&] { work(); });
      work.begun.wait();
      queued = roving::submit(*pool, [&] { return ++queued_ran; });
      given_up = roving::submit(*pool, [&] { return ++queued_ran; });
      pool->post([&] { queued_ran += 10; });
      // Of who was cancelled: by the shutdown too.
      auto waits = roving::spawn([&] { return roving::blocking([&] { return ++queued_ran; }); });
      wait_until_parked(waits);
      waits.detach();
      given_up.cancel();
      work.may_end.set();
    });
    all.close();
    CHECK(work.has_ended);
    CHECK(started.done());
    CHECK(given_up.cancelled());
    CHECK(queued_ran >= 11);
  }
  CHECK(queued.value() == 1);
  CHECK_THROWS_AS(pool->post([] {}), roving::runtime_closed);
  CHECK_THROWS_AS(roving::submit(*pool, [] {}), roving::runtime_closed);
  CHECK_THROWS_AS(shard->post([] {}), roving::runtime_closed);
  CHECK_THROWS_AS(roving::submit(*shard, [] {}), roving::runtime_closed);
}

TEST_CASE("C115 shutdown: queued work of a task that the shutdown cancels never runs", "[runtime][executor]") {
  held_call work;
  std::atomic<int> ran{0};
  roving::run({.shards = 1, .blocking_threads_at_most = 1}, [&] {
    roving::blocking_executor{}.post([&] { work(); });
    work.begun.wait();
    roving::blocking_executor{}.post([&] { ran += 10; });
    auto waits = roving::spawn([&] {
      struct let_go {
        held_call& work;
        ~let_go() { work.may_end.set(); }
      } when_cancelled{work};
      roving::blocking([&] { ++ran; });
    });
    wait_until_parked(waits);
    waits.detach();
  });
  CHECK(ran == 10);
}

TEST_CASE("C118 shutdown: after its deadline what no thread has begun is dropped", "[runtime][executor]") {
  reports seen;
  const auto work = std::make_shared<held_call>();
  const auto over = std::make_shared<plain_signal>();
  bool ran = false;
  roving::future<void> queued;
  roving::run({.shards = 1, .blocking_threads_at_most = 1, .shutdown_deadline = 1ms, .on_unhandled = seen.handler()},
              [&] {
                const roving::blocking_executor pool;
                pool.post([work, over] {
                  (*work)();
                  over->set();
                });
                work->begun.wait();
                queued = roving::submit(pool, [&] { ran = true; });
              });
  CHECK(queued.cancelled());
  CHECK(seen.messages().size() == 1);
  work->may_end.set();
  over->wait();
  CHECK_FALSE(ran);
}

TEST_CASE("C118 shutdown: after its deadline started work is reported and left to itself", "[runtime][executor]") {
  reports seen;
  const auto work = std::make_shared<held_call>();
  const auto over = std::make_shared<plain_signal>();
  roving::run({.shards = 1, .shutdown_deadline = 1ms, .on_unhandled = seen.handler()}, [&] {
    roving::blocking_executor{}.post([work, over] {
      (*work)();
      over->set();
    });
    work->begun.wait();
  });
  CHECK_FALSE(work->has_ended);
  CHECK(seen.messages() ==
        std::vector<std::string>{
            "work on other threads did not end before the shutdown deadline, and was left to itself"});
  work->may_end.set();
  over->wait();
}

TEST_CASE("C118 own pools: close waits for all that it has, then refuses", "[runtime][executor]") {
  const bool in_a_task = GENERATE(false, true);
  held_call work;
  std::atomic<bool> others_ran{false};
  roving::blocking_pool pool{{.threads_at_most = 1}};
  const auto started = roving::submit(pool, [&] { work(); });
  work.begun.wait();
  const auto queued = roving::submit(pool, [] { return 1; });
  CHECK(pool.threads() == 1);
  CHECK(pool.queued() == 1);
  if (in_a_task) {
    roving::run({.shards = 1}, [&] {
      const auto other = roving::spawn([&] {
        others_ran = true;  // while main is parked in close()
        work.may_end.set();
      });
      pool.close();
      other.join();
    });
    CHECK(others_ran);
  } else {
    std::thread releases{[&] { work.may_end.set(); }};
    pool.close();
    releases.join();
  }
  CHECK(work.has_ended);
  CHECK(started.done());
  CHECK(queued.value() == 1);
  CHECK_THROWS_AS(pool.post([] {}), roving::executor_closed);
  CHECK_THROWS_AS(roving::submit(pool, [] {}), roving::executor_closed);
  pool.close();  // again
}

TEST_CASE("C118 own pools: close with a deadline reports and abandons", "[runtime][executor]") {
  reports seen;
  const auto work = std::make_shared<held_call>();
  const auto over = std::make_shared<plain_signal>();
  bool ended = true;
  bool queued_ran = false;
  roving::future<void> queued;
  {
    roving::blocking_pool pool{{.threads_at_most = 1, .on_unhandled = seen.handler()}};
    pool.post([work, over] {
      (*work)();
      over->set();
    });
    work->begun.wait();
    queued = roving::submit(pool, [&] { queued_ran = true; });
    ended = pool.close_for(1ms);
  }
  CHECK_FALSE(ended);
  CHECK(seen.messages().size() == 1);
  work->may_end.set();
  over->wait();
  CHECK(queued.cancelled());
  CHECK_FALSE(queued_ran);
}

TEST_CASE("C118 own pools: in a callback close is refused, and the destructor blocks", "[runtime][executor]") {
  held_call work;
  bool refused = false;
  bool gone = false;
  roving::run({.shards = 1}, [&] {
    auto pool = std::make_unique<roving::blocking_pool>();
    pool->post([&] { work(); });
    work.begun.wait();
    bool called = false;
    roving::post([&] {
      try {
        pool->close();
      } catch (const roving::not_in_task&) {
        refused = true;
      }
      work.may_end.set();
      pool.reset();
      gone = work.has_ended;
      called = true;
    });
    yield_until([&] { return called; });
  });
  CHECK(refused);
  CHECK(gone);
}

TEST_CASE("C121 shutdown: tasks end before the executor, so that a cleanup may still call it", "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> cleaned{0};
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    for (int i = 0; i < 4; ++i) {
      auto& left_over = tasks.spawn([&] {
        try {
          roving::sleep_for(1h);
        } catch (const roving::cancelled&) {
          cleaned += roving::blocking([] { return 1; });
          cleaned += roving::compute([] { return 1; });
          cleaned += roving::submit(roving::blocking_executor{}, [] { return 1; }).get();
          throw;
        }
      });
      wait_until_parked(left_over);
      left_over.detach();
    }
  });
  CHECK(cleaned == 12);
}

TEST_CASE("C121 shutdown: the loop goes on while work on other threads ends", "[runtime][executor]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<bool> answered{false};
  held_call work;
  plain_signal asked;
  {
    roving::runtime all{{.shards = where.shards}};
    std::optional<roving::shard_executor> shard;
    all.run([&] {
      shard.emplace(0U);
      roving::blocking_executor{}.post([&] {
        work();
        // Shard 0 is the thread that closes the runtime: it must not be blocked by waiting for this.
        answered = roving::submit(*shard, [] { return true; }).get();
      });
      work.begun.wait();
    });
    work.may_end.set();
    all.close();
  }
  CHECK(answered);
}

TEST_CASE("C122 runtime: several, one after the other, each with threads of its own", "[runtime][executor]") {
  int sum = 0;
  for (int i = 0; i < rounds(200); ++i) {
    roving::run({.shards = 2}, [&] {
      sum += roving::blocking([] { return 1; });
      sum += roving::compute([] { return 1; });
    });
  }
  CHECK(sum == 2 * rounds(200));
}
