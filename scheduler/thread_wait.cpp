// See thread_wait.hpp. A mutex and a condition variable, since the waker must be done with them when the waiter
// returns: it signals with the mutex held, and the waiter returns only after it had the mutex.
#include "scheduler/thread_wait.hpp"

#include <mutex>

#include <roving/detail/assert.hpp>

#include "scheduler/thread_block.hpp"

namespace roving::detail {
namespace {

struct thread_signal {
  thread_mutex mutex;
  thread_condition changed;
  bool set = false;
};

wait_end wait_for(thread_signal& signal, waiter& self, time_point deadline) noexcept {
  std::unique_lock guard{signal.mutex};
  if (deadline == time_point::max()) {
    signal.changed.wait(guard, [&] { return signal.set; });
    return wait_end::event;
  }
  if (signal.changed.wait_until(guard, deadline, [&] { return signal.set; })) return wait_end::event;
  if (self.thread.claims.claim(self.epoch, winner::timeout) != claim_result::lost) return wait_end::timeout;
  signal.changed.wait(guard, [&] { return signal.set; });  // claimed already: the waker is on its way
  return wait_end::event;
}

}  // namespace

wait_end block_thread(waiter& self, spin_lock& held, time_point deadline) noexcept {
  thread_signal signal;
  self.thread.signal = &signal;
  const bool armed = self.thread.claims.arm(wait_mode::masked);
  ROVING_ASSERT(armed);  // nobody cancels a thread
  held.unlock();
  return wait_for(signal, self, deadline);
}

wait_end block_thread_among(waiter& self, void (*enlist)(void*) noexcept, void* argument,
                            time_point deadline) noexcept {
  thread_signal signal;
  self.thread.signal = &signal;
  const bool is_open = self.thread.claims.prepare(wait_mode::masked);
  ROVING_ASSERT(is_open);  // as above
  enlist(argument);
  if (!self.thread.claims.commit()) return wait_end::event;  // claimed already: no signal comes
  return wait_for(signal, self, deadline);
}

void wake_thread(ready_node& thread) noexcept {
  auto& signal = *static_cast<thread_signal*>(static_cast<waiting_thread&>(static_cast<parkable&>(thread)).signal);
  const std::lock_guard guard{signal.mutex};
  signal.set = true;
  signal.changed.notify_one();
}

}  // namespace roving::detail
