// What a mixed load gets from threads that share nothing: each has one epoll and serves what it has accepted.
//
// Either one thread accepts all, and the others have nothing to do, or each has a listening socket of its own and the
// kernel spreads connections (--spread 1). Level-triggered, since that is the simplest thing that can be done, and no
// request is so cheap that it would matter.
//
// limit_mixed [--port N] [--threads N] [--rounds N] [--stall-percent N] [--stall-rounds N] [--spread 0|1]
// limit_mixed --calibrate      prints how many rounds of work a millisecond has
#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <thread>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "perf/burn.hpp"
#include "perf/epoll_server.hpp"

namespace {

using roving_perf::add;

struct settings {
  std::uint16_t port = 7000;
  unsigned threads = 2;
  bool spread = false;
  roving_perf::work_plan work;
};

struct connection {
  int fd;
  std::uint64_t random;
};

// One request. False when the connection has ended.
bool serve(connection& with, const roving_perf::work_plan& work) {
  std::array<char, 4096> buffer;
  const ssize_t bytes = ::recv(with.fd, buffer.data(), buffer.size(), 0);
  if (bytes <= 0) return bytes < 0 && errno == EAGAIN;
  work.do_one(with.random);
  for (ssize_t sent = 0; sent < bytes;) {
    const ssize_t now = ::send(with.fd, buffer.data() + sent, static_cast<std::size_t>(bytes - sent), MSG_NOSIGNAL);
    if (now < 0) return false;  // clients here read what they get
    sent += now;
  }
  return true;
}

int listen_on(const settings& chosen, std::uint16_t port) {
  return roving_perf::listen_on(port, chosen.spread ? SO_REUSEPORT : SO_REUSEADDR);
}

[[noreturn]] void serve_all(int listener, const roving_perf::work_plan& work, std::atomic<std::uint64_t>& connections) {
  const int queue = roving_perf::or_exit(::epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
  add(queue, listener, EPOLLIN, nullptr);
  roving_perf::answer_all(queue, [&](const epoll_event& event) {
    auto* const from = static_cast<connection*>(event.data.ptr);
    if (from == nullptr) {
      const int fd = ::accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd < 0) return;
      roving_perf::send_at_once(fd);
      add(queue, fd, EPOLLIN, new connection{fd, connections.fetch_add(1, std::memory_order_relaxed) + 1});
    } else if (!serve(*from, work)) {
      ::close(from->fd);  // takes it out of the queue
      delete from;
    }
  });
}

// The most that were done: others may have had the core for some of the time.
void calibrate() {
  using clock = std::chrono::steady_clock;
  double most = 0;
  std::uint64_t random = 1;
  for (int i = 0; i < 50; ++i) {
    const roving_perf::work_plan work{100'000, 0, 0};
    const clock::time_point began = clock::now();
    work.do_one(random);
    const std::chrono::duration<double, std::milli> took = clock::now() - began;
    most = std::max(most, static_cast<double>(work.rounds) / took.count());
  }
  std::printf("%.0f\n", most);
}

settings read_arguments(int count, char** arguments) {
  settings read;
  for (int i = 1; i < count; i += 2) {
    const std::string_view option = arguments[i];
    if (i + 1 == count) {
      std::fprintf(stderr, "limit_mixed: %s wants a number\n", arguments[i]);
      std::exit(2);
    }
    const std::uint64_t value = std::strtoull(arguments[i + 1], nullptr, 10);
    if (option == "--port") {
      read.port = static_cast<std::uint16_t>(value);
    } else if (option == "--threads") {
      read.threads = static_cast<unsigned>(value);
    } else if (option == "--rounds") {
      read.work.rounds = value;
    } else if (option == "--stall-percent") {
      read.work.stall_percent = static_cast<unsigned>(value);
    } else if (option == "--stall-rounds") {
      read.work.stall_rounds = value;
    } else if (option == "--spread") {
      read.spread = value != 0;
    } else {
      std::fprintf(stderr, "limit_mixed: there is no option %s\n", arguments[i]);
      std::exit(2);
    }
  }
  return read;
}

}  // namespace

int main(int count, char** arguments) {
  if (count == 2 && std::string_view{arguments[1]} == "--calibrate") {
    calibrate();
    return 0;
  }
  const settings chosen = read_arguments(count, arguments);
  const int first = listen_on(chosen, chosen.port);
  const std::uint16_t port = roving_perf::local_port(first);
  std::atomic<std::uint64_t> connections{0};
  std::vector<std::thread> others;
  for (unsigned i = 1; i < chosen.threads && chosen.spread; ++i) {
    const int listener = listen_on(chosen, port);
    others.emplace_back([&, listener] { serve_all(listener, chosen.work, connections); });
  }
  roving_perf::say_port(port);
  serve_all(first, chosen.work, connections);
}
