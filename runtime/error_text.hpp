// An exception as text, for messages that tell of several.
#pragma once

#include <exception>
#include <string>

namespace roving::detail {

/// Its what(); "cancelled"; or that it is not a std::exception.
[[nodiscard]] std::string text_of(const std::exception_ptr& error);

}  // namespace roving::detail
