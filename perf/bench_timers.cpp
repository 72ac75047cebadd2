// Timers: setting and cancelling, which is what happens to most, and a million that fire. Labels say what each is
// measured against; see bench.py.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <ctime>
#include <deque>
#include <functional>
#include <random>
#include <vector>

#include <benchmark/benchmark.h>

#include <roving/roving.hpp>

#include "perf/histogram.hpp"
#include "scheduler/timers.hpp"

namespace {

using namespace std::chrono_literals;

// --- set and cancel -------------------------------------------------------------------------------------------------

// The limit: a node goes into one of some lists and out again.
void list_insert_unlink(benchmark::State& state) {
  struct node {
    node* next;
    node* previous;
  };
  std::array<node, 64> lists;
  for (node& each : lists) each = {&each, &each};
  node one{};
  std::size_t turn = 0;
  for (auto _ : state) {
    node& head = lists[turn++ % lists.size()];
    one = {head.next, &head};
    head.next->previous = &one;
    head.next = &one;
    benchmark::ClobberMemory();
    one.previous->next = one.next;
    one.next->previous = one.previous;
    benchmark::ClobberMemory();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(list_insert_unlink);

// Guards: the wheel itself, with that many other timers in it.
// Says nothing of: expiry.
void wheel_set_cancel(benchmark::State& state) {
  const roving::time_point now = roving::now();
  roving::detail::timer_wheel wheel{now};
  std::deque<roving::detail::timer_node> others(static_cast<std::size_t>(state.range(0)));
  std::mt19937_64 random{1};
  for (auto& each : others) wheel.set(each, now + std::chrono::milliseconds{1 + random() % 60'000});
  roving::detail::timer_node timer;
  roving::duration span = 1s;
  for (auto _ : state) {
    wheel.set(timer, now + span);
    wheel.cancel(timer);
    span = span < 10s ? span + 1ms : 1s;
  }
  for (auto& each : others) wheel.cancel(each);
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/list_insert_unlink");
}
BENCHMARK(wheel_set_cancel)->ArgName("others")->Arg(0)->Arg(100'000);

// Guards: a callback at an absolute deadline that is taken back, as users write it.
// Says nothing of: callbacks that run.
void post_at_and_cancel(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    const roving::time_point deadline = roving::now() + 1h;
    for (auto _ : state) roving::post_at(deadline, [] {}).cancel();
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/wheel_set_cancel/others:0");
}
BENCHMARK(post_at_and_cancel);

// Guards: a timeout around what does not suspend.
// Says nothing of: timeouts that expire.
void deadline_scope(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    const roving::time_point deadline = roving::now() + 1h;
    for (auto _ : state) roving::with_deadline(deadline, [] { benchmark::ClobberMemory(); });
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns<=40 ns/wheel_set_cancel/others:0");
}
BENCHMARK(deadline_scope);

// Guards: the same from now on, which reads the clock.
void timeout_scope(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    for (auto _ : state) roving::with_timeout(1h, [] { benchmark::ClobberMemory(); });
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/deadline_scope");
}
BENCHMARK(timeout_scope);

// --- a million asleep -----------------------------------------------------------------------------------------------

// Of all threads of the process.
double cpu_seconds() {
  timespec used{};
  ::clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
  return static_cast<double>(used.tv_sec) + static_cast<double>(used.tv_nsec) * 1e-9;
}

// How long each one sleeps.
std::vector<roving::duration> random_spans(std::size_t count) {
  std::mt19937_64 random{1};
  std::uniform_int_distribution<roving::duration::rep> nanoseconds{1'000'000, 1'000'000'000};
  std::vector<roving::duration> spans(count);
  for (auto& each : spans) each = roving::duration{nanoseconds(random)};
  return spans;
}

// The limit: as many deadlines through a binary heap, in order, without waiting for any of them.
void heap_of_deadlines(benchmark::State& state) {
  const std::vector<roving::duration> spans = random_spans(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    const double before = cpu_seconds();
    std::vector<roving::time_point> heap;
    heap.reserve(spans.size());
    for (const roving::duration span : spans) {
      heap.push_back(roving::now() + span);
      std::push_heap(heap.begin(), heap.end(), std::greater<>{});
    }
    while (!heap.empty()) {
      std::pop_heap(heap.begin(), heap.end(), std::greater<>{});
      benchmark::DoNotOptimize(heap.back());
      heap.pop_back();
    }
    const double used = cpu_seconds() - before;
    state.SetIterationTime(used);
    state.counters["cpu_s"] = used;
  }
}
BENCHMARK(heap_of_deadlines)
    ->ArgName("tasks")
    ->Arg(1'000'000)
    ->Iterations(1)
    ->UseManualTime()
    ->Unit(benchmark::kSecond);

// Guards: the CPU time of as many tasks that each sleep for 1 to 1,000 ms, from the first spawn to the last wake, and
// that none wakes early. Lateness counts once all of them are there: before, the shard is busy with spawning. Says
// nothing of: sleepers on several shards.
void sleeping_tasks(benchmark::State& state) {
  const std::vector<roving::duration> spans = random_spans(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    roving_perf::histogram lateness_ns;
    std::uint64_t early = 0;
    roving::run({.shards = 1}, [&] {
      std::vector<roving::task<void>> tasks;
      tasks.reserve(spans.size());
      bool all_are_there = false;
      const double before = cpu_seconds();
      for (const roving::duration span : spans) {
        tasks.push_back(roving::spawn([&, span] {
          const roving::time_point deadline = roving::now() + span;
          roving::sleep_until(deadline);
          const roving::duration late = roving::now() - deadline;
          if (late < 0ns)
            ++early;
          else if (all_are_there)
            lateness_ns.record(static_cast<std::uint64_t>(late.count()));
        }));
        if (tasks.size() % 1000 == 0) roving::yield();  // so that those sleep
      }
      all_are_there = true;
      for (auto& each : tasks) each.join();
      const double used = cpu_seconds() - before;
      state.SetIterationTime(used);
      state.counters["cpu_s"] = used;
    });
    state.counters["early"] = static_cast<double>(early);
    state.counters["p50_late_us"] = static_cast<double>(lateness_ns.percentile(50)) / 1000;
    state.counters["p99_late_us"] = static_cast<double>(lateness_ns.percentile(99)) / 1000;
  }
  state.SetLabel("cpu_s<=3 cpu_s/heap_of_deadlines/tasks:" + std::to_string(state.range(0)) +
                 " p50_late_us<=100 early<=0");
}
BENCHMARK(sleeping_tasks)->ArgName("tasks")->Arg(1'000'000)->Iterations(1)->UseManualTime()->Unit(benchmark::kSecond);

}  // namespace

BENCHMARK_MAIN();
