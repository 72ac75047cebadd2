// Tested: the semantic contract S1 to S12 (docs/architecture.md), on 1, 2, 4 and 8 shards, also with more shards than
// cores. Tasks write down what they saw; the test's own thread checks it after run().
#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/catch.hpp"
#include "tests/support/migrate.hpp"

using namespace std::chrono_literals;

TEST_CASE("S1 placement: a task is placed as its parent is, and main is pinned to shard 0", "[contract]") {
  const unsigned shards = GENERATE(1u, 2u, 4u, 8u);
  bool main_roves = true;
  unsigned main_shard = 99;
  bool child_roves = true;
  unsigned child_shard = 99;
  bool grandchild_roves = false;
  std::vector<unsigned> placed(shards, 99);
  std::vector<unsigned> inherited(shards, 99);
  roving::run({.shards = shards}, [&] {
    main_roves = roving::this_task::is_roving();
    main_shard = roving::this_task::shard();
    roving::spawn([&] {
      child_roves = roving::this_task::is_roving();
      child_shard = roving::this_task::shard();
    }).get();
    roving::spawn(roving::anywhere, [&] {
      roving::spawn([&] { grandchild_roves = roving::this_task::is_roving(); }).get();
    }).get();
    for (unsigned i = 0; i < shards; ++i)
      roving::spawn(roving::on_shard(i), [&, i] {
        placed[i] = roving::this_task::shard();
        roving::spawn([&, i] { inherited[i] = roving::this_task::shard(); }).get();
      }).get();
  });
  CHECK_FALSE(main_roves);
  CHECK(main_shard == 0);
  CHECK_FALSE(child_roves);
  CHECK(child_shard == 0);
  CHECK(grandchild_roves);
  for (unsigned i = 0; i < shards; ++i) {
    CHECK(placed[i] == i);
    CHECK(inherited[i] == i);
  }
}

TEST_CASE("S2 exclusive shards: pinned tasks of one shard never overlap, whatever else goes on", "[contract]") {
  const unsigned shards = GENERATE(1u, 2u, 4u, 8u);
  struct alignas(64) cell {
    bool inside = false;  // plain: ThreadSanitizer would see a task that ran beside another
    long entries = 0;
    long overlaps = 0;
  };
  std::vector<cell> cells(shards);
  constexpr int tasks_per_shard = 8;
  constexpr int rounds = 60;
  roving::run({.shards = shards, .deque_capacity = 4}, [&] {
    std::atomic<bool> stop{false};
    std::vector<roving::task<void>> flood;
    for (int i = 0; i < 4; ++i)
      flood.push_back(roving::spawn(roving::anywhere, [&] {
        while (!stop.load(std::memory_order_relaxed)) roving::yield();
      }));
    roving::semaphore across{0};
    std::vector<roving::task<void>> pinned;
    for (unsigned shard = 0; shard < shards; ++shard)
      for (int i = 0; i < tasks_per_shard; ++i)
        pinned.push_back(roving::spawn(roving::on_shard(shard), [&, shard, i] {
          for (int round = 0; round < rounds; ++round) {
            cell& mine = cells[shard];
            if (mine.inside) ++mine.overlaps;
            mine.inside = true;
            ++mine.entries;
            mine.inside = false;
            switch ((round + i) % 4) {
              case 0:
                roving::yield();
                break;
              case 1:
                roving::sleep_for(1us);
                break;
              case 2:
                across.release();
                break;
              default:
                across.acquire();
                break;  // woken by another shard
            }
          }
        }));
    // Permits that ran short at the end: give until all have ended.
    for (auto& each : pinned)
      while (!each.join_for(1ms)) across.release(tasks_per_shard);
    stop.store(true, std::memory_order_relaxed);
    for (auto& each : flood) each.join();
  });
  for (const cell& each : cells) {
    CHECK(each.entries == long{tasks_per_shard} * rounds);
    CHECK(each.overlaps == 0);
  }
}

TEST_CASE("S3 order: pinned tasks run in asyncio's order, generation by generation", "[contract]") {
  const unsigned shards = GENERATE(1u, 2u, 4u, 8u);
  const auto policy = GENERATE(roving::poll_policy::now_and_then, roving::poll_policy::every_generation);
  std::vector<std::vector<std::string>> seen(shards);
  roving::run({.shards = shards, .poll = policy}, [&] {
    std::vector<roving::task<void>> mains;
    for (unsigned shard = 0; shard < shards; ++shard)
      mains.push_back(roving::spawn(roving::on_shard(shard), [&, shard] {
        auto& log = seen[shard];
        auto t1 = roving::spawn([&] {
          log.push_back("t1a");
          roving::yield();
          log.push_back("t1b");
        });
        auto t2 = roving::spawn([&] {
          log.push_back("t2a");
          roving::yield();
          log.push_back("t2b");
        });
        log.push_back("main");
        roving::yield();
        log.push_back("main after");
        t1.join();
        t2.join();
      }));
    for (auto& each : mains) each.join();
  });
  for (const auto& log : seen) CHECK(log == std::vector<std::string>{"main", "t1a", "t2a", "main after", "t1b", "t2b"});
}

TEST_CASE("S4 threads: a pinned task never changes its thread, a roving one may", "[contract]") {
  const unsigned shards = GENERATE(2u, 4u, 8u);
  std::atomic<int> changed{0};
  std::atomic<int> moved{0};
  roving::run({.shards = shards}, [&] {
    test::migrator migrate;
    std::vector<roving::task<void>> tasks;
    for (unsigned shard = 0; shard < shards; ++shard)
      tasks.push_back(roving::spawn(roving::on_shard(shard), [&, shard] {
        for (int i = 0; i < 100; ++i) {
          i % 3 == 0 ? roving::sleep_for(1us) : roving::yield();
          if (roving::this_task::shard() != shard) ++changed;
        }
      }));
    for (int i = 0; i < 4; ++i)
      tasks.push_back(roving::spawn(roving::anywhere, [&] {
        const unsigned before = roving::this_task::shard();
        migrate();
        if (roving::this_task::shard() != before) ++moved;
      }));
    for (auto& each : tasks) each.join();
  });
  CHECK(changed == 0);
  CHECK(moved == 4);
}

TEST_CASE("S5 suspension points: spawning, setting, releasing and cancelling let nobody else run", "[contract]") {
  const unsigned shards = GENERATE(1u, 2u, 4u, 8u);
  bool clean = true;
  roving::run({.shards = shards}, [&] {
    bool other_ran = false;
    roving::semaphore permits{0};
    roving::event ready;
    roving::promise<int> promise;
    auto future = promise.get_future();
    std::vector<roving::task<void>> waiting;
    const auto ran = [&] { other_ran = true; };
    waiting.push_back(roving::spawn([&] {
      permits.acquire();
      ran();
    }));
    waiting.push_back(roving::spawn([&] {
      ready.wait();
      ran();
    }));
    waiting.push_back(roving::spawn([&] {
      (void)future.get();
      ran();
    }));
    auto victim = roving::spawn([&] {
      try {
        roving::sleep_for(1h);
      } catch (const roving::cancelled&) {
        ran();
        throw;
      }
    });
    roving::yield();
    auto late = roving::spawn(ran);
    permits.release();
    ready.set();
    promise.set_value(1);
    victim.cancel();
    clean = !other_ran;
    for (auto& each : waiting) each.join();
    late.join();
    victim.join();
    clean = clean && other_ran;
  });
  CHECK(clean);
}

TEST_CASE("S6 cancellation: from any shard or thread, delivered once, counted", "[contract]") {
  const unsigned shards = GENERATE(1u, 2u, 4u, 8u);
  const bool roams = GENERATE(false, true);
  std::atomic<int> delivered{0};
  std::atomic<int> swallowed{0};
  std::vector<unsigned> counts;
  roving::run({.shards = shards}, [&] {
    std::vector<roving::task<void>> victims;
    for (int i = 0; i < 20; ++i)
      victims.push_back(
          roving::spawn(roams ? roving::anywhere : roving::on_shard(static_cast<unsigned>(i) % shards), [&] {
            try {
              roving::sleep_for(1h);
            } catch (const roving::cancelled&) {
              ++delivered;
              roving::yield();  // once only: this goes through
              ++swallowed;
              throw;
            }
          }));
    roving::yield();
    std::thread outsider{[&] {
      for (std::size_t i = 0; i < victims.size(); i += 2) victims[i].cancel();
    }};
    for (std::size_t i = 1; i < victims.size(); i += 2) victims[i].cancel();
    outsider.join();
    for (auto& each : victims) {
      each.join();
      counts.push_back(each.cancelling());
    }
  });
  // A task that was cancelled before its first step never ran.
  CHECK(delivered == swallowed);
  CHECK(counts == std::vector<unsigned>(20, 1));
}

TEST_CASE("S7 handles: destroying one cancels and joins; an error that nobody fetched is reported once", "[contract]") {
  const unsigned shards = GENERATE(1u, 2u, 4u, 8u);
  std::atomic<int> cleaned{0};
  std::atomic<int> detached_ran{0};
  std::atomic<int> reports{0};
  bool joined = false;
  roving::run({.shards = shards, .on_unhandled = [&](const roving::unhandled&) { ++reports; }}, [&] {
    {
      std::atomic<bool> begun{false};
      auto dropped = roving::spawn(roving::anywhere, [&] {
        begun = true;
        try {
          roving::sleep_for(1h);
        } catch (const roving::cancelled&) {
          roving::yield();
          ++cleaned;
          throw;
        }
      });
      while (!begun) roving::yield();
    }
    joined = cleaned == 1;
    roving::spawn([&] { ++detached_ran; }).detach();
    {
      auto failed = roving::spawn([] { throw std::runtime_error{"unfetched"}; });
      failed.join();
    }
    {
      auto fetched = roving::spawn([] { throw std::runtime_error{"fetched"}; });
      try {
        fetched.get();
      } catch (const std::runtime_error&) {
      }
    }
    roving::yield();
  });
  CHECK(joined);
  CHECK(detached_ran == 1);
  CHECK(reports == 1);
}

TEST_CASE("S8 across threads: futures and semaphores between shards and plain threads", "[contract]") {
  const unsigned shards = GENERATE(1u, 2u, 4u, 8u);
  std::vector<unsigned> woke_on(shards, 99);
  int outside_got = 0;
  int inside_got = 0;
  roving::runtime all{{.shards = shards}};
  all.run([&] {
    roving::semaphore permits{0};
    std::vector<roving::task<void>> waiters;
    for (unsigned shard = 0; shard < shards; ++shard)
      waiters.push_back(roving::spawn(roving::on_shard(shard), [&, shard] {
        permits.acquire();
        woke_on[shard] = roving::this_task::shard();
      }));
    roving::promise<int> to_thread;
    roving::promise<int> to_task;
    auto from_task = to_thread.get_future();
    auto from_thread = to_task.get_future();
    std::thread outsider{[&] {
      for (unsigned i = 0; i < shards; ++i) permits.release();
      outside_got = from_task.get();  // blocks this thread
      to_task.set_value(2);
    }};
    for (auto& each : waiters) each.join();
    to_thread.set_value(1);
    inside_got = from_thread.get();
    outsider.join();
  });
  for (unsigned shard = 0; shard < shards; ++shard) CHECK(woke_on[shard] == shard);
  CHECK(outside_got == 1);
  CHECK(inside_got == 2);
}

TEST_CASE("S9 nothing is lost: permits survive random cancels, tasks at shutdown run or are cancelled", "[contract]") {
  const unsigned shards = GENERATE(1u, 2u, 4u, 8u);
  long free_at_the_end = -1;
  std::atomic<int> begun{0};
  std::atomic<int> ended{0};
  roving::run({.shards = shards}, [&] {
    roving::semaphore permits{3};
    std::vector<roving::task<void>> users;
    for (int i = 0; i < 60; ++i)
      users.push_back(
          roving::spawn(i % 2 == 0 ? roving::anywhere : roving::on_shard(static_cast<unsigned>(i) % shards), [&] {
            permits.acquire();
            struct give_back {
              roving::semaphore& to;
              ~give_back() { to.release(); }
            } held{permits};
            roving::yield();
            roving::sleep_for(1us);
          }));
    for (std::size_t i = 0; i < users.size(); i += 2) {
      roving::yield();
      users[i].cancel();
    }
    for (auto& each : users) each.join();
    free_at_the_end = static_cast<long>(permits.value());

    for (int i = 0; i < 100; ++i)
      roving::spawn(i % 2 == 0 ? roving::anywhere : roving::on_shard(static_cast<unsigned>(i) % shards), [&] {
        ++begun;
        struct at_end {
          std::atomic<int>& count;
          ~at_end() { ++count; }
        } counts{ended};
        roving::sleep_for(1h);
      }).detach();
    roving::yield();
  });
  CHECK(free_at_the_end == 3);
  CHECK(begun == ended);
}

TEST_CASE("S10 exceptions: suspending inside catch and throwing there, also across a migration", "[contract]") {
  const unsigned shards = GENERATE(2u, 4u, 8u);
  std::atomic<int> right{0};
  constexpr int tasks = 8;
  roving::run({.shards = shards}, [&] {
    test::migrator migrate;
    std::vector<roving::task<void>> all;
    for (int i = 0; i < tasks; ++i)
      all.push_back(roving::spawn(roving::anywhere, [&, i] {
        const std::string mine = "error " + std::to_string(i);
        try {
          try {
            throw std::runtime_error{mine};
          } catch (const std::runtime_error&) {
            migrate();
            throw;
          }
        } catch (const std::runtime_error& error) {
          if (error.what() == mine && std::uncaught_exceptions() == 0) ++right;
        }
      }));
    for (auto& each : all) each.join();
  });
  CHECK(right == tasks);
}

TEST_CASE("S11 fairness: timers and roving tasks are served while pinned tasks are always ready, and the other way",
          "[contract]") {
  const unsigned shards = GENERATE(1u, 2u, 4u, 8u);
  bool timer_came = false;
  std::atomic<bool> roving_ran{false};
  bool pinned_ran = false;
  roving::run({.shards = shards}, [&] {
    std::atomic<bool> stop{false};
    std::vector<roving::task<void>> busy;
    for (unsigned shard = 0; shard < shards; ++shard)
      for (int i = 0; i < 3; ++i)
        busy.push_back(roving::spawn(roving::on_shard(shard), [&] {
          while (!stop.load(std::memory_order_relaxed)) roving::yield();
        }));
    auto once = roving::spawn(roving::anywhere, [&] { roving_ran = true; });
    roving::sleep_for(100us);
    timer_came = true;
    once.join();
    stop = true;
    for (auto& each : busy) each.join();

    stop = false;
    std::vector<roving::task<void>> flood;
    for (unsigned i = 0; i < 4 * shards; ++i)
      flood.push_back(roving::spawn(roving::anywhere, [&] {
        while (!stop.load(std::memory_order_relaxed)) roving::yield();
      }));
    for (unsigned shard = 0; shard < shards; ++shard) roving::spawn(roving::on_shard(shard), [] {}).get();
    roving::sleep_for(100us);
    pinned_ran = true;
    stop = true;
    for (auto& each : flood) each.join();
  });
  CHECK(timer_came);
  CHECK(roving_ran);
  CHECK(pinned_ran);
}

TEST_CASE("S12 work conservation: a stuck shard's roving tasks are run by others", "[contract]") {
  const unsigned shards = GENERATE(2u, 4u, 8u);
  int done_while_stuck = 0;
  roving::run({.shards = shards}, [&] {
    constexpr int tasks = 100;
    std::atomic<int> done{0};
    std::vector<roving::task<void>> work;
    for (int i = 0; i < tasks; ++i)
      work.push_back(roving::spawn(roving::anywhere, [&] {
        roving::yield();
        ++done;
      }));
    while (done < tasks) std::this_thread::yield();  // no suspension: shard 0 is stuck here
    done_while_stuck = done;
    for (auto& each : work) each.join();
  });
  CHECK(done_while_stuck == 100);
}

TEST_CASE("S12 work conservation: a stuck shard's roving timers fire on others", "[contract]") {
  const unsigned shards = GENERATE(2u, 4u, 8u);
  bool woke_while_stuck = false;
  roving::run({.shards = shards}, [&] {
    test::migrator migrate;
    roving::event asleep;
    std::atomic<bool> woke{false};
    auto sleeper = roving::spawn(roving::anywhere, [&] {
      while (roving::this_task::shard() != 0) migrate();
      asleep.set();
      roving::sleep_for(200us);  // a timer of shard 0
      woke = true;
    });
    asleep.wait();                            // and not by yielding: shard 0 must be idle to take the sleeper in
    while (!woke) std::this_thread::yield();  // no suspension: shard 0 is stuck here
    woke_while_stuck = true;
    sleeper.join();
  });
  CHECK(woke_while_stuck);
}

TEST_CASE("S12 work conservation: a stuck shard's I/O is served by others", "[contract][io]") {
  const unsigned shards = GENERATE(2u, 4u);
  bool served_while_stuck = false;
  roving::run({.shards = shards}, [&] {
    test::migrator migrate;
    roving::tcp_listener listener{roving::endpoint{"127.0.0.1", 0}};
    std::atomic<bool> served{false};
    roving::event waiting;
    auto client = roving::tcp_stream::connect(listener.local_endpoint());
    auto accepted = listener.accept();
    auto server = roving::spawn(roving::anywhere, [&, stream = std::move(accepted)]() mutable {
      std::byte first[1];
      while (roving::this_task::shard() != 0) migrate();
      waiting.set();
      (void)stream.read_some(first);  // registered with shard 0's poller
      served = true;
    });
    waiting.wait();
    const std::byte one[1]{};
    (void)client.write_some(one);
    while (!served) std::this_thread::yield();  // shard 0 is stuck
    served_while_stuck = true;
    server.join();
  });
  CHECK(served_while_stuck);
}
