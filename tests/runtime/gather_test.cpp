// Tested: gather and gather_settled, of callables and of handles. Tasks write down what they saw; the test's own thread
// checks it after run().
#include <algorithm>
#include <atomic>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;
using namespace std::chrono_literals;

TEST_CASE("C59 gather: results are in argument order whatever the order of completion", "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  std::vector<int> of_handles;
  std::vector<int> of_range;
  std::vector<int> of_callables;
  run_in(where, [&] {
    constexpr int count = 5;
    std::vector<roving::event> turns(count + 1);
    const auto wait_for_turn = [&turns](int i) {
      turns[static_cast<std::size_t>(i)].wait();
      if (i > 0) turns[static_cast<std::size_t>(i - 1)].set();  // the last one first
      return i;
    };
    std::vector<roving::task<int>> tasks;
    for (int i = 0; i < count; ++i)
      tasks.push_back(roving::spawn(at(where, static_cast<unsigned>(i)), [=] { return wait_for_turn(i); }));
    turns[count - 1].set();
    for (const int each : roving::gather(tasks)) of_range.push_back(each);
    auto [a, b, c] = roving::gather(tasks[2], tasks[0], tasks[4]);
    of_handles = {a, b, c};

    for (auto& each : turns) each.clear();
    std::vector<std::function<int()>> functions;
    for (int i = 0; i < count; ++i) functions.emplace_back([=] { return wait_for_turn(i); });
    turns[count - 1].set();
    of_callables = roving::gather(functions);
  });
  CHECK(of_range == numbers(5));
  CHECK(of_handles == std::vector<int>{2, 0, 4});
  CHECK(of_callables == numbers(5));
}

TEST_CASE("C59 gather: the last end is told two generations later", "[runtime][gather]") {
  int ended = 0;
  int gathered = 0;
  run_in_order([&] {
    const generations clock;
    roving::promise<void> go;
    auto going = go.get_future();
    auto child = roving::spawn([&] {
      going.get();
      ended = clock.now();
    });
    auto gatherer = roving::spawn([&] {
      roving::gather(child);
      gathered = clock.now();
    });
    for (int i = 0; i < 3; ++i) roving::yield();
    go.set_value();
    gatherer.join();
  });
  CHECK(gathered == ended + 2);
}

TEST_CASE("C59 gather: what is done already is gathered without a suspension", "[runtime][gather]") {
  bool other_ran = true;
  int sum = 0;
  run_in_order([&] {
    auto a = roving::spawn([] { return 1; });
    auto b = roving::spawn([] { return 2; });
    roving::yield();
    other_ran = false;
    auto other = roving::spawn([&] { other_ran = true; });
    auto [x, y] = roving::gather(a, b);
    sum = other_ran ? 0 : x + y;
    other.join();
  });
  CHECK(sum == 3);
}

TEST_CASE("C59 gather: values are references from lvalues and moved out of rvalues, nothing is monostate",
          "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  bool same_object = false;
  int moved = 0;
  bool void_is_monostate = false;
  int of_futures = 0;
  run_in(where, [&] {
    auto kept = roving::spawn(at(where, 1), [] { return std::make_unique<int>(7); });
    auto [first] = roving::gather(kept);
    auto [second] = roving::gather(kept);
    same_object = &first == &second;
    auto [taken, nothing] = roving::gather(std::move(kept), roving::spawn(at(where, 2), [] {}));
    static_assert(std::is_same_v<decltype(taken), std::unique_ptr<int>>);
    moved = *taken;
    void_is_monostate = std::is_same_v<decltype(nothing), std::monostate>;

    roving::promise<std::string> single;
    roving::promise<int> shared;
    auto one = single.get_future();
    const auto many = shared.get_future().share();
    auto keeper = roving::spawn(at(where, 3), [&] {
      single.set_value("text");
      shared.set_value(5);
    });
    auto [text, a, b] = roving::gather(one, many, many);
    static_assert(std::is_same_v<decltype(text), std::string>);
    static_assert(std::is_same_v<decltype(a), const int&>);
    of_futures = a + b + static_cast<int>(text.size());
    keeper.join();
  });
  CHECK(same_object);
  CHECK(moved == 7);
  CHECK(void_is_monostate);
  CHECK(of_futures == 14);
}

TEST_CASE("C60 gather: of nothing it is empty, and suspends nobody", "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  bool empty = false;
  run_in(where, [&] {
    std::vector<roving::task<int>> none;
    std::vector<std::function<int()>> no_functions;
    static_assert(std::tuple_size_v<decltype(roving::gather())> == 0);
    static_assert(std::tuple_size_v<decltype(roving::gather_settled())> == 0);
    empty =
        roving::gather(none).empty() && roving::gather_settled(none).empty() && roving::gather(no_functions).empty();
  });
  CHECK(empty);
}

TEST_CASE("C61 gather: the same task thrice runs once and gives its result thrice", "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> runs{0};
  int sum = 0;
  std::size_t in_range = 0;
  run_in(where, [&] {
    auto task = roving::spawn(at(where, 1), [&] {
      ++runs;
      roving::yield();
      return 3;
    });
    auto [a, b, c] = roving::gather(task, task, task);
    sum = a + b + c;
    in_range = roving::gather(std::vector<roving::task<int>*>{&task, &task}).size();
  });
  CHECK(runs == 1);
  CHECK(sum == 9);
  CHECK(in_range == 2);
}

TEST_CASE("C62 gather: the first failure is thrown at once, siblings go on, later failures are not reported",
          "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  bool sibling_went_on = false;
  std::atomic<bool> sibling_cancelled{false};
  const int reports = run_in(where, [&] {
    roving::event go_on;
    auto fails = roving::spawn(at(where, 1), [] { throw error("first"); });
    auto goes_on = roving::spawn(at(where, 2), [&] {
      try {
        go_on.wait();
      } catch (const roving::cancelled&) {
        sibling_cancelled = true;
        throw;
      }
      return 1;
    });
    auto fails_later = roving::spawn(at(where, 3), [&] {
      go_on.wait();
      throw error("later");
    });
    thrown = thrown_by([&] { roving::gather(fails, goes_on, fails_later); });
    sibling_went_on = !goes_on.done();
    go_on.set();
    goes_on.join();
    fails_later.join();
  });
  CHECK(thrown == "first");
  CHECK(sibling_went_on);
  CHECK_FALSE(sibling_cancelled);
  CHECK(reports == 0);
}

TEST_CASE("C63 gather: the settled form has values and exceptions in their places, cancelled too",
          "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  std::vector<std::string> of_callables;
  const int reports = run_in(where, [&] {
    auto fails = roving::spawn(at(where, 1), []() -> int { throw error("x"); });
    auto works = roving::spawn(at(where, 2), [] { return 1; });
    auto is_cancelled = roving::spawn(at(where, 3), []() -> int {
      park();
      return 2;
    });
    wait_until_waiting(is_cancelled);
    is_cancelled.cancel("m");
    std::vector<roving::task<int>*> all{&fails, &works, &is_cancelled};
    for (const auto& each : roving::gather_settled(all))
      seen.push_back(each.has_value() ? std::to_string(each.value()) : thrown_by([&] { (void)each.value(); }));

    const auto ends = roving::gather_settled([]() -> int { throw error("y"); }, [] { return std::string{"value"}; },
                                             [] { roving::yield(); });
    of_callables = {thrown_by([&] { (void)std::get<0>(ends).value(); }), std::get<1>(ends).value(),
                    thrown_by([&] { std::get<2>(ends).value(); })};
  });
  CHECK(seen == std::vector<std::string>{"x", "1", "cancelled"});
  CHECK(of_callables == std::vector<std::string>{"y", "value", "nothing"});
  CHECK(reports == 0);
}

TEST_CASE("C64 gather: a cancelled child makes it throw cancelled; nobody else is cancelled", "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  unsigned caller_cancelling = 99;
  bool sibling_done = true;
  int sibling_value = 0;
  run_in(where, [&] {
    roving::event go_on;
    auto is_cancelled = roving::spawn(at(where, 1), [] { park(); });
    auto goes_on = roving::spawn(at(where, 2), [&] {
      go_on.wait();
      return 1;
    });
    wait_until_waiting(is_cancelled);
    is_cancelled.cancel();
    thrown = thrown_by([&] { roving::gather(is_cancelled, goes_on); });
    caller_cancelling = roving::this_task::cancelling();
    sibling_done = goes_on.done();
    go_on.set();
    sibling_value = goes_on.get();
  });
  CHECK(thrown == "cancelled");
  CHECK(caller_cancelling == 0);
  CHECK_FALSE(sibling_done);
  CHECK(sibling_value == 1);
}

TEST_CASE("C65 gather: cancelling it cancels all; the plain form throws when the first has ended cancelled",
          "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  bool slow_one_done = true;
  std::atomic<int> cancelled{0};
  run_in(where, [&] {
    roving::event end_slow;
    const auto child = [&](bool slow) {
      try {
        park();
      } catch (const roving::cancelled&) {
        ++cancelled;
        if (slow) end_slow.wait();
        throw;
      }
    };
    auto quick = roving::spawn(at(where, 1), [&] { child(false); });
    auto slow = roving::spawn(at(where, 2), [&] { child(true); });
    wait_until_waiting(quick);
    wait_until_waiting(slow);
    auto gatherer = roving::spawn(at(where, 3), [&] { roving::gather(quick, slow); });
    wait_until_waiting(gatherer);
    gatherer.cancel("m");
    thrown = thrown_by([&] { gatherer.get(); });
    slow_one_done = slow.done();
    end_slow.set();
    slow.join();
  });
  CHECK(thrown == "cancelled: m");
  CHECK_FALSE(slow_one_done);
  CHECK(cancelled == 2);
}

TEST_CASE("C65 gather: cancelled, the settled form and the callable form throw only when all have ended",
          "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  const bool callables = GENERATE(false, true);
  std::atomic<int> ended{0};
  int ended_when_thrown = 0;
  std::string thrown;
  run_in(where, [&] {
    std::atomic<int> started{0};
    const auto child = [&](int turns) {
      ++started;
      try {
        park();
      } catch (const roving::cancelled&) {  // swallowed: cancelled is thrown all the same
        for (int i = 0; i < turns; ++i) roving::yield();
      }
      ++ended;
    };
    auto gatherer = roving::spawn(at(where, 1), [&] {
      std::vector<std::function<void()>> functions{[&] { child(0); }, [&] { child(5); }, [&] { child(2); }};
      try {
        if (callables) {
          roving::gather(functions);
        } else {
          std::vector<roving::task<void>> tasks;
          for (auto& each : functions)
            tasks.push_back(roving::spawn(at(where, static_cast<unsigned>(tasks.size())), each));
          roving::gather_settled(tasks);
        }
      } catch (const roving::cancelled&) {
        ended_when_thrown = ended;
        throw;
      }
    });
    while (started < 3) roving::yield();
    wait_until_waiting(gatherer);
    gatherer.cancel();
    thrown = thrown_by([&] { gatherer.get(); });
  });
  CHECK(thrown == "cancelled");
  CHECK(ended_when_thrown == 3);
}

TEST_CASE("C66 gather: a cancel after it has thrown does not reach its children", "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  bool taken = true;
  int value = 0;
  run_in(where, [&] {
    roving::event go_on;
    auto fails = roving::spawn(at(where, 1), [] { throw error("x"); });
    auto goes_on = roving::spawn(at(where, 2), [&] {
      go_on.wait();
      return 1;
    });
    auto gatherer = roving::spawn(at(where, 3), [&] { (void)thrown_by([&] { roving::gather(fails, goes_on); }); });
    gatherer.join();
    taken = gatherer.cancel();
    roving::yield();
    go_on.set();
    value = goes_on.get();
  });
  CHECK_FALSE(taken);
  CHECK(value == 1);
}

TEST_CASE("gather: of callables the first failure cancels the others and is thrown when all have ended",
          "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  std::atomic<int> cleaned{0};
  int cleaned_when_thrown = 0;
  bool clean_ends = false;
  const int reports = run_in(where, [&] {
    std::atomic<int> parked{0};
    const auto sibling = [&] {
      ++parked;
      try {
        park_and_clean_up(3);
      } catch (const roving::cancelled&) {
        ++cleaned;
        throw error("while cleaning up");
      }
    };
    try {
      roving::gather(
          sibling,
          [&] {
            while (parked < 2) roving::yield();
            throw error("first");
          },
          sibling);
    } catch (const std::exception& failure) {
      thrown = failure.what();
      cleaned_when_thrown = cleaned;
    }
    clean_ends = roving::this_task::cancelling() == 0;
  });
  CHECK(thrown == "first");
  CHECK(cleaned_when_thrown == 2);
  CHECK(clean_ends);
  CHECK(reports == 0);
}

TEST_CASE("gather: a cancel of the caller comes once to each callable, so that none is cut short in its cleanup",
          "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> cleaned{0};
  std::string thrown;
  run_in(where, [&] {
    std::atomic<int> begun{0};
    auto gatherer = roving::spawn(at(where, 1), [&] {
      const auto child = [&](int turns) {
        return [&, turns] {
          ++begun;
          try {
            park();
          } catch (const roving::cancelled&) {
            for (int i = 0; i < turns; ++i) roving::yield();  // those that end first must not cancel the others again
            ++cleaned;
            throw;
          }
        };
      };
      roving::gather(child(0), child(5), child(10));
    });
    while (begun < 3) roving::yield();
    wait_until_waiting(gatherer);
    gatherer.cancel();
    thrown = thrown_by([&] { gatherer.get(); });
  });
  CHECK(thrown == "cancelled");
  CHECK(cleaned == 3);
}

TEST_CASE("gather: callables are placed as the caller is, or as they are told", "[runtime][gather]") {
  std::vector<bool> roving_ones;
  std::vector<unsigned> shards;
  roving::run({.shards = 2}, [&] {
    const auto roves = [] { return roving::this_task::is_roving(); };
    const auto shard = [] { return roving::this_task::shard(); };
    auto [a] = roving::gather(roves);
    auto [b] = roving::gather(roving::anywhere, roves);
    auto [c] = roving::spawn(roving::anywhere, [&] { return roving::gather(roves); }).get();
    roving_ones = {a, b, c};
    auto [d, e] = roving::gather(roving::on_shard(1), shard, shard);
    shards = {d, e};
  });
  CHECK(roving_ones == std::vector<bool>{false, true, true});
  CHECK(shards == std::vector<unsigned>{1, 1});
}

TEST_CASE("gather: outside of tasks it is refused before anything is spawned", "[runtime][gather]") {
  bool ran = false;
  bool in_callback = false;
  CHECK_THROWS_AS(roving::gather([&] { ran = true; }), roving::no_shard);
  roving::run({.shards = 1}, [&] {
    roving::event tried;
    roving::post([&] {
      try {
        roving::gather([&] { ran = true; });
      } catch (const roving::not_in_task&) {
        in_callback = true;
      }
      tried.set();
    });
    tried.wait();
  });
  CHECK(in_callback);
  CHECK_FALSE(ran);
}

TEST_CASE("gather: a plain thread can gather handles, and blocks", "[runtime][gather]") {
  roving::runtime all{{.shards = 2}};
  int sum = 0;
  std::thread outsider{[&] {
    auto a = all.submit(roving::anywhere, [] { return 1; });
    auto b = all.submit([] {
      roving::yield();
      return 2;
    });
    auto [x, y] = roving::gather(a, b);
    sum = x + y;
    all.submit([] { throw error("end"); }).wait();
  }};
  all.run([&] { roving::blocking([&] { outsider.join(); }); });
  CHECK(sum == 3);
}

TEST_CASE("gather: a cancel goes through thousands of nested ones, on the stack of one fiber", "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  const int depth = rounds(3000);
  std::atomic<int> unwound{0};
  std::string thrown;
  run_in(where, [&] {
    std::atomic<bool> at_the_bottom{false};
    const std::function<void(int)> nest = [&](int level) {
      struct counts {
        std::atomic<int>& count;
        ~counts() { ++count; }
      } at_end{unwound};
      if (level == depth) {
        at_the_bottom = true;
        park();
      }
      roving::gather([&] { nest(level + 1); }, [] { park(); });
    };
    auto top = roving::spawn(at(where, 1), [&] { nest(1); });
    while (!at_the_bottom) roving::yield();
    wait_until_waiting(top);
    top.cancel();
    thrown = thrown_by([&] { top.get(); });
  });
  CHECK(thrown == "cancelled");
  CHECK(unwound == depth);
}

TEST_CASE("gather: fork and join with failures and cancels at random leaves nothing behind", "[runtime][gather]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<long> alive{0};
  std::atomic<int> outcomes{0};
  const int trees = rounds(200);
  run_in(where, [&] {
    struct leaf {
      explicit leaf(std::atomic<long>& count) : count_{count} { ++count_; }
      ~leaf() { --count_; }
      std::atomic<long>& count_;
    };
    std::function<int(std::uint32_t, int)> grow = [&](std::uint32_t seed, int depth) -> int {
      const leaf counted{alive};
      dice draw{seed};
      const auto next = [&] { return draw(); };
      if (depth == 0) {
        switch (draw() % 6) {
          case 0:
            throw error("leaf");
          case 1:
            roving::yield();
            break;
          case 2:
            roving::sleep_for(std::chrono::microseconds{draw() % 50});
            break;
          default:
            break;
        }
        return 1;
      }
      const auto a = next();
      const auto b = next();
      if (draw() % 2 == 0) {
        auto [x, y] = roving::gather([&] { return grow(a, depth - 1); }, [&] { return grow(b, depth - 1); });
        return x + y;
      }
      auto x = roving::spawn(at(where, a), [&grow, a, depth] { return grow(a, depth - 1); });
      auto y = roving::spawn(at(where, b), [&grow, b, depth] { return grow(b, depth - 1); });
      auto [value, other] = roving::gather(x, y);
      return value + other;
    };
    dice draw{3};
    for (int i = 0; i < trees; ++i) {
      auto tree =
          roving::spawn(at(where, draw() % 7), [&grow, i] { return grow(static_cast<std::uint32_t>(i + 1), 4); });
      for (auto pause = draw() % 8; pause > 0; --pause) roving::yield();
      if (draw() % 2 == 0) tree.cancel();
      tree.join();
      if (!tree.cancelled()) (void)tree.exception();
      ++outcomes;
    }
  });
  CHECK(outcomes == trees);
  CHECK(alive == 0);
}
