// See idle.hpp for the protocol and why nothing is lost.
#include "scheduler/idle.hpp"

#include <roving/detail/assert.hpp>

namespace roving::detail {

idle_set::idle_set(unsigned shards) : shards_{shards}, flags_{std::make_unique<atomic<flag>[]>(shards)} {
  for (unsigned i = 0; i < shards; ++i) flags_[i].store(flag::awake, std::memory_order_relaxed);
}

std::optional<unsigned> idle_set::call_one(unsigned not_me, bool& look_again) noexcept {
  look_again = false;
  std::uint64_t seen = word_.load(std::memory_order_seq_cst);
  do {
    if (sleeping(seen) == 0 || searching(seen) != 0) return std::nullopt;
  } while (!word_.compare_exchange_weak(seen, seen + one_searching, std::memory_order_seq_cst));

  for (unsigned step = 1; step <= shards_; ++step) {  // neighbours first
    const unsigned candidate = (not_me + step) % shards_;
    flag expected = flag::asleep;
    if (flags_[candidate].load(std::memory_order_relaxed) != flag::asleep) continue;
    if (!flags_[candidate].compare_exchange_strong(expected, flag::called, std::memory_order_seq_cst)) continue;
    word_.fetch_sub(one_sleeping, std::memory_order_seq_cst);
    return candidate;
  }
  look_again = true;  // (c)
  return std::nullopt;
}

bool idle_set::take_from_sleep(unsigned shard) noexcept {
  if (flags_[shard].load(std::memory_order_seq_cst) != flag::asleep) return false;
  flag expected = flag::asleep;
  if (!flags_[shard].compare_exchange_strong(expected, flag::awake, std::memory_order_seq_cst)) return false;
  word_.fetch_sub(one_sleeping, std::memory_order_seq_cst);
  return true;
}

bool idle_set::start_searching() noexcept {
  std::uint64_t seen = word_.load(std::memory_order_relaxed);
  do {
    if (2 * searching(seen) >= shards_) return false;
  } while (!word_.compare_exchange_weak(seen, seen + one_searching, std::memory_order_seq_cst));
  return true;
}

bool idle_set::stop_searching() noexcept {
  const std::uint64_t before = word_.fetch_sub(one_searching, std::memory_order_seq_cst);
  ROVING_ASSERT(searching(before) > 0);
  return searching(before) == 1;
}

void idle_set::announce(unsigned shard, bool was_searching) noexcept {
  // The count first: who takes a flag takes one off the count, which must have it.
  word_.fetch_add(was_searching ? one_sleeping - one_searching : one_sleeping, std::memory_order_seq_cst);  // S2
  flags_[shard].store(flag::asleep, std::memory_order_seq_cst);                                             // S2
}

bool idle_set::awake(unsigned shard) noexcept {
  const flag before = flags_[shard].exchange(flag::awake, std::memory_order_seq_cst);
  if (before == flag::asleep) word_.fetch_sub(one_sleeping, std::memory_order_seq_cst);
  return before == flag::called;
}

void idle_set::leave(unsigned shard) noexcept {
  ROVING_ASSERT(flags_[shard].load(std::memory_order_relaxed) == flag::awake);
  flags_[shard].store(flag::absent, std::memory_order_seq_cst);
  absent_.fetch_add(1, std::memory_order_seq_cst);
}

void idle_set::come_back(unsigned shard) noexcept {
  if (!is_absent(shard)) return;
  absent_.fetch_sub(1, std::memory_order_seq_cst);
  flags_[shard].store(flag::awake, std::memory_order_seq_cst);
}

bool idle_set::watch(unsigned shard, bool is_short) noexcept {
  const std::uint32_t mine = (shard + 1) | (is_short ? short_watch : 0);
  std::uint32_t seen = watch_.load(std::memory_order_relaxed);
  do {
    if (seen != 0 && (seen & ~short_watch) != shard + 1) return false;
    if (seen == mine) return true;
  } while (!watch_.compare_exchange_weak(seen, mine, std::memory_order_seq_cst));
  return true;
}

void idle_set::end_watch(unsigned shard) noexcept {
  std::uint32_t seen = watch_.load(std::memory_order_relaxed);
  while ((seen & ~short_watch) == shard + 1 && !watch_.compare_exchange_weak(seen, 0, std::memory_order_seq_cst)) {
  }
}

}  // namespace roving::detail
