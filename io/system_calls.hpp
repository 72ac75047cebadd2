// The seam "system calls": everything that io/ asks of the kernel about sockets goes through this one table, so that
// a simulated network, or one that fails on purpose, can stand in its place. The kernel queue is not in here: it is
// behind the poller, which is replaced together with this.
//
// Errors are returned, never left in errno: the address of errno is the thread's, compilers remember it across a
// suspension, and a task that roves comes back on another thread.
//
// What differs between systems (one-call accept, flags at creation, SIGPIPE) has its twins in system_calls.cpp, so
// that no caller knows the system it runs on.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <sys/socket.h>
#include <sys/uio.h>

#include <roving/endpoint.hpp>

namespace roving::detail {

/// Each member is the call of its name, but returns the negative errno where that returns -1. None blocks but
/// look_up(). Any thread.
class system_calls {
 public:
  system_calls() = default;
  system_calls(const system_calls&) = delete;
  system_calls& operator=(const system_calls&) = delete;
  virtual ~system_calls() = default;

  /// A descriptor that does not block, is closed on exec and raises no SIGPIPE; so is accept()'s.
  [[nodiscard]] virtual int open_socket(int family, int type, int protocol) const noexcept = 0;
  [[nodiscard]] virtual int bind(int fd, const sockaddr* address, socklen_t size) const noexcept = 0;
  [[nodiscard]] virtual int listen(int fd, int backlog) const noexcept = 0;
  [[nodiscard]] virtual int accept(int fd) const noexcept = 0;
  [[nodiscard]] virtual int connect(int fd, const sockaddr* address, socklen_t size) const noexcept = 0;

  [[nodiscard]] virtual std::ptrdiff_t receive(int fd, void* into, std::size_t size_bytes) const noexcept = 0;
  [[nodiscard]] virtual std::ptrdiff_t receive(int fd, const iovec* into, int count) const noexcept = 0;
  [[nodiscard]] virtual std::ptrdiff_t send(int fd, const void* from, std::size_t size_bytes) const noexcept = 0;
  [[nodiscard]] virtual std::ptrdiff_t send(int fd, const iovec* from, int count) const noexcept = 0;

  [[nodiscard]] virtual int shutdown(int fd, int how) const noexcept = 0;
  virtual int close(int fd) const noexcept = 0;
  /// A second descriptor for what `fd` stands for, closed on exec.
  [[nodiscard]] virtual int duplicate(int fd) const noexcept = 0;

  [[nodiscard]] virtual int get_option(int fd, int level, int name, void* value, socklen_t* size) const noexcept = 0;
  [[nodiscard]] virtual int set_option(int fd, int level, int name, const void* value,
                                       socklen_t size) const noexcept = 0;
  [[nodiscard]] virtual int local_name(int fd, sockaddr* address, socklen_t* size) const noexcept = 0;
  [[nodiscard]] virtual int peer_name(int fd, sockaddr* address, socklen_t* size) const noexcept = 0;

  /// What of `events` (POLLIN, POLLOUT) holds for `fd` now, and errors and hang-ups besides.
  [[nodiscard]] virtual int poll_now(int fd, int events) const noexcept = 0;

  /// getaddrinfo: adds the addresses of `host` for stream sockets, with `port`, in the order in which they should be
  /// tried. Returns its error, 0 for none; EAI_SYSTEM comes with the errno in `error_number`. Blocks.
  [[nodiscard]] virtual int look_up(const std::string& host, std::uint16_t port, int family,
                                    std::vector<endpoint>& found, int& error_number) const = 0;
};

/// The system's own. Lives for ever.
[[nodiscard]] const system_calls& real_system_calls() noexcept;

}  // namespace roving::detail
