// An explorer of lock-free code: runs the types of the library as they are, with `explored` in the place of their
// atomics, on fibers, through all interleavings up to a bound of preemptions and all that the memory model lets a load
// see.
//
// Interleavings are enumerated depth first: an execution is a list of choices (who goes on; which of the visible stores
// a load reads; where in a location's order a store goes), and the next one repeats the list up to its last choice that
// has an untried alternative. A switch away from a thread that could go on is a preemption; who ends, spins or waits
// for a bell is left for free. Most faults of this kind need one or two preemptions, few need more (Musuvathi and
// Qadeer, 2007).
//
// The memory model is that of C++20 without out-of-thin-air. It is operational, by views:
//
//     a location   its stores, in modification order; a relaxed store may go before others that its thread has not seen
//     a thread     a view: for each location the oldest store that it may still read, and a vector clock
//     a store      the view that it releases; read-modify-writes hand on that of the store which they read
//     seq_cst      a total order: each store that is seq_cst comes last in it, a load may come before stores that it
//                  does not see
//
// A load reads any store that is not older than its thread's view; if it acquires, the store's view is added to the
// thread's. So what a store buffer, an invalidation queue or a compiler may do shows, and more than one kind of
// processor does. The order of seq_cst operations binds as little as in RC11 (Lahav et al., 2017): C++20 also orders a
// seq_cst load behind what comes before a weaker store that it reads, and nothing here relies on that.
//
// Load buffering, where a load reads what is stored after it, is explored on demand: a store that could have been read
// by an earlier load, since nothing orders it behind that, is remembered, and in a later execution that load reads it
// ahead. Executions in which the store then does not come, or comes where the load can't read it, count for nothing.
// One load in an execution reads ahead.
//
// What is not atomic is wrapped in `plain`, which finds two accesses, one of them a write, that nothing orders.
//
// A thread that spins calls relax(), which lets all go first who don't. It goes on when there is something new in what
// it has read since the last time, or when it has written itself, and sees what is new then: stores become visible at
// last.
//
// Rejected: reduction by partial orders, which does not go together well with a bound of preemptions. The one that is
// used is exact: between a load and what follows it there is no switch, since to switch before the load and then to
// read the older store comes to the same.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string>
#include <type_traits>
#include <vector>

#include <roving/detail/planted.hpp>

namespace roving_test {

/// What an order is written for. A compare-exchange has two.
enum class operation : std::uint8_t { load, store, exchange, success, failure, fetch };

/// A place in the source where an order is written.
struct site {
  const char* file;
  const char* function;
  int line;
  operation what;
  std::memory_order order;

  friend bool operator==(const site& left, const site& right) noexcept {
    return left.line == right.line && left.what == right.what && left.order == right.order &&
        std::strcmp(left.file, right.file) == 0;
  }
};

[[nodiscard]] const char* name_of(std::memory_order order) noexcept;
[[nodiscard]] const char* name_of(operation what) noexcept;

/// A weaker order at one site.
struct mutant {
  site where;
  std::memory_order weaker;
};

/// The orders that are weaker than that of `where`, the strongest first.
[[nodiscard]] std::vector<std::memory_order> weaker_than(const site& where);

/// What the threads of a scenario do. Made anew for each execution; what they share are its members.
class scenario {
 public:
  scenario() = default;
  scenario(const scenario&) = delete;
  scenario& operator=(const scenario&) = delete;
  virtual ~scenario() = default;

  /// The body of a thread; threads count from 0. No exception leaves it.
  virtual void thread(unsigned index) = 0;

  /// After all threads have ended; sees all that they did.
  virtual void at_end() {}
};

struct exploration_options {
  unsigned threads = 2;
  unsigned preemptions_at_most = 3;
  unsigned spurious_failures_at_most = 1;  // of compare_exchange_weak, in one execution
  bool load_buffering = false;
  const mutant* weakened = nullptr;
  roving::detail::planted fault = roving::detail::planted::none;
  std::uint64_t executions_at_most = 0;  // 0: all
};

struct exploration {
  std::uint64_t executions = 0;
  bool complete = false;  // false: one failed, or there were more than executions_at_most
  std::string failure;    // empty if all executions hold
  std::string trace;      // what happened in the one that failed
  std::vector<site> sites;

  [[nodiscard]] bool holds() const noexcept { return failure.empty(); }
};

using make_scenario = std::unique_ptr<scenario> (*)();

/// Runs all executions, or those up to the first that fails. Not thread-safe.
[[nodiscard]] exploration explore(make_scenario make, const exploration_options& options);

/// In a scenario: the execution fails if `condition` is false; does not return then.
void require(bool condition, const char* what);

// ---- What a scenario and the code in it are made of -----------------------------------------------------------------

namespace machine {  // the explorer's side

using modification = std::uint64_t (*)(std::uint64_t old, std::uint64_t operand);

[[nodiscard]] unsigned new_location(std::uint64_t value);
[[nodiscard]] std::uint64_t load(unsigned location, const site& where);
void store(unsigned location, std::uint64_t value, const site& where);
std::uint64_t modify(unsigned location, modification how, std::uint64_t operand, const site& where);
bool compare_exchange(unsigned location, std::uint64_t& expected, std::uint64_t value, bool weak, const site& success,
                      const site* failure);

struct access_history {
  static constexpr unsigned threads_at_most = 5;
  std::uint32_t writer = 0;
  std::uint32_t written = 0;
  std::array<std::uint32_t, threads_at_most> read{};
};
void read_plain(access_history& history);
void write_plain(access_history& history);

}  // namespace machine

/// Stands for std::atomic.
template <class Value>
class explored {
  static_assert(std::is_trivially_copyable_v<Value> && sizeof(Value) <= sizeof(std::uint64_t));

 public:
  explored() noexcept : explored{Value{}} {}
  explored(Value value) noexcept : location_{machine::new_location(bits(value))} {}  // as std::atomic's
  explored(const explored&) = delete;
  explored& operator=(const explored&) = delete;

  // Who calls is found out by default arguments; std::source_location is too young.
#define ROVING_CALLER \
  const char *file = __builtin_FILE(), const char *function = __builtin_FUNCTION(), int line = __builtin_LINE()

  [[nodiscard]] Value load(std::memory_order order, ROVING_CALLER) const noexcept {
    return value(machine::load(location_, {file, function, line, operation::load, order}));
  }
  void store(Value desired, std::memory_order order, ROVING_CALLER) noexcept {
    machine::store(location_, bits(desired), {file, function, line, operation::store, order});
  }
  Value exchange(Value desired, std::memory_order order, ROVING_CALLER) noexcept {
    const auto how = [](std::uint64_t, std::uint64_t operand) { return operand; };
    return value(machine::modify(location_, how, bits(desired), {file, function, line, operation::exchange, order}));
  }
  bool compare_exchange_strong(Value& expected, Value desired, std::memory_order success, std::memory_order failure,
                               ROVING_CALLER) noexcept {
    const site failing{file, function, line, operation::failure, failure};
    return compare(expected, desired, false, {file, function, line, operation::success, success}, &failing);
  }
  bool compare_exchange_weak(Value& expected, Value desired, std::memory_order success, std::memory_order failure,
                             ROVING_CALLER) noexcept {
    const site failing{file, function, line, operation::failure, failure};
    return compare(expected, desired, true, {file, function, line, operation::success, success}, &failing);
  }
  bool compare_exchange_weak(Value& expected, Value desired, std::memory_order order, ROVING_CALLER) noexcept {
    return compare(expected, desired, true, {file, function, line, operation::success, order}, nullptr);
  }
  bool compare_exchange_strong(Value& expected, Value desired, std::memory_order order, ROVING_CALLER) noexcept {
    return compare(expected, desired, false, {file, function, line, operation::success, order}, nullptr);
  }
  Value fetch_add(Value by, std::memory_order order, ROVING_CALLER) noexcept {
    const auto how = [](std::uint64_t old, std::uint64_t operand) {
      return bits(static_cast<Value>(value(old) + value(operand)));
    };
    return value(machine::modify(location_, how, bits(by), {file, function, line, operation::fetch, order}));
  }
  Value fetch_sub(Value by, std::memory_order order, ROVING_CALLER) noexcept {
    const auto how = [](std::uint64_t old, std::uint64_t operand) {
      return bits(static_cast<Value>(value(old) - value(operand)));
    };
    return value(machine::modify(location_, how, bits(by), {file, function, line, operation::fetch, order}));
  }
  Value fetch_and(Value with, std::memory_order order, ROVING_CALLER) noexcept {
    const auto how = [](std::uint64_t old, std::uint64_t operand) { return old & operand; };
    return value(machine::modify(location_, how, bits(with), {file, function, line, operation::fetch, order}));
  }
  Value fetch_or(Value with, std::memory_order order, ROVING_CALLER) noexcept {
    const auto how = [](std::uint64_t old, std::uint64_t operand) { return old | operand; };
    return value(machine::modify(location_, how, bits(with), {file, function, line, operation::fetch, order}));
  }
#undef ROVING_CALLER

 private:
  static std::uint64_t bits(Value of) noexcept {
    std::uint64_t result = 0;
    std::memcpy(&result, &of, sizeof of);
    return result;
  }
  static Value value(std::uint64_t of) noexcept {
    Value result;
    std::memcpy(&result, &of, sizeof result);
    return result;
  }
  bool compare(Value& expected, Value desired, bool weak, const site& success, const site* failure) noexcept {
    std::uint64_t seen = bits(expected);
    const bool done = machine::compare_exchange(location_, seen, bits(desired), weak, success, failure);
    if (!done) expected = value(seen);
    return done;
  }

  unsigned location_;
};

/// What is not atomic and yet shared. Two accesses, one of them a write, that nothing orders are a failure.
template <class Value>
class plain {
 public:
  plain() : plain{Value{}} {}
  plain(Value value) : value_{value} { machine::write_plain(history_); }
  plain(const plain&) = delete;
  plain& operator=(const plain& other) { return *this = static_cast<Value>(other); }
  plain& operator=(Value value) {
    machine::write_plain(history_);
    value_ = value;
    return *this;
  }
  operator Value() const {
    machine::read_plain(history_);
    return value_;
  }
  Value operator->() const { return *this; }

 private:
  Value value_;
  mutable machine::access_history history_;
};

/// What a thread sleeps in: an eventfd. As there, what comes before ring() is seen after the wait() that it ends.
class bell {
 public:
  bell();
  bell(const bell&) = delete;
  bell& operator=(const bell&) = delete;

  void ring();
  /// Until it was rung since the last time.
  void wait();

 private:
  unsigned number_;
};

}  // namespace roving_test
