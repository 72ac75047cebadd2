// What a shard keeps for shard_locals: values by key. The key's address names it, and can't be used again while a shard
// has a value for it, since that counts it.
#pragma once

#include <memory>

#include <roving/detail/atomic.hpp>
#include <roving/detail/context_values.hpp>

#pragma GCC visibility push(default)

namespace roving::detail {

struct shard_local_key final : counted {
  shard_local_key() noexcept : counted{[](counted& self) noexcept { delete static_cast<shard_local_key*>(&self); }} {}

  /// Nobody will ask for it any more.
  void retire() noexcept { retired_.store(true, std::memory_order_relaxed); }
  [[nodiscard]] bool is_retired() const noexcept { return retired_.load(std::memory_order_relaxed); }

 private:
  atomic<bool> retired_{false};
};

class shard_local_value {
 public:
  shard_local_value() noexcept = default;
  shard_local_value(const shard_local_value&) = delete;
  shard_local_value& operator=(const shard_local_value&) = delete;
  virtual ~shard_local_value() = default;
};

/// The value of this shard, or null. Throws no_shard{"shard_local::get"}.
[[nodiscard]] shard_local_value* find_shard_local(const shard_local_key& key);

/// Adds one, unless there is one by now; returns what is there then.
shard_local_value* add_shard_local(const counted_reference<shard_local_key>& key,
                                   std::unique_ptr<shard_local_value> made);

}  // namespace roving::detail

#pragma GCC visibility pop
