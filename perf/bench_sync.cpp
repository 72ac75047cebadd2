// Handing over: between tasks of one shard, between shards that are awake, and to one that sleeps. Labels say what each
// is measured against; see bench.py.
//
// What is measured between threads is the time from just before the ring to just after the wait returns on the other
// side, so that both sides may take a pause first. The limits do the same with plain threads, pinned to cores as shards
// are.
#include <chrono>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include <benchmark/benchmark.h>

#include <roving/roving.hpp>

#include "perf/bells.hpp"
#include "perf/histogram.hpp"
#include "perf/hops.hpp"
#include "perf/jump.hpp"
#include "scheduler/cores.hpp"

namespace {

using namespace std::chrono_literals;
using clock = std::chrono::steady_clock;
using roving_perf::condition_variable_bell;
using roving_perf::event_bell;
using roving_perf::eventfd_bell;
using roving_perf::futex_bell;
using roving_perf::histogram;
using roving_perf::on_core;
using roving_perf::queue_bell;
using roving_perf::semaphore_bell;
using roving_perf::spinning_bell;

// --- on one shard ---------------------------------------------------------------------------------------------------

// Guards: nothing of ours; it is the limit.
void jump(benchmark::State& state) {
  roving_perf::jump_partner other;
  for (auto _ : state) other.visit();
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(jump);

constexpr benchmark::IterationCount batch_of_hops = 10'000;  // so many that spawning the tasks does not count

template <class Bell>
void hop(benchmark::State& state) {
  roving::run({.shards = static_cast<unsigned>(state.range(0))}, [&] {
    while (state.KeepRunningBatch(batch_of_hops)) roving_perf::hop_to_and_fro<Bell>(batch_of_hops);
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns<=8*jump");
}

// Guards: a hand-over by semaphores: park, claim, make ready, switch.
// Says nothing of: waits of many, cancellation.
void semaphore_hop(benchmark::State& state) { hop<semaphore_bell>(state); }
BENCHMARK(semaphore_hop)->ArgName("shards")->Arg(1)->Arg(2);

// Guards: the same by events that each side clears.
// Says nothing of: events on which many wait.
void event_hop(benchmark::State& state) { hop<event_bell>(state); }
BENCHMARK(event_hop)->ArgName("shards")->Arg(1)->Arg(2);

// Guards: the same by queues of one item each.
// Says nothing of: queues that are mostly full or mostly empty.
void queue_hop(benchmark::State& state) { hop<queue_bell>(state); }
BENCHMARK(queue_hop)->ArgName("shards")->Arg(1)->Arg(2);

// Guards: a contended mutex: the lock goes to who waits, and who unlocked it goes behind.
// Says nothing of: contention between shards.
void mutex_hop(benchmark::State& state) {
  roving::run({.shards = static_cast<unsigned>(state.range(0))}, [&] {
    roving::mutex mutex;
    const auto play = [&] {
      const std::lock_guard hold{mutex};
      for (auto left = batch_of_hops / 2; left != 0; --left) {
        mutex.unlock();
        mutex.lock();
      }
    };
    while (state.KeepRunningBatch(batch_of_hops)) {
      mutex.lock();
      const roving::task<void> first = roving::spawn(play);
      const roving::task<void> second = roving::spawn(play);
      roving::yield();  // both wait
      mutex.unlock();
      first.join();
      second.join();
    }
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns<=8*jump");
}
BENCHMARK(mutex_hop)->ArgName("shards")->Arg(1)->Arg(2);

// --- a mutex that nobody else wants ---------------------------------------------------------------------------------

template <class Mutex>
void lock_and_unlock(benchmark::State& state) {
  Mutex mutex;
  for (auto _ : state) {
    mutex.lock();
    benchmark::ClobberMemory();
    mutex.unlock();
  }
  state.SetItemsProcessed(state.iterations());
}

// The limit. Beside a second thread, which sleeps: a process that has but one gets a std::mutex without atomics.
void std_mutex_uncontended(benchmark::State& state) {
  roving::run({.shards = 2}, [&] { lock_and_unlock<std::mutex>(state); });
}
BENCHMARK(std_mutex_uncontended);

// Guards: that a free mutex is one atomic pair.
// Says nothing of: contention.
void mutex_uncontended(benchmark::State& state) {
  roving::run({.shards = 2}, [&] { lock_and_unlock<roving::mutex>(state); });
  state.SetLabel("ns<=2*std_mutex_uncontended");
}
BENCHMARK(mutex_uncontended);

// --- between threads: what they do ----------------------------------------------------------------------------------

// Two sides, each with the bell on which it waits. The second one answers until it is told to stop, which happens while
// it waits.
template <class Bell>
struct two_sides {
  struct alignas(64) side {
    Bell bell;
    clock::time_point rung_at{};  // by the other one, before it rang
    histogram latencies_ns;

    void ring() {
      rung_at = clock::now();
      bell.ring();
    }
    // After the bell's wait() has returned; says how long that took from the ring.
    std::chrono::nanoseconds note_arrival() {
      const std::chrono::nanoseconds took = clock::now() - rung_at;
      latencies_ns.record(static_cast<std::uint64_t>(took.count()));
      return took;
    }
  };
  side first;
  side second;
  bool stopping = false;

  void stop() {
    stopping = true;
    second.bell.ring();
  }

  void report(benchmark::State& state) {
    first.latencies_ns.add(second.latencies_ns);
    if (first.latencies_ns.count() == 0) return;
    state.counters["p50_us"] = static_cast<double>(first.latencies_ns.percentile(50)) / 1000;
    state.counters["p99_us"] = static_cast<double>(first.latencies_ns.percentile(99)) / 1000;
  }
};

// To and fro without a pause.
struct at_once {
  template <class Bell>
  static void ask(benchmark::State& state, two_sides<Bell>& all) {
    for (auto _ : state) {
      all.second.bell.ring();
      all.first.bell.wait();
    }
    all.stop();
    state.SetItemsProcessed(state.iterations() * 2);
  }

  template <class Bell>
  static void answer(two_sides<Bell>& all) {
    for (;;) {
      all.second.bell.wait();
      if (all.stopping) return;
      all.first.bell.ring();
    }
  }
};

// To and fro; who was rung computes before it rings, long enough for the other shard to have searched in vain and to
// sleep.
struct after_a_pause {
  template <class Bell>
  static void ask(benchmark::State& state, two_sides<Bell>& all) {
    for (auto _ : state) {
      pause();
      all.second.ring();
      all.first.bell.wait();
      const std::chrono::duration<double> took = all.first.note_arrival();
      state.SetIterationTime(took.count());  // of one hop
    }
    all.stop();
    state.SetItemsProcessed(state.iterations());
  }

  template <class Bell>
  static void answer(two_sides<Bell>& all) {
    for (;;) {
      all.second.bell.wait();
      if (all.stopping) return;
      all.second.note_arrival();
      pause();
      all.first.ring();
    }
  }

 private:
  static void pause() {
    const clock::time_point until = clock::now() + 20us;
    while (clock::now() < until) {
    }
  }
};

// One way, by one that has slept as long as the other one was idle.
struct after_idling {
  template <class Bell>
  static void ask(benchmark::State& state, two_sides<Bell>& all) {
    constexpr auto idle_time = 500us;
    for (auto _ : state) {
      if (roving::in_task())
        roving::sleep_for(idle_time);
      else
        std::this_thread::sleep_for(idle_time);
      all.second.ring();
      all.first.bell.wait();  // not measured: that it has arrived
    }
    all.stop();
    state.SetItemsProcessed(state.iterations());
  }

  template <class Bell>
  static void answer(two_sides<Bell>& all) {
    for (;;) {
      all.second.bell.wait();
      if (all.stopping) return;
      all.second.note_arrival();
      all.first.bell.ring();
    }
  }
};

// Both sides on two threads, this one the first.
template <class Bell, class Pace>
void on_threads(benchmark::State& state) {
  const std::vector<unsigned> cores = roving::detail::usable_cores();
  if (cores.size() < 2) return state.SkipWithError("needs two cores");
  two_sides<Bell> all;
  const on_core here{cores, 0};
  std::thread other{[&] {
    const on_core there{cores, 1};
    Pace::answer(all);
  }};
  Pace::ask(state, all);
  other.join();
  all.report(state);
}

// Both sides as tasks of two shards. Counts what the shards did for each hand-over.
template <class Pace, class Bell = semaphore_bell>
void on_shards(benchmark::State& state) {
  if (roving::detail::usable_cores().size() < 2) return state.SkipWithError("needs two cores");
  two_sides<Bell> all;
  roving::runtime runtime{{.shards = 2}};
  const auto count = [&](std::uint64_t roving::shard_counters::*what) {
    double sum = 0;
    for (const roving::shard_counters& shard : runtime.counters()) sum += static_cast<double>(shard.*what);
    return sum;
  };
  runtime.run([&] {
    const roving::task<void> other = roving::spawn(roving::on_shard(1), [&] { Pace::answer(all); });
    const double sleeps_before = count(&roving::shard_counters::sleeps);
    const double wakes_before = count(&roving::shard_counters::wakes);
    Pace::ask(state, all);
    const double rounds = static_cast<double>(state.iterations());
    state.counters["sleeps"] = (count(&roving::shard_counters::sleeps) - sleeps_before) / rounds;
    state.counters["wakes"] = (count(&roving::shard_counters::wakes) - wakes_before) / rounds;
    other.join();
  });
  all.report(state);
}

// --- shards that are awake ------------------------------------------------------------------------------------------

// The limit: a cache line that goes to and fro.
void cache_line_hop(benchmark::State& state) { on_threads<spinning_bell, at_once>(state); }
BENCHMARK(cache_line_hop)->UseRealTime();

// Guards: a hand-over between shards that look for work when it comes; that it takes no system call (`wakes`, a round).
// Says nothing of: shards that are busy with other tasks, which see it when their generation has ended.
void shard_hop_awake(benchmark::State& state) {
  on_shards<at_once>(state);
  state.SetLabel("ns<=4*cache_line_hop wakes<=0.01");
}
BENCHMARK(shard_hop_awake)->UseRealTime();
void shard_hop_awake_by_event(benchmark::State& state) {
  on_shards<at_once, event_bell>(state);
  state.SetLabel("ns<=4*cache_line_hop wakes<=0.01");
}
BENCHMARK(shard_hop_awake_by_event)->UseRealTime();
void shard_hop_awake_by_queue(benchmark::State& state) {
  on_shards<at_once, queue_bell>(state);
  state.SetLabel("ns<=4*cache_line_hop wakes<=0.01");
}
BENCHMARK(shard_hop_awake_by_queue)->UseRealTime();

// What two do to one mutex, as often as they can; an item is one lock of either.
template <class Mutex>
void lock_often(Mutex& mutex, std::uint64_t& guarded, benchmark::IterationCount times) {
  for (; times != 0; --times) {
    const std::lock_guard hold{mutex};
    benchmark::DoNotOptimize(++guarded);
  }
}

constexpr benchmark::IterationCount batch_of_locks = 20'000;

// The limit: it lets who runs go first, as often as it likes.
void std_mutex_contended(benchmark::State& state) {
  const std::vector<unsigned> cores = roving::detail::usable_cores();
  if (cores.size() < 2) return state.SkipWithError("needs two cores");
  std::mutex mutex;
  std::uint64_t guarded = 0;
  while (state.KeepRunningBatch(batch_of_locks)) {
    std::thread other{[&] {
      const on_core there{cores, 1};
      lock_often(mutex, guarded, batch_of_locks / 2);
    }};
    const on_core here{cores, 0};
    lock_often(mutex, guarded, batch_of_locks / 2);
    other.join();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(std_mutex_contended)->UseRealTime();

// Guards: a mutex that tasks of two shards want all the time, and get in turn.
// Says nothing of: locks that are held for long.
void mutex_contended(benchmark::State& state) {
  if (roving::detail::usable_cores().size() < 2) return state.SkipWithError("needs two cores");
  roving::run({.shards = 2}, [&] {
    roving::mutex mutex;
    std::uint64_t guarded = 0;
    while (state.KeepRunningBatch(batch_of_locks)) {
      const auto half = [&] { lock_often(mutex, guarded, batch_of_locks / 2); };
      const roving::task<void> other = roving::spawn(roving::on_shard(1), half);
      half();
      other.join();
    }
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/std_mutex_contended ns/cache_line_hop");
}
BENCHMARK(mutex_contended)->UseRealTime();

// --- a shard that sleeps --------------------------------------------------------------------------------------------

// The limits: one system call to wake, one to sleep.
void futex_hop(benchmark::State& state) { on_threads<futex_bell, after_a_pause>(state); }
BENCHMARK(futex_hop)->UseManualTime();
void eventfd_hop(benchmark::State& state) { on_threads<eventfd_bell, after_a_pause>(state); }
BENCHMARK(eventfd_hop)->UseManualTime();
void condition_variable_hop(benchmark::State& state) { on_threads<condition_variable_bell, after_a_pause>(state); }
BENCHMARK(condition_variable_hop)->UseManualTime();

// Guards: a hand-over to a shard that went to sleep some microseconds ago; that it takes one write (`wakes` is 2 a
// round). Says nothing of: what it costs the one who wakes.
void shard_hop_asleep(benchmark::State& state) {
  on_shards<after_a_pause>(state);
  state.SetLabel("p50_us<=1.15*eventfd_hop p50_us/futex_hop");
}
BENCHMARK(shard_hop_asleep)->UseManualTime();

// The limits.
void condition_variable_wake(benchmark::State& state) { on_threads<condition_variable_bell, after_idling>(state); }
BENCHMARK(condition_variable_wake)->Iterations(400)->UseRealTime();
void eventfd_wake(benchmark::State& state) { on_threads<eventfd_bell, after_idling>(state); }
BENCHMARK(eventfd_wake)->Iterations(400)->UseRealTime();

// Guards: how long a task waits whose shard has been idle for half a millisecond, rung by one that slept as long.
// Says nothing of: cores that are busy, or deeper asleep.
void shard_wake(benchmark::State& state) {
  on_shards<after_idling>(state);
  state.SetLabel("p50_us<=1.1*condition_variable_wake p99_us<=1.1*condition_variable_wake p50_us/eventfd_wake");
}
BENCHMARK(shard_wake)->Iterations(400)->UseRealTime();

// Guards: that a roving task which is woken by one that goes on computing for 2 ms is not stuck behind it while another
// core has nothing to do.
// Says nothing of: machines on which all cores are busy.
void wake_by_who_goes_on(benchmark::State& state) {
  if (roving::detail::usable_cores().size() < 2) return state.SkipWithError("needs two cores");
  constexpr auto computes_for = 2ms;
  histogram latencies_ns;
  roving::run({.shards = 2}, [&] {
    roving::spawn(roving::anywhere, [&] {
      roving::semaphore rung{0};
      roving::semaphore heard{0};
      clock::time_point rung_at;
      const roving::task<void> other = roving::spawn(roving::anywhere, [&] {
        for (auto left = state.max_iterations; left != 0; --left) {
          rung.acquire();
          latencies_ns.record(static_cast<std::uint64_t>((clock::now() - rung_at).count()));
          heard.release();
        }
      });
      for (auto _ : state) {
        roving::sleep_for(500us);
        rung_at = clock::now();
        rung.release();
        while (clock::now() - rung_at < computes_for) {
        }
        heard.acquire();
      }
      other.join();
    }).get();
  });
  state.SetItemsProcessed(state.iterations());
  state.counters["p50_us"] = static_cast<double>(latencies_ns.percentile(50)) / 1000;
  state.counters["p99_us"] = static_cast<double>(latencies_ns.percentile(99)) / 1000;
  state.SetLabel("p50_us<=1.5*condition_variable_wake p99_us<=1.5*condition_variable_wake");
}
BENCHMARK(wake_by_who_goes_on)->Iterations(200)->UseRealTime();

}  // namespace

BENCHMARK_MAIN();
