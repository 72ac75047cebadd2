// What a system call returned, or its negative errno where it returned -1: errors are returned and never left in errno
// (system_calls.hpp says why).
#pragma once

#include <cerrno>

namespace roving::detail {

template <class Result>
[[nodiscard]] Result or_error(Result result) noexcept {
  return result >= 0 ? result : static_cast<Result>(-errno);
}

}  // namespace roving::detail
