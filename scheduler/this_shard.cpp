// See this_shard.hpp.
#include "scheduler/this_shard.hpp"

namespace roving::detail {
namespace {

thread_local shard* shard_of_this_thread = nullptr;

}  // namespace

[[gnu::noinline]] shard* this_shard() noexcept {
  shard** place = &shard_of_this_thread;
  asm volatile("" : "+r"(place));  // hides what is pure about it
  return *place;
}

[[gnu::noinline]] void set_this_shard(shard* now) noexcept {
  shard** place = &shard_of_this_thread;
  asm volatile("" : "+r"(place));
  *place = now;
}

}  // namespace roving::detail
