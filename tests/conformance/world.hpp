// One run of one trace program: its objects, its tasks, and the trace that grows.
//
// The program runs on a scheduler of its own, with one shard, virtual time, and polling every generation. Bodies are
// run by fibers; every operation is done by the primitive of roving that stands for it.
//
// When a trace has ended before its program did, no line is logged any more. After LIMIT every body parks at its next
// operation, as in the reference, where it still shows whether the run comes to its end: if main had ended well by
// then, `exit` follows LIMIT. After that, and after DEADLOCK, the program is taken apart: every body ends at its next
// operation, and when nothing can go on, everything that may be waited for is cancelled and unlocked.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <variant>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/scheduler.hpp"
#include "tests/conformance/operations.hpp"
#include "tests/conformance/outcome.hpp"
#include "tests/conformance/program.hpp"
#include "tests/conformance/virtual_time.hpp"

namespace conformance {

using future_handle = roving::detail::future_reference<>;
using task_handle = roving::detail::future_reference<roving::detail::task_base>;
using value_future = roving::detail::future_reference<roving::detail::future_state<value>>;

/// A condition and the lock that it stands for: another object, or its own.
struct condition {
  explicit condition(roving::mutex* of)
      : own{of == nullptr ? std::make_unique<roving::mutex>() : nullptr}, lock{of == nullptr ? *own : *of} {}
  std::unique_ptr<roving::mutex> own;
  roving::mutex& lock;
  roving::condition_variable changed{lock};
};

template <class Kind>
using owned = std::unique_ptr<Kind>;

using object =
    std::variant<value_future, owned<roving::mutex>, owned<roving::semaphore>, owned<roving::bounded_semaphore>,
                 owned<condition>, owned<roving::event>, owned<roving::queue<std::int64_t>>,
                 owned<roving::lifo_queue<std::int64_t>>, owned<roving::priority_queue<std::int64_t>>,
                 owned<roving::barrier>, owned<roving::context_var<value>>>;

/// A timeout scope that was entered by a name. `scope` is null once it was left.
struct timer_record {
  roving::timeout_scope* scope = nullptr;
  bool has_expired = false;
};

/// A group that was entered by a name. `group` is null once it was left.
struct group_record {
  roving::task_group* group = nullptr;
};

class world {
 public:
  explicit world(const program& what);
  world(const world&) = delete;
  world& operator=(const world&) = delete;
  ~world();

  /// Runs the program; once. Returns the trace, a line each, without a newline at the end of lines.
  std::vector<std::string> run();

  // --- for the operations

  /// Runs operations one after the other.
  returned run_operations(const operations& ops);

  /// Runs a body of the program inside the current task, without its `end`.
  returned run_inline(std::size_t body) { return run_operations(what_.bodies.at(body)); }

  /// Counts an operation that is about to start. False when the trace has ended, and it must not.
  [[nodiscard]] bool begin_operation();

  /// Adds a line for the current task or callback.
  void log(std::string_view operation_text, std::string_view outcome);

  /// Makes a task of a body. The name is told apart from earlier ones.
  task_handle spawn(std::size_t body, const std::string& name, bool eager = false);

  /// The same in a group. Throws what task_group::spawn() does; the name is not used up then.
  task_handle spawn_in(roving::task_group& group, std::size_t body, const std::string& name);

  /// A future or a task; nothing where the name holds nothing.
  future_handle find(const std::string& name);
  task_handle find_task(const std::string& name);

  object& object_of(const std::string& name) { return objects_.at(name); }
  template <class Kind>
  Kind& get(const std::string& name) {
    return *std::get<owned<Kind>>(objects_.at(name));
  }
  void put_task(const std::string& slot, task_handle task) { slots_[slot] = std::move(task); }
  void put_future(const std::string& name);

  void put_timer(const std::string& name, std::shared_ptr<timer_record> timer) { timers_[name] = std::move(timer); }
  std::shared_ptr<timer_record> find_timer(const std::string& name) { return timers_[name]; }
  void put_group(const std::string& name, std::shared_ptr<group_record> group) { groups_[name] = std::move(group); }
  std::shared_ptr<group_record> find_group(const std::string& name) { return groups_[name]; }

  /// The callback of that key: one, however often it is registered.
  const roving::done_callback& callback(const std::string& key) { return callbacks_.at(key); }
  void put_posted(const std::string& handle, roving::callback_handle posted) { posted_[handle] = std::move(posted); }
  roving::callback_handle find_posted(const std::string& handle) { return posted_[handle]; }

  /// What that callback does.
  void run_callback(const std::string& key);

 private:
  struct task_record;
  struct left_over;

  value run_body(std::size_t body);
  returned suspending(const operation& op);
  void sync(const operation& op);
  void make_object(const object_declaration& declared);
  std::string label(const std::string& name);  // "name", "name#2", ...
  void emit(std::string_view who, std::string_view operation_text, std::string_view outcome);
  void end_trace(std::string line);
  [[noreturn]] void park_for_good();
  [[nodiscard]] std::string time_text() const;

  void generation_begins();
  void nothing_is_left();
  void release_everything();
  [[nodiscard]] std::string deadlock_line();
  void report(const roving::unhandled& what);
  void watch_left_overs();
  void finish_run();

  const program& what_;
  std::vector<std::string> lines_;
  bool ended_ = false;        // no more lines
  bool taken_apart_ = false;  // no more waiting either
  std::int64_t operations_begun_ = 0;
  virtual_clock clock_;
  std::unordered_map<std::string, object> objects_;
  std::vector<value_future> futures_;  // also those whose names stand for others by now
  std::unordered_map<std::string, task_handle> slots_;
  std::unordered_map<std::string, int> labels_;
  std::unordered_map<std::string, std::shared_ptr<timer_record>> timers_;
  std::unordered_map<std::string, std::shared_ptr<group_record>> groups_;
  std::unordered_map<std::string, roving::done_callback> callbacks_;
  std::unordered_map<std::string, roving::callback_handle> posted_;
  std::unordered_map<const roving::detail::task_base*, task_record*> records_;

  // the end of the run
  std::uint64_t generation_ = 0;
  std::uint64_t limit_generation_ = 0;  // the one in which the limit was met; 0: none
  std::uint64_t first_closing_generation_ = 0;
  std::uint64_t last_generation_ = 0;   // 0: not known yet
  std::size_t left_ = 0;                // left-over tasks that have not ended
  bool main_ended_in_time_ = true;      // not after the generation of the limit
  bool main_ended_with_limit_ = false;  // in that very generation
  bool main_was_done_ = false;          // when the generation that goes on began
  task_handle main_;
  std::optional<std::string> exit_outcome_;
  std::vector<std::unique_ptr<left_over>> left_overs_;

  std::unique_ptr<roving::detail::scheduler> scheduler_;
};

}  // namespace conformance
