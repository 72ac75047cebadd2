// Doing several things at once and keeping what is ready first.
#pragma once

#include <cstddef>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <type_traits>
#include <utility>
#include <variant>
#include <vector>

#include <roving/gather.hpp>

#pragma GCC visibility push(default)

namespace roving {
namespace detail {

template <class First, class... Rest>
inline constexpr bool all_same = (std::is_same_v<First, Rest> && ...);

template <class Variant, std::size_t... Places, class... Values>
Variant take_winner(std::size_t winner, std::index_sequence<Places...>, std::tuple<task<Values>...>& tasks) {
  std::optional<Variant> taken;
  ((winner == Places
        ? static_cast<void>(taken.emplace(std::in_place_index<Places>, take_result(std::move(std::get<Places>(tasks)))))
        : static_cast<void>(0)),
   ...);
  return *std::move(taken);
}

template <class Value>
Value race_tasks(std::vector<task<Value>>& tasks) {
  if (tasks.empty()) throw std::invalid_argument{"race: nobody takes part"};
  const handles<task<Value>> of{tasks, "race"};
  return std::move(*of.all[gather_futures(of.futures, gather_rule::cancel_on_end, "race")]).get();
}

}  // namespace detail

/// Runs callables concurrently, as tasks that are placed as the caller is (or `where`), until one of them has ended,
/// with a value or with an exception. It wins: the others are cancelled, and what they return or throw is dropped. The
/// winner's value is returned, its exception thrown, when all have ended.
///
/// For the first *success* catch in the callables what may fail.
/// Returns: what they return, if that is one type; else a std::variant with the alternatives in argument order
/// (std::monostate for nothing), whose index() says who won.
/// Suspends: yes, until all have ended. Errors: the winner's; `cancelled` if it was cancelled, or the caller was before
/// anybody had ended; not_in_task, no_shard; as spawn().
/// Lifetime: callables are moved (copied, if lvalues) into their tasks, which have ended when this returns or throws.
template <detail::body... Functions>
requires(sizeof...(Functions) > 0) auto race(placement where, Functions&&... functions) {
  detail::require_task("race");
  attributes what;
  what.placement = where;
  using tasks_type = std::tuple<task<detail::returned_by<Functions>>...>;
  tasks_type tasks{detail::spawn_task(what, std::forward<Functions>(functions), spawn_site::current(), "race")...};
  return std::apply(
      [&tasks](auto&... each) {
        const std::array<detail::future_base*, sizeof...(Functions)> futures{&detail::future_behind(each, "race")...};
        const std::size_t winner = detail::gather_futures(futures, detail::gather_rule::cancel_on_end, "race");
        using variant = std::variant<detail::element_of<detail::returned_by<Functions>>...>;
        auto taken = detail::take_winner<variant>(winner, std::index_sequence_for<Functions...>{}, tasks);
        if constexpr (!detail::all_same<detail::returned_by<Functions>...>)
          return taken;
        else if constexpr (!std::is_void_v<std::common_type_t<detail::returned_by<Functions>...>>)
          return std::visit([](auto& value) { return std::move(value); }, taken);
      },
      tasks);
}
template <detail::body... Functions>
requires(sizeof...(Functions) > 0) auto race(Functions&&... functions) {
  return race(placement{}, std::forward<Functions>(functions)...);
}

/// The same for a range of callables of one type. Errors: std::invalid_argument for an empty one.
template <detail::body_range Range>
auto race(placement where, Range&& functions) {
  auto tasks = detail::spawn_range(where, "race", std::forward<Range>(functions));
  return detail::race_tasks(tasks);
}
template <detail::body_range Range>
auto race(Range&& functions) {
  return race(placement{}, std::forward<Range>(functions));
}

}  // namespace roving

#pragma GCC visibility pop
