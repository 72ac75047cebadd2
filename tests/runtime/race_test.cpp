// Tested: race. Tasks write down what they saw; the test's own thread checks it after run().
#include <atomic>
#include <functional>
#include <stdexcept>
#include <string>
#include <variant>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;

TEST_CASE("race: the first to end wins, the others are cancelled and have ended", "[runtime][race]") {
  const place where = GENERATE(from_range(places()));
  int winner = 0;
  std::atomic<int> cleaned{0};
  int cleaned_when_back = 0;
  std::size_t index = 99;
  std::string text;
  run_in(where, [&] {
    std::atomic<int> parked{0};
    const auto loser = [&] {
      ++parked;
      try {
        park_and_clean_up(3);
      } catch (const roving::cancelled&) {
        ++cleaned;
        throw;
      }
      return 1;
    };
    const auto quick = [&] {
      while (parked < 2) roving::yield();
      return 2;
    };
    winner = roving::race(loser, quick, loser);
    cleaned_when_back = cleaned;
    const std::variant<std::monostate, std::string> of_two =
        roving::race([] { park(); }, [] { return std::string{"text"}; });
    index = of_two.index();
    text = std::get<1>(of_two);
    roving::race([] { park(); }, [] {});
  });
  CHECK(winner == 2);
  CHECK(cleaned_when_back == 2);
  CHECK(index == 1);
  CHECK(text == "text");
}

TEST_CASE("race: an exception wins as well as a value, and what losers do is dropped", "[runtime][race]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  int value = 0;
  const int reports = run_in(where, [&] {
    thrown = thrown_by([] { roving::race([] { park(); }, [] { throw error("first"); }); });
    std::atomic<bool> parked{false};
    value = roving::race(
        [&] {
          try {
            parked = true;
            park();
          } catch (const roving::cancelled&) {
            throw error("of a loser");
          }
          return 1;
        },
        [&] {
          while (!parked) roving::yield();
          return 2;
        });
  });
  CHECK(thrown == "first");
  CHECK(value == 2);
  CHECK(reports == 0);
}

TEST_CASE("race: over a range of callables, which must not be empty", "[runtime][race]") {
  const place where = GENERATE(from_range(places()));
  int winner = -1;
  bool refused = false;
  run_in(where, [&] {
    std::vector<std::function<int()>> functions;
    for (int i = 0; i < 5; ++i)
      functions.emplace_back([i] {
        if (i != 3) park();
        return i;
      });
    winner = roving::race(functions);
    functions.clear();
    try {
      (void)roving::race(functions);
    } catch (const std::invalid_argument&) {
      refused = true;
    }
  });
  CHECK(winner == 3);
  CHECK(refused);
}

TEST_CASE("race: a cancel of the caller cancels all, and is not lost if one swallows it", "[runtime][race]") {
  const place where = GENERATE(from_range(places()));
  std::string thrown;
  std::atomic<int> ended{0};
  run_in(where, [&] {
    std::atomic<int> begun{0};
    auto racer = roving::spawn(at(where, 1), [&] {
      const auto body = [&] {
        ++begun;
        try {
          park();
        } catch (const roving::cancelled&) {
          roving::yield();
        }
        ++ended;
        return 1;
      };
      return roving::race(body, body);
    });
    while (begun < 2) roving::yield();
    wait_until_waiting(racer);
    racer.cancel();
    thrown = thrown_by([&] { (void)racer.get(); });
  });
  CHECK(thrown == "cancelled");
  CHECK(ended == 2);
}

TEST_CASE("race: contestants that end together: one wins, and all have ended", "[runtime][race]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(1000);
  int sum = 0;
  std::atomic<int> alive{0};
  bool all_ended = true;
  run_in(where, [&] {
    dice draw{13};
    for (int turn = 0; turn < turns; ++turn) {
      const auto runner = [&](unsigned pause) {
        return [&alive, pause] {
          struct counted {
            explicit counted(std::atomic<int>& of) : count{of} { ++count; }
            ~counted() { --count; }
            std::atomic<int>& count;
          } lives{alive};
          for (auto left = pause; left > 0; --left) roving::yield();
          return 1;
        };
      };
      sum += roving::race(runner(draw() % 3), runner(draw() % 3), runner(1));
      all_ended = all_ended && alive == 0;
    }
  });
  CHECK(sum == turns);
  CHECK(all_ended);
}
