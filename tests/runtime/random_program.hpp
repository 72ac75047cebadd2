// Random programs: each task does what its own dice say, and writes down what happens to it.
//
// None gets stuck: a task waits only for those that were spawned after it, and before it waits for a permit or a value
// a callback is on its way that gives one. Nor does one depend on the time: a deadline has passed or there is none.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <functional>
#include <iterator>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <roving/roving.hpp>

#include "tests/runtime/placed.hpp"
#include "tests/runtime/same_stack.hpp"

namespace roving_test {

struct random_program {
  std::deque<roving::task<std::size_t>> tasks;  // by number; empty for those of groups, which others do not wait for
  roving::semaphore permits{0};
  roving::context_var<std::size_t> number{0};
  std::vector<std::string> trace;
  std::size_t awaited = 0;  // the last one that was waited for as soon as it was spawned
  std::uintptr_t awaited_on = 0;
  int ran_inline = 0;
  int begun = 0;
  int ended = 0;
  bool mixed = false;  // anywhere and on all shards; else all are pinned where the first ones are
  bool wrong = false;  // a task was taken for another one
};

// By callbacks, `turns` generations later than one that is posted.
inline void call_after(unsigned turns, std::function<void()> f) {
  roving::post([turns, f = std::move(f)] { turns == 0 ? f() : call_after(turns - 1, f); });
}

// A task of a program: does what its own dice say.
class random_task {
 public:
  random_task(random_program& of, std::size_t number, unsigned depth, std::uint32_t seed)
      : program_{of}, number_{number}, depth_{depth}, chance_{seed} {}

  std::size_t operator()() {
    program_.number.set(number_);
    if (number_ == program_.awaited) program_.ran_inline += is_same_stack(stack_address(), program_.awaited_on);
    const counted_end counted{program_};
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
  struct counted_end {
    random_program& of;
    explicit counted_end(random_program& program) : of{program} { ++of.begun; }
    counted_end(const counted_end&) = delete;
    counted_end& operator=(const counted_end&) = delete;
    ~counted_end() { ++of.ended; }
  };
  using self = random_task;
  static constexpr unsigned depth_at_most = 8;

  void take_a_step() {
    static constexpr void (self::*steps[])() = {&self::spawn_one,
                                                &self::get,
                                                &self::shield,
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
    program_.wrong = program_.wrong || program_.number.get() != number_;
    program_.trace.push_back(roving::this_task::name() + " (" + std::to_string(program_.number.get()) + ", cancelled " +
                             std::to_string(roving::this_task::cancelling()) + " times) " + what);
  }

  roving::placement place() {
    const unsigned where = program_.mixed ? below(4) : 0;
    if (where < 2) return roving::here;
    return where == 2 ? roving::anywhere : roving::on_shard(below(roving::shard_count()));
  }

  unsigned below(std::size_t limit) { return static_cast<unsigned>(chance_() % limit); }

  // `start` gets the attributes and the body of a new task, whose number is last_child_.
  template <class Start>
  void start_child(bool eager, Start start) {
    last_child_ = program_.tasks.size();
    program_.tasks.emplace_back();
    const std::string name = "task " + std::to_string(last_child_);
    tell("spawns " + name);
    const roving::attributes how{.placement = place(), .name = name, .eager = eager && !program_.mixed};
    start(how, random_task{program_, last_child_, depth_ + 1, chance_()});
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

  // The number of one that this task may wait for; 0 if the dice have found none.
  std::size_t one_behind() {
    const std::size_t other = below(2) == 0 ? last_child_ : number_ + 1 + below(program_.tasks.size() - number_);
    if (other <= number_ || other >= program_.tasks.size() || !program_.tasks[other].valid()) return 0;
    tell("waits for " + std::to_string(other));
    return other;
  }

  void get_from(std::size_t other) {
    if (program_.tasks[other].get() != other) program_.wrong = true;
    tell("has got " + std::to_string(other));
  }
  void get_new_child() {
    spawn(false);
    program_.awaited = last_child_;
    program_.awaited_on = stack_address();
    get_from(last_child_);
  }
  void get() {
    if (const std::size_t other = one_behind()) get_from(other);
  }
  void shield() {
    if (const std::size_t other = one_behind())
      tell("shields " + std::to_string(roving::shield(program_.tasks[other])));
  }
  void gather() {
    const std::size_t one = one_behind();
    const std::size_t other = one_behind();
    if (one == 0 || other == 0) return;
    (void)roving::gather(program_.tasks[one], program_.tasks[other]);
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
    roving::with_timeout(std::chrono::seconds{0}, [this] { take_a_step(); });
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
  void fail() { throw error("failure of " + std::to_string(number_)); }

  random_program& program_;
  std::size_t number_;
  unsigned depth_;
  dice chance_;
  std::size_t last_child_ = 0;
};

/// Spawns the first tasks, waits for all, and writes down how each has ended. In a task.
inline void run_random_program(random_program& all, std::uint32_t seed) {
  for (std::uint32_t root = 0; root < 1 + seed % 2; ++root)
    all.tasks.push_back(roving::spawn(roving::attributes{.name = "root"}, random_task{all, root, 0, 2 * seed + root}));
  for (std::size_t i = 0; i < all.tasks.size(); ++i)
    if (all.tasks[i].valid()) all.trace.push_back("in the end: " + thrown_by([&] { (void)all.tasks[i].get(); }));
}

}  // namespace roving_test
