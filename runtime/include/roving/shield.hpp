// Waiting for a task or a future without being able to cancel it.
#pragma once

#include <type_traits>
#include <utility>

#include <roving/detail/handle.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

/// Waits until it is done, and throws what it failed with. A cancel ends the wait.
void shield_future(future_base& inner, const char* call);

}  // namespace detail

/// Waits for a task or a future and gives what its get() gives; but a cancel of the caller does not reach it: the
/// caller is thrown `cancelled`, what it waited for goes on. `shield(spawn(f))` lets the task go on by itself then: it
/// is detached.
///
/// Suspends: yes, unless it is done. A plain thread blocks. Errors: what the task threw, `cancelled` if it was
/// cancelled by others; `cancelled` when the caller is cancelled; not_in_task (in a callback). Lifetime: a task that is
/// given up by a cancel must own what it uses.
template <detail::handle Handle>
detail::taken_from<Handle> shield(Handle&& handle) {
  if constexpr (!std::is_lvalue_reference_v<Handle> && std::is_base_of_v<task_handle, Handle>) {
    struct owner {
      Handle task;
      ~owner() {
        if (task.valid() && !task.done()) task.detach();
      }
    } inner{std::move(handle)};
    detail::shield_future(detail::future_behind(inner.task, "shield"), "shield");
    return std::move(inner.task).get();
  } else {
    detail::shield_future(detail::future_behind(handle, "shield"), "shield");
    return std::forward<Handle>(handle).get();
  }
}

}  // namespace roving

#pragma GCC visibility pop
