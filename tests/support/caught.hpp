// The exception that the caller is handling, as its text.
#pragma once

#include <exception>
#include <string>

namespace roving_test {

/// By `throw;`, in a handler alone.
inline std::string what_rethrows() {
  try {
    throw;
  } catch (const std::exception& error) {
    return error.what();
  } catch (...) {
    return "?";
  }
}

/// By std::current_exception(); "nothing" outside of handlers.
inline std::string what_is_caught() {
  const std::exception_ptr now = std::current_exception();
  if (!now) return "nothing";
  try {
    std::rethrow_exception(now);
  } catch (...) {
    return what_rethrows();
  }
}

}  // namespace roving_test
