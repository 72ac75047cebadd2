// Ways in which one thread wakes another: what hand-overs between shards are measured against.
//
// Each of them: ring() lets one wait() of the other side return.
#pragma once

#include <atomic>
#include <cerrno>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <mutex>
#include <system_error>
#include <vector>

#include <linux/futex.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "scheduler/thread.hpp"

namespace roving_perf {

// Pins the calling thread to the first or the second core that the process may use, as a runtime of two shards does,
// and gives it all of them back.
class on_core {
 public:
  on_core(const std::vector<unsigned>& all, std::size_t number) : all_{all} {
    roving::detail::use_cores({all.at(number)});
  }
  on_core(const on_core&) = delete;
  on_core& operator=(const on_core&) = delete;
  ~on_core() { roving::detail::use_cores(all_); }

 private:
  const std::vector<unsigned>& all_;
};

class spinning_bell {
 public:
  void ring() noexcept { rings_.store(rings_.load(std::memory_order_relaxed) + 1, std::memory_order_release); }
  void wait() noexcept {
    ++waits_;
    while (rings_.load(std::memory_order_acquire) != waits_) {
    }
  }

 private:
  alignas(64) std::atomic<std::uint64_t> rings_{0};
  alignas(64) std::uint64_t waits_ = 0;
};

class futex_bell {
 public:
  void ring() noexcept {
    rung_.store(1, std::memory_order_release);
    ::syscall(SYS_futex, &rung_, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
  }
  void wait() noexcept {
    while (rung_.exchange(0, std::memory_order_acquire) == 0)
      ::syscall(SYS_futex, &rung_, FUTEX_WAIT_PRIVATE, 0, nullptr, nullptr, 0);
  }

 private:
  alignas(64) std::atomic<std::uint32_t> rung_{0};
};

// As an event loop has to wait, since a shard's sleep must also end by what happens on its sockets.
class eventfd_bell {
 public:
  eventfd_bell() {
    epoll_event interest{};
    interest.events = EPOLLIN | EPOLLET;
    if (bell_ < 0 || queue_ < 0 || ::epoll_ctl(queue_, EPOLL_CTL_ADD, bell_, &interest) != 0)
      throw std::system_error{errno, std::generic_category(), "eventfd"};
  }
  eventfd_bell(const eventfd_bell&) = delete;
  eventfd_bell& operator=(const eventfd_bell&) = delete;
  ~eventfd_bell() {
    ::close(queue_);
    ::close(bell_);
  }

  void ring() noexcept {
    const std::uint64_t one = 1;
    if (::write(bell_, &one, sizeof one) != sizeof one) std::terminate();
  }
  void wait() noexcept {
    epoll_event event{};
    while (::epoll_wait(queue_, &event, 1, -1) != 1) {
    }
  }

 private:
  int bell_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  int queue_ = ::epoll_create1(EPOLL_CLOEXEC);
};

class condition_variable_bell {
 public:
  void ring() {
    {
      const std::lock_guard guard{mutex_};
      rung_ = true;
    }
    changed_.notify_one();
  }
  void wait() {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [this] { return rung_; });
    rung_ = false;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool rung_ = false;
};

}  // namespace roving_perf
