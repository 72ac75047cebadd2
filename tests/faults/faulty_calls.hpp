// System calls of the real kernel that fail on purpose.
//
// Soft faults lose nothing: EINTR, reads and writes that are short, and EAGAIN though there was something. An edge-
// triggered queue tells of a change once, so the last two must be what a kernel does: it found nothing (or no more),
// and something came right after. The edge of what came is forced, by arming the registration anew; without it a short
// read or EAGAIN would be a kernel's fault, that no program could bear.
//
// Hard faults are errors: no descriptors, no memory, a connection that is gone.
#pragma once

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <mutex>
#include <unordered_map>

#include "io/epoll_calls.hpp"
#include "io/system_calls.hpp"

namespace test {

/// How often each happens, in parts of 1,000 calls.
struct rates {
  unsigned interrupts = 0;
  unsigned would_block = 0;
  unsigned short_counts = 0;
  unsigned hard = 0;
};

/// Which calls fail: by chance, or the i-th of all with the error that is likely for it.
class fault_plan {
 public:
  explicit fault_plan(std::uint64_t seed) : seed_{seed} {}

  void set(const rates& now) {
    const std::lock_guard guard{mutex_};
    rates_ = now;
  }
  [[nodiscard]] rates now() const {
    const std::lock_guard guard{mutex_};
    return rates_;
  }
  void fail_only(std::uint64_t call) {
    calls_ = 0;
    one_ = call;
  }

  [[nodiscard]] bool happens(unsigned parts_of_1000) { return parts_of_1000 != 0 && draw() % 1000 < parts_of_1000; }

  /// Counts a call that may fail hard. An errno of `errors`, or 0.
  template <std::size_t count>
  [[nodiscard]] int hard_error(const std::array<int, count>& errors) {
    const bool fails = ++calls_ == one_.load() || happens(now().hard);
    if (fails) ++failures_;
    return fails ? errors[draw() % count] : 0;
  }
  [[nodiscard]] std::uint64_t calls() const { return calls_; }
  [[nodiscard]] std::uint64_t failures() const { return failures_; }
  void count_soft() { ++soft_; }
  [[nodiscard]] std::uint64_t soft() const { return soft_; }

  /// Splitmix64 over a counter: any thread. Which thread gets which number is the machine's choice.
  std::uint64_t draw() {
    std::uint64_t mixed = seed_ + drawn_.fetch_add(0x9e3779b97f4a7c15ULL);
    mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9ULL;
    mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebULL;
    return mixed ^ (mixed >> 31U);
  }

 private:
  const std::uint64_t seed_;
  std::atomic<std::uint64_t> drawn_{1};
  std::atomic<std::uint64_t> calls_{0};
  std::atomic<std::uint64_t> one_{0};
  std::atomic<std::uint64_t> failures_{0};
  std::atomic<std::uint64_t> soft_{0};
  mutable std::mutex mutex_;
  rates rates_;
};

class faulty_epoll final : public roving::detail::epoll_calls {
 public:
  explicit faulty_epoll(fault_plan& plan) : plan_{plan} {}

  int create() const noexcept override {
    if (const int error = plan_.hard_error(std::array{EMFILE, ENFILE, ENOMEM})) return -error;
    return epoll_calls::create();
  }
  int make_event_descriptor() const noexcept override {
    if (const int error = plan_.hard_error(std::array{EMFILE, ENFILE, ENOMEM})) return -error;
    return epoll_calls::make_event_descriptor();
  }
  int control(int queue, int operation, int fd, epoll_event& event) const noexcept override {
    if (operation == EPOLL_CTL_ADD)
      if (const int error = plan_.hard_error(std::array{ENOMEM, ENOSPC})) return -error;
    const std::lock_guard guard{mutex_};
    const int result = epoll_calls::control(queue, operation, fd, event);
    if (operation == EPOLL_CTL_ADD && result == 0) armed_[fd] = {queue, event};
    if (const auto found = armed_.find(fd);
        operation == EPOLL_CTL_DEL && found != armed_.end() && found->second.queue == queue)
      armed_.erase(found);
    return result;
  }
  int wait(int queue, epoll_event* events, int batch, const timespec* timeout) const noexcept override {
    if (plan_.happens(plan_.now().interrupts)) return -EINTR;
    return epoll_calls::wait(queue, events, batch, timeout);
  }

  /// As if something had come: what is ready now is told again. Who is not registered yet is told when he is.
  void tell_again(int fd) const {
    const std::lock_guard guard{mutex_};
    const auto found = armed_.find(fd);
    if (found == armed_.end()) return;
    epoll_event event = found->second.event;
    static_cast<void>(epoll_calls::control(found->second.queue, EPOLL_CTL_MOD, fd, event));
  }

 private:
  struct registration {
    int queue;
    epoll_event event;
  };
  fault_plan& plan_;
  mutable std::mutex mutex_;
  mutable std::unordered_map<int, registration> armed_;
};

class faulty_system_calls final : public roving::detail::system_calls {
 public:
  faulty_system_calls(fault_plan& plan, const faulty_epoll& epoll) : plan_{plan}, epoll_{epoll} {}

  int open_socket(int family, int type, int protocol) const noexcept override {
    if (const int error = plan_.hard_error(std::array{EMFILE, ENFILE, ENOBUFS, ENOMEM})) return -error;
    return real().open_socket(family, type, protocol);
  }
  int bind(int fd, const sockaddr* address, socklen_t size) const noexcept override {
    if (const int error = plan_.hard_error(std::array{EADDRINUSE, ENOMEM})) return -error;
    return real().bind(fd, address, size);
  }
  int listen(int fd, int backlog) const noexcept override {
    if (const int error = plan_.hard_error(std::array{EADDRINUSE, ENOBUFS})) return -error;
    return real().listen(fd, backlog);
  }
  int accept(int fd) const noexcept override {
    ++accepts_;
    if (no_descriptors_) return -EMFILE;
    if (const int error = plan_.hard_error(std::array{EMFILE, ENFILE, ENOBUFS, ENOMEM})) return -error;
    if (plan_.happens(plan_.now().hard)) return -ECONNABORTED;  // no error of the listener
    if (interrupted()) return -EINTR;
    if (found_nothing(fd)) return -EAGAIN;
    return real().accept(fd);
  }
  int connect(int fd, const sockaddr* address, socklen_t size) const noexcept override {
    if (const int error = plan_.hard_error(std::array{ENOBUFS, ENOMEM, EADDRNOTAVAIL, EAGAIN, ECONNREFUSED}))
      return -error;
    const int result = real().connect(fd, address, size);
    return result == -EINPROGRESS && interrupted() ? -EINTR : result;  // it goes on all the same
  }

  std::ptrdiff_t receive(int fd, void* into, std::size_t size_bytes) const noexcept override {
    if (const int error = plan_.hard_error(of_a_stream)) return -error;
    if (interrupted()) return -EINTR;
    if (found_nothing(fd)) return -EAGAIN;
    const std::size_t wanted = shortened(size_bytes);
    const std::ptrdiff_t got = real().receive(fd, into, wanted);
    if (wanted < size_bytes && got > 0) epoll_.tell_again(fd);
    return got;
  }
  std::ptrdiff_t receive(int fd, const iovec* into, int count) const noexcept override {
    if (count > 0 && plan_.happens(plan_.now().short_counts)) return receive(fd, into[0].iov_base, into[0].iov_len);
    if (const int error = plan_.hard_error(of_a_stream)) return -error;
    if (interrupted()) return -EINTR;
    if (found_nothing(fd)) return -EAGAIN;
    return real().receive(fd, into, count);
  }
  std::ptrdiff_t send(int fd, const void* from, std::size_t size_bytes) const noexcept override {
    if (const int error = plan_.hard_error(of_a_stream)) return -error;
    if (interrupted()) return -EINTR;
    if (found_nothing(fd)) return -EAGAIN;
    return real().send(fd, from, shortened(size_bytes));
  }
  std::ptrdiff_t send(int fd, const iovec* from, int count) const noexcept override {
    if (const int error = plan_.hard_error(of_a_stream)) return -error;
    if (interrupted()) return -EINTR;
    if (found_nothing(fd)) return -EAGAIN;
    if (count > 0 && plan_.happens(plan_.now().short_counts))
      return real().send(fd, from[0].iov_base, std::max<std::size_t>(1, from[0].iov_len / 2));
    return real().send(fd, from, count);
  }

  int shutdown(int fd, int how) const noexcept override {
    if (const int error = plan_.hard_error(std::array{ENOTCONN})) return -error;
    return real().shutdown(fd, how);
  }
  int close(int fd) const noexcept override {
    const int result = real().close(fd);
    return interrupted() ? -EINTR : result;  // it is closed all the same
  }
  int duplicate(int fd) const noexcept override {
    if (const int error = plan_.hard_error(std::array{EMFILE})) return -error;
    return real().duplicate(fd);
  }
  int get_option(int fd, int level, int name, void* value, socklen_t* size) const noexcept override {
    if (const int error = plan_.hard_error(std::array{ENOBUFS, ENOMEM})) return -error;
    return real().get_option(fd, level, name, value, size);
  }
  int set_option(int fd, int level, int name, const void* value, socklen_t size) const noexcept override {
    if (const int error = plan_.hard_error(std::array{ENOBUFS, ENOMEM})) return -error;
    return real().set_option(fd, level, name, value, size);
  }
  int local_name(int fd, sockaddr* address, socklen_t* size) const noexcept override {
    if (const int error = plan_.hard_error(std::array{ENOBUFS})) return -error;
    return real().local_name(fd, address, size);
  }
  int peer_name(int fd, sockaddr* address, socklen_t* size) const noexcept override {
    if (const int error = plan_.hard_error(std::array{ENOBUFS})) return -error;
    return real().peer_name(fd, address, size);
  }
  int poll_now(int fd, int events) const noexcept override { return real().poll_now(fd, events); }
  int look_up(const std::string& host, std::uint16_t port, int family, std::vector<roving::endpoint>& found,
              int& error_number) const override {
    return real().look_up(host, port, family, found, error_number);
  }

  /// Whether the process is at its limit: accept() can give none.
  void set_no_descriptors(bool on) { no_descriptors_ = on; }
  [[nodiscard]] unsigned accepts() const { return accepts_; }

 private:
  static constexpr std::array<int, 3> of_a_stream{ENOBUFS, ENOMEM, ECONNRESET};

  static const roving::detail::system_calls& real() { return roving::detail::real_system_calls(); }
  [[nodiscard]] bool interrupted() const {
    if (!plan_.happens(plan_.now().interrupts)) return false;
    plan_.count_soft();
    return true;
  }
  [[nodiscard]] bool found_nothing(int fd) const {
    if (!plan_.happens(plan_.now().would_block)) return false;
    plan_.count_soft();
    epoll_.tell_again(fd);
    return true;
  }
  [[nodiscard]] std::size_t shortened(std::size_t size_bytes) const {
    if (size_bytes < 2 || !plan_.happens(plan_.now().short_counts)) return size_bytes;
    plan_.count_soft();
    return plan_.draw() % 2 == 0 ? 1 : 1 + plan_.draw() % (size_bytes - 1);
  }

  fault_plan& plan_;
  const faulty_epoll& epoll_;
  std::atomic<bool> no_descriptors_{false};
  mutable std::atomic<unsigned> accepts_{0};
};

/// A kernel with faults.
struct faulty_kernel {
  explicit faulty_kernel(std::uint64_t seed) : plan{seed} {}
  fault_plan plan;
  faulty_epoll epoll{plan};
  faulty_system_calls calls{plan, epoll};
};

}  // namespace test
