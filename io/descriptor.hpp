// What a poller knows of one descriptor: who waits for it, and what it said while nobody did.
//
//     the kernel queue --event: slot, generation--> deliver() --claims--> the waiter of that direction
//                                                       \--none, or lost--> edge, kept for the next wait()
//
// A descriptor is registered for both directions at once and edge-triggered, so an event may come when nobody waits,
// and it comes only once. It must not get lost: whoever gives up a wait that was granted puts the edge back.
//
// The state lives in a slot of its poller's table. Slots are never freed while the table lives, and an event names
// its slot and the slot's generation at the time of registration. A descriptor that was closed, and whose number and
// slot are in use anew while an event for it is still in somebody's batch, is told apart by its generation alone.
//
// Rejected: a pointer in the event (what it points to may be gone), a map from numbers to states (the kernel reuses
// numbers at once), and atomic words instead of a lock (a wait is entered with the lock held, as park() wants it).
//
// The table outlives its poller while slots are in use, so that a stream or listener may outlive its runtime:
// orphan() ends all generations, and the next wait registers with another poller.
//
// I1  A slot's state is touched under its lock only. A wait of an earlier generation touches nothing.
// I2  `waiting` is a waiter that has not left wait(): it takes itself off, or end_generation() does.
// I3  An edge that no wait consumed is kept, until the generation ends.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <system_error>
#include <vector>

#include <roving/detail/atomic.hpp>
#include <roving/detail/io_direction.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>

namespace roving::detail {

class descriptor_table;
class poller;

/// What to watch a descriptor for.
enum class interest : std::uint8_t { edges, readable_once, writable_once };

/// What an event says. `hung_up`: an end or an error is there, so a short read does not mean that nothing is left.
struct readiness {
  bool readable = false;
  bool writable = false;
  bool hung_up = false;
};

/// How a wait for a descriptor ended. `stale`: it did not begin, since the generation was over.
enum class io_wait_end : std::uint8_t { ready, closed, stale };

/// A slot.
class alignas(64) descriptor {
 public:
  explicit descriptor(std::uint32_t slot) noexcept : slot_{slot} {}
  descriptor(const descriptor&) = delete;
  descriptor& operator=(const descriptor&) = delete;

  /// Parks the caller until the direction may be ready; it tries its call again then, since this is a hint and no
  /// promise. `drained`: the last call was a short read, so that it is only tried again for an edge or a hang-up.
  ///
  /// Errors: concurrent_use when somebody waits for that direction. Throws cancelled; keeps the edge then.
  /// `number` is the descriptor's, for reports.
  io_wait_end wait(io_direction direction, std::uint32_t generation, bool drained, const char* call, int number = -1);

  /// For select(), in a slot of which it is the only user: has `self` wait. False when there is no need to.
  [[nodiscard]] bool enlist(io_direction direction, std::uint32_t generation, waiter& self) noexcept;

  /// Takes `self` out again. Whether it was granted. Nothing is kept: the slot ends with the wait.
  [[nodiscard]] bool delist(io_direction direction, std::uint32_t generation, waiter& self) noexcept;

  /// Takes an event: wakes, or keeps it. The reader goes before the writer. For pollers; any thread.
  void deliver(std::uint32_t generation, readiness what, ready_list& ready) noexcept;

  /// Whether somebody waits for a direction. True from before the caller is off its stack until after it is back.
  [[nodiscard]] bool is_waited_for(io_direction direction) noexcept;

  /// Whether the next wait for it would return at once.
  [[nodiscard]] bool has_edge(io_direction direction) noexcept;

  /// Of the current generation. Only for whoever acquired the slot, until its generation ends.
  [[nodiscard]] std::uint32_t generation() const noexcept { return generation_; }

  /// What an event of this slot must carry. As above.
  [[nodiscard]] std::uint64_t token() const noexcept { return std::uint64_t{generation_} << 32U | slot_; }

 private:
  friend class descriptor_table;

  struct side {
    waiter* waiting = nullptr;
    bool edge = false;
  };

  [[nodiscard]] side& of(io_direction direction) noexcept { return direction == io_direction::read ? read_ : write_; }
  static void signal(side& at, ready_list& ready) noexcept;
  void end_generation(ready_list& wakes) noexcept;

  spin_lock lock_;
  bool hung_up_ = false;
  std::uint32_t generation_ = 0;
  side read_;
  side write_;
  const std::uint32_t slot_;
  std::uint32_t next_free_ = 0;               // guarded by the table
  std::shared_ptr<descriptor_table> keeper_;  // while in use; guarded by the table
};

/// All slots of a poller.
///
/// Thread safety: any thread calls anything, but for the poller's own end.
class descriptor_table : public std::enable_shared_from_this<descriptor_table> {
 public:
  explicit descriptor_table(poller& home) noexcept : home_{&home} {}
  descriptor_table(const descriptor_table&) = delete;
  descriptor_table& operator=(const descriptor_table&) = delete;
  ~descriptor_table();

  /// A slot in a new generation. Throws std::bad_alloc.
  [[nodiscard]] descriptor& acquire();

  /// Ends the generation, if it goes on: who waits is woken and told `closed`. No event is delivered from then on.
  static void end_generation(descriptor& state, std::uint32_t generation, ready_list& wakes) noexcept;

  /// Has the poller watch `fd` for `state`, which is the number's slot from then on. Throws std::bad_alloc.
  [[nodiscard]] std::error_code add_to_poller(const descriptor& state, int fd, interest what);

  /// Has the poller forget `fd`, while the poller lives; unless the number is another slot's meanwhile: then `fd` was
  /// closed behind our back, and the kernel has forgotten it by itself.
  static void remove_from_poller(const descriptor& state, int fd) noexcept;

  /// Gives back a slot whose generation has ended. Slot and table may be gone afterwards.
  static void release(descriptor& state) noexcept;

  /// Takes an event by its token. Unknown and old ones are ignored.
  void deliver(std::uint64_t token, readiness what, ready_list& ready) noexcept;

  /// The poller ends, and so do all generations. Nobody may wait. Again: nothing.
  void orphan() noexcept;

 private:
  // Chunk n has room for 64 * 2^n slots, so that none ever moves, and few are enough for any number. A slot is
  // constructed when it is first needed: a large chunk costs what is used of it.
  static constexpr unsigned first_chunk_bits = 6;
  static constexpr unsigned chunks = 32 - first_chunk_bits;
  static constexpr std::uint32_t no_slot = ~std::uint32_t{0};

  struct place {
    unsigned chunk;
    std::uint32_t offset;
  };
  [[nodiscard]] static place place_of(std::uint32_t slot) noexcept;
  [[nodiscard]] static std::uint32_t chunk_size(unsigned chunk) noexcept {
    return std::uint32_t{1} << (first_chunk_bits + chunk);
  }
  [[nodiscard]] descriptor& add_slot();
  [[nodiscard]] descriptor& at(std::uint32_t slot) noexcept;

  spin_lock lock_;
  poller* home_;  // null once it has ended
  std::uint32_t first_free_ = no_slot;
  std::vector<std::uint32_t> slot_of_number_;  // of the latest that was added for each
  // [slot] slots_ stored by acquire(), release -> loaded by deliver(), acquire: chunks and slots below it are
  // constructed. An event comes after its slot's registration, a system call, so deliver() sees that slot.
  atomic<std::uint32_t> slots_{0};
  std::array<descriptor*, chunks> chunks_{};
};

/// A slot in use, by whoever acquired it.
struct registration {
  descriptor* state = nullptr;
  std::uint32_t generation = 0;
};

}  // namespace roving::detail
