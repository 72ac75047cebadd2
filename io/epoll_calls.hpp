// The system calls of the poller over epoll, so that a test can let them fail: the part of the table of system calls
// that only this poller needs. What writes to its bell can't fail, and is not in here.
#pragma once

#include <cstdint>
#include <ctime>

#include <sys/epoll.h>

namespace roving::detail {

/// Each returns the negative errno where the call of its name returns -1. Any thread.
class epoll_calls {
 public:
  epoll_calls() = default;
  epoll_calls(const epoll_calls&) = delete;
  epoll_calls& operator=(const epoll_calls&) = delete;
  virtual ~epoll_calls() = default;

  [[nodiscard]] virtual int create() const noexcept;
  [[nodiscard]] virtual int make_event_descriptor() const noexcept;
  [[nodiscard]] virtual int control(int queue, int operation, int fd, epoll_event& event) const noexcept;
  /// No `timeout`: for ever.
  [[nodiscard]] virtual int wait(int queue, epoll_event* events, int batch, const timespec* timeout) const noexcept;
  [[nodiscard]] virtual int wait_for_milliseconds(int queue, epoll_event* events, int batch,
                                                  int milliseconds) const noexcept;
};

}  // namespace roving::detail
