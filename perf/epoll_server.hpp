// What the limits are made of: plain sockets and one epoll a thread, with nothing of ours between. Errors end them.
#pragma once

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "perf/peers/server.hpp"

namespace roving_perf {

inline int or_exit(int result, const char* call) {
  if (result >= 0) return result;
  std::perror(call);
  std::exit(1);
}

inline void set_option(int fd, int level, int option) {
  const int on = 1;
  or_exit(::setsockopt(fd, level, option, &on, sizeof on), "setsockopt");
}

inline void send_at_once(int fd) { set_option(fd, IPPROTO_TCP, TCP_NODELAY); }

/// A listening socket of this machine's own address, with SO_REUSEADDR or SO_REUSEPORT.
inline int listen_on(std::uint16_t port, int reuse) {
  const int listener = or_exit(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
  set_option(listener, SOL_SOCKET, reuse);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  or_exit(::bind(listener, reinterpret_cast<const sockaddr*>(&address), sizeof address), "bind");
  or_exit(::listen(listener, backlog), "listen");
  return listener;
}

inline std::uint16_t local_port(int listener) {
  sockaddr_in address{};
  socklen_t size = sizeof address;
  or_exit(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  return ntohs(address.sin_port);
}

inline void add(int queue, int fd, std::uint32_t events, void* what) {
  epoll_event interest{};
  interest.events = events;
  interest.data.ptr = what;
  or_exit(::epoll_ctl(queue, EPOLL_CTL_ADD, fd, &interest), "epoll_ctl");
}

/// Calls `answer(event)` for each, for ever.
template <class Answer>
[[noreturn]] void answer_all(int queue, Answer answer) {
  std::array<epoll_event, 256> events;
  for (;;) {
    const int found = ::epoll_wait(queue, events.data(), static_cast<int>(events.size()), -1);
    if (found < 0 && errno != EINTR) or_exit(found, "epoll_wait");
    for (int i = 0; i < found; ++i) answer(events[static_cast<std::size_t>(i)]);
  }
}

}  // namespace roving_perf
