// See <roving/task_group.hpp> and task_group_core.hpp.
#include <roving/task_group.hpp>

#include <iterator>
#include <memory>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#include <roving/detail/assert.hpp>

#include "runtime/task_group_core.hpp"
#include "runtime/watcher.hpp"
#include "scheduler/inline_join.hpp"
#include "scheduler/wait_parts.hpp"

namespace roving::detail {
namespace {

std::exception_ptr take_cancelled() {
  try {
    throw_cancelled();
  } catch (const cancelled&) {
    return std::current_exception();
  }
}

}  // namespace

task_group_core::node::node() noexcept
    : done_node{[](done_node& self) noexcept -> ready_node* { return &static_cast<node&>(self); }},
      posted_callback{nullptr,
                      [](ready_node& self) noexcept {
                        auto& ended = static_cast<node&>(self);
                        ended.of->told(ended);
                      },
                      [](ready_node&) noexcept { ROVING_ASSERT(false); }} {}  // the parent would wait for ever

void task_group_core::list::push_back(node& item) noexcept {
  item.previous = last;
  item.next = nullptr;
  (last != nullptr ? last->next : first) = &item;
  last = &item;
}

void task_group_core::list::erase(node& item) noexcept {
  (item.previous != nullptr ? item.previous->next : first) = item.next;
  (item.next != nullptr ? item.next->previous : last) = item.previous;
}

task_group_core::task_group_core() noexcept {
  static_assert(std::is_trivially_destructible_v<node>, "rooms end without them");
}

task_group_core::~task_group_core() {
  ROVING_ASSERT(running_ == 0);
  for (node* each = failed_.first; each != nullptr; each = each->next) each->task->release();
  while (blocks_ != nullptr) delete std::exchange(blocks_, blocks_->next);
}

void task_group_core::enter(const char* call) {
  if (parent_ != nullptr) throw broken_contract{"task_group: it was entered before"};
  home_ = home_of_caller(call);
  task_base* const self = current_task();
  if (self == nullptr) throw not_in_task{call};
  bool is_cancelled = false;
  {
    const std::lock_guard guard{lock_};
    parent_ = self;
    cancelling_on_entry_ = self->cancelling();
    open_.store(true, std::memory_order_relaxed);
    is_cancelled = std::exchange(cancel_called_, false);
  }
  if (is_cancelled) cancel();
}

// --- children --------------------------------------------------------------------------------------------------------

void task_group_core::check_open() const {
  if (!open_.load(std::memory_order_relaxed))
    throw task_group_closed{"task_group::spawn: the group is being cancelled, has ended, or was not entered"};
}

// With lock_ held.
void task_group_core::give_back(node& unused) noexcept {
  unused.next = free_;
  free_ = &unused;
}

// Returns with lock_ held. If the group does not take it, the task is gone.
task_group_core::node& task_group_core::take_node(task_base& task) {
  try {
    for (;;) {
      lock_.lock();
      if (!open_.load(std::memory_order_relaxed)) {
        lock_.unlock();
        check_open();
      }
      if (free_ != nullptr || unused_ != unused_end_) break;
      lock_.unlock();
      std::unique_ptr<block> more{new block};  // its rooms stay as they are
      const std::lock_guard guard{lock_};
      if (unused_ != unused_end_) continue;  // somebody else was faster
      unused_ = std::begin(more->rooms);
      unused_end_ = std::end(more->rooms);
      more->next = blocks_;
      blocks_ = more.release();
    }
  } catch (...) {
    task.body->destroy_callable(task);
    abandon_task(task);
    throw;
  }
  node& taken = free_ != nullptr ? *std::exchange(free_, free_->next) : *::new ((unused_++)->memory) node;
  taken.of = this;
  taken.task = &task;
  taken.home = home_;
  taken.kind = home_ != nullptr ? ready_kind::posted : ready_kind::direct;
  ++running_;
  return taken;
}

void task_group_core::start(task_base& task) {
  if (task.eager) return start_eagerly(task);
  node& child = take_node(task);
  children_.push_back(child);
  show_task(task, 2);
  const bool is_told = task.subscribe(child);  // nobody else knows of the task
  lock_.unlock();
  ROVING_ASSERT(is_told);
  queue_task(task);
}

// It belongs to the group when it has come back from its first step, as in asyncio; if the group was cancelled
// meanwhile, it is as well.
void task_group_core::start_eagerly(task_base& task) {
  node& child = take_node(task);
  lock_.unlock();
  show_task(task, 2);
  queue_task(task);
  bool is_late = false;
  {
    const std::lock_guard guard{lock_};
    is_late = aborting_;
    children_.push_back(child);
  }
  if (!task.subscribe(child)) return told(child);
  if (is_late) task.request_cancel_before_join(*parent_);
}

// A child has ended. For a roving parent this is on any thread, and the group may be gone as soon as this one is
// uncounted.
void task_group_core::told(node& ended) noexcept {
  task_base& task = *ended.task;
  const bool failed = task.status() == outcome::error;
  if (failed) task.set_fetched();
  ready_list wakes;
  bool aborts = false;
  lock_.lock();
  if (next_to_cancel_ == &ended) next_to_cancel_ = ended.next;
  children_.erase(ended);
  if (failed)
    failed_.push_back(ended);
  else
    give_back(ended);
  if (failed && !aborting_ && !parent_cancel_requested_) {
    aborts = begin_abort();
    parent_cancel_requested_ = true;
  }
  if (aborts) {
    lock_.unlock();
    cancel_children();
    parent_->request_cancel(nullptr);  // taken back in leave()
    lock_.lock();
  }
  uncount(wakes);
  lock_.unlock();
  make_ready(wakes);
  if (!failed) task.release();
}

// With lock_ held; the last that a counted one does with the group.
void task_group_core::uncount(ready_list& wakes) noexcept {
  if (--running_ != 0 || !leaving_) return;
  open_.store(false, std::memory_order_relaxed);
  if (waits_ != nullptr) grant(*std::exchange(waits_, nullptr), wakes);
}

// --- cancelling ------------------------------------------------------------------------------------------------------

// With lock_ held. False when it has begun already.
bool task_group_core::begin_abort() noexcept {
  if (std::exchange(aborting_, true)) return false;
  open_.store(false, std::memory_order_relaxed);
  next_to_cancel_ = children_.first;
  return true;
}

// By who began the abort, and counts in running_ or is the parent.
void task_group_core::cancel_children() noexcept {
  for (;;) {
    future_reference<task_base> child;
    {
      const std::lock_guard guard{lock_};
      if (next_to_cancel_ == nullptr) return;
      child = future_reference<task_base>::share(*next_to_cancel_->task);
      next_to_cancel_ = next_to_cancel_->next;
    }
    child->request_cancel_before_join(*parent_);
  }
}

void task_group_core::abort() noexcept {
  bool begins = false;
  {
    const std::lock_guard guard{lock_};
    begins = begin_abort();
  }
  if (begins) cancel_children();
}

void task_group_core::cancel() {
  bool aborts = false;
  bool cancels_parent = false;
  {
    const std::lock_guard guard{lock_};
    if (left_) return;
    cancel_called_ = true;
    if (parent_ == nullptr) return;
    ++running_;  // the parent may not leave before its cancel has come
    aborts = begin_abort();
    cancels_parent = !std::exchange(parent_cancel_requested_, true);
  }
  if (aborts) cancel_children();
  if (cancels_parent) parent_->request_cancel(nullptr);
  ready_list wakes;
  {
    const std::lock_guard guard{lock_};
    uncount(wakes);
  }
  make_ready(wakes);
}

// --- the end ---------------------------------------------------------------------------------------------------------

// What the parent awaits while it runs a child inline: a cancel of the parent stops all of them, and stays with the
// parent, which throws it when it is back. May be asked by who comes late, when the group is gone.
class task_group_core::parent_cancels final : public future_base {
 public:
  explicit parent_cancels(task_group_core& of) noexcept : future_base{&operations}, group_{&of} {}

  void forget_group() noexcept {
    const std::lock_guard guard{lock()};
    group_ = nullptr;
  }

 private:
  static bool cancel_group(future_base& future, const cancel_message&) noexcept {
    task_group_core* group = nullptr;
    bool aborts = false;
    {
      const std::lock_guard hold{future.lock()};
      group = static_cast<parent_cancels&>(future).group_;
      if (group == nullptr) return false;
      const std::lock_guard guard{group->lock_};
      ++group->running_;  // the parent may not leave before its children's cancels have come
      aborts = group->begin_abort();
      if (aborts) group->parent_was_cancelled_ = true;
    }
    if (aborts) group->cancel_children();
    ready_list wakes;
    {
      const std::lock_guard guard{group->lock_};
      group->uncount(wakes);
    }
    make_ready(wakes);
    return false;  // nothing was taken: it stays with the parent
  }
  static void destroy(future_base& self) noexcept { delete static_cast<parent_cancels*>(&self); }
  static constexpr future_operations operations{&cancel_group, &destroy, false};

  task_group_core* group_;  // guarded by lock()
};

// Stands for all children in what is reported of the parent while it waits for them. Nobody waits for it, nor cancels
// it.
class task_group_core::all_children final : public future_base {
 public:
  explicit all_children(task_group_core& of) noexcept : future_base{&operations}, of_{of} {}

 private:
  static void each_child(future_base& self, void (*tell)(void*, const future_base&), void* argument) {
    task_group_core& group = static_cast<all_children&>(self).of_;
    const std::lock_guard guard{group.lock_};
    for (const node* each = group.children_.first; each != nullptr; each = each->next) tell(argument, *each->task);
  }
  static constexpr future_operations operations{[](future_base&, const cancel_message&) noexcept { return false; },
                                                [](future_base&) noexcept {}, false, nullptr, &each_child};

  task_group_core& of_;
};

future_reference<task_base> task_group_core::newest_child() noexcept {
  const std::lock_guard guard{lock_};
  return children_.last != nullptr ? future_reference<task_base>::share(*children_.last->task)
                                   : future_reference<task_base>{};
}

// Runs the newest children inline until one is found that can't be: the oldest are for those who steal. Says whether
// the parent was cancelled meanwhile, and nothing of whether all have ended.
task_group_core::wait_result task_group_core::run_unstarted(const char* call) noexcept {
  if (!parent_->roving) return wait_result::all_ended;
  future_reference<parent_cancels> cancels;
  while (const future_reference<task_base> child = newest_child()) {
    if (!child->roving || child->taken.load(std::memory_order_relaxed)) break;
    if (!cancels) cancels = future_reference<parent_cancels>{new (std::nothrow) parent_cancels{*this}};
    if (!cancels || join_inline(*child, *cancels, call) == inline_join::not_done) break;
  }
  if (!cancels) return wait_result::all_ended;
  cancels->forget_group();
  if (!take_pending_cancel()) return wait_result::all_ended;
  const std::lock_guard guard{lock_};
  return parent_was_cancelled_ || !aborting_ ? wait_result::cancelled_first : wait_result::cancelled_again;
}

// Waits until all have ended, or the parent is cancelled, for the first time or when the group is being cancelled
// already.
task_group_core::wait_result task_group_core::wait_for_children(const char* call) noexcept {
  for (;;) {
    lock_.lock();
    if (running_ == 0) {
      left_ = true;
      open_.store(false, std::memory_order_relaxed);
      lock_.unlock();
      return wait_result::all_ended;
    }
    waiter self{call};
    waits_ = &self;
    all_children awaited{*this};
    parent_->awaits = &awaited;
    const wait_end end = park(self, lock_);
    parent_->awaits = nullptr;
    const std::lock_guard guard{lock_};
    waits_ = nullptr;
    if (end == wait_end::cancelled) return aborting_ ? wait_result::cancelled_again : wait_result::cancelled_first;
  }
}

void task_group_core::leave(const std::exception_ptr& body, bool body_was_cancelled, const char* call) {
  {
    const std::lock_guard guard{lock_};
    leaving_ = true;
  }
  std::exception_ptr cancellation = body_was_cancelled ? body : nullptr;
  if (body) abort();

  // As long as children run the parent stays, however often it is cancelled. The first cancel stops them.
  bool swallowed_cancel = false;
  for (wait_result ended = run_unstarted(call);; ended = wait_result::all_ended) {
    if (ended == wait_result::all_ended) ended = wait_for_children(call);
    if (ended == wait_result::all_ended) break;
    if (ended == wait_result::cancelled_again) {
      swallowed_cancel = true;
    } else {
      cancellation = take_cancelled();
      abort();
    }
  }

  if (parent_cancel_requested_ && parent_->uncancel() == 0) cancellation = nullptr;
  if (cancellation && failed_.first == nullptr) std::rethrow_exception(cancellation);
  if (const std::exception_ptr errors = take_errors(body_was_cancelled ? nullptr : body)) {
    if (parent_->cancelling() != 0) {  // it was cancelled besides: again, at its next suspension
      parent_->uncancel();
      parent_->request_cancel(nullptr);
    }
    std::rethrow_exception(errors);
  }
  // A cancel that came from elsewhere, and was taken for that of cancel().
  if (cancel_called_ && swallowed_cancel && parent_->cancelling() > cancelling_on_entry_) throw cancelled{};
}

std::exception_ptr task_group_core::take_errors(const std::exception_ptr& of_body) {
  std::vector<std::exception_ptr> errors;
  for (const node* each = failed_.first; each != nullptr; each = each->next)
    errors.push_back(each->task->error_unfetched());
  if (of_body) errors.push_back(of_body);
  if (errors.empty()) return nullptr;
  return std::make_exception_ptr(exception_group{"unhandled errors in a task group", std::move(errors)});
}

// --- what the header needs -------------------------------------------------------------------------------------------

void check_open(const task_group_core& group) { group.check_open(); }
void start_in(task_group_core& group, task_base& task) { group.start(task); }
void cancel_group(task_group_core& group) { group.cancel(); }

void run_task_group(call_reference<void(task_group&)> body) {
  constexpr const char* call = "with_task_group";
  task_group_core core;
  core.enter(call);
  const open_scope counts{*current_task()};
  task_group group{core};
  std::exception_ptr thrown;
  bool was_cancelled = false;
  try {
    body(group);
  } catch (const cancelled&) {
    thrown = std::current_exception();
    was_cancelled = true;
  } catch (...) {
    thrown = std::current_exception();
  }
  core.leave(thrown, was_cancelled, call);  // outside of the handlers: it suspends
}

}  // namespace roving::detail
