// Tested: that inline join of pinned tasks (D9, scheduler/inline_join.hpp) changes nothing that can be seen. At two
// places it decides whether the loop would have come to the same task next, and a wrong answer shows only where several
// things meet: callbacks, cancels, the end of a generation. So random programs write down what happens to them, once
// with it and once in debug mode, where pinned children have stacks of their own: both must write the same.
//
// No program gets stuck: a task waits only for those that were spawned after it, and before it waits for a permit or a
// value a callback is on its way that gives one. Nor does one depend on the time: a deadline has passed or there is
// none, and turns are not ended by the clock.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <limits>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/sanitizers.hpp"
#include "tests/runtime/placed.hpp"
#include "tests/runtime/same_stack.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using roving_test::stack_address;
using roving_test::thrown_by;

namespace {

using lines = std::vector<std::string>;

struct program {
  std::deque<roving::task<std::size_t>> tasks;  // by number; empty for those of groups, which others do not wait for
  roving::semaphore permits{0};
  roving::context_var<std::size_t> number{0};
  lines trace;
  std::size_t awaited = 0;  // the last one that was waited for as soon as it was spawned
  std::uintptr_t awaited_on = 0;
  int ran_inline = 0;
};

// By callbacks, `turns` generations later than one that is posted.
void call_after(unsigned turns, std::function<void()> f) {
  roving::post([turns, f = std::move(f)] { turns == 0 ? f() : call_after(turns - 1, f); });
}

// A task of a program: does what its own dice say.
class random_task {
 public:
  random_task(program& of, std::size_t number, unsigned depth, std::uint32_t seed)
      : program_{of}, number_{number}, depth_{depth}, chance_{seed} {}

  std::size_t operator()() {
    program_.number.set(number_);
    if (number_ == program_.awaited)
      program_.ran_inline += roving_test::is_same_stack(stack_address(), program_.awaited_on);
    tell("begins");
    for (unsigned left = below(1 + depth_at_most - depth_); left != 0; --left) {
      try {
        take_a_step();
      } catch (...) {
        tell("catches " + thrown_by([] { throw; }));
        if (below(2) == 0) take_a_step();
        if (below(3) != 0) throw;
      }
    }
    tell("ends");
    return number_;
  }

 private:
  using self = random_task;
  static constexpr unsigned depth_at_most = 8;

  void take_a_step() {
    static constexpr void (self::*steps[])() = {&self::spawn_one,
                                                &self::get,
                                                &self::gather,
                                                &self::cancel,
                                                &self::call_when_done,
                                                &self::step_in_group,
                                                &self::step_in_no_time,
                                                &self::step_in_generator,
                                                &self::step_in_no_cancel,
                                                &self::take_permit,
                                                &self::take_value,
                                                &self::spawn_roving,
                                                &self::yield,
                                                &self::fail};
    if (below(3) == 0) return get_new_child();
    (this->*steps[below(std::size(steps))])();
  }

  // Also that who has run another task on its stack is itself again.
  void tell(const std::string& what) {
    program_.trace.push_back(roving::this_task::name() + " (" + std::to_string(program_.number.get()) + ", cancelled " +
                             std::to_string(roving::this_task::cancelling()) + " times) " + what);
  }

  unsigned below(std::size_t limit) { return static_cast<unsigned>(chance_() % limit); }

  // `start` gets the attributes and the body of a new task, whose number is last_child_.
  template <class Start>
  void start_child(bool eager, Start start) {
    last_child_ = program_.tasks.size();
    program_.tasks.emplace_back();
    const std::string name = "task " + std::to_string(last_child_);
    tell("spawns " + name);
    start(roving::attributes{.name = name, .eager = eager}, random_task{program_, last_child_, depth_ + 1, chance_()});
  }

  void spawn(bool eager) {
    start_child(eager, [this](const auto& how, const auto& f) { program_.tasks[last_child_] = roving::spawn(how, f); });
  }
  void spawn_one() { spawn(below(2) == 0); }

  // It runs between two generations, and so shows where one ends.
  void spawn_roving() {
    roving::spawn(roving::anywhere, [&trace = program_.trace, from = number_] {
      trace.push_back("roving task of " + std::to_string(from));
    }).detach();
  }

  // One that this task may wait for; null if the dice have found none.
  const roving::task<std::size_t>* one_behind() {
    const std::size_t other = below(2) == 0 ? last_child_ : number_ + 1 + below(program_.tasks.size() - number_);
    if (other <= number_ || other >= program_.tasks.size() || !program_.tasks[other].valid()) return nullptr;
    tell("waits for " + std::to_string(other));
    return &program_.tasks[other];
  }

  void get_new_child() {
    spawn(false);
    program_.awaited = last_child_;
    program_.awaited_on = stack_address();
    tell("gets " + std::to_string(program_.tasks[last_child_].get()));
  }
  void get() {
    if (const auto* other = one_behind())
      tell("gets " + std::to_string(below(3) == 0 ? roving::shield(*other) : other->get()));
  }
  void gather() {
    const auto* const one = one_behind();
    const auto* const other = one_behind();
    if (one == nullptr || other == nullptr) return;
    (void)roving::gather(*one, *other);
    tell("has gathered");
  }

  void cancel() {
    const std::size_t other = below(2) == 0 ? last_child_ : below(program_.tasks.size());
    if (!program_.tasks[other].valid()) return;
    const bool is_taken = program_.tasks[other].cancel("by " + std::to_string(number_));
    tell((is_taken ? "cancels " : "comes too late to cancel ") + std::to_string(other));
  }

  void call_when_done() {
    const std::size_t other = below(program_.tasks.size());
    if (!program_.tasks[other].valid()) return;
    (void)program_.tasks[other].on_done(
        [&trace = program_.trace, other] { trace.push_back("callback: " + std::to_string(other) + " is done"); });
  }

  void step_in_group() {
    roving::with_task_group([this](roving::task_group& group) {
      for (unsigned left = 1 + below(3); left != 0; --left)
        start_child(false, [&](const auto& how, const auto& child) { group.spawn(how, child); });
      take_a_step();
    });
    tell("leaves its group");
  }

  void step_in_no_time() {
    roving::with_timeout(0s, [this] { take_a_step(); });
    tell("was in time");
  }

  void step_in_generator() {
    roving::generator<bool> steps{[this](auto& yield_value) {
      take_a_step();
      yield_value(true);
      take_a_step();
    }};
    while (steps.next() && below(3) != 0) tell("asks its generator again");
  }

  void step_in_no_cancel() {
    const roving::no_cancel held;
    take_a_step();
    tell("may be cancelled");
  }

  void take_permit() {
    call_after(below(3), [&permits = program_.permits] { permits.release(); });
    program_.permits.acquire();
    tell("has a permit");
  }

  void take_value() {
    const auto giver = std::make_shared<roving::promise<int>>();
    auto value = giver->get_future();
    call_after(below(3), [&trace = program_.trace, giver] {
      trace.push_back("callback: gives a value, thrown: " + thrown_by([&] { giver->set_value(1); }));
    });
    tell("has a value, " + std::to_string(value.get()));
  }

  void yield() { roving::yield(); }
  void fail() { throw roving_test::error("failure of " + std::to_string(number_)); }

  program& program_;
  std::size_t number_;
  unsigned depth_;
  roving_test::dice chance_;
  std::size_t last_child_ = 0;
};

void run_program(program& all, std::uint32_t seed, bool debug) {
  roving::options how;
  how.shards = 1;
  how.debug = debug;
  how.slow_slice = 1h;
  how.poll_every_tasks = std::numeric_limits<unsigned>::max();
  how.poll_every = 1h;
  how.on_unhandled = [](const roving::unhandled&) {};
  roving::run(how, [&] {
    for (std::uint32_t root = 0; root < 1 + seed % 2; ++root)
      all.tasks.push_back(
          roving::spawn(roving::attributes{.name = "root"}, random_task{all, root, 0, 2 * seed + root}));
    for (std::size_t i = 0; i < all.tasks.size(); ++i)
      if (all.tasks[i].valid()) all.trace.push_back("in the end: " + thrown_by([&] { (void)all.tasks[i].get(); }));
  });
}

std::string first_difference(const lines& left, const lines& right) {
  const auto [in_left, in_right] = std::mismatch(left.begin(), left.end(), right.begin(), right.end());
  if (in_left == left.end() && in_right == right.end()) return "none";
  const auto text_of = [](const lines& of, lines::const_iterator at) { return at == of.end() ? "(the end)" : *at; };
  return "line " + std::to_string(in_left - left.begin() + 1) + ", inline: " + text_of(left, in_left) +
      "\n  otherwise: " + text_of(right, in_right);
}

}  // namespace

TEST_CASE("pinned inline join: random programs have the trace that they have without it", "[inline]") {
  const bool sanitized = roving::detail::address_sanitizer || roving::detail::thread_sanitizer;
  const std::uint32_t programs = sanitized ? 1000 : 3000;
  std::uint32_t with_inline_joins = 0;
  for (std::uint32_t seed = 1; seed <= programs; ++seed) {
    INFO("seed " << seed);
    program with;
    program without;
    run_program(with, seed, false);
    run_program(without, seed, true);
    REQUIRE(first_difference(with.trace, without.trace) == "none");
    REQUIRE(without.ran_inline == 0);
    with_inline_joins += with.ran_inline != 0;
  }
  CHECK(with_inline_joins > programs / 2);
}
