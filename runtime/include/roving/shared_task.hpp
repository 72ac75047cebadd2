// A handle that does not own its task.
#pragma once

#include <utility>

#include <roving/task.hpp>

namespace roving {

/// Stands for a task that somebody else looks after, such as a group. Copies stand for the same one.
///
/// It does what task<Value> does, but destroying it neither cancels the task nor waits for it, and get() leaves the value
/// where it is, for the others. An error counts as fetched when the owner has it.
/// Thread safety: as task<Value>; copies may be used at once.
/// Lifetime: keeps the value, not the task: it may outlive the task's owner and the runtime.
template <class Value>
class shared_task : private task<Value> {
 public:
  using typename task<Value>::value_type;

  shared_task() noexcept = default;
  shared_task(const shared_task& other) noexcept : task<Value>{share(other)} {}
  shared_task(shared_task&& other) noexcept = default;
  shared_task& operator=(shared_task other) noexcept {
    std::swap(this->state_, other.state_);
    return *this;
  }
  ~shared_task() { this->detach(); }

  /// As task<Value>::get() of an lvalue: waits, passes a cancel of the caller on to the task, throws what it threw.
  decltype(auto) get() const { return static_cast<const task<Value>&>(*this).get(); }

  using task<Value>::cancel;
  using task<Value>::cancelled;
  using task<Value>::cancelling;
  using task<Value>::done;
  using task<Value>::exception;
  using task<Value>::join;
  using task<Value>::join_for;
  using task<Value>::join_until;
  using task<Value>::name;
  using task<Value>::on_done;
  using task<Value>::remove_on_done;
  using task<Value>::set_name;
  using task<Value>::uncancel;
  using task<Value>::valid;
  using task<Value>::value;

  /// For the library: takes over a reference, and the task as it is.
  explicit shared_task(detail::task_base& adopted) noexcept
      : task<Value>{detail_access::make_task<Value>(adopted)} {}
  [[nodiscard]] detail::task_base& state(const char* call) const { return task<Value>::state(call); }

 private:
  static task<Value> share(const shared_task& other) noexcept {
    if (!other.valid()) return {};
    other.state_->add_reference();
    return detail_access::make_task<Value>(*other.state_);
  }
};

}  // namespace roving
