// See <roving/coroutine.hpp> and <roving/detail/coroutine_core.hpp>.
#include <roving/coroutine.hpp>

#include <mutex>

#include <roving/detail/assert.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/error.hpp>

#include "scheduler/this_shard.hpp"

namespace roving::detail {
namespace {

// The message of the cancel of which the last park() told.
cancel_message taken_message() {
  task_base& task = *current_task();
  const std::lock_guard guard{task.lock()};
  return task.extras ? std::exchange(task.extras->delivered, nullptr) : nullptr;
}

// A cancel that came too late for the coroutines is the task's again.
void mark_current_task(const cancel_message& message) noexcept {
  task_base& task = *current_task();
  const std::lock_guard guard{task.lock()};
  if (message || task.extras)
    if (task_extras* const more = task.extra_if_possible()) more->marked = message;
  task.claims.mark();
}

bool is_in(const strand& which, const strand_group* of) noexcept {
  for (const strand* at = &which; of != nullptr; at = at->group->parent) {
    if (at->group == of) return true;
    if (at->group == nullptr) return false;
  }
  return true;
}

}  // namespace

// --- strands ---------------------------------------------------------------------------------------------------------

strand::strand(coroutine_driver& by, strand_group* member_of) noexcept : driver{by}, group{member_of} {
  driver.add(*this);
}

bool strand::begin_wait(state what, std::coroutine_handle<> self) noexcept {
  if (is_cancelled) return false;
  now = what;
  waits = self;
  return true;
}

void strand::end_wait() {
  now = state::active;
  if (std::exchange(is_cancelled, false)) throw cancelled{std::exchange(message, nullptr)};
}

void coroutine_promise_base::ended() noexcept {
  strand& of = *strand_;
  of.next = awaited_by_;
  if (!awaited_by_) of.driver.end(of, error_);
}

// --- the driver ------------------------------------------------------------------------------------------------------

coroutine_driver::coroutine_driver(const char* call) : call_{call} {
  if (this_shard() != nullptr && current_task() == nullptr) throw not_in_task{call};
}

void coroutine_driver::run(coroutine_promise_base& first, std::coroutine_handle<> self) {
  strand root{*this, nullptr};
  first.join(root, self, nullptr);
  strand* ready = &root;
  for (;;) {
    for (; ready != nullptr; ready = take_ready())
      while (const std::coroutine_handle<> runs = std::exchange(ready->next, nullptr)) runs.resume();
    if (has_ended_) break;
    wake_due();
    ready = take_ready();
    if (ready == nullptr) park();
  }
  ROVING_ASSERT(strands_ == nullptr);
  if (root.is_cancelled) mark_current_task(root.message);
}

strand* coroutine_driver::take_ready() noexcept {
  const std::lock_guard guard{lock_};
  strand* const taken = first_ready_;
  if (taken == nullptr) return nullptr;
  first_ready_ = taken->next_ready;
  if (taken->waits) taken->next = std::exchange(taken->waits, nullptr);
  return taken;
}

ready_node* coroutine_driver::wake(strand& which) noexcept {
  ready_list wakes;
  {
    const std::lock_guard guard{lock_};
    which.next_ready = nullptr;
    (first_ready_ != nullptr ? last_ready_->next_ready : first_ready_) = &which;
    last_ready_ = &which;
    if (parked_ != nullptr) grant(*std::exchange(parked_, nullptr), wakes);
  }
  return wakes.pop();
}

void coroutine_driver::sleep(strand& which, time_point deadline) { which.alarm = alarms_.emplace(deadline, &which); }

void coroutine_driver::wake_due() {
  if (alarms_.empty()) return;
  const time_point at = roving::now();
  while (!alarms_.empty() && alarms_.begin()->first <= at) {
    strand& due = *alarms_.begin()->second;
    alarms_.erase(alarms_.begin());
    due.now = strand::state::active;
    static_cast<void>(wake(due));  // we run
  }
}

void coroutine_driver::park() {
  lock_.lock();
  if (first_ready_ != nullptr) {
    lock_.unlock();
    return;
  }
  waiter self{call_};
  parked_ = &self;
  const wait_end end = park_until(self, lock_, alarms_.empty() ? time_point::max() : alarms_.begin()->first);
  {
    const std::lock_guard guard{lock_};
    parked_ = nullptr;
  }
  if (end == wait_end::cancelled) cancel(nullptr, taken_message());
}

void coroutine_driver::cancel(const strand_group* of, const cancel_message& message) {
  // A future that is cancelled may make strands ready. None runs and none ends before we are done.
  for (strand* each = strands_; each != nullptr; each = each->following) {
    if (!is_in(*each, of)) continue;
    if (each->group != nullptr) each->group->is_cancelled = true;
    if (each->now == strand::state::awaits_group) continue;  // the members are
    if (each->now == strand::state::awaits_future && each->awaited->cancel(message)) continue;
    each->is_cancelled = true;
    each->message = message;
    if (each->now == strand::state::sleeps) {
      alarms_.erase(each->alarm);
      each->now = strand::state::active;
      static_cast<void>(wake(*each));  // we run
    }
  }
}

void coroutine_driver::add(strand& which) noexcept {
  which.following = strands_;
  if (strands_ != nullptr) strands_->previous = &which;
  strands_ = &which;
}

void coroutine_driver::end(strand& which, const std::exception_ptr& error) noexcept {
  (which.previous != nullptr ? which.previous->following : strands_) = which.following;
  if (which.following != nullptr) which.following->previous = which.previous;
  strand_group* const group = which.group;
  if (group == nullptr) {
    has_ended_ = true;
    return;
  }
  strand& parent = *group->parent;
  if (which.is_cancelled && !error && !group->first_error) {  // it ended before the cancel of the task reached it
    parent.is_cancelled = true;
    parent.message = which.message;
  }
  if (error && !group->first_error) {
    group->first_error = error;
    if (!group->is_cancelled) cancel(group, nullptr);
  }
  if (--group->running != 0) return;
  parent.now = strand::state::active;
  static_cast<void>(wake(parent));  // we run
}

// --- what can be awaited ---------------------------------------------------------------------------------------------

bool future_wait::begin(strand& waits, std::coroutine_handle<> self) {
  if (of_.is_task() && current_task() == static_cast<task_base*>(&of_))
    throw broken_contract{"co_await: a task can't await itself"};
  waits_ = &waits;
  if (!waits.begin_wait(strand::state::awaits_future, self)) return false;
  waits.awaited = &of_;
  if (of_.subscribe(*this)) return true;
  waits.now = strand::state::active;
  waits.waits = nullptr;
  return false;
}

ready_node* future_wait::claim_it(done_node& node) noexcept {
  strand& waits = *static_cast<future_wait&>(node).waits_;
  return waits.driver.wake(waits);
}

bool time_wait::begin(strand& waits, std::coroutine_handle<> self) {
  waits_ = &waits;
  if (waits.is_cancelled) return false;
  waits.driver.sleep(waits, deadline_);
  return waits.begin_wait(strand::state::sleeps, self);
}

bool group_wait::begin(strand& waits, std::coroutine_handle<> self) {
  group_.parent = &waits;
  if (waits.is_cancelled) return false;
  for (std::size_t i = 0; i < members_.size(); ++i) strands_.emplace_back(waits.driver, &group_);
  group_.running = members_.size();
  for (std::size_t i = 0; i < members_.size(); ++i) {
    members_[i].promise->join(strands_[i], members_[i].self, nullptr);
    static_cast<void>(waits.driver.wake(strands_[i]));  // we run
  }
  return waits.begin_wait(strand::state::awaits_group, self);
}

void group_wait::await_resume() const {
  if (members_.empty()) return;
  if (group_.first_error) std::rethrow_exception(group_.first_error);
  group_.parent->end_wait();
}

foreign_relay foreign_relay::make() { co_return; }

void foreign_relay::wake(strand& waits) noexcept {
  if (ready_node* const who = waits.driver.wake(waits)) make_ready(*who);
}

}  // namespace roving::detail
