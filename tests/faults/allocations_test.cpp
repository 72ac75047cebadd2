// Tested: the i-th allocation of a program fails, for every i. The program succeeds all the same or gets
// std::bad_alloc, or an error that is documented to stand for it; it ends, and all is given back.
#include <array>
#include <cerrno>
#include <functional>
#include <memory>
#include <new>
#include <shared_mutex>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <roving/roving.hpp>

#include "tests/faults/failing_allocations.hpp"
#include "tests/faults/faults.hpp"
#include "tests/faults/seams.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;
using test::world;

namespace {

struct scenario {
  const char* name;
  void (*program)();
  bool has_a_network = false;  // a connection that the other side had to close is an error of its own
};

void need(bool holds, const char* what) {
  if (!holds) throw std::logic_error{what};
}

roving::placement elsewhere() { return roving::on_shard(roving::shard_count() - 1); }

// --- programs

void start_and_stop() {}

int leaves(int depth) {
  if (depth == 0) return 1;
  auto left = roving::spawn([depth] { return leaves(depth - 1); });
  auto right = roving::spawn([depth] {
    roving::yield();
    return leaves(depth - 1);
  });
  return left.get() + right.get();
}

void spawn_and_join() {
  need(leaves(2) == 4, "a leaf is missing");
  const std::array<char, 1000> large{};
  need(roving::spawn([large] { return large.size(); }).get() == large.size(), "a large callable");
  need(roving::spawn(elsewhere(), [] { return 1; }).get() == 1, "elsewhere");
  need(roving::spawn(roving::anywhere, [] { return 1; }).get() == 1, "anywhere");
  auto named = roving::spawn(roving::attributes{.name = "a name that is too long to lie within a std::string"}, [] {});
  named.get();
  roving::spawn([] { roving::yield(); }).detach();
  roving::spawn([] { roving::sleep_for(1h); }).detach();  // cancelled by the end of the runtime
  auto cancelled = roving::spawn([] { roving::sleep_for(1h); });
  roving::yield();
  cancelled.cancel("a message that is too long to lie within a std::string");
  cancelled.join();
  need(cancelled.cancelled(), "the cancel was lost");
}

void several() {
  const auto [one, two] = roving::gather([] { return 1; },
                                         [] {
                                           roving::yield();
                                           return 2;
                                         });
  need(one + two == 3, "gather");
  std::vector<std::function<int()>> bodies(3, [] { return 1; });
  need(roving::gather(bodies).size() == 3, "gather of a range");
  const auto settled = roving::gather_settled([] { return 1; }, [] { return 2; });
  need(std::get<0>(settled).value() == 1, "gather_settled");  // or what it threw
  int sum = 0;
  roving::with_task_group([&](roving::task_group& group) {
    for (int i = 0; i < 3; ++i)
      group.spawn(i == 1 ? elsewhere() : roving::here, [&sum, i] {
        roving::yield();
        if (i != 1) ++sum;
      });
  });
  need(sum == 2, "a task of the group did not run");
  try {
    roving::with_task_group([](roving::task_group& group) {
      group.spawn([] { roving::sleep_for(1h); });
      group.spawn([] { throw std::out_of_range{"on purpose"}; });  // last: a group that is ending takes no more
    });
    need(false, "the group did not throw");
  } catch (const roving::exception_group& all) {
    for (const std::exception_ptr& each : all.exceptions()) {
      try {
        std::rethrow_exception(each);
      } catch (const std::out_of_range&) {
      }
    }
  }
  std::vector<roving::task<int>> tasks;
  for (int i = 0; i < 3; ++i)
    tasks.push_back(roving::spawn([i] {
      roving::sleep_for(i * 1us);
      return i;
    }));
  int seen = 0;
  for (auto& done : roving::as_completed(tasks)) seen += done.get();
  need(seen == 3, "as_completed");
  (void)roving::wait(tasks, roving::all_completed, 1h);
  need(roving::race([] { return 1; },
                    [] {
                      roving::sleep_for(1h);
                      return 2;
                    }) == 1,
       "race");
  auto inner = roving::spawn([] {
    roving::yield();
    return 1;
  });
  need(roving::shield(inner) == 1, "shield");
}

void cancels() {
  // A cancel is passed on along what awaits what; this way needs memory.
  struct chain {
    static void link(int left) {
      if (left == 0) return roving::sleep_for(1h);
      auto next = roving::spawn([left] { link(left - 1); });
      if (left % 3 == 0)
        roving::gather(std::move(next), roving::spawn([] { roving::sleep_for(1h); }));
      else
        next.get();
    }
  };
  auto first = roving::spawn([] { chain::link(40); });
  for (int i = 0; i < 45; ++i) roving::yield();
  try {
    roving::with_timeout(1us, [&] { first.get(); });
  } catch (const roving::timeout_error&) {
  }
  need(first.cancelled() || first.exception() != nullptr, "the cancel was lost");
  auto outer = roving::spawn([] {
    auto inner = roving::spawn([] { roving::gather([] { roving::sleep_for(1h); }, [] { roving::sleep_for(1h); }); });
    inner.get();
  });
  for (int i = 0; i < 4; ++i) roving::yield();
  outer.cancel("enough");
  outer.join();
  need(outer.cancelled() || outer.exception() != nullptr, "the cancel was lost");
}

void times() {
  try {
    roving::with_timeout(20us, [] { roving::sleep_for(1h); });
    need(false, "no timeout");
  } catch (const roving::timeout_error&) {
  }
  need(roving::with_timeout(1h, [] { return 1; }) == 1, "a timeout that was not needed");
  auto slow = roving::spawn([] { roving::sleep_for(1h); });
  need(!slow.join_for(20us), "join_for");
  const auto called = std::make_shared<roving::event>();  // a callback may outlive a wait that fails
  roving::post([called] { called->set(); });
  called->wait();
  called->clear();
  roving::post_after(1us, [called] { called->set(); });
  called->wait();
  need(roving::select(roving::after(1us).on_expiry([] { return 1; })) == 1, "select");
}

void primitives() {
  roving::mutex mutex;
  roving::condition_variable changed{mutex};
  roving::semaphore permits{1};
  roving::event event;
  roving::barrier both{2};
  roving::latch all{2};
  roving::once only;
  roving::shared_mutex shared;
  roving::queue<std::string> items{2};
  int state = 0;
  roving::with_task_group([&](roving::task_group& group) {
    for (const bool is_second : {false, true})
      group.spawn(is_second ? elsewhere() : roving::here, [&] {
        {
          const std::scoped_lock hold{mutex};
          if (++state == 2)
            changed.notify_all();
          else
            while (state != 2) changed.wait();
        }
        permits.acquire();
        roving::yield();
        permits.release();
        (void)both.wait();
        all.count_down();
        all.wait();
        only.call([] { roving::yield(); });
        {
          const std::shared_lock hold{shared};
          roving::yield();
        }
        event.wait();
      });
    group.spawn([&] { event.set(); });
    group.spawn(elsewhere(), [&] {
      for (int i = 0; i < 4; ++i) items.put("an item that is too long to lie within a std::string");
    });
    group.spawn([&] {
      for (int i = 0; i < 4; ++i)
        need(roving::select(items.on_get([](std::string) { return true; }),
                            roving::after(1h).on_expiry([] { return false; })),
             "select");
    });
  });
  need(permits.value() == 1, "a permit was lost");
  need(mutex.try_lock(), "the mutex is still locked");
  mutex.unlock();
}

void futures() {
  roving::promise<std::string> promise;
  roving::shared_future<std::string> future = promise.get_future().share();
  future.on_done([calls = 0]() mutable { ++calls; });  // may run when this has ended with an error
  roving::with_task_group([&](roving::task_group& group) {
    group.spawn([&] { need(!future.get().empty(), "the value"); });
    group.spawn(elsewhere(), [&] { need(!future.get().empty(), "the value"); });
    roving::yield();
    if (!promise.try_set_value("a value that is too long to lie within a std::string")) need(false, "set before");
  });
  auto task = roving::spawn([] { return 1; });
  task.on_done([calls = 0]() mutable { ++calls; });
  task.get();
  roving::promise<int> unset;
  auto broken = unset.get_future();
  { const roving::promise<int> gone{std::move(unset)}; }
  try {
    broken.get();
    need(false, "the promise is not broken");
  } catch (const roving::broken_promise&) {
  }
}

void other_threads() {
  need(roving::blocking([] { return 1; }) == 1, "blocking");
  roving::with_task_group([](roving::task_group& group) {
    for (int i = 0; i < 3; ++i)
      group.spawn([] { need(roving::blocking([] { return std::string(100, 'x'); }).size() == 100, "blocking"); });
  });
  try {
    roving::blocking([] { throw std::out_of_range{"on purpose"}; });
    need(false, "the exception was lost");
  } catch (const std::out_of_range&) {
  }
  auto submitted = roving::submit(roving::anywhere_executor{}, [] { return 1; });
  need(submitted.get() == 1, "submit");
}

roving::coroutine<int> coroutine_of(int value) {
  co_await roving::resume_after(1us);
  co_return value;
}

void bodies() {
  roving::generator<int> numbers{[](auto& yield_value) {
    for (int i = 0;; ++i) {
      roving::yield();
      yield_value(i);
    }
  }};
  int sum = 0;
  for (const int each : numbers) {
    sum += each;
    if (each == 3) break;
  }
  need(sum == 6, "a generator");
  need(roving::await(coroutine_of(1)) == 1, "a coroutine");
  static roving::context_var<int> number{0};
  const auto set = number.set(1);
  need(roving::spawn([] { return number.get(); }).get() == 1, "a context variable");
  static roving::shard_local<std::vector<int>> local;
  local->push_back(1);
}

void echo() {
  roving::tcp_listener listener{{"127.0.0.1", 0}};
  const roving::endpoint at = listener.local_endpoint();
  roving::serve_options how;
  how.accept = roving::every_shard;
  how.retry_after = 1us;
  how.on_accept_error = [](const std::error_code&) {};
  how.on_error = [](const std::exception_ptr&) {};
  roving::with_task_group([&](roving::task_group& group) {
    auto server = group.spawn([&] {
      roving::serve(listener, how, [](roving::tcp_stream stream) {
        std::array<char, 64> bytes{};
        while (const std::size_t size = stream.read_some({bytes.data(), bytes.size()}))
          stream.write_all({bytes.data(), size});
      });
    });
    roving::gather(
        [&] {
          auto stream = roving::tcp_stream::connect(at);
          std::array<char, 256> bytes{};
          stream.write_all({bytes.data(), bytes.size()});
          stream.read_exactly({bytes.data(), bytes.size()});
        },
        [&] {
          auto stream = roving::tcp_stream::connect("127.0.0.1", at.port());
          stream.write_all({"hello", 5});
          std::array<char, 5> bytes{};
          stream.read_exactly({bytes.data(), bytes.size()});
        });
    server.cancel();
  });
}

// What the end of the runtime finds.
void leftovers() {
  roving::spawn([] { throw std::out_of_range{"on purpose"}; }).detach();
  roving::post([] { throw std::out_of_range{"on purpose"}; });
  roving::post_after(1h, [] {});
  for (int i = 0; i < 3; ++i)
    roving::spawn(i == 1 ? elsewhere() : roving::here, [] {
      try {
        roving::sleep_for(1h);
      } catch (const roving::cancelled&) {
        roving::spawn([] { roving::yield(); }).get();
        throw std::out_of_range{"on purpose"};
      }
    }).detach();
  auto kept = std::make_shared<roving::generator<int>>([](auto& yield_value) {
    for (;;) {
      try {
        yield_value(1);
      } catch (const roving::generator_exit&) {
        roving::yield();
        throw;
      }
    }
  });
  (void)kept->next();
  roving::post_after(1h, [kept] {});  // it is unwound by a task of its own
  roving::yield();
}

void pools() {
  roving::blocking_pool own{{.threads_at_most = 2}};
  auto one = roving::submit(own, [] { return 1; });
  own.post([] { throw std::out_of_range{"on purpose"}; });
  roving::promise<int> promise;
  auto future = promise.get_future();
  future.on_done(own, [] {});
  promise.set_value(1);
  try {
    need(one.get() + future.get() == 2, "a value");
  } catch (const roving::cancelled&) {  // a pool without a thread drops its work, which cancels the future
    throw std::bad_alloc{};
  }
}

const scenario scenarios[] = {
    {"start and stop", start_and_stop},
    {"spawn and join", spawn_and_join},
    {"several", several},
    {"cancels", cancels},
    {"times", times},
    {"primitives", primitives},
    {"futures", futures},
    {"other threads", other_threads},
    {"bodies", bodies},
    {"leftovers", leftovers},
    {"pools", pools},
    {"echo", echo, true},
};

// --- running them

// Whether what came out stands for the want of memory.
bool is_want_of_memory(const std::exception_ptr& error, bool has_a_network) {
  try {
    std::rethrow_exception(error);
  } catch (const std::bad_alloc&) {
    return true;
  } catch (const roving::exception_group& all) {
    for (const std::exception_ptr& each : all.exceptions())
      if (!is_want_of_memory(each, has_a_network)) return false;
    return true;
  } catch (const std::system_error& failed) {
    return failed.code() == std::errc::not_enough_memory || has_a_network;
  } catch (...) {
    return false;
  }
}

std::exception_ptr run(const scenario& what, world where) {
  return test::error_of([&] {
    roving::runtime runtime{test::quiet(where)};
    test::run_in(runtime, where, what.program);
  });
}

struct tally {
  std::uint64_t runs = 0;
  std::uint64_t threw = 0;
  std::vector<std::string> wrong;
};

// Lets `failing` allocations fail from the i-th on, for every `step`-th i.
tally fail_each(const scenario& what, world where, std::uint64_t failing, std::uint64_t step) {
  tally all;
  for (int i = 0; i < 3; ++i)  // what is made once in the life of a process
    if (const std::exception_ptr error = run(what, where)) {
      all.wrong.push_back("without a failure: " + test::text_of(error));
      return all;
    }
  unsigned beyond_the_end = 0;  // several: with threads the number differs
  for (std::uint64_t i = 1;; i += step) {
    test::bounded::at("%s, %u shards, %s: allocation %llu fails, %llu in all", what.name, where.shards,
                      where.is_roving ? "roving" : "pinned", static_cast<unsigned long long>(i),
                      static_cast<unsigned long long>(failing));
    const std::int64_t blocks = test::blocks_in_use();
    const std::size_t descriptors = test::open_descriptors();
    std::uint64_t asked = 0;
    std::string problem;
    {
      std::exception_ptr error;
      {
        const test::failing_allocations fail{i, failing};
        error = run(what, where);
        asked = test::failing_allocations::seen();
      }
      if (error) {
        ++all.threw;
        if (!is_want_of_memory(error, what.has_a_network)) problem = "threw " + test::text_of(error);
      }
    }
    if (problem.empty() && test::blocks_in_use() != blocks)
      problem = std::to_string(test::blocks_in_use() - blocks) + " blocks are left";
    if (problem.empty() && test::open_descriptors() != descriptors) problem = "descriptors are left";
    ++all.runs;
    if (!problem.empty()) all.wrong.push_back("allocation " + std::to_string(i) + ": " + problem);
    beyond_the_end = asked < i ? beyond_the_end + 1 : 0;
    if (beyond_the_end == 5 || all.wrong.size() > 20) return all;
  }
}

std::string joined(const std::vector<std::string>& lines) {
  std::string all;
  for (const std::string& each : lines) all += each + "\n";
  return all;
}

}  // namespace

TEST_CASE("faults: each allocation of a program fails, alone and with those that follow", "[faults][allocations]") {
  const test::bounded bound{240};
  const world where = GENERATE(world{1, false}, world{1, true}, world{2, false}, world{2, true});
  const std::uint64_t failing = GENERATE(std::uint64_t{1}, std::uint64_t{6});
  for (const scenario& what : scenarios) {
    const tally all = fail_each(what, where, failing, failing == 1 ? 1 : 3);
    INFO(what.name << ", " << where.shards << " shards, " << (where.is_roving ? "roving" : "pinned") << ", " << failing
                   << " that fail, " << all.runs << " runs\n"
                   << joined(all.wrong));
    CHECK(all.wrong.empty());
    CHECK(all.threw > 0);
    test::show("allocations: %-15s %u shards, %s, %2llu fail: %4llu runs, %4llu of them threw\n", what.name,
               where.shards, where.is_roving ? "roving" : "pinned", static_cast<unsigned long long>(failing),
               static_cast<unsigned long long>(all.runs), static_cast<unsigned long long>(all.threw));
  }
}
