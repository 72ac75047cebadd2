// Tested: the k-th thread can't be started, for every k. A runtime is not made, says which thread it was and leaves
// none behind; a pool goes on with the threads that it has, and without any says so.
#include <atomic>
#include <cerrno>
#include <string>
#include <system_error>
#include <thread>

#include "scheduler/thread.hpp"
#include "tests/faults/faults.hpp"
#include "tests/faults/seams.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;

namespace {

// Threads of the system, of which one can't be had, or that one and all that follow.
class scarce_threads final : public roving::detail::thread_starter {
 public:
  explicit scarce_threads(unsigned first, bool all_that_follow = false)
      : first_{first}, all_that_follow_{all_that_follow} {}

  std::unique_ptr<roving::detail::started_thread> start(std::function<void()> body) override {
    const unsigned number = ++asked_;
    if (number == first_ || (all_that_follow_ && number > first_))
      throw std::system_error{EAGAIN, std::system_category()};
    return roving::detail::system_thread_starter().start([this, body = std::move(body)] {
      ++alive_;
      body();
      --alive_;
    });
  }

  [[nodiscard]] unsigned asked() const { return asked_; }
  [[nodiscard]] int alive() const { return alive_; }

 private:
  const unsigned first_;
  const bool all_that_follow_;
  std::atomic<unsigned> asked_{0};
  std::atomic<int> alive_{0};
};

roving::runtime make_runtime(unsigned shards, scarce_threads& threads, unsigned blocking_threads) {
  roving::options how = test::quiet({shards, false});
  how.blocking_threads_at_most = blocking_threads;
  return test::make_runtime(how, [&](roving::detail::scheduler_options& seams) {
    seams.threads = &threads;
    seams.make_compute_pool = {};
  });
}

}  // namespace

TEST_CASE("faults: a shard's thread that can't be started is named, and none is left", "[faults][threads]") {
  const test::bounded bound{20};
  constexpr unsigned shards = 4;
  for (unsigned first = 1; first < shards; ++first) {
    test::bounded::at("thread %u of a runtime", first);
    const std::size_t descriptors = test::open_descriptors();
    scarce_threads threads{first};
    const std::exception_ptr error = test::error_of([&] { make_runtime(shards, threads, 1); });
    REQUIRE(error);
    CHECK_THROWS_AS(std::rethrow_exception(error), std::system_error);
    CHECK(test::text_of(error).find("the thread of shard " + std::to_string(first) + " of 4 can't be started") !=
          std::string::npos);
    CHECK(threads.asked() == first);
    CHECK(threads.alive() == 0);
    CHECK(test::open_descriptors() == descriptors);
    int ran = 0;
    roving::run(test::quiet({shards, false}), [&] {  // another one can be had
      ran = roving::spawn(roving::on_shard(shards - 1), [] { return 1; }).get();
    });
    CHECK(ran == 1);
  }
}

TEST_CASE("faults: blocking() goes on with the threads that can be had", "[faults][threads]") {
  const test::bounded bound{20};
  constexpr unsigned threads_at_most = 4;
  const bool all_that_follow = GENERATE(false, true);
  for (unsigned first = 1; first <= threads_at_most; ++first) {
    test::bounded::at("thread %u of a pool", first);
    scarce_threads threads{first, all_that_follow};
    unsigned done = 0;
    unsigned refused = 0;
    std::string text;
    {
      roving::runtime runtime = make_runtime(1, threads, threads_at_most);
      runtime.run([&] {
        const auto call = [&] {
          try {
            done += roving::blocking([] {
              std::this_thread::yield();
              return 1U;
            });
          } catch (const std::system_error& error) {
            ++refused;
            text = error.what();
            if (error.code() != std::errc::resource_unavailable_try_again) text = "another code";
          }
        };
        for (int round = 0; round < 3; ++round)
          roving::gather([&] { call(); }, [&] { call(); }, [&] { call(); }, [&] { call(); }, [&] { call(); });
      });
    }
    CHECK(done + refused == 15);
    if (first > 1) CHECK(refused == 0);
    if (first == 1) {
      CHECK(refused > 0);
      CHECK(text.find("no thread can be started for the work of a pool") != std::string::npos);
      CHECK((done == 0) == all_that_follow);
    }
    CHECK(threads.alive() == 0);
  }
}

TEST_CASE("faults: a pool of one's own without threads drops its work and says so", "[faults][threads]") {
  const test::bounded bound{20};
  scarce_threads threads{1, true};
  std::string reported;
  bool was_cancelled = false;
  {
    roving::options how = test::quiet({1, false});
    roving::runtime runtime = make_runtime(1, threads, 1);
    runtime.run([&] {
      roving::blocking_pool_options options;
      options.on_unhandled = [&](const roving::unhandled& what) {
        reported = what.message + ": " + test::text_of(what.error);
      };
      roving::blocking_pool own{options};
      auto future = roving::submit(own, [] { return 1; });
      try {
        (void)future.get();
      } catch (const roving::cancelled&) {
        was_cancelled = true;
      }
    });
  }
  CHECK(was_cancelled);
  CHECK(reported.find("no thread can be") != std::string::npos);
  CHECK(reported.find("Resource temporarily unavailable") != std::string::npos);
}
