// A timeout around what a task does, from enter() to leave(). The meaning, and for pinned tasks the order, is
// asyncio.Timeout's.
//
// When it is due it cancels the task and remembers that. On the way out it takes that cancel back; if then there are no
// more cancels than on the way in, the `cancelled` that comes out was its own, and becomes a timeout.
//
// A pinned task has a timer of its shard, which fires as a callback there; a deadline that has passed is a callback at
// once. A roving task is running anywhere when its time has come, so its timer is one that any thread may expire, and
// it may be on its way out just then: a claim word decides who was first, and who loses waits until the other is done.
//
// I1  After leave() nothing of it is queued or set, and no cancel of it is on its way.
//
// [alarm]  the alarm stores rung_, release, as the last it does -> disarm() loads it, acquire: the cancel comes before
//          the uncancel.
#pragma once

#include <cstdint>
#include <optional>

#include <roving/detail/atomic.hpp>
#include <roving/detail/ready_node.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/detail/wait.hpp>
#include <roving/time.hpp>

#include "scheduler/shard.hpp"

namespace roving::detail {

class timeout_core {
 public:
  explicit timeout_core(std::optional<time_point> deadline) noexcept;
  timeout_core(const timeout_core&) = delete;
  timeout_core& operator=(const timeout_core&) = delete;
  ~timeout_core();  // not between enter() and leave()

  /// Once, in a task. Throws not_in_task{call}, broken_contract.
  void enter(const char* call);

  /// Once, in the same task. True if a `cancelled` that comes out is a timeout's. Does not suspend.
  bool leave() noexcept;

  /// Throws broken_contract unless it was entered and has neither expired nor been left.
  void reschedule(std::optional<time_point> deadline);

  [[nodiscard]] std::optional<time_point> when() const noexcept { return deadline_; }
  [[nodiscard]] bool expired() const noexcept {
    const state now = state_.load(std::memory_order_acquire);
    return now == state::expiring || now == state::expired;
  }

 private:
  enum class state : std::uint8_t { created, entered, expiring, expired, left };

  struct pinned_alarm : pinned_timer {
    explicit pinned_alarm(timeout_core& whose) noexcept
        : pinned_timer{[](pinned_timer& timer) noexcept { static_cast<pinned_alarm&>(timer).of.expire(); }},
          of{whose} {}
    timeout_core& of;
  };

  // A timer that has a waiter claimed, as all of roving tasks; here that is not the task but this, which cancels the
  // task.
  struct roving_alarm {
    explicit roving_alarm(timeout_core& whose) noexcept;
    struct bell : parkable {
      explicit bell(timeout_core& whose) noexcept;
      timeout_core& of;
    } rings;
    waiter waits;
    roving_timer timer;
    shard* set_on = nullptr;
  };

  // A callback that outlives its scope when it is taken back.
  struct callback_at_once;

  void arm(time_point deadline);
  void disarm() noexcept;
  void expire() noexcept;

  std::optional<time_point> deadline_;
  atomic<state> state_{state::created};
  atomic<bool> rung_{false};
  task_base* task_ = nullptr;
  std::uint32_t cancelling_on_entry_ = 0;
  std::optional<pinned_alarm> pinned_;
  std::optional<roving_alarm> roving_;
  callback_at_once* at_once_ = nullptr;
};

}  // namespace roving::detail
