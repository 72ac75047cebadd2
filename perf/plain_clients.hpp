// Clients of an echo server in its own thread, by plain blocking sockets.
//
// Each round's requests are all there before a shard sees the first one: how many of them one look at the poller finds
// is then the same in each run. They use calls that the library does not.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <stdexcept>
#include <system_error>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include <roving/endpoint.hpp>

namespace roving_perf {

inline int checked(int result, const char* call) {
  if (result < 0) throw std::system_error{errno, std::generic_category(), call};
  return result;
}

/// As many descriptors as the system lets a process have.
inline void allow_many_descriptors() {
  rlimit limit{};
  checked(::getrlimit(RLIMIT_NOFILE, &limit), "getrlimit");
  limit.rlim_cur = limit.rlim_max;
  checked(::setrlimit(RLIMIT_NOFILE, &limit), "setrlimit");
}

class plain_clients {
 public:
  plain_clients(std::size_t count, const roving::endpoint& server) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(server.port());
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (std::size_t i = 0; i < count; ++i) {
      fds_.push_back(checked(::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
      const int on = 1;
      checked(::setsockopt(fds_.back(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
      checked(::connect(fds_.back(), reinterpret_cast<const sockaddr*>(&address), sizeof address), "connect");
    }
  }
  plain_clients(const plain_clients&) = delete;
  plain_clients& operator=(const plain_clients&) = delete;
  ~plain_clients() {
    for (const int fd : fds_) ::close(fd);
  }

  void ask_all() {
    for (const int fd : fds_) expect_whole(::writev(fd, &message_, 1));
  }
  void hear_all() {
    for (const int fd : fds_) expect_whole(::readv(fd, &message_, 1));
  }

 private:
  void expect_whole(ssize_t bytes) const {
    if (bytes != static_cast<ssize_t>(message_.iov_len)) throw std::runtime_error{"a message came in parts"};
  }

  std::vector<int> fds_;
  std::array<char, 64> text_{};
  iovec message_{text_.data(), text_.size()};
};

}  // namespace roving_perf
