// What drives coroutines: the loop on the fiber that waits for them. <roving/coroutine.hpp> says what it is for.
//
// A strand is a chain of coroutines that await each other; its innermost one runs or waits. All strands of a driver run
// on the driver's fiber, one at a time: the driver resumes what is ready until nothing is, parks until something is
// again, and so on until its first strand has ended. Whoever makes a strand ready, on any thread, puts it on the
// driver's list and claims the driver's wait.
//
// One coroutine goes over to the next by way of the driver's loop (`next`) and not by symmetric transfer, which needs
// tail calls; compilers make those only when they optimize, and not under sanitizers.
//
// A cancel of the task claims the driver's wait. It is then passed on to what each strand awaits, as asyncio does: a
// future is cancelled, and what becomes of it is what the strand gets; a sleep throws. A strand that is ready already
// throws in the same wait. One that waits for something foreign throws at its next wait.
//
// I1  Only the driver's thread touches a strand, but for next_ready, which is guarded by the driver's lock.
// I2  A strand that waits for a future is in that future's list until it is made ready by it, and by nothing else.
#pragma once

#include <coroutine>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <map>
#include <span>
#include <utility>

#include <roving/detail/future_base.hpp>
#include <roving/detail/ready_node.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving::detail {

class coroutine_driver;
struct strand;

/// The strands that another one waits for.
struct strand_group {
  strand* parent = nullptr;
  std::size_t running = 0;
  bool is_cancelled = false;  // its members were told to end
  std::exception_ptr first_error;
};

struct strand {
  enum class state : std::uint8_t { active, awaits_future, sleeps, awaits_group, awaits_foreign };

  strand(coroutine_driver& by, strand_group* member_of) noexcept;
  strand(const strand&) = delete;
  strand& operator=(const strand&) = delete;

  /// Begins to wait; `self` is resumed when that is over. False when a cancel is pending: throw it instead.
  [[nodiscard]] bool begin_wait(state what, std::coroutine_handle<> self) noexcept;

  /// The wait is over. Throws a cancel that came meanwhile.
  void end_wait();

  coroutine_driver& driver;
  strand_group* const group;      // null: the driver's own, the first
  std::coroutine_handle<> next;   // what runs next
  std::coroutine_handle<> waits;  // what runs when the wait is over
  state now = state::active;
  bool is_cancelled = false;                           // pending
  cancel_message message;                              // of that
  future_base* awaited = nullptr;                      // when it awaits a future
  std::multimap<time_point, strand*>::iterator alarm;  // when it sleeps
  strand* previous = nullptr;
  strand* following = nullptr;
  strand* next_ready = nullptr;  // guarded by the driver's lock
};

/// What every promise has.
class coroutine_promise_base {
 public:
  /// Goes over to who awaits it; at the end of a strand, tells who waits for that.
  struct final_wait {
    coroutine_promise_base& promise;
    [[nodiscard]] bool await_ready() const noexcept { return false; }
    void await_suspend(std::coroutine_handle<>) const noexcept { promise.ended(); }
    void await_resume() const noexcept {}
  };

  [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
  [[nodiscard]] final_wait final_suspend() noexcept { return {*this}; }
  void unhandled_exception() noexcept { error_ = std::current_exception(); }

  [[nodiscard]] strand& of() const noexcept { return *strand_; }

  /// Puts it at the end of a strand, for who awaits it there (none: it is the first).
  void join(strand& to, std::coroutine_handle<> self, std::coroutine_handle<> awaits) noexcept {
    strand_ = &to;
    awaited_by_ = awaits;
    to.next = self;
  }

  void throw_error() {
    if (error_) std::rethrow_exception(std::exchange(error_, nullptr));
  }

 private:
  void ended() noexcept;

  strand* strand_ = nullptr;
  std::coroutine_handle<> awaited_by_;
  std::exception_ptr error_;
};

class coroutine_driver {
 public:
  /// Throws not_in_task{call} in a callback.
  explicit coroutine_driver(const char* call);
  coroutine_driver(const coroutine_driver&) = delete;
  coroutine_driver& operator=(const coroutine_driver&) = delete;

  /// Runs a coroutine that has not begun, and what it starts, to its end. Suspends; blocks a plain thread.
  void run(coroutine_promise_base& first, std::coroutine_handle<> self);

  /// Makes a strand ready; returns whom to make ready for that, if anybody. Any thread; the driver may be gone when it
  /// returns.
  [[nodiscard]] ready_node* wake(strand& which) noexcept;

  // --- for its strands

  void sleep(strand& which, time_point deadline);

  /// Passes a cancel on to the strands of a group, and of the groups in it; null: to all.
  void cancel(const strand_group* of, const cancel_message& message);

  void add(strand& which) noexcept;
  void end(strand& which, const std::exception_ptr& error) noexcept;

 private:
  [[nodiscard]] strand* take_ready() noexcept;
  void wake_due();
  void park();

  const char* const call_;
  bool has_ended_ = false;
  strand* strands_ = nullptr;  // those that have not ended
  std::multimap<time_point, strand*> alarms_;

  spin_lock lock_;
  // --- guarded by lock_
  strand* first_ready_ = nullptr;
  strand* last_ready_ = nullptr;
  waiter* parked_ = nullptr;
};

// --- what a coroutine can await, without the types ------------------------------------------------------------------

class future_wait : public done_node {
 public:
  explicit future_wait(future_base& of) noexcept : done_node{&claim_it}, of_{of} {}
  [[nodiscard]] bool await_ready() const noexcept { return of_.is_done(); }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> self) {
    return begin(self.promise().of(), self);
  }

 protected:
  /// Throws a cancel that came meanwhile.
  void end_wait() {
    if (waits_ != nullptr) waits_->end_wait();
  }

 private:
  static ready_node* claim_it(done_node& node) noexcept;
  [[nodiscard]] bool begin(strand& waits, std::coroutine_handle<> self);

  future_base& of_;
  strand* waits_ = nullptr;
};

class time_wait {
 public:
  explicit time_wait(time_point deadline) noexcept : deadline_{deadline} {}
  [[nodiscard]] bool await_ready() const noexcept { return false; }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> self) {
    return begin(self.promise().of(), self);
  }
  void await_resume() const { waits_->end_wait(); }

 private:
  [[nodiscard]] bool begin(strand& waits, std::coroutine_handle<> self);

  time_point deadline_;
  strand* waits_ = nullptr;
};

/// Waits for several coroutines, each in a strand of its own. The first that throws has the others cancelled.
class group_wait {
 public:
  struct member {
    coroutine_promise_base* promise;
    std::coroutine_handle<> self;
  };
  explicit group_wait(std::span<const member> members) noexcept : members_{members} {}
  [[nodiscard]] bool await_ready() const noexcept { return members_.empty(); }
  template <class Promise>
  [[nodiscard]] bool await_suspend(std::coroutine_handle<Promise> self) {
    return begin(self.promise().of(), self);
  }
  void await_resume() const;

 private:
  [[nodiscard]] bool begin(strand& waits, std::coroutine_handle<> self);

  std::span<const member> members_;
  std::deque<strand> strands_;
  strand_group group_;
};

/// Stands for a strand where something foreign wants a coroutine to resume: resumed on any thread, it makes the strand
/// ready.
class foreign_relay {
 public:
  struct promise_type {
    strand* waits = nullptr;
    [[nodiscard]] foreign_relay get_return_object() noexcept {
      return foreign_relay{std::coroutine_handle<promise_type>::from_promise(*this)};
    }
    [[nodiscard]] std::suspend_always initial_suspend() const noexcept { return {}; }
    struct tell {
      [[nodiscard]] bool await_ready() const noexcept { return false; }
      void await_suspend(std::coroutine_handle<promise_type> self) const noexcept { wake(*self.promise().waits); }
      void await_resume() const noexcept {}
    };
    [[nodiscard]] tell final_suspend() const noexcept { return {}; }
    void return_void() const noexcept {}
    void unhandled_exception() const noexcept {}
  };

  [[nodiscard]] static foreign_relay make();
  foreign_relay(foreign_relay&& other) noexcept : frame_{std::exchange(other.frame_, nullptr)} {}
  foreign_relay& operator=(foreign_relay&&) = delete;
  ~foreign_relay() {
    if (frame_) frame_.destroy();
  }

  [[nodiscard]] std::coroutine_handle<promise_type> to(strand& waits) const noexcept {
    frame_.promise().waits = &waits;
    return frame_;
  }

 private:
  explicit foreign_relay(std::coroutine_handle<promise_type> frame) noexcept : frame_{frame} {}
  static void wake(strand& waits) noexcept;

  std::coroutine_handle<promise_type> frame_;
};

}  // namespace roving::detail

#pragma GCC visibility pop
