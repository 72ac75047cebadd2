// The way to a shard for those who may outlive it: handles of callbacks and timers, done-callbacks of a future that
// lives longer than the runtime, plain threads that post.
//
// Who wants to touch the shard goes in, and comes out when it is done; close() lets nobody in any more and waits until
// all are out. One word: how many are inside, and whether it is closed.
//
// Rejected: a lock, under which senders would wait for each other's system calls.
//
// [closed]  close() sets the bit, then waits for the count; enter() counts, then looks at the bit; one
//           read-modify-write each on one word: who was let in is waited for. close() release -> enter() acquire: who
//           is kept out sees what came before close().
// [out]     leave() release -> close() acquire: what was done inside comes before what follows close().
#pragma once

#include <cstdint>

#include <roving/detail/atomic.hpp>
#include <roving/detail/context_values.hpp>
#include <roving/detail/ready_node.hpp>
#include <roving/detail/relax.hpp>

namespace roving::detail {

/// `Atomic` is std::atomic, or what a model explorer puts in its place.
template <template <class> class Atomic = atomic>
class basic_gate_word {
 public:
  /// Whether the caller is in, until leave().
  [[nodiscard]] bool enter() noexcept {
    if ((word_.fetch_add(1, std::memory_order_acquire) & closed) == 0) return true;  // [closed]
    leave();
    return false;
  }
  void leave() noexcept { word_.fetch_sub(1, std::memory_order_release); }  // [out]

  /// Whoever is inside never waits for anything.
  void close() noexcept {
    word_.fetch_or(closed, std::memory_order_release);                                          // [closed]
    for (unsigned iteration = 0; word_.load(std::memory_order_acquire) != closed; ++iteration)  // [out]
      relax(iteration);
  }

 private:
  static constexpr std::uint32_t closed = std::uint32_t{1} << 31U;
  Atomic<std::uint32_t> word_{0};
};

class gate final : public counted {
 public:
  explicit gate(shard& to) noexcept
      : counted{[](counted& self) noexcept { delete static_cast<gate*>(&self); }}, behind_{to} {}

  /// The shard, which stays until leave(); null when it is closed.
  [[nodiscard]] shard* enter() noexcept { return word_.enter() ? &behind_ : nullptr; }
  void leave() noexcept { word_.leave(); }
  void close() noexcept { word_.close(); }

 private:
  ~gate() = default;

  shard& behind_;
  basic_gate_word<> word_;
};

using gate_reference = counted_reference<gate>;

/// In while it lives, if it was let in.
class gate_pass {
 public:
  explicit gate_pass(gate& through) noexcept : through_{through}, shard_{through.enter()} {}
  gate_pass(const gate_pass&) = delete;
  gate_pass& operator=(const gate_pass&) = delete;
  ~gate_pass() {
    if (shard_ != nullptr) through_.leave();
  }

  explicit operator bool() const noexcept { return shard_ != nullptr; }
  shard* operator->() const noexcept { return shard_; }
  shard& operator*() const noexcept { return *shard_; }

 private:
  gate& through_;
  shard* shard_;
};

}  // namespace roving::detail
