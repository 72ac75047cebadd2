// See dump_tasks.hpp; scheduler/task_report.hpp has how.
#include <roving/dump_tasks.hpp>

#include <roving/error.hpp>

#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving {

std::string dump_tasks() {
  const detail::shard* const local = detail::this_shard();
  if (local == nullptr) throw no_shard{"dump_tasks"};
  return local->owner().dump();
}

}  // namespace roving
