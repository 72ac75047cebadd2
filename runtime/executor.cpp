// See executor.hpp.
#include <roving/executor.hpp>

#include <roving/detail/make_error.hpp>
#include <roving/no_cancel.hpp>

#include "runtime/arena_pool.hpp"
#include "runtime/runtime_access.hpp"
#include "scheduler/blocking_pool.hpp"
#include "scheduler/cores.hpp"
#include "scheduler/gate.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving {

executor_closed::executor_closed(std::string_view call)
    : std::runtime_error{std::string{call} + ": the pool is closed and takes no more work"} {}

namespace detail {
namespace {

scheduler& scheduler_here(const char* call) {
  shard* const here = this_shard();
  if (here == nullptr) throw no_shard{call};
  return here->owner();
}

shard_way way_to(scheduler& of, unsigned shard) {
  if (shard >= of.shard_count())
    throw std::out_of_range{"shard_executor: shard " + std::to_string(shard) + ", but the runtime has " +
                            std::to_string(of.shard_count()) + " shards, numbered from 0"};
  return {counted_reference<counted>::share(of.door(shard).get()), shard};
}

// The last shard's: the first is nobody's while no thread is in run().
shard_way way_in(scheduler& of) { return way_to(of, of.shard_count() - 1); }

void report_to(const unhandled_handler& handler, const unhandled& what) noexcept {
  if (handler) {
    try {
      handler(what);
      return;
    } catch (...) {
      report_on_stderr("the unhandled-error handler threw", "", std::current_exception());
    }
  }
  report_on_stderr(what);
}

void report_to(const unhandled_handler& handler, const char* message, const std::exception_ptr& error) noexcept {
  try {
    report_to(handler, {message, error, {}});
  } catch (...) {  // no memory for the text
    report_on_stderr(message, "", error);
  }
}

void run_owned(job& base) noexcept {
  const std::unique_ptr<owned_job> self{static_cast<owned_job*>(&base)};
  try {
    self->call();
  } catch (...) {
    report_to(*self->on_unhandled, "exception of a callable that was posted to a pool", std::current_exception());
  }
}

// Who closes a pool is told of it; that there is no thread, nobody else is.
void drop_owned(job& base, const std::exception_ptr& why) noexcept {
  const std::unique_ptr<owned_job> self{static_cast<owned_job*>(&base)};
  try {
    std::rethrow_exception(why);
  } catch (const executor_closed&) {
  } catch (const runtime_closed&) {
  } catch (...) {
    report_to(*self->on_unhandled, "a callable that was posted to a pool was dropped, since no thread can be had", why);
  }
}

// A pool made on a shard takes that runtime's seams, and not the one core of the shard's thread.
blocking_pool::settings settings_here(duration idle_for, const char* name_of_pool) {
  if (idle_for < duration::zero())
    throw std::invalid_argument{std::string{name_of_pool} + ": idle_for must not be below 0"};
  blocking_pool::settings made;
  made.idle_for = idle_for;
  if (const shard* const here = this_shard()) {
    const scheduler_options& options = here->owner().options();
    made.cores = options.usable_cores;
    made.clock = options.clock;
    made.threads = options.threads;
  }
  return made;
}

std::shared_ptr<job_pool> make_own_blocking_pool(const blocking_pool_options& chosen) {
  if (chosen.threads_at_most == 0) throw std::invalid_argument{"blocking_pool: threads_at_most must not be 0"};
  blocking_pool::settings made = settings_here(chosen.idle_for, "blocking_pool");
  made.threads_at_most = chosen.threads_at_most;
  made.thread_name = chosen.thread_name;
  return std::make_shared<blocking_pool>(std::move(made));
}

std::shared_ptr<job_pool> make_own_compute_pool(const compute_pool_options& chosen) {
  blocking_pool::settings made = settings_here(chosen.idle_for, "compute_pool");
  made.threads_at_most = chosen.threads;
  if (chosen.threads == 0) made.threads_at_most = made.cores.empty() ? usable_cores().size() : made.cores.size();
  made.thread_name = "roving-compute";
  return make_arena_pool(std::move(made));
}

// Keeps a promise when a pool has ended.
struct pool_end final : ready_node {
  explicit pool_end(future_state<void>& of)
      : ready_node{ready_kind::direct,
                   [](ready_node& node) noexcept {
                     const std::unique_ptr<pool_end> self{static_cast<pool_end*>(&node)};
                     (void)self->ended->set_value();
                   }},
        ended{future_reference<future_state<void>>::share(of)} {}
  future_reference<future_state<void>> ended;
};

}  // namespace

owned_job::owned_job() noexcept : job{&run_owned, &drop_owned} {}

pool_poster::pool_poster(std::shared_ptr<job_pool> pool, unhandled_handler on_unhandled, bool of_runtime)
    : pool_{std::move(pool)},
      on_unhandled_{std::make_shared<const unhandled_handler>(std::move(on_unhandled))},
      of_runtime_{of_runtime} {}

void pool_poster::send(std::unique_ptr<owned_job> work) const {
  work->on_unhandled = on_unhandled_;
  if (pool_->submit(*work)) {
    (void)work.release();  // it is the pool's, and may be gone already
    return;
  }
  if (of_runtime_) throw runtime_closed{"post"};
  throw executor_closed{"post"};
}

bool pool_poster::close_until(const char* call, time_point deadline) {
  if (closed_) return true;
  if (this_shard() != nullptr && current_task() == nullptr) throw not_in_task{call};
  const future_reference<future_state<void>> ended{new future_state<void>};
  auto end = std::make_unique<pool_end>(*ended);
  closed_ = true;
  if (pool_->close(*end)) {
    pool_->join();
    return true;
  }
  pool_end* const told = end.release();
  const no_cancel hold;
  if (ended->wait(call, deadline) == wait_end::timeout && pool_->abandon(make_error<executor_closed>(call))) {
    delete told;
    try {
      report_to(
          *on_unhandled_,
          {std::string{call} + ": work did not end in time, and was left to itself", make_error<timeout_error>(), {}});
    } catch (const std::bad_alloc&) {  // no memory for the text: the result says it
    }
    return false;
  }
  (void)ended->wait(call, time_point::max());  // about to be told
  pool_->join();
  return true;
}

void pool_poster::close_in_destructor() noexcept {
  if (closed_) return;
  if (this_shard() == nullptr || current_task() != nullptr) {
    try {
      close_until("a pool's destructor", time_point::max());
      return;
    } catch (const std::bad_alloc&) {  // the thread waits then
    }
  }
  struct unheard final : ready_node {
    unheard() noexcept : ready_node{ready_kind::direct, [](ready_node&) noexcept {}} {}
  } nobody;
  (void)pool_->close(nobody);
  pool_->join();
}

void report_lost(const char* message, const std::exception_ptr& error) noexcept {
  if (shard* const here = this_shard())
    here->owner().report_error(message, error);
  else
    report_on_stderr(message, "", error);
}

void send_by(const shard_way& way, posted_callback& message, placement where, const char* call) {
  shard* const here = this_shard();
  if (here != nullptr && where.how() == placement::kind::anywhere && way.shard < here->owner().shard_count() &&
      here->owner().door(way.shard).get() == way.door.get()) {
    here->append(message);
    return;
  }
  const gate_pass inside{static_cast<gate&>(*way.door)};
  if (!inside) throw runtime_closed{call};
  if (&*inside == here)
    here->append(message);
  else
    inside->receive(message);
}

}  // namespace detail

shard_executor::shard_executor(unsigned shard)
    : task_executor{detail::way_to(detail::scheduler_here("shard_executor"), shard), on_shard(shard)} {}
shard_executor::shard_executor(runtime& of, unsigned shard)
    : task_executor{detail::way_to(detail::runtime_access::scheduler_of(of), shard), on_shard(shard)} {}

anywhere_executor::anywhere_executor()
    : task_executor{detail::way_in(detail::scheduler_here("anywhere_executor")), anywhere} {}
anywhere_executor::anywhere_executor(runtime& of)
    : task_executor{detail::way_in(detail::runtime_access::scheduler_of(of)), anywhere} {}

blocking_executor::blocking_executor() : blocking_executor{detail::scheduler_here("blocking_executor")} {}
blocking_executor::blocking_executor(runtime& of) : blocking_executor{detail::runtime_access::scheduler_of(of)} {}
blocking_executor::blocking_executor(detail::scheduler& of)
    : pool_poster{of.blocking_jobs(), of.options().on_unhandled, true} {}

compute_executor::compute_executor() : compute_executor{detail::scheduler_here("compute_executor")} {}
compute_executor::compute_executor(runtime& of) : compute_executor{detail::runtime_access::scheduler_of(of)} {}
compute_executor::compute_executor(detail::scheduler& of)
    : pool_poster{of.compute_jobs(), of.options().on_unhandled, true} {}

blocking_pool::blocking_pool(const blocking_pool_options& chosen)
    : pool_poster{detail::make_own_blocking_pool(chosen), chosen.on_unhandled, false} {}
blocking_pool::~blocking_pool() { close_in_destructor(); }

namespace {

const detail::blocking_pool& threads_of(const std::shared_ptr<detail::job_pool>& pool) noexcept {
  return static_cast<const detail::blocking_pool&>(*pool);
}

}  // namespace

std::size_t blocking_pool::threads() const noexcept { return threads_of(pool_).threads(); }
std::size_t blocking_pool::idle_threads() const noexcept { return threads_of(pool_).idle_threads(); }
std::size_t blocking_pool::queued() const noexcept { return threads_of(pool_).queued(); }

compute_pool::compute_pool(const compute_pool_options& chosen)
    : pool_poster{detail::make_own_compute_pool(chosen), chosen.on_unhandled, false} {}
compute_pool::~compute_pool() { close_in_destructor(); }

}  // namespace roving
