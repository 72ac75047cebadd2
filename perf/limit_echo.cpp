// The limit of an echo server: one thread, one epoll, and no more than must be done.
//
// Edge-triggered, a descriptor is added once. A read that did not fill the buffer has emptied the socket, so that no
// second one is made to hear EAGAIN: two system calls a message, and a share of epoll_wait. What the socket does not
// take waits in the connection's buffer for EPOLLOUT, which is asked for from the start, as its edges come only then.
//
// `limit_echo [--port N]`, ended by a signal. No options but that; errors end it.
#include <array>
#include <cerrno>
#include <cstddef>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "perf/epoll_server.hpp"

namespace {

using roving_perf::add;
using roving_perf::or_exit;

struct connection {
  int fd;
  std::size_t filled = 0;  // bytes that came
  std::size_t sent = 0;    // of those
  std::array<char, 4096> buffer;

  // Answers all that is there; with `hung_up` there is something to read behind what a short read gives. False when the
  // connection has ended.
  bool serve(bool hung_up) {
    for (bool drained = false;; drained = filled < buffer.size() && !hung_up) {
      while (sent < filled) {
        const ssize_t bytes = ::send(fd, buffer.data() + sent, filled - sent, MSG_NOSIGNAL);
        if (bytes < 0) return errno == EAGAIN;
        sent += static_cast<std::size_t>(bytes);
      }
      if (drained) return true;
      const ssize_t bytes = ::recv(fd, buffer.data(), buffer.size(), 0);
      if (bytes <= 0) return bytes < 0 && errno == EAGAIN;
      filled = static_cast<std::size_t>(bytes);
      sent = 0;
    }
  }
};

void accept_all(int queue, int listener) {
  for (;;) {
    const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0 && errno == EAGAIN) return;
    or_exit(fd, "accept4");
    roving_perf::send_at_once(fd);
    add(queue, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, new connection{fd, 0, 0, {}});
  }
}

}  // namespace

int main(int count, char** arguments) {
  const int listener = roving_perf::listen_on(roving_perf::port_of(count, arguments), SO_REUSEADDR);
  roving_perf::say_port(roving_perf::local_port(listener));
  const int queue = or_exit(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  add(queue, listener, EPOLLIN | EPOLLET, nullptr);
  roving_perf::answer_all(queue, [&](const epoll_event& event) {
    auto* const from = static_cast<connection*>(event.data.ptr);
    if (from == nullptr) {
      accept_all(queue, listener);
    } else if (!from->serve((event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)) {
      ::close(from->fd);  // takes it out of the queue
      delete from;
    }
  });
}
