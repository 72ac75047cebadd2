// Work that must end by a time.
//
// A timeout cancels the task that is in it and turns the `cancelled` that comes out into timeout_error. It never leaves
// work running behind its back: who does not stop when it is cancelled is waited for.
#pragma once

#include <chrono>
#include <functional>
#include <optional>
#include <type_traits>
#include <utility>

#include <roving/detail/call_reference.hpp>
#include <roving/detail/handle.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/error.hpp>
#include <roving/time.hpp>

namespace roving {
namespace detail {
class timeout_core;
}

#pragma GCC visibility push(default)

/// A timeout that the current task is in. with_timeout() makes one and passes it to what it calls.
///
/// Thread safety: reschedule() and when(): the task that is in it, and what is pinned to that task's shard if the task
/// is
///   pinned. expired(): any thread. Suspends: never.
/// Lifetime: ends with the call that made it.
class timeout_scope {
 public:
  /// Sets another deadline; none with std::nullopt. One that has passed expires at once: the next suspension throws.
  ///
  /// Errors: broken_contract once it has expired.
  void reschedule(std::optional<time_point> deadline);

  [[nodiscard]] std::optional<time_point> when() const noexcept;

  /// Whether the deadline has passed and the task was cancelled for it.
  [[nodiscard]] bool expired() const noexcept;

  /// For the library.
  explicit timeout_scope(detail::timeout_core& core) noexcept : core_{core} {}
  timeout_scope(const timeout_scope&) = delete;
  timeout_scope& operator=(const timeout_scope&) = delete;

 private:
  detail::timeout_core& core_;
};

namespace detail {

void run_with_timeout(std::optional<time_point> deadline, call_reference<void(timeout_scope&)> body, const char* call);

/// asyncio's wait_for(): waits for it at most for `span`, then cancels it and waits for its end.
void await_within(future_base& of, duration span, const char* call);

template <class Function>
decltype(auto) call_in_scope(Function&& f, timeout_scope& scope) {
  if constexpr (std::is_invocable_v<Function, timeout_scope&>)
    return std::invoke(std::forward<Function>(f), scope);
  else
    return std::invoke(std::forward<Function>(f));
}

template <class Function>
auto call_with_timeout(std::optional<time_point> deadline, Function&& f, const char* call)
    -> decltype(call_in_scope(std::forward<Function>(f), std::declval<timeout_scope&>())) {
  using value = decltype(call_in_scope(std::forward<Function>(f), std::declval<timeout_scope&>()));
  if constexpr (std::is_void_v<value>) {
    auto body = [&f](timeout_scope& scope) { call_in_scope(std::forward<Function>(f), scope); };
    run_with_timeout(deadline, call_reference<void(timeout_scope&)>{body}, call);
  } else {
    std::optional<stored<value>> result;
    auto body = [&](timeout_scope& scope) {
      if constexpr (std::is_reference_v<value>) {
        auto&& returned = call_in_scope(std::forward<Function>(f), scope);
        result.emplace(std::addressof(returned));
      } else {
        result.emplace(call_in_scope(std::forward<Function>(f), scope));
      }
    };
    run_with_timeout(deadline, call_reference<void(timeout_scope&)>{body}, call);
    if constexpr (std::is_reference_v<value>)
      return static_cast<value>(**result);
    else
      return std::move(*result);
  }
}

}  // namespace detail

/// Calls `f`, without arguments or with a timeout_scope&, and gives what it returns. When `span` has passed, the
/// current task is cancelled; if `f` ends by that with `cancelled`, timeout_error is thrown in its place.
///
/// `f` is called at once, also if `span` is 0 or less: it goes on to its first suspension then. If it ends before the
/// cancel reaches it, or swallows it, what it returns is given; another exception of it is thrown as it is, the same
/// object (asyncio nests a TimeoutError in it, which would need another type here): expired() tells. A cancel by others
/// stays `cancelled`. Of nested timeouts that pass together the outermost throws. Suspends: as `f` does. Errors:
/// timeout_error; what `f` throws; not_in_task.
template <class Representation, class Period, class Function>
decltype(auto) with_timeout(std::chrono::duration<Representation, Period> span, Function&& f) {
  return detail::call_with_timeout(detail::time_after(now(), detail::to_duration(span)), std::forward<Function>(f),
                                   "with_timeout");
}

/// Without a deadline at first: reschedule() may set one.
template <class Function>
decltype(auto) with_timeout(std::nullopt_t, Function&& f) {
  return detail::call_with_timeout(std::nullopt, std::forward<Function>(f), "with_timeout");
}

/// The same until a point in time; std::nullopt is never.
template <class Function>
decltype(auto) with_deadline(std::optional<time_point> deadline, Function&& f) {
  return detail::call_with_timeout(deadline, std::forward<Function>(f), "with_deadline");
}

/// Waits for a task or a future for at most `span` and gives what its get() gives. When `span` has passed, it is
/// cancelled, and timeout_error is thrown once it has ended so; if it ends otherwise all the same, that counts. What is
/// done already is taken, and a task that has not started never does, if `span` is 0 or less.
///
/// A cancel of the caller cancels it, as get() does. shield() keeps it alive: `with_timeout(1s, [&] { shield(t); })`.
/// Suspends: yes, unless it is done. Errors: timeout_error; what it throws; `cancelled`; not_in_task.
template <detail::handle Handle, class Representation, class Period>
detail::taken_from<Handle> wait_for(Handle&& handle, std::chrono::duration<Representation, Period> span) {
  detail::await_within(detail::future_behind(handle, "wait_for"), detail::to_duration(span), "wait_for");
  return std::forward<Handle>(handle).get();
}

}  // namespace roving

#pragma GCC visibility pop
