// Tested: with_task_group, task_group, shared_task and exception_group. Tasks write down what they saw; the test's own
// thread checks it after run().
#include <atomic>
#include <functional>
#include <memory>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include "runtime/task_group_core.hpp"
#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;
using namespace std::chrono_literals;

namespace {

/// Counts up when it is cancelled, after some turns.
void wait_for_cancel(std::atomic<int>& count, int turns = 0) {
  try {
    park_and_clean_up(turns);
  } catch (const roving::cancelled&) {
    ++count;
    throw;
  }
}

}  // namespace

TEST_CASE("C88 task_group: leaving it waits for all children, whose values are there then", "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  int ended_when_back = 0;
  int sum = 0;
  bool all_done = false;
  run_in(where, [&] {
    std::atomic<int> ended{0};
    std::vector<roving::shared_task<int>> children;
    roving::with_task_group([&](roving::task_group& group) {
      for (int i = 0; i < 50; ++i)
        children.push_back(group.spawn(at(where, static_cast<unsigned>(i)), [&, i] {
          for (int left = i % 5; left > 0; --left) roving::yield();
          ++ended;
          return i;
        }));
    });
    ended_when_back = ended;
    all_done = true;
    for (const auto& each : children) {
      all_done = all_done && each.done();
      sum += each.value() + each.get() - each.get();
    }
    roving::with_task_group([](roving::task_group&) {});  // an empty one suspends nobody
  });
  CHECK(ended_when_back == 50);
  CHECK(all_done);
  CHECK(sum == 49 * 50 / 2);
}

TEST_CASE("C88 task_group: it is left two generations after the last end", "[runtime][task_group]") {
  int ended = 0;
  int left = 0;
  run_in_order([&] {
    const generations clock;
    roving::promise<void> go;
    auto parent = roving::spawn([&] {
      roving::with_task_group([&](roving::task_group& group) {
        group.spawn([&, goes = go.get_future()]() mutable {
          goes.get();
          ended = clock.now();
        });
      });
      left = clock.now();
    });
    for (int i = 0; i < 4; ++i) roving::yield();
    go.set_value();
    parent.join();
  });
  CHECK(left == ended + 2);
}

TEST_CASE("C89 task_group: a child that fails has siblings and body cancelled, and is thrown alone",
          "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  std::string errors;
  std::atomic<int> cancelled{0};
  unsigned cancelling = 99;
  std::string after;
  const int reports = run_in(where, [&] {
    roving::event fail;
    errors = group_errors([&](roving::task_group& group) {
      std::vector<roving::shared_task<void>> siblings;
      for (unsigned i = 0; i < 3; ++i)
        siblings.push_back(group.spawn(at(where, i), [&] { wait_for_cancel(cancelled, 2); }));
      group.spawn(at(where, 3), [&] {
        fail.wait();
        throw error("child");
      });
      for (const auto& each : siblings) wait_until_waiting(each);
      fail.set();
      wait_for_cancel(cancelled);  // the body
    });
    cancelling = roving::this_task::cancelling();
    after = thrown_by([] { roving::yield(); });
  });
  CHECK(errors == "child");
  CHECK(cancelled == 4);
  CHECK(cancelling == 0);
  CHECK(after == "nothing");
  CHECK(reports == 0);
}

TEST_CASE("C89 task_group: a child that fails while the group is being left", "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  std::string errors;
  std::atomic<int> cancelled{0};
  unsigned cancelling = 99;
  run_in(where, [&] {
    errors = group_errors([&](roving::task_group& group) {
      auto sibling = group.spawn(at(where, 1), [&] { wait_for_cancel(cancelled); });
      group.spawn(at(where, 2), [sibling] {
        wait_until_waiting(sibling);
        throw error("child");
      });
    });
    cancelling = roving::this_task::cancelling();
  });
  CHECK(errors == "child");
  CHECK(cancelled == 1);
  CHECK(cancelling == 0);
}

TEST_CASE("C90 task_group: what siblings throw in their cleanup is in the group, in the order of their ends",
          "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  std::string errors;
  run_in(where, [&] {
    std::atomic<int> turn{2};
    errors = group_errors([&](roving::task_group& group) {
      std::vector<roving::shared_task<void>> siblings;
      for (int i = 1; i <= 2; ++i)
        siblings.push_back(group.spawn(at(where, static_cast<unsigned>(i)), [&, i] {
          try {
            park();
          } catch (const roving::cancelled&) {
            while (turn != i) roving::yield();  // the second ends first
            struct passes_on {
              std::atomic<int>& turn;
              ~passes_on() { --turn; }
            };
            throw error("sibling " + std::to_string(i));
          }
        }));
      group.spawn(at(where, 3), [&, siblings] {
        for (const auto& each : siblings) wait_until_waiting(each);
        throw error("first");
      });
      // The first may end when the second has.
      roving::spawn(at(where, 0), [&turn, second = siblings[1]] {
        second.join();
        turn = 1;
      }).detach();
    });
  });
  CHECK(errors == "first sibling 2 sibling 1");
}

TEST_CASE("C91 task_group: a body that throws has the children cancelled, and is last in the group",
          "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  std::string alone;
  std::string with_child;
  std::atomic<int> cancelled{0};
  run_in(where, [&] {
    alone = group_errors([&](roving::task_group& group) {
      auto child = group.spawn(at(where, 1), [&] { wait_for_cancel(cancelled, 3); });
      wait_until_waiting(child);
      throw error("body");
    });
    with_child = group_errors([&](roving::task_group& group) {
      auto child = group.spawn(at(where, 1), [&] {
        try {
          park();
        } catch (const roving::cancelled&) {
          throw error("child");
        }
      });
      wait_until_waiting(child);
      throw error("body");
    });
  });
  CHECK(alone == "body");
  CHECK(with_child == "child body");
  CHECK(cancelled == 1);
}

TEST_CASE("C92 task_group: a child that is cancelled alone does not count", "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  std::string errors;
  int value = 0;
  run_in(where, [&] {
    errors = group_errors([&](roving::task_group& group) {
      auto alone = group.spawn(at(where, 1), [] { park(); });
      auto other = group.spawn(at(where, 2), [] {
        roving::yield();
        return 5;
      });
      wait_until_waiting(alone);
      alone.cancel();
      value = other.get();
    });
  });
  CHECK(errors == "nothing");
  CHECK(value == 5);
}

TEST_CASE("C93 task_group: a cancelled parent is thrown cancelled when all children have ended",
          "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  const bool in_body = GENERATE(false, true);
  std::string thrown;
  std::atomic<int> cancelled{0};
  run_in(where, [&] {
    std::atomic<int> begun{0};
    auto parent = roving::spawn(at(where, 1), [&] {
      roving::with_task_group([&](roving::task_group& group) {
        for (unsigned i = 0; i < 3; ++i)
          group.spawn(at(where, i), [&] {
            ++begun;
            wait_for_cancel(cancelled, 3);
          });
        if (in_body) park();
      });
    });
    while (begun < 3) roving::yield();
    wait_until_waiting(parent);
    parent.cancel("m");
    thrown = thrown_by([&] { parent.get(); });
  });
  CHECK(thrown == "cancelled: m");
  CHECK(cancelled == 3);
}

TEST_CASE("C94 task_group: parent cancelled and a child fails: the errors, and the cancel again at the next suspension",
          "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  std::string errors;
  unsigned cancelling = 0;
  std::vector<std::string> after;
  run_in(where, [&] {
    std::atomic<bool> begun{false};
    auto parent = roving::spawn(at(where, 1), [&] {
      errors = group_errors([&](roving::task_group& group) {
        group.spawn(at(where, 2), [&] {
          try {
            begun = true;
            park();
          } catch (const roving::cancelled&) {
            throw error("child");
          }
        });
      });
      cancelling = roving::this_task::cancelling();
      after.push_back(thrown_by([] { roving::yield(); }));
      after.push_back(thrown_by([] { roving::yield(); }));
    });
    while (!begun) roving::yield();
    wait_until_waiting(parent);
    parent.cancel();
    parent.join();
  });
  CHECK(errors == "child");
  CHECK(cancelling == 1);
  CHECK(after == std::vector<std::string>{"cancelled", "nothing"});
}

TEST_CASE("C95 task_group: it takes nothing in while it is cancelled, or after it; the callable is left as it was",
          "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  int refused = 0;
  bool ran = false;
  bool kept = false;
  run_in(where, [&] {
    const auto try_to_spawn = [&](roving::task_group& group) {
      auto text = std::make_unique<int>(1);
      auto body = [&ran, text = std::move(text)] { ran = true; };
      try {
        group.spawn(std::move(body));
      } catch (const roving::task_group_closed&) {
        ++refused;
      }
    };
    (void)group_errors([&](roving::task_group& group) {
      try {
        group.spawn(at(where, 1), [] { throw error("child"); });
        park();
      } catch (const roving::cancelled&) {
        try_to_spawn(group);
      }
    });
    (void)group_errors([&](roving::task_group& group) {
      group.cancel();
      try_to_spawn(group);
    });

    // The core has a life of its own, so that it can be asked afterwards.
    roving::detail::task_group_core core;
    const auto start_in_core = [&] {
      auto body = [&ran, held = std::make_shared<int>(1)] { ran = true; };
      roving::detail::task_base& task =
          roving::detail::make_task(roving::attributes{}, std::move(body), roving::spawn_site::current(), "test");
      try {
        core.start(task);
      } catch (const roving::task_group_closed&) {
        ++refused;
      }
    };
    start_in_core();
    core.enter("test");
    core.leave(nullptr, false, "test");
    start_in_core();
    try {
      core.check_open();
    } catch (const roving::broken_contract&) {
      kept = true;
    }
    roving::yield();
  });
  CHECK(refused == 4);
  CHECK_FALSE(ran);
  CHECK(kept);
}

TEST_CASE("C96 task_group: a child may spawn while the group is being left", "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> ran{0};
  int ran_when_back = 0;
  run_in(where, [&] {
    std::function<void(roving::task_group&, int)> grow = [&](roving::task_group& group, int left) {
      ++ran;
      roving::yield();
      if (left == 0) return;
      for (unsigned i = 0; i < 2; ++i) group.spawn(at(where, i), [&grow, &group, left] { grow(group, left - 1); });
    };
    roving::with_task_group([&](roving::task_group& group) {
      group.spawn(at(where, 0), [&] { grow(group, 6); });
      group.spawn(at(where, 1), [&] { grow(group, 6); }).join();
    });
    ran_when_back = ran;
  });
  CHECK(ran_when_back == 2 * 127);
}

TEST_CASE("C97 task_group: nested ones fail each for itself, and the inner one is an error of the outer",
          "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  std::string both;
  std::string inner_only;
  std::atomic<int> cancelled{0};
  run_in(where, [&] {
    inner_only = group_errors([&](roving::task_group& outer) {
      auto sibling = outer.spawn(at(where, 1), [&] { wait_for_cancel(cancelled); });
      wait_until_waiting(sibling);
      roving::with_task_group([&](roving::task_group& inner) {
        inner.spawn(at(where, 2), [] { throw error("in"); });
        park();
      });
    });
    both = group_errors([&](roving::task_group& outer) {
      std::atomic<bool> fail_outside{false};
      outer.spawn(at(where, 1), [&] {
        while (!fail_outside) roving::yield();
        throw error("out");
      });
      roving::with_task_group([&](roving::task_group& inner) {
        inner.spawn(at(where, 2), [&] {
          try {
            fail_outside = true;
            park();
          } catch (const roving::cancelled&) {
            throw error("in");
          }
        });
        park();
      });
    });
  });
  CHECK(inner_only == "[in]");
  CHECK(cancelled == 1);
  CHECK(both == "out [in]");
}

TEST_CASE("C97 task_group: however often the parent is cancelled, no child is left behind", "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  std::atomic<int> ended{0};
  int ended_when_back = 0;
  run_in(where, [&] {
    std::atomic<int> begun{0};
    roving::event may_end;
    auto parent = roving::spawn(at(where, 1), [&] {
      try {
        roving::with_task_group([&](roving::task_group& group) {
          for (unsigned i = 0; i < 4; ++i)
            group.spawn(at(where, i), [&] {
              ++begun;
              try {
                park();
              } catch (const roving::cancelled&) {
                may_end.wait();
              }
              ++ended;
            });
        });
      } catch (const roving::cancelled&) {
        ended_when_back = ended;
        throw;
      }
    });
    while (begun < 4) roving::yield();
    for (int i = 0; i < 5; ++i) {
      wait_until_waiting(parent);
      parent.cancel();
      for (int turn = 0; turn < 3; ++turn) roving::yield();
    }
    may_end.set();
    thrown = thrown_by([&] { parent.get(); });
  });
  CHECK(thrown == "cancelled");
  CHECK(ended_when_back == 4);
}

TEST_CASE("C98 task_group: cancel ends it silently, from the body, from a child, from elsewhere, more than once",
          "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  const int by = GENERATE(0, 1, 2);
  std::string errors;
  std::atomic<int> cancelled{0};
  unsigned cancelling = 99;
  std::string after;
  run_in(where, [&] {
    errors = group_errors([&](roving::task_group& group) {
      std::vector<roving::shared_task<void>> children;
      for (unsigned i = 0; i < 3; ++i)
        children.push_back(group.spawn(at(where, i), [&] { wait_for_cancel(cancelled, 2); }));
      for (const auto& each : children) wait_until_waiting(each);
      if (by == 0) {
        group.cancel();
        group.cancel();
        roving::yield();  // throws cancelled
      } else if (by == 1) {
        group.spawn(at(where, 3), [&] {
          group.cancel();
          group.cancel();
        });
        park();
      } else {
        roving::spawn(at(where, 3), [&] { group.cancel(); }).detach();
      }
    });
    cancelling = roving::this_task::cancelling();
    after = thrown_by([] { roving::yield(); });
  });
  CHECK(errors == "nothing");
  CHECK(cancelled == 3);
  CHECK(cancelling == 0);
  CHECK(after == "nothing");
}

TEST_CASE("C98 task_group: cancel before it is entered, after it is left, and by an eager child in its first step",
          "[runtime][task_group]") {
  std::vector<std::string> seen;
  std::atomic<int> cancelled{0};
  bool body_refused = false;
  run_in_order([&] {
    roving::detail::task_group_core before;
    before.cancel();
    before.enter("test");
    try {
      before.check_open();
    } catch (const roving::task_group_closed&) {
      body_refused = true;
    }
    seen.push_back(thrown_by([] { roving::yield(); }));
    before.leave(std::make_exception_ptr(roving::cancelled{}), true, "test");
    before.cancel();
    seen.push_back(thrown_by([] { roving::yield(); }));

    seen.push_back(group_errors([&](roving::task_group& group) {
      roving::attributes eager;
      eager.eager = true;
      group.spawn(eager, [&] {
        group.cancel();
        wait_for_cancel(cancelled);
      });
    }));
    seen.push_back(group_errors([&](roving::task_group& group) {
      group.spawn([&] {  // not begun when it is cancelled by its sibling: it never runs
        seen.emplace_back("ran");
      });
      group.cancel();
    }));
    seen.push_back(thrown_by([] { roving::yield(); }));
  });
  CHECK(body_refused);
  CHECK(cancelled == 1);
  CHECK(seen == std::vector<std::string>{"cancelled", "nothing", "nothing", "nothing", "nothing"});
}

TEST_CASE("C98 task_group: cancel does not swallow failures, nor a cancel from elsewhere", "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  const bool while_leaving = GENERATE(false, true);
  std::string errors;
  std::string thrown;
  run_in(where, [&] {
    errors = group_errors([&](roving::task_group& group) {
      auto child = group.spawn(at(where, 1), [] {
        try {
          park();
        } catch (const roving::cancelled&) {
          throw error("in cleanup");
        }
      });
      wait_until_waiting(child);
      group.cancel();
    });

    std::atomic<bool> cancelled_inside{false};
    roving::event may_end;
    auto parent = roving::spawn(at(where, 1), [&] {
      roving::with_task_group([&](roving::task_group& group) {
        auto child = group.spawn(at(where, 2), [&] {
          try {
            park();
          } catch (const roving::cancelled&) {
            cancelled_inside = true;
            may_end.wait();
          }
        });
        wait_until_waiting(child);
        group.cancel();
        if (!while_leaving) {
          const roving::no_cancel hold_back;  // both come together
          while (roving::this_task::cancelling() < 2) roving::yield();
        }
      });
      roving::yield();
    });
    while (!cancelled_inside) roving::yield();
    for (int i = 0; i < 3; ++i) roving::yield();
    if (while_leaving) wait_until_waiting(parent);
    parent.cancel();
    may_end.set();
    thrown = thrown_by([&] { parent.get(); });
  });
  CHECK(errors == "in cleanup");
  CHECK(thrown == "cancelled");
}

TEST_CASE("task_group: all shards spawn into one at once", "[runtime][task_group]") {
  constexpr unsigned shards = 4;
  constexpr int of_each = 500;
  const bool is_roving = GENERATE(false, true);
  std::atomic<int> ran{0};
  roving::run({.shards = shards}, [&] {
    const auto parent = [&] {
      roving::barrier all_here{shards};
      roving::with_task_group([&](roving::task_group& group) {
        for (unsigned i = 0; i < shards; ++i)
          group.spawn(roving::on_shard(i), [&] {
            all_here.wait();
            for (int left = of_each; left != 0; --left) group.spawn([&] { ++ran; });
          });
      });
    };
    roving::spawn(is_roving ? roving::anywhere : roving::here, parent).get();
  });
  CHECK(ran == static_cast<int>(shards) * of_each);
}

TEST_CASE("task_group: spawning says where and how, as spawn does", "[runtime][task_group]") {
  std::vector<unsigned> shards;
  std::string name;
  bool eager_ran = false;
  bool at_once = false;
  bool roves = false;
  std::string errors;
  roving::run({.shards = 2}, [&] {
    roving::with_task_group([&](roving::task_group& group) {
      auto a = group.spawn(roving::on_shard(1), [] { return roving::this_task::shard(); });
      auto b = group.spawn([] { return roving::this_task::shard(); });
      auto c = group.spawn({.name = "reader"}, [] { return roving::this_task::name(); });
      auto d = group.spawn(roving::anywhere, [] { return roving::this_task::is_roving(); });
      group.spawn({.eager = true}, [&] { eager_ran = true; });
      at_once = eager_ran;
      shards = {a.get(), b.get()};
      name = c.get();
      roves = d.get();
    });
    errors = group_errors([](roving::task_group& group) {
      group.spawn({.eager = true}, [] { throw error("eager"); });
      park();  // until the group cancels its body
    });
  });
  CHECK(shards == std::vector<unsigned>{1, 0});
  CHECK(name == "reader");
  CHECK(roves);
  CHECK(at_once);
  CHECK(errors == "eager");
}

TEST_CASE("task_group: fork and join, roving, with failures and cancels at random", "[runtime][task_group]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<long> alive{0};
  const int trees = rounds(200);
  int ended = 0;
  std::atomic<long> leaves{0};
  long clean_leaves = 0;
  run_in(where, [&] {
    struct counted {
      explicit counted(std::atomic<long>& of) : count{of} { ++count; }
      ~counted() { --count; }
      std::atomic<long>& count;
    };
    std::function<void(std::uint32_t, int, bool)> grow = [&](std::uint32_t seed, int depth, bool fails) {
      const counted lives{alive};
      dice draw{seed};
      if (depth == 0) {
        if (fails && draw() % 5 == 0) throw error("leaf");
        if (draw() % 3 == 0) roving::yield();
        ++leaves;
        return;
      }
      roving::with_task_group([&](roving::task_group& group) {
        for (unsigned i = 0; i < 3; ++i) {
          const auto next = draw();
          group.spawn(at(where, next), [&grow, next, depth, fails] { grow(next, depth - 1, fails); });
        }
        if (fails && draw() % 10 == 0) group.cancel();
        if (draw() % 4 == 0) roving::yield();
      });
    };
    dice draw{23};
    for (int i = 0; i < trees; ++i) {
      auto tree =
          roving::spawn(at(where, draw() % 4), [&grow, i] { grow(static_cast<std::uint32_t>(i + 1), 3, true); });
      for (auto pause = draw() % 10; pause > 0; --pause) roving::yield();
      if (draw() % 2 == 0) tree.cancel();
      tree.join();
      if (!tree.cancelled()) (void)tree.exception();
      ++ended;
    }
    leaves = 0;
    grow(1, 6, false);
    clean_leaves = leaves;
  });
  CHECK(ended == trees);
  CHECK(alive == 0);
  CHECK(clean_leaves == 729);
}

TEST_CASE("exception_group: says how many, the first texts, and keeps nested groups", "[runtime][task_group]") {
  std::vector<std::exception_ptr> errors;
  for (int i = 1; i <= 4; ++i) errors.push_back(std::make_exception_ptr(error("e" + std::to_string(i))));
  const roving::exception_group four{"here", errors};
  const roving::exception_group nested{
      "there",
      {std::make_exception_ptr(four), std::make_exception_ptr(roving::cancelled{}), std::make_exception_ptr(5)}};
  CHECK(std::string{four.what()} == "here: 4 errors: e1; e2; e3; ...");
  CHECK(std::string{nested.what()} ==
        "there: 3 errors: here: 4 errors: e1; e2; e3; ...; cancelled; an exception that is not a std::exception");
  CHECK(nested.exceptions().size() == 3);
  CHECK(texts_of(nested) == "[e1 e2 e3 e4] ? ?");
  const roving::exception_group copy = nested;
  CHECK(copy.what() == std::string{nested.what()});
  CHECK_THROWS_AS((roving::exception_group{"none", {}}), std::invalid_argument);
  CHECK_THROWS_AS((roving::exception_group{"null", {nullptr}}), std::invalid_argument);
}
