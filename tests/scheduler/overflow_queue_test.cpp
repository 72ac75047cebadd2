// Tested: the overflow queue, alone. Threads write down what they popped; the test's own thread checks after they are
// joined.

#include "scheduler/overflow_queue.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <deque>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

struct node {
  node* next = nullptr;
  int producer = 0;  // not atomic: the queue publishes it
  int number = 0;
};

using overflow_queue = roving::detail::overflow_queue<node>;

std::vector<node*> in_order(node* first) {
  std::vector<node*> nodes;
  for (; first != nullptr; first = first->next) nodes.push_back(first);
  return nodes;
}

TEST_CASE("overflow queue: a new one is empty", "[scheduler][overflow_queue]") {
  overflow_queue shared;
  node unrelated;
  node* first = &unrelated;
  CHECK(shared.looks_empty());
  CHECK(shared.size_estimate() == 0);
  CHECK(shared.pop() == nullptr);
  CHECK(shared.pop_some(5, first) == 0);
  CHECK(first == nullptr);
}

TEST_CASE("overflow queue: first in, first out", "[scheduler][overflow_queue]") {
  std::array<node, 3> nodes;
  overflow_queue shared;
  for (int round = 0; round < 2; ++round) {
    for (node& each : nodes) shared.push(each);
    CHECK(shared.size_estimate() == 3);
    CHECK_FALSE(shared.looks_empty());
    for (node& each : nodes) {
      CHECK(shared.pop() == &each);
      CHECK(each.next == nullptr);
    }
    CHECK(shared.looks_empty());
    CHECK(shared.pop() == nullptr);
  }
}

TEST_CASE("overflow queue: a list goes in as it is", "[scheduler][overflow_queue]") {
  std::array<node, 5> nodes;
  overflow_queue shared;
  const bool after_another = GENERATE(false, true);
  std::vector<node*> expected;
  if (after_another) {
    shared.push(nodes[0]);
    expected.push_back(&nodes[0]);
  }
  nodes[1].next = &nodes[2];
  nodes[2].next = &nodes[3];
  nodes[3].next = &nodes[0];  // where it was cut from: not part of it
  shared.push_list(&nodes[1], &nodes[3], 3);
  shared.push(nodes[4]);
  expected.insert(expected.end(), {&nodes[1], &nodes[2], &nodes[3], &nodes[4]});

  node* first = nullptr;
  CHECK(shared.pop_some(100, first) == expected.size());
  CHECK(in_order(first) == expected);
  CHECK(shared.looks_empty());
}

TEST_CASE("overflow queue: pop_some takes the oldest, no more than it was told", "[scheduler][overflow_queue]") {
  std::array<node, 4> nodes;
  overflow_queue shared;
  for (node& each : nodes) shared.push(each);
  node* first = nullptr;

  CHECK(shared.pop_some(0, first) == 0);
  CHECK(first == nullptr);
  CHECK(shared.size_estimate() == 4);
  CHECK(shared.pop_some(1, first) == 1);
  CHECK(in_order(first) == std::vector<node*>{&nodes[0]});
  CHECK(shared.pop_some(2, first) == 2);
  CHECK(in_order(first) == std::vector<node*>{&nodes[1], &nodes[2]});
  shared.push(nodes[0]);  // behind what was left
  CHECK(shared.pop_some(2, first) == 2);
  CHECK(in_order(first) == std::vector<node*>{&nodes[3], &nodes[0]});
  CHECK(shared.looks_empty());
  shared.push(nodes[1]);  // it was emptied whole, and takes nodes again
  CHECK(shared.pop() == &nodes[1]);
}

TEST_CASE("overflow queue: does what a std::deque does", "[scheduler][overflow_queue]") {
  const unsigned seed = GENERATE(range(1u, 11u));
  CAPTURE(seed);
  std::mt19937 random{seed};
  std::vector<node> nodes(64);
  std::vector<node*> free;
  free.reserve(nodes.size());
  for (node& each : nodes) free.push_back(&each);
  overflow_queue shared;
  std::deque<node*> expected;

  for (int step = 0; step < 3000; ++step) {
    const std::size_t some = random() % 7;
    switch (random() % 4) {
      case 0:
        if (free.empty()) break;
        shared.push(*free.back());
        expected.push_back(free.back());
        free.pop_back();
        break;
      case 1: {
        const std::size_t count = std::min(some, free.size());
        if (count == 0) break;
        node* const first = free.back();
        node* last = nullptr;
        for (std::size_t i = 0; i < count; ++i) {
          if (last != nullptr) last->next = free.back();
          last = free.back();
          expected.push_back(last);
          free.pop_back();
        }
        shared.push_list(first, last, count);
        break;
      }
      case 2: {
        node* const taken = shared.pop();
        REQUIRE(taken == (expected.empty() ? nullptr : expected.front()));
        if (taken == nullptr) break;
        expected.pop_front();
        free.push_back(taken);
        break;
      }
      default: {
        node* first = nullptr;
        const std::size_t count = shared.pop_some(some, first);
        REQUIRE(count == std::min(some, expected.size()));
        const std::vector<node*> taken = in_order(first);
        REQUIRE(taken == std::vector<node*>(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(count)));
        expected.erase(expected.begin(), expected.begin() + static_cast<std::ptrdiff_t>(count));
        free.insert(free.end(), taken.begin(), taken.end());
      }
    }
    REQUIRE(shared.size_estimate() == expected.size());
    REQUIRE(shared.looks_empty() == expected.empty());
  }
}

TEST_CASE("overflow queue: between many threads each node is popped once and each producer's stay in order",
          "[scheduler][overflow_queue][threads]") {
  constexpr int producers = 2;
  constexpr int consumers = 2;
  constexpr int each = 10000;
  overflow_queue shared;
  std::vector<std::vector<node>> nodes(producers);
  for (std::vector<node>& those : nodes) those.resize(each);
  std::atomic<int> finished{0};
  std::vector<std::vector<std::pair<int, int>>> popped(consumers);

  std::vector<std::thread> threads;
  threads.reserve(std::size_t{producers} + consumers);
  for (int producer = 0; producer < producers; ++producer)
    threads.emplace_back([&, producer] {
      std::vector<node>& mine = nodes[static_cast<std::size_t>(producer)];
      for (std::size_t number = 0; number < each;) {
        const std::size_t count = std::min<std::size_t>(number % 5 + 1, each - number);
        for (std::size_t i = 0; i < count; ++i) {
          mine[number + i].producer = producer;
          mine[number + i].number = static_cast<int>(number + i);
          mine[number + i].next = i + 1 < count ? &mine[number + i + 1] : nullptr;
        }
        if (count == 1)
          shared.push(mine[number]);
        else
          shared.push_list(&mine[number], &mine[number + count - 1], count);
        number += count;
      }
      finished.fetch_add(1, std::memory_order_release);
    });
  for (int consumer = 0; consumer < consumers; ++consumer)
    threads.emplace_back([&, consumer] {
      std::vector<std::pair<int, int>>& mine = popped[static_cast<std::size_t>(consumer)];
      for (std::size_t round = 0;; ++round) {
        const bool last_look = finished.load(std::memory_order_acquire) == producers;
        node* first = nullptr;
        if (round % 3 == 0)
          first = shared.pop();
        else if (shared.pop_some(round % 9 + 1, first) == 0)
          first = nullptr;
        if (first == nullptr && last_look) return;
        if (first == nullptr) std::this_thread::yield();
        for (; first != nullptr; first = first->next) mine.emplace_back(first->producer, first->number);
      }
    });
  for (std::thread& thread : threads) thread.join();

  std::vector<std::vector<int>> times_popped(producers, std::vector<int>(each));
  int out_of_order = 0;
  for (const auto& mine : popped) {
    std::array<int, producers> latest;
    latest.fill(-1);
    for (const auto& [producer, number] : mine) {
      ++times_popped[static_cast<std::size_t>(producer)][static_cast<std::size_t>(number)];
      out_of_order += number > std::exchange(latest[static_cast<std::size_t>(producer)], number) ? 0 : 1;
    }
  }
  for (const std::vector<int>& times : times_popped)
    CHECK(std::all_of(times.begin(), times.end(), [](int count) { return count == 1; }));
  CHECK(out_of_order == 0);
  CHECK(shared.looks_empty());
}

}  // namespace
