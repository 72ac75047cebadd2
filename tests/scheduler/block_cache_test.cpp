// Tested: the memory that a shard keeps for callbacks: it is used again, may come from another cache, and is bounded.

#include "scheduler/block_cache.hpp"

#include <algorithm>
#include <cstddef>
#include <cstring>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

using roving::detail::block_cache;

void fill(void* block) { std::memset(block, 0x5a, block_cache::block_size_bytes); }

TEST_CASE("block_cache: gives anew what came back, and nothing that is out", "[scheduler]") {
  constexpr bool keeps = block_cache::kept_at_most != 0;  // not under AddressSanitizer
  block_cache cache;
  void* const first = cache.take();
  void* const second = cache.take();
  CHECK(first != second);
  fill(first);
  fill(second);
  cache.give_back(first);
  cache.give_back(second);
  CHECK(cache.kept() == (keeps ? 2 : 0));
  void* const third = cache.take();
  void* const fourth = cache.take();
  CHECK(third != fourth);
  CHECK(cache.kept() == 0);
  if (keeps) CHECK(std::minmax(third, fourth) == std::minmax(first, second));
  cache.give_back(third);
  cache.give_back(fourth);
}

TEST_CASE("block_cache: takes what another one gave, and keeps no more than it may", "[scheduler]") {
  block_cache here;
  block_cache there;
  std::vector<void*> taken;
  for (std::size_t i = 0; i < block_cache::kept_at_most + 10; ++i) {
    taken.push_back(there.take());
    fill(taken.back());
  }
  for (void* const each : taken) here.give_back(each);
  CHECK(here.kept() == block_cache::kept_at_most);
  CHECK(there.kept() == 0);
}

}  // namespace
