// See task_report.hpp.
#include "scheduler/task_report.hpp"

#include <algorithm>
#include <cstdio>
#include <string_view>
#include <unordered_map>

#include <roving/detail/lock_holder.hpp>

#include "scheduler/fiber.hpp"
#include "scheduler/symbols.hpp"

namespace roving::detail {
namespace {

constexpr std::size_t awaited_at_most = 1024;
constexpr const char* indent = "    ";

// While the task is pinned.
void add_awaited(task_sight& to, const future_base& other) {
  if (to.awaits.size() == awaited_at_most) {
    to.awaits_more = true;
    return;
  }
  to.awaits.push_back(&other);
}

void read_awaited(task_sight& to, future_base& what) {
  if (const auto depends_on = what.operations().depends_on)
    depends_on(
        what, [](void* seen, const future_base& other) { add_awaited(*static_cast<task_sight*>(seen), other); }, &to);
  else
    add_awaited(to, what);
}

// The lock is there as long as somebody waits for it.
void read_holder(task_sight& to) {
#if defined(ROVING_SIMULATION)
  if (to.waits_for == wait_subject::lock)
    to.locked_by = reinterpret_cast<const lock_holder*>(to.waits_for_value)->task();
#else
  (void)to;
#endif
}

// A generator's body has a stack of its own: the innermost first. Returns how many were copied.
std::size_t copy_stacks(const task_base& of, stack_copies& room) {
  std::size_t copied = 0;
  for (const fiber* on = of.runs_on.load(std::memory_order_relaxed); on != nullptr; on = on->entered_from) {
    if (copied == room.size()) room.emplace_back();
    if (!on->place.copy_stack(on->memory, room[copied])) break;
    ++copied;
  }
  return copied;
}

// Keeps a task readable; see the head of task_report.hpp.
class pin {
 public:
  explicit pin(task_base& of) noexcept : of_{of}, holds_{of.claims.try_pin(seen_)} {}
  pin(const pin&) = delete;
  pin& operator=(const pin&) = delete;
  ~pin() {
    if (holds_) of_.claims.unpin();
  }
  explicit operator bool() const noexcept { return holds_; }
  [[nodiscard]] bool is_parked() const noexcept { return of_.claims.is_untouched(seen_); }

 private:
  task_base& of_;
  claim_word::word seen_ = 0;
  bool holds_;
};

// What says nothing of a task, since each begins and parks so.
bool is_on_every_stack(std::string_view call) {
  constexpr std::string_view those[] = {
      "roving::detail::context::switch_to(",          "roving::detail::crossing::start(",
      "roving::detail::(anonymous namespace)::fiber", "roving::detail::task_base::run()",
      "roving::detail::askable_thread::ask(",         "roving::detail::scheduler::dump",
  };
  return std::any_of(std::begin(those), std::end(those),
                     [&](std::string_view each) { return call.substr(0, each.size()) == each; });
}

std::string span_text(duration span) {
  char text[48];
  const double seconds = std::chrono::duration<double>{span}.count();
  if (seconds < 1e-3)
    std::snprintf(text, sizeof text, "%.0f us", seconds * 1e6);
  else if (seconds < 1)
    std::snprintf(text, sizeof text, "%.1f ms", seconds * 1e3);
  else
    std::snprintf(text, sizeof text, "%.1f s", seconds);
  return text;
}

// What ends a wait of which it is not known who could end it.
const char* ended_by(std::string_view call) {
  struct ending {
    std::string_view call;
    const char* text;
  };
  static constexpr ending all[] = {
      {"semaphore::acquire", ", until somebody calls release(); who has its permits is not known"},
      {"queue::get", ", until somebody calls put() or shutdown()"},
      {"queue::put", ", until somebody calls get() or shutdown()"},
      {"queue::join", ", until task_done() was called for each item"},
      {"condition_variable::wait", ", until somebody notifies"},
      {"event::wait", ", until somebody calls set()"},
      {"latch::wait", ", until it is counted down"},
      {"shared_mutex::lock", "; which readers have it is not known"},
  };
  const auto* const found =
      std::find_if(std::begin(all), std::end(all), [&](const ending& each) { return each.call == call; });
  return found != std::end(all) ? found->text : "";
}

std::string subject_text(const task_sight& seen, time_point now) {
  switch (seen.waits_for) {
    case wait_subject::unknown:
      return {};
    case wait_subject::deadline: {
      const time_point until{duration{seen.waits_for_value}};
      if (until == time_point::max()) return {};
      return until <= now ? ", its time is over" : ", " + span_text(until - now) + " left";
    }
    case wait_subject::lock:
      return {};
    case wait_subject::descriptor:
      return ", descriptor " + std::to_string(seen.waits_for_value);
  }
  return {};
}

// Who waits for whom, among tasks.
class waits_graph {
 public:
  explicit waits_graph(const std::vector<task_sight>& tasks) : tasks_{tasks}, awaits_(tasks.size()) {
    std::unordered_map<const future_base*, std::size_t> places;
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      places.emplace(tasks[i].task.get(), i);
      numbers_.emplace(tasks[i].task->number, i);
    }
    std::vector<bool> is_awaited(tasks.size());
    for (std::size_t i = 0; i < tasks.size(); ++i) {
      for (const future_base* const each : tasks[i].awaits) {
        const auto found = places.find(each);
        if (found == places.end()) continue;
        awaits_[i].push_back(found->second);
        is_awaited[found->second] = true;
      }
      if (const std::optional<std::size_t> holder = holder_for(i)) {
        awaits_[i].push_back(*holder);
        is_awaited[*holder] = true;
      }
    }
    for (std::size_t i = 0; i < tasks.size(); ++i)
      if (!is_awaited[i] && !awaits_[i].empty()) roots_.push_back(i);
  }

  [[nodiscard]] const std::vector<std::size_t>& awaited_by(std::size_t task) const { return awaits_[task]; }

  // Who has locked what that task waits for.
  [[nodiscard]] std::optional<std::size_t> holder_for(std::size_t task) const {
    const auto found = numbers_.find(tasks_[task].locked_by.value_or(0));
    if (found == numbers_.end()) return std::nullopt;
    return found->second;
  }

  // Depth first, from those whom nobody awaits, then from what is left, which are circles. Without recursion: chains
  // may be long.
  [[nodiscard]] std::string tree() {
    visited_.assign(tasks_.size(), false);
    on_path_.assign(tasks_.size(), false);
    for (const std::size_t root : roots_) walk(root);
    for (std::size_t i = 0; i < tasks_.size(); ++i)
      if (!visited_[i] && !awaits_[i].empty()) walk(i);
    std::string text;
    if (!lines_.empty()) text += "  who waits for whom:\n" + lines_;
    return text + circles_;
  }

 private:
  struct step {
    std::size_t task;
    std::size_t next = 0;
  };

  void walk(std::size_t root) {
    std::vector<step> path;
    enter(root, path);
    while (!path.empty()) {
      step& last = path.back();
      if (last.next == awaits_[last.task].size()) {
        on_path_[last.task] = false;
        path.pop_back();
        continue;
      }
      const std::size_t to = awaits_[last.task][last.next++];
      if (on_path_[to])
        add_circle(path, to);
      else if (visited_[to])
        add_line(to, path.size(), awaits_[to].empty() ? "" : ", see above");
      else
        enter(to, path);
    }
  }

  void enter(std::size_t task, std::vector<step>& path) {
    visited_[task] = on_path_[task] = true;
    add_line(task, path.size(), "");
    path.push_back({task});
  }

  void add_line(std::size_t task, std::size_t depth, const char* more) {
    constexpr std::size_t deepest = 40;
    lines_ += indent + std::string(2 * std::min(depth, deepest), ' ') + tasks_[task].name + more + '\n';
  }

  void add_circle(const std::vector<step>& path, std::size_t to) {
    circles_ += "  in a circle: ";
    const auto first = std::find_if(path.begin(), path.end(), [&](const step& each) { return each.task == to; });
    for (auto each = first; each != path.end(); ++each) circles_ += tasks_[each->task].name + " -> ";
    circles_ += tasks_[to].name + '\n';
  }

  const std::vector<task_sight>& tasks_;
  std::unordered_map<std::uint64_t, std::size_t> numbers_;
  std::vector<std::vector<std::size_t>> awaits_;
  std::vector<std::size_t> roots_;
  std::vector<bool> visited_;
  std::vector<bool> on_path_;
  std::string lines_;
  std::string circles_;
};

}  // namespace

task_sight look_at(future_reference<task_base> task, stack_copies* room) {
  task_sight seen;
  seen.task = std::move(task);
  task_base& of = *seen.task;
  seen.name = of.name();
  std::size_t copied = 0;
  if (const pin hold{of}) {
    seen.waits_in = of.waits_in.load(std::memory_order_relaxed);
    seen.waits_for = of.waits_for;
    seen.waits_for_value = of.waits_for_value;
    if (of.awaits != nullptr) read_awaited(seen, *of.awaits);
    read_holder(seen);
    if (room != nullptr && hold.is_parked()) copied = copy_stacks(of, *room);
    if (hold.is_parked())
      seen.now = task_sight::state::waits;
    else if (of.claims.is_preparing() && !seen.awaits.empty())
      seen.now = task_sight::state::runs_child;
    else
      seen.awaits.clear();
  }
  if (seen.now == task_sight::state::waits) {
    for (std::size_t i = 0; i < copied; ++i) {
      const call_addresses more = calls_on((*room)[i]);
      seen.calls.insert(seen.calls.end(), more.begin(), more.end());
    }
  } else if (of.is_done()) {
    seen.now = task_sight::state::ended;
  } else if (of.runs_on.load(std::memory_order_relaxed) == nullptr) {
    seen.now = task_sight::state::unstarted;
  } else if (seen.now != task_sight::state::runs_child) {
    seen.waits_in = of.waits_in.load(std::memory_order_relaxed);
    if (seen.waits_in != nullptr) seen.now = task_sight::state::ready;  // its wait was ended
  }
  return seen;
}

std::string describe(const task_sight& seen, time_point now) {
  const task_base& of = *seen.task;
  std::string text = seen.name + " (" + of.site_file + ':' + std::to_string(of.site_line) + "), ";
  text += of.roving ? "roving" : "pinned to shard " + std::to_string(of.home_index);
  const std::string call = seen.waits_in != nullptr ? seen.waits_in : "";
  switch (seen.now) {
    case task_sight::state::unstarted:
      text += ", not started";
      break;
    case task_sight::state::ready_or_runs:
      text += ", does not wait";
      break;
    case task_sight::state::runs:
      text += ", runs on shard " + std::to_string(seen.runs_on_shard);
      break;
    case task_sight::state::ready:
      text += ", is ready to go on after " + call;
      break;
    case task_sight::state::waits:
      text += ", waits in " + call + subject_text(seen, now);
      break;
    case task_sight::state::runs_child:
      text += ", in " + call + ", runs a child on its own stack";
      break;
    case task_sight::state::ended:
      text += ", has ended";
      break;
  }
  const duration::rep since = of.since.load(std::memory_order_relaxed);
  if (since != task_base::never) text += ", for " + span_text(now.time_since_epoch() - duration{since});
  if (seen.now == task_sight::state::waits && seen.locked_by.value_or(0) == 0) text += ended_by(call);
  return text;
}

std::string describe_calls(const call_addresses& calls, symbol_table& names) {
  std::string text;
  for (const std::uintptr_t call : calls)
    if (const std::string& line = names.describe(call); !is_on_every_stack(line)) text += "      " + line + '\n';
  return text;
}

void note_running(std::vector<task_sight>& all, future_reference<task_base> task, unsigned shard,
                  call_addresses calls) {
  auto found = std::find_if(all.begin(), all.end(), [&](const task_sight& each) { return each.task == task; });
  if (found == all.end()) {  // spawned since
    all.emplace_back();
    found = all.end() - 1;
    found->name = task->name();
    found->task = std::move(task);
  }
  found->now = task_sight::state::runs;
  found->awaits.clear();
  found->runs_on_shard = shard;
  found->calls = std::move(calls);
}

std::string describe(const std::vector<task_sight>& tasks, time_point now) {
  symbol_table unused;
  return describe(tasks, now, unused);
}

std::string describe(const std::vector<task_sight>& tasks, time_point now, symbol_table& names) {
  waits_graph graph{tasks};
  std::string text;
  for (std::size_t i = 0; i < tasks.size(); ++i) {
    text += "  task " + describe(tasks[i], now);
    if (tasks[i].locked_by) {
      const std::optional<std::size_t> holder = graph.holder_for(i);
      if (holder)
        text += ", locked by " + tasks[*holder].name;
      else if (*tasks[i].locked_by != 0)
        text += ", locked by a task that has ended";
    } else {
      const char* before = " for ";
      for (const std::size_t awaited : graph.awaited_by(i)) {
        text += before + tasks[awaited].name;
        before = ", ";
      }
    }
    if (tasks[i].awaits_more) text += " and more";
    text += '\n';
    text += describe_calls(tasks[i].calls, names);
  }
  return text + graph.tree();
}

}  // namespace roving::detail
