// The body of a generator: a side fiber that runs as part of whatever task enters it. generator<Value> is the typed
// part.
//
//     consuming task:  resume() ----enter----> body runs, may park the task ... yield() ----leave----> resume() returns
//
// Parking knows nothing of it. While the body runs, the side fiber is the task's fiber (shard::enter_side), so that
// whatever the body waits for parks the task on the side fiber's stack and resumes it there, on any shard if the task
// roves. Exception globals are those of the stack that runs, swapped at each switch.
// Rejected: a task of its own for the body, with a channel of one value. It would have its own name, cancellation and
// context, and two trips through the ready queue a value.
//
// One reference is the handle's; a body that has begun has another one until it has ended, since a stack is only given
// up by unwinding it. Who has begun is in a list of the shard, so that shutdown finds what outlives its tasks.
//
//     unstarted --> running <--> suspended --> closing --> done          unstarted --> done: the body never runs
//                      |                                                   running --> done: it returned or threw
//                      +--> abandoned --> done: the handle went while the body ran
//
// I1  Whoever takes the state to running or closing has the body, and all below the state, until he takes it on.
// [body]  the state is stored release by who had the body, and loaded acquire by who takes it next.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <vector>

#include <roving/detail/atomic.hpp>
#include <roving/detail/context_values.hpp>
#include <roving/detail/ready_node.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/placement.hpp>

namespace roving::detail {

class gate;
class scheduler;
class shard;
struct fiber;
struct thread_anchor;

#pragma GCC visibility push(default)

struct task_base;

class generator_core : public counted {
 public:
  /// Runs the body to its next yield. False when it has ended; throws what the body threw. After true the body stays
  /// taken, and value() there, until settle(). Throws not_in_task{call}, concurrent_use, stack_exhausted.
  [[nodiscard]] bool resume(const char* call);

  /// What the last yield gave. Lies on the body's stack.
  [[nodiscard]] void* value() const noexcept { return value_; }

  /// Lets others resume it. False when the handle went meanwhile: this is unwound, and gone.
  [[nodiscard]] bool settle() noexcept;

  /// In the body: gives `value` to who resumed it. Throws generator_exit, broken_contract.
  void yield(void* value);

  /// Unwinds the body if it has not ended. Throws what that throws; not_in_task{call}, concurrent_use, broken_contract.
  void close(const char* call);

  /// The handle goes: takes over its reference. Unwinds the body here, or has it unwound where that can be done.
  void abandon() noexcept;

  [[nodiscard]] bool is_done() const noexcept { return state_.load(std::memory_order_acquire) == state::done; }

  /// Unwinds the body if nobody has it. In a task of its runtime.
  void unwind_what_is_left() noexcept;

  /// A task of its own that does so, on that shard; not visible yet. Throws std::bad_alloc, runtime_closed.
  [[nodiscard]] static task_base& make_closer(counted_reference<generator_core> of, unsigned on);

  /// The shard where the body was entered last, or is being entered. Any thread.
  [[nodiscard]] unsigned entered_on() const noexcept { return entered_on_.load(std::memory_order_relaxed); }

 protected:
  /// Runs the body, and destroys its callable.
  using body_function = void (*)(generator_core& self);
  generator_core(destroy_function end, body_function body, std::size_t stack_size_bytes, spawn_site made_at);
  ~generator_core() = default;

 private:
  friend class generator_list;
  enum class state : std::uint8_t { unstarted, suspended, running, abandoned, closing, done };

  struct handed_over : posted_callback {
    explicit handed_over(generator_core& whose) noexcept;
    generator_core& of;  // one reference while it is on its way
  };

  void begin(shard& here);
  void enter() noexcept;
  void exit_body() noexcept;
  void finish();
  void unwind() noexcept;
  void hand_over() noexcept;
  void report(const char* what, std::exception_ptr error) const noexcept;
  static void main(void* self, thread_anchor& anchor) noexcept;
  void run_body() noexcept;

  const body_function body_;
  const std::size_t stack_size_bytes_;  // 0: the runtime's default
  const spawn_site made_at_;
  atomic<state> state_{state::unstarted};
  atomic<unsigned> entered_on_{0};

  // --- of who has the body (I1)
  bool has_ended_ = false;
  bool exits_ = false;                 // the yield throws generator_exit
  std::uint16_t held_back_ = 0;        // no_cancels that the body has while it is suspended
  std::uint16_t depth_at_entry_ = 0;   // no_cancels of the task when it entered
  std::uint16_t scopes_at_entry_ = 0;  // open_scopes likewise
  fiber* side_ = nullptr;
  task_base* task_ = nullptr;  // that is in it
  void* value_ = nullptr;
  std::exception_ptr error_;
  scheduler* owner_ = nullptr;
  counted_reference<counted> door_;  // to the shard where it was entered last
  handed_over handed_over_;

  // --- guarded by the list's lock
  class generator_list* list_ = nullptr;
  generator_core* next_ = nullptr;
  generator_core* previous_ = nullptr;
};

/// Generators whose bodies have begun and not ended. Any thread.
class generator_list {
 public:
  void insert(generator_core& item) noexcept;
  static void erase(generator_core& item) noexcept;
  void add_to(std::vector<counted_reference<generator_core>>& all);
  [[nodiscard]] bool empty() noexcept;

 private:
  spin_lock lock_;
  generator_core* first_ = nullptr;
};

}  // namespace roving::detail

#pragma GCC visibility pop
