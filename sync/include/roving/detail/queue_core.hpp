// What the three queues share. The waiting is in queue_core, which knows how many items there are and not what they
// are; basic_queue has the items. Only the few instructions between begin_...() and end_...() are a template.
//
// The order is asyncio.Queue's: an item or a free place wakes the first who waits for it, which then tries again. So
// one who comes between may be faster, and the woken one waits anew, behind the others.
#pragma once

#include <concepts>
#include <cstddef>
#include <optional>
#include <stdexcept>
#include <type_traits>
#include <utility>

#include <roving/detail/queue_operation.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/wait.hpp>
#include <roving/error.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// A queue was shut down: nothing can be put, and nothing more is to be had.
class queue_shut_down : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// task_done() was called more often than items were put into the queue.
class done_too_often : public broken_contract {
 public:
  using broken_contract::broken_contract;
};

namespace detail {

class queue_core {
 public:
  /// 0: no bound.
  explicit constexpr queue_core(std::size_t capacity) noexcept : capacity_{capacity} {}

  // begin_put() and begin_get() return with the queue locked and with room, or an item. Then the item is moved, which
  // must not suspend, and end_...() or, if it could not be moved, abandon_...() unlocks. The try_ forms return false,
  // with nothing locked, where the others suspend. All four throw queue_shut_down.
  void begin_put();
  [[nodiscard]] bool try_begin_put();
  void end_put() noexcept;
  void abandon_put() noexcept;

  void begin_get();
  [[nodiscard]] bool try_begin_get();
  void end_get() noexcept;
  void abandon_get() noexcept;

  // For select(), as select_operation has them.
  [[nodiscard]] bool enlist_putter(waiter& self) noexcept;
  [[nodiscard]] bool delist_putter(waiter& self, bool keep) noexcept;
  [[nodiscard]] bool enlist_getter(waiter& self) noexcept;
  [[nodiscard]] bool delist_getter(waiter& self, bool keep) noexcept;

  void task_done();
  void join();

  /// Locks it; the items may be taken away then. end_shutdown() unlocks, and is told whether they were.
  void begin_shutdown() noexcept { lock_.lock(); }
  void end_shutdown(bool items_are_gone) noexcept;

  [[nodiscard]] std::size_t size() const noexcept;
  [[nodiscard]] std::size_t capacity() const noexcept { return capacity_; }

 private:
  [[nodiscard]] bool is_full() const noexcept { return capacity_ != 0 && size_ >= capacity_; }
  [[noreturn]] void leave_cancelled(wait_list& line, waiter& self, bool next_may_try);
  void unlock_and_wake(ready_list& wakes) noexcept;
  void count_done(std::size_t items, ready_list& wakes) noexcept;

  mutable spin_lock lock_;
  bool is_shut_down_ = false;
  const std::size_t capacity_;
  std::size_t size_ = 0;
  std::size_t unfinished_ = 0;  // put, and not yet task_done()
  wait_list getters_;
  wait_list putters_;
  wait_list joiners_;
};

/// A queue in the order that `Items` has: push(Value&&), pop() and swap().
///
/// capacity() is its bound, 0 for none.
/// Thread safety: any thread, on a shard or not; a plain thread blocks. Items are moved, and compared where there is an
///   order, under a lock that spins: that must not suspend, nor use this queue.
/// Lifetime: nobody may wait on it when it ends. Items that are left are destroyed with it.
template <class Value, class Items>
class basic_queue {
  static_assert(std::is_object_v<Value> && std::move_constructible<Value>);

 public:
  using value_type = Value;

  /// At most `capacity` items; 0: no bound.
  explicit basic_queue(std::size_t capacity = 0) : core_{capacity} {}
  basic_queue(const basic_queue&) = delete;
  basic_queue& operator=(const basic_queue&) = delete;

  /// Puts `item` in, and waits for room if there is none. When it throws, `item` is as it was.
  ///
  /// Suspends: while the queue is full. Errors: throws queue_shut_down, cancelled, not_in_task.
  void put(Value&& item) {
    core_.begin_put();
    store(std::move(item));
  }

  void put(const Value& item) requires std::copy_constructible<Value> { put(Value{item}); }

  /// Puts `item` in if there is room; if not it is as it was. Suspends: no. Errors: throws queue_shut_down.
  [[nodiscard]] bool try_put(Value&& item) {
    if (!core_.try_begin_put()) return false;
    store(std::move(item));
    return true;
  }

  [[nodiscard]] bool try_put(const Value& item) requires std::copy_constructible<Value> { return try_put(Value{item}); }

  /// Takes the next item, and waits for one if there is none.
  ///
  /// Suspends: while the queue is empty. Errors: throws queue_shut_down when it is empty and shut down; cancelled (then
  /// no item is taken), not_in_task.
  Value get() {
    core_.begin_get();
    return take();
  }

  /// Takes the next item if there is one. Suspends: no. Errors: throws queue_shut_down when it is empty and shut down.
  [[nodiscard]] std::optional<Value> try_get() {
    if (!core_.try_begin_get()) return std::nullopt;
    return take();
  }

  /// For select(): takes the next item and calls `f` with it. An item that `f` throws away is gone.
  template <class Function>
  [[nodiscard]] auto on_get(Function&& f) {
    return select_case<get_operation<basic_queue>, std::decay_t<Function>>{std::forward<Function>(f), *this};
  }

  /// For select(): puts `item` in, then calls `f`. `item` must live until select() returns, and is moved from only if
  /// this is what it does; a const one is copied at once.
  template <class Function>
  [[nodiscard]] auto on_put(Value&& item, Function&& f) {
    return select_case<put_operation<basic_queue, Value&&>, std::decay_t<Function>>{std::forward<Function>(f), *this,
                                                                                    std::move(item)};
  }
  template <class Function>
  requires std::copy_constructible<Value>
  [[nodiscard]] auto on_put(const Value& item, Function&& f) {
    return select_case<put_operation<basic_queue, Value>, std::decay_t<Function>>{std::forward<Function>(f), *this,
                                                                                  Value{item}};
  }

  /// Says that an item that was taken has been dealt with, for join(). Suspends: no. Errors: throws done_too_often.
  void task_done() { core_.task_done(); }

  /// Waits until task_done() was called for every item that was put.
  ///
  /// Suspends: unless it was. Errors: throws cancelled, not_in_task.
  void join() { core_.join(); }

  /// Lets nobody put any more, and nobody wait: who does gets queue_shut_down. What is in can still be taken; if
  /// `immediate` it is destroyed, and counts as dealt with.
  ///
  /// Suspends: no, unless an item's destructor does. Errors: none.
  void shutdown(bool immediate = false) {
    Items dropped;  // so that the items are destroyed when nothing is locked
    core_.begin_shutdown();
    if (immediate) items_.swap(dropped);
    core_.end_shutdown(immediate);
  }

  // News of a moment, unless only tasks pinned to this shard use the queue.
  [[nodiscard]] std::size_t size() const noexcept { return core_.size(); }
  [[nodiscard]] bool empty() const noexcept { return size() == 0; }
  [[nodiscard]] bool full() const noexcept { return capacity() != 0 && size() >= capacity(); }
  [[nodiscard]] std::size_t capacity() const noexcept { return core_.capacity(); }

 private:
  template <class>
  friend class get_operation;
  template <class, class>
  friend class put_operation;

  void store(Value&& item) {
    try {
      items_.push(std::move(item));
    } catch (...) {
      core_.abandon_put();
      throw;
    }
    core_.end_put();
  }

  Value take() {
    struct turn {
      explicit turn(queue_core& core) noexcept : core_{core} {}
      turn(const turn&) = delete;
      turn& operator=(const turn&) = delete;
      ~turn() { has_item ? core_.end_get() : core_.abandon_get(); }
      queue_core& core_;
      bool has_item = false;
    };
    turn mine{core_};
    Value item = items_.pop();
    mine.has_item = true;
    return item;
  }

  queue_core core_;
  Items items_;
};

}  // namespace detail
}  // namespace roving

#pragma GCC visibility pop
