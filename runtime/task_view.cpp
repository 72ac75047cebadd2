// See task_view.hpp.
#include <roving/task_view.hpp>

#include <memory>

#include <roving/error.hpp>

#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving {

detail::task_base& task_view::state(const char* call) const {
  if (!state_) throw invalid_state{std::string{call} + ": the view has no task"};
  return *state_;
}

std::string task_view::name() const { return state("task_view::name").name(); }
void task_view::set_name(std::string_view name) const { state("task_view::set_name").set_name(name); }
bool task_view::is_roving() const { return state("task_view::is_roving").roving; }

std::optional<unsigned> task_view::shard() const {
  const detail::task_base& of = state("task_view::shard");
  return of.roving ? std::nullopt : std::optional<unsigned>{of.home_index};
}

spawn_site task_view::site() const {
  const detail::task_base& of = state("task_view::site");
  return {of.site_file, of.site_line};
}

const char* task_view::waits_in() const {
  return state("task_view::waits_in").waits_in.load(std::memory_order_relaxed);
}

bool task_view::done() const { return state("task_view::done").is_done(); }
bool task_view::cancelled() const { return state("task_view::cancelled").status() == detail::outcome::cancelled; }
std::exception_ptr task_view::exception() const { return state("task_view::exception").error(); }
bool task_view::cancel() const { return state("task_view::cancel").request_cancel(nullptr); }
bool task_view::cancel(std::string_view message) const {
  return state("task_view::cancel").request_cancel(std::make_shared<const std::string>(message));
}
std::uint32_t task_view::uncancel() const { return state("task_view::uncancel").uncancel(); }
std::uint32_t task_view::cancelling() const { return state("task_view::cancelling").cancelling(); }

void task_view::join() const {
  if (state("task_view::join").wait("task_view::join", time_point::max()) == detail::wait_end::cancelled)
    detail::throw_cancelled();
}

std::vector<task_view> detail::views_of(std::vector<future_reference<task_base>> tasks) {
  std::vector<task_view> views;
  views.reserve(tasks.size());
  for (auto& each : tasks) views.emplace_back(std::move(each));
  return views;
}

std::vector<task_view> all_tasks() {
  const detail::shard* const local = detail::this_shard();
  if (local == nullptr) throw no_shard{"all_tasks"};
  return detail::views_of(local->owner().live_tasks());
}

std::vector<task_view> all_tasks(unsigned shard) {
  const detail::shard* const local = detail::this_shard();
  if (local == nullptr) throw no_shard{"all_tasks"};
  return detail::views_of(local->owner().live_tasks(shard));
}

}  // namespace roving
