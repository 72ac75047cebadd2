// See <roving/timeout.hpp> and timeout_core.hpp.
#include <roving/timeout.hpp>

#include <string>

#include <roving/detail/assert.hpp>
#include <roving/detail/relax.hpp>

#include "runtime/timeout_core.hpp"
#include "runtime/wait_state.hpp"
#include "scheduler/this_shard.hpp"

namespace roving {
namespace detail {

struct timeout_core::callback_at_once : posted_callback {
  explicit callback_at_once(timeout_core& whose, shard& where) noexcept
      : posted_callback{&where,
                        [](ready_node& node) noexcept {
                          auto& self = static_cast<callback_at_once&>(node);
                          if (self.of != nullptr) {
                            self.of->at_once_ = nullptr;
                            self.of->expire();
                          }
                          delete &self;
                        },
                        [](ready_node& node) noexcept { delete &static_cast<callback_at_once&>(node); }},
        of{&whose} {}
  timeout_core* of;  // null once it was taken back
};

timeout_core::roving_alarm::bell::bell(timeout_core& whose) noexcept
    : parkable{ready_kind::direct,
               [](ready_node& node) noexcept {
                 timeout_core& expired = static_cast<bell&>(static_cast<parkable&>(node)).of;
                 expired.expire();
                 expired.rung_.store(true, std::memory_order_release);  // [alarm]
               }},
      of{whose} {}

timeout_core::roving_alarm::roving_alarm(timeout_core& whose) noexcept
    : rings{whose}, waits{rings}, timer{waits, winner::timeout} {}

timeout_core::timeout_core(std::optional<time_point> deadline) noexcept
    : deadline_{deadline == time_point::max() ? std::nullopt : deadline} {}

timeout_core::~timeout_core() { ROVING_ASSERT(at_once_ == nullptr); }

void timeout_core::enter(const char* call) {
  if (state_.load(std::memory_order_relaxed) != state::created)
    throw broken_contract{std::string{call} + ": the timeout was entered before"};
  task_ = current_task();
  if (task_ == nullptr) throw not_in_task{call};
  cancelling_on_entry_ = task_->cancelling();
  state_.store(state::entered, std::memory_order_relaxed);
  if (deadline_) arm(*deadline_);
}

void timeout_core::arm(time_point deadline) {
  shard& here = *this_shard();
  if (!task_->roving) {
    if (here.has_passed(deadline)) {
      at_once_ = new callback_at_once{*this, here};
      here.append(*at_once_);
    } else {
      if (!pinned_) pinned_.emplace(*this);
      here.set_timer(*pinned_, deadline);
    }
  } else if (here.has_passed(deadline)) {
    expire();
  } else {
    roving_.emplace(*this);
    const bool armed = roving_->rings.claims.arm(wait_mode::masked);
    ROVING_ASSERT(armed);
    roving_->set_on = &here;
    here.set_timer(roving_->timer, deadline);
  }
}

// It does not expire any more, or has.
void timeout_core::disarm() noexcept {
  if (at_once_ != nullptr) {
    at_once_->of = nullptr;
    at_once_ = nullptr;
  }
  if (pinned_ && pinned_->is_set()) this_shard()->cancel_timer(*pinned_);
  if (!roving_) return;
  roving_->set_on->cancel_timer(roving_->timer);
  if (roving_->rings.claims.claim(roving_->waits.epoch, winner::event) == claim_result::lost) {
    for (unsigned iteration = 0; !rung_.load(std::memory_order_acquire); ++iteration) relax(iteration);  // [alarm]
  }
  roving_.reset();
}

void timeout_core::expire() noexcept {
  task_->request_cancel(nullptr);
  state_.store(state::expiring, std::memory_order_release);
}

bool timeout_core::leave() noexcept {
  disarm();
  if (state_.load(std::memory_order_relaxed) == state::entered) {
    state_.store(state::left, std::memory_order_release);
    return false;
  }
  state_.store(state::expired, std::memory_order_release);
  return task_->uncancel() <= cancelling_on_entry_;
}

void timeout_core::reschedule(std::optional<time_point> deadline) {
  if (state_.load(std::memory_order_relaxed) == state::created)
    throw broken_contract{"timeout_scope::reschedule: it has not been entered"};
  const bool may_touch = task_->roving ? current_task() == task_ : this_shard() == task_->home;
  if (!may_touch)
    throw broken_contract{"timeout_scope::reschedule: a roving task's is its own, a pinned task's is its shard's"};
  if (state_.load(std::memory_order_relaxed) == state::entered) disarm();
  if (state_.load(std::memory_order_relaxed) != state::entered)
    throw broken_contract{"timeout_scope::reschedule: it has expired, or has been left"};
  deadline_ = deadline == time_point::max() ? std::nullopt : deadline;
  if (deadline_) arm(*deadline_);
}

void run_with_timeout(std::optional<time_point> deadline, call_reference<void(timeout_scope&)> body, const char* call) {
  timeout_core core{deadline};
  core.enter(call);
  const open_scope counts{*current_task()};
  struct way_out {
    timeout_core& core;
    bool is_out = false;
    bool leave() noexcept {
      is_out = true;
      return core.leave();
    }
    ~way_out() {
      if (!is_out) core.leave();
    }
  } out{core};
  timeout_scope scope{core};
  try {
    body(scope);
  } catch (const cancelled&) {
    if (out.leave()) throw timeout_error{};
    throw;
  }
}

void await_within(future_base& of, duration span, const char* call) {
  if (span > duration::zero()) {
    auto body = [&](timeout_scope&) {
      if (of.await(call)) throw_cancelled();
      of.throw_failure();
    };
    return run_with_timeout(time_after(now(), span), call_reference<void(timeout_scope&)>{body}, call);
  }
  if (!of.is_done()) {
    future_base* const one[] = {&of};
    const future_reference<wait_state> end{new wait_state{one, wait_condition::all_completed, call}};
    end->begin();
    of.cancel(nullptr);
    end->wait_until(time_point::max(), call);
    if (of.status() == outcome::cancelled) {
      (void)of.take_cancellation();
      throw timeout_error{};
    }
  }
  of.throw_failure();
}

}  // namespace detail

void timeout_scope::reschedule(std::optional<time_point> deadline) { core_.reschedule(deadline); }
std::optional<time_point> timeout_scope::when() const noexcept { return core_.when(); }
bool timeout_scope::expired() const noexcept { return core_.expired(); }

}  // namespace roving
