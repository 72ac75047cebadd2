// See scenarios.hpp.
#include "tests/explorer/scenarios.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <optional>
#include <utility>

#include <roving/detail/claim_word.hpp>
#include <roving/detail/relax.hpp>
#include <roving/detail/spin_lock.hpp>

#include "scheduler/deque.hpp"
#include "scheduler/gate.hpp"
#include "scheduler/idle.hpp"
#include "scheduler/inbox.hpp"
#include "scheduler/overflow_queue.hpp"
#include "scheduler/return_list.hpp"

namespace roving_test {
namespace {

using roving::detail::basic_claim_word;
using roving::detail::basic_gate_word;
using roving::detail::basic_idle_set;
using roving::detail::basic_spin_lock;
using roving::detail::bounded_deque;
using roving::detail::cancel_result;
using roving::detail::claim_result;
using roving::detail::overflow_queue;
using roving::detail::relax;
using roving::detail::wait_mode;
using roving::detail::winner;

// What is handed from thread to thread. Not atomic: who hands it over publishes it.
struct item {
  plain<item*> next{nullptr};
  plain<int> value{0};

  static constexpr int ready = 1;
  static constexpr int taken = 2;

  void make_ready() { value = ready; }
  void take() {
    require(value == ready, "taken twice");
    value = taken;
  }
};

// At the end each that was handed over has been taken.
template <std::size_t count>
struct items {
  std::array<item, count> all;

  item& operator[](std::size_t index) { return all[index]; }
  void require_all_taken() {
    for (item& each : all) require(each.value != item::ready, "one is lost");
  }
};

// ---- The deque ------------------------------------------------------------------------------------------------------

struct deque_scenario : scenario {
  bounded_deque<item, explored> deque{2};
  items<3> each;

  bool push(unsigned index) {
    each[index].make_ready();
    if (deque.push(each[index])) return true;
    each[index].take();  // it does it itself
    return false;
  }
  void pop() {
    if (item* const mine = deque.pop()) mine->take();
  }
  void steal() {
    if (item* const stolen = deque.steal().element) stolen->take();
  }
  void at_end() override {
    while (item* const left = deque.pop()) left->take();
    each.require_all_taken();
  }
};

struct deque_one_thief : deque_scenario {
  void thread(unsigned index) override {
    if (index == 0) {
      (void)push(0);
      (void)push(1);
      pop();
      pop();
    } else {
      steal();
      steal();
    }
  }
};

struct deque_two_thieves : deque_scenario {
  void thread(unsigned index) override {
    if (index != 0) return steal();
    (void)push(0);
    (void)push(1);
    pop();
  }
};

// The owner goes round: a slot is written again while a thief may still read it.
struct deque_reuse : deque_scenario {
  void thread(unsigned index) override {
    if (index != 0) return steal();
    (void)push(0);
    (void)push(1);
    (void)push(2);
    pop();
  }
};

// What was pushed before a pop is covered by pop's store.
struct deque_pushed_before_pop : deque_scenario {
  void thread(unsigned index) override {
    if (index != 0) return steal();
    (void)push(0);
    (void)push(1);
    pop();
    (void)push(2);
    pop();
  }
};

// The owner takes those that it names, each only when it is the oldest.
struct deque_named : deque_scenario {
  void take_if_oldest(unsigned index) {
    item* const taken = deque.steal(&each[index]).element;
    if (taken == nullptr) return;
    require(taken == &each[index], "another than was named");
    taken->take();
  }
  void thread(unsigned index) override {
    if (index != 0) return steal();
    (void)push(0);
    (void)push(1);
    require(deque.newest() == &each[1], "only one was stolen");
    take_if_oldest(1);
    take_if_oldest(0);
    take_if_oldest(1);
    require(deque.newest() == nullptr, "both were taken");
  }
};

// It is never empty: a thief takes two of three.
struct deque_never_empty : scenario {
  bounded_deque<item, explored> deque{4};
  std::array<item, 3> each;
  explored<int> third{0};

  deque_never_empty() {
    for (std::size_t i = 0; i < 2; ++i) (void)deque.push(each[i]);
  }
  void thread(unsigned index) override {
    if (index == 0) {
      (void)deque.push(each[2]);
      third.store(1, std::memory_order_release);
    } else if (index == 1) {
      if (third.load(std::memory_order_acquire) == 0) return;
      (void)deque.steal();
      (void)deque.steal();
    } else {
      require(!deque.looks_empty(), "it was never empty");
    }
  }
};

// ---- Shards that sleep ----------------------------------------------------------------------------------------------

// The parts of shard.cpp that go with idle_set. A shard looks for one thing to do and runs that for ever: what is left
// is for the others.
struct shards_scenario : scenario {
  basic_idle_set<explored> idle;
  std::array<bell, 2> bells;

  explicit shards_scenario(unsigned enough_searchers = 1) : idle{2, enough_searchers} {}

  [[nodiscard]] virtual bool work_is_visible() = 0;
  [[nodiscard]] virtual item* search() = 0;

  void publish(unsigned from) {
    if (idle.should_call()) call_searcher(from);
  }

  void call_searcher(unsigned from) {
    for (unsigned iteration = 0;; relax(iteration++)) {
      bool look_again = false;
      if (const std::optional<unsigned> called = idle.call_one(from, look_again)) return bells[*called].ring();
      if (!look_again || !idle.stop_searching() || !work_is_visible()) return;
    }
  }

  void stop_searching(unsigned me) {
    if (idle.stop_searching() && work_is_visible()) call_searcher(me);
  }

  void run_one(unsigned me) {
    for (unsigned iteration = 0;; ++iteration) {
      bool searching = idle.start_searching();
      if (!searching) relax(iteration);  // enough others do: it waits for a while
      if (searching && look(me, searching)) return;
      idle.announce(me, std::exchange(searching, false));
      if (work_is_visible()) {
        searching = idle.awake(me) || idle.start_searching();
      } else {
        bells[me].wait();
        searching = idle.awake(me);
      }
      if (searching && look(me, searching)) return;
      if (searching) stop_searching(me);
    }
  }

  bool look(unsigned me, bool& searching) {
    item* const found = search();
    if (found == nullptr) return false;
    if (std::exchange(searching, false)) stop_searching(me);
    found->take();
    return true;
  }
};

// Roving work comes from off every shard.
template <unsigned count>
struct overflow_wake : shards_scenario {
  overflow_queue<item, explored> queue;
  items<count> each;

  bool work_is_visible() override { return !queue.looks_empty(); }
  item* search() override { return queue.pop(); }

  void thread(unsigned index) override {
    if (index != 0) return run_one(index - 1);
    for (unsigned i = 0; i < count; ++i) {
      each[i].make_ready();
      queue.push(each[i]);
      publish(0);
    }
  }
  void at_end() override { each.require_all_taken(); }
};

// The shard that spawns goes on for ever: a sleeper has to come and steal.
struct deque_wake : shards_scenario {
  bounded_deque<item, explored> deque{2};
  items<1> each;

  bool work_is_visible() override { return !deque.looks_empty(); }
  item* search() override { return deque.steal().element; }

  void thread(unsigned index) override {
    if (index == 1) return run_one(1);
    each[0].make_ready();
    (void)deque.push(each[0]);
    publish(0);
  }
  void at_end() override { each.require_all_taken(); }
};

// One spawns twice; two have to come, since whoever comes goes on for ever.
struct deque_wake_two : shards_scenario {
  bounded_deque<item, explored> deque{2};
  items<2> each;

  explicit deque_wake_two(unsigned enough_searchers = 1) : shards_scenario{enough_searchers} {}

  bool work_is_visible() override { return !deque.looks_empty(); }
  item* search() override { return deque.steal().element; }

  void thread(unsigned index) override {
    if (index != 0) return run_one(index - 1);
    for (std::size_t i = 0; i < 2; ++i) {
      each[i].make_ready();
      (void)deque.push(each[i]);
      publish(0);
    }
  }
  void at_end() override { each.require_all_taken(); }
};

// The same where one more is called although one searches.
struct deque_wake_both : deque_wake_two {
  deque_wake_both() : deque_wake_two{2} {}
};

// A shard that watched has found work, and the other one goes to sleep: one of the two must see to the watch.
struct watch_handed_over : shards_scenario {
  explored<int> sleeps{0};

  watch_handed_over() { (void)idle.watch(0, false); }
  bool work_is_visible() override { return false; }
  item* search() override { return nullptr; }

  void thread(unsigned index) override {
    if (index == 0) {
      idle.end_watch(0);
      if (!idle.has_watcher() && idle.sleepers() != 0) call_searcher(0);
    } else {
      idle.announce(1, false);
      if (!idle.watch(1, false)) bells[1].wait();
    }
  }
};

// Who watches sees nobody run, and ends the watch, while another wakes: one of the two must see to the watch.
struct watch_ended : shards_scenario {
  watch_ended() {
    (void)idle.watch(0, false);
    idle.announce(0, false);
    idle.announce(1, false);
  }
  bool work_is_visible() override { return false; }
  item* search() override { return nullptr; }

  void thread(unsigned index) override {
    if (index == 0) {
      if (!idle.somebody_runs() && !idle.end_quiet_watch(0)) bells[0].wait();
    } else {
      if (idle.awake(1)) require(false, "called by nobody");
      if (!idle.has_watcher() && idle.sleepers() != 0) call_searcher(1);
    }
  }
};

// The same where a message wakes the other, which runs before its sender has counted it as awake.
struct watch_ended_by_message : watch_ended {
  void thread(unsigned index) override {
    if (index == 0) return watch_ended::thread(0);
    if (index == 2) {
      if (idle.take_from_sleep(1)) bells[1].ring();
    } else {
      bells[1].wait();
      watch_ended::thread(1);
    }
  }
};

// A shard that goes on for ever publishes what is a lone task there.
struct lone_scenario : shards_scenario {
  bounded_deque<item, explored> deque{2};
  items<2> each;

  bool work_is_visible() override { return !deque.looks_empty(); }
  item* search() override { return deque.steal().element; }

  void push(unsigned index) {
    each[index].make_ready();
    (void)deque.push(each[index]);
    const bool is_lone = deque.size_estimate() <= 1;
    if (idle.should_call() && !(is_lone && idle.has_short_watch())) call_searcher(0);
  }

  void sleep(unsigned me, bool leave_lone_ones) {
    bool searching = false;
    for (unsigned iteration = 0;; relax(iteration++)) {
      idle.announce(me, std::exchange(searching, false));
      if (deque.size_estimate() > (leave_lone_ones ? 1U : 0U)) {
        searching = idle.awake(me) || idle.start_searching();
      } else {
        bells[me].wait();
        searching = idle.awake(me);
      }
      if (searching && look(me, searching)) return;
    }
  }
};

// Whose watch was short goes to sleep for longer: it sees the task, or is called.
struct short_watch_left : lone_scenario {
  short_watch_left() { (void)idle.watch(1, true); }
  void thread(unsigned index) override {
    if (index == 0) return push(0);
    (void)idle.watch(1, false);
    sleep(1, false);
  }
  void at_end() override { each.require_all_taken(); }
};

// It stays short, and there are two tasks: one is to be taken.
struct short_watch_kept : lone_scenario {
  short_watch_kept() { (void)idle.watch(1, true); }
  void thread(unsigned index) override {
    if (index != 0) return sleep(1, true);
    push(0);
    push(1);
  }
  void at_end() override { require(deque.size_estimate() <= 1, "two wait while somebody sleeps"); }
};

// Whose watch was short has found work: the task is seen by who goes to sleep, or somebody is called for it.
struct short_watch_ended : lone_scenario {
  short_watch_ended() { (void)idle.watch(1, true); }
  void thread(unsigned index) override {
    if (index == 2) return push(0);
    if (index == 0) return sleep(0, false);
    const bool lone_ones_relied_on_it = idle.end_watch(1);
    if ((lone_ones_relied_on_it || !idle.has_watcher()) && idle.sleepers() != 0) call_searcher(1);
  }
  void at_end() override { each.require_all_taken(); }
};

// An observer of all shards goes to sleep, and a shard wakes, or gets a thread again: one of the two must see the
// other.
struct rests_seen : shards_scenario {
  explored<bool> observer_sleeps{false};
  const bool is_absent;

  explicit rests_seen(bool absent) : is_absent{absent} {
    if (is_absent)
      idle.leave(1);
    else
      idle.announce(1, false);
  }
  bool work_is_visible() override { return false; }
  item* search() override { return nullptr; }

  void thread(unsigned index) override {
    if (index == 0) {
      observer_sleeps.store(true, std::memory_order_seq_cst);
      if (idle.rests(1)) bells[0].wait();
    } else {
      if (is_absent)
        idle.come_back(1);
      else
        (void)idle.awake(1);
      if (observer_sleeps.load(std::memory_order_seq_cst)) bells[0].ring();
    }
  }
};
struct rests_seen_asleep : rests_seen {
  rests_seen_asleep() : rests_seen{false} {}
};
struct rests_seen_absent : rests_seen {
  rests_seen_absent() : rests_seen{true} {}
};

// ---- The inbox ------------------------------------------------------------------------------------------------------

struct inbox_scenario : scenario {
  roving::detail::inbox<item, explored> box;
  items<3> each;  // 0 and 1 of one producer, 2 of another
  int of_the_first = 0;

  void push(unsigned index) {
    each[index].make_ready();
    box.push(each[index]);
  }
  bool drain() {
    item* next = box.drain();
    if (next == nullptr) return false;
    while (next != nullptr) {
      item* const mine = next;
      next = mine->next;
      mine->take();
      if (mine == &each[2]) continue;
      require(mine == &each[static_cast<std::size_t>(of_the_first)], "messages of one producer overtook each other");
      ++of_the_first;
    }
    return true;
  }
  void at_end() override {
    (void)drain();
    each.require_all_taken();
  }
};

struct inbox_two_producers : inbox_scenario {
  void thread(unsigned index) override {
    if (index == 0) {
      push(0);
      push(1);
    } else if (index == 1) {
      push(2);
    } else {
      (void)drain();
      (void)drain();
    }
  }
};

// A node that was drained is pushed again by another producer while the first is at it.
struct inbox_pushed_again : inbox_scenario {
  void thread(unsigned index) override {
    if (index == 0) return push(0);
    push(2);
    if (drain()) push(2);
    (void)drain();
  }
  void at_end() override {
    (void)drain();
    each.require_all_taken();
  }
};

struct inbox_wake : inbox_scenario {
  basic_idle_set<explored> idle{1};
  bell door;

  void thread(unsigned index) override {
    if (index == 0) {
      push(0);
      if (idle.take_from_sleep(0)) door.ring();
    } else {
      while (!drain()) {
        idle.announce(0, false);
        if (box.looks_empty()) door.wait();
        (void)idle.awake(0);
      }
    }
  }
};

// ---- The overflow queue ---------------------------------------------------------------------------------------------

struct overflow_in_order : scenario {
  overflow_queue<item, explored> queue;
  items<3> each;  // 0 and 1 of one producer, 2 of another
  int of_the_first = 0;

  void take(item* first) {
    while (first != nullptr) {
      item* const mine = first;
      first = mine->next;
      mine->take();
      if (mine == &each[2]) continue;
      require(mine == &each[static_cast<std::size_t>(of_the_first)], "the queue is out of order");
      ++of_the_first;
    }
  }
  void thread(unsigned index) override {
    if (index == 0) {
      each[0].make_ready();
      each[1].make_ready();
      each[0].next = &each[1];
      queue.push_list(&each[0], &each[1], 2);
    } else if (index == 1) {
      each[2].make_ready();
      queue.push(each[2]);
    } else {
      item* first = nullptr;
      (void)queue.pop_some(2, first);
      take(first);
      take(queue.pop());
    }
  }
  void at_end() override {
    while (item* const left = queue.pop()) take(left);
    require(queue.size_estimate() == 0, "the size is not that of the list");
    each.require_all_taken();
  }
};

// ---- The spin lock --------------------------------------------------------------------------------------------------

template <int rounds>
struct spin_lock_guards : scenario {
  basic_spin_lock<explored> lock;
  plain<int> count{0};
  int expected = 0;

  void thread(unsigned) override {
    for (int i = 0; i < rounds; ++i) {
      const std::scoped_lock guard{lock};
      count = count + 1;
      ++expected;
    }
  }
  void at_end() override { require(count == expected, "two were in at once"); }
};

struct spin_lock_tried : scenario {
  basic_spin_lock<explored> lock;
  plain<int> count{0};

  void thread(unsigned) override {
    if (!lock.try_lock()) return;
    count = count + 1;
    lock.unlock();
  }
};

// ---- Blocks that come back ------------------------------------------------------------------------------------------

// Two blocks are out when their owner takes anew what is back, and is done. Whoever is the last destroys all.
struct blocks_return : scenario {
  roving::detail::return_list<item, explored> list;
  std::array<item, 2> each;
  plain<int> destroyed{0};

  void destroy() {
    for (item& one : each) one.value = 0;
    destroyed = destroyed + 1;
  }
  void thread(unsigned index) override {
    if (index != 0) {
      each[index - 1].make_ready();
      if (list.push(each[index - 1])) destroy();
      return;
    }
    for (item* next = list.take_all(); next != nullptr;) {
      item* const mine = next;
      next = mine->next;
      mine->take();
    }
    if (list.retire(2)) destroy();
  }
  void at_end() override { require(destroyed == 1, "nobody was the last, or more than one"); }
};

// ---- The gate -------------------------------------------------------------------------------------------------------

struct gate_closed : scenario {
  basic_gate_word<explored> gate;
  plain<int> behind{0};
  plain<int> why{0};  // it was closed
  plain<int> notes[2];

  void thread(unsigned index) override {
    if (index == 2) {
      why = 1;
      gate.close();
      behind = 1;  // it is gone
      require(notes[0] <= 1 && notes[1] <= 1, "what was done inside is not there");
    } else if (gate.enter()) {
      require(behind == 0, "in after it was closed");
      notes[index] = 1;
      gate.leave();
    } else {
      require(why == 1, "kept out before it was closed");
    }
  }
};

// ---- The claim word -------------------------------------------------------------------------------------------------

// A task that waits. Who wins wakes it by the bell, as by its shard's queue. Claimers come when they like, also too
// early: then nobody comes any more, and the task claims itself, as its timer.
struct claim_scenario : scenario {
  basic_claim_word<explored> claims;
  const std::uint64_t first = claims.next_epoch();
  plain<int> frame{0};                // the task's, before it leaves its stack
  std::array<plain<int>, 4> results;  // of each winner, written before it claims
  plain<int> message{0};              // of the canceller
  bell resumed;

  void leave_stack() { frame = 1; }

  void try_to_claim(winner who) {
    results[static_cast<std::size_t>(who)] = 1;
    if (claims.claim(first, who) == claim_result::won) resume();
  }
  void resume() {
    require(frame == 1, "claimed before it had left its stack");
    frame = 2;
    resumed.ring();
  }
  void wait() {
    results[static_cast<std::size_t>(winner::timeout)] = 1;
    if (claims.claim(first, winner::timeout) != claim_result::won) resumed.wait();
  }

  winner settle() {
    const winner who = claims.settled();
    require(who != winner::none, "back without a winner");
    require(results[static_cast<std::size_t>(who)] == 1, "what the winner wrote is not there");
    return who;
  }
};

struct claim_armed : claim_scenario {
  void thread(unsigned index) override {
    if (index == 1) return try_to_claim(winner::event);
    if (index == 2) return try_to_claim(winner::cancel);
    leave_stack();
    require(claims.arm(wait_mode::claimable), "refused without a cancel");
    wait();
    (void)settle();
  }
};

// A wait on several things: claims may come before it parks.
struct claim_prepared : claim_scenario {
  void thread(unsigned index) override {
    if (index == 1) return try_to_claim(winner::event);
    if (index == 2) return try_to_claim(winner::cancel);
    require(claims.prepare(wait_mode::claimable), "refused without a cancel");
    leave_stack();
    if (claims.commit())
      wait();
    else
      frame = 2;  // claimed early: nobody else resumes it
    (void)settle();
  }
};

// Claims of a wait that is over don't hit the next one.
struct claim_late : claim_scenario {
  void thread(unsigned index) override {
    if (index != 0) return try_to_claim(index == 1 ? winner::event : winner::cancel);
    leave_stack();
    require(claims.arm(wait_mode::claimable), "refused without a cancel");
    wait();
    (void)settle();
    const std::uint64_t second = claims.next_epoch();
    require(claims.arm(wait_mode::claimable), "refused without a cancel");
    require(claims.claim(second, winner::event) == claim_result::won, "claimed by who waited for the one before");
    require(claims.settled() == winner::event, "somebody else's winner");
  }
};

// A cancel claims, or is found by the task when it wants to wait or has waited.
struct claim_cancelled : claim_scenario {
  void thread(unsigned index) override {
    if (index == 1) return try_to_claim(winner::event);
    if (index == 2) {
      message = 1;
      results[static_cast<std::size_t>(winner::cancel)] = 1;
      if (claims.cancel() == cancel_result::claimed) resume();
      return;
    }
    leave_stack();
    if (claims.arm(wait_mode::claimable))
      wait();
    else
      claims.end_by_mark();
    const bool is_cancelled = settle() == winner::cancel;
    require(!is_cancelled || message == 1, "cancelled, and what the canceller wrote is not there");
    if (claims.take_pending()) require(!is_cancelled && message == 1, "a mark that was taken already");
  }
};

// A mark is found without a wait.
template <bool by_cancel, bool is_taken>
struct claim_marked : claim_scenario {
  void thread(unsigned index) override {
    if (index == 1) {
      message = 1;
      if (by_cancel)
        (void)claims.cancel();
      else
        claims.mark();
    } else if (is_taken ? claims.take_pending() : claims.is_pending()) {
      require(message == 1, "what the canceller wrote is not there");
    }
  }
};

// A cancel is passed on to what the task awaits, which the task gives up as soon as it is back.
template <bool is_done>
struct claim_forwarded : claim_scenario {
  plain<int> awaited{0};
  bool passed_on = false;

  void thread(unsigned index) override {
    if (index == 1) return try_to_claim(winner::event);
    if (index == 2) {
      message = 1;
      if (claims.cancel() != cancel_result::forward) return;
      passed_on = true;
      require(awaited == 1, "what is awaited is not there");
      if (is_done) claims.mark();  // what is awaited: the cancel comes back
      claims.unpin();
      return;
    }
    awaited = 1;
    leave_stack();
    require(claims.arm(wait_mode::forwards), "refused though it forwards");
    wait();
    (void)settle();
    awaited = 2;
    const bool is_marked = claims.take_pending();
    require(is_marked || !is_done || !passed_on, "the mark does not come in time");
    require(!is_marked || message == 1, "what the canceller wrote is not there");
  }
};

// Somebody looks at a task that waits, and at its stack, to which whoever resumes it may write at any time.
struct claim_watched : claim_scenario {
  plain<int> awaited{0};
  explored<int> on_stack{0};

  void thread(unsigned index) override {
    if (index == 1) {
      while (claims.claim(first, winner::event) != claim_result::won) relax(0);
      on_stack.store(2, std::memory_order_relaxed);
      resumed.ring();
    } else if (index == 2) {
      std::uint64_t seen = 0;
      if (!claims.try_pin(seen)) return;
      require(awaited == 1, "what is awaited is not there");
      const int read = on_stack.load(std::memory_order_relaxed);
      require(!claims.is_untouched(seen) || read == 1, "what was read of the stack is of later");
      claims.unpin();
    } else {
      awaited = 1;
      on_stack.store(1, std::memory_order_relaxed);
      require(claims.arm(wait_mode::claimable), "refused without a cancel");
      resumed.wait();
      (void)claims.settled();
      awaited = 2;
    }
  }
};

}  // namespace

#define ROVING_SCENARIO(type, shows, ...)                                                                   \
  {                                                                                                         \
#    type, shows, []() -> std::unique_ptr < scenario> { return std::make_unique<type>(); }, { __VA_ARGS__ } \
  }

const std::vector<explored_scenario>& explored_scenarios() {
  using overflow_wake_one = overflow_wake<1>;
  using spin_lock_two = spin_lock_guards<2>;
  using spin_lock_three = spin_lock_guards<1>;
  using claim_mark_seen = claim_marked<true, false>;
  using claim_mark_taken = claim_marked<true, true>;
  using claim_mark_of_asker = claim_marked<false, true>;
  using claim_passed_on = claim_forwarded<false>;
  using claim_passed_back = claim_forwarded<true>;
  static const std::vector<explored_scenario> all{
      ROVING_SCENARIO(deque_one_thief, "[publish] [last]", .threads = 2),
      ROVING_SCENARIO(deque_two_thieves, "[publish] [last]", .threads = 3),
      ROVING_SCENARIO(deque_pushed_before_pop, "[publish]", .threads = 2),
      ROVING_SCENARIO(deque_named, "[last]", .threads = 2),
      ROVING_SCENARIO(deque_reuse, "[reuse]", .threads = 2, .load_buffering = true),
      ROVING_SCENARIO(deque_never_empty, "[reuse]", .threads = 3),
      ROVING_SCENARIO(deque_wake, "[wake]", .threads = 2),
      ROVING_SCENARIO(inbox_two_producers, "[publish]", .threads = 3),
      ROVING_SCENARIO(inbox_pushed_again, "[publish]", .threads = 2),
      ROVING_SCENARIO(inbox_wake, "[wake]", .threads = 2),
      ROVING_SCENARIO(overflow_in_order, "[guard]", .threads = 3),
      ROVING_SCENARIO(overflow_wake_one, "[wake]", .threads = 2),
      ROVING_SCENARIO(spin_lock_two, "[guard]", .threads = 2),
      ROVING_SCENARIO(spin_lock_three, "[guard]", .threads = 3),
      ROVING_SCENARIO(spin_lock_tried, "[guard]", .threads = 3),
      ROVING_SCENARIO(blocks_return, "[return] [last]", .threads = 3),
      ROVING_SCENARIO(gate_closed, "[closed] [out]", .threads = 3),
      ROVING_SCENARIO(claim_armed, "[handover] [result]", .threads = 3),
      ROVING_SCENARIO(claim_prepared, "[handover] [result]", .threads = 3),
      ROVING_SCENARIO(claim_late, "", .threads = 3),
      ROVING_SCENARIO(claim_cancelled, "[handover] [result] [mark]", .threads = 3),
      ROVING_SCENARIO(claim_mark_seen, "[mark]", .threads = 2),
      ROVING_SCENARIO(claim_mark_taken, "[mark]", .threads = 2),
      ROVING_SCENARIO(claim_mark_of_asker, "[mark]", .threads = 2),
      ROVING_SCENARIO(claim_passed_on, "[handover] [pin]", .threads = 3),
      ROVING_SCENARIO(claim_passed_back, "[handover] [pin] [mark]", .threads = 3),
      ROVING_SCENARIO(claim_watched, "[handover] [pin] [untouched]", .threads = 3, .load_buffering = true),
      ROVING_SCENARIO(watch_handed_over, "[watch]", .threads = 2),
      ROVING_SCENARIO(watch_ended, "[quiet]", .threads = 2),
      ROVING_SCENARIO(watch_ended_by_message, "[quiet]", .threads = 3),
      ROVING_SCENARIO(short_watch_left, "[lone]", .threads = 2),
      ROVING_SCENARIO(short_watch_kept, "[wake]", .threads = 2),
      ROVING_SCENARIO(short_watch_ended, "[lone]", .threads = 3),
      ROVING_SCENARIO(rests_seen_asleep, "[rests]", .threads = 2),
      ROVING_SCENARIO(rests_seen_absent, "[rests]", .threads = 2),
      ROVING_SCENARIO(deque_wake_both, "[wake] (b)", .threads = 3, .preemptions_at_most = 1,
                      .spurious_failures_at_most = 0),
      ROVING_SCENARIO(deque_wake_two, "[wake] (b)", .threads = 3, .preemptions_at_most = 2,
                      .spurious_failures_at_most = 0),
  };
  return all;
}

#undef ROVING_SCENARIO

}  // namespace roving_test
