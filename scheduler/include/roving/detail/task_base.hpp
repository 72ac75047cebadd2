// The core of a task: its outcome, its claim word, its placement, and a block of memory in which its callable lies.
//
// All tasks have blocks of one size, from the slab of the shard that spawned them. A block is a task_base for ever: it
// is constructed once, when its chunk of memory is made, and reset for each use, so that those who walk over blocks
// (all_tasks, shutdown) may look at any of them at any time and ask for a reference. What is used anew for each task,
// its callable and later its value, lies in `storage`.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <new>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>

#include <roving/detail/atomic.hpp>
#include <roving/detail/context_values.hpp>
#include <roving/detail/future_base.hpp>
#include <roving/placement.hpp>
#include <roving/time.hpp>

namespace roving::detail {

class scheduler;
class shard;
class slab;
struct fiber;

#pragma GCC visibility push(default)

struct task_base;

/// What the compiler knows of the callable and the value of a task, for code that does not.
struct task_operations {
  void (*invoke)(task_base&);                     // calls it, leaves the value in place of the callable
  void (*destroy_callable)(task_base&) noexcept;  // it never ran
  void (*destroy_value)(task_base&) noexcept;     // null where there is nothing to do
  void* (*value_address)(task_base&) noexcept;
};

/// What few tasks have.
struct task_extras {
  std::string name;
  cancel_message marked;        // of the last cancel that was made pending
  cancel_message delivered;     // of the cancel that claimed the wait
  task_base* joiner = nullptr;  // the task that cancelled it and waits for its end whatever comes; alive until then
};

struct alignas(16) task_base : parkable, future_base {
  static constexpr std::size_t block_size_bytes = 256;
  static constexpr duration::rep never = std::numeric_limits<duration::rep>::min();

  explicit task_base(slab* from) noexcept;

  // --- set by spawn, read by all
  bool roving = false;
  bool eager = false;
  atomic<bool> taken{false};  // roving: by whoever runs it first, see inline_join.hpp
  wait_subject waits_for = wait_subject::unknown;
  std::uint32_t home_index = 0;  // of home, which may be gone when somebody asks
  shard* home = nullptr;         // the shard it is pinned to, or on which it was spawned
  const char* site_file = "";
  const task_operations* body = nullptr;
  std::uint64_t number = 0;  // of the scheduler's tasks; counts from 1
  std::uint32_t site_line = 0;
  std::uint32_t stack_size_bytes = 0;

  // --- the task's own, or its shard's while it is parked
  std::uint16_t no_cancel_depth = 0;
  std::uint16_t open_scopes = 0;  // see open_scope

  // --- guarded by lock()
  std::uint32_t cancel_requests = 0;
  std::unique_ptr<task_extras> extras;

  // --- written by the task before it parks, read by who holds a pin (waits_for above, too)
  future_base* awaits = nullptr;
  std::int64_t waits_for_value = 0;

  // --- written by the task or its shard, read by anybody who is curious
  atomic<fiber*> runs_on{nullptr};        // null: nobody has started it, or it has ended
  atomic<const char*> waits_in{nullptr};  // the call in which it is parked
  atomic<duration::rep> since{never};     // debug mode: when it was spawned, or was last left

  context_values* context = nullptr;  // a counted reference
  slab* const origin;

  [[nodiscard]] std::string name() const;
  void set_name(std::string_view name);
  [[nodiscard]] task_extras& extra();
  [[nodiscard]] task_extras* extra_if_possible() noexcept;  // null without memory

  /// Cancels as asyncio's Task.cancel(). Without memory the message may be lost, the cancel is not. Any thread.
  bool request_cancel(const cancel_message& message) noexcept;
  /// The same by a task that will wait for the end of this one whatever comes.
  bool request_cancel_before_join(task_base& joiner) noexcept;
  std::uint32_t uncancel() noexcept;
  [[nodiscard]] std::uint32_t cancelling() noexcept;

  /// Runs the body to its end on the current fiber, completes the task, and lets go of the runtime's reference.
  void run() noexcept;

  /// Makes the block unused again. For the last reference, or none.
  void recycle() noexcept;

  /// Completes it with an error instead of running it.
  void fail_unstarted(std::exception_ptr error) noexcept;

  /// The place for the callable and the value.
  [[nodiscard]] void* storage() noexcept { return this + 1; }

 private:
  friend void show_task(task_base& task, std::uint32_t references) noexcept;
  void end(outcome how, std::exception_ptr error) noexcept;
  [[nodiscard]] bool end_with_value() noexcept;
  void leave(shard& here) noexcept;
};

/// The task that runs on the calling thread, or null.
[[nodiscard]] task_base* current_task() noexcept;

/// A scope that belongs to a task, which it may cancel: a timeout, a group. A generator's body can't yield inside one,
/// since the task would be outside of it then.
class open_scope {
 public:
  explicit open_scope(task_base& of) noexcept : of_{of} { ++of_.open_scopes; }
  open_scope(const open_scope&) = delete;
  open_scope& operator=(const open_scope&) = delete;
  ~open_scope() { --of_.open_scopes; }

 private:
  task_base& of_;
};

/// A block for a new task, not visible to anybody yet. Throws no_shard{call}, std::out_of_range, std::bad_alloc.
[[nodiscard]] task_base& allocate_task(const attributes& what, spawn_site site, const char* call);
/// The same for attributes{}.
[[nodiscard]] task_base& allocate_task(spawn_site site, const char* call);

/// Throws std::invalid_argument.
void check_stack_size(std::size_t size_bytes, const char* call);

/// Gives back a block whose callable could not be put into it.
void abandon_task(task_base& task) noexcept;

/// Makes it visible and, if it is eager, runs it up to its first suspension: one reference is the caller's, one the
/// runtime's until the task has ended.
void start_task(task_base& task);

/// The two halves of it. Once it is shown it can be found, awaited and cancelled; `references` are the caller's.
void show_task(task_base& task, std::uint32_t references) noexcept;
void queue_task(task_base& task);

// --- the typed part -------------------------------------------------------------------------------------------------

template <class Value>
using stored =
    std::conditional_t<std::is_void_v<Value>, char,
                       std::conditional_t<std::is_reference_v<Value>, std::remove_reference_t<Value>*, Value>>;

/// A callable and its value in a task's storage, by turns; on the heap when they are too large for it.
template <class Callable, class Value>
struct task_body {
  static constexpr std::size_t size_bytes = std::max(sizeof(Callable), sizeof(stored<Value>));
  static constexpr std::size_t alignment = std::max(alignof(Callable), alignof(stored<Value>));
  static constexpr bool is_inline =
      size_bytes <= task_base::block_size_bytes - sizeof(task_base) && alignment <= alignof(task_base);

  static void* place(task_base& task) noexcept {
    if constexpr (is_inline) return task.storage();
    return *static_cast<void**>(task.storage());
  }
  static Callable& callable(task_base& task) noexcept { return *std::launder(static_cast<Callable*>(place(task))); }
  static stored<Value>& value(task_base& task) noexcept {
    return *std::launder(static_cast<stored<Value>*>(place(task)));
  }

  template <class Source>
  static void construct(task_base& task, Source&& source) {
    if constexpr (is_inline) {
      ::new (task.storage()) Callable(std::forward<Source>(source));
    } else {
      void* const heap = ::operator new (size_bytes, std::align_val_t{alignment});
      try {
        ::new (heap) Callable(std::forward<Source>(source));
      } catch (...) {
        ::operator delete (heap, std::align_val_t{alignment});
        throw;
      }
      ::new (task.storage()) void*(heap);
    }
    task.body = &operations;
  }

  static void invoke(task_base& task) {
    struct ending {  // the callable ends with the call, however the call ends
      task_base& task;
      bool threw = true;
      ~ending() {
        callable(task).~Callable();
        if (threw) release(task);
      }
    };
    if constexpr (std::is_void_v<Value>) {
      ending end{task};
      std::move(callable(task))();
      end.threw = false;
    } else {
      std::optional<stored<Value>> result;
      {
        ending end{task};
        if constexpr (std::is_reference_v<Value>)
          result.emplace(std::addressof(std::move(callable(task))()));
        else
          result.emplace(std::move(callable(task))());
        end.threw = false;
      }
      ::new (place(task)) stored<Value>(std::move(*result));
    }
  }

  static void destroy_callable(task_base& task) noexcept {
    callable(task).~Callable();
    release(task);
  }

  static void destroy_value(task_base& task) noexcept {
    if constexpr (!std::is_void_v<Value>) std::destroy_at(std::addressof(value(task)));
    release(task);
  }

  static void release(task_base& task) noexcept {
    if constexpr (!is_inline) ::operator delete (place(task), std::align_val_t{alignment});
  }

  static constexpr bool leaves_nothing = is_inline && std::is_trivially_destructible_v<stored<Value>>;
  static constexpr task_operations operations{&invoke, &destroy_callable, leaves_nothing ? nullptr : &destroy_value,
                                              &place};
};

}  // namespace roving::detail

#pragma GCC visibility pop
