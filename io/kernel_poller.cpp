// Who asks the kernel queue, and for how long.
#include "io/kernel_poller.hpp"

#include <mutex>

namespace roving::detail {

void kernel_poller::wait(time_point until, ready_list& ready) noexcept {
  const std::scoped_lock hold{asking_};
  if (take_wake()) {
    ask(duration::zero(), ready);
    return;
  }
  if (until == time_point::max()) {
    ask(std::nullopt, ready);
  } else {
    const time_point start = now();
    ask(until > start ? until - start : duration::zero(), ready);
  }
  static_cast<void>(take_wake());  // it ended this wait, so it does not end the next
}

void kernel_poller::poll(ready_list& ready) noexcept {
  if (!asking_.try_lock()) return;
  ask(duration::zero(), ready);
  asking_.unlock();
}

bool kernel_poller::service(ready_list& ready) noexcept {
  if (!asking_.try_lock()) return false;
  ask(duration::zero(), ready);
  asking_.unlock();
  return true;
}

void kernel_poller::wake() noexcept {
  if (!woken_.exchange(true, std::memory_order_acq_rel)) ring();  // [wake]
}

bool kernel_poller::take_wake() noexcept {
  // Looks first, since it is mostly not set; what is set after that look rings.
  return woken_.load(std::memory_order_relaxed) && woken_.exchange(false, std::memory_order_acq_rel);  // [wake]
}

}  // namespace roving::detail
