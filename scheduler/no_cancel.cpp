// See no_cancel.hpp. A generator's body may hold one while it goes from task to task; what it holds back goes along
// (generator_core.cpp), so that it ends in the task that is current then.
#include <roving/no_cancel.hpp>

#include <roving/detail/task_base.hpp>

namespace roving {

no_cancel::no_cancel() noexcept {
  detail::task_base* const task = detail::current_task();
  holds_ = task != nullptr;
  if (holds_) ++task->no_cancel_depth;
}

no_cancel::~no_cancel() {
  if (holds_) --detail::current_task()->no_cancel_depth;
}

}  // namespace roving
