// See scheduler.hpp. Start, run, close.
#include "scheduler/scheduler.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <functional>
#include <memory>
#include <mutex>
#include <new>
#include <optional>
#include <stdexcept>
#include <system_error>

#include <roving/detail/assert.hpp>
#include <roving/detail/make_error.hpp>
#include <roving/detail/planted.hpp>
#include <roving/detail/relax.hpp>
#include <roving/error.hpp>

#include "scheduler/blocking_pool.hpp"
#include "scheduler/current.hpp"
#include "scheduler/inline_join.hpp"
#include "scheduler/simulator.hpp"
#include "scheduler/symbols.hpp"
#include "scheduler/task_report.hpp"
#include "scheduler/this_shard.hpp"
#include "scheduler/thread_block.hpp"

namespace roving::detail {
namespace {

// What a new thread says to the one that waits for it.
class start_report {
 public:
  void say() noexcept {
    const std::lock_guard guard{mutex_};  // held while notifying: who waits may be gone right after
    is_there_ = true;
    changed_.notify_one();
  }

  void wait() {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [&] { return is_there_; });
  }

 private:
  thread_mutex mutex_;
  thread_condition changed_;
  bool is_there_ = false;
};

// Finds the task whose stack's guard was hit, from the thread that hit it. Runs in a signal handler.
bool describe_overflow(const void* address, overflow_description& out) noexcept {
  shard* const here = this_shard();
  if (here == nullptr) return false;
  const stack* const hit = here->owner().stacks().overflowed_at(address);
  if (hit == nullptr) return false;
  out.stack_size_bytes = hit->size_bytes;
  const auto* const on_it = static_cast<const fiber*>(hit->owner);
  const task_base* const task = on_it != nullptr ? on_it->active : nullptr;
  if (task == nullptr) return true;
  out.in_generator = on_it->entered_from != nullptr;
  if (task->extras && !task->extras->name.empty()) {
    copy_for_report(out.task_name, sizeof out.task_name, task->extras->name.c_str());
  } else {
    char digits[24];
    char* at = digits + sizeof digits - 1;
    *at = '\0';
    for (std::uint64_t left = task->number; left != 0 || at == digits + sizeof digits - 1; left /= 10)
      *--at = static_cast<char>('0' + left % 10);
    copy_for_report(out.task_name, sizeof out.task_name, "Task-");
    copy_for_report(out.task_name + 5, sizeof out.task_name - 5, at);
  }
  copy_for_report(out.file, sizeof out.file, task->site_file);
  out.line = task->site_line;
  return true;
}

}  // namespace

// Ends the run of a shard's loop when it has taken too long.
struct deadline_timer : pinned_timer {
  explicit deadline_timer(shard& on)
      : pinned_timer{[](pinned_timer& timer) noexcept {
          auto& self = static_cast<deadline_timer&>(timer);
          self.passed = true;
          self.where.stop();
        }},
        where{on} {}
  shard& where;
  bool passed = false;
};

// Makes the calling thread shard 0 while it lives.
class scheduler::driver {
 public:
  driver(scheduler& owner, const char* call) : owner_{owner} {
    if (this_shard() != nullptr)
      throw broken_contract{
          std::string{call} +
          ": the calling thread runs a shard already; a runtime can't be run or closed inside another"};
    if (owner_.driven_.exchange(true, std::memory_order_acquire))
      throw broken_contract{std::string{call} + ": another thread runs this runtime at the moment"};
    const std::vector<unsigned>& cores = owner_.options_.cores;
    owner_.at(0).begin_thread(cores.empty() ? std::nullopt : std::optional<unsigned>{cores.front()});
    owner_.idle_.come_back(0);
    owner_.stalls_.shard_woke();
  }
  driver(const driver&) = delete;
  driver& operator=(const driver&) = delete;
  ~driver() {
    owner_.idle_.leave(0);
    if (owner_.work_is_visible()) owner_.call_searcher(0);  // its roving work goes on elsewhere
    owner_.at(0).end_thread();
    owner_.driven_.store(false, std::memory_order_release);
  }

 private:
  scheduler& owner_;
};

scheduler::scheduler(scheduler_options options)
    : options_{std::move(options)},
      idle_{options_.shards, options_.enough_searchers},
      stacks_{options_.stacks},
      overflow_reporter_{&describe_overflow},
      askable_(options_.shards),
      stalls_{*this},
      context_of_main_{capture_context()} {
  ROVING_ASSERT(options_.shards != 0 && options_.make_parker);
  blocking_jobs_ =
      std::make_shared<blocking_pool>(blocking_pool::settings{.threads_at_most = options_.blocking_threads_at_most,
                                                              .idle_for = options_.blocking_idle_for,
                                                              .cores = options_.usable_cores,
                                                              .clock = options_.clock,
                                                              .threads = options_.threads});
  if (options_.make_compute_pool) compute_jobs_ = options_.make_compute_pool();
  for (unsigned i = 0; i < options_.shards; ++i) {
    shards_.push_back(std::make_unique<shard>(*this, i));
    doors_.push_back(gate_reference::share(&shards_.back()->door()));
  }
  idle_.leave(0);                     // until somebody runs it
  threads_.reserve(options_.shards);  // a thread that runs must have its place
  try {
    stalls_.begin();
    for (unsigned i = 1; i < options_.shards; ++i) start_thread_of(i);
  } catch (...) {
    stop_threads();
    throw;
  }
}

void scheduler::start_thread_of(unsigned index) {
  start_report started;
  try {
    threads_.push_back(options_.threads->start([this, index, &started] {
      shard& self = *shards_[index];
      self.begin_thread(options_.cores.empty() ? std::nullopt : std::optional<unsigned>{options_.cores[index]});
      started.say();
      self.run();
      self.end_thread();
    }));
  } catch (const std::system_error& failed) {
    throw std::system_error{failed.code(),
                            "roving: the thread of shard " + std::to_string(index) + " of " +
                                std::to_string(options_.shards) + " can't be started"};
  }
  started.wait();
}

scheduler::~scheduler() { ROVING_ASSERT(threads_.empty()); }

future_reference<task_base> scheduler::run(const std::function<future_reference<task_base>()>& begin) {
  if (is_closed()) throw runtime_closed{"run"};
  const driver drive{*this, "run"};
  shard& here = at(0);

  // Counted: when the shard is stopped by somebody else, it may stay in a queue.
  struct stop_with_main : counted, done_node, posted_callback {
    explicit stop_with_main(shard& where)
        : counted{[](counted& self) noexcept { delete static_cast<stop_with_main*>(&self); }},
          done_node{[](done_node& node) noexcept -> ready_node* { return &static_cast<stop_with_main&>(node); }},
          posted_callback{&where,
                          [](ready_node& node) noexcept {
                            auto& self = static_cast<stop_with_main&>(node);
                            if (self.is_wanted) self.home->stop();
                            self.release();
                          },
                          [](ready_node& node) noexcept { static_cast<stop_with_main&>(node).release(); }} {}
    bool is_wanted = true;
  };
  const counted_reference<stop_with_main> node{new stop_with_main{here}};

  future_reference<task_base> main;
  {
    const context_scope sees{context_of_main_};
    main = begin();
  }
  node->add_reference();  // the list's, then the queue's
  const bool will_be_told = main->subscribe(*node);
  ROVING_ASSERT(will_be_told);  // it has not begun
  here.run();
  node->is_wanted = false;
  if (!main->is_done()) {
    if (main->unsubscribe(*node)) node->release();
  } else {
    if (main->context != nullptr) add_context_reference(*main->context);
    context_of_main_ = context_reference{main->context};
  }
  return main;
}

void scheduler::close() {
  if (is_closed()) return;
  {
    const driver drive{*this, "close"};
    draining_.store(true, std::memory_order_seq_cst);
    if (is_planted(planted::closed_before_tasks_ended)) closed_.store(true, std::memory_order_release);
    cancel_all_and_wait();
    close_generators();
    close_pools();
    // Callbacks still run, and may spawn. That none does unseen is settled on one word: either its look at the word
    // comes before the exchange, and its count is seen after that, or it is refused. Such a task may leave a generator
    // behind, and a callback that destroys it is refused a task for that: then it is still in its list.
    for (;;) {
      while (!no_task_lives() || has_generators()) {
        cancel_all_and_wait();
        close_generators();
      }
      callbacks_may_spawn_.exchange(false, std::memory_order_acq_rel);
      if (no_task_lives() && !has_generators()) break;
      callbacks_may_spawn_.store(true, std::memory_order_release);
    }
    closed_.store(true, std::memory_order_release);
    for (const gate_reference& door : doors_) door->close();
    stop_threads();
    for (const auto& each : shards_) each->drop_what_is_left();
  }
  shards_.clear();
}

void scheduler::stop_threads() noexcept {
  stalls_.stop();
  stopping_.store(true, std::memory_order_seq_cst);
  for (unsigned i = 1; i < shards_.size() && !is_planted(planted::threads_stopped_without_wake); ++i)
    shards_[i]->where_it_sleeps().wake();
  threads_.clear();  // joins
}

// The end of several tasks. The last to be told posts it, as asyncio's gather does.
class scheduler::end_of_all {
 public:
  end_of_all(shard& here, std::vector<future_reference<task_base>> tasks)
      : here_{here},
        tasks_{std::move(tasks)},
        ends_(tasks_.size()),
        end_{&here, [](ready_node& node) noexcept { static_cast<posted_callback&>(node).home->stop(); },
             [](ready_node&) noexcept {}} {}

  [[nodiscard]] const std::vector<future_reference<task_base>>& tasks() const noexcept { return tasks_; }

  void watch() noexcept {
    for (std::size_t i = 0; i < tasks_.size(); ++i) {
      task_end& end = ends_[i].emplace(*this);
      ++left_;
      if (!tasks_[i]->subscribe(end)) here_.append(end);
    }
  }
  [[nodiscard]] bool is_there() const noexcept { return left_ == 0; }

 private:
  struct task_end : done_node, posted_callback {
    explicit task_end(end_of_all& of) noexcept
        : done_node{[](done_node& node) noexcept -> ready_node* { return &static_cast<task_end&>(node); }},
          posted_callback{&of.here_,
                          [](ready_node& node) noexcept {
                            end_of_all& whole = static_cast<task_end&>(node).all;
                            if (--whole.left_ == 0) whole.here_.append(whole.end_);
                          },
                          [](ready_node&) noexcept {}},
          all{of} {}
    end_of_all& all;
  };

  shard& here_;
  const std::vector<future_reference<task_base>> tasks_;
  std::vector<std::optional<task_end>> ends_;
  std::size_t left_ = 0;
  posted_callback end_;
};

void scheduler::wait_for(end_of_all& all, deadline_timer& deadline) {
  all.watch();
  while (!all.is_there()) {
    at(0).run();
    if (deadline.passed) say_that_shutdown_is_stuck(deadline);
  }
}

// The loop goes on for a moment: what ends gives back what there was too little of.
void scheduler::pause(deadline_timer& deadline) {
  deadline_timer moment{at(0)};
  at(0).set_timer(moment, time_after(now(), std::chrono::milliseconds{1}));
  while (!moment.passed && !deadline.passed) at(0).run();
  at(0).cancel_timer(moment);
  if (deadline.passed) say_that_shutdown_is_stuck(deadline);
}

// To end needs memory for lists.
template <class Attempt>
auto scheduler::when_there_is_memory(deadline_timer& deadline, Attempt attempt) {
  for (;;) {
    try {
      return attempt();
    } catch (const std::bad_alloc&) {
      pause(deadline);
    }
  }
}

void scheduler::cancel_all_and_wait() {
  shard& here = at(0);
  deadline_timer deadline{here};
  here.set_timer(deadline, time_after(now(), options_.shutdown_deadline));

  for (;;) {
    const auto all = when_there_is_memory(deadline, [&] { return std::make_unique<end_of_all>(here, live_tasks()); });
    if (all->tasks().empty()) {
      here.stop_when_no_task_lives(true);
      here.run();
      here.stop_when_no_task_lives(false);
      if (deadline.passed) say_that_shutdown_is_stuck(deadline);
      if (no_task_lives()) break;
      continue;
    }
    for (const auto& task : all->tasks()) task->request_cancel(nullptr);
    wait_for(*all, deadline);
    for (const auto& task : all->tasks()) {
      if (task->status() != outcome::error)
        continue;  // also what an awaiter was told: it may have been cancelled itself
      report_error("unhandled exception during shutdown", task->error_unfetched(), task.get());
      task->set_fetched();
    }
  }
  here.cancel_timer(deadline);
}

// Unwinds those that outlived the tasks which used them, all at the same time, each in a task of its own, since its
// cleanup may suspend.
void scheduler::close_generators() {
  shard& here = at(0);
  deadline_timer deadline{here};
  here.set_timer(deadline, time_after(now(), options_.shutdown_deadline));
  for (;;) {
    const auto left = when_there_is_memory(deadline, [&] {
      std::vector<counted_reference<generator_core>> all;
      for (const auto& each : shards_) each->generators().add_to(all);
      return all;
    });
    if (left.empty()) break;
    auto closers = when_there_is_memory(deadline, [&] {
      std::vector<future_reference<task_base>> none;
      none.reserve(left.size());
      return none;
    });
    for (const auto& each : left) {
      task_base& closer = when_there_is_memory(deadline, [&] {
                            return std::ref(generator_core::make_closer(each, each->entered_on()));
                          }).get();
      start_task(closer);
      closers.emplace_back(&closer);
    }
    const auto all = when_there_is_memory(deadline, [&] { return std::make_unique<end_of_all>(here, closers); });
    wait_for(*all, deadline);
    bool has_failed = false;
    for (const auto& each : closers) {
      if (each->status() != outcome::error) continue;
      each->set_fetched();
      has_failed = true;
    }
    if (has_failed) pause(deadline);  // there was no stack for it
    if (!no_task_lives()) cancel_all_and_wait();
  }
  here.cancel_timer(deadline);
}

bool scheduler::has_generators() noexcept {
  return std::any_of(shards_.begin(), shards_.end(), [](const auto& each) { return !each->generators().empty(); });
}

// The loop goes on while work on other threads ends, what is queued included: it may post here. What does not end in
// time is left to itself, and what has not begun by then never does.
void scheduler::close_pools() {
  shard& here = at(0);
  struct pool_end : posted_callback {
    pool_end(shard& where, job_pool* of)
        : posted_callback{&where,
                          [](ready_node& node) noexcept {
                            static_cast<pool_end&>(node).has_ended = true;
                            static_cast<pool_end&>(node).home->stop();
                          },
                          [](ready_node&) noexcept {}},
          pool{of} {}
    job_pool* pool;
    bool has_ended = false;
  };
  pool_end compute{here, compute_jobs_.get()};
  pool_end blocking{here, blocking_jobs_.get()};

  deadline_timer deadline{here};
  here.set_timer(deadline, time_after(now(), options_.shutdown_deadline));
  for (pool_end* each : {&compute, &blocking}) each->has_ended = each->pool == nullptr || each->pool->close(*each);
  for (pool_end* each : {&compute, &blocking}) {
    while (!each->has_ended && !deadline.passed) here.run();
    if (!each->has_ended && each->pool->abandon(make_error<runtime_closed>("shutdown"))) {
      report_error("work on other threads did not end before the shutdown deadline, and was left to itself",
                   make_error<timeout_error>());
      continue;
    }
    while (!each->has_ended) here.run();  // about to be told
    if (each->pool != nullptr) each->pool->join();
  }
  here.cancel_timer(deadline);
}

// Names what does not end. A handler that returns asks for another round of waiting; without one the process ends.
void scheduler::say_that_shutdown_is_stuck(deadline_timer& deadline) {
  std::string names;
  try {
    for (const auto& task : live_tasks()) {
      if (!names.empty()) names += ", ";
      names += task->name() + " (spawned at " + task->site_file + ":" + std::to_string(task->site_line) + ")";
    }
  } catch (const std::bad_alloc&) {  // as many as there is memory for
  }
  if (!options_.on_shutdown_stuck) {
    std::fprintf(stderr, "roving: shutdown is stuck: tasks that were cancelled did not end before the deadline: %s\n",
                 names.c_str());
    std::abort();
  }
  try {
    options_.on_shutdown_stuck(names);
  } catch (...) {
    report_error("options.on_shutdown_stuck threw", std::current_exception());
  }
  deadline.passed = false;
  at(0).set_timer(deadline, time_after(now(), options_.shutdown_deadline));
}

bool scheduler::send(ready_node& node, unsigned to) noexcept {
  const gate_pass inside{*doors_[to]};
  if (inside) inside->receive(node);
  return static_cast<bool>(inside);
}

void scheduler::call_searcher(unsigned from) noexcept {
  for (unsigned iteration = 0;; relax(iteration++)) {
    bool look_again = false;
    if (const std::optional<unsigned> called = idle_.call_one(from, look_again)) {
      at(*called).where_it_sleeps().wake();
      if (shard* const here = this_shard()) here->count_wake();
      return;
    }
    if (!look_again || !idle_.stop_searching() || !work_is_visible()) return;
  }
}

bool scheduler::work_is_visible() const noexcept {
  if (!overflow_.looks_empty()) return true;
  return std::any_of(shards_.begin(), shards_.end(), [](const std::unique_ptr<shard>& each) {
    return !each->fresh_.looks_empty() || !each->woken_.looks_empty();
  });
}

std::vector<future_reference<task_base>> scheduler::live_tasks(std::optional<unsigned> pinned_to) {
  std::vector<future_reference<task_base>> tasks;
  for (const gate_reference& door : doors_) {
    const gate_pass inside{*door};
    if (!inside) continue;
    inside->blocks().for_each([&](task_base& block) {
      if (!block.try_add_reference()) return;
      future_reference<task_base> task{&block};
      if (task->is_done() || (pinned_to && (task->roving || task->home_index != *pinned_to))) return;
      tasks.push_back(std::move(task));
    });
  }
  std::sort(tasks.begin(), tasks.end(), [](const auto& a, const auto& b) { return a->number < b->number; });
  return tasks;
}

bool scheduler::callback_may_spawn() noexcept {
  if (is_planted(planted::spawn_unseen_by_close)) return true;
  bool yes = true;  // and stays so: this writes what it finds, so that close() reads what came before it
  return callbacks_may_spawn_.compare_exchange_strong(yes, true, std::memory_order_acq_rel, std::memory_order_relaxed);
}

std::string scheduler::describe_tasks() {
  std::vector<task_sight> seen;
  for (auto& task : live_tasks()) {
    task_sight one = look_at(std::move(task), nullptr);
    if (one.now != task_sight::state::ended) seen.push_back(std::move(one));
  }
  return describe(seen, now());
}

// The tasks first: to ask a shard may take long.
std::string scheduler::dump() {
  if (is_closed()) return {};
  open_waits_here();
  stack_copies room;
  std::vector<task_sight> seen;
  const bool is_real = current_simulator() == nullptr;  // else each build has the same text
  for (auto& task : live_tasks()) seen.push_back(look_at(std::move(task), is_real ? &room : nullptr));
  std::string shards;
  symbol_table names;
  thread_answer answer;
  for (unsigned i = 0; i < shard_count(); ++i) {
    shards += "  shard " + std::to_string(i);
    if (idle_.is_absent(i)) {
      shards += " is run by nobody\n";
    } else if (idle_.is_asleep(i)) {
      shards += " sleeps\n";
    } else if (!askable_[i].ask(answer)) {
      shards += " is awake and does not answer\n";
    } else if (answer.is_in_parker) {
      shards += " is about to wake\n";
    } else if (!answer.task) {
      shards += " runs its loop, or a callback\n";
      if (answer.has_stack) shards += describe_calls(calls_on(answer.stack), names);
    } else {
      shards += " runs " + answer.task->name() + '\n';
      note_running(seen, std::move(answer.task), i, answer.has_stack ? calls_on(answer.stack) : call_addresses{});
    }
  }
  const auto has_ended = [](const task_sight& each) { return each.now == task_sight::state::ended; };
  seen.erase(std::remove_if(seen.begin(), seen.end(), has_ended), seen.end());
  return "roving: " + std::to_string(shard_count()) + (shard_count() == 1 ? " shard, " : " shards, ") +
      std::to_string(seen.size()) + (seen.size() == 1 ? " task\n" : " tasks\n") + shards + describe(seen, now(), names);
}

void scheduler::report_stall(const stall& what) noexcept {
  try {
    if (options_.on_stall) {
      options_.on_stall(what);
      return;
    }
    std::string text = "roving: " + what.task;
    if (*what.site.file != '\0')
      text += std::string{" ("} + what.site.file + ':' + std::to_string(what.site.line) + ')';
    text += " holds shard " + std::to_string(what.shard) + ", for " +
        std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(what.held_for).count()) + " ms by now";
    if (what.unreported != 0) text += "; " + std::to_string(what.unreported) + " stalls before it were not reported";
    std::fprintf(stderr, "%s\n%s", text.c_str(), what.stack.c_str());
  } catch (...) {
    report({"the handler of stalls threw", std::current_exception(), {}});
  }
}

bool scheduler::no_task_lives() const noexcept {
  // Ends before beginnings: if the sums agree, nothing lived in between.
  std::uint64_t finished = 0;
  std::uint64_t spawned = 0;
  for (const auto& each : shards_) finished += each->finished();
  for (const auto& each : shards_) spawned += each->spawned();
  return spawned == finished;
}

void scheduler::report(const unhandled& what) noexcept {
  if (options_.on_unhandled) {
    try {
      options_.on_unhandled(what);
      return;
    } catch (...) {
      report_on_stderr("the unhandled-error handler threw", "", std::current_exception());
    }
  }
  report_on_stderr(what);
}

void scheduler::report_error(const char* message, const std::exception_ptr& error, const task_base* task) noexcept {
  try {
    report({message, error, task != nullptr ? task->name() : std::string{}});
  } catch (...) {  // no memory for the texts
    report_on_stderr(message, "", error);
  }
}

void scheduler::report_slow(const task_base* task, spawn_site site, duration took, unsigned shard) noexcept {
  try {
    const slow_slice what{task != nullptr ? task->name() : "callback", site, took, shard};
    if (options_.on_slow_slice) {
      options_.on_slow_slice(what);
    } else {
      std::fprintf(stderr, "roving: %s (%s:%u) held shard %u for %.3f ms\n", what.task.c_str(), site.file, site.line,
                   shard, std::chrono::duration<double, std::milli>{took}.count());
    }
  } catch (...) {
    report_error("the handler of slow slices threw", std::current_exception());
  }
}

void report_on_stderr(const char* message, const char* task, const std::exception_ptr& error) noexcept {
  const auto print = [&](const char* text) {
    std::fprintf(stderr, "roving: %s%s%s: %s\n", message, *task != '\0' ? ": " : "", task, text);
  };
  try {
    if (error) std::rethrow_exception(error);
  } catch (const std::exception& thrown) {
    return print(thrown.what());
  } catch (...) {
  }
  print("an exception that is not a std::exception");
}

void report_on_stderr(const unhandled& what) noexcept {
  report_on_stderr(what.message.c_str(), what.task.c_str(), what.error);
}

parker& current_parker(const char* call) {
  shard* const here = this_shard();
  if (here == nullptr) throw no_shard{call};
  return here->where_it_sleeps();
}

unsigned current_shard_index(const char* call) {
  const shard* const here = this_shard();
  if (here == nullptr) throw no_shard{call};
  return here->index();
}

}  // namespace roving::detail
