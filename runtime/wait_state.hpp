// A future that is done when enough others are: wait(), and the waiting of shield() and wait_for().
#pragma once

#include <cstddef>
#include <span>

#include <roving/wait.hpp>

#include "runtime/watcher.hpp"

namespace roving::detail {

class wait_state final : public watcher {
 public:
  wait_state(std::span<future_base* const> futures, wait_condition condition, const char* call)
      : watcher{&operations, futures, call}, condition_{condition}, left_{futures.size()} {}

  /// What is done already is told of like the rest: for a pinned task never at once.
  void begin() noexcept { watch_all(); }

  /// A cancel ends the wait, and touches nothing of what is watched. Throws cancelled.
  void wait_until(time_point deadline, const char* call);

 private:
  void told(node& ended) noexcept override;

  // A cancel of who waits is never passed on to this.
  static bool refuse(future_base&, const cancel_message&) noexcept { return false; }
  static constexpr future_operations operations{&refuse, &destroy, false, nullptr, &depends_on};

  const wait_condition condition_;
  std::size_t left_;  // guarded by lock()
};

}  // namespace roving::detail
