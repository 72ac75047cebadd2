// See generator_core.hpp.
#include <roving/detail/generator_core.hpp>

#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <utility>

#include <roving/detail/assert.hpp>
#include <roving/detail/make_error.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/error.hpp>
#include <roving/no_cancel.hpp>

#include "scheduler/fiber.hpp"
#include "scheduler/gate.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {
namespace {

gate& as_gate(const counted_reference<counted>& door) noexcept { return static_cast<gate&>(*door); }

std::string place_of(spawn_site site) { return std::string{site.file} + ":" + std::to_string(site.line); }

}  // namespace

generator_core::generator_core(destroy_function end, body_function body, std::size_t stack_size_bytes,
                               spawn_site made_at)
    : counted{end}, body_{body}, stack_size_bytes_{stack_size_bytes}, made_at_{made_at}, handed_over_{*this} {
  if (stack_size_bytes != 0) check_stack_size(stack_size_bytes, "generator");
}

// --- in and out ------------------------------------------------------------------------------------------------------

bool generator_core::resume(const char* call) {
  shard* const here = this_shard();
  if (here == nullptr || here->current() == nullptr) throw not_in_task{call};
  state seen = state_.load(std::memory_order_acquire);  // [body]
  do {
    if (seen == state::done) return false;
    if (seen != state::unstarted && seen != state::suspended)
      throw concurrent_use{std::string{call} + ": the generator is running, in another task or in its own body"};
    if (seen == state::suspended && owner_ != &here->owner())
      throw broken_contract{std::string{call} + ": the generator was begun in another runtime"};
  } while (!state_.compare_exchange_weak(seen, state::running, std::memory_order_acq_rel, std::memory_order_acquire));
  if (seen == state::unstarted) {
    try {
      begin(*here);
    } catch (...) {
      state_.store(state::unstarted, std::memory_order_release);
      throw;
    }
  }
  enter();
  if (!has_ended_) return true;
  finish();
  return false;
}

void generator_core::begin(shard& here) {
  side_ = &here.make_side_fiber(stack_size_bytes_ != 0 ? stack_size_bytes_ : here.owner().options().stack_size_bytes,
                                &generator_core::main, this);
  owner_ = &here.owner();
  entered_on_.store(here.index(), std::memory_order_relaxed);
  here.generators().insert(*this);
  add_reference();  // the body's
}

// By the current task. Returns on any shard.
void generator_core::enter() noexcept {
  shard& here = *this_shard();
  if (door_.get() != &here.door()) door_ = counted_reference<counted>::share(&here.door());
  entered_on_.store(here.index(), std::memory_order_relaxed);
  task_base& task = *here.current();
  task_ = &task;
  // What holds a cancel back from the task does so in the body too. That it unwinds can't be seen from there.
  const std::uint16_t depth = task.no_cancel_depth;
  depth_at_entry_ = static_cast<std::uint16_t>(depth + (here.is_unwinding() ? 1 : 0));
  task.no_cancel_depth = static_cast<std::uint16_t>(depth_at_entry_ + held_back_);
  scopes_at_entry_ = task.open_scopes;
  here.enter_side(*side_);
  task.no_cancel_depth = depth;
}

void generator_core::main(void* self, thread_anchor&) noexcept {
  auto& of = *static_cast<generator_core*>(self);
  of.run_body();
  this_shard()->end_side(*of.side_);
}

void generator_core::run_body() noexcept {
  try {
    body_(*this);
  } catch (const generator_exit&) {  // as asked
  } catch (...) {
    error_ = std::current_exception();
  }
  has_ended_ = true;
}

void generator_core::yield(void* value) {
  shard* const here = this_shard();
  if (here == nullptr || here->current_fiber() != side_ || side_->active != task_)
    throw broken_contract{"generator: only its own body can yield, on its own stack"};
  if (task_->open_scopes != scopes_at_entry_)
    throw broken_contract{
        "generator: a yield inside with_timeout or with_task_group would leave a scope open that belongs to the task"};
  value_ = value;
  held_back_ = static_cast<std::uint16_t>(task_->no_cancel_depth - depth_at_entry_);
  here->leave_side(*side_);
  if (exits_) throw generator_exit{};
}

// The body has ended, and its stack is given back.
void generator_core::finish() {
  generator_list::erase(*this);
  side_ = nullptr;
  const std::exception_ptr error = std::exchange(error_, nullptr);
  state_.store(state::done, std::memory_order_release);  // [body]
  release();                                             // the body's; the handle may be gone
  if (error) std::rethrow_exception(error);
}

bool generator_core::settle() noexcept {
  state expected = state::running;
  if (state_.compare_exchange_strong(expected, state::suspended, std::memory_order_acq_rel)) return true;  // [body]
  ROVING_ASSERT(expected == state::abandoned);
  unwind();
  return false;
}

// --- the end ---------------------------------------------------------------------------------------------------------

void generator_core::close(const char* call) {
  shard* const here = this_shard();
  state seen = state_.load(std::memory_order_acquire);  // [body]
  do {
    if (seen == state::done) return;
    if (seen != state::unstarted && seen != state::suspended)
      throw concurrent_use{std::string{call} + ": the generator is running, in another task or in its own body"};
    if (seen == state::suspended) {
      if (here == nullptr || here->current() == nullptr) throw not_in_task{call};
      if (owner_ != &here->owner())
        throw broken_contract{std::string{call} + ": the generator was begun in another runtime"};
    }
  } while (!state_.compare_exchange_weak(seen, seen == state::unstarted ? state::done : state::closing,
                                         std::memory_order_acq_rel, std::memory_order_acquire));
  if (seen == state::unstarted) return;
  exits_ = true;
  enter();
  if (has_ended_) return finish();
  exits_ = false;
  state_.store(state::suspended, std::memory_order_release);  // [body]
  throw broken_contract{std::string{call} + ": the body caught generator_exit and yielded again"};
}

void generator_core::abandon() noexcept {
  const shard* const here = this_shard();
  for (state seen = state_.load(std::memory_order_acquire);;) {  // [body]
    switch (seen) {
      case state::suspended:
        if (here == nullptr || here->current() == nullptr || &here->owner() != owner_) return hand_over();
        if (!state_.compare_exchange_weak(seen, state::closing, std::memory_order_acq_rel, std::memory_order_acquire))
          continue;
        unwind();
        break;
      case state::running:
        if (!state_.compare_exchange_weak(seen, state::abandoned, std::memory_order_acq_rel, std::memory_order_acquire))
          continue;
        report("a generator was destroyed while its body runs, which is unwound at its next yield",
               make_error<concurrent_use>("destroy a generator when nobody is in its next(), and not in its own body"));
        break;
      case state::unstarted:
      case state::closing:  // by shutdown
      case state::abandoned:
      case state::done:
        break;
    }
    return release();
  }
}

void generator_core::unwind_what_is_left() noexcept {
  state seen = state::suspended;
  if (state_.compare_exchange_strong(seen, state::closing, std::memory_order_acq_rel)) unwind();
}

// By the current task, which has the body, for good.
void generator_core::unwind() noexcept {
  const no_cancel hold_back;
  exits_ = true;
  enter();
  if (!has_ended_) {
    std::fprintf(stderr,
                 "roving: the body of a generator (made at %s:%u) caught generator_exit and yielded again; its stack "
                 "can't be unwound\n",
                 made_at_.file, made_at_.line);
    std::abort();
  }
  add_reference();  // for the report
  try {
    finish();
  } catch (const cancelled&) {  // what it waited for was
  } catch (...) {
    report("a generator's body threw while it was unwound", std::current_exception());
  }
  release();
}

void generator_core::report(const char* what, std::exception_ptr error) const noexcept {
  const shard* const here = this_shard();
  try {
    const task_base* const task = current_task();
    const unhandled found{std::string{what} + ", made at " + place_of(made_at_), std::move(error),
                          task != nullptr ? task->name() : std::string{}};
    if (here != nullptr)
      here->owner().report(found);
    else
      report_on_stderr(found);
  } catch (...) {  // no memory for the text
  }
}

// --- where nothing can be unwound ------------------------------------------------------------------------------------

generator_core::handed_over::handed_over(generator_core& whose) noexcept
    : posted_callback{nullptr,
                      [](ready_node& node) noexcept {
                        counted_reference<generator_core> core{&static_cast<handed_over&>(node).of};
                        try {
                          task_base& closer = make_closer(std::move(core), this_shard()->index());
                          start_task(closer);
                          closer.release();
                        } catch (...) {  // no memory, or close() has looked for the last time: it looks again then
                        }
                      },
                      [](ready_node& node) noexcept { static_cast<handed_over&>(node).of.release(); }},
      of{whose} {}

// In a callback, on a plain thread or in another runtime: a task on its own shard unwinds it. When the way there is
// closed, shutdown has.
void generator_core::hand_over() noexcept {
  const counted_reference<counted> door = door_;
  const gate_pass inside{as_gate(door)};
  if (!inside) return release();
  try {
    inside->owner().report(
        {"a generator was destroyed where its body can't be unwound; a task of its own does it, made at " +
             place_of(made_at_),
         std::make_exception_ptr(broken_contract{"destroy or close a generator that was begun in a task"}),
         {}});
  } catch (...) {  // no memory for the text
  }
  handed_over_.home = &*inside;
  make_ready(handed_over_);
}

task_base& generator_core::make_closer(counted_reference<generator_core> of, unsigned on) {
  struct closer {
    counted_reference<generator_core> of;
    void operator()() const noexcept { of->unwind_what_is_left(); }
  };
  attributes what;
  what.placement = on_shard(on);
  task_base& task = allocate_task(what, of->made_at_, "~generator");
  try {
    task_body<closer, void>::construct(task, closer{std::move(of)});
  } catch (...) {
    abandon_task(task);
    throw;
  }
  return task;
}

// --- generator_list --------------------------------------------------------------------------------------------------

void generator_list::insert(generator_core& item) noexcept {
  const std::lock_guard guard{lock_};
  item.list_ = this;
  item.previous_ = nullptr;
  item.next_ = first_;
  if (first_ != nullptr) first_->previous_ = &item;
  first_ = &item;
}

void generator_list::erase(generator_core& item) noexcept {
  generator_list& of = *item.list_;
  const std::lock_guard guard{of.lock_};
  (item.previous_ != nullptr ? item.previous_->next_ : of.first_) = item.next_;
  if (item.next_ != nullptr) item.next_->previous_ = item.previous_;
  item.list_ = nullptr;
}

bool generator_list::empty() noexcept {
  const std::lock_guard guard{lock_};
  return first_ == nullptr;
}

// In the order in which they were begun.
void generator_list::add_to(std::vector<counted_reference<generator_core>>& all) {
  const std::lock_guard guard{lock_};
  const generator_core* last = first_;
  while (last != nullptr && last->next_ != nullptr) last = last->next_;
  for (; last != nullptr; last = last->previous_)
    all.push_back(counted_reference<generator_core>::share(const_cast<generator_core*>(last)));
}

}  // namespace roving::detail
