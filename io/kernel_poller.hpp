// What every kernel queue has in common: who may ask it, when its owner is woken, and how long it may block. A
// back-end adds four short functions over its system's calls.
//
// One at a time. The owner of a queue asks it each turn, and another shard may do so in its place while the owner is
// stuck in a long task. A lock is held around the kernel call and the handling of its events: events of one
// descriptor are handled in the order in which they came, and the buffer for them is one. The owner holds it while it
// blocks, so nobody services a shard that sleeps. It is a spin lock since those who find it taken go away, but for
// wait(), which has a servicer to await that does not block.
//
// Waking. wake() sets a flag, and rings only if it was not set: any number of wakes during a sleep, or between two,
// cost one system call. wait() looks at the flag before it blocks, and takes it when it is back. The flag is what
// counts, the bell only ends the kernel call: a servicer may hear it in the owner's place and nothing is lost, and a
// bell that is rung late, or twice, ends some wait() early, which is allowed.
//
// If the ringer is stopped between flag and bell, those who wake after it rely on it and the owner sleeps until it
// goes on. Rejected for that: ringing each time, which costs a system call for every message to a shard.
//
// [wake]  wake() sets woken_, release -> wait() takes it, acquire: the owner sees what was done before the wake. All
//         are read-modify-writes, so the flag's history has no gap.
#pragma once

#include <optional>

#include <roving/detail/atomic.hpp>

#include "io/poller.hpp"

namespace roving::detail {

class kernel_poller : public poller {
 public:
  using poller::poller;

  void wait(time_point until, ready_list& ready) noexcept final;
  void poll(ready_list& ready) noexcept final;
  bool service(ready_list& ready) noexcept final;
  void wake() noexcept final;

 protected:
  /// Asks the kernel and delivers what it says: blocks until there is an event, the bell, or `timeout` is over.
  /// Nothing: for ever. Returns early when a signal interrupts it, never because of time.
  virtual void ask(std::optional<duration> timeout, ready_list& ready) noexcept = 0;

  /// Ends the ask() that goes on, or else the next one. Any thread, also in a signal handler: leaves errno as it was.
  virtual void ring() noexcept = 0;

 private:
  [[nodiscard]] bool take_wake() noexcept;

  spin_lock asking_;
  alignas(64) atomic<bool> woken_{false};  // written by others
};

}  // namespace roving::detail
