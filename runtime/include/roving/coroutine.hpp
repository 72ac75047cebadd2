// C++20 coroutines on roving: code that says co_await waits for tasks and futures, and fibers wait for such code.
//
//     roving::coroutine<int> sum_of(roving::future<int> a) {
//       int sum = co_await std::move(a);
//       co_await roving::resume_after(10ms);
//       sum += co_await roving::spawn(roving::anywhere, [] { return slow(); });
//       co_return sum;
//     }
//     int sum = roving::await(sum_of(std::move(a)));     // on a fiber
//     auto task = roving::spawn(sum_of(std::move(b)));   // as a task of its own
//
// A coroutine is driven by the task that waits for it, on that task's fiber: it is part of the task, with its name,
// placement, context_vars and cancellation, and whatever blocks a fiber may be called in it too. What it costs is its
// frame: when_all() runs any number of them interleaved in one task, which parks when all of them wait. Nothing
// outlives the await() that drives it (decision D1), so that cancelling and shutdown need no list of coroutines.
//
// Rejected: resuming them from callbacks on a shard's loop. There would be no current task in them, nothing that
// suspends could be called, and they would need a cancellation and a shutdown of their own. The price of ours: a call
// that blocks the fiber (a mutex, a read) holds up the other coroutines of the same task; spawn() what shall not.
//
// A cancel of the task is passed on to what each of its coroutines awaits, and comes out of that co_await as
// `cancelled`. no_cancel, with_timeout and with_task_group are the task's, and so all its coroutines'.
//
// In coroutines of other libraries, co_await of a task or future resumes them from a callback on the shard where they
// awaited it. And whatever else can be awaited can be awaited in ours.
#pragma once

#include <array>
#include <chrono>
#include <concepts>
#include <coroutine>
#include <cstddef>
#include <memory>
#include <optional>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <roving/detail/coroutine_core.hpp>
#include <roving/detail/handle.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/error.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {

template <class Value>
class coroutine;

namespace detail {

template <class Type>
inline constexpr bool is_coroutine = false;
template <class Value>
inline constexpr bool is_coroutine<coroutine<Value>> = true;

template <class Type>
concept has_member_co_await = requires(Type&& of) {
  std::forward<Type>(of).operator co_await();
};
template <class Type>
concept has_free_co_await = requires(Type&& of) {
  operator co_await(std::forward<Type>(of));
};

/// What `co_await of` asks, as the language finds it.
template <class Type>
decltype(auto) awaiter_of(Type&& of) {
  if constexpr (has_member_co_await<Type>)
    return std::forward<Type>(of).operator co_await();
  else if constexpr (has_free_co_await<Type>)
    return operator co_await(std::forward<Type>(of));
  else
    return std::forward<Type>(of);
}

/// A task or future that a coroutine of ours awaits.
template <class Handle>
class handle_wait : public future_wait {
 public:
  explicit handle_wait(Handle&& of) : future_wait{future_behind(of, "co_await")}, of_{std::forward<Handle>(of)} {}
  taken_from<Handle> await_resume() {
    end_wait();
    return std::forward<Handle>(of_).get();
  }

 private:
  Handle&& of_;
};

/// A task or future that a coroutine of another library awaits. Resumed by a callback.
template <class Handle>
class handle_wait_elsewhere {
 public:
  explicit handle_wait_elsewhere(Handle&& of) noexcept : of_{std::forward<Handle>(of)} {}
  [[nodiscard]] bool await_ready() const { return of_.done(); }
  void await_suspend(std::coroutine_handle<> self) const {
    of_.on_done([self] { self.resume(); });
  }
  taken_from<Handle> await_resume() { return std::forward<Handle>(of_).get(); }

 private:
  Handle&& of_;
};

/// Something else that a coroutine of ours awaits. It may resume us on any thread; we go on in our task.
template <class Awaitable>
class foreign_wait {
 public:
  using awaiter = decltype(awaiter_of(std::declval<Awaitable>()));

  explicit foreign_wait(Awaitable&& of) : awaiter_{awaiter_of(std::forward<Awaitable>(of))} {}
  [[nodiscard]] bool await_ready() { return static_cast<bool>(awaiter_.await_ready()); }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> self) {
    strand& waits = self.promise().of();
    relay_.emplace(foreign_relay::make());
    const auto to_us = relay_->to(waits);
    if (!waits.begin_wait(strand::state::awaits_foreign, self)) {
      waits.end_wait();  // throws
      return false;
    }
    using answer = decltype(awaiter_.await_suspend(to_us));
    try {
      if constexpr (std::is_void_v<answer>) {
        awaiter_.await_suspend(to_us);
      } else if constexpr (std::is_same_v<answer, bool>) {
        if (!awaiter_.await_suspend(to_us)) return stay(waits);
      } else {
        const std::coroutine_handle<> goes_on = awaiter_.await_suspend(to_us);
        goes_on.resume();
      }
    } catch (...) {
      stay(waits);
      throw;
    }
    waits_ = &waits;
    return true;
  }
  decltype(auto) await_resume() {
    if (waits_ != nullptr) waits_->now = strand::state::active;
    return awaiter_.await_resume();
  }

 private:
  static bool stay(strand& waits) noexcept {
    waits.now = strand::state::active;
    waits.waits = nullptr;
    return false;
  }

  awaiter awaiter_;
  std::optional<foreign_relay> relay_;
  strand* waits_ = nullptr;
};

/// A coroutine that another one awaits, in the same strand.
template <class Value>
class coroutine_wait {
 public:
  explicit coroutine_wait(coroutine<Value>&& of) noexcept : of_{of} {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  void await_suspend(std::coroutine_handle<Promise> self) {
    of_.frame_.promise().join(self.promise().of(), of_.frame_, self);
  }
  Value await_resume() { return of_.take(); }

 private:
  coroutine<Value>& of_;
};

template <class Value>
class coroutine_promise : public coroutine_promise_base {
 public:
  [[nodiscard]] coroutine<Value> get_return_object() noexcept;

  template <class Source>
  requires std::convertible_to<Source&&, Value>
  void return_value(Source&& value) {
    if constexpr (std::is_reference_v<Value>)
      value_ = std::addressof(static_cast<Value>(value));
    else
      value_.emplace(std::forward<Source>(value));
  }

  [[nodiscard]] Value take() {
    throw_error();
    if constexpr (std::is_reference_v<Value>)
      return static_cast<Value>(**value_);
    else
      return std::move(*value_);
  }

  template <class Awaitable>
  [[nodiscard]] auto await_transform(Awaitable&& of);

 private:
  std::optional<stored<Value>> value_;
};

template <>
class coroutine_promise<void> : public coroutine_promise_base {
 public:
  [[nodiscard]] coroutine<void> get_return_object() noexcept;
  void return_void() const noexcept {}
  void take() { throw_error(); }

  template <class Awaitable>
  [[nodiscard]] auto await_transform(Awaitable&& of);
};

/// The way in which a coroutine of ours waits for it.
template <class Awaitable>
auto wait_for_it(Awaitable&& of) {
  using plain = std::remove_cvref_t<Awaitable>;
  if constexpr (is_coroutine<plain>) {
    static_assert(!std::is_lvalue_reference_v<Awaitable>, "a coroutine is awaited once: co_await std::move(it)");
    of.check("co_await");
    return coroutine_wait{std::forward<Awaitable>(of)};
  } else if constexpr (handle<Awaitable>) {
    return handle_wait<Awaitable>{std::forward<Awaitable>(of)};
  } else if constexpr (std::is_base_of_v<time_wait, plain> || std::is_base_of_v<group_wait, plain>) {
    return std::forward<Awaitable>(of);
  } else {
    return foreign_wait<Awaitable>{std::forward<Awaitable>(of)};
  }
}

template <class Value>
template <class Awaitable>
auto coroutine_promise<Value>::await_transform(Awaitable&& of) {
  return wait_for_it(std::forward<Awaitable>(of));
}
template <class Awaitable>
auto coroutine_promise<void>::await_transform(Awaitable&& of) {
  return wait_for_it(std::forward<Awaitable>(of));
}

/// What co_await of it gives in a coroutine of ours; a value where that would be a reference to a temporary.
template <class Value>
using kept = std::conditional_t<std::is_rvalue_reference_v<Value>, std::remove_cvref_t<Value>, std::remove_cv_t<Value>>;
template <class Awaitable>
using awaited_from = kept<decltype(wait_for_it(std::declval<Awaitable>()).await_resume())>;

}  // namespace detail

/// A lazy coroutine: it begins when it is awaited, once, and gives a `Value`, which may be a reference or void.
///
/// It can be awaited by another one (`co_await std::move(c)`), by a fiber (roving::await(c)), and called like a
/// function without arguments, which is the same as await(): so it can be given to whatever takes callables, such as
/// spawn() and gather(). Thread safety: none; it is moved and awaited by one at a time. Lifetime: destroys its frame.
/// What its parameters refer to must live until it has ended; beware of lambdas that
///   capture, which must outlive their coroutines.
template <class Value = void>
class [[nodiscard]] coroutine {
 public:
  using promise_type = detail::coroutine_promise<Value>;
  using value_type = Value;

  coroutine() noexcept = default;
  coroutine(coroutine&& other) noexcept : frame_{std::exchange(other.frame_, nullptr)} {}
  coroutine& operator=(coroutine&& other) noexcept {
    const coroutine former{std::exchange(frame_, nullptr)};
    frame_ = std::exchange(other.frame_, nullptr);
    return *this;
  }
  ~coroutine() {
    if (frame_) frame_.destroy();
  }

  /// Whether it can be awaited: false when default made, moved from, or awaited before.
  [[nodiscard]] bool valid() const noexcept { return frame_ && !frame_.done(); }

  /// Runs it to its end, as part of the current task, and gives its value. On a plain thread it blocks.
  ///
  /// Suspends: if it does. Errors: what the coroutine throws; `cancelled`, by way of what it awaits; not_in_task in a
  /// callback; invalid_state when it can't be awaited.
  Value operator()() {
    check("await");
    detail::coroutine_driver driver{"await"};
    driver.run(frame_.promise(), frame_);
    return take();
  }

 private:
  friend promise_type;
  friend class detail::coroutine_wait<Value>;
  template <class Awaitable>
  friend auto detail::wait_for_it(Awaitable&& of);
  friend struct detail_coroutine_access;

  explicit coroutine(std::coroutine_handle<promise_type> frame) noexcept : frame_{frame} {}

  void check(const char* call) const {
    if (!valid())
      throw invalid_state{std::string{call} + ": the coroutine was awaited before, default made or moved from"};
  }

  // Its value, once it has ended.
  Value take() {
    const coroutine ends{std::exchange(frame_, nullptr)};
    return ends.frame_.promise().take();
  }

  std::coroutine_handle<promise_type> frame_;
};

template <class Value>
coroutine<Value> detail::coroutine_promise<Value>::get_return_object() noexcept {
  return coroutine<Value>{std::coroutine_handle<coroutine_promise>::from_promise(*this)};
}
inline coroutine<void> detail::coroutine_promise<void>::get_return_object() noexcept {
  return coroutine<void>{std::coroutine_handle<coroutine_promise>::from_promise(*this)};
}

/// For the library: the inside of a coroutine.
struct detail_coroutine_access {
  template <class Value>
  static detail::group_wait::member member(coroutine<Value>& of, const char* call) {
    of.check(call);
    return {&of.frame_.promise(), of.frame_};
  }
  template <class Value>
  static detail::result_of<Value> take(coroutine<Value>& of) {
    if constexpr (std::is_void_v<Value>) {
      of.take();
      return {};
    } else {
      return of.take();
    }
  }
};

/// In a coroutine, `co_await resume_after(10ms)`: lets that time pass. Other coroutines of the task go on meanwhile,
/// which sleep_for() would hold up. Throws `cancelled`.
[[nodiscard]] inline auto resume_at(time_point deadline) noexcept { return detail::time_wait{deadline}; }
template <class Representation, class Period>
[[nodiscard]] auto resume_after(std::chrono::duration<Representation, Period> span) {
  return detail::time_wait{detail::time_after(now(), detail::to_duration(span))};
}

/// Waits on a fiber, or a plain thread, for whatever can be awaited: a coroutine of ours, or what another library has.
/// Gives what co_await of it gives.
///
/// What another library has may resume on any thread; the task goes on where it is at home. Such a wait can't be
/// cancelled: it lasts until that has ended, and a cancel stays pending. Suspends: yes. Errors: as
/// coroutine::operator().
template <class Awaitable>
detail::awaited_from<Awaitable> await(Awaitable&& of) {
  using value = detail::awaited_from<Awaitable>;
  if constexpr (detail::is_coroutine<std::remove_cvref_t<Awaitable>>) {
    return std::forward<Awaitable>(of)();
  } else {
    const auto awaits = [](Awaitable&& what) -> coroutine<value> { co_return co_await std::forward<Awaitable>(what); };
    return awaits(std::forward<Awaitable>(of))();
  }
}

/// Runs all of them interleaved, and gives their values in their order: as a tuple, with std::monostate for nothing, or
/// as a vector. The first that throws has the others cancelled; its exception is thrown when all have ended.
///
/// In a coroutine `co_await when_all(a(), b())`; on a fiber `await(when_all(a(), b()))`. Errors: invalid_state when one
/// can't be awaited, when it begins.
template <class... Values>
[[nodiscard]] coroutine<std::tuple<detail::result_of<Values>...>> when_all(coroutine<Values>... all) {
  const std::array<detail::group_wait::member, sizeof...(Values)> members{
      detail_coroutine_access::member(all, "when_all")...};
  co_await detail::group_wait{members};
  co_return std::tuple<detail::result_of<Values>...>{detail_coroutine_access::take(all)...};
}

template <class Value>
[[nodiscard]] auto when_all(std::vector<coroutine<Value>> all)
    -> coroutine<std::conditional_t<std::is_void_v<Value>, void, std::vector<detail::element_of<Value>>>> {
  std::vector<detail::group_wait::member> members;
  members.reserve(all.size());
  for (auto& each : all) members.push_back(detail_coroutine_access::member(each, "when_all"));
  co_await detail::group_wait{members};
  if constexpr (!std::is_void_v<Value>) {
    std::vector<detail::element_of<Value>> values;
    values.reserve(all.size());
    for (auto& each : all) values.push_back(detail_coroutine_access::take(each));
    co_return values;
  }
}

/// In coroutines of other libraries: `co_await` of a task, shared_task, future or shared_future, as its get(). The
/// coroutine is resumed from a callback on the shard where it awaited, where there is no current task; if the runtime
/// closes first, never. Errors: no_shard, runtime_closed; as get().
template <class Handle>
requires detail::handle<Handle>
[[nodiscard]] auto operator co_await(Handle&& of) noexcept {
  return detail::handle_wait_elsewhere<Handle>{std::forward<Handle>(of)};
}

}  // namespace roving

#pragma GCC visibility pop
