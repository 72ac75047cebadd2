// The seam "thread start", and what a shard's thread needs of the system: a name, its core, a sharp timer.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace roving::detail {

/// A thread that was started; joins when it is destroyed.
class started_thread {
 public:
  started_thread() = default;
  started_thread(const started_thread&) = delete;
  started_thread& operator=(const started_thread&) = delete;
  virtual ~started_thread() = default;

  /// Leaves the thread to itself: it is not joined any more.
  virtual void abandon() noexcept = 0;
};

class thread_starter {
 public:
  thread_starter() = default;
  thread_starter(const thread_starter&) = delete;
  thread_starter& operator=(const thread_starter&) = delete;
  virtual ~thread_starter() = default;

  /// Throws std::system_error when the system gives no thread.
  [[nodiscard]] virtual std::unique_ptr<started_thread> start(std::function<void()> body) = 0;
};

/// Real threads. Lives for ever.
[[nodiscard]] thread_starter& system_thread_starter() noexcept;

/// Whether the calling thread is the one that the process began with.
[[nodiscard]] bool is_first_thread() noexcept;

/// What debuggers and the system call the calling thread; the first 15 characters, for as long as it lives.
void name_this_thread(const std::string& name) noexcept;

/// Lets the calling thread run on these cores, if there are any: a thread starts with the cores of who started it.
void use_cores(const std::vector<unsigned>& cores) noexcept;

/// Makes the calling thread a good shard's thread for as long as it lives: timers without slack, pinned to one core if
/// asked. What it found is put back.
class shard_thread_settings {
 public:
  shard_thread_settings(std::optional<unsigned> core, const std::string& name) noexcept;
  shard_thread_settings(const shard_thread_settings&) = delete;
  shard_thread_settings& operator=(const shard_thread_settings&) = delete;
  ~shard_thread_settings();

 private:
  struct saved;
  std::unique_ptr<saved> saved_;
};

}  // namespace roving::detail
