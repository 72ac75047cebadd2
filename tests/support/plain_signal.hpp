// Something that plain threads wait for, for tests in which a thread has to be held where it is.
#pragma once

#include <condition_variable>
#include <mutex>

namespace roving_test {

class plain_signal {
 public:
  void set() {
    const std::lock_guard guard{mutex_};
    is_set_ = true;
    changed_.notify_all();
  }
  void wait() {
    std::unique_lock guard{mutex_};
    changed_.wait(guard, [&] { return is_set_; });
  }
  [[nodiscard]] bool is_set() {
    const std::lock_guard guard{mutex_};
    return is_set_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  bool is_set_ = false;
};

}  // namespace roving_test
