// One object a shard: what thread_local is for threads, for code whose tasks may change theirs.
#pragma once

#include <functional>
#include <memory>
#include <type_traits>
#include <utility>

#include <roving/detail/shard_locals.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// One `Value` on each shard of each runtime, made when it is first asked for there. Tasks pinned to a shard share it
/// without a lock. A roving task gets that of the shard on which it is: ask again after each suspension, and keep no
/// reference over one. (A real thread_local is worse: the compiler may keep its address over a suspension.)
///
/// Suspends: never (making a Value may; then two may be made, and the first is kept).
/// Thread safety: on a shard; shards don't meet in it. Lifetime: values end with their runtime, when its threads have
/// stopped; or, after the shard_local itself went, when their shard makes another one.
template <class Value>
class shard_local {
 public:
  using value_type = Value;

  /// Values are default made.
  shard_local() : shard_local{[] { return Value(); }} {}

  /// Values are made by `make()`, on their shard.
  template <class Function>
  requires std::is_invocable_r_v<Value, Function&>
  explicit shard_local(Function make) : make_{std::move(make)} {}
  shard_local(const shard_local&) = delete;
  shard_local& operator=(const shard_local&) = delete;
  ~shard_local() { key_->retire(); }

  /// The value of this shard. Errors: no_shard; what making it throws.
  [[nodiscard]] Value& get() {
    detail::shard_local_value* found = detail::find_shard_local(*key_);
    if (found == nullptr) found = detail::add_shard_local(key_, std::make_unique<held>(make_));
    return static_cast<held*>(found)->value;
  }
  [[nodiscard]] Value& operator*() { return get(); }
  [[nodiscard]] Value* operator->() { return std::addressof(get()); }

 private:
  struct held final : detail::shard_local_value {
    explicit held(std::function<Value()>& make) : value(make()) {}
    Value value;
  };

  const detail::counted_reference<detail::shard_local_key> key_{new detail::shard_local_key};
  std::function<Value()> make_;
};

}  // namespace roving

#pragma GCC visibility pop
