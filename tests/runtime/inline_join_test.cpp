// Tested: inline join (D9, scheduler/inline_join.hpp). A roving task that waits for one which nobody has started runs
// it on its own stack; that it did is seen by the address of a local. Whatever happens to the child must look as if it
// had a stack of its own.
#include <atomic>
#include <cstdint>
#include <memory>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/runtime/placed.hpp"
#include "tests/runtime/same_stack.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using roving_test::is_same_stack;
using roving_test::park;
using roving_test::run_in;
using roving_test::stack_address;
using roving_test::thrown_by;

namespace {

// On one shard, in a roving task, so that nobody else can start the child.
template <class Body>
void run_roving(Body body) {
  CHECK(run_in({1, true}, body) == 0);
}

int fib(int n) {
  if (n < 2) return n;
  auto left = roving::spawn([n] { return fib(n - 1); });
  const int right = fib(n - 2);
  return left.get() + right;
}

}  // namespace

TEST_CASE("inline join: get() runs a child that nobody has started on the parent's stack, as the child", "[inline]") {
  run_roving([] {
    const std::uintptr_t mine = stack_address();
    const roving::task_view parent = roving::this_task::handle();
    static roving::context_var<int> depth{0};
    depth.set(1);
    auto child = roving::spawn(roving::attributes{.name = "the child"}, [mine, parent] {
      CHECK(is_same_stack(stack_address(), mine));
      CHECK_FALSE(roving::this_task::handle() == parent);
      CHECK(roving::this_task::name() == "the child");
      CHECK(std::string{parent.waits_in()} == "task::get");
      CHECK(depth.get() == 1);
      depth.set(2);
      return 7;
    });
    CHECK(child.get() == 7);
    CHECK(roving::this_task::handle() == parent);
    CHECK(parent.waits_in() == nullptr);
    CHECK(depth.get() == 1);
  });
}

TEST_CASE("inline join: a pinned task and a roving one do not run each other", "[inline]") {
  const bool parent_roves = GENERATE(true, false);
  CHECK(run_in({1, parent_roves}, [parent_roves] {
          const std::uintptr_t mine = stack_address();
          std::uintptr_t theirs = mine;
          roving::spawn(parent_roves ? roving::here : roving::anywhere, [&] { theirs = stack_address(); }).get();
          CHECK_FALSE(is_same_stack(theirs, mine));
        }) == 0);
}

TEST_CASE("inline join: join(), join_for() and wait() do not: they may come back before the child", "[inline]") {
  run_roving([] {
    const std::uintptr_t mine = stack_address();
    std::uintptr_t theirs = mine;
    const auto child = roving::spawn([&] { theirs = stack_address(); });
    child.join();
    CHECK_FALSE(is_same_stack(theirs, mine));
  });
}

TEST_CASE("inline join: a child may park, yield and be woken; neighbours run meanwhile", "[inline]") {
  run_roving([] {
    roving::event go;
    std::string order;
    auto child = roving::spawn([&] {
      order += "a";
      go.wait();
      order += "c";
      roving::yield();
      return 3;
    });
    auto neighbour = roving::spawn([&] {
      order += "b";
      go.set();
    });
    CHECK(child.get() == 3);
    neighbour.get();
    CHECK(order == "abc");
  });
}

TEST_CASE("inline join: exceptions are the child's own, also where the parent handles one", "[inline]") {
  run_roving([] {
    try {
      throw std::runtime_error{"the parent's"};
    } catch (const std::runtime_error&) {
      auto child = roving::spawn([] {
        CHECK(std::current_exception() == nullptr);
        CHECK(std::uncaught_exceptions() == 0);
        try {
          throw std::runtime_error{"the child's"};
        } catch (...) {
          roving::yield();
          throw;
        }
      });
      CHECK(thrown_by([&] { child.get(); }) == "the child's");
      CHECK(thrown_by([] { throw; }) == "the parent's");
    }
  });
}

TEST_CASE("inline join: in a destructor that unwinds, the child is not taken for one that unwinds", "[inline]") {
  run_roving([] {
    struct joins {
      ~joins() {
        auto child = roving::spawn([] {
          roving::this_task::cancel();
          roving::yield();
        });
        seen = thrown_by([&] { child.get(); });
      }
      std::string& seen;
    };
    std::string seen;
    CHECK(thrown_by([&] {
            const joins at_end{seen};
            throw std::runtime_error{"out"};
          }) == "out");
    CHECK(seen == "cancelled");
  });
}

TEST_CASE("inline join: a cancel of the parent reaches the child, with its message", "[inline]") {
  run_roving([] {
    std::string seen_by_child;
    std::string seen_by_parent;
    auto parent = roving::spawn([&] {
      auto child = roving::spawn([&] {
        seen_by_child = thrown_by([] { park(); });
        throw roving::cancelled{"on its way"};
      });
      seen_by_parent = thrown_by([&] { child.get(); });
      CHECK(roving::this_task::cancelling() == 1);
    });
    auto canceller = roving::spawn([&] { CHECK(parent.cancel("enough")); });
    parent.get();
    canceller.get();
    CHECK(seen_by_child == "cancelled: enough");
    CHECK(seen_by_parent == "cancelled: on its way");
  });
}

TEST_CASE("inline join: a cancel that is pending ends the child before its first step", "[inline]") {
  run_roving([] {
    bool began = false;
    auto parent = roving::spawn([&] {
      auto child = roving::spawn([&] { began = true; });
      roving::this_task::cancel("early");
      CHECK(thrown_by([&] { child.get(); }) == "cancelled: early");
    });
    parent.get();
    CHECK_FALSE(began);
  });
}

TEST_CASE("inline join: what the child swallows is the child's; no_cancel holds back what comes meanwhile",
          "[inline]") {
  run_roving([] {
    auto parent = roving::spawn([&] {
      const roving::task_view self = roving::this_task::handle();
      auto stubborn = roving::spawn([self] {
        self.cancel();
        CHECK(thrown_by([] { roving::yield(); }) == "cancelled");
        return 1;
      });
      CHECK(stubborn.get() == 1);  // the cancel was taken by the child
      CHECK(thrown_by([] { roving::yield(); }) == "nothing");
      {
        const roving::no_cancel hold_back;
        auto other = roving::spawn([self] {
          self.cancel();
          CHECK(thrown_by([] { roving::yield(); }) == "nothing");
          return 2;
        });
        CHECK(other.get() == 2);
      }
      CHECK(thrown_by([] { roving::yield(); }) == "cancelled");
    });
    parent.get();
  });
}

TEST_CASE("inline join: a cancel that the child does not take any more is thrown by the same get()", "[inline]") {
  run_roving([] {
    bool came_back = false;
    auto parent = roving::spawn([&] {
      const roving::task_view self = roving::this_task::handle();
      auto child = roving::spawn([self] {
        const roving::no_cancel hold_back;
        self.cancel("late");  // goes to the child, which ends before it could throw it: the child counts as cancelled
      });
      CHECK(thrown_by([&] { child.get(); }) == "cancelled: late");
      came_back = true;
    });
    parent.get();
    CHECK(came_back);
  });
}

TEST_CASE("inline join: where too little of the stack is left, the child gets a stack of its own", "[inline]") {
  run_roving([] {
    const std::uintptr_t mine = stack_address();
    std::uintptr_t theirs = mine;
    roving::spawn(roving::attributes{.stack_size_bytes = 1024 * 1024}, [&] { theirs = stack_address(); }).get();
    CHECK_FALSE(is_same_stack(theirs, mine));

    struct nest {  // goes down until a child is on another stack
      static int run(int levels, std::uintptr_t parent) {
        volatile char frame[4096];
        frame[0] = 1;
        auto child = roving::spawn([levels, parent] {
          const std::uintptr_t here = stack_address();
          if (!is_same_stack(here, parent) || levels > 1000) return levels;
          return run(levels + 1, here);
        });
        return child.get() + (frame[0] - 1);
      }
    };
    const int levels = nest::run(0, stack_address());
    CHECK(levels > 2);
    CHECK(levels < 1000);
  });
}

TEST_CASE("inline join: a group runs its newest children inline when it is left, and gather() its callables",
          "[inline]") {
  run_roving([] {
    const std::uintptr_t mine = stack_address();
    std::vector<int> order;
    int inline_ones = 0;
    roving::with_task_group([&](roving::task_group& group) {
      for (int i = 0; i < 5; ++i)
        group.spawn([&, i] {
          order.push_back(i);
          inline_ones += is_same_stack(stack_address(), mine) ? 1 : 0;
        });
    });
    CHECK(order == std::vector<int>{4, 3, 2, 1, 0});
    CHECK(inline_ones == 5);

    inline_ones = 0;
    const auto one = [&] { inline_ones += is_same_stack(stack_address(), mine) ? 1 : 0; };
    roving::gather(one, one, one);
    CHECK(inline_ones == 3);
    roving::gather_settled(one, one);
    CHECK(inline_ones == 5);
  });
}

TEST_CASE("inline join: a group's child that fails inline cancels its siblings; all is as without", "[inline]") {
  run_roving([] {
    int began = 0;
    int ended = 0;
    CHECK(roving_test::group_errors([&](roving::task_group& group) {
            for (int i = 0; i < 3; ++i)
              group.spawn([&] {
                ++began;
                try {
                  park();
                } catch (const roving::cancelled&) {
                  ++ended;
                  throw;
                }
              });
            while (began < 3) roving::yield();
            group.spawn([] { throw std::runtime_error{"first"}; });
            group.spawn([] { roving::yield(); });
          }) == "first");
    CHECK(ended == 3);
    CHECK(roving::this_task::cancelling() == 0);
    CHECK(thrown_by([] { roving::yield(); }) == "nothing");
  });
}

TEST_CASE("inline join: a cancel of the parent, while a child runs inline, stops the whole group at once", "[inline]") {
  run_roving([] {
    std::string ends;
    auto parent = roving::spawn([&] {
      CHECK(roving_test::group_errors([&](roving::task_group& group) {
              group.spawn([&] {
                ends += thrown_by([] { park(); }) + " ";
                throw roving::cancelled{};
              });
              group.spawn([&] {  // inline; takes a while to obey
                ends += thrown_by([] { park(); }) + " ";
                roving::yield();
                ends += "last";
                throw roving::cancelled{};
              });
            }) == "cancelled");
      CHECK(roving::this_task::cancelling() == 1);
    });
    while (!parent.cancelling()) {
      roving::yield();
      const auto all = roving::all_tasks();
      if (std::count_if(all.begin(), all.end(), [](const auto& each) {
            const char* const in = each.waits_in();
            return in != nullptr && std::string{in} == "sleep_for";
          }) == 2)
        parent.cancel();
    }
    parent.get();
    CHECK(ends == "cancelled cancelled last");
  });
}

TEST_CASE("inline join: a cancel that comes between two inline children is not lost", "[inline]") {
  run_roving([] {
    auto parent = roving::spawn([&] {
      const roving::task_view self = roving::this_task::handle();
      int began = 0;
      CHECK(roving_test::group_errors([&](roving::task_group& group) {
              group.spawn([&] { ++began; });
              group.spawn([&, self] {
                const roving::no_cancel hold_back;  // so that the child does not throw it
                self.cancel();
                ++began;
              });
            }) == "cancelled");
      CHECK(began == 1);  // the other was cancelled before its first step
    });
    parent.get();
  });
}

TEST_CASE("inline join: pinned tasks, woken ones and timers do not wait for a long recursion", "[inline]") {
  bool ran_pinned = false;
  int pinned_after = 0;
  CHECK(run_in({1, true}, [&] {
          auto neighbour = roving::spawn(roving::on_shard(0), [&] { ran_pinned = true; });
          int calls = 0;
          for (int i = 0; i < 100'000 && !ran_pinned; ++i) {
            roving::spawn([&] { ++calls; }).get();
            ++pinned_after;
          }
          neighbour.get();
        }) == 0);
  CHECK(ran_pinned);
  CHECK(pinned_after < 10'000);
}

TEST_CASE("inline join: entries that stay behind are dropped, whoever comes upon them", "[inline]") {
  const unsigned shards = GENERATE(1u, 2u);
  bool sums_are_right = true;
  CHECK(run_in({shards, true}, [&] {
          // Oldest first, so that none can be taken back; more than a queue holds, so that some spill.
          for (int round = 0; round < 20; ++round) {
            std::vector<roving::task<int>> children;
            for (int i = 0; i < 700; ++i) children.push_back(roving::spawn([i] { return i; }));
            int sum = 0;
            for (auto& each : children) sum += each.get();
            sums_are_right = sums_are_right && sum == 700 * 699 / 2;
          }
          // Some that are still there when the runtime closes.
          auto first = roving::spawn([] { return 1; });
          auto second = roving::spawn([] { return 2; });
          sums_are_right = sums_are_right && first.get() == 1 && second.get() == 2;
        }) == 0);
  CHECK(sums_are_right);
}

TEST_CASE("inline join: recursion, on 1, 2 and 4 shards", "[inline]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  int result = 0;
  CHECK(run_in({shards, true}, [&] { result = fib(20); }) == 0);
  CHECK(result == 6765);
}

TEST_CASE("inline join: children that park migrate with their parents below them", "[inline]") {
  const unsigned shards = GENERATE(2u, 4u);
  std::atomic<long> sum{0};
  CHECK(run_in({shards, true}, [&] {
          struct tree {
            static long grow(int depth) {
              roving::yield();
              if (depth == 0) return 1;
              try {
                throw depth;
              } catch (int thrown) {
                auto [left, right] =
                    roving::gather([depth] { return grow(depth - 1); }, [depth] { return grow(depth - 1); });
                roving::yield();
                if (thrown != depth) return -1'000'000;
                return left + right;
              }
            }
          };
          sum = tree::grow(roving::detail::thread_sanitizer ? 7 : 10);
        }) == 0);
  CHECK(sum == (roving::detail::thread_sanitizer ? 128 : 1024));
}

TEST_CASE("inline join: several wait for one task, from several shards; it runs once", "[inline]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  constexpr int rounds = 200;
  std::atomic<int> runs{0};
  std::atomic<int> seen{0};
  CHECK(run_in({shards, true}, [&] {
          for (int round = 0; round < rounds; ++round) {
            const auto shared = roving::spawn([&] { return ++runs; });
            std::vector<roving::task<void>> waiters;
            for (int i = 0; i < 4; ++i) waiters.push_back(roving::spawn([&] { seen += shared.get() > 0; }));
            for (auto& each : waiters) each.get();
          }
        }) == 0);
  CHECK(runs == rounds);
  CHECK(seen == 4 * rounds);
}

TEST_CASE("inline join: cancels from elsewhere race with it", "[inline]") {
  const unsigned shards = GENERATE(2u, 4u);
  std::atomic<int> ended{0};
  const int rounds = roving_test::rounds(3000);
  CHECK(run_in({shards, true}, [&] {
          for (int round = 0; round < rounds; ++round) {
            auto parent = roving::spawn([] {
              roving::with_task_group([](roving::task_group& group) {
                for (int i = 0; i < 3; ++i)
                  group.spawn([] {
                    roving::yield();
                    return roving::spawn([] { roving::yield(); }).get();
                  });
              });
            });
            auto canceller = roving::spawn([&parent] { parent.cancel(); });
            const std::string how = thrown_by([&] { parent.get(); });
            canceller.get();
            ended += how == "nothing" || how == "cancelled";
          }
        }) == 0);
  CHECK(ended == rounds);
}
