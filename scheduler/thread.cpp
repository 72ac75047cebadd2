// See thread.hpp. Linux's calls have their portable twins here: elsewhere they do nothing.
#include "scheduler/thread.hpp"

#include <new>
#include <thread>

#include "scheduler/simulator.hpp"

#if defined(__linux__)
#  include <pthread.h>
#  include <sched.h>
#  include <sys/prctl.h>
#  include <sys/syscall.h>
#  include <unistd.h>
#elif defined(__APPLE__)
#  include <pthread.h>
#endif

namespace roving::detail {
namespace {

class real_thread final : public started_thread {
 public:
  explicit real_thread(std::function<void()> body) : thread_{std::move(body)} {}
  ~real_thread() override {
    if (thread_.joinable()) thread_.join();
  }
  void abandon() noexcept override { thread_.detach(); }

 private:
  std::thread thread_;
};

class real_thread_starter final : public thread_starter {
 public:
  std::unique_ptr<started_thread> start(std::function<void()> body) override {
    return std::make_unique<real_thread>(std::move(body));
  }
};

}  // namespace

thread_starter& system_thread_starter() noexcept {
  static real_thread_starter starter;  // has no state
  return starter;
}

#if defined(__linux__)

bool is_first_thread() noexcept { return ::getpid() == static_cast<pid_t>(::syscall(SYS_gettid)); }

void name_this_thread(const std::string& name) noexcept {
  if (current_simulator() != nullptr) return;  // it stands for many
  char kept[16] = {};                          // what the system takes; no memory is asked for
  name.copy(kept, sizeof kept - 1);
  ::pthread_setname_np(::pthread_self(), kept);
}

void use_cores(const std::vector<unsigned>& cores) noexcept {
  if (cores.empty() || current_simulator() != nullptr) return;
  cpu_set_t all;
  CPU_ZERO(&all);
  for (const unsigned core : cores) CPU_SET(core, &all);
  ::sched_setaffinity(0, sizeof all, &all);
}

struct shard_thread_settings::saved {
  int timer_slack_ns = -1;
  bool has_affinity = false;
  cpu_set_t affinity{};
  bool has_name = false;
  char name[16] = {};
};

shard_thread_settings::shard_thread_settings(std::optional<unsigned> core, const std::string& name) noexcept
    : saved_{current_simulator() == nullptr ? new (std::nothrow) saved : nullptr} {
  if (!saved_) return;  // none of this is needed to be correct
  saved_->timer_slack_ns = ::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  if (!name.empty()) {
    saved_->has_name = ::pthread_getname_np(::pthread_self(), saved_->name, sizeof saved_->name) == 0;
    name_this_thread(name);
  }
  if (core && ::sched_getaffinity(0, sizeof saved_->affinity, &saved_->affinity) == 0) {
    cpu_set_t only;
    CPU_ZERO(&only);
    CPU_SET(*core, &only);
    saved_->has_affinity = ::sched_setaffinity(0, sizeof only, &only) == 0;
  }
}

shard_thread_settings::~shard_thread_settings() {
  if (!saved_) return;
  if (saved_->timer_slack_ns >= 0)
    ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(saved_->timer_slack_ns), 0, 0, 0);
  if (saved_->has_name) ::pthread_setname_np(::pthread_self(), saved_->name);
  if (saved_->has_affinity) ::sched_setaffinity(0, sizeof saved_->affinity, &saved_->affinity);
}

#else

#  if defined(__APPLE__)
bool is_first_thread() noexcept { return ::pthread_main_np() != 0; }
#  else
bool is_first_thread() noexcept { return false; }  // unknown: signals are left alone
#  endif
void name_this_thread(const std::string&) noexcept {}
void use_cores(const std::vector<unsigned>&) noexcept {}

struct shard_thread_settings::saved {};
shard_thread_settings::shard_thread_settings(std::optional<unsigned>, const std::string&) noexcept {}
shard_thread_settings::~shard_thread_settings() = default;

#endif

}  // namespace roving::detail
