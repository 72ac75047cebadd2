// Executors: where a callable can be sent to run. What needs only that takes any of them, or one of your own.
//
//     shard_executor     a new task, pinned to one shard
//     anywhere_executor  a new task that any shard may run
//     blocking_executor  the runtime's blocking pool
//     compute_executor   the runtime's arena
//     blocking_pool      threads of your own, for what blocks
//     compute_pool       an arena of your own, for what computes
#pragma once

#include <chrono>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include <roving/detail/atomic.hpp>
#include <roving/detail/context_values.hpp>
#include <roving/detail/job.hpp>
#include <roving/error.hpp>
#include <roving/future.hpp>
#include <roving/placement.hpp>
#include <roving/runtime.hpp>
#include <roving/spawn.hpp>
#include <roving/time.hpp>
#include <roving/unhandled.hpp>

namespace roving {

namespace detail {
class job_pool;
}

#pragma GCC visibility push(default)

/// Anything with `post(f)`: calls f() once at some later time, somewhere, or destroys it when it can't any more; throws
/// when it takes no more work. What submit() posts can be copied, so that `post(std::function<void()>)` will do.
template <class Type>
concept executor = requires(Type& where, void (*f)()) {
  where.post(f);
};

/// An executor was closed and takes no more work.
class executor_closed : public std::runtime_error {
 public:
  explicit executor_closed(std::string_view call);
};

namespace detail {

// --- to a pool of threads

/// A job that owns its callable.
class owned_job : public job {
 public:
  owned_job() noexcept;
  virtual ~owned_job() = default;
  virtual void call() = 0;
  std::shared_ptr<const unhandled_handler> on_unhandled;  // told what call() throws
};

template <class Function>
class posted_job final : public owned_job {
 public:
  template <class Source>
  explicit posted_job(Source&& f) : function_{std::forward<Source>(f)} {}
  void call() override { function_(); }

 private:
  Function function_;
};

/// Posts to a pool of threads.
class pool_poster {
 public:
  /// Runs `f` on a thread of the pool; what it throws goes to on_unhandled. It does not see the caller's context_vars,
  /// unless it is made by with_context().
  ///
  /// Suspends: no. Any thread. Errors: runtime_closed; executor_closed; std::bad_alloc.
  template <class Function>
  void post(Function&& f) const {
    send(std::make_unique<posted_job<std::decay_t<Function>>>(std::forward<Function>(f)));
  }

 protected:
  pool_poster(std::shared_ptr<job_pool> pool, unhandled_handler on_unhandled, bool of_runtime);
  pool_poster(const pool_poster&) = default;
  pool_poster(pool_poster&&) = default;
  pool_poster& operator=(const pool_poster&) = default;
  pool_poster& operator=(pool_poster&&) = default;
  ~pool_poster() = default;

  void send(std::unique_ptr<owned_job> work) const;
  bool close_until(const char* call, time_point deadline);
  void close_in_destructor() noexcept;

  std::shared_ptr<job_pool> pool_;
  std::shared_ptr<const unhandled_handler> on_unhandled_;
  bool of_runtime_;
  bool closed_ = false;
};

// --- to shards

/// Reports an error that nobody can be told of: to the runtime of the calling shard, or on stderr.
void report_lost(const char* message, const std::exception_ptr& error) noexcept;

/// A way to a shard, which may outlive it.
struct shard_way {
  counted_reference<counted> door;
  unsigned shard = 0;
};

/// Sends a message there; one for a task that may be anywhere stays on the calling shard, if that is of the same
/// runtime. Throws runtime_closed{call}.
void send_by(const shard_way& way, posted_callback& message, placement where, const char* call);

/// A callable on its way to becoming a task.
template <class Function>
class posted_task final : public posted_callback {
 public:
  template <class Source>
  posted_task(Source&& f, placement where, spawn_site site)
      : posted_callback{nullptr, &arrive, &destroy}, function_{std::forward<Source>(f)}, where_{where}, site_{site} {}

 private:
  static void arrive(ready_node& node) noexcept {
    const std::unique_ptr<posted_task> self{static_cast<posted_task*>(&node)};
    attributes what;
    what.placement = self->where_.how() == placement::kind::anywhere ? anywhere : here;
    try {
      spawn(what, std::move(self->function_), self->site_).detach();
    } catch (...) {
      report_lost("a posted callable could not be spawned", std::current_exception());
    }
  }
  static void destroy(ready_node& node) noexcept { delete static_cast<posted_task*>(&node); }

  Function function_;
  placement where_;
  spawn_site site_;
};

/// Makes tasks of what it is given.
class task_executor {
 public:
  /// Runs `f` as a new task, so that it may suspend. What it throws goes to options.on_unhandled. It does not see the
  /// caller's context_vars, unless it is made by with_context().
  ///
  /// Suspends: no. Any thread. Errors: runtime_closed; std::bad_alloc.
  template <class Function>
  void post(Function&& f, spawn_site site = spawn_site::current()) const {
    auto message = std::make_unique<posted_task<std::decay_t<Function>>>(std::forward<Function>(f), where_, site);
    send_by(way_, *message, where_, "post");
    message.release();
  }

  /// As roving::submit(), which calls this.
  template <class Function>
  auto submit(Function&& f, spawn_site site) const {
    using callable = std::decay_t<Function>;
    using value = std::invoke_result_t<callable&>;
    using state_type = submitted_state<value, callable>;
    future_reference<state_type> made;
    {
      const context_scope none{{}};  // which it would capture
      made = future_reference<state_type>{new state_type(std::forward<Function>(f), where_, site)};
    }
    auto& message = made->message();
    future_reference<future_state<value>> state{made.take()};
    try {
      send_by(way_, message, where_, "submit");
    } catch (...) {
      state->release();  // the message's
      throw;
    }
    return future<value>{std::move(state)};
  }

 protected:
  task_executor(shard_way way, placement where) noexcept : way_{std::move(way)}, where_{where} {}
  shard_way way_;
  placement where_;
};

// --- submit()

/// The future of a callable that an executor has. Copies of a `ticket` are what the executor holds; when the last one
/// is gone and the callable was not called, the future is cancelled.
template <class Value, class Function>
class executed_state final : public future_state<Value> {
 public:
  class ticket {
   public:
    explicit ticket(executed_state& of) noexcept : of_{&of} { of_->add_ticket(); }
    ticket(const ticket& other) noexcept : of_{other.of_} { of_->add_ticket(); }
    ticket(ticket&& other) noexcept : of_{std::exchange(other.of_, nullptr)} {}
    ticket& operator=(ticket other) noexcept {
      std::swap(of_, other.of_);
      return *this;
    }
    ~ticket() {
      if (of_ != nullptr) of_->drop_ticket();
    }
    void operator()() const noexcept { of_->call(); }

   private:
    executed_state* of_;
  };

  template <class Source>
  explicit executed_state(Source&& f) : future_state<Value>{&operations}, function_{std::forward<Source>(f)} {}

 private:
  void add_ticket() noexcept {
    this->add_reference();
    tickets_.fetch_add(1, std::memory_order_relaxed);
  }

  void drop_ticket() noexcept {
    if (tickets_.fetch_sub(1, std::memory_order_acq_rel) == 1 && !called_.load(std::memory_order_relaxed)) {
      function_.reset();
      (void)cancel_future(*this, nullptr);
    }
    this->release();
  }

  void call() noexcept {
    if (called_.exchange(true, std::memory_order_relaxed)) return;  // once is what was promised
    if (this->is_done()) {                                          // cancelled before
      function_.reset();
      return;
    }
    try {
      Function f = std::move(*function_);
      function_.reset();
      if constexpr (std::is_void_v<Value>) {
        f();
        (void)this->set_value();
      } else if constexpr (std::is_reference_v<Value>) {
        auto&& result = f();
        (void)this->set_value(std::addressof(result));
      } else {
        (void)this->set_value(f());
      }
    } catch (const cancelled& thrown) {
      (void)cancel_future(*this, thrown.shared_message());
    } catch (...) {
      if (this->status() == outcome::cancelled)
        report_lost("exception of submitted work whose future was cancelled", std::current_exception());
      else
        (void)this->set_exception(std::current_exception());
    }
  }

  static void destroy(future_base& future) noexcept {
    report_unfetched_future(future);
    delete static_cast<executed_state*>(&future);
  }
  static constexpr future_operations operations{&cancel_future, &destroy, false};

  std::optional<Function> function_;
  detail::atomic<std::uint32_t> tickets_{0};
  detail::atomic<bool> called_{false};
};

/// A callable with the context in which it was made.
template <class Function>
class contextual {
 public:
  template <class Source>
  explicit contextual(Source&& f) : context_{capture_context()}, function_{std::forward<Source>(f)} {}

  template <class... Arguments>
  decltype(auto) operator()(Arguments&&... arguments) {
    const context_scope inside{context_};
    return function_(std::forward<Arguments>(arguments)...);
  }

 private:
  context_reference context_;
  Function function_;
};

}  // namespace detail

/// Sends `f` to an executor and returns a future of what it returns or throws.
///
/// `f` is moved, called once, and destroyed where it ran; it must own what it uses. It does not see the caller's
/// context_vars, unless it is made by with_context().
/// A cancel of the future, also by way of a cancelled task that waits for it, ends it at once: work that has not begun
/// never runs. Work that has begun goes on alone, what it returns is lost, an exception of it is reported; a task, of
/// shard_executor and anywhere_executor, is cancelled as well. An executor that drops `f` unrun, as a pool does that
/// is not closed in time, cancels the future. Suspends: no. Any thread. Errors: what `where.post()` throws
/// (runtime_closed, executor_closed); std::bad_alloc.
template <executor Executor, class Function>
[[nodiscard]] auto submit(Executor&& where, Function&& f, spawn_site site = spawn_site::current()) {
  if constexpr (std::derived_from<std::remove_cvref_t<Executor>, detail::task_executor>) {
    return where.submit(std::forward<Function>(f), site);
  } else {
    using callable = std::decay_t<Function>;
    using value = std::invoke_result_t<callable&>;
    using state_type = detail::executed_state<value, callable>;
    detail::future_reference<state_type> state{new state_type(std::forward<Function>(f))};
    where.post(typename state_type::ticket{*state});
    return future<value>{detail::future_reference<detail::future_state<value>>{state.take()}};
  }
}

/// `f` as a callable that sees the context_vars of where with_context() was called, for executors and threads that have
/// others. What it sets is its own. Can be copied if `f` can. Suspends: no. Any thread.
template <class Function>
[[nodiscard]] auto with_context(Function&& f) {
  return detail::contextual<std::decay_t<Function>>{std::forward<Function>(f)};
}

/// Runs what is posted as tasks pinned to one shard. May outlive the runtime.
class shard_executor : public detail::task_executor {
 public:
  /// Of the runtime in which it is made. Errors: no_shard; std::out_of_range (no such shard).
  explicit shard_executor(unsigned shard);
  /// Errors: std::out_of_range (no such shard).
  shard_executor(runtime& of, unsigned shard);

  [[nodiscard]] unsigned shard() const noexcept { return where_.shard(); }
};

/// Runs what is posted as tasks that any shard may run. May outlive the runtime.
class anywhere_executor : public detail::task_executor {
 public:
  /// Of the runtime in which it is made. Errors: no_shard.
  anywhere_executor();
  explicit anywhere_executor(runtime& of);
};

/// Runs what is posted on the runtime's blocking pool. May outlive the runtime.
class blocking_executor : public detail::pool_poster {
 public:
  /// Of the runtime in which it is made. Errors: no_shard.
  blocking_executor();
  explicit blocking_executor(runtime& of);

 private:
  explicit blocking_executor(detail::scheduler& of);
};

/// Runs what is posted in the runtime's arena. May outlive the runtime.
class compute_executor : public detail::pool_poster {
 public:
  /// Of the runtime in which it is made. Errors: no_shard.
  compute_executor();
  explicit compute_executor(runtime& of);

 private:
  explicit compute_executor(detail::scheduler& of);
};

/// How a blocking_pool is made.
struct blocking_pool_options {
  unsigned threads_at_most = 64;
  duration idle_for = std::chrono::seconds{10};  // a thread without work leaves after it
  std::string thread_name = "roving-pool";       // for debuggers; the first 15 characters
  unhandled_handler on_unhandled{};              // what posted callables throw, and close_for() that gave up
};

/// Threads of one's own for work that blocks: apart from the runtime's, with a bound of its own. They start when there
/// is work for them and leave when there was none for a while.
///
/// Thread safety: any thread posts and submits; one at a time closes. Lifetime: independent of any runtime.
class blocking_pool : public detail::pool_poster {
 public:
  /// Starts no thread. Errors: std::invalid_argument (no threads, a negative time).
  explicit blocking_pool(const blocking_pool_options& chosen = {});
  blocking_pool(const blocking_pool&) = delete;
  blocking_pool& operator=(const blocking_pool&) = delete;

  /// close(); in a posted callback of a shard, where nothing can be parked, it blocks the shard's thread.
  ~blocking_pool();

  /// Takes no more work, and waits until all that it has was run. Idempotent.
  ///
  /// Suspends: yes; a plain thread blocks. A cancel of the caller stays pending meanwhile. Errors: not_in_task (in a
  /// callback).
  void close() { close_until("blocking_pool::close", time_point::max()); }

  /// The same for at most `span`. False when work still ran: it is left to itself then, which is reported, and what no
  /// thread has begun is dropped: its futures are cancelled.
  template <class Representation, class Period>
  bool close_for(std::chrono::duration<Representation, Period> span) {
    return close_until("blocking_pool::close_for", detail::time_after(now(), detail::to_duration(span)));
  }

  // --- of this moment; any thread

  [[nodiscard]] std::size_t threads() const noexcept;
  [[nodiscard]] std::size_t idle_threads() const noexcept;
  [[nodiscard]] std::size_t queued() const noexcept;
};

/// How a compute_pool is made.
struct compute_pool_options {
  unsigned threads = 0;                          // at most; 0: one for each core that this process may use
  duration idle_for = std::chrono::seconds{10};  // a thread without work leaves after it
  unhandled_handler on_unhandled{};              // what posted callables throw, and close_for() that gave up
};

/// A oneTBB arena of one's own, apart from the runtime's. What is posted may use oneTBB's parallel algorithms, which
/// stay in the arena. Built without oneTBB: plain threads.
///
/// Thread safety: any thread posts and submits; one at a time closes. Lifetime: independent of any runtime.
class compute_pool : public detail::pool_poster {
 public:
  /// Starts no thread. Errors: std::invalid_argument (a negative time).
  explicit compute_pool(const compute_pool_options& chosen = {});
  compute_pool(const compute_pool&) = delete;
  compute_pool& operator=(const compute_pool&) = delete;

  /// As ~blocking_pool().
  ~compute_pool();

  /// As blocking_pool's.
  void close() { close_until("compute_pool::close", time_point::max()); }
  template <class Representation, class Period>
  bool close_for(std::chrono::duration<Representation, Period> span) {
    return close_until("compute_pool::close_for", detail::time_after(now(), detail::to_duration(span)));
  }
};

}  // namespace roving

#pragma GCC visibility pop
