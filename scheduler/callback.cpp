// See <roving/detail/callback.hpp>.
//
// A timer is its shard's alone, so a cancel from elsewhere sends the block there, through the door, to be taken off the
// wheel. If the door is closed the wheel is emptied anyway.
#include <roving/detail/callback.hpp>

#include <new>
#include <stdexcept>
#include <string>

#include <roving/error.hpp>

#include "scheduler/block_cache.hpp"
#include "scheduler/context_values.hpp"
#include "scheduler/gate.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {
namespace {

struct timed_callback : callback {
  struct alarm : pinned_timer {
    alarm(function how, function unfired, callback& what) noexcept : pinned_timer{how, unfired}, of{what} {}
    callback& of;
  };

  timed_callback(destroy_function how, void* place, std::size_t alignment, const callable_operations& of,
                 spawn_site site, context_reference sees, pinned_timer::function fire,
                 pinned_timer::function unfired) noexcept
      : callback{how, place, alignment, of, site, std::move(sees)}, timer{fire, unfired, *this} {
    timed_ = true;
  }
  ~timed_callback() = default;

  alarm timer;
  time_point deadline{};
  gate_reference door;
};

}  // namespace

struct callbacks {
  // The loop has come to it.
  static void call(callback& self) noexcept {
    if (self.take()) {
      shard& here = *this_shard();
      const time_point began = here.slice_start();
      const context_scope sees{here.context_of_callback(), std::move(self.context_)};
      try {
        self.of_.call(self.place_);
      } catch (...) {
        report(self, std::current_exception());
      }
      if (self.of_.destroy != nullptr) self.of_.destroy(self.place_);
      here.slice_ended(began, nullptr, self.site_);
    }
    self.release();
  }

  static void report(const callback& self, std::exception_ptr error) noexcept {
    scheduler& owner = this_shard()->owner();
    try {
      owner.report(
          {std::string{"exception in a callback, posted at "} + self.site_.file + ":" + std::to_string(self.site_.line),
           error,
           {}});
    } catch (...) {  // no memory for the text
      report_on_stderr({{}, error, {}});
    }
  }

  // It will not be called, and is the caller's.
  static void destroy_callable(callback& self) noexcept {
    if (self.of_.destroy == nullptr) return;
    const context_scope sees{std::move(self.context_)};
    self.of_.destroy(self.place_);
  }

  static void discard(callback& self) noexcept {
    if (self.take()) destroy_callable(self);
  }

  static callback& of(ready_node& node) noexcept { return static_cast<callback&>(static_cast<posted_callback&>(node)); }
  static callback& of(pinned_timer& timer) noexcept { return static_cast<timed_callback::alarm&>(timer).of; }

  static void run(ready_node& node) noexcept { call(of(node)); }
  static void drop(ready_node& node) noexcept {
    discard(of(node));
    of(node).release();
  }
  static void fire(pinned_timer& timer) noexcept { call(of(timer)); }
  static void unfired(pinned_timer& timer) noexcept {
    discard(of(timer));
    of(timer).release();
  }

  // A cancel came from elsewhere; it has taken the callable.
  static void unset(ready_node& node) noexcept {
    auto& self = static_cast<timed_callback&>(of(node));
    if (this_shard()->cancel_timer(self.timer)) self.release();  // the wheel's
    self.release();                                              // the message's
  }
  static void unset_dropped(ready_node& node) noexcept { of(node).release(); }

  static void cancel(callback& self) noexcept {
    self.cancelled_.store(true, std::memory_order_relaxed);
    if (!self.take()) return;
    callback_reference keep;  // the last handle may be in the callable that this destroys
    if (self.timed_) keep = take_off_the_wheel(static_cast<timed_callback&>(self));
    if (!keep) keep = callback_reference::share(&self);
    destroy_callable(self);
  }

  // Gives the wheel's reference, if it is at hand.
  static callback_reference take_off_the_wheel(timed_callback& self) noexcept {
    shard* const here = this_shard();
    if (here != nullptr && &here->door() == self.door.get())
      return callback_reference{here->cancel_timer(self.timer) ? &self : nullptr};
    const gate_pass inside{*self.door};
    if (!inside) return {};
    self.run = &unset;
    self.drop = &unset_dropped;
    self.add_reference();
    inside->receive(self);
    return {};
  }

  // Nobody else has a reference.
  template <class Block>
  static void destroy(counted& block) noexcept {
    auto& self = static_cast<Block&>(block);
    if (self.phase_.load(std::memory_order_relaxed) == callback::phase::waiting) destroy_callable(self);
    shard* const here = this_shard();
    if constexpr (std::is_same_v<Block, timed_callback>)
      if (here != nullptr && self.door.get() == &here->door()) here->keep_door_reference(std::move(self.door));
    const std::size_t alignment = self.alignment_;
    self.~Block();
    if (alignment == 0 && here != nullptr)
      here->blocks_of_callbacks().give_back(&self);
    else if (alignment <= __STDCPP_DEFAULT_NEW_ALIGNMENT__)
      ::operator delete(&self);
    else
      ::operator delete(&self, static_cast<std::align_val_t>(alignment));
  }

  struct plain : callback {
    using callback::callback;
    ~plain() = default;
  };

  template <class Block, class... Timer>
  static callback& allocate(shard* here, std::size_t size_bytes, std::size_t alignment, const callable_operations& of,
                            spawn_site site, Timer... timer) {
    std::size_t aligned = alignment > alignof(Block) ? alignment : alignof(Block);
    const std::size_t offset = (sizeof(Block) + aligned - 1) / aligned * aligned;
    void* memory = nullptr;
    if (aligned > __STDCPP_DEFAULT_NEW_ALIGNMENT__) {
      memory = ::operator new(offset + size_bytes, static_cast<std::align_val_t>(aligned));
    } else if (here == nullptr || offset + size_bytes > block_cache::block_size_bytes) {
      memory = ::operator new(offset + size_bytes);
    } else {
      memory = here->blocks_of_callbacks().take();
      aligned = 0;
    }
    return *::new (memory) Block{
        &destroy<Block>, static_cast<std::byte*>(memory) + offset, aligned, of, site, capture_context(), timer...};
  }
};

callback::callback(destroy_function how, void* place, std::size_t alignment, const callable_operations& of,
                   spawn_site site, context_reference sees) noexcept
    : posted_callback{nullptr, &callbacks::run, &callbacks::drop},
      counted{how},
      place_{place},
      of_{of},
      alignment_{alignment},
      site_{site},
      context_{std::move(sees)} {}

void callback::cancel() noexcept { callbacks::cancel(*this); }

std::optional<time_point> callback::when() const noexcept {
  if (!timed_) return std::nullopt;
  return static_cast<const timed_callback&>(*this).deadline;
}

callback& allocate_callback(std::size_t size_bytes, std::size_t alignment, const callable_operations& of, bool timed,
                            spawn_site site, callback_maker by) {
  shard* here = this_shard();
  if (here == nullptr && by.call != nullptr) throw no_shard{by.call};
  if (by.call == nullptr) here = nullptr;  // it may end elsewhere, whose cache would fill up while ours has nothing
  if (!timed) return callbacks::allocate<callbacks::plain>(here, size_bytes, alignment, of, site);
  return callbacks::allocate<timed_callback>(here, size_bytes, alignment, of, site, &callbacks::fire,
                                             &callbacks::unfired);
}

counted& door_to(placement where, const char* call) {
  const shard* const here = this_shard();
  if (here == nullptr) throw no_shard{call};
  if (where.how() == placement::kind::anywhere)
    throw std::invalid_argument{std::string{call} +
                                ": a callback runs on one shard; say on_shard(i) or here, not anywhere"};
  if (where.how() != placement::kind::on_shard) return here->door();
  if (where.shard() >= here->owner().shard_count())
    throw std::out_of_range{std::string{call} + ": on_shard(" + std::to_string(where.shard()) +
                            "), but the runtime has " + std::to_string(here->owner().shard_count()) +
                            " shards, numbered from 0"};
  return *here->owner().door(where.shard());
}

void post_callback(callback& what, counted& door, const char* call) {
  const shard* const here = this_shard();
  if (here != nullptr && &here->door() == &door) return post_callback_here(what, call);
  const gate_pass inside{static_cast<gate&>(door)};
  if (!inside) throw runtime_closed{call};
  what.add_reference_unshared();  // the queue's
  inside->receive(what);
}

void post_callback_here(callback& what, const char* call) {
  shard* const here = this_shard();
  if (here == nullptr) throw no_shard{call};
  if (here->owner().is_closed()) throw runtime_closed{call};
  what.add_reference_unshared();  // the queue's
  here->append(what);
}

void post_callback_at(callback& what, time_point deadline, const char* call) {
  shard* const here = this_shard();
  if (here == nullptr) throw no_shard{call};
  if (here->owner().is_closed()) throw runtime_closed{call};
  auto& timed = static_cast<timed_callback&>(what);
  timed.deadline = deadline;
  timed.door = here->door_reference();
  what.add_reference_unshared();  // the wheel's
  here->set_timer(timed.timer, deadline);
  if (here->has_passed(deadline)) here->want_timers_next();
}

}  // namespace roving::detail
