// Tested: where a cancel is held back: in no_cancel, and while a task unwinds. Tasks write down what they saw; the
// test's own thread checks it after run().
#include <atomic>
#include <string>
#include <vector>

#include "tests/runtime/placed.hpp"
#include "tests/support/catch.hpp"

using namespace roving_test;
using namespace std::chrono_literals;

namespace {

// Suspends when it ends, as a destructor that says goodbye to its peer does.
struct suspends_at_its_end {
  std::atomic<bool>& in_destructor;
  roving::event& may_go_on;
  std::atomic<int>& completed;
  ~suspends_at_its_end() {
    const roving::no_cancel hold_back;  // for the case that nothing is unwound
    in_destructor = true;
    may_go_on.wait();
    roving::yield();
    ++completed;
  }
};

}  // namespace

TEST_CASE("C132 cancel: one that comes while a destructor suspends during unwinding is delivered afterwards",
          "[runtime][no_cancel]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  std::atomic<int> completed{0};
  run_in(where, [&] {
    std::atomic<bool> in_destructor{false};
    roving::event may_go_on;
    auto task = roving::spawn(at(where, 1), [&] {
      try {
        struct no_guard {  // as above, without no_cancel: unwinding alone holds it back
          std::atomic<bool>& in_destructor;
          roving::event& may_go_on;
          std::atomic<int>& completed;
          ~no_guard() {
            in_destructor = true;
            may_go_on.wait();
            ++completed;
          }
        } last{in_destructor, may_go_on, completed};
        throw error("unwinds");
      } catch (const std::runtime_error& thrown) {
        seen.emplace_back(thrown.what());
      }
      seen.push_back(thrown_by([] { roving::yield(); }));
      seen.push_back(thrown_by([] { roving::yield(); }));  // once only
    });
    while (!in_destructor) roving::yield();
    task.cancel("m");
    may_go_on.set();
    task.join();
  });
  CHECK(completed == 1);
  CHECK(seen == std::vector<std::string>{"unwinds", "cancelled: m", "nothing"});
}

TEST_CASE("C132 cancel: a task that is cancelled while it unwinds from a cancel is cancelled once more",
          "[runtime][no_cancel]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  std::atomic<int> completed{0};
  unsigned cancelling = 0;
  run_in(where, [&] {
    std::atomic<bool> in_destructor{false};
    roving::event may_go_on;
    auto task = roving::spawn(at(where, 1), [&] {
      seen.push_back(thrown_by([&] {
        const suspends_at_its_end last{in_destructor, may_go_on, completed};
        park();
      }));
      seen.push_back(thrown_by([] { roving::yield(); }));
      cancelling = roving::this_task::cancelling();
    });
    wait_until_waiting(task);
    task.cancel("first");
    while (!in_destructor) roving::yield();
    task.cancel("second");
    may_go_on.set();
    task.join();
  });
  CHECK(completed == 1);
  CHECK(seen == std::vector<std::string>{"cancelled: first", "cancelled: second"});
  CHECK(cancelling == 2);
}

TEST_CASE("C133 no_cancel: no suspension in it throws; the first one after it does", "[runtime][no_cancel]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  run_in(where, [&] {
    std::atomic<bool> inside{false};
    roving::event go_on;
    roving::semaphore permits{1};
    auto other = roving::spawn(at(where, 2), [&] { go_on.wait(); });
    auto task = roving::spawn(at(where, 1), [&] {
      {
        const roving::no_cancel outer;
        {
          const roving::no_cancel nested;
          inside = true;
          seen.push_back(thrown_by([&] { go_on.wait(); }));
        }
        seen.push_back(thrown_by([] { roving::yield(); }));
        seen.push_back(thrown_by([] { roving::sleep_for(1us); }));
        seen.push_back(thrown_by([&] { permits.acquire(); }));
        seen.push_back(thrown_by([&] { other.get(); }));
        seen.push_back(thrown_by([&] { roving::gather([] { roving::yield(); }, [] {}); }));
        seen.push_back(thrown_by([&] { (void)roving::wait(std::vector<roving::task_handle*>{&other}); }));
        seen.push_back(group_errors([](roving::task_group& group) { group.spawn([] { roving::yield(); }); }));
        seen.push_back(thrown_by([] { roving::with_timeout(24h, [] { roving::yield(); }); }));
      }
      seen.push_back(thrown_by([] { roving::yield(); }));
    });
    while (!inside) roving::yield();
    wait_until_waiting(task);
    task.cancel("m");
    go_on.set();
    task.join();
  });
  std::vector<std::string> expected(9, "nothing");
  expected.emplace_back("cancelled: m");
  CHECK(seen == expected);
}

TEST_CASE("C133 no_cancel: a noexcept function that suspends in it comes back", "[runtime][no_cancel]") {
  const place where = GENERATE(from_range(places()));
  bool came_back = false;
  std::string thrown;
  run_in(where, [&] {
    std::atomic<bool> inside{false};
    roving::event go_on;
    auto task = roving::spawn(at(where, 1), [&] {
      const auto never_throws = [&]() noexcept {
        const roving::no_cancel hold_back;
        inside = true;
        go_on.wait();
        roving::yield();
      };
      never_throws();
      came_back = true;
      roving::yield();
    });
    while (!inside) roving::yield();
    task.cancel();
    go_on.set();
    thrown = thrown_by([&] { task.get(); });
  });
  CHECK(came_back);
  CHECK(thrown == "cancelled");
}

TEST_CASE("C133 no_cancel: a timeout that passes in it is taken back, a child's failure still ends its group",
          "[runtime][no_cancel]") {
  const place where = GENERATE(from_range(places()));
  std::vector<std::string> seen;
  unsigned cancelling = 99;
  run_in(where, [&] {
    {
      const roving::no_cancel hold_back;
      seen.push_back(thrown_by([] { roving::with_timeout(0ms, [] { roving::yield(); }); }));
      seen.push_back(group_errors([&](roving::task_group& group) {
        group.spawn(at(where, 1), [] { throw error("child"); });
        group.spawn(at(where, 2), [] { park(); });
      }));
    }
    cancelling = roving::this_task::cancelling();
    seen.push_back(thrown_by([] { roving::yield(); }));
  });
  CHECK(seen == std::vector<std::string>{"nothing", "child", "nothing"});
  CHECK(cancelling == 0);
}
