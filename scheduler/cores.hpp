// How many cores this process may use, and which: the affinity mask, cut by the control group's CPU quota.
#pragma once

#include <optional>
#include <string_view>
#include <vector>

namespace roving::detail {

/// The cores of the affinity mask. At least one entry; where the system has no masks, 0 to n - 1.
[[nodiscard]] std::vector<unsigned> usable_cores();

/// One shard per usable core, no more than the quota pays for, at least 1.
[[nodiscard]] unsigned default_shard_count();

/// The cores that a quota is worth, rounded up; none when it says that there is no limit. `text` is the contents of
/// cgroup v2's cpu.max: "max 100000", "150000 100000".
[[nodiscard]] std::optional<unsigned> cores_in_quota(std::string_view text) noexcept;

}  // namespace roving::detail
