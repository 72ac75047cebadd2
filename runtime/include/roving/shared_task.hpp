// A handle that does not own its task, and knows its value.
#pragma once

#include <chrono>
#include <type_traits>
#include <utility>

#include <roving/error.hpp>
#include <roving/task.hpp>
#include <roving/task_view.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// Stands for a task that somebody else looks after, such as a group. Copies stand for the same one; destroying it has
/// no consequence for the task.
///
/// Thread safety: as task_view. Lifetime: keeps the value alive; may outlive the task's owner and the runtime.
template <class Value>
class shared_task : public task_view {
 public:
  using value_type = Value;

  shared_task() noexcept = default;

  /// As task<Value>::get() of an lvalue: waits, gives a reference to the value or throws what the task threw. A cancel
  /// of the caller is passed on to the task.
  decltype(auto) get() const {
    return with_handle("shared_task::get", [](const task<Value>& of) -> decltype(auto) { return of.get(); });
  }

  /// A reference to the value. Never waits. Errors: invalid_state when the task has not ended; as get().
  decltype(auto) value() const {
    return with_handle("shared_task::value", [](const task<Value>& of) -> decltype(auto) { return of.value(); });
  }

  /// As task<Value>::join_for() and join_until(): true when the task has ended.
  template <class Representation, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Representation, Period> span) const {
    return join_until(detail::time_after(now(), detail::to_duration(span)));
  }
  [[nodiscard]] bool join_until(time_point deadline) const {
    return with_handle("shared_task::join", [&](const task<Value>& of) { return of.join_until(deadline); });
  }

  /// For the library: takes over a reference, and leaves the task alone.
  explicit shared_task(detail::task_base& adopted) noexcept
      : task_view{detail::future_reference<detail::task_base>{&adopted}} {}

 private:
  // An owning handle for the time of a call, which lets go of the task whatever comes.
  template <class Function>
  decltype(auto) with_handle(const char* call, Function f) const {
    struct borrowed {
      task<Value> handle;
      ~borrowed() { handle.detach(); }
    };
    detail::task_base& of = state(call);
    of.add_reference();
    const borrowed lent{detail_access::make_task<Value>(of)};
    return f(lent.handle);
  }
};

}  // namespace roving

#pragma GCC visibility pop
