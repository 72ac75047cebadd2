// What code on a shard asks of its surroundings, for the rooms above.
#pragma once

#include "scheduler/parker.hpp"

namespace roving::detail {

/// The parker of the shard that the caller is on. Throws no_shard{call}.
[[nodiscard]] parker& current_parker(const char* call);

/// The number of the shard that the caller is on. Throws no_shard{call}.
[[nodiscard]] unsigned current_shard_index(const char* call);

}  // namespace roving::detail
