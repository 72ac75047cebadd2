// See inline_join.hpp.
#include "scheduler/inline_join.hpp"

#include <mutex>
#include <utility>

#include <roving/detail/assert.hpp>

#include "scheduler/fiber.hpp"
#include "scheduler/shard.hpp"
#include "scheduler/slab.hpp"
#include "scheduler/this_shard.hpp"
#include "scheduler/wait_parts.hpp"

namespace roving::detail {
namespace {

// From here down to the limit of the stack.
std::size_t room_left(const fiber& on) noexcept {
  const auto* const here = static_cast<const std::byte*>(__builtin_frame_address(0));
  return here > on.memory.limit && here <= on.memory.top ? static_cast<std::size_t>(here - on.memory.limit) : 0;
}

void run_on_this_stack(task_base& child, task_base& parent, fiber& on, shard* here) noexcept {
  here->slice_of_task_ended(parent);
  child.runs_on.store(&on, std::memory_order_relaxed);
  on.active = &child;
  exception_globals_scope parents{here->anchor()};
  const int error = *here->anchor().errno_location;
  here->count_slice();
  child.run();
  here = this_shard();  // it may have migrated
  *here->anchor().errno_location = error;
  parents.restore(here->anchor());
  on.active = &parent;
}

void open(inline_frame& frame) noexcept {
  if (std::exchange(frame.is_open, true)) return;
  frame.parent.waits_for = wait_subject::unknown;
  frame.parent.awaits = &frame.cancels_go_to;
  if (!frame.parent.roving) {
    const std::lock_guard guard{frame.child.lock()};
    // False where the child has just ended and somebody is told at once: then nobody comes behind the parent any more.
    (void)frame.child.subscribe_locked(frame);
  }
  const bool is_open = frame.parent.claims.prepare(frame.mode);
  ROVING_ASSERT(is_open);
}

bool has_mark(const inline_frame& frame) noexcept {
  return frame.mode == wait_mode::forwards && frame.parent.claims.is_pending();
}

// Closes the list, all of which is open; gives the outermost if there are marks to be passed on, else null.
inline_frame* take_marked(fiber& on) noexcept {
  inline_frame* outermost = nullptr;
  bool is_marked = false;
  for (inline_frame* at = std::exchange(on.unseen, nullptr); at != nullptr; at = at->outer) {
    at->inner = std::exchange(outermost, at);
    is_marked = is_marked || has_mark(*at);
  }
  return is_marked ? outermost : nullptr;
}

void pass_on_marks(inline_frame& outermost) noexcept {
  for (inline_frame* at = &outermost; at != nullptr; at = at->inner)
    if (has_mark(*at)) pass_on_mark(at->parent, at->cancels_go_to);
}

// The fiber has been left, but nobody can enter it before after(). From then on the pins keep the parents in their
// waits, and so the frames.
void pass_marks_behind(void* argument) noexcept {
  const pass_marks_first what = *static_cast<pass_marks_first*>(argument);
  for (inline_frame* at = what.outermost; at != nullptr; at = at->inner) {
    at->parent.add_reference();
    at->cancels_go_to.add_reference();
    at->parent.claims.pin();
  }
  what.after(what.argument);
  for (inline_frame* at = what.outermost; at != nullptr;) {
    inline_frame* const next = at->inner;
    task_base& parent = at->parent;
    future_base& cancels_go_to = at->cancels_go_to;
    if (has_mark(*at)) pass_on_mark(parent, cancels_go_to);
    parent.claims.unpin();
    cancels_go_to.release();
    parent.release();
    at = next;
  }
}

bool may_run_inline(shard& here, const task_base& child, const future_base& cancels_go_to) noexcept {
  if (child.origin->owner() != &here.owner()) return false;  // of another runtime
  if (child.roving)
    return !child.taken.load(std::memory_order_relaxed) &&
        room_left(*here.current_fiber()) >= child.stack_size_bytes / 2;
  return child.home == &here && child.runs_on.load(std::memory_order_relaxed) == nullptr &&
      static_cast<const future_base*>(&child) == &cancels_go_to &&
      room_left(*here.current_fiber()) >= child.stack_size_bytes / 4 * 3;
}

}  // namespace

inline_frame::inline_frame(task_base& who, task_base& runs, future_base& gets_cancels, wait_mode how) noexcept
    : done_node{[](done_node& node) noexcept -> ready_node* {
        auto& self = static_cast<inline_frame&>(node);
        // The parent need not stand in line yet where nobody is told behind it: it goes there once the child has left.
        self.is_queued = self.next != nullptr;
        return self.is_queued ? &self.parent : nullptr;
      }},
      parent{who},
      child{runs},
      cancels_go_to{gets_cancels},
      epoch{who.claims.next_epoch()},
      mode{how} {}

void open_waits(fiber& on) noexcept {
  for (inline_frame* at = on.unseen; at != nullptr; at = at->outer) open(*at);
}

void open_waits_here() noexcept {
  const shard* const here = this_shard();
  if (here == nullptr || here->current_fiber() == nullptr) return;
  open_waits(*here->current_fiber());
}

void open_waits_and_pass_marks(fiber& on) noexcept {
  open_waits(on);
  if (inline_frame* const outermost = take_marked(on)) pass_on_marks(*outermost);
}

void see_to_parents(fiber& on, after_switch& after, void*& argument, pass_marks_first& room) noexcept {
  if (after == nullptr) return open_waits_and_pass_marks(on);
  open_waits(on);
  inline_frame* const outermost = take_marked(on);
  if (outermost == nullptr) return;
  room = {after, argument, outermost};
  after = &pass_marks_behind;
  argument = &room;
}

inline_join join_inline(task_base& child, future_base& cancels_go_to, const char* call) noexcept {
  constexpr auto no = inline_join::not_done;
  shard* here = this_shard();
  task_base* const self = here != nullptr ? here->current() : nullptr;
  if (self == nullptr || self->roving != child.roving || !may_run_inline(*here, child, cancels_go_to)) return no;
  const bool is_taken =
      self->roving ? here->has_time_for_one_inline() && here->take_unstarted(child) : here->take_if_next(child);
  if (!is_taken) return no;

  const wait_mode mode = is_masked(*here, *self) ? wait_mode::masked : wait_mode::forwards;
  inline_frame frame{*self, child, cancels_go_to, mode};
  self->waits_in.store(call, std::memory_order_relaxed);
  fiber& on = *here->current_fiber();
  if (has_mark(frame)) {
    open(frame);
    pass_on_mark(*self, cancels_go_to);
  }
  frame.outer = std::exchange(on.unseen, &frame);

  run_on_this_stack(child, *self, on, here);

  if (on.unseen == &frame) on.unseen = frame.outer;
  // The wait ends before the parent may leave again, and the frame goes after settled(): until then others, who pass a
  // cancel on through it, may hold pins.
  if (frame.is_open) (void)self->claims.claim(frame.epoch, winner::event);
  if (self->roving)
    this_shard()->count_slice();
  else
    here->wait_in_line(*self, frame.is_queued);
  if (frame.is_open) {
    if (self->claims.settled() == winner::cancel) self->claims.mark();  // see whom_to_stop(): another one, if it can be
    self->awaits = nullptr;
  }
  self->waits_in.store(nullptr, std::memory_order_relaxed);
  return self->claims.is_pending() ? inline_join::cancel_pending : inline_join::done;
}

}  // namespace roving::detail
