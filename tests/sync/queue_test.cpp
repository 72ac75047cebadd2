// Tested: roving::queue, roving::lifo_queue, roving::priority_queue.
#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;

namespace {

template <class Queue>
std::vector<int> drain(Queue& from) {
  std::vector<int> taken;
  while (auto item = from.try_get()) taken.push_back(*item);
  return taken;
}

// Producers put each number once, consumers cross it off, and everybody is cancelled all the time.
template <class Queue>
void stress(place where, std::size_t capacity, int producers, int consumers, int items, std::uint32_t seed) {
  std::vector<std::atomic<std::uint8_t>> taken(static_cast<std::size_t>(items));
  std::atomic<bool> found_left{false};
  roving::run({.shards = where.shards}, [&] {
    Queue line{capacity};
    crew putting{where};
    crew getting{where};
    for (int producer = 0; producer < producers; ++producer) {
      putting.spawn([&, producer] {
        for (int item = producer; item < items;) {
          try {
            line.put(item);
            item += producers;
          } catch (const roving::cancelled&) {
          }
        }
      });
    }
    for (int consumer = 0; consumer < consumers; ++consumer) {
      getting.spawn([&] {
        for (;;) {
          try {
            ++taken[static_cast<std::size_t>(line.get())];
            line.task_done();
          } catch (const roving::cancelled&) {
          } catch (const roving::queue_shut_down&) {
            return;
          }
        }
      });
    }
    putting.wait_until_started();
    getting.wait_until_started();
    std::minstd_rand draw{seed};
    while (!putting.done()) {
      crew& unlucky = draw() % 2 == 0 ? putting : getting;
      unlucky[draw() % unlucky.size()].cancel();
      for (auto pause = draw() % 4; pause > 0; --pause) roving::yield();
    }
    line.join();
    line.shutdown();
    getting.cancel_until_done(seed);
    if (!line.empty()) found_left = true;
  });
  int wrong = 0;
  for (const auto& count : taken) wrong += count == 1 ? 0 : 1;
  CHECK(wrong == 0);
  CHECK_FALSE(found_left);
}

}  // namespace

TEST_CASE("C112 queue: first in, first out", "[sync][queue]") {
  roving::queue<int> line;
  for (int i = 0; i < 1000; ++i) line.put(i);
  CHECK(line.size() == 1000);
  CHECK_FALSE(line.full());
  CHECK(drain(line) == numbers(1000));
  CHECK(line.empty());
}

TEST_CASE("C112 lifo_queue: last in, first out", "[sync][queue]") {
  roving::lifo_queue<int> line;
  for (int i : {1, 2, 3}) line.put(i);
  CHECK(line.get() == 3);
  line.put(4);
  CHECK(drain(line) == std::vector<int>{4, 2, 1});
}

TEST_CASE("C112 priority_queue: the least first, among equals the first put", "[sync][queue]") {
  struct job {
    int urgency;
    int number;
    bool operator<(const job& other) const { return urgency < other.urgency; }
  };
  roving::priority_queue<job> line;
  for (int i = 0; i < 300; ++i) line.put({(i * 7919) % 10, i});
  bool in_order = true;
  job last{-1, -1};
  while (const auto next = line.try_get()) {
    in_order = in_order && (last < *next || (last.urgency == next->urgency && last.number < next->number));
    last = *next;
  }
  CHECK(in_order);

  roving::priority_queue<int, std::greater<>> greatest;
  for (int i : {2, 3, 1}) greatest.put(i);
  CHECK(drain(greatest) == std::vector<int>{3, 2, 1});
}

TEST_CASE("C112 queue: getters are served in the order in which they came", "[sync][queue]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> got(20, -1);
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> line;
    crew tasks{where};
    for (std::size_t i = 0; i < got.size(); ++i) wait_until_parked(tasks.spawn([&, i] { got[i] = line.get(); }));
    for (std::size_t i = 0; i < got.size(); ++i) {
      line.put(static_cast<int>(i));
      tasks[i].join();  // before the next is put: woken getters of several shards may overtake each other
    }
  });
  CHECK(got == numbers(20));
}

TEST_CASE("C112 queue: a put into a full one waits, in order", "[sync][queue]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> got;
  bool was_full = false;
  bool could_try = true;
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> line{2};
    line.put(0);
    line.put(1);
    was_full = line.full();
    could_try = line.try_put(9);
    crew tasks{where};
    for (int i = 2; i < 10; ++i) wait_until_parked(tasks.spawn([&, i] { line.put(i); }));
    for (std::size_t i = 0; i < 10; ++i) {
      got.push_back(line.get());
      if (i < tasks.size()) tasks[i].join();
    }
    tasks.join();
  });
  CHECK(got == numbers(10));
  CHECK(was_full);
  CHECK_FALSE(could_try);
}

TEST_CASE("C112 queue: a getter that is cancelled after it was woken passes the item on", "[sync][queue]") {
  int got = 0;
  bool was_cancelled = false;
  roving::run({.shards = 1}, [&] {
    roving::queue<int> line;
    const auto woken = roving::spawn([&] { (void)line.get(); });
    const auto next = roving::spawn([&] { got = line.get(); });
    roving::yield();
    line.put(5);
    woken.cancel();
    woken.join();
    next.join();
    was_cancelled = woken.cancelled();
  });
  CHECK(got == 5);
  CHECK(was_cancelled);
}

TEST_CASE("C112 queue: a putter that is cancelled has put nothing, and passes the place on", "[sync][queue]") {
  std::vector<int> got;
  int still_there = 0;
  roving::run({.shards = 1}, [&] {
    roving::queue<std::unique_ptr<int>> line{1};
    line.put(std::make_unique<int>(0));
    auto mine = std::make_unique<int>(1);
    const auto woken = roving::spawn([&] { line.put(std::move(mine)); });
    const auto next = roving::spawn([&] { line.put(std::make_unique<int>(2)); });
    roving::yield();
    got.push_back(*line.get());
    woken.cancel();
    woken.join();
    next.join();
    got.push_back(*line.get());
    still_there = mine ? *mine : -1;
  });
  CHECK(got == std::vector<int>{0, 2});
  CHECK(still_there == 1);
}

TEST_CASE("C112 queue: one that comes between may take the item, and the woken one waits anew", "[sync][queue]") {
  int by_main = 0;
  int by_task = 0;
  roving::run({.shards = 1}, [&] {
    roving::queue<int> line;
    const auto waits = roving::spawn([&] { by_task = line.get(); });
    roving::yield();
    line.put(1);
    by_main = line.get();
    roving::yield();
    line.put(2);
    waits.join();
  });
  CHECK(by_main == 1);
  CHECK(by_task == 2);
}

TEST_CASE("C112 queue: of a million items none is lost and none comes twice, under random cancels",
          "[sync][queue][stress]") {
  const place where = GENERATE(from_range(places()));
  stress<roving::queue<int>>(where, 16, 4, 4, rounds(1'000'000), 11);
}

TEST_CASE("C112 queue: with room for one item none is lost and none comes twice, under random cancels",
          "[sync][queue][stress]") {
  const place where = GENERATE(from_range(places()));
  stress<roving::queue<int>>(where, 1, 3, 5, rounds(100'000), 12);
}

TEST_CASE("C112 lifo_queue, priority_queue: none lost and none twice under random cancels", "[sync][queue][stress]") {
  const place where = GENERATE(from_range(places()));
  stress<roving::lifo_queue<int>>(where, 3, 3, 3, rounds(20'000), 13);
  stress<roving::priority_queue<int>>(where, 3, 3, 3, rounds(20'000), 14);
}

TEST_CASE("C113 queue: after shutdown what is in can be taken, and nothing more be put", "[sync][queue]") {
  roving::queue<int> line{2};
  line.put(1);
  line.put(2);
  line.shutdown();
  CHECK_THROWS_AS(line.put(3), roving::queue_shut_down);
  CHECK_THROWS_AS(line.try_put(3), roving::queue_shut_down);
  CHECK(line.get() == 1);
  CHECK(line.try_get() == 2);
  CHECK_THROWS_AS(line.get(), roving::queue_shut_down);
  CHECK_THROWS_AS(line.try_get(), roving::queue_shut_down);
  line.shutdown();  // again: nothing
}

TEST_CASE("C113 queue: an immediate shutdown drops what is in, and counts it as done", "[sync][queue]") {
  roving::queue<std::shared_ptr<int>> line;
  const auto item = std::make_shared<int>(1);
  line.put(item);
  line.put(item);
  line.shutdown(true);
  CHECK(item.use_count() == 1);
  CHECK(line.empty());
  CHECK_THROWS_AS(line.get(), roving::queue_shut_down);
  line.join();
  CHECK_THROWS_AS(line.task_done(), roving::done_too_often);
}

TEST_CASE("C113 queue: shutdown wakes all who wait", "[sync][queue]") {
  const place where = GENERATE(from_range(places()));
  const bool immediate = GENERATE(false, true);
  std::atomic<int> thrown_out{0};
  std::atomic<int> joined{0};
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> empty;
    roving::queue<int> full{1};
    full.put(1);
    crew tasks{where};
    const auto expect = [&](auto call) {
      wait_until_parked(tasks.spawn([&, call] {
        try {
          call();
        } catch (const roving::queue_shut_down&) {
          ++thrown_out;
        }
      }));
    };
    for (int i = 0; i < 3; ++i) {
      expect([&] { (void)empty.get(); });
      expect([&] { full.put(2); });
    }
    wait_until_parked(tasks.spawn([&] {
      full.join();
      ++joined;
    }));
    empty.shutdown(immediate);
    full.shutdown(immediate);
    if (!immediate) {
      (void)full.get();
      full.task_done();
    }
    tasks.join();
  });
  CHECK(thrown_out == 6);
  CHECK(joined == 1);
}

TEST_CASE("C113 queue: join waits until all that was put is done", "[sync][queue]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> done{0};
  int done_at_join = 0;
  roving::run({.shards = where.shards}, [&] {
    roving::queue<int> line{3};
    line.join();  // nothing was put
    crew tasks{where};
    for (int i = 0; i < 3; ++i) {
      tasks.spawn([&] {
        try {
          for (;;) {
            (void)line.get();
            roving::yield();
            ++done;
            line.task_done();
          }
        } catch (const roving::queue_shut_down&) {
        }
      });
    }
    for (int i = 0; i < 50; ++i) line.put(i);
    line.join();
    done_at_join = done;
    line.shutdown();
    tasks.join();
  });
  CHECK(done_at_join == 50);
}

TEST_CASE("C113 queue: task_done more often than put is an error", "[sync][queue]") {
  roving::queue<int> line;
  CHECK_THROWS_AS(line.task_done(), roving::done_too_often);
  line.put(1);
  line.task_done();  // ahead of get: allowed
  CHECK_THROWS_AS(line.task_done(), roving::done_too_often);
  line.shutdown(true);
  CHECK(line.empty());
}

TEST_CASE("C113 queue: a cancelled join leaves the queue alone", "[sync][queue]") {
  bool was_cancelled = false;
  roving::run({.shards = 1}, [&] {
    roving::queue<int> line;
    line.put(1);
    const auto waits = roving::spawn([&] { line.join(); });
    roving::yield();
    waits.cancel();
    waits.join();
    was_cancelled = waits.cancelled();
    line.task_done();
    line.join();
  });
  CHECK(was_cancelled);
}

TEST_CASE("queue: an item whose move throws stays where it was, and nobody is held up", "[sync][queue]") {
  struct item {
    item(int number, bool throws) : number_{number}, throws_{throws} {}
    item(item&& other) : number_{other.number_}, throws_{other.throws_} {
      if (throws_) throw std::runtime_error{"can't be moved"};
    }
    int number_;
    bool throws_;
  };
  roving::queue<item> line{1};
  item stubborn{1, true};
  CHECK_THROWS_AS(line.put(std::move(stubborn)), std::runtime_error);
  CHECK(line.empty());
  line.put(item{2, false});
  CHECK(line.full());
  CHECK(line.get().number_ == 2);
}

TEST_CASE("queue: threads and tasks put and get", "[sync][queue]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(5000);
  roving::queue<int> there{4};
  roving::queue<int> back{4};
  std::thread thread{[&] {
    for (int i = 0; i < turns; ++i) back.put(there.get() + 1);
  }};
  int wrong = 0;
  roving::run({.shards = where.shards}, [&] {
    crew tasks{where};
    tasks.spawn([&] {
      for (int i = 0; i < turns; ++i) {
        there.put(i);
        if (back.get() != i + 1) ++wrong;
      }
    });
    tasks.join();
  });
  thread.join();
  CHECK(wrong == 0);
}
