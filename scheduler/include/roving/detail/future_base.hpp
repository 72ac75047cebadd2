// What tasks and futures have in common: an outcome that comes once, and those who wait for it.
//
// Counted references keep it alive. Everything that changes happens under a spin lock that is held for a few
// instructions; who waits is told after it is released, in the order in which they subscribed:
//   a fiber that waits is claimed under the lock and made ready after it;
//   a callback goes to the ready queue of the shard where it was registered, never inline;
//   a direct callback, ours alone, runs at once.
//
// I1  The outcome changes once, from pending by way of completing to one of the others.
// I2  A node in the list is alive: whoever stops waiting unsubscribes under the lock, and the completer takes what a
//     node stands for under the lock too.
//
// [outcome]  finish() stores status_, release -> is_done() loads it, acquire: who sees that it is done sees the value.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <utility>

#include <roving/detail/atomic.hpp>
#include <roving/detail/ready_node.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>

#pragma GCC visibility push(default)

namespace roving::detail {

class future_base;

/// The text of a cancel, if it has one. Shared, since it travels.
using cancel_message = std::shared_ptr<const std::string>;

enum class outcome : std::uint8_t { pending, completing, value, error, cancelled };

/// Somebody who waits for a future. take() is called under the future's lock and gives what is to be made ready.
struct done_node {
  using function = ready_node* (*)(done_node&) noexcept;
  explicit done_node(function how) noexcept : take{how} {}
  done_node* next = nullptr;
  function take;
};

/// What differs between kinds of future.
struct future_operations {
  bool (*cancel)(future_base&, const cancel_message&) noexcept;  // asks it to end as cancelled; false when it is done
  void (*destroy)(future_base&) noexcept;                        // the last reference went
  bool is_task;
  // Of what passes a cancel on to several, else null: the one at that place, null behind the last. Asked from 0 on.
  future_base* (*passes_on)(future_base&, std::size_t place) noexcept = nullptr;
  // Of what ends when others do, else null: calls tell(argument, other) for each, for reports.
  void (*depends_on)(future_base&, void (*tell)(void* argument, const future_base& other), void* argument) = nullptr;
};

/// Who waits already for what is cancelled, and would wait for ever if the cancel came back to him and ended there.
struct cancel_origin {
  struct task_base* joiner = nullptr;  // waits whatever comes
  struct task_base* awaits = nullptr;  // in arm_forwarding: waits for `root`, and may be stopped if `by_get`
  bool by_get = false;
};

/// Cancels `root` and, by way of it, what it waits for, as asyncio's cancel() does, without recursion however long the
/// chain. Where tasks await each other in a circle, one of them is stopped, so that all end. False when `root` is done.
/// Any thread.
bool cancel_through(future_base& root, const cancel_message& message, cancel_origin from = {}) noexcept;

class future_base {
 public:
  explicit future_base(const future_operations* operations) noexcept : operations_{operations} {}
  future_base(const future_base&) = delete;
  future_base& operator=(const future_base&) = delete;

  void add_reference() noexcept { references_.fetch_add(1, std::memory_order_relaxed); }

  /// False when it is being destroyed already, or is an unused block: for those who found it by walking.
  [[nodiscard]] bool try_add_reference() noexcept;

  void release() noexcept {
    // Alone: nobody can add a reference any more, so that no atomic operation is needed. Not so for a task, which is
    // also found by walking over its slab.
    if ((!is_task() && references_.load(std::memory_order_acquire) == 1) ||
        references_.fetch_sub(1, std::memory_order_acq_rel) == 1)
      operations_->destroy(*this);
  }

  [[nodiscard]] outcome status() const noexcept { return status_.load(std::memory_order_acquire); }
  [[nodiscard]] bool is_done() const noexcept { return status() > outcome::completing; }  // [outcome]
  [[nodiscard]] bool is_task() const noexcept { return operations_->is_task; }
  [[nodiscard]] const future_operations& operations() const noexcept { return *operations_; }

  /// Asks for the end of it, as asyncio's cancel(). True when that was taken.
  bool cancel(const cancel_message& message) noexcept { return operations_->cancel(*this, message); }

  /// Takes the right to complete it. False when somebody else has it.
  [[nodiscard]] bool begin_completion() noexcept;

  /// Completes it after begin_completion(), the value being in its place, and tells those who wait.
  void finish(outcome how, std::exception_ptr error = nullptr) noexcept;

  /// Adds `node` to those who are told. False when it is done; the node is not added then.
  [[nodiscard]] bool subscribe(done_node& node) noexcept;

  /// The same with lock() held.
  [[nodiscard]] bool subscribe_locked(done_node& node) noexcept;

  /// Takes `node` off again. False when it was not there, or its turn has come.
  bool unsubscribe(done_node& node) noexcept;

  /// Takes off every node for which matches(node, key) holds; returns them linked by next.
  [[nodiscard]] done_node* unsubscribe_all(bool (*matches)(const done_node&, const void*), const void* key) noexcept;

  /// Parks the current task until it is done. A cancel of the task is passed on to this future. Blocks a plain thread.
  /// True when the task has a cancel to throw.
  [[nodiscard]] bool await(const char* call) { return !is_done() && await_end(call); }

  /// Waits, passes nothing on: a cancel ends the wait. `deadline` may be max().
  [[nodiscard]] wait_end wait(const char* call, time_point deadline);

  /// Throws the outcome if it is an error or a cancellation. Counts as having fetched it.
  void throw_failure() {
    if (const outcome how = status(); how != outcome::value) throw_failed(how);
  }

  /// The error, without counting as thrown: null for a value. For a cancellation throws cancelled.
  [[nodiscard]] std::exception_ptr error();
  [[nodiscard]] const std::exception_ptr& error_unfetched() const noexcept { return error_; }

  /// What who asks for a cancelled one is thrown. What a task threw, with its message, goes to the first who takes it.
  [[nodiscard]] std::exception_ptr take_cancellation();
  /// The same, taking nothing: only with a message that stays.
  [[nodiscard]] std::exception_ptr cancellation();

  /// Nobody has to be told of the error any more.
  void set_fetched() noexcept { fetched_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool is_fetched() const noexcept { return fetched_.load(std::memory_order_relaxed); }

  [[nodiscard]] spin_lock& lock() noexcept { return lock_; }

 private:
  [[nodiscard]] bool await_end(const char* call);
  void throw_failed(outcome how);

 protected:
  friend struct task_base;
  friend bool cancel_through(future_base& root, const cancel_message& message, cancel_origin from) noexcept;
  ~future_base() = default;

  /// The half of finish() that wants lock(): completes it, and gathers those who wait.
  void publish(outcome how, ready_list& wakes) noexcept;

  const future_operations* operations_;
  atomic<std::uint32_t> references_{1};
  spin_lock lock_;
  atomic<outcome> status_{outcome::pending};
  atomic<bool> fetched_{false};
  bool message_stays_ = false;  // of a cancellation: told to all who ask. Written before finish()
  done_node* first_ = nullptr;
  done_node* last_ = nullptr;
  std::exception_ptr error_;
};

/// A counted reference to a future.
template <class Future = future_base>
class future_reference {
 public:
  future_reference() noexcept = default;
  /// Takes over a reference that the caller holds.
  explicit future_reference(Future* adopted) noexcept : future_{adopted} {}
  static future_reference share(Future& future) noexcept {
    future.add_reference();
    return future_reference{&future};
  }
  future_reference(const future_reference& other) noexcept : future_{other.future_} {
    if (future_ != nullptr) future_->add_reference();
  }
  future_reference(future_reference&& other) noexcept : future_{std::exchange(other.future_, nullptr)} {}
  future_reference& operator=(future_reference other) noexcept {
    std::swap(future_, other.future_);
    return *this;
  }
  ~future_reference() {
    if (future_ != nullptr) future_->release();
  }

  [[nodiscard]] Future* get() const noexcept { return future_; }
  [[nodiscard]] Future* take() noexcept { return std::exchange(future_, nullptr); }
  Future* operator->() const noexcept { return future_; }
  Future& operator*() const noexcept { return *future_; }
  explicit operator bool() const noexcept { return future_ != nullptr; }
  friend bool operator==(const future_reference& a, const future_reference& b) noexcept {
    return a.future_ == b.future_;
  }

 private:
  Future* future_ = nullptr;
};

}  // namespace roving::detail

#pragma GCC visibility pop
