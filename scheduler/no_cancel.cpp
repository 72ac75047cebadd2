// See no_cancel.hpp.
#include <roving/no_cancel.hpp>

#include <roving/detail/task_base.hpp>

namespace roving {

no_cancel::no_cancel() noexcept : task_{detail::current_task()} {
  if (task_ != nullptr) ++static_cast<detail::task_base*>(task_)->no_cancel_depth;
}

no_cancel::~no_cancel() {
  if (task_ != nullptr) --static_cast<detail::task_base*>(task_)->no_cancel_depth;
}

}  // namespace roving
