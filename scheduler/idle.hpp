// Who sleeps, who searches, who watches: how work finds a shard that has none, and nobody is woken for nothing.
//
// Three things may not go wrong. A shard must not fall asleep beside work that only it could do (its inbox). No shard
// may sleep beside roving work that nobody runs or looks for. And a producer must not pay for a wake that is not
// needed.
//
//     producer of roving work            a shard that has nothing to do
//       P1 push the task                   S1 search for a while, counted as a searcher
//       P2 look at the idle word           S2 announce: idle word: sleeping + 1, searching - 1; flag = asleep
//          nobody sleeps, or somebody      S3 look once more: inbox, overflow queue, every shard's queues
//          searches: done                     found: take the announcement back, search again (S1)
//       P3 searching + 1 by compare-      S4 block in the parker
//          exchange; choose a sleeper,     S5 back: take the announcement back unless the waker did
//          flag asleep -> called; wake()
//
// P1, P2, S2 and S3 are seq_cst operations on the queues' and the idle word's own atomics (no fences: ThreadSanitizer
// does not follow them).
//
// Nothing is lost. Let a task be pushed (P1) and its producer wake nobody (P2). (a) It saw nobody asleep: then every
// shard that sleeps later announces after P2, so its S3 comes after P1 and sees the task. (b) It saw somebody
// searching. That searcher ends in one of two ways. It announces (S2) after P2 and then looks (S3): it sees the task,
// and is a searcher again, unless enough others are, so that it does not keep to itself that there may be more. Or it
// found other work: it takes itself off the searchers, and when it was the last of them it looks whether more is
// to be had and wakes the next (chaining): that look comes after P2 as well. (c) The search that P2 saw was only
// promised: somebody was in P3 and found that all sleepers had woken by themselves. It takes the promise back and looks
// again, as in (b). So at most one wake is in flight for roving work, and each one that finds work wakes the next if
// there is more.
//
// For an inbox the flag takes the idle word's place: push (seq_cst), then read the flag (seq_cst); announce (seq_cst),
// then look at the inbox (seq_cst). One of the two sees the other. Who takes the flag from asleep writes to the
// eventfd: at most one write a sleep.
//
// The watch. A shard that is stuck in a long slice can't poll. So while any shard is awake, one sleeper sleeps for an
// interval only, and looks at the others' slice counters when it is back. When it has seen all others asleep for many
// intervals it stops, so that an idle process makes no system calls; the first to wake after that wakes a watcher.
//
// A task that was woken by its partner on the same shard is not worth a steal if that shard goes on to it soon, and
// most do. A searcher that came for one and saw it run by its own shard goes to sleep on a *short watch*: it looks
// again every 50 us, and as long as it does, a lone woken task wakes nobody.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>

#include <roving/detail/atomic.hpp>

namespace roving::detail {

class idle_set {
 public:
  explicit idle_set(unsigned shards);

  // --- for producers

  /// P2: whether the caller, who just published roving work, should go on to call_one(). `lone`: it is one woken task
  /// on a shard that may well run it next.
  [[nodiscard]] bool should_call(bool lone) const noexcept {
    const std::uint64_t seen = word_.load(std::memory_order_seq_cst);  // P2
    if (sleeping(seen) == 0 || searching(seen) != 0) return false;
    return !lone || (watch_.load(std::memory_order_relaxed) & short_watch) == 0;
  }

  /// P3. The shard to wake, now counted as a searcher. None when another wake is under way, or when nobody sleeps any
  /// more; `look_again` is set when the caller must call stop_searching() and look for work that is left.
  [[nodiscard]] std::optional<unsigned> call_one(unsigned not_me, bool& look_again) noexcept;

  /// For pinned work on the way to `shard`: true when the caller must wake it.
  [[nodiscard]] bool take_from_sleep(unsigned shard) noexcept;

  // --- for the shard itself

  /// S1. False when enough others do. At most half of the shards search.
  [[nodiscard]] bool start_searching() noexcept;

  /// True when no searcher is left: the caller must look whether there is more, and call_one().
  [[nodiscard]] bool stop_searching() noexcept;

  /// S2.
  void announce(unsigned shard, bool was_searching) noexcept;

  /// S5, or after S3 found something. True when the caller was called and counts as a searcher now.
  [[nodiscard]] bool awake(unsigned shard) noexcept;

  [[nodiscard]] bool is_asleep(unsigned shard) const noexcept {
    return flags_[shard].load(std::memory_order_seq_cst) == flag::asleep;
  }
  /// For a shard that has announced: whether any other is awake.
  [[nodiscard]] bool somebody_runs() const noexcept {
    return sleepers() + absent_.load(std::memory_order_seq_cst) < shards_;
  }
  [[nodiscard]] bool somebody_searches() const noexcept {
    return searching(word_.load(std::memory_order_seq_cst)) != 0;
  }
  [[nodiscard]] unsigned sleepers() const noexcept { return sleeping(word_.load(std::memory_order_seq_cst)); }

  /// A shard that no thread runs at the moment: it neither sleeps nor runs, and nobody can call it.
  void leave(unsigned shard) noexcept;
  void come_back(unsigned shard) noexcept;
  [[nodiscard]] bool is_absent(unsigned shard) const noexcept {
    return flags_[shard].load(std::memory_order_seq_cst) == flag::absent;
  }

  // --- the watch

  /// Takes the watch, or keeps it. False when somebody else has it.
  bool watch(unsigned shard, bool is_short) noexcept;
  void end_watch(unsigned shard) noexcept;
  [[nodiscard]] bool has_watcher() const noexcept { return watch_.load(std::memory_order_seq_cst) != 0; }

 private:
  enum class flag : std::uint8_t { awake, asleep, called, absent };

  static constexpr std::uint64_t one_searching = 1;
  static constexpr std::uint64_t one_sleeping = std::uint64_t{1} << 32U;
  static constexpr std::uint32_t short_watch = std::uint32_t{1} << 31U;
  [[nodiscard]] static unsigned searching(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word); }
  [[nodiscard]] static unsigned sleeping(std::uint64_t word) noexcept { return static_cast<unsigned>(word >> 32U); }

  const unsigned shards_;
  std::unique_ptr<atomic<flag>[]> flags_;
  alignas(64) atomic<std::uint64_t> word_{0};
  alignas(64) atomic<std::uint32_t> watch_{0};  // the watcher's number + 1
  atomic<unsigned> absent_{0};
};

}  // namespace roving::detail
