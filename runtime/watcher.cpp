// See watcher.hpp.
#include "runtime/watcher.hpp"

#include <algorithm>
#include <functional>
#include <numeric>

#include <roving/detail/handle.hpp>
#include <roving/detail/task_base.hpp>
#include <roving/error.hpp>

#include "scheduler/this_shard.hpp"

namespace roving::detail {

shard* home_of_caller(const char* call) {
  if (this_shard() == nullptr) return nullptr;
  const task_base* const task = current_task();
  if (task == nullptr) throw not_in_task{call};
  return task->roving ? nullptr : task->home;
}

watcher::node::node(watcher& whose, future_base& which, shard* where) noexcept
    : done_node{[](done_node& self) noexcept -> ready_node* { return &static_cast<node&>(self); }},
      posted_callback{where,
                      [](ready_node& self) noexcept {
                        auto& ended = static_cast<node&>(self);
                        const future_reference<watcher> whose_reference{ended.by};
                        whose_reference->told(ended);
                      },
                      [](ready_node& self) noexcept { static_cast<node&>(self).by->release(); }},
      by{&whose},
      watched{future_reference<>::share(which)} {
  if (where == nullptr) kind = ready_kind::direct;
}

watcher::watcher(const future_operations* operations, std::span<future_base* const> futures, const char* call)
    : future_base{operations}, home_{home_of_caller(call)} {
  nodes_.reserve(futures.size());
  for (future_base* const each : futures) nodes_.emplace_back(*this, *each, home_);
}

bool watcher::watch(node& one) noexcept {
  add_reference();  // the node's
  if (one.watched->subscribe(one)) return true;
  release();
  return false;
}

void watcher::watch_all() noexcept {
  for (node& each : nodes_) {
    if (watch(each)) continue;
    add_reference();
    make_ready(each);
  }
}

void watcher::forget_all() noexcept {
  for (node& each : nodes_)
    if (!each.watched->is_done() && each.watched->unsubscribe(each)) release();
}

void watcher::depends_on(future_base& self, void (*tell)(void*, const future_base&), void* argument) {
  for (const node& each : static_cast<watcher&>(self).nodes_) tell(argument, *each.watched);
}

std::vector<std::size_t> first_places(std::span<future_base* const> futures) {
  std::vector<std::size_t> places(futures.size());
  std::iota(places.begin(), places.end(), std::size_t{0});
  // By address, then by place: the first of each run is the first place.
  std::sort(places.begin(), places.end(), [&](std::size_t a, std::size_t b) {
    return futures[a] != futures[b] ? std::less<>{}(futures[a], futures[b]) : a < b;
  });
  places.erase(
      std::unique(places.begin(), places.end(), [&](std::size_t a, std::size_t b) { return futures[a] == futures[b]; }),
      places.end());
  std::sort(places.begin(), places.end());
  return places;
}

}  // namespace roving::detail
