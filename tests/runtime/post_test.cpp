// Tested: the loop and its callbacks: post, post_after, post_at, on_shard(i).post, runtime::on_shard(i).post,
// runtime::stop, and what debug mode says. Callbacks and tasks write down what they saw; the test's own thread checks
// it after run().
#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdio>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/sanitizers.hpp"
#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;
using namespace std::chrono_literals;
using names = std::vector<std::string>;

namespace {

/// What is written to stderr while one lives.
class captured_stderr {
 public:
  captured_stderr() : file_{std::tmpfile()}, saved_{::dup(STDERR_FILENO)} {
    std::fflush(stderr);
    ::dup2(::fileno(file_), STDERR_FILENO);
  }
  captured_stderr(const captured_stderr&) = delete;
  captured_stderr& operator=(const captured_stderr&) = delete;
  ~captured_stderr() {
    static_cast<void>(text());
    std::fclose(file_);
  }
  /// All of it; nothing more is captured.
  std::string text() {
    if (saved_ >= 0) {
      std::fflush(stderr);
      ::dup2(saved_, STDERR_FILENO);
      ::close(saved_);
      saved_ = -1;
    }
    std::rewind(file_);
    std::string all;
    std::array<char, 256> part{};
    while (const auto count = std::fread(part.data(), 1, part.size(), file_)) all.append(part.data(), count);
    return all;
  }

 private:
  std::FILE* file_;
  int saved_;
};

/// Runs `body` in the main task, or in a roving one.
template <class Body>
void run_placed(const place& where, roving::options chosen, Body body) {
  chosen.shards = where.shards;
  roving::run(chosen, [&] { roving::spawn(where.is_roving ? roving::anywhere : roving::here, body).get(); });
}

/// Yields until it is so.
template <class Predicate>
void wait_until(Predicate is_so) {
  while (!is_so()) roving::yield();
}

struct pipe_pair {
  pipe_pair() {
    if (::pipe(ends.data()) != 0) throw std::runtime_error{"no pipe"};
  }
  pipe_pair(const pipe_pair&) = delete;
  pipe_pair& operator=(const pipe_pair&) = delete;
  ~pipe_pair() {
    ::close(ends[0]);
    ::close(ends[1]);
  }
  std::array<int, 2> ends{};
};

}  // namespace

TEST_CASE("C1 post: 1000 callbacks run in the order of posting, once each", "[post]") {
  const auto policy = GENERATE(roving::poll_policy::now_and_then, roving::poll_policy::every_generation);
  std::vector<int> order;
  roving::run({.shards = 1, .poll = policy}, [&] {
    for (int i = 0; i < 1000; ++i) roving::post([&, i] { order.push_back(i); });
    wait_until([&] { return order.size() >= 1000; });
    roving::yield();
  });
  CHECK(order == numbers(1000));
}

TEST_CASE("C2 post: what is readable comes between what was posted before and what is posted now", "[post][io]") {
  names order;
  roving::run({.shards = 1, .poll = roving::poll_policy::every_generation}, [&] {
    pipe_pair pipe;
    auto reader = roving::spawn([&] {
      roving::wait_readable(pipe.ends[0]);
      order.push_back("reader");
    });
    wait_until_parked(reader);
    if (::write(pipe.ends[1], "x", 1) != 1) order.push_back("no write");
    roving::post([&] {
      order.push_back("a");
      roving::post([&] {
        order.push_back("b");
        roving::post([&] { order.push_back("c"); });
      });
    });
    reader.join();
    wait_until([&] { return order.size() >= 4; });
  });
  CHECK(order == names{"a", "reader", "b", "c"});
}

TEST_CASE("C3 post: a callback cancels a later one of the same tick", "[post]") {
  const bool timed = GENERATE(false, true);
  names order;
  bool was_cancelled = false;
  bool a_was_cancelled = true;
  roving::run({.shards = 1}, [&] {
    const auto add = [&](auto f) { return timed ? roving::post_after(0ns, f) : roving::post(f); };
    roving::callback_handle b;
    const auto a = add([&] {
      order.push_back("a");
      b.cancel();
    });
    b = add([&] { order.push_back("b"); });
    const auto c = add([&] { order.push_back("c"); });
    wait_until([&] { return order.size() >= 2; });
    roving::yield();
    was_cancelled = b.cancelled();
    a_was_cancelled = a.cancelled() || c.cancelled();
  });
  CHECK(order == names{"a", "c"});
  CHECK(was_cancelled);
  CHECK_FALSE(a_was_cancelled);
}

TEST_CASE("C3 post: cancelled() tells of a cancel that came too late, too", "[post]") {
  int ran = 0;
  bool before = true;
  bool after = false;
  bool copy_says = false;
  bool empty_says = true;
  roving::run({.shards = 1}, [&] {
    roving::callback_handle self;
    self = roving::post([&] {
      ++ran;
      before = self.cancelled();
      self.cancel();  // itself, while it runs
    });
    const roving::callback_handle copy = self;
    wait_until([&] { return ran == 1; });
    after = self.cancelled();
    copy_says = copy.cancelled();
    roving::callback_handle empty;
    empty.cancel();
    empty_says = empty.cancelled() || empty.when().has_value() || empty;
  });
  CHECK(ran == 1);
  CHECK_FALSE(before);
  CHECK(after);
  CHECK(copy_says);
  CHECK_FALSE(empty_says);
}

TEST_CASE("C3 post: a cancel destroys the callable at once, from any shard", "[post]") {
  const place where = GENERATE(from_range(places()));
  const bool timed = GENERATE(false, true);
  long left = -1;
  int ran = 0;
  roving::run({.shards = where.shards}, [&] {
    const auto token = std::make_shared<int>(0);
    std::vector<roving::callback_handle> handles;
    for (int i = 0; i < 100; ++i) {
      const auto f = [token, &ran] { ++ran; };
      handles.push_back(timed ? roving::post_after(1h, f) : roving::post(f));
    }
    if (where.shards == 1) {
      for (auto& each : handles) each.cancel();
    } else {
      std::thread other{[&] {  // the callbacks can't run meanwhile: their shard is in here
        for (auto& each : handles) each.cancel();
      }};
      other.join();
    }
    left = token.use_count();
    for (int i = 0; i < 3; ++i) roving::yield();
  });
  CHECK(left == 1);
  CHECK(ran == 0);
}

TEST_CASE("C3 post: the last handle may be in the callable that a cancel destroys", "[post]") {
  const place where = GENERATE(from_range(places()));
  const bool timed = GENERATE(false, true);
  int ran = 0;
  std::weak_ptr<roving::callback_handle> handle;
  roving::run({.shards = where.shards}, [&] {
    const auto cancel_one = [&] {
      auto only = std::make_shared<roving::callback_handle>();
      handle = only;
      roving::callback_handle& kept = *only;
      const auto f = [only, &ran] { ++ran; };
      kept = timed ? roving::post_after(1h, f) : roving::post(f);
      return &kept;
    };
    if (where.shards == 1) {
      cancel_one()->cancel();
    } else {
      roving::callback_handle* const kept = cancel_one();
      std::thread{[&] { kept->cancel(); }}.join();
    }
    CHECK(handle.expired());
    for (int i = 0; i < 3; ++i) roving::yield();
  });
  CHECK(ran == 0);
}

TEST_CASE("C4 post: an exception in a callback is handed to the handler, and the next callback runs", "[post]") {
  const place where = GENERATE(from_range(places()));
  const unsigned shards = where.shards;
  std::atomic<int> ran_after{0};
  std::vector<roving::unhandled> seen;
  std::atomic<bool> one_at_a_time{false};
  const auto handler = [&](const roving::unhandled& what) {
    while (one_at_a_time.exchange(true)) std::this_thread::yield();
    seen.push_back(what);
    one_at_a_time = false;
  };
  run_placed(where, {.on_unhandled = handler}, [&] {
    for (unsigned shard = 0; shard < shards; ++shard) {
      roving::on_shard(shard).post([] { throw std::runtime_error{"boom"}; });
      roving::on_shard(shard).post([&] { ++ran_after; });
    }
    wait_until([&] { return ran_after == static_cast<int>(shards); });
  });
  CHECK(ran_after == static_cast<int>(shards));
  REQUIRE(seen.size() == shards);
  for (const auto& each : seen) {
    CHECK(each.message.find("exception in a callback") == 0);
    CHECK(each.message.find("post_test.cpp") != std::string::npos);
    CHECK(each.task.empty());
    try {
      std::rethrow_exception(each.error);
    } catch (const std::runtime_error& error) {
      CHECK(std::string{error.what()} == "boom");
    }
  }
}

TEST_CASE("C4 post: anything may be thrown out of a callback, be it `cancelled`", "[post]") {
  std::vector<std::string> kinds;
  roving::run({.shards = 1,
               .on_unhandled =
                   [&](const roving::unhandled& what) {
                     try {
                       std::rethrow_exception(what.error);
                     } catch (const roving::cancelled&) {
                       kinds.push_back("cancelled");
                     } catch (int) {
                       kinds.push_back("int");
                     }
                   }},
              [&] {
                roving::post([] { throw roving::cancelled{}; });
                roving::post_after(0ns, [] { throw 42; });
                wait_until([&] { return kinds.size() == 2; });
              });
  CHECK(kinds == names{"cancelled", "int"});
}

TEST_CASE("C5 post: a handler that throws is reported on stderr with what it was given, and the loop goes on",
          "[post]") {
  const place where = GENERATE(from_range(places()));
  const unsigned shards = where.shards;
  std::atomic<int> calls{0};
  std::atomic<int> ran_after{0};
  captured_stderr captured;
  run_placed(where,
             {.on_unhandled =
                  [&](const roving::unhandled&) {
                    ++calls;
                    throw std::runtime_error{"handler broke"};
                  }},
             [&] {
               for (unsigned shard = 0; shard < shards; ++shard) {
                 roving::on_shard(shard).post([] { throw std::runtime_error{"first fault"}; });
                 roving::on_shard(shard).post([&] { ++ran_after; });
               }
               wait_until([&] { return ran_after == static_cast<int>(shards); });
             });
  const std::string text = captured.text();
  CHECK(calls == static_cast<int>(shards));
  CHECK(text.find("the unhandled-error handler threw: handler broke") != std::string::npos);
  CHECK(text.find("first fault") != std::string::npos);
}

TEST_CASE("C6 post_after: never fires early, and once", "[post]") {
  const place where = GENERATE(from_range(places()));
  const unsigned shards = where.shards;
  std::atomic<int> early{0};
  std::atomic<int> fired{0};
  std::atomic<int> wrong_shard{0};
  constexpr int timers = 50;
  roving::run({.shards = shards}, [&] {
    std::vector<roving::task<void>> setters;
    for (unsigned shard = 0; shard < shards; ++shard)
      setters.push_back(roving::spawn(where.is_roving ? roving::anywhere : roving::on_shard(shard), [&, shard] {
        for (int i = 0; i < timers; ++i) {
          const auto span = std::chrono::microseconds{i * 37 % 400};
          const auto due = roving::now() + span;
          const auto fire = [&, due, shard] {
            if (roving::now() < due) ++early;
            if (!where.is_roving && shard == 0 && roving::all_tasks(shard).empty())
              ++wrong_shard;  // main is pinned to shard 0
            ++fired;
          };
          i % 2 == 0 ? roving::post_after(span, fire) : roving::post_at(due, fire);
        }
      }));
    for (auto& each : setters) each.join();
    wait_until([&] { return fired >= timers * static_cast<int>(shards); });
    roving::sleep_for(500us);  // for those that would fire twice
  });
  CHECK(early == 0);
  CHECK(wrong_shard == 0);
  CHECK(fired == timers * static_cast<int>(shards));
}

TEST_CASE("C6 post_at: the handle knows when it is due", "[post]") {
  std::optional<roving::time_point> when;
  std::optional<roving::time_point> of_post;
  roving::time_point wanted;
  roving::run({.shards = 1}, [&] {
    wanted = roving::now() + 1h;
    auto handle = roving::post_at(wanted, [] {});
    when = handle.when();
    handle.cancel();
    of_post = roving::post([] {}).when();
  });
  CHECK(when == wanted);
  CHECK_FALSE(of_post.has_value());
}

TEST_CASE("C7 post_after: a negative delay comes behind what is ready", "[post]") {
  const auto policy = GENERATE(roving::poll_policy::now_and_then, roving::poll_policy::every_generation);
  names order;
  roving::run({.shards = 1, .poll = policy}, [&] {
    roving::post_after(-1s, [&] { order.push_back("neg"); });
    roving::post([&] { order.push_back("soon"); });
    roving::yield();
    order.push_back("main");
    roving::yield();
  });
  CHECK(order == names{"soon", "main", "neg"});
}

TEST_CASE("C8 post_at: overdue timers fire by deadline, equal ones as they were set", "[post]") {
  std::vector<int> order;
  roving::run({.shards = 1}, [&] {
    const auto start = roving::now();
    const std::array<int, 9> deadlines{-5, -1, -9, -5, 0, -9, -5, -1, -7};
    for (std::size_t i = 0; i < deadlines.size(); ++i)
      roving::post_at(start + std::chrono::milliseconds{deadlines[i]},
                      [&, i] { order.push_back(static_cast<int>(i)); });
    wait_until([&] { return order.size() == deadlines.size(); });
  });
  CHECK(order == std::vector<int>{2, 5, 8, 0, 3, 6, 1, 7, 4});
}

TEST_CASE("C9 post_after: cancelled timers never fire, and leave nothing behind", "[post]") {
  const place where = GENERATE(from_range(places()));
  const bool from_elsewhere = GENERATE(false, true);
  if (from_elsewhere && where.shards == 1) return;
  constexpr int rounds_count = 100'000;
  constexpr int at_a_time = 1000;
  int most_alive = 0;
  std::atomic<int> alive{0};
  std::atomic<int> fired{0};
  struct counts {  // one for each callable that lives
    explicit counts(std::atomic<int>& of) : alive{&of} { ++*alive; }
    counts(counts&& other) noexcept : alive{other.alive} { ++*alive; }
    counts(const counts&) = delete;
    counts& operator=(const counts&) = delete;
    ~counts() { --*alive; }
    std::atomic<int>* alive;
  };
  roving::run({.shards = where.shards}, [&] {
    const auto work = [&] {
      for (int done = 0; done < rounds_count; done += at_a_time) {
        std::vector<roving::callback_handle> handles;
        for (int i = 0; i < at_a_time; ++i)
          handles.push_back(roving::post_after(1h, [&fired, one = counts{alive}] { ++fired; }));
        most_alive = std::max(most_alive, alive.load());
        const auto cancel_all = [&handles] {
          for (auto& each : handles) each.cancel();
        };
        if (from_elsewhere)
          roving::spawn(roving::on_shard((roving::this_task::shard() + 1) % where.shards), cancel_all).join();
        else
          cancel_all();
      }
    };
    roving::spawn(where.is_roving ? roving::anywhere : roving::here, work).join();
  });
  CHECK(fired == 0);
  CHECK(alive == 0);
  CHECK(most_alive == at_a_time);
}

TEST_CASE("C10 post_after: a timer of 0 comes between two yields", "[post]") {
  const auto policy = GENERATE(roving::poll_policy::now_and_then, roving::poll_policy::every_generation);
  names order;
  roving::run({.shards = 1, .poll = policy}, [&] {
    roving::post_after(0ns, [&] { order.push_back("timer0"); });
    roving::yield();
    order.push_back("t1");
    roving::yield();
    order.push_back("t2");
  });
  CHECK(order == names{"t1", "timer0", "t2"});
}

TEST_CASE("C11 stop: the rest of the tick runs, what is posted meanwhile waits for the next run", "[post][run]") {
  names order;
  roving::runtime all{{.shards = 1}};
  std::string error;
  try {
    all.run([&] {
      roving::post([&] { order.push_back("a"); });
      roving::post([&] {
        order.push_back("stop");
        all.stop();
        roving::post([&] { order.push_back("next run"); });
      });
      roving::post([&] { order.push_back("b"); });
      roving::yield();
      order.push_back("main");  // of the same tick
      roving::yield();
      order.push_back("main goes on");
    });
  } catch (const roving::invalid_state& thrown) {
    error = thrown.what();
  }
  CHECK(order == names{"a", "stop", "b", "main"});
  CHECK(error.find("stopped before") != std::string::npos);
  all.run([&] {
    order.push_back("second");
    roving::yield();
  });
  CHECK(order == names{"a", "stop", "b", "main", "next run", "main goes on", "second"});
}

TEST_CASE("C11 stop: before a run, it lets that run one tick", "[post][run]") {
  names order;
  roving::runtime all{{.shards = 1}};
  all.stop();
  CHECK_THROWS_AS(all.run([&] {
    order.push_back("first tick");
    roving::yield();
    order.push_back("second tick");
  }),
                  roving::invalid_state);
  CHECK(order == names{"first tick"});
  all.close();
  CHECK(order == names{"first tick"});  // cancelled at its yield
  CHECK_THROWS_AS(all.stop(), roving::runtime_closed);
}

TEST_CASE("C11 stop: from another thread", "[post][run]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  roving::runtime all{{.shards = shards}};
  std::thread other;
  CHECK_THROWS_AS(all.run([&] {
    other = std::thread{[&] { all.stop(); }};
    roving::sleep_for(1h);
  }),
                  roving::invalid_state);
  other.join();
  CHECK(all.run([] { return 7; }) == 7);
}

TEST_CASE("C12 run: returns what main returns, and throws what it throws", "[run]") {
  roving::runtime all{{.shards = 1}};
  CHECK(all.run([] { return std::string{"value"}; }) == "value");
  int target = 0;
  all.run([&]() -> int& { return target; }) = 3;
  CHECK(target == 3);
  CHECK(*all.run([] { return std::make_unique<int>(5); }) == 5);
  CHECK_THROWS_WITH(all.run([] { throw std::runtime_error{"mine"}; }), "mine");
  try {
    all.run([] { roving::this_task::cancel("why"); });
    FAIL("not cancelled");
  } catch (const roving::cancelled& thrown) {
    CHECK(thrown.message() == "why");
  }
}

TEST_CASE("C13 run: inside a run it is an error, and the outer one goes on", "[run]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  names errors;
  int result = 0;
  roving::runtime other{{.shards = 1}};
  roving::runtime all{{.shards = shards}};
  const auto attempt = [&](const auto& f) {
    try {
      f();
      errors.push_back("none");
    } catch (const roving::broken_contract& error) {
      errors.push_back(error.what());
    }
  };
  all.run([&] {
    attempt([&] { all.run([] {}); });
    attempt([&] { other.run([] {}); });
    attempt([&] { roving::run({.shards = 1}, [] {}); });
    attempt([&] { all.close(); });
    roving::post([&] { attempt([&] { all.run([] {}); }); });
    roving::yield();
    result = roving::spawn([] { return 5; }).get();
  });
  REQUIRE(errors.size() == 5);
  for (const auto& each : errors) CHECK(each.find("runs a shard already") != std::string::npos);
  CHECK(result == 5);
  CHECK(other.run([] { return 6; }) == 6);
}

TEST_CASE("C14 post: from other threads; wakes a sleeping shard, keeps each thread's order", "[post]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  constexpr int posts = 100'000;  // from each of
  constexpr int threads_count = 4;
  const unsigned target = shards - 1;
  std::vector<std::vector<int>> order(threads_count);
  std::atomic<int> ran{0};
  std::atomic<int> wrong_thread{0};
  roving::runtime all{{.shards = shards}};
  all.run([&] {
    const auto shard_thread = roving::spawn(roving::on_shard(target), [] { return std::this_thread::get_id(); }).get();
    std::vector<std::thread> threads;
    roving::promise<void> finished;
    auto is_finished = finished.get_future();
    for (int t = 0; t < threads_count; ++t)
      threads.emplace_back([&, t] {
        const auto to = all.on_shard(target);
        for (int i = 0; i < posts; ++i)
          to.post([&, t, i] {
            if (std::this_thread::get_id() != shard_thread) ++wrong_thread;
            order[static_cast<std::size_t>(t)].push_back(i);
            if (++ran == posts * threads_count) finished.set_value();
          });
      });
    is_finished.get();  // all shards sleep in between
    for (auto& each : threads) each.join();
  });
  CHECK(ran == posts * threads_count);
  CHECK(wrong_thread == 0);
  const std::vector<int> expected = numbers(posts);
  for (const auto& each : order) CHECK(each == expected);
}

TEST_CASE("C14 post: a shard that sleeps without a timer is woken, each time", "[post]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  constexpr int rounds_count = 2000;
  std::uint64_t wakes_and_sleeps = 0;
  roving::runtime all{{.shards = shards}};
  std::thread outsider;
  std::atomic<int> at{0};
  all.run([&] {
    roving::event answered;
    outsider = std::thread{[&] {
      for (int i = 0; i < rounds_count; ++i) {
        while (at.load(std::memory_order_acquire) != i) std::this_thread::yield();
        all.on_shard(0).post([&] { answered.set(); });
      }
    }};
    for (int i = 0; i < rounds_count; ++i) {
      answered.clear();
      at.store(i, std::memory_order_release);
      answered.wait();  // nothing else is to be done: the shard sleeps
    }
  });
  outsider.join();
  for (const auto& each : all.counters()) wakes_and_sleeps += each.sleeps;
  CHECK(wakes_and_sleeps > 0);
}

TEST_CASE("C15 post: to its own shard by way of on_shard is not called inside", "[post]") {
  names order;
  roving::runtime all{{.shards = 1}};
  all.run([&] {
    roving::on_shard(0).post([&] { order.push_back("by placement"); });
    roving::here.post([&] { order.push_back("by here"); });
    all.on_shard(0).post([&] { order.push_back("by runtime"); });
    roving::post([&] { order.push_back("by post"); });
    order.push_back("main");
    roving::yield();
    order.push_back("after");
  });
  CHECK(order == names{"main", "by placement", "by here", "by runtime", "by post", "after"});
}

TEST_CASE("C15 post: what a roving task sends to a shard keeps its order, though it moves", "[post]") {
  const unsigned shards = GENERATE(2u, 4u);
  constexpr int count = 5000;
  std::vector<int> order;
  roving::run({.shards = shards}, [&] {
    roving::spawn(roving::anywhere, [&] {
      for (int i = 0; i < count; ++i) {
        roving::on_shard(1).post([&, i] { order.push_back(i); });
        if (i % 7 == 0) roving::yield();
        if (i % 501 == 0) roving::sleep_for(1us);
      }
    }).join();
    roving::spawn(roving::on_shard(1), [] {}).join();  // behind them all
  });
  CHECK(order == numbers(count));
}

TEST_CASE("C16 post: after close it is an error, and what was left is destroyed uncalled", "[post][run]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const auto token = std::make_shared<int>(0);
  std::atomic<int> ran{0};
  std::vector<roving::callback_handle> handles;
  const auto one = [token, &ran] { ++ran; };
  std::optional<roving::runtime_shard> shard;
  {
    roving::runtime all{{.shards = shards}};
    shard = all.on_shard(shards - 1);
    all.run([&] {
      handles.push_back(roving::post_after(1h, one));
      handles.push_back(roving::post_at(roving::time_point::max(), one));
      roving::spawn(roving::on_shard(shards - 1), [&] { handles.push_back(roving::post_after(1h, one)); }).join();
    });
    handles.push_back(all.on_shard(0).post([token] {}));  // close() may still come to it
    all.close();
    CHECK(token.use_count() == 2);  // ours and that in `one`
    CHECK_THROWS_AS(all.on_shard(0).post(one), roving::runtime_closed);
    CHECK_THROWS_AS(all.run([] {}), roving::runtime_closed);
    CHECK_THROWS_AS(all.submit([] {}), roving::runtime_closed);
    CHECK(all.all_tasks().empty());
    CHECK(all.counters().empty());
    all.close();
  }
  CHECK_THROWS_AS(shard->post(one), roving::runtime_closed);  // the runtime is gone
  for (auto& each : handles) each.cancel();
  for (const auto& each : handles) CHECK(each.cancelled());
  CHECK(ran == 0);
  CHECK(token.use_count() == 2);
}

TEST_CASE("C16 post: threads that post while the runtime closes either get through or are told", "[post][run]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  for (int round = 0; round < 20; ++round) {
    const auto token = std::make_shared<int>(0);
    std::atomic<int> told{0};
    std::atomic<int> begun{0};
    std::vector<std::thread> threads;
    {
      roving::runtime all{{.shards = shards}};
      for (unsigned t = 0; t < 3; ++t)
        threads.emplace_back([&, to = all.on_shard(t % shards), token] {
          try {
            for (int i = 0;; ++i) {
              while (token.use_count() > 100) std::this_thread::yield();  // a flood would only grow
              roving::callback_handle handle = to.post([token] {});
              if (i % 2 == 0) handle.cancel();
              ++begun;
            }
          } catch (const roving::runtime_closed&) {
            ++told;
          }
        });
      all.run([&] {
        while (begun < 100) roving::yield();
      });
    }
    for (auto& each : threads) each.join();
    CHECK(told == 3);
    CHECK(token.use_count() == 1);
  }
}

TEST_CASE("C17 off every shard: calls that need one say so by name", "[post]") {
  const auto message_of = [](const auto& f) -> std::string {
    try {
      f();
    } catch (const roving::broken_contract& error) {
      return error.what();
    }
    return "nothing";
  };
  const std::vector<std::pair<std::string, std::string>> told{
      {"post", message_of([] { roving::post([] {}); })},
      {"post_at", message_of([] { roving::post_at(roving::now(), [] {}); })},
      {"post_after", message_of([] { roving::post_after(1s, [] {}); })},
      {"placement::post", message_of([] { roving::on_shard(0).post([] {}); })},
      {"spawn", message_of([] { roving::spawn([] {}).detach(); })},
      {"yield", message_of([] { roving::yield(); })},
      {"sleep_for", message_of([] { roving::sleep_for(1ms); })},
      {"sleep_until", message_of([] { roving::sleep_until(roving::now()); })},
      {"all_tasks", message_of([] { static_cast<void>(roving::all_tasks()); })},
      {"shard_count", message_of([] { static_cast<void>(roving::shard_count()); })},
      {"this_task::name", message_of([] { static_cast<void>(roving::this_task::name()); })},
      {"this_task::handle", message_of([] { static_cast<void>(roving::this_task::handle()); })},
      {"shard_local::get", message_of([] {
         roving::shard_local<int> local;
         static_cast<void>(local.get());
       })},
      {"future::on_done", message_of([] {
         roving::promise<int> promise;
         promise.get_future().on_done([] {});
       })},
  };
  for (const auto& [name, text] : told) {
    INFO(name);
    CHECK(text.rfind(name, 0) == 0);
    CHECK((text.find("shard of a runtime") != std::string::npos ||
           text.find("nothing can be suspended") != std::string::npos));
  }
}

TEST_CASE("C17 in a callback: what would suspend says so by name", "[post]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::pair<std::string, std::string>> told;
  bool in_task = true;
  run_placed(where, {}, [&] {
    auto sleeper = roving::spawn([] { roving::sleep_for(1h); });
    roving::promise<int> promise;
    auto future = promise.get_future();
    roving::mutex mutex;
    mutex.lock();
    std::atomic<bool> over{false};
    roving::on_shard(where.shards - 1).post([&] {
      in_task = roving::in_task();
      const auto attempt = [&](const char* name, const auto& f) {
        try {
          f();
          told.emplace_back(name, "nothing");
        } catch (const roving::not_in_task& error) {
          told.emplace_back(name, error.what());
        }
      };
      attempt("yield", [] { roving::yield(); });
      attempt("sleep_for", [] { roving::sleep_for(1ms); });
      attempt("task::get", [&] { sleeper.get(); });
      attempt("task::join", [&] { sleeper.join(); });
      attempt("future::get", [&] { static_cast<void>(future.get()); });
      attempt("future::wait", [&] { future.wait(); });
      attempt("mutex::lock", [&] { mutex.lock(); });
      attempt("this_task::name", [] { static_cast<void>(roving::this_task::name()); });
      attempt("this_task::cancel", [] { roving::this_task::cancel(); });
      over = true;
    });
    wait_until([&] { return over.load(); });
    mutex.unlock();
    sleeper.cancel();
  });
  CHECK_FALSE(in_task);
  CHECK(told.size() == 9);
  for (const auto& [name, text] : told) {
    INFO(name);
    CHECK(text.rfind(name, 0) == 0);
  }
}

TEST_CASE("C18 debug: a slice that is too long is reported with its task, its length and where it was spawned",
          "[post][run]") {
  const place where = GENERATE(from_range(places()));
  std::vector<roving::slow_slice> seen;
  std::atomic<bool> one_at_a_time{false};
  constexpr auto limit = 2ms;
  const auto handler = [&](const roving::slow_slice& what) {
    while (one_at_a_time.exchange(true)) std::this_thread::yield();
    seen.push_back(what);
    one_at_a_time = false;
  };
  const auto be_slow = [&] {
    for (const auto end = roving::now() + limit; roving::now() < end;) {
    }
  };
  roving::run({.shards = where.shards, .debug = true, .slow_slice = limit, .on_slow_slice = handler}, [&] {
    roving::attributes what;
    what.name = "slow";
    what.placement = where.is_roving ? roving::anywhere : roving::on_shard(where.shards - 1);
    auto slow = roving::spawn(what, [&] {
      be_slow();
      roving::yield();
      be_slow();
    });
    slow.join();
    bool called = false;
    roving::post([&] {
      be_slow();
      called = true;
    });
    wait_until([&] { return called; });
  });
  int of_slow = 0;
  int of_callback = 0;
  for (const auto& each : seen) {
    CHECK(each.took >= limit);
    if (each.task == "slow") ++of_slow;
    if (each.task == "callback") ++of_callback;
    if (each.task != "slow" && each.task != "callback") continue;  // main may be slow by itself, on a busy machine
    CHECK(std::string{each.site.file}.find("post_test.cpp") != std::string::npos);
    CHECK(each.site.line > 0);
    CHECK(each.shard < where.shards);
  }
  CHECK(of_slow == 2);
  CHECK(of_callback == 1);
}

TEST_CASE("C18 debug: by default the report is a line on stderr, and nothing without debug", "[post][run]") {
  const bool debug = GENERATE(false, true);
  captured_stderr captured;
  roving::run({.shards = 1, .debug = debug, .slow_slice = 1ns}, [] {
    roving::attributes what;
    what.name = "crawler";
    roving::spawn(what, [] {}).join();
  });
  const std::string text = captured.text();
  CHECK((text.find("roving: crawler (") != std::string::npos) == debug);
  CHECK((text.find(" held shard 0 for ") != std::string::npos) == debug);
}
