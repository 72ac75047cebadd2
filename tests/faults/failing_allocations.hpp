// Allocations that fail on purpose. This executable replaces the global operators new and delete: they count what is
// there, and inside of a failing_allocations the one that was chosen throws std::bad_alloc, whichever thread it is.
//
// What does not come through operator new can't fail here: exceptions (the C++ runtime takes them from malloc(), and
// keeps a reserve for when there is none), stacks (see stacks_test.cpp) and what libraries do on their own.
#pragma once

#include <cstdint>
#include <limits>

namespace test {

class failing_allocations {
 public:
  static constexpr std::uint64_t none = std::numeric_limits<std::uint64_t>::max();

  /// From now on `count` allocations fail, beginning with the one of that number, the first being 1. One at a time.
  explicit failing_allocations(std::uint64_t first, std::uint64_t count = 1) noexcept;
  failing_allocations(const failing_allocations&) = delete;
  failing_allocations& operator=(const failing_allocations&) = delete;
  ~failing_allocations();

  /// How many allocations there were since.
  [[nodiscard]] static std::uint64_t seen() noexcept;
};

/// Blocks that were allocated and not freed, in the whole process.
[[nodiscard]] std::int64_t blocks_in_use() noexcept;

}  // namespace test
