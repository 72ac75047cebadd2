// Tested: with_timeout, with_deadline, timeout_scope and wait_for. Tasks write down what they saw; the test's own
// thread checks it after run(). Deadlines here are either past, or so far off that they never come, or such that
// nothing depends on when exactly they pass.
#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;
using namespace std::chrono_literals;

// --- wait_for
// ---------------------------------------------------------------------------------------------------------

TEST_CASE("C74 wait_for: the timeout is thrown only when the task has cleaned up", "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  bool was_clean = false;
  unsigned cancelling = 99;
  run_in(where, [&] {
    std::atomic<bool> clean{false};
    auto slow = roving::spawn(at(where, 1), [&] {
      try {
        park_and_clean_up(4);
      } catch (const roving::cancelled&) {
        clean = true;
        throw;
      }
    });
    wait_until_waiting(slow);
    thrown = thrown_by([&] { roving::wait_for(slow, 1ms); });
    was_clean = clean;
    cancelling = roving::this_task::cancelling();
  });
  CHECK(thrown == "timeout");
  CHECK(was_clean);
  CHECK(cancelling == 0);
}

TEST_CASE("C74 wait_for: what ends in time gives its value, or what it throws", "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  int value = 0;
  int from_future = 0;
  std::string thrown;
  run_in(where, [&] {
    auto task = roving::spawn(at(where, 1), [] { return 1; });
    const int& kept = roving::wait_for(task, 24h);
    value = kept + roving::wait_for(roving::spawn(at(where, 2), [] { return 2; }), roving::duration::max());
    roving::promise<int> promise;
    auto future = promise.get_future();
    auto keeper = roving::spawn(at(where, 3), [&] { promise.set_value(3); });
    from_future = roving::wait_for(future, 24h);
    keeper.join();
    auto fails = roving::spawn(at(where, 1), [] { throw error("x"); });
    thrown = thrown_by([&] { roving::wait_for(fails, 24h); });
  });
  CHECK(value == 3);
  CHECK(from_future == 3);
  CHECK(thrown == "x");
}

TEST_CASE("C75 wait_for: with no time at all, what has not started never does; what is done is given",
          "[runtime][timeout]") {
  const place where = GENERATE(place{1, false}, place{2, false});
  const auto span = GENERATE(0ms, -5ms);
  bool ran = false;
  std::vector<std::string> thrown;
  int value = 0;
  bool future_cancelled = false;
  run_in(where, [&] {
    thrown.push_back(thrown_by([&] { roving::wait_for(roving::spawn([&] { ran = true; }), span); }));
    auto done = roving::spawn([] { return 5; });
    done.join();
    value = roving::wait_for(done, span);
    roving::promise<int> promise;
    const auto future = promise.get_future().share();
    thrown.push_back(thrown_by([&] { (void)roving::wait_for(future, span); }));
    future_cancelled = future.cancelled();
  });
  CHECK_FALSE(ran);
  CHECK(thrown == std::vector<std::string>{"timeout", "timeout"});
  CHECK(value == 5);
  CHECK(future_cancelled);
}

TEST_CASE("C76 wait_for: a task that swallows the cancel and returns a value gives it", "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  const auto span = GENERATE(0ms, 1ms);
  int value = 0;
  run_in(where, [&] {
    auto stubborn = roving::spawn(at(where, 1), [] {
      try {
        park();
      } catch (const roving::cancelled&) {
        roving::yield();
      }
      return 6;
    });
    wait_until_waiting(stubborn);
    value = roving::wait_for(stubborn, span);
  });
  CHECK(value == 6);
}

TEST_CASE("C77 wait_for: what a task throws while it is cancelled is thrown", "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  const auto span = GENERATE(0ms, 1ms);
  std::string thrown;
  run_in(where, [&] {
    auto fails = roving::spawn(at(where, 1), [] {
      try {
        park();
      } catch (const roving::cancelled&) {
        throw error("in cleanup");
      }
    });
    wait_until_waiting(fails);
    thrown = thrown_by([&] { roving::wait_for(fails, span); });
  });
  CHECK(thrown == "in cleanup");
}

TEST_CASE("C78 wait_for: a cancel in the generation of the completion is not lost", "[runtime][timeout]") {
  std::string thrown;
  bool inner_cancelled = true;
  run_in_order([&] {
    roving::promise<int> promise;
    const auto future = promise.get_future().share();
    auto waiter = roving::spawn([&] { (void)roving::wait_for(future, 24h); });
    roving::yield();
    promise.set_value(1);
    waiter.cancel("m");
    thrown = thrown_by([&] { waiter.get(); });
    inner_cancelled = future.cancelled();
  });
  CHECK(thrown == "cancelled: m");
  CHECK_FALSE(inner_cancelled);
}

TEST_CASE("C78 wait_for: completions, timeouts and cancels race; each has one outcome, and nobody stays cancelled",
          "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(3000);
  std::atomic<int> outcomes{0};
  std::atomic<int> left_cancelled{0};
  run_in(where, [&] {
    dice draw{17};
    for (int turn = 0; turn < turns; ++turn) {
      const auto span = std::chrono::microseconds{draw() % 10};
      auto inner = roving::spawn(at(where, draw() % 4), [pause = draw() % 4] {
        for (auto left = pause; left > 0; --left) roving::yield();
        return 1;
      });
      const bool meddles = draw() % 2 == 0;
      auto waiter = roving::spawn(at(where, draw() % 4), [&, span] {
        try {
          outcomes += roving::wait_for(inner, span);
        } catch (const roving::timeout_error&) {
          ++outcomes;
        } catch (const roving::cancelled&) {
          ++outcomes;
          return;
        }
        if (!meddles && roving::this_task::cancelling() != 0) ++left_cancelled;
        if (!meddles) roving::yield();  // a late cancel would come here
      });
      if (meddles && !waiter.join_for(std::chrono::microseconds{draw() % 10})) waiter.cancel();
      waiter.join();
      if (waiter.cancelled() && !meddles) ++left_cancelled;
      if (!inner.done()) inner.cancel();
      inner.join();
    }
  });
  CHECK(left_cancelled == 0);
  CHECK(outcomes <= turns);
}

// --- scopes
// -----------------------------------------------------------------------------------------------------------

TEST_CASE("C79 with_timeout: when it passes, what comes out is timeout_error, and no cancel stays",
          "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  const auto span = GENERATE(-1ms, 0ms, 1ms);
  std::string thrown;
  bool expired = false;
  unsigned cancelling = 99;
  bool early = false;
  bool goes_on = false;
  run_in(where, [&] {
    const auto start = roving::now();
    thrown = thrown_by([&] {
      roving::with_timeout(span, [&](roving::timeout_scope& scope) {
        try {
          park();
        } catch (const roving::cancelled&) {
          expired = scope.expired();
          throw;
        }
      });
    });
    early = roving::now() < start + span;
    cancelling = roving::this_task::cancelling();
    roving::yield();
    goes_on = true;
  });
  CHECK(thrown == "timeout");
  CHECK(expired);
  CHECK(cancelling == 0);
  CHECK_FALSE(early);
  CHECK(goes_on);
}

TEST_CASE("C79 with_timeout: gives what the callable returns, a reference as such", "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  int sum = 0;
  bool same = false;
  std::string moved;
  run_in(where, [&] {
    int here = 5;
    int& got = roving::with_timeout(24h, [&]() -> int& { return here; });
    same = &got == &here;
    sum = roving::with_timeout(std::nullopt, [] { return 1; }) +
        roving::with_deadline(roving::now() + 24h, [](roving::timeout_scope& scope) { return scope.when() ? 2 : 0; }) +
        roving::with_deadline(std::nullopt, [](const roving::timeout_scope& scope) { return scope.when() ? 0 : 4; });
    moved = *roving::with_timeout(24h, [] { return std::make_unique<std::string>("text"); });
  });
  CHECK(same);
  CHECK(sum == 7);
  CHECK(moved == "text");
}

TEST_CASE("C80 with_timeout: nested ones that pass together: only the outer one throws timeout_error",
          "[runtime][timeout]") {
  std::string inner;
  std::string outer;
  unsigned cancelling = 99;
  bool both_expired = false;
  run_in_order([&] {
    const auto deadline = roving::now() + 2ms;
    outer = thrown_by([&] {
      roving::with_deadline(deadline, [&](roving::timeout_scope& outside) {
        inner = thrown_by([&] {
          roving::with_deadline(deadline, [&](roving::timeout_scope& inside) {
            try {
              park();
            } catch (const roving::cancelled&) {
              both_expired = inside.expired() && outside.expired();
              throw;
            }
          });
        });
        throw roving::cancelled{};  // what it was
      });
    });
    cancelling = roving::this_task::cancelling();
  });
  CHECK(inner == "cancelled");
  CHECK(outer == "timeout");
  CHECK(both_expired);
  CHECK(cancelling == 0);
}

TEST_CASE("C81 with_timeout: when the inner one passes the outer one goes on, and the other way",
          "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  std::string inner;
  std::string outer;
  bool outer_expired = true;
  std::string inner_of_second;
  std::string second;
  run_in(where, [&] {
    outer = thrown_by([&] {
      roving::with_timeout(24h, [&](roving::timeout_scope& scope) {
        inner = thrown_by([&] { roving::with_timeout(1ms, [] { park(); }); });
        roving::yield();
        outer_expired = scope.expired();
      });
    });
    second = thrown_by([&] {
      roving::with_timeout(1ms, [&] {
        try {
          roving::with_timeout(24h, [] { park(); });
        } catch (const roving::cancelled&) {
          inner_of_second = "cancelled";
          throw;
        }
      });
    });
  });
  CHECK(inner == "timeout");
  CHECK(outer == "nothing");
  CHECK_FALSE(outer_expired);
  CHECK(inner_of_second == "cancelled");
  CHECK(second == "timeout");
}

TEST_CASE("C82 with_timeout: a cancel by others stays a cancel", "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  bool expired = true;
  run_in(where, [&] {
    auto task = roving::spawn(at(where, 1), [&] {
      roving::with_timeout(24h, [&](roving::timeout_scope& scope) {
        try {
          park();
        } catch (const roving::cancelled&) {
          expired = scope.expired();
          throw;
        }
      });
    });
    wait_until_waiting(task);
    task.cancel("m");
    thrown = thrown_by([&] { task.get(); });
  });
  CHECK(thrown == "cancelled: m");
  CHECK_FALSE(expired);
}

TEST_CASE("C82 with_timeout: a cancel by others and the timeout together are a cancel", "[runtime][timeout]") {
  std::string thrown;
  unsigned cancelling = 99;
  run_in_order([&] {
    auto task = roving::spawn([&] {
      try {
        roving::with_timeout(0ms, [&] { park(); });
      } catch (const roving::cancelled&) {
        cancelling = roving::this_task::cancelling();
        throw;
      }
    });
    roving::yield();  // it is in its scope, and its timeout is due
    task.cancel();
    thrown = thrown_by([&] { task.get(); });
  });
  CHECK(thrown == "cancelled");
  CHECK(cancelling == 1);
}

TEST_CASE("C83 timeout_scope: reschedule sets it earlier, later or never, and says when it can't",
          "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> thrown;
  std::vector<bool> has_deadline;
  bool refused_after_expiry = false;
  run_in(where, [&] {
    thrown.push_back(thrown_by([&] {
      roving::with_timeout(24h, [&](roving::timeout_scope& scope) {
        scope.reschedule(roving::now() + 1ms);
        has_deadline.push_back(scope.when().has_value());
        park();
      });
    }));
    thrown.push_back(thrown_by([&] {
      roving::with_timeout(1ms, [&](roving::timeout_scope& scope) {
        scope.reschedule(roving::now() + 24h);
        roving::sleep_for(2ms);
      });
    }));
    thrown.push_back(thrown_by([&] {
      roving::with_timeout(1ms, [&](roving::timeout_scope& scope) {
        scope.reschedule(std::nullopt);
        has_deadline.push_back(scope.when().has_value());
        roving::sleep_for(2ms);
      });
    }));
    thrown.push_back(thrown_by([&] {
      roving::with_timeout(std::nullopt, [&](roving::timeout_scope& scope) {
        scope.reschedule(roving::now() - 1ms);
        park();
      });
    }));
    thrown.push_back(thrown_by([&] {
      roving::with_timeout(1ms, [&](roving::timeout_scope& scope) {
        try {
          park();
        } catch (const roving::cancelled&) {
          try {
            scope.reschedule(roving::now() + 24h);
          } catch (const roving::broken_contract&) {
            refused_after_expiry = true;
          }
          throw;
        }
      });
    }));
  });
  CHECK(thrown == std::vector<std::string>{"timeout", "nothing", "nothing", "timeout", "timeout"});
  CHECK(has_deadline == std::vector<bool>{true, false});
  CHECK(refused_after_expiry);
}

TEST_CASE("C83 timeout_scope: rescheduled by another task of its shard, not by one of another shard",
          "[runtime][timeout]") {
  std::string thrown;
  bool refused = false;
  roving::run({.shards = 2}, [&] {
    thrown = thrown_by([&] {
      roving::with_timeout(std::nullopt, [&](roving::timeout_scope& scope) {
        auto stranger = roving::spawn(roving::on_shard(1), [&] {
          try {
            scope.reschedule(roving::now());
          } catch (const roving::broken_contract&) {
            refused = true;
          }
        });
        stranger.join();
        auto neighbour = roving::spawn([&] { scope.reschedule(roving::now()); });
        park();
      });
    });
  });
  CHECK(thrown == "timeout");
  CHECK(refused);
}

TEST_CASE("C84 with_timeout: with no time at all it goes on to the first suspension; without one nothing is thrown",
          "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  bool began = false;
  std::vector<std::string> thrown;
  int value = 0;
  unsigned cancelling = 99;
  run_in(where, [&] {
    thrown.push_back(thrown_by([&] {
      roving::with_timeout(0ms, [&] {
        began = true;
        park();
      });
    }));
    thrown.push_back(thrown_by([&] { value = roving::with_timeout(-1h, [] { return 3; }); }));
    cancelling = roving::this_task::cancelling();
    roving::yield();  // nothing of it comes later
    thrown.push_back(thrown_by([&] { roving::with_deadline(std::nullopt, [] { roving::yield(); }); }));
  });
  CHECK(began);
  CHECK(thrown == std::vector<std::string>{"timeout", "nothing", "nothing"});
  CHECK(value == 3);
  CHECK(cancelling == 0);
}

TEST_CASE(
    "C85 with_timeout: another exception after it has passed is thrown as it is; a swallowed cancel gives the value",
    "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  bool expired = false;
  int value = 0;
  unsigned cancelling = 99;
  run_in(where, [&] {
    thrown = thrown_by([&] {
      roving::with_timeout(1ms, [&](roving::timeout_scope& scope) {
        try {
          park();
        } catch (const roving::cancelled&) {
          expired = scope.expired();
          throw error("of its own");
        }
      });
    });
    value = roving::with_timeout(1ms, [] {
      try {
        park();
      } catch (const roving::cancelled&) {
      }
      return 4;
    });
    cancelling = roving::this_task::cancelling();
  });
  CHECK(thrown == "of its own");
  CHECK(expired);
  CHECK(value == 4);
  CHECK(cancelling == 0);
}

// asyncio nests the TimeoutError in it; here nothing is added to an exception of somebody else.
TEST_CASE("C85 timeout: a foreign exception propagates as the same object, and scope.expired() tells",
          "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  const bool nested = GENERATE(false, true);
  std::exception_ptr thrown_inside;
  std::exception_ptr seen_outside;
  bool expired = false;
  bool outer_expired = true;
  unsigned cancelling = 99;
  run_in(where, [&] {
    const auto body = [&](roving::timeout_scope& scope) {
      try {
        park();
      } catch (const roving::cancelled&) {
        try {
          throw error("while cleaning up");
        } catch (...) {
          thrown_inside = std::current_exception();
          expired = scope.expired();
          throw;
        }
      }
    };
    try {
      if (nested)
        roving::with_timeout(1h, [&](roving::timeout_scope& outer) {
          struct look {
            roving::timeout_scope& at;
            bool& into;
            ~look() { into = at.expired(); }
          } on_the_way_out{outer, outer_expired};
          roving::with_timeout(1ms, body);
        });
      else
        roving::with_timeout(1ms, body);
    } catch (...) {
      seen_outside = std::current_exception();
    }
    cancelling = roving::this_task::cancelling();
    roving::yield();  // and no cancel of the scope is left
  });
  REQUIRE(thrown_inside != nullptr);
  CHECK(seen_outside == thrown_inside);
  CHECK(expired);
  CHECK(outer_expired != nested);
  CHECK(cancelling == 0);
}

TEST_CASE("C86 with_timeout: in the cleanup of one that has passed, around a group, with a busy loop",
          "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  std::string outer;
  std::string inner;
  std::string around_group;
  std::atomic<int> children_cancelled{0};
  std::string busy;
  run_in(where, [&] {
    outer = thrown_by([&] {
      roving::with_timeout(1ms, [&] {
        try {
          park();
        } catch (const roving::cancelled&) {
          inner = thrown_by([] { roving::with_timeout(1ms, [] { park(); }); });
          throw;
        }
      });
    });
    around_group = thrown_by([&] {
      roving::with_timeout(1ms, [&] {
        roving::with_task_group([&](roving::task_group& group) {
          for (unsigned i = 0; i < 3; ++i)
            group.spawn(at(where, i), [&] {
              try {
                park();
              } catch (const roving::cancelled&) {
                ++children_cancelled;
                throw;
              }
            });
          while (children_cancelled < 3) roving::yield();
        });
      });
    });
    busy = thrown_by([&] {
      roving::with_timeout(1ms, [&] {
        const auto until = roving::now() + 3ms;
        while (roving::now() < until) {
        }
        park();
      });
    });
  });
  CHECK(outer == "timeout");
  CHECK(inner == "timeout");
  CHECK(around_group == "timeout");
  CHECK(busy == "timeout");
}

TEST_CASE("C87 sleep: a cancelled one leaves no timer behind", "[runtime][timeout]") {
  // A timer that is still set when its sleeper's stack goes would be found by its destructor, which is always checked.
  const place where = GENERATE(from_range(places()));
  const int sleepers = rounds(2000);
  std::atomic<int> woken{0};
  run_in(where, [&] {
    std::vector<roving::task<void>> tasks;
    for (int i = 0; i < sleepers; ++i)
      tasks.push_back(roving::spawn(at(where, static_cast<unsigned>(i)), [&] {
        try {
          roving::sleep_for(24h);
        } catch (const roving::cancelled&) {
          ++woken;
          throw;
        }
      }));
    for (auto& each : tasks) {
      wait_until_waiting(each);
      each.cancel();
    }
    for (auto& each : tasks) each.join();
  });
  CHECK(woken == sleepers);
}

TEST_CASE("with_timeout: timeouts and the end of the scope race; no cancel comes late", "[runtime][timeout]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(4000);
  std::atomic<int> outcomes{0};
  std::atomic<int> late{0};
  run_in(where, [&] {
    std::vector<roving::task<void>> tasks;
    for (unsigned i = 0; i < 4; ++i)
      tasks.push_back(roving::spawn(at(where, i), [&, i] {
        dice draw{i + 1};
        for (int turn = 0; turn < turns; ++turn) {
          try {
            roving::with_timeout(std::chrono::microseconds{draw() % 5}, [&](roving::timeout_scope& scope) {
              for (auto left = draw() % 4; left > 0; --left) roving::yield();
              if (draw() % 8 == 0 && !scope.expired()) {
                try {
                  scope.reschedule(roving::now() + std::chrono::microseconds{draw() % 3});
                } catch (const roving::broken_contract&) {  // it has expired meanwhile
                }
              }
            });
          } catch (const roving::timeout_error&) {
          }
          try {
            if (roving::this_task::cancelling() != 0) ++late;
            if (turn % 4 == 0) roving::yield();
          } catch (const roving::cancelled&) {
            ++late;
          }
          ++outcomes;
        }
      }));
    for (auto& each : tasks) each.join();
  });
  CHECK(outcomes == 4 * turns);
  CHECK(late == 0);
}

TEST_CASE("with_timeout: outside of tasks it is refused", "[runtime][timeout]") {
  bool ran = false;
  CHECK_THROWS_AS(roving::with_timeout(1s, [&] { ran = true; }), roving::not_in_task);
  CHECK_FALSE(ran);
}
