// What a shard counts.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)

namespace roving {

/// Counts of one shard since its runtime was made. Each is exact; read together they are of about the same moment.
struct shard_counters {
  std::uint64_t spawned = 0;   // tasks spawned on it
  std::uint64_t finished = 0;  // tasks that ended on it
  std::uint64_t slices = 0;    // times that a task or callback was run, from one suspension to the next
  std::uint64_t stolen = 0;    // tasks that it took from other shards
  std::uint64_t steals = 0;    // times that it took some
  std::uint64_t missed = 0;    // times that it tried a shard that seemed to have some, and got none
  std::uint64_t serviced = 0;  // times that it polled for another shard that was stuck
  std::uint64_t polls = 0;     // looks into its poller that did not block
  std::uint64_t sleeps = 0;    // times that it blocked in its poller
  std::uint64_t wakes = 0;     // system calls by which it woke another shard
};

}  // namespace roving

#pragma GCC visibility pop
