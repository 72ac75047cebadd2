// on_get() and on_put() of the queues: see <roving/detail/select_operation.hpp>. Who was woken tries again, so the item
// is taken, or put, by the task that runs; before that it is the queue's, or the caller's.
#pragma once

#include <optional>
#include <utility>

#include <roving/detail/select_operation.hpp>

#pragma GCC visibility push(default)

namespace roving::detail {

template <class Queue>
class get_operation : public select_operation {
 public:
  explicit get_operation(Queue& from) noexcept : from_{from} {}

  [[nodiscard]] bool try_now() final {
    auto item = from_.try_get();
    if (item) item_.emplace(*std::move(item));
    return item_.has_value();
  }
  [[nodiscard]] bool enlist(waiter& self) noexcept final { return from_.core_.enlist_getter(self); }
  [[nodiscard]] bool delist(waiter& self, bool keep) noexcept final { return from_.core_.delist_getter(self, keep); }

  [[nodiscard]] typename Queue::value_type&& take() noexcept { return *std::move(item_); }

 private:
  Queue& from_;
  std::optional<typename Queue::value_type> item_;
};

/// `Item`: the value itself, or an rvalue reference to the caller's.
template <class Queue, class Item>
class put_operation : public select_operation {
 public:
  put_operation(Queue& into, Item&& item) : into_{into}, item_{std::forward<Item>(item)} {}

  [[nodiscard]] bool try_now() final { return into_.try_put(std::move(item_)); }
  [[nodiscard]] bool enlist(waiter& self) noexcept final { return into_.core_.enlist_putter(self); }
  [[nodiscard]] bool delist(waiter& self, bool keep) noexcept final { return into_.core_.delist_putter(self, keep); }

 private:
  Queue& into_;
  Item item_;
};

}  // namespace roving::detail

#pragma GCC visibility pop
