// Forces the current roving task onto another shard, without sleeping: its own is kept busy until it has gone.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <thread>

#include <roving/mutex.hpp>
#include <roving/sleep.hpp>
#include <roving/spawn.hpp>
#include <roving/this_task.hpp>

namespace test {

/// One for all tasks of a run that migrate, since two that keep each other's shard busy would wait for ever.
class migrator {
 public:
  /// On a runtime of two shards or more, in a roving task. Returns on another shard than the one it was called on.
  void operator()() {
    const unsigned from = roving::this_task::shard();
    const std::scoped_lock my_turn{turn_};
    if (roving::this_task::shard() != from) return;
    const auto gone = std::make_shared<std::atomic<bool>>(false);
    roving::spawn(roving::on_shard(from), [gone] {
      while (!gone->load(std::memory_order_acquire)) std::this_thread::yield();
    }).detach();
    while (roving::this_task::shard() == from) roving::yield();
    gone->store(true, std::memory_order_release);
  }

 private:
  roving::mutex turn_;
};

}  // namespace test
