// All shards of a program part, and the ways in.
#pragma once

#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <roving/counters.hpp>
#include <roving/detail/context_values.hpp>
#include <roving/detail/make_error.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/future.hpp>
#include <roving/options.hpp>
#include <roving/placement.hpp>
#include <roving/post.hpp>
#include <roving/spawn.hpp>
#include <roving/task.hpp>
#include <roving/task_view.hpp>

namespace roving {
namespace detail {

struct runtime_access;

#pragma GCC visibility push(default)

/// Something sent to a shard from outside; runs there, or is dropped when the runtime closes first.
struct submission : posted_callback {
  using posted_callback::posted_callback;
};

template <class Value, class Function>
class submitted_state;

}  // namespace detail

/// A set of shards. roving::run() makes one, uses it once and closes it; make one yourself to run several times, to
/// submit from plain threads, or to read its counters.
///
/// Several may live in one process. The threads of shards 1 and up run from construction to close(); shard 0 is the
/// thread that calls run() or close(), while it does. Thread safety: submit() and counters() from any thread; run() and
/// close() from one at a time, which is no shard.
class runtime {
 public:
  /// Errors: std::invalid_argument (no shards, a stack size that is not possible, a deque capacity that is no power of
  /// two); broken_contract on a shard's thread (a runtime inside a runtime); std::system_error (threads, descriptors).
  explicit runtime(const options& chosen = {});
  runtime(const runtime&) = delete;
  runtime& operator=(const runtime&) = delete;

  /// close(), if it was not called.
  ~runtime();

  /// Runs `f`, which is moved or copied into it, as the main task, pinned to shard 0, and returns what it returns or
  /// throws what it throws. Other tasks that are left go on in the next run(), or are cancelled by close(). What it
  /// sets of context_vars, the main task of the next run() sees; the first one sees those of the thread that made the
  /// runtime.
  ///
  /// On the process's first thread, with options.handle_sigint and unless SIGINT has a handler, the first SIGINT
  /// cancels the main task, and run() throws `interrupted` if it ends by that; the second one ends the process, as
  /// SIGINT does by itself. Blocks the calling thread, which is shard 0 meanwhile. Errors: broken_contract on a shard's
  /// thread (a run inside a run) or when another thread runs it; runtime_closed; invalid_state after stop();
  /// interrupted; what `f` throws.
  template <class Function>
  decltype(auto) run(Function&& f, spawn_site site = spawn_site::current()) {
    using callable = std::decay_t<Function>;
    using value = std::invoke_result_t<callable>;
    const detail::future_reference<detail::task_base> main = run_main([&] {
      attributes what;
      what.placement = here;
      detail::task_base& block = detail::allocate_task(what, site, "run");
      try {
        detail::task_body<callable, value>::construct(block, std::forward<Function>(f));
      } catch (...) {
        detail::abandon_task(block);
        throw;
      }
      detail::start_task(block);
      return detail::future_reference<detail::task_base>{&block};
    });
    main->throw_failure();
    if constexpr (std::is_reference_v<value>)
      return static_cast<value>(**static_cast<detail::stored<value>*>(main->body->value_address(*main)));
    else if constexpr (!std::is_void_v<value>)
      return value(std::move(*static_cast<detail::stored<value>*>(main->body->value_address(*main))));
  }

  /// Sends `f` to the runtime as a new task, pinned to shard 0 unless told otherwise, and returns a future of its
  /// value, on which plain threads may block. Cancelling the future cancels the task.
  ///
  /// Suspends: no. Any thread. What is pinned to shard 0 waits while nobody is in run(). Errors: runtime_closed;
  /// std::out_of_range (no such shard); std::bad_alloc.
  template <class Function>
  auto submit(Function&& f, spawn_site site = spawn_site::current()) {
    return submit(roving::on_shard(0), std::forward<Function>(f), site);
  }
  template <class Function>
  auto submit(placement where, Function&& f, spawn_site site = spawn_site::current());

  /// A shard of it, for posting callbacks from any thread. Errors: std::out_of_range.
  [[nodiscard]] runtime_shard on_shard(unsigned shard) const;

  /// Ends the run() that goes on, or else the next one, at the end of a generation: what is ready now still runs, what
  /// is posted meanwhile waits for the next run(). If the main task has not ended by then, run() throws, and it goes on
  /// later.
  ///
  /// Suspends: no. Any thread. Errors: runtime_closed.
  void stop();

  /// Cancels all tasks, runs them to their end, stops the threads and releases everything. Idempotent.
  ///
  /// Blocks. Tasks that do not end before options.shutdown_deadline are named to options.on_shutdown_stuck.
  void close();

  [[nodiscard]] unsigned shards() const noexcept;

  /// Its tasks that are not done, as roving::all_tasks(), from any thread. None after close().
  [[nodiscard]] std::vector<task_view> all_tasks() const;
  [[nodiscard]] std::vector<task_view> all_tasks(unsigned shard) const;

  /// As roving::dump_tasks(), from any thread: also when all shards are stuck, since none is asked for anything but a
  /// signal handler's answer. Empty after close().
  [[nodiscard]] std::string dump_tasks() const;

  /// One entry a shard. Empty after close().
  [[nodiscard]] std::vector<shard_counters> counters() const;

 private:
  friend struct detail::runtime_access;
  explicit runtime(std::unique_ptr<detail::scheduler> made) noexcept;
  detail::future_reference<detail::task_base> run_main(
      const std::function<detail::future_reference<detail::task_base>()>& begin);
  void send(detail::posted_callback& what, placement where);

  std::unique_ptr<detail::scheduler> scheduler_;
  bool handles_sigint_;
};

/// Makes a runtime, runs `f` as its main task on the calling thread, cancels what is left when it ends, waits for it,
/// and returns what `f` returned or throws what it threw.
///
/// Blocks. Errors: as runtime's constructor and runtime::run().
template <class Function>
decltype(auto) run(const options& chosen, Function&& f, spawn_site site = spawn_site::current()) {
  runtime all{chosen};
  return all.run(std::forward<Function>(f), site);
}

template <class Function>
decltype(auto) run(Function&& f, spawn_site site = spawn_site::current()) {
  return run(options{}, std::forward<Function>(f), site);
}

namespace detail {

/// What submit() makes: the future's state, the callable, and the task once there is one.
template <class Value, class Function>
class submitted_state : public future_state<Value> {
 public:
  template <class Source>
  submitted_state(Source&& f, placement where, spawn_site site)
      : future_state<Value>{&operations},
        message_{this, &arrive, &drop},
        function_{std::forward<Source>(f)},
        where_{where},
        site_{site},
        context_{capture_context()} {
    this->add_reference();  // the message's; the first is the future's
  }

  [[nodiscard]] posted_callback& message() noexcept { return message_; }

 private:
  struct arrival : posted_callback {
    arrival(submitted_state* whose, function how, function unrun) noexcept
        : posted_callback{nullptr, how, unrun}, of{whose} {}
    submitted_state* of;
  };

  static void arrive(ready_node& node) noexcept {
    future_reference<submitted_state> self{static_cast<arrival&>(node).of};
    if (self->is_done()) return;  // cancelled on the way
    const context_scope sees{std::move(self->context_)};
    try {
      attributes what;
      what.placement = self->where_.how() == placement::kind::anywhere ? anywhere : here;
      task<void> started = spawn(
          what, [self] { self->call(); }, self->site_);
      task_base& task = detail_access::state_of(started, "submit");
      bool was_cancelled = false;  // since it began, which may be elsewhere
      {
        const std::lock_guard guard{self->lock()};
        self->task_ = future_reference<task_base>::share(task);
        was_cancelled = self->is_cancelled_early_;
      }
      if (was_cancelled) task.request_cancel(self->early_message_);
      started.detach();
    } catch (...) {
      (void)self->set_exception(std::current_exception());
    }
  }

  static void drop(ready_node& node) noexcept {
    const future_reference<submitted_state> self{static_cast<arrival&>(node).of};
    (void)self->set_exception(detail::make_error<runtime_closed>("submit"));
  }

  void call() {
    try {
      Function f = std::move(*function_);
      function_.reset();
      if constexpr (std::is_void_v<Value>) {
        f();
        (void)this->set_value();
      } else if constexpr (std::is_reference_v<Value>) {
        (void)this->set_value(std::addressof(f()));
      } else {
        (void)this->set_value(f());
      }
    } catch (const cancelled& thrown) {
      (void)cancel_future(*this, thrown.shared_message());
      forget_task();
      throw;
    } catch (...) {
      (void)this->set_exception(std::current_exception());
    }
    forget_task();
  }

  void forget_task() noexcept {
    future_reference<task_base> task;
    const std::lock_guard guard{this->lock()};
    std::swap(task, task_);
  }

  static bool cancel(future_base& future, const cancel_message& message) noexcept {
    if (!cancel_future(future, message)) return false;
    auto& self = static_cast<submitted_state&>(future);
    future_reference<task_base> task;
    {
      const std::lock_guard guard{self.lock()};
      task = self.task_;
      if (!task) {
        self.early_message_ = message;
        self.is_cancelled_early_ = true;
      }
    }
    if (task) task->request_cancel(message);
    return true;
  }

  static void destroy(future_base& future) noexcept {
    report_unfetched_future(future);
    delete static_cast<submitted_state*>(&future);
  }

  static constexpr future_operations operations{&cancel, &destroy, false};

  arrival message_;
  std::optional<Function> function_;
  placement where_;
  spawn_site site_;
  context_reference context_;

  // --- guarded by lock()
  future_reference<task_base> task_;
  cancel_message early_message_;  // of a cancel that came before task_ was here
  bool is_cancelled_early_ = false;
};

}  // namespace detail

template <class Function>
auto runtime::submit(placement where, Function&& f, spawn_site site) {
  using callable = std::decay_t<Function>;
  using value = std::invoke_result_t<callable&>;
  using state_type = detail::submitted_state<value, callable>;
  detail::future_reference<state_type> made{new state_type(std::forward<Function>(f), where, site)};
  detail::future_reference<detail::future_state<value>> state{made.take()};
  auto& message = static_cast<state_type&>(*state).message();
  try {
    send(message, where);
  } catch (...) {
    state->release();  // the message's
    throw;
  }
  return future<value>{std::move(state)};
}

}  // namespace roving

#pragma GCC visibility pop
