// Leaving one stack and entering another, without a scheduler. Labels say what each is measured against; see bench.py.
//
// Who returns from a switch returns to where the processor expects it only if the one before it left by the same calls:
// tasks that run the same code do, others pay for one mispredicted return. Both are measured.
#include <benchmark/benchmark.h>

#include "perf/jump.hpp"
#include "scheduler/context.hpp"
#include "scheduler/stack.hpp"

namespace {

using roving::detail::context;
using roving::detail::thread_anchor;
using roving_perf::jump_partner;

using work = void() noexcept;

void nothing() noexcept {}

// Inexact, so that it sets a sticky flag.
void divide() noexcept {
  double value = 1;
  benchmark::DoNotOptimize(value);
  value /= 3;
  benchmark::DoNotOptimize(value);
}

// Two fibers that switch to each other, and the thread that starts them.
template <work& before_each>
class pair_of_fibers {
 public:
  explicit pair_of_fibers(roving::detail::after_switch after) : after_{after} {
    roving::detail::agree_on_floating_point_flags();
    thread_.adopt_thread();
    for (player* each : {&first_, &second_}) {
      each->whole = this;
      each->self.prepare(each->memory, &play, each);
    }
  }
  pair_of_fibers(const pair_of_fibers&) = delete;
  pair_of_fibers& operator=(const pair_of_fibers&) = delete;

  void switch_to_and_fro(benchmark::IterationCount count) {
    left_ = count;
    thread_.switch_to(first_.self, anchor_, nullptr, nullptr);
  }

  // There and back: two switches, by different calls.
  void visit() noexcept {
    left_ = 1;
    thread_.switch_to(first_.self, anchor_, after_, this);
  }

 private:
  struct player {
    explicit player(roving::detail::stack_pool& from)
        : pool{from}, memory{from.take(roving::detail::default_stack_size_bytes)} {}
    player(const player&) = delete;
    player& operator=(const player&) = delete;
    ~player() { pool.give_back(memory); }  // there is nothing on it that needs an end

    roving::detail::stack_pool& pool;
    roving::detail::stack& memory;
    context self;
    pair_of_fibers* whole = nullptr;
  };

  static void play(void* argument, thread_anchor& anchor) noexcept {
    auto& mine = *static_cast<player*>(argument);
    pair_of_fibers& all = *mine.whole;
    context& other = &mine == &all.first_ ? all.second_.self : all.first_.self;
    for (;;) {
      before_each();
      mine.self.switch_to(--all.left_ > 0 ? other : all.thread_, anchor, all.after_, &all);
    }
  }

  roving::detail::after_switch after_;
  thread_anchor anchor_ = thread_anchor::of_this_thread();
  roving::detail::stack_pool pool_;
  context thread_;
  player first_{pool_};
  player second_{pool_};
  benchmark::IterationCount left_ = 0;
};

template <work& before_each>
void switch_in_batches(benchmark::State& state, roving::detail::after_switch after, const char* label) {
  constexpr benchmark::IterationCount batch = 1000;
  pair_of_fibers<before_each> both{after};
  while (state.KeepRunningBatch(batch)) both.switch_to_and_fro(batch);
  state.SetItemsProcessed(state.iterations());
  state.SetLabel(label);
}

// The limit.
void jump(benchmark::State& state) {
  jump_partner other;
  for (auto _ : state) other.visit();
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(jump);

// The limit with arithmetic before each jump.
void jump_after_arithmetic(benchmark::State& state) {
  jump_partner other{&divide};
  for (auto _ : state) {
    divide();
    other.visit();
  }
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(jump_after_arithmetic);

// Guards: the cost of a switch with all that goes with it: exception globals, errno, the place written down.
// Says nothing of: choosing whom to enter, cold stacks.
void switch_to(benchmark::State& state) { switch_in_batches<nothing>(state, nullptr, "ns<=1.5*jump"); }
BENCHMARK(switch_to);

// Guards: that the hand-over to the other side costs no more than its call.
// Says nothing of: what real hand-overs do.
void switch_to_with_hand_over(benchmark::State& state) {
  switch_in_batches<nothing>(
      state, [](void* argument) noexcept { benchmark::DoNotOptimize(argument); }, "ns<=1.5*jump");
}
BENCHMARK(switch_to_with_hand_over);

// Guards: that floating-point work before a switch does not make it slow: a processor may take 55 ns instead of 4 when
// the sticky flags of the two sides differ.
// Says nothing of: code that clears the flags.
void switch_to_after_arithmetic(benchmark::State& state) {
  switch_in_batches<divide>(state, nullptr, "ns<=1.5*jump_after_arithmetic");
}
BENCHMARK(switch_to_after_arithmetic);

// Guards: a switch between places in different code.
// Says nothing of: what a mispredicted return higher up costs.
void switch_to_other_code(benchmark::State& state) {
  pair_of_fibers<nothing> both{nullptr};
  for (auto _ : state) both.visit();
  state.SetItemsProcessed(state.iterations() * 2);
  state.SetLabel("ns/jump");
}
BENCHMARK(switch_to_other_code);

}  // namespace

BENCHMARK_MAIN();
