// The two ways in which a descriptor can be ready, each with its own waiter.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)

namespace roving::detail {

enum class io_direction : std::uint8_t { read, write };

}  // namespace roving::detail

#pragma GCC visibility pop
