// Tested: cancellation as asyncio's, in its exact order on one shard, and wherever a task may wait; then a million
// races between a cancel and each of the things that may complete a wait. Tasks write down what they saw; the test's
// own thread checks it after run().
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <deque>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;
using namespace std::chrono_literals;
using names = std::vector<std::string>;

namespace {

std::string yes_or_no(bool what) { return what ? "true" : "false"; }

std::string count(unsigned number) { return std::to_string(number); }

std::string text_of(const roving::cancelled& error) {
  return error.has_message() ? "cancelled: " + std::string{error.message()} : "cancelled";
}

/// Parks for ever; writes down the cancel that ends it, and passes it on.
void park_and_tell(names& order, const std::string& who) {
  try {
    park();
  } catch (const roving::cancelled& error) {
    order.push_back(who + " " + text_of(error));
    throw;
  }
}

}  // namespace

TEST_CASE("C45 cancel: it says true at once; the task is thrown out of its wait in the next generation", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([&] { park_and_tell(order, "task"); });
    roving::yield();
    roving::post([&] { order.emplace_back("posted before"); });
    order.push_back("cancel " + yes_or_no(task.cancel()));
    roving::post([&] { order.emplace_back("posted after"); });
    order.push_back("cancelled " + yes_or_no(task.cancelled()) + " done " + yes_or_no(task.done()));
    roving::yield();
    order.push_back("cancelled " + yes_or_no(task.cancelled()) + " done " + yes_or_no(task.done()));
  });
  CHECK(order ==
        names{"cancel true", "cancelled false done false", "posted before", "task cancelled", "posted after",
              "cancelled true done true"});
}

TEST_CASE("C45 cancel: a task that is ready to run is thrown out of the yield that made it so", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([&] {
      order.push_back("yield " + thrown_by([] { roving::yield(); }));
      order.push_back("yield " + thrown_by([] { roving::yield(); }));
    });
    roving::yield();
    task.cancel("m");
    order.emplace_back("main");
    task.join();
  });
  CHECK(order == names{"main", "yield cancelled: m", "yield nothing"});
}

TEST_CASE("C45 cancel: it reaches a task wherever it waits, and takes nothing of what it waits for", "[cancel]") {
  const place where = GENERATE(from_range(places()));
  struct wait {
    const char* name;
    std::function<void()> in;
  };
  names seen;
  names expected;
  bool nothing_is_taken = false;
  run_in(where, [&] {
    roving::promise<int> promise;
    const auto passed_on_to = promise.get_future().share();
    roving::promise<int> other_promise;
    const auto watched = other_promise.get_future().share();
    roving::mutex held;
    roving::shared_mutex shared;
    roving::event event;
    roving::semaphore permits{0};
    roving::barrier barrier{2};
    roving::latch latch{1};
    roving::queue<int> empty;
    roving::queue<int> full{1};
    roving::mutex of_condition;
    roving::condition_variable condition{of_condition};
    held.lock();
    shared.lock();
    full.put(1);
    auto other = roving::spawn(at(where, 3), [] { park(); });
    const std::vector<wait> waits{
        {"sleep_for", [] { park(); }},
        {"future::get", [&] { static_cast<void>(passed_on_to.get()); }},
        {"future::wait", [&] { watched.wait(); }},
        {"mutex::lock", [&] { held.lock(); }},
        {"shared_mutex::lock_shared", [&] { shared.lock_shared(); }},
        {"event::wait", [&] { event.wait(); }},
        {"semaphore::acquire", [&] { permits.acquire(); }},
        {"barrier::wait", [&] { static_cast<void>(barrier.wait()); }},
        {"latch::wait", [&] { latch.wait(); }},
        {"queue::get", [&] { static_cast<void>(empty.get()); }},
        {"queue::put", [&] { full.put(2); }},
        {"queue::join", [&] { full.join(); }},
        {"condition_variable::wait",
         [&] {
           const std::unique_lock lock{of_condition};
           condition.wait();
         }},
        {"task::join", [&] { other.join(); }},
        {"wait", [&] { static_cast<void>(roving::wait(std::vector<roving::task_handle*>{&other})); }},
        {"gather", [&] { roving::gather([] { park(); }, [] { park(); }); }},
        {"with_task_group", [&] { roving::with_task_group([](roving::task_group& group) { group.spawn(&park); }); }},
        {"with_timeout", [&] { roving::with_timeout(24h, [] { park(); }); }},
    };
    for (const wait& each : waits) {
      auto task = roving::spawn(at(where, 1), [&] { seen.push_back(each.name + (": " + thrown_by(each.in))); });
      wait_until_waiting(task);
      task.cancel("m");
      task.join();
      expected.push_back(std::string{each.name} + ": cancelled: m");
    }
    nothing_is_taken = passed_on_to.cancelled() && !watched.done() && !other.done() && permits.value() == 0 &&
        barrier.n_waiting() == 0 && empty.empty() && full.size() == 1 && !of_condition.locked();
    held.unlock();
    shared.unlock();
    nothing_is_taken = nothing_is_taken && held.try_lock() && shared.try_lock();
  });
  CHECK(seen == expected);
  CHECK(nothing_is_taken);
}

TEST_CASE("C46 cancel: before the first step the body never runs, and the message is kept", "[cancel]") {
  names order;
  run_in_order([&] {
    const auto lives = std::make_shared<int>();
    auto task = roving::spawn([&order, lives] { order.emplace_back("never"); });
    order.push_back("cancel " + yes_or_no(task.cancel("m")));
    order.push_back("done " + yes_or_no(task.done()));
    order.push_back("get " + thrown_by([&] { task.get(); }));
    order.push_back("cancelled " + yes_or_no(task.cancelled()));
    order.push_back("callables " + std::to_string(lives.use_count() - 1));
  });
  CHECK(order == names{"cancel true", "done false", "get cancelled: m", "cancelled true", "callables 0"});
}

TEST_CASE("C47 cancel: it cancels the future for which the task waits", "[cancel]") {
  names order;
  run_in_order([&] {
    roving::promise<int> promise;
    const auto future = promise.get_future().share();
    auto task = roving::spawn([&] { order.push_back("task " + thrown_by([&] { static_cast<void>(future.get()); })); });
    roving::yield();
    order.push_back("cancel " + yes_or_no(task.cancel("m")));
    order.push_back("future " + yes_or_no(future.cancelled()));
    order.push_back("set " + yes_or_no(promise.try_set_value(1)));
    task.join();
  });
  CHECK(order == names{"cancel true", "future true", "set false", "task cancelled: m"});
}

TEST_CASE("C48 cancel: after the completion and before the wake it is thrown at that wait", "[cancel]") {
  names order;
  run_in_order([&] {
    roving::promise<int> promise;
    const auto future = promise.get_future().share();
    auto task = roving::spawn([&] {
      order.push_back("task " + thrown_by([&] { static_cast<void>(future.get()); }));
      order.push_back("again " + std::to_string(future.get()));
    });
    roving::yield();
    promise.set_value(1);
    order.push_back("cancel " + yes_or_no(task.cancel("m")));
    task.join();
  });
  CHECK(order == names{"cancel true", "task cancelled: m", "again 1"});
}

TEST_CASE("C48 cancel: taken back before the wake, the value is delivered; one that stays is thrown", "[cancel]") {
  const unsigned cancels = GENERATE(1u, 2u);
  names order;
  run_in_order([&] {
    roving::promise<int> promise;
    const auto future = promise.get_future().share();
    auto task = roving::spawn([&] { order.push_back(thrown_by([&] { static_cast<void>(future.get()); })); });
    roving::yield();
    promise.set_value(1);
    for (unsigned i = 0; i < cancels; ++i) task.cancel();
    order.push_back("uncancel " + count(task.uncancel()));
    task.join();
  });
  CHECK(order == (cancels == 1 ? names{"uncancel 0", "nothing"} : names{"uncancel 1", "cancelled"}));
}

TEST_CASE("C49 cancel: a task that cancels itself and returns is cancelled; its error stays", "[cancel]") {
  names order;
  run_in_order([&] {
    auto returns = roving::spawn([] {
      roving::this_task::cancel("m");
      return 5;
    });
    order.push_back(thrown_by([&] { static_cast<void>(returns.get()); }));
    order.push_back("cancelled " + yes_or_no(returns.cancelled()));
    auto throws = roving::spawn([] {
      roving::this_task::cancel();
      throw error("mine");
    });
    order.push_back(thrown_by([&] { throws.get(); }));
    order.push_back("cancelled " + yes_or_no(throws.cancelled()));
  });
  CHECK(order == names{"cancelled: m", "cancelled true", "mine", "cancelled false"});
}

TEST_CASE("C49 cancel: a task that cancels itself gets it where it next suspends, not at what is done", "[cancel]") {
  names order;
  run_in_order([&] {
    roving::promise<int> done;
    done.set_value(1);
    auto is_there = done.get_future();
    roving::promise<int> promise;
    const auto future = promise.get_future().share();
    auto task = roving::spawn([&] {
      roving::this_task::cancel();
      order.push_back("done " + thrown_by([&] { static_cast<void>(is_there.get()); }));
      order.push_back("future " + thrown_by([&] { static_cast<void>(future.get()); }));
      order.push_back("yield " + thrown_by([] { roving::yield(); }));
    });
    roving::yield();
    order.push_back("future cancelled " + yes_or_no(future.cancelled()));
    task.join();
  });
  CHECK(order == names{"done nothing", "future cancelled true", "future cancelled", "yield nothing"});
}

TEST_CASE("C50 cancel: a task that swallows it and returns a value has that value", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([] {
      static_cast<void>(thrown_by(park));
      return 5;
    });
    roving::yield();
    task.cancel();
    order.push_back(std::to_string(task.get()));
    order.push_back("cancelled " + yes_or_no(task.cancelled()) + " cancelling " + count(task.cancelling()));
  });
  CHECK(order == names{"5", "cancelled false cancelling 1"});
}

TEST_CASE("C51 cancel: it is an edge: once swallowed, the next suspension is not interrupted", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([&] {
      order.push_back(thrown_by(park));
      order.push_back("cancelling " + count(roving::this_task::cancelling()));
      order.push_back(thrown_by([] { roving::yield(); }));
      order.push_back(thrown_by([] { roving::sleep_for(1us); }));
    });
    roving::yield();
    task.cancel();
    task.get();
  });
  CHECK(order == names{"cancelled", "cancelling 1", "nothing", "nothing"});
}

TEST_CASE("C52 cancel: two before the delivery are thrown once, with the first message, and counted twice",
          "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([&] {
      order.push_back(thrown_by(park));
      order.push_back("cancelling " + count(roving::this_task::cancelling()));
      order.push_back(thrown_by([] { roving::yield(); }));
    });
    roving::yield();
    const bool first = task.cancel("first");
    const bool second = task.cancel("second");
    order.push_back(yes_or_no(first) + " " + yes_or_no(second));
    task.get();
  });
  CHECK(order == names{"true true", "cancelled: first", "cancelling 2", "nothing"});
}

TEST_CASE("C52 cancel: of two before the first step the last message is kept", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([] {});
    task.cancel("first");
    task.cancel("last");
    order.push_back("cancelling " + count(task.cancelling()));
    order.push_back(thrown_by([&] { task.get(); }));
  });
  CHECK(order == names{"cancelling 2", "cancelled: last"});
}

TEST_CASE("C53 uncancel: it stops at 0, takes back no cancel that is on its way, and does nothing to what is done",
          "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([&] { park_and_tell(order, "task"); });
    order.push_back("uncancel " + count(task.uncancel()));
    roving::yield();
    task.cancel();
    order.push_back("cancelling " + count(task.cancelling()));
    order.push_back("uncancel " + count(task.uncancel()));
    order.push_back("uncancel " + count(task.uncancel()));
    roving::yield();
    order.push_back("done " + yes_or_no(task.done()) + " cancelled " + yes_or_no(task.cancelled()));
    order.push_back("uncancel " + count(task.uncancel()));
    order.push_back("cancelling " + count(task.cancelling()));
  });
  CHECK(order ==
        names{"uncancel 0", "cancelling 1", "uncancel 0", "uncancel 0", "task cancelled", "done true cancelled true",
              "uncancel 0", "cancelling 0"});
}

TEST_CASE("C54 cancel: of a task that has ended it says false and changes nothing", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([] { return 1; });
    task.join();
    order.push_back("cancel " + yes_or_no(task.cancel("m")));
    order.push_back("cancelling " + count(task.cancelling()));
    order.push_back(std::to_string(task.get()) + " cancelled " + yes_or_no(task.cancelled()));
  });
  CHECK(order == names{"cancel false", "cancelling 0", "1 cancelled false"});
}

TEST_CASE("C55 cancel: who awaits a cancelled task is thrown cancelled, and is not being cancelled", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([] { park(); });
    auto awaiter = roving::spawn([&] {
      try {
        task.get();
      } catch (const roving::cancelled& error) {
        order.push_back("awaiter " + text_of(error) + ", cancelling " + count(roving::this_task::cancelling()));
        throw;
      }
    });
    roving::yield();
    task.cancel("m");
    awaiter.join();
    order.push_back("cancelled " + yes_or_no(awaiter.cancelled()));
  });
  CHECK(order == names{"awaiter cancelled: m, cancelling 0", "cancelled true"});
}

TEST_CASE("C56 cancel: of an awaiter it is passed on to what it awaits; other awaiters get it too", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([&] { park_and_tell(order, "task"); });
    const auto awaits = [&](const char* who) {
      try {
        task.get();
      } catch (const roving::cancelled&) {
        order.push_back(who + (" cancelled, cancelling " + count(roving::this_task::cancelling())));
        throw;
      }
    };
    auto first = roving::spawn([&] { awaits("first"); });
    auto second = roving::spawn([&] { awaits("second"); });
    auto joins = roving::spawn([&] {
      task.join();
      order.emplace_back("joiner goes on");
    });
    roving::yield();
    order.push_back("cancel " + yes_or_no(first.cancel()));
    for (const roving::task_handle* each : {&first, &second, &joins}) each->join();
    order.push_back(yes_or_no(task.cancelled()) + " " + yes_or_no(first.cancelled()) + " " +
                    yes_or_no(second.cancelled()) + " " + yes_or_no(joins.cancelled()));
    order.push_back(count(task.cancelling()) + " " + count(first.cancelling()) + " " + count(second.cancelling()));
  });
  CHECK(order ==
        names{"cancel true", "task cancelled", "first cancelled, cancelling 1", "second cancelled, cancelling 0",
              "joiner goes on", "true true true false", "1 1 0"});
}

TEST_CASE("C57 cancel: its cleanup may suspend, and it goes on after that", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([&] {
      try {
        park();
      } catch (const roving::cancelled&) {
        order.emplace_back("cleanup");
        roving::yield();
        roving::sleep_for(1us);
        order.emplace_back("cleaned");
        throw;
      }
    });
    roving::yield();
    task.cancel("m");
    order.push_back(thrown_by([&] { task.get(); }));
  });
  CHECK(order == names{"cleanup", "cleaned", "cancelled: m"});
}

TEST_CASE("C57 cancel: a second one interrupts the cleanup", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([&] {
      try {
        park();
      } catch (const roving::cancelled&) {
        order.emplace_back("cleanup");
        park();
        order.emplace_back("never");
      }
    });
    roving::yield();
    task.cancel("first");
    roving::yield();
    task.cancel("second");
    order.push_back(thrown_by([&] { task.get(); }));
    order.push_back("cancelling " + count(task.cancelling()));
  });
  CHECK(order == names{"cleanup", "cancelled: second", "cancelling 2"});
}

TEST_CASE("C57 cancel: an error thrown by the cleanup takes its place", "[cancel]") {
  names order;
  run_in_order([&] {
    auto task = roving::spawn([&] {
      try {
        park();
      } catch (const roving::cancelled&) {
        roving::yield();
        throw error("cleanup failed");
      }
    });
    roving::yield();
    task.cancel();
    order.push_back(thrown_by([&] { task.get(); }));
    order.push_back("cancelled " + yes_or_no(task.cancelled()));
  });
  CHECK(order == names{"cleanup failed", "cancelled false"});
}

// --- C58: races -----------------------------------------------------------------------------------------------------

namespace {

// What is raced: the waits of a batch of victims, and what completes each of them, once, from elsewhere. afterwards()
// counts what is wrong when all victims have ended; it is told which of them came out of their waits with what they
// waited for, and which were thrown out of them.

struct outcomes {
  std::vector<bool> completed;
  std::vector<bool> thrown_out;
};

class future_completion {
 public:
  explicit future_completion(const place&, std::size_t size) : promises_(size), kept_(size, false) {
    for (auto& each : promises_) futures_.push_back(each.get_future().share());
  }
  void wait(std::size_t i) { static_cast<void>(futures_[i].get()); }
  void complete(std::size_t i) { kept_[i] = promises_[i].try_set_value(1); }
  [[nodiscard]] int afterwards(const outcomes& how) {
    int wrong = 0;
    for (std::size_t i = 0; i < kept_.size(); ++i) {
      if (!futures_[i].done() || futures_[i].cancelled() == kept_[i]) ++wrong;
      if (how.completed[i] && !kept_[i]) ++wrong;
      if (!kept_[i] && !how.thrown_out[i]) ++wrong;
    }
    return wrong;
  }

 private:
  std::deque<roving::promise<int>> promises_;
  std::vector<roving::shared_future<int>> futures_;
  std::deque<bool> kept_;
};

class mutex_grant {
 public:
  explicit mutex_grant(const place&, std::size_t size) : mutexes_(size) {
    for (auto& each : mutexes_) each.lock();
  }
  void wait(std::size_t i) { const std::scoped_lock held{mutexes_[i]}; }
  void complete(std::size_t i) { mutexes_[i].unlock(); }
  [[nodiscard]] int afterwards(const outcomes&) {
    int wrong = 0;
    for (auto& each : mutexes_)
      if (each.locked() || !each.try_lock()) ++wrong;
    return wrong;
  }

 private:
  std::deque<roving::mutex> mutexes_;
};

class queue_get {
 public:
  explicit queue_get(const place&, std::size_t size) : got_(size, 0), times_(size, 0) {}
  void wait(std::size_t i) { got_[i] = items_.get(); }
  void complete(std::size_t i) { items_.put(static_cast<int>(i) + 1); }
  [[nodiscard]] int afterwards(const outcomes& how) {
    while (const std::optional<int> left = items_.try_get()) ++times_[static_cast<std::size_t>(*left) - 1];
    int wrong = 0;
    for (std::size_t i = 0; i < got_.size(); ++i) {
      if (how.completed[i] != (got_[i] != 0)) ++wrong;
      if (got_[i] != 0) ++times_[static_cast<std::size_t>(got_[i]) - 1];
    }
    for (const int each : times_)
      if (each != 1) ++wrong;  // lost, or there twice
    return wrong;
  }

 private:
  roving::queue<int> items_;
  std::vector<int> got_;
  std::vector<int> times_;
};

class event_set {
 public:
  explicit event_set(const place&, std::size_t size) : events_(size) {}
  void wait(std::size_t i) { events_[i].wait(); }
  void complete(std::size_t i) { events_[i].set(); }
  [[nodiscard]] int afterwards(const outcomes&) {
    int wrong = 0;
    for (auto& each : events_)
      if (!each.is_set() || each.waiting() != 0) ++wrong;
    return wrong;
  }

 private:
  std::deque<roving::event> events_;
};

class sleep_expiry {
 public:
  explicit sleep_expiry(const place&, std::size_t) {}
  void wait(std::size_t i) { roving::sleep_for(std::chrono::microseconds{1 + i % 8}); }
  void complete(std::size_t) {}  // the clock does
  [[nodiscard]] int afterwards(const outcomes&) { return 0; }
};

// The victim awaits a task, to which the cancel is passed on.
class task_end {
 public:
  explicit task_end(const place& where, std::size_t size) : go_(size) {
    for (std::size_t i = 0; i < size; ++i)
      children_.push_back(roving::spawn(at(where, static_cast<unsigned>(i / 2)), [this, i] {
        go_[i].wait();
        return i;
      }));
  }
  void wait(std::size_t i) {
    if (children_[i].get() != i) ++wrong_;
  }
  void complete(std::size_t i) { go_[i].set(); }
  [[nodiscard]] int afterwards(const outcomes& how) {
    int wrong = wrong_;
    for (std::size_t i = 0; i < children_.size(); ++i) {
      children_[i].join();
      if (children_[i].cancelled() && !how.thrown_out[i]) ++wrong;
      if (children_[i].cancelled() != (children_[i].cancelling() != 0)) ++wrong;
    }
    return wrong;
  }

 private:
  std::deque<roving::event> go_;
  std::deque<roving::task<std::size_t>> children_;
  std::atomic<int> wrong_{0};
};

// The victim awaits several, all but one of which are done: the answer to a cancel that is passed on takes its time.
class gather_end {
 public:
  explicit gather_end(const place& where, std::size_t size) : go_(size) {
    for (std::size_t i = 0; i < size; ++i)
      children_.push_back(roving::spawn(at(where, static_cast<unsigned>(i / 2)), [this, i] { go_[i].wait(); }));
    for (int i = 0; i < 100; ++i) done_.push_back(roving::spawn([] {}));
    for (auto& each : done_) each.join();
  }
  void wait(std::size_t i) {
    std::vector<roving::task<void>*> all{&children_[i]};
    for (auto& each : done_) all.push_back(&each);
    roving::gather(all);
  }
  void complete(std::size_t i) { go_[i].set(); }
  [[nodiscard]] int afterwards(const outcomes& how) {
    int wrong = 0;
    for (std::size_t i = 0; i < children_.size(); ++i) {
      children_[i].join();
      if (children_[i].cancelled() && !how.thrown_out[i]) ++wrong;
    }
    return wrong;
  }

 private:
  std::deque<roving::event> go_;
  std::deque<roving::task<void>> children_;
  std::deque<roving::task<void>> done_;
};

struct victim {
  std::atomic<int> completed{0};
  std::atomic<int> thrown_out{0};
  bool cancel_was_taken = false;
  roving::task<void> task;
};

struct tally {
  int races = 0;
  int completed = 0;
  int thrown_out = 0;
  int never_ran = 0;
  int wrong = 0;
};

// Lets two sides begin at the same time, be they tasks or threads.
class starting_line {
 public:
  template <class Pause>
  void meet(Pause pause) {
    ++there_;
    while (there_ < 2) pause();
  }

 private:
  std::atomic<int> there_{0};
};

// Races in batches: one side completes the waits, the other cancels the victims, in the same or the other direction.
template <class Contest>
void race(const place& where, bool from_thread, int count, std::uint32_t seed, tally& all) {
  constexpr std::size_t batch = 256;
  dice chance{seed};
  run_in(where, [&] {
    std::function<void()> cancel_all;
    roving::semaphore begin{0};
    roving::semaphore ended{0};
    bool stop = false;
    std::thread outsider;
    if (from_thread)
      outsider = std::thread{[&] {
        for (;;) {
          begin.acquire();
          if (stop) return;
          cancel_all();
          ended.release();
        }
      }};
    for (int left = count; left > 0; left -= static_cast<int>(batch)) {
      Contest contest{where, batch};
      std::deque<victim> victims(batch);
      roving::event finale;
      std::atomic<int> passed{0};
      const bool waits_again = chance() % 2 == 0;  // so that a wake that comes late would hit a later wait
      for (std::size_t i = 0; i < batch; ++i)
        victims[i].task = roving::spawn(at(where, static_cast<unsigned>(i)), [&, i] {
          const auto wait_again = [&] {
            const roving::no_cancel hold_back;
            if (waits_again) finale.wait();
            ++passed;
          };
          try {
            contest.wait(i);
          } catch (const roving::cancelled&) {
            ++victims[i].thrown_out;
            wait_again();
            throw;
          }
          ++victims[i].completed;
          wait_again();
        });
      if (chance() % 4 != 0)  // else the race begins before they wait
        for (const victim& each : victims)
          while (!is_parked(each.task) && !each.task.done()) roving::yield();

      starting_line line;
      const bool backwards = chance() % 2 == 0;
      const std::uint32_t pauses_of_cancels = chance();
      cancel_all = [&] {
        from_thread ? line.meet([] { std::this_thread::yield(); }) : line.meet([] { roving::yield(); });
        dice pauses{pauses_of_cancels};
        for (std::size_t n = 0; n < batch; ++n) {
          victim& each = victims[backwards ? batch - 1 - n : n];
          each.cancel_was_taken = each.task.cancel();
          if (!from_thread && pauses() % 8 == 0) roving::yield();
        }
      };
      auto completer = roving::spawn(at(where, 1), [&, seed = chance()] {
        line.meet([] { roving::yield(); });
        dice pauses{seed};
        for (std::size_t i = 0; i < batch; ++i) {
          contest.complete(i);
          if (pauses() % 8 == 0) roving::yield();
        }
      });
      if (from_thread) {
        begin.release();
        ended.acquire();
      } else {
        roving::spawn(at(where, 2), [&] { cancel_all(); }).get();
      }
      completer.get();

      if (waits_again && passed != 0) ++all.wrong;
      finale.set();
      outcomes how{std::vector<bool>(batch), std::vector<bool>(batch)};
      for (std::size_t i = 0; i < batch; ++i) {
        victim& each = victims[i];
        each.task.join();
        how.completed[i] = each.completed == 1;
        how.thrown_out[i] = each.thrown_out == 1;
        if (each.completed + each.thrown_out > 1) ++all.wrong;
        if (each.task.cancelled() != each.cancel_was_taken) ++all.wrong;
        if (each.task.cancelling() != (each.cancel_was_taken ? 1U : 0U)) ++all.wrong;
        if (each.thrown_out != 0 && !each.cancel_was_taken) ++all.wrong;
        all.completed += each.completed;
        all.thrown_out += each.thrown_out;
        all.never_ran += each.completed == 0 && each.thrown_out == 0 ? 1 : 0;
        ++all.races;
      }
      all.wrong += contest.afterwards(how);
    }
    if (from_thread) {
      stop = true;
      begin.release();
      outsider.join();
    }
  });
}

// A million races, spread evenly over the places and over tasks and plain threads that cancel. Where frames are on
// fake stacks, which exceptions leave full, that is 10 % of them.
template <class Contest>
tally race_everywhere(int races = 1'000'000) {
  if (ROVING_TEST_FAKE_STACKS) races /= 10;
  tally all;
  std::uint32_t seed = 0;
  for (const place& where : places())
    for (const bool from_thread : {false, true}) race<Contest>(where, from_thread, races / 12 + 1, ++seed, all);
  REQUIRE(all.races >= races);
  return all;
}

void check_races(const tally& all) {
  CAPTURE(all.races, all.completed, all.thrown_out, all.never_ran);
  CHECK(all.wrong == 0);
  CHECK(all.completed + all.thrown_out + all.never_ran == all.races);
  CHECK(all.completed > 0);  // it was a race
  CHECK(all.thrown_out > 0);
}

}  // namespace

TEST_CASE("C58 cancel: races with the completion of a future, a million times; each has one outcome",
          "[cancel][race]") {
  check_races(race_everywhere<future_completion>());
}

TEST_CASE("C58 cancel: races with the grant of a mutex, a million times; no lock is lost", "[cancel][race]") {
  check_races(race_everywhere<mutex_grant>());
}

TEST_CASE("C58 cancel: races with an item for a getter, a million times; no item is lost", "[cancel][race]") {
  check_races(race_everywhere<queue_get>());
}

TEST_CASE("C58 cancel: races with the expiry of a sleep, a million times; each has one outcome", "[cancel][race]") {
  check_races(race_everywhere<sleep_expiry>());
}

TEST_CASE("C58 cancel: races with an event that is set, a million times; no wake is lost", "[cancel][race]") {
  check_races(race_everywhere<event_set>());
}

TEST_CASE("C58 cancel: races with the end of the task that is awaited, a million times; both agree", "[cancel][race]") {
  constexpr int races = roving::detail::thread_sanitizer ? 200'000 : 1'000'000;  // two tasks each: minutes there
  check_races(race_everywhere<task_end>(races));
}

TEST_CASE("C58 cancel: races with the end of several that are gathered, to all of which it is passed on",
          "[cancel][race]") {
  check_races(race_everywhere<gather_end>(rounds(50'000)));
}

namespace {

// Ends when somebody wants to cancel it, says that it is done, and takes its time to say so: long enough for whoever
// awaits it to go on and to end, if it could.
class ends_when_cancelled : public roving::detail::future_base {
 public:
  ends_when_cancelled() noexcept : future_base{&operations} {}
  void await() {
    if (future_base::await("ends_when_cancelled::await")) roving::detail::throw_cancelled();
    went_on_ = true;
  }

 private:
  static bool cancel(future_base& future, const roving::detail::cancel_message&) noexcept {
    auto& self = static_cast<ends_when_cancelled&>(future);
    if (self.begin_completion()) self.finish(roving::detail::outcome::value);
    for (int i = 0; i < 1000 && !self.went_on_; ++i) std::this_thread::yield();
    return false;
  }
  static void destroy(future_base&) noexcept {}
  static constexpr roving::detail::future_operations operations{&cancel, &destroy, false};

  std::atomic<bool> went_on_{false};
};

}  // namespace

TEST_CASE("C58 cancel: one that was taken is not lost when what it is passed on to has just ended", "[cancel]") {
  const place where = GENERATE(from_range(places()));
  bool taken = false;
  bool was_cancelled = false;
  bool cancelled_itself = false;
  run_in(where, [&] {
    ends_when_cancelled awaited;
    auto task = roving::spawn(at(where, 1), [&] { awaited.await(); });
    wait_until_waiting(task);
    taken = task.cancel();
    task.join();
    was_cancelled = task.cancelled();

    ends_when_cancelled next;
    auto other = roving::spawn(at(where, 1), [&] {
      roving::this_task::cancel();
      next.await();
    });
    other.join();
    cancelled_itself = other.cancelled();
  });
  CHECK(taken);
  CHECK(was_cancelled);
  CHECK(cancelled_itself);
}
