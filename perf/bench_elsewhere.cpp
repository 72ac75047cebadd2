// Work that goes elsewhere: callbacks to this shard and to others, tasks that migrate, calls that other threads make.
// Labels say what each is measured against; see bench.py.
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include <roving/blocking.hpp>
#include <roving/compute.hpp>
#include <roving/roving.hpp>

#include "perf/bells.hpp"
#include "perf/histogram.hpp"
#include "scheduler/cores.hpp"

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using roving_perf::condition_variable_bell;
using roving_perf::histogram;
using roving_perf::on_core;
using roving_perf::spinning_bell;

bool has_two_cores(benchmark::State& state) {
  if (roving::detail::usable_cores().size() >= 2) return true;
  state.SkipWithError("needs two cores");
  return false;
}

// --- callbacks to the own shard --------------------------------------------------------------------------------------

constexpr benchmark::IterationCount batch_of_posts = 1000;

// The limit: as many functions through a queue.
void function_queue(benchmark::State& state) {
  std::deque<std::function<void()>> queue;
  std::uint64_t called = 0;
  while (state.KeepRunningBatch(batch_of_posts)) {
    for (auto left = batch_of_posts; left != 0; --left) queue.emplace_back([&] { benchmark::DoNotOptimize(++called); });
    for (; !queue.empty(); queue.pop_front()) queue.front()();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(function_queue);

// Guards: a callback: its block, its turn in the queue, its call by the loop.
// Says nothing of: callbacks that spawn.
void post(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    std::uint64_t called = 0;
    while (state.KeepRunningBatch(batch_of_posts)) {
      roving::event all_called;
      for (auto left = batch_of_posts; left != 0; --left) roving::post([&] { benchmark::DoNotOptimize(++called); });
      roving::post([&] { all_called.set(); });
      all_called.wait();
    }
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/function_queue");
}
BENCHMARK(post);

// --- callbacks to another shard --------------------------------------------------------------------------------------

// The limit: functions through a queue under a lock, whose reader spins.
void locked_queue(benchmark::State& state) {
  if (!has_two_cores(state)) return;
  const std::vector<unsigned> cores = roving::detail::usable_cores();
  std::mutex mutex;
  std::deque<std::function<void()>> queue;
  std::atomic<bool> stopping{false};
  std::thread reader{[&] {
    const on_core there{cores, 1};
    while (!stopping.load(std::memory_order_relaxed)) {
      std::deque<std::function<void()>> taken;
      {
        const std::lock_guard hold{mutex};
        taken.swap(queue);
      }
      for (; !taken.empty(); taken.pop_front()) taken.front()();
    }
  }};
  const on_core here{cores, 0};
  spinning_bell all_called;
  std::uint64_t called = 0;  // there
  const auto put = [&](auto f) {
    const std::lock_guard hold{mutex};
    queue.emplace_back(f);
  };
  while (state.KeepRunningBatch(batch_of_posts)) {
    for (auto left = batch_of_posts; left != 0; --left) put([&] { benchmark::DoNotOptimize(++called); });
    put([&] { all_called.ring(); });
    all_called.wait();
  }
  stopping.store(true);
  reader.join();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(locked_queue)->UseRealTime();

// Guards: callbacks to a shard that runs meanwhile: one push each, no system call (`wakes`, a callback).
// Says nothing of: many producers.
void remote_post(benchmark::State& state) {
  if (!has_two_cores(state)) return;
  roving::runtime runtime{{.shards = 2}};
  runtime.run([&] {
    bool stopping = false;  // of shard 1
    const roving::task<void> keeps_it_awake = roving::spawn(roving::on_shard(1), [&] {
      while (!stopping) roving::yield();
    });
    std::uint64_t called = 0;  // there
    const std::uint64_t wakes_before = runtime.counters()[0].wakes;
    while (state.KeepRunningBatch(batch_of_posts)) {
      roving::event all_called;
      for (auto left = batch_of_posts; left != 0; --left)
        roving::on_shard(1).post([&] { benchmark::DoNotOptimize(++called); });
      roving::on_shard(1).post([&] { all_called.set(); });
      all_called.wait();
    }
    const auto wakes = static_cast<double>(runtime.counters()[0].wakes - wakes_before);
    state.counters["wakes"] = wakes / static_cast<double>(state.iterations());
    roving::on_shard(1).post([&] { stopping = true; });
    keeps_it_awake.join();
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns<=1*locked_queue wakes<=0.01");
}
BENCHMARK(remote_post)->UseRealTime();

// --- migration -------------------------------------------------------------------------------------------------------

// The limit, of what other threads do for one that waits: there and back by condition variables.
void condition_variable_call(benchmark::State& state) {
  if (!has_two_cores(state)) return;
  const std::vector<unsigned> cores = roving::detail::usable_cores();
  condition_variable_bell asked;
  condition_variable_bell answered;
  bool stopping = false;
  std::thread worker{[&] {
    const on_core there{cores, 1};
    for (;;) {
      asked.wait();
      if (stopping) return;
      answered.ring();
    }
  }};
  const on_core here{cores, 0};
  for (auto _ : state) {
    asked.ring();
    answered.wait();
  }
  stopping = true;
  asked.ring();
  worker.join();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(condition_variable_call)->UseRealTime();

// Guards: how long a ready roving task waits whose shard is taken by another one, with an idle shard beside: from its
// yield on one to its next step on the other.
// Says nothing of: what its cold caches cost it there.
void migrate(benchmark::State& state) {
  if (!has_two_cores(state)) return;
  histogram latencies_ns;
  roving::run({.shards = 2}, [&] {
    roving::spawn(roving::anywhere, [&] {
      for (auto _ : state) {
        const unsigned from = roving::this_task::shard();
        const auto gone = std::make_shared<std::atomic<bool>>(false);
        roving::spawn(roving::on_shard(from), [gone] {
          while (!gone->load(std::memory_order_acquire)) {
          }
        }).detach();
        const clock::time_point left_at = clock::now();
        while (roving::this_task::shard() == from) roving::yield();
        const std::chrono::nanoseconds took = clock::now() - left_at;
        gone->store(true, std::memory_order_release);
        latencies_ns.record(static_cast<std::uint64_t>(took.count()));
        state.SetIterationTime(std::chrono::duration<double>{took}.count());
      }
    }).get();
  });
  state.SetItemsProcessed(state.iterations());
  state.counters["p50_us"] = static_cast<double>(latencies_ns.percentile(50)) / 1000;
  state.counters["p99_us"] = static_cast<double>(latencies_ns.percentile(99)) / 1000;
  state.SetLabel("ns/condition_variable_call");
}
BENCHMARK(migrate)->UseManualTime();

// --- calls that other threads make -----------------------------------------------------------------------------------

// Guards: a call by a thread of the blocking pool, and the task's way back, on a runtime that has nothing else to do.
// Says nothing of: many calls at once, for which the pool takes more threads.
void blocking_call(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    for (auto _ : state) roving::blocking([] {});
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns<=1.5*condition_variable_call");
}
BENCHMARK(blocking_call)->UseRealTime();

// Guards: the same by the pool for long computations.
void compute_call(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    for (auto _ : state) roving::compute([] {});
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/condition_variable_call");
}
BENCHMARK(compute_call)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
