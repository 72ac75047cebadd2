// A descriptor that a back-end of the poller has for itself.
#pragma once

#include <system_error>

#include <unistd.h>

namespace roving::detail {

class owned_fd {
 public:
  /// `fd` is what `call` returned, or its negative errno, which is thrown as std::system_error.
  owned_fd(int fd, const char* call) : fd_{fd} {
    if (fd < 0) throw std::system_error{-fd, std::system_category(), call};
  }
  owned_fd(const owned_fd&) = delete;
  owned_fd& operator=(const owned_fd&) = delete;
  ~owned_fd() { ::close(fd_); }

  [[nodiscard]] int get() const noexcept { return fd_; }

 private:
  int fd_;
};

}  // namespace roving::detail
