// See simulation.hpp.
#include "runtime/sim/simulation.hpp"

#include <algorithm>
#include <cstdio>
#include <exception>
#include <utility>

#include <roving/detail/assert.hpp>
#include <roving/detail/atomic.hpp>
#include <roving/detail/task_base.hpp>

namespace roving::detail {

void sim_point() noexcept {
  if (simulator* const here = current_simulator()) here->point();
}

void sim_glance() noexcept {
  if (simulator* const here = current_simulator()) here->glance();
}

bool is_planted(planted which) noexcept {
  const simulator* const here = current_simulator();
  return here != nullptr && here->planted_fault() == which;
}

}  // namespace roving::detail

namespace roving::sim {
namespace {

constexpr duration step_takes = std::chrono::nanoseconds{100};
constexpr std::size_t thread_stack_size_bytes = 512 * 1024;
constexpr std::uint64_t lonely_spins_at_most = 1'000'000;
constexpr std::uint64_t look_at_limits_every = 4096;
constexpr std::uint64_t fair_after_steps = 20'000;
constexpr std::size_t trace_at_most_bytes = 64 * 1024 * 1024;

// While the simulator itself uses the library's code, which has points.
class busy {
 public:
  explicit busy(bool& flag) noexcept : flag_{flag} { flag_ = true; }
  busy(const busy&) = delete;
  busy& operator=(const busy&) = delete;
  ~busy() { flag_ = false; }

 private:
  bool& flag_;
};

}  // namespace

simulation* current_simulation() noexcept { return static_cast<simulation*>(detail::current_simulator()); }

simulation::simulation(const options& how)
    : how_{how},
      choices_{how.choices.empty() ? choice_source{how.seed} : choice_source{how.choices}},
      schedule_{how.schedule},
      stops_left_{how.depth} {
  if (schedule_ == strategy::drawn) {
    constexpr std::uint32_t of_ten = 10;
    const std::uint32_t drawn = choices_.of_setting(of_ten);
    schedule_ = drawn < 6 ? strategy::random : drawn < 9 ? strategy::priorities : strategy::round_robin;
  }
  if (schedule_ == strategy::timed) return;
  constexpr std::uint32_t doublings = 8;  // 2 to 256 steps
  stretch_ = std::uint32_t{2} << choices_.of_setting(doublings);
  if (schedule_ == strategy::priorities) {
    constexpr std::uint32_t about_so_many_steps = 20'000;
    for (unsigned i = 0; i < how_.depth; ++i) change_points_.push_back(choices_.of_setting(about_so_many_steps));
    std::sort(change_points_.begin(), change_points_.end());
  }
}

simulation::~simulation() {
  if (!has_failed_) return;
  // What was on the stacks of the threads stays what it is; the memory goes.
  for (const auto& each : threads_)
    if (each->memory != nullptr) stacks_.give_back(*std::exchange(each->memory, nullptr));
}

// --- the run ---------------------------------------------------------------------------------------------------------

bool simulation::run(const std::function<void()>& main) {
  ROVING_ASSERT(detail::current_simulator() == nullptr);
  anchor_ = detail::thread_anchor::of_this_thread();
  outer_.adopt_thread();
  detail::set_current_simulator(this);
  thread& first = add_thread(main);
  outer_locals_ = detail::exchange_thread_locals({});
  current_ = &first;
  set_countdown();
  outer_.switch_to(first.place, anchor_, nullptr, nullptr);
  current_ = nullptr;
  (void)detail::exchange_thread_locals(outer_locals_);
  detail::set_current_simulator(nullptr);
  return !has_failed_;
}

void simulation::fail(std::string why) {
  has_failed_ = true;
  if (failure_.empty()) failure_ = std::move(why);
  if (current_ == nullptr) return;
  busy_ = false;
  current_->place.adopt_thread();
  current_->place.switch_to(outer_, anchor_, nullptr, nullptr);  // for ever
  std::abort();
}

report simulation::take_report() {
  report made;
  made.seed = how_.seed;
  made.steps = steps_;
  made.switches = switches_;
  made.time = since_start();
  made.hash = hash_;
  made.choices = choices_.values();
  made.trace = std::move(trace_);
  return made;
}

void simulation::mix(std::uint64_t value) noexcept { hash_ = (hash_ ^ value) * 0x100000001b3ULL; }

void simulation::note(const char* what, std::uint64_t a, std::uint64_t b) {
  for (const char* at = what; *at != '\0'; ++at) mix(static_cast<unsigned char>(*at));
  mix(a);
  mix(b);
  mix(steps_);
  if (!how_.trace || trace_.size() > trace_at_most_bytes) return;
  trace_ += std::to_string(steps_) + ' ' + std::to_string(since_start().count()) + "ns thread " +
      std::to_string(current_ != nullptr ? current_->number : 0) + ": " + what + ' ' + std::to_string(a) + ' ' +
      std::to_string(b) + '\n';
}

// --- threads ---------------------------------------------------------------------------------------------------------

simulation::thread& simulation::add_thread(std::function<void()> body) {
  const busy here{busy_};
  auto made = std::make_unique<thread>();
  made->number = static_cast<unsigned>(threads_.size());
  made->body = std::move(body);
  made->of = this;
  made->memory = &stacks_.take(thread_stack_size_bytes);
  made->place.prepare(*made->memory, &thread_main, made.get());
  constexpr std::uint32_t priorities = 1'000'000;
  if (schedule_ == strategy::priorities)
    made->priority = 1 + static_cast<std::int64_t>(choices_.of_setting(priorities));
  threads_.push_back(std::move(made));
  return *threads_.back();
}

void simulation::thread_main(void* argument, detail::thread_anchor&) noexcept {
  auto& self = *static_cast<thread*>(argument);
  simulation& of = *self.of;
  try {
    self.body();
  } catch (const std::exception& error) {
    of.fail(std::string{"a simulated thread ended by an exception: "} + error.what());
  } catch (...) {
    of.fail("a simulated thread ended by an exception");
  }
  self.body = nullptr;
  of.note("ends");
  self.now = state::ended;
  of.wake_all(&self);
  thread* next = of.schedule_ == strategy::timed ? of.next_in_time() : of.pick(true);
  while (next == nullptr && of.jump_to_next_event()) next = of.pick(true);
  detail::context* to = nullptr;
  if (next != nullptr) {
    (void)detail::exchange_thread_locals(next->locals);
    of.current_ = next;
    of.set_countdown();
    to = &next->place;
  } else {
    if (std::any_of(of.threads_.begin(), of.threads_.end(), [](const auto& each) { return each->now != state::ended; }))
      of.fail_stuck();
    to = &of.outer_;
  }
  self.place.leave_for(
      *to, of.anchor_,
      [](void* ended) noexcept {
        auto& gone = *static_cast<thread*>(ended);
        gone.of->stacks_.give_back(*std::exchange(gone.memory, nullptr));
      },
      &self);
}

class simulation::handle final : public detail::started_thread {
 public:
  explicit handle(thread& of) noexcept : thread_{&of} {}
  ~handle() override {
    while (thread_ != nullptr && thread_->now != state::ended)
      (void)thread_->of->wait(thread_, time_point::max(), "the end of a thread");
  }
  void abandon() noexcept override { thread_ = nullptr; }

 private:
  thread* thread_;
};

std::unique_ptr<detail::started_thread> simulation::start(std::function<void()> body) {
  thread& made = add_thread(std::move(body));
  note("starts thread", made.number);
  made_able_to_run(made);
  point();
  return std::make_unique<handle>(made);
}

// --- who goes on -----------------------------------------------------------------------------------------------------

void simulation::point() noexcept {
  if (busy_ || current_ == nullptr) return;
  ++steps_;
  if (schedule_ == strategy::timed) {
    now_ += how_.costs.step;
    if (now_ > others_clock_) go_on_in_time();
    return;
  }
  now_ += step_takes;
  if (now_ >= next_due_) [[unlikely]]
    release_due();
  if (--until_choice_ == 0) [[unlikely]]
    choose_next();
}

void simulation::glance() noexcept {
  if (schedule_ == strategy::timed && !busy_ && current_ != nullptr) now_ += how_.costs.glance;
}

void simulation::spend(duration span) {
  ROVING_ASSERT(!busy_ && current_ != nullptr);
  if (schedule_ == strategy::timed) {
    now_ += span;
    if (now_ > others_clock_) go_on_in_time();
    return;
  }
  current_->computes = true;
  (void)wait(&current_->computes, detail::time_after(now_, span), "a computation");
  current_->computes = false;
}

// Steps until the next choice.
void simulation::set_countdown() noexcept {
  switch (schedule_) {
    case strategy::every_step:
      until_choice_ = 1;
      return;
    case strategy::timed:
      return;  // clocks decide
    case strategy::priorities: {
      const auto next = std::upper_bound(change_points_.begin(), change_points_.end(), steps_);
      until_choice_ = next != change_points_.end() ? *next - steps_ : look_at_limits_every;
      break;
    }
    case strategy::round_robin:
      until_choice_ = stretch_;
      break;
    default: {
      const std::uint32_t drawn = choices_.below(2 * stretch_);
      until_choice_ = drawn != 0 ? drawn : look_at_limits_every;  // 0: it is not stopped
    }
  }
  until_choice_ = std::min(until_choice_, look_at_limits_every);
}

void simulation::check_limits() {
  if (steps_ > how_.steps_at_most) fail("no end after " + std::to_string(steps_) + " steps\n" + describe_threads());
  check_time();
}

void simulation::choose_next() noexcept {
  check_limits();
  if (schedule_ == strategy::priorities && std::binary_search(change_points_.begin(), change_points_.end(), steps_))
    current_->priority = --lowest_priority_;
  // Whatever is chosen, nobody is kept out for ever: a thread may wait for another without sleeping.
  const bool is_turn_of_another = steps_ - last_switch_ > fair_after_steps;
  if (is_turn_of_another && schedule_ == strategy::priorities) current_->priority = --lowest_priority_;
  thread* const next = is_turn_of_another ? next_by_number(false) : pick(false);
  set_countdown();
  if (next != nullptr && next != current_) enter(*next);
}

// Behind the current one, by number; in the end the current one itself, unless it is left out.
simulation::thread* simulation::next_by_number(bool but_current) noexcept {
  for (std::size_t step = 1; step <= threads_.size(); ++step) {
    thread& each = *threads_[(current_->number + step) % threads_.size()];
    if (each.now == state::can_run && !(but_current && &each == current_)) return &each;
  }
  return nullptr;
}

// One that can run; the current one counts as the first of them. Null for none.
simulation::thread* simulation::pick(bool but_current) noexcept {
  thread* able[64];
  std::uint32_t count = 0;
  if (!but_current && current_->now == state::can_run) able[count++] = current_;
  for (const auto& each : threads_)
    if (each.get() != current_ && each->now == state::can_run && count < std::size(able)) able[count++] = each.get();
  if (count == 0) return nullptr;
  switch (schedule_) {
    case strategy::priorities:
      return *std::max_element(able, able + count,
                               [](const thread* a, const thread* b) { return a->priority < b->priority; });
    case strategy::round_robin:
      return next_by_number(but_current);
    case strategy::every_step: {
      const bool could_go_on = able[0] == current_;
      if (could_go_on && stops_left_ == 0) return current_;
      thread* const chosen = able[choices_.below(count)];
      if (could_go_on && chosen != current_) --stops_left_;
      return chosen;
    }
    default:
      return able[choices_.below(count)];
  }
}

void simulation::enter(thread& next) noexcept {
  thread& self = *current_;
  ++switches_;
  last_switch_ = steps_;
  note("goes on after", self.number, next.number);
  self.locals = detail::exchange_thread_locals(next.locals);
  current_ = &next;
  self.place.adopt_thread();
  self.place.switch_to(next.place, anchor_, nullptr, nullptr);
}

void simulation::relax() noexcept {
  ROVING_ASSERT(!busy_ && current_ != nullptr);
  ++steps_;
  if (schedule_ == strategy::timed) {
    now_ += how_.costs.spin;
    if (now_ > others_clock_) go_on_in_time();
    return;
  }
  now_ += step_takes;
  if (now_ >= next_due_) release_due();
  if (schedule_ == strategy::priorities) current_->priority = --lowest_priority_;
  if (thread* const next = pick(true)) {
    lonely_spins_ = 0;
    set_countdown();
    enter(*next);
    return;
  }
  constexpr int faster = 10;
  now_ += faster * step_takes;
  if (++lonely_spins_ > lonely_spins_at_most) fail("a thread spins for ever\n" + describe_threads());
}

bool simulation::wait(const void* key, time_point deadline, const char* what) noexcept {
  ROVING_ASSERT(!busy_ && current_ != nullptr);
  thread& self = *current_;
  if (deadline <= now_) return false;
  self.now = state::waits;
  self.key = key;
  self.deadline = deadline;
  self.waits_in = what;
  self.was_woken = false;
  if (schedule_ == strategy::timed) {
    self.clock = now_;
    if (deadline != time_point::max()) queue_clock(self, deadline);
    thread* const next = next_in_time();
    if (next == nullptr) fail_stuck();
    if (next != &self) enter(*next);
    return self.was_woken;
  }
  next_due_ = std::min(next_due_, deadline);
  leave_for_another();
  return self.was_woken;
}

void simulation::leave_for_another() noexcept {
  for (;;) {
    if (thread* const next = pick(false)) {
      set_countdown();
      if (next != current_) enter(*next);
      return;
    }
    if (!jump_to_next_event()) fail_stuck();
  }
}

// --- a core for each -------------------------------------------------------------------------------------------------

// The thread whose clock is behind all others', with what happens before it goes on; the time is then its own. It is
// taken out of the queue. Null: there is none, nor will be.
simulation::thread* simulation::next_in_time() noexcept {
  for (;;) {
    if (!events_.empty() && (clocks_.empty() || events_.begin()->first <= clocks_.begin()->first)) {
      now_ = events_.begin()->first;
      const std::vector<std::function<void()>> due = std::move(events_.begin()->second);
      events_.erase(events_.begin());
      const busy here{busy_};
      for (const auto& happen : due) happen();
      continue;
    }
    if (clocks_.empty()) return nullptr;
    const auto [when, number] = *clocks_.begin();
    clocks_.erase(clocks_.begin());
    find_others_clock();
    thread& next = *threads_[number];
    next.now = state::can_run;  // or its deadline has come
    now_ = when;
    return &next;
  }
}

void simulation::go_on_in_time() noexcept {
  check_limits();
  queue_clock(*current_, now_);
  thread* const next = next_in_time();
  if (next != current_) enter(*next);
}

void simulation::queue_clock(thread& which, time_point when) noexcept {
  clocks_.emplace(when, which.number);
  others_clock_ = std::min(others_clock_, when);
}

void simulation::woken_in_time(thread& which) noexcept {
  clocks_.erase({which.deadline, which.number});
  queue_clock(which, std::max(which.clock, detail::time_after(now_, how_.costs.wake)));
  find_others_clock();
}

void simulation::find_others_clock() noexcept {
  others_clock_ = clocks_.empty() ? time_point::max() : clocks_.begin()->first;
  if (!events_.empty()) others_clock_ = std::min(others_clock_, events_.begin()->first);
}

void simulation::made_able_to_run(thread& which) noexcept {
  if (schedule_ == strategy::timed) {
    const bool was_waiting = which.now == state::waits;
    which.now = state::can_run;
    was_waiting ? woken_in_time(which) : queue_clock(which, now_);
    return;
  }
  which.now = state::can_run;
  if (schedule_ == strategy::priorities && current_ != nullptr && which.priority > current_->priority)
    until_choice_ = 1;
}

void simulation::wake_one(const void* key) noexcept {
  std::vector<thread*> waiting;
  for (const auto& each : threads_)
    if (each->now == state::waits && each->key == key) waiting.push_back(each.get());
  if (waiting.empty()) return;
  thread& chosen = *waiting[choices_.below(static_cast<std::uint32_t>(waiting.size()))];
  chosen.was_woken = true;
  made_able_to_run(chosen);
}

void simulation::wake_all(const void* key) noexcept {
  for (const auto& each : threads_) {
    if (each->now != state::waits || each->key != key) continue;
    each->was_woken = true;
    made_able_to_run(*each);
  }
}

void simulation::check_time() {
  if (since_start() > how_.time_at_most)
    fail("no end after " + std::to_string(since_start().count()) + " ns of virtual time\n" + describe_threads());
}

void simulation::fail_stuck() {
  fail("nothing can go on any more, and nothing is awaited from outside\n" + describe_threads() +
       (describe_tasks ? describe_tasks() : ""));
}

// --- time ------------------------------------------------------------------------------------------------------------

void simulation::at(time_point when, std::function<void()> happen) {
  events_[when].push_back(std::move(happen));
  next_due_ = std::min(next_due_, when);
  others_clock_ = std::min(others_clock_, when);
}

void simulation::find_next_due() noexcept {
  next_due_ = events_.empty() ? time_point::max() : events_.begin()->first;
  for (const auto& each : threads_)
    if (each->now == state::waits) next_due_ = std::min(next_due_, each->deadline);
}

void simulation::release_due() noexcept {
  while (!events_.empty() && events_.begin()->first <= now_) {
    const std::vector<std::function<void()>> due = std::move(events_.begin()->second);
    events_.erase(events_.begin());
    const busy here{busy_};
    for (const auto& happen : due) happen();
  }
  for (const auto& each : threads_)
    if (each->now == state::waits && each->deadline <= now_) made_able_to_run(*each);
  find_next_due();
}

bool simulation::jump_to_next_event() noexcept {
  find_next_due();
  if (next_due_ == time_point::max()) return false;
  now_ = std::max(now_, next_due_);
  check_time();
  release_due();
  return true;
}

// --- what is checked all along, and reports --------------------------------------------------------------------------

void simulation::slice_begins(unsigned shard, const detail::task_base& task) noexcept {
  if (task_on_shard_.size() <= shard) task_on_shard_.resize(shard + 1);
  note("runs task on shard", task.number, shard);
  if (!task.roving && task.home_index != shard)
    fail("a pinned task runs on shard " + std::to_string(shard) + ", not on its own: " + task.name());
  if (std::find(task_on_shard_.begin(), task_on_shard_.end(), task.number) != task_on_shard_.end() &&
      task_on_shard_[shard] != task.number)
    fail("a task runs on two shards at once: " + task.name());
  task_on_shard_[shard] = task.number;
  if (!keeps_work_to_itself || !all_others_sleep()) return;
  const auto [keeps_it, unwatched] = [&] {
    const busy here{busy_};
    return std::pair{keeps_work_to_itself(shard), is_unwatched(shard)};
  }();
  if (unwatched) fail("shard " + std::to_string(shard) + " runs, all others sleep, and none of them watches it (D7)");
  if (keeps_it) fail("roving work waits on shard " + std::to_string(shard) + " while all others sleep (S12)");
}

// So that nobody is in the middle of taking work, or of telling somebody about it.
bool simulation::all_others_sleep() const noexcept {
  return std::all_of(threads_.begin(), threads_.end(), [&](const auto& each) {
    return each.get() == current_ || (each->now == state::waits && !each->computes) || each->now == state::ended;
  });
}

void simulation::sent(const detail::ready_node& work, unsigned shard) noexcept {
  const detail::task_base* const task = detail::current_task();
  const lane in{task != nullptr ? 2 * task->number : 2 * std::uint64_t{current_->number} + 1, shard};
  under_way_[&work] = {in, ++last_sent_[in]};
}

void simulation::taken(const detail::ready_node& work, unsigned) noexcept {
  const auto found = under_way_.find(&work);
  if (found == under_way_.end()) return;  // it yielded, or stands for timers
  const auto [in, number] = found->second;
  under_way_.erase(found);
  std::uint64_t& last = last_taken_[in];
  if (number <= last)
    fail("what was sent to shard " + std::to_string(in.shard) + " overtook what was sent before (D6)");
  last = number;
}

void simulation::timer_ends(time_point deadline) noexcept {
  if (deadline > now_) fail("a timer ends " + std::to_string((deadline - now_).count()) + " ns early");
}

void simulation::slice_ends(unsigned shard) noexcept {
  if (shard < task_on_shard_.size()) task_on_shard_[shard] = 0;
}

std::string simulation::describe_threads() const {
  std::string text;
  for (const auto& each : threads_) {
    if (each->now == state::ended) continue;
    text += "  thread " + std::to_string(each->number) +
        (each->now == state::can_run ? " could run" : std::string{" waits in "} + each->waits_in) + '\n';
  }
  return text;
}

void simulation::say_how_to_replay() noexcept {
  char line[96];
  const int length = std::snprintf(line, sizeof line, "simulated with seed %llu, after %llu steps\n",
                                   static_cast<unsigned long long>(how_.seed), static_cast<unsigned long long>(steps_));
  if (length > 0) std::fwrite(line, 1, static_cast<std::size_t>(length), stderr);
}

}  // namespace roving::sim
