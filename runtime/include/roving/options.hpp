// How a runtime is made.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include <roving/slow_slice.hpp>
#include <roving/stall.hpp>
#include <roving/time.hpp>
#include <roving/unhandled.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// When a shard that is busy looks for I/O and due timers.
enum class poll_policy : std::uint8_t {
  now_and_then,     // every `poll_every_tasks` tasks or `poll_every`, whichever comes first
  every_generation  // once a generation, as asyncio does: the order of I/O events is exact
};

enum class when : std::uint8_t { automatic, always, never };

/// All have good defaults: `options{}` or `{.shards = 2}`.
struct options {
  std::optional<unsigned> shards{};    // none: one for each core of the affinity mask, within the CPU quota. Not 0
  when pin_threads = when::automatic;  // each shard to a core of its own; automatic: if there is one for each
  std::size_t stack_size_bytes = 256 * 1024;  // virtual; only pages that were touched cost memory
  poll_policy poll = poll_policy::now_and_then;
  unsigned poll_every_tasks = 256;
  duration poll_every = std::chrono::microseconds{50};
  duration watch_interval = std::chrono::microseconds{500};  // how long a shard is stuck before it is serviced
  unsigned roving_per_turn = 64;                             // roving tasks between two generations of pinned work
  std::size_t deque_capacity = 1024;       // of each stealable queue, a power of two from 2; the surplus overflows
  std::uint64_t seed = 1;                  // of the choices that are left to chance
  unsigned blocking_threads_at_most = 64;  // of blocking(): they wait more than they compute, so more than cores
  duration blocking_idle_for = std::chrono::seconds{10};  // a thread of blocking() without work leaves after it
  unsigned compute_threads = 0;                           // of compute(); 0: as many as shards
  duration shutdown_deadline = std::chrono::seconds{30};  // for cancelled tasks to end when the runtime closes, then
                                                          // for the pools to do what they have
  std::function<void(const std::string& tasks)>
      on_shutdown_stuck{};           // names what did not end; returning means to wait as long again. None: abort
  unhandled_handler on_unhandled{};  // errors that nobody catches or fetches; empty: a line on stderr
  bool handle_sigint = true;         // run() on the process's first thread: SIGINT cancels the main task
  duration stall_threshold = std::chrono::milliseconds{25};  // who holds its shard so long is reported while it does,
                                                             // once a second at most; 0: nobody. Seen by an idle shard
  bool watchdog = false;     // a thread of its own looks for stalls: with one shard, or where all are busy
  stall_handler on_stall{};  // empty: some lines on stderr
  bool debug = false;        // reports what holds its shard for `slow_slice` or longer
  // With debug: roving tasks that suspend are searched for addresses of thread-local variables. Slow, and a suspicion:
  // a word that an earlier call left on the stack looks the same. Told to on_unhandled
  bool debug_thread_local_scan = false;
  duration slow_slice = std::chrono::milliseconds{100};
  slow_slice_handler on_slow_slice{};  // empty: a line on stderr
};

}  // namespace roving

#pragma GCC visibility pop
