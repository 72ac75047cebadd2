// A value that will come: promise<T> is the side that gives it, future<T> and shared_future<T> the side that waits.
#pragma once

#include <chrono>
#include <exception>
#include <new>
#include <optional>
#include <string_view>
#include <type_traits>
#include <utility>

#include <roving/detail/future_base.hpp>
#include <roving/detail/select_operation.hpp>
#include <roving/done_callback.hpp>
#include <roving/error.hpp>
#include <roving/placement.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

struct future_access;  // for the library: the state behind a handle

/// Completes it as cancelled; what cancel() of a plain future is.
bool cancel_future(future_base& future, const cancel_message& message) noexcept;

/// Reports an error that nobody fetched, if there is one.
void report_unfetched_future(future_base& future) noexcept;

/// A promise went without having been kept.
void break_promise(future_base& future) noexcept;

void await_future(future_base& future, const char* call);
bool wait_for_future(future_base& future, const char* call, time_point deadline);
bool cancel_future_with(future_base& future, std::string_view message);

template <class Value>
class future_state : public future_base {
 public:
  using held =
      std::conditional_t<std::is_void_v<Value>, char,
                         std::conditional_t<std::is_reference_v<Value>, std::remove_reference_t<Value>*, Value>>;

  future_state() noexcept : future_base{&operations} {}
  explicit future_state(const future_operations* special) noexcept : future_base{special} {}

  template <class... Arguments>
  [[nodiscard]] bool set_value(Arguments&&... arguments) {
    if (!begin_completion()) return false;
    if constexpr (std::is_nothrow_constructible_v<held, Arguments&&...>) {
      value.emplace(std::forward<Arguments>(arguments)...);
    } else {
      try {
        value.emplace(std::forward<Arguments>(arguments)...);
      } catch (...) {  // the future gets what went wrong
        finish(outcome::error, std::current_exception());
        throw;
      }
    }
    finish(outcome::value);
    return true;
  }

  [[nodiscard]] bool set_exception(std::exception_ptr error) noexcept {
    if (!begin_completion()) return false;
    finish(outcome::error, std::move(error));
    return true;
  }

  std::optional<held> value;

  static void destroy(future_base& future) noexcept {
    report_unfetched_future(future);
    delete static_cast<future_state*>(&future);
  }
  static constexpr future_operations operations{&cancel_future, &destroy, false};
};

}  // namespace detail

/// What both kinds of future can do.
///
/// Thread safety: any thread, at once, for what is const. Lifetime: independent of the promise and of the runtime.
template <class Value>
class future_handle {
 public:
  future_handle() noexcept = default;

  /// Whether it stands for a promise: false when default made, moved from, or emptied by get().
  [[nodiscard]] bool valid() const noexcept { return static_cast<bool>(state_); }

  /// Whether a value or an exception is there, or it was cancelled.
  [[nodiscard]] bool done() const { return state("future::done").is_done(); }
  [[nodiscard]] bool cancelled() const { return state("future::cancelled").status() == detail::outcome::cancelled; }

  /// The exception, null for a value. Errors: invalid_state when it is not done; `cancelled`.
  [[nodiscard]] std::exception_ptr exception() const { return state("future::exception").error(); }

  /// The value, which stays where it is. Never waits.
  ///
  /// Errors: invalid_state when it is not done; the exception that was set; `cancelled`.
  decltype(auto) value() const {
    detail::future_state<Value>& of = state("future::value");
    if (!of.is_done()) throw invalid_state{"future::value: there is none yet; get() waits for it"};
    of.throw_failure();
    if constexpr (std::is_reference_v<Value>)
      return static_cast<Value>(**of.value);
    else if constexpr (!std::is_void_v<Value>)
      return static_cast<const Value&>(*of.value);
  }

  /// Has `f` called when it is done; as soon as possible if it is. `f` is a callable, or a done_callback, which can be
  /// registered again and be removed.
  ///
  /// It is posted to the shard of the caller, as by post(): never called inside this, or inside what completes the
  /// future, and in the order of registration, tasks that wait counted in. What it throws goes to options.on_unhandled.
  /// It sees the context_vars as they are now. When its runtime closes first it is never called. Suspends: no. Errors:
  /// no_shard, runtime_closed. Thread safety: on a shard.
  template <class Function>
  done_callback on_done(Function&& f, spawn_site site = spawn_site::current()) const {
    return detail::add_done_callback(state("future::on_done"), std::forward<Function>(f), site, "future::on_done");
  }

  /// The same by way of an executor: anything with post(callable), which is called by whoever completes the future and
  /// must not suspend. An lvalue is kept by reference and must outlive the future; an rvalue is moved in. Any thread.
  template <class Executor, class Function>
  requires(!std::is_convertible_v<Function, spawn_site>) done_callback
      on_done(Executor&& executor, Function&& f, spawn_site site = spawn_site::current())
  const {
    return detail::add_done_callback_with(state("future::on_done"), std::forward<Executor>(executor),
                                          std::forward<Function>(f), site, "future::on_done");
  }

  /// Takes all registrations of it back that are not on their way yet; returns how many. Any thread.
  std::size_t remove_on_done(const done_callback& what) const {
    return detail::remove_done_callback(state("future::remove_on_done"), what);
  }

  /// For select(): calls `f` when it is done, as wait() returns: get() does not wait then. Throws nothing of it.
  template <class Function>
  [[nodiscard]] auto on_ready(Function&& f) const {
    return detail::when_done(state("future::on_ready"), std::forward<Function>(f), "future::on_ready");
  }

  /// Makes it cancelled: who waits gets `cancelled`, and the promise can't be kept any more. False when it is done.
  bool cancel() const { return state("future::cancel").cancel(nullptr); }
  bool cancel(std::string_view message) const { return detail::cancel_future_with(state("future::cancel"), message); }

  /// Waits until it is done; throws nothing of it. A cancel of the caller ends the wait and leaves the future alone.
  ///
  /// Suspends: yes, unless it is done. A plain thread blocks. Errors: not_in_task (in a callback).
  void wait() const { (void)detail::wait_for_future(state("future::wait"), "future::wait", time_point::max()); }

  /// The same for at most `span`. True when it is done.
  template <class Representation, class Period>
  [[nodiscard]] bool wait_for(std::chrono::duration<Representation, Period> span) const {
    return wait_until(detail::time_after(now(), detail::to_duration(span)));
  }
  [[nodiscard]] bool wait_until(time_point deadline) const {
    return detail::wait_for_future(state("future::wait_until"), "future::wait_until", deadline);
  }

 protected:
  friend struct detail::future_access;
  explicit future_handle(detail::future_reference<detail::future_state<Value>> of) noexcept : state_{std::move(of)} {}

  [[nodiscard]] detail::future_state<Value>& state(const char* call) const {
    if (!state_)
      throw invalid_state{std::string{call} +
                          ": the future has no promise (default made, moved from or emptied by get)"};
    return *state_;
  }

  detail::future_reference<detail::future_state<Value>> state_;
};

template <class Value>
class shared_future;

/// The one consumer of a value.
template <class Value>
class [[nodiscard]] future : public future_handle<Value> {
 public:
  using value_type = Value;

  future() noexcept = default;
  future(future&&) noexcept = default;
  future& operator=(future&&) noexcept = default;

  /// Waits for the value and takes it; the future is empty then.
  ///
  /// Suspends: yes, unless it is done. A plain thread blocks. A cancel of the caller cancels the future, as it does in
  /// asyncio. Errors: the exception that was set; `cancelled`; broken_promise; not_in_task; invalid_state without a
  /// promise.
  Value get() {
    detail::future_state<Value>& of = this->state("future::get");
    const detail::future_reference<detail::future_state<Value>> keep = this->state_;
    detail::await_future(of, "future::get");
    this->state_ = {};
    if constexpr (std::is_reference_v<Value>)
      return static_cast<Value>(**of.value);
    else if constexpr (!std::is_void_v<Value>)
      return std::move(*of.value);
  }

  /// A future for several consumers; this one is empty then.
  [[nodiscard]] shared_future<Value> share() { return shared_future<Value>{std::move(this->state_)}; }

  /// For the library.
  explicit future(detail::future_reference<detail::future_state<Value>> of) noexcept
      : future_handle<Value>{std::move(of)} {}
};

/// A value for any number of consumers; copies stand for the same one.
template <class Value>
class [[nodiscard]] shared_future : public future_handle<Value> {
 public:
  using value_type = Value;

  shared_future() noexcept = default;

  /// Waits for the value, which stays where it is. The rest as future::get().
  decltype(auto) get() const {
    detail::future_state<Value>& of = this->state("shared_future::get");
    detail::await_future(of, "shared_future::get");
    if constexpr (std::is_reference_v<Value>)
      return static_cast<Value>(**of.value);
    else if constexpr (!std::is_void_v<Value>)
      return static_cast<const Value&>(*of.value);
  }

  explicit shared_future(detail::future_reference<detail::future_state<Value>> of) noexcept
      : future_handle<Value>{std::move(of)} {}
};

/// The side that gives the value, once.
///
/// Thread safety: the set_ and try_ functions from any thread, also at once: one of them wins. The rest needs it to
/// itself. Lifetime: destroyed without having been kept it breaks: who waits gets broken_promise.
template <class Value>
class promise {
 public:
  promise() : state_{new detail::future_state<Value>} {}
  promise(promise&&) noexcept = default;
  promise& operator=(promise&& other) noexcept {
    if (this != &other) {
      promise former{std::move(*this)};
      state_ = std::move(other.state_);
      future_taken_ = other.future_taken_;
    }
    return *this;
  }
  ~promise() {
    if (state_) detail::break_promise(*state_);
  }

  /// The future of it, once. Errors: invalid_state the second time, or on a moved-from promise.
  [[nodiscard]] future<Value> get_future() {
    if (!state_ || std::exchange(future_taken_, true)) throw invalid_state{"promise::get_future: it was taken already"};
    return future<Value>{state_};
  }

  /// Gives the value and makes those ready who wait. Does not suspend, runs no callback.
  ///
  /// Errors: invalid_state when it was kept already, or its future was cancelled.
  template <class... Arguments>
  void set_value(Arguments&&... arguments) {
    if (!try_set_value(std::forward<Arguments>(arguments)...))
      throw invalid_state{"promise::set_value: it has a value or an exception already, or was cancelled"};
  }
  void set_exception(std::exception_ptr error) {
    if (!try_set_exception(std::move(error)))
      throw invalid_state{"promise::set_exception: it has a value or an exception already, or was cancelled"};
  }

  /// The same; false instead of invalid_state.
  template <class... Arguments>
  [[nodiscard]] bool try_set_value(Arguments&&... arguments) {
    if (!state_) throw invalid_state{"promise::set_value: the promise was moved from"};
    if constexpr (std::is_reference_v<Value>)
      return state_->set_value(std::addressof(arguments)...);
    else
      return state_->set_value(std::forward<Arguments>(arguments)...);
  }
  [[nodiscard]] bool try_set_exception(std::exception_ptr error) {
    if (!state_) throw invalid_state{"promise::set_exception: the promise was moved from"};
    if (!error) throw invalid_state{"promise::set_exception: a null exception"};
    return state_->set_exception(std::move(error));
  }

  /// Whether nobody wants the value any more, since the future was cancelled.
  [[nodiscard]] bool cancelled() const noexcept { return state_ && state_->status() == detail::outcome::cancelled; }

 private:
  detail::future_reference<detail::future_state<Value>> state_;
  bool future_taken_ = false;
};

}  // namespace roving

#pragma GCC visibility pop
