// Boost.Asio: one io_context for one thread, by callbacks and by coroutines (C++20's).
//
// The context is told that one thread runs it, and stays one that others may post to.
#include <chrono>
#include <cstddef>
#include <functional>
#include <utility>
#include <vector>

#include <boost/asio.hpp>
#include <boost/asio/experimental/channel.hpp>
#include <boost/version.hpp>

#include "perf/peers/peer.hpp"

namespace {

namespace asio = boost::asio;
using asio::use_awaitable;
using roving_perf::batch_of_switches;
using roving_perf::steady;

// --- callbacks

struct poster {
  asio::io_context& context;
  benchmark::IterationCount& left;
  void operator()() const {
    if (--left > 0) asio::post(context, *this);
  }
};

// Two handlers that post themselves.
void yield_callbacks(benchmark::State& state) {
  asio::io_context context{1};
  while (state.KeepRunningBatch(batch_of_switches)) {
    benchmark::IterationCount left = batch_of_switches;
    asio::post(context, poster{context, left});
    asio::post(context, poster{context, left});
    context.restart();
    context.run();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(yield_callbacks)->Name("yield/callbacks");

void spawn_1000_then_join_callbacks(benchmark::State& state) {
  constexpr int batch = 1000;
  asio::io_context context{1};
  for (auto _ : state) {
    int done = 0;
    for (int i = 0; i < batch; ++i) asio::post(context, [&done] { ++done; });
    context.restart();
    context.run();
    if (done != batch) return state.SkipWithError("a handler did not run");
  }
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(spawn_1000_then_join_callbacks)->Name("spawn_1000_then_join/callbacks");

// The handler of what was cancelled has to run, which is part of it: a thousand at a time. Another timer ends before
// it, as there is in most programs: each that is the next to end costs a system call.
void timer_set_cancel(benchmark::State& state) {
  constexpr benchmark::IterationCount batch = 1000;
  asio::io_context context{1};
  asio::steady_timer earlier{context, std::chrono::minutes{30}};
  earlier.async_wait([](const boost::system::error_code&) {});
  asio::steady_timer timer{context};
  const auto deadline = steady::now() + std::chrono::hours{1};
  while (state.KeepRunningBatch(batch)) {
    for (auto left = batch; left != 0; --left) {
      timer.expires_at(deadline);
      timer.async_wait([](const boost::system::error_code&) {});
      timer.cancel();
    }
    context.restart();
    context.poll();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(timer_set_cancel);

// --- coroutines

// Runs a coroutine to its end.
template <class Function>
void run_coroutine(Function f) {
  asio::io_context context{1};
  asio::co_spawn(context, f(), asio::detached);
  context.run();
}

void yield_coroutines(benchmark::State& state) {
  asio::io_context context{1};
  const auto yield_half = []() -> asio::awaitable<void> {
    const auto executor = co_await asio::this_coro::executor;
    for (auto left = batch_of_switches / 2; left != 0; --left) co_await asio::post(executor, use_awaitable);
  };
  while (state.KeepRunningBatch(batch_of_switches)) {
    asio::co_spawn(context, yield_half(), asio::detached);
    asio::co_spawn(context, yield_half(), asio::detached);
    context.restart();
    context.run();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(yield_coroutines)->Name("yield/coroutines");

asio::awaitable<void> nothing() { co_return; }

void spawn_and_join(benchmark::State& state) {
  run_coroutine([&]() -> asio::awaitable<void> {
    const auto executor = co_await asio::this_coro::executor;
    for (auto _ : state) co_await asio::co_spawn(executor, nothing(), use_awaitable);
  });
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(spawn_and_join)->Name("spawn_and_join/coroutines");

// The last one to end wakes who waits for all.
void spawn_1000_then_join_coroutines(benchmark::State& state) {
  constexpr int batch = 1000;
  run_coroutine([&]() -> asio::awaitable<void> {
    const auto executor = co_await asio::this_coro::executor;
    asio::experimental::channel<void(boost::system::error_code)> all_done{executor, 1};
    for (auto _ : state) {
      int left = batch;
      for (int i = 0; i < batch; ++i) {
        asio::co_spawn(executor, nothing(), [&](const std::exception_ptr&) {
          if (--left == 0) all_done.try_send(boost::system::error_code{});
        });
      }
      co_await all_done.async_receive(use_awaitable);
    }
  });
  state.SetItemsProcessed(state.iterations() * batch);
}
BENCHMARK(spawn_1000_then_join_coroutines)->Name("spawn_1000_then_join/coroutines");

void hop(benchmark::State& state) {
  using channel = asio::experimental::channel<void(boost::system::error_code)>;
  asio::io_context context{1};
  const auto play = [](channel& mine, channel& others) -> asio::awaitable<void> {
    for (auto left = batch_of_switches / 2; left != 0; --left) {
      co_await mine.async_receive(use_awaitable);
      others.try_send(boost::system::error_code{});
    }
  };
  while (state.KeepRunningBatch(batch_of_switches)) {
    channel there{context, 2};
    channel back{context, 2};
    there.try_send(boost::system::error_code{});
    asio::co_spawn(context, play(there, back), asio::detached);
    asio::co_spawn(context, play(back, there), asio::detached);
    context.restart();
    context.run();
  }
  state.SetItemsProcessed(state.iterations());
}
BENCHMARK(hop)->Name("hop/coroutines");

asio::awaitable<void> sleep(roving_perf::sleepers& all, std::chrono::nanoseconds span) {
  asio::steady_timer timer{co_await asio::this_coro::executor};
  const auto deadline = steady::now() + span;
  timer.expires_at(deadline);
  co_await timer.async_wait(use_awaitable);
  all.woke(deadline);
}

void sleepers(benchmark::State& state) {
  const auto spans = roving_perf::random_spans(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    asio::io_context context{1};
    auto keep = asio::make_work_guard(context);  // who polls a context that has nothing left stops it
    roving_perf::sleepers all{state};
    std::size_t made = 0;
    for (const auto span : spans) {
      asio::co_spawn(context, sleep(all, span), asio::detached);
      if (++made % roving_perf::sleepers::at_a_time == 0) context.poll();
    }
    all.all_are_there();
    keep.reset();
    context.run();
    all.report();
  }
}

// --- two threads

class loop {
 public:
  explicit loop(std::function<void()> on_ring) : on_ring_{std::move(on_ring)} {}
  void ring() {
    asio::post(context_, [this] { on_ring_(); });
  }
  void run() { context_.run(); }
  void stop() { context_.stop(); }
  void after(std::chrono::microseconds span, std::function<void()> f) {
    timer_.expires_after(span);
    timer_.async_wait([f = std::move(f)](const boost::system::error_code&) { f(); });
  }

 private:
  asio::io_context context_{1};
  asio::executor_work_guard<asio::io_context::executor_type> keep_{context_.get_executor()};
  asio::steady_timer timer_{context_};
  std::function<void()> on_ring_;
};

}  // namespace

int main(int count, char** arguments) {
  roving_perf::as_sleepers(benchmark::RegisterBenchmark("sleepers/coroutines", &sleepers), 1'000'000);
  roving_perf::add_two_loops<loop>("/callbacks");
  return roving_perf::run_benchmarks(count, arguments, "Boost.Asio", BOOST_LIB_VERSION);
}
