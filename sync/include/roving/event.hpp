// A flag for which tasks wait.
#pragma once

#include <cstddef>
#include <type_traits>
#include <utility>

#include <roving/detail/atomic.hpp>
#include <roving/detail/select_operation.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>

#pragma GCC visibility push(default)

namespace roving {

class event;

namespace detail {

class set_operation : public select_operation {
 public:
  explicit set_operation(event& of) noexcept : of_{of} {}
  [[nodiscard]] bool try_now() final;
  [[nodiscard]] bool enlist(waiter& self) noexcept final;
  [[nodiscard]] bool delist(waiter& self, bool keep) noexcept final;
  [[nodiscard]] bool finish() final { return true; }  // it was set then

 private:
  event& of_;
};

}  // namespace detail

/// A flag that is set and cleared; wait() waits until it is set.
///
/// Thread safety: any thread, on a shard or not; a plain thread blocks.
/// Lifetime: nobody may wait for it when it ends. Who comes back from wait() may destroy it, also while set() has yet
/// to
///   return elsewhere; who only saw is_set() may not.
class event {
 public:
  constexpr event() noexcept = default;
  event(const event&) = delete;
  event& operator=(const event&) = delete;

  /// Sets the flag and wakes, in the order in which they came, all who wait: they return even if the flag is cleared
  /// before they run. Suspends: no. Errors: none.
  void set() noexcept;

  /// Clears the flag. Suspends: no. Errors: none.
  void clear() noexcept;

  /// Whether the flag is set; what was done before set() is seen then. Suspends: no. Errors: none.
  [[nodiscard]] bool is_set() const noexcept { return set_.load(std::memory_order_acquire); }  // [set]

  /// Waits until the flag is set. Suspends: unless it is. Errors: throws cancelled, not_in_task.
  void wait();

  /// For select(): calls `f` when the flag is set, or was while it waited.
  template <class Function>
  [[nodiscard]] auto on_set(Function&& f) {
    return detail::select_case<detail::set_operation, std::decay_t<Function>>{std::forward<Function>(f), *this};
  }

  /// How many wait now and have not been woken. Suspends: no. Errors: none.
  [[nodiscard]] std::size_t waiting() const noexcept;

 private:
  friend class detail::set_operation;

  mutable detail::spin_lock lock_;
  detail::atomic<bool> set_{false};  // written under lock_. [set] set() release -> is_set() acquire
  detail::wait_list waiters_;
};

}  // namespace roving

#pragma GCC visibility pop
