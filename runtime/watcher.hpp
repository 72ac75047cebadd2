// A future of ours that is told when others end: what gather, wait, as_completed and shield are built on.
//
// It has a node in the list of each future that it watches, and a count of references, of which each node that may
// still be told has one; so it may be left at any time, and is gone when the last node has been told or taken back.
//
// Where it is told depends on who waits. For a pinned task: on the task's shard, as a callback in the ready queue, one
// generation after the end, in order with everything else there; as asyncio does, whose order this has to keep. For a
// roving task and a plain thread: at once, by whoever ended the future, since they have no such order, and no shard
// that is busy shall hold them up. Then several may be told at the same time.
//
// I1  Nodes are watched or forgotten by the one who waits, and only one at a time waits.
// I2  Who leaves forgets all nodes first: no node is left in a list that may outlive the shard.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include <roving/detail/future_base.hpp>
#include <roving/detail/ready_node.hpp>

namespace roving::detail {

class watcher : public future_base {
 public:
  struct node : done_node, posted_callback {
    node(watcher& whose, future_base& which, shard* where) noexcept;
    watcher* by;
    future_reference<> watched;
  };

  watcher(const watcher&) = delete;
  watcher& operator=(const watcher&) = delete;
  virtual ~watcher() = default;

 protected:
  /// For the caller, a task or a plain thread. Watches nothing yet. Throws not_in_task{call} in a callback.
  watcher(const future_operations* operations, std::span<future_base* const> futures, const char* call);

  /// Called for each that ends, once.
  virtual void told(node& of) noexcept = 0;

  /// Is told of its end. False when it has ended already: it is not told of that then.
  [[nodiscard]] bool watch(node& one) noexcept;

  /// Is told of all, of those that have ended as soon as of the others.
  void watch_all() noexcept;

  /// Is told of nothing more but of what is on its way already.
  void forget_all() noexcept;

  /// Whether it is told as callbacks of one shard.
  [[nodiscard]] bool is_pinned() const noexcept { return home_ != nullptr; }
  [[nodiscard]] shard& home() const noexcept { return *home_; }

  static void destroy(future_base& self) noexcept { delete static_cast<watcher*>(&self); }

  /// For future_operations: what it watches.
  static void depends_on(future_base& self, void (*tell)(void*, const future_base&), void* argument);

  std::vector<node> nodes_;

 private:
  shard* const home_;
};

/// The shard on which callbacks for the caller run; null if they run at once. Throws not_in_task{call} in a callback.
[[nodiscard]] shard* home_of_caller(const char* call);

}  // namespace roving::detail
