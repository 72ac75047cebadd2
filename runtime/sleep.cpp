// See sleep.hpp.
#include <roving/sleep.hpp>

#include <roving/detail/task_base.hpp>
#include <roving/detail/wait.hpp>
#include <roving/error.hpp>

namespace roving {
namespace {

void require_task(const char* call) {
  if (detail::current_task() == nullptr) throw not_in_task{call};
}

void sleep_to(time_point deadline, const char* call) {
  if (detail::park_for_time(call, deadline) == detail::wait_end::cancelled) detail::throw_cancelled();
}

}  // namespace

void yield() {
  if (detail::yield_now("yield")) detail::throw_cancelled();
}

void sleep_until(time_point deadline) {
  require_task("sleep_until");
  if (deadline <= now()) return yield();
  sleep_to(deadline, "sleep_until");
}

void detail::sleep_for(duration span) {
  require_task("sleep_for");
  if (span <= duration::zero()) return yield();
  sleep_to(time_after(now(), span), "sleep_for");
}

}  // namespace roving
