// The seam "who runs now". In a build for simulation (ROVING_SIMULATION) all threads of a runtime may be simulated ones
// that take turns on one: what would block or spin asks the simulator instead, and every atomic operation gives it a
// chance to let another thread go on (roving/detail/atomic.hpp). runtime/sim/ has the one implementation.
//
// In all other builds there is no simulator, and what asks for one is compiled away.
#pragma once

#include <roving/detail/planted.hpp>
#include <roving/time.hpp>

namespace roving::detail {

class simulator {
 public:
  simulator() = default;
  simulator(const simulator&) = delete;
  simulator& operator=(const simulator&) = delete;
  virtual ~simulator() = default;

  /// The calling thread may be stopped here for a while.
  virtual void point() noexcept = 0;

  /// It has read a word, at which it is not stopped.
  virtual void glance() noexcept {}

  /// It spins: others go on first.
  virtual void relax() noexcept = 0;

  /// It sleeps until `key` is woken or `deadline` has passed (max(): never); false in the latter case. Nobody else runs
  /// between the call and the sleep. `what` is for reports.
  virtual bool wait(const void* key, time_point deadline, const char* what) noexcept = 0;

  /// Ends the sleep of one, or of all, who wait for `key`. They go on later.
  virtual void wake_one(const void* key) noexcept = 0;
  virtual void wake_all(const void* key) noexcept = 0;

  [[nodiscard]] virtual time_point now() const noexcept = 0;

  /// A task begins a slice on a shard, and ends it: for the invariants that are checked all along.
  virtual void slice_begins(unsigned shard, const struct task_base& task) noexcept = 0;
  virtual void slice_ends(unsigned shard) noexcept = 0;

  /// A timer with that deadline ends a wait or calls back: likewise.
  virtual void timer_ends(time_point deadline) noexcept = 0;

  /// Pinned work was sent to a shard, and leaves its queue there: what one sender sends to a shard keeps its order
  /// (D6).
  virtual void sent(const struct ready_node& work, unsigned shard) noexcept = 0;
  virtual void taken(const struct ready_node& work, unsigned shard) noexcept = 0;

  /// An invariant does not hold.
  virtual void broken(const char* what) noexcept = 0;

  /// Which fault of our own is planted, to see whether it is found.
  [[nodiscard]] virtual planted planted_fault() const noexcept = 0;

  /// Says on stderr how to come back to this moment. Async-signal-safe.
  virtual void say_how_to_replay() noexcept = 0;
};

#if defined(ROVING_SIMULATION)
/// That of the calling thread, or null.
[[nodiscard]] simulator* current_simulator() noexcept;
void set_current_simulator(simulator* now) noexcept;
#else
[[nodiscard]] inline simulator* current_simulator() noexcept { return nullptr; }
#endif

}  // namespace roving::detail
