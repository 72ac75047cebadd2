// Tested: spawn, task handles, task_view, all_tasks and this_task; eager tasks; context_var. Tasks write down what they
// saw; the test's own thread checks it after run().
#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <memory>
#include <optional>
#include <set>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/sync/places.hpp"

using namespace roving_test;
using namespace std::chrono_literals;
using names = std::vector<std::string>;

namespace {

roving::attributes eager(std::string_view name = {}) {
  roving::attributes what;
  what.eager = true;
  what.name = name;
  return what;
}

roving::attributes named(std::string_view name) {
  roving::attributes what;
  what.name = name;
  return what;
}

names names_of(const std::vector<roving::task_view>& tasks) {
  names all;
  for (const auto& each : tasks) all.push_back(each.name());
  return all;
}

}  // namespace

TEST_CASE("C32 spawn: it is not run inline; tasks and callbacks take their turns", "[task]") {
  const auto policy = GENERATE(roving::poll_policy::now_and_then, roving::poll_policy::every_generation);
  names order;
  roving::run({.shards = 1, .poll = policy}, [&] {
    roving::post([&] { order.push_back("cs0"); });
    auto t1 = roving::spawn([&] {
      order.push_back("t1a");
      roving::yield();
      order.push_back("t1b");
    });
    roving::post([&] { order.push_back("cs1"); });
    auto t2 = roving::spawn([&] {
      order.push_back("t2a");
      roving::yield();
      order.push_back("t2b");
    });
    order.push_back("main before");
    roving::yield();
    order.push_back("main after");
    t1.join();
    t2.join();
  });
  CHECK(order == names{"main before", "cs0", "t1a", "cs1", "t2a", "main after", "t1b", "t2b"});
}

TEST_CASE("C33 yield: every task that is ready runs exactly once first", "[task]") {
  constexpr int tasks_count = 20;
  constexpr int rounds_count = 50;
  std::vector<int> steps(tasks_count, 0);
  int uneven = 0;
  roving::run({.shards = 1}, [&] {
    std::vector<roving::task<void>> tasks;
    for (int i = 0; i < tasks_count; ++i)
      tasks.push_back(roving::spawn([&, i] {
        for (int round = 0; round < rounds_count; ++round) {
          ++steps[static_cast<std::size_t>(i)];
          roving::yield();
        }
      }));
    for (int round = 1; round <= rounds_count; ++round) {
      roving::yield();
      for (const int each : steps)
        if (each != round) ++uneven;
    }
    for (auto& each : tasks) each.join();
  });
  CHECK(uneven == 0);
}

TEST_CASE("C34 task: value and exception reach everyone who awaits it, also again", "[task]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> values{0};
  std::atomic<int> errors{0};
  std::atomic<int> same_object{0};
  roving::run({.shards = where.shards}, [&] {
    roving::event go;
    const auto at = where.is_roving ? roving::anywhere : roving::on_shard(where.shards - 1);
    const auto value = roving::spawn(at, [&] {
      go.wait();
      return std::string{"value"};
    });
    const auto error = roving::spawn(at, [&]() -> int {
      go.wait();
      throw std::runtime_error{"mine"};
    });
    crew tasks{where};
    for (int i = 0; i < 8; ++i)
      tasks.spawn([&] {
        for (int again = 0; again < 2; ++again) {
          if (value.get() == "value") ++values;
          if (&value.get() == &value.value()) ++same_object;
          try {
            static_cast<void>(error.get());
          } catch (const std::runtime_error& caught) {
            if (std::string{caught.what()} == "mine") ++errors;
          }
        }
      });
    for (std::size_t i = 0; i < tasks.size(); ++i) wait_until_parked(tasks[i]);
    go.set();
    tasks.join();
  });
  CHECK(values == 16);
  CHECK(same_object == 16);
  CHECK(errors == 16);
}

TEST_CASE("C34 task: value() never waits", "[task]") {
  names seen;
  roving::run({.shards = 1}, [&] {
    auto task = roving::spawn([] { return 3; });
    try {
      static_cast<void>(task.value());
    } catch (const roving::invalid_state&) {
      seen.push_back("not yet");
    }
    task.join();
    seen.push_back(std::to_string(task.value()));
    seen.push_back(task.exception() == nullptr ? "no exception" : "exception");
  });
  CHECK(seen == names{"not yet", "3", "no exception"});
}

TEST_CASE("C35 sleep: nothing or less is one tick", "[task]") {
  const int how = GENERATE(0, 1, 2, 3);
  names order;
  roving::run({.shards = 1}, [&] {
    auto other = roving::spawn([&] {
      order.push_back("other 1");
      roving::yield();
      order.push_back("other 2");
    });
    if (how == 0) roving::sleep_for(0ms);
    if (how == 1) roving::sleep_for(-1h);
    if (how == 2) roving::sleep_until(roving::now() - 1s);
    if (how == 3) roving::sleep_until(roving::time_point::min());
    order.push_back("main 1");
    other.join();
  });
  CHECK(order == names{"other 1", "main 1", "other 2"});
}

TEST_CASE("C35 sleep: what is not a number is refused, what is too long is cut", "[task]") {
  bool refused = false;
  bool slept = false;
  roving::run({.shards = 1}, [&] {
    try {
      roving::sleep_for(std::chrono::duration<double>{std::numeric_limits<double>::quiet_NaN()});
    } catch (const std::invalid_argument&) {
      refused = true;
    }
    auto forever = roving::spawn([] { roving::sleep_for(std::chrono::duration<double>{1e300}); });
    auto never = roving::spawn([] { roving::sleep_for(std::chrono::hours::max()); });
    wait_until_parked(forever);
    wait_until_parked(never);
    slept = !forever.done() && !never.done();
    forever.cancel();
    never.cancel();
    forever.join();
    never.join();
  });
  CHECK(refused);
  CHECK(slept);
}

TEST_CASE("C36 task: awaiting itself is an error and no deadlock", "[task]") {
  const place where = GENERATE(from_range(places()));
  names errors;
  roving::run({.shards = where.shards}, [&] {
    roving::task<void> self;
    std::atomic<bool> is_set{false};
    self = roving::spawn(where.is_roving ? roving::anywhere : roving::on_shard(where.shards - 1), [&] {
      while (!is_set) roving::yield();
      for (int how = 0; how < 3; ++how) {
        try {
          if (how == 0) self.get();
          if (how == 1) self.join();
          if (how == 2) static_cast<void>(self.join_for(1h));
        } catch (const roving::broken_contract& error) {
          errors.push_back(error.what());
        }
      }
    });
    is_set = true;
    while (!self.done()) roving::yield();
  });
  REQUIRE(errors.size() == 3);
  CHECK(errors[0] == "task::get: a task can't await itself");
  CHECK(errors[1] == "task::join: a task can't wait for itself");
}

TEST_CASE("C37 names: Task-N unless given, each another, and they can be changed", "[task]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  std::vector<std::string> defaults;
  names changed;
  roving::run({.shards = shards}, [&] {
    for (unsigned shard = 0; shard < shards; ++shard)
      for (auto& each : roving::spawn(roving::on_shard(shard), [] {
                          names made;
                          std::vector<roving::task<void>> tasks;
                          for (int i = 0; i < 100; ++i) tasks.push_back(roving::spawn([] {}));
                          for (auto& task : tasks) made.push_back(task.name());
                          return made;
                        }).get())
        defaults.push_back(each);
    auto task = roving::spawn(named("given"), [&] {
      changed.push_back(roving::this_task::name());
      roving::this_task::set_name("by itself");
    });
    changed.push_back(task.name());
    task.join();
    changed.push_back(task.name());
    task.set_name("afterwards");
    changed.push_back(task.name());
    changed.push_back(roving::this_task::name());
  });
  CHECK(std::set<std::string>(defaults.begin(), defaults.end()).size() == 100 * shards);
  for (const auto& each : defaults) CHECK(each.rfind("Task-", 0) == 0);
  CHECK(changed == names{"given", "given", "by itself", "afterwards", "Task-1"});
}

TEST_CASE("C38 this_task: it is right across interleaving, nested awaits and callbacks", "[task]") {
  const place where = GENERATE(from_range(places()));
  std::atomic<int> wrong{0};
  std::atomic<int> callbacks{0};
  std::atomic<int> in_callbacks{0};
  roving::run({.shards = where.shards}, [&] {
    const auto check = [&](const std::string& name) {
      if (roving::this_task::name() != name || roving::this_task::handle().name() != name || !roving::in_task())
        ++wrong;
    };
    crew tasks{where};
    for (int i = 0; i < 20; ++i)
      tasks.spawn([&, i] {
        const std::string name = "outer " + std::to_string(i);
        roving::this_task::set_name(name);
        const roving::task_view self = roving::this_task::handle();
        for (int round = 0; round < 10; ++round) {
          check(name);
          roving::yield();
          check(name);
          auto inner = roving::spawn(named("inner of " + name), [&] {
            check("inner of " + name);
            roving::sleep_for(1us);
            check("inner of " + name);
            if (roving::this_task::handle() == self) ++wrong;
          });
          inner.get();
          check(name);
          roving::post([&] {
            if (roving::in_task()) ++in_callbacks;
            ++callbacks;
          });
          check(name);
          if (!(roving::this_task::handle() == self)) ++wrong;
        }
      });
    tasks.join();
    while (callbacks < 200) roving::yield();
  });
  CHECK(wrong == 0);
  CHECK(in_callbacks == 0);
}

TEST_CASE("C39 all_tasks: those that are not done, eager ones that wait counted in, in order of creation", "[task]") {
  std::vector<names> seen;
  roving::run({.shards = 1}, [&] {
    roving::this_task::set_name("main");
    roving::event go;
    seen.push_back(names_of(roving::all_tasks()));
    auto a = roving::spawn(named("a"), [&] { go.wait(); });
    auto blocked = roving::spawn(eager("blocked"), [&] {
      seen.push_back(names_of(roving::all_tasks()));  // it is one while it runs, too
      go.wait();
    });
    auto ended = roving::spawn(eager("ended"), [] {});
    auto b = roving::spawn(named("b"), [&] { go.wait(); });
    seen.push_back(names_of(roving::all_tasks()));
    roving::yield();
    seen.push_back(names_of(roving::all_tasks()));
    go.set();
    a.join();
    b.join();
    blocked.join();
    seen.push_back(names_of(roving::all_tasks()));
    bool called = false;
    roving::post([&] {
      seen.push_back(names_of(roving::all_tasks()));
      called = true;
    });
    while (!called) roving::yield();
  });
  CHECK(seen ==
        std::vector<names>{{"main"},
                           {"main", "a", "blocked"},
                           {"main", "a", "blocked", "b"},
                           {"main", "a", "blocked", "b"},
                           {"main"},
                           {"main"}});
}

TEST_CASE("C39 task_view: says what a task does, and does not own it", "[task]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  std::string waits_in;
  std::optional<unsigned> shard;
  std::optional<unsigned> shard_of_roving{99};
  bool is_roving = false;
  std::string file;
  bool was_cancelled = false;
  std::uint32_t requests = 0;
  std::string error;
  std::optional<roving::task_view> kept;
  int called = 0;
  roving::run({.shards = shards}, [&] {
    roving::mutex mutex;
    mutex.lock();
    auto task = roving::spawn(roving::on_shard(shards - 1), [&] { mutex.lock(); });
    wait_until_parked(task);
    for (const roving::task_view& each : roving::all_tasks(shards - 1)) {
      if (each == roving::this_task::handle()) continue;
      waits_in = each.waits_in();
      shard = each.shard();
      file = each.site().file;
      each.on_done([&] { ++called; });
      each.cancel("stop");
      requests = each.cancelling();
      kept = each;
    }
    task.join();
    was_cancelled = kept->cancelled() && kept->waits_in() == nullptr;
    auto roves = roving::spawn(roving::anywhere, [] {
      const roving::task_view self = roving::this_task::handle();
      return std::pair{self.is_roving(), self.shard()};
    });
    is_roving = roves.get().first;
    shard_of_roving = roves.get().second;
    while (called == 0) roving::yield();
  });
  CHECK(waits_in == "mutex::lock");
  CHECK(shard == shards - 1);
  CHECK(file.find("task_test.cpp") != std::string::npos);
  CHECK(requests == 1);
  CHECK(was_cancelled);
  CHECK(is_roving);
  CHECK_FALSE(shard_of_roving.has_value());
  CHECK(kept->done());  // it outlives the runtime
  CHECK(kept->shard() == shards - 1);
  CHECK_THROWS_AS(kept->exception(), roving::cancelled);
  CHECK_THROWS_AS(roving::task_view{}.done(), roving::invalid_state);
}

TEST_CASE("C40 all_tasks: 10 shards with 100 tasks each are counted by shard", "[task]") {
  constexpr unsigned shards = 10;
  constexpr int tasks_count = 100;
  std::vector<std::size_t> counts;
  std::size_t all = 0;
  roving::run({.shards = shards}, [&] {
    roving::event go;
    std::atomic<unsigned> ready{0};
    std::vector<roving::task<void>> parents;
    for (unsigned shard = 0; shard < shards; ++shard)
      parents.push_back(roving::spawn(roving::on_shard(shard), [&] {
        std::vector<roving::task<void>> children;
        for (int i = 0; i < tasks_count; ++i) children.push_back(roving::spawn([&] { go.wait(); }));
        ++ready;
        for (auto& each : children) each.join();
      }));
    while (ready < shards) roving::yield();
    for (int again = 0; again < 3; ++again)
      for (unsigned shard = 1; shard < shards; ++shard) counts.push_back(roving::all_tasks(shard).size());
    counts.push_back(roving::all_tasks(0).size() - 1);  // main is there, too
    all = roving::all_tasks().size();
    go.set();
    for (auto& each : parents) each.join();
  });
  CHECK(counts == std::vector<std::size_t>(3 * 9 + 1, 101));
  CHECK(all == 10 * 101 + 1);
}

TEST_CASE("C40 all_tasks: ten threads ask while tasks come and go, and miss none that stays", "[task]") {
  const place where = GENERATE(from_range(places()));
  constexpr std::size_t staying_count = 100;
  constexpr int passing_count = 1000;
  std::atomic<int> missed{0};
  std::atomic<long> asked{0};
  roving::runtime all{{.shards = where.shards}};
  all.run([&] {
    roving::event go;
    crew staying{where};
    for (std::size_t i = 0; i < staying_count; ++i) staying.spawn([&] { go.wait(); });
    std::vector<std::string> expected;
    for (std::size_t i = 0; i < staying_count; ++i) expected.push_back(staying[i].name());
    std::sort(expected.begin(), expected.end());
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int t = 0; t < 10; ++t)
      threads.emplace_back([&] {
        do {
          names seen = names_of(all.all_tasks());
          std::sort(seen.begin(), seen.end());
          if (!std::includes(seen.begin(), seen.end(), expected.begin(), expected.end())) ++missed;
          ++asked;
        } while (!stop);
      });
    for (int done = 0; done < passing_count; done += 10) {
      crew passing{where};
      for (int i = 0; i < 10; ++i) passing.spawn([] { roving::yield(); });
      passing.join();
    }
    while (asked < 100) roving::yield();
    stop = true;
    for (auto& each : threads) each.join();
    go.set();
    staying.join();
  });
  CHECK(missed == 0);
}

TEST_CASE("C41 context_var: a child starts with its parent's values, and keeps its own to itself", "[task][context]") {
  const place where = GENERATE(from_range(places()));
  static roving::context_var<std::string> variable{"default"};
  names seen;
  roving::run({.shards = where.shards}, [&] {
    const auto at = where.is_roving ? roving::anywhere : roving::on_shard(where.shards - 1);
    seen.push_back(variable.get());
    variable.set("parent");
    auto child = roving::spawn(at, [&] {
      seen.push_back("child: " + variable.get());
      variable.set("child");
      roving::yield();
      seen.push_back("child: " + variable.get());
      roving::spawn([&] { seen.push_back("grandchild: " + variable.get()); }).join();
    });
    variable.set("parent, later");  // the child has its copy
    child.join();
    seen.push_back(variable.get());
    [] { variable.set("by a call"); }();  // a plain call shares
    seen.push_back(variable.get());
  });
  CHECK(seen == names{"default", "child: parent", "child: child", "grandchild: child", "parent, later", "by a call"});
  CHECK(variable.get() == "default");
}

TEST_CASE("C41 context_var: many tasks that interleave and migrate each see their own", "[task][context]") {
  const place where = GENERATE(from_range(places()));
  roving::context_var<int> number{-1};
  roving::context_var<std::string> name;
  std::atomic<int> wrong{0};
  roving::run({.shards = where.shards}, [&] {
    name.set("all");
    crew tasks{where};
    for (int i = 0; i < 50; ++i)
      tasks.spawn([&, i] {
        if (number.get() != -1 || name.get() != "all") ++wrong;
        number.set(i);
        for (int round = 0; round < 20; ++round) {
          round % 3 == 0 ? roving::sleep_for(1us) : roving::yield();
          if (number.get() != i + round) ++wrong;
          number.set(i + round + 1);
        }
        if (name.get() != "all") ++wrong;
      });
    tasks.join();
    if (number.get() != -1) ++wrong;
  });
  CHECK(wrong == 0);
}

TEST_CASE("C41 context_var: callbacks see what was there when they were registered", "[task][context]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  roving::context_var<int> variable{0};
  std::vector<std::pair<std::string, int>> seen;
  roving::run({.shards = shards}, [&] {
    roving::promise<void> promise;
    auto future = promise.get_future();
    std::atomic<int> left{6};
    const auto see = [&](const char* what) {
      return [&, what] {
        seen.emplace_back(what, variable.get());
        variable.set(100);  // in its own copy
        --left;
      };
    };
    variable.set(1);
    roving::post(see("post"));
    variable.set(2);
    roving::post_after(0ns, see("post_after"));
    variable.set(3);
    const roving::done_callback again = future.on_done(see("on_done"));
    variable.set(4);
    future.on_done(again);  // each registration anew
    variable.set(5);
    promise.set_value();
    variable.set(6);
    future.on_done(see("on_done of what is done"));
    variable.set(7);
    roving::here.post(see("placement::post"));
    variable.set(8);
    while (left > 0) roving::yield();
    seen.emplace_back("main", variable.get());
  });
  CHECK(seen ==
        std::vector<std::pair<std::string, int>>{{"post", 1},
                                                 {"on_done", 3},
                                                 {"on_done", 4},
                                                 {"on_done of what is done", 6},
                                                 {"placement::post", 7},
                                                 {"post_after", 2},
                                                 {"main", 8}});
}

TEST_CASE("C41 context_var: a token takes it back, once, where it came from", "[task][context]") {
  names seen;
  names errors;
  roving::run({.shards = 1}, [&] {
    roving::context_var<int> variable;
    roving::context_var<int> other{0};
    const auto attempt = [&](const char* what, const auto& f) {
      try {
        f();
        errors.push_back(std::string{what} + ": none");
      } catch (const roving::broken_contract& error) {
        errors.push_back(std::string{what} + ": " + error.what());
      }
    };
    attempt("unset", [&] { static_cast<void>(variable.get()); });
    if (variable.try_get() == nullptr) seen.push_back("unset");
    auto first = variable.set(1);
    auto second = variable.set(2);
    seen.push_back(std::to_string(variable.get()));
    variable.reset(second);
    seen.push_back(std::to_string(variable.get()));
    attempt("twice", [&] { variable.reset(second); });
    attempt("another's", [&] { other.reset(first); });
    roving::spawn([&] { attempt("elsewhere", [&] { variable.reset(first); }); }).join();
    variable.reset(first);
    if (variable.try_get() == nullptr) seen.push_back("unset again");
    auto of_default = other.set(5);
    seen.push_back(std::to_string(*other.try_get()));
    other.reset(of_default);
    seen.push_back(std::to_string(other.get()));
  });
  CHECK(seen == names{"unset", "2", "1", "unset again", "5", "0"});
  REQUIRE(errors.size() == 4);
  CHECK(errors[0].find("unset: context_var::get: it was not set") == 0);
  CHECK(errors[1] == "twice: context_var::reset: the token was used before");
  CHECK(errors[2] == "another's: context_var::reset: the token is another variable's");
  CHECK(errors[3] == "elsewhere: context_var::reset: the token comes from another task, callback or thread");
}

TEST_CASE("C41 context_var: plain threads have their own, which main and what they submit start with",
          "[task][context]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  roving::context_var<int> variable{0};
  auto token = variable.set(1);
  std::vector<int> seen;
  int in_thread = -1;
  std::atomic<int> submitted{-1};
  {
    roving::runtime all{{.shards = shards}};
    variable.set(2);  // the runtime has its copy
    all.run([&] {
      seen.push_back(variable.get());
      std::thread other{[&] {
        in_thread = variable.get();
        variable.set(3);
        submitted = all.submit(roving::on_shard(shards - 1), [&] { return variable.get(); }).get();
      }};
      while (submitted == -1) roving::sleep_for(10us);
      other.join();
      seen.push_back(variable.get());
    });
  }
  seen.push_back(variable.get());
  variable.reset(token);
  CHECK(seen == std::vector<int>{1, 1, 2});
  CHECK(in_thread == 0);
  CHECK(submitted == 3);
  CHECK(variable.get() == 0);
}

TEST_CASE("C41 context_var: values live as long as somebody can see them", "[task][context]") {
  const auto token = std::make_shared<int>(0);
  std::vector<long> counts;
  roving::run({.shards = 1}, [&] {
    auto variable = std::make_unique<roving::context_var<std::shared_ptr<int>>>();
    variable->set(token);
    counts.push_back(token.use_count());
    variable->set(token);  // the former one goes
    counts.push_back(token.use_count());
    {
      auto before = variable->set(nullptr);
      counts.push_back(token.use_count());  // the token has it
    }
    counts.push_back(token.use_count());
    roving::spawn([&] {
      variable->set(token);
      counts.push_back(token.use_count());
    }).join();
    counts.push_back(token.use_count());
    auto handle = roving::spawn([&] {
      variable->set(token);
      roving::post_after(1h, [] {});  // its context has it
    });
    handle.join();
    handle = {};
    counts.push_back(token.use_count());
    variable.reset();  // the values stay where they are
    counts.push_back(token.use_count());
  });
  CHECK(counts == std::vector<long>{2, 2, 2, 1, 2, 1, 2, 2});
  CHECK(token.use_count() == 1);
}

TEST_CASE("C42 eager: a body that does not suspend is done on return, without a tick", "[task]") {
  names order;
  bool done = false;
  bool callback_ran = true;
  bool ran = false;  // outlives the callback, which runs as the runtime closes
  std::size_t alive = 0;
  int value = 0;
  std::string error;
  roving::run({.shards = 1}, [&] {
    roving::post([&] { ran = true; });
    auto task = roving::spawn(eager(), [&] {
      order.push_back("body");
      return 7;
    });
    order.push_back("returned");
    done = task.done();
    value = task.value();
    alive = roving::all_tasks().size();
    auto failed = roving::spawn(eager(), [] { throw std::runtime_error{"mine"}; });
    try {
      failed.get();
    } catch (const std::runtime_error& caught) {
      error = caught.what();
    }
    for (int i = 0; i < 100; ++i) roving::spawn(eager(), [&] { ++value; }).detach();
    callback_ran = ran;
  });
  CHECK(order == names{"body", "returned"});
  CHECK(done);
  CHECK(alive == 1);
  CHECK(value == 107);
  CHECK(error == "mine");
  CHECK_FALSE(callback_ran);
}

TEST_CASE("C43 eager: a body that waits lets its spawner go on", "[task]") {
  const bool in_callback = GENERATE(false, true);
  names order;
  roving::run({.shards = 1}, [&] {
    roving::task<void> task;
    bool over = false;
    const auto spawn_it = [&] {
      task = roving::spawn(eager(), [&] {
        order.push_back("d1");
        roving::yield();
        order.push_back("d2");
      });
      order.push_back("after create");
      over = true;
    };
    if (in_callback)
      roving::post(spawn_it);
    else
      spawn_it();
    while (!over) roving::yield();
    task.join();
  });
  CHECK(order == names{"d1", "after create", "d2"});
}

TEST_CASE("C43 eager: nested, each returns to its own spawner", "[task]") {
  names order;
  roving::run({.shards = 1}, [&] {
    auto outer = roving::spawn(eager("outer"), [&] {
      order.push_back("outer 1");
      auto inner = roving::spawn(eager("inner"), [&] {
        order.push_back("inner 1");
        roving::yield();
        order.push_back("inner 2");
      });
      order.push_back("outer 2");
      inner.join();
      order.push_back("outer 3");
    });
    order.push_back("main");
    outer.join();
  });
  CHECK(order == names{"outer 1", "inner 1", "outer 2", "main", "inner 2", "outer 3"});
}

TEST_CASE("C44 eager: the current task is switched and comes back, and so is the context", "[task][context]") {
  names order;
  roving::context_var<std::string> variable{"default"};
  roving::run({.shards = 1}, [&] {
    roving::this_task::set_name("main");
    variable.set("main's");
    const auto note = [&](const char* where) {
      order.push_back(std::string{where} + ": " + (roving::in_task() ? roving::this_task::name() : "none") + ", " +
                      variable.get());
    };
    auto task = roving::spawn(eager("eager"), [&] {
      note("first");
      variable.set("eager's");
      note("first");
      roving::yield();
      note("second");
    });
    note("after");
    task.join();
    note("end");
    bool over = false;
    roving::post([&] {
      roving::spawn(eager("of a callback"), [&] { note("eager"); }).detach();
      note("callback");
      over = true;
    });
    while (!over) roving::yield();
  });
  CHECK(order ==
        names{"first: eager, main's", "first: eager, eager's", "after: main, main's", "second: eager, eager's",
              "end: main, main's", "eager: of a callback, main's", "callback: none, main's"});
}

TEST_CASE("C44 eager: a cancel after the first step reaches the call in which the task waits", "[task][cancel]") {
  names order;
  bool done_at_once = true;
  roving::run({.shards = 1}, [&] {
    auto task = roving::spawn(eager(), [&] {
      try {
        roving::sleep_for(1h);
      } catch (const roving::cancelled& caught) {
        order.push_back("cancelled: " + std::string{caught.message()});
        throw;
      }
    });
    order.push_back("spawned");
    task.cancel("stop");
    done_at_once = task.done();
    task.join();
    order.push_back(task.cancelled() ? "is cancelled" : "is not");
  });
  CHECK(order == names{"spawned", "cancelled: stop", "is cancelled"});
  CHECK_FALSE(done_at_once);
}

TEST_CASE("C42 eager: only a pinned task of this shard can be", "[task]") {
  const unsigned shards = GENERATE(2u, 4u);
  int refused = 0;
  bool of_a_roving_parent = false;
  roving::run({.shards = shards}, [&] {
    for (const auto where : {roving::anywhere, roving::on_shard(1)}) {
      auto what = eager();
      what.placement = where;
      try {
        roving::spawn(what, [] {}).detach();
      } catch (const std::invalid_argument&) {
        ++refused;
      }
    }
    roving::spawn(roving::anywhere, [&] {
      auto what = eager();
      what.placement = roving::here;
      bool ran = false;
      auto pinned = roving::spawn(what, [&] {
        ran = !roving::this_task::is_roving();
        roving::yield();
      });
      of_a_roving_parent = ran;
      pinned.join();
    }).join();
  });
  CHECK(refused == 2);
  CHECK(of_a_roving_parent);
}

TEST_CASE("C135 shard_local: each shard has its own, pinned tasks share it without a lock", "[task][context]") {
  const unsigned shards = GENERATE(1u, 2u, 4u);
  constexpr int tasks_count = 20;
  constexpr int rounds_count = 50;
  std::atomic<int> made{0};
  std::atomic<int> alive{0};
  struct counter {
    explicit counter(std::atomic<int>& of) : alive{of} { ++alive; }
    counter(const counter&) = delete;
    counter& operator=(const counter&) = delete;
    ~counter() { --alive; }
    std::atomic<int>& alive;
    int value = 0;
  };
  std::vector<int> values;
  std::atomic<int> wrong{0};
  roving::shard_local<counter> local{[&] {
    ++made;
    return counter{alive};
  }};
  roving::run({.shards = shards}, [&] {
    std::vector<roving::task<void>> tasks;
    for (unsigned shard = 0; shard < shards; ++shard)
      for (int i = 0; i < tasks_count; ++i)
        tasks.push_back(roving::spawn(roving::on_shard(shard), [&] {
          counter& mine = *local;
          for (int round = 0; round < rounds_count; ++round) {
            ++mine.value;  // plain: another shard would be a race
            roving::yield();
            if (&mine != &local.get()) ++wrong;
          }
        }));
    for (auto& each : tasks) each.join();
    for (unsigned shard = 0; shard < shards; ++shard)
      values.push_back(roving::spawn(roving::on_shard(shard), [&] { return local->value; }).get());
    roving::spawn(roving::anywhere, [&] {
      for (int i = 0; i < 20; ++i) {
        ++local->value;  // of the shard where it is
        roving::yield();
      }
    }).join();
  });
  CHECK(values == std::vector<int>(shards, tasks_count * rounds_count));
  CHECK(wrong == 0);
  CHECK(made == static_cast<int>(shards));
  CHECK(alive == 0);  // they went with their runtime
}

TEST_CASE("C135 shard_local: values of one that is gone make room, and may ask for others while they go",
          "[task][context]") {
  const auto token = std::make_shared<int>(0);
  roving::shard_local<std::atomic<int>> counter;  // what can't be moved, too
  struct asks {
    roving::shard_local<std::atomic<int>>* counter = nullptr;
    std::shared_ptr<int> token;
    asks(roving::shard_local<std::atomic<int>>* of, std::shared_ptr<int> with) : counter{of}, token{std::move(with)} {}
    asks(const asks&) = delete;
    asks& operator=(const asks&) = delete;
    ~asks() { ++**counter; }
  };
  long left = -1;
  int went = 0;
  roving::run({.shards = 1}, [&] {
    for (int i = 0; i < 100; ++i) {
      roving::shard_local<asks> passing{[&] { return asks{&counter, token}; }};
      static_cast<void>(passing.get());
    }
    left = token.use_count();
    went = *counter;
  });
  CHECK(left <= 3);
  CHECK(went >= 98);
  CHECK(token.use_count() == 1);
}
