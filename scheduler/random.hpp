// The seam "randomness": every choice of the scheduler that is left to chance comes from one of these, one a shard.
// xorshift64*: small, fast, good enough to pick a victim.
#pragma once

#include <cstdint>

namespace roving::detail {

class random_source {
 public:
  explicit random_source(std::uint64_t seed) noexcept : state_{seed * 0x9e3779b97f4a7c15ULL | 1U} {}

  [[nodiscard]] std::uint64_t next() noexcept {
    state_ ^= state_ >> 12U;
    state_ ^= state_ << 25U;
    state_ ^= state_ >> 27U;
    return state_ * 0x2545f4914f6cdd1dULL;
  }

  /// 0 <= result < bound. `bound` > 0.
  [[nodiscard]] unsigned below(unsigned bound) noexcept {
    return static_cast<unsigned>(((next() >> 32U) * bound) >> 32U);
  }

 private:
  std::uint64_t state_;
};

}  // namespace roving::detail
