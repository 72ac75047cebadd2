// See arena_pool.hpp.
//
// A job begins on a thread of ours, which enters the arena with it and takes part in the job's parallel algorithms;
// oneTBB adds workers of its own where the arena has room. Rejected: enqueuing the jobs in the arena. oneTBB has one
// worker fewer than cores, since it counts on the thread that waits, and a task does not wait on one; and what is
// enqueued can't be taken back when its task is cancelled.
#include "runtime/arena_pool.hpp"

#if ROVING_WITH_TBB

#  include <algorithm>
#  include <exception>
#  include <utility>

#  include <tbb/global_control.h>
#  include <tbb/task_arena.h>

namespace roving::detail {
namespace {

void run_in(tbb::task_arena& arena, job& work) noexcept {
  bool has_begun = false;
  try {
    // Isolated: a thread that waits inside a parallel algorithm takes other work meanwhile, which should be its own
    // job's.
    arena.execute([&] {
      tbb::this_task_arena::isolate([&] {
        has_begun = true;
        work.run(work);
      });
    });
  } catch (...) {  // no memory; a job throws nothing
    if (!has_begun) work.drop(work, std::current_exception());
  }
}

}  // namespace

std::unique_ptr<blocking_pool> make_arena_pool(blocking_pool::settings chosen) {
  // Also makes oneTBB count the cores, which it does once, by what the process's first thread may use: that must be
  // before it is pinned to one as shard 0.
  const std::size_t limit = tbb::global_control::active_value(tbb::global_control::max_allowed_parallelism);
  const std::size_t threads = chosen.threads_at_most;
  const std::size_t workers = std::min(threads, limit) - 1;  // oneTBB warns on stderr when it is asked for more
  auto arena = std::make_shared<tbb::task_arena>(static_cast<int>(threads), static_cast<unsigned>(threads - workers));
  chosen.run_job = [arena = std::move(arena)](job& work) { run_in(*arena, work); };
  return std::make_unique<blocking_pool>(std::move(chosen));
}

}  // namespace roving::detail

#else

namespace roving::detail {

std::unique_ptr<blocking_pool> make_arena_pool(blocking_pool::settings chosen) {
  return std::make_unique<blocking_pool>(std::move(chosen));
}

}  // namespace roving::detail

#endif
