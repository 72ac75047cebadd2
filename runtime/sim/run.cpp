// See <roving/sim.hpp>: plugs a simulation into a runtime, runs many, and makes what fails short.
#include <roving/sim.hpp>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <numeric>
#include <optional>
#include <stdexcept>
#include <tuple>
#include <utility>

#include <roving/error.hpp>
#include <roving/runtime.hpp>
#include <roving/task_view.hpp>

#include "runtime/error_text.hpp"
#include "runtime/runtime_access.hpp"
#include "runtime/sim/network.hpp"
#include "runtime/sim/simulation.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/shard.hpp"

namespace roving::sim {
namespace {

struct result {
  std::string failure;  // empty: none
  report of;
  std::vector<choice_source::choice> tree;
};

// One run. `program` is called on a simulated thread.
result run_once(const options& how, const std::function<void()>& program) {
  // On the heap and let go of: what was abandoned may still refer to them.
  auto sim = std::make_unique<simulation>(how);
  auto net = std::make_unique<network>(*sim, how.network);
  choice_source& choices = sim->choices();

  roving::options chosen = how.runtime;
  constexpr std::uint32_t shards_at_most = 8;
  if (!chosen.shards) chosen.shards = 1 + choices.of_setting(shards_at_most);
  constexpr std::uint32_t doublings = 8;
  const bool draws_settings = how.schedule != strategy::timed;
  if (draws_settings && chosen.deque_capacity == roving::options{}.deque_capacity)
    chosen.deque_capacity = std::size_t{2} << choices.of_setting(doublings);
  const auto vary = [&](unsigned& setting, unsigned by_default, std::initializer_list<unsigned> others) {
    if (setting != by_default || !draws_settings) return;
    const std::uint32_t drawn = choices.of_setting(static_cast<std::uint32_t>(2 * others.size()));
    if (drawn >= others.size()) setting = others.begin()[drawn - others.size()];
  };
  const roving::options usual;
  vary(chosen.roving_per_turn, usual.roving_per_turn, {1, 2, 8});
  vary(chosen.poll_every_tasks, usual.poll_every_tasks, {1, 4, 32});
  vary(chosen.blocking_threads_at_most, usual.blocking_threads_at_most, {1, 2, 4});
  unsigned steal_at_most = detail::scheduler_options{}.steal_at_most;
  vary(steal_at_most, steal_at_most, {1, 2, 4});
  unsigned enough_searchers = 0;
  vary(enough_searchers, 0, {2, 3});
  chosen.pin_threads = when::never;
  chosen.handle_sigint = false;
  constexpr std::uint32_t seeds = 1U << 31U;
  chosen.seed = 1 + choices.of_setting(seeds);
  std::string unhandled_error;
  if (!chosen.on_unhandled)
    chosen.on_unhandled = [&](const unhandled& what) {
      if (unhandled_error.empty())
        unhandled_error = std::string{what.message} + ": " + detail::text_of(what.error) + " (" + what.task + ")";
    };

  std::string thrown;
  const bool ended = sim->run([&] {
    detail::scheduler_options made = detail::checked_options(chosen);
    made.clock = sim.get();
    made.threads = sim.get();
    made.make_parker = [&](unsigned) { return std::make_unique<sim_poller>(*sim, *net); };
    made.make_compute_pool = {};
    made.cores = {};
    made.usable_cores = {};
    made.steal_at_most = steal_at_most;
    made.enough_searchers = enough_searchers;
    made.search_for = std::chrono::microseconds{5};
    made.stall_threshold = {};  // it is about real time
    runtime simulated = detail::runtime_access::make(std::move(made));
    sim->keeps_work_to_itself = [&of = detail::runtime_access::scheduler_of(simulated)](unsigned shard) {
      return of.shard_count() > 1 && of.at(shard).keeps_work_to_itself();
    };
    sim->is_unwatched = [&of = detail::runtime_access::scheduler_of(simulated)](unsigned shard) {
      return of.shard_count() > 1 && of.at(shard).is_unwatched();
    };
    sim->describe_tasks = [&simulated] { return detail::runtime_access::scheduler_of(simulated).describe_tasks(); };
    try {
      simulated.run(program);
    } catch (const std::exception& error) {
      thrown = error.what();
    } catch (const cancelled&) {
      thrown = "cancelled";
    }
    simulated.close();
    sim->describe_tasks = nullptr;
    sim->keeps_work_to_itself = nullptr;
    sim->is_unwatched = nullptr;
  });

  result made{{}, sim->take_report(), sim->choices().made()};
  if (!ended)
    made.failure = sim->why_it_failed();
  else if (!thrown.empty())
    made.failure = "the program threw: " + thrown;
  else if (!unhandled_error.empty())
    made.failure = unhandled_error;
  else if (const std::size_t left = net->open_descriptors(); left != 0)
    made.failure = std::to_string(left) + " descriptors were left open";
  if (!ended) {
    (void)net.release();  // abandoned with what refers to it
  }
  return made;
}

[[noreturn]] void throw_failure(const result& of, const std::string& more) {
  throw failure{"simulation failed with seed " + std::to_string(of.of.seed) + ", at step " +
                    std::to_string(of.of.steps) + ": " + of.failure + more + "\nreplay it with ROVING_SIM_REPLAY='" +
                    std::to_string(of.of.seed) + ':' + to_text(of.of.choices) + "'",
                of.of};
}

// --- shrinking -------------------------------------------------------------------------------------------------------

// Makes the log of choices plainer as long as the program still fails. A choice means what it means by its place, so a
// change early in the log changes all that follows; what helps is to try many kinds of change, in turn, until none
// does: to cut the end, to leave stretches out, to set them to 0, the plainest, to make numbers smaller, and to let one
// thread run on for as long as two choices did.
//
// What comes out is where no such change helps any more, which depends on where it began. So several failing seeds are
// made shorter, and the shortest is kept.
class shrinker {
 public:
  shrinker(options how, const std::function<void()>& program, std::uint64_t runs)
      : how_{std::move(how)}, program_{program}, chooses_{how_.choices.empty()}, runs_left_{runs} {}

  // `first_other`: a seed from which on to look for other failures.
  result shrink(result failed, std::uint64_t first_other) {
    const std::uint64_t for_each = std::max<std::uint64_t>(1, runs_left_ / 4);
    result best = shorter(std::move(failed), for_each);
    for (std::uint64_t seed = first_other; length(best) > short_enough;) {
      std::optional<result> other = next_failure(seed);
      if (!other) break;
      result shortened = shorter(std::move(*other), for_each);
      if (is_plainer(shortened, best)) best = std::move(shortened);
    }
    return best;
  }

  [[nodiscard]] std::uint64_t runs() const noexcept { return runs_; }

 private:
  using log = std::vector<std::uint32_t>;
  static constexpr std::size_t short_enough = 8;

  static std::size_t length(const result& of) { return of.of.choices.size(); }
  static std::size_t weight(const result& of) {
    const log& all = of.of.choices;
    return all.size() - static_cast<std::size_t>(std::count(all.begin(), all.end(), 0U));
  }
  static std::uint64_t sum(const result& of) {
    return std::accumulate(of.of.choices.begin(), of.of.choices.end(), std::uint64_t{0});
  }
  static bool is_plainer(const result& one, const result& other) {
    return std::tuple{length(one), weight(one), sum(one)} < std::tuple{length(other), weight(other), sum(other)};
  }

  static void trim(log& choices) {
    while (!choices.empty() && choices.back() == 0) choices.pop_back();
  }

  // From `seed` on, which is the one behind it then.
  std::optional<result> next_failure(std::uint64_t& seed) {
    if (!chooses_) return std::nullopt;  // the seed chooses nothing
    while (runs_left_ != 0) {
      options one = how_;
      one.seed = seed++;
      one.choices.clear();
      count_run();
      result got = run_once(one, program_);
      if (!got.failure.empty()) return got;
    }
    return std::nullopt;
  }

  result shorter(result failed, std::uint64_t runs) {
    const std::uint64_t reserve = runs_left_ - std::min(runs, runs_left_);
    best_ = std::move(failed);
    trim(best_.of.choices);
    stop_at_ = reserve;
    for (bool better = true; better && may_go_on();) {
      better = cut_end();
      better |= fewer_stops();
      for (std::size_t stretch = std::max<std::size_t>(1, length(best_) / 2); stretch >= 1; stretch /= 2) {
        better |= leave_out(stretch);
        better |= clear(stretch);
      }
      better |= join();
      better |= lower();
      if (!better) better = draw_anew();
    }
    stop_at_ = 0;
    return std::move(best_);
  }

  [[nodiscard]] bool may_go_on() const noexcept { return runs_left_ > stop_at_; }
  void count_run() noexcept {
    --runs_left_;
    ++runs_;
  }

  // Keeps what is plainer, or as good where it `opens` a way.
  bool try_it(log choices, bool opens = false) {
    if (!may_go_on()) return false;
    count_run();
    if (choices.empty()) choices.push_back(0);
    how_.choices = std::move(choices);
    result got = run_once(how_, program_);
    if (got.failure.empty()) return false;
    trim(got.of.choices);  // those that were asked for, and no larger than there was to choose from
    got.of.seed = best_.of.seed;
    if (!is_plainer(got, best_) && !(opens && length(got) <= length(best_))) return false;
    best_ = std::move(got);
    return true;
  }

  bool cut_end() {
    bool better = false;
    for (std::size_t cut = length(best_) / 2; cut >= 1; cut /= 2) {
      while (length(best_) > cut) {
        log shorter = best_.of.choices;
        shorter.resize(shorter.size() - cut);
        if (!try_it(std::move(shorter))) break;
        better = true;
      }
    }
    return better;
  }

  // The second choice is how long a thread may run at most. The lengths that follow stay what they are, and can be made
  // longer then.
  bool fewer_stops() {
    constexpr std::size_t stretch_setting = 1;
    constexpr std::uint32_t longest = 7;
    if (length(best_) <= stretch_setting || how_.schedule != strategy::drawn) return false;
    if (best_.of.choices[stretch_setting] == longest) return false;
    log other = best_.of.choices;
    other[stretch_setting] = longest;
    (void)try_it(std::move(other), true);
    return false;
  }

  // What follows takes the places, and so may mean something else.
  bool leave_out(std::size_t stretch) {
    bool better = false;
    for (std::size_t at = 0; at + stretch <= length(best_) && may_go_on();) {
      log shorter = best_.of.choices;
      const auto from = shorter.begin() + static_cast<std::ptrdiff_t>(at);
      shorter.erase(from, from + static_cast<std::ptrdiff_t>(stretch));
      if (try_it(std::move(shorter)))
        better = true;
      else
        at += stretch;
    }
    return better;
  }

  bool clear(std::size_t stretch) {
    bool better = false;
    for (std::size_t at = 0; at < length(best_) && may_go_on(); at += stretch) {
      log plainer = best_.of.choices;
      const auto from = plainer.begin() + static_cast<std::ptrdiff_t>(at);
      const auto to = plainer.begin() + static_cast<std::ptrdiff_t>(std::min(plainer.size(), at + stretch));
      if (std::all_of(from, to, [](std::uint32_t each) { return each == 0; })) continue;
      std::fill(from, to, 0U);
      better |= try_it(std::move(plainer));
    }
    return better;
  }

  // A length, who goes on, a length: one length.
  bool join() {
    bool better = false;
    for (std::size_t at = 0; at + 2 < length(best_) && may_go_on();) {
      log shorter = best_.of.choices;
      shorter[at + 2] += shorter[at];
      const auto from = shorter.begin() + static_cast<std::ptrdiff_t>(at);
      shorter.erase(from, from + 2);
      if (try_it(std::move(shorter)))
        better = true;
      else
        ++at;
    }
    return better;
  }

  // Where no small change helps: shorter logs in which much is 0 and some is elsewhere. How the run is set up stays.
  bool draw_anew() {
    constexpr unsigned attempts = 150;
    choice_source chance{length(best_)};
    for (unsigned i = 0; i < attempts && length(best_) > short_enough; ++i) {
      log other = best_.of.choices;
      std::size_t settings = 0;
      while (settings < other.size() && best_.tree[settings].is_setting) ++settings;
      if (settings >= other.size()) return false;
      const auto drawn = static_cast<std::uint32_t>(other.size() - settings);
      other.resize(settings + chance.below(drawn));
      for (std::size_t at = settings; at < other.size(); ++at) {
        constexpr std::uint32_t ways = 4;
        const std::uint32_t way = chance.below(ways);
        if (way == 0) other[at] = best_.of.choices[settings + chance.below(drawn)];
        if (way == 1) other[at] = 0;
      }
      if (try_it(std::move(other))) return true;
    }
    return false;
  }

  bool lower() {
    bool better = false;
    for (std::size_t at = 0; at < length(best_) && may_go_on(); ++at) {
      while (at < length(best_) && best_.of.choices[at] > 1) {
        log plainer = best_.of.choices;
        plainer[at] /= 2;
        if (!try_it(std::move(plainer))) break;
        better = true;
      }
    }
    return better;
  }

  options how_;
  const std::function<void()>& program_;
  const bool chooses_;  // the seed does
  std::uint64_t runs_left_;
  std::uint64_t stop_at_ = 0;
  std::uint64_t runs_ = 0;
  result best_;
};

// What ROVING_SIM_SHRINK says: 0, or how many runs it may take.
void read_shrinking(exploration& how) {
  const char* const asked = std::getenv("ROVING_SIM_SHRINK");
  if (asked == nullptr || *asked == '\0') return;
  char* end = nullptr;
  const unsigned long long runs = std::strtoull(asked, &end, 10);
  if (*end != '\0')
    throw std::invalid_argument{"ROVING_SIM_SHRINK is \"" + std::string{asked}.substr(0, 40) +
                                "\"; it is a number of runs, 0 for none"};
  how.shrink = runs != 0;
  how.shrink_runs_at_most = runs;
}

// What ROVING_SIM_REPLAY asks for: "seed" or "seed:choices".
std::optional<options> replay_asked_for(options how) {
  const char* const asked = std::getenv("ROVING_SIM_REPLAY");
  if (asked == nullptr || *asked == '\0') return std::nullopt;
  const std::string_view text{asked};
  const std::size_t colon = text.find(':');
  try {
    how.seed = std::stoull(std::string{text.substr(0, colon)});
  } catch (const std::exception&) {
    throw std::invalid_argument{"ROVING_SIM_REPLAY is \"" + std::string{text.substr(0, 40)} +
                                "\"; it is a seed, or a seed, a colon and choices as a failure prints them"};
  }
  if (colon != std::string_view::npos) how.choices = choices_from(text.substr(colon + 1));
  how.trace = true;
  return how;
}

void add(explored& to, const report& of) {
  ++to.runs;
  to.steps += of.steps;
  to.switches += of.switches;
  to.hash = (to.hash ^ of.hash) * 0x100000001b3ULL;
}

void check(const options& how) {
  if (current_simulation() != nullptr) throw broken_contract{"sim::run: a simulation can't run inside another"};
  const unsigned shards_at_most = how.schedule == strategy::timed ? 1024 : 64;
  if (how.runtime.shards && *how.runtime.shards > shards_at_most)
    throw std::invalid_argument{"sim::options: " + std::to_string(*how.runtime.shards) +
                                " shards; a simulation can have " + std::to_string(shards_at_most) + " at most"};
}

}  // namespace

report run(const options& how, const std::function<void()>& program) {
  check(how);
  result got = run_once(how, program);
  if (!got.failure.empty()) throw_failure(got, "");
  return std::move(got.of);
}

explored explore(const exploration& given, const std::function<void()>& program) {
  exploration how = given;
  read_shrinking(how);
  check(how.each);
  explored all;
  if (const auto asked = replay_asked_for(how.each)) {
    const result got = run_once(*asked, program);
    std::fwrite(got.of.trace.data(), 1, got.of.trace.size(), stderr);
    if (!got.failure.empty()) throw_failure(got, "");
    add(all, got.of);
    return all;
  }
  for (std::uint64_t i = 0; i < how.seeds; ++i) {
    options one = how.each;
    one.seed = how.first_seed + i;
    result got = run_once(one, program);
    if (got.failure.empty()) {
      add(all, got.of);
      continue;
    }
    if (!how.shrink) throw_failure(got, "");
    const std::size_t before = got.of.choices.size();
    shrinker shorter{how.each, program, how.shrink_runs_at_most};
    const result shrunken = shorter.shrink(std::move(got), one.seed + 1);
    throw_failure(shrunken,
                  "\nshrunken from " + std::to_string(before) + " choices to " +
                      std::to_string(shrunken.of.choices.size()) + " in " + std::to_string(shorter.runs()) + " runs");
  }
  return all;
}

explored enumerate(const enumeration& how, const std::function<void()>& program) {
  check(how.each);
  explored all;
  options one = how.each;
  one.schedule = strategy::every_step;
  one.depth = how.preemptions;
  // Depth first over the tree of choices: the last one that has an alternative left takes it, what follows is 0.
  one.choices = {0};
  while (all.runs < how.runs_at_most) {
    result got = run_once(one, program);
    add(all, got.of);
    if (!got.failure.empty()) throw_failure(got, "");
    auto& made = got.tree;
    while (!made.empty() && (made.back().is_setting || made.back().value + 1 == made.back().bound)) made.pop_back();
    if (made.empty()) break;
    one.choices.clear();
    for (const auto& each : made) one.choices.push_back(each.value);
    ++one.choices.back();
  }
  return all;
}

// Two bytes for each: so many values are told apart where there is much to choose from.
std::vector<std::uint32_t> choices_from_bytes(const std::uint8_t* bytes, std::size_t count) {
  std::vector<std::uint32_t> choices;
  choices.reserve(count / 2 + 1);
  for (std::size_t at = 0; at < count; at += 2) {
    const std::uint32_t high = at + 1 < count ? bytes[at + 1] : 0U;
    choices.push_back(bytes[at] | (high << 8U));
  }
  if (choices.empty()) choices.push_back(0);
  return choices;
}

void spend(duration span) {
  simulation* const here = current_simulation();
  if (here == nullptr) throw std::logic_error{"sim::spend: outside of a simulation"};
  here->spend(span);
}

bool is_simulated() noexcept { return current_simulation() != nullptr; }

// --- thread ----------------------------------------------------------------------------------------------------------

struct thread::state {
  std::unique_ptr<detail::started_thread> handle;
};

thread::thread() noexcept = default;
thread::thread(std::function<void()> body) : state_{std::make_unique<state>()} {
  simulation* const here = current_simulation();
  if (here == nullptr) throw std::logic_error{"sim::thread: outside of a simulation; use std::thread there"};
  state_->handle = here->start(std::move(body));
}
thread::thread(thread&& other) noexcept = default;
thread& thread::operator=(thread&& other) noexcept = default;
thread::~thread() = default;
void thread::join() { state_.reset(); }

}  // namespace roving::sim
