// Waiting for some or all of several tasks and futures, without taking their values.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>
#include <type_traits>
#include <vector>

#include <roving/detail/handle.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// What wait() waits for.
enum class wait_condition : std::uint8_t {
  all_completed,
  first_completed,
  first_exception  // one that ended with an exception, `cancelled` not counted; or all
};

inline constexpr wait_condition all_completed = wait_condition::all_completed;
inline constexpr wait_condition first_completed = wait_condition::first_completed;
inline constexpr wait_condition first_exception = wait_condition::first_exception;

/// Both in argument order. Pointers to the handles that were given.
template <class Handle>
struct wait_result {
  std::vector<Handle*> done;
  std::vector<Handle*> pending;
};

namespace detail {

/// Waits for different futures until `condition` holds or `deadline` has come; max() is none.
void wait_for_futures(std::span<future_base* const> futures, wait_condition condition, time_point deadline,
                      const char* call);

template <class Range>
auto wait_for_range(Range& range, wait_condition condition, time_point deadline) {
  const handles<handle_in<Range>> of{range, "wait"};
  const std::vector<std::size_t> places = first_places(of.futures);
  std::vector<future_base*> different;
  different.reserve(places.size());
  for (const std::size_t place : places) different.push_back(of.futures[place]);
  wait_for_futures(different, condition, deadline, "wait");
  wait_result<handle_in<Range>> result;
  for (const std::size_t place : places)
    (of.futures[place]->is_done() ? result.done : result.pending).push_back(of.all[place]);
  return result;
}

}  // namespace detail

/// Waits until `condition` holds for the handles of a range (of tasks, futures, task_view; pointers to them, also to a
/// common task_handle, or std::reference_wrapper), each counted once. Says which are done; takes no values, fetches no
/// errors.
///
/// Suspends: yes, except that a roving task may not have to. A plain thread blocks. Errors: std::invalid_argument for
/// an empty range; not_in_task (in a callback). A cancel of the caller ends the wait and leaves what is waited for
/// alone. Lifetime: the handles must stay where they are; what is returned points to them.
template <detail::waitable_range Range>
auto wait(Range&& handles, wait_condition condition = all_completed) {
  static_assert(std::is_lvalue_reference_v<Range> || !detail::waitable<decltype(*std::begin(handles))>,
                "what is returned would point into a range that is gone");
  return detail::wait_for_range(handles, condition, time_point::max());
}

/// The same for at most `timeout`: throws and cancels nothing when it has passed.
template <detail::waitable_range Range, class Representation, class Period>
auto wait(Range&& handles, wait_condition condition, std::chrono::duration<Representation, Period> timeout) {
  static_assert(std::is_lvalue_reference_v<Range> || !detail::waitable<decltype(*std::begin(handles))>,
                "what is returned would point into a range that is gone");
  return detail::wait_for_range(handles, condition, detail::time_after(now(), detail::to_duration(timeout)));
}

}  // namespace roving

#pragma GCC visibility pop
