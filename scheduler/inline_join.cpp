// See inline_join.hpp.
#include "scheduler/inline_join.hpp"

#include <roving/detail/assert.hpp>

#include "scheduler/fiber.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/slab.hpp"
#include "scheduler/this_shard.hpp"
#include "scheduler/wait_parts.hpp"

namespace roving::detail {
namespace {

// From here down to the limit of the stack.
[[gnu::noinline]] std::size_t room_left(const fiber& on) noexcept {
  const auto* const here = static_cast<const std::byte*>(__builtin_frame_address(0));
  return here > on.memory.limit && here <= on.memory.top ? static_cast<std::size_t>(here - on.memory.limit) : 0;
}

void run_on_this_stack(task_base& child, task_base& parent) noexcept {
  shard* here = this_shard();
  fiber& on = *here->current_fiber();
  here->slice_of_task_ended(parent);
  child.runs_on.store(&on, std::memory_order_relaxed);
  on.active = &child;
  exception_globals_scope parents{here->anchor()};
  here->count_slice();
  child.run();
  here = this_shard();  // it may have migrated
  parents.restore(here->anchor());
  on.active = &parent;
  here->count_slice();
}

}  // namespace

bool join_inline(task_base& child, future_base& cancels_go_to, const char* call) noexcept {
  shard* const here = this_shard();
  task_base* const self = here != nullptr ? here->current() : nullptr;
  if (self == nullptr || !self->roving || !child.roving || child.taken.load(std::memory_order_relaxed)) return false;
  if (child.origin->owner() != &here->owner()) return false;  // of another runtime
  if (room_left(*here->current_fiber()) < child.stack_size_bytes / 2) return false;
  if (!here->has_time_for_one_inline() || !here->take_unstarted(child)) return false;

  const bool masked = is_masked(*here, *self);
  const claim_word::word epoch = self->claims.next_epoch();
  self->awaits = &cancels_go_to;
  self->waits_in.store(call, std::memory_order_relaxed);
  const bool opened = self->claims.prepare(masked ? wait_mode::masked : wait_mode::forwards);
  ROVING_ASSERT(opened);
  if (!masked) pass_on_mark(*self, cancels_go_to);

  run_on_this_stack(child, *self);

  (void)self->claims.claim(epoch, winner::event);
  if (self->claims.settled() == winner::cancel) self->claims.mark();  // see whom_to_stop(): not this one, if it can be
  self->awaits = nullptr;
  self->waits_in.store(nullptr, std::memory_order_relaxed);
  return true;
}

}  // namespace roving::detail
