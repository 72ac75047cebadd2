// See task.hpp.
#include <roving/task.hpp>

#include <memory>

#include <roving/no_cancel.hpp>

#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/slab.hpp"
#include "scheduler/this_shard.hpp"

namespace roving {
namespace {

detail::cancel_message shared_text(std::string_view text) { return std::make_shared<const std::string>(text); }

// Whether the calling thread may wait for the task's end.
bool can_wait_for(const detail::task_base& task) noexcept {
  const detail::scheduler* const owner = task.origin->owner();
  if (owner == nullptr || owner->is_closed()) return false;
  if (detail::this_shard() == nullptr) return true;
  const detail::task_base* const self = detail::current_task();
  return self != nullptr && self != &task;
}

void report_left_alone(const detail::task_base& task) noexcept {
  detail::scheduler* const owner = task.origin->owner();
  if (owner == nullptr) return;
  try {
    owner->report(
        {"a task handle was destroyed where it can't wait; its task was cancelled and detached",
         std::make_exception_ptr(broken_contract{"join, get or detach a task before its handle is destroyed in "
                                                 "a callback or in the task itself"}),
         task.name()});
  } catch (...) {  // no memory for the report
  }
}

}  // namespace

task_handle& task_handle::operator=(task_handle&& other) noexcept {
  if (this != &other) {
    task_handle former{std::move(state_)};
    state_ = std::move(other.state_);
  }
  return *this;
}

void task_handle::end_task() noexcept {
  if (!can_wait_for(*state_)) {
    state_->request_cancel(nullptr);
    report_left_alone(*state_);
    return;
  }
  if (detail::task_base* const joiner = detail::current_task())
    state_->request_cancel_before_join(*joiner);
  else
    state_->request_cancel(nullptr);
  const no_cancel hold_back;
  (void)state_->wait("~task", time_point::max());
}

void task_handle::throw_no_task(const char* call) {
  throw invalid_state{std::string{call} +
                      ": the handle has no task (default made, moved from, detached or emptied by get)"};
}

void task_handle::join() const { (void)join_until(time_point::max()); }

bool task_handle::join_until(time_point deadline) const {
  const detail::wait_end end = state("task::join").wait("task::join", deadline);
  if (end == detail::wait_end::cancelled) detail::throw_cancelled();
  return end == detail::wait_end::event;
}

bool task_handle::cancel() const { return state("task::cancel").request_cancel(nullptr); }
bool task_handle::cancel(std::string_view message) const {
  return state("task::cancel").request_cancel(shared_text(message));
}
std::uint32_t task_handle::uncancel() const { return state("task::uncancel").uncancel(); }
std::uint32_t task_handle::cancelling() const { return state("task::cancelling").cancelling(); }
bool task_handle::done() const { return state("task::done").is_done(); }
bool task_handle::cancelled() const { return state("task::cancelled").status() == detail::outcome::cancelled; }
std::exception_ptr task_handle::exception() const { return state("task::exception").error(); }
void task_handle::detach() noexcept { state_ = {}; }
std::string task_handle::name() const { return state("task::name").name(); }
void task_handle::set_name(std::string_view name) const { state("task::set_name").set_name(name); }

}  // namespace roving
