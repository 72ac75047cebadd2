// See <roving/as_completed.hpp>. The meaning, and for pinned tasks the order, is asyncio.as_completed's.
//
// For a pinned task the deadline is a timer of its shard, which takes its place among the callbacks. A roving task and
// a plain thread have none: they look at the clock when they have to wait.
#include <roving/as_completed.hpp>

#include <mutex>
#include <utility>

#include <roving/detail/wait.hpp>
#include <roving/error.hpp>

#include "runtime/watcher.hpp"
#include "scheduler/shard.hpp"

namespace roving::detail {

class completion_state final : public watcher {
 public:
  completion_state(std::span<future_base* const> futures, time_point deadline, const char* call)
      : watcher{&operations, futures, call}, call_{call}, deadline_{deadline}, timer_{*this}, to_give_{futures.size()} {
    ended_.reserve(futures.size());
  }

  void begin() noexcept {
    watch_all();
    if (is_pinned() && deadline_ != time_point::max() && !nodes_.empty()) home().set_timer(timer_, deadline_);
  }

  void end() noexcept {
    stop_timer();
    forget_all();
  }

  std::optional<std::size_t> next() {
    if (to_give_ == 0) return std::nullopt;
    --to_give_;
    for (;;) {
      lock().lock();
      if (given_ < ended_.size()) {
        const std::size_t place = ended_[given_++];
        lock().unlock();
        return place;
      }
      const bool too_late = timed_out_;
      lock().unlock();
      if (too_late) throw timeout_error{};
      wait_for_more();
    }
  }

 private:
  struct alarm : pinned_timer {
    explicit alarm(completion_state& whose) noexcept
        : pinned_timer{[](pinned_timer& timer) noexcept { static_cast<alarm&>(timer).of.time_out(); },
                       [](pinned_timer&) noexcept {}},
          of{whose} {}
    completion_state& of;
  };

  void wait_for_more() {
    waiter self{call_};
    lock().lock();
    if (given_ < ended_.size() || timed_out_) return lock().unlock();
    waits_ = &self;
    const wait_end end = park_until(self, lock(), is_pinned() ? time_point::max() : deadline_);
    {
      const std::lock_guard guard{lock()};
      waits_ = nullptr;
      if (end == wait_end::timeout) timed_out_ = true;
    }
    if (end == wait_end::timeout) forget_all();
    if (end == wait_end::cancelled) throw_cancelled();
  }

  void told(node& of) noexcept override {
    ready_list wakes;
    bool all = false;
    {
      const std::lock_guard guard{lock()};
      if (timed_out_) return;
      ended_.push_back(static_cast<std::size_t>(&of - nodes_.data()));  // has room
      all = ended_.size() == nodes_.size();
      wake(wakes);
    }
    if (all) stop_timer();
    make_ready(wakes);
  }

  void time_out() noexcept {
    ready_list wakes;
    forget_all();
    {
      const std::lock_guard guard{lock()};
      timed_out_ = true;
      wake(wakes);
    }
    make_ready(wakes);
  }

  // With lock(). A waiter is granted once.
  void wake(ready_list& wakes) noexcept {
    if (waiter* const waits = std::exchange(waits_, nullptr)) grant(*waits, wakes);
  }

  void stop_timer() noexcept {
    if (timer_.is_set()) home().cancel_timer(timer_);
  }

  static bool refuse(future_base&, const cancel_message&) noexcept { return false; }
  static constexpr future_operations operations{&refuse, &destroy, false};

  const char* const call_;
  const time_point deadline_;
  alarm timer_;          // its shard's
  std::size_t to_give_;  // who goes through it alone

  // --- guarded by lock()
  std::vector<std::size_t> ended_;
  std::size_t given_ = 0;
  bool timed_out_ = false;
  waiter* waits_ = nullptr;
};

completion_order::completion_order(std::span<future_base* const> futures, time_point deadline, const char* call)
    : state_{new completion_state{futures, deadline, call}} {
  state_->begin();
}

completion_order::~completion_order() {
  state_->end();
  state_->release();
}

std::optional<std::size_t> completion_order::next() { return state_->next(); }

}  // namespace roving::detail
