// A shard: one thread, one event loop. shard.cpp has the loop; idle.hpp how it sleeps; task_base.hpp what it runs.
//
// Queues (decisions D5 and D6 of docs/architecture.md say why these):
//   ready_   pinned tasks and callbacks of this shard, first in first out, a generation at a time. The owner's alone.
//   fresh_   roving tasks that nobody started: the owner takes the newest, thieves the oldest. Those that were joined
//            inline may be in there still, and are passed over (inline_join.hpp).
//   woken_   roving tasks that were parked and are ready again: everybody takes the oldest.
//   inbox_   pinned work from other threads; drained whole at the start of a turn.
//   and the scheduler's overflow queue, for roving work that found no room or came from off every shard.
//
// A turn is one generation of ready_, then up to R roving tasks, woken before fresh; every 61st takes the oldest fresh
// one.
//
// Who runs: a fiber that parks picks the next one itself and jumps to it. It goes to the loop's own context only for
// what must be done there: callbacks, polling, timers, sleep.
//
// I1  current_ is set before a fiber is entered, by the side that leaves.
// I2  A pinned task is in ready_ or inbox_ of its home and nowhere else; a roving one never is.
// I3  ready_ is appended to by the owner's thread only. A roving task that runs here and appends drains the inbox
//     first, so that what one producer sends to a shard keeps its order though the producer moves (D6).
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include <roving/counters.hpp>
#include <roving/detail/atomic.hpp>
#include <roving/detail/generator_core.hpp>
#include <roving/detail/ready_node.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/task_base.hpp>

#include "scheduler/block_cache.hpp"
#include "scheduler/context.hpp"
#include "scheduler/deque.hpp"
#include "scheduler/fiber.hpp"
#include "scheduler/fifo.hpp"
#include "scheduler/gate.hpp"
#include "scheduler/inbox.hpp"
#include "scheduler/overflow.hpp"
#include "scheduler/parker.hpp"
#include "scheduler/random.hpp"
#include "scheduler/shard_locals.hpp"
#include "scheduler/simulator.hpp"
#include "scheduler/slab.hpp"
#include "scheduler/stack.hpp"
#include "scheduler/stall_watch.hpp"
#include "scheduler/suspension_check.hpp"
#include "scheduler/thread.hpp"
#include "scheduler/timers.hpp"

namespace roving::detail {

class scheduler;
class askable_thread;
struct thread_answer;

/// A timer of pinned work: fires on its shard's loop, as a callback of the generation in which it is due.
struct pinned_timer : timer_node {
  using function = void (*)(pinned_timer&) noexcept;
  explicit pinned_timer(function how, function unfired = nullptr) noexcept : fire{how}, drop{unfired} {}
  function fire;
  function drop;  // ends it unfired, when the runtime closes first; null where it is on a task's stack
};

/// A timer of a roving task that waits: expires under a lock by any thread, which claims the waiter.
struct roving_timer : timer_node {
  roving_timer(waiter& who, winner how) noexcept : waits{&who}, ends_as{how} {}
  waiter* waits;
  winner ends_as;
};

class shard {
 public:
  shard(scheduler& owner, unsigned index);
  shard(const shard&) = delete;
  shard& operator=(const shard&) = delete;
  ~shard();

  // --- its thread: begin, run, end; in that order, by one thread

  void begin_thread(std::optional<unsigned> core) noexcept;
  void run() noexcept;
  void end_thread() noexcept;

  /// Ends run() with the generation that goes on. Its thread only.
  void stop() noexcept { stop_requested_ = true; }

  /// Makes run() end when no task is alive. Its thread only, shard 0 only.
  void stop_when_no_task_lives(bool on) noexcept { until_no_task_lives_ = on; }

  /// Ends callbacks and timers that were never run; after run(), when no thread runs it any more.
  void drop_what_is_left() noexcept;

  // --- for what runs on it

  [[nodiscard]] scheduler& owner() const noexcept { return scheduler_; }
  [[nodiscard]] unsigned index() const noexcept { return index_; }
  [[nodiscard]] parker& where_it_sleeps() const noexcept { return *parker_; }
  [[nodiscard]] fiber* current_fiber() const noexcept { return current_; }
  [[nodiscard]] task_base* current() const noexcept { return current_ != nullptr ? current_->active : nullptr; }
  [[nodiscard]] time_point now() const noexcept;
  [[nodiscard]] bool is_unwinding() const noexcept { return uncaught_exceptions_of(anchor_) != 0; }
  [[nodiscard]] thread_anchor& anchor() noexcept { return anchor_; }

  /// Leaves the current fiber for whatever is next; `after` runs once its stack is left. Returns on any thread.
  void leave(after_switch after, void* argument) noexcept;

  /// Lets everything that is ready on this shard run once.
  void yield() noexcept;

  /// Runs a pinned task of this shard at once, up to its first suspension.
  void run_eagerly(task_base& task) noexcept;

  /// Whether the task that runs may run another one as a call, as far as the turn goes: what is pinned here and what
  /// was woken must not wait longer for that. Counts it.
  [[nodiscard]] bool has_time_for_one_inline() noexcept;

  /// Takes a pinned task out of ready_ if it is what the current task's departure would lead to. In debug mode it never
  /// is: there each wait is a departure.
  [[nodiscard]] bool take_if_next(task_base& task) noexcept;

  /// The current task, which is pinned, goes on when its turn comes: at once if it is next. `is_queued`: it is in
  /// ready_ already, and else goes to its end.
  void wait_in_line(task_base& self, bool is_queued) noexcept;

  /// Takes a roving task that nobody has started out of all queues, to run it at once. The caller has a reference to
  /// it.
  [[nodiscard]] bool take_unstarted(task_base& task) noexcept;

  /// Runs fibers that have ended: gives back the stack, or goes on with the next unstarted task. See fiber_main.
  [[nodiscard]] bool adopt_next(fiber& ended) noexcept;

  /// A side fiber, which runs start(argument) when it is first entered. Throws stack_exhausted.
  [[nodiscard]] fiber& make_side_fiber(std::size_t stack_size_bytes, context::entry start, void* argument);

  /// The current task goes on on `side`. Returns on any thread, when the side fiber is left or ends.
  void enter_side(fiber& side) noexcept;

  /// The current task, which is on `side`, goes back to where it entered it. Returns on any thread and in any task.
  void leave_side(fiber& side) noexcept;

  /// The same for the last time: gives back the stack.
  [[noreturn]] void end_side(fiber& side) noexcept;

  /// Generators that were begun here and have not ended.
  [[nodiscard]] generator_list& generators() noexcept { return generators_; }

  void set_timer(pinned_timer& timer, time_point deadline) noexcept { pinned_timers_.set(timer, deadline); }
  bool cancel_timer(pinned_timer& timer) noexcept { return pinned_timers_.cancel(timer); }

  /// Where the context of the callback is that runs.
  [[nodiscard]] context_values*& context_of_callback() noexcept { return context_of_callback_; }

  [[nodiscard]] shard_locals& locals() noexcept { return locals_; }

  /// Debug mode: the slice that began at `since` is over, and is reported when it was long. slice_start() gives
  /// `since`.
  [[nodiscard]] time_point slice_start() const noexcept { return debug_ ? now() : time_point{}; }
  void slice_ended(time_point since, const task_base* task, spawn_site site) noexcept {
    if (debug_) [[unlikely]]
      look_at_slice(since, task, site);
  }

  /// A slice begins.
  void count_slice() noexcept {
    slices_.store(slices_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    if (debug_) [[unlikely]]
      note_time_of_slice();
    if (simulator* const simulated = current_simulator(); simulated != nullptr && current() != nullptr)
      simulated->slice_begins(index_, *current());
  }

  /// The same for the task that runs: when it leaves, and when it ends.
  void slice_of_task_ended(task_base& task) noexcept {
    if (debug_) [[unlikely]] {
      look_at_slice(slice_began_, &task, {task.site_file, task.site_line});
      note_time(task);
    }
    if (simulator* const simulated = current_simulator()) simulated->slice_ends(index_);
  }

  /// Debug mode: for reports, that it has been as it is since now.
  void note_time(task_base& task) const noexcept {
    if (debug_) task.since.store(now().time_since_epoch().count(), std::memory_order_relaxed);
  }

  /// Whether a deadline has passed. Without a look at the clock where it is well ahead (1 s) of the last one: where
  /// slices since then took longer than that, it may have passed unseen, and then is seen by the next look. Its thread
  /// only.
  [[nodiscard]] bool has_passed(time_point deadline) const noexcept {
    return deadline <= well_ahead_ && deadline <= now();
  }

  /// A timer was set that is due already: the next generation looks at the clock.
  void want_timers_next() noexcept { timers_wanted_ = true; }

  [[nodiscard]] slab& blocks() noexcept { return *slab_; }
  [[nodiscard]] block_cache& blocks_of_callbacks() noexcept { return blocks_of_callbacks_; }

  /// A reference to door(). Its thread only, as keep_door_reference(): what that gets is given out again, and nothing
  /// is counted.
  [[nodiscard]] gate_reference door_reference() noexcept {
    if (kept_door_references_ == 0) return gate_reference::share(door_.get());
    --kept_door_references_;
    return gate_reference{door_.get()};
  }
  void keep_door_reference(gate_reference taken) noexcept {
    static_cast<void>(taken.take());
    ++kept_door_references_;
  }
  [[nodiscard]] std::uint64_t next_task_number() noexcept {
    spawned_.store(spawned_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed);
    return last_task_number_ += task_number_step_;
  }
  void count_finished() noexcept {
    finished_.store(finished_.load(std::memory_order_relaxed) + 1, std::memory_order_release);
  }

  // --- for its own thread

  /// Puts pinned work of this shard last in line.
  void append(ready_node& node) noexcept {
    if (simulator* const simulated = current_simulator()) simulated->sent(node, index_);
    if (current_ != nullptr && current_->active != nullptr && current_->active->roving) drain_inbox();  // I3
    ready_.push(node);
  }
  void push_fresh(task_base& task) noexcept;
  void push_woken(task_base& task) noexcept;

  // --- for any thread; for one that is no shard of this runtime: inside the door

  [[nodiscard]] gate& door() const noexcept { return *door_; }

  /// Whether it has roving work that nobody searches for, though it is about to run a task. One woken task does not
  /// count, since a shard on short watch looks after it. Exact where all others sleep: for simulation's check of S12.
  [[nodiscard]] bool keeps_work_to_itself() const noexcept;

  /// Whether it is about to run a task, others sleep, and none of them has the watch. Likewise, for D7.
  [[nodiscard]] bool is_unwatched() const noexcept;

  /// Takes in pinned work and wakes the shard if it sleeps.
  void receive(ready_node& node) noexcept;
  void set_timer(roving_timer& timer, time_point deadline) noexcept;
  void cancel_timer(roving_timer& timer) noexcept;
  void wake_if_asleep() noexcept;
  void count_wake() noexcept { wakes_.store(wakes_.load(std::memory_order_relaxed) + 1, std::memory_order_relaxed); }
  [[nodiscard]] shard_counters counters() const noexcept;
  [[nodiscard]] std::uint64_t slices() const noexcept { return slices_.load(std::memory_order_relaxed); }

  /// Blocked with nothing to do. May be so for a while after somebody woke it, where threads wait for cores.
  [[nodiscard]] bool is_in_parker() const noexcept { return in_parker_.load(std::memory_order_relaxed); }

  /// Debug mode: what is looked for in a task that suspends; null otherwise. Its thread only.
  [[nodiscard]] suspension_check* check() noexcept { return debug_ ? &check_ : nullptr; }

  /// Its thread, as others ask it.
  [[nodiscard]] askable_thread& asked() noexcept;

  /// Answers a question about the moment at which its thread was interrupted, whose registers are there. Its thread
  /// only, in a signal handler.
  void say_what_runs(thread_answer& answer) const noexcept;
  [[nodiscard]] std::uint64_t spawned() const noexcept { return spawned_.load(std::memory_order_acquire); }
  [[nodiscard]] std::uint64_t finished() const noexcept { return finished_.load(std::memory_order_acquire); }

 private:
  friend class scheduler;

  struct lone_sight {  // of a victim's only roving task
    std::uint64_t slices = 0;
    time_point since{};
    bool seen = false;
  };

  // the loop
  [[nodiscard]] bool finished_running() const noexcept;
  void drain_inbox() noexcept;
  void poll() noexcept;
  void queue_due_timers() noexcept;
  void run_ready() noexcept;
  void enter(task_base& task) noexcept;
  void run_due_timers() noexcept;
  static void run_due_timers_of(ready_node& marker) noexcept;

  // choosing
  [[nodiscard]] ready_node* pick(bool on_loop) noexcept;
  [[nodiscard]] task_base* next_roving() noexcept;
  [[nodiscard]] bool has_roving_work() const noexcept;
  /// Ready on this shard. Where it is 1, the task is *lone*: see idle.hpp. An estimate, to others.
  [[nodiscard]] std::size_t roving_at_hand() const noexcept { return fresh_.size_estimate() + woken_.size_estimate(); }
  /// Its only roving task is lone, and what made it ready runs still. To others: an estimate.
  [[nodiscard]] bool may_run_its_only_one() const noexcept {
    return roving_at_hand() <= 1 &&
        pushed_in_.load(std::memory_order_relaxed) == slices_.load(std::memory_order_relaxed);
  }
  [[nodiscard]] bool pick_first(std::size_t ready_size) noexcept;
  [[nodiscard]] fiber* fiber_of(task_base& task) noexcept;
  [[nodiscard]] fiber* make_fiber(task_base& task) noexcept;
  void fail_unstartable() noexcept;
  [[nodiscard]] context& next_context(fiber& leaving) noexcept;
  [[nodiscard]] fiber& go_back_from(fiber& side) noexcept;
  static void give_stack_back(void* ended) noexcept;
  [[nodiscard]] bool next_turn_wants_the_loop() const noexcept;
  void look_at_the_clock() noexcept;
  void look_at_slice(time_point since, const task_base* task, spawn_site site) noexcept;
  void note_time_of_slice() noexcept;

  // having nothing to do
  [[nodiscard]] bool has_own_work() const noexcept;
  void wait_for_work() noexcept;
  void sleep() noexcept;
  [[nodiscard]] bool look_once_more(bool& lively) const noexcept;
  [[nodiscard]] time_point next_deadline() noexcept;
  [[nodiscard]] task_base* search(bool patiently) noexcept;
  [[nodiscard]] task_base* take_from_others(time_point now) noexcept;
  [[nodiscard]] task_base* steal_from(shard& victim) noexcept;
  void stop_searching() noexcept;
  [[nodiscard]] bool take_the_watch(bool lively) noexcept;
  void hand_over_the_watch() noexcept;
  void look_at_the_others() noexcept;
  void service(shard& stuck) noexcept;
  void expire_roving_timers(time_point now) noexcept;
  void push_roving(bounded_deque<task_base>& onto, task_base& task) noexcept;
  void tell_of_lone() noexcept;
  void spill(bounded_deque<task_base>& full) noexcept;

  // --- the owner's own
  scheduler& scheduler_;
  const unsigned index_;
  const gate_reference door_;
  std::size_t kept_door_references_ = 0;
  const bool debug_;
  time_point slice_began_{};  // debug mode
  fiber* current_ = nullptr;
  context_values* context_of_callback_ = nullptr;
  thread_anchor anchor_{};
  context loop_;
  fifo ready_;
  std::size_t generation_left_ = 0;
  unsigned roving_left_ = 0;
  unsigned lent_ = 0;  // to roving work, in a generation that takes long
  unsigned roving_picks_ = 0;
  unsigned until_clock_ = 16;  // switches
  unsigned since_poll_ = 0;    // tasks
  bool interrupted_ = false;   // the loop is wanted
  bool poll_wanted_ = false;
  bool stop_requested_ = false;
  bool until_no_task_lives_ = false;
  bool searching_ = false;
  bool lively_ = false;  // a lone task was seen, and then run by its own shard
  bool watching_ = false;
  bool lone_is_untold_ = false;   // nobody was called for it
  bool may_have_roving_ = false;  // fresh_ and woken_; false is certain
  bool was_away_ = false;         // others may have seen it asleep, or run by nobody, since it last ran anything
  bool runs_callback_ = false;
  bool timers_queued_ = false;
  bool timers_wanted_ = false;
  unsigned quiet_looks_ = 0;
  task_base* unstartable_ = nullptr;  // has no stack, and is to be failed
  std::exception_ptr why_unstartable_;
  time_point last_poll_{};
  time_point well_ahead_ = time_point::max();  // of the last look; the end of time where that is not good enough
  timer_wheel pinned_timers_;
  timer_batch due_;
  ready_node due_marker_;
  stack_cache stacks_;
  struct retire {
    void operator()(slab* of) const noexcept { of->retire(); }
  };
  std::unique_ptr<slab, retire> slab_;
  block_cache blocks_of_callbacks_;
  std::uint64_t last_task_number_;
  const std::uint64_t task_number_step_;
  random_source random_;
  std::unique_ptr<parker> parker_;
  shard_locals locals_;
  suspension_check check_;
  std::vector<lone_sight> sights_;
  std::vector<std::uint64_t> watched_slices_;
  std::vector<slice_gauge> gauges_;
  std::uintptr_t loop_frame_ = 0;  // of run(): the end of the loop's own stack, as far as reports go
  std::optional<shard_thread_settings> thread_settings_;
  std::optional<alternate_signal_stack> signal_stack_;

  // --- written by the owner, read by others
  alignas(64) atomic<std::uint64_t> slices_{0};
  atomic<std::uint64_t> pushed_in_{0};  // the slice in which a roving task was made ready last
  atomic<std::uint64_t> spawned_{0};
  atomic<std::uint64_t> finished_{0};
  atomic<std::uint64_t> stolen_{0};
  atomic<std::uint64_t> steals_{0};
  atomic<std::uint64_t> missed_{0};
  atomic<std::uint64_t> serviced_{0};
  atomic<std::uint64_t> polls_{0};
  atomic<std::uint64_t> sleeps_{0};
  atomic<std::uint64_t> wakes_{0};
  atomic<bool> in_parker_{false};

  // --- shared
  alignas(64) inbox<ready_node> inbox_;
  alignas(64) bounded_deque<task_base> fresh_;
  bounded_deque<task_base> woken_;
  alignas(64) spin_lock thief_lock_;  // one thief at a time
  spin_lock timers_lock_;
  timer_wheel roving_timers_;  // guarded by timers_lock_
  atomic<bool> has_roving_timers_{false};
  generator_list generators_;
};

}  // namespace roving::detail
