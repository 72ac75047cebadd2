// libuv: timers and uv_async_send(). It has callbacks and no tasks, so there is nothing to spawn or to switch to.
#include <chrono>
#include <cstddef>
#include <functional>
#include <random>
#include <stdexcept>
#include <utility>
#include <vector>

#include <uv.h>

#include "perf/peers/peer.hpp"

namespace {

using roving_perf::steady;

void check(int result) {
  if (result < 0) throw std::runtime_error{uv_strerror(result)};
}

void timer_set_cancel(benchmark::State& state) {
  uv_loop_t loop;
  check(uv_loop_init(&loop));
  uv_timer_t timer;
  check(uv_timer_init(&loop, &timer));
  for (auto _ : state) {
    uv_timer_start(
        &timer, [](uv_timer_t*) {}, 3'600'000, 0);
    uv_timer_stop(&timer);
  }
  state.SetItemsProcessed(state.iterations());
  uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
  uv_run(&loop, UV_RUN_DEFAULT);
  check(uv_loop_close(&loop));
}
BENCHMARK(timer_set_cancel);

// The same among many others.
void timer_set_cancel_among(benchmark::State& state) {
  uv_loop_t loop;
  check(uv_loop_init(&loop));
  std::vector<uv_timer_t> others(static_cast<std::size_t>(state.range(0)));
  std::mt19937_64 random{1};
  for (auto& each : others) {
    check(uv_timer_init(&loop, &each));
    uv_timer_start(
        &each, [](uv_timer_t*) {}, 1 + random() % 60'000, 0);
  }
  uv_timer_t timer;
  check(uv_timer_init(&loop, &timer));
  std::uint64_t span_ms = 1000;
  for (auto _ : state) {
    uv_timer_start(
        &timer, [](uv_timer_t*) {}, span_ms, 0);
    uv_timer_stop(&timer);
    span_ms = span_ms < 10'000 ? span_ms + 1 : 1000;
  }
  state.SetItemsProcessed(state.iterations());
  for (auto& each : others) uv_close(reinterpret_cast<uv_handle_t*>(&each), nullptr);
  uv_close(reinterpret_cast<uv_handle_t*>(&timer), nullptr);
  uv_run(&loop, UV_RUN_DEFAULT);
  check(uv_loop_close(&loop));
}
BENCHMARK(timer_set_cancel_among)->ArgName("others")->Arg(100'000);

struct sleeper {
  uv_timer_t timer;
  steady::time_point deadline;
  roving_perf::sleepers* all;
};

// Timers of whole milliseconds, so the deadline is rounded up, as its users do.
void sleepers(benchmark::State& state) {
  const auto spans = roving_perf::random_spans(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    uv_loop_t loop;
    check(uv_loop_init(&loop));
    roving_perf::sleepers all{state};
    std::vector<sleeper> asleep(spans.size());
    for (std::size_t i = 0; i < spans.size(); ++i) {
      sleeper& one = asleep[i];
      one.all = &all;
      check(uv_timer_init(&loop, &one.timer));
      const auto span = std::chrono::ceil<std::chrono::milliseconds>(spans[i]);
      one.deadline = steady::now() + span;
      uv_update_time(&loop);
      uv_timer_start(
          &one.timer,
          [](uv_timer_t* timer) {
            auto& mine = *reinterpret_cast<sleeper*>(timer);
            mine.all->woke(mine.deadline);
          },
          static_cast<std::uint64_t>(span.count()), 0);
      if (i % roving_perf::sleepers::at_a_time == 0) uv_run(&loop, UV_RUN_NOWAIT);
    }
    all.all_are_there();
    uv_run(&loop, UV_RUN_DEFAULT);
    all.report();
    for (auto& each : asleep) uv_close(reinterpret_cast<uv_handle_t*>(&each.timer), nullptr);
    uv_run(&loop, UV_RUN_DEFAULT);
    check(uv_loop_close(&loop));
  }
}

class loop {
 public:
  explicit loop(std::function<void()> on_ring) : on_ring_{std::move(on_ring)} {
    check(uv_loop_init(&loop_));
    check(uv_async_init(&loop_, &bell_, [](uv_async_t* bell) { static_cast<loop*>(bell->data)->on_ring_(); }));
    check(uv_timer_init(&loop_, &timer_));
    bell_.data = timer_.data = this;
  }
  loop(const loop&) = delete;
  loop& operator=(const loop&) = delete;
  ~loop() {
    uv_close(reinterpret_cast<uv_handle_t*>(&bell_), nullptr);
    uv_close(reinterpret_cast<uv_handle_t*>(&timer_), nullptr);
    uv_run(&loop_, UV_RUN_DEFAULT);
    uv_loop_close(&loop_);
  }

  void ring() { uv_async_send(&bell_); }
  void run() { uv_run(&loop_, UV_RUN_DEFAULT); }
  void stop() { uv_stop(&loop_); }
  void after(std::chrono::microseconds span, std::function<void()> f) {
    later_ = std::move(f);
    const auto whole = std::chrono::ceil<std::chrono::milliseconds>(span);
    uv_timer_start(
        &timer_, [](uv_timer_t* timer) { static_cast<loop*>(timer->data)->later_(); },
        static_cast<std::uint64_t>(whole.count()), 0);
  }

 private:
  uv_loop_t loop_;
  uv_async_t bell_;
  uv_timer_t timer_;
  std::function<void()> on_ring_;
  std::function<void()> later_;
};

}  // namespace

int main(int count, char** arguments) {
  roving_perf::as_sleepers(benchmark::RegisterBenchmark("sleepers", &sleepers), 1'000'000);
  roving_perf::add_two_loops<loop>();
  return roving_perf::run_benchmarks(count, arguments, "libuv", uv_version_string());
}
