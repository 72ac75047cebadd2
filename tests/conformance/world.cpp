// See world.hpp.
#include "tests/conformance/world.hpp"

#include <algorithm>
#include <chrono>

namespace conformance {

// What a task is in the middle of, innermost last; lies on its stack.
struct world::task_record {
  explicit task_record(world& where) : where_{where}, task_{roving::detail::current_task()} {
    where_.records_[task_] = this;
  }
  task_record(const task_record&) = delete;
  task_record& operator=(const task_record&) = delete;
  ~task_record() { where_.records_.erase(task_); }

  std::vector<const operation*> inside_of;

 private:
  world& where_;
  const roving::detail::task_base* task_;
};

// Is told when a task that the run cancels at its end has ended.
struct world::left_over : roving::detail::done_node {
  left_over(world& of, task_handle which)
      : done_node{[](done_node& node) noexcept -> roving::detail::ready_node* {
          world& all = static_cast<left_over&>(node).in;
          if (--all.left_ == 0) all.last_generation_ = all.generation_ + 2;
          return nullptr;
        }},
        in{of},
        task{std::move(which)} {}
  world& in;
  task_handle task;
};

world::world(const program& what) : what_{what} {
  roving::detail::scheduler_options options;
  options.poll_every_generation = true;
  options.clock = &clock_;
  options.shutdown_deadline = roving::duration::max();
  options.on_unhandled = [this](const roving::unhandled& unhandled) { report(unhandled); };
  options.make_parker = [this](unsigned) {
    return std::make_unique<virtual_parker>(
        clock_, virtual_parker::events{[this] { generation_begins(); }, [this] { nothing_is_left(); }});
  };
  scheduler_ = std::make_unique<roving::detail::scheduler>(std::move(options));
  for (const object_declaration& declared : what_.objects) make_object(declared);
  for (const auto& [key, ops] : what_.callbacks)
    callbacks_.emplace(key, roving::done_callback{[this, of = key] { run_callback(of); }});
}

world::~world() = default;

void world::make_object(const object_declaration& declared) {
  const auto number = [&](std::size_t at) { return std::get<std::int64_t>(declared.arguments.at(at)); };
  const auto place = [&](auto made) { objects_.emplace(declared.name, std::move(made)); };
  const std::string& kind = declared.kind;
  if (kind == "future") {
    put_future(declared.name);
  } else if (kind == "lock") {
    place(std::make_unique<roving::mutex>());
  } else if (kind == "semaphore") {
    place(std::make_unique<roving::semaphore>(number(0)));
  } else if (kind == "bounded_semaphore") {
    place(std::make_unique<roving::bounded_semaphore>(number(0)));
  } else if (kind == "condition") {
    const auto* const lock = std::get_if<std::string>(&declared.arguments.at(0));
    place(std::make_unique<condition>(lock != nullptr ? &get<roving::mutex>(*lock) : nullptr));
  } else if (kind == "event") {
    place(std::make_unique<roving::event>());
  } else if (kind == "queue") {
    const auto& order = std::get<std::string>(declared.arguments.at(0));
    const auto capacity = static_cast<std::size_t>(number(1));
    if (order == "fifo") place(std::make_unique<roving::queue<std::int64_t>>(capacity));
    if (order == "lifo") place(std::make_unique<roving::lifo_queue<std::int64_t>>(capacity));
    if (order == "priority") place(std::make_unique<roving::priority_queue<std::int64_t>>(capacity));
  } else if (kind == "barrier") {
    place(std::make_unique<roving::barrier>(static_cast<std::size_t>(number(0))));
  } else if (kind == "var") {
    place(std::make_unique<roving::context_var<value>>(declared.arguments.at(0)));
  } else {
    throw unknown_operation{kind};
  }
}

void world::put_future(const std::string& name) {
  futures_.emplace_back(new roving::detail::future_state<value>);
  objects_.insert_or_assign(name, futures_.back());
}

std::vector<std::string> world::run() {
  scheduler_->run([this] {
    main_ = spawn(0, "main");
    put_task("main", main_);
    return main_;
  });
  // A limit that is met when main has ended well does not keep the run from ending.
  if (!ended_ || (main_ended_in_time_ && main_->status() == roving::detail::outcome::value)) {
    exit_outcome_ = text_of_outcome(*main_);
    watch_left_overs();
    // The reference's loop was stopped twice, for the limit and for main's end. The second stop comes when it should
    // wait for the left-overs, and is taken for an error.
    if (main_ended_with_limit_ && left_ != 0) exit_outcome_.reset();
  }
  scheduler_->close();
  finish_run();
  for (const auto& [slot, task] : slots_) task->set_fetched();  // nobody is left to be told of its error
  for (const value_future& each : futures_) {
    each->set_fetched();
    roving::detail::break_promise(*each);  // lets go of callbacks that were never called: their shard is closed
  }
  return std::move(lines_);
}

// --- the trace -------------------------------------------------------------------------------------------------------

std::string world::time_text() const {
  const auto since_start = scheduler_->now().time_since_epoch();
  return std::to_string(std::chrono::duration_cast<std::chrono::milliseconds>(since_start).count());
}

void world::emit(std::string_view who, std::string_view operation_text, std::string_view outcome) {
  if (ended_) return;
  std::string& line = lines_.emplace_back(time_text());
  ((((line += ' ') += who) += ' ') += operation_text) += ' ';
  line += outcome;
}

void world::log(std::string_view operation_text, std::string_view outcome) {
  if (ended_) return;
  const roving::detail::task_base* const task = roving::detail::current_task();
  emit(task != nullptr ? task->name() : "-", operation_text, outcome);
}

void world::end_trace(std::string line) {
  if (!ended_) lines_.push_back(std::move(line));
  ended_ = true;
}

bool world::begin_operation() {
  if (++operations_begun_ > what_.limit && !ended_) {
    end_trace(join({time_text(), " - LIMIT"}));
    limit_generation_ = generation_;
  }
  return !ended_;
}

void world::park_for_good() {
  if (taken_apart_) throw trace_ended{};
  const value_future never{new roving::detail::future_state<value>};
  if (never->await("the end of the trace")) roving::detail::throw_cancelled();
  never->throw_failure();
  throw trace_ended{};
}

// --- the end of the run ----------------------------------------------------------------------------------------------

// The trace goes on until the run has seen its left-over tasks end: two generations after the last of them did.
void world::watch_left_overs() {
  first_closing_generation_ = generation_ + 1;
  const std::vector<task_handle> tasks = scheduler_->live_tasks();
  left_ = tasks.size();
  for (const task_handle& task : tasks) {
    left_overs_.push_back(std::make_unique<left_over>(*this, task));
    const bool is_alive = task->subscribe(*left_overs_.back());
    ROVING_ASSERT(is_alive);
  }
  if (tasks.empty()) finish_run();
}

void world::generation_begins() {
  ++generation_;
  const bool main_is_done = main_ && main_->is_done();
  if (limit_generation_ != 0 && generation_ == limit_generation_ + 1) {
    main_ended_in_time_ = main_is_done;
    main_ended_with_limit_ = main_is_done && !main_was_done_;
  }
  main_was_done_ = main_is_done;
  if (last_generation_ != 0 && generation_ > last_generation_) finish_run();
}

// The last line, unless the limit was met before the run was about to end.
void world::finish_run() {
  const bool in_time = limit_generation_ == 0 || limit_generation_ < first_closing_generation_ ||
      limit_generation_ + 1 >= last_generation_;
  if (exit_outcome_ && in_time && !taken_apart_) lines_.push_back(join({time_text(), " - exit ", *exit_outcome_}));
  exit_outcome_.reset();
  ended_ = taken_apart_ = true;
}

void world::nothing_is_left() {
  if (!ended_) end_trace(deadlock_line());
  taken_apart_ = true;
  release_everything();
}

std::string world::deadlock_line() {
  std::string line = "- - DEADLOCK";
  for (const task_handle& task : scheduler_->live_tasks()) {
    const auto record = records_.find(task.get());
    const bool is_inside = record != records_.end() && !record->second->inside_of.empty();
    line += join({" ", task->name(), "=", is_inside ? record->second->inside_of.back()->text : "?"});
  }
  return line;
}

// Every waiter goes on: most by being cancelled; who locks a lock again after waiting for a condition takes no cancel,
// but the lock.
void world::release_everything() {
  for (const task_handle& task : scheduler_->live_tasks()) task->request_cancel(nullptr);
  for (auto& [name, each] : objects_) {
    roving::mutex* lock = nullptr;
    if (auto* const plain = std::get_if<owned<roving::mutex>>(&each)) lock = plain->get();
    if (auto* const of_condition = std::get_if<owned<condition>>(&each)) lock = &(*of_condition)->lock;
    if (lock != nullptr && lock->locked()) lock->unlock();
  }
}

void world::report(const roving::unhandled& what) {
  try {
    std::rethrow_exception(what.error);
  } catch (const callback_error& error) {
    emit("-", join({"unhandled(", error.key(), ")"}), text_of(what.error));
  } catch (...) {
    if (what.message.find("shutdown") != std::string::npos)
      emit("-", join({"unhandled(", what.task, ")"}), text_of(what.error));
  }
}

// --- names and tasks -------------------------------------------------------------------------------------------------

std::string world::label(const std::string& name) {
  const int count = ++labels_[name];
  return count == 1 ? name : join({name, "#", std::to_string(count)});
}

task_handle world::spawn(std::size_t body, const std::string& name, bool eager) {
  const std::string own_name = label(name);
  roving::attributes attributes;
  attributes.name = own_name;
  attributes.eager = eager;
  roving::task<value> spawned = roving::spawn(attributes, [this, body] { return run_body(body); });
  auto task = task_handle::share(roving::detail_access::state_of(spawned, "spawn"));
  spawned.detach();
  return task;
}

task_handle world::spawn_in(roving::task_group& group, std::size_t body, const std::string& name) {
  const std::string own_name = label(name);
  roving::attributes attributes;
  attributes.name = own_name;
  try {
    const auto spawned = group.spawn(attributes, [this, body] { return run_body(body); });
    auto& task = static_cast<roving::detail::task_base&>(roving::detail::future_behind(spawned, "spawn"));
    return task_handle::share(task);
  } catch (...) {
    --labels_[name];
    throw;
  }
}

future_handle world::find(const std::string& name) {
  if (const auto found = objects_.find(name); found != objects_.end())
    return future_handle::share(*std::get<value_future>(found->second));
  const task_handle task = find_task(name);
  return task ? future_handle::share(*task) : future_handle{};
}

task_handle world::find_task(const std::string& name) {
  if (name == "self") {
    roving::detail::task_base* const current = roving::detail::current_task();
    return current != nullptr ? task_handle::share(*current) : task_handle{};
  }
  const auto found = slots_.find(name);
  return found != slots_.end() ? found->second : task_handle{};
}

// --- bodies and operations -------------------------------------------------------------------------------------------

value world::run_body(std::size_t body) {
  const task_record record{*this};
  try {
    const value result = run_inline(body).value_or(value{});
    log("end", text_of(result));
    return result;
  } catch (const trace_ended&) {
    return {};
  } catch (...) {
    log("end", text_of_current_exception());
    throw;
  }
}

returned world::run_operations(const operations& ops) {
  for (const operation& op : ops) {
    if (!begin_operation()) park_for_good();
    returned result;
    switch (op.entry->kind) {
      case operation_kind::sync:
        sync(op);
        break;
      case operation_kind::control:
        result = op.entry->hold(*this, op);
        break;
      case operation_kind::wait:
      case operation_kind::scope:
        result = suspending(op);
        break;
    }
    if (result) return result;
  }
  return std::nullopt;
}

void world::run_callback(const std::string& key) {
  if (ended_) return;
  const auto declared = std::find_if(what_.callbacks.begin(), what_.callbacks.end(),
                                     [&key](const auto& callback) { return callback.first == key; });
  log(join({"run(", key, ")"}), ok);
  try {
    for (const operation& op : declared->second) {
      if (!begin_operation()) return;
      if (op.entry->kind == operation_kind::sync)
        sync(op);
      else
        op.entry->hold(*this, op);  // `raise`
    }
  } catch (const trace_error& error) {
    throw callback_error{key, error.what()};
  }
}

void world::sync(const operation& op) {
  std::string outcome;
  try {
    outcome = op.entry->call(*this, op);
  } catch (...) {
    outcome = text_of_current_exception();
  }
  log(op.text, outcome);
}

returned world::suspending(const operation& op) {
  std::vector<const operation*>& inside_of = records_.at(roving::detail::current_task())->inside_of;
  inside_of.push_back(&op);
  std::string outcome = ok;
  returned result;
  try {
    if (op.entry->kind == operation_kind::scope)
      result = op.entry->hold(*this, op);
    else
      outcome = op.entry->call(*this, op);
  } catch (...) {
    inside_of.pop_back();
    if (taken_apart_) throw trace_ended{};
    log(op.text, text_of_current_exception());
    throw;
  }
  inside_of.pop_back();
  if (taken_apart_) throw trace_ended{};
  log(op.text, outcome);
  return result;
}

}  // namespace conformance
