// Simulated threads on one real one, and the time that passes for them.
//
// Each thread has a stack. Which one goes on is decided where the running one stops: at a point (an atomic operation),
// where it spins, sleeps or ends. There is no scheduler's stack in between: the thread that stops chooses the next and
// jumps to it. A shard's fibers run on top of its thread as they do on a real one; what is stopped is whatever stack
// the thread is on at that moment, a fiber's, the loop's, or in the middle of a switch.
//
// Time: each step takes 100 ns. When no thread can run, the clock jumps to the next deadline or event. When there is
// none either, nothing can ever happen again, and that is a failure.
//
// In strategy::timed it passes for all threads at once instead, as on a machine with a core for each: every thread has
// a clock of its own, which its steps move on, and whose clock is behind goes on. What somebody does to others is then
// never later than what they do (but for relaxed loads, at which nobody is stopped). Threads that wait are in the queue
// of clocks with their deadlines.
//
// A failure abandons all threads where they are and comes out of run(): nobody unwinds, since a destructor may wait for
// what will never come.
//
// I1  One simulated thread runs at a time, and simulator code is never stopped (busy_).
// I2  Everything that depends on chance goes through choices_. Nothing else may: no address, hash or real clock.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include <roving/sim.hpp>

#include "runtime/sim/choices.hpp"
#include "scheduler/clock.hpp"
#include "scheduler/context.hpp"
#include "scheduler/simulator.hpp"
#include "scheduler/stack.hpp"
#include "scheduler/this_shard.hpp"
#include "scheduler/thread.hpp"

namespace roving::sim {

class simulation final : public detail::simulator, public detail::clock_source, public detail::thread_starter {
 public:
  explicit simulation(const options& how);
  ~simulation() override;

  /// Runs `main` as the first thread, and all threads that it starts, to their end. True when all went well; otherwise
  /// failure() says what did not.
  [[nodiscard]] bool run(const std::function<void()>& main);

  /// Ends the run. Does not return when a simulated thread calls it.
  void fail(std::string why);
  [[nodiscard]] const std::string& why_it_failed() const noexcept { return failure_; }

  /// Added to the report when nothing can go on: what each task waits for.
  std::function<std::string()> describe_tasks;

  /// Whether that shard, which begins a slice, has roving work that no other knows of.
  std::function<bool(unsigned shard)> keeps_work_to_itself;

  /// Whether others sleep beside that shard, which begins a slice, and none of them watches it.
  std::function<bool(unsigned shard)> is_unwatched;

  [[nodiscard]] report take_report();
  [[nodiscard]] choice_source& choices() noexcept { return choices_; }

  /// Something happened that the trace shall tell: counts in its hash. `a` and `b` must not depend on addresses.
  void note(const char* what, std::uint64_t a = 0, std::uint64_t b = 0);

  /// The calling thread computes.
  void spend(duration span);

  /// Calls `happen` at that time, on whatever thread then runs; it must not block. In order of time, then of adding.
  void at(time_point when, std::function<void()> happen);

  // --- simulator
  void point() noexcept override;
  void glance() noexcept override;
  void relax() noexcept override;
  bool wait(const void* key, time_point deadline, const char* what) noexcept override;
  void wake_one(const void* key) noexcept override;
  void wake_all(const void* key) noexcept override;
  [[nodiscard]] time_point now() const noexcept override { return now_; }
  void slice_begins(unsigned shard, const detail::task_base& task) noexcept override;
  void slice_ends(unsigned shard) noexcept override;
  void timer_ends(time_point deadline) noexcept override;
  void sent(const detail::ready_node& work, unsigned shard) noexcept override;
  void taken(const detail::ready_node& work, unsigned shard) noexcept override;
  void broken(const char* what) noexcept override { fail(what); }
  [[nodiscard]] detail::planted planted_fault() const noexcept override { return how_.planted; }
  void say_how_to_replay() noexcept override;

  // --- clock_source: the same clock
  [[nodiscard]] time_point now() noexcept override { return now_; }

  // --- thread_starter
  [[nodiscard]] std::unique_ptr<detail::started_thread> start(std::function<void()> body) override;

 private:
  enum class state : std::uint8_t { can_run, waits, ended };

  struct thread {
    unsigned number = 0;
    std::function<void()> body;
    detail::context place;
    detail::stack* memory = nullptr;
    detail::thread_locals locals;
    sim::simulation* of = nullptr;
    state now = state::can_run;
    const void* key = nullptr;
    const char* waits_in = "";
    time_point deadline{};
    bool was_woken = false;
    bool computes = false;  // waits, but is no sleeper
    time_point clock{};     // strategy::timed: when it goes on, or began to wait
    std::int64_t priority = 0;
  };

  class handle;

  static void thread_main(void* argument, detail::thread_anchor& anchor) noexcept;
  thread& add_thread(std::function<void()> body);
  void choose_next() noexcept;
  void leave_for_another() noexcept;
  [[nodiscard]] thread* pick(bool but_current) noexcept;
  [[nodiscard]] thread* next_by_number(bool but_current) noexcept;
  [[nodiscard]] duration since_start() const noexcept { return now_ - began_at; }
  void check_time();
  void fail_stuck();
  void enter(thread& next) noexcept;
  void set_countdown() noexcept;
  void release_due() noexcept;
  [[nodiscard]] bool jump_to_next_event() noexcept;
  void find_next_due() noexcept;
  void made_able_to_run(thread& which) noexcept;
  [[nodiscard]] thread* next_in_time() noexcept;
  void go_on_in_time() noexcept;
  void queue_clock(thread& which, time_point when) noexcept;
  void woken_in_time(thread& which) noexcept;
  void find_others_clock() noexcept;
  void check_limits();
  [[nodiscard]] bool all_others_sleep() const noexcept;
  [[nodiscard]] std::string describe_threads() const;
  void mix(std::uint64_t value) noexcept;

  const options how_;
  choice_source choices_;
  strategy schedule_ = strategy::random;
  std::uint32_t stretch_ = 1;  // steps between two choices, at most twice that
  std::vector<std::uint64_t> change_points_;
  std::int64_t lowest_priority_ = 0;
  unsigned stops_left_ = 0;  // strategy::every_step

  detail::stack_pool stacks_;
  detail::thread_anchor anchor_{};
  detail::context outer_;
  detail::thread_locals outer_locals_;
  std::vector<std::unique_ptr<thread>> threads_;
  thread* current_ = nullptr;
  bool busy_ = false;

  static constexpr time_point began_at{std::chrono::hours{1}};
  time_point now_ = began_at;
  time_point next_due_ = time_point::max();
  std::map<time_point, std::vector<std::function<void()>>> events_;
  std::set<std::pair<time_point, unsigned>> clocks_;  // strategy::timed: of all but the current thread, and who is it
  time_point others_clock_ = time_point::max();       // the first of them, or of the events

  std::uint64_t steps_ = 0;
  std::uint64_t switches_ = 0;
  std::uint64_t last_switch_ = 0;  // the step
  std::uint64_t until_choice_ = 1;
  std::uint64_t lonely_spins_ = 0;
  std::uint64_t hash_ = 0xcbf29ce484222325ULL;
  std::vector<std::uint64_t> task_on_shard_;  // numbers; 0: none

  // What one sender sends to one shard is numbered. A sender is a task, or the thread where no task runs.
  struct lane {
    std::uint64_t sender;
    unsigned shard;
    friend auto operator<=>(const lane&, const lane&) = default;
  };
  struct place {
    lane in;
    std::uint64_t number;
  };
  std::map<lane, std::uint64_t> last_sent_;
  std::map<lane, std::uint64_t> last_taken_;
  std::unordered_map<const detail::ready_node*, place> under_way_;  // looked up, and never walked over
  std::string trace_;
  std::string failure_;
  bool has_failed_ = false;
};

/// That of the calling thread; null when it is none of a simulation.
[[nodiscard]] simulation* current_simulation() noexcept;

}  // namespace roving::sim
