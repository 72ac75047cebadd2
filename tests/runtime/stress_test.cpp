// Tested: everything at once. A seeded mix of spawning, stealing, sleeping, waking, I/O, exceptions, cancellation and
// shutdown, on more shards than there are cores, with queues so short that they overflow. The seed is printed;
// ROVING_STRESS_SEED sets it, and ROVING_STRESS_ROUNDS how often.
#include <atomic>
#include <cstdlib>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include <roving/roving.hpp>

#include "scheduler/sanitizers.hpp"
#include "tests/support/catch.hpp"

using namespace std::chrono_literals;

namespace {

unsigned from_environment(const char* name, unsigned otherwise) {
  const char* const text = std::getenv(name);
  return text != nullptr ? static_cast<unsigned>(std::strtoul(text, nullptr, 10)) : otherwise;
}

struct shared_state {
  roving::semaphore permits{2};
  roving::mutex lock;
  long guarded = 0;  // by lock
  roving::queue<int> jobs{4};
  std::atomic<long> guarded_expected{0};
  std::atomic<long> begun{0};
  std::atomic<long> ended{0};
  std::atomic<long> wrong{0};
  roving::endpoint echo;
};

struct count_end {
  shared_state& of;
  explicit count_end(shared_state& state) : of{state} { ++of.begun; }
  count_end(const count_end&) = delete;
  count_end& operator=(const count_end&) = delete;
  ~count_end() { ++of.ended; }
};

roving::placement any_place(std::mt19937& chance) {
  switch (chance() % 3) {
    case 0:
      return roving::here;
    case 1:
      return roving::anywhere;
    default:
      return roving::on_shard(static_cast<unsigned>(chance()) % roving::shard_count());
  }
}

void rethrow_own_cancel() {
  if (roving::this_task::cancelling() != 0) throw;
}

void live(shared_state& state, unsigned seed, int depth) {
  const count_end counted{state};
  std::mt19937 chance{seed};
  const auto child = [&] {
    return roving::spawn(any_place(chance),
                         [&state, next = static_cast<unsigned>(chance()), depth] { live(state, next, depth + 1); });
  };
  for (int step = 0; step < 5; ++step) {
    switch (chance() % 10) {
      case 0:
        roving::yield();
        break;
      case 1:
        roving::sleep_for(std::chrono::microseconds{chance() % 200});
        break;
      case 2:
        if (depth >= 3) break;
        try {
          child().get();
        } catch (const roving::cancelled&) {
          rethrow_own_cancel();
        } catch (const std::runtime_error&) {
        }
        break;
      case 3: {
        if (depth >= 3) break;
        auto doomed = child();
        roving::yield();
        doomed.cancel();
        break;  // the handle joins
      }
      case 4: {
        state.permits.acquire();
        struct release {
          roving::semaphore& to;
          ~release() { to.release(); }
        } held{state.permits};
        roving::yield();
        break;
      }
      case 5: {
        const std::scoped_lock held{state.lock};
        const long before = state.guarded;
        roving::yield();
        if (state.guarded != before) ++state.wrong;
        state.guarded = before + 1;
        ++state.guarded_expected;
        break;
      }
      case 6:
        (void)state.jobs.try_put(step);
        break;
      case 7:
        (void)state.jobs.try_get();
        break;
      case 8: {
        const std::string mine = std::to_string(seed);
        try {
          throw std::runtime_error{mine};
        } catch (const std::runtime_error& error) {
          roving::yield();
          if (error.what() != mine) ++state.wrong;
          try {
            throw;
          } catch (const std::runtime_error& again) {
            if (again.what() != mine) ++state.wrong;
          }
        }
        break;
      }
      default: {
        auto stream = roving::tcp_stream::connect(state.echo);
        const std::byte out[3]{std::byte{1}, std::byte{2}, static_cast<std::byte>(seed & 0xffU)};
        std::byte in[3]{};
        stream.write_all(out);
        stream.read_exactly(in);
        if (in[2] != out[2]) ++state.wrong;
        break;
      }
    }
  }
  if (chance() % 50 == 0) throw std::runtime_error{"by design"};
}

}  // namespace

TEST_CASE("stress: everything at once, from a seed", "[stress]") {
  const unsigned rounds = from_environment("ROVING_STRESS_ROUNDS", 1);
  unsigned seed = from_environment("ROVING_STRESS_SEED", std::random_device{}());
  const bool sanitized = roving::detail::thread_sanitizer || roving::detail::address_sanitizer;
  const unsigned roots = sanitized ? 30 : 100;
  for (unsigned round = 0; round < rounds; ++round, ++seed) {
    for (const unsigned shards : {1u, 2u, 4u, 8u}) {
      INFO("ROVING_STRESS_SEED=" << seed << ", " << shards << " shards");
      WARN("seed " << seed << ", " << shards << " shards");
      shared_state state;
      roving::run(
          {.shards = shards, .deque_capacity = 4, .seed = seed, .on_unhandled = [](const roving::unhandled&) {}}, [&] {
            roving::tcp_listener listener{roving::endpoint{"127.0.0.1", 0}};
            state.echo = listener.local_endpoint();
            auto server = roving::spawn([&] {
              for (;;)
                roving::spawn(roving::anywhere, [stream = listener.accept()]() mutable {
                  std::byte bytes[64];
                  std::error_code error;
                  while (const std::size_t count = stream.read_some(bytes, error)) {
                    stream.write_all(std::span<const std::byte>{bytes, count}, error);
                    if (error) return;
                  }
                }).detach();
            });
            std::mt19937 chance{seed};
            std::vector<roving::task<void>> all;
            for (unsigned i = 0; i < roots; ++i)
              all.push_back(roving::spawn(any_place(chance),
                                          [&state, next = static_cast<unsigned>(chance())] { live(state, next, 0); }));
            for (std::size_t i = 0; i < all.size(); i += 3) {
              if (i % 2 == 0) roving::yield();
              all[i].cancel();
            }
            for (std::size_t i = 0; i < all.size(); ++i) {
              if (i % 10 == 1) {
                std::move(all[i]).detach();  // left to shutdown
                continue;
              }
              all[i].join();
              (void)all[i].cancelled();
            }
            server.cancel();
          });
      CHECK(state.begun == state.ended);
      CHECK(state.wrong == 0);
      CHECK(state.guarded == state.guarded_expected);
      CHECK(state.permits.value() == 2);
    }
  }
}
