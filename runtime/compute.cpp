// See compute.hpp, and arena_pool.cpp for the arena.
#include <roving/compute.hpp>

#include <roving/error.hpp>

#include "scheduler/job_pool.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {

void call_compute(const char* call, void (*invoke)(void*), void* argument) {
  shard* const here = this_shard();
  if (here == nullptr) throw no_shard{call};
  call_in_pool(*here->owner().compute_jobs(), call, invoke, argument);
}

}  // namespace roving::detail
