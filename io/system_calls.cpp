// The system's own calls, and the portable twins of what only some systems have.
//
// Each member is noinline: should link-time optimization see through the table, the address of errno would become a
// value in the caller, which may suspend between two calls and go on as another thread.
#include "io/system_calls.hpp"

#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <unistd.h>

#include "io/or_error.hpp"
#include "io/socket_address.hpp"

namespace roving::detail {
namespace {

#if defined(SOCK_CLOEXEC) && defined(SOCK_NONBLOCK)
constexpr int creation_flags = SOCK_CLOEXEC | SOCK_NONBLOCK;
constexpr bool has_creation_flags = true;
#else
constexpr int creation_flags = 0;
constexpr bool has_creation_flags = false;
#endif

#if defined(MSG_NOSIGNAL)
constexpr int send_flags = MSG_NOSIGNAL;
#else
constexpr int send_flags = 0;  // SO_NOSIGPIPE stands in for it
#endif

// Gives a fresh descriptor what creation flags could not, or closes it.
[[maybe_unused]] int equip(int fd) noexcept {
  bool done = ::fcntl(fd, F_SETFD, FD_CLOEXEC) == 0;
  const int flags = done ? ::fcntl(fd, F_GETFL) : -1;
  done = flags >= 0 && ::fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0;
  if (done) return fd;
  const int error = errno;
  ::close(fd);
  return -error;
}

[[maybe_unused]] int without_signal(int fd) noexcept {
#if defined(SO_NOSIGPIPE)
  const int on = 1;
  if (fd >= 0 && ::setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on)) != 0) {
    const int error = errno;
    ::close(fd);
    return -error;
  }
#endif
  return fd;
}

class own_system_calls final : public system_calls {
 public:
  [[gnu::noinline]] int open_socket(int family, int type, int protocol) const noexcept override {
    const int fd = or_error(::socket(family, type | creation_flags, protocol));
    return without_signal(fd < 0 || has_creation_flags ? fd : equip(fd));
  }

  [[gnu::noinline]] int bind(int fd, const sockaddr* address, socklen_t size) const noexcept override {
    return or_error(::bind(fd, address, size));
  }

  [[gnu::noinline]] int listen(int fd, int backlog) const noexcept override { return or_error(::listen(fd, backlog)); }

  [[gnu::noinline]] int accept(int fd) const noexcept override {
#if defined(__linux__) || defined(__FreeBSD__)
    return without_signal(or_error(::accept4(fd, nullptr, nullptr, creation_flags)));
#else
    const int accepted = or_error(::accept(fd, nullptr, nullptr));
    return without_signal(accepted < 0 ? accepted : equip(accepted));
#endif
  }

  [[gnu::noinline]] int connect(int fd, const sockaddr* address, socklen_t size) const noexcept override {
    return or_error(::connect(fd, address, size));
  }

  [[gnu::noinline]] std::ptrdiff_t receive(int fd, void* into, std::size_t size_bytes) const noexcept override {
    return or_error(::recv(fd, into, size_bytes, 0));
  }

  [[gnu::noinline]] std::ptrdiff_t receive(int fd, const iovec* into, int count) const noexcept override {
    return or_error(::readv(fd, into, count));
  }

  [[gnu::noinline]] std::ptrdiff_t send(int fd, const void* from, std::size_t size_bytes) const noexcept override {
    return or_error(::send(fd, from, size_bytes, send_flags));
  }

  [[gnu::noinline]] std::ptrdiff_t send(int fd, const iovec* from, int count) const noexcept override {
    msghdr message{};
    message.msg_iov = const_cast<iovec*>(from);  // sendmsg() only reads it
    message.msg_iovlen = static_cast<decltype(message.msg_iovlen)>(count);
    return or_error(::sendmsg(fd, &message, send_flags));
  }

  [[gnu::noinline]] int shutdown(int fd, int how) const noexcept override { return or_error(::shutdown(fd, how)); }

  // EINTR is no reason to try again: the number is free already, and may be somebody else's.
  [[gnu::noinline]] int close(int fd) const noexcept override { return or_error(::close(fd)); }

  [[gnu::noinline]] int duplicate(int fd) const noexcept override { return or_error(::fcntl(fd, F_DUPFD_CLOEXEC, 0)); }

  [[gnu::noinline]] int get_option(int fd, int level, int name, void* value, socklen_t* size) const noexcept override {
    return or_error(::getsockopt(fd, level, name, value, size));
  }

  [[gnu::noinline]] int set_option(int fd, int level, int name, const void* value,
                                   socklen_t size) const noexcept override {
    return or_error(::setsockopt(fd, level, name, value, size));
  }

  [[gnu::noinline]] int local_name(int fd, sockaddr* address, socklen_t* size) const noexcept override {
    return or_error(::getsockname(fd, address, size));
  }

  [[gnu::noinline]] int peer_name(int fd, sockaddr* address, socklen_t* size) const noexcept override {
    return or_error(::getpeername(fd, address, size));
  }

  [[gnu::noinline]] int poll_now(int fd, int events) const noexcept override {
    pollfd asked{fd, static_cast<short>(events), 0};
    int found = 0;
    do {
      found = or_error(::poll(&asked, 1, 0));
    } while (found == -EINTR);
    return found < 0 ? found : asked.revents;
  }

  [[gnu::noinline]] int look_up(const std::string& host, std::uint16_t port, int family, std::vector<endpoint>& found,
                                int& error_number) const override {
    addrinfo wanted{};
    wanted.ai_family = family;
    wanted.ai_socktype = SOCK_STREAM;
    wanted.ai_flags = AI_ADDRCONFIG;
    addrinfo* first = nullptr;
    const int error = ::getaddrinfo(host.c_str(), nullptr, &wanted, &first);
    error_number = error == EAI_SYSTEM ? errno : 0;
    if (error != 0) return error;
    const std::unique_ptr<addrinfo, void (*)(addrinfo*)> owner{first, ::freeaddrinfo};
    for (const addrinfo* each = first; each != nullptr; each = each->ai_next)
      if (auto address = from_socket_address(each->ai_addr, each->ai_addrlen))
        found.push_back(address->with_port(port));
    return 0;
  }
};

}  // namespace

const system_calls& real_system_calls() noexcept {
  static const own_system_calls calls;  // has no state
  return calls;
}

}  // namespace roving::detail
