// From what a system call returned to std::error_code, and from there to an exception.
#pragma once

#include <cerrno>
#include <cstddef>
#include <system_error>

namespace roving::detail {

/// Of the negative errno that system_calls return.
[[nodiscard]] inline std::error_code error_of(std::ptrdiff_t result) noexcept {
  return {static_cast<int>(-result), std::system_category()};
}

/// Whether a call in vain is worth a wait.
[[nodiscard]] constexpr bool would_block(std::ptrdiff_t result) noexcept {
  return result == -EAGAIN || result == -EWOULDBLOCK;
}

inline void throw_on(const std::error_code& error, const char* call) {
  if (error) throw std::system_error{error, call};
}

}  // namespace roving::detail
