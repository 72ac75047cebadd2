// Tested: roving::generator. Tasks write down what they saw; the test's own thread checks it after run(). What ends a
// process is done in a forked child.
#include <array>
#include <atomic>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "scheduler/scheduler.hpp"
#include "scheduler/this_shard.hpp"
#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/caught.hpp"
#include "tests/support/in_a_child.hpp"
#include "tests/support/migrate.hpp"

using namespace roving_test;
using namespace std::chrono_literals;

static_assert(std::input_iterator<roving::generator<int>::iterator>);
static_assert(std::sentinel_for<std::default_sentinel_t, roving::generator<int>::iterator>);
static_assert(std::is_nothrow_move_constructible_v<roving::generator<int>>);
static_assert(!std::is_copy_constructible_v<roving::generator<int>>);

namespace {

roving::generator<int> count_to(int last) {
  return roving::generator<int>{[last](auto& yield_value) {
    for (int i = 0; i <= last; ++i) {
      roving::yield();
      yield_value(i);
    }
  }};
}

// Writes down how the body of a generator ends.
struct on_the_way_out {
  std::vector<std::string>& seen;
  std::string what = "unwound";
  ~on_the_way_out() { seen.push_back(what); }
};

// Errors that nobody caught, as text.
class unhandled_texts {
 public:
  roving::options options_for(unsigned shards) {
    roving::options chosen;
    chosen.shards = shards;
    chosen.on_unhandled = [this](const roving::unhandled& what) {
      const std::scoped_lock hold{mutex_};
      texts_.push_back(what.message.substr(0, what.message.find(", made at")));
    };
    return chosen;
  }
  [[nodiscard]] std::vector<std::string> texts() {
    const std::scoped_lock hold{mutex_};
    return texts_;
  }

 private:
  std::mutex mutex_;
  std::vector<std::string> texts_;
};

const std::string destroyed_where_it_cannot_be_unwound =
    "a generator was destroyed where its body can't be unwound; a task of its own does it";
const std::string destroyed_while_it_runs =
    "a generator was destroyed while its body runs, which is unwound at its next yield";

}  // namespace

// --- values ----------------------------------------------------------------------------------------------------------

TEST_CASE("generator: gives its values in order, to a loop and to next(), and then nothing", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> seen;
  bool done_before = true;
  bool done_after = false;
  bool empty_after = false;
  run_in(where, [&] {
    auto numbers = count_to(5);
    for (const int n : numbers) {
      seen.push_back(n);
      if (n == 2) break;
    }
    done_before = numbers.done();
    seen.push_back(numbers.next().value());
    for (const int n : numbers) seen.push_back(n * 10);  // goes on where the first loop was left
    done_after = numbers.done();
    empty_after = !numbers.next() && !numbers.next() && numbers.begin() == numbers.end();
  });
  CHECK(seen == std::vector<int>{0, 1, 2, 3, 40, 50});
  CHECK(!done_before);
  CHECK(done_after);
  CHECK(empty_after);
}

TEST_CASE("generator: values that can only be moved, and references to what the body has", "[runtime][generator]") {
  std::vector<std::string> seen;
  roving::run({.shards = 1}, [&] {
    roving::generator<std::unique_ptr<int>> moved{[](auto& yield_value) {
      yield_value(std::make_unique<int>(1));
      auto second = std::make_unique<int>(2);
      yield_value(std::move(second));
    }};
    const std::unique_ptr<int> first = *moved.next();
    for (auto& each : moved) seen.push_back(std::to_string(*first) + std::to_string(*std::exchange(each, nullptr)));

    roving::generator<std::string&> lines{[&](auto& yield_value) {
      std::string line = "a";
      yield_value(line);
      seen.push_back("body has " + line);
      line = "c";
      yield_value(line);
    }};
    *lines.next() += "b";
    for (std::string& line : lines) seen.push_back(line);
    seen.emplace_back(lines.next() == nullptr ? "end" : "more");

    roving::generator<const std::string&> constant{[](auto& yield_value) { yield_value("temporary"); }};
    for (const std::string& each : constant) seen.push_back(each);

    roving::generator<std::vector<int>> arrow{[](auto& yield_value) { yield_value(std::vector<int>(3)); }};
    for (auto at = arrow.begin(); at != arrow.end(); ++at) seen.push_back(std::to_string(at->size()));
  });
  CHECK(seen == std::vector<std::string>{"12", "body has ab", "c", "end", "temporary", "3"});
}

TEST_CASE("generator: a body may yield from any depth, and consume others", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  struct node {
    int value;
    std::unique_ptr<node> left;
    std::unique_ptr<node> right;
  };
  struct walk {
    static void in_order(const node* at, roving::generator<int>::yielder& yield_value) {
      if (at == nullptr) return;
      in_order(at->left.get(), yield_value);
      roving::yield();
      yield_value(at->value);
      in_order(at->right.get(), yield_value);
    }
    static std::unique_ptr<node> balanced(int first, int last) {
      if (first > last) return nullptr;
      const int middle = (first + last) / 2;
      return std::make_unique<node>(node{middle, balanced(first, middle - 1), balanced(middle + 1, last)});
    }
    // Each filters what the one before it gives: generators in generators.
    static roving::generator<int> sieve(roving::generator<int> from) {
      return roving::generator<int>{[from = std::move(from)](auto& yield_value) mutable {
        const std::optional<int> prime = from.next();
        if (!prime) return;
        yield_value(*prime);
        for (const int n : sieve(roving::generator<int>{[&](auto& yield_other) {
               for (const int each : from)
                 if (each % *prime != 0) yield_other(each);
             }}))
          yield_value(n);
      }};
    }
  };
  std::vector<int> values;
  std::vector<int> primes;
  run_in(where, [&] {
    const auto tree = walk::balanced(0, 62);
    roving::generator<int> all{[&](auto& yield_value) { walk::in_order(tree.get(), yield_value); }};
    for (const int n : all) values.push_back(n);
    roving::generator<int> from_two{[](auto& yield_value) {
      for (int i = 2; i < 40; ++i) yield_value(i);
    }};
    for (const int n : walk::sieve(std::move(from_two))) primes.push_back(n);
  });
  CHECK(values == numbers(63));
  CHECK(primes == std::vector<int>{2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37});
}

// --- part of the consuming task --------------------------------------------------------------------------------------

TEST_CASE("generator: the body is part of the task that asks", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  roving::context_var<int> number{0};
  std::vector<std::string> names;
  std::vector<int> numbers_seen;
  bool same_placement = true;
  run_in(where, [&] {
    roving::generator<int> shared{[&](auto& yield_value) {
      for (;;) {
        names.push_back(roving::this_task::name());
        same_placement = same_placement && roving::this_task::is_roving() == where.is_roving;
        number.set(number.get() + 1);
        roving::yield();
        yield_value(number.get());
      }
    }};
    for (const char* name : {"first", "second", "third"}) {
      roving::attributes what;
      what.name = name;
      what.placement = at(where, static_cast<unsigned>(names.size()));
      roving::spawn(what, [&] {
        number.set(100 * (static_cast<int>(names.size()) + 1));
        auto mine = std::move(shared);  // moved from task to task, in the middle
        numbers_seen.push_back(*mine.next());
        numbers_seen.push_back(number.get());
        shared = std::move(mine);
      }).get();
    }
  });
  CHECK(names == std::vector<std::string>{"first", "second", "third"});
  CHECK(numbers_seen == std::vector<int>{101, 101, 201, 201, 301, 301});
  CHECK(same_placement);
}

TEST_CASE("generator: what waits in the body parks the task and nobody else", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> turns{0};
  std::vector<int> seen;
  run_in(where, [&] {
    roving::event go_on;
    std::atomic<bool> is_parked{false};
    auto consumer = roving::spawn(at(where, 1), [&] {
      roving::generator<int> waits{[&](auto& yield_value) {
        yield_value(1);
        is_parked = true;
        go_on.wait();
        yield_value(2);
      }};
      for (const int n : waits) seen.push_back(n);
    });
    while (!is_parked) roving::yield();
    for (; turns < 10; ++turns) roving::yield();
    go_on.set();
    consumer.get();
  });
  CHECK(turns == 10);
  CHECK(seen == std::vector<int>{1, 2});
}

TEST_CASE("generator: a cancel is thrown in the body where it waits, and comes out of next()", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  run_in(where, [&] {
    std::atomic<int> waited{0};
    auto consumer = roving::spawn(at(where, 1), [&] {
      roving::generator<int> waits{[&](auto& yield_value) {
        yield_value(1);
        seen.push_back("body: " + thrown_by([] { park(); }));  // swallows it
        ++waited;
        yield_value(2);
        const on_the_way_out last{seen};
        park();
        yield_value(3);
      }};
      seen.push_back(std::to_string(*waits.next()));
      seen.push_back(std::to_string(*waits.next()));
      seen.push_back("consumer: " + thrown_by([&] { static_cast<void>(waits.next()); }));
      seen.emplace_back(waits.done() && !waits.next() ? "done" : "not done");
    });
    wait_until_waiting(consumer);
    consumer.cancel("first");
    while (waited < 1) roving::yield();
    wait_until_waiting(consumer);
    consumer.cancel("second");
    consumer.join();
  });
  CHECK(seen ==
        std::vector<std::string>{"1", "body: cancelled: first", "2", "unwound", "consumer: cancelled: second", "done"});
}

TEST_CASE("generator: what the body throws comes out of next(), once, and then it is done", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  run_in(where, [&] {
    roving::generator<int> throws{[](auto& yield_value) {
      yield_value(1);
      roving::yield();
      throw error("from the body");
    }};
    seen.push_back(thrown_by([&] {
      for (const int n : throws) seen.push_back(std::to_string(n));
    }));
    seen.push_back(thrown_by([&] { seen.emplace_back(throws.next() ? "value" : "end"); }));
    roving::generator<int> throws_first{[](auto&) { throw error("at once"); }};
    seen.push_back(thrown_by([&] { static_cast<void>(throws_first.next()); }));
    seen.emplace_back(throws_first.done() ? "done" : "not done");
  });
  CHECK(seen == std::vector<std::string>{"1", "from the body", "end", "nothing", "at once", "done"});
}

TEST_CASE("generator: an eager task goes on with its spawner when the body of its generator parks",
          "[runtime][generator]") {
  std::vector<std::string> seen;
  roving::run({.shards = 1}, [&] {
    roving::event go_on;
    roving::generator<int> outer{[&](auto& yield_value) {  // the spawner is itself in a body
      roving::attributes eager;
      eager.eager = true;
      auto child = roving::spawn(eager, [&] {
        roving::generator<int> inner{[&](auto& yield_inner) {
          seen.emplace_back("in the body");
          yield_inner(0);
          go_on.wait();
          yield_inner(1);
        }};
        for (const int n : inner) seen.push_back("child has " + std::to_string(n));
      });
      seen.emplace_back("spawner");
      yield_value(7);
      go_on.set();
      child.get();
      yield_value(8);
    }};
    for (const int n : outer) seen.push_back(std::to_string(n));
  });
  CHECK(seen == std::vector<std::string>{"in the body", "child has 0", "spawner", "7", "child has 1", "8"});
}

TEST_CASE("generator: bodies spawn, gather and time out as their tasks do", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  run_in(where, [&] {
    roving::generator<int> works{[&](auto& yield_value) {
      const auto [a, b] = roving::gather([] { return 1; }, [] { return 2; });
      yield_value(a + b);
      int sum = 0;
      roving::with_task_group([&](roving::task_group& group) { group.spawn(roving::here, [&] { sum += 4; }); });
      yield_value(sum);
      yield_value(roving::blocking([] { return 5; }));
      seen.push_back(thrown_by([&] { roving::with_timeout(1ms, [] { park(); }); }));
    }};
    roving::with_timeout(1min, [&] {
      for (const int n : works) seen.push_back(std::to_string(n));
    });
    // A deadline of the consumer reaches into the body.
    roving::generator<int> sleeps{[&](auto&) { park(); }};
    seen.push_back(thrown_by([&] { roving::with_timeout(1ms, [&] { static_cast<void>(sleeps.next()); }); }));
    std::atomic<int> in_group{0};
    roving::with_task_group([&](roving::task_group& group) {
      for (int i = 0; i < 8; ++i)
        group.spawn(at(where, static_cast<unsigned>(i)), [&] {
          for (const int n : count_to(3)) in_group += n;
        });
    });
    seen.push_back(std::to_string(in_group));
  });
  CHECK(seen == std::vector<std::string>{"3", "4", "5", "timeout", "timeout", "48"});
}

// --- broken contracts ------------------------------------------------------------------------------------------------

TEST_CASE("generator: one that runs is nobody else's, and not its own body's", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  std::vector<int> values;
  std::atomic<int> refused{0};
  run_in(where, [&] {
    roving::event go_on;
    roving::generator<int> shared;
    const auto refuses = [&](auto f) {
      try {
        f();
      } catch (const roving::concurrent_use&) {
        ++refused;
      }
    };
    shared = roving::generator<int>{[&](auto& yield_value) {
      refuses([&] { static_cast<void>(shared.next()); });
      refuses([&] { shared.close(); });
      go_on.wait();
      yield_value(1);
      yield_value(2);
    }};
    auto consumer = roving::spawn(at(where, 1), [&] {
      for (const int n : shared) values.push_back(n);
    });
    wait_until_waiting(consumer);
    refuses([&] { static_cast<void>(shared.next()); });
    refuses([&] { shared.close(); });
    refuses([&] {
      for (const int n : shared) values.push_back(-n);
    });
    go_on.set();
    consumer.get();
  });
  CHECK(refused == 5);
  CHECK(values == std::vector<int>{1, 2});
}

TEST_CASE("generator: calls where they make no sense throw, and nothing has changed", "[runtime][generator]") {
  std::vector<std::string> seen;
  const auto note = [&](auto f) {
    try {
      f();
      seen.emplace_back("nothing");
    } catch (const roving::not_in_task&) {
      seen.emplace_back("not_in_task");
    } catch (const roving::invalid_state&) {
      seen.emplace_back("invalid_state");
    } catch (const roving::broken_contract&) {
      seen.emplace_back("broken_contract");
    } catch (const std::invalid_argument&) {
      seen.emplace_back("invalid_argument");
    }
  };
  roving::generator<int> outside = count_to(1);
  note([&] { static_cast<void>(outside.next()); });
  roving::runtime first{{.shards = 1}};
  first.run([&] {
    roving::event called;
    roving::post([&] {
      note([&] { static_cast<void>(outside.next()); });
      called.set();
    });
    called.wait();
    note([&] { seen.push_back(std::to_string(*outside.next())); });
    roving::generator<int> empty;
    note([&] { static_cast<void>(empty.next()); });
    note([&] { static_cast<void>(empty.begin()); });
    note([&] { static_cast<void>(empty.done()); });
    note([&] { empty.close(); });
    note([] { const roving::generator<int> small{{.stack_size_bytes = 1}, [](auto&) {}}; });

    // Only a body yields, from its own stack.
    roving::generator<int> outer{[&](auto& yield_value) {
      roving::generator<int> inner{[&](auto&) { yield_value(0); }};
      note([&] { static_cast<void>(inner.next()); });
      note([&] { roving::spawn([&] { yield_value(0); }).get(); });
      // And in no scope that belongs to the task.
      note([&] { roving::with_timeout(1min, [&] { yield_value(0); }); });
      roving::with_task_group([&](roving::task_group&) { note([&] { yield_value(0); }); });
      yield_value(3);
    }};
    note([&] { seen.push_back(std::to_string(*outer.next())); });
  });
  std::thread{[&] {  // a runtime of its own
    roving::run({.shards = 1}, [&] {
      note([&] { static_cast<void>(outside.next()); });
      note([&] { outside.close(); });
    });
  }}
      .join();
  first.run([&] { note([&] { seen.push_back(std::to_string(*outside.next())); }); });
  first.close();
  CHECK(outside.done());
  CHECK(seen ==
        std::vector<std::string>{"not_in_task", "not_in_task", "0", "nothing", "invalid_state", "invalid_state",
                                 "invalid_state", "invalid_state", "invalid_argument", "broken_contract",
                                 "broken_contract", "broken_contract", "broken_contract", "3", "nothing",
                                 "broken_contract", "broken_contract", "1", "nothing"});
}

// --- exceptions belong to each activation (D4) -----------------------------------------------------------------------

TEST_CASE("generator: body and consumer each have their own caught exceptions, also when they migrate",
          "[runtime][generator]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  constexpr int tasks = 30;
  std::atomic<int> right{0};
  roving::run({.shards = shards}, [&] {
    test::migrator migrate;
    std::vector<roving::task<void>> all;
    for (int i = 0; i < tasks; ++i)
      all.push_back(roving::spawn(roving::anywhere, [&, i] {
        const auto hop = [&] {
          if (i % 10 == 0 && shards > 1)
            migrate();
          else
            roving::yield();
        };
        bool good = true;
        const auto expect = [&](const std::string& caught) {
          good = good && what_is_caught() == caught && std::uncaught_exceptions() == 0;
        };
        roving::generator<int> body{[&](auto& yield_value) {
          expect("nothing");  // though the consumer is in a handler
          try {
            throw error("body");
          } catch (const std::runtime_error&) {
            hop();
            expect("body");
            yield_value(1);
            expect("body");
            hop();
            try {
              throw error("inner");
            } catch (const std::runtime_error&) {
              yield_value(2);
              expect("inner");
            }
            expect("body");
            try {
              throw;
            } catch (const std::runtime_error& again) {
              good = good && std::string{again.what()} == "body";
            }
          }
          expect("nothing");
          yield_value(3);
        }};
        const std::string mine = "consumer " + std::to_string(i);
        try {
          throw error(mine);
        } catch (const std::runtime_error&) {
          static_cast<void>(body.next());
          expect(mine);
          hop();
        }
        expect("nothing");
        static_cast<void>(body.next());
        expect("nothing");
        try {
          throw error(mine);
        } catch (const std::runtime_error&) {
          static_cast<void>(body.next());
          expect(mine);
          static_cast<void>(body.next());
          expect(mine);
        }
        if (good) ++right;
      }));
    for (auto& each : all) each.join();
  });
  CHECK(right == tasks);
}

TEST_CASE("generator: next() while the consumer unwinds: the body does not, and no cancel comes",
          "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  run_in(where, [&] {
    std::atomic<bool> in_body{false};
    roving::event go_on;
    auto consumer = roving::spawn(at(where, 1), [&] {
      roving::generator<int> body{[&](auto& yield_value) {
        seen.push_back("uncaught " + std::to_string(std::uncaught_exceptions()));
        in_body = true;
        go_on.wait();  // held back here
        yield_value(1);
      }};
      struct asks {
        roving::generator<int>& body;
        std::vector<std::string>& seen;
        ~asks() {
          seen.push_back(std::to_string(*body.next()));
          seen.push_back("uncaught " + std::to_string(std::uncaught_exceptions()));
        }
      };
      seen.push_back(thrown_by([&] {
        const asks last{body, seen};
        throw error("unwinds");
      }));
      seen.push_back(thrown_by([] { roving::yield(); }));
    });
    while (!in_body) roving::yield();
    consumer.cancel("m");
    go_on.set();
    consumer.join();
  });
  CHECK(seen == std::vector<std::string>{"uncaught 0", "1", "uncaught 1", "unwinds", "cancelled: m"});
}

TEST_CASE("generator: a no_cancel of the body holds cancels back in the body alone, whoever asks",
          "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  run_in(where, [&] {
    std::atomic<int> waits{0};
    roving::event go_on;
    roving::generator<int> body{[&](auto& yield_value) {
      {
        const roving::no_cancel hold_back;
        yield_value(1);
        ++waits;
        go_on.wait();
        yield_value(2);
      }
      seen.push_back("body: " + thrown_by([] { roving::yield(); }));
      yield_value(3);
    }};
    auto first = roving::spawn(at(where, 0), [&] {
      seen.push_back(std::to_string(*body.next()));
      ++waits;
      seen.push_back("first: " + thrown_by([] { park(); }));  // outside of the body's scope
    });
    while (waits < 1) roving::yield();
    wait_until_waiting(first);
    first.cancel();
    first.join();
    auto second = roving::spawn(at(where, 1), [&] {
      seen.push_back(std::to_string(*body.next()));
      seen.push_back(std::to_string(*body.next()));
      seen.push_back("second: " + thrown_by([] { roving::yield(); }));
    });
    while (waits < 2) roving::yield();
    second.cancel("late");
    go_on.set();
    second.join();
  });
  CHECK(seen ==
        std::vector<std::string>{"1", "first: cancelled", "2", "body: cancelled: late", "3", "second: nothing"});
}

// --- the end ---------------------------------------------------------------------------------------------------------

TEST_CASE("generator: destroyed in the middle it unwinds at its yield, and its cleanup may suspend",
          "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  const int unhandled = run_in(where, [&] {
    std::atomic<bool> cleans_up{false};
    roving::event go_on;
    auto consumer = roving::spawn(at(where, 1), [&] {
      {
        roving::generator<int> body{[&](auto& yield_value) {
          const on_the_way_out last{seen};
          try {
            for (int i = 0;; ++i) yield_value(i);
          } catch (const roving::generator_exit&) {
            cleans_up = true;
            go_on.wait();  // a cancel is held back
            roving::yield();
            seen.emplace_back("cleaned up");
            throw;
          }
        }};
        for (const int n : body)
          if (n == 2) break;
      }
      seen.push_back("consumer: " + thrown_by([] { roving::yield(); }));
    });
    while (!cleans_up) roving::yield();
    consumer.cancel("m");
    go_on.set();
    consumer.join();

    // While its task unwinds from an exception.
    seen.push_back(thrown_by([&] {
      roving::generator<int> body{[&](auto& yield_value) {
        const on_the_way_out last{seen, "unwound in an unwinding"};
        yield_value(0);
      }};
      static_cast<void>(body.next());
      throw error("outer");
    }));
    // By another one that is put in its place, and by returning instead of rethrowing.
    roving::generator<int> body{[&](auto& yield_value) {
      const on_the_way_out last{seen, "replaced"};
      try {
        yield_value(0);
      } catch (const roving::generator_exit&) {
      }
    }};
    static_cast<void>(body.next());
    body = count_to(0);
    seen.push_back(std::to_string(*body.next()));
  });
  CHECK(unhandled == 0);
  CHECK(seen ==
        std::vector<std::string>{"cleaned up", "unwound", "consumer: cancelled: m", "unwound in an unwinding", "outer",
                                 "replaced", "0"});
}

TEST_CASE("generator: a body that never began does not run; its callable is destroyed", "[runtime][generator]") {
  const auto alive = std::make_shared<int>(0);
  bool ran = false;
  {
    const roving::generator<int> outside{[&ran, alive](auto&) { ran = true; }};  // on a plain thread
    CHECK(alive.use_count() == 2);
  }
  CHECK(alive.use_count() == 1);
  bool done = false;
  bool ended = false;
  roving::run({.shards = 1}, [&] {
    roving::generator<int> closed{[&ran, alive](auto&) { ran = true; }};
    closed.close();
    done = closed.done();
    ended = !closed.next();
  });
  CHECK(done);
  CHECK(ended);
  CHECK(!ran);
  CHECK(alive.use_count() == 1);
}

TEST_CASE("generator: its callable goes when the body has ended", "[runtime][generator]") {
  const auto alive = std::make_shared<int>(0);
  long at_end = 0;
  roving::run({.shards = 1}, [&] {
    roving::generator<int> body{[alive](auto& yield_value) { yield_value(1); }};
    while (body.next()) {
    }
    at_end = alive.use_count();
  });
  CHECK(at_end == 1);
}

TEST_CASE("generator: close() throws what the body throws on its way out", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  unhandled_texts unhandled;
  const roving::options chosen = unhandled.options_for(where.shards);
  const auto throws = [] {
    return roving::generator<int>{[](auto& yield_value) {
      try {
        yield_value(0);
      } catch (const roving::generator_exit&) {
        roving::yield();
        throw error("on the way out");
      }
    }};
  };
  roving::run(chosen, [&] {
    roving::spawn(at(where, 1), [&] {
      auto closed = throws();
      static_cast<void>(closed.next());
      seen.push_back(thrown_by([&] { closed.close(); }));
      seen.push_back(thrown_by([&] { closed.close(); }));
      seen.emplace_back(closed.done() ? "done" : "not done");
      {
        auto destroyed = throws();
        static_cast<void>(destroyed.next());
      }
    }).get();
  });
  CHECK(seen == std::vector<std::string>{"on the way out", "nothing", "done"});
  CHECK(unhandled.texts() == std::vector<std::string>{"a generator's body threw while it was unwound"});
}

TEST_CASE("generator: close() of a body that swallows generator_exit and yields again is a broken contract",
          "[runtime][generator]") {
  std::vector<std::string> seen;
  roving::run({.shards = 1}, [&] {
    roving::generator<int> stubborn{[&](auto& yield_value) {
      for (int i = 0; i < 2; ++i) {
        try {
          yield_value(i);
        } catch (const roving::generator_exit&) {
          seen.emplace_back("swallowed");
        }
      }
      yield_value(2);
    }};
    static_cast<void>(stubborn.next());
    for (int i = 0; i < 3; ++i) {
      try {
        stubborn.close();
        seen.emplace_back("closed");
      } catch (const roving::broken_contract&) {
        seen.emplace_back("broken_contract");
      }
    }
  });
  CHECK(seen == std::vector<std::string>{"swallowed", "broken_contract", "swallowed", "broken_contract", "closed"});
}

TEST_CASE("generator: destroying one whose body swallows generator_exit and yields again ends the process, and says so",
          "[runtime][generator]") {
  const test::child_end seen = test::in_a_child([] {
    roving::run({.shards = 1}, [] {
      roving::generator<int> stubborn{[](auto& yield_value) {
        for (;;) {
          try {
            yield_value(0);
          } catch (...) {
          }
        }
      }};
      static_cast<void>(stubborn.next());
    });
  });
  CHECK(seen.text.find("caught generator_exit and yielded again") != std::string::npos);
  CHECK(seen.text.find("generator_test.cpp") != std::string::npos);
  CHECK(seen.signal == SIGABRT);
}

TEST_CASE("generator: destroyed where nothing can be unwound, a task of its own does it", "[runtime][generator]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  std::vector<std::string> seen;
  std::vector<unsigned> where;
  unhandled_texts unhandled;
  const roving::options chosen = unhandled.options_for(shards);
  roving::run(chosen, [&] {
    roving::event unwound;
    const auto begun = [&] {
      roving::generator<int> made{[&](auto& yield_value) {
        struct last {
          std::vector<unsigned>& where;
          roving::event& unwound;
          ~last() {
            const roving::no_cancel hold_back;
            roving::yield();
            where.push_back(roving::this_task::shard());
            unwound.set();
          }
        } const end{where, unwound};
        yield_value(0);
      }};
      static_cast<void>(made.next());
      return made;
    };
    const auto in_turn = [&](auto f) {  // on its own shard, the last one
      roving::spawn(roving::on_shard(shards - 1), [&] {
        f();
        unwound.wait();
        unwound.clear();
      }).get();
    };
    in_turn([&] { roving::post([kept = begun()]() mutable { const auto gone = std::move(kept); }); });
    in_turn([&] {  // from another thread
      roving::blocking([kept = begun()]() mutable { const auto gone = std::move(kept); });
    });
    in_turn([&] {  // in a callback of another shard
      roving::on_shard(0).post([kept = begun()]() mutable { const auto gone = std::move(kept); });
    });
  });
  CHECK(where == std::vector<unsigned>(3, shards - 1));
  CHECK(unhandled.texts() == std::vector<std::string>(3, destroyed_where_it_cannot_be_unwound));
}

TEST_CASE("generator: destroyed while its body runs, it is unwound at its next yield", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  unhandled_texts unhandled;
  const roving::options chosen = unhandled.options_for(where.shards);
  roving::run(chosen, [&] {
    roving::spawn(at(where, 1), [&] {
      std::optional<roving::generator<int>> own;
      own.emplace([&](auto& yield_value) {  // by its own body
        const on_the_way_out last{seen, "own"};
        own.reset();
        roving::yield();
        yield_value(1);
        seen.emplace_back("not reached");
      });
      seen.push_back(std::to_string(own->next().value()));
      seen.emplace_back(own ? "there" : "gone");

      std::unique_ptr<roving::generator<int>> other;
      other = std::make_unique<roving::generator<int>>([&](auto& yield_value) {  // in a loop, by another task
        const on_the_way_out last{seen, "other"};
        yield_value(1);
        roving::spawn(roving::here, [&] { other.reset(); }).get();
        yield_value(2);
        seen.emplace_back("not reached");
      });
      for (const int n : *other) seen.push_back(std::to_string(n));

      std::unique_ptr<roving::generator<int>> ends;
      ends = std::make_unique<roving::generator<int>>([&](auto&) { ends.reset(); });  // and then it just ends
      seen.emplace_back(ends->next() ? "value" : "end");
    }).get();
  });
  CHECK(seen == std::vector<std::string>{"own", "1", "gone", "1", "other", "end"});
  CHECK(unhandled.texts() == std::vector<std::string>(3, destroyed_while_it_runs));
}

// --- shutdown --------------------------------------------------------------------------------------------------------

TEST_CASE("C121 shutdown: a generator in a task's frame unwinds with its task; its cleanup may await",
          "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  roving::options chosen;
  chosen.shards = where.shards;
  roving::runtime runtime{chosen};
  runtime.run([&] {
    std::atomic<bool> waits{false};
    roving::spawn(at(where, 1), [&] {
      const on_the_way_out task_ends{seen, "task"};
      roving::generator<int> body{[&](auto& yield_value) {
        const on_the_way_out body_ends{seen, "body"};
        try {
          yield_value(0);
        } catch (const roving::generator_exit&) {
          roving::sleep_for(1us);
          seen.push_back(roving::blocking([] { return std::string{"cleanup"}; }));
          throw;
        }
      }};
      static_cast<void>(body.next());
      waits = true;
      park();
    }).detach();
    while (!waits) roving::yield();
  });
  runtime.close();
  CHECK(seen == std::vector<std::string>{"cleanup", "body", "task"});
}

TEST_CASE("C121 shutdown: tasks, then generators that outlived them, then the executor, then the loop",
          "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  unhandled_texts unhandled;
  const roving::options chosen = unhandled.options_for(where.shards);
  roving::runtime runtime{chosen};
  std::vector<roving::generator<int>> outlive;
  std::atomic<int> cleaned_up{0};
  runtime.run([&] {
    roving::spawn(at(where, 1), [&] {
      for (int i = 0; i < 3; ++i) {
        outlive.emplace_back([&, i](auto& yield_value) {
          try {
            yield_value(i);
          } catch (const roving::generator_exit&) {
            if (i == 0) seen.emplace_back("generator");
            roving::sleep_for(1us);
            roving::blocking([&] { ++cleaned_up; });
            roving::spawn([&] { roving::yield(); }).get();
            if (i == 2) throw error("on the way out");
            throw;
          }
        });
        static_cast<void>(outlive.back().next());
      }
    }).get();
    std::atomic<bool> waits{false};
    roving::spawn(at(where, 1), [&] {
      waits = true;
      try {
        park();
      } catch (const roving::cancelled&) {
        roving::yield();
        seen.emplace_back("task");
        throw;
      }
    }).detach();
    while (!waits) roving::yield();
  });
  runtime.close();
  CHECK(seen == std::vector<std::string>{"task", "generator"});
  CHECK(cleaned_up == 3);
  for (const auto& each : outlive) CHECK(each.done());
  CHECK(unhandled.texts() == std::vector<std::string>{"a generator's body threw while it was unwound"});
}

TEST_CASE("C121 shutdown: a generator whose cleanup waits for ever is named by the place where it was made",
          "[runtime][generator]") {
  std::string names;
  roving::event go_on;
  roving::options chosen;
  chosen.shards = 1;
  chosen.shutdown_deadline = 1ms;
  chosen.on_shutdown_stuck = [&](const std::string& which) {
    names = which;
    go_on.set();
  };
  roving::runtime runtime{chosen};
  roving::generator<int> outlives{[&](auto& yield_value) {
    try {
      yield_value(0);
    } catch (const roving::generator_exit&) {
      go_on.wait();
      throw;
    }
  }};
  runtime.run([&] { static_cast<void>(outlives.next()); });
  runtime.close();
  CHECK(outlives.done());
  CHECK(names.find("generator_test.cpp") != std::string::npos);
}

// --- stacks ----------------------------------------------------------------------------------------------------------

// That none is lost the pool itself asserts, when the runtime closes.
TEST_CASE("generator: stacks are given back, to whichever shard the body ends on", "[runtime][generator]") {
  const place where = GENERATE(from_range(places()));
  std::size_t made_before = 0;
  std::size_t made_after = 0;
  run_in(where, [&] {
    const auto made = [] { return roving::detail::this_shard()->owner().stacks().counters().made; };
    made_before = made();
    for (int i = 0; i < rounds(4000); ++i) {
      auto body = count_to(1);
      if (i % 2 == 0) {
        for ([[maybe_unused]] const int n : body) {
        }
      } else {
        static_cast<void>(body.next());
        roving::spawn(at(where, static_cast<unsigned>(i / 2)), [body = std::move(body)]() mutable {
          static_cast<void>(body.next());
        }).get();
      }
    }
    made_after = made();
  });
  const std::size_t kept_by_a_shard = where.shards == 1 ? 0 : roving::detail::stack_cache::kept_at_most;
  CHECK(made_after - made_before <= where.shards * (kept_by_a_shard + 3));
}

namespace {

[[gnu::noinline]] int recurse(int depth) {
  std::array<volatile char, 512> frame;
  frame[0] = static_cast<char>(depth);
  const int below = depth > 0 ? recurse(depth - 1) : 0;
  return below + frame[0];
}

}  // namespace

TEST_CASE("generator: its stack can be made larger", "[runtime][generator]") {
  int sum = 0;
  roving::run({.shards = 1}, [&] {
    roving::generator<int> deep{{.stack_size_bytes = std::size_t{8} * 1024 * 1024},
                                [](auto& yield_value) { yield_value(recurse(3000)); }};
    sum = *deep.next();
  });
  CHECK(sum == recurse(3000));
}

TEST_CASE("generator: a stack overflow in a body is reported with the name of the task that is in it",
          "[runtime][generator]") {
  if (roving::detail::address_sanitizer || roving::detail::thread_sanitizer) return;  // they report it themselves
  const unsigned shards = GENERATE(1u, 2u);
  const test::child_end seen = test::in_a_child([&] {
    roving::run({.shards = shards}, [&] {
      roving::generator<int> body{[](auto& yield_value) {
        yield_value(0);
        roving::yield();
        yield_value(recurse(1'000'000));
      }};
      static_cast<void>(body.next());
      roving::attributes what;
      what.name = "reader";
      what.placement = roving::on_shard(shards - 1);
      roving::spawn(what, [&] { static_cast<void>(body.next()); }).get();
    });
  });
  CHECK(seen.text.find("roving: stack overflow in task \"reader\" (spawned at ") != std::string::npos);
  CHECK(seen.text.find("generator_test.cpp") != std::string::npos);
  CHECK(seen.text.find("in a generator's stack of 262144 bytes; use generator_attributes") != std::string::npos);
  CHECK(seen.signal == SIGSEGV);
}

// --- stress ----------------------------------------------------------------------------------------------------------

TEST_CASE("generator: thousands that migrate in their bodies and go from task to task keep their values",
          "[runtime][generator]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  const int count = rounds(4000);
  std::atomic<long> sum{0};
  std::atomic<int> unwound{0};
  std::atomic<int> cancelled_ones{0};
  roving::run({.shards = shards}, [&] {
    roving::queue<roving::generator<int>> between{64};
    const auto make = [&](int number) {
      return roving::generator<int>{[&, number](auto& yield_value) {
        struct last {
          std::atomic<int>& count;
          ~last() { ++count; }
        } const end{unwound};
        for (int i = 0;; ++i) {
          if (number % 3 == 0)
            roving::sleep_for(std::chrono::microseconds{number % 50});
          else
            roving::yield();
          try {
            throw number + i;
          } catch (int thrown) {
            yield_value(thrown);  // in a handler
          }
        }
      }};
    };
    std::vector<roving::task<void>> tasks;
    for (int i = 0; i < 8; ++i)
      tasks.push_back(roving::spawn(roving::anywhere, [&] {
        for (;;) {
          std::optional<roving::generator<int>> taken;
          try {
            taken = between.get();
          } catch (const roving::queue_shut_down&) {
            return;
          }
          for (int step = 0; step < 2; ++step) sum += taken->next().value();
        }
      }));
    for (int i = 0; i < 8; ++i)
      tasks.push_back(roving::spawn(roving::anywhere, [&, i] {
        for (int number = i; number < count; number += 8) {
          auto made = make(number);
          sum += made.next().value();
          if (number % 5 != 0) {
            between.put(std::move(made));
            continue;
          }
          auto victim = roving::spawn(roving::anywhere, [made = std::move(made)]() mutable {
            for (;;) static_cast<void>(made.next());
          });
          roving::yield();
          victim.cancel();
          victim.join();
          if (victim.cancelled()) ++cancelled_ones;
        }
      }));
    for (std::size_t i = 8; i < tasks.size(); ++i) tasks[i].get();
    between.shutdown();
    for (auto& each : tasks) each.join();
  });
  long expected = 0;
  int cancels = 0;
  for (int number = 0; number < count; ++number) {
    expected += number;
    if (number % 5 == 0)
      ++cancels;
    else
      expected += 2 * number + 3;
  }
  CHECK(sum == expected);
  CHECK(unwound == count);
  CHECK(cancelled_ones == cancels);
}
