// Tested: dump_tasks while everything else goes on, stopped at every step: who is looked at loses no wake-up, and what
// it waits for is there when it is read.
#include <stdexcept>
#include <string>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

#include "tests/support/catch.hpp"

namespace sim = roving::sim;
using namespace std::chrono_literals;

namespace {

// Short waits of all kinds, which end while they are looked at.
void seen_while_they_wait() {
  roving::mutex lock;
  roving::queue<int> items{1};
  int sum = 0;
  bool ends = false;
  std::size_t seen = 0;
  auto watcher = roving::spawn([&] {
    while (!ends) {
      seen += roving::dump_tasks().size();
      roving::yield();
    }
  });
  roving::with_task_group([&](roving::task_group& group) {
    for (int i = 0; i < 2; ++i) {
      group.spawn(roving::anywhere, [&, i] {
        const std::scoped_lock hold{lock};
        roving::sleep_for(1us);
        sum += i;
      });
      group.spawn(roving::anywhere, [&] { items.put(1); });
      group.spawn([&] { (void)items.get(); });
      group.spawn(roving::anywhere, [] {
        auto child = roving::spawn(roving::anywhere, [] { roving::yield(); });
        roving::gather(child, child);
        auto other = roving::spawn([] { roving::sleep_for(1h); });
        other.cancel();
        (void)other.join_for(1us);
      });
    }
  });
  ends = true;
  watcher.get();
  if (sum != 1) throw std::runtime_error{"an update was lost"};
  if (seen == 0) throw std::runtime_error{"nobody was seen"};
}

}  // namespace

TEST_CASE("sim: tasks are looked at while their waits end", "[sim][dump]") {
  const sim::explored all = sim::explore({.seeds = 2000}, seen_while_they_wait);
  CHECK(all.runs == 2000);
}

// What a wait was for is not said of the next one, in which it may be gone.
TEST_CASE("sim: who runs a child on its own stack waits for no lock any more", "[sim][dump]") {
  int seen = 0;
  int locked = 0;
  for (std::uint64_t seed = 1; seed <= 50; ++seed) {
    sim::options how;
    how.seed = seed;
    how.runtime.shards = 1;
    std::string dump;
    sim::run(how, [&] {
      roving::mutex lock;
      lock.lock();
      auto parent = roving::spawn(roving::attributes{.name = "the parent"}, [&] {
        lock.lock();
        lock.unlock();
        roving::spawn([] { roving::sleep_for(1ms); }).get();
      });
      roving::yield();
      lock.unlock();
      roving::sleep_for(10us);
      lock.lock();
      dump = roving::dump_tasks();
      lock.unlock();
      parent.get();
    });
    const std::size_t line = dump.find("task the parent");
    const std::string text = dump.substr(line, dump.find('\n', line) - line);
    if (text.find("runs a child on its own stack") == text.npos) continue;
    ++seen;
    locked += text.find("locked by") != text.npos ? 1 : 0;
  }
  CHECK(seen > 10);
  CHECK(locked == 0);
}
