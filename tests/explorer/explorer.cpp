// The machine behind explorer.hpp: choices, fibers, the memory.
//
// One exploration at a time, on one thread. Thread 0 of the machine is the one that makes the scenario and looks at it
// at the end; those of the scenario are 1 and up.
//
// An execution that fails is left where it is: its fibers are prepared anew and nothing on them is unwound, so what a
// scenario shares belongs to the scenario and not to the bodies of its threads.
#include "tests/explorer/explorer.hpp"

#include <algorithm>
#include <optional>
#include <sstream>
#include <utility>

#include <roving/detail/assert.hpp>

#include "scheduler/context.hpp"
#include "scheduler/simulator.hpp"
#include "scheduler/stack.hpp"

#if ROVING_ADDRESS_SANITIZER
#  include <sanitizer/asan_interface.h>
#endif

namespace roving_test {
namespace {

constexpr unsigned threads_at_most = machine::access_history::threads_at_most;
constexpr unsigned locations_at_most = 16;
constexpr unsigned stores_at_most = 100;  // to one location
constexpr unsigned bells_at_most = 4;
constexpr unsigned steps_at_most = 1000;  // in one execution
constexpr std::size_t stack_bytes = std::size_t{128} * 1024;

bool acquires(std::memory_order order) noexcept {
  return order == std::memory_order_acquire || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}
bool releases(std::memory_order order) noexcept {
  return order == std::memory_order_release || order == std::memory_order_acq_rel || order == std::memory_order_seq_cst;
}
bool is_sequential(std::memory_order order) noexcept { return order == std::memory_order_seq_cst; }

// The order that a failing compare-exchange has by that of its success.
std::memory_order when_failing(std::memory_order success) noexcept {
  if (success == std::memory_order_acq_rel) return std::memory_order_acquire;
  return success == std::memory_order_release ? std::memory_order_relaxed : success;
}

// The place of a store in its location's modification order. There is room between two for those that come later.
using place = std::uint32_t;
constexpr place places_apart = place{1} << 20U;

struct view {
  std::array<std::uint32_t, threads_at_most> clock{};  // what of each thread has happened before
  std::array<place, locations_at_most> oldest{};       // that may still be read
  std::uint32_t sequence = 0;                          // the seq_cst operations that come next come later than this

  void add(const view& other, unsigned locations) noexcept {
    for (unsigned i = 0; i < threads_at_most; ++i) clock[i] = std::max(clock[i], other.clock[i]);
    for (unsigned i = 0; i < locations; ++i) oldest[i] = std::max(oldest[i], other.oldest[i]);
    sequence = std::max(sequence, other.sequence);
  }
};

struct stored {
  std::uint64_t value = 0;
  place at = 0;
  bool is_read_by_next = false;  // by a read-modify-write, so that nothing may come between
  bool has_release = false;
  std::uint32_t sequence = 0;  // where it stands among the seq_cst operations; 0 if it is none
  view released;
};

struct step {
  unsigned thread;
  site where;
  std::memory_order order;
  unsigned location;
  std::string what;
};

class explorer;

struct explored_thread {
  enum class state : std::uint8_t { ready, spins, waits, ended };

  state now = state::ended;
  bool at_no_choice = false;    // to switch here has been chosen already, or comes to the same as a switch before
  unsigned bell = 0;            // that it waits for
  bool has_written = false;     // since then, so that it may see something else though nobody else has done anything
  std::uint32_t looked_at = 0;  // locations that it has read since it last called relax()
  view sees;

  roving::detail::context place;
  roving::detail::stack* memory = nullptr;
  bool is_fresh = true;  // its fiber has to be prepared
  explorer* owner = nullptr;
  unsigned index = 0;
};

class explorer final : public roving::detail::simulator {
 public:
  explorer(make_scenario make, const exploration_options& options) : make_{make}, options_{options} {
    ROVING_ASSERT(options.threads < threads_at_most);
    ROVING_ASSERT(current_ == nullptr);
    roving::detail::agree_on_floating_point_flags();
    main_.adopt_thread();
    for (unsigned i = 1; i <= options_.threads; ++i) {
      threads_[i].memory = &stacks_.take(stack_bytes);
      threads_[i].owner = this;
      threads_[i].index = i;
    }
    current_ = this;
    roving::detail::set_current_simulator(this);
  }
  ~explorer() override {
    roving::detail::set_current_simulator(nullptr);
    current_ = nullptr;
    for (unsigned i = 1; i <= options_.threads; ++i) {
      forget_frames(threads_[i]);
      stacks_.give_back(*threads_[i].memory);
    }
  }

  static explorer& current() noexcept {
    ROVING_ASSERT(current_ != nullptr);
    return *current_;
  }

  exploration run() {
    exploration result;
    do {
      execute();
      if (!ahead_) ++result.executions;
      if (!failure_.empty()) {
        result.failure = failure_;
        result.trace = trace_of_last();
        break;
      }
      if (result.executions == options_.executions_at_most) break;
    } while (next());
    result.complete = failure_.empty() && choices_.empty();
    result.sites = sites();
    return result;
  }

  // --- for what runs in an execution

  // Does not return but in at_end(), where there is no fiber to leave: there the first failure counts.
  void fail(const char* why) noexcept {
    if (failure_.empty()) failure_ = why;
    if (running_ == 0) return;
    leave_for_main();
    ROVING_ASSERT(false && "an execution that was left went on");
  }

  unsigned new_location(std::uint64_t value) {
    ROVING_ASSERT(running_ == 0 && locations_ < locations_at_most);
    std::vector<stored>& stores = stores_[locations_];
    stores.clear();
    stored& first = stores.emplace_back();
    first.value = value;
    first.at = places_apart;
    threads_[0].sees.oldest[locations_] = first.at;
    return locations_++;
  }

  std::uint64_t load(unsigned location, const site& where) {
    const std::memory_order order = order_at(where);
    may_switch(true);
    std::array<std::size_t, stores_at_most> readable;
    unsigned count = 0;
    list_readable(location, order, [&](std::size_t index) { readable[count++] = index; });
    const unsigned taken = options_.load_buffering ? choose_to_read(location, count, order) : choose(count);
    if (taken >= count) return read_ahead(location, taken - count, where, order);
    const std::size_t from = readable[taken];
    read(location, from, order);
    note(where, order, location, stores_[location], from, nullptr);
    return stores_[location][from].value;
  }

  void store(unsigned location, std::uint64_t value, const site& where) {
    const std::memory_order order = order_at(where);
    may_switch(false);
    const std::size_t behind = choose_place(location, order);
    write(location, behind, value, order, nullptr);
    note(where, order, location, stores_[location], behind + 1, &value);
  }

  std::uint64_t modify(unsigned location, machine::modification how, std::uint64_t operand, const site& where) {
    const std::memory_order order = order_at(where);
    may_switch(false);
    const std::size_t from = choose_place(location, order);
    const std::uint64_t old = stores_[location][from].value;
    const std::uint64_t value = how(old, operand);
    replace(location, from, value, order);
    note(where, order, location, stores_[location], from + 1, &value);
    return old;
  }

  bool compare_exchange(unsigned location, std::uint64_t& expected, std::uint64_t value, bool weak, const site& success,
                        const site* failure) {
    const std::memory_order order = order_at(success);
    const std::memory_order failing = failure != nullptr ? order_at(*failure) : when_failing(order);
    may_switch(false);
    const std::vector<stored>& stores = stores_[location];
    struct candidate {
      std::size_t from;
      bool succeeds;
    };
    std::array<candidate, 2 * stores_at_most> candidates;
    unsigned count = 0;
    list_replaceable(location, order, [&](std::size_t index) {
      if (stores[index].value == expected) candidates[count++] = {index, true};
    });
    list_readable(location, failing, [&](std::size_t index) {
      if (stores[index].value != expected || (weak && spurious_failures_ < options_.spurious_failures_at_most))
        candidates[count++] = {index, false};
    });
    const auto [from, succeeds] = candidates[choose(count)];
    if (succeeds) {
      replace(location, from, value, order);
      note(success, order, location, stores, from + 1, &value);
      return true;
    }
    if (stores[from].value == expected) ++spurious_failures_;
    read(location, from, failing);
    note(failure != nullptr ? *failure : success, failing, location, stores, from, nullptr);
    threads_[running_].at_no_choice = true;  // as after a load
    expected = stores[from].value;
    return false;
  }

  void read_plain(machine::access_history& history) {
    const view& sees = threads_[running_].sees;
    if (history.written > sees.clock[history.writer]) fail("a data race: a read beside a write");
    history.read[running_] = sees.clock[running_];
  }

  void write_plain(machine::access_history& history) {
    const view& sees = threads_[running_].sees;
    if (history.written > sees.clock[history.writer]) fail("a data race: a write beside a write");
    for (unsigned i = 0; i < threads_at_most; ++i)
      if (history.read[i] > sees.clock[i]) fail("a data race: a write beside a read");
    history.writer = running_;
    history.written = sees.clock[running_];
  }

  unsigned new_bell() {
    ROVING_ASSERT(running_ == 0 && bells_ < bells_at_most);
    rung_[bells_] = false;
    heard_[bells_] = view{};
    return bells_++;
  }

  void ring(unsigned bell) {
    may_switch(false);
    explored_thread& self = threads_[running_];
    rung_[bell] = true;
    heard_[bell].add(self.sees, locations_);
    ++self.sees.clock[running_];
  }

  void wait(unsigned bell) {
    may_switch(false);
    explored_thread& self = threads_[running_];
    if (!rung_[bell]) {
      self.now = explored_thread::state::waits;
      self.bell = bell;
      go_elsewhere();
    }
    rung_[bell] = false;
    self.sees.add(heard_[bell], locations_);
  }

  // --- as a simulator: what production code asks of the one that stands for its threads

  void relax() noexcept override {
    threads_[running_].now = explored_thread::state::spins;
    go_elsewhere();
  }
  void say_how_to_replay() noexcept override { fail("an assertion of the code"); }  // it is about to abort
  [[nodiscard]] roving::detail::planted planted_fault() const noexcept override { return options_.fault; }
  void point() noexcept override {}
  bool wait(const void*, roving::time_point, const char*) noexcept override { return not_here(); }
  void wake_one(const void*) noexcept override { not_here(); }
  void wake_all(const void*) noexcept override { not_here(); }
  [[nodiscard]] roving::time_point now() const noexcept override { return {}; }
  void slice_begins(unsigned, const struct roving::detail::task_base&) noexcept override {}
  void slice_ends(unsigned) noexcept override {}
  void sent(const roving::detail::ready_node&, unsigned) noexcept override {}
  void taken(const roving::detail::ready_node&, unsigned) noexcept override {}
  void broken(const char* what) noexcept override { fail(what); }
  void timer_ends(roving::time_point) noexcept override {}

 private:
  struct choice {
    std::uint8_t taken;
    std::uint8_t of;
  };

  static bool not_here() noexcept {
    ROVING_ASSERT(false && "what is explored waits in bells and by relax()");
    return false;
  }

  // --- choices

  unsigned choose(unsigned of) noexcept {
    if (of == 1) return 0;
    ROVING_ASSERT(of > 1 && of < 256);
    if (next_choice_ == choices_.size()) choices_.push_back({0, static_cast<std::uint8_t>(of)});
    const choice& now = choices_[next_choice_++];
    ROVING_ASSERT(now.of == of);  // or the scenario depends on something else than its choices
    return now.taken;
  }

  // On to the next execution; false when all have been.
  bool next() noexcept {
    while (!choices_.empty() && choices_.back().taken + 1 == choices_.back().of) choices_.pop_back();
    if (stores_ahead_.size() > choices_.size()) stores_ahead_.resize(choices_.size());
    if (choices_.empty()) return false;
    ++choices_.back().taken;
    return true;
  }

  // --- threads

  void execute() {
    next_choice_ = 0;
    locations_ = bells_ = last_sequence_ = 0;
    preemptions_ = spurious_failures_ = steps_ = 0;
    failure_.clear();
    early_reads_.clear();
    ahead_.reset();
    has_read_ahead_ = false;
    threads_[0].sees = view{};
    threads_[0].sees.clock[0] = 1;
    running_ = 0;
    const std::unique_ptr<scenario> now = make_();
    scenario_ = now.get();
    for (unsigned i = 1; i <= options_.threads; ++i) {
      explored_thread& each = threads_[i];
      each.now = explored_thread::state::ready;
      each.at_no_choice = true;
      each.looked_at = 0;
      each.has_written = false;
      each.sees = threads_[0].sees;
      each.sees.clock[i] = 1;
      if (each.is_fresh) {
        forget_frames(each);
        each.place.prepare(*each.memory, &start, &each);
        each.is_fresh = false;
      }
    }
    running_ = pick_freely();
    main_.switch_to(threads_[running_].place, anchor_, nullptr, nullptr);
    running_ = 0;
    if (failure_.empty() && !ahead_) {
      for (unsigned i = 1; i <= options_.threads; ++i) threads_[0].sees.add(threads_[i].sees, locations_);
      // Here a failure does not leave: there is no fiber to leave.
      now->at_end();
    }
    if (!failure_.empty())
      for (explored_thread& each : threads_) each.is_fresh = true;
    if (ahead_) failure_.clear();  // what was read has not been stored: it can't be
    scenario_ = nullptr;
  }

  static void start(void* argument, roving::detail::thread_anchor&) noexcept {
    auto& self = *static_cast<explored_thread*>(argument);
    for (;;) {  // one round an execution
      self.owner->scenario_->thread(self.index - 1);
      self.now = explored_thread::state::ended;
      self.owner->go_elsewhere();
    }
  }

  // The frames of an execution that was left: whoever runs there next must not find what they have poisoned.
  static void forget_frames([[maybe_unused]] explored_thread& of) noexcept {
#if ROVING_ADDRESS_SANITIZER
    __asan_unpoison_memory_region(of.memory->limit, static_cast<std::size_t>(of.memory->top - of.memory->limit));
#endif
  }

  [[nodiscard]] bool sees_news(const explored_thread& one) const noexcept {
    for (unsigned i = 0; i < locations_; ++i)
      if ((one.looked_at >> i & 1U) != 0 && stores_[i].back().at > one.sees.oldest[i]) return true;
    return one.has_written;
  }

  [[nodiscard]] bool can_go_on(const explored_thread& one) const noexcept {
    switch (one.now) {
      case explored_thread::state::ready:
        return true;
      case explored_thread::state::spins:
        return sees_news(one);
      case explored_thread::state::waits:
        return rung_[one.bell];
      case explored_thread::state::ended:
        return false;
    }
    return false;
  }

  unsigned list_who_can(std::array<unsigned, threads_at_most>& who, unsigned but) const noexcept {
    unsigned count = 0;
    for (unsigned i = 1; i <= options_.threads; ++i)
      if (i != but && can_go_on(threads_[i])) who[count++] = i;
    return count;
  }

  // Somebody who can go on; 0 if nobody can.
  unsigned pick_freely() noexcept {
    std::array<unsigned, threads_at_most> who{};
    unsigned count = list_who_can(who, 0);
    if (count == 0) return 0;
    // Who spins lets all others go first: two that spin and change something each time would keep a third out for ever.
    const auto spins = [this](unsigned one) { return threads_[one].now == explored_thread::state::spins; };
    if (!std::all_of(who.begin(), who.begin() + count, spins))
      count = static_cast<unsigned>(std::remove_if(who.begin(), who.begin() + count, spins) - who.begin());
    const unsigned picked = who[choose(count)];
    let_go_on(threads_[picked]);
    threads_[picked].at_no_choice = true;
    return picked;
  }

  void let_go_on(explored_thread& one) noexcept {
    if (one.now == explored_thread::state::ready) return;
    if (one.now == explored_thread::state::spins) {
      for (unsigned i = 0; i < locations_; ++i)
        if ((one.looked_at >> i & 1U) != 0) one.sees.oldest[i] = stores_[i].back().at;
      one.looked_at = 0;
      one.has_written = false;
    }
    one.now = explored_thread::state::ready;
    one.at_no_choice = true;
  }

  // Before an operation of the running thread: another may go first, at the price of a preemption.
  void may_switch(bool before_load) noexcept {
    if (running_ == 0) return;
    if (++steps_ > steps_at_most) fail("no end");
    explored_thread& self = threads_[running_];
    const bool choice_is_over = std::exchange(self.at_no_choice, before_load);
    if (choice_is_over || preemptions_ == options_.preemptions_at_most) return;
    std::array<unsigned, threads_at_most> who{};
    const unsigned count = list_who_can(who, running_);
    if (count == 0) return;
    const unsigned chosen = choose(count + 1);
    if (chosen == 0) return;
    ++preemptions_;
    explored_thread& other = threads_[who[chosen - 1]];
    let_go_on(other);
    running_ = other.index;
    self.place.switch_to(other.place, anchor_, nullptr, nullptr);
  }

  // The running thread has ended, or can't go on.
  void go_elsewhere() noexcept {
    explored_thread& self = threads_[running_];
    const unsigned next = pick_freely();
    if (next == 0) {
      const bool all_ended = std::all_of(threads_.begin() + 1, threads_.begin() + 1 + options_.threads,
                                         [](auto& each) { return each.now == explored_thread::state::ended; });
      if (!all_ended) failure_ = "nothing can go on";
      leave_for_main();
      return;
    }
    if (next == self.index) return;
    running_ = next;
    self.place.switch_to(threads_[next].place, anchor_, nullptr, nullptr);
  }

  void leave_for_main() noexcept {
    explored_thread& self = threads_[running_];
    running_ = 0;
    self.place.switch_to(main_, anchor_, nullptr, nullptr);
  }

  // --- memory

  // Calls with the index of each store that the running thread may read, the newest first.
  //
  // A seq_cst load takes the first place that it can in the order of the seq_cst operations: after those that happen
  // before it and after the store that it reads. That must be before the stores that follow the one which it reads. As
  // no other operation has to heed where a load stands, a later place would allow nothing more.
  template <class Found>
  void list_readable(unsigned location, std::memory_order order, Found found) const noexcept {
    const std::vector<stored>& stores = stores_[location];
    ROVING_ASSERT(stores.size() <= stores_at_most);
    const view& sees = threads_[running_].sees;
    std::uint32_t before = last_sequence_ + 1;
    for (std::size_t i = stores.size(); i-- > 0;) {
      if (!is_sequential(order) || std::max(sees.sequence, stores[i].sequence) < before) found(i);
      if (stores[i].at <= sees.oldest[location]) break;
      if (stores[i].sequence != 0) before = std::min(before, stores[i].sequence);
    }
  }

  // The same for the stores behind which one of its own may go: where nothing has to come right after them. A seq_cst
  // store is the last of the seq_cst operations.
  template <class Found>
  void list_replaceable(unsigned location, std::memory_order order, Found found) const noexcept {
    const std::vector<stored>& stores = stores_[location];
    ROVING_ASSERT(stores.size() <= stores_at_most);
    const place oldest = threads_[running_].sees.oldest[location];
    for (std::size_t i = stores.size(); i-- > 0;) {
      if (!stores[i].is_read_by_next) found(i);
      if (stores[i].at <= oldest || (is_sequential(order) && stores[i].sequence != 0)) break;
    }
  }

  [[nodiscard]] std::size_t choose_place(unsigned location, std::memory_order order) noexcept {
    std::array<std::size_t, stores_at_most> places;
    unsigned count = 0;
    list_replaceable(location, order, [&](std::size_t index) { places[count++] = index; });
    return places[choose(count)];
  }

  void read(unsigned location, std::size_t index, std::memory_order order) noexcept {
    if (is_read_ahead(location)) drop();
    const std::vector<stored>& stores = stores_[location];
    const stored& from = stores[index];
    explored_thread& self = threads_[running_];
    self.looked_at |= std::uint32_t{1} << location;
    self.sees.oldest[location] = from.at;
    if (is_sequential(order)) self.sees.sequence = std::max(self.sees.sequence, from.sequence);
    if (acquires(order) && from.has_release) self.sees.add(from.released, locations_);
  }

  // `sequence`: the release that the store which a read-modify-write has read hands on.
  void write(unsigned location, std::size_t behind, std::uint64_t value, std::memory_order order,
             const view* sequence) {
    std::vector<stored>& stores = stores_[location];
    explored_thread& self = threads_[running_];
    if (is_read_ahead(location)) drop();
    const place before = stores[behind].at;
    const place at =
        behind + 1 == stores.size() ? before + places_apart : before + (stores[behind + 1].at - before) / 2;
    ROVING_ASSERT(at > before);
    self.sees.oldest[location] = at;
    self.has_written = true;
    if (options_.load_buffering) meet_readers(location, value, at, releases(order) || sequence != nullptr);
    stored now;
    now.value = value;
    now.at = at;
    now.has_release = releases(order) || sequence != nullptr;
    if (releases(order)) {
      now.released = self.sees;
      ++self.sees.clock[running_];
    }
    if (sequence != nullptr) now.released.add(*sequence, locations_);
    now.released.oldest[location] = at;
    // Not for who reads this with less than seq_cst: only what comes before it in its thread is ordered for them.
    if (is_sequential(order)) self.sees.sequence = now.sequence = ++last_sequence_;
    stores.insert(stores.begin() + static_cast<std::ptrdiff_t>(behind) + 1, now);
  }

  void replace(unsigned location, std::size_t from, std::uint64_t value, std::memory_order order) {
    stored& read_from = stores_[location][from];
    if (acquires(order) && read_from.has_release) threads_[running_].sees.add(read_from.released, locations_);
    threads_[running_].looked_at |= std::uint32_t{1} << location;
    read_from.is_read_by_next = true;
    const std::optional<view> sequence = read_from.has_release ? std::optional<view>{read_from.released} : std::nullopt;
    write(location, from, value, order, sequence ? &*sequence : nullptr);
  }

  // --- load buffering

  // A load that has read what there was, and may read ahead in a later execution.
  struct early_read {
    unsigned thread;
    unsigned location;
    std::uint32_t clock;
    place saw;           // the oldest store that it may read
    std::size_t choice;  // of what it read
    bool acquires;
  };

  unsigned choose_to_read(unsigned location, unsigned visible, std::memory_order order) {
    if (running_ == 0) return choose(visible);
    const std::size_t index = next_choice_++;
    if (index == choices_.size()) choices_.push_back({0, static_cast<std::uint8_t>(visible)});
    stores_ahead_.resize(choices_.size());
    const view& sees = threads_[running_].sees;
    early_reads_.push_back({running_, location, sees.clock[running_], sees.oldest[location], index, acquires(order)});
    return choices_[index].taken;
  }

  std::uint64_t read_ahead(unsigned location, unsigned which, const site& where, std::memory_order order) {
    if (ahead_) drop();
    ahead_ = early_reads_.back();
    value_ahead_ = stores_ahead_[ahead_->choice][which];
    if (tracing_) {
      const std::string what = "reads ahead " + std::to_string(value_ahead_);
      steps_noted_.push_back({running_, where, order, location, what});
    }
    return value_ahead_;
  }

  // Whether the running thread has read this location ahead, and the store has not come: it can't use it until then.
  [[nodiscard]] bool is_read_ahead(unsigned location) const noexcept {
    return ahead_ && ahead_->thread == running_ && ahead_->location == location;
  }

  // Called for each store: whether an earlier load could have read it. One that acquires can't read a release ahead:
  // all that its thread did since would come after the release, and could not have been seen before it.
  void meet_readers(unsigned location, std::uint64_t value, place at, bool is_released) {
    const view& sees = threads_[running_].sees;
    const auto could_be_read_by = [&](const early_read& one) {
      return one.location == location && one.thread != running_ && sees.clock[one.thread] < one.clock && at > one.saw &&
          !(one.acquires && is_released);
    };
    if (ahead_) {
      if (!could_be_read_by(*ahead_) || value != value_ahead_) return;
      threads_[ahead_->thread].sees.oldest[location] = at;
      ahead_.reset();
      has_read_ahead_ = true;
    } else if (!has_read_ahead_) {
      for (const early_read& each : early_reads_) {
        std::vector<std::uint64_t>& ahead = stores_ahead_[each.choice];
        if (!could_be_read_by(each) || std::find(ahead.begin(), ahead.end(), value) != ahead.end()) continue;
        ahead.push_back(value);
        ++choices_[each.choice].of;
      }
    }
  }

  // This execution can't be.
  void drop() noexcept { fail("dropped"); }

  // --- orders and their sites

  std::memory_order order_at(const site& where) {
    std::vector<site>& known =
        sites_[(static_cast<unsigned>(where.line) * 8 + static_cast<unsigned>(where.what)) % sites_.size()];
    if (std::none_of(known.begin(), known.end(), [&](const site& each) {
          return each.line == where.line && each.what == where.what && each.file == where.file;
        }))
      known.push_back(where);
    const mutant* const weakened = options_.weakened;
    if (weakened != nullptr && weakened->where == where) return weakened->weaker;
    return where.order;
  }

  [[nodiscard]] std::vector<site> sites() const {
    std::vector<site> all;
    for (const std::vector<site>& some : sites_)
      for (const site& each : some)
        if (std::find(all.begin(), all.end(), each) == all.end()) all.push_back(each);
    std::sort(all.begin(), all.end(), [](const site& left, const site& right) {
      const int files = std::strcmp(left.file, right.file);
      return files != 0 ? files < 0 : left.line != right.line ? left.line < right.line : left.what < right.what;
    });
    return all;
  }

  // --- what happened

  void note(const site& where, std::memory_order order, unsigned location, const std::vector<stored>& stores,
            std::size_t index, const std::uint64_t* written) {
    if (!tracing_ || running_ == 0) return;
    std::ostringstream what;
    if (written != nullptr)
      what << "writes " << *written;
    else
      what << "reads " << stores[index].value;
    if (index + 1 != stores.size()) what << (written != nullptr ? ", before " : ", not yet ") << stores.back().value;
    steps_noted_.push_back({running_, where, order, location, what.str()});
  }

  // Runs the last execution once more, and writes down what happens.
  std::string trace_of_last() {
    tracing_ = true;
    steps_noted_.clear();
    const std::string failure = failure_;
    execute();
    tracing_ = false;
    ROVING_ASSERT(failure_ == failure);
    std::ostringstream text;
    for (const step& each : steps_noted_) {
      const char* const slash = std::strrchr(each.where.file, '/');
      text << "  thread " << each.thread - 1 << "  " << (slash != nullptr ? slash + 1 : each.where.file) << ':'
           << each.where.line << ' ' << each.where.function << "  " << name_of(each.where.what) << ' '
           << name_of(each.order) << "  location " << each.location << ' ' << each.what << '\n';
    }
    return text.str();
  }

  static explorer* current_;

  const make_scenario make_;
  const exploration_options options_;
  roving::detail::stack_pool stacks_;
  roving::detail::context main_;
  roving::detail::thread_anchor anchor_ = roving::detail::thread_anchor::of_this_thread();

  std::vector<choice> choices_;
  std::size_t next_choice_ = 0;

  scenario* scenario_ = nullptr;
  std::array<explored_thread, threads_at_most> threads_;  // 0: makes the scenario and looks at the end
  unsigned running_ = 0;
  unsigned preemptions_ = 0;
  unsigned spurious_failures_ = 0;
  unsigned steps_ = 0;
  std::string failure_;

  unsigned locations_ = 0;
  std::array<std::vector<stored>, locations_at_most> stores_;  // of each location, in modification order
  std::uint32_t last_sequence_ = 0;                            // of the seq_cst stores
  std::vector<early_read> early_reads_;
  std::optional<early_read> ahead_;  // that reads ahead in this execution, until the store has come
  std::uint64_t value_ahead_ = 0;
  bool has_read_ahead_ = false;                           // and the store has come
  std::vector<std::vector<std::uint64_t>> stores_ahead_;  // for each choice: what its load can read ahead

  unsigned bells_ = 0;
  std::array<bool, bells_at_most> rung_{};
  std::array<view, bells_at_most> heard_;

  std::array<std::vector<site>, 1024> sites_;
  bool tracing_ = false;
  std::vector<step> steps_noted_;
};

explorer* explorer::current_ = nullptr;

}  // namespace

const char* name_of(std::memory_order order) noexcept {
  switch (order) {
    case std::memory_order_relaxed:
      return "relaxed";
    case std::memory_order_consume:
      return "consume";
    case std::memory_order_acquire:
      return "acquire";
    case std::memory_order_release:
      return "release";
    case std::memory_order_acq_rel:
      return "acq_rel";
    case std::memory_order_seq_cst:
      return "seq_cst";
  }
  return "?";
}

const char* name_of(operation what) noexcept {
  switch (what) {
    case operation::load:
      return "load";
    case operation::store:
      return "store";
    case operation::exchange:
      return "exchange";
    case operation::success:
      return "compare_exchange";
    case operation::failure:
      return "failing compare_exchange";
    case operation::fetch:
      return "fetch";
  }
  return "?";
}

std::vector<std::memory_order> weaker_than(const site& where) {
  const bool reads = where.what != operation::store;
  const bool writes = where.what != operation::load && where.what != operation::failure;
  std::vector<std::memory_order> weaker;
  if (is_sequential(where.order) && reads && writes) weaker.push_back(std::memory_order_acq_rel);
  const bool is_full = is_sequential(where.order) || where.order == std::memory_order_acq_rel;
  if (is_full && reads) weaker.push_back(std::memory_order_acquire);
  if (is_full && writes) weaker.push_back(std::memory_order_release);
  if (where.order != std::memory_order_relaxed) weaker.push_back(std::memory_order_relaxed);
  return weaker;
}

exploration explore(make_scenario make, const exploration_options& options) { return explorer{make, options}.run(); }

void require(bool condition, const char* what) {
  if (!condition) explorer::current().fail(what);
}

namespace machine {

unsigned new_location(std::uint64_t value) { return explorer::current().new_location(value); }
std::uint64_t load(unsigned location, const site& where) { return explorer::current().load(location, where); }
void store(unsigned location, std::uint64_t value, const site& where) {
  explorer::current().store(location, value, where);
}
std::uint64_t modify(unsigned location, modification how, std::uint64_t operand, const site& where) {
  return explorer::current().modify(location, how, operand, where);
}
bool compare_exchange(unsigned location, std::uint64_t& expected, std::uint64_t value, bool weak, const site& success,
                      const site* failure) {
  return explorer::current().compare_exchange(location, expected, value, weak, success, failure);
}
void read_plain(access_history& history) { explorer::current().read_plain(history); }
void write_plain(access_history& history) { explorer::current().write_plain(history); }

}  // namespace machine

bell::bell() : number_{explorer::current().new_bell()} {}
void bell::ring() { explorer::current().ring(number_); }
void bell::wait() { explorer::current().wait(number_); }

}  // namespace roving_test
