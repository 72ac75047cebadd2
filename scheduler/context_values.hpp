// Contexts as the scheduler sees them: where the current one is kept. The rest is in
// <roving/detail/context_values.hpp>.
#pragma once

#include <roving/detail/context_values.hpp>

namespace roving::detail {

/// The place of the current context: a task's, a callback's or a plain thread's. Not to be kept over a suspension,
/// except in a task, whose place stays.
[[nodiscard]] context_values*& current_context() noexcept;

}  // namespace roving::detail
