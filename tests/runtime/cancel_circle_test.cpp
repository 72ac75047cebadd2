// Tested: cancels where tasks await each other in a circle, which asyncio answers with a RecursionError: somebody is
// stopped, so that all unwind, and each is counted to have been asked once.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;

namespace {

bool awaits_a_task(const roving::task_handle& of) {
  const char* const call = roving::detail_access::state_of(of, "awaits_a_task").waits_in.load();
  return call != nullptr && std::string{call} == "task::get" && roving_test::is_parked(of);
}

bool is_parked(const roving::task_view& view) {
  auto& state = roving::detail::future_access::state_of(view, "is_parked");
  auto& claims = static_cast<roving::detail::task_base&>(state).claims;
  std::uint64_t seen = 0;
  if (!claims.try_pin(seen)) return false;
  const bool parked = claims.is_untouched(seen);
  claims.unpin();
  return parked;
}

// Tasks of which each awaits the next one, and the last the first.
struct circle {
  circle(const place& where, std::size_t length) : counted(length), thrown(length) {
    for (std::size_t i = 0; i < length; ++i) {
      tasks.push_back(roving::spawn(at(where, static_cast<unsigned>(i)), [this, i] {
        closed.wait();
        thrown[i] = thrown_by([&] { tasks[(i + 1) % tasks.size()].get(); });
        counted[i] = roving::this_task::handle().cancelling();
        throw roving::cancelled{};
      }));
    }
    // Who has started can't be run inline by who awaits it.
    for (const auto& each : tasks) wait_until_parked(each);
    closed.set();
    for (const auto& each : tasks)
      while (!awaits_a_task(each)) roving::yield();
  }

  void join() {
    for (const auto& each : tasks) each.join();
  }

  roving::event closed;
  std::vector<roving::task<void>> tasks;
  std::vector<std::uint32_t> counted;
  std::vector<std::string> thrown;
};

}  // namespace

TEST_CASE("C56 cancel: in a circle of tasks that await each other all unwind, each asked once", "[runtime][cancel]") {
  const place where = GENERATE(from_range(places()));
  const std::size_t length = GENERATE(2U, 3U, 100U);
  std::vector<std::uint32_t> counted;
  std::vector<std::string> thrown;
  run_in(where, [&] {
    circle round{where, length};
    round.tasks[1].cancel("enough");
    round.join();
    counted = round.counted;
    thrown = round.thrown;
  });
  CHECK(counted == std::vector<std::uint32_t>(length, 1));
  // The first of the circle was the last to be reached, and stopped there.
  CHECK(thrown[0] == "cancelled: enough");
  CHECK(thrown[1].starts_with("cancelled"));
}

TEST_CASE("C56 cancel: of a circle from outside, and of a long one", "[runtime][cancel]") {
  constexpr std::size_t length = roving::detail::thread_sanitizer ? 1000 : 20'000;
  std::uint32_t counted = 0;
  bool was_cancelled = false;
  roving::run({.shards = 1}, [&] {
    circle round{{1, false}, length};
    const auto outside = roving::spawn([&] { round.tasks[5].get(); });
    while (!awaits_a_task(outside)) roving::yield();
    outside.cancel();
    outside.join();
    was_cancelled = outside.cancelled() && outside.cancelling() == 1;
    round.join();
    for (const std::uint32_t each : round.counted) counted += each;
  });
  CHECK(was_cancelled);
  CHECK(counted == length);
}

TEST_CASE("C56 cancel: a circle that closes when a cancel is pending already", "[runtime][cancel]") {
  std::vector<std::string> thrown;
  std::uint32_t counted = 0;
  roving::run({.shards = 1}, [&] {
    roving::task<void> first;
    roving::task<void> second;
    roving::event go;
    first = roving::spawn([&] {
      go.wait();
      first.cancel();
      thrown.push_back(thrown_by([&] { second.get(); }));
      counted = first.cancelling();
    });
    second = roving::spawn([&] { thrown.push_back(thrown_by([&] { first.get(); })); });
    while (!awaits_a_task(second)) roving::yield();
    go.set();
    first.join();
    second.join();
  });
  CHECK(thrown == std::vector<std::string>{"cancelled", "nothing"});
  CHECK(counted == 1);
}

TEST_CASE("C65 cancel: a circle by way of gather unwinds, and so do those who are beside it", "[runtime][cancel]") {
  const place where = GENERATE(from_range(places()));
  const bool settles = GENERATE(false, true);
  const bool gathers_only = GENERATE(false, true);
  int ended = 0;
  bool beside_was_cancelled = false;
  const int unhandled = run_in(where, [&] {
    roving::task<void> a;
    roving::task<void> b;
    roving::event closed;
    auto beside = roving::spawn(at(where, 2), [] { park(); });
    a = roving::spawn(at(where, 0), [&] {
      closed.wait();
      if (settles)
        (void)roving::gather_settled(b, beside);
      else
        (void)roving::gather(b, beside);
    });
    b = roving::spawn(at(where, 1), [&] {
      closed.wait();
      if (!gathers_only)
        a.get();
      else if (settles)
        (void)roving::gather_settled(a);
      else
        (void)roving::gather(a);
    });
    for (const auto* each : {&a, &b, &beside}) wait_until_parked(*each);
    closed.set();
    for (const auto* each : {&a, &b})
      while (!roving_test::is_parked(*each) || roving::detail_access::state_of(*each, "").awaits == nullptr)
        roving::yield();
    a.cancel();
    a.join();
    b.join();
    beside.join();
    ended = (a.cancelled() ? 1 : 0) + (b.cancelled() ? 1 : 0);
    beside_was_cancelled = beside.cancelled();
  });
  CHECK(ended == 2);
  CHECK(beside_was_cancelled);
  CHECK(unhandled == 0);
}

// `waits`: the child awaits its parent when it is cancelled; else it is about to.
TEST_CASE("cancel: a child that awaits its parent unwinds with it", "[runtime][cancel]") {
  const place where = GENERATE(from_range(places()));
  const int form = GENERATE(0, 1, 2);
  const bool waits = GENERATE(false, true);
  bool parent_was_cancelled = false;
  std::string child_threw;
  run_in(where, [&] {
    roving::task<void> parent;
    roving::event go;
    std::atomic<bool> child_is_there{false};
    roving::task_view child_view;
    const auto child = [&] {
      child_view = roving::this_task::handle();
      child_is_there = true;
      if (!waits) {
        const roving::no_cancel hold;  // marked, and on its way
        while (child_view.cancelling() == 0) roving::yield();
      }
      child_threw = thrown_by([&] { parent.get(); });
    };
    parent = roving::spawn(at(where, 0), [&] {
      go.wait();
      if (form == 0) {
        auto owned = roving::spawn(at(where, 1), child);
        park();
      } else if (form == 1) {
        roving::with_task_group([&](roving::task_group& group) { group.spawn(at(where, 1), child); });
      } else {
        (void)roving::gather(at(where, 1), child, [] { park(); });
      }
    });
    go.set();
    while (!child_is_there) roving::yield();
    while (waits && !is_parked(child_view)) roving::yield();
    // Parked, or running the child inline.
    while (!roving::detail_access::state_of(parent, "is_open").claims.is_open()) roving::yield();
    parent.cancel();
    parent.join();
    parent_was_cancelled = parent.cancelled();
  });
  CHECK(parent_was_cancelled);
  CHECK(child_threw == "cancelled");
}

TEST_CASE("C120 shutdown: a circle of tasks that was left over unwinds", "[runtime][cancel]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> ended{0};
  bool stuck = false;
  {
    roving::options chosen;
    chosen.shards = where.shards;
    chosen.on_shutdown_stuck = [&](const std::string&) { stuck = true; };
    roving::runtime runtime{chosen};
    auto handles = std::make_shared<std::vector<roving::task<void>>>();
    runtime.run([&] {
      constexpr std::size_t length = 3;
      handles->reserve(length);
      auto closed = std::make_shared<roving::event>();
      for (std::size_t i = 0; i < length; ++i) {
        handles->push_back(roving::spawn(at(where, static_cast<unsigned>(i)), [&ended, &all = *handles, closed, i] {
          struct count {
            std::atomic<int>& of;
            ~count() { ++of; }
          } at_end{ended};
          closed->wait();
          all[(i + 1) % length].get();
        }));
      }
      for (const auto& each : *handles) wait_until_parked(each);
      closed->set();
      for (const auto& each : *handles)
        while (!awaits_a_task(each)) roving::yield();
    });
    runtime.close();
  }
  CHECK(ended == 3);
  CHECK_FALSE(stuck);
}

TEST_CASE("C58 cancel: circles that several cancel at once, from all shards", "[runtime][cancel][stress]") {
  const place where = GENERATE(from_range(places()));
  const int turns = rounds(500);
  int wrong = 0;
  run_in(where, [&] {
    for (int turn = 0; turn < turns; ++turn) {
      circle round{where, 4};
      std::vector<roving::task<void>> cancellers;
      for (unsigned i = 0; i < 3; ++i)
        cancellers.push_back(roving::spawn(at(where, i), [&, i] { round.tasks[i].cancel(); }));
      for (auto& each : cancellers) each.get();
      round.join();
      for (std::size_t i = 0; i < 4; ++i)
        if (!round.thrown[i].starts_with("cancelled") || round.counted[i] == 0 || round.counted[i] > 3) ++wrong;
    }
  });
  CHECK(wrong == 0);
}
