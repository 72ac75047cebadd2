// See thread.hpp. Linux's calls have their portable twins here: elsewhere they do nothing.
#include "scheduler/thread.hpp"

#include <new>
#include <thread>

#if defined(__linux__)
#include <pthread.h>
#include <sched.h>
#include <sys/prctl.h>
#endif

namespace roving::detail {
namespace {

class real_thread final : public started_thread {
 public:
  explicit real_thread(std::function<void()> body) : thread_{std::move(body)} {}
  ~real_thread() override { thread_.join(); }

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

struct shard_thread_settings::saved {
  int timer_slack_ns = -1;
  bool has_affinity = false;
  cpu_set_t affinity{};
  bool has_name = false;
  char name[16] = {};
};

shard_thread_settings::shard_thread_settings(std::optional<unsigned> core, const std::string& name) noexcept
    : saved_{new (std::nothrow) saved} {
  if (!saved_) return;  // none of this is needed to be correct
  saved_->timer_slack_ns = ::prctl(PR_GET_TIMERSLACK, 0, 0, 0, 0);
  ::prctl(PR_SET_TIMERSLACK, 1UL, 0, 0, 0);
  if (!name.empty()) {
    saved_->has_name = ::pthread_getname_np(::pthread_self(), saved_->name, sizeof saved_->name) == 0;
    ::pthread_setname_np(::pthread_self(), name.substr(0, 15).c_str());
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
  if (saved_->timer_slack_ns >= 0) ::prctl(PR_SET_TIMERSLACK, static_cast<unsigned long>(saved_->timer_slack_ns), 0, 0, 0);
  if (saved_->has_name) ::pthread_setname_np(::pthread_self(), saved_->name);
  if (saved_->has_affinity) ::sched_setaffinity(0, sizeof saved_->affinity, &saved_->affinity);
}

#else

struct shard_thread_settings::saved {};
shard_thread_settings::shard_thread_settings(std::optional<unsigned>, const std::string&) noexcept {}
shard_thread_settings::~shard_thread_settings() = default;

#endif

}  // namespace roving::detail
