// How work spreads over more shards than the machine at hand has: the library itself in simulation, with a core for
// each shard and virtual time, beside an ideal single queue that is offered the same load.
//
//     study [--tasks N] [--seed N]      a line of JSON for each number of shards and each load, with that many tasks
//     for
//                                       each shard
//
// What is real: every line of the scheduler, its queues, searches, wake-ups and its watch. What is modelled: time. An
// atomic operation takes 10 ns, a relaxed load 2, a round of spinning 40, a wake-up 5 us, whoever's cache line it is;
// all else takes none. So no contention for memory is in it, and no kernel.
//
// Sources, roving tasks, sleep until a task is due and spawn it, roving too; it computes for its time. Schedule latency
// is from the spawn to when it begins. The ideal queue gets the same tasks at the same moments; it has as many servers
// as there are shards, hands each task to one at once if one is free, and pays for nothing but the wake-up: that of a
// server which had nothing to do. How late a source is, whose timer nobody sees while its shard is in the middle of a
// task, stands for itself: that is so for all that is told to a loop, and no queue can help it.
//
// The first quarter of the time does not count: all shards sleep at the start, and wake one after another.
//
// balanced: a source for each shard. skewed: one for eight shards, with the load of eight. stalling: as balanced, but
// one task in a hundred takes 2 ms. The shards are busy for 70 % of the time in each.
#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <functional>
#include <queue>
#include <random>
#include <stdexcept>
#include <string_view>
#include <vector>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

#include "perf/histogram.hpp"
#include "scheduler/scheduler.hpp"
#include "scheduler/this_shard.hpp"

namespace {

using namespace std::chrono_literals;
using roving_perf::histogram;

struct load {
  const char* name;
  unsigned shards_of_a_source;
  double stalls;  // share of tasks
};

constexpr load loads[] = {{"balanced", 1, 0}, {"skewed", 8, 0}, {"stalling", 1, 0.01}};
constexpr unsigned numbers_of_shards[] = {16, 64, 256};
constexpr double busy = 0.7;
constexpr roving::duration usual_work = 20us;  // on average, exponentially
constexpr roving::duration stall = 2ms;
constexpr roving::sim::costs costs;

struct job {
  roving::duration due{};  // from the start
  roving::duration work{};
};

// Of each source, in order of time.
std::vector<std::vector<job>> draw(const load& what, unsigned shards, std::size_t tasks, std::uint64_t seed) {
  const unsigned sources = shards / what.shards_of_a_source;
  const double mean_ns =
      (1 - what.stalls) * static_cast<double>(usual_work.count()) + what.stalls * static_cast<double>(stall.count());
  const double between_ns = mean_ns / busy / what.shards_of_a_source;  // a source's tasks
  std::mt19937_64 random{seed};
  std::exponential_distribution<double> exponential{1};
  std::bernoulli_distribution stalls{what.stalls};
  std::vector<std::vector<job>> all(sources);
  for (auto& of_one : all) {
    double at_ns = 0;
    for (std::size_t i = 0; i < tasks / sources; ++i) {
      at_ns += between_ns * exponential(random);
      const double work_ns = stalls(random) ? static_cast<double>(stall.count())
                                            : static_cast<double>(usual_work.count()) * exponential(random);
      of_one.push_back(
          {roving::duration{static_cast<std::int64_t>(at_ns)}, roving::duration{static_cast<std::int64_t>(work_ns)}});
    }
  }
  return all;
}

histogram latencies_of_ideal_queue(std::vector<job> in_order, unsigned shards, roving::duration counts_from) {
  std::stable_sort(in_order.begin(), in_order.end(), [](const job& a, const job& b) { return a.due < b.due; });
  std::priority_queue<roving::duration, std::vector<roving::duration>, std::greater<>> free_at;
  for (unsigned i = 0; i < shards; ++i) free_at.push({});
  histogram latencies_ns;
  for (const job& each : in_order) {
    const roving::duration begins = std::max(each.due + costs.wake, free_at.top());
    free_at.pop();
    free_at.push(begins + each.work);
    if (each.due >= counts_from) latencies_ns.record(static_cast<std::uint64_t>((begins - each.due).count()));
  }
  return latencies_ns;
}

struct outcome {
  std::vector<job> spawned;  // when each was, and not when it was due
  histogram latencies_ns;
  histogram lateness_of_sources_ns;
  roving::shard_counters counts;
  roving::duration counts_from{};  // the latencies
  roving::duration took{};
};

outcome simulate(const std::vector<std::vector<job>>& all, unsigned shards, unsigned shards_of_a_source,
                 std::uint64_t seed) {
  outcome found;  // one real thread
  roving::duration last{};
  for (const auto& of_one : all) last = std::max(last, of_one.back().due);
  found.counts_from = last / 4;
  roving::sim::options how;
  how.seed = seed;
  how.schedule = roving::sim::strategy::timed;
  how.costs = costs;
  how.steps_at_most = std::uint64_t{1} << 40U;
  how.runtime.shards = shards;
  how.runtime.seed = seed;
  roving::sim::run(how, [&] {
    const roving::time_point start = roving::now() + 1ms;
    const auto run_source = [&](const std::vector<job>& mine) {
      roving::with_task_group([&](roving::task_group& group) {
        for (const job& each : mine) {
          const roving::time_point due = start + each.due;
          if (roving::now() < due) roving::sleep_until(due);
          const roving::time_point ready = roving::now();
          found.spawned.push_back({ready - start, each.work});
          const bool counts = ready - start >= found.counts_from;
          if (counts) found.lateness_of_sources_ns.record(static_cast<std::uint64_t>((ready - due).count()));
          group.spawn([&found, ready, counts, work = each.work] {
            const roving::duration waited = std::max(roving::now() - ready, roving::duration::zero());
            if (counts) found.latencies_ns.record(static_cast<std::uint64_t>(waited.count()));
            roving::sim::spend(work);
          });
        }
      });
    };
    std::vector<roving::task<void>> sources;
    for (unsigned i = 0; i < all.size(); ++i)
      sources.push_back(roving::spawn(roving::on_shard(i * shards_of_a_source), [&, i] {
        roving::spawn(roving::anywhere, [&, i] { run_source(all[i]); }).get();
      }));
    for (auto& each : sources) each.get();
    found.took = roving::now() - start;
    roving::detail::scheduler& of = roving::detail::this_shard()->owner();
    for (unsigned i = 0; i < shards; ++i) {
      const roving::shard_counters each = of.at(i).counters();
      found.counts.steals += each.steals;
      found.counts.missed += each.missed;
      found.counts.stolen += each.stolen;
      found.counts.wakes += each.wakes;
      found.counts.sleeps += each.sleeps;
      found.counts.serviced += each.serviced;
    }
  });
  return found;
}

double microseconds(std::uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1000; }

void study(const load& what, unsigned shards, std::size_t tasks, std::uint64_t seed) {
  const auto all = draw(what, shards, tasks * shards, seed);
  const outcome found = simulate(all, shards, what.shards_of_a_source, seed);
  const histogram ideal = latencies_of_ideal_queue(found.spawned, shards, found.counts_from);
  const auto per_task = [&](std::uint64_t count) {
    return static_cast<double>(count) / static_cast<double>(found.spawned.size());
  };
  std::printf("{\"load\": \"%s\", \"shards\": %u, \"tasks\": %llu, \"virtual_ms\": %.3f, ", what.name, shards,
              static_cast<unsigned long long>(found.spawned.size()), static_cast<double>(found.took.count()) / 1e6);
  for (const auto& [name, percent] : {std::pair{"p50", 50.0}, std::pair{"p99", 99.0}, std::pair{"p99.9", 99.9}})
    std::printf("\"%s_us\": %.3f, \"ideal_%s_us\": %.3f, ", name, microseconds(found.latencies_ns.percentile(percent)),
                name, microseconds(ideal.percentile(percent)));
  std::printf("\"source_p99_us\": %.3f, ", microseconds(found.lateness_of_sources_ns.percentile(99)));
  std::printf("\"steals_per_task\": %.4f, \"missed_per_task\": %.4f, \"stolen_per_task\": %.4f, ",
              per_task(found.counts.steals), per_task(found.counts.missed), per_task(found.counts.stolen));
  std::printf("\"wakes_per_task\": %.4f, ", per_task(found.counts.wakes));
  std::printf("\"sleeps_per_task\": %.4f, \"serviced\": %llu}\n", per_task(found.counts.sleeps),
              static_cast<unsigned long long>(found.counts.serviced));
  std::fflush(stdout);
}

std::uint64_t number(const char* text) {
  std::uint64_t value = 0;
  if (text == nullptr || std::from_chars(text, text + std::strlen(text), value).ec != std::errc{} || value == 0)
    throw std::invalid_argument{"a number above 0 is missing"};
  return value;
}

}  // namespace

int main(int, char** arguments) {
  try {
    std::uint64_t tasks = 300;
    std::uint64_t seed = 1;
    for (char** at = arguments + 1; *at != nullptr; at += 2) {
      const std::string_view option = *at;
      if (option == "--tasks")
        tasks = number(at[1]);
      else if (option == "--seed")
        seed = number(at[1]);
      else
        throw std::invalid_argument{"there is no such option"};
    }
    for (const load& what : loads)
      for (const unsigned shards : numbers_of_shards) study(what, shards, tasks, seed);
    return 0;
  } catch (const std::invalid_argument& error) {
    std::fprintf(stderr, "study: %s\nstudy [--tasks N] [--seed N]\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "study: %s\n", error.what());
    return 1;
  }
}
