// The claim word: one atomic word a task, in which event, timeout and cancel compete for the task while it is parked.
//
//     running --arm()--> parked --claim()--> claimed   (which is running again as far as this word goes)
//     running --prepare()--> preparing --commit()--> parked
//                                |
//                             claim(): the waiter never parks, commit() says so
//
// Every wait has an epoch, which arm() and prepare() count up. Who may end a wait keeps its epoch, so that a late timer
// or event can't hit a later wait of the same task. There is no way back from claimed: the next arm() or prepare()
// leads on, so that coming back from a wait costs no write.
//
// arm() is for a wait whose other side can't claim before the task has left its stack, since a lock is held across the
// switch. prepare() and commit() are for waits on several things at once: claims may come from prepare() on.
//
// A cancel claims a parked task as an event does. Where the task does not wait in a way that can be claimed, it marks
// the task instead (`pending`), and the mark is taken at the next suspension point. A task that waits for another
// future (`forwards`) is neither claimed nor marked: the canceller reads what the task awaits and cancels that, and
// marks the task if that is done. While it does so it holds a pin, and a task that comes back waits until no pin is
// left: what is awaited stays readable, and the mark comes in time for the wait from which the task comes back. Where
// tasks await each other in a circle, one of them is claimed all the same. Who reports on tasks takes a pin too
// (try_pin), in any wait: what the task wrote before it stays readable, and nothing that its stack refers to goes.
//
// Rejected: a lock a task for all of this (a second atomic operation on the way out), and clearing the word on the way
// back (likewise).
//
// I1  Only the task itself, or the shard that just left its stack for it, takes the word from running to parked.
// I2  For each epoch at most one claim() succeeds.
// I3  Pins are only added in a wait: by a canceller that forwards, by who reports, and by the side that left the task's
//     stack and passes its mark on. Cancellers and reporters who find as many as fit into the word wait.
//
// [handover]  arm()/commit() release -> claim() acquire: who claims sees what the task wrote before it left.
// [result]    claim() release -> settled() acquire: the task sees what the claimer wrote before it claimed.
// [pin]       unpin() release -> settled() acquire: the reads of the canceller come before what the task does next, and
//             its mark is seen there.
// [mark]      cancel() and mark() release -> is_pending(), take_pending() and settled() acquire: who finds the mark, or
//             is back because of it, sees what the canceller wrote before.
// [untouched] is_untouched() writes, release -> claim() acquire: what was read before comes
//             before whatever happens once somebody has claimed, such as that the fiber
//             is entered and its stack written to.
//
// All that changes the word but reuse() is a read-modify-write, and so hands on what those before it have released:
// whoever acquires the word sees what every claimer and canceller wrote until then.
#pragma once

#include <cstdint>

#include <roving/detail/atomic.hpp>
#include <roving/detail/planted.hpp>
#include <roving/detail/relax.hpp>

#pragma GCC visibility push(default)

namespace roving::detail {

/// Who ended a wait.
enum class winner : std::uint8_t { none, event, timeout, cancel };

/// What a claim came to. `early`: the waiter had not parked yet and sees it by itself; do not unpark it.
enum class claim_result : std::uint8_t { lost, won, early };

/// What a cancel came to. `forward`: a pin is held; read what is awaited, then unpin().
enum class cancel_result : std::uint8_t { marked, claimed, claimed_early, forward };

enum class wait_mode : std::uint8_t {
  claimable = 0,       // a cancel claims
  masked = 1U << 5U,   // a cancel marks, and the mark stays
  forwards = 1U << 6U  // a cancel is passed on to what is awaited
};

template <template <class> class Atomic = atomic>
class basic_claim_word {
 public:
  using word = std::uint64_t;

  /// The epoch that the next arm() or prepare() begins. Owner only.
  [[nodiscard]] word next_epoch() const noexcept {
    return (word_.load(std::memory_order_relaxed) >> epoch_shift) + 1;  // the epoch is the owner's to write
  }

  /// Parks. False when a cancel is pending and the wait could be claimed by it: nothing has changed then. A masked wait
  /// leaves the mark where it is; so does a forwarding one, whose caller looks at it with is_pending().
  [[nodiscard]] bool arm(wait_mode mode) noexcept { return begin(mode, parked); }

  /// Opens a wait for claims before the task parks. False as for arm().
  [[nodiscard]] bool prepare(wait_mode mode) noexcept { return begin(mode, preparing); }

  /// Parks after prepare(). False when the wait was claimed already.
  [[nodiscard]] bool commit() noexcept {
    word seen = word_.load(std::memory_order_relaxed);
    do {
      if ((seen & preparing) == 0) return false;
      // [handover]. Who finds a claim here goes on to settled(), which acquires.
    } while (!word_.compare_exchange_weak(seen, (seen & ~preparing) | parked, std::memory_order_release,
                                          std::memory_order_relaxed));
    return true;
  }

  /// Ends the wait of that epoch. Any thread.
  [[nodiscard]] claim_result claim(word epoch, winner who) noexcept {
    word seen = word_.load(std::memory_order_relaxed);
    do {
      if ((seen >> epoch_shift) != epoch || (seen & (parked | preparing)) == 0) return claim_result::lost;
      if (is_planted(planted::claim_in_two_steps)) {
        word_.store(ended(seen, who), std::memory_order_release);
        break;
      }
    } while (!word_.compare_exchange_weak(seen, ended(seen, who), std::memory_order_acq_rel,  // [handover] [result]
                                          std::memory_order_relaxed));
    return (seen & parked) != 0 ? claim_result::won : claim_result::early;
  }

  /// Asks the task to stop what it is in; with `passes_on` false, whatever that is. Any thread.
  [[nodiscard]] cancel_result cancel(bool passes_on = true) noexcept {
    word seen = word_.load(std::memory_order_relaxed);
    for (unsigned iteration = 0;;) {
      const bool open = (seen & (parked | preparing)) != 0 && (seen & mask_bit) == 0;
      const bool forward = passes_on && open && (seen & forward_bit) != 0;
      if (forward && (seen & pin_bits) == pin_bits) {
        relax(iteration++);
        seen = word_.load(std::memory_order_relaxed);
        continue;
      }
      const word next = forward ? seen + pin_unit : open ? ended(seen, winner::cancel) : seen | pending;
      // [handover] [result] [mark]
      if (!word_.compare_exchange_weak(seen, next, std::memory_order_acq_rel, std::memory_order_relaxed)) continue;
      if (forward) return cancel_result::forward;
      if (!open) return cancel_result::marked;
      return (seen & parked) != 0 ? cancel_result::claimed : cancel_result::claimed_early;
    }
  }

  /// Holds a task whose stack has just been left, as cancel() does when it says `forward`. Before it can go on.
  void pin() noexcept { word_.fetch_add(pin_unit, std::memory_order_relaxed); }

  void unpin() noexcept { word_.fetch_sub(pin_unit, std::memory_order_release); }  // [pin]

  /// Pins a task that is in a wait, to read what it waits for. `seen` is for is_untouched(). False when it is in none.
  /// Any thread.
  [[nodiscard]] bool try_pin(word& seen) noexcept {
    seen = word_.load(std::memory_order_relaxed);
    for (unsigned iteration = 0; (seen & (parked | preparing)) != 0;) {
      if ((seen & pin_bits) == pin_bits) {
        relax(iteration++);
        seen = word_.load(std::memory_order_relaxed);
      } else if (word_.compare_exchange_weak(seen, seen + pin_unit, std::memory_order_acquire,  // [handover]
                                             std::memory_order_relaxed)) {
        return true;
      }
    }
    return false;
  }

  /// For who holds a pin by try_pin(): whether the task was parked then and nobody has ended the wait since, so that
  /// what was read of its stack meanwhile is what it was.
  [[nodiscard]] bool is_untouched(word seen) noexcept {
    const word now = word_.fetch_add(0, std::memory_order_release);  // [untouched]
    return (seen & parked) != 0 && (now & parked) != 0 && (seen >> epoch_shift) == (now >> epoch_shift);
  }

  /// Marks the task as cancel() does where the wait can't be claimed. Any thread that holds a pin.
  void mark() noexcept { word_.fetch_or(pending, std::memory_order_release); }  // [mark]

  /// Ends a wait that arm() or prepare() refused to begin, as if a cancel had claimed it: takes the mark. Owner side.
  /// Relaxed: it hands on what the canceller released, and settled() acquires that.
  void end_by_mark() noexcept {
    word seen = word_.load(std::memory_order_relaxed);
    while (!word_.compare_exchange_weak(seen, (((seen >> epoch_shift) + 1) << epoch_shift) | (word{3} << winner_shift),
                                        std::memory_order_relaxed, std::memory_order_relaxed)) {
    }
  }

  /// The task is back from a wait: waits until no canceller reads any more what it awaited. Says who won.
  winner settled() const noexcept {
    word seen = word_.load(std::memory_order_acquire);  // [result] [pin] [mark]
    if (is_planted(planted::pins_not_awaited)) return static_cast<winner>((seen >> winner_shift) & 3U);
    for (unsigned iteration = 0; (seen & pin_bits) != 0; ++iteration) {
      relax(iteration);
      seen = word_.load(std::memory_order_acquire);
    }
    return static_cast<winner>((seen >> winner_shift) & 3U);
  }

  [[nodiscard]] bool is_pending() const noexcept {
    return (word_.load(std::memory_order_acquire) & pending) != 0;  // [mark]
  }
  // Relaxed: who only looks has no part in a wait.
  [[nodiscard]] bool is_parked() const noexcept { return (word_.load(std::memory_order_relaxed) & parked) != 0; }
  /// Whether a claim of the current epoch would succeed.
  [[nodiscard]] bool is_open() const noexcept {
    return (word_.load(std::memory_order_relaxed) & (parked | preparing)) != 0;
  }
  [[nodiscard]] bool is_preparing() const noexcept { return (word_.load(std::memory_order_relaxed) & preparing) != 0; }
  [[nodiscard]] word epoch() const noexcept { return word_.load(std::memory_order_relaxed) >> epoch_shift; }

  /// Takes the mark away. True when there was one. Any thread (the owner delivers it, uncancel() forgives it).
  bool take_pending() noexcept {
    if ((word_.load(std::memory_order_relaxed) & pending) == 0) return false;      // spares a write: most have none
    return (word_.fetch_and(~pending, std::memory_order_acquire) & pending) != 0;  // [mark]
  }

  /// For a block that is used anew; the epoch goes on, so that what is late for the former task misses this one.
  /// Relaxed: whoever learns of the new task does so by something that orders more than this.
  void reuse() noexcept {
    const word epoch = word_.load(std::memory_order_relaxed) >> epoch_shift;
    word_.store((epoch + 1) << epoch_shift, std::memory_order_relaxed);
  }

 private:
  static constexpr word parked = 1;
  static constexpr word preparing = 2;
  static constexpr unsigned winner_shift = 2;
  static constexpr word winner_bits = word{3} << winner_shift;
  static constexpr word pending = word{1} << 4U;
  static constexpr word mask_bit = static_cast<word>(wait_mode::masked);
  static constexpr word forward_bit = static_cast<word>(wait_mode::forwards);
  static constexpr word pin_unit = word{1} << 8U;
  static constexpr word pin_bits = word{0xff} << 8U;
  static constexpr unsigned epoch_shift = 16;

  static constexpr word ended(word seen, winner who) noexcept {
    return (seen & ~(parked | preparing | mask_bit | forward_bit | winner_bits)) |
        (static_cast<word>(who) << winner_shift);
  }

  bool begin(wait_mode mode, word phase) noexcept {
    word seen = word_.load(std::memory_order_relaxed);
    word next = 0;
    do {
      if ((seen & pending) != 0 && mode == wait_mode::claimable) return false;
      next = (((seen >> epoch_shift) + 1) << epoch_shift) | (seen & pending) | phase | static_cast<word>(mode);
    } while (!word_.compare_exchange_weak(seen, next, std::memory_order_release,  // [handover]
                                          std::memory_order_relaxed));
    return true;
  }

  Atomic<word> word_{0};
};

using claim_word = basic_claim_word<>;

}  // namespace roving::detail

#pragma GCC visibility pop
