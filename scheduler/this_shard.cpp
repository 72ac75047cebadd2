// See this_shard.hpp.
#include "scheduler/this_shard.hpp"

#include "scheduler/simulator.hpp"

namespace roving::detail {
namespace {

thread_local shard* shard_of_this_thread = nullptr;

struct plain_thread_context {
  context_values* values = nullptr;
  ~plain_thread_context() {
    if (values != nullptr) release_context(*values);
  }
};
thread_local plain_thread_context context_of_plain_thread;

#if defined(ROVING_SIMULATION)
thread_local simulator* simulator_of_this_thread = nullptr;
#endif

}  // namespace

#if defined(ROVING_SIMULATION)
[[gnu::noinline]] simulator* current_simulator() noexcept { return simulator_of_this_thread; }
[[gnu::noinline]] void set_current_simulator(simulator* now) noexcept { simulator_of_this_thread = now; }
#endif

thread_locals exchange_thread_locals(const thread_locals& now) noexcept {
  const thread_locals before{this_shard(), context_of_this_thread()};
  set_this_shard(now.here);
  context_of_this_thread() = now.context_of_plain_thread;
  return before;
}

[[gnu::noinline]] shard* this_shard() noexcept {
  shard** place = &shard_of_this_thread;
  asm volatile("" : "+r"(place));  // hides what is pure about it
  return *place;
}

[[gnu::noinline]] void set_this_shard(shard* now) noexcept {
  shard** place = &shard_of_this_thread;
  asm volatile("" : "+r"(place));
  *place = now;
}

[[gnu::noinline]] bool is_thread_local_of_ours(std::uintptr_t address) noexcept {
  const auto is_in = [address](const auto& variable) {
    return address - reinterpret_cast<std::uintptr_t>(&variable) < sizeof variable;
  };
#if defined(ROVING_SIMULATION)
  if (is_in(simulator_of_this_thread)) return true;
#endif
  return is_in(shard_of_this_thread) || is_in(context_of_plain_thread);
}

[[gnu::noinline]] context_values*& context_of_this_thread() noexcept {
  context_values** place = &context_of_plain_thread.values;
  asm volatile("" : "+r"(place));
  return *place;
}

}  // namespace roving::detail
