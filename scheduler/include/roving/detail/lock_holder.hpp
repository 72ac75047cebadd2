// Which task has locked something, for reports of who waits for whom. Recorded in builds for simulation only: elsewhere
// it would cost each lock() a look at the thread's shard, and there is the stack of each task to look at.
#pragma once

#include <cstdint>

#include <roving/detail/atomic.hpp>
#include <roving/detail/wait.hpp>

#pragma GCC visibility push(default)
namespace roving::detail {

class lock_holder {
 public:
#if defined(ROVING_SIMULATION)
  /// The current task has it; no task, if that is a callback or a plain thread.
  void took() noexcept;

  /// Before it is unlocked.
  void gives_up() noexcept { task_.store(0, std::memory_order_relaxed); }

  /// Says for reports that `self` waits for it. Before it parks; this must be there until the wait is over.
  void tell(waiter& self) noexcept { self.tell(wait_subject::lock, reinterpret_cast<std::intptr_t>(this)); }

  /// The number of the task that has it; 0: none, or nobody.
  [[nodiscard]] std::uint64_t task() const noexcept { return task_.load(std::memory_order_relaxed); }

 private:
  atomic<std::uint64_t> task_{0};
#else
  void took() noexcept {}
  void gives_up() noexcept {}
  void tell(waiter&) noexcept {}
#endif
};

}  // namespace roving::detail
#pragma GCC visibility pop
