// Tested: the explorer itself. Small programs whose outcomes the memory model allows or forbids, by their names in the
// literature; data races; spinning; bells; the bound of preemptions.
#include <array>
#include <atomic>
#include <memory>
#include <set>
#include <string>

#include <roving/detail/relax.hpp>

#include "tests/explorer/explorer.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;

namespace {

constexpr auto relaxed = std::memory_order_relaxed;
constexpr auto acquire = std::memory_order_acquire;
constexpr auto release = std::memory_order_release;
constexpr auto acq_rel = std::memory_order_acq_rel;
constexpr auto seq_cst = std::memory_order_seq_cst;

using values = std::array<int, 4>;

// What its threads have read, at the end of each execution.
struct litmus : scenario {
  static inline std::set<values> outcomes;
  explored<int> x{0};
  explored<int> y{0};
  values read{};
  void at_end() override { outcomes.insert(read); }
};

template <class Program>
std::set<values> outcomes_of(unsigned threads, unsigned preemptions = 3) {
  litmus::outcomes.clear();
  const exploration all = explore([]() -> std::unique_ptr<scenario> { return std::make_unique<Program>(); },
                                  {.threads = threads, .preemptions_at_most = preemptions});
  CHECK(all.complete);
  CHECK(all.failure.empty());
  return litmus::outcomes;
}

template <class Program>
exploration all_of(unsigned threads) {
  return explore([]() -> std::unique_ptr<scenario> { return std::make_unique<Program>(); }, {.threads = threads});
}

template <std::memory_order writing, std::memory_order reading>
struct store_buffering : litmus {
  void thread(unsigned index) override {
    explored<int>& mine = index == 0 ? x : y;
    explored<int>& other = index == 0 ? y : x;
    mine.store(1, writing);
    read[index] = other.load(reading);
  }
};

template <std::memory_order writing, std::memory_order reading>
struct message_passing : litmus {
  void thread(unsigned index) override {
    if (index == 0) {
      x.store(1, relaxed);
      y.store(1, writing);
    } else {
      read[0] = y.load(reading);
      read[1] = x.load(relaxed);
    }
  }
};

template <std::memory_order reading, std::memory_order writing>
struct load_buffering : litmus {
  void thread(unsigned index) override {
    read[index] = (index == 0 ? x : y).load(reading);
    (index == 0 ? y : x).store(1, writing);
  }
};

template <std::memory_order writing, std::memory_order reading>
struct independent_reads : litmus {
  void thread(unsigned index) override {
    if (index < 2) return (index == 0 ? x : y).store(1, writing);
    read[2 * (index - 2)] = (index == 2 ? x : y).load(reading);
    read[2 * (index - 2) + 1] = (index == 2 ? y : x).load(reading);
  }
};

struct coherent_reads : litmus {
  void thread(unsigned index) override {
    if (index == 0) {
      x.store(1, relaxed);
      x.store(2, relaxed);
    } else {
      read[0] = x.load(relaxed);
      read[1] = x.load(relaxed);
    }
  }
};

template <std::memory_order writing>
struct two_writes_each : litmus {
  void thread(unsigned index) override {
    (index == 0 ? x : y).store(1, writing);
    (index == 0 ? y : x).store(2, writing);
  }
  void at_end() override {
    read = {x.load(relaxed), y.load(relaxed), 0, 0};
    litmus::at_end();
  }
};

// Both readers are told of x by y, one by way of the other.
template <std::memory_order writing, std::memory_order reading>
struct write_to_read_causality : litmus {
  void thread(unsigned index) override {
    if (index == 0) {
      x.store(1, relaxed);
    } else if (index == 1) {
      read[0] = x.load(reading);
      y.store(1, writing);
    } else {
      read[1] = y.load(reading);
      read[2] = x.load(relaxed);
    }
  }
};

template <std::memory_order order>
struct counting : litmus {
  void thread(unsigned) override { x.fetch_add(1, order); }
  void at_end() override {
    read[0] = x.load(relaxed);
    litmus::at_end();
  }
};

// A release that is read by way of another thread's read-modify-write, or of its store.
template <bool by_modification>
struct release_sequence : litmus {
  plain<int> data{0};
  void thread(unsigned index) override {
    if (index == 0) {
      data = 1;
      x.store(1, release);
    } else if (index == 1) {
      if (by_modification)
        x.fetch_add(2, relaxed);
      else if (x.load(relaxed) == 1)
        x.store(3, relaxed);
    } else if (x.load(acquire) == 3) {
      require(data == 1, "the data is not there");
    }
  }
};

template <std::memory_order writing, std::memory_order reading>
struct handed_over : litmus {
  plain<int> data{0};
  void thread(unsigned index) override {
    if (index == 0) {
      data = 1;
      x.store(1, writing);
    } else if (x.load(reading) == 1) {
      require(data == 1, "the data is not there");
    }
  }
};

struct read_then_overwritten : litmus {
  plain<int> data{0};
  void thread(unsigned index) override {
    if (index == 0) {
      read[0] = data;
      x.store(1, relaxed);
    } else if (x.load(acquire) == 1) {
      data = 1;
    }
  }
};

struct spinning : litmus {
  void thread(unsigned index) override {
    if (index == 0) return x.store(1, relaxed);
    for (unsigned i = 0; x.load(relaxed) == 0; ++i) roving::detail::relax(i);
    read[0] = 1;
  }
};

struct spinning_for_nothing : litmus {
  void thread(unsigned index) override {
    if (index == 0) return y.store(1, relaxed);
    for (unsigned i = 0; x.load(relaxed) == 0; ++i) roving::detail::relax(i);
  }
};

struct rung_before : litmus {
  plain<int> data{0};
  bell door;
  void thread(unsigned index) override {
    if (index == 0) {
      data = 1;
      door.ring();
    } else {
      door.wait();
      require(data == 1, "the data is not there");
    }
  }
};

struct rung_once_for_two : litmus {
  bell door;
  void thread(unsigned index) override {
    if (index == 0)
      door.ring();
    else
      door.wait();
  }
};

template <bool in_a_loop>
struct weak_exchange : litmus {
  void thread(unsigned index) override {
    int expected = 0;
    if (index != 0) return;
    do {
      read[0] = x.compare_exchange_weak(expected, 1, relaxed, relaxed) ? 1 : 0;
    } while (in_a_loop && read[0] == 0);
  }
};

// Thread 1 must come between three times.
struct three_switches : litmus {
  void thread(unsigned index) override {
    for (int i = 0; i < 3; ++i) {
      const int before = x.fetch_add(index == 0 ? 1 : 10, relaxed);
      if (index == 1 && before == 11 * i + 1) ++read[0];
    }
  }
};

bool contains(const std::set<values>& all, const values& one) { return all.count(one) != 0; }

}  // namespace

TEST_CASE("explorer: store buffering is seen unless all of it is seq_cst", "[explorer]") {
  CHECK(outcomes_of<store_buffering<seq_cst, seq_cst>>(2) == std::set<values>{{0, 1}, {1, 0}, {1, 1}});
  CHECK(contains(outcomes_of<store_buffering<release, acquire>>(2), {0, 0}));
  CHECK(contains(outcomes_of<store_buffering<seq_cst, acquire>>(2), {0, 0}));
  CHECK(contains(outcomes_of<store_buffering<release, seq_cst>>(2), {0, 0}));
  CHECK(contains(outcomes_of<store_buffering<relaxed, relaxed>>(2, 0), {0, 0}));  // it needs no preemption
}

TEST_CASE("explorer: a message arrives by release and acquire, and by nothing less", "[explorer]") {
  CHECK(outcomes_of<message_passing<release, acquire>>(2) == std::set<values>{{0, 0}, {0, 1}, {1, 1}});
  CHECK(outcomes_of<message_passing<seq_cst, seq_cst>>(2) == std::set<values>{{0, 0}, {0, 1}, {1, 1}});
  CHECK(contains(outcomes_of<message_passing<relaxed, acquire>>(2), {1, 0}));
  CHECK(contains(outcomes_of<message_passing<release, relaxed>>(2), {1, 0}));
}

TEST_CASE("explorer: no load reads what is stored later", "[explorer]") {
  CHECK(outcomes_of<load_buffering<relaxed, relaxed>>(2) == std::set<values>{{0, 0}, {0, 1}, {1, 0}});
}

TEST_CASE("explorer: on demand a load reads what is stored later, unless something orders the two", "[explorer]") {
  const auto outcomes = [](auto program) {
    litmus::outcomes.clear();
    using type = typename decltype(program)::type;
    const exploration all = explore([]() -> std::unique_ptr<scenario> { return std::make_unique<type>(); },
                                    {.threads = 2, .load_buffering = true});
    CHECK(all.complete);
    CHECK(all.failure.empty());
    return litmus::outcomes;
  };
  const values ahead{1, 1, 0, 0};
  CHECK(contains(outcomes(std::type_identity<load_buffering<relaxed, relaxed>>{}), ahead));
  CHECK(contains(outcomes(std::type_identity<load_buffering<acquire, relaxed>>{}), ahead));
  CHECK(contains(outcomes(std::type_identity<load_buffering<relaxed, release>>{}), ahead));
  CHECK_FALSE(contains(outcomes(std::type_identity<load_buffering<acquire, release>>{}), ahead));
  CHECK_FALSE(contains(outcomes(std::type_identity<load_buffering<seq_cst, seq_cst>>{}), ahead));
  CHECK(outcomes(std::type_identity<message_passing<release, acquire>>{}) == std::set<values>{{0, 0}, {0, 1}, {1, 1}});
  CHECK(outcomes(std::type_identity<coherent_reads>{}) == outcomes_of<coherent_reads>(2));
}

TEST_CASE("explorer: two readers agree on the order of independent writes if all is seq_cst", "[explorer]") {
  CHECK_FALSE(contains(outcomes_of<independent_reads<seq_cst, seq_cst>>(4), {1, 0, 1, 0}));
  CHECK(contains(outcomes_of<independent_reads<seq_cst, acquire>>(4), {1, 0, 1, 0}));
  CHECK(contains(outcomes_of<independent_reads<release, acquire>>(4), {1, 0, 1, 0}));
}

TEST_CASE("explorer: reads of one location don't go back", "[explorer]") {
  CHECK(outcomes_of<coherent_reads>(2) == std::set<values>{{0, 0}, {0, 1}, {0, 2}, {1, 1}, {1, 2}, {2, 2}});
}

TEST_CASE("explorer: the first of two writes may come last, unless they are seq_cst", "[explorer]") {
  CHECK(contains(outcomes_of<two_writes_each<relaxed>>(2), {1, 1}));
  CHECK(contains(outcomes_of<two_writes_each<release>>(2), {1, 1}));
  CHECK(outcomes_of<two_writes_each<seq_cst>>(2) == std::set<values>{{1, 2}, {2, 1}, {2, 2}});
}

TEST_CASE("explorer: what one has read before it releases is seen by who acquires", "[explorer]") {
  CHECK_FALSE(contains(outcomes_of<write_to_read_causality<release, acquire>>(3), {1, 1, 0}));
  CHECK(contains(outcomes_of<write_to_read_causality<relaxed, acquire>>(3), {1, 1, 0}));
  CHECK(contains(outcomes_of<write_to_read_causality<release, relaxed>>(3), {1, 1, 0}));
}

TEST_CASE("explorer: no read-modify-write is lost, however weak", "[explorer]") {
  CHECK(outcomes_of<counting<relaxed>>(4) == std::set<values>{{4}});
  CHECK(outcomes_of<counting<acq_rel>>(3) == std::set<values>{{3}});
}

TEST_CASE("explorer: a read-modify-write hands on the release that it reads, a store does not", "[explorer]") {
  CHECK(all_of<release_sequence<true>>(3).holds());
  CHECK(all_of<release_sequence<false>>(3).failure == "a data race: a read beside a write");
}

TEST_CASE("explorer: a data race is what no release and acquire orders", "[explorer]") {
  CHECK(all_of<handed_over<release, acquire>>(2).holds());
  const exploration unreleased = all_of<handed_over<relaxed, acquire>>(2);
  CHECK(unreleased.failure == "a data race: a read beside a write");
  CHECK_FALSE(unreleased.complete);
  CHECK(unreleased.trace.find("thread 1  litmus_test.cpp:") != std::string::npos);
  CHECK(all_of<handed_over<release, relaxed>>(2).failure == "a data race: a read beside a write");
  CHECK(all_of<read_then_overwritten>(2).failure == "a data race: a write beside a read");
}

TEST_CASE("explorer: who spins sees in the end what is stored, and is stuck if nothing is", "[explorer]") {
  CHECK(outcomes_of<spinning>(2) == std::set<values>{{1}});
  CHECK(all_of<spinning_for_nothing>(2).failure == "nothing can go on");
}

TEST_CASE("explorer: a bell wakes one, with all that came before", "[explorer]") {
  CHECK(all_of<rung_before>(2).holds());
  CHECK(all_of<rung_once_for_two>(2).holds());
  CHECK(all_of<rung_once_for_two>(3).failure == "nothing can go on");
}

TEST_CASE("explorer: a weak compare-exchange may fail for no reason", "[explorer]") {
  CHECK(outcomes_of<weak_exchange<false>>(2) == std::set<values>{{0}, {1}});
  CHECK(outcomes_of<weak_exchange<true>>(2) == std::set<values>{{1}});
}

TEST_CASE("explorer: what takes more preemptions than the bound is not found", "[explorer]") {
  CHECK_FALSE(contains(outcomes_of<three_switches>(2, 3), {3}));
  CHECK(contains(outcomes_of<three_switches>(2, 4), {3}));
}

TEST_CASE("explorer: a site is known with its order, and a mutant weakens it there alone", "[explorer]") {
  const exploration sound = all_of<handed_over<release, acquire>>(2);
  REQUIRE(sound.sites.size() == 2);
  CHECK(sound.sites[0].what == operation::store);
  CHECK(sound.sites[0].order == release);
  CHECK(sound.sites[1].what == operation::load);
  CHECK(std::string{sound.sites[1].function} == "thread");
  CHECK(weaker_than(sound.sites[1]) == std::vector{relaxed});
  for (const site& each : sound.sites) {
    const mutant weakened{each, relaxed};
    const exploration broken =
        explore([]() -> std::unique_ptr<scenario> { return std::make_unique<handed_over<release, acquire>>(); },
                {.threads = 2, .weakened = &weakened});
    CHECK(broken.failure == "a data race: a read beside a write");
  }
}

TEST_CASE("explorer: the weaker orders of an operation", "[explorer]") {
  const auto at = [](operation what, std::memory_order order) { return weaker_than({"", "", 1, what, order}); };
  CHECK(at(operation::load, seq_cst) == std::vector{acquire, relaxed});
  CHECK(at(operation::store, seq_cst) == std::vector{release, relaxed});
  CHECK(at(operation::exchange, seq_cst) == std::vector{acq_rel, acquire, release, relaxed});
  CHECK(at(operation::success, acq_rel) == std::vector{acquire, release, relaxed});
  CHECK(at(operation::failure, acquire) == std::vector{relaxed});
  CHECK(at(operation::fetch, release) == std::vector{relaxed});
  CHECK(at(operation::load, relaxed).empty());
}
