// Who sleeps, who searches, who watches: how work finds a shard that has none, and nobody is woken for nothing.
//
// Three things may not go wrong. A shard must not fall asleep beside work that only it could do (its inbox). No shard
// may sleep beside roving work that nobody runs or looks for. And a producer must not pay for a wake that is not
// needed.
//
//     producer of roving work            a shard that has nothing to do
//       P1 push the task                   S1 search for a while, counted as a searcher
//       P2 look at the idle word           S2 announce: idle word: sleeping + 1, searching - 1; flag = asleep
//          nobody sleeps, or enough        S3 look once more: inbox, overflow queue, every shard's queues
//          search: done                       found: take the announcement back, search again (S1)
//       P3 searching + 1 by compare-      S4 block in the parker
//          exchange; choose a sleeper,     S5 back: take the announcement back unless the waker did
//          flag asleep -> called; wake()
//
// P1, P2, S2 and S3 are seq_cst operations on the queues' and the idle word's own atomics (no fences: ThreadSanitizer
// does not follow them). So is the end of a search. All other changes of the word may be relaxed: what follows shows
// that a producer need only come before the operation by which somebody goes to sleep or ends a search.
//
// Nothing is lost. Let a task be pushed (P1) and its producer wake nobody (P2). (a) It saw nobody asleep: then every
// shard that sleeps later announces after P2, so its S3 comes after P1 and sees the task. (b) It saw enough searchers,
// one at least. Each of them ends in one of two ways. It announces (S2) after P2 and then looks (S3): it sees the task,
// and is a searcher again, unless enough others are, so that it does not keep to itself that there may be more. Or it
// found other work: it takes itself off the searchers, and when fewer than enough are left it looks whether more is
// to be had and wakes the next (chaining): that look comes after P2 as well. (c) The search that P2 saw was only
// promised: somebody was in P3 and found that all sleepers had woken by themselves. It takes the promise back and looks
// again, as in (b). So few wakes are in flight for roving work, and each one that finds work wakes the next if there is
// more. How many are enough: one for 16 shards (perf/study.cpp).
//
// For an inbox the flag takes the idle word's place: push (seq_cst), then read the flag (seq_cst); announce (seq_cst),
// then look at the inbox (seq_cst). One of the two sees the other. Who takes the flag from asleep writes to the
// eventfd: at most one write a sleep.
//
// The watch. A shard that is stuck in a long slice can't poll. So while any shard is awake, one sleeper sleeps for an
// interval only, and looks at the others' slice counters when it is back. When it has seen all others asleep for many
// intervals it stops, so that an idle process makes no system calls; the first to wake after that wakes a watcher.
// [watch]  Who has the watch and finds work ends the watch, then looks who sleeps; a sleeper announces, then looks at
//          the watch; all seq_cst: one of the two sees the other, and somebody watches or is called. Likewise the flag
//          of a sleeper is set before it looks at the watch, and looked at after that was ended.
//
// [quiet]  Who has the watch and has seen nobody run for long ends the watch, then looks at the others' flags; who
//          wakes takes its announcement back (S5), then looks at the watch; all seq_cst: one of the two sees the other.
//          So either the watch is taken again, or who runs finds none and calls somebody.
//
// [count]  Who sleeps or is called is counted in the word first, then the flag is set, release; who takes the flag,
//          acquire, then counts down: no count falls below zero.
//
// [rests]  A shard that wakes, or gets a thread again, says so in its flag, then looks at what the observer has
//          stored; an observer stores, then calls rests(); all seq_cst: one of the two sees the other
//          (stall_watch.hpp).
//
// A *lone* task, the only roving one that is ready on its shard, is not worth a steal if that shard goes on to it soon,
// and most do: it was woken by its partner, or is about to be joined by its parent. So a searcher leaves it alone for a
// moment as long as what made it ready still runs. One that came for such a task and saw it run by its own shard goes
// to sleep on a *short watch*: it looks again every 50 us, and as long as it does, a lone task wakes nobody before its
// shard goes on to something else.
//
// [lone]   Who publishes a lone task looks at the idle word, then at the watch. Whose watch is short no more writes
//          that and announces, then looks; or it ends the watch, then looks who sleeps, and calls one of them. All
//          seq_cst: one of the two sees the other.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <optional>

#include <roving/detail/assert.hpp>
#include <roving/detail/atomic.hpp>
#include <roving/detail/planted.hpp>

namespace roving::detail {

/// `Atomic` is std::atomic, or what a model explorer puts in its place.
template <template <class> class Atomic = atomic>
class basic_idle_set {
 public:
  /// `enough` searchers: nobody is called for more. 0: by the number of shards.
  explicit basic_idle_set(unsigned shards, unsigned enough = 0);

  // --- for producers

  /// P2: whether the caller, who just published roving work, should go on to call_one().
  [[nodiscard]] bool should_call() const noexcept {
    const std::uint64_t seen = word_.load(std::memory_order_seq_cst);  // P2
    return sleeping(seen) != 0 && searching(seen) < enough_;
  }

  /// After should_call(): whether a lone task may wait for who looks every 50 us.
  [[nodiscard]] bool has_short_watch() const noexcept {
    return (watch_.load(std::memory_order_seq_cst) & short_watch) != 0;  // [lone]
  }

  /// P3. The shard to wake, now counted as a searcher. None when enough search meanwhile, or when nobody sleeps any
  /// more; `look_again` is set when the caller must call stop_searching() and look for work that is left.
  [[nodiscard]] std::optional<unsigned> call_one(unsigned not_me, bool& look_again) noexcept;

  /// For pinned work on the way to `shard`: true when the caller must wake it.
  [[nodiscard]] bool take_from_sleep(unsigned shard) noexcept;

  // --- for the shard itself

  /// S1. False when enough others do. At most half of the shards search.
  [[nodiscard]] bool start_searching() noexcept;

  /// True when fewer than enough are left: the caller must look whether there is more, and call_one().
  [[nodiscard]] bool stop_searching() noexcept;

  /// S2.
  void announce(unsigned shard, bool was_searching) noexcept;

  /// S5, or after S3 found something. True when the caller was called and counts as a searcher now.
  [[nodiscard]] bool awake(unsigned shard) noexcept;

  [[nodiscard]] bool is_asleep(unsigned shard) const noexcept {
    return flags_[shard].load(std::memory_order_relaxed) == flag::asleep;  // for the watch, which looks again
  }
  /// For a shard that has announced: whether any other is awake.
  [[nodiscard]] bool somebody_runs() const noexcept {
    return sleepers() + absent_.load(std::memory_order_relaxed) < shards_;  // who comes back orders itself with others
  }
  [[nodiscard]] unsigned sleepers() const noexcept {
    return sleeping(word_.load(std::memory_order_seq_cst));  // [watch]
  }
  [[nodiscard]] bool somebody_searches() const noexcept {
    return searching(word_.load(std::memory_order_relaxed)) != 0;  // for simulation, which knows no weaker orders
  }

  /// A shard that no thread runs at the moment: it neither sleeps nor runs, and nobody can call it.
  void leave(unsigned shard) noexcept;
  void come_back(unsigned shard) noexcept;
  [[nodiscard]] bool is_absent(unsigned shard) const noexcept {
    return flags_[shard].load(std::memory_order_relaxed) == flag::absent;
  }

  /// Whether it is asleep, or nobody runs it. For observers: [rests].
  [[nodiscard]] bool rests(unsigned shard) const noexcept {
    const flag now = flags_[shard].load(std::memory_order_seq_cst);
    return now == flag::asleep || now == flag::absent;
  }

  // --- the watch

  /// Takes the watch, or keeps it. False when somebody else has it; a short one is taken from who has a longer.
  bool watch(unsigned shard, bool is_short) noexcept;
  /// True when it was a short one: lone tasks may have relied on it.
  bool end_watch(unsigned shard) noexcept;
  /// Ends it since nobody runs. True when somebody does after all, who may have seen the watch, and it was taken again.
  bool end_quiet_watch(unsigned shard) noexcept;
  [[nodiscard]] bool has_watcher() const noexcept { return watch_.load(std::memory_order_seq_cst) != 0; }  // [quiet]
  /// Whether somebody else has it; news of a moment.
  [[nodiscard]] bool is_watched(unsigned shard) const noexcept {
    const std::uint32_t watcher = watch_.load(std::memory_order_relaxed) & ~short_watch;
    return watcher != 0 && watcher != shard + 1;
  }

 private:
  enum class flag : std::uint8_t { awake, asleep, called, absent };

  static constexpr std::uint64_t one_searching = 1;
  static constexpr std::uint64_t one_sleeping = std::uint64_t{1} << 32U;
  static constexpr std::uint32_t short_watch = std::uint32_t{1} << 31U;
  [[nodiscard]] static unsigned searching(std::uint64_t word) noexcept { return static_cast<std::uint32_t>(word); }
  [[nodiscard]] static unsigned sleeping(std::uint64_t word) noexcept { return static_cast<unsigned>(word >> 32U); }

  const unsigned shards_;
  const unsigned enough_;
  std::unique_ptr<Atomic<flag>[]> flags_;
  alignas(64) Atomic<std::uint64_t> word_{0};
  alignas(64) Atomic<std::uint32_t> watch_{0};  // the watcher's number + 1
  Atomic<unsigned> absent_{0};
};

using idle_set = basic_idle_set<>;

template <template <class> class Atomic>
basic_idle_set<Atomic>::basic_idle_set(unsigned shards, unsigned enough)
    : shards_{shards},
      enough_{enough != 0 ? enough : std::clamp(shards / 16, 1U, 8U)},
      flags_{std::make_unique<Atomic<flag>[]>(shards)} {
  for (unsigned i = 0; i < shards; ++i) flags_[i].store(flag::awake, std::memory_order_relaxed);
}

template <template <class> class Atomic>
std::optional<unsigned> basic_idle_set<Atomic>::call_one(unsigned not_me, bool& look_again) noexcept {
  look_again = false;
  // Relaxed: the caller has looked at the word, by P2 or when it ended its search, and what is seen here is not older.
  // Whoever goes to sleep or ends a search after that does so after P2.
  std::uint64_t seen = word_.load(std::memory_order_relaxed);
  do {
    if (sleeping(seen) == 0 || searching(seen) >= enough_) return std::nullopt;
  } while (!word_.compare_exchange_weak(seen, seen + one_searching, std::memory_order_relaxed));

  for (unsigned step = 1; step <= shards_; ++step) {  // neighbours first
    const unsigned candidate = (not_me + step) % shards_;
    flag expected = flag::asleep;
    if (flags_[candidate].load(std::memory_order_seq_cst) != flag::asleep) continue;  // [watch] [count]
    if (!flags_[candidate].compare_exchange_strong(expected, flag::called, std::memory_order_release,  // [count]
                                                   std::memory_order_relaxed))
      continue;
    word_.fetch_sub(one_sleeping, std::memory_order_relaxed);
    return candidate;
  }
  look_again = true;  // (c)
  return std::nullopt;
}

template <template <class> class Atomic>
bool basic_idle_set<Atomic>::take_from_sleep(unsigned shard) noexcept {
  if (flags_[shard].load(std::memory_order_seq_cst) != flag::asleep) return false;  // as P2; [count]
  flag expected = flag::asleep;
  if (!flags_[shard].compare_exchange_strong(expected, flag::awake, std::memory_order_relaxed)) return false;
  word_.fetch_sub(one_sleeping, std::memory_order_relaxed);
  return true;
}

template <template <class> class Atomic>
bool basic_idle_set<Atomic>::start_searching() noexcept {
  std::uint64_t seen = word_.load(std::memory_order_relaxed);
  do {
    if (2 * searching(seen) >= shards_) return false;
  } while (!word_.compare_exchange_weak(seen, seen + one_searching, std::memory_order_relaxed));
  return true;
}

template <template <class> class Atomic>
bool basic_idle_set<Atomic>::stop_searching() noexcept {
  const std::uint64_t before = word_.fetch_sub(one_searching, std::memory_order_seq_cst);  // (b)
  ROVING_ASSERT(searching(before) > 0);
  return searching(before) <= enough_;
}

template <template <class> class Atomic>
void basic_idle_set<Atomic>::announce(unsigned shard, bool was_searching) noexcept {
  // The count first: who takes a flag takes one off the count, which must have it.
  word_.fetch_add(was_searching ? one_sleeping - one_searching : one_sleeping, std::memory_order_seq_cst);  // S2
  flags_[shard].store(flag::asleep, std::memory_order_seq_cst);                                             // S2
}

template <template <class> class Atomic>
bool basic_idle_set<Atomic>::awake(unsigned shard) noexcept {
  const flag before = flags_[shard].exchange(flag::awake, std::memory_order_seq_cst);  // [count] [rests] [quiet]
  if (before == flag::asleep) word_.fetch_sub(one_sleeping, std::memory_order_relaxed);
  return before == flag::called;
}

template <template <class> class Atomic>
void basic_idle_set<Atomic>::leave(unsigned shard) noexcept {
  ROVING_ASSERT(flags_[shard].load(std::memory_order_relaxed) == flag::awake);
  flags_[shard].store(flag::absent, std::memory_order_relaxed);  // as good as awake for who might call it
  absent_.fetch_add(1, std::memory_order_relaxed);
}

template <template <class> class Atomic>
void basic_idle_set<Atomic>::come_back(unsigned shard) noexcept {
  if (!is_absent(shard)) return;
  absent_.fetch_sub(1, std::memory_order_relaxed);
  flags_[shard].store(flag::awake, std::memory_order_seq_cst);  // [rests]
}

template <template <class> class Atomic>
bool basic_idle_set<Atomic>::watch(unsigned shard, bool is_short) noexcept {
  const std::uint32_t mine = (shard + 1) | (is_short ? short_watch : 0);
  std::uint32_t seen = watch_.load(std::memory_order_seq_cst);  // [watch]
  do {
    const bool is_anothers = seen != 0 && (seen & ~short_watch) != shard + 1;
    const bool is_short_enough = !is_short || (seen & short_watch) != 0 || is_planted(planted::long_watch_kept);
    if (is_anothers && is_short_enough) return false;
    if (seen == mine) return true;
    // Relaxed: who is seen here to have the watch took it after the look above, and ends it later.
  } while (!watch_.compare_exchange_weak(seen, mine, std::memory_order_relaxed));
  return true;
}

template <template <class> class Atomic>
bool basic_idle_set<Atomic>::end_watch(unsigned shard) noexcept {
  std::uint32_t seen = watch_.load(std::memory_order_relaxed);
  while ((seen & ~short_watch) == shard + 1) {
    if (watch_.compare_exchange_weak(seen, 0, std::memory_order_seq_cst)) return (seen & short_watch) != 0;  // [watch]
  }
  return false;
}

template <template <class> class Atomic>
bool basic_idle_set<Atomic>::end_quiet_watch(unsigned shard) noexcept {
  end_watch(shard);
  if (is_planted(planted::watch_ended_unlooked)) return false;
  for (unsigned i = 0; i < shards_; ++i)
    if (!rests(i)) return watch(shard, false);  // [quiet]
  return false;
}

}  // namespace roving::detail
