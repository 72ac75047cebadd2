// See this_task.hpp.
#include <roving/this_task.hpp>

#include <memory>

#include <roving/detail/task_base.hpp>
#include <roving/error.hpp>

#include "scheduler/current.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving {
namespace {

detail::task_base& current(const char* call) {
  detail::task_base* const task = detail::current_task();
  if (task == nullptr) throw not_in_task{call};
  return *task;
}

}  // namespace

namespace this_task {

unsigned shard() {
  (void)current("this_task::shard");
  return detail::current_shard_index("this_task::shard");
}

bool is_roving() { return current("this_task::is_roving").roving; }

task_view handle() {
  return task_view{detail::future_reference<detail::task_base>::share(current("this_task::handle"))};
}

std::string name() { return current("this_task::name").name(); }
void set_name(std::string_view name) { current("this_task::set_name").set_name(name); }
void cancel() { current("this_task::cancel").request_cancel(nullptr); }
void cancel(std::string_view message) {
  current("this_task::cancel").request_cancel(std::make_shared<const std::string>(message));
}
std::uint32_t uncancel() { return current("this_task::uncancel").uncancel(); }
std::uint32_t cancelling() { return current("this_task::cancelling").cancelling(); }

}  // namespace this_task

bool in_task() noexcept { return detail::current_task() != nullptr; }

unsigned shard_count() {
  const detail::shard* const local = detail::this_shard();
  if (local == nullptr) throw no_shard{"shard_count"};
  return local->owner().shard_count();
}

}  // namespace roving
