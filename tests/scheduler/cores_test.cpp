// Tested: how many shards a process gets.
#include "scheduler/cores.hpp"
#include "tests/support/catch.hpp"

using namespace roving::detail;

TEST_CASE("cores: a CPU quota is worth whole cores, rounded up, at least one", "[cores]") {
  CHECK_FALSE(cores_in_quota("max 100000\n").has_value());
  CHECK(cores_in_quota("200000 100000\n") == 2U);
  CHECK(cores_in_quota("150000 100000") == 2U);
  CHECK(cores_in_quota("50000 100000") == 1U);
  CHECK(cores_in_quota("1 100000") == 1U);
}

TEST_CASE("cores: what is no quota limits nothing", "[cores]") {
  for (const char* text : {"", "nonsense", "100000", "100000 ", "-1 100000", "0 100000", "100000 0"})
    CHECK_FALSE(cores_in_quota(text).has_value());
}

TEST_CASE("cores: there is at least one, and no more shards than cores", "[cores]") {
  REQUIRE_FALSE(usable_cores().empty());
  CHECK(default_shard_count() >= 1);
  CHECK(default_shard_count() <= usable_cores().size());
}
