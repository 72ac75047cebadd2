// Tested: detail::blocking_pool, below everything that knows tasks. Nothing here waits for time to pass: where a thread
// must have come to a point, the test waits for that.
#include "scheduler/blocking_pool.hpp"

#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <mutex>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "scheduler/sanitizers.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/plain_signal.hpp"

using namespace roving::detail;
using roving_test::plain_signal;

namespace {

// Calls a function and says when it has ended.
class test_job : public job {
 public:
  explicit test_job(std::function<void()> f = [] {})
      : job{[](job& self) noexcept { static_cast<test_job&>(self).run_it(); },
            [](job& self, const std::exception_ptr& why) noexcept { static_cast<test_job&>(self).drop_it(why); }},
        function_{std::move(f)} {}

  void wait() { ended_.wait(); }
  [[nodiscard]] bool has_ended() { return ended_.is_set(); }
  [[nodiscard]] int runs() const { return runs_; }
  [[nodiscard]] std::string why_dropped() const {
    try {
      if (why_) std::rethrow_exception(why_);
    } catch (const std::exception& error) {
      return error.what();
    }
    return {};
  }

 private:
  void run_it() {
    ++runs_;
    function_();
    ended_.set();
  }
  void drop_it(const std::exception_ptr& why) {
    why_ = why;
    ended_.set();
  }

  std::function<void()> function_;
  int runs_ = 0;
  std::exception_ptr why_;
  plain_signal ended_;
};

// Goes on until it is told to end.
class held_job : public test_job {
 public:
  held_job()
      : test_job{[this] {
          begun_.set();
          may_end_.wait();
        }} {}

  void wait_until_begun() { begun_.wait(); }
  void let_end() { may_end_.set(); }

 private:
  plain_signal begun_;
  plain_signal may_end_;
};

struct told : ready_node {
  told() noexcept
      : ready_node{ready_kind::direct, [](ready_node& self) noexcept { static_cast<told&>(self).ended.set(); }} {}
  plain_signal ended;
};

void close(blocking_pool& pool) {
  told node;
  if (!pool.close(node)) node.ended.wait();
  pool.join();
}

void wait_until(const std::function<bool()>& holds) {
  while (!holds()) std::this_thread::yield();
}

// Threads that begin when they are told to, or that can't be had.
class held_threads : public thread_starter {
 public:
  std::unique_ptr<started_thread> start(std::function<void()> body) override {
    const std::lock_guard guard{mutex_};
    if (refuses_) throw std::runtime_error{"no thread for you"};
    plain_signal& begin = begins_.emplace_back();
    return system_thread_starter().start([body = std::move(body), &begin] {
      begin.wait();
      body();
    });
  }

  [[nodiscard]] std::size_t started() {
    const std::lock_guard guard{mutex_};
    return begins_.size();
  }
  void release(std::size_t which) {
    const std::lock_guard guard{mutex_};
    begins_[which].set();
  }
  void refuse() {
    const std::lock_guard guard{mutex_};
    refuses_ = true;
  }

 private:
  std::mutex mutex_;
  std::deque<plain_signal> begins_;
  bool refuses_ = false;
};

}  // namespace

TEST_CASE("blocking pool: it has no thread before there is a job", "[scheduler][blocking_pool]") {
  blocking_pool pool{{}};
  CHECK(pool.threads() == 0);
  std::thread::id ran_on;
  test_job work{[&] { ran_on = std::this_thread::get_id(); }};
  REQUIRE(pool.submit(work));
  work.wait();
  CHECK(work.runs() == 1);
  CHECK(ran_on != std::this_thread::get_id());
  CHECK(pool.threads() == 1);
  close(pool);
}

TEST_CASE("blocking pool: jobs that wait for each other all get a thread, up to the bound",
          "[scheduler][blocking_pool]") {
  constexpr std::size_t bound = 16;
  blocking_pool pool{{.threads_at_most = bound}};
  std::atomic<std::size_t> begun{0};
  std::deque<test_job> jobs;
  for (std::size_t i = 0; i < bound; ++i) {
    jobs.emplace_back([&] {
      ++begun;
      wait_until([&] { return begun == bound; });
    });
  }
  for (test_job& each : jobs) REQUIRE(pool.submit(each));
  for (test_job& each : jobs) each.wait();
  CHECK(pool.threads() == bound);
  close(pool);
  CHECK(pool.threads() == 0);
}

TEST_CASE("blocking pool: never more threads than the bound, and first come, first served",
          "[scheduler][blocking_pool]") {
  const std::size_t bound = GENERATE(1U, 3U);
  blocking_pool pool{{.threads_at_most = bound}};
  std::atomic<std::size_t> now{0};
  std::atomic<std::size_t> most{0};
  std::mutex mutex;
  std::vector<int> order;
  std::deque<test_job> jobs;
  for (int i = 0; i < 200; ++i) {
    jobs.emplace_back([&, i] {
      const std::size_t together = ++now;
      for (std::size_t seen = most; together > seen && !most.compare_exchange_weak(seen, together);) {
      }
      {
        const std::lock_guard guard{mutex};
        order.push_back(i);
      }
      std::this_thread::yield();
      --now;
    });
  }
  for (test_job& each : jobs) REQUIRE(pool.submit(each));
  for (test_job& each : jobs) each.wait();
  CHECK(most <= bound);
  CHECK(pool.threads() <= bound);
  REQUIRE(order.size() == 200);
  if (bound == 1) CHECK(std::is_sorted(order.begin(), order.end()));
  close(pool);
}

TEST_CASE("blocking pool: threads start one after the other, each for a job that waited that long",
          "[scheduler][blocking_pool]") {
  held_threads threads;
  blocking_pool pool{{.threads = &threads}};
  plain_signal go;
  std::deque<test_job> jobs;
  for (int i = 0; i < 3; ++i) jobs.emplace_back([&] { go.wait(); });
  for (test_job& each : jobs) REQUIRE(pool.submit(each));
  CHECK(threads.started() == 1);
  CHECK(pool.queued() == 3);

  threads.release(0);  // it takes a job and sees that two are left
  wait_until([&] { return threads.started() == 2; });
  CHECK(pool.queued() == 2);
  go.set();  // the first thread does all the rest before the second is there
  for (test_job& each : jobs) each.wait();
  CHECK(threads.started() == 2);
  threads.release(1);
  wait_until([&] { return pool.idle_threads() == 2; });
  close(pool);
}

TEST_CASE("blocking pool: the thread that became idle last is called first", "[scheduler][blocking_pool]") {
  blocking_pool pool{{}};
  plain_signal first_may_end;
  plain_signal second_may_end;
  std::thread::id second_thread;
  test_job first{[&] { first_may_end.wait(); }};
  test_job second{[&] {
    second_thread = std::this_thread::get_id();
    second_may_end.wait();
  }};
  REQUIRE(pool.submit(first));
  REQUIRE(pool.submit(second));
  wait_until([&] { return pool.queued() == 0 && pool.threads() == 2; });
  first_may_end.set();
  wait_until([&] { return pool.idle_threads() == 1; });
  second_may_end.set();
  wait_until([&] { return pool.idle_threads() == 2; });
  for (int i = 0; i < 10; ++i) {
    std::thread::id thread;
    test_job work{[&] { thread = std::this_thread::get_id(); }};
    REQUIRE(pool.submit(work));
    work.wait();
    wait_until([&] { return pool.idle_threads() == 2; });
    CHECK(thread == second_thread);
  }
  close(pool);
}

TEST_CASE("blocking pool: a thread that has nothing to do leaves", "[scheduler][blocking_pool]") {
  blocking_pool pool{{.idle_for = std::chrono::nanoseconds{0}}};
  for (int i = 0; i < 20; ++i) {
    test_job work;
    REQUIRE(pool.submit(work));
    work.wait();
    wait_until([&] { return pool.threads() == 0; });
  }
  close(pool);
}

TEST_CASE("blocking pool: no job is lost to a thread that leaves just then", "[scheduler][blocking_pool]") {
  const auto idle_for = GENERATE(std::chrono::nanoseconds{0}, std::chrono::nanoseconds{50000});
  constexpr int clients = 3;
  const int rounds = thread_sanitizer || address_sanitizer ? 2000 : 20000;
  blocking_pool pool{{.threads_at_most = 2, .idle_for = idle_for}};
  std::atomic<int> ran{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < clients; ++i) {
    threads.emplace_back([&] {
      for (int round = 0; round < rounds; ++round) {
        test_job work{[&] { ran.fetch_add(1, std::memory_order_relaxed); }};
        if (!pool.submit(work)) return;
        work.wait();
      }
    });
  }
  for (std::thread& each : threads) each.join();
  CHECK(ran == clients * rounds);
  close(pool);
}

TEST_CASE("C115 blocking pool: a job is taken back until a thread has it", "[scheduler][blocking_pool]") {
  blocking_pool pool{{.threads_at_most = 1}};
  held_job running;
  std::deque<test_job> queued(3);
  REQUIRE(pool.submit(running));
  for (test_job& each : queued) REQUIRE(pool.submit(each));
  running.wait_until_begun();
  CHECK_FALSE(pool.withdraw(running));
  CHECK(pool.withdraw(queued[1]));
  CHECK_FALSE(pool.withdraw(queued[1]));
  CHECK(pool.queued() == 2);
  running.let_end();
  queued[0].wait();
  queued[2].wait();
  CHECK(queued[1].runs() == 0);
  CHECK_FALSE(pool.withdraw(queued[0]));
  close(pool);
}

TEST_CASE("blocking pool: without a thread a job is dropped, and with one it waits for it",
          "[scheduler][blocking_pool]") {
  held_threads threads;
  blocking_pool pool{{.threads = &threads}};
  SECTION("none") {
    threads.refuse();
    test_job work;
    REQUIRE(pool.submit(work));
    work.wait();
    CHECK(work.runs() == 0);
    CHECK(work.why_dropped() == "no thread for you");
    CHECK(pool.threads() == 0);
  }
  SECTION("one") {
    held_job first;
    REQUIRE(pool.submit(first));
    threads.release(0);
    first.wait_until_begun();
    threads.refuse();
    test_job second;
    REQUIRE(pool.submit(second));
    CHECK_FALSE(second.has_ended());
    first.let_end();
    second.wait();
    CHECK(second.runs() == 1);
    CHECK(pool.threads() == 1);
  }
  close(pool);
}

TEST_CASE("C118 blocking pool: close runs what is queued, waits for it, then refuses", "[scheduler][blocking_pool]") {
  blocking_pool pool{{.threads_at_most = 1}};
  held_job running;
  std::deque<test_job> queued(3);
  REQUIRE(pool.submit(running));
  for (test_job& each : queued) REQUIRE(pool.submit(each));
  running.wait_until_begun();
  told node;
  REQUIRE_FALSE(pool.close(node));
  CHECK(pool.queued() == 3);
  CHECK(pool.withdraw(queued[1]));  // as before
  test_job late;
  CHECK_FALSE(pool.submit(late));
  CHECK_FALSE(node.ended.is_set());
  running.let_end();
  node.ended.wait();
  CHECK(running.has_ended());
  CHECK(queued[0].runs() == 1);
  CHECK(queued[1].runs() == 0);
  CHECK(queued[2].runs() == 1);
  pool.join();
  CHECK(pool.threads() == 0);
}

TEST_CASE("C118 blocking pool: jobs that wait for each other get their threads also after close",
          "[scheduler][blocking_pool]") {
  held_threads threads;
  blocking_pool pool{{.threads_at_most = 3, .threads = &threads}};
  std::atomic<int> begun{0};
  std::deque<test_job> jobs;
  for (int i = 0; i < 3; ++i) {
    jobs.emplace_back([&] {
      ++begun;
      wait_until([&] { return begun == 3; });
    });
  }
  for (test_job& each : jobs) REQUIRE(pool.submit(each));
  told node;
  REQUIRE_FALSE(pool.close(node));
  for (std::size_t i = 0; i < 3; ++i) {
    wait_until([&] { return threads.started() == i + 1; });
    threads.release(i);
  }
  node.ended.wait();
  for (const test_job& each : jobs) CHECK(each.runs() == 1);
  pool.join();
}

TEST_CASE("C118 blocking pool: idle threads do not hold up close", "[scheduler][blocking_pool]") {
  blocking_pool pool{{.idle_for = std::chrono::nanoseconds::max()}};
  test_job work;
  REQUIRE(pool.submit(work));
  work.wait();
  wait_until([&] { return pool.idle_threads() == 1; });
  close(pool);
  CHECK(pool.threads() == 0);
}

TEST_CASE("C118 blocking pool: an abandoned thread finishes alone, after the pool is gone, and does nothing more",
          "[scheduler][blocking_pool]") {
  held_job running;
  test_job queued;
  told node;
  {
    blocking_pool pool{{.threads_at_most = 1}};
    REQUIRE(pool.submit(running));
    REQUIRE(pool.submit(queued));
    running.wait_until_begun();
    REQUIRE_FALSE(pool.close(node));
    CHECK(pool.abandon(std::make_exception_ptr(std::runtime_error{"too late"})));
  }
  CHECK(queued.has_ended());
  CHECK(queued.runs() == 0);
  CHECK(queued.why_dropped() == "too late");
  running.let_end();
  running.wait();
  CHECK_FALSE(node.ended.is_set());
}

TEST_CASE("blocking pool: it may close while others submit", "[scheduler][blocking_pool]") {
  for (int round = 0; round < 50; ++round) {
    blocking_pool pool{{.threads_at_most = 2}};
    std::atomic<bool> refused{false};
    std::atomic<int> ended{0};
    std::thread client{[&] {
      for (;;) {
        test_job work;
        if (!pool.submit(work)) break;
        work.wait();
        ++ended;
      }
      refused = true;
    }};
    wait_until([&] { return ended > 3; });
    close(pool);
    client.join();
    CHECK(refused);
  }
}
