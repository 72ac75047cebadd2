// Deterministic simulation: a program of roving's, unchanged, with all its shards on one thread, a virtual clock and an
// in-memory network, where every choice comes from one source. The same seed gives the same run, to the byte of its
// trace.
//
//     roving::sim::explore({.seeds = 1000}, [] {          // finds the schedule in which it fails, and makes it short
//       roving::mutex mutex;
//       ...
//     });
//
// Link roving::sim instead of roving::roving: it is the same library, built so that a thread can be stopped at every
// atomic operation. Not both in one program.
//
// What is simulated: shards, the threads of blocking() and compute(), sim::thread, the clock behind roving::now(),
// sleeps and timeouts, TCP and name resolution. What is not: std::thread, std::mutex and other calls that block, the
// system's clocks, files, users' own thread-locals. A program that uses these in a simulated task stops all of it or
// sees what differs from run to run.
#pragma once

#if !defined(ROVING_SIMULATION)
#  error "<roving/sim.hpp> is of the library roving::sim: link that instead of roving::roving"
#endif

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include <roving/detail/planted.hpp>
#include <roving/options.hpp>
#include <roving/time.hpp>

#pragma GCC visibility push(default)

namespace roving::sim {

/// How it is chosen which thread goes on.
enum class strategy : std::uint8_t {
  drawn,        // one of the next three, by the seed
  random,       // any thread that can, after a random number of steps
  priorities,   // the one of highest priority, until one of `depth` points at which that becomes the lowest (PCT)
  round_robin,  // each in turn, for an equal number of steps
  every_step,   // a choice at each step, with at most `depth` stops of a thread that could go on: for enumerate()
  timed         // a core for each thread: time passes for all at once, and who is behind goes on. For measuring: it
                // shows how work is spread, in virtual time that `costs` says, and draws no setting
};

/// What things take in strategy::timed. Flat: a cache line that others have costs no more than one's own.
struct costs {
  duration step = std::chrono::nanoseconds{10};   // an atomic operation that orders something
  duration glance = std::chrono::nanoseconds{2};  // a relaxed load
  duration spin = std::chrono::nanoseconds{40};   // a round of a loop that waits by spinning
  duration wake = std::chrono::microseconds{5};   // from a wake-up until who slept goes on
};

/// What the network does wrong, in parts of 1,000; drawn by the seed where left out.
struct network_faults {
  std::optional<unsigned> short_reads{};        // a read gives less than there is, a write takes less than fits
  std::optional<unsigned> would_block{};        // a call says EAGAIN, and readiness is told again
  std::optional<unsigned> interrupts{};         // a call says EINTR
  std::optional<unsigned> lost_connections{0};  // a connection is reset as it is used
  unsigned no_resources = 0;                    // EMFILE, ENFILE, ENOBUFS or ENOMEM, where a call may say that
  std::optional<duration> latency{};            // at most, of what is sent
};

struct options {
  std::uint64_t seed = 1;
  roving::options runtime{};  // shards, queues and so on; shards and deque_capacity are drawn where left at default
  strategy schedule = strategy::drawn;
  unsigned depth = 3;  // of strategy::priorities and every_step
  sim::costs costs{};  // of strategy::timed
  network_faults network{};
  std::uint64_t steps_at_most = 10'000'000;         // then it counts as hanging
  duration time_at_most = std::chrono::hours{24};   // of virtual time; likewise
  bool trace = false;                               // keep a text of what happened
  detail::planted planted = detail::planted::none;  // a fault of the library: for its own tests
  std::vector<std::uint32_t> choices{};             // taken first, and then 0 always; empty: from the seed
};

/// What a run did.
struct report {
  std::uint64_t seed = 0;
  std::uint64_t steps = 0;     // places at which a thread could be stopped
  std::uint64_t switches = 0;  // at which another went on
  duration time{};             // that passed on the virtual clock
  std::uint64_t hash = 0;      // of everything that happened, in order
  std::vector<std::uint32_t> choices;
  std::string trace;
};

/// A program failed in simulation. what() says how, and how to replay it.
class failure : public std::runtime_error {
 public:
  failure(const std::string& what, report of) : std::runtime_error{what}, report_{std::move(of)} {}
  [[nodiscard]] const sim::report& report() const noexcept { return report_; }

 private:
  sim::report report_;
};

/// Runs `program` as the main task of a simulated runtime.
///
/// Blocks until it has ended. Errors: failure, when the program throws, an error is never fetched, everything waits for
/// each other, or nothing ends; std::invalid_argument. Thread safety: any thread that is no shard's; simulations on
/// several threads do not know of each other. Lifetime: a run that failed is abandoned where it stood: what its tasks
/// had on their stacks is never destroyed.
report run(const options& how, const std::function<void()>& program);

/// Many runs, each with its own seed.
struct exploration {
  std::uint64_t seeds = 1000;
  std::uint64_t first_seed = 1;
  options each{};                            // its seed is set for each
  bool shrink = true;                        // a failing run is made as short as it gets
  std::uint64_t shrink_runs_at_most = 2000;  // for that
};

struct explored {
  std::uint64_t runs = 0;
  std::uint64_t steps = 0;
  std::uint64_t switches = 0;
  std::uint64_t hash = 0;  // of all hashes
};

/// Runs the program with each seed. At the first failure it shrinks the choices, prints nothing, and throws failure.
///
/// With the variable ROVING_SIM_SHRINK in the environment, a number of runs, it shrinks in at most so many, whatever
/// `how` says; with 0 not at all.
/// With the variable ROVING_SIM_REPLAY in the environment, as a failure's what() gives it, it runs that one only, with
/// a trace on stderr.
explored explore(const exploration& how, const std::function<void()>& program);

/// Tries all schedules of a small program in which threads are stopped at most `preemptions` times where they could go
/// on. Throws failure as explore(). `runs_at_most` bounds it; explored::runs tells how many there were.
struct enumeration {
  unsigned preemptions = 2;
  std::uint64_t runs_at_most = 1'000'000;
  options each{};
};
explored enumerate(const enumeration& how, const std::function<void()>& program);

/// Choices out of bytes that somebody else varies, a fuzzer for one: for options::choices. Any bytes will do; equal
/// ones give equal runs, and all are 0 where the bytes have ended.
///
///     extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
///       roving::sim::run({.choices = roving::sim::choices_from_bytes(data, size)}, program);
///       return 0;
///     }
[[nodiscard]] std::vector<std::uint32_t> choices_from_bytes(const std::uint8_t* bytes, std::size_t count);

/// A plain thread, simulated. As std::jthread without a stop token: joins when it is destroyed.
///
/// Errors: std::logic_error outside of a simulation.
class thread {
 public:
  thread() noexcept;
  explicit thread(std::function<void()> body);
  thread(thread&& other) noexcept;
  thread& operator=(thread&& other) noexcept;
  ~thread();

  /// Blocks the calling thread (on a shard: with all its tasks) until it has ended.
  void join();

 private:
  struct state;
  std::unique_ptr<state> state_;
};

/// Computes for so long: the calling thread has to itself what it holds, its shard with all its tasks, while the others
/// go on. Does not suspend.
///
/// Errors: std::logic_error outside of a simulation.
void spend(duration span);

/// Whether the caller runs in a simulation.
[[nodiscard]] bool is_simulated() noexcept;

}  // namespace roving::sim

#pragma GCC visibility pop
