// Tested: the lock-free types of the library under a weak memory model. Each scenario holds in all of its executions;
// each memory order is needed, since weakened it breaks a scenario, but for those that are listed here with a reason;
// planted faults are found.
//
// ROVING_SHOW_EXPLORED=1 prints the figures of docs/reliability.md. ROVING_EXPLORE_ALL=1 explores the largest scenario
// up to the full bound too, which takes minutes.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <regex>
#include <set>
#include <string>
#include <vector>

#include "scheduler/sanitizers.hpp"
#include "tests/explorer/scenarios.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;
using roving::detail::planted;

namespace {

// An order that is stronger than the scenarios need.
struct survivor {
  const char* site;  // as text() says it
  std::memory_order weaker;
  const char* because;
};

// [untouched] in claim_word.hpp: a read before it that sees what is written after a claim that comes after it.
// [count] in idle.hpp: that no count in the idle word falls below zero. What follows the flag is a read-modify-write of
// the word, and the model lets that read only what was stored before it.
constexpr const char* load_buffering =
    "only load buffering of a read-modify-write would break it, which is not explored";
constexpr survivor survivors[] = {
    {"idle.hpp call_one: compare_exchange release", std::memory_order_relaxed, load_buffering},
    {"claim_word.hpp is_untouched: fetch release", std::memory_order_relaxed, load_buffering},
};

constexpr unsigned full_bound = 3;

bool is_set(const char* variable) { return std::getenv(variable) != nullptr; }

// Preemptions are what makes an exploration long: under sanitizers one less does.
exploration_options options_of(const explored_scenario& one) {
  exploration_options options = one.options;
  if (is_set("ROVING_EXPLORE_ALL")) options.preemptions_at_most = full_bound;
  if (roving::detail::address_sanitizer) --options.preemptions_at_most;
  return options;
}

bool is_production(const site& where) { return std::strstr(where.file, "tests/explorer/") == nullptr; }

std::string text(const site& where) {
  const char* const slash = std::strrchr(where.file, '/');
  return std::string{slash != nullptr ? slash + 1 : where.file} + " " + where.function + ": " + name_of(where.what) +
      " " + name_of(where.order);
}

bool contains(const std::vector<site>& all, const site& one) {
  return std::find(all.begin(), all.end(), one) != all.end();
}

// Looks for a scenario that breaks, those first that break soonest: with fewer preemptions.
struct refutation {
  const char* by = nullptr;  // null: none
  unsigned preemptions = 0;
  std::uint64_t executions = 0;
  std::string failure;
};

refutation refute(const mutant& weakened, const std::vector<std::vector<site>>& sites_of) {
  refutation result;
  for (unsigned bound = 0; bound <= full_bound; ++bound) {
    for (std::size_t i = 0; i < sites_of.size(); ++i) {
      const explored_scenario& each = explored_scenarios()[i];
      exploration_options options = options_of(each);
      if (bound > options.preemptions_at_most || !contains(sites_of[i], weakened.where)) continue;
      options.preemptions_at_most = bound;
      options.weakened = &weakened;
      const exploration all = explore(each.make, options);
      result.executions += all.executions;
      if (all.holds()) continue;
      result.by = each.name;
      result.preemptions = bound;
      result.failure = all.failure;
      return result;
    }
  }
  return result;
}

const survivor* find_survivor(const mutant& weakened) {
  const auto* const found = std::find_if(std::begin(survivors), std::end(survivors), [&](const survivor& each) {
    return text(weakened.where) == each.site && weakened.weaker == each.weaker;
  });
  return found == std::end(survivors) ? nullptr : found;
}

struct expectation {
  planted fault;
  const char* by;
};
constexpr expectation expectations[] = {
    {planted::last_of_deque_unraced, "deque_one_thief"},  {planted::steal_in_two_steps, "deque_two_thieves"},
    {planted::drain_in_two_steps, "inbox_two_producers"}, {planted::inbox_newest_first, "inbox_two_producers"},
    {planted::claim_in_two_steps, "claim_armed"},         {planted::pins_not_awaited, "claim_passed_on"},
    {planted::watch_ended_unlooked, "watch_ended"},
};

exploration explore_with(const expectation& expected) {
  const auto& all = explored_scenarios();
  const auto found = std::find_if(
      all.begin(), all.end(), [&](const explored_scenario& one) { return std::strcmp(one.name, expected.by) == 0; });
  REQUIRE(found != all.end());
  exploration_options options = options_of(*found);
  options.fault = expected.fault;
  return explore(found->make, options);
}

}  // namespace

TEST_CASE("weak memory: the scenarios hold in all executions, and each memory order is needed", "[explorer]") {
  const bool shows = is_set("ROVING_SHOW_EXPLORED");

  std::vector<site> sites;
  std::vector<std::vector<site>> sites_of;
  std::uint64_t executions = 0;
  for (const explored_scenario& each : explored_scenarios()) {
    const exploration all = explore(each.make, options_of(each));
    INFO(each.name << ": " << all.failure << "\n" << all.trace);
    CHECK(all.holds());
    CHECK(all.complete);
    executions += all.executions;
    if (shows)
      std::printf("| %s | %s | %u | %llu |\n", each.name, each.shows, options_of(each).preemptions_at_most,
                  static_cast<unsigned long long>(all.executions));
    for (const site& one : all.sites)
      if (is_production(one) && !contains(sites, one)) sites.push_back(one);
    sites_of.push_back(all.sites);
  }

  unsigned mutants = 0;
  unsigned refuted = 0;
  for (const site& where : sites) {
    for (const std::memory_order weaker : weaker_than(where)) {
      const mutant weakened{where, weaker};
      const survivor* const expected = find_survivor(weakened);
      const refutation found = refute(weakened, sites_of);
      ++mutants;
      if (found.by != nullptr) ++refuted;
      if (shows)
        std::printf("| `%s` (line %d) | %s | %s | %u | %llu | %s |\n", text(where).c_str(), where.line, name_of(weaker),
                    found.by != nullptr ? found.by : "survives", found.preemptions,
                    static_cast<unsigned long long>(found.executions), found.failure.c_str());
      INFO(text(where) << " in line " << where.line << ", weakened to " << name_of(weaker)
                       << (expected != nullptr ? std::string{"; on the list: "} + expected->because : ""));
      if (expected == nullptr)
        CHECK(found.by != nullptr);
      else
        CHECK(found.by == nullptr);  // no survivor any more: take it off the list
    }
  }
  std::printf("%zu scenarios, %llu executions; %zu orders in the code, %u mutants, %u refuted\n",
              explored_scenarios().size(), static_cast<unsigned long long>(executions), sites.size(), mutants, refuted);
  CHECK(mutants - refuted == std::size(survivors));
  CHECK(refuted * 100 >= mutants * 95);
}

TEST_CASE("weak memory: planted faults are found", "[explorer]") {
  for (const expectation& each : expectations) {
    INFO(each.by);
    CHECK_FALSE(explore_with(each).holds());
  }
}

// A new operation of an explored type wants a scenario that comes by it.
TEST_CASE("weak memory: all orders in the explored files are met", "[explorer]") {
  std::vector<site> sites;
  const auto add = [&](const exploration& all) { sites.insert(sites.end(), all.sites.begin(), all.sites.end()); };
  for (const explored_scenario& each : explored_scenarios()) {
    exploration_options options = each.options;
    options.preemptions_at_most = std::min(options.preemptions_at_most, 2U);
    if (std::strcmp(each.name, "deque_wake_two") == 0) options.preemptions_at_most = 0;
    add(explore(each.make, options));
  }
  for (const expectation& each : expectations) add(explore_with(each));

  std::map<std::string, std::set<int>> lines;
  for (const site& each : sites)
    if (const std::string file = each.file; is_production(each))
      lines[file.substr(file.rfind("scheduler/"))].insert(each.line);
  CHECK(lines.size() == 8);
  const std::regex order{"memory_order_(acquire|release|acq_rel|seq_cst)"};
  for (const auto& [path, met] : lines) {
    std::ifstream file{std::string{ROVING_SOURCE_DIR} + "/" + path};
    REQUIRE(file);
    std::string line;
    for (int number = 1; std::getline(file, line); ++number) {
      const std::string code = line.substr(0, line.find("//"));
      if (!std::regex_search(code, order)) continue;
      INFO(path << ":" << number << ": " << line);  // a call may go over two lines
      CHECK((met.count(number - 1) != 0 || met.count(number) != 0 || met.count(number + 1) != 0));
    }
  }
}
