// Tasks: letting others run, spawning and joining. Labels say what each is measured against; see bench.py.
//
// With `shards:2` pinned tasks leave the second shard nothing to do, and it sleeps; roving ones it may take. What one
// thread does alone is measured by that thread's CPU time, which other processes disturb least.
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include <benchmark/benchmark.h>

#include <roving/roving.hpp>

#include "perf/counted_allocations.hpp"
#include "perf/jump.hpp"

#if ROVING_WITH_TBB
#  include <oneapi/tbb/task_arena.h>
#  include <oneapi/tbb/task_group.h>
#endif

namespace {

roving::options shards_of(const benchmark::State& state) {
  roving::options chosen;
  chosen.shards = static_cast<unsigned>(state.range(0));
  return chosen;
}

// Counts allocations from here on.
class allocation_count {
 public:
  void report(benchmark::State& state) const {
    const std::uint64_t made = roving_perf::allocations() - before_;
    state.counters["allocations"] =
        benchmark::Counter(static_cast<double>(made) / static_cast<double>(state.items_processed()));
  }

 private:
  std::uint64_t before_ = roving_perf::allocations();
};

// --- yield ----------------------------------------------------------------------------------------------------------

// Guards: nothing of ours; it is the limit.
void jump(benchmark::State& state) {
  roving_perf::jump_partner other;
  for (auto _ : state) other.visit();
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(jump);

// Guards: what a yield costs when there is nobody to yield to.
// Says nothing of: switching.
void yield_alone(benchmark::State& state) {
  roving::run(shards_of(state), [&] {
    for (auto _ : state) roving::yield();
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/jump");
}
BENCHMARK(yield_alone)->ArgName("shards")->Arg(1)->Arg(2);

constexpr benchmark::IterationCount batch_of_yields = 10'000;  // so many that spawning the tasks does not count

// Two tasks that yield to each other, so often in all.
void yield_to_and_fro(roving::placement where) {
  const auto yield_half = [] {
    for (auto left = batch_of_yields / 2; left != 0; --left) roving::yield();
  };
  const roving::task<void> first = roving::spawn(where, yield_half);
  const roving::task<void> second = roving::spawn(where, yield_half);
  first.join();
  second.join();
}

// Guards: a switch through the scheduler, with its looks at the clock, the poller and the timers.
// Says nothing of: many tasks, whose stacks are cold.
void yield_pinned(benchmark::State& state) {
  roving::run(shards_of(state), [&] {
    while (state.KeepRunningBatch(batch_of_yields)) yield_to_and_fro(roving::here);
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns<=4*jump");
}
BENCHMARK(yield_pinned)->ArgName("shards")->Arg(1)->Arg(2);

// Guards: the same when the two tasks run different code, which costs a mispredicted return or two.
// Says nothing of: what such code does to the processor's other memories.
void yield_to_other_code(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    bool stopping = false;
    const roving::task<void> other = roving::spawn([&] {
      while (!stopping) roving::yield();
    });
    for (auto _ : state) roving::yield();
    stopping = true;
    other.join();
  });
  state.SetItemsProcessed(state.iterations() * 2);
  state.SetLabel("ns/jump");
}
BENCHMARK(yield_to_other_code);

// Guards: the same through the queue that others may steal from.
// Says nothing of: stealing; there is nobody else.
void yield_roving(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    while (state.KeepRunningBatch(batch_of_yields)) yield_to_and_fro(roving::anywhere);
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/jump");
}
BENCHMARK(yield_roving);

// --- spawn and join -------------------------------------------------------------------------------------------------

// Guards: nothing of ours; it is the limit of spawning: a stack from a list is prepared, entered, left and put back.
void pooled_fiber(benchmark::State& state) {
  namespace fcontext = boost::context::detail;
  roving::detail::agree_on_floating_point_flags();
  std::vector<roving_perf::bare_stack> pool(16);
  const auto enter_and_leave = [](fcontext::transfer_t came) { fcontext::jump_fcontext(came.fctx, nullptr); };
  for (auto _ : state) {
    roving_perf::bare_stack stack = std::move(pool.back());
    pool.pop_back();
    const auto place = fcontext::make_fcontext(stack.top(), roving_perf::bare_stack::size_bytes, enter_and_leave);
    benchmark::DoNotOptimize(fcontext::jump_fcontext(place, nullptr).fctx);
    pool.push_back(std::move(stack));
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(pooled_fiber);

#if ROVING_WITH_TBB
// The peer: oneTBB's task_group, whose tasks have no stacks of their own and can't wait.
void tbb_run_and_wait(benchmark::State& state) {
  tbb::task_arena arena{static_cast<int>(state.range(0))};
  const allocation_count allocations;
  arena.execute([&] {
    tbb::task_group group;
    for (auto _ : state) {
      group.run([] {});
      group.wait();
    }
  });
  state.SetItemsProcessed(state.iterations());
  allocations.report(state);
}
BENCHMARK(tbb_run_and_wait)->ArgName("shards")->Arg(1);
BENCHMARK(tbb_run_and_wait)->ArgName("shards")->Arg(2)->UseRealTime();

void tbb_run_1000_then_wait(benchmark::State& state) {
  tbb::task_arena arena{static_cast<int>(state.range(0))};
  arena.execute([&] {
    tbb::task_group group;
    for (auto _ : state) {
      for (int i = 0; i < 1000; ++i) group.run([] {});
      group.wait();
    }
  });
  state.SetItemsProcessed(state.iterations() * 1000);
}
BENCHMARK(tbb_run_1000_then_wait)->ArgName("shards")->Arg(1);
BENCHMARK(tbb_run_1000_then_wait)->ArgName("shards")->Arg(2)->UseRealTime();
#endif

// Guards: the cost of spawn, run and join of an empty task; that none of it allocates.
// Says nothing of: I/O, tasks that do work, deep stacks.
void spawn_and_get_pinned(benchmark::State& state) {
  std::optional<allocation_count> allocations;
  roving::run(shards_of(state), [&] {
    roving::spawn([] {}).get();  // so that a block and a stack are there
    allocations.emplace();
    for (auto _ : state) roving::spawn([] {}).get();
    state.SetItemsProcessed(state.iterations());
    allocations->report(state);
  });
  state.SetLabel("ns<=2*pooled_fiber ns/tbb_run_and_wait/shards:1 allocations<=0.01");
}
BENCHMARK(spawn_and_get_pinned)->ArgName("shards")->Arg(1)->Arg(2);

// Guards: the same for roving tasks, which nobody steals in time.
// Says nothing of: what it costs when another shard takes them.
void spawn_and_get_roving(benchmark::State& state) {
  roving::run(shards_of(state), [&] {
    const roving::task<void> measured = roving::spawn(roving::anywhere, [&] {
      roving::spawn([] {}).get();
      const allocation_count allocations;
      for (auto _ : state) roving::spawn([] {}).get();
      state.SetItemsProcessed(state.iterations());
      allocations.report(state);
    });
    measured.join();
  });
  state.SetLabel("ns<=0.4*tbb_run_and_wait/shards:" + std::to_string(state.range(0)) +
                 " ns/pooled_fiber allocations<=0.01");
}
BENCHMARK(spawn_and_get_roving)->ArgName("shards")->Arg(1);
BENCHMARK(spawn_and_get_roving)->ArgName("shards")->Arg(2)->UseRealTime();

void spawn_1000_then_join(benchmark::State& state, roving::placement where, int tbb_threads) {
  constexpr std::size_t batch = 1000;
  const auto spawn_all_then_join = [](std::vector<roving::task<void>>& tasks) {
    for (std::size_t i = 0; i < batch; ++i) tasks.push_back(roving::spawn([] {}));
    for (auto& each : tasks) each.get();
    tasks.clear();
  };
  roving::run(shards_of(state), [&] {
    const roving::task<void> measured = roving::spawn(where, [&] {
      std::vector<roving::task<void>> tasks;
      tasks.reserve(batch);
      spawn_all_then_join(tasks);
      const allocation_count allocations;
      for (auto _ : state) spawn_all_then_join(tasks);
      state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
      allocations.report(state);
    });
    measured.join();
  });
  state.SetLabel("ns<=1*tbb_run_1000_then_wait/shards:" + std::to_string(tbb_threads) +
                 " ns/pooled_fiber allocations<=0.01");
}

// Guards: spawning many tasks before the first one runs: blocks come from the slab, one warm stack serves them all.
// Says nothing of: tasks that wait, each of which keeps its stack.
void spawn_1000_then_join_pinned(benchmark::State& state) { spawn_1000_then_join(state, roving::here, 1); }
BENCHMARK(spawn_1000_then_join_pinned)->ArgName("shards")->Arg(1)->Arg(2);

// Guards: the same for roving tasks, half of which the second shard may take.
// Says nothing of: how work that lasts is spread.
void spawn_1000_then_join_roving(benchmark::State& state) {
  spawn_1000_then_join(state, roving::anywhere, static_cast<int>(state.range(0)));
}
BENCHMARK(spawn_1000_then_join_roving)->ArgName("shards")->Arg(1);
BENCHMARK(spawn_1000_then_join_roving)->ArgName("shards")->Arg(2)->UseRealTime();

// --- several at once -------------------------------------------------------------------------------------------------

// Guards: a group of ten tasks from its beginning to its end, a task; roving ones may be run by who waits.
// Says nothing of: groups in which something fails.
void group_of_ten(benchmark::State& state, roving::placement where, const char* label) {
  roving::run({.shards = 1}, [&] {
    roving::spawn(where, [&] {
      for (auto _ : state)
        roving::with_task_group([](roving::task_group& group) {
          for (int i = 0; i < 10; ++i) group.spawn([] {});
        });
    }).get();
  });
  state.SetItemsProcessed(state.iterations() * 10);
  state.SetLabel(label);
}

#if ROVING_WITH_TBB
void tbb_group_of_ten(benchmark::State& state) {
  tbb::task_arena arena{1};
  arena.execute([&] {
    for (auto _ : state) {
      tbb::task_group group;
      for (int i = 0; i < 10; ++i) group.run([] {});
      group.wait();
    }
  });
  state.SetItemsProcessed(state.iterations() * 10);
}
BENCHMARK(tbb_group_of_ten);
#endif

void group_of_ten_pinned(benchmark::State& state) {
  group_of_ten(state, roving::here, "ns/tbb_group_of_ten ns/pooled_fiber");
}
BENCHMARK(group_of_ten_pinned);
void group_of_ten_roving(benchmark::State& state) {
  group_of_ten(state, roving::anywhere, "ns/tbb_group_of_ten ns/pooled_fiber");
}
BENCHMARK(group_of_ten_roving);

// Guards: two callables at once, a callable, with their results.
// Says nothing of: callables that wait.
void gather_two(benchmark::State& state, roving::placement where) {
  roving::run({.shards = 1}, [&] {
    roving::spawn(where, [&] {
      for (auto _ : state) benchmark::DoNotOptimize(roving::gather([] { return 1; }, [] { return 2; }));
    }).get();
  });
  state.SetItemsProcessed(state.iterations() * 2);
  state.SetLabel("ns/pooled_fiber");
}
void gather_two_pinned(benchmark::State& state) { gather_two(state, roving::here); }
BENCHMARK(gather_two_pinned);
void gather_two_roving(benchmark::State& state) { gather_two(state, roving::anywhere); }
BENCHMARK(gather_two_roving);

// --- cancelling ------------------------------------------------------------------------------------------------------

// The limit: an exception that is thrown through a function with something to destroy, and caught.
void throw_and_catch(benchmark::State& state) {
  struct thrown {};
  struct guard {
    ~guard() { benchmark::ClobberMemory(); }
  };
  const auto fail = []() __attribute__((noinline)) {
    const guard here;
    throw thrown{};
  };
  for (auto _ : state) {
    try {
      fail();
    } catch (const thrown&) {
    }
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(throw_and_catch);

// Guards: a task that is spawned, waits, is cancelled, unwinds and is joined.
// Says nothing of: deep stacks, cancels from other shards.
void cancel_waiting(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    roving::event never;
    for (auto _ : state) {
      const roving::task<void> waits = roving::spawn([&] { never.wait(); });
      roving::yield();
      waits.cancel();
      waits.join();
    }
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/throw_and_catch");
}
BENCHMARK(cancel_waiting);

// --- variables of a task ---------------------------------------------------------------------------------------------

// The limit. What a fiber must not keep an address of.
[[gnu::noinline]] int& number_of_this_thread() noexcept {
  thread_local int number = 0;
  int* place = &number;
  asm volatile("" : "+r"(place));
  return *place;
}

void read_thread_local(benchmark::State& state) {
  for (auto _ : state) benchmark::DoNotOptimize(number_of_this_thread());
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(read_thread_local);

// Guards: a look at a context_var where that many others are set.
// Says nothing of: setting.
void read_context_var(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    roving::context_var<int> number{1};
    std::vector<std::unique_ptr<roving::context_var<int>>> others;
    number.set(2);
    for (auto left = state.range(0); left != 0; --left) {
      others.push_back(std::make_unique<roving::context_var<int>>(3));
      others.back()->set(4);
    }
    for (auto _ : state) benchmark::DoNotOptimize(number.get());
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/read_thread_local");
}
BENCHMARK(read_context_var)->ArgName("others")->Arg(0)->Arg(10);

// Guards: setting one and taking it back.
// Says nothing of: contexts that many tasks share, which are copied first.
void set_context_var(benchmark::State& state) {
  roving::run({.shards = 1}, [&] {
    roving::context_var<int> number{1};
    for (auto _ : state) {
      auto before = number.set(2);
      number.reset(before);
    }
  });
  state.SetItemsProcessed(state.iterations());
  state.SetLabel("ns/read_context_var/others:0");
}
BENCHMARK(set_context_var);

}  // namespace

BENCHMARK_MAIN();
