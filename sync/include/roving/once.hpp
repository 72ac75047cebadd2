// Something that is to be done once, by whoever comes first.
#pragma once

#include <cstdint>
#include <utility>

#include <roving/detail/atomic.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// Lets one call() run its function, and the others wait for that.
///
/// Thread safety: any thread, on a shard or not; a plain thread blocks.
/// Lifetime: outlives all its calls.
class once {
 public:
  constexpr once() noexcept = default;
  once(const once&) = delete;
  once& operator=(const once&) = delete;

  /// Returns when a function has run to its end: this one, if no other has or does. If that throws, so does the call
  /// that ran it, and the first who waits runs its own function.
  ///
  /// `function` may suspend, and be cancelled, which counts as throwing. It must not call the same `once`.
  /// Suspends: while another one runs. Errors: throws what `function` throws; cancelled, not_in_task.
  template <class Function>
  void call(Function&& function) {
    if (done() || !begin()) return;
    turn mine{*this};
    std::forward<Function>(function)();
    mine.has_succeeded = true;
  }

  /// Whether it has been done; what the function did is seen then. Suspends: no. Errors: none.
  [[nodiscard]] bool done() const noexcept { return phase_.load(std::memory_order_acquire) == phase::done; }  // [done]

 private:
  enum class phase : std::uint8_t { idle, running, done };

  struct turn {
    explicit turn(once& what) noexcept : what_{what} {}
    turn(const turn&) = delete;
    turn& operator=(const turn&) = delete;
    ~turn() { what_.finish(has_succeeded); }
    once& what_;
    bool has_succeeded = false;
  };

  bool begin();
  void finish(bool has_succeeded) noexcept;

  detail::spin_lock lock_;
  detail::atomic<phase> phase_{phase::idle};  // written under lock_. [done] finish() release -> done() acquire
  detail::wait_list waiters_;
};

}  // namespace roving

#pragma GCC visibility pop
