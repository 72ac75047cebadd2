// Boost.Fiber: its default scheduler (round robin, one thread), stacks from a pool.
#include <chrono>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include <boost/fiber/all.hpp>
#include <boost/version.hpp>

#include "perf/peers/peer.hpp"

namespace {

namespace fibers = boost::fibers;
using roving_perf::batch_of_switches;
using roving_perf::steady;

// Shared by all fibers of the thread, as its users do it who spawn often.
constexpr std::size_t stack_size_bytes = 16'384;

class stacks {
 public:
  template <class Function>
  fibers::fiber fiber(Function&& f) {
    return {std::allocator_arg, pool_, std::forward<Function>(f)};
  }

 private:
  fibers::pooled_fixedsize_stack pool_{stack_size_bytes};
};

void yield(benchmark::State& state) {
  stacks from;
  while (state.KeepRunningBatch(batch_of_switches)) {
    const auto yield_half = [] {
      for (auto left = batch_of_switches / 2; left != 0; --left) boost::this_fiber::yield();
    };
    fibers::fiber first = from.fiber(yield_half);
    fibers::fiber second = from.fiber(yield_half);
    first.join();
    second.join();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(yield);

void spawn_and_join(benchmark::State& state) {
  stacks from;
  for (auto _ : state) from.fiber([] {}).join();
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(spawn_and_join);

void spawn_1000_then_join(benchmark::State& state) {
  constexpr std::size_t batch = 1000;
  stacks from;
  std::vector<fibers::fiber> spawned;
  spawned.reserve(batch);
  for (auto _ : state) {
    for (std::size_t i = 0; i < batch; ++i) spawned.push_back(from.fiber([] {}));
    for (auto& each : spawned) each.join();
    spawned.clear();
  }
  state.SetItemsProcessed(state.iterations() * static_cast<std::int64_t>(batch));
}
BENCHMARK(spawn_1000_then_join);

// By channels: its semaphore, which is what a channel has inside, is no part of its interface.
void hop(benchmark::State& state) {
  stacks from;
  using channel = fibers::buffered_channel<int>;
  while (state.KeepRunningBatch(batch_of_switches)) {
    channel there{2};
    channel back{2};
    const auto play = [](channel& mine, channel& others) {
      int ball = 0;
      for (auto left = batch_of_switches / 2; left != 0; --left) {
        mine.pop(ball);
        others.push(ball);
      }
    };
    fibers::fiber first = from.fiber([&] { play(there, back); });
    fibers::fiber second = from.fiber([&] { play(back, there); });
    there.push(1);
    first.join();
    second.join();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(hop);

void sleepers(benchmark::State& state) {
  const auto spans = roving_perf::random_spans(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    stacks from;
    roving_perf::sleepers all{state};
    std::vector<fibers::fiber> spawned;
    spawned.reserve(spans.size());
    for (const auto span : spans) {
      spawned.push_back(from.fiber([&all, span] {
        const auto deadline = steady::now() + span;
        boost::this_fiber::sleep_until(deadline);
        all.woke(deadline);
      }));
      if (spawned.size() % roving_perf::sleepers::at_a_time == 0) boost::this_fiber::yield();
    }
    all.all_are_there();
    for (auto& each : spawned) each.join();
    all.report();
  }
}

// The fiber of the thread itself waits for rings.
class loop {
 public:
  explicit loop(std::function<void()> on_ring) : on_ring_{std::move(on_ring)} {}
  void ring() { rings_.push(1); }
  void run() {
    if (later_) std::exchange(later_, nullptr)();
    for (int ring = 0; rings_.pop(ring) == fibers::channel_op_status::success;) {
      on_ring_();
      if (later_) std::exchange(later_, nullptr)();
    }
  }
  void stop() { rings_.close(); }
  void after(std::chrono::microseconds span, std::function<void()> f) {
    later_ = [span, f = std::move(f)] {
      boost::this_fiber::sleep_for(span);
      f();
    };
  }

 private:
  std::function<void()> on_ring_;
  std::function<void()> later_;
  fibers::buffered_channel<int> rings_{4};
};

}  // namespace

int main(int count, char** arguments) {
  // A million of them would want 14 GB.
  roving_perf::as_sleepers(benchmark::RegisterBenchmark("sleepers", &sleepers), 100'000);
  roving_perf::add_two_loops<loop>();
  return roving_perf::run_benchmarks(count, arguments, "Boost.Fiber", BOOST_LIB_VERSION);
}
