// What combinators need of the things that they take: which future is behind a handle, and what it gives.
#pragma once

#include <concepts>
#include <cstddef>
#include <functional>
#include <iterator>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <roving/detail/future_base.hpp>
#include <roving/future.hpp>
#include <roving/shared_task.hpp>
#include <roving/task.hpp>
#include <roving/task_view.hpp>

#pragma GCC visibility push(default)

namespace roving::detail {

/// The state behind a handle.
struct future_access {
  static future_base& state_of(const task_view& handle, const char* call) { return handle.state(call); }
  template <class Value>
  static future_base& state_of(const future_handle<Value>& handle, const char* call) {
    return handle.state(call);
  }
};

inline future_base& future_behind(const task_handle& handle, const char* call) {
  return detail_access::state_of(handle, call);
}
inline future_base& future_behind(const task_view& handle, const char* call) {
  return future_access::state_of(handle, call);
}
template <class Value>
future_base& future_behind(const future_handle<Value>& handle, const char* call) {
  return future_access::state_of(handle, call);
}

template <class Type>
inline constexpr bool is_reference_wrapper = false;
template <class Type>
inline constexpr bool is_reference_wrapper<std::reference_wrapper<Type>> = true;

/// Handles come as they are, or by pointer or std::reference_wrapper.
template <class Element>
auto& plain_handle(Element& element) noexcept {
  if constexpr (std::is_pointer_v<Element>)
    return *element;
  else if constexpr (is_reference_wrapper<std::remove_const_t<Element>>)
    return element.get();
  else
    return element;
}

/// What can be waited for.
template <class Handle>
concept waitable = requires(const std::remove_cvref_t<Handle>& of) {
  { future_behind(of, "") } -> std::same_as<future_base&>;
};

/// The same with a value: a task, a shared_task, a future or a shared_future.
template <class Handle>
concept handle = waitable<Handle> && requires {
  typename std::remove_cvref_t<Handle>::value_type;
};

/// A range of them, of pointers to them or of std::reference_wrapper.
template <class Range>
concept waitable_range = requires(Range& of) {
  { plain_handle(*std::begin(of)) } -> waitable;
  std::end(of);
};
template <class Range>
concept handle_range = waitable_range<Range> && requires(Range& of) {
  { plain_handle(*std::begin(of)) } -> handle;
};

/// What can be called without arguments, once.
template <class Function>
concept body = std::invocable<std::decay_t<Function>> && !waitable<Function>;

/// A range of callables of one type.
template <class Range>
concept body_range = !waitable_range<Range> && !body<Range> && requires(Range & of) {
  { *std::begin(of) } -> body;
  std::end(of);
};

template <class Range>
using handle_in = std::remove_reference_t<decltype(plain_handle(*std::begin(std::declval<Range&>())))>;

/// The handles of a range, which stay where they are, and the futures behind them.
template <class Handle>
struct handles {
  std::vector<Handle*> all;
  std::vector<future_base*> futures;

  template <class Range>
  handles(Range& range, const char* call) {
    for (auto&& each : range) {
      Handle& one = plain_handle(each);
      futures.push_back(&future_behind(one, call));
      all.push_back(&one);
    }
  }
};

/// Where in `futures` each that is in there stands first.
[[nodiscard]] std::vector<std::size_t> first_places(std::span<future_base* const> futures);

/// What get() of a handle gives: a reference to the value from an lvalue of a kind that keeps it, else the value.
template <class Handle>
struct taken {
  using got = decltype(std::declval<Handle>().get());
  static constexpr bool would_dangle = !std::is_lvalue_reference_v<Handle> && std::is_lvalue_reference_v<got> &&
      !std::is_reference_v<typename std::remove_cvref_t<Handle>::value_type>;
  using type = std::conditional_t<would_dangle, std::remove_cvref_t<got>, got>;
};
template <class Handle>
using taken_from = typename taken<Handle&&>::type;

/// What stands for it in a tuple or a vector.
template <class Value>
using result_of = std::conditional_t<std::is_void_v<Value>, std::monostate, Value>;
template <class Value>
using element_of = std::conditional_t<std::is_reference_v<Value>,
                                      std::reference_wrapper<std::remove_reference_t<Value>>, result_of<Value>>;

/// The value of a handle that is done.
template <class Handle>
result_of<taken_from<Handle>> take_result(Handle&& of) {
  if constexpr (std::is_void_v<taken_from<Handle>>) {
    std::forward<Handle>(of).get();
    return {};
  } else {
    return std::forward<Handle>(of).get();
  }
}

}  // namespace roving::detail

#pragma GCC visibility pop
