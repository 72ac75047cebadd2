// A group of tasks, from enter() to leave(). The meaning, and for a pinned parent the order, is asyncio.TaskGroup's.
//
// Each child has a node: in the child's list of those who are told of its end, and in the group's list of children that
// run or of those that failed. Nodes come from the group itself, which has room for a few, and then from blocks; they
// are used again, so that a group may see any number of children come and go.
//
// The end of a child is told to the parent's shard if the parent is pinned, as a callback in the order of that shard;
// else at once, by whoever ran the child: fork and join must not wait for one shard. (watcher.hpp says why.)
//
// I1  Who counts in running_ may use the group: a child until it was told of, and who cancels the group while he does.
// The
//     parent leaves when nobody counts, and looks under the lock: who counted last has let go of the lock then, and
//     touches the group no more.
// I2  children_ has the children that run, as they were spawned. next_to_cancel_ goes through it once, so that each is
//     cancelled at most once.
// I3  aborting_ is set once and never taken back; from then on no task is taken in.
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>

#include <roving/detail/atomic.hpp>
#include <roving/detail/future_base.hpp>
#include <roving/detail/ready_node.hpp>
#include <roving/detail/spin_lock.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/detail/wait.hpp>

namespace roving::detail {

class task_group_core {
 public:
  task_group_core() noexcept;
  task_group_core(const task_group_core&) = delete;
  task_group_core& operator=(const task_group_core&) = delete;
  ~task_group_core();  // not between enter() and leave()

  /// Once, in the task that will be the parent. Throws not_in_task{call}, broken_contract.
  void enter(const char* call);

  /// Waits for all; once, in the parent. `body` is what the body threw, null for nothing. Throws exception_group,
  /// cancelled.
  void leave(const std::exception_ptr& body, bool body_was_cancelled, const char* call);

  /// Throws task_group_closed if no task is taken in. Any thread.
  void check_open() const;

  /// Starts a task that is not visible yet; the caller has a reference to it then. If it throws (task_group_closed,
  /// std::bad_alloc), the task is gone. Any shard.
  void start(task_base& task);

  /// Cancels all; leave() then says nothing of it. Before enter(): as soon as it is entered. After leave(): nothing.
  /// Any thread.
  void cancel();

 private:
  struct node : done_node, posted_callback {
    node() noexcept;
    task_group_core* of = nullptr;
    task_base* task = nullptr;  // one reference
    node* next = nullptr;
    node* previous = nullptr;
  };

  struct list {
    node* first = nullptr;
    node* last = nullptr;
    void push_back(node& item) noexcept;
    void erase(node& item) noexcept;
  };

  struct room {  // for a node
    alignas(node) std::byte memory[sizeof(node)];
  };

  struct block {
    block* next = nullptr;
    room rooms[32];
  };

  [[nodiscard]] node& take_node(task_base& task);
  void give_back(node& unused) noexcept;
  void start_eagerly(task_base& task);
  void told(node& ended) noexcept;
  [[nodiscard]] bool begin_abort() noexcept;
  void cancel_children() noexcept;
  void abort() noexcept;
  void uncount(ready_list& wakes) noexcept;
  static constexpr std::size_t own_nodes = 4;
  enum class wait_result : std::uint8_t { all_ended, cancelled_first, cancelled_again };
  class parent_cancels;
  class all_children;
  [[nodiscard]] future_reference<task_base> newest_child() noexcept;
  [[nodiscard]] wait_result run_unstarted(const char* call) noexcept;
  [[nodiscard]] wait_result wait_for_children(const char* call) noexcept;
  [[nodiscard]] std::exception_ptr take_errors(const std::exception_ptr& of_body);

  task_base* parent_ = nullptr;
  shard* home_ = nullptr;  // null: children are told of at once
  std::uint32_t cancelling_on_entry_ = 0;
  atomic<bool> open_{false};  // takes tasks in; written under lock_

  spin_lock lock_;

  // --- guarded by lock_
  list children_;
  list failed_;  // in the order in which they were told of
  node* free_ = nullptr;
  room* unused_ = own_;  // up to unused_end_: nodes that were never made
  room* unused_end_ = own_ + own_nodes;
  block* blocks_ = nullptr;
  node* next_to_cancel_ = nullptr;
  std::size_t running_ = 0;
  waiter* waits_ = nullptr;  // the parent, in leave()
  bool leaving_ = false;
  bool left_ = false;
  bool aborting_ = false;
  bool parent_cancel_requested_ = false;
  bool cancel_called_ = false;
  bool parent_was_cancelled_ = false;  // while it ran a child inline; it began the abort

  room own_[own_nodes];
};

}  // namespace roving::detail
