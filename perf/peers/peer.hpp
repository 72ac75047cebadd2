// What the C++ programs of the peers share: sleepers, loops on two threads that wake each other, their main().
//
// Nothing of roving is linked: these programs are what others have written, used as its authors mean it to be used.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <functional>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>
#include <pthread.h>
#include <sched.h>

#include "perf/histogram.hpp"

namespace roving_perf {

using steady = std::chrono::steady_clock;

inline constexpr benchmark::IterationCount batch_of_switches = 10'000;  // so many that starting tasks does not count

// --- a million asleep

/// Of all threads of the process.
inline double cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

/// How long each one sleeps: the same as in bench_timers.cpp.
inline std::vector<std::chrono::nanoseconds> random_spans(std::size_t count) {
  std::mt19937_64 random{1};
  std::uniform_int_distribution<std::int64_t> nanoseconds{1'000'000, 1'000'000'000};
  std::vector<std::chrono::nanoseconds> spans(count);
  for (auto& each : spans) each = std::chrono::nanoseconds{nanoseconds(random)};
  return spans;
}

/// CPU time from the first to the last of some sleepers, and how late they woke once all of them were there.
class sleepers {
 public:
  explicit sleepers(benchmark::State& state) : state_{state}, before_{cpu_seconds()} {}
  sleepers(const sleepers&) = delete;
  sleepers& operator=(const sleepers&) = delete;

  /// That many are to be made in a row before those who are there may run.
  static constexpr std::size_t at_a_time = 1000;

  void all_are_there() noexcept { all_are_there_ = true; }

  void woke(steady::time_point deadline) noexcept {
    const auto late = steady::now() - deadline;
    if (late.count() < 0)
      ++early_;
    else if (all_are_there_)
      lateness_ns_.record(static_cast<std::uint64_t>(std::chrono::nanoseconds{late}.count()));
    ++woken_;
  }

  void report() {
    const double used = cpu_seconds() - before_;
    if (woken_ != static_cast<std::size_t>(state_.range(0))) return state_.SkipWithError("some never woke");
    state_.SetIterationTime(used);
    state_.SetItemsProcessed(static_cast<std::int64_t>(woken_));
    state_.counters["cpu_s"] = used;
    state_.counters["early"] = static_cast<double>(early_);
    state_.counters["p50_late_us"] = static_cast<double>(lateness_ns_.percentile(50)) / 1000;
    state_.counters["p99_late_us"] = static_cast<double>(lateness_ns_.percentile(99)) / 1000;
  }

 private:
  benchmark::State& state_;
  double before_;
  histogram lateness_ns_;
  std::size_t woken_ = 0;
  std::size_t early_ = 0;
  bool all_are_there_ = false;
};

/// For benchmarks of sleepers: once, by their CPU time. Tasks cost some of them so much that a million does not fit.
inline void as_sleepers(benchmark::internal::Benchmark* made, std::int64_t most) {
  made->ArgName("tasks")->Iterations(1)->UseManualTime()->Unit(benchmark::kSecond);
  for (std::int64_t count = 100'000; count <= most; count *= 10) made->Arg(count);
}

// --- two threads

/// Binds the calling thread to the first or the second core that the process may use; false when there is but one.
inline bool use_core(std::size_t number, std::optional<cpu_set_t> of = std::nullopt) {
  cpu_set_t usable;
  if (of)
    usable = *of;
  else if (::pthread_getaffinity_np(::pthread_self(), sizeof usable, &usable) != 0)
    return false;
  for (std::size_t core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &usable) || number-- != 0) continue;
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    return ::pthread_setaffinity_np(::pthread_self(), sizeof one, &one) == 0;
  }
  return false;
}

/// Two loops on two threads that ring each other, each on a core of its own, timed one way as in bench_sync.cpp: from
/// just before the ring to just after it has arrived. `Loop` is a peer's event loop:
///
///     Loop(on_ring)     calls on_ring() in its thread for each ring()
///     ring()            any thread
///     run(), stop()     runs until it is stopped from inside
///     after(span, f)    calls f() later; called inside
template <class Loop>
class two_loops {
 public:
  /// To and fro; who was rung computes for 20 us first, long enough for the other one to sleep.
  static void hop_asleep(benchmark::State& state) { run(state, hops, std::nullopt); }

  /// One way, by one that idled for half a millisecond as the other one did. The way back is not measured.
  static void wake(benchmark::State& state) { run(state, wakes, std::chrono::microseconds{500}); }

 private:
  static constexpr int hops = 4000;
  static constexpr int wakes = 400;

  struct side {
    explicit side(std::function<void()> on_ring) : loop{std::move(on_ring)} {}
    Loop loop;
    steady::time_point rung_at{};  // by the other one, before it rang
    histogram latencies_ns;
    std::uint64_t sum_ns = 0;

    void ring() {
      rung_at = steady::now();
      loop.ring();
    }
    void note_arrival() {
      const auto took = static_cast<std::uint64_t>(std::chrono::nanoseconds{steady::now() - rung_at}.count());
      latencies_ns.record(took);
      sum_ns += took;
    }
  };

  two_loops(int rounds, std::optional<std::chrono::microseconds> idle)
      : idle_{idle}, left_{rounds}, first_{[this] { answered(); }}, second_{[this] { asked(); }} {}

  static void run(benchmark::State& state, int rounds, std::optional<std::chrono::microseconds> idle) {
    cpu_set_t all;
    if (::pthread_getaffinity_np(::pthread_self(), sizeof all, &all) != 0 || CPU_COUNT(&all) < 2)
      return state.SkipWithError("needs two cores");
    for (auto _ : state) {
      two_loops both{rounds, idle};
      std::thread other{[&] {
        use_core(1, all);
        both.second_.loop.run();
      }};
      use_core(0, all);
      both.ask();
      both.first_.loop.run();
      other.join();
      ::pthread_setaffinity_np(::pthread_self(), sizeof all, &all);
      both.report(state);
    }
  }

  void ask() {
    if (idle_)
      first_.loop.after(*idle_, [this] { second_.ring(); });
    else
      second_.ring();
  }

  void answered() {
    if (!idle_) {
      first_.note_arrival();
      pause();
    }
    if (--left_ == 0) {
      stopping_ = true;
      second_.loop.ring();
      first_.loop.stop();
    } else {
      ask();
    }
  }

  void asked() {
    if (stopping_) return second_.loop.stop();
    second_.note_arrival();
    if (!idle_) pause();
    first_.ring();
  }

  static void pause() {
    const steady::time_point until = steady::now() + std::chrono::microseconds{20};
    while (steady::now() < until) {
    }
  }

  void report(benchmark::State& state) {
    histogram& all = first_.latencies_ns;
    all.add(second_.latencies_ns);
    state.SetIterationTime(static_cast<double>(first_.sum_ns + second_.sum_ns) * 1e-9);
    state.SetItemsProcessed(static_cast<std::int64_t>(all.count()));
    state.counters["p50_us"] = static_cast<double>(all.percentile(50)) / 1000;
    state.counters["p99_us"] = static_cast<double>(all.percentile(99)) / 1000;
  }

  std::optional<std::chrono::microseconds> idle_;
  int left_;
  bool stopping_ = false;  // written before a ring, read after it
  side first_;
  side second_;
};

/// Registers both as NAME, for a loop that is called `suffix` where a peer has several.
template <class Loop>
void add_two_loops(const std::string& suffix = "") {
  const auto add = [](const std::string& name, void (*run)(benchmark::State&)) {
    benchmark::RegisterBenchmark(name.c_str(), run)->Iterations(1)->UseManualTime()->Unit(benchmark::kMillisecond);
  };
  add("hop_asleep" + suffix, two_loops<Loop>::hop_asleep);
  add("wake" + suffix, two_loops<Loop>::wake);
}

// --- main

/// What a peer's main() does. `version` is the peer's.
inline int run_benchmarks(int count, char** arguments, const char* peer, const std::string& version) {
  benchmark::Initialize(&count, arguments);
  if (benchmark::ReportUnrecognizedArguments(count, arguments)) return 1;
  benchmark::AddCustomContext("peer", peer);
  benchmark::AddCustomContext("peer_version", version);
  benchmark::AddCustomContext("peer_compiler", __VERSION__);
  benchmark::AddCustomContext("peer_flags", ROVING_PEER_FLAGS);
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
  return 0;
}

}  // namespace roving_perf
