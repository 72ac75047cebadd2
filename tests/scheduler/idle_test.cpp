// Tested: idle_set, the words of the sleep/wake protocol, step by step as idle.hpp numbers them, and with threads that
// race.
#include <atomic>
#include <thread>
#include <vector>

#include "scheduler/idle.hpp"
#include "tests/support/catch.hpp"

using roving::detail::idle_set;

TEST_CASE("idle: nobody is called while all are awake, or while somebody searches", "[idle]") {
  idle_set idle{3};
  bool again = true;
  CHECK_FALSE(idle.should_call());
  CHECK_FALSE(idle.call_one(0, again).has_value());
  CHECK_FALSE(again);

  REQUIRE(idle.start_searching());
  idle.announce(1, false);
  CHECK_FALSE(idle.should_call());  // somebody searches: it will find what there is
  CHECK(idle.stop_searching());
  CHECK(idle.should_call());
}

TEST_CASE("idle: a called sleeper is off the sleepers and counts as a searcher", "[idle]") {
  idle_set idle{2};
  idle.announce(1, false);
  CHECK(idle.sleepers() == 1);
  CHECK(idle.is_asleep(1));
  bool again = true;
  const auto called = idle.call_one(0, again);
  REQUIRE(called == 1U);
  CHECK_FALSE(again);
  CHECK(idle.sleepers() == 0);
  CHECK_FALSE(idle.should_call());  // one wake is under way
  CHECK(idle.awake(1));             // it learns that it was called
  CHECK(idle.stop_searching());     // and is the last of the searchers
}

TEST_CASE("idle: who wakes by itself is no searcher", "[idle]") {
  idle_set idle{2};
  idle.announce(0, false);
  CHECK_FALSE(idle.awake(0));
  CHECK(idle.sleepers() == 0);
}

TEST_CASE("idle: of those who wake a sleeper for its inbox one wins", "[idle]") {
  idle_set idle{2};
  CHECK_FALSE(idle.take_from_sleep(1));
  idle.announce(1, false);
  CHECK(idle.take_from_sleep(1));
  CHECK_FALSE(idle.take_from_sleep(1));  // one write a sleep
  CHECK(idle.sleepers() == 0);
  CHECK_FALSE(idle.awake(1));
}

TEST_CASE("idle: announcing gives up the search in the same step", "[idle]") {
  idle_set idle{4};
  REQUIRE(idle.start_searching());
  REQUIRE(idle.start_searching());
  CHECK_FALSE(idle.start_searching());  // half of them at most
  idle.announce(2, true);
  CHECK(idle.sleepers() == 1);
  CHECK(idle.start_searching());
  CHECK_FALSE(idle.stop_searching());
  CHECK(idle.stop_searching());
}

TEST_CASE("idle: as many are called as are enough, and whoever ends a search looks while there are fewer", "[idle]") {
  idle_set idle{4, 2};
  bool again = false;
  REQUIRE(idle.start_searching());
  idle.announce(1, false);
  idle.announce(2, false);
  CHECK(idle.should_call());
  CHECK(idle.call_one(0, again) == 1U);
  CHECK_FALSE(idle.should_call());
  CHECK_FALSE(idle.call_one(0, again).has_value());
  CHECK(idle.stop_searching());
  CHECK(idle.call_one(0, again) == 2U);
}

TEST_CASE("idle: one watches at a time, and a short watch keeps lone tasks from waking anybody", "[idle]") {
  idle_set idle{3};
  CHECK_FALSE(idle.has_watcher());
  CHECK(idle.watch(1, false));
  CHECK(idle.watch(1, true));
  CHECK_FALSE(idle.watch(2, false));
  idle.announce(1, false);
  CHECK(idle.should_call());
  CHECK(idle.has_short_watch());
  CHECK_FALSE(idle.end_watch(2));  // not its own
  CHECK(idle.has_watcher());
  CHECK(idle.end_watch(1));
  CHECK_FALSE(idle.has_watcher());
  CHECK_FALSE(idle.has_short_watch());
}

TEST_CASE("idle: a short watch is taken from who has a long one, and from nobody else", "[idle]") {
  idle_set idle{3};
  CHECK(idle.watch(1, false));
  CHECK(idle.watch(2, true));
  CHECK(idle.has_short_watch());
  CHECK_FALSE(idle.watch(1, false));
  CHECK_FALSE(idle.watch(1, true));
  CHECK_FALSE(idle.end_watch(1));
  CHECK(idle.watch(2, false));  // it is long again
  CHECK_FALSE(idle.has_short_watch());
  CHECK_FALSE(idle.end_watch(2));
}

// Producers publish items, sleepers look for them as the protocol says. If a wake could be lost, a sleeper would wait
// for a semaphore that nobody releases, and the test would hang: the runner's timeout tells.
TEST_CASE("idle: producers and sleepers that race lose no item", "[idle]") {
  constexpr unsigned workers = 3;
  constexpr int items = 20'000;
  idle_set idle{workers};
  std::atomic<int> published{0};
  std::atomic<int> taken{0};
  std::atomic<bool> stop{false};
  std::vector<std::atomic<unsigned>> signals(workers);

  const auto take = [&] {
    int seen = published.load(std::memory_order_seq_cst);
    while (seen > 0)
      if (published.compare_exchange_weak(seen, seen - 1, std::memory_order_seq_cst)) return true;
    return false;
  };
  const auto call = [&](unsigned from) {
    for (;;) {
      bool again = false;
      if (const auto called = idle.call_one(from, again)) {
        signals[*called].fetch_add(1);
        signals[*called].notify_one();
        return;
      }
      if (!again || !idle.stop_searching() || published.load(std::memory_order_seq_cst) == 0) return;
    }
  };
  const auto work = [&](unsigned me) {
    bool searching = false;
    for (;;) {
      if (!searching) searching = idle.start_searching();
      if (take()) {
        taken.fetch_add(1);
        if (searching && idle.stop_searching() && published.load(std::memory_order_seq_cst) > 0) call(me);
        searching = false;
        continue;
      }
      const unsigned before = signals[me].load();
      idle.announce(me, searching);
      searching = false;
      if (published.load(std::memory_order_seq_cst) == 0 && !stop.load(std::memory_order_seq_cst))
        signals[me].wait(before);
      searching = idle.awake(me);
      if (stop.load(std::memory_order_seq_cst) && published.load(std::memory_order_seq_cst) == 0) {
        if (searching) (void)idle.stop_searching();
        return;
      }
    }
  };
  std::vector<std::thread> threads;
  for (unsigned i = 1; i < workers; ++i) threads.emplace_back(work, i);
  for (int i = 0; i < items; ++i) {
    published.fetch_add(1, std::memory_order_seq_cst);  // P1
    if (idle.should_call()) call(0);                    // P2, P3
  }
  while (taken.load() < items) std::this_thread::yield();
  stop.store(true, std::memory_order_seq_cst);
  for (unsigned i = 1; i < workers; ++i) {
    signals[i].fetch_add(1);
    signals[i].notify_one();
  }
  for (auto& each : threads) each.join();
  CHECK(taken == items);
  CHECK(idle.sleepers() == 0);
}

TEST_CASE("idle: a shard that no thread runs is neither called nor counted as running", "[idle]") {
  idle_set idle{2};
  idle.leave(0);
  CHECK(idle.is_absent(0));
  idle.announce(1, false);
  CHECK_FALSE(idle.somebody_runs());
  bool again = false;
  CHECK(idle.call_one(0, again) == 1U);
  CHECK_FALSE(idle.take_from_sleep(0));
  CHECK(idle.awake(1));
  (void)idle.stop_searching();
  idle.come_back(0);
  idle.announce(1, false);
  CHECK(idle.somebody_runs());
}
