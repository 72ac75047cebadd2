// The machine behind explorer.hpp: choices, fibers, the memory.
//
// One exploration at a time, on one thread. Thread 0 of the machine is the one that makes the scenario and looks at it
// at the end; those of the scenario are 1 and up.
//
// An execution that fails is left where it is: its fibers are prepared anew and nothing on them is unwound, so what a
// scenario shares belongs to the scenario and not to the bodies of its threads.
#include "tests/explorer/explorer.hpp"

#include <algorithm>
#include <fstream>
#include <map>
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
constexpr unsigned steps_at_most = 5000;  // in one execution
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

  void add(const view& other, unsigned locations) noexcept {
    for (unsigned i = 0; i < threads_at_most; ++i) clock[i] = std::max(clock[i], other.clock[i]);
    for (unsigned i = 0; i < locations; ++i) oldest[i] = std::max(oldest[i], other.oldest[i]);
  }
};

struct stored {
  std::uint64_t value = 0;
  place at = 0;
  bool is_read_by_next = false;  // by a read-modify-write, so that nothing may come between
  bool has_release = false;
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
      ++result.executions;
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
    sequential_[locations_] = 0;
    threads_[0].sees.oldest[locations_] = first.at;
    return locations_++;
  }

  std::uint64_t load(unsigned location, const site& where) {
    const std::memory_order order = order_at(where);
    may_switch(!is_sequential(order));
    std::vector<stored>& stores = stores_[location];
    const std::size_t oldest = oldest_visible(location, order);
    const std::size_t chosen = stores.size() - 1 - choose(static_cast<unsigned>(stores.size() - oldest));
    read(location, stores[chosen], order);
    note(where, order, location, stores, chosen, nullptr);
    return stores[chosen].value;
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
    std::vector<stored>& stores = stores_[location];
    struct candidate {
      std::size_t from;
      bool succeeds;
    };
    std::array<candidate, 2 * stores_at_most> candidates;
    unsigned count = 0;
    const std::size_t oldest_to_replace = oldest_visible(location, order);
    const std::size_t oldest_to_read = oldest_visible(location, failing);
    ROVING_ASSERT(stores.size() <= stores_at_most);
    for (std::size_t i = stores.size(); i-- > std::min(oldest_to_replace, oldest_to_read);) {
      const bool equal = stores[i].value == expected;
      if (equal && i >= oldest_to_replace && !stores[i].is_read_by_next) candidates[count++] = {i, true};
      if (i >= oldest_to_read && (!equal || (weak && spurious_failures_ < options_.spurious_failures_at_most)))
        candidates[count++] = {i, false};
    }
    const auto [from, succeeds] = candidates[choose(count)];
    if (succeeds) {
      replace(location, from, value, order);
      note(success, order, location, stores, from + 1, &value);
      return true;
    }
    if (stores[from].value == expected) ++spurious_failures_;
    read(location, stores[from], failing);
    note(failure != nullptr ? *failure : success, failing, location, stores, from, nullptr);
    if (!is_sequential(failing)) threads_[running_].at_no_choice = true;  // as after a load
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
  [[nodiscard]] roving::detail::planted planted_fault() const noexcept override {
    return roving::detail::planted::none;
  }
  void point() noexcept override {}
  bool wait(const void*, roving::time_point, const char*) noexcept override { return not_here(); }
  void wake_one(const void*) noexcept override { not_here(); }
  void wake_all(const void*) noexcept override { not_here(); }
  [[nodiscard]] roving::time_point now() const noexcept override { return {}; }
  void slice_begins(unsigned, const struct roving::detail::task_base&) noexcept override {}
  void slice_ends(unsigned) noexcept override {}

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
    if (choices_.empty()) return false;
    ++choices_.back().taken;
    return true;
  }

  // --- threads

  void execute() {
    next_choice_ = 0;
    locations_ = bells_ = 0;
    preemptions_ = spurious_failures_ = steps_ = 0;
    failure_.clear();
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
    if (failure_.empty()) {
      for (unsigned i = 1; i <= options_.threads; ++i) threads_[0].sees.add(threads_[i].sees, locations_);
      // Here a failure does not leave: there is no fiber to leave.
      now->at_end();
    }
    if (!failure_.empty())
      for (explored_thread& each : threads_) each.is_fresh = true;
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
    return false;
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
    const unsigned count = list_who_can(who, 0);
    if (count == 0) return 0;
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

  // The index of the oldest store of a location that the running thread may read with this order.
  [[nodiscard]] std::size_t oldest_visible(unsigned location, std::memory_order order) const noexcept {
    place oldest = threads_[running_].sees.oldest[location];
    if (is_sequential(order)) oldest = std::max(oldest, sequential_[location]);
    const std::vector<stored>& stores = stores_[location];
    std::size_t index = stores.size() - 1;
    while (stores[index].at > oldest) --index;
    return index;
  }

  // The store behind which one of the running thread goes: any that is not older than what it sees, if nothing has to
  // come right after that.
  [[nodiscard]] std::size_t choose_place(unsigned location, std::memory_order order) noexcept {
    const std::vector<stored>& stores = stores_[location];
    ROVING_ASSERT(stores.size() <= stores_at_most);
    std::array<std::size_t, stores_at_most> places;
    unsigned count = 0;
    const std::size_t oldest = oldest_visible(location, order);
    for (std::size_t i = stores.size(); i-- > oldest;)
      if (!stores[i].is_read_by_next) places[count++] = i;
    return places[choose(count)];
  }

  void read(unsigned location, const stored& from, std::memory_order order) noexcept {
    explored_thread& self = threads_[running_];
    self.looked_at |= std::uint32_t{1} << location;
    self.sees.oldest[location] = from.at;
    if (is_sequential(order)) sequential_[location] = std::max(sequential_[location], from.at);
    if (acquires(order) && from.has_release) self.sees.add(from.released, locations_);
  }

  // `sequence`: the release that the store which a read-modify-write has read hands on.
  void write(unsigned location, std::size_t behind, std::uint64_t value, std::memory_order order,
             const view* sequence) {
    std::vector<stored>& stores = stores_[location];
    explored_thread& self = threads_[running_];
    const place before = stores[behind].at;
    const place at =
        behind + 1 == stores.size() ? before + places_apart : before + (stores[behind + 1].at - before) / 2;
    ROVING_ASSERT(at > before);
    self.sees.oldest[location] = at;
    if (is_sequential(order)) sequential_[location] = std::max(sequential_[location], at);
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
    stores.insert(stores.begin() + static_cast<std::ptrdiff_t>(behind) + 1, now);
  }

  void replace(unsigned location, std::size_t from, std::uint64_t value, std::memory_order order) {
    stored& read_from = stores_[location][from];
    read(location, read_from, order);
    read_from.is_read_by_next = true;
    const std::optional<view> sequence = read_from.has_release ? std::optional<view>{read_from.released} : std::nullopt;
    write(location, from, value, order, sequence ? &*sequence : nullptr);
  }

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
  std::array<place, locations_at_most> sequential_{};          // what seq_cst operations have seen
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
