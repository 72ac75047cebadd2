// Small programs for simulation. Each throws when something that must hold does not, and else ends; all of it whatever
// the seed. Between them they use everything that the planted faults are in.
#pragma once

#include <cstddef>
#include <functional>
#include <span>
#include <stdexcept>
#include <string>
#include <system_error>
#include <vector>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

namespace roving_test {

struct scenario {
  const char* name;
  void (*program)();
};

inline void need(bool holds, const char* what) {
  if (!holds) throw std::runtime_error{what};
}

/// Somewhere, in turn: roving, or pinned to one of the shards.
inline roving::placement somewhere(unsigned number) {
  return number % 2 == 0 ? roving::anywhere : roving::on_shard(number / 2 % roving::shard_count());
}

namespace scenarios {

using namespace std::chrono_literals;

inline void exclusion() {
  roving::mutex mutex;
  int inside = 0;
  int entries = 0;
  std::vector<roving::task<void>> tasks;
  for (unsigned i = 0; i < 6; ++i)
    tasks.push_back(roving::spawn(somewhere(i), [&] {
      for (int round = 0; round < 4; ++round) {
        const std::scoped_lock hold{mutex};
        need(++inside == 1, "two hold the mutex");
        roving::yield();
        --inside;
        ++entries;
      }
    }));
  for (auto& each : tasks) each.get();
  need(entries == 24, "an entry is missing");
}

inline int leaves(int depth) {
  if (depth == 0) return 1;
  auto left = roving::spawn([depth] { return leaves(depth - 1); });
  auto right = roving::spawn([depth] {
    roving::yield();
    return leaves(depth - 1);
  });
  return left.get() + right.get();
}

inline void fork_and_join() {
  need(roving::spawn(roving::anywhere, [] { return leaves(4); }).get() == 16, "a leaf is missing or was run twice");
}

// Several wait for the same child that nobody has started, and thieves look for it.
inline void shared_children() {
  roving::spawn(roving::anywhere, [] {
    for (int round = 0; round < 6; ++round) {
      int runs = 0;
      auto child = roving::spawn([&] { return ++runs; });
      auto other = roving::spawn([&] { return child.get(); });
      auto third = roving::spawn([] { roving::yield(); });
      need(child.get() == 1, "a child ran twice");
      need(other.get() == 1, "a child ran twice");
      third.get();
    }
  }).get();
}

inline void messages_in_order() {
  const unsigned shards = roving::shard_count();
  constexpr int each_sends = 12;
  std::vector<std::vector<int>> seen(3);
  roving::semaphore arrived{0};
  std::vector<roving::task<void>> senders;
  for (unsigned sender = 0; sender < 3; ++sender)
    senders.push_back(roving::spawn(somewhere(sender), [&, sender] {
      for (int i = 0; i < each_sends; ++i) {
        roving::spawn(roving::on_shard((sender + 1) % shards), [&, sender, i] {
          seen[sender].push_back(i);
          arrived.release();
        }).detach();
        if (i % 5 == 0) roving::yield();
      }
    }));
  for (auto& each : senders) each.get();
  for (int i = 0; i < 3 * each_sends; ++i) arrived.acquire();
  for (const auto& each : seen)
    for (int i = 0; i < each_sends; ++i)
      need(each.at(static_cast<std::size_t>(i)) == i, "messages overtook each other");
}

// Plain threads complete what tasks wait for.
inline void from_outside() {
  constexpr unsigned waiters = 4;
  std::vector<roving::promise<int>> promises(waiters);
  std::vector<roving::task<int>> tasks;
  for (unsigned i = 0; i < waiters; ++i)
    tasks.push_back(
        roving::spawn(somewhere(i), [future = promises[i].get_future()]() mutable { return future.get(); }));
  roving::sim::thread one{[&] {
    for (unsigned i = 0; i < waiters; i += 2) promises[i].set_value(1);
  }};
  roving::sim::thread two{[&] {
    for (unsigned i = 1; i < waiters; i += 2) promises[i].set_value(1);
  }};
  int sum = 0;
  for (auto& each : tasks) sum += each.get();
  need(sum == waiters, "a value is missing");
}

// The same with roving tasks only, which come in pairs: nobody may keep one of a pair while others sleep.
inline void pairs_from_outside() {
  constexpr unsigned waiters = 8;
  std::vector<roving::promise<int>> promises(waiters);
  std::vector<roving::task<int>> tasks;
  for (unsigned i = 0; i < waiters; ++i)
    tasks.push_back(
        roving::spawn(roving::anywhere, [future = promises[i].get_future()]() mutable { return future.get(); }));
  roving::sleep_for(std::chrono::milliseconds{1});
  std::vector<roving::sim::thread> threads;
  for (unsigned each = 0; each < 2; ++each)
    threads.emplace_back([&, each] {
      for (unsigned i = each; i < waiters; i += 2) promises[i].set_value(1);
    });
  int sum = 0;
  for (auto& each : tasks) sum += each.get();
  need(sum == waiters, "a value is missing");
}

// All sleep for about as long as somebody watches when nobody runs: one may wake just as the watch ends.
inline void watched_after_a_pause() {
  for (unsigned round = 0; round < 4; ++round) {
    roving::spawn(somewhere(2 * round + 1), [round] {
      roving::sleep_for(10'180us + round * 5us);
      for (int wakes = 0; wakes < 40; ++wakes) roving::sleep_for(11us);
    }).get();
  }
}

// A shard that sleeps has seen lone tasks run by their own shard, and looks every 50 us; then it has seen none, and
// sleeps for longer. Now one is spawned by who computes on: it comes, or is called.
inline void lone_tasks() {
  for (unsigned round = 0; round < 12; ++round)
    for (const auto pause : {0us, 50us + round * 1us}) {
      for (int i = 0; i < 12; ++i) roving::spawn(roving::anywhere, [] {}).join();
      roving::sim::spend(pause);
      roving::time_point begun;
      auto lone = roving::spawn(roving::anywhere, [&] { begun = roving::now(); });
      const roving::time_point spawned = roving::now();
      roving::sim::spend(400us);
      lone.join();
      need(roving::shard_count() == 1 || begun - spawned < 200us, "a lone task waited for its spawner");
    }
}

// For each way of waiting: two wait for one thing, one of them is cancelled at any moment. Who was not must get it. (A
// task that is cancelled right after it got it counts as cancelled, so that it must say itself.)
template <class Wait, class Give>
void handed_over(Wait wait, Give give) {
  for (unsigned round = 0; round < 2; ++round) {
    bool got = false;
    auto cancelled_one = roving::spawn(somewhere(round), [&] {
      wait();
      got = true;
    });
    auto other_one = roving::spawn(somewhere(round + 3), [&] { wait(); });
    auto canceller = roving::spawn(somewhere(round + 1), [&] { cancelled_one.cancel(); });
    auto giver = roving::spawn(somewhere(round + 2), [&] { give(); });
    canceller.get();
    giver.get();
    cancelled_one.join();
    if (got) give();  // it was faster
    other_one.get();
  }
}

inline void permit_handed_over() {
  roving::semaphore permits{0};
  handed_over([&] { permits.acquire(); }, [&] { permits.release(); });
  need(permits.value() == 0, "a permit too many");
}

inline void item_handed_over() {
  roving::queue<int> items;
  handed_over([&] { (void)items.get(); }, [&] { items.put(1); });
  need(items.empty(), "an item too many");
}

inline void mutex_handed_over() {
  roving::mutex mutex;
  for (unsigned round = 0; round < 2; ++round) {
    mutex.lock();
    auto cancelled_one = roving::spawn(somewhere(round), [&] { const std::scoped_lock hold{mutex}; });
    auto other_one = roving::spawn(somewhere(round + 3), [&] { const std::scoped_lock hold{mutex}; });
    auto canceller = roving::spawn(somewhere(round + 1), [&] { cancelled_one.cancel(); });
    roving::yield();
    mutex.unlock();
    canceller.get();
    cancelled_one.join();
    other_one.get();
  }
}

inline void notification_handed_over() {
  roving::mutex mutex;
  roving::condition_variable changed{mutex};
  for (unsigned round = 0; round < 2; ++round) {
    int waiting = 0;
    const auto wait = [&] {
      const std::scoped_lock hold{mutex};
      ++waiting;
      changed.wait();
      return true;
    };
    const auto notify = [&] {
      const std::scoped_lock hold{mutex};
      changed.notify_one();
    };
    bool got = false;
    auto cancelled_one = roving::spawn(somewhere(round), [&] { got = wait(); });
    auto other_one = roving::spawn(somewhere(round + 3), wait);
    for (bool both = false; !both;) {
      roving::yield();
      const std::scoped_lock hold{mutex};
      both = waiting == 2;
    }
    auto canceller = roving::spawn(somewhere(round + 1), [&] { cancelled_one.cancel(); });
    notify();
    canceller.get();
    cancelled_one.join();
    if (got) notify();
    other_one.get();
  }
}

inline void event_reaches_all() {
  roving::event event;
  std::vector<roving::task<void>> tasks;
  for (unsigned i = 0; i < 4; ++i) tasks.push_back(roving::spawn(somewhere(i), [&] { event.wait(); }));
  roving::yield();
  event.set();
  for (auto& each : tasks) each.get();
}

inline void nobody_passes() {
  roving::mutex mutex;
  std::string order;
  auto first = roving::spawn([&] {
    mutex.lock();
    order += 'a';
    roving::yield();  // the second waits
    mutex.unlock();
    mutex.lock();
    order += 'c';
    mutex.unlock();
  });
  auto second = roving::spawn([&] {
    const std::scoped_lock hold{mutex};
    order += 'b';
  });
  first.get();
  second.get();
  need(order == "abc", "a newcomer passed who waited");
}

inline void cancelled_twice() {
  int throws = 0;
  auto task = roving::spawn([&] {
    for (int i = 0; i < 3; ++i) {
      try {
        roving::sleep_for(1ms);
      } catch (const roving::cancelled&) {
        ++throws;
      }
    }
  });
  roving::yield();
  task.cancel();
  task.cancel();
  task.get();
  need(throws == 1, "two cancels before the first was thrown are one throw");
}

inline void cancel_before_waiting() {
  const auto began = roving::now();
  auto parent = roving::spawn([] {
    auto child = roving::spawn(roving::on_shard(roving::shard_count() - 1), [] { roving::sleep_for(1h); });
    roving::this_task::cancel();
    child.get();
  });
  parent.join();
  need(parent.cancelled(), "the cancel was lost");
  need(roving::now() - began < 1h, "the cancel did not reach the child");
}

inline void cancel_as_it_ends() {
  for (unsigned round = 0; round < 6; ++round) {
    auto parent = roving::spawn(somewhere(round), [round] {
      auto child = roving::spawn(somewhere(round + 1), [] { roving::yield(); });
      child.get();
    });
    auto canceller = roving::spawn(somewhere(round + 2), [&] {
      roving::yield();
      parent.cancel();
    });
    parent.join();
    canceller.get();
  }
}

inline void timeouts_and_events() {
  for (unsigned round = 0; round < 4; ++round) {
    roving::semaphore permits{0};
    auto waiter = roving::spawn(somewhere(round), [&] {
      try {
        roving::with_timeout(20us, [&] { permits.acquire(); });
        return true;
      } catch (const roving::timeout_error&) {
        return false;
      }
    });
    auto giver = roving::spawn(somewhere(round + 1), [&] {
      roving::sleep_for(20us);
      permits.release();
    });
    const bool got = waiter.get();
    giver.get();
    need(permits.value() == (got ? 0 : 1), "a permit was lost or doubled");
  }
}

inline void waits_with_a_limit() {
  for (unsigned round = 0; round < 6; ++round) {
    roving::promise<int> promise;
    auto waiter = roving::spawn(somewhere(round), [future = promise.get_future()]() mutable {
      (void)future.wait_for(15us);
      return future.get();
    });
    auto giver = roving::spawn(somewhere(round + 1), [&] {
      roving::sleep_for(10us);
      promise.set_value(1);
    });
    need(waiter.get() == 1, "a value is missing");
    giver.get();
  }
}

inline void never_early() {
  for (unsigned i = 0; i < 3; ++i)
    roving::spawn(somewhere(i), [] {
      const auto began = roving::now();
      roving::sleep_for(5ms);
      need(roving::now() - began >= 5ms, "a timer was early");
    }).get();
}

inline void cleanup_at_the_end() {
  for (unsigned i = 0; i < 3; ++i)
    roving::spawn(somewhere(i), [] {
      try {
        roving::sleep_for(24h);
      } catch (const roving::cancelled&) {
        need(roving::spawn(roving::anywhere, [] { return 1; }).get() == 1, "cleanup");
        throw;
      }
    }).detach();
  roving::yield();
}

// Callbacks that spawn, again and again, while the runtime closes: what could be spawned is run to its end.
inline void spawn_and_go_on(int rounds) {
  try {
    roving::spawn([] { roving::yield(); }).detach();
    if (rounds > 1) roving::post([rounds] { spawn_and_go_on(rounds - 1); });
  } catch (const roving::runtime_closed&) {  // it was too late
  }
}

inline void spawned_as_it_closes() {
  for (unsigned i = 1; i < roving::shard_count(); ++i) roving::on_shard(i).post([] { spawn_and_go_on(20); });
  roving::yield();
}

inline void work_on_other_threads() {
  for (unsigned round = 0; round < 4; ++round) {
    bool runs = false;
    auto caller = roving::spawn(somewhere(round), [&] {
      roving::blocking([&] {
        runs = true;
        for (int i = 0; i < 4; ++i) roving::promise<int>{}.set_value(1);  // it may be stopped in here
        runs = false;
      });
    });
    auto canceller = roving::spawn(somewhere(round + 1), [&] {
      for (unsigned i = 0; i < round; ++i) roving::yield();
      caller.cancel();
    });
    caller.join();
    need(!runs, "blocking() came back while its work ran");
    canceller.get();
  }
}

// What goes in comes out once, whichever way it is taken, and whoever is cancelled.
inline void selects() {
  roving::queue<int> left{1};
  roving::queue<int> right{1};
  constexpr int items = 6;
  int taken = 0;
  int sum = 0;
  std::vector<roving::task<void>> takers;
  const auto take = [&] {
    while (taken < items)
      roving::select(left.on_get([&](int item) {
        ++taken;
        sum += item;
      }),
                     right.on_get([&](int item) {
                       ++taken;
                       sum += item;
                     }),
                     roving::after(1ms).on_expiry([] {}));
  };
  for (unsigned i = 0; i < 3; ++i) takers.push_back(roving::spawn(somewhere(i), take));
  auto giver = roving::spawn(somewhere(3), [&] {
    for (int i = 0; i < items; ++i) {
      int item = 1;
      roving::select(left.on_put(std::move(item), [] {}), right.on_put(std::move(item), [] {}));
    }
  });
  auto canceller = roving::spawn(somewhere(4), [&] { takers[0].cancel(); });
  giver.get();
  canceller.get();
  for (auto& each : takers) each.join();
  need(taken == items && sum == items, "an item was lost or came twice");
}

inline void circles() {
  for (unsigned round = 0; round < 3; ++round) {
    roving::task<void> one;
    roving::task<void> other;
    roving::event both_are_there;
    one = roving::spawn(somewhere(round), [&] {
      both_are_there.wait();
      other.get();
    });
    other = roving::spawn(somewhere(round + 1), [&] {
      both_are_there.wait();
      one.get();
    });
    both_are_there.set();
    auto canceller = roving::spawn(somewhere(round + 2), [&] { one.cancel(); });
    one.join();
    other.join();
    canceller.get();
  }
}

inline void generators() {
  std::vector<roving::task<int>> tasks;
  for (unsigned i = 0; i < 4; ++i)
    tasks.push_back(roving::spawn(somewhere(i), [] {
      roving::generator<int> numbers{[](auto& yield_value) {
        for (int n = 0;; ++n) {
          roving::yield();
          yield_value(n);
        }
      }};
      int sum = 0;
      for (const int n : numbers) {
        sum += n;
        if (n == 4) break;
      }
      return sum;
    }));
  for (auto& each : tasks) need(each.get() == 10, "a generator gave something else");
}

inline void echo() {
  roving::tcp_listener listener{{"127.0.0.1", 0}};
  const roving::endpoint at = listener.local_endpoint();
  auto server = roving::spawn([&] {
    roving::serve(listener, {.accept = roving::every_shard}, [](roving::tcp_stream stream) {
      char bytes[64];
      while (const std::size_t size = stream.read_some({bytes, sizeof bytes})) stream.write_all({bytes, size});
    });
  });
  roving::with_task_group([&](roving::task_group& group) {
    for (unsigned i = 0; i < 3; ++i)
      group.spawn(somewhere(i), [&] {
        auto stream = roving::tcp_stream::connect(at);
        const std::string sent(600, 'x');
        std::string back(sent.size(), ' ');
        auto writer = roving::spawn([&] { stream.write_all(roving::const_buffer{sent}); });
        stream.read_exactly({back.data(), back.size()});
        writer.get();
        need(back == sent, "what came back is not what was sent");
      });
  });
  server.cancel();
  server.join();
}

// A read that was cancelled as its data came: the next one finds it.
inline void read_again() {
  roving::tcp_listener listener{{"127.0.0.1", 0}};
  auto server = roving::spawn([&] {
    auto stream = listener.accept();
    for (int i = 0; i < 4; ++i) {
      stream.write_all(roving::const_buffer{std::string_view{"ab"}});
      roving::sleep_for(30us);
    }
    char end = 0;
    (void)stream.read_some({&end, 1});
  });
  {
    auto stream = roving::tcp_stream::connect(listener.local_endpoint());
    std::size_t got = 0;
    char bytes[16];
    while (got < 8) {
      auto reader = roving::spawn([&] { got += stream.read_some({bytes, sizeof bytes}); });
      auto canceller = roving::spawn(somewhere(static_cast<unsigned>(got)), [&] {
        roving::sleep_for(25us);
        reader.cancel();
      });
      reader.join();
      canceller.get();
    }
  }
  server.get();
}

// Connections that are closed as events for them are on the way, or while their server writes; the next one has their
// number.
inline void numbers_used_again() {
  roving::tcp_listener listener{{"127.0.0.1", 0}};
  auto server = roving::spawn([&] {
    for (;;) {
      auto stream = listener.accept();
      std::error_code its_client_is_gone;
      stream.write_all(roving::const_buffer{std::string_view{"hello"}}, its_client_is_gone);
    }
  });
  for (int round = 0; round < 8; ++round) {
    auto stream = roving::tcp_stream::connect(listener.local_endpoint());
    char first = 0;
    if (round % 2 == 0) need(stream.read_some({&first, 1}) == 1 && first == 'h', "what came is not what was sent");
  }
  server.cancel();
  server.join();
}

}  // namespace scenarios

inline std::span<const scenario> all_scenarios() {
  using namespace scenarios;
  static constexpr scenario all[] = {{"exclusion", exclusion},
                                     {"fork_and_join", fork_and_join},
                                     {"shared_children", shared_children},
                                     {"messages_in_order", messages_in_order},
                                     {"from_outside", from_outside},
                                     {"pairs_from_outside", pairs_from_outside},
                                     {"watched_after_a_pause", watched_after_a_pause},
                                     {"lone_tasks", lone_tasks},
                                     {"permit_handed_over", permit_handed_over},
                                     {"item_handed_over", item_handed_over},
                                     {"mutex_handed_over", mutex_handed_over},
                                     {"notification_handed_over", notification_handed_over},
                                     {"event_reaches_all", event_reaches_all},
                                     {"nobody_passes", nobody_passes},
                                     {"cancelled_twice", cancelled_twice},
                                     {"cancel_before_waiting", cancel_before_waiting},
                                     {"cancel_as_it_ends", cancel_as_it_ends},
                                     {"timeouts_and_events", timeouts_and_events},
                                     {"waits_with_a_limit", waits_with_a_limit},
                                     {"never_early", never_early},
                                     {"cleanup_at_the_end", cleanup_at_the_end},
                                     {"spawned_as_it_closes", spawned_as_it_closes},
                                     {"work_on_other_threads", work_on_other_threads},
                                     {"selects", selects},
                                     {"circles", circles},
                                     {"generators", generators},
                                     {"echo", echo},
                                     {"read_again", read_again},
                                     {"numbers_used_again", numbers_used_again}};
  return all;
}

}  // namespace roving_test
