// Leaving one stack and entering another, without a scheduler. Labels say what each is measured against; see bench.py.
#include <benchmark/benchmark.h>

#include "perf/jump.hpp"
#include "scheduler/context.hpp"
#include "scheduler/stack.hpp"

namespace {

using roving::detail::context;
using roving::detail::thread_anchor;
using roving_perf::jump_partner;

// Inexact, so that it sets a sticky flag.
double divide() noexcept {
  double value = 1;
  benchmark::DoNotOptimize(value);
  value /= 3;
  benchmark::DoNotOptimize(value);
  return value;
}

void divide_only() noexcept { divide(); }

// A fiber on the library's own switch that goes back whenever it is entered.
class partner {
 public:
  partner(void (*work)() noexcept, roving::detail::after_switch after)
      : work_{work}, after_{after}, memory_{pool_.take(roving::detail::default_stack_size_bytes)} {
    roving::detail::agree_on_floating_point_flags();
    here_.adopt_thread();
    fiber_.prepare(memory_, &answer, this);
  }
  partner(const partner&) = delete;
  partner& operator=(const partner&) = delete;
  ~partner() { pool_.give_back(memory_); }  // what is left on it is nothing

  // There and back: two switches.
  void visit() noexcept { here_.switch_to(fiber_, anchor_, after_, this); }

 private:
  static void answer(void* argument, thread_anchor& anchor) noexcept {
    auto& self = *static_cast<partner*>(argument);
    for (;;) {
      self.work_();
      self.fiber_.switch_to(self.here_, anchor, self.after_, &self);
    }
  }

  void (*work_)() noexcept;
  roving::detail::after_switch after_;
  thread_anchor anchor_ = thread_anchor::of_this_thread();
  roving::detail::stack_pool pool_;
  roving::detail::stack& memory_;
  context here_;
  context fiber_;
};

// Guards: nothing of ours; it is the limit.
void jump(benchmark::State& state) {
  jump_partner other;
  for (auto _ : state) other.visit();
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(jump);

// The limit with the same arithmetic before each jump.
void jump_after_arithmetic(benchmark::State& state) {
  jump_partner other{&divide_only};
  for (auto _ : state) {
    divide();
    other.visit();
  }
  state.SetItemsProcessed(state.iterations() * 2);
}
BENCHMARK(jump_after_arithmetic);

// Guards: the cost of a switch with all that goes with it: exception globals, errno, the place written down.
// Says nothing of: choosing whom to enter, cold stacks.
void switch_to(benchmark::State& state) {
  partner other{[]() noexcept {}, nullptr};
  for (auto _ : state) other.visit();
  state.SetItemsProcessed(state.iterations() * 2);
  state.SetLabel("ns<=1.5*jump");
}
BENCHMARK(switch_to);

// Guards: that the hand-over to the other side costs no more than its call.
// Says nothing of: what real hand-overs do.
void switch_to_with_hand_over(benchmark::State& state) {
  partner other{[]() noexcept {}, [](void* argument) noexcept { benchmark::DoNotOptimize(argument); }};
  for (auto _ : state) other.visit();
  state.SetItemsProcessed(state.iterations() * 2);
  state.SetLabel("ns<=1.5*jump");
}
BENCHMARK(switch_to_with_hand_over);

// Guards: that floating-point work before a switch does not make it slow: a processor may take 55 ns instead of 4 when
// the sticky flags of the two sides differ. Says nothing of: code that clears the flags.
void switch_to_after_arithmetic(benchmark::State& state) {
  partner other{&divide_only, nullptr};
  for (auto _ : state) {
    divide();
    other.visit();
  }
  state.SetItemsProcessed(state.iterations() * 2);
  state.SetLabel("ns<=1.5*jump_after_arithmetic");
}
BENCHMARK(switch_to_after_arithmetic);

}  // namespace

BENCHMARK_MAIN();
