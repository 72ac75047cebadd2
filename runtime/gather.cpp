// See <roving/gather.hpp>. The meaning, and for pinned tasks the order, is asyncio.gather's.
//
// The task waits for a future of ours that ends when the rule says so; a cancel of the task is passed on to that, and
// by it to all children, in argument order.
#include <roving/gather.hpp>

#include <algorithm>
#include <exception>
#include <mutex>
#include <utility>

#include <roving/error.hpp>

#include "runtime/watcher.hpp"
#include "scheduler/inline_join.hpp"
#include "scheduler/this_shard.hpp"
#include "scheduler/wait_parts.hpp"

namespace roving::detail {
namespace {

// What asyncio throws when all have ended after a cancel: the last one's, or else with the message that was meant for
// it.
std::exception_ptr cancellation_by(future_base& last) {
  if (last.status() == outcome::cancelled) return last.take_cancellation();
  cancel_message message;
  if (last.is_task()) {
    const auto& task = static_cast<task_base&>(last);
    const std::lock_guard guard{last.lock()};
    if (task.extras) message = task.extras->marked;
  }
  return std::make_exception_ptr(cancelled{std::move(message)});
}

// By comparing each with each where they are few: no memory is needed then.
bool are_different(std::span<future_base* const> futures) {
  constexpr std::size_t few = 16;
  if (futures.size() > few) return first_places(futures).size() == futures.size();
  for (std::size_t i = 1; i < futures.size(); ++i)
    if (std::find(futures.begin(), futures.begin() + static_cast<std::ptrdiff_t>(i), futures[i]) !=
        futures.begin() + static_cast<std::ptrdiff_t>(i))
      return false;
  return true;
}

class gather_state final : public watcher {
 public:
  // `different`: `futures` without repetitions.
  gather_state(std::span<future_base* const> futures, std::span<future_base* const> different, gather_rule rule,
               const char* call)
      : watcher{&operations, different, call}, rule_{rule} {
    if (futures.size() != different.size()) with_repetitions_.assign(futures.begin(), futures.end());
  }

  // What is done at once counts at once, once all others are watched.
  void begin() noexcept {
    ready_list done;  // by links that nobody else has: they are not watched
    for (node& each : nodes_)
      if (each.watched->is_done() || !watch(each)) done.push(each);
    while (ready_node* const each = done.pop()) told(static_cast<node&>(*each));
  }

  // Runs the newest of them inline, until one is found that can't be: the oldest are for those who steal. True when the
  // task has a cancel to look at.
  [[nodiscard]] bool run_unstarted(const char* call) noexcept {
    bool cancel_pending = false;
    for (auto each = nodes_.rbegin(); each != nodes_.rend() && !is_done(); ++each) {
      if (!each->watched->is_task()) break;
      const inline_join how = join_inline(static_cast<task_base&>(*each->watched), *this, call);
      if (how == inline_join::not_done) break;
      cancel_pending = how == inline_join::cancel_pending;
    }
    return cancel_pending;
  }

  // Nobody waits any more. What fails from now on is not reported. (By the other rules all have ended, unless the task
  // was stopped, since it is one of a circle.)
  void abandon() noexcept {
    if (rule_ == gather_rule::first_failure) {
      for (node& each : nodes_)
        if (!each.watched->is_done()) each.watched->set_fetched();
    }
    forget_all();
  }

  [[nodiscard]] bool failed_by_cancellation() const noexcept { return failed_by_cancellation_; }
  [[nodiscard]] future_base* decisive() const noexcept {
    return decisive_ != nullptr ? decisive_->watched.get() : nullptr;
  }

 private:
  void told(node& ended) noexcept override {
    future_base& child = *ended.watched;
    const bool failed = child.status() != outcome::value;
    child.set_fetched();
    bool decides = false;
    bool cancels_others = false;
    {
      const std::lock_guard guard{lock()};
      if (decisive_ == nullptr && (rule_ == gather_rule::cancel_on_end || (failed && rule_ != gather_rule::settled))) {
        decisive_ = &ended;
        decides = true;
        cancels_others = !cancel_requested_;  // else they are in their cleanup: a second cancel would cut that short
      }
    }
    if (decides && rule_ == gather_rule::first_failure) return fail(ended);
    // Counted only when the others are cancelled, so that nobody is back before.
    if (cancels_others) cancel_others(ended);
    bool is_last = false;
    {
      const std::lock_guard guard{lock()};
      is_last = ++ended_ == nodes_.size();
    }
    if (is_last) end();
  }

  void cancel_others(const node& than) noexcept {
    for (node& each : nodes_)
      if (&each != &than && !each.watched->is_done()) each.watched->cancel(nullptr);
  }

  void end() noexcept {
    if (decisive_ != nullptr && decisive_->watched->status() != outcome::value) return fail(*decisive_);
    if (!begin_completion()) return;
    bool cancelled_meanwhile = false;
    {
      const std::lock_guard guard{lock()};
      cancelled_meanwhile = cancel_requested_;
    }
    if (!cancelled_meanwhile) return finish(outcome::value);
    failed_by_cancellation_ = true;
    future_base& last = with_repetitions_.empty() ? *nodes_.back().watched : *with_repetitions_.back();
    finish(outcome::error, cancellation_by(last));
  }

  // A child that was cancelled makes this fail, with `cancelled`; it is not cancelled itself.
  void fail(node& by) noexcept {
    if (!begin_completion()) return;
    failed_by_cancellation_ = by.watched->status() == outcome::cancelled;
    finish(outcome::error, failed_by_cancellation_ ? by.watched->take_cancellation() : by.watched->error_unfetched());
  }

  static future_base* passes_on(future_base& future, std::size_t place) noexcept {
    auto& self = static_cast<gather_state&>(future);
    if (place == 0) {
      if (self.is_done()) return nullptr;
      const bool reaches_one = std::any_of(self.nodes_.begin(), self.nodes_.end(),
                                           [](const node& each) { return !each.watched->is_done(); });
      const std::lock_guard guard{self.lock()};
      self.cancel_requested_ = self.cancel_requested_ || reaches_one;
    }
    if (!self.with_repetitions_.empty())
      return place < self.with_repetitions_.size() ? self.with_repetitions_[place] : nullptr;
    return place < self.nodes_.size() ? self.nodes_[place].watched.get() : nullptr;
  }

  static bool cancel_all(future_base& self, const cancel_message& message) noexcept {
    return cancel_through(self, message);
  }
  static constexpr future_operations operations{&cancel_all, &destroy, false, &passes_on, &depends_on};

  const gather_rule rule_;
  std::vector<future_base*> with_repetitions_;  // the nodes have references to them
  bool failed_by_cancellation_ = false;         // written before finish()

  // --- guarded by lock()
  node* decisive_ = nullptr;
  std::size_t ended_ = 0;
  bool cancel_requested_ = false;
};

}  // namespace

std::size_t gather_futures(std::span<future_base* const> futures, gather_rule rule, const char* call) {
  if (futures.empty()) return 0;
  std::vector<future_base*> without_repetitions;
  std::span<future_base* const> different = futures;
  if (!are_different(futures)) {
    for (const std::size_t place : first_places(futures)) without_repetitions.push_back(futures[place]);
    different = without_repetitions;
  }
  const future_reference<gather_state> all{new gather_state{futures, different, rule, call}};
  all->begin();
  const bool owns = rule == gather_rule::cancel_on_failure || rule == gather_rule::settled;
  const bool cancel_pending = owns && all->run_unstarted(call);
  const bool has_cancel = all->await(call) || (cancel_pending && take_pending_cancel());
  all->abandon();
  if (has_cancel && !all->failed_by_cancellation()) throw_cancelled();
  all->throw_failure();
  const auto decisive = std::find(futures.begin(), futures.end(), all->decisive());
  return static_cast<std::size_t>(decisive - futures.begin());
}

std::exception_ptr failure_of(future_base& of) {
  switch (of.status()) {
    case outcome::error:
      of.set_fetched();
      return of.error_unfetched();
    case outcome::cancelled:
      return of.cancellation();
    default:
      return nullptr;
  }
}

void require_task(const char* call) {
  if (this_shard() == nullptr) throw no_shard{call};
  if (current_task() == nullptr) throw not_in_task{call};
}

}  // namespace roving::detail
