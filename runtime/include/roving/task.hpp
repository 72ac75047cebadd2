// The handle of a spawned task.
#pragma once

#include <cstdint>
#include <exception>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <roving/detail/select_operation.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/done_callback.hpp>
#include <roving/error.hpp>
#include <roving/placement.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {

template <class Value>
class task;

/// What every handle can do, whatever its task returns.
///
/// Thread safety: any thread may call what is const or says so; a handle is moved and destroyed by one at a time.
/// Lifetime: as std::jthread, a handle owns its task: destroying it cancels the task and waits until it has ended. It
/// may
///   outlive the runtime.
class task_handle {
 public:
  task_handle() noexcept = default;
  task_handle(task_handle&& other) noexcept = default;
  task_handle& operator=(task_handle&& other) noexcept;

  /// Cancels the task and joins it, with cancellation of the caller held back. On a plain thread it blocks. In a posted
  /// callback, in the task itself or where the runtime is closed it can't wait: it cancels and detaches, and says so
  /// through options.on_unhandled.
  ~task_handle() {
    if (state_ && !state_->is_done()) end_task();
  }

  /// Whether it stands for a task: false when default made, moved from, or detached.
  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(state_); }

  /// Waits until the task has ended, however it did; fetches and throws nothing of it.
  ///
  /// Suspends: yes, unless the task has ended. A plain thread blocks. Errors: not_in_task; broken_contract (itself). A
  /// cancel of the caller ends the wait and leaves the task alone.
  void join() const;

  /// The same for at most `span`. True when the task has ended.
  template <class Representation, class Period>
  [[nodiscard]] bool join_for(std::chrono::duration<Representation, Period> span) const {
    return join_until(detail::time_after(now(), detail::to_duration(span)));
  }
  [[nodiscard]] bool join_until(time_point deadline) const;

  /// Requests that the task end: `cancelled` is thrown at its current or next suspension point, once. False when it has
  /// ended already. Does not suspend. Any thread.
  ///
  /// A task in get() passes it on to what it awaits; each task on the way counts one request. Of tasks that await each
  /// other in a circle one is stopped, so that all unwind; not, as in asyncio, an error.
  bool cancel() const;
  bool cancel(std::string_view message) const;

  /// Takes one request back; returns how many are left. A cancel that was not delivered yet is not when none is left.
  std::uint32_t uncancel() const;

  /// How many cancels were requested and not taken back.
  [[nodiscard]] std::uint32_t cancelling() const;

  /// Whether the task has ended.
  [[nodiscard]] bool done() const;

  /// Whether it ended by being cancelled.
  [[nodiscard]] bool cancelled() const;

  /// The exception by which it ended, null for none. Errors: invalid_state when it has not ended; `cancelled` when it
  /// was cancelled. Counts as having fetched it.
  [[nodiscard]] std::exception_ptr exception() const;

  /// As future::on_done() and remove_on_done().
  template <class Function>
  done_callback on_done(Function&& f, spawn_site site = spawn_site::current()) const {
    return detail::add_done_callback(state("task::on_done"), std::forward<Function>(f), site, "task::on_done");
  }
  template <class Executor, class Function>
  requires(!std::is_convertible_v<Function, spawn_site>) done_callback
      on_done(Executor&& executor, Function&& f, spawn_site site = spawn_site::current())
  const {
    return detail::add_done_callback_with(state("task::on_done"), std::forward<Executor>(executor),
                                          std::forward<Function>(f), site, "task::on_done");
  }
  std::size_t remove_on_done(const done_callback& what) const {
    return detail::remove_done_callback(state("task::remove_on_done"), what);
  }

  /// For select(): calls `f` when the task has ended, as join() returns: get() does not wait then. Throws nothing of
  /// it. Errors: broken_contract (itself).
  template <class Function>
  [[nodiscard]] auto on_ready(Function&& f) const {
    return detail::when_done(state("task::on_ready"), std::forward<Function>(f), "task::on_ready");
  }

  /// Leaves the task to the runtime, which keeps it until it has ended. An error of it is reported.
  void detach() noexcept;

  /// "Task-N" unless a name was given. Any thread.
  [[nodiscard]] std::string name() const;
  void set_name(std::string_view name) const;

 protected:
  explicit task_handle(detail::future_reference<detail::task_base> state) noexcept : state_{std::move(state)} {}

  [[nodiscard]] detail::task_base& state(const char* call) const {
    if (!state_) throw_no_task(call);
    return *state_;
  }

  void await(const char* call) const {
    detail::task_base& of = state(call);
    if (of.await(call)) detail::throw_cancelled();
    of.throw_failure();
  }

 private:
  void end_task() noexcept;
  [[noreturn]] static void throw_no_task(const char* call);

  friend struct detail_access;
  template <class Value>
  friend class task;
  detail::future_reference<detail::task_base> state_;
};

/// For the library: the state behind a handle.
struct detail_access {
  static detail::task_base& state_of(const task_handle& handle, const char* call) { return handle.state(call); }
  template <class Value>
  static task<Value> make_task(detail::task_base& started) noexcept {
    return task<Value>{detail::future_reference<detail::task_base>{&started}};
  }
};

/// The handle of a task that returns `Value`, as spawn() gives it.
template <class Value>
class [[nodiscard]] task : public task_handle {
 public:
  using value_type = Value;

  task() noexcept = default;

  /// Waits until the task has ended and gives its value: a reference to it from an lvalue, the value itself from an
  /// rvalue (`std::move(t).get()`, `spawn(f).get()`), which empties the handle.
  ///
  /// Suspends: yes, unless the task has ended. A plain thread blocks. A cancel of the caller is passed on to the task.
  /// Errors: what the task threw, `cancelled` if it was cancelled; not_in_task; invalid_state without a task.
  decltype(auto) get() const& {
    detail::task_base& of = state("task::get");
    await("task::get");
    if constexpr (std::is_reference_v<Value>)
      return static_cast<Value>(*body_value(of));
    else if constexpr (!std::is_void_v<Value>)
      return static_cast<const Value&>(body_value(of));
  }

  Value get() && {
    await("task::get");
    const detail::future_reference<detail::task_base> of{std::move(state_)};  // ends behind the value
    if constexpr (std::is_reference_v<Value>)
      return static_cast<Value>(*body_value(*of));
    else if constexpr (!std::is_void_v<Value>)
      return std::move(body_value(*of));
  }

  /// A reference to the value. Never waits. Errors: invalid_state when the task has not ended; as get().
  decltype(auto) value() const {
    detail::task_base& of = state("task::value");
    if (!of.is_done()) throw invalid_state{"task::value: the task has not ended; get() waits for it"};
    of.throw_failure();
    if constexpr (std::is_reference_v<Value>)
      return static_cast<Value>(*body_value(of));
    else if constexpr (!std::is_void_v<Value>)
      return static_cast<const Value&>(body_value(of));
  }

 private:
  friend struct detail_access;
  using task_handle::task_handle;

  // Where the value lies does not depend on the callable but for its size, which the task's operations know.
  static detail::stored<Value>& body_value(detail::task_base& of) noexcept {
    return *static_cast<detail::stored<Value>*>(of.body->value_address(of));
  }
};

}  // namespace roving

#pragma GCC visibility pop
