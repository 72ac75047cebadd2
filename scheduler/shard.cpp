// See shard.hpp. The loop is run(); how the next thing to run is chosen is pick(); what an idle shard does is
// wait_for_work().
#include "scheduler/shard.hpp"

#include <algorithm>

#include <roving/detail/assert.hpp>
#include <roving/detail/planted.hpp>

#include "scheduler/askable_thread.hpp"
#include "scheduler/inline_join.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/simulator.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {
namespace {

constexpr unsigned switches_between_clock_reads = 16;
constexpr unsigned oldest_fresh_every = 61;  // picks; a prime, so that it falls in step with nothing
constexpr unsigned quiet_looks_until_the_watch_ends = 20;
constexpr duration short_watch_interval = std::chrono::microseconds{50};
constexpr duration left_alone_for = std::chrono::microseconds{1};  // a lone task, in the slice that made it ready
constexpr duration well_ahead = std::chrono::seconds{1};

template <class Counter>
void count(Counter& counter, std::uint64_t by = 1) noexcept {  // one writer
  counter.store(counter.load(std::memory_order_relaxed) + by, std::memory_order_relaxed);
}

task_base& as_task(ready_node& node) noexcept { return static_cast<task_base&>(static_cast<parkable&>(node)); }

// For whoever took `entry` off a queue of fresh tasks. Null when somebody has run the task inline before: then the
// entry had a reference.
task_base* claim_fresh(task_base* entry) noexcept {
  if (entry == nullptr || !entry->taken.exchange(true, std::memory_order_acq_rel)) return entry;
  entry->release();
  return nullptr;
}

// A fiber runs one task after another until no unstarted one is next.
void fiber_main(void* argument, thread_anchor&) noexcept {
  auto& self = *static_cast<fiber*>(argument);
  for (bool goes_on = true; goes_on; goes_on = this_shard()->adopt_next(self)) self.active->run();
}

}  // namespace

shard::shard(scheduler& owner, unsigned index)
    : scheduler_{owner},
      index_{index},
      door_{new gate{*this}},
      debug_{owner.options().slow_slice.has_value() || owner.options().on_suspension},
      last_poll_{owner.now()},
      pinned_timers_{owner.now()},
      due_marker_{ready_kind::posted, &run_due_timers_of},
      stacks_{owner.stacks()},
      slab_{new slab{owner}},
      last_task_number_{index + 1 - std::uint64_t{owner.shard_count()}},
      task_number_step_{owner.shard_count()},
      random_{owner.options().seed + index},
      parker_{owner.options().make_parker(index)},
      sights_(owner.shard_count()),
      watched_slices_(owner.shard_count()),
      gauges_(owner.shard_count()),
      fresh_{owner.options().deque_capacity},
      woken_{owner.options().deque_capacity},
      roving_timers_{owner.now()} {}

shard::~shard() {
  ROVING_ASSERT(ready_.empty());
  for (; kept_door_references_ != 0; --kept_door_references_) door_->release();
}

void shard::begin_thread(std::optional<unsigned> core) noexcept {
  thread_settings_.emplace(core, index_ == 0 ? std::string{} : "roving-" + std::to_string(index_));
  if (current_simulator() == nullptr) signal_stack_.emplace();  // one thread has one
  agree_on_floating_point_flags();
  anchor_ = thread_anchor::of_this_thread();
  loop_.adopt_thread();
  was_away_ = true;
  if (!scheduler_.options().poll_every_generation) well_ahead_ = time_after(now(), well_ahead);
  set_this_shard(this);
  asked().enter();
  if (debug_) check_.begin_thread(scheduler_.options().debug_thread_local_scan);
}

void shard::end_thread() noexcept {
  asked().leave();
  set_this_shard(nullptr);
  signal_stack_.reset();
  thread_settings_.reset();
}

// --- the loop --------------------------------------------------------------------------------------------------------

void shard::run() noexcept {
  loop_frame_ = reinterpret_cast<std::uintptr_t>(__builtin_frame_address(0));
  while (!finished_running()) {
    drain_inbox();
    if (poll_wanted_ || scheduler_.options().poll_every_generation) poll();
    queue_due_timers();
    run_ready();
    if (!has_own_work()) wait_for_work();
  }
  stop_requested_ = false;
  if (std::exchange(watching_, false)) scheduler_.idle().end_watch(index_);
}

bool shard::finished_running() const noexcept {
  if (generation_left_ != 0) return false;  // it is run to its end
  if (stop_requested_ || (index_ != 0 && scheduler_.is_stopping())) return true;
  return until_no_task_lives_ && scheduler_.no_task_lives();
}

void shard::drop_what_is_left() noexcept {
  while (task_base* const entry = fresh_.pop()) {
    const task_base* const unstarted = claim_fresh(entry);
    ROVING_ASSERT(unstarted == nullptr);  // what is left was joined inline
  }
  drain_inbox();
  due_.splice(pinned_timers_.expire(time_point::max()));
  generation_left_ = 0;
  while (!ready_.empty()) {
    ready_node& node = ready_.pop();
    ROVING_ASSERT(node.kind == ready_kind::posted);
    if (&node != &due_marker_) static_cast<posted_callback&>(node).drop(node);
  }
  while (timer_node* const timer = due_.pop())
    static_cast<pinned_timer*>(timer)->drop(static_cast<pinned_timer&>(*timer));
  locals_.clear();
}

void shard::drain_inbox() noexcept {
  if (inbox_.looks_empty()) return;
  for (ready_node* node = inbox_.drain(); node != nullptr;) {
    ready_node* const next = node->next;
    ready_.push(*node);
    node = next;
  }
}

void shard::poll() noexcept {
  poll_wanted_ = false;
  since_poll_ = 0;
  last_poll_ = now();
  if (!scheduler_.options().poll_every_generation) well_ahead_ = time_after(last_poll_, well_ahead);
  count(polls_);
  ready_list found;
  parker_->poll(found);
  make_ready(found);
}

// Timers that are due take one place in the queue, behind what was ready before them; they fire there in order.
void shard::queue_due_timers() noexcept {
  const duration early = is_planted(planted::timers_early) ? std::chrono::milliseconds{1} : duration::zero();
  timers_wanted_ = false;
  if (!has_roving_timers_.load(std::memory_order_relaxed) && pinned_timers_.empty()) return;
  const time_point until = now() + early;
  if (!timers_queued_) {
    due_.splice(pinned_timers_.expire(until));
    timers_queued_ = !due_.empty();
    if (timers_queued_) ready_.push(due_marker_);
  }
  if (has_roving_timers_.load(std::memory_order_relaxed)) expire_roving_timers(until);
}

void shard::run_due_timers_of(ready_node&) noexcept { this_shard()->run_due_timers(); }

void shard::run_due_timers() noexcept {
  while (timer_node* const timer = due_.pop()) {
    if (simulator* const simulated = current_simulator()) simulated->timer_ends(timer->deadline);
    static_cast<pinned_timer*>(timer)->fire(static_cast<pinned_timer&>(*timer));
  }
  timers_queued_ = false;
}

void shard::run_ready() noexcept {
  if (generation_left_ == 0)
    generation_left_ = ready_.size();
  else
    lent_ = scheduler_.options().roving_per_turn;  // it takes long: roving work goes in between
  roving_left_ = scheduler_.options().roving_per_turn;
  interrupted_ = false;
  while (ready_node* const node = pick(true)) {
    if (was_away_) [[unlikely]]
      hand_over_the_watch();
    if (node->kind == ready_kind::task) {
      enter(as_task(*node));
    } else {
      count_slice();
      runs_callback_ = true;
      node->run(*node);
      runs_callback_ = false;
    }
  }
}

void shard::enter(task_base& task) noexcept {
  fiber* const next = fiber_of(task);
  if (next == nullptr) return fail_unstartable();
  current_ = next;
  count_slice();
  loop_.switch_to(next->place, anchor_, nullptr, nullptr);
  if (unstartable_ != nullptr) [[unlikely]]
    fail_unstartable();
}

// --- choosing --------------------------------------------------------------------------------------------------------

bool shard::has_roving_work() const noexcept { return may_have_roving_ || !scheduler_.overflow().looks_empty(); }

// Null: go to the loop. On the loop itself null ends the turn. See take_if_next().
ready_node* shard::pick(bool on_loop) noexcept {
  if (--until_clock_ == 0) look_at_the_clock();
  if (interrupted_) [[unlikely]]
    return nullptr;
  if (lent_ != 0) {
    --lent_;
    if (task_base* const task = next_roving()) return task;
    lent_ = 0;
  }
  for (bool begun = false;; begun = true) {
    if (generation_left_ != 0) {
      if (!on_loop && ready_.front().kind != ready_kind::task) return nullptr;
      if (lone_is_untold_) [[unlikely]]
        tell_of_lone();
      --generation_left_;
      ready_node& node = ready_.pop();
      if (simulator* const simulated = current_simulator()) simulated->taken(node, index_);
      return &node;
    }
    if (roving_left_ != 0 && has_roving_work()) {
      if (task_base* const task = next_roving()) {
        --roving_left_;
        return task;
      }
    }
    // The turn is over. The next one needs no loop where it would do nothing but count what is ready.
    if (begun || on_loop || next_turn_wants_the_loop()) return nullptr;
    generation_left_ = ready_.size();
    roving_left_ = scheduler_.options().roving_per_turn;
  }
}

bool shard::next_turn_wants_the_loop() const noexcept {
  return stop_requested_ || timers_wanted_ || scheduler_.options().poll_every_generation || !inbox_.looks_empty();
}

[[gnu::noinline]] void shard::look_at_the_clock() noexcept {
  until_clock_ = switches_between_clock_reads;
  if (scheduler_.options().poll_every_generation) return;
  since_poll_ += switches_between_clock_reads;
  const time_point at = now();
  if (since_poll_ >= scheduler_.options().poll_every_tasks || at - last_poll_ >= scheduler_.options().poll_every) {
    poll_wanted_ = interrupted_ = true;
    return;
  }
  const std::optional<time_point> due = timers_queued_ ? std::nullopt : pinned_timers_.not_before();
  if (due && *due <= at) interrupted_ = true;
}

// These three stay out of line: each yield would pay for their registers.
[[gnu::noinline]] task_base* shard::next_roving() noexcept {
  if (++roving_picks_ % oldest_fresh_every == 0) {
    if (task_base* const oldest = claim_fresh(fresh_.steal().element)) return oldest;
    if (ready_node* const node = scheduler_.overflow().pop()) {
      if (lone_is_untold_) tell_of_lone();
      return &as_task(*node);
    }
  }
  for (;;) {
    const auto woken = woken_.steal();
    if (woken.element != nullptr) return woken.element;
    if (!woken.lost_race) break;
  }
  while (task_base* const newest = fresh_.pop())
    if (task_base* const task = claim_fresh(newest)) return task;
  ready_node* const node = scheduler_.overflow().looks_empty() ? nullptr : scheduler_.overflow().pop();
  if (node == nullptr) {
    may_have_roving_ = false;  // nobody but this thread adds to its queues
    return nullptr;
  }
  return &as_task(*node);
}

// The fiber on which to go on with a task. Null when it needs a stack and none can be had: then it is to be failed, by
// whoever may run other people's code.
fiber* shard::fiber_of(task_base& task) noexcept {
  fiber* const on = task.runs_on.load(std::memory_order_relaxed);
  return on != nullptr ? on : make_fiber(task);
}

[[gnu::noinline]] fiber* shard::make_fiber(task_base& task) noexcept {
  try {
    stack& memory = stacks_.take(task.stack_size_bytes);
    fiber* const made = ::new (memory.room) fiber{memory};
    memory.owner = made;
    made->place.prepare(memory, &fiber_main, made);
    made->active = &task;
    task.runs_on.store(made, std::memory_order_relaxed);
    return made;
  } catch (...) {
    ROVING_ASSERT(unstartable_ == nullptr);
    unstartable_ = &task;
    why_unstartable_ = std::current_exception();
    return nullptr;
  }
}

void shard::fail_unstartable() noexcept {
  std::exchange(unstartable_, nullptr)->fail_unstarted(std::exchange(why_unstartable_, nullptr));
}

// Where the fiber that leaves goes; sets current_. A task that has no stack is failed on the loop: who leaves may hold
// the lock of what it waits for, which may be that task.
context& shard::next_context(fiber& leaving) noexcept {
  if (leaving.return_to != nullptr) {  // an eager spawner waits for this
    current_ = leaving.return_fiber;
    return *std::exchange(leaving.return_to, nullptr);
  }
  if (ready_node* const node = pick(false)) {
    if (fiber* const next = fiber_of(as_task(*node))) {
      current_ = next;
      count_slice();
      return next->place;
    }
  }
  current_ = nullptr;
  return loop_;
}

void shard::leave(after_switch after, void* argument) noexcept {
  fiber& self = *current_;
  slice_of_task_ended(*self.active);
  if (debug_) [[unlikely]] {
    if (scheduler_.options().on_suspension) scheduler_.options().on_suspension(*self.active);
    check_.look(scheduler_, *self.active, self);
  }
  pass_marks_first room;
  if (self.unseen != nullptr) [[unlikely]]
    see_to_parents(self, after, argument, room);
  context& next = next_context(self);
  if (&next == &self.place) {
    ROVING_ASSERT(after == nullptr);  // what parks can't be ready
    return;
  }
  self.place.switch_to(next, anchor_, after, argument);
}

void shard::yield() noexcept {
  task_base& self = *current();
  after_switch after = nullptr;
  if (!self.roving)
    ready_.push(self);
  else if (is_planted(planted::ready_before_leaving))
    push_woken(self);
  else
    after = [](void* task) noexcept { this_shard()->push_woken(*static_cast<task_base*>(task)); };
  leave(after, &self);
}

bool shard::adopt_next(fiber& ended) noexcept {
  ended.active = nullptr;
  context* next = nullptr;
  if (ended.return_to != nullptr) {
    next = &next_context(ended);
  } else {
    ready_node* const node = pick(false);
    task_base* const task = node != nullptr ? &as_task(*node) : nullptr;
    if (task != nullptr && task->runs_on.load(std::memory_order_relaxed) == nullptr &&
        stack_size_class(task->stack_size_bytes) == ended.memory.size_class) {
      task->runs_on.store(&ended, std::memory_order_relaxed);
      ended.active = task;
      current_ = &ended;
      count_slice();
      return true;
    }
    current_ = task != nullptr ? fiber_of(*task) : nullptr;
    next = current_ != nullptr ? &current_->place : &loop_;
    if (current_ != nullptr) count_slice();
  }
  ended.place.leave_for(*next, anchor_, &give_stack_back, &ended);
}

// Once the fiber has left for the last time.
void shard::give_stack_back(void* ended) noexcept {
  stack& memory = static_cast<fiber*>(ended)->memory;
  static_cast<fiber*>(ended)->~fiber();
  this_shard()->stacks_.give_back(memory);
}

void shard::run_eagerly(task_base& task) noexcept {
  fiber* const next = fiber_of(task);
  if (next == nullptr) return fail_unstartable();
  fiber* const self = current_;
  if (self != nullptr) open_waits(*self);
  context& from = self != nullptr ? self->place : loop_;
  const time_point began = slice_began_;
  const suspension_check::held_mutexes held = debug_ ? check_.take_held() : suspension_check::held_mutexes{};
  next->return_to = &from;
  next->return_fiber = self;
  current_ = next;
  count_slice();
  from.switch_to(next->place, anchor_, nullptr, nullptr);
  slice_began_ = began;  // who waited for its first step is still in its own
  if (debug_) check_.put_back(held);
}

bool shard::has_time_for_one_inline() noexcept {
  if (--until_clock_ == 0) look_at_the_clock();
  if (interrupted_) return false;
  if (roving_left_ == 0) {  // the turn is over; the next one may begin if it has nothing else to do
    if (generation_left_ != 0 || !ready_.empty() || !woken_.looks_empty() || next_turn_wants_the_loop()) return false;
    roving_left_ = scheduler_.options().roving_per_turn;
  }
  --roving_left_;
  return true;
}

// Whether pick(), with which it must agree, would give the first of `ready_size` tasks in ready_, and as if it had.
bool shard::pick_first(std::size_t ready_size) noexcept {
  if (interrupted_ || lent_ != 0 || until_clock_ == 1 || lone_is_untold_) return false;
  if (generation_left_ == 0) {
    if ((roving_left_ != 0 && has_roving_work()) || next_turn_wants_the_loop()) return false;
    generation_left_ = ready_size;
    roving_left_ = scheduler_.options().roving_per_turn;
  }
  --until_clock_;
  --generation_left_;
  return true;
}

bool shard::take_if_next(task_base& task) noexcept {
  if (ready_.empty() || &ready_.front() != &task) return false;
  if (debug_ || current_->return_to != nullptr || !pick_first(ready_.size())) return false;
  if (simulator* const simulated = current_simulator()) simulated->taken(task, index_);
  ready_.pop();
  return true;
}

void shard::wait_in_line(task_base& self, bool is_queued) noexcept {
  if (is_queued) {
    if (take_if_next(self)) return count_slice();
  } else {
    if (ready_.empty() && pick_first(1)) return count_slice();
    ready_.push(self);
  }
  leave(nullptr, nullptr);
}

// Only where it was spawned: while its entry is in fresh_, nobody else takes it, and no atomic operation is needed.
bool shard::take_unstarted(task_base& task) noexcept {
  if (task.home != this) return false;
  if (task_base* const entry = fresh_.newest() == &task ? fresh_.pop() : fresh_.steal(&task).element) {
    if (!entry->taken.load(std::memory_order_relaxed)) {
      entry->taken.store(true, std::memory_order_relaxed);
      return true;
    }
    entry->release();
    return false;
  }
  if (!is_planted(planted::stale_entry_without_reference))
    task.add_reference();  // for the entry, which stays where it is
  if (is_planted(planted::inline_in_two_steps)) {
    const bool was_taken = task.taken.load(std::memory_order_acquire);
    task.taken.store(true, std::memory_order_release);
    if (!was_taken) return true;
  }
  if (!task.taken.exchange(true, std::memory_order_acq_rel)) return true;
  task.release();
  return false;
}

// --- side fibers -----------------------------------------------------------------------------------------------------

fiber& shard::make_side_fiber(std::size_t stack_size_bytes, context::entry start, void* argument) {
  stack& memory = stacks_.take(stack_size_bytes);
  fiber* const made = ::new (memory.room) fiber{memory};
  memory.owner = made;
  made->place.prepare(memory, start, argument);
  return *made;
}

// Nothing else has to know: what parks leaves current_, and what is ready is entered by runs_on. An eager spawner waits
// for the task's first departure, from wherever that is.
void shard::enter_side(fiber& side) noexcept {
  fiber& from = *current_;
  open_waits_and_pass_marks(from);
  side.active = from.active;
  side.entered_from = &from;
  side.return_to = std::exchange(from.return_to, nullptr);
  side.return_fiber = from.return_fiber;
  side.active->runs_on.store(&side, std::memory_order_relaxed);
  current_ = &side;
  from.place.switch_to(side.place, anchor_, nullptr, nullptr);
}

fiber& shard::go_back_from(fiber& side) noexcept {
  ROVING_ASSERT(current_ == &side);
  fiber& to = *std::exchange(side.entered_from, nullptr);
  to.return_to = std::exchange(side.return_to, nullptr);
  to.return_fiber = side.return_fiber;
  std::exchange(side.active, nullptr)->runs_on.store(&to, std::memory_order_relaxed);
  current_ = &to;
  return to;
}

void shard::leave_side(fiber& side) noexcept {
  side.place.switch_to(go_back_from(side).place, anchor_, nullptr, nullptr);
}

void shard::end_side(fiber& side) noexcept {
  side.place.leave_for(go_back_from(side).place, anchor_, &give_stack_back, &side);
}

void shard::look_at_slice(time_point since, const task_base* task, spawn_site site) noexcept {
  const duration took = now() - since;
  if (const auto limit = scheduler_.options().slow_slice; limit && took >= *limit)
    scheduler_.report_slow(task, site, took, index_);
}

void shard::note_time_of_slice() noexcept {
  slice_began_ = now();
  if (task_base* const task = current())
    task->since.store(slice_began_.time_since_epoch().count(), std::memory_order_relaxed);
}

// --- what becomes ready ----------------------------------------------------------------------------------------------

void shard::receive(ready_node& node) noexcept {
  if (simulator* const simulated = current_simulator()) simulated->sent(node, index_);
  inbox_.push(node);
  if (is_planted(planted::message_without_wake)) return;
  wake_if_asleep();
}

void shard::wake_if_asleep() noexcept {
  if (!scheduler_.idle().take_from_sleep(index_)) return;
  parker_->wake();
  if (shard* const here = this_shard()) here->count_wake();
}

// The older half of a full queue goes where everybody sees it.
void shard::spill(bounded_deque<task_base>& full) noexcept {
  for (std::size_t moved = 0; moved < full.capacity() / 2; ++moved) {
    task_base* const oldest = full.steal().element;
    if (oldest == nullptr) break;
    if (&full == &woken_ || claim_fresh(oldest) != nullptr) scheduler_.overflow().push(*oldest);
  }
}

void shard::push_fresh(task_base& task) noexcept { push_roving(fresh_, task); }

void shard::push_woken(task_base& task) noexcept { push_roving(woken_, task); }

void shard::push_roving(bounded_deque<task_base>& onto, task_base& task) noexcept {
  may_have_roving_ = true;
  while (!onto.push(task)) spill(onto);
  pushed_in_.store(slices_.load(std::memory_order_relaxed), std::memory_order_relaxed);
  if (!scheduler_.idle().should_call()) return;
  const bool is_next_on_the_loop = current_ == nullptr && !runs_callback_;  // if nothing else is found meanwhile
  if (roving_at_hand() <= 1 && (is_next_on_the_loop || scheduler_.idle().has_short_watch()))
    lone_is_untold_ = true;
  else
    scheduler_.call_searcher(index_);
}

// Something else is run before it.
[[gnu::noinline]] void shard::tell_of_lone() noexcept {
  lone_is_untold_ = false;
  if (roving_at_hand() != 0 && scheduler_.idle().should_call()) scheduler_.call_searcher(index_);
}

// --- timers of roving tasks ------------------------------------------------------------------------------------------

void shard::set_timer(roving_timer& timer, time_point deadline) noexcept {
  const std::lock_guard guard{timers_lock_};
  roving_timers_.set(timer, deadline);
  has_roving_timers_.store(true, std::memory_order_relaxed);
}

void shard::cancel_timer(roving_timer& timer) noexcept {
  const std::lock_guard guard{timers_lock_};
  roving_timers_.cancel(timer);
}

void shard::expire_roving_timers(time_point until) noexcept {
  ready_list woken;
  {
    // Claimed under the lock: who is claimed takes it to cancel its timer, so that no timer is gone while we hold it.
    const std::lock_guard guard{timers_lock_};
    timer_batch due = roving_timers_.expire(until);
    while (timer_node* const node = due.pop()) {
      auto& timer = static_cast<roving_timer&>(*node);
      if (simulator* const simulated = current_simulator()) simulated->timer_ends(timer.deadline);
      if (timer.ends_as == winner::event)
        grant(*timer.waits, woken);
      else
        claim(*timer.waits, timer.ends_as, woken);
    }
    has_roving_timers_.store(!roving_timers_.empty(), std::memory_order_relaxed);
  }
  make_ready(woken);
}

// --- having nothing to do --------------------------------------------------------------------------------------------

bool shard::has_own_work() const noexcept {
  return generation_left_ != 0 || !ready_.empty() || stop_requested_ || !woken_.looks_empty() || !fresh_.looks_empty();
}

void shard::wait_for_work() noexcept {
  if (scheduler_.shard_count() == 1) return sleep();
  if (!scheduler_.options().poll_every_generation) poll();  // before others are asked
  if (!has_own_work()) {
    if (!searching_) searching_ = scheduler_.idle().start_searching();
    if (task_base* const task = search(true)) {
      stop_searching();
      hand_over_the_watch();
      enter(*task);
      return;
    }
    if (inbox_.looks_empty())
      sleep();
    else if (searching_)
      stop_searching();
  }
}

// This one is about to run something, after others may have seen it asleep; so somebody else has to watch it.
void shard::hand_over_the_watch() noexcept {
  was_away_ = false;
  quiet_looks_ = 0;
  idle_set& idle = scheduler_.idle();
  const bool lone_ones_relied_on_it = std::exchange(watching_, false) && idle.end_watch(index_);
  if ((lone_ones_relied_on_it || !idle.has_watcher()) && idle.sleepers() != 0) scheduler_.call_searcher(index_);
}

void shard::stop_searching() noexcept {
  searching_ = false;
  if (scheduler_.idle().stop_searching() && !is_planted(planted::searchers_do_not_chain) &&
      scheduler_.work_is_visible())
    scheduler_.call_searcher(index_);
}

void shard::sleep() noexcept {
  idle_set& idle = scheduler_.idle();
  ready_list found;
  bool lively = std::exchange(lively_, false);
  was_away_ = true;
  if (watching_ && !lively && !is_planted(planted::short_watch_kept)) (void)idle.watch(index_, false);  // [lone]
  idle.announce(index_, std::exchange(searching_, false));
  if (!is_planted(planted::sleep_without_second_look) && look_once_more(lively)) {
    searching_ = idle.awake(index_);
    // Who finds one task here has to see whether there are more.
    if (!searching_ && !is_planted(planted::found_alone)) searching_ = idle.start_searching();
  } else {
    if (scheduler_.is_draining() && index_ != 0) scheduler_.at(0).wake_if_asleep();
    time_point until = next_deadline();
    if (scheduler_.shard_count() > 1 && take_the_watch(lively))
      until = std::min(until, time_after(now(), lively ? short_watch_interval : scheduler_.options().watch_interval));
    count(sleeps_);
    in_parker_.store(true, std::memory_order_relaxed);
    parker_->wait(until, found);
    in_parker_.store(false, std::memory_order_relaxed);
    well_ahead_ = time_point::max();  // until the next look
    searching_ = idle.awake(index_);
    scheduler_.stalls().shard_woke();
    if (watching_) look_at_the_others();
  }
  drain_inbox();  // what was sent comes before what was polled (D6)
  make_ready(found);
  if (!searching_) return;
  // Called for roving work that somebody published, or found by the second look.
  task_base* const task = search(!has_own_work());
  stop_searching();
  if (task != nullptr) push_woken(*task);
}

// While somebody runs, one sleeper watches; when all have slept for long, nobody.
bool shard::take_the_watch(bool lively) noexcept {
  idle_set& idle = scheduler_.idle();
  const bool somebody_runs = idle.somebody_runs();
  if (somebody_runs) quiet_looks_ = 0;
  if (lively || somebody_runs || quiet_looks_ < quiet_looks_until_the_watch_ends) {
    watching_ = idle.watch(index_, lively);
    ++quiet_looks_;
  } else if (watching_) {
    watching_ = idle.end_quiet_watch(index_);
    if (watching_) quiet_looks_ = 0;
  }
  return watching_;
}

bool shard::keeps_work_to_itself() const noexcept {
  const task_base* const newest = fresh_.newest();
  const bool has_fresh = newest != nullptr && !newest->taken.load(std::memory_order_relaxed);
  const bool has_some = has_fresh || woken_.size_estimate() != 0;
  const bool is_called_for = roving_at_hand() > 1 || !scheduler_.idle().has_short_watch();
  return ((has_some && is_called_for) || !scheduler_.overflow().looks_empty()) &&
      !scheduler_.idle().somebody_searches();
}

bool shard::is_unwatched() const noexcept {
  return scheduler_.idle().sleepers() != 0 && !scheduler_.idle().is_watched(index_);
}

// S3. `lively` comes in as: leave a lone task to its own shard, and goes out as whether there is one.
bool shard::look_once_more(bool& lively) const noexcept {
  if (!inbox_.looks_empty() || finished_running()) return true;
  if (!scheduler_.overflow().looks_empty()) return true;
  const bool leave_lone_ones = std::exchange(lively, false);
  for (unsigned i = 0; i < scheduler_.shard_count(); ++i) {
    const shard& other = scheduler_.at(i);
    if (other.roving_at_hand() == 0) continue;
    if (!leave_lone_ones || !other.may_run_its_only_one() || &other == this) return true;
    lively = true;
  }
  if (leave_lone_ones) lively = true;
  return false;
}

time_point shard::next_deadline() noexcept {
  time_point until = pinned_timers_.next_deadline().value_or(time_point::max());
  if (has_roving_timers_.load(std::memory_order_relaxed)) {
    const std::lock_guard guard{timers_lock_};
    until = std::min(until, roving_timers_.next_deadline().value_or(time_point::max()));
  }
  return until;
}

// Looks at everybody's queues until something is found or it has taken long enough: a few microseconds, which is what a
// sleep and a wake would cost. Who is not counted as a searcher, since enough others are, waits for its own inbox only.
task_base* shard::search(bool patiently) noexcept {
  for (lone_sight& sight : sights_) sight.seen = false;
  lively_ = false;
  const time_point start = now();
  const duration limit = patiently ? scheduler_.options().search_for : duration::zero();
  time_point at = start;
  for (unsigned round = 0;; ++round) {
    if (searching_) {
      if (task_base* const task = take_from_others(at)) {
        count(stolen_);
        return task;
      }
    }
    if (!inbox_.looks_empty() || finished_running()) return nullptr;
    if (round % 4 == 3 || limit == duration::zero()) {
      at = now();
      if (at - start >= limit) break;
    }
    relax(round % 8);
  }
  if (!searching_) return nullptr;
  // Seen again in the same slice: its shard is in something long. Otherwise it runs its own tasks.
  for (unsigned i = 0; i < sights_.size(); ++i) {
    if (!sights_[i].seen) continue;
    shard& victim = scheduler_.at(i);
    if (patiently && victim.slices_.load(std::memory_order_relaxed) == sights_[i].slices) {
      if (task_base* const task = steal_from(victim)) {
        count(stolen_);
        return task;
      }
    }
    lively_ = true;
  }
  return nullptr;
}

task_base* shard::take_from_others(time_point at) noexcept {
  if (ready_node* const node = scheduler_.overflow().looks_empty() ? nullptr : scheduler_.overflow().pop())
    return &as_task(*node);
  const unsigned shards = scheduler_.shard_count();
  const unsigned start = random_.below(shards);
  for (unsigned step = 0; step < shards; ++step) {
    const unsigned i = start + step < shards ? start + step : start + step - shards;
    shard& victim = scheduler_.at(i);
    if (&victim == this) continue;
    if (victim.roving_at_hand() == 0) continue;
    if (victim.may_run_its_only_one()) {
      lone_sight& sight = sights_[i];
      const std::uint64_t slices = victim.slices_.load(std::memory_order_relaxed);
      if (!sight.seen || sight.slices != slices) sight = {slices, at, true};
      if (at - sight.since < left_alone_for) continue;
    }
    if (task_base* const task = steal_from(victim)) return task;
  }
  return nullptr;
}

// The oldest of what the victim has; up to half of it comes along.
task_base* shard::steal_from(shard& victim) noexcept {
  const std::size_t fresh = victim.fresh_.size_estimate();
  const std::size_t woken = victim.woken_.size_estimate();
  if (fresh + woken == 0) return nullptr;
  if (victim.thief_lock_.is_locked()) return nullptr;  // another thief is at it, who is left its cache lines
  if (!victim.thief_lock_.try_lock()) {
    count(missed_);
    return nullptr;
  }
  const std::lock_guard guard{victim.thief_lock_, std::adopt_lock};
  bounded_deque<task_base>& from = woken > 1 || fresh == 0 ? victim.woken_ : victim.fresh_;
  bounded_deque<task_base>& to = &from == &victim.woken_ ? woken_ : fresh_;
  const std::size_t wanted = std::min<std::size_t>(scheduler_.options().steal_at_most, (from.size_estimate() + 1) / 2);
  may_have_roving_ = true;
  task_base* first = nullptr;
  std::size_t got = 0;
  while (got < std::max<std::size_t>(wanted, 1)) {
    if (first != nullptr && to.size_estimate() >= to.capacity()) break;
    const auto stolen = from.steal();
    if (stolen.element == nullptr) break;
    if (first == nullptr) {
      first = &from == &victim.woken_ ? stolen.element : claim_fresh(stolen.element);
      if (first == nullptr) continue;
    } else {
      const bool fits = to.push(*stolen.element);  // ours, and there was room
      ROVING_ASSERT(fits);
    }
    ++got;
  }
  count(first != nullptr ? steals_ : missed_);
  if (got > 1) count(stolen_, got - 1);
  return first;
}

// --- the watch -------------------------------------------------------------------------------------------------------

void shard::look_at_the_others() noexcept {
  for (unsigned i = 0; i < scheduler_.shard_count(); ++i) {
    shard& other = scheduler_.at(i);
    if (&other == this) continue;
    const std::uint64_t slices = other.slices_.load(std::memory_order_relaxed);
    const bool overdue =
        watched_slices_[i] == slices && !scheduler_.idle().is_asleep(i) && !scheduler_.idle().is_absent(i);
    watched_slices_[i] = slices;
    if (!overdue || other.is_in_parker())
      gauges_[i].reset();
    else if (stall_watch& stalls = scheduler_.stalls(); stalls.is_on())
      if (const auto held_for = gauges_[i].look(slices, now(), stalls.threshold())) stalls.tell(i, slices, *held_for);
    if (overdue) service(other);
  }
}

askable_thread& shard::asked() noexcept { return scheduler_.thread_of(index_); }

// In a signal handler, wherever this thread was: what is read here is written one word at a time. In the middle of a
// switch current_ is not where the stack pointer is; nothing is copied then.
void shard::say_what_runs(thread_answer& answer) const noexcept {
  answer.slices = slices_.load(std::memory_order_relaxed);
  answer.is_in_parker = is_in_parker();
  const std::uintptr_t at = answer.stack.registers[stack_copy::rsp];
  std::uintptr_t begin = 0;
  std::uintptr_t end = loop_frame_;
  const fiber* const on = current_;
  if (on != nullptr) {
    task_base* const task = on->active;
    if (task != nullptr && task->try_add_reference()) answer.task = future_reference<task_base>{task};
    begin = reinterpret_cast<std::uintptr_t>(on->memory.limit);
    end = reinterpret_cast<std::uintptr_t>(on->memory.top);
  } else if (scheduler_.stacks().holds(reinterpret_cast<const void*>(at))) {
    return;
  }
  answer.has_stack = at != 0 && at >= begin && at < end;
  if (answer.has_stack) answer.stack.copy_memory(end);
}

void shard::service(shard& stuck) noexcept {
  ready_list found;
  if (stuck.parker_->service(found) && !found.empty()) {
    count(serviced_);
    make_ready(found);
  }
  if (stuck.has_roving_timers_.load(std::memory_order_relaxed)) stuck.expire_roving_timers(now());
  if (task_base* const task = steal_from(stuck)) {
    count(stolen_);
    push_woken(*task);
  }
}

time_point shard::now() const noexcept { return scheduler_.now(); }

shard_counters shard::counters() const noexcept {
  const auto read = [](const atomic<std::uint64_t>& counter) { return counter.load(std::memory_order_relaxed); };
  shard_counters all;
  all.spawned = read(spawned_);
  all.finished = read(finished_);
  all.slices = read(slices_);
  all.stolen = read(stolen_);
  all.steals = read(steals_);
  all.missed = read(missed_);
  all.serviced = read(serviced_);
  all.polls = read(polls_);
  all.sleeps = read(sleeps_);
  all.wakes = read(wakes_);
  return all;
}

}  // namespace roving::detail
