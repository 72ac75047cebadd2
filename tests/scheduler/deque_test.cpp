// Tested: the work-stealing deque, alone. Small capacities, so that its edges are met all the time. Threads write down
// what they took; the test's own thread checks after they are joined that each element was taken exactly once.

#include "scheduler/deque.hpp"

#include <roving/detail/relax.hpp>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <random>
#include <thread>
#include <utility>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

struct element {
  int value = 0;  // not atomic: the deque publishes it
};

using roving::detail::bounded_deque;
using deque = bounded_deque<element>;

// Waits for another thread, on whatever number of cores.
void wait_for(const std::atomic<int>& counter, int value) {
  for (unsigned i = 0; counter.load(std::memory_order_acquire) < value; ++i) roving::detail::relax(i);
}

std::vector<element> numbered(int count) {
  std::vector<element> elements(static_cast<std::size_t>(count));
  for (int i = 0; i < count; ++i) elements[static_cast<std::size_t>(i)].value = i;
  return elements;
}

TEST_CASE("deque: a new one is empty", "[scheduler][deque]") {
  deque tasks{4};
  CHECK(tasks.capacity() == 4);
  CHECK(tasks.looks_empty());
  CHECK(tasks.size_estimate() == 0);
  CHECK(tasks.pop() == nullptr);
  const deque::steal_result stolen = tasks.steal();
  CHECK(stolen.element == nullptr);
  CHECK_FALSE(stolen.lost_race);
  CHECK(deque{}.capacity() == 1024);
}

TEST_CASE("deque: its indexes are on cache lines of their own", "[scheduler][deque]") {
  STATIC_REQUIRE(alignof(deque) == 64);
  STATIC_REQUIRE(sizeof(deque) == std::size_t{3} * 64);  // what never changes, top, bottom
}

TEST_CASE("deque: pop takes the newest and steal the oldest", "[scheduler][deque]") {
  std::vector<element> elements = numbered(4);
  deque tasks{4};
  for (element& each : elements) REQUIRE(tasks.push(each));
  CHECK(tasks.size_estimate() == 4);
  CHECK_FALSE(tasks.looks_empty());
  CHECK(tasks.pop() == &elements[3]);
  CHECK(tasks.steal().element == &elements[0]);
  CHECK(tasks.pop() == &elements[2]);
  CHECK(tasks.steal().element == &elements[1]);
  CHECK(tasks.looks_empty());
  CHECK(tasks.pop() == nullptr);
}

TEST_CASE("deque: shows the newest, and gives one that is named only when it is the oldest", "[scheduler][deque]") {
  std::vector<element> elements = numbered(3);
  deque tasks{4};
  CHECK(tasks.newest() == nullptr);
  CHECK(tasks.steal(&elements[0]).element == nullptr);
  for (element& each : elements) {
    REQUIRE(tasks.push(each));
    CHECK(tasks.newest() == &each);
  }
  for (const std::size_t later : {std::size_t{1}, std::size_t{2}}) {
    const deque::steal_result refused = tasks.steal(&elements[later]);
    CHECK(refused.element == nullptr);
    CHECK_FALSE(refused.lost_race);
  }
  CHECK(tasks.size_estimate() == 3);
  CHECK(tasks.steal(&elements[0]).element == &elements[0]);
  CHECK(tasks.steal(&elements[1]).element == &elements[1]);
  CHECK(tasks.newest() == &elements[2]);
  CHECK(tasks.steal(&elements[2]).element == &elements[2]);
  CHECK(tasks.newest() == nullptr);
}

TEST_CASE("deque: a full one refuses and keeps what it has", "[scheduler][deque]") {
  const int capacity = GENERATE(2, 4, 8);
  std::vector<element> elements = numbered(capacity + 1);
  deque tasks{static_cast<std::size_t>(capacity)};
  for (int i = 0; i < capacity; ++i) REQUIRE(tasks.push(elements[static_cast<std::size_t>(i)]));
  CHECK_FALSE(tasks.push(elements.back()));
  CHECK_FALSE(tasks.push(elements.back()));
  CHECK(tasks.size_estimate() == static_cast<std::size_t>(capacity));

  CHECK(tasks.steal().element == &elements[0]);  // one place at the old end is one at the new end
  CHECK(tasks.push(elements.back()));
  CHECK_FALSE(tasks.push(elements[0]));
  CHECK(tasks.pop() == &elements.back());
  for (int i = capacity - 1; i > 0; --i) CHECK(tasks.pop() == &elements[static_cast<std::size_t>(i)]);
  CHECK(tasks.pop() == nullptr);
}

TEST_CASE("deque: taking the last one leaves it empty and usable, from either end", "[scheduler][deque]") {
  std::vector<element> elements = numbered(2);
  deque tasks{2};
  for (int round = 0; round < 10; ++round) {
    REQUIRE(tasks.push(elements[0]));
    CHECK(tasks.pop() == &elements[0]);
    CHECK(tasks.looks_empty());
    CHECK(tasks.pop() == nullptr);
    REQUIRE(tasks.push(elements[1]));
    CHECK(tasks.steal().element == &elements[1]);
    CHECK(tasks.looks_empty());
    CHECK(tasks.size_estimate() == 0);
  }
}

TEST_CASE("deque: does what a std::deque does, through many rounds of its slots", "[scheduler][deque]") {
  const std::size_t capacity = GENERATE(2u, 4u, 16u);
  const unsigned seed = GENERATE(range(1u, 6u));
  CAPTURE(capacity, seed);
  std::mt19937 random{seed};
  std::vector<element> elements = numbered(64);
  deque tasks{capacity};
  std::deque<element*> expected;

  for (int step = 0; step < 5000; ++step) {
    switch (random() % 5) {
      case 0:
      case 1: {
        element& next = elements[static_cast<std::size_t>(step) % elements.size()];
        const bool pushed = tasks.push(next);
        REQUIRE(pushed == (expected.size() < capacity));
        if (pushed) expected.push_back(&next);
        break;
      }
      case 2:
      case 3: {
        element* const taken = tasks.pop();
        REQUIRE(taken == (expected.empty() ? nullptr : expected.back()));
        if (taken != nullptr) expected.pop_back();
        break;
      }
      default: {
        const deque::steal_result stolen = tasks.steal();
        REQUIRE_FALSE(stolen.lost_race);  // nobody else is there
        REQUIRE(stolen.element == (expected.empty() ? nullptr : expected.front()));
        if (stolen.element != nullptr) expected.pop_front();
      }
    }
    REQUIRE(tasks.size_estimate() == expected.size());
    REQUIRE(tasks.looks_empty() == expected.empty());
  }
}

// std::atomic, but whoever is about to take one step can be interrupted: it lets a test put another thread's step
// there, without a second thread.
template <class Value>
struct interruptible_atomic : std::atomic<Value> {
  using std::atomic<Value>::atomic;

  static inline void (*before_store)(void*) = nullptr;
  static inline void (*before_compare_exchange)(void*) = nullptr;
  static inline void* argument = nullptr;

  void store(Value value, std::memory_order order) {
    if (auto* const call = std::exchange(before_store, nullptr); call != nullptr) call(argument);
    std::atomic<Value>::store(value, order);
  }

  bool compare_exchange_strong(Value& expected, Value desired, std::memory_order success, std::memory_order failure) {
    if (auto* const call = std::exchange(before_compare_exchange, nullptr); call != nullptr) call(argument);
    return std::atomic<Value>::compare_exchange_strong(expected, desired, success, failure);
  }
};

TEST_CASE("deque: whoever loses the race for an element is told so and gets nothing", "[scheduler][deque]") {
  using interruptible_deque = bounded_deque<element, interruptible_atomic>;
  using index = interruptible_atomic<std::int64_t>;
  std::vector<element> elements = numbered(2);
  interruptible_deque tasks{2};
  struct intruder {
    interruptible_deque& tasks;
    element* taken;
  } thief{tasks, nullptr};
  index::argument = &thief;
  const auto steals = [](void* who) {
    static_cast<intruder*>(who)->taken = static_cast<intruder*>(who)->tasks.steal().element;
  };

  SECTION("a thief by another thief") {
    REQUIRE(tasks.push(elements[0]));
    REQUIRE(tasks.push(elements[1]));
    index::before_compare_exchange = steals;
    const interruptible_deque::steal_result stolen = tasks.steal();
    CHECK(thief.taken == &elements[0]);
    CHECK(stolen.element == nullptr);
    CHECK(stolen.lost_race);
    CHECK(tasks.pop() == &elements[1]);
  }
  SECTION("a thief by the owner, for the last element") {
    REQUIRE(tasks.push(elements[0]));
    index::before_compare_exchange = [](void* who) {
      static_cast<intruder*>(who)->taken = static_cast<intruder*>(who)->tasks.pop();
    };
    const interruptible_deque::steal_result stolen = tasks.steal();
    CHECK(thief.taken == &elements[0]);
    CHECK(stolen.element == nullptr);
    CHECK(stolen.lost_race);
  }
  SECTION("the owner by a thief, who comes before it moves bottom") {
    REQUIRE(tasks.push(elements[0]));
    index::before_store = steals;
    CHECK(tasks.pop() == nullptr);
    CHECK(thief.taken == &elements[0]);
  }
  SECTION("a slow thief by the owner, who has gone round and written over the slot") {
    REQUIRE(tasks.push(elements[0]));
    index::before_compare_exchange = [](void* who) {
      auto& [stolen_from, taken] = *static_cast<intruder*>(who);
      taken = stolen_from.steal().element;
      element other;
      for (int i = 0; i < 5; ++i)
        if (!stolen_from.push(other) || stolen_from.pop() != &other) taken = nullptr;
    };
    const interruptible_deque::steal_result stolen = tasks.steal();
    CHECK(thief.taken == &elements[0]);
    CHECK(stolen.element == nullptr);
    CHECK(stolen.lost_race);
  }
  CHECK(tasks.looks_empty());
  CHECK(tasks.pop() == nullptr);
  REQUIRE(tasks.push(elements[1]));  // and it is as good as new
  CHECK(tasks.pop() == &elements[1]);
}

// One owner and some thieves; every thread writes down what it took.
struct result {
  std::vector<int> times_taken;
  bool in_order = true;  // each thief saw values grow: it takes the oldest
  int owner_took = 0;
};

enum class owner_takes { newest, oldest, both };

result race(std::size_t capacity, int thieves, int count, owner_takes which) {
  std::vector<element> elements(static_cast<std::size_t>(count));
  deque tasks{capacity};
  std::atomic<int> ready{0};
  std::atomic<bool> finished{false};
  std::vector<std::vector<int>> taken_by(static_cast<std::size_t>(thieves) + 1);

  std::vector<std::thread> threads;
  threads.reserve(static_cast<std::size_t>(thieves));
  for (int i = 1; i <= thieves; ++i)
    threads.emplace_back([&, i] {
      std::vector<int>& mine = taken_by[static_cast<std::size_t>(i)];
      ready.fetch_add(1, std::memory_order_release);
      for (;;) {
        const bool last_look = finished.load(std::memory_order_acquire);
        const deque::steal_result stolen = tasks.steal();
        if (stolen.element != nullptr)
          mine.push_back(stolen.element->value);
        else if (last_look && !stolen.lost_race)
          return;
        else
          std::this_thread::yield();
      }
    });

  std::vector<int>& mine = taken_by[0];
  const auto take = [&](bool newest) {
    element* const taken = newest ? tasks.pop() : tasks.steal().element;
    if (taken != nullptr) mine.push_back(taken->value);
  };
  std::mt19937 random{static_cast<unsigned>(thieves)};
  wait_for(ready, thieves);
  for (int i = 0; i < count; ++i) {
    element& next = elements[static_cast<std::size_t>(i)];
    next.value = i;  // published by push
    while (!tasks.push(next)) take(which == owner_takes::newest);
    // Often down to the last one, which is where owner and thieves meet.
    const unsigned rounds = random() % 4;
    for (unsigned round = 0; round < rounds; ++round)
      take(which == owner_takes::newest || (which == owner_takes::both && round % 2 == 0));
  }
  while (!tasks.looks_empty()) take(which != owner_takes::oldest);
  finished.store(true, std::memory_order_release);
  for (std::thread& thread : threads) thread.join();

  result seen;
  seen.times_taken.resize(static_cast<std::size_t>(count));
  for (const std::vector<int>& values : taken_by)
    for (const int value : values) ++seen.times_taken[static_cast<std::size_t>(value)];
  for (std::size_t i = 1; i < taken_by.size(); ++i)
    seen.in_order = seen.in_order && std::is_sorted(taken_by[i].begin(), taken_by[i].end());
  seen.owner_took = static_cast<int>(mine.size());
  return seen;
}

TEST_CASE("deque: under thieves each element is taken exactly once", "[scheduler][deque][threads]") {
  const std::size_t capacity = GENERATE(2u, 4u, 256u);
  const int thieves = GENERATE(1, 3);
  const owner_takes which = GENERATE(owner_takes::newest, owner_takes::oldest, owner_takes::both);
  CAPTURE(capacity, thieves, static_cast<int>(which));
  constexpr int count = 20000;
  const result seen = race(capacity, thieves, count, which);
  CHECK(std::all_of(seen.times_taken.begin(), seen.times_taken.end(), [](int times) { return times == 1; }));
  CHECK(seen.in_order);
  CHECK(seen.owner_took > 0);
}

TEST_CASE("deque: the last element goes once when owner and thief reach for it together",
          "[scheduler][deque][threads]") {
  constexpr int rounds = 20000;
  deque tasks{2};
  element only;
  std::atomic<int> round_open{0};
  std::atomic<int> round_closed{0};
  std::vector<int> thief_took(rounds);
  std::vector<int> owner_took(rounds);
  std::thread thief{[&] {
    for (int round = 0; round < rounds; ++round) {
      wait_for(round_open, round + 1);
      thief_took[static_cast<std::size_t>(round)] = tasks.steal().element == &only ? 1 : 0;
      round_closed.store(round + 1, std::memory_order_release);
    }
  }};
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    refused += tasks.push(only) ? 0 : 1;
    round_open.store(round + 1, std::memory_order_release);
    owner_took[static_cast<std::size_t>(round)] = tasks.pop() == &only ? 1 : 0;
    wait_for(round_closed, round + 1);
  }
  thief.join();

  int taken_once = 0;
  for (std::size_t round = 0; round < rounds; ++round) taken_once += owner_took[round] + thief_took[round] == 1 ? 1 : 0;
  CHECK(refused == 0);
  CHECK(taken_once == rounds);
}

TEST_CASE("deque: either the producer sees the sleeper or the sleeper sees the element",
          "[scheduler][deque][threads]") {
  constexpr int rounds = 20000;
  element only;
  deque tasks{2};
  std::atomic<bool> asleep{false};
  std::atomic<int> round_open{0};
  std::atomic<int> round_closed{0};
  std::vector<int> sleeper_saw(rounds);
  std::vector<int> producer_saw(rounds);
  std::thread sleeper{[&] {
    for (int round = 0; round < rounds; ++round) {
      wait_for(round_open, round + 1);
      asleep.store(true, std::memory_order_seq_cst);
      sleeper_saw[static_cast<std::size_t>(round)] = tasks.looks_empty() ? 0 : 1;
      round_closed.store(round + 1, std::memory_order_release);
    }
  }};
  int refused = 0;
  for (int round = 0; round < rounds; ++round) {
    round_open.store(round + 1, std::memory_order_release);
    // The other thread hears of the round a little later: sooner or later both act at once.
    for (int i = 0; i < round % 128; ++i) static_cast<void>(asleep.load(std::memory_order_relaxed));
    refused += tasks.push(only) ? 0 : 1;
    producer_saw[static_cast<std::size_t>(round)] = asleep.load(std::memory_order_seq_cst) ? 1 : 0;
    wait_for(round_closed, round + 1);
    asleep.store(false, std::memory_order_relaxed);
    refused += tasks.pop() == &only ? 0 : 1;
  }
  sleeper.join();

  int lost = 0;
  for (std::size_t round = 0; round < rounds; ++round) lost += sleeper_saw[round] + producer_saw[round] == 0 ? 1 : 0;
  CHECK(refused == 0);
  CHECK(lost == 0);
}

}  // namespace
