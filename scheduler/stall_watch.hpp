// Reports who holds a shard, while it is held.
//
// Who sees it: the shard that keeps the watch (idle.hpp), which looks at the others' slice counters anyway, and reads
// the clock then; so nobody else pays anything. It tells the thread "roving-watchdog" what it saw. That starts with the
// first stall, asks the stuck thread for its stack (askable_thread.hpp), and calls the handler: a shard never waits for
// that. With one shard, or none idle, nobody keeps the watch; options.watchdog has the thread look for itself, every
// half threshold while any shard is awake. While all sleep it sleeps too: the first shard that wakes then wakes it.
//
// At most one report a slice, and one a second of each shard. The others are counted, and said with the next.
//
// [asleep]  the thread stores asleep_, then looks whether a shard is awake; a shard that wakes takes its announcement
//           back (idle.hpp, S5, [rests]), then loads asleep_; all seq_cst: one sees the other.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <utility>
#include <vector>

#include <roving/detail/atomic.hpp>
#include <roving/stall.hpp>
#include <roving/time.hpp>

#include "scheduler/thread.hpp"
#include "scheduler/thread_block.hpp"

namespace roving::detail {

class scheduler;

/// How long a slice has been going on, as far as can be told from a counter that is looked at now and then. Whoever
/// looks has one for each shard.
class slice_gauge {
 public:
  /// The counter says `slices` now. How long it has, if that is `threshold` or more; once for each slice.
  [[nodiscard]] std::optional<duration> look(std::uint64_t slices, time_point now, duration threshold) noexcept {
    if (slices != slices_ || since_ == time_point{}) {
      slices_ = slices;
      since_ = now;
      is_told_ = false;
    }
    if (is_told_ || now - since_ < threshold) return std::nullopt;
    is_told_ = true;
    return now - since_;
  }

  /// The shard sleeps: what it does next is new, though nothing was counted.
  void reset() noexcept { since_ = time_point{}; }

 private:
  std::uint64_t slices_ = 0;
  time_point since_{};  // time_point{}: nothing was seen
  bool is_told_ = false;
};

/// Lets a report through now and then, and counts the others.
class report_limit {
 public:
  explicit report_limit(duration at_least_between) noexcept : between_{at_least_between} {}

  /// How many were held back before this one, if it may go.
  [[nodiscard]] std::optional<std::uint64_t> admit(time_point now) noexcept {
    if (last_ && now - *last_ < between_) {
      ++held_back_;
      return std::nullopt;
    }
    last_ = now;
    return std::exchange(held_back_, 0);
  }

  /// What admit() let through came to nothing.
  void take_back(std::uint64_t held_back) noexcept {
    last_.reset();
    held_back_ = held_back;
  }

 private:
  duration between_;
  std::optional<time_point> last_;
  std::uint64_t held_back_ = 0;
};

class stall_watch {
 public:
  explicit stall_watch(scheduler& of);
  stall_watch(const stall_watch&) = delete;
  stall_watch& operator=(const stall_watch&) = delete;
  ~stall_watch();  // after stop()

  [[nodiscard]] bool is_on() const noexcept { return threshold_ != duration::zero(); }
  [[nodiscard]] duration threshold() const noexcept { return threshold_; }

  /// The thread begins, if it is to look for itself. Throws std::system_error.
  void begin();

  /// A shard that keeps the watch has seen this. Returns at once.
  void tell(unsigned shard, std::uint64_t slices, duration held_for) noexcept;

  /// A shard is awake, or begins to be run.
  void shard_woke() noexcept {
    if (looks_itself_ && asleep_.load(std::memory_order_seq_cst)) [[unlikely]]  // [asleep]
      wake();
  }

  /// Ends the thread, after the report that it is at. Before the shards go.
  void stop() noexcept;

 private:
  struct sighting {
    std::uint64_t slices;
    duration held_for;
  };

  void start_thread();
  void run();
  void wake() noexcept;
  [[nodiscard]] bool look_around();
  [[nodiscard]] bool some_shard_is_awake() const noexcept;
  void report(unsigned shard, const sighting& seen);

  scheduler& scheduler_;
  const duration threshold_;
  const bool looks_itself_;
  atomic<bool> asleep_{false};  // with looks_itself_: until a shard wakes

  // --- the thread's own
  std::vector<slice_gauge> gauges_;
  std::vector<report_limit> limits_;
  std::vector<std::uint64_t> reported_;  // the slice, of each shard

  thread_mutex mutex_;
  thread_condition changed_;
  // --- guarded by mutex_
  std::vector<std::optional<sighting>> told_;
  bool has_news_ = false;
  bool stopping_ = false;
  bool can_not_start_ = false;
  std::unique_ptr<started_thread> thread_;
};

}  // namespace roving::detail
