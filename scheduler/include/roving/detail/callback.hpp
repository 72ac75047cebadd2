// A callable that a shard's loop will call, once, at once or at a time; and how it is taken back.
//
// It is one block of memory: the link for the queue, the timer if it has one, and the callable behind them. The queue
// (the timer wheel) has a reference to it, and so has every handle.
//
// I1  The callable is called or destroyed by whoever takes the block's phase from waiting: the loop, or cancel().
// I2  Who takes the block out of a queue or a wheel lets go of that queue's reference.
//
// [phase]  taking it is a read-modify-write, acquire and release: who takes the callable sees it as it was left.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <new>
#include <optional>
#include <type_traits>
#include <utility>

#include <roving/detail/atomic.hpp>
#include <roving/detail/context_values.hpp>
#include <roving/detail/ready_node.hpp>
#include <roving/placement.hpp>
#include <roving/time.hpp>

namespace roving::detail {

struct callbacks;  // callback.cpp

#pragma GCC visibility push(default)

/// What the compiler knows of a callable, for code that does not.
struct callable_operations {
  void (*call)(void* callable);
  void (*destroy)(void* callable) noexcept;  // null where there is nothing to do
};

template <class Callable>
inline constexpr callable_operations operations_of_callable{
    [](void* callable) { static_cast<void>(std::move(*static_cast<Callable*>(callable))()); },
    std::is_trivially_destructible_v<Callable>
        ? nullptr
        : +[](void* callable) noexcept { std::destroy_at(static_cast<Callable*>(callable)); }};

class callback : public posted_callback, public counted {
 public:
  /// Takes it back: it will not be called, unless it was or is. Its callable is destroyed here and now. Any thread.
  void cancel() noexcept;

  /// Whether cancel() was called, in time or not.
  [[nodiscard]] bool is_cancelled() const noexcept { return cancelled_.load(std::memory_order_relaxed); }

  /// When it is due, if it has a timer.
  [[nodiscard]] std::optional<time_point> when() const noexcept;

  /// Where the callable lies; and that it is there now.
  [[nodiscard]] void* place() noexcept { return place_; }
  void is_complete() noexcept { phase_.store(phase::waiting, std::memory_order_release); }

 protected:
  friend struct callbacks;
  enum class phase : std::uint8_t { waiting, taken };

  callback(destroy_function how, void* place, std::size_t alignment, const callable_operations& of, spawn_site site,
           context_reference sees) noexcept;
  ~callback() = default;

  [[nodiscard]] bool take() noexcept {
    return phase_.exchange(phase::taken, std::memory_order_acq_rel) == phase::waiting;  // [phase]
  }

  void* const place_;
  const callable_operations& of_;
  const std::size_t alignment_;  // 0: the block is of the usual size
  const spawn_site site_;
  context_reference context_;
  atomic<phase> phase_{phase::taken};  // there is no callable yet
  atomic<bool> cancelled_{false};
  bool timed_ = false;
};

using callback_reference = counted_reference<callback>;

/// Who may make a callback: any thread, for any shard; or a shard's only, for itself, where others get no_shard{call}.
struct callback_maker {
  const char* call = nullptr;
};

/// A block without its callable. Throws std::bad_alloc, no_shard.
[[nodiscard]] callback& allocate_callback(std::size_t size_bytes, std::size_t alignment, const callable_operations& of,
                                          bool timed, spawn_site site, callback_maker by);

template <class Function>
[[nodiscard]] callback_reference make_callback(Function&& f, bool timed, spawn_site site, callback_maker by = {}) {
  using callable = std::decay_t<Function>;
  static_assert(std::is_invocable_v<callable>, "a callback is called without arguments");
  callback_reference made{
      &allocate_callback(sizeof(callable), alignof(callable), operations_of_callable<callable>, timed, site, by)};
  ::new (made->place()) callable(std::forward<Function>(f));
  made->is_complete();
  return made;
}

/// The way to a shard, by which callbacks are sent; alive as long as the shard, or who holds a reference.
/// Throws no_shard{call}, std::out_of_range, std::invalid_argument (anywhere).
[[nodiscard]] counted& door_to(placement where, const char* call);

/// Has the loop of a shard call it: of `door`'s, or of this one. Nobody else has a reference to it yet.
/// Throws runtime_closed{call}, no_shard{call} (where no door is given).
void post_callback(callback& what, counted& door, const char* call);
void post_callback_here(callback& what, const char* call);

/// Has the loop of this shard call it when it is time. Likewise. Throws no_shard{call}, runtime_closed{call}.
void post_callback_at(callback& what, time_point deadline, const char* call);

}  // namespace roving::detail

#pragma GCC visibility pop
