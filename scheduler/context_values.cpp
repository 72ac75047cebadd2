// See <roving/detail/context_values.hpp>.
#include "scheduler/context_values.hpp"

#include <algorithm>
#include <memory>
#include <vector>

#include <roving/detail/assert.hpp>
#include <roving/detail/task_base.hpp>

#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {

class context_values final : public counted {
 public:
  struct entry {
    counted_reference<context_key> key;
    counted_reference<context_value> value;
  };

  context_values() noexcept : counted{[](counted& self) noexcept { delete static_cast<context_values*>(&self); }} {}

  [[nodiscard]] entry* find(const context_key& key) noexcept {
    const auto at =
        std::find_if(entries.begin(), entries.end(), [&](const entry& each) { return each.key.get() == &key; });
    return at == entries.end() ? nullptr : &*at;
  }

  std::vector<entry> entries;
};

void add_context_reference(context_values& values) noexcept { values.add_reference(); }
void release_context(context_values& values) noexcept { values.release(); }

context_values*& current_context() noexcept {
  shard* const here = this_shard();
  if (here == nullptr) return context_of_this_thread();
  task_base* const task = here->current();
  return task != nullptr ? task->context : here->context_of_callback();
}

context_reference capture_context() noexcept {
  context_values* const values = current_context();
  if (values != nullptr) values->add_reference();
  return context_reference{values};
}

context_scope::context_scope(context_reference captured) noexcept
    : context_scope{current_context(), std::move(captured)} {}

context_scope::~context_scope() {
  ROVING_ASSERT(place_ == &current_context());  // it ends where it was made
  context_values* const inner = std::exchange(*place_, outer_);
  if (inner != nullptr) inner->release();
}

context_place current_context_place() noexcept {
  shard* const here = this_shard();
  if (here == nullptr) return {&context_of_this_thread(), 0};
  const task_base* const task = here->current();
  if (task != nullptr) return {&task->context, task->number};
  return {&here->context_of_callback(), here->counters().slices};
}

const context_value* find_in_context(const context_key& key) noexcept {
  context_values* const values = current_context();
  if (values == nullptr) return nullptr;
  const context_values::entry* const found = values->find(key);
  return found != nullptr ? found->value.get() : nullptr;
}

counted_reference<context_value> set_in_context(const counted_reference<context_key>& key,
                                                counted_reference<context_value> value) {
  context_values*& current = current_context();
  counted_reference<context_values> next;
  if (current != nullptr && !current->is_shared()) {
    next = counted_reference<context_values>::share(current);  // I1: ours alone
  } else {
    next = counted_reference<context_values>{new context_values};
    if (current != nullptr) next->entries = current->entries;
  }
  counted_reference<context_value> former;
  if (context_values::entry* const found = next->find(*key)) {
    former = std::move(found->value);
    if (value)
      found->value = std::move(value);
    else
      next->entries.erase(next->entries.begin() + (found - next->entries.data()));
  } else if (value) {
    next->entries.push_back({key, std::move(value)});
  }
  const counted_reference<context_values> outer{std::exchange(current, next.take())};  // what it frees sees the new one
  return former;
}

}  // namespace roving::detail
