// Timers of one shard: a hierarchical timing wheel (Varghese and Lauck, 1987), exact to the nanosecond.
//
// Most timers are timeouts that are cancelled, so setting and cancelling are a few instructions and expiry
// does the work. A heap was rejected: it costs a logarithm and a cache miss a step for timers that never fire.
//
// Time is cut into ticks of 2^14 ns (about 16 us), and a tick is read as digits of 8 bits, the lowest first:
//
//     level 0:  256 slots of one tick           (4 ms)       slots of one level share all higher digits
//     level 1:  256 slots of 256 ticks          (1 s)        with the current tick
//     level 2:  256 slots of 256 * 256 ticks    (4.6 min)
//     ...
//     level 6:  the rest: all of the clock's 64 bits are covered, so there is no "too far"
//
// So many slots, since placing a timer anew is where sleepers in their thousands cost most: each lies on a stack of its
// own, which nobody has touched since, and is found by the one before it only.
//
// A timer lies on the level of the highest digit in which its tick differs from the current one, in the slot
// of that digit. When the current tick enters a slot of a higher level, the timers there are placed anew, each
// on a lower level: at most once a level in a timer's life, and seldom so often.
//
// I1  Timers in slots on level n have all digits above n in common with current_, and digit n larger.
//     On level 0 it may be equal: the current slot, which also has all that were overdue when they were set.
// I2  So everything outside the current slot has a later tick than current_, lower levels lie before higher
//     ones, and lower slots before higher ones: the first slot in the bitmaps has the earliest timer.
// I3  A bit in a bitmap is set exactly when its slot (its word of 64 slots) has timers.
// I4  No timer in a slot has a deadline before bound_; if bound_is_exact_, one has just that.
// I5  current_ never goes back, whatever the clock does. A smaller `now` expires less, nothing else.
//
// The price of being exact: the current slot is searched whenever something in it is due, and the first slot
// whenever the earliest deadline is asked for after the earliest timer was cancelled. not_before() asks
// for less and never searches.
#pragma once

#include <roving/detail/assert.hpp>

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <utility>

namespace roving::detail {

class timer_wheel;
class timer_batch;

/// What is in a wheel; users derive from it. All members but is_set() are the wheel's to write.
///
/// Lifetime: must not move or end while it is set.
struct timer_node {
  using time_point = std::chrono::steady_clock::time_point;

  timer_node() = default;
  timer_node(const timer_node&) = delete;
  timer_node& operator=(const timer_node&) = delete;
  ~timer_node() { ROVING_ASSERT(!is_set()); }

  /// Whether it will fire unless it is cancelled: it is in a wheel, or in a batch and not yet popped.
  [[nodiscard]] bool is_set() const noexcept { return place != place_none; }

  static constexpr std::uint16_t place_none = 0xffff;
  static constexpr std::uint16_t place_batch = 0xfffe;

  timer_node* next = nullptr;
  timer_node* previous = nullptr;  // in a slot the first node's is nullptr; in a batch it is a ring
  time_point deadline{};
  std::uint64_t sequence = 0;        // of set(): the order among equal deadlines
  std::uint16_t place = place_none;  // the slot, counted through all levels, or one of the above
};

/// The timers that one expire() found due, in the order in which they are to fire.
///
/// It is an object, and its timers stay set until they are popped, so that one of them can cancel another
/// that is due in the same moment: cancel() takes it out of the batch.
///
/// Thread safety: as its wheel; pop() counts as a call to it.
/// Lifetime: must be popped until it is empty before it ends; a timer must not get lost.
class timer_batch {
 public:
  /// An empty one, to splice others into.
  timer_batch() noexcept { ring_.next = ring_.previous = &ring_; }
  timer_batch(timer_batch&& other) noexcept : timer_batch{} { splice(std::move(other)); }
  timer_batch(const timer_batch&) = delete;
  timer_batch& operator=(const timer_batch&) = delete;
  ~timer_batch();

  /// Takes the next timer, which is no longer set and may be set again; nullptr at the end.
  [[nodiscard]] timer_node* pop() noexcept;

  /// Takes over the timers of `other`, which was expired later, behind its own. Constant time.
  void splice(timer_batch&& other) noexcept;

  [[nodiscard]] bool empty() const noexcept { return ring_.next == &ring_; }

 private:
  friend class timer_wheel;
  std::size_t append(timer_node* first) noexcept;  // sorted, linked by `next`; returns how many

  timer_node ring_;  // neither first nor last: before the first and behind the last
};

/// The timers themselves.
///
/// Suspends: never. Allocates: never. set() and cancel() take constant time.
/// Thread safety: none; who shares a wheel holds a lock, while popping a batch too.
/// Lifetime: must be empty when it ends. `expire(time_point::max())` empties it.
class timer_wheel {
 public:
  using time_point = timer_node::time_point;

  explicit timer_wheel(time_point now) noexcept;
  timer_wheel(const timer_wheel&) = delete;
  timer_wheel& operator=(const timer_wheel&) = delete;
  ~timer_wheel();

  /// Has `node`, which isn't set, expire at `deadline`. Any will do: what is past expires next time.
  void set(timer_node& node, time_point deadline) noexcept;

  /// Has `node` not expire. False when it isn't set: never was, was cancelled, or was popped from its batch.
  bool cancel(timer_node& node) noexcept;

  /// Takes out every timer with a deadline at or before `now`, ordered by deadline, equal ones as they were set.
  [[nodiscard]] timer_batch expire(time_point now) noexcept;

  /// The earliest deadline, exactly; nothing when empty. May search one slot, and remembers what it finds.
  [[nodiscard]] std::optional<time_point> next_deadline() noexcept;

  /// A time before which nothing is due; nothing when empty. Constant time.
  ///
  /// For loops to which an expire() in vain, now and then, is cheaper than a search: it is never later than
  /// next_deadline() and, right after expire(now), always later than that `now`.
  [[nodiscard]] std::optional<time_point> not_before() const noexcept;

  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }

  /// How many timers it has; those in batches are no longer its own.
  [[nodiscard]] std::size_t size() const noexcept { return size_; }

 private:
  static constexpr unsigned tick_bits = 14;  // of a nanosecond count
  static constexpr unsigned digit_bits = 8;
  static constexpr std::size_t slots_per_level = std::size_t{1} << digit_bits;
  static constexpr std::size_t levels = (64 - tick_bits + digit_bits - 1) / digit_bits;
  static constexpr std::size_t slots = levels * slots_per_level;
  static constexpr std::size_t slots_per_word = 64;

  [[nodiscard]] static std::uint64_t tick_of(time_point time) noexcept;
  [[nodiscard]] static time_point start_of(std::uint64_t tick) noexcept;
  [[nodiscard]] std::size_t current_place() const noexcept;  // on level 0
  [[nodiscard]] std::size_t first_place() const noexcept;    // of the earliest timer's slot; not when empty
  void link(timer_node& node) noexcept;
  void unlink(timer_node& node) noexcept;
  [[nodiscard]] timer_node* take_slot(std::size_t place) noexcept;
  void advance(std::uint64_t tick, timer_batch& due) noexcept;
  void take_due_from_current_slot(time_point now, timer_batch& due) noexcept;
  void find_bound() noexcept;
  void find_exact_bound(std::size_t place) noexcept;

  std::uint64_t current_;  // I5, in ticks
  std::uint64_t next_sequence_ = 0;
  std::size_t size_ = 0;
  time_point bound_{};  // I4; means nothing when empty
  bool bound_is_exact_ = false;
  std::uint32_t used_words_ = 0;                                    // I3
  std::array<std::uint64_t, slots / slots_per_word> used_slots_{};  // I3
  std::array<timer_node*, slots> first_in_slot_{};
};

}  // namespace roving::detail
