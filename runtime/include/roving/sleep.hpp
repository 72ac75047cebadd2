// Letting time pass, and letting others run.
#pragma once

#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// Parks the current task until `deadline`; never returns before it. A deadline that has passed is a yield().
///
/// Suspends: yes. Errors: not_in_task; `cancelled`. Thread safety: a task.
void sleep_until(time_point deadline);

/// The same for `span` from now on.
template <class Representation, class Period>
void sleep_for(std::chrono::duration<Representation, Period> span);

/// Lets every other task that is ready on this shard run once; a roving task goes behind the roving ones that are
/// ready.
///
/// Suspends: yes. Errors: not_in_task; `cancelled`. Thread safety: a task.
void yield();

namespace detail {
void sleep_for(duration span);
}

template <class Representation, class Period>
void sleep_for(std::chrono::duration<Representation, Period> span) {
  detail::sleep_for(detail::to_duration(span));
}

}  // namespace roving

#pragma GCC visibility pop
