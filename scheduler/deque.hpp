// A bounded work-stealing deque (Chase and Lev, 2005; orders after Le et al., 2013).
//
//     thieves: steal() --> [ top_ .......... bottom_ ) <-- push(), pop() :owner
//                            oldest            newest
//
// A shard has two: one of tasks that nobody has started (its owner pops the newest: depth first, few
// live stacks) and one of tasks that were woken (its owner takes the oldest with steal(), as thieves do).
//
// Bounded, so that a shard which only spawns can't hide its backlog: when push() refuses, half of the
// deque goes to the overflow queue, where every shard can see it. A growing one would also have to keep
// its old arrays for thieves that still read them.
//
// I1  Only the owner writes bottom_. top_ only grows, and only by compare-exchange.
// I2  0 <= bottom_ - top_ <= capacity, as the owner sees it between its own calls.
// I3  An element in [top_, bottom_) is the deque's. Whoever moves an index past it owns it.
// I4  Indexes grow for ever and are never reused, so a compare-exchange of top_ can't be fooled by a
//     value that comes back: at one push a nanosecond 63 bits last three hundred years.
//
// [publish]  push stores bottom_, release -> steal loads bottom_, acquire: the thief sees all that was
//            done to the element before it was pushed. pop's store of a smaller bottom_ covers what
//            remains below it in the same way; since C++20 push's release doesn't reach across it.
// [reuse]    steal moves top_, release -> push loads top_, acquire: the slot was read before it is
//            written over.
// [last]     pop stores bottom_ then loads top_; steal loads top_ then bottom_, then moves top_; all seq_cst: at least
//            one sees the other, so the last element goes once. Where pop moves top_, release -> steal loads top_,
//            acquire: a thief that sees it moved sees bottom_ lowered.
// [wake]     push stores bottom_, then its caller loads the idle word; a sleeper writes the idle word,
//            then calls looks_empty(); all seq_cst: the producer sees the sleeper or the sleeper sees the
//            element. This makes push's store an exchange on x86, and is why no caller needs a fence.
//
// The orders lie on the atomics and not in fences, because ThreadSanitizer doesn't follow fences.
#pragma once

#include <roving/detail/assert.hpp>
#include <roving/detail/atomic.hpp>
#include <roving/detail/planted.hpp>

#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <memory>

namespace roving::detail {

/// A bounded deque of `Element*`, owned by one thread and stolen from by all.
///
/// Suspends: never. Allocates: when constructed.
/// Thread safety: push() and pop() are the owner's; the rest is anybody's.
/// Lifetime: doesn't own its elements.
/// `Atomic` is std::atomic, or what a model explorer puts in its place.
template <class Element, template <class> class Atomic = atomic>
class bounded_deque {
 public:
  static constexpr std::size_t default_capacity = 1024;

  struct steal_result {
    Element* element = nullptr;
    bool lost_race = false;  // somebody else took what we reached for: there may be more
  };

  /// `capacity` is in elements, a power of two, 2 at least.
  explicit bounded_deque(std::size_t capacity = default_capacity)
      : capacity_{static_cast<std::int64_t>(capacity)}, slots_{std::make_unique<Atomic<Element*>[]>(capacity)} {
    ROVING_ASSERT(capacity >= 2 && std::has_single_bit(capacity));
  }

  bounded_deque(const bounded_deque&) = delete;
  bounded_deque& operator=(const bounded_deque&) = delete;

  /// Adds the newest element; false when full. Owner only.
  [[nodiscard]] bool push(Element& element) noexcept {
    const std::int64_t bottom = bottom_.load(std::memory_order_relaxed);  // I1: our own write
    const std::int64_t top = top_.load(std::memory_order_acquire);        // [reuse] stale is safe: looks fuller
    ROVING_ASSERT(top <= bottom && bottom - top <= capacity_);            // I2
    if (bottom - top == capacity_) return false;

    slot(bottom).store(&element, std::memory_order_relaxed);  // no thief looks before bottom_ has moved
    bottom_.store(bottom + 1, std::memory_order_seq_cst);     // [publish] [wake]
    return true;
  }

  /// Takes the newest element; nullptr when empty. Owner only.
  [[nodiscard]] Element* pop() noexcept {
    const std::int64_t old_bottom = bottom_.load(std::memory_order_relaxed);  // I1: our own write
    // Spares the empty deque a full barrier. Relaxed, stale is safe: top_ only grows, so what looks empty is.
    if (top_.load(std::memory_order_relaxed) >= old_bottom) return nullptr;

    const std::int64_t bottom = old_bottom - 1;
    bottom_.store(bottom, std::memory_order_seq_cst);                       // [last] [publish]
    std::int64_t top = top_.load(std::memory_order_seq_cst);                // [last]
    if (top < bottom) return slot(bottom).load(std::memory_order_relaxed);  // I1: our own write

    // The last element, or thieves have taken that too: whoever moves top_ has it. Either way the deque is
    // empty then, so putting bottom_ back publishes nothing and can be relaxed.
    Element* last = nullptr;
    if (top == bottom) {
      last = slot(bottom).load(std::memory_order_relaxed);  // I1: our own write
      // release for [last]. On failure nothing is read: relaxed.
      if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_release, std::memory_order_relaxed) &&
          !is_planted(planted::last_of_deque_unraced))
        last = nullptr;
    }
    bottom_.store(old_bottom, std::memory_order_relaxed);
    return last;
  }

  /// What pop() would take, if no thief is faster; may be taken already, so not to be looked into. Owner only.
  [[nodiscard]] const Element* newest() const noexcept {
    const std::int64_t bottom = bottom_.load(std::memory_order_relaxed);  // I1: our own write
    if (top_.load(std::memory_order_relaxed) >= bottom) return nullptr;   // stale is safe
    return slot(bottom - 1).load(std::memory_order_relaxed);              // I1: our own write
  }

  /// Takes the oldest element; none when empty or when somebody else was faster. Anybody, the owner too. With `only`:
  /// none if that is not the oldest.
  [[nodiscard]] steal_result steal(const Element* only = nullptr) noexcept {
    std::int64_t top = top_.load(std::memory_order_seq_cst);              // [last]
    const std::int64_t bottom = bottom_.load(std::memory_order_seq_cst);  // [last] [publish]
    if (top >= bottom) return {};

    // Read before it is ours, and worth nothing unless top_ then still stands: the owner may have gone
    // round meanwhile and written over it. Relaxed: [publish] and [reuse] order it.
    Element* const oldest = slot(top).load(std::memory_order_relaxed);
    if (only != nullptr && oldest != only) return {};
    // seq_cst for [last] and [reuse]. On failure nothing is read: relaxed.
    if (is_planted(planted::steal_in_two_steps))
      top_.store(top + 1, std::memory_order_seq_cst);
    else if (!top_.compare_exchange_strong(top, top + 1, std::memory_order_seq_cst, std::memory_order_relaxed))
      return {.lost_race = true};
    return {.element = oldest};
  }

  /// Whether there is nothing to take. True was true at one moment of the call; false may be stale.
  ///
  /// Part of [wake]. top_ is read first: it only grows, so bottom_ <= top_ holds when bottom_ is read. By [reuse], here
  /// too, bottom_ is then not older than what the thief saw that moved top_.
  [[nodiscard]] bool looks_empty() const noexcept {
    const std::int64_t top = top_.load(std::memory_order_acquire);  // [reuse]
    return bottom_.load(std::memory_order_seq_cst) <= top;          // [wake]
  }

  /// The number of elements, exact for the owner while nobody steals. Not too small for who looks once more before it
  /// sleeps: [wake].
  [[nodiscard]] std::size_t size_estimate() const noexcept {
    const std::int64_t top = top_.load(std::memory_order_relaxed);        // stale is safe: looks fuller
    const std::int64_t bottom = bottom_.load(std::memory_order_seq_cst);  // [wake]
    return static_cast<std::size_t>(std::clamp<std::int64_t>(bottom - top, 0, capacity_));
  }

  [[nodiscard]] std::size_t capacity() const noexcept { return static_cast<std::size_t>(capacity_); }

 private:
  [[nodiscard]] Atomic<Element*>& slot(std::int64_t index) const noexcept {
    return slots_[static_cast<std::size_t>(index & (capacity_ - 1))];
  }

  // Never written after construction, so everybody keeps it cached.
  const std::int64_t capacity_;
  const std::unique_ptr<Atomic<Element*>[]> slots_;

  alignas(64) Atomic<std::int64_t> top_{0};     // thieves and, for the last element, the owner
  alignas(64) Atomic<std::int64_t> bottom_{0};  // written by the owner
};

}  // namespace roving::detail
