// A point at which a fixed number of tasks wait for each other, again and again.
#pragma once

#include <cstddef>
#include <cstdint>
#include <stdexcept>

#include <roving/condition_variable.hpp>
#include <roving/detail/atomic.hpp>
#include <roving/mutex.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A barrier was aborted, or reset while somebody waited.
class broken_barrier : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A barrier for a number of parties. Once as many wait it drains: all go on; then it fills anew.
///
/// Thread safety: any thread, on a shard or not; a plain thread blocks.
/// Lifetime: nobody may be in one of its calls when it ends; that somebody came back from wait() says nothing of
/// others.
class barrier {
 public:
  /// Errors: throws broken_contract if `parties` is 0.
  explicit barrier(std::size_t parties);
  barrier(const barrier&) = delete;
  barrier& operator=(const barrier&) = delete;

  /// Waits until `parties()` have called it, while it drains also for that.
  ///
  /// Returns a number from 0 to parties() - 1, another one to each; after a cancel one may come twice. Who is cancelled
  /// no longer counts; the others wait on.
  /// Suspends: yes, but for the last of the parties. Errors: throws broken_barrier when it is aborted, or reset
  /// meanwhile; cancelled; not_in_task.
  std::size_t wait();

  /// Empties it, also after abort(): those who wait get broken_barrier.
  ///
  /// Suspends: while another party enters or leaves. Errors: throws cancelled, not_in_task.
  void reset();

  /// Breaks it: those who wait, and those who come, get broken_barrier until reset() is called.
  ///
  /// Suspends: while another party enters or leaves. Errors: throws cancelled, not_in_task.
  void abort();

  [[nodiscard]] std::size_t parties() const noexcept { return parties_; }

  /// How many wait for it to be full; 0 while it drains. News of a moment.
  [[nodiscard]] std::size_t n_waiting() const noexcept;

  /// Whether it is broken. News of a moment.
  [[nodiscard]] bool broken() const noexcept;

 private:
  enum class phase : std::uint8_t { filling, draining, resetting, broken };

  void leave() noexcept;

  const std::size_t parties_;
  mutex mutex_;
  condition_variable changed_{mutex_};
  // Written under mutex_. Atomic for who looks at them without it.
  detail::atomic<std::size_t> inside_{0};
  detail::atomic<phase> phase_{phase::filling};
};

}  // namespace roving

#pragma GCC visibility pop
