// Registration, waiting and closing of the descriptors that are ours.
#include <roving/detail/io_handle.hpp>

#include <mutex>
#include <utility>

#include "io/errors.hpp"
#include "io/poller.hpp"

namespace roving::detail {

io_handle::io_handle(io_handle&& from) noexcept { take(from); }

io_handle& io_handle::operator=(io_handle&& from) noexcept {
  if (this != &from) {
    close();
    take(from);
  }
  return *this;
}

void io_handle::take(io_handle& from) noexcept {
  calls_ = std::exchange(from.calls_, nullptr);
  state_ = std::exchange(from.state_, nullptr);
  generation_ = std::exchange(from.generation_, 0);
  fd_ = std::exchange(from.fd_, -1);
}

std::error_code io_handle::wait(io_direction direction, bool drained, const char* call) {
  for (;;) {
    std::unique_lock hold{lock_};
    if (state_ == nullptr) {
      std::error_code error;
      const registration added = current_poller(call).enroll(fd_, interest::edges, error);
      if (error) return error;
      state_ = added.state;
      generation_ = added.generation;
    }
    descriptor& state = *state_;
    const std::uint32_t generation = generation_;
    const int number = fd_;
    hold.unlock();

    switch (state.wait(direction, generation, drained, call, number)) {
      case io_wait_end::ready:
        return {};
      case io_wait_end::closed:
        return error_of(-ECANCELED);
      case io_wait_end::stale:
        break;  // its poller has ended: register with another
    }
    hold.lock();
    if (state_ == &state && generation_ == generation) {
      descriptor_table::release(state);
      state_ = nullptr;
    }
  }
}

void io_handle::close() noexcept {
  if (!is_open()) return;
  const int fd = std::exchange(fd_, -1);
  const system_calls& calls = *std::exchange(calls_, nullptr);
  if (descriptor* const state = std::exchange(state_, nullptr))
    withdraw({state, generation_}, fd, &calls);
  else
    calls.close(fd);
}

void io_handle::leave_poller() noexcept {
  if (descriptor* const state = std::exchange(state_, nullptr)) withdraw({state, generation_}, fd_, nullptr);
}

}  // namespace roving::detail
