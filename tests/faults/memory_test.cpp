// Tested: the i-th system call for stacks fails, for every i. Whoever needed the stack gets stack_exhausted with a text
// that says what to do; the pool stays whole, the runtime goes on, and all is unmapped in the end.
#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "tests/faults/faults.hpp"
#include "tests/faults/seams.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using roving::detail::memory_calls;
using roving::detail::memory_range;
using test::world;

namespace {

enum class guards { of_the_kernel, by_protection };

// The table has no state of its own, so this is global. What fails is one call, or that one and all that follow.
struct {
  std::atomic<unsigned> calls{0};
  std::atomic<unsigned> first{0};
  std::atomic<bool> all_that_follow{false};
  std::atomic<bool> has_kernel_guards{true};
  std::atomic<std::int64_t> mapped_bytes{0};

  bool fails() {
    const unsigned number = ++calls;
    return number == first || (all_that_follow && first != 0 && number > first);
  }
} memory;

const memory_calls& system_memory() { return memory_calls::of_the_system(); }

constexpr memory_calls failing_memory{
    .map =
        [](std::size_t size_bytes, void** at) noexcept {
          if (memory.fails()) return ENOMEM;
          const int error = system_memory().map(size_bytes, at);
          if (error == 0) memory.mapped_bytes += static_cast<std::int64_t>(size_bytes);
          return error;
        },
    .unmap =
        [](void* address, std::size_t size_bytes) noexcept {
          memory.mapped_bytes -= static_cast<std::int64_t>(size_bytes);
          return system_memory().unmap(address, size_bytes);
        },
    .install_guard =
        [](void* address, std::size_t size_bytes) noexcept {
          if (!memory.has_kernel_guards) return EINVAL;
          if (memory.fails()) return ENOMEM;
          const int error = system_memory().install_guard(address, size_bytes);
          return error == EINVAL ? system_memory().protect(address, size_bytes) : error;  // an older kernel, here
        },
    .protect =
        [](void* address, std::size_t size_bytes) noexcept {
          return memory.fails() ? ENOMEM : system_memory().protect(address, size_bytes);
        },
    .give_back =
        [](std::span<const memory_range> ranges) noexcept {
          return memory.fails() ? ranges.size() : system_memory().give_back(ranges);
        },
};

void fail_from(unsigned first, bool all_that_follow) {
  memory.calls = 0;
  memory.first = first;
  memory.all_that_follow = all_that_follow;
}

struct outcome_of_run {
  unsigned ended = 0;      // tasks that got a stack
  unsigned exhausted = 0;  // tasks that got none, and said so
  std::string wrong;
};

// Many at once, each with a stack of its own.
outcome_of_run tasks_at_once() {
  constexpr unsigned many = 24;
  outcome_of_run seen;
  roving::event go_on;
  std::vector<roving::task<unsigned>> tasks;
  for (unsigned i = 0; i < many; ++i)
    tasks.push_back(roving::spawn([&] {
      go_on.wait();
      return 1U;
    }));
  for (int i = 0; i < 3; ++i) roving::yield();
  go_on.set();
  for (auto& each : tasks) {
    try {
      seen.ended += each.get();
    } catch (const roving::detail::stack_exhausted& error) {
      ++seen.exhausted;
      if (error.code() != std::errc::not_enough_memory || std::strstr(error.what(), "stack of") == nullptr)
        seen.wrong = error.what();
    } catch (...) {
      seen.wrong = test::text_of(std::current_exception());
    }
  }
  if (seen.ended + seen.exhausted != many) seen.wrong += "; a task is missing";
  return seen;
}

// A body that has its own stack, one that is eager, and one on which a generator is left to the end.
void other_users() {
  const auto ignoring_exhaustion = [](auto&& f) {
    try {
      f();
    } catch (const roving::detail::stack_exhausted&) {
    }
  };
  ignoring_exhaustion([] {
    roving::generator<int> numbers{[](auto& yield_value) {
      roving::yield();
      yield_value(1);
      yield_value(2);
    }};
    (void)numbers.next();
  });
  ignoring_exhaustion([] {
    roving::spawn(roving::attributes{.placement = roving::here, .eager = true}, [] { roving::yield(); }).get();
  });
}

}  // namespace

TEST_CASE("faults: each system call for a stack fails, alone and with all that follow", "[faults][memory]") {
  const test::bounded bound{120};
  const world where = GENERATE(world{1, false}, world{1, true}, world{2, false}, world{2, true});
  const guards how = GENERATE(guards::of_the_kernel, guards::by_protection);
  const bool all_that_follow = GENERATE(false, true);
  memory.has_kernel_guards = how == guards::of_the_kernel;

  unsigned runs = 0;
  unsigned failed_starts = 0;
  unsigned exhausted = 0;
  std::string wrong;
  for (unsigned first = 0, calls = 0; first <= calls && wrong.empty(); ++first, ++runs) {  // 0: none fails
    test::bounded::at("system call %u for stacks, %u shards", first, where.shards);
    memory.mapped_bytes = 0;
    fail_from(first, all_that_follow);
    std::shared_ptr<roving::generator<int>> left_over;
    {
      roving::runtime runtime = test::make_runtime(test::quiet(where), [](roving::detail::scheduler_options& seams) {
        seams.stacks = {.reservation_bytes = 4 * (256 + 4) * 1024, .warm_stacks_at_most = 2, .calls = &failing_memory};
      });
      outcome_of_run seen;
      const std::exception_ptr error = test::error_of([&] {
        test::run_in(runtime, where, [&] {
          seen = tasks_at_once();
          other_users();
        });
      });
      calls = std::max(calls, memory.calls.load());
      exhausted += seen.exhausted;
      if (error) {  // the main task had none
        ++failed_starts;
        const std::string text = test::text_of(error);
        if (text.find("stack of") == std::string::npos) wrong = "run() threw " + text;
      } else {
        wrong = seen.wrong;
      }
      fail_from(0, false);
      outcome_of_run again;
      test::run_in(runtime, where, [&] {  // as if nothing had been
        again = tasks_at_once();
        left_over = std::make_shared<roving::generator<int>>([](auto& yield_value) { yield_value(1); });
        (void)left_over->next();
      });
      if (again.exhausted != 0 || !again.wrong.empty()) wrong += "; the second run: " + again.wrong;
      const roving::detail::stack_counters stacks =
          roving::detail::runtime_access::scheduler_of(runtime).stacks().counters();
      if (stacks.made != stacks.out + stacks.warm + stacks.cold) wrong += "; a stack is nowhere";
    }
    if (memory.mapped_bytes != 0) wrong += "; not all was unmapped";
    if (!wrong.empty()) wrong = "call " + std::to_string(first) + ": " + wrong;
  }
  INFO(wrong);
  CHECK(wrong.empty());
  CHECK(exhausted > 0);
  CHECK(failed_starts > 0);
  test::show("memory: %u shards, %s, %s, %s: %u runs, %u tasks without a stack\n", where.shards,
             where.is_roving ? "roving" : "pinned", how == guards::of_the_kernel ? "kernel guards" : "protected guards",
             all_that_follow ? "all that follow" : "one call", runs, exhausted);
}

TEST_CASE("faults: a generator that is left is unwound as soon as there is a stack for that", "[faults][memory]") {
  const test::bounded bound{20};
  memory.has_kernel_guards = true;
  memory.mapped_bytes = 0;
  fail_from(0, false);
  bool was_unwound = false;
  std::shared_ptr<roving::generator<int>> left_over;
  {
    roving::runtime runtime = test::make_runtime(test::quiet({1, false}), [](roving::detail::scheduler_options& seams) {
      seams.stacks = {.reservation_bytes = 1, .warm_stacks_at_most = 0, .calls = &failing_memory};
    });
    runtime.run([&] {
      left_over = std::make_shared<roving::generator<int>>(roving::generator_attributes{.stack_size_bytes = 128 * 1024},
                                                           [&](auto& yield_value) {
                                                             struct ending {
                                                               bool& seen;
                                                               ~ending() { seen = true; }
                                                             } const end{was_unwound};
                                                             yield_value(1);
                                                           });
      (void)left_over->next();
      for (int i = 0; i < 200; ++i) roving::spawn([] { roving::sleep_for(1h); }).detach();  // none is warm at the end
      roving::yield();
    });
    fail_from(1, false);  // the stack of the task that unwinds it
  }
  CHECK(was_unwound);
  CHECK(memory.mapped_bytes == 0);
}
