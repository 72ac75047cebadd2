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
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

int checked(int result, const char* call) {
  if (result >= 0) return result;
  std::perror(call);
  std::exit(1);
}

void add(int queue, int fd, std::uint32_t events, void* what) {
  epoll_event interest{};
  interest.events = events;
  interest.data.ptr = what;
  checked(::epoll_ctl(queue, EPOLL_CTL_ADD, fd, &interest), "epoll_ctl");
}

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
    checked(fd, "accept4");
    const int on = 1;
    checked(::setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on), "setsockopt");
    add(queue, fd, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, new connection{fd, 0, 0, {}});
  }
}

int listen_on(std::uint16_t port) {
  const int listener = checked(::socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket");
  const int on = 1;
  checked(::setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "setsockopt");
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  checked(::bind(listener, reinterpret_cast<const sockaddr*>(&address), size), "bind");
  checked(::listen(listener, 4096), "listen");
  checked(::getsockname(listener, reinterpret_cast<sockaddr*>(&address), &size), "getsockname");
  std::printf("listening on 127.0.0.1:%u\n", unsigned{ntohs(address.sin_port)});
  std::fflush(stdout);
  return listener;
}

}  // namespace

int main(int count, char** arguments) {
  const bool has_port = count == 3 && std::strcmp(arguments[1], "--port") == 0;
  if (count != 1 && !has_port) {
    std::fputs("limit_echo [--port N]\n", stderr);
    return 2;
  }
  const int listener = listen_on(static_cast<std::uint16_t>(has_port ? std::atoi(arguments[2]) : 7000));
  const int queue = checked(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  add(queue, listener, EPOLLIN | EPOLLET, nullptr);
  std::array<epoll_event, 256> events;
  for (;;) {
    const int found = ::epoll_wait(queue, events.data(), static_cast<int>(events.size()), -1);
    if (found < 0 && errno != EINTR) checked(found, "epoll_wait");
    for (int i = 0; i < found; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      auto* const from = static_cast<connection*>(event.data.ptr);
      if (from == nullptr) {
        accept_all(queue, listener);
      } else if (!from->serve((event.events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) != 0)) {
        ::close(from->fd);  // takes it out of the queue
        delete from;
      }
    }
  }
}
