// Counts of values by size, for percentiles: as fine as its buckets, whatever the range, in a fixed amount of memory.
//
// After the idea of HdrHistogram: each power of two is cut into 128 equal buckets, so a value is known to better than
// 1 in 128. Values below 256 are exact.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace roving_perf {

/// Not for several threads at once: one for each, and add() at the end.
class histogram {
 public:
  void record(std::uint64_t value) noexcept {
    ++counts_[bucket_of(value)];
    ++count_;
    largest_ = std::max(largest_, value);
  }

  void add(const histogram& other) noexcept {
    for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) counts_[bucket] += other.counts_[bucket];
    count_ += other.count_;
    largest_ = std::max(largest_, other.largest_);
  }

  [[nodiscard]] std::uint64_t count() const noexcept { return count_; }
  [[nodiscard]] std::uint64_t max() const noexcept { return largest_; }

  /// The value that `percent` of all values do not exceed, rounded up to the end of its bucket; 0 without values.
  [[nodiscard]] std::uint64_t percentile(double percent) const noexcept {
    const auto wanted = static_cast<std::uint64_t>(std::ceil(percent / 100 * static_cast<double>(count_)));
    const std::uint64_t rank = std::clamp<std::uint64_t>(wanted, 1, std::max<std::uint64_t>(count_, 1));
    std::uint64_t seen = 0;
    for (std::size_t bucket = 0; bucket < counts_.size(); ++bucket) {
      seen += counts_[bucket];
      if (seen >= rank) return std::min(end_of(bucket), largest_);
    }
    return largest_;
  }

 private:
  static constexpr unsigned bits = 7;
  static constexpr std::uint64_t per_power = std::uint64_t{1} << bits;

  static std::size_t bucket_of(std::uint64_t value) noexcept {
    const auto width = static_cast<unsigned>(std::bit_width(value));
    if (width <= bits) return static_cast<std::size_t>(value);
    const unsigned shift = width - bits - 1;
    return static_cast<std::size_t>(per_power * shift + (value >> shift));
  }

  // The largest value of the bucket.
  static std::uint64_t end_of(std::size_t bucket) noexcept {
    if (bucket < per_power) return bucket;
    const auto shift = static_cast<unsigned>(bucket / per_power - 1);
    const std::uint64_t first = (bucket - per_power * shift) << shift;
    return first + ((std::uint64_t{1} << shift) - 1);
  }

  std::array<std::uint64_t, per_power*(64 - bits + 1)> counts_{};
  std::uint64_t count_ = 0;
  std::uint64_t largest_ = 0;
};

}  // namespace roving_perf
