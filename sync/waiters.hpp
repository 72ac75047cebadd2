// What the primitives do with a wait_list under its lock: ask who still waits, wake, come back.
//
// Who wakes a waiter also takes it off the list, so that the next one to be woken is always found at the front, however
// many were woken before and have not run yet. The exception is the mutex, whose front waiter keeps its place until it
// has the lock. A waiter that a cancel took stays on the list until it has run, or until somebody who looks for one to
// wake meets it. An unlinked waiter points at itself, so that it knows when it comes back.
//
// A waiter that comes back from an event needs no lock: who granted it had released the lock before it made it ready.
// One that comes back from a cancel takes the lock before it looks at itself or ends: somebody may just be trying to
// wake it.
#pragma once

#include <roving/detail/wait.hpp>

namespace roving::detail {

/// Whether nobody has ended the wait yet; once false it stays so. `item` is on its list.
inline bool still_waits(const waiter& item) noexcept {
  // The epoch is the waiter's until it has left the list, for which it needs the lock that the caller holds.
  return item.who->claims.epoch() == item.epoch && item.who->claims.is_open();
}

/// Whether a cancel ended the wait before anybody granted it.
inline bool was_cancelled(const waiter& item) noexcept { return !item.granted && !still_waits(item); }

/// The first who waits or has been woken; null when a newcomer has nobody before it: a cancelled waiter no longer
/// counts.
inline waiter* first_not_cancelled(const wait_list& list) noexcept {
  waiter* item = list.front();
  while (item != nullptr && was_cancelled(*item)) item = item->next;
  return item;
}

inline void unlink(wait_list& list, waiter& item) noexcept {
  list.erase(item);
  item.next = &item;
}

/// For a waiter that came back: takes it off the list unless who woke it did so.
inline void leave(wait_list& list, waiter& self) noexcept {
  if (self.next != &self) list.erase(self);
}

/// Wakes the first that still waits, and takes it off the list with all before it. False when there is none.
inline bool wake_first(wait_list& list, ready_list& wakes) noexcept {
  while (waiter* const first = list.front()) {
    unlink(list, *first);
    if (grant(*first, wakes)) return true;
  }
  return false;
}

inline void wake_all(wait_list& list, ready_list& wakes) noexcept {
  while (wake_first(list, wakes)) {
  }
}

}  // namespace roving::detail
