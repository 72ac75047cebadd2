// Tested: inline join of pinned tasks (D9, scheduler/inline_join.hpp): it saves a stack and two switches and changes
// nothing else. The order is that of asyncio; that a child ran inline is seen by the address of a local. And that a
// parent whose wait is written down late is there in time for whoever could see it.
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <functional>
#include <stdexcept>
#include <string>
#include <thread>

#include <roving/roving.hpp>

#include "tests/runtime/placed.hpp"
#include "tests/runtime/same_stack.hpp"
#include "tests/support/catch.hpp"

using roving_test::is_same_stack;
using roving_test::park;
using roving_test::run_in;
using roving_test::stack_address;
using roving_test::thrown_by;

namespace {

template <class Body>
void run_pinned(Body body) {
  CHECK(run_in({1, false}, body) == 0);
}

// Runs a task, placed so on two shards, that is cancelled from elsewhere while it is in the call that `body` is given.
// That call neither suspends nor sleeps, so who cancels is a plain thread: a task might be on the shard that spins
// there. Returns what `body` has thrown.
template <class Body, class... Message>
std::string thrown_when_cancelled_meanwhile(roving::placement where, Body body, const Message&... message) {
  std::atomic<bool> is_there{false};
  std::atomic<bool> asked{false};
  const auto be_cancelled = [&] {
    is_there = true;
    while (!asked) {
    }
  };
  bool was_taken = false;
  std::string seen;
  CHECK(run_in({2, false}, [&] {
          auto parent = roving::spawn(where, [&] { seen = thrown_by([&] { body(be_cancelled); }); });
          std::thread canceller([&] {
            while (!is_there) std::this_thread::yield();
            was_taken = parent.cancel(message...);
            asked = true;
          });
          parent.join();
          canceller.join();
        }) == 0);
  CHECK(was_taken);
  return seen;
}

}  // namespace

TEST_CASE("pinned inline join: get() runs the child that is next on the parent's stack", "[inline]") {
  run_pinned([] {
    const std::uintptr_t mine = stack_address();
    const roving::task_view parent = roving::this_task::handle();
    int calls = 0;
    for (int i = 0; i < 100; ++i)
      roving::spawn([&] {
        calls += is_same_stack(stack_address(), mine);
        CHECK_FALSE(roving::this_task::handle() == parent);
        CHECK(std::string{parent.waits_in()} == "task::get");
      }).get();
    CHECK(calls > 50);  // the loop is looked after now and then
    CHECK(roving::this_task::handle() == parent);
    CHECK(parent.waits_in() == nullptr);
  });
}

TEST_CASE("pinned inline join: not a child that another one stands before, nor one that has begun", "[inline]") {
  run_pinned([] {
    const std::uintptr_t mine = stack_address();
    std::string order;
    auto neighbour = roving::spawn([&] { order += "n"; });
    roving::spawn([&] {
      order += "c";
      CHECK_FALSE(is_same_stack(stack_address(), mine));
    }).get();
    CHECK(order == "nc");
    auto begun = roving::spawn([&] {
      roving::yield();
      CHECK_FALSE(is_same_stack(stack_address(), mine));
    });
    roving::yield();
    begun.get();
  });
}

TEST_CASE("pinned inline join: what the child makes ready comes before the parent", "[inline]") {
  run_pinned([] {
    std::string order;
    roving::task<void> grandchild;
    roving::spawn([&] {
      order += "c";
      grandchild = roving::spawn([&] { order += "g"; });
      roving::post([&] { order += "p"; });
    }).get();
    order += "m";
    CHECK(order == "cgpm");
  });
}

TEST_CASE("pinned inline join: who waits for the child too is told in the order in which they came", "[inline]") {
  run_pinned([] {
    std::string order;
    auto child = roving::spawn([] { roving::yield(); });
    auto later = roving::spawn([&] {
      child.get();
      order += "l";
    });
    child.get();
    order += "m";
    later.get();
    CHECK(order == "ml");
  });
  run_pinned([] {
    std::string order;
    auto child = roving::spawn([] {});
    (void)child.on_done([&] { order += "c"; });
    child.get();
    order += "m";
    roving::yield();
    CHECK(order == "cm");
  });
}

TEST_CASE("pinned inline join: a callback that the child registers for itself comes behind the parent", "[inline]") {
  run_pinned([] {
    std::string order;
    roving::task<void> child;
    child = roving::spawn([&] { (void)child.on_done([&] { order += "c"; }); });
    child.get();
    order += "m";
    roving::yield();
    CHECK(order == "mc");
  });
}

TEST_CASE("pinned inline join: a task that the child starts eagerly may wait for it", "[inline]") {
  run_pinned([] {
    std::string order;
    roving::task<void> child;
    roving::task<void> eager;
    child = roving::spawn([&] {
      eager = roving::spawn(roving::attributes{.eager = true}, [&] {
        order += "e";
        child.join();
        order += "j";
      });
      order += "c";
    });
    child.get();
    order += "m";
    eager.get();
    CHECK(order == "ecmj");
  });
}

TEST_CASE("pinned inline join: who is told of the child's end at once may cancel, and wait for others", "[inline]") {
  struct at_once {
    void post(const std::function<void()>& f) const { f(); }
  };
  run_pinned([] {
    std::string order;
    auto neighbour = roving::spawn([&] {
      order += "n";
      CHECK(thrown_by([] { park(); }) == "cancelled");
      order += "c";
    });
    roving::yield();
    auto child = roving::spawn([] {});
    (void)child.on_done(at_once{}, [&] {
      neighbour.cancel();
      (void)child.on_done([&] { order += "d"; });
    });
    child.get();
    order += "m";
    roving::yield();
    CHECK(order == "ncdm");
  });
  run_pinned([] {
    auto parent = roving::spawn([] {
      const roving::task_view self = roving::this_task::handle();
      auto child = roving::spawn([] {});
      (void)child.on_done(at_once{}, [self] { CHECK(self.cancel("at the end")); });
      CHECK(thrown_by([&] { child.get(); }) == "cancelled: at the end");
    });
    parent.get();
  });
}

// A roving parent's group is told by whoever has ended, at once.
TEST_CASE("pinned inline join: the child is of a roving task's group, fails and has its siblings cancelled",
          "[inline]") {
  std::string seen;
  CHECK(run_in({1, false}, [&] {
          roving::shared_task<void> child;
          auto parent = roving::spawn(roving::anywhere, [&] {
            seen = roving_test::group_errors([&](roving::task_group& group) {
              group.spawn([] { park(); });
              roving::yield();
              child = group.spawn(roving::on_shard(0), [] { throw roving_test::error("told"); });
              park();
            });
          });
          while (!child.valid()) roving::yield();
          CHECK(thrown_by([&] { child.get(); }) == "told");
          parent.get();
        }) == 0);
  CHECK(seen == "told");
}

TEST_CASE("inline join: the child cancels its parent, and so itself, at once", "[inline]") {
  const bool is_roving = GENERATE(false, true);
  CHECK(run_in({1, is_roving}, [] {
          auto parent = roving::spawn([] {
            const roving::task_view self = roving::this_task::handle();
            auto child = roving::spawn([self] {
              CHECK(self.cancel("both"));
              CHECK(self.cancelling() == 1);
              CHECK(roving::this_task::cancelling() == 1);
            });
            CHECK(thrown_by([&] { child.get(); }) == "cancelled: both");
            CHECK(child.cancelled());
          });
          parent.get();
        }) == 0);
}

TEST_CASE("inline join: a cancel from elsewhere reaches the child when it parks", "[inline]") {
  const roving::placement where = GENERATE(roving::here, roving::anywhere);
  const int depth = GENERATE(1, 20);
  struct nest {
    static void run(int levels, const std::function<void()>& last) {
      roving::spawn([&, levels] { levels > 1 ? run(levels - 1, last) : last(); }).get();
    }
  };
  for (int round = 0; round < 20; ++round) {
    std::string seen_by_child;
    const auto parent = [&](const auto& be_cancelled) {
      nest::run(depth, [&] {
        be_cancelled();
        seen_by_child = thrown_by([] { park(); });
        throw roving::cancelled{"passed on"};
      });
    };
    CHECK(thrown_when_cancelled_meanwhile(where, parent, "from elsewhere") == "cancelled: passed on");
    CHECK(seen_by_child == "cancelled: from elsewhere");
  }
}

TEST_CASE("inline join: a cancel from elsewhere that comes too late for the child is thrown by the parent's get()",
          "[inline]") {
  const roving::placement where = GENERATE(roving::here, roving::anywhere);
  for (int round = 0; round < 20; ++round) {
    const auto parent = [](const auto& be_cancelled) { roving::spawn([&] { be_cancelled(); }).get(); };
    CHECK(thrown_when_cancelled_meanwhile(where, parent, "late") == "cancelled: late");
  }
}

TEST_CASE("inline join: a cancel from elsewhere that comes too late for the last child is thrown by gather()",
          "[inline]") {
  for (int round = 0; round < 20; ++round) {
    const auto parent = [](const auto& be_cancelled) { roving::gather([&] { be_cancelled(); }); };
    CHECK(thrown_when_cancelled_meanwhile(roving::anywhere, parent, "late") == "cancelled: late");
  }
}

// The cancel goes from the parent to a sibling of the child and on to the future for which that waits. The child is
// about to wait for it too, and has its lock.
TEST_CASE("inline join: a cancel that is passed on may end what the child is about to wait for", "[inline]") {
  for (int round = 0; round < 20; ++round) {
    std::atomic<bool> sibling_waits{false};
    std::string seen_by_child;
    (void)thrown_when_cancelled_meanwhile(roving::anywhere, [&](const auto& be_cancelled) {
      roving::promise<int> never;
      const roving::shared_future<int> awaited = never.get_future().share();
      roving::gather(
          [&] {  // stolen by shard 1
            sibling_waits = true;
            awaited.get();
          },
          [&] {  // inline
            while (!sibling_waits) {
            }
            be_cancelled();
            seen_by_child = thrown_by([&] { awaited.get(); });
          });
    });
    CHECK(seen_by_child == "cancelled");
  }
}

TEST_CASE("inline join: a cancel from elsewhere reaches a child that parks in a generator's body", "[inline]") {
  const roving::placement where = GENERATE(roving::here, roving::anywhere);
  std::string seen;
  (void)thrown_when_cancelled_meanwhile(where, [&](const auto& be_cancelled) {
    roving::spawn([&] {
      be_cancelled();
      roving::generator<int> numbers{[&](auto& yield) {
        seen = thrown_by([] { park(); });
        yield(1);
      }};
      for (const int number : numbers) (void)number;
    }).get();
  });
  CHECK(seen == "cancelled");
}

TEST_CASE("pinned inline join: errno is the parent's own", "[inline]") {
  run_pinned([] {
    errno = 7;
    roving::spawn([] { errno = 8; }).get();
    CHECK(errno == 7);
  });
}

TEST_CASE("pinned inline join: recursion goes on where a stack is half used", "[inline]") {
  run_pinned([] {
    struct nest {
      static int run(int levels) {
        volatile char frame[4096];
        frame[0] = 1;
        if (levels == 0) return frame[0];
        return roving::spawn([levels] { return run(levels - 1); }).get() + frame[0];
      }
    };
    CHECK(nest::run(500) == 501);
  });
}

TEST_CASE("pinned inline join: others of the shard, its callbacks and timers do not wait for it", "[inline]") {
  run_pinned([] {
    bool stop = false;
    int others = 0;
    auto neighbour = roving::spawn([&] {
      while (!stop) {
        ++others;
        roving::yield();
      }
    });
    (void)roving::post_after(std::chrono::microseconds{200}, [&] { stop = true; });
    int calls = 0;
    while (!stop) roving::spawn([&] { ++calls; }).get();
    neighbour.get();
    CHECK(others > 0);
    CHECK(calls > 0);
  });
}
