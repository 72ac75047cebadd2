// The atomics of everything that threads share: std::atomic, but in builds for simulation, where each operation that
// orders something is a place at which the thread may be stopped and another one run.
//
// One alias instead of calls by hand: no protocol can forget a place, and none is paid for in production. Relaxed loads
// and stores are no such places: they are for counters, for an owner's own writes and for first looks.
#pragma once

#include <atomic>

#pragma GCC visibility push(default)

namespace roving::detail {

#if defined(ROVING_SIMULATION)

/// Lets a simulation stop the calling thread here, if one runs it.
void sim_point() noexcept;
/// Lets time pass for it, if the simulation is about time.
void sim_glance() noexcept;

template <class Value>
class simulated_atomic {
 public:
  constexpr simulated_atomic() noexcept = default;
  constexpr simulated_atomic(Value value) noexcept : value_{value} {}  // as std::atomic's
  simulated_atomic(const simulated_atomic&) = delete;
  simulated_atomic& operator=(const simulated_atomic&) = delete;

  [[nodiscard]] Value load(std::memory_order order = std::memory_order_seq_cst) const noexcept {
    order != std::memory_order_relaxed ? sim_point() : sim_glance();
    return value_.load(order);
  }
  void store(Value value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    if (order != std::memory_order_relaxed) sim_point();
    value_.store(value, order);
  }
  Value exchange(Value value, std::memory_order order = std::memory_order_seq_cst) noexcept {
    sim_point();
    return value_.exchange(value, order);
  }
  bool compare_exchange_strong(Value& expected, Value value,
                               std::memory_order success = std::memory_order_seq_cst) noexcept {
    sim_point();
    return value_.compare_exchange_strong(expected, value, success);
  }
  bool compare_exchange_strong(Value& expected, Value value, std::memory_order success,
                               std::memory_order failure) noexcept {
    sim_point();
    return value_.compare_exchange_strong(expected, value, success, failure);
  }
  // Never fails for no reason: what it does must not depend on the processor.
  bool compare_exchange_weak(Value& expected, Value value,
                             std::memory_order success = std::memory_order_seq_cst) noexcept {
    return compare_exchange_strong(expected, value, success);
  }
  bool compare_exchange_weak(Value& expected, Value value, std::memory_order success,
                             std::memory_order failure) noexcept {
    return compare_exchange_strong(expected, value, success, failure);
  }

  Value fetch_add(Value by, std::memory_order order = std::memory_order_seq_cst) noexcept {
    sim_point();
    return value_.fetch_add(by, order);
  }
  Value fetch_sub(Value by, std::memory_order order = std::memory_order_seq_cst) noexcept {
    sim_point();
    return value_.fetch_sub(by, order);
  }
  Value fetch_and(Value with, std::memory_order order = std::memory_order_seq_cst) noexcept {
    sim_point();
    return value_.fetch_and(with, order);
  }
  Value fetch_or(Value with, std::memory_order order = std::memory_order_seq_cst) noexcept {
    sim_point();
    return value_.fetch_or(with, order);
  }
  Value operator++() noexcept { return static_cast<Value>(fetch_add(1) + 1); }
  Value operator--() noexcept { return static_cast<Value>(fetch_sub(1) - 1); }
  operator Value() const noexcept { return load(); }

 private:
  std::atomic<Value> value_{};
};

template <class Value>
using atomic = simulated_atomic<Value>;

#else

template <class Value>
using atomic = std::atomic<Value>;

#endif

}  // namespace roving::detail

#pragma GCC visibility pop
