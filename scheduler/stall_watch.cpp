// See stall_watch.hpp.
#include "scheduler/stall_watch.hpp"

#include <cstdio>

#include "scheduler/askable_thread.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/symbols.hpp"
#include "scheduler/task_report.hpp"

namespace roving::detail {
namespace {

constexpr duration between_reports = std::chrono::seconds{1};
constexpr std::uint64_t no_slice = ~std::uint64_t{0};

}  // namespace

stall_watch::stall_watch(scheduler& of)
    : scheduler_{of},
      threshold_{of.options().stall_threshold},
      looks_itself_{is_on() && of.options().watchdog},
      gauges_(of.shard_count()),
      limits_(of.shard_count(), report_limit{between_reports}),
      reported_(of.shard_count(), no_slice),
      told_(of.shard_count()) {}

stall_watch::~stall_watch() = default;

void stall_watch::begin() {
  if (!looks_itself_) return;
  const std::lock_guard guard{mutex_};
  start_thread();
}

void stall_watch::start_thread() {
  thread_ = scheduler_.options().threads->start([this] { run(); });
}

void stall_watch::tell(unsigned shard, std::uint64_t slices, duration held_for) noexcept {
  const std::lock_guard guard{mutex_};
  if (stopping_ || can_not_start_) return;
  told_[shard] = sighting{slices, held_for};
  has_news_ = true;
  try {
    if (thread_ == nullptr) start_thread();
  } catch (...) {  // no thread, no reports
    can_not_start_ = true;
  }
  changed_.notify_one();
}

void stall_watch::wake() noexcept {
  const std::lock_guard guard{mutex_};
  asleep_.store(false, std::memory_order_relaxed);
  changed_.notify_one();
}

void stall_watch::stop() noexcept {
  if (!is_on()) return;
  std::unique_ptr<started_thread> ending;
  {
    const std::lock_guard guard{mutex_};
    stopping_ = true;
    ending = std::move(thread_);
    changed_.notify_one();
  }
}  // joins

void stall_watch::run() {
  name_this_thread("roving-watchdog");
  use_cores(scheduler_.options().usable_cores);
  std::unique_lock guard{mutex_};
  while (!stopping_) {
    for (unsigned i = 0; i < told_.size() && !stopping_; ++i) {
      const std::optional<sighting> seen = std::exchange(told_[i], std::nullopt);
      if (!seen) continue;
      guard.unlock();
      report(i, *seen);
      guard.lock();
    }
    if (std::exchange(has_news_, false) || stopping_) continue;
    if (!looks_itself_) {
      changed_.wait(guard, [&] { return has_news_ || stopping_; });
      continue;
    }
    guard.unlock();
    const bool all_sleep = !look_around();
    guard.lock();
    if (all_sleep) {
      asleep_.store(true, std::memory_order_seq_cst);  // [asleep]
      if (some_shard_is_awake()) asleep_.store(false, std::memory_order_relaxed);
      changed_.wait(guard, [&] { return !asleep_.load(std::memory_order_relaxed) || has_news_ || stopping_; });
      asleep_.store(false, std::memory_order_relaxed);
    } else {
      (void)changed_.wait_until(guard, time_after(scheduler_.now(), threshold_ / 2),
                                [&] { return has_news_ || stopping_; });
    }
  }
}

bool stall_watch::some_shard_is_awake() const noexcept {
  for (unsigned i = 0; i < told_.size(); ++i)
    if (!scheduler_.idle().rests(i)) return true;
  return false;
}

bool stall_watch::look_around() {
  bool is_any_awake = false;
  for (unsigned i = 0; i < gauges_.size(); ++i) {
    if (scheduler_.idle().rests(i)) {
      gauges_[i].reset();
      continue;
    }
    is_any_awake = true;
    if (scheduler_.at(i).is_in_parker()) {
      gauges_[i].reset();
      continue;
    }
    const std::uint64_t slices = scheduler_.at(i).slices();
    if (const auto held_for = gauges_[i].look(slices, scheduler_.now(), threshold_)) report(i, {slices, *held_for});
  }
  return is_any_awake;
}

void stall_watch::report(unsigned shard, const sighting& seen) {
  askable_thread& thread = scheduler_.thread_of(shard);
  if (reported_[shard] == seen.slices || !thread.is_there()) return;  // the other one who looks has seen it too
  reported_[shard] = seen.slices;
  const auto unreported = limits_[shard].admit(scheduler_.now());
  if (!unreported) return;
  thread_answer answer;
  const bool answered = thread.ask(answer);
  if (scheduler_.at(shard).slices() != seen.slices || scheduler_.at(shard).is_in_parker()) {  // it has ended
    limits_[shard].take_back(*unreported);
    return;
  }
  stall what;
  what.shard = shard;
  what.held_for = seen.held_for;
  what.unreported = *unreported;
  if (answer.task) {
    what.task = answer.task->name();
    what.site = {answer.task->site_file, answer.task->site_line};
  } else {
    what.task = answered ? "callback" : "a task that does not answer";
  }
  if (answer.has_stack) {
    symbol_table names;
    what.stack = describe_calls(calls_on(answer.stack), names);
  }
  answer.task = {};
  scheduler_.report_stall(what);
}

}  // namespace roving::detail
