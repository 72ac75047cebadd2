// Waiting for a descriptor, and what an event does.
#include "io/descriptor.hpp"

#include <algorithm>
#include <bit>
#include <mutex>
#include <new>
#include <string>
#include <utility>

#include <roving/detail/assert.hpp>
#include <roving/detail/planted.hpp>
#include <roving/error.hpp>

#include "io/poller.hpp"

namespace roving::detail {

io_wait_end descriptor::wait(io_direction direction, std::uint32_t generation, bool drained, const char* call,
                             int number) {
  waiter self{call};
  if (number >= 0) self.tell(wait_subject::descriptor, number);
  side& mine = of(direction);
  {
    std::unique_lock hold{lock_};
    if (generation_ != generation) return io_wait_end::stale;
    if (mine.edge || (drained && hung_up_)) {
      mine.edge = false;
      return io_wait_end::ready;
    }
    if (mine.waiting != nullptr) {
      hold.unlock();
      throw concurrent_use{std::string{call} + ": another task " +
                           (direction == io_direction::read ? "reads from" : "writes to") +
                           " it at the same time; one may read and one may write"};
    }
    mine.waiting = &self;
    hold.release();
  }
  const wait_end end = park(self, lock_);

  lock_.lock();
  const bool open = generation_ == generation;  // I1: else the slot may be somebody else's
  if (open) {
    ROVING_ASSERT(mine.waiting == &self);  // I2
    mine.waiting = nullptr;
    if (end == wait_end::event)
      mine.edge = false;  // an edge that came meanwhile is older than the call that comes next
    else if (self.granted && !is_planted(planted::edge_lost_with_cancel))
      mine.edge = true;  // I3
  }
  lock_.unlock();
  if (end == wait_end::cancelled) throw_cancelled();
  return open ? io_wait_end::ready : io_wait_end::closed;
}

bool descriptor::enlist(io_direction direction, std::uint32_t generation, waiter& self) noexcept {
  const std::scoped_lock hold{lock_};
  side& mine = of(direction);
  if (generation_ != generation || mine.edge) return false;
  ROVING_ASSERT(mine.waiting == nullptr);
  mine.waiting = &self;
  return true;
}

bool descriptor::delist(io_direction direction, std::uint32_t generation, waiter& self) noexcept {
  const std::scoped_lock hold{lock_};
  if (generation_ == generation) of(direction).waiting = nullptr;  // I1, I2
  return self.granted;
}

void descriptor::deliver(std::uint32_t generation, readiness what, ready_list& ready) noexcept {
  const std::scoped_lock hold{lock_};
  if (generation_ != generation && !is_planted(planted::generation_not_checked)) return;
  if (what.hung_up) hung_up_ = true;
  if (what.readable) signal(read_, ready);
  if (what.writable) signal(write_, ready);
}

void descriptor::signal(side& at, ready_list& ready) noexcept {
  if (at.waiting == nullptr || !grant(*at.waiting, ready)) at.edge = !is_planted(planted::edge_not_kept);  // I3
}

bool descriptor::is_waited_for(io_direction direction) noexcept {
  const std::scoped_lock hold{lock_};
  return of(direction).waiting != nullptr;
}

bool descriptor::has_edge(io_direction direction) noexcept {
  const std::scoped_lock hold{lock_};
  return of(direction).edge;
}

void descriptor::end_generation(ready_list& wakes) noexcept {
  ++generation_;
  hung_up_ = false;
  for (side* each : {&read_, &write_}) {
    if (each->waiting != nullptr) grant(*each->waiting, wakes);  // who lost to a cancel is awake anyway
    *each = side{};
  }
}

descriptor_table::~descriptor_table() {
  const std::uint32_t slots = slots_.load(std::memory_order_relaxed);  // nobody else is left
  for (std::uint32_t slot = 0; slot < slots; ++slot) at(slot).~descriptor();
  for (descriptor* chunk : chunks_) ::operator delete (chunk, std::align_val_t{alignof(descriptor)});
}

descriptor& descriptor_table::acquire() {
  std::shared_ptr<descriptor_table> self = shared_from_this();
  const std::scoped_lock hold{lock_};
  if (first_free_ == no_slot) {
    descriptor& state = add_slot();
    state.keeper_ = std::move(self);
    return state;
  }
  descriptor& state = at(first_free_);
  first_free_ = state.next_free_;
  state.keeper_ = std::move(self);
  return state;
}

// Under the lock, memory for a chunk too: that is seldom, and its pages are not touched here.
descriptor& descriptor_table::add_slot() {
  const std::uint32_t slot = slots_.load(std::memory_order_relaxed);  // lock_ orders it
  const place where = place_of(slot);
  if (where.chunk == chunks) throw std::bad_alloc{};
  descriptor*& chunk = chunks_[where.chunk];
  if (chunk == nullptr)
    chunk = static_cast<descriptor*>(
        ::operator new (sizeof(descriptor) * chunk_size(where.chunk), std::align_val_t{alignof(descriptor)}));
  descriptor* const state = new (chunk + where.offset) descriptor{slot};
  slots_.store(slot + 1, std::memory_order_release);  // [slot]
  return *state;
}

void descriptor_table::end_generation(descriptor& state, std::uint32_t generation, ready_list& wakes) noexcept {
  const std::scoped_lock hold{state.lock_};
  if (state.generation_ == generation) state.end_generation(wakes);
}

std::error_code descriptor_table::add_to_poller(const descriptor& state, int fd, interest what) {
  const std::scoped_lock hold{lock_};  // with the system call: nobody removes what has the number meanwhile
  if (const std::error_code error = home_->add(fd, state, what)) return error;
  const auto number = static_cast<std::size_t>(fd);  // of a descriptor that there is, so not absurd
  if (number >= slot_of_number_.size()) {
    try {
      slot_of_number_.resize(std::max(number + 1, 2 * slot_of_number_.size()), no_slot);
    } catch (const std::bad_alloc&) {
      home_->remove(fd);
      throw;
    }
  }
  slot_of_number_[number] = state.slot_;
  return {};
}

void descriptor_table::remove_from_poller(const descriptor& state, int fd) noexcept {
  descriptor_table& table = *state.keeper_;
  const std::scoped_lock hold{table.lock_};  // the poller can't end meanwhile
  std::uint32_t& slot = table.slot_of_number_[static_cast<std::size_t>(fd)];
  if (slot != state.slot_) return;
  slot = no_slot;
  if (table.home_ != nullptr) table.home_->remove(fd);
}

void descriptor_table::release(descriptor& state) noexcept {
  const std::shared_ptr<descriptor_table> last = std::move(state.keeper_);  // unlocked before it can be the last
  const std::scoped_lock hold{last->lock_};
  state.next_free_ = last->first_free_;
  last->first_free_ = state.slot_;
}

void descriptor_table::deliver(std::uint64_t token, readiness what, ready_list& ready) noexcept {
  const std::uint32_t slot = static_cast<std::uint32_t>(token);
  if (slot >= slots_.load(std::memory_order_acquire)) return;  // [slot]
  at(slot).deliver(static_cast<std::uint32_t>(token >> 32U), what, ready);
}

void descriptor_table::orphan() noexcept {
  const std::scoped_lock hold{lock_};
  if (home_ == nullptr) return;
  home_ = nullptr;
  ready_list nobody;
  const std::uint32_t slots = slots_.load(std::memory_order_relaxed);  // lock_ orders it
  for (std::uint32_t slot = 0; slot < slots; ++slot) {
    const std::scoped_lock hold_slot{at(slot).lock_};
    at(slot).end_generation(nobody);
  }
  ROVING_ASSERT(nobody.empty());
}

descriptor_table::place descriptor_table::place_of(std::uint32_t slot) noexcept {
  const std::uint64_t from_one = std::uint64_t{slot} + chunk_size(0);
  const unsigned chunk = static_cast<unsigned>(std::bit_width(from_one)) - 1 - first_chunk_bits;
  return {chunk, static_cast<std::uint32_t>(from_one - chunk_size(chunk))};
}

descriptor& descriptor_table::at(std::uint32_t slot) noexcept {
  const place where = place_of(slot);
  return chunks_[where.chunk][where.offset];
}

}  // namespace roving::detail
