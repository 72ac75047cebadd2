// See blocking_pool.hpp.
#include "scheduler/blocking_pool.hpp"

#include <algorithm>
#include <list>
#include <mutex>
#include <system_error>
#include <utility>
#include <vector>

#include <roving/detail/assert.hpp>
#include <roving/detail/make_error.hpp>
#include <roving/detail/planted.hpp>

#include "scheduler/thread_block.hpp"

namespace roving::detail {

// One thread of the pool.
struct blocking_pool::worker {
  thread_condition changed;
  bool is_called = false;  // while idle: there may be a job for it
  bool has_left = false;   // before its handle was here
  std::unique_ptr<started_thread> handle;
  std::list<worker>::iterator place;
};

class blocking_pool::state : public std::enable_shared_from_this<state> {
 public:
  explicit state(settings chosen) : settings_{std::move(chosen)} { ROVING_ASSERT(settings_.threads_at_most != 0); }

  [[nodiscard]] bool submit(job& work) noexcept {
    bool grow = false;
    {
      const std::lock_guard guard{mutex_};
      if (is_closed_) return false;
      queue_.push_back(work);
      call_one();
      grow = wants_thread();
    }
    if (grow) start_thread();
    return true;
  }

  [[nodiscard]] bool withdraw(job& work) noexcept {
    const std::lock_guard guard{mutex_};
    if (!work.queued) return is_planted(planted::withdrawn_while_running);
    queue_.erase(work);
    return true;
  }

  [[nodiscard]] bool close(ready_node& when_ended) noexcept {
    const std::lock_guard guard{mutex_};
    ROVING_ASSERT(!is_closed_);
    is_closed_ = true;
    while (!idle_.empty()) call_one();
    if (threads_ == 0) {
      ROVING_ASSERT(queue_.empty());  // I1
      return true;
    }
    when_ended_ = &when_ended;
    return false;
  }

  void join() noexcept {
    std::list<worker> gone;
    {
      std::unique_lock guard{mutex_};
      ROVING_ASSERT(is_closed_);
      all_left_.wait(guard, [&] { return threads_ == 0 && starts_ == 0; });
      gone.splice(gone.end(), left_);
    }
  }

  [[nodiscard]] bool abandon(const std::exception_ptr& why) noexcept {
    job_queue dropped;
    bool still_runs = false;
    {
      const std::lock_guard guard{mutex_};
      ROVING_ASSERT(is_closed_);
      is_abandoned_ = true;
      dropped = queue_.take_all();
      for (std::list<worker>* each : {&workers_, &left_}) {
        for (worker& one : *each)
          if (one.handle) one.handle->abandon();
      }
      still_runs = std::exchange(when_ended_, nullptr) != nullptr;
    }
    job_queue::drop_all(dropped, why);
    return still_runs;
  }

  [[nodiscard]] std::size_t threads() const noexcept {
    const std::lock_guard guard{mutex_};
    return threads_;
  }
  [[nodiscard]] std::size_t idle_threads() const noexcept {
    const std::lock_guard guard{mutex_};
    return idle_count_;
  }
  [[nodiscard]] std::size_t queued() const noexcept {
    const std::lock_guard guard{mutex_};
    return queue_.size();
  }

 private:
  // Calls the thread that became idle last, if there is one that was not called. The lock is held: a thread that is not
  // called may leave as soon as it is not.
  void call_one() noexcept {
    if (idle_.empty()) return;
    worker& last = *idle_.back();
    idle_.pop_back();
    last.is_called = true;
    last.changed.notify_one();
  }

  // Whether the caller has to start a thread; it counts from now on. The lock is held.
  [[nodiscard]] bool wants_thread() noexcept {
    if (is_starting_ || queue_.size() <= idle_count_ || threads_ == settings_.threads_at_most) return false;
    is_starting_ = true;
    ++starts_;
    ++threads_;
    return true;
  }

  void start_thread() noexcept {
    std::list<worker> made;
    try {
      worker& self = made.emplace_back();
      self.place = made.begin();
      {
        const std::lock_guard guard{mutex_};
        idle_.reserve(threads_);
        workers_.splice(workers_.end(), made);
      }
      std::unique_ptr<started_thread> handle;
      try {
        handle = settings_.threads->start([keep = shared_from_this(), &self] { keep->work(self); });
      } catch (...) {
        const std::lock_guard guard{mutex_};
        made.splice(made.end(), workers_, self.place);
        throw;
      }
      take_handle(self, std::move(handle));
    } catch (const std::system_error& failed) {
      give_up_start(
          make_error<std::system_error>(failed.code(), "roving: no thread can be started for the work of a pool"));
    } catch (...) {
      give_up_start(std::current_exception());
    }
  }

  // The thread may have been at work since, and may have left.
  void take_handle(worker& of, std::unique_ptr<started_thread> handle) noexcept {
    const std::lock_guard guard{mutex_};
    if (is_abandoned_) handle->abandon();
    of.handle = std::move(handle);
    if (of.has_left) left_.splice(left_.end(), workers_, of.place);
    end_start();
  }

  // No thread could be had. The others will do the work; if there are none, nobody will.
  void give_up_start(const std::exception_ptr& why) noexcept {
    job_queue dropped;
    ready_node* tell = nullptr;
    {
      const std::lock_guard guard{mutex_};
      is_starting_ = false;
      --threads_;
      end_start();
      if (threads_ == 0) dropped = queue_.take_all();
      tell = end_if_last();
    }
    job_queue::drop_all(dropped, why);
    if (tell != nullptr) make_ready(*tell);
  }

  // The lock is held.
  void end_start() noexcept {
    if (--starts_ == 0) all_left_.notify_all();
  }

  // Whom to tell that the last thread is gone. The lock is held.
  [[nodiscard]] ready_node* end_if_last() noexcept {
    if (!is_closed_ || threads_ != 0) return nullptr;
    all_left_.notify_all();
    return std::exchange(when_ended_, nullptr);
  }

  // --- what a thread does

  void work(worker& self) noexcept {
    name_this_thread(settings_.thread_name);
    use_cores(settings_.cores);
    std::unique_lock guard{mutex_};
    is_starting_ = false;
    for (;;) {
      if (job* const next = queue_.pop_front()) {
        const bool grow = wants_thread();
        guard.unlock();
        if (grow) start_thread();
        if (settings_.run_job)
          settings_.run_job(*next);
        else
          next->run(*next);
        guard.lock();
      } else if (is_closed_ || !stay_idle(self, guard)) {
        break;
      }
    }
    leave(self, std::move(guard));
  }

  // False when there was nothing to do for long enough.
  [[nodiscard]] bool stay_idle(worker& self, std::unique_lock<thread_mutex>& guard) noexcept {
    const time_point patience_ends = time_after(settings_.clock->now(), settings_.idle_for);
    self.is_called = false;
    idle_.push_back(&self);  // has room: see start_thread()
    ++idle_count_;
    const bool called = self.changed.wait_until(guard, patience_ends, [&] { return self.is_called; });
    --idle_count_;
    if (!called) idle_.erase(std::find(idle_.begin(), idle_.end(), &self));
    return called || !queue_.empty();  // I3
  }

  void leave(worker& self, std::unique_lock<thread_mutex> guard) noexcept {
    std::list<worker> former;  // those who left before: joined here
    former.splice(former.end(), left_);
    if (self.handle)
      left_.splice(left_.end(), workers_, self.place);
    else
      self.has_left = true;
    --threads_;
    ready_node* const tell = end_if_last();
    guard.unlock();
    former.clear();
    if (tell != nullptr) make_ready(*tell);
  }

  const settings settings_;
  mutable thread_mutex mutex_;
  thread_condition all_left_;
  job_queue queue_;
  std::list<worker> workers_;   // those at work or idle, and who left before their handle was here
  std::list<worker> left_;      // to be joined
  std::vector<worker*> idle_;   // not called; the last became idle last
  std::size_t idle_count_ = 0;  // called or not
  std::size_t threads_ = 0;     // the one on its way included
  std::size_t starts_ = 0;      // calls of start_thread() that go on; the thread may be at work already
  bool is_starting_ = false;    // a thread was asked for and is not at work yet
  bool is_closed_ = false;
  bool is_abandoned_ = false;
  ready_node* when_ended_ = nullptr;
};

blocking_pool::blocking_pool(settings chosen) : state_{std::make_shared<state>(std::move(chosen))} {}
blocking_pool::~blocking_pool() = default;

bool blocking_pool::submit(job& work) noexcept { return state_->submit(work); }
bool blocking_pool::withdraw(job& work) noexcept { return state_->withdraw(work); }
bool blocking_pool::close(ready_node& when_ended) noexcept { return state_->close(when_ended); }
void blocking_pool::join() noexcept { state_->join(); }
bool blocking_pool::abandon(const std::exception_ptr& why) noexcept { return state_->abandon(why); }
std::size_t blocking_pool::threads() const noexcept { return state_->threads(); }
std::size_t blocking_pool::idle_threads() const noexcept { return state_->idle_threads(); }
std::size_t blocking_pool::queued() const noexcept { return state_->queued(); }

}  // namespace roving::detail
