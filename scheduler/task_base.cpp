// See task_base.hpp. The life of a task: allocate, start, run, end, release.
#include <roving/detail/task_base.hpp>

#include <algorithm>
#include <array>
#include <mutex>
#include <new>
#include <stdexcept>
#include <unordered_map>
#include <utility>
#include <vector>

#include <roving/detail/assert.hpp>
#include <roving/detail/planted.hpp>
#include <roving/error.hpp>

#include "scheduler/inline_join.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/slab.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {
namespace {

bool cancel_task(future_base& future, const cancel_message& message) noexcept {
  return static_cast<task_base&>(future).request_cancel(message);
}

void report_unfetched(task_base& task) noexcept {
  constexpr const char* message = "task exception was never retrieved";
  if (scheduler* const owner = task.origin->owner()) {
    owner->report_error(message, task.error_unfetched(), &task);
    return;
  }
  std::string name;
  try {
    name = task.name();
  } catch (...) {  // no memory for it
  }
  report_on_stderr(message, name.c_str(), task.error_unfetched());
}

void destroy_task(future_base& future) noexcept { static_cast<task_base&>(future).recycle(); }

constexpr future_operations operations_of_tasks{&cancel_task, &destroy_task, true};

}  // namespace

void check_stack_size(std::size_t size_bytes, const char* call) {
  if (size_bytes < minimum_stack_size_bytes || size_bytes > maximum_stack_size_bytes)
    throw std::invalid_argument{std::string{call} + ": a stack of " + std::to_string(size_bytes) +
                                " bytes is not possible; it must be between " +
                                std::to_string(minimum_stack_size_bytes) + " and " +
                                std::to_string(maximum_stack_size_bytes)};
}

static_assert(sizeof(task_base) <= task_base::block_size_bytes - 32);

task_base::task_base(slab* from) noexcept
    : parkable{ready_kind::task}, future_base{&operations_of_tasks}, origin{from} {
  references_.store(0, std::memory_order_relaxed);
}

namespace {

[[noreturn, gnu::noinline]] void throw_no_shard(const char* call) { throw no_shard{call}; }
[[noreturn, gnu::noinline]] void throw_runtime_closed(const char* call) { throw runtime_closed{call}; }

shard& shard_to_spawn_on(const char* call) {
  shard* const here = this_shard();
  if (here == nullptr) [[unlikely]]
    throw_no_shard(call);
  if (here->owner().is_closed()) [[unlikely]]
    throw_runtime_closed(call);
  return *here;
}

bool is_parent_roving(const shard& here) noexcept {
  const task_base* const parent = here.current();
  return parent != nullptr && parent->roving;
}

struct block_attributes {
  shard& home;
  bool roving;
  bool eager;
  std::size_t stack_size_bytes;
};

// Inline: the shorter way of the two by which tasks are spawned shall know what is not in it.
[[gnu::always_inline]] inline task_base& take_block(shard& here, const block_attributes& what, spawn_site site,
                                                    const char* call) {
  const task_base* const parent = here.current();
  task_base& task = here.blocks().take();
  task.roving = what.roving;
  task.eager = what.eager;
  task.home = &what.home;
  task.home_index = what.home.index();
  task.site_file = site.file;
  task.site_line = site.line;
  task.number = here.next_task_number();
  task.stack_size_bytes = static_cast<std::uint32_t>(what.stack_size_bytes);
  if (parent == nullptr && !here.owner().callback_may_spawn()) [[unlikely]] {
    abandon_task(task);
    throw_runtime_closed(call);
  }
  task.context = (parent != nullptr ? parent->context : here.context_of_callback());
  if (task.context != nullptr) add_context_reference(*task.context);
  here.note_time(task);
  return task;
}

}  // namespace

task_base& allocate_task(spawn_site site, const char* call) {
  shard& here = shard_to_spawn_on(call);
  return take_block(here, {here, is_parent_roving(here), false, here.owner().options().stack_size_bytes}, site, call);
}

task_base& allocate_task(const attributes& what, spawn_site site, const char* call) {
  shard* const here = &shard_to_spawn_on(call);
  scheduler& owner = here->owner();

  bool is_roving = false;
  shard* home = here;
  switch (what.placement.how()) {
    case placement::kind::inherited:
      is_roving = is_parent_roving(*here);
      break;
    case placement::kind::here:
      break;
    case placement::kind::anywhere:
      is_roving = true;
      break;
    case placement::kind::on_shard:
      if (what.placement.shard() >= owner.shard_count())
        throw std::out_of_range{std::string{call} + ": on_shard(" + std::to_string(what.placement.shard()) +
                                "), but the runtime has " + std::to_string(owner.shard_count()) +
                                " shards, numbered from 0"};
      home = &owner.at(what.placement.shard());
      break;
  }
  if (what.eager && (is_roving || home != here))
    throw std::invalid_argument{std::string{call} + ": an eager task runs at once, so it must be pinned here"};
  const std::size_t stack_size = what.stack_size_bytes != 0 ? what.stack_size_bytes : owner.options().stack_size_bytes;
  if (what.stack_size_bytes != 0) check_stack_size(what.stack_size_bytes, call);

  task_base& task = take_block(*here, {*home, is_roving, what.eager, stack_size}, site, call);
  try {
    if (!what.name.empty()) task.set_name(what.name);
  } catch (...) {
    abandon_task(task);
    throw;
  }
  return task;
}

void abandon_task(task_base& task) noexcept {
  this_shard()->count_finished();
  task.body = nullptr;
  task.recycle();
}

void start_task(task_base& task) {
  show_task(task, 1);
  queue_task(task);
}

void show_task(task_base& task, std::uint32_t references) noexcept {
  task.references_.store(references + 1, std::memory_order_release);  // walkers may look at it from here on
}

void queue_task(task_base& task) {
  shard& here = *this_shard();
  if (task.eager)
    here.run_eagerly(task);
  else if (task.roving)
    here.push_fresh(task);
  else if (task.home == &here)
    here.append(task);
  else
    task.home->receive(task);
}

void task_base::run() noexcept {
  outcome how = outcome::value;
  std::exception_ptr error;
  if (claims.take_pending()) [[unlikely]] {  // cancelled before its first step
    body->destroy_callable(*this);
    how = outcome::cancelled;
    const std::lock_guard guard{lock()};
    if (extras && extras->marked) error = std::make_exception_ptr(cancelled{std::move(extras->marked)});
  } else {
    try {
      body->invoke(*this);
    } catch (const cancelled& thrown) {
      how = outcome::cancelled;
      if (thrown.has_message()) error = std::current_exception();
    } catch (...) {
      how = outcome::error;
      error = std::current_exception();
    }
    if (how == outcome::value) {
      if (end_with_value()) return;
      if (body->destroy_value != nullptr) body->destroy_value(*this);  // it ended before the cancel reached it
      how = outcome::cancelled;
      message_stays_ = true;  // it did not throw it: the message is the cancel's, as a future's is
      claims.take_pending();
      const std::lock_guard guard{lock()};
      if (extras && extras->marked) error = std::make_exception_ptr(cancelled{std::move(extras->marked)});
    }
  }
  end(how, std::move(error));
}

void task_base::fail_unstarted(std::exception_ptr error) noexcept {
  body->destroy_callable(*this);
  end(outcome::error, std::move(error));
}

// False when a cancel came first; nothing has happened then. The lock decides, so that a cancel which was told that it
// is taken is the outcome.
bool task_base::end_with_value() noexcept {
  if (claims.is_pending()) return false;
  shard& here = *this_shard();
  here.slice_of_task_ended(*this);
  ready_list wakes;
  {
    std::unique_lock guard{lock(), std::defer_lock};
    if (!is_planted(planted::finish_without_lock)) guard.lock();
    if (claims.is_pending()) return false;
    publish(outcome::value, wakes);
  }
  if (!wakes.empty()) make_ready(wakes);
  leave(here);
  return true;
}

void task_base::end(outcome how, std::exception_ptr error) noexcept {
  shard& here = *this_shard();
  here.slice_of_task_ended(*this);
  finish(how, std::move(error));
  leave(here);
}

void task_base::leave(shard& here) noexcept {
  runs_on.store(nullptr, std::memory_order_relaxed);
  here.count_finished();
  if (references_.fetch_sub(1, std::memory_order_acq_rel) == 1) recycle();
}

// The last reference went, or it never had one.
void task_base::recycle() noexcept {
  if (body != nullptr) {
    if (status() == outcome::error && !is_fetched()) report_unfetched(*this);
    if (status() == outcome::value && body->destroy_value != nullptr) body->destroy_value(*this);
    body = nullptr;
  }
  if (error_) error_ = nullptr;
  if (extras) extras.reset();
  if (context != nullptr) release_context(*std::exchange(context, nullptr));
  cancel_requests = 0;
  no_cancel_depth = 0;
  awaits = nullptr;
  waits_in.store(nullptr, std::memory_order_relaxed);
  since.store(never, std::memory_order_relaxed);
  first_ = last_ = nullptr;
  taken.store(false, std::memory_order_relaxed);
  claims.reuse();
  fetched_.store(false, std::memory_order_relaxed);
  message_stays_ = false;
  status_.store(outcome::pending, std::memory_order_relaxed);
  references_.store(0, std::memory_order_relaxed);
  const shard* const here = this_shard();
  origin->give_back(*this, here != nullptr && &const_cast<shard*>(here)->blocks() == origin);
}

bool task_base::request_cancel(const cancel_message& message) noexcept { return cancel_through(*this, message); }

bool task_base::request_cancel_before_join(task_base& joiner) noexcept {
  {
    const std::lock_guard guard{lock()};
    if (task_extras* const more = extra_if_possible()) more->joiner = &joiner;
  }
  return cancel_through(*this, nullptr, {.joiner = &joiner});
}

namespace {

// Where the text of a cancel goes. Null when there is none, nor an older one to be replaced, and when there is no
// memory: the cancel goes without its text then.
task_extras* place_of(const cancel_message& message, task_base& task) noexcept {
  return message || task.extras ? task.extra_if_possible() : nullptr;
}

// Asks one task. `awaited` is what the cancel goes on to, if anything: the task is pinned then. Without a place for it
// the task is stopped in whatever it is, and that is no request of its own. False when the task is done.
bool ask(task_base& task, const cancel_message& message, future_reference<>* awaited) noexcept {
  bool wake = false;
  {
    const std::lock_guard guard{task.lock()};
    if (task.is_done()) return false;
    task_extras* const more = place_of(message, task);
    if (awaited != nullptr) ++task.cancel_requests;
    switch (task.claims.cancel(awaited != nullptr)) {
      case cancel_result::marked:
        if (more != nullptr) more->marked = message;
        break;
      case cancel_result::claimed:
        wake = true;
        [[fallthrough]];
      case cancel_result::claimed_early:
        if (more != nullptr) more->delivered = message;
        break;
      case cancel_result::forward:
        *awaited = future_reference<>::share(*task.awaits);
        break;
    }
  }
  if (wake) make_ready(task);
  return true;
}

void mark(task_base& task, const cancel_message& message) noexcept {
  const std::lock_guard guard{task.lock()};
  if (task_extras* const more = place_of(message, task)) more->marked = message;
  task.claims.mark();
}

// A stack whose first items need no memory: a cancel that goes a short way can't fail.
template <class Item>
class short_stack {
 public:
  static constexpr std::size_t inline_items = 8;

  [[nodiscard]] std::size_t size() const noexcept { return size_; }
  [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
  [[nodiscard]] Item& operator[](std::size_t place) noexcept {
    return place < inline_items ? first_[place] : more_[place - inline_items];
  }
  [[nodiscard]] const Item& operator[](std::size_t place) const noexcept {
    return const_cast<short_stack&>(*this)[place];
  }
  [[nodiscard]] Item& back() noexcept { return (*this)[size_ - 1]; }
  [[nodiscard]] const Item& back() const noexcept { return (*this)[size_ - 1]; }

  /// False without memory; `item` is not moved from then.
  [[nodiscard]] bool push(Item&& item) noexcept {
    if (size_ < inline_items) {
      first_[size_] = std::move(item);
    } else {
      try {
        more_.push_back(std::move(item));
      } catch (const std::bad_alloc&) {
        return false;
      }
    }
    ++size_;
    return true;
  }

  void pop() noexcept {
    if (size_ <= inline_items)
      first_[size_ - 1] = Item{};
    else
      more_.pop_back();
    --size_;
  }

 private:
  std::array<Item, inline_items> first_{};
  std::vector<Item> more_;
  std::size_t size_ = 0;
};

// The tasks that a cancel came by on its way: each awaits the next one, or several of which that is one.
class cancel_path {
 public:
  [[nodiscard]] std::size_t length() const noexcept { return steps_.size(); }
  [[nodiscard]] bool has(const future_base& which) const noexcept { return place_of(which) < steps_.size(); }

  /// `by_get`: it awaits a task, and nothing else. Who runs that inline below itself can't be stopped before it.
  /// False without memory.
  [[nodiscard]] bool add(future_reference<task_base> task, bool by_get) noexcept {
    const task_base* const added = task.get();
    const bool is_inline = added->claims.is_preparing();
    if (!steps_.push({std::move(task), by_get && !is_inline, !is_inline})) return false;
    if (steps_.size() <= steps_.inline_items) return true;
    try {
      places_.emplace(added, steps_.size() - 1);
    } catch (const std::bad_alloc&) {
      steps_.pop();
      return false;
    }
    return true;
  }

  void shorten_to(std::size_t length) noexcept {
    for (; steps_.size() > length; steps_.pop())
      if (steps_.size() > steps_.inline_items) places_.erase(steps_.back().task.get());
  }

  // Of the circle that is closed by awaiting `first`, the last to await a task by get(): whoever awaits several, or
  // joins them, may have to see their end. There is one, but for circles of gather() of handles, which may be left.
  [[nodiscard]] task_base& whom_to_stop(const future_base& first) const noexcept {
    const std::size_t begin = place_of(first);
    for (std::size_t i = steps_.size(); i > begin; --i)
      if (steps_[i - 1].by_get) return *steps_[i - 1].task;
    for (std::size_t i = steps_.size(); i > begin; --i)
      if (steps_[i - 1].can_stop) return *steps_[i - 1].task;
    return *steps_.back().task;
  }

 private:
  struct step {
    future_reference<task_base> task;
    bool by_get = false;
    bool can_stop = false;
  };

  // length() if it is not there.
  [[nodiscard]] std::size_t place_of(const future_base& which) const noexcept {
    for (std::size_t i = 0; i < std::min(steps_.size(), steps_.inline_items); ++i)
      if (steps_[i].task.get() == &which) return i;
    if (places_.empty()) return steps_.size();
    const auto found = places_.find(&which);
    return found != places_.end() ? found->second : steps_.size();
  }

  short_stack<step> steps_;
  std::unordered_map<const future_base*, std::size_t> places_;  // of those that needed memory
};

// A task that passes the cancel on, and waits for the answer: pinned, so that it can't go on before it is marked.
class pinned_asker {
 public:
  pinned_asker() noexcept = default;
  explicit pinned_asker(task_base* adopted) noexcept : task_{adopted} {}
  pinned_asker(pinned_asker&&) noexcept = default;
  pinned_asker& operator=(pinned_asker&& other) noexcept {
    pinned_asker former{std::move(other)};
    std::swap(task_, former.task_);
    return *this;
  }
  ~pinned_asker() {
    if (task_) task_->claims.unpin();
  }
  explicit operator bool() const noexcept { return static_cast<bool>(task_); }
  task_base& operator*() const noexcept { return *task_; }

 private:
  future_reference<task_base> task_;
};

// Something that passes the cancel on to several, and is in the middle of it.
struct cancel_branch {
  pinned_asker asker;
  future_reference<> of;
  std::size_t path_length = 0;
  std::size_t next = 0;
  bool taken = false;
};

}  // namespace

// Depth first, as asyncio's recursion. `asked` comes next; its answer goes to the task that waits for it (`asker`,
// which is marked when the answer is no), or else to the innermost branch, or else to the caller.
//
// Where the path comes back to itself asyncio's recursion has no end. Here one task of the circle is stopped, so that
// all unwind; each of them was asked once. The path begins with who waits for `root` already.
//
// Where there is no memory to remember a way that is long, the cancel ends there: the task that it has come to is
// stopped, and what that has it cancels as it unwinds.
bool cancel_through(future_base& root, const cancel_message& message, cancel_origin from) noexcept {
  open_waits_here();
  short_stack<cancel_branch> branches;
  cancel_path path;
  const auto add_joiner = [&] {  // the first of a path, which needs no memory
    if (from.joiner != nullptr) (void)path.add(future_reference<task_base>::share(*from.joiner), false);
  };
  if (from.awaits != nullptr) {
    add_joiner();
    (void)path.add(future_reference<task_base>::share(*from.awaits), from.by_get);
  }
  pinned_asker asker;
  bool root_taken = false;
  const auto answer = [&](bool taken, const pinned_asker& to) {
    if (to) {
      if (!taken) mark(*to, message);
    } else {
      bool& whole = branches.empty() ? root_taken : branches.back().taken;
      whole = whole || taken;
    }
  };
  for (auto asked = future_reference<>::share(root);;) {
    if (asked && asked->operations_->passes_on != nullptr) {
      cancel_branch branch{std::move(asker), std::move(asked), path.length()};
      if (!branches.push(std::move(branch))) {
        const bool can_stop = branch.asker && !(*branch.asker).claims.is_preparing();
        if (can_stop) (void)ask(*branch.asker, message, nullptr);
        answer(can_stop, branch.asker);
      }
      asker = {};
      asked = {};
    }
    if (asked && path.length() != 0 && path.has(*asked)) {
      (void)ask(path.whom_to_stop(*asked), message, nullptr);
      answer(true, asker);
      asker = {};
      asked = {};
    } else if (asked) {
      future_reference<> awaited;
      if (asked->is_task()) {
        answer(ask(static_cast<task_base&>(*asked), message, &awaited), asker);
        asker = {};
        if (awaited) {
          if (path.length() == 0) add_joiner();
          auto* const task = static_cast<task_base*>(asked.take());
          const bool is_added = path.add(future_reference<task_base>::share(*task), awaited->is_task());
          asker = pinned_asker{task};
          if (!is_added && !task->claims.is_preparing()) {
            (void)ask(*task, message, nullptr);
            asker = {};
            awaited = {};
          }
        }
      } else {
        answer(asked->cancel(message), asker);
        asker = {};
      }
      asked = std::move(awaited);
    } else if (branches.empty()) {
      return root_taken;
    } else {
      cancel_branch& last = branches.back();
      path.shorten_to(last.path_length);
      if (future_base* const next = last.of->operations_->passes_on(*last.of, last.next++)) {
        asked = future_reference<>::share(*next);
        continue;
      }
      const cancel_branch ended = std::move(last);
      branches.pop();
      answer(ended.taken, ended.asker);
    }
  }
}

std::uint32_t task_base::uncancel() noexcept {
  const std::lock_guard guard{lock()};
  if (cancel_requests != 0 && --cancel_requests == 0) claims.take_pending();
  return cancel_requests;
}

std::uint32_t task_base::cancelling() noexcept {
  const std::lock_guard guard{lock()};
  return cancel_requests;
}

task_extras& task_base::extra() {
  if (!extras) extras = std::make_unique<task_extras>();
  return *extras;
}

task_extras* task_base::extra_if_possible() noexcept {
  if (!extras) extras.reset(new (std::nothrow) task_extras);
  return extras.get();
}

std::string task_base::name() const {
  const std::lock_guard guard{const_cast<task_base*>(this)->lock()};
  if (extras && !extras->name.empty()) return extras->name;
  return "Task-" + std::to_string(number);
}

void task_base::set_name(std::string_view name) {
  std::string copy{name};
  const std::lock_guard guard{lock()};
  extra().name = std::move(copy);
}

task_base* current_task() noexcept {
  const shard* const here = this_shard();
  return here != nullptr ? here->current() : nullptr;
}

}  // namespace roving::detail
