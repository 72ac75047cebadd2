// See future_base.hpp.
#include <roving/detail/future_base.hpp>

#include <mutex>
#include <utility>

#include <roving/detail/assert.hpp>
#include <roving/detail/planted.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/error.hpp>

#include "scheduler/inline_join.hpp"
#include "scheduler/wait_parts.hpp"

namespace roving::detail {
namespace {

struct future_waiter : done_node {
  explicit future_waiter(const char* call) : done_node{&claim_it}, self{call} {}

  static ready_node* claim_it(done_node& node) noexcept {
    ready_list wakes;
    grant(static_cast<future_waiter&>(node).self, wakes);
    return wakes.pop();
  }

  waiter self;
};

}  // namespace

bool future_base::try_add_reference() noexcept {
  std::uint32_t seen = references_.load(std::memory_order_relaxed);
  do {
    if (seen == 0) return false;
  } while (!references_.compare_exchange_weak(seen, seen + 1, std::memory_order_acquire, std::memory_order_relaxed));
  return true;
}

bool future_base::begin_completion() noexcept {
  outcome expected = outcome::pending;
  return status_.compare_exchange_strong(expected, outcome::completing, std::memory_order_acq_rel);
}

void future_base::finish(outcome how, std::exception_ptr error) noexcept {
  ready_list wakes;
  error_ = std::move(error);
  {
    std::unique_lock guard{lock_, std::defer_lock};
    if (!is_planted(planted::finish_without_lock)) guard.lock();
    publish(how, wakes);
  }
  make_ready(wakes);
}

void future_base::publish(outcome how, ready_list& wakes) noexcept {
  status_.store(how, std::memory_order_release);  // [outcome]
  done_node* node = std::exchange(first_, nullptr);
  last_ = nullptr;
  while (node != nullptr) {
    done_node* const next = node->next;  // who is told may be gone at once
    if (ready_node* const ready = node->take(*node)) wakes.push(*ready);
    node = next;
  }
}

bool future_base::subscribe(done_node& node) noexcept {
  if (is_task()) open_waits_here();  // those who wait for it already come first
  const std::lock_guard guard{lock_};
  return subscribe_locked(node);
}

bool future_base::subscribe_locked(done_node& node) noexcept {
  if (is_done()) return false;
  node.next = nullptr;
  (last_ != nullptr ? last_->next : first_) = &node;
  last_ = &node;
  return true;
}

bool future_base::unsubscribe(done_node& node) noexcept {
  const std::lock_guard guard{lock_};
  done_node* previous = nullptr;
  for (done_node* at = first_; at != nullptr; previous = std::exchange(at, at->next)) {
    if (at != &node) continue;
    (previous != nullptr ? previous->next : first_) = node.next;
    if (last_ == &node) last_ = previous;
    return true;
  }
  return false;
}

done_node* future_base::unsubscribe_all(bool (*matches)(const done_node&, const void*), const void* key) noexcept {
  done_node* removed = nullptr;
  const std::lock_guard guard{lock_};
  done_node* kept_last = nullptr;
  done_node** link = &first_;
  while (done_node* const at = *link) {
    if (matches(*at, key)) {
      *link = at->next;
      at->next = removed;
      removed = at;
    } else {
      kept_last = at;
      link = &at->next;
    }
  }
  last_ = kept_last;
  return removed;
}

bool future_base::await_end(const char* call) {
  if (is_task()) {
    auto& task = static_cast<task_base&>(*this);
    switch (join_inline(task, *this, call)) {
      case inline_join::done:
        return false;
      case inline_join::cancel_pending:
        return take_pending_cancel() && status() != outcome::cancelled;
      case inline_join::not_done:
        if (current_task() == &task) throw broken_contract{std::string{call} + ": a task can't await itself"};
    }
  }
  open_waits_here();
  future_waiter node{call};
  lock_.lock();
  if (!subscribe_locked(node)) {
    lock_.unlock();
    return false;
  }
  if (!park_forwarding(node.self, lock_, *this)) return false;
  unsubscribe(node);  // it is still there if the task was stopped, since it is one of a circle
  // Cancelled while this was cancelled too: one cancellation, and it is this one's (whose message is told).
  return status() != outcome::cancelled;
}

wait_end future_base::wait(const char* call, time_point deadline) {
  if (is_done()) return wait_end::event;
  if (is_task() && current_task() == static_cast<task_base*>(this))
    throw broken_contract{std::string{call} + ": a task can't wait for itself"};
  open_waits_here();
  future_waiter node{call};
  lock_.lock();
  if (!subscribe_locked(node)) {
    lock_.unlock();
    return wait_end::event;
  }
  task_base* const self = current_task();  // null on a plain thread
  if (self != nullptr) self->awaits = this;
  const wait_end end = park_until(node.self, lock_, deadline);
  if (self != nullptr) self->awaits = nullptr;
  if (end != wait_end::event) unsubscribe(node);  // under its lock: who completes it may be at the node at this moment
  return end;
}

std::exception_ptr future_base::take_cancellation() {
  std::exception_ptr thrown;
  {
    const std::lock_guard guard{lock_};
    thrown = is_task() && !message_stays_ ? std::exchange(error_, nullptr) : error_;
  }
  return thrown ? thrown : std::make_exception_ptr(cancelled{});
}

std::exception_ptr future_base::cancellation() {
  if (is_task() && !message_stays_) return std::make_exception_ptr(cancelled{});
  return take_cancellation();
}

void future_base::throw_failed(outcome how) {
  if (how == outcome::cancelled) std::rethrow_exception(take_cancellation());
  if (how == outcome::error) {
    set_fetched();
    std::rethrow_exception(error_);
  }
}

std::exception_ptr future_base::error() {
  if (!is_done()) throw invalid_state{"exception() of what is not done yet"};
  if (status() == outcome::cancelled) throw_failure();
  if (status() == outcome::value) return nullptr;
  set_fetched();
  return error_;
}

}  // namespace roving::detail
