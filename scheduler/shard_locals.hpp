// The values of shard_locals that one shard has. Its thread only.
#pragma once

#include <memory>
#include <unordered_map>
#include <utility>
#include <vector>

#include <roving/detail/shard_locals.hpp>

namespace roving::detail {

class shard_locals {
 public:
  [[nodiscard]] shard_local_value* find(const shard_local_key& key) const noexcept {
    const auto at = values_.find(&key);
    return at == values_.end() ? nullptr : at->second.value.get();
  }

  shard_local_value* add(const counted_reference<shard_local_key>& key, std::unique_ptr<shard_local_value> made) {
    const auto [at, is_new] = values_.try_emplace(key.get());
    if (is_new) at->second = {key, std::move(made)};
    shard_local_value* const added = at->second.value.get();
    // Those of variables that are gone go now: nobody could tell us earlier. They may ask for others while they go.
    std::vector<entry> gone;
    for (auto each = values_.begin(); each != values_.end();) {
      if (!each->second.key->is_retired()) {
        ++each;
        continue;
      }
      gone.push_back(std::move(each->second));
      each = values_.erase(each);
    }
    return added;
  }

  void clear() noexcept {
    while (!values_.empty()) {
      const auto gone = std::move(values_);
      values_.clear();
    }
  }

 private:
  struct entry {
    counted_reference<shard_local_key> key;
    std::unique_ptr<shard_local_value> value;
  };
  std::unordered_map<const shard_local_key*, entry> values_;
};

}  // namespace roving::detail
