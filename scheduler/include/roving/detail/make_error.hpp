// Exceptions made where nothing may be thrown.
#pragma once

#include <exception>
#include <utility>

#pragma GCC visibility push(default)

namespace roving::detail {

/// `Error`, or std::bad_alloc where there is no memory for its text.
template <class Error, class... Arguments>
[[nodiscard]] std::exception_ptr make_error(Arguments&&... arguments) noexcept {
  try {
    return std::make_exception_ptr(Error(std::forward<Arguments>(arguments)...));
  } catch (...) {
    return std::current_exception();
  }
}

}  // namespace roving::detail

#pragma GCC visibility pop
