// See runtime.hpp: turns options into a scheduler with the real seams.
#include <roving/runtime.hpp>

#include <bit>
#include <stdexcept>

#include "io/poller.hpp"
#include "io/system_calls.hpp"
#include "runtime/arena_pool.hpp"
#include "runtime/runtime_access.hpp"
#include "scheduler/cores.hpp"
#include "scheduler/gate.hpp"
#include "scheduler/interrupt.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving {
namespace {

[[noreturn]] void refuse(const std::string& what) { throw std::invalid_argument{"roving::options: " + what}; }

}  // namespace

detail::scheduler_options detail::checked_options(const options& chosen) {
  if (detail::this_shard() != nullptr)
    throw broken_contract{
        "roving::run: the calling thread runs a shard already; a runtime can't be made inside another"};
  detail::scheduler_options made;
  if (chosen.shards == 0U) refuse("shards must not be 0; leave it out for one per core");
  made.shards = chosen.shards ? *chosen.shards : detail::default_shard_count();
  const std::vector<unsigned> cores = detail::usable_cores();
  if (chosen.pin_threads == when::always && cores.size() < made.shards)
    refuse("pin_threads is always, but " + std::to_string(made.shards) +
           " shards were asked for and this process may use " + std::to_string(cores.size()) + " cores");
  if (chosen.pin_threads == when::always || (chosen.pin_threads == when::automatic && cores.size() == made.shards))
    made.cores.assign(cores.begin(), cores.begin() + made.shards);
  if (made.shards > cores.size()) made.search_for = duration::zero();  // who spins is in somebody's way
  if (chosen.stack_size_bytes < detail::minimum_stack_size_bytes ||
      chosen.stack_size_bytes > detail::maximum_stack_size_bytes)
    refuse("stack_size_bytes is " + std::to_string(chosen.stack_size_bytes) + "; it must be between " +
           std::to_string(detail::minimum_stack_size_bytes) + " and " +
           std::to_string(detail::maximum_stack_size_bytes));
  if (chosen.deque_capacity < 2 || !std::has_single_bit(chosen.deque_capacity))
    refuse("deque_capacity must be a power of two from 2 on");
  if (chosen.roving_per_turn == 0 || chosen.poll_every_tasks == 0)
    refuse("roving_per_turn and poll_every_tasks must not be 0");
  if (chosen.watch_interval <= duration::zero()) refuse("watch_interval must be above 0");
  if (chosen.blocking_threads_at_most == 0) refuse("blocking_threads_at_most must not be 0");
  if (chosen.blocking_idle_for < duration::zero()) refuse("blocking_idle_for must not be below 0");
  made.usable_cores = cores;
  made.blocking_threads_at_most = chosen.blocking_threads_at_most;
  made.blocking_idle_for = chosen.blocking_idle_for;
  made.make_compute_pool = [threads = chosen.compute_threads != 0 ? chosen.compute_threads : made.shards,
                            idle_for = chosen.blocking_idle_for, cores]() -> std::unique_ptr<detail::job_pool> {
    return detail::make_arena_pool(
        {.threads_at_most = threads, .idle_for = idle_for, .thread_name = "roving-compute", .cores = cores});
  };
  made.stack_size_bytes = chosen.stack_size_bytes;
  made.poll_every_generation = chosen.poll == poll_policy::every_generation;
  made.poll_every_tasks = chosen.poll_every_tasks;
  made.poll_every = chosen.poll_every;
  made.watch_interval = chosen.watch_interval;
  made.roving_per_turn = chosen.roving_per_turn;
  made.deque_capacity = chosen.deque_capacity;
  made.seed = chosen.seed;
  made.shutdown_deadline = chosen.shutdown_deadline;
  made.on_shutdown_stuck = chosen.on_shutdown_stuck;
  made.on_unhandled = chosen.on_unhandled;
  if (chosen.debug) made.slow_slice = chosen.slow_slice;
  made.on_slow_slice = chosen.on_slow_slice;
  made.debug_thread_local_scan = chosen.debug_thread_local_scan;
  if (chosen.stall_threshold < duration::zero()) refuse("stall_threshold must not be below 0");
  made.stall_threshold = chosen.stall_threshold;
  made.watchdog = chosen.watchdog;
  made.on_stall = chosen.on_stall;
  made.make_parker = [](unsigned) { return detail::make_poller(detail::real_system_calls()); };
  return made;
}

runtime detail::runtime_access::make(scheduler_options chosen) {
  return runtime{std::make_unique<scheduler>(std::move(chosen))};
}

runtime::runtime(const options& chosen)
    : scheduler_{std::make_unique<detail::scheduler>(detail::checked_options(chosen))},
      handles_sigint_{chosen.handle_sigint} {}

runtime::runtime(std::unique_ptr<detail::scheduler> made) noexcept
    : scheduler_{std::move(made)}, handles_sigint_{false} {}

runtime::~runtime() { close(); }

detail::future_reference<detail::task_base> runtime::run_main(
    const std::function<detail::future_reference<detail::task_base>()>& begin) {
  detail::interrupt_guard interrupts;
  auto main = scheduler_->run([&] {
    auto made = begin();
    if (handles_sigint_) interrupts.watch(scheduler_->at(0), *made);
    return made;
  });
  if (!main->is_done())
    throw invalid_state{"run: stopped before its main task had ended; it goes on in the next run()"};
  // As asyncio.run: it was this cancel and no other by which it ended.
  if (interrupts.was_interrupted() && main->status() == detail::outcome::cancelled && main->uncancel() == 0)
    throw interrupted{};
  return main;
}

void runtime::send(detail::posted_callback& what, placement where) {
  unsigned to = 0;
  if (where.how() == placement::kind::on_shard) {
    to = where.shard();
    if (to >= shards())
      throw std::out_of_range{"submit: on_shard(" + std::to_string(to) + "), but the runtime has " +
                              std::to_string(shards()) + " shards, numbered from 0"};
  }
  if (!scheduler_->send(what, to)) throw runtime_closed{"submit"};
}

runtime_shard runtime::on_shard(unsigned shard) const {
  if (shard >= shards())
    throw std::out_of_range{"runtime::on_shard(" + std::to_string(shard) + "), but the runtime has " +
                            std::to_string(shards()) + " shards, numbered from 0"};
  return runtime_shard{detail::counted_reference<detail::counted>::share(scheduler_->door(shard).get())};
}

void runtime::stop() {
  detail::shard* const local = detail::this_shard();
  if (local != nullptr && &local->door() == scheduler_->door(0).get())
    local->stop();
  else
    on_shard(0).post([] { detail::this_shard()->stop(); });
}

void runtime::close() { scheduler_->close(); }

unsigned runtime::shards() const noexcept { return scheduler_->shard_count(); }

std::vector<task_view> runtime::all_tasks() const { return detail::views_of(scheduler_->live_tasks()); }
std::vector<task_view> runtime::all_tasks(unsigned shard) const {
  return detail::views_of(scheduler_->live_tasks(shard));
}

std::string runtime::dump_tasks() const { return scheduler_->dump(); }

std::vector<shard_counters> runtime::counters() const {
  std::vector<shard_counters> all;
  for (unsigned i = 0; i < shards(); ++i) {
    const detail::gate_pass inside{*scheduler_->door(i)};
    if (!inside) return {};
    all.push_back(inside->counters());
  }
  return all;
}

}  // namespace roving
