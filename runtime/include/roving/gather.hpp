// Doing several things at once and waiting for all of them.
//
// gather() takes callables, or handles of what runs already, and the two differ in who looks after the tasks.
//   callables: they are gather's. It spawns them, and never returns or throws before all have ended, so that they may
//   refer
//     to what the caller has. The first failure cancels the others; it is thrown when they have ended.
//   handles: they are the caller's, and it is asyncio's gather: the first failure is thrown at once, and the others go
//   on.
// A cancel of the caller is passed on to all of them.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include <roving/detail/handle.hpp>
#include <roving/placement.hpp>
#include <roving/settled.hpp>
#include <roving/spawn.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

enum class gather_rule : std::uint8_t {
  first_failure,      // ends with the first failure, or with all
  settled,            // ends with all
  cancel_on_failure,  // ends with all; the first failure cancels the others
  cancel_on_end       // ends with all; the first end cancels the others
};

/// Waits for all of `futures` by that rule, and throws what comes of it. Each is waited for once, and cancelled as
/// often as it is there. Returns the place of the one that decided: the first to end, if it is a race.
std::size_t gather_futures(std::span<future_base* const> futures, gather_rule rule, const char* call);

/// Why it has no value, null if it has one. It is done, and counts as fetched.
[[nodiscard]] std::exception_ptr failure_of(future_base& of);

/// Throws not_in_task in a callback, no_shard off every shard.
void require_task(const char* call);

template <class Handle>
settled<taken_from<Handle>> settle(Handle&& of) {
  using made = settled<taken_from<Handle>>;
  if (std::exception_ptr error = failure_of(future_behind(of, "gather_settled"))) return made{std::move(error)};
  if constexpr (std::is_void_v<taken_from<Handle>>) {
    std::forward<Handle>(of).get();
    return made{std::in_place};
  } else {
    return made{std::in_place, std::forward<Handle>(of).get()};
  }
}

/// The results of handles, all done, in their order.
struct take_values {
  static constexpr gather_rule for_handles = gather_rule::first_failure;
  static constexpr gather_rule for_bodies = gather_rule::cancel_on_failure;
  template <class Handle>
  using result = result_of<taken_from<Handle>>;
  template <class Handle>
  using element = element_of<taken_from<Handle>>;
  template <class Handle>
  static result<Handle> take(Handle&& of) {
    return take_result(std::forward<Handle>(of));
  }
};
struct take_settled {
  static constexpr gather_rule for_handles = gather_rule::settled;
  static constexpr gather_rule for_bodies = gather_rule::settled;
  template <class Handle>
  using result = settled<taken_from<Handle>>;
  template <class Handle>
  using element = result<Handle>;
  template <class Handle>
  static result<Handle> take(Handle&& of) {
    return settle(std::forward<Handle>(of));
  }
};

template <class Taking, class... Handles>
auto gather_handles(gather_rule rule, const char* call, Handles&&... all) {
  const std::array<future_base*, sizeof...(Handles)> futures{&future_behind(all, call)...};
  gather_futures(futures, rule, call);
  return std::tuple<typename Taking::template result<Handles>...>{
      Taking::template take<Handles>(std::forward<Handles>(all))...};
}

// `Moved`: the handles are rvalues, so that values are moved out.
template <class Taking, bool Moved, class Handle>
auto gather_list(gather_rule rule, const char* call, const handles<Handle>& of) {
  using given = std::conditional_t<Moved, Handle, Handle&>;
  gather_futures(of.futures, rule, call);
  if constexpr (std::is_same_v<Taking, take_values> && std::is_void_v<taken_from<given>>) {
    return;
  } else {
    std::vector<typename Taking::template element<given>> results;
    results.reserve(of.all.size());
    for (Handle* each : of.all) results.push_back(Taking::template take<given>(static_cast<given&&>(*each)));
    return results;
  }
}

template <class Taking, class Range>
auto gather_range(const char* call, Range&& range) {
  constexpr bool moved = !std::is_lvalue_reference_v<Range> && handle<decltype(*std::begin(range))>;
  return gather_list<Taking, moved>(Taking::for_handles, call, handles<handle_in<Range>>{range, call});
}

// The tasks end with this call: their handles cancel and join what an exception leaves running.
template <class Taking, class... Functions>
auto gather_bodies(placement where, const char* call, Functions&&... functions) {
  require_task(call);
  attributes what;
  what.placement = where;
  std::tuple<task<returned_by<Functions>>...> tasks{
      spawn_task(what, std::forward<Functions>(functions), spawn_site::current(), call)...};
  return std::apply(
      [call](auto&... each) { return gather_handles<Taking>(Taking::for_bodies, call, std::move(each)...); }, tasks);
}

template <class Range>
auto spawn_range(placement where, const char* call, Range&& range) {
  require_task(call);
  attributes what;
  what.placement = where;
  std::vector<task<returned_by<decltype(*std::begin(range))>>> tasks;
  for (auto&& each : range) {
    if constexpr (std::is_lvalue_reference_v<Range>)
      tasks.push_back(spawn_task(what, each, spawn_site::current(), call));
    else
      tasks.push_back(spawn_task(what, std::move(each), spawn_site::current(), call));
  }
  return tasks;
}

template <class Taking, class Range>
auto gather_body_range(placement where, const char* call, Range&& range) {
  auto tasks = spawn_range(where, call, std::forward<Range>(range));
  return gather_list<Taking, true>(Taking::for_bodies, call,
                                   handles<typename decltype(tasks)::value_type>{tasks, call});
}

}  // namespace detail

/// Runs callables concurrently, as tasks that are placed as the caller is (or `where`), and gives what they return: as
/// a tuple in argument order, with std::monostate for nothing.
///
/// Suspends: yes, until all have ended. Errors: the first failure, `cancelled` of one of them included, once all have
/// ended: it cancels the others, whose own failures are not reported. A cancel of the caller cancels all; then
/// `cancelled` unless one fails otherwise first. not_in_task, no_shard; as spawn(). Lifetime: callables are moved
/// (copied, if lvalues) into their tasks, which have ended when this returns or throws.
template <detail::body... Functions>
requires(sizeof...(Functions) > 0) auto gather(Functions&&... functions) {
  return detail::gather_bodies<detail::take_values>({}, "gather", std::forward<Functions>(functions)...);
}
template <detail::body... Functions>
requires(sizeof...(Functions) > 0) auto gather(placement where, Functions&&... functions) {
  return detail::gather_bodies<detail::take_values>(where, "gather", std::forward<Functions>(functions)...);
}

/// The same for a range of callables of one type. A vector of what they return (references as std::reference_wrapper),
/// or nothing if they return nothing.
template <detail::body_range Range>
auto gather(Range&& functions) {
  return detail::gather_body_range<detail::take_values>({}, "gather", std::forward<Range>(functions));
}
template <detail::body_range Range>
auto gather(placement where, Range&& functions) {
  return detail::gather_body_range<detail::take_values>(where, "gather", std::forward<Range>(functions));
}

/// Waits for tasks and futures (task, shared_task, future, shared_future), and gives what get() of each gives, in
/// argument order: from lvalues of tasks and shared handles references to the values, which live as long as the handles
/// do; from rvalues, and from a future, the values. The same task may be there more than once.
///
/// Suspends: yes, unless all are done. A plain thread blocks. Errors: the first failure, at once: the others go on,
/// their failures are not reported. One that was cancelled counts as a failure, `cancelled`. A cancel of the caller
/// cancels all of them, and `cancelled` is thrown when the first has ended so. not_in_task (in a callback);
/// invalid_state (a handle without a task).
template <detail::handle... Handles>
requires(sizeof...(Handles) > 0) auto gather(Handles&&... handles) {
  return detail::gather_handles<detail::take_values>(detail::gather_rule::first_failure, "gather",
                                                     std::forward<Handles>(handles)...);
}

/// The same for a range of handles, of pointers to handles or of std::reference_wrapper. A vector, with
/// std::reference_wrapper for references; nothing if the handles have no values.
template <detail::handle_range Range>
auto gather(Range&& handles) {
  return detail::gather_range<detail::take_values>("gather", std::forward<Range>(handles));
}

inline std::tuple<> gather() noexcept { return {}; }

/// As gather(), but nothing that fails cancels the others or is thrown: each result is a settled<...>, a value or an
/// exception, `cancelled` included. Waits for all to end.
///
/// Errors: a cancel of the caller cancels all; `cancelled` is thrown when they have ended.
template <detail::body... Functions>
requires(sizeof...(Functions) > 0) auto gather_settled(Functions&&... functions) {
  return detail::gather_bodies<detail::take_settled>({}, "gather_settled", std::forward<Functions>(functions)...);
}
template <detail::body... Functions>
requires(sizeof...(Functions) > 0) auto gather_settled(placement where, Functions&&... functions) {
  return detail::gather_bodies<detail::take_settled>(where, "gather_settled", std::forward<Functions>(functions)...);
}
template <detail::body_range Range>
auto gather_settled(Range&& functions) {
  return detail::gather_body_range<detail::take_settled>({}, "gather_settled", std::forward<Range>(functions));
}
template <detail::body_range Range>
auto gather_settled(placement where, Range&& functions) {
  return detail::gather_body_range<detail::take_settled>(where, "gather_settled", std::forward<Range>(functions));
}
template <detail::handle... Handles>
requires(sizeof...(Handles) > 0) auto gather_settled(Handles&&... handles) {
  return detail::gather_handles<detail::take_settled>(detail::gather_rule::settled, "gather_settled",
                                                      std::forward<Handles>(handles)...);
}
template <detail::handle_range Range>
auto gather_settled(Range&& handles) {
  return detail::gather_range<detail::take_settled>("gather_settled", std::forward<Range>(handles));
}

inline std::tuple<> gather_settled() noexcept { return {}; }

}  // namespace roving

#pragma GCC visibility pop
