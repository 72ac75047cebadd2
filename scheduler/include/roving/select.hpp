// Waiting for several things at once, of which exactly one is done: Go's select.
//
//     select(jobs.on_get([&](job next) { run(next); }),         // queues: on_get, on_put
//            results.on_put(mine, [&] { ++sent; }),
//            stop.on_set([&] { stopping = true; }),             // event::on_set, semaphore::on_acquire
//            answer.on_ready([&] { use(answer.get()); }),       // futures and tasks
//            on_readable(fd, [&] { drain(fd); }),               // foreign descriptors
//            after(2s).on_expiry([&] { log("idle"); }));        // timer::on_expiry
//
// The alternatives are tried in the order in which they stand, and the first that can be done is: put first what shall
// go first. If none can be, the task waits for all of them at once, and what comes true first is done, whatever came
// true by the time that the task runs again. Where that was in vain, since an item was taken by one who came between
// (queues wake and retry), all begins anew, behind the others.
//
// What is not chosen has not happened: no item is taken, none is put, no permit is had; a wake-up that was meant for it
// goes to the next who waits. Two selects that face each other meet by way of the queue between them; none holds what
// the other one needs.
#pragma once

#include <concepts>
#include <cstddef>
#include <span>
#include <type_traits>
#include <utility>

#include <roving/detail/select_operation.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

template <class Alternative>
inline constexpr bool is_otherwise = false;
template <class Function>
inline constexpr bool is_otherwise<otherwise_case<Function>> = true;

template <class Alternative>
concept select_alternative = requires(Alternative& of) {
  { of.operation() } -> std::convertible_to<select_operation*>;
  of.complete();
};

// An rvalue reference may be to the item, which ends with the alternative.
template <class Alternative>
using completed = std::conditional_t<std::is_rvalue_reference_v<decltype(std::declval<Alternative&>().complete())>,
                                     std::remove_cvref_t<decltype(std::declval<Alternative&>().complete())>,
                                     decltype(std::declval<Alternative&>().complete())>;

template <class First, class... Rest>
constexpr auto common_result() {
  if constexpr ((std::is_same_v<First, Rest> && ...))
    return std::type_identity<First>{};
  else if constexpr (requires { typename std::common_type_t<First, Rest...>; })
    return std::type_identity<std::common_type_t<First, Rest...>>{};
}

template <class Result, class First, class... Rest>
Result complete_chosen(std::size_t chosen, First& first, Rest&... rest) {
  if constexpr (sizeof...(Rest) != 0) {
    if (chosen != 0) return complete_chosen<Result>(chosen - 1, rest...);
  }
  return first.complete();
}

template <class... Alternatives>
constexpr bool otherwise_is_last() {
  constexpr bool found[] = {is_otherwise<Alternatives>...};
  for (std::size_t i = 0; i + 1 < sizeof...(Alternatives); ++i)
    if (found[i]) return false;
  return true;
}

}  // namespace detail

/// For the end of a select() that must not wait: `f` is called when nothing else can be done at once.
template <class Function>
[[nodiscard]] auto otherwise(Function&& f) {
  return detail::otherwise_case<std::decay_t<Function>>{std::forward<Function>(f)};
}

/// Does exactly one of `alternatives`, then calls its function and gives what that returns: all functions return the
/// same or have a std::common_type, or all return nothing.
///
/// An alternative is made in the call, as above; `.when(condition)` behind it says whether it counts. It is of use
/// once. A function is called in the calling task after all is undone that was needed to wait, so that it may suspend,
/// throw, and destroy what was waited for.
///
/// Suspends: unless one can be done at once, or there is an otherwise(). A plain thread blocks (but has no shard for
/// descriptors); in a callback it works as long as it has not to wait.
/// Errors: what the alternative that is done throws, without its function having been called: queue_shut_down of a
///   queue that is shut down, which counts as one that can be done. What the function throws. `cancelled`: nothing is
///   done then, also when the cancel came after something had come true. not_in_task (in a callback); broken_contract
///   when no alternative counts and there is no otherwise(). An alternative that would wait for the calling task itself
///   throws broken_contract as it is made.
/// Thread safety: any thread. Lifetime: what is waited for must live until this returns.
template <detail::select_alternative... Alternatives>
decltype(auto) select(Alternatives&&... alternatives) {
  static_assert(sizeof...(Alternatives) != 0, "select() without an alternative would wait for ever");
  if constexpr (sizeof...(Alternatives) != 0) {
    static_assert((!std::is_lvalue_reference_v<Alternatives> && ...),
                  "an alternative is of use once: make it in place");
    static_assert(detail::otherwise_is_last<Alternatives...>(), "otherwise() is the last, and one is enough");
    using result = decltype(detail::common_result<detail::completed<Alternatives>...>());
    static_assert(!std::is_void_v<result>, "the functions of this select() return what has no common type");

    constexpr bool may_wait = !(detail::is_otherwise<Alternatives> || ...);
    detail::select_operation* const operations[] = {alternatives.operation()...};
    const std::size_t chosen =
        detail::select_among(std::span{operations}.first(sizeof...(Alternatives) - (may_wait ? 0 : 1)), may_wait);
    return detail::complete_chosen<typename result::type>(chosen, alternatives...);
  }
}

}  // namespace roving

#pragma GCC visibility pop
