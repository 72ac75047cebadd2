// The wheel of scheduler/timers.hpp, which has its idea and invariants.
//
// What is due is sorted when its slot is taken, in place: nearly always it is one timer or none, and a slot that is
// kept sorted would make set() pay for what cancel() mostly takes away again.
#include "scheduler/timers.hpp"

#include <algorithm>
#include <bit>
#include <tuple>
#include <type_traits>
#include <utility>

namespace roving::detail {
namespace {

using time_point = timer_node::time_point;
static_assert(std::is_same_v<time_point::duration, std::chrono::nanoseconds>);

// Counts of nanoseconds are signed; with the sign bit turned over they have the same order as unsigned ones.
constexpr std::uint64_t sign_bit = std::uint64_t{1} << 63;

std::size_t lowest_bit(std::uint64_t bits) noexcept { return static_cast<std::size_t>(std::countr_zero(bits)); }

bool fires_before(const timer_node& left, const timer_node& right) noexcept {
  return std::tie(left.deadline, left.sequence) < std::tie(right.deadline, right.sequence);
}

timer_node* merge(timer_node* left, timer_node* right) noexcept {
  timer_node* first = nullptr;
  timer_node** end = &first;
  while (left != nullptr && right != nullptr) {
    timer_node*& earlier = fires_before(*left, *right) ? left : right;
    *end = earlier;
    end = &earlier->next;
    earlier = earlier->next;
  }
  *end = left != nullptr ? left : right;
  return first;
}

// Merges runs of equal length as they come, like a counter that carries: run n is empty or has 2^n nodes.
// In place and without recursion, however many there are.
timer_node* sort(timer_node* list) noexcept {
  if (list == nullptr || list->next == nullptr) return list;

  std::array<timer_node*, 64> runs{};
  std::size_t used_runs = 0;
  while (list != nullptr) {
    timer_node* run = std::exchange(list, list->next);
    run->next = nullptr;
    std::size_t n = 0;
    while (runs[n] != nullptr) run = merge(std::exchange(runs[n++], nullptr), run);
    runs[n] = run;
    used_runs = std::max(used_runs, n + 1);
  }
  timer_node* sorted = nullptr;
  for (std::size_t n = 0; n < used_runs; ++n) sorted = merge(runs[n], sorted);
  return sorted;
}

}  // namespace

std::size_t timer_batch::append(timer_node* first) noexcept {
  std::size_t count = 0;
  timer_node* last = ring_.previous;
  for (timer_node* node = first; node != nullptr; node = node->next) {
    node->place = timer_node::place_batch;
    last->next = node;
    node->previous = last;
    last = node;
    ++count;
  }
  last->next = &ring_;
  ring_.previous = last;
  return count;
}

timer_batch::~timer_batch() { ROVING_ASSERT(empty()); }

void timer_batch::splice(timer_batch&& other) noexcept {
  if (other.empty()) return;
  timer_node* const first = std::exchange(other.ring_.next, &other.ring_);
  timer_node* const last = std::exchange(other.ring_.previous, &other.ring_);
  first->previous = ring_.previous;
  ring_.previous->next = first;
  last->next = &ring_;
  ring_.previous = last;
}

timer_node* timer_batch::pop() noexcept {
  if (empty()) return nullptr;
  timer_node* const node = ring_.next;
  ring_.next = node->next;
  node->next->previous = &ring_;
  node->place = timer_node::place_none;
  return node;
}

timer_wheel::timer_wheel(time_point now) noexcept : current_{tick_of(now)} {}

timer_wheel::~timer_wheel() { ROVING_ASSERT(empty()); }

void timer_wheel::set(timer_node& node, time_point deadline) noexcept {
  ROVING_ASSERT(!node.is_set());
  node.deadline = deadline;
  node.sequence = next_sequence_++;
  if (size_++ == 0 || deadline <= bound_) {  // I4
    bound_ = deadline;
    bound_is_exact_ = true;
  }
  link(node);
}

bool timer_wheel::cancel(timer_node& node) noexcept {
  if (!node.is_set()) return false;
  if (node.place == timer_node::place_batch) {
    node.previous->next = node.next;
    node.next->previous = node.previous;
  } else {
    unlink(node);
    --size_;
    if (node.deadline == bound_) bound_is_exact_ = false;  // I4
  }
  node.place = timer_node::place_none;
  return true;
}

timer_batch timer_wheel::expire(time_point now) noexcept {
  timer_batch due;
  if (const std::uint64_t tick = tick_of(now); tick > current_) advance(tick, due);  // I5
  if (size_ > 0 && now >= bound_) {
    take_due_from_current_slot(now, due);
    find_bound();
  }
  return due;
}

std::optional<time_point> timer_wheel::next_deadline() noexcept {
  if (empty()) return std::nullopt;
  if (!bound_is_exact_) find_exact_bound(first_place());
  return bound_;
}

std::optional<time_point> timer_wheel::not_before() const noexcept {
  if (empty()) return std::nullopt;
  return bound_;
}

std::uint64_t timer_wheel::tick_of(time_point time) noexcept {
  return (static_cast<std::uint64_t>(time.time_since_epoch().count()) ^ sign_bit) >> tick_bits;
}

time_point timer_wheel::start_of(std::uint64_t tick) noexcept {
  return time_point{std::chrono::nanoseconds{static_cast<std::int64_t>((tick << tick_bits) ^ sign_bit)}};
}

std::size_t timer_wheel::current_place() const noexcept { return current_ & (slots_per_level - 1); }

std::size_t timer_wheel::first_place() const noexcept {
  const std::size_t word = lowest_bit(used_words_);
  return word * slots_per_word + lowest_bit(used_slots_[word]);  // I2
}

// Puts the node where I1 wants it.
void timer_wheel::link(timer_node& node) noexcept {
  const std::uint64_t tick = std::max(tick_of(node.deadline), current_);  // overdue: the current slot
  const auto differing_bits = static_cast<unsigned>(std::bit_width(tick ^ current_));
  const std::size_t level = differing_bits == 0 ? 0 : (differing_bits - 1) / digit_bits;
  const std::size_t digit = (tick >> (level * digit_bits)) & (slots_per_level - 1);
  const std::size_t place = level * slots_per_level + digit;

  timer_node*& first = first_in_slot_[place];
  node.place = static_cast<std::uint16_t>(place);
  node.previous = nullptr;
  node.next = first;
  if (first != nullptr) first->previous = &node;
  first = &node;
  const std::size_t word = place / slots_per_word;
  used_slots_[word] |= std::uint64_t{1} << (place % slots_per_word);
  used_words_ |= std::uint32_t{1} << word;
}

void timer_wheel::unlink(timer_node& node) noexcept {
  if (node.next != nullptr) node.next->previous = node.previous;
  if (node.previous != nullptr) {
    node.previous->next = node.next;
    return;
  }
  if (node.next != nullptr)
    first_in_slot_[node.place] = node.next;
  else
    static_cast<void>(take_slot(node.place));
}

// Empties a slot and returns what was in it, linked by `next`.
timer_node* timer_wheel::take_slot(std::size_t place) noexcept {
  const std::size_t word = place / slots_per_word;
  used_slots_[word] &= ~(std::uint64_t{1} << (place % slots_per_word));
  if (used_slots_[word] == 0) used_words_ &= ~(std::uint32_t{1} << word);
  return std::exchange(first_in_slot_[place], nullptr);
}

// Makes `tick`, a later one, the current tick, and takes out all timers of ticks before it.
void timer_wheel::advance(std::uint64_t tick, timer_batch& due) noexcept {
  const std::size_t level = (static_cast<unsigned>(std::bit_width(tick ^ current_)) - 1) / digit_bits;
  const std::size_t digit = (tick >> (level * digit_bits)) & (slots_per_level - 1);
  const std::size_t entered = level * slots_per_level + digit;
  current_ = tick;

  // Below the level of the highest digit that changes, all timers shared that digit's old value (I1): due. On it, the
  // slots that are passed over are. The one that is entered is not, or not all of it. Slot by slot they come in order
  // (I2), so that no more than one slot is sorted at a time.
  while (used_words_ != 0) {
    const std::size_t place = first_place();
    if (place >= entered) break;
    size_ -= due.append(sort(take_slot(place)));
  }
  if (level == 0) return;  // entered: the current slot

  // All in it share this digit with current_ now. So each goes to a lower level, or, if its tick has come or
  // passed, to the current slot, which expire() looks through next.
  for (timer_node* node = take_slot(entered); node != nullptr;) {
    timer_node* const next = node->next;
    link(*node);
    node = next;
  }
}

void timer_wheel::take_due_from_current_slot(time_point now, timer_batch& due) noexcept {
  timer_node* found = nullptr;
  for (timer_node* node = first_in_slot_[current_place()]; node != nullptr;) {
    timer_node* const next = node->next;
    if (node->deadline <= now) {
      unlink(*node);
      node->next = found;
      found = node;
    }
    node = next;
  }
  size_ -= due.append(sort(found));
}

// After all that was due is gone: raises bound_ as far as can be without a search of a slot yet to come.
void timer_wheel::find_bound() noexcept {
  if (empty()) return;
  const std::size_t place = first_place();
  if (place == current_place()) return find_exact_bound(place);

  // The slot's digit on its level, current_'s digits above, zeros below: the first tick of the slot (I1).
  const std::size_t shift = place / slots_per_level * digit_bits;
  const std::uint64_t above = (current_ >> shift) & ~std::uint64_t{slots_per_level - 1};
  bound_ = start_of((above | place % slots_per_level) << shift);
  bound_is_exact_ = false;
}

void timer_wheel::find_exact_bound(std::size_t place) noexcept {
  const timer_node* node = first_in_slot_[place];
  bound_ = node->deadline;
  while ((node = node->next) != nullptr) bound_ = std::min(bound_, node->deadline);
  bound_is_exact_ = true;
}

}  // namespace roving::detail
