// Tested: the inbox, alone. Producers number their nodes; the owner writes down what it drained; the test's own thread
// checks after all are joined.

#include "scheduler/inbox.hpp"

#include <atomic>
#include <cstddef>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

struct node {
  node* next = nullptr;
  int producer = 0;  // not atomic: the inbox publishes it
  int number = 0;
};

using inbox = roving::detail::inbox<node>;

std::vector<node*> in_order(node* first) {
  std::vector<node*> nodes;
  for (; first != nullptr; first = first->next) nodes.push_back(first);
  return nodes;
}

TEST_CASE("inbox: a new one is empty", "[scheduler][inbox]") {
  inbox posted;
  CHECK(posted.looks_empty());
  CHECK(posted.drain() == nullptr);
  CHECK(posted.looks_empty());
}

TEST_CASE("inbox: drain takes all, oldest first, and leaves it empty", "[scheduler][inbox]") {
  const std::size_t count = GENERATE(1u, 2u, 3u, 100u);
  std::vector<node> nodes(count);
  inbox posted;
  for (int round = 0; round < 2; ++round) {  // nodes can be used again once they are drained
    std::vector<node*> expected;
    for (node& each : nodes) {
      posted.push(each);
      expected.push_back(&each);
      CHECK_FALSE(posted.looks_empty());
    }
    CHECK(in_order(posted.drain()) == expected);
    CHECK(posted.looks_empty());
    CHECK(posted.drain() == nullptr);
  }
}

TEST_CASE("inbox: what is pushed after a drain comes with the next one", "[scheduler][inbox]") {
  node first, second, third;
  inbox posted;
  posted.push(first);
  posted.push(second);
  node* const drained = posted.drain();
  posted.push(third);
  CHECK(in_order(drained) == std::vector<node*>{&first, &second});
  CHECK(in_order(posted.drain()) == std::vector<node*>{&third});
}

// std::atomic, but a test can put another thread's step before a compare-exchange, without a second thread.
template <class Value>
struct interruptible_atomic : std::atomic<Value> {
  using std::atomic<Value>::atomic;

  static inline void (*interruption)(void*) = nullptr;
  static inline void* argument = nullptr;

  bool compare_exchange_weak(Value& expected, Value desired, std::memory_order success, std::memory_order failure) {
    if (auto* const call = std::exchange(interruption, nullptr); call != nullptr) call(argument);
    return std::atomic<Value>::compare_exchange_weak(expected, desired, success, failure);
  }
};

TEST_CASE("inbox: a push that is overtaken keeps everything, in the order of success", "[scheduler][inbox]") {
  using interruptible_inbox = roving::detail::inbox<node, interruptible_atomic>;
  using head = interruptible_atomic<node*>;
  struct other_thread {
    interruptible_inbox posted;
    node first, second, third;
    std::vector<node*> drained;
  } other;
  head::argument = &other;
  other.posted.push(other.first);

  SECTION("by another push") {
    head::interruption = [](void* who) {
      static_cast<other_thread*>(who)->posted.push(static_cast<other_thread*>(who)->second);
    };
    other.posted.push(other.third);
    CHECK(in_order(other.posted.drain()) == std::vector<node*>{&other.first, &other.second, &other.third});
  }
  SECTION("by a drain") {
    head::interruption = [](void* who) {
      static_cast<other_thread*>(who)->drained = in_order(static_cast<other_thread*>(who)->posted.drain());
    };
    other.posted.push(other.third);
    CHECK(other.drained == std::vector<node*>{&other.first});
    CHECK(in_order(other.posted.drain()) == std::vector<node*>{&other.third});
  }
  SECTION("by a drain and a push of the same node again, which looks as if nothing had happened") {
    head::interruption = [](void* who) {
      auto& [posted, first, second, third, drained] = *static_cast<other_thread*>(who);
      posted.push(second);
      drained = in_order(posted.drain());
      posted.push(first);
    };
    other.posted.push(other.third);
    CHECK(other.drained == std::vector<node*>{&other.first, &other.second});
    CHECK(in_order(other.posted.drain()) == std::vector<node*>{&other.first, &other.third});
  }
}

TEST_CASE("inbox: under many producers each node comes once and each producer's in order",
          "[scheduler][inbox][threads]") {
  const int producers = GENERATE(1, 2, 5);
  constexpr int each = 10000;
  inbox posted;
  std::vector<std::vector<node>> nodes(static_cast<std::size_t>(producers));
  for (std::vector<node>& those : nodes) those.resize(each);
  std::atomic<int> finished{0};
  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(producers));
  for (int producer = 0; producer < producers; ++producer)
    threads.emplace_back([&, producer] {
      for (int number = 0; number < each; ++number) {
        node& mine = nodes[static_cast<std::size_t>(producer)][static_cast<std::size_t>(number)];
        mine.producer = producer;
        mine.number = number;
        posted.push(mine);
      }
      finished.fetch_add(1, std::memory_order_release);
    });

  std::vector<std::pair<int, int>> drained;
  for (bool last_look = false; !last_look;) {
    last_look = finished.load(std::memory_order_acquire) == producers;
    node* first = posted.drain();
    if (first == nullptr) std::this_thread::yield();
    for (; first != nullptr; first = first->next) drained.emplace_back(first->producer, first->number);
  }
  for (std::thread& thread : threads) thread.join();

  std::vector<int> expected_number(static_cast<std::size_t>(producers));
  int out_of_order = 0;
  for (const auto& [producer, number] : drained)
    out_of_order += expected_number[static_cast<std::size_t>(producer)]++ != number ? 1 : 0;
  CHECK(drained.size() == static_cast<std::size_t>(producers) * each);
  CHECK(out_of_order == 0);
  CHECK(posted.looks_empty());
}

TEST_CASE("inbox: what one thread pushed because of another's push comes after it", "[scheduler][inbox][threads]") {
  constexpr int rounds = 10000;
  inbox posted;
  std::vector<node> causes(rounds), effects(rounds);
  std::atomic<int> caused{0};
  std::atomic<bool> finished{false};
  for (int i = 0; i < rounds; ++i) {
    causes[static_cast<std::size_t>(i)].number = 2 * i;
    effects[static_cast<std::size_t>(i)].number = 2 * i + 1;
  }
  std::thread first{[&] {
    for (int i = 0; i < rounds; ++i) {
      posted.push(causes[static_cast<std::size_t>(i)]);
      caused.store(i + 1, std::memory_order_release);
    }
  }};
  std::thread second{[&] {
    for (int i = 0; i < rounds; ++i) {
      while (caused.load(std::memory_order_acquire) <= i) std::this_thread::yield();
      posted.push(effects[static_cast<std::size_t>(i)]);
    }
    finished.store(true, std::memory_order_release);
  }};
  std::vector<int> position(std::size_t{2} * rounds, -1);
  int drained = 0;
  for (bool last_look = false; !last_look;) {
    last_look = finished.load(std::memory_order_acquire);
    for (node* node = posted.drain(); node != nullptr; node = node->next)
      position[static_cast<std::size_t>(node->number)] = drained++;
  }
  first.join();
  second.join();

  int out_of_order = 0;
  for (std::size_t i = 0; i < rounds; ++i) out_of_order += position[2 * i] < position[2 * i + 1] ? 0 : 1;
  CHECK(drained == 2 * rounds);
  CHECK(out_of_order == 0);
}

}  // namespace
