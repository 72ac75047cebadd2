// Tested: the histogram of the load generator.
#include "perf/histogram.hpp"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <vector>

#include "tests/support/catch.hpp"

using roving_perf::histogram;

TEST_CASE("histogram: an empty one has no values", "[perf][histogram]") {
  const histogram none;
  CHECK(none.count() == 0);
  CHECK(none.max() == 0);
  CHECK(none.percentile(50) == 0);
}

TEST_CASE("histogram: values below 256 are exact", "[perf][histogram]") {
  histogram all;
  for (std::uint64_t value = 0; value < 256; ++value) all.record(value);
  CHECK(all.count() == 256);
  for (std::uint64_t value = 0; value < 256; ++value) {
    CHECK(all.percentile(100.0 * static_cast<double>(value + 1) / 256) == value);
  }
  CHECK(all.percentile(0) == 0);
}

TEST_CASE("histogram: one value is every percentile of itself, at most 1 in 128 too large", "[perf][histogram]") {
  for (unsigned power = 0; power < 64; ++power) {
    for (const std::int64_t beside : {-1, 0, 1}) {
      const std::uint64_t value = (std::uint64_t{1} << power) + static_cast<std::uint64_t>(beside);
      histogram two;
      two.record(value);
      two.record(std::numeric_limits<std::uint64_t>::max());
      const std::uint64_t found = two.percentile(50);
      CHECK(found >= value);
      CHECK(found - value <= value / 128);
    }
  }
}

TEST_CASE("histogram: the largest value is exact, also as a percentile", "[perf][histogram]") {
  histogram all;
  all.record(1'000'003);
  all.record(7);
  CHECK(all.max() == 1'000'003);
  CHECK(all.percentile(100) == 1'000'003);
  CHECK(all.percentile(50) == 7);
  all.record(std::numeric_limits<std::uint64_t>::max());
  CHECK(all.percentile(100) == std::numeric_limits<std::uint64_t>::max());
}

TEST_CASE("histogram: percentiles are those of the sorted values, rounded up", "[perf][histogram]") {
  std::mt19937_64 random{42};
  std::vector<std::uint64_t> values;
  histogram all;
  for (int i = 0; i < 20'000; ++i) {
    const auto value = static_cast<std::uint64_t>(std::exp(std::uniform_real_distribution{0.0, 30.0}(random)));
    values.push_back(value);
    all.record(value);
  }
  std::sort(values.begin(), values.end());
  for (const double percent : {1.0, 25.0, 50.0, 90.0, 99.0, 99.9, 99.99, 100.0}) {
    const auto rank = static_cast<std::size_t>(std::ceil(percent / 100 * 20'000));
    const std::uint64_t exact = values[rank - 1];
    CHECK(all.percentile(percent) >= exact);
    CHECK(all.percentile(percent) - exact <= exact / 128);
  }
}

TEST_CASE("histogram: adding one to another is as if all had been recorded in one", "[perf][histogram]") {
  histogram first;
  histogram second;
  histogram both;
  for (std::uint64_t value = 1; value < 1'000'000; value = value * 3 / 2 + 1) {
    (value % 2 == 0 ? first : second).record(value);
    both.record(value);
  }
  first.add(second);
  CHECK(first.count() == both.count());
  CHECK(first.max() == both.max());
  for (int percent = 0; percent <= 100; ++percent) CHECK(first.percentile(percent) == both.percentile(percent));
}
