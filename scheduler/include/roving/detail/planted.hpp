// Faults that are planted on purpose, one at a time and in builds for simulation only, to show that simulation finds
// them: each stands for something that could go wrong in these protocols. docs/reliability.md has the table, with the
// number of seeds that finding it takes; tests/sim/planted_test.cpp checks it.
#pragma once

#include <cstdint>

#pragma GCC visibility push(default)

namespace roving::detail {

enum class planted : std::uint8_t {
  none,
  // the ground
  sleep_without_second_look,      // a shard announces sleep and does not look once more
  message_without_wake,           // work is put into an inbox, and a sleeping owner is not woken
  roving_without_call,            // roving work comes from off every shard, and no sleeper is called
  found_alone,                    // who finds work at the second look does not tell that there may be more
  searchers_do_not_chain,         // likewise who finds it in a search
  watch_ended_unlooked,           // who ends the watch does not see who woke meanwhile
  long_watch_kept,                // who has seen a lone task sleeps on, since somebody else has the watch
  short_watch_kept,               // who sleeps for longer says so after it has looked for lone tasks
  claim_in_two_steps,             // two may end the same wait
  unlock_before_leaving,          // a task is seen as waiting while it runs
  ready_before_leaving,           // a task is on a queue while it runs
  last_of_deque_unraced,          // owner and thief both take the last one
  steal_in_two_steps,             // two thieves take the same one
  drain_in_two_steps,             // what is sent while an inbox is drained is lost
  inbox_newest_first,             // messages of one sender overtake each other
  cancel_not_passed_on,           // a cancel that was pending does not reach what is awaited
  pins_not_awaited,               // what is awaited is gone while a canceller reads it
  stale_entry_without_reference,  // a task that ran inline is used anew while its old entry is queued
  inline_in_two_steps,            // parent and thief both start a child
  timers_early,                   // by a millisecond
  closed_before_tasks_ended,      // cleanup finds the runtime closed
  spawn_unseen_by_close,          // a callback spawns a task after close() has seen the last one end
  threads_stopped_without_wake,   // shards sleep through the end of their runtime
  second_cancel_thrown_twice,     // two cancels before the first was thrown are two throws
  finish_without_lock,            // who begins to wait while a future is completed is forgotten
  withdrawn_while_running,        // a job is taken back that a thread has begun
  // primitives
  mutex_barging,             // a newcomer passes who waits
  mutex_cancelled_keeps_it,  // who was woken and cancelled does not wake the next
  semaphore_permit_lost,     // a permit that was granted to who was cancelled
  queue_wake_lost,           // likewise the news of an item
  notification_lost,         // likewise a notification
  event_wakes_one,           // set() wakes the first only
  // descriptors
  generation_not_checked,  // an event of a closed descriptor reaches the next one of that number
  edge_not_kept,           // an event that nobody waited for
  edge_lost_with_cancel,   // an event that was granted to who was cancelled
  count
};

#if defined(ROVING_SIMULATION)
[[nodiscard]] bool is_planted(planted which) noexcept;
#else
[[nodiscard]] constexpr bool is_planted(planted) noexcept { return false; }
#endif

}  // namespace roving::detail

#pragma GCC visibility pop
