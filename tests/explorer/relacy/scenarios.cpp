// The lock-free types under Relacy: an explorer of others, with a memory model of its own, which runs the headers with
// std::atomic as they are. Not part of the build; run.py builds and runs it. The scenarios are those of
// tests/explorer/scenarios.cpp that need nothing which Relacy does not have.
//
//     scenarios [ITERATIONS]     exit status 1 if one fails; names it
#include <relacy/relacy_std.hpp>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <ostream>
#include <type_traits>

// What Relacy's <mutex> lacks.
namespace std {
template <class Mutex>
class scoped_lock {
 public:
  explicit scoped_lock(Mutex& mutex) : mutex_{mutex} { mutex.lock(); }
  ~scoped_lock() { mutex_.unlock(); }

 private:
  Mutex& mutex_;
};
}  // namespace std

#include <roving/detail/claim_word.hpp>
#include <roving/detail/relax.hpp>
#include <roving/detail/spin_lock.hpp>

#include "scheduler/deque.hpp"
#include "scheduler/idle.hpp"
#include "scheduler/inbox.hpp"
#include "scheduler/overflow_queue.hpp"

namespace roving::detail {

// Relacy prints values.
template <class Value>
requires std::is_enum_v<Value> std::ostream& operator<<(std::ostream& to, Value value) {
  return to << static_cast<int>(value);
}

void relax(unsigned) noexcept { rl::yield(1, $); }

void assertion_failed(const char*, const char*, int) noexcept {
  RL_ASSERT(!"an assertion of the code");
  std::abort();
}

}  // namespace roving::detail

namespace {

using namespace roving::detail;

// What is not atomic: Relacy checks that its accesses are ordered.
template <class Value>
class plain {
 public:
  plain() { value_($) = Value{}; }
  plain& operator=(Value value) {
    value_($) = value;
    return *this;
  }
  operator Value() const { return value_($); }
  Value operator->() const { return *this; }

 private:
  rl::var<Value> value_;
};

struct item {
  plain<item*> next;
  plain<int> value;  // 1: ready, 2: taken

  void make_ready() { value = 1; }
  void take() {
    RL_ASSERT(value == 1);
    value = 2;
  }
};

struct deque_is_stolen_from : rl::test_suite<deque_is_stolen_from, 3> {
  bounded_deque<item> deque{2};
  std::array<item, 3> each;

  void thread(unsigned index) {
    if (index != 0) {
      for (int i = 0; i < 2; ++i)
        if (item* const stolen = deque.steal().element) stolen->take();
      return;
    }
    for (item& one : each) {
      one.make_ready();
      if (!deque.push(one)) one.take();
    }
    for (int i = 0; i < 2; ++i)
      if (item* const mine = deque.pop()) mine->take();
  }
  void after() {
    while (item* const left = deque.pop()) left->take();
    for (item& one : each) RL_ASSERT(one.value == 2);
  }
};

// The owner takes those that it names, each only when it is the oldest.
struct deque_gives_the_named : rl::test_suite<deque_gives_the_named, 2> {
  bounded_deque<item> deque{2};
  std::array<item, 2> each;

  void thread(unsigned index) {
    if (index != 0) {
      if (item* const stolen = deque.steal().element) stolen->take();
      return;
    }
    for (item& one : each) {
      one.make_ready();
      RL_ASSERT(deque.push(one));
    }
    for (const unsigned wanted : {1u, 0u, 1u}) {
      item* const mine = deque.steal(&each[wanted]).element;
      if (mine == nullptr) continue;
      RL_ASSERT(mine == &each[wanted]);
      mine->take();
    }
    RL_ASSERT(deque.newest() == nullptr);
  }
  void after() {
    for (item& one : each) RL_ASSERT(one.value == 2);
  }
};

struct inbox_is_drained : rl::test_suite<inbox_is_drained, 3> {
  inbox<item> box;
  std::array<item, 3> each;

  void push(unsigned index) {
    each[index].make_ready();
    box.push(each[index]);
  }
  void drain() {
    for (item* next = box.drain(); next != nullptr;) {
      item* const mine = next;
      next = mine->next;
      mine->take();
    }
  }
  void thread(unsigned index) {
    if (index == 0) {
      push(0);
      push(1);
    } else if (index == 1) {
      push(2);
    } else {
      drain();
      drain();
    }
  }
  void after() {
    drain();
    for (item& one : each) RL_ASSERT(one.value == 2);
  }
};

struct inbox_wakes : rl::test_suite<inbox_wakes, 2> {
  inbox<item> box;
  basic_idle_set<> idle{1};
  std::atomic<int> bell{0};
  item one;

  void thread(unsigned index) {
    if (index == 0) {
      one.make_ready();
      box.push(one);
      if (idle.take_from_sleep(0)) bell.store(1, std::memory_order_release);
      return;
    }
    for (;;) {
      if (item* const mine = box.drain()) return mine->take();
      idle.announce(0, false);
      if (box.looks_empty())
        while (bell.exchange(0, std::memory_order_acquire) == 0) rl::yield(1, $);
      (void)idle.awake(0);
    }
  }
};

struct overflow_queue_keeps_all : rl::test_suite<overflow_queue_keeps_all, 3> {
  overflow_queue<item> queue;
  std::array<item, 3> each;

  void thread(unsigned index) {
    if (index == 2) {
      item* first = nullptr;
      (void)queue.pop_some(2, first);
      while (first != nullptr) {
        item* const mine = first;
        first = mine->next;
        mine->take();
      }
      return;
    }
    for (unsigned i = index; i < 3; i += 2) {
      each[i].make_ready();
      queue.push(each[i]);
    }
  }
  void after() {
    while (item* const left = queue.pop()) left->take();
    for (item& one : each) RL_ASSERT(one.value == 2);
  }
};

struct spin_lock_guards : rl::test_suite<spin_lock_guards, 3> {
  basic_spin_lock<std::atomic> lock;
  plain<int> count;

  void thread(unsigned) {
    for (int i = 0; i < 2; ++i) {
      lock.lock();
      count = count + 1;
      lock.unlock();
    }
  }
  void after() { RL_ASSERT(count == 6); }
};

struct claim_has_one_winner : rl::test_suite<claim_has_one_winner, 3> {
  basic_claim_word<> claims;
  std::atomic<int> bell{0};
  plain<int> frame;
  std::array<plain<int>, 4> results;

  void try_to_claim(winner who) {
    results[static_cast<std::size_t>(who)] = 1;
    if (claims.claim(1, who) != claim_result::won) return;
    RL_ASSERT(frame == 1);
    frame = 2;
    bell.store(1, std::memory_order_release);
  }
  void thread(unsigned index) {
    if (index != 0) return try_to_claim(index == 1 ? winner::event : winner::cancel);
    RL_ASSERT(claims.prepare(wait_mode::claimable));
    frame = 1;
    if (!claims.commit()) {
      frame = 2;
    } else {
      results[static_cast<std::size_t>(winner::timeout)] = 1;
      if (claims.claim(1, winner::timeout) != claim_result::won)
        while (bell.load(std::memory_order_acquire) == 0) rl::yield(1, $);
    }
    RL_ASSERT(results[static_cast<std::size_t>(claims.settled())] == 1);
  }
};

// What is awaited is given up when no canceller looks at it any more.
struct claim_is_passed_on : rl::test_suite<claim_is_passed_on, 2> {
  basic_claim_word<> claims;
  plain<int> awaited;

  void thread(unsigned index) {
    if (index == 1) {
      if (claims.cancel() != cancel_result::forward) return;
      RL_ASSERT(awaited == 1);
      claims.unpin();
      return;
    }
    awaited = 1;
    RL_ASSERT(claims.arm(wait_mode::forwards));
    (void)claims.claim(1, winner::event);
    (void)claims.settled();
    awaited = 2;
  }
};

template <class Scenario>
bool holds(const char* name, rl::iteration_t iterations) {
  rl::test_params parameters;
  parameters.iteration_count = iterations;
  parameters.search_type = rl::random_scheduler_type;
  parameters.execution_depth_limit = 2000;
  std::ostream nowhere{nullptr};
  parameters.output_stream = &nowhere;
  parameters.progress_stream = &nowhere;
  const bool good = rl::simulate<Scenario>(parameters);
  if (good)
    std::printf("%s holds\n", name);
  else
    std::printf("%s: %s, schedule %llu\n", name, rl::test_result_str(parameters.test_result),
                static_cast<unsigned long long>(parameters.stop_iteration));
  return good;
}

}  // namespace

int main(int count, char** arguments) {
  const auto iterations = static_cast<rl::iteration_t>(count > 1 ? std::atoi(arguments[1]) : 100'000);
  bool good = true;
#define ROVING_NAMED(scenario) #scenario
#define ROVING_RUN(scenario) good = holds<scenario>(ROVING_NAMED(scenario), iterations) && good
#if defined(ROVING_ONLY)
  ROVING_RUN(ROVING_ONLY);
#else
  ROVING_RUN(deque_is_stolen_from);
  ROVING_RUN(deque_gives_the_named);
  ROVING_RUN(inbox_is_drained);
  ROVING_RUN(inbox_wakes);
  ROVING_RUN(overflow_queue_keeps_all);
  ROVING_RUN(spin_lock_guards);
  ROVING_RUN(claim_has_one_winner);
  ROVING_RUN(claim_is_passed_on);
#endif
#undef ROVING_RUN
  return good ? 0 : 1;
}
