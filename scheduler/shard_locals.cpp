// See <roving/detail/shard_locals.hpp>.
#include "scheduler/shard_locals.hpp"

#include <roving/error.hpp>

#include "scheduler/shard.hpp"
#include "scheduler/this_shard.hpp"

namespace roving::detail {

shard_local_value* find_shard_local(const shard_local_key& key) {
  shard* const here = this_shard();
  if (here == nullptr) throw no_shard{"shard_local::get"};
  return here->locals().find(key);
}

shard_local_value* add_shard_local(const counted_reference<shard_local_key>& key,
                                   std::unique_ptr<shard_local_value> made) {
  return this_shard()->locals().add(key, std::move(made));
}

}  // namespace roving::detail
