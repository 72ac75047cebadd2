// The barrier: a number under a mutex, and one condition for all changes of it. The order is asyncio.Barrier's.
//
//     filling --the last party comes--> draining --the last party has left--> filling
//        |  \--reset(), somebody inside--> resetting --the last has left-------^
//        +--abort()--> broken --reset()--> filling or resetting
//
// Not built on a wait list of its own, which would save the parties of a full barrier their turn at the mutex: what a
// cancel, a reset or an abort does in the middle of draining is then the condition variable's to get right, once.
#include <mutex>

#include <roving/barrier.hpp>
#include <roving/error.hpp>

namespace roving {

// All loads and stores are relaxed: mutex_ orders them, but for n_waiting() and broken(), which promise no order.
static constexpr auto relaxed = std::memory_order_relaxed;

barrier::barrier(std::size_t parties) : parties_{parties} {
  if (parties == 0) throw broken_contract{"a barrier has one party at least"};
}

std::size_t barrier::wait() {
  const std::scoped_lock hold{mutex_};
  changed_.wait([this] { return phase_.load(relaxed) != phase::draining && phase_.load(relaxed) != phase::resetting; });
  if (phase_.load(relaxed) == phase::broken) throw broken_barrier{"barrier::wait() was called on a broken barrier"};

  struct visit {
    explicit visit(barrier& where) noexcept : where_{where} {}
    visit(const visit&) = delete;
    visit& operator=(const visit&) = delete;
    ~visit() { where_.leave(); }
    barrier& where_;
  };
  const visit here{*this};
  const std::size_t index = inside_.load(relaxed);
  inside_.store(index + 1, relaxed);
  if (index + 1 == parties_) {
    phase_.store(phase::draining, relaxed);
    changed_.notify_all();
    return index;
  }
  changed_.wait([this] { return phase_.load(relaxed) != phase::filling; });
  if (phase_.load(relaxed) != phase::draining) throw broken_barrier{"the barrier was aborted or reset"};
  return index;
}

// With mutex_ locked, whatever ends the visit.
void barrier::leave() noexcept {
  inside_.store(inside_.load(relaxed) - 1, relaxed);
  if (inside_.load(relaxed) != 0) return;
  if (phase_.load(relaxed) != phase::broken) phase_.store(phase::filling, relaxed);
  changed_.notify_all();
}

void barrier::reset() {
  const std::scoped_lock hold{mutex_};
  phase_.store(inside_.load(relaxed) > 0 ? phase::resetting : phase::filling, relaxed);
  changed_.notify_all();
}

void barrier::abort() {
  const std::scoped_lock hold{mutex_};
  phase_.store(phase::broken, relaxed);
  changed_.notify_all();
}

std::size_t barrier::n_waiting() const noexcept {
  return phase_.load(relaxed) == phase::filling ? inside_.load(relaxed) : 0;
}

bool barrier::broken() const noexcept { return phase_.load(relaxed) == phase::broken; }

}  // namespace roving
