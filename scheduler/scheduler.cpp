// See scheduler.hpp. Start, run, close.
#include "scheduler/scheduler.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <future>
#include <mutex>
#include <stdexcept>

#include <roving/detail/assert.hpp>
#include <roving/error.hpp>

#include "scheduler/current.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {
namespace {

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

// Makes the calling thread shard 0 while it lives.
class scheduler::driver {
 public:
  driver(scheduler& owner, const char* call) : owner_{owner} {
    if (this_shard() != nullptr)
      throw broken_contract{std::string{call} +
                            ": the calling thread runs a shard already; a runtime can't be run or closed inside another"};
    if (owner_.driven_.exchange(true, std::memory_order_acquire))
      throw broken_contract{std::string{call} + ": another thread runs this runtime at the moment"};
    try {
      const std::vector<unsigned>& cores = owner_.options_.cores;
      owner_.at(0).begin_thread(cores.empty() ? std::nullopt : std::optional<unsigned>{cores.front()});
    } catch (...) {
      owner_.driven_.store(false, std::memory_order_release);
      throw;
    }
  }
  driver(const driver&) = delete;
  driver& operator=(const driver&) = delete;
  ~driver() {
    owner_.at(0).end_thread();
    owner_.driven_.store(false, std::memory_order_release);
  }

 private:
  scheduler& owner_;
};

scheduler::scheduler(scheduler_options options)
    : options_{std::move(options)}, idle_{options_.shards}, overflow_reporter_{&describe_overflow} {
  ROVING_ASSERT(options_.shards != 0 && options_.make_parker);
  for (unsigned i = 0; i < options_.shards; ++i) shards_.push_back(std::make_unique<shard>(*this, i));
  try {
    for (unsigned i = 1; i < options_.shards; ++i) {
      std::promise<void> started;
      threads_.push_back(options_.threads->start([this, i, &started] {
        shard& self = *shards_[i];
        try {
          self.begin_thread(options_.cores.empty() ? std::nullopt : std::optional<unsigned>{options_.cores[i]});
        } catch (...) {
          started.set_exception(std::current_exception());
          return;
        }
        started.set_value();
        self.run();
        self.end_thread();
      }));
      started.get_future().get();
    }
  } catch (...) {
    stop_threads();
    throw;
  }
}

scheduler::~scheduler() { ROVING_ASSERT(threads_.empty()); }

void scheduler::run(const std::function<future_reference<task_base>()>& begin) {
  if (is_closed()) throw runtime_closed{"run"};
  const driver drive{*this, "run"};
  const future_reference<task_base> main = begin();
  struct stop_with_main : done_node, posted_callback {
    explicit stop_with_main(shard& where)
        : done_node{[](done_node& node) noexcept -> ready_node* { return &static_cast<stop_with_main&>(node); }},
          posted_callback{&where, [](ready_node& node) noexcept { static_cast<stop_with_main&>(node).home->stop(); },
                          [](ready_node&) noexcept {}} {}
  } node{at(0)};
  if (main->subscribe(node)) at(0).run();
}

void scheduler::close() {
  if (is_closed()) return;
  {
    const driver drive{*this, "close"};
    draining_.store(true, std::memory_order_seq_cst);
    cancel_all_and_wait();
    {
      const std::lock_guard guard{send_lock_};
      closed_.store(true, std::memory_order_release);
    }
    stop_threads();
    for (const auto& each : shards_) each->drop_what_is_left();
  }
  shards_.clear();
}

void scheduler::stop_threads() noexcept {
  stopping_.store(true, std::memory_order_seq_cst);
  for (unsigned i = 1; i < shards_.size(); ++i) shards_[i]->where_it_sleeps().wake();
  threads_.clear();  // joins
}

void scheduler::cancel_all_and_wait() {
  shard& here = at(0);

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
  } deadline{here};
  here.set_timer(deadline, time_after(now(), options_.shutdown_deadline));

  // One for each task that was cancelled; the last to be told posts the end, as asyncio's gather does.
  struct countdown {
    std::size_t left = 0;
    posted_callback end;
  };
  struct task_end : done_node, posted_callback {
    task_end(shard& where, countdown& of)
        : done_node{[](done_node& node) noexcept -> ready_node* { return &static_cast<task_end&>(node); }},
          posted_callback{&where,
                          [](ready_node& node) noexcept {
                            countdown& shared = static_cast<task_end&>(node).all;
                            if (--shared.left == 0) shared.end.home->append(shared.end);
                          },
                          [](ready_node&) noexcept {}},
          all{of} {}
    countdown& all;
  };

  for (;;) {
    const std::vector<future_reference<task_base>> tasks = live_tasks();
    if (tasks.empty()) {
      here.stop_when_no_task_lives(true);
      here.run();
      here.stop_when_no_task_lives(false);
      if (deadline.passed) give_up_shutdown();
      if (no_task_lives()) break;
      continue;
    }
    countdown remaining{0, {&here, [](ready_node& node) noexcept { static_cast<posted_callback&>(node).home->stop(); },
                      [](ready_node&) noexcept {}}};
    std::vector<std::unique_ptr<task_end>> ends;
    ends.reserve(tasks.size());
    for (const auto& task : tasks) task->request_cancel(nullptr);
    for (const auto& task : tasks) {
      ends.push_back(std::make_unique<task_end>(here, remaining));
      ++remaining.left;
      if (!task->subscribe(*ends.back())) here.append(*ends.back());
    }
    while (remaining.left != 0 && !deadline.passed) here.run();
    if (deadline.passed) give_up_shutdown();
    for (const auto& task : tasks) {
      if (task->status() != outcome::error || task->is_fetched()) continue;
      report({"unhandled exception during shutdown", task->error_unfetched(), task->name()});
      task->set_fetched();
    }
  }
  here.cancel_timer(deadline);
}

void scheduler::give_up_shutdown() {
  std::string names;
  for (const auto& task : live_tasks()) {
    if (!names.empty()) names += ", ";
    names += task->name() + " (spawned at " + task->site_file + ":" + std::to_string(task->site_line) + ")";
  }
  if (options_.on_shutdown_stuck) options_.on_shutdown_stuck(names);
  std::fprintf(stderr, "roving: shutdown is stuck: tasks that were cancelled did not end before the deadline: %s\n",
               names.c_str());
  std::abort();
}

bool scheduler::send(ready_node& node, unsigned to) {
  const std::lock_guard guard{send_lock_};
  if (is_closed()) return false;
  at(to).receive(node);
  return true;
}

void scheduler::call_searcher(unsigned from) noexcept {
  for (;;) {
    bool look_again = false;
    if (const std::optional<unsigned> called = idle_.call_one(from, look_again)) {
      at(*called).where_it_sleeps().wake();
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

std::vector<future_reference<task_base>> scheduler::live_tasks() {
  std::vector<future_reference<task_base>> tasks;
  for (const auto& each : shards_) {
    each->blocks().for_each([&](task_base& block) {
      if (!block.try_add_reference()) return;
      future_reference<task_base> task{&block};
      if (!task->is_done()) tasks.push_back(std::move(task));
    });
  }
  std::sort(tasks.begin(), tasks.end(), [](const auto& a, const auto& b) { return a->number < b->number; });
  return tasks;
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
      report_on_stderr({"the unhandled-error handler threw", std::current_exception(), {}});
    }
  }
  report_on_stderr(what);
}

void report_on_stderr(const unhandled& what) noexcept {
  const char* text = "an exception that is not a std::exception";
  try {
    if (what.error) std::rethrow_exception(what.error);
  } catch (const std::exception& error) {
    text = error.what();
    std::fprintf(stderr, "roving: %s%s%s: %s\n", what.message.c_str(), what.task.empty() ? "" : ": ", what.task.c_str(),
                 text);
    return;
  } catch (...) {
  }
  std::fprintf(stderr, "roving: %s%s%s: %s\n", what.message.c_str(), what.task.empty() ? "" : ": ", what.task.c_str(),
               text);
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
