// Debug mode: what a task must not have when it suspends.
//
// A locked pthread mutex (std::mutex): the next task of the shard that wants it blocks the thread, on which the owner
// can't go on. Who has locked what is known if the program is linked with roving::debug_locks. There is one list a
// shard and none a task: a task that suspends with a mutex is reported and the list is empty again, so that the next
// one begins with none.
//
// The address of a thread-local variable, in a roving task (options.debug_thread_local_scan): it may go on on another
// thread, where that variable is another one. The stack and the registers are searched for such addresses. What is
// found may also be what an earlier call left in a hole of a frame that is there now, so it is a suspicion: reported
// once for each variable and waiting call. The variables of the C and C++ libraries are left out: errno's address is
// left about by everything.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace roving::detail {

class scheduler;
struct fiber;
struct task_base;

class suspension_check {
 public:
  /// Of a shard; learns what thread-locals the calling thread has. By its thread, when that begins.
  void begin_thread(bool scans_thread_locals);

  void mutex_was_taken(const void* mutex, std::uintptr_t by) noexcept;
  void mutex_is_released(const void* mutex) noexcept;

  /// What is locked now, which is forgotten; put_back() undoes it. For the time in which another task runs in between.
  struct held_mutexes {
    struct one {
      const void* mutex;
      std::uintptr_t by;
    };
    std::array<one, 8> first{};
    std::size_t count = 0;
  };
  [[nodiscard]] held_mutexes take_held() noexcept;
  void put_back(const held_mutexes& held) noexcept { held_ = held; }

  /// `task` is about to leave `on`, on the calling thread. Reports what it finds.
  void look(scheduler& owner, const task_base& task, const fiber& on) noexcept;

 private:
  struct variables {  // of one loaded file, on this thread
    std::uintptr_t begin;
    std::uintptr_t end;
    std::uintptr_t file;  // an address in it
  };
  struct finding {
    std::uintptr_t variable;
    const char* call;
  };

  void report_held(scheduler& owner, const task_base& task);
  void scan(scheduler& owner, const task_base& task, const fiber& on);
  void report_address(scheduler& owner, const task_base& task, const variables& in, std::uintptr_t address);

  held_mutexes held_;
  std::vector<variables> variables_;
  std::vector<finding> reported_;
};

}  // namespace roving::detail
