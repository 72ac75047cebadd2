// Tested: the i-th suspension of a task is cancelled, for every i, in a program that suspends in every way there is.
// `cancelled` comes out, permits and items are conserved, and what the program used works as before.
//
// A hook in the runtime's private options is called at each suspension, right before the task leaves its stack. It
// counts those of one task, the victim, and cancels it at the i-th: at once, so that the cancel is there before the
// wait is; by a callback on its shard, which finds it parked; by callbacks that look until it is ready, and has not
// gone on; or by another thread, at any of these moments.
#include <array>
#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <optional>
#include <shared_mutex>
#include <string>
#include <thread>
#include <vector>

#include <roving/detail/task_base.hpp>

#include "tests/faults/faults.hpp"
#include "tests/faults/seams.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/plain_signal.hpp"

using namespace std::chrono_literals;
using test::world;

namespace {

enum class moment { before_it_waits, while_it_waits, before_it_goes_on, any };

const char* name_of(moment when) {
  switch (when) {
    case moment::before_it_waits:
      return "before it waits";
    case moment::while_it_waits:
      return "while it waits";
    case moment::before_it_goes_on:
      return "before it goes on";
    case moment::any:
      break;
  }
  return "at any moment";
}

// Cancels the i-th suspension of one task.
class cancel_at {
 public:
  cancel_at(unsigned which, moment when) : which_{which}, when_{when} {
    if (when == moment::any)
      other_thread_ = std::thread{[this] {
        wanted_.wait();
        has_begun_.store(true, std::memory_order_release);
        if (target_) cancel();
      }};
  }
  cancel_at(const cancel_at&) = delete;
  cancel_at& operator=(const cancel_at&) = delete;
  ~cancel_at() { finish(); }

  /// The calling task is it, from now on.
  void watch() {
    roving::detail::task_base& self = *roving::detail::current_task();
    target_ = roving::detail::future_reference<roving::detail::task_base>::share(self);
    victim_.store(&self, std::memory_order_release);
  }

  void finish() {
    victim_.store(nullptr, std::memory_order_release);
    if (other_thread_.joinable()) {
      if (!fired_.exchange(true)) {
        target_ = {};
        wanted_.set();
      }
      other_thread_.join();
    }
  }

  void suspends(roving::detail::task_base& who) {
    if (&who != victim_.load(std::memory_order_acquire) || ++seen_ != which_ || fired_.exchange(true)) return;
    switch (when_) {
      case moment::before_it_waits:
        return cancel();
      case moment::while_it_waits:
        is_posted_ = true;
        roving::post([this] {
          cancel();
          is_posted_ = false;
        });
        return;
      case moment::before_it_goes_on:
        is_posted_ = true;
        return look_later();
      case moment::any:
        wanted_.set();
        while (!has_begun_.load(std::memory_order_acquire)) std::this_thread::yield();
        return;
    }
  }

  /// Whether a callback is on its way, which must not outlive this.
  [[nodiscard]] bool is_posted() const { return is_posted_; }
  [[nodiscard]] unsigned seen() const { return seen_; }
  [[nodiscard]] bool was_taken() const { return was_taken_; }

 private:
  void cancel() { was_taken_ = target_->request_cancel(nullptr); }
  void look_later() {
    roving::post([this] {
      const bool has_ended = victim_.load(std::memory_order_acquire) == nullptr;
      if (!has_ended && target_->claims.is_parked()) return look_later();
      if (!has_ended) cancel();
      is_posted_ = false;
    });
  }

  const unsigned which_;
  const moment when_;
  std::atomic<roving::detail::task_base*> victim_{nullptr};
  roving::detail::future_reference<roving::detail::task_base> target_;
  std::atomic<unsigned> seen_{0};
  std::atomic<bool> fired_{false};
  std::atomic<bool> was_taken_{false};
  std::atomic<bool> has_begun_{false};
  std::atomic<bool> is_posted_{false};
  roving_test::plain_signal wanted_;
  std::thread other_thread_;
};

// --- the program

roving::placement elsewhere() { return roving::on_shard(roving::shard_count() - 1); }

// What outlives a run of the program, and must be whole after it.
struct objects {
  roving::mutex mutex;
  roving::condition_variable changed{mutex};
  int changes = 0;
  roving::shared_mutex shared;
  roving::semaphore permits{1};
  roving::queue<int> items{1};
  std::atomic<int> put{0};
  std::atomic<int> got{0};
  roving::event event;
  roving::tcp_listener listener{{"127.0.0.1", 0}};
};

void need(bool holds, const char* what) {
  if (!holds) throw std::logic_error{what};
}

void locks(objects& all) {
  const auto hold_for_a_while = [&](auto&& lock) { return roving::spawn(elsewhere(), [&all, lock] { lock(all); }); };
  auto one = hold_for_a_while([](objects& of) {
    const std::scoped_lock hold{of.mutex};
    for (int i = 0; i < 3; ++i) roving::yield();
  });
  roving::yield();
  {
    const std::scoped_lock hold{all.mutex};
    roving::yield();
  }
  one.get();
  auto two = hold_for_a_while([](objects& of) {
    const std::scoped_lock hold{of.shared};
    for (int i = 0; i < 3; ++i) roving::yield();
  });
  roving::yield();
  {
    const std::shared_lock hold{all.shared};
    roving::yield();
  }
  two.get();
  auto three = hold_for_a_while([](objects& of) {
    of.permits.acquire();
    struct giving_back {
      roving::semaphore& to;
      ~giving_back() { to.release(); }
    } const back{of.permits};
    for (int i = 0; i < 3; ++i) roving::yield();
  });
  roving::yield();
  all.permits.acquire();
  all.permits.release();
  three.join();
  auto four = hold_for_a_while([](objects& of) {
    const std::scoped_lock hold{of.mutex};
    ++of.changes;
    of.changed.notify_all();
  });
  {
    const std::scoped_lock hold{all.mutex};
    while (all.changes == 0) all.changed.wait();
    all.changes = 0;
  }
  four.get();
}

void put_one(objects& of) {
  of.items.put(1);
  ++of.put;
}
void get_one(objects& of) {
  (void)of.items.get();
  ++of.got;
}

void messages(objects& all) {
  auto giver = roving::spawn(elsewhere(), [&] {
    roving::yield();
    put_one(all);
  });
  get_one(all);
  giver.get();
  put_one(all);
  auto taker = roving::spawn(elsewhere(), [&] {
    roving::yield();
    get_one(all);
    get_one(all);
  });
  put_one(all);
  taker.get();
  auto second = roving::spawn(elsewhere(), [&] {
    roving::sleep_for(10us);
    put_one(all);
  });
  for (bool is_there = false; !is_there;)
    is_there = roving::select(all.items.on_get([&](int) {
      ++all.got;
      return true;
    }),
                              roving::after(3us).on_expiry([] { return false; }));
  second.get();
  auto setter = roving::spawn(elsewhere(), [&] {
    roving::yield();
    all.event.set();
  });
  all.event.wait();
  setter.get();
  all.event.clear();
}

void ends_of_others(objects&) {
  roving::promise<int> promise;
  auto future = promise.get_future();
  auto keeper = roving::spawn(elsewhere(), [&] {
    roving::yield();
    (void)promise.try_set_value(1);
  });
  need(future.get() == 1, "a future");
  keeper.get();
  const auto brief = [] { return roving::spawn(elsewhere(), [] { roving::yield(); }); };
  brief().get();
  brief().join();
  auto joined = brief();
  need(joined.join_for(1h), "join_for");
  roving::gather([] { roving::yield(); }, [] { roving::sleep_for(2us); });
  (void)roving::gather_settled([] { roving::yield(); }, [] { roving::yield(); });
  need(roving::race([] { return 1; },
                    [] {
                      roving::sleep_for(1h);
                      return 2;
                    }) == 1,
       "race");
  roving::with_task_group([](roving::task_group& group) {
    group.spawn(elsewhere(), [] { roving::yield(); });
    group.spawn([] { roving::sleep_for(2us); });
    roving::yield();
  });
  std::vector<roving::task<void>> tasks;
  for (int i = 0; i < 2; ++i) tasks.push_back(brief());
  for (auto& each : roving::as_completed(tasks)) each.get();
  tasks.clear();
  for (int i = 0; i < 2; ++i) tasks.push_back(brief());
  (void)roving::wait(tasks, roving::all_completed, 1h);
  auto inner = brief();
  roving::shield(inner);
  roving::barrier both{2};
  auto other_party = roving::spawn(elsewhere(), [&] {
    try {
      roving::yield();
      (void)both.wait();
    } catch (const roving::broken_barrier&) {  // the first has left
    }
  });
  (void)both.wait();
  other_party.get();
  roving::latch latch{1};
  auto counter = roving::spawn(elsewhere(), [&] {
    roving::yield();
    latch.count_down();
  });
  latch.wait();
  counter.get();
  roving::once once;
  auto first = roving::spawn(elsewhere(), [&] { once.call([] { roving::yield(); }); });
  roving::yield();
  once.call([] { roving::yield(); });
  first.get();
}

roving::coroutine<int> sleeps_and_gives(int value) {
  co_await roving::resume_after(2us);
  co_return value;
}

void times_and_threads(objects&) {
  roving::sleep_for(2us);
  roving::with_timeout(1h, [] { roving::sleep_for(2us); });
  try {
    roving::with_timeout(2us, [] { roving::sleep_for(1h); });
    need(false, "no timeout");
  } catch (const roving::timeout_error&) {
  }
  need(roving::blocking([] { return 1; }) == 1, "blocking");
  need(roving::compute([] { return 1; }) == 1, "compute");
  roving::generator<int> numbers{[](auto& yield_value) {
    for (int i = 0;; ++i) {
      roving::sleep_for(2us);
      yield_value(i);
    }
  }};
  for (const int each : numbers)
    if (each == 2) break;
  need(roving::await(sleeps_and_gives(1)) == 1, "a coroutine");
}

void connections(objects& all) {
  const roving::endpoint at = all.listener.local_endpoint();
  auto client = roving::spawn(elsewhere(), [at] {
    auto stream = roving::tcp_stream::connect(at);
    roving::yield();
    stream.write_all({"hello", 5});
    std::array<char, 4096> bytes{};
    for (std::size_t left = 400'000; left != 0;) {
      const std::size_t got = stream.read_some({bytes.data(), bytes.size()});
      need(got != 0, "the stream ended");
      left -= got;
    }
  });
  {
    auto accepted = all.listener.accept();
    accepted.set_send_buffer_size(8'000);
    std::array<char, 5> hello{};
    accepted.read_exactly({hello.data(), hello.size()});
    need(std::memcmp(hello.data(), "hello", 5) == 0, "what came is not what was sent");
    const std::string much(400'000, 'x');
    accepted.write_all(roving::const_buffer{much});
  }
  client.get();
  auto server = roving::spawn(elsewhere(), [&all] { (void)all.listener.accept(); });
  {
    auto stream = roving::tcp_stream::connect(at);
    std::array<char, 1> end{};
    need(stream.read_some({end.data(), end.size()}) == 0, "no end of the stream");
  }
  server.get();
}

using step = void (*)(objects&);
struct program {
  const char* name;
  step steps;
};
constexpr program programs[] = {{"locks", locks},
                                {"messages", messages},
                                {"ends of others", ends_of_others},
                                {"times and threads", times_and_threads},
                                {"connections", connections}};

// Nobody waits for what a victim has left behind, as an accept of its would: what it queued is there.
void take_what_is_queued(objects& all) {
  try {
    for (;;) roving::with_timeout(0us, [&] { (void)all.listener.accept(); });
  } catch (const roving::timeout_error&) {
  }
}

struct result {
  unsigned suspensions = 0;
  bool was_cancelled = false;
  bool was_asked = false;
  std::string wrong;
};

result run_once(roving::runtime& runtime, std::atomic<cancel_at*>& hook, const program& what, const world& where,
                unsigned which, moment when) {
  result seen;
  const std::exception_ptr error = test::error_of([&] {
    test::run_in(runtime, where, [&] {
      objects all;
      {
        cancel_at cancels{which, when};
        hook = &cancels;
        auto victim = roving::spawn([&] {
          cancels.watch();
          what.steps(all);
        });
        const roving::no_cancel hold;  // not even by an error that the test makes
        victim.join();
        cancels.finish();
        while (cancels.is_posted()) roving::yield();
        hook = nullptr;
        seen.suspensions = cancels.seen();
        seen.was_asked = cancels.was_taken();
        seen.was_cancelled = victim.cancelled();
        if (!seen.was_cancelled) victim.get();
      }
      if (!all.mutex.try_lock())
        seen.wrong += "; the mutex is locked";
      else
        all.mutex.unlock();
      if (!all.shared.try_lock())
        seen.wrong += "; the shared mutex is locked";
      else
        all.shared.unlock();
      if (all.permits.value() != 1) seen.wrong += "; permits: " + std::to_string(all.permits.value());
      while (all.items.try_get()) ++all.got;
      if (all.put != all.got)
        seen.wrong += "; put " + std::to_string(all.put) + " items, got " + std::to_string(all.got);
      all.event.clear();
      all.changes = 0;
      take_what_is_queued(all);
      if (seen.wrong.empty()) what.steps(all);  // as if nothing had been
    });
  });
  if (error) seen.wrong += "; threw " + test::text_of(error);
  return seen;
}

}  // namespace

TEST_CASE("faults: each suspension is cancelled", "[faults][suspensions]") {
  const test::bounded bound{120};
  const world where = GENERATE(world{1, false}, world{1, true}, world{2, false}, world{2, true});
  const moment when = GENERATE(moment::before_it_waits, moment::while_it_waits, moment::before_it_goes_on, moment::any);
  const std::size_t descriptors = test::open_descriptors();
  {
    std::atomic<cancel_at*> current{nullptr};
    roving::runtime runtime = test::make_runtime(test::quiet(where), [&](roving::detail::scheduler_options& seams) {
      seams.on_suspension = [&](roving::detail::task_base& who) {
        if (cancel_at* const now = current.load(std::memory_order_acquire)) now->suspends(who);
      };
    });
    for (const program& what : programs) {
      unsigned runs = 0;
      unsigned cancelled = 0;
      std::string wrong;
      // A roving victim may be gone to the other shard before the cancel comes: then all of it again.
      for (unsigned sweep = 0; sweep < 20 && cancelled <= 2 && wrong.empty(); ++sweep) {
        unsigned beyond_the_end = 0;  // several: with threads, the number differs
        for (unsigned which = 1; beyond_the_end < 3 && wrong.empty(); ++which, ++runs) {
          test::bounded::at("%s, %u shards, %s, suspension %u cancelled %s", what.name, where.shards,
                            where.is_roving ? "roving" : "pinned", which, name_of(when));
          const result seen = run_once(runtime, current, what, where, which, when);
          cancelled += seen.was_cancelled;
          beyond_the_end = seen.suspensions < which ? beyond_the_end + 1 : 0;
          wrong = seen.wrong;
          if (seen.was_asked && !seen.was_cancelled) wrong += "; the cancel was lost";
          if (!seen.was_asked && seen.was_cancelled) wrong += "; cancelled by nobody";
          if (!wrong.empty()) wrong = "suspension " + std::to_string(which) + wrong;
        }
      }
      INFO(what.name << ", " << where.shards << " shards, " << (where.is_roving ? "roving" : "pinned") << ", "
                     << name_of(when) << ": " << wrong);
      CHECK(wrong.empty());
      CHECK(cancelled > 2);
      test::show("suspensions: %-18s %u shards, %s, %-17s: %3u runs, %3u of them cancelled\n", what.name, where.shards,
                 where.is_roving ? "roving" : "pinned", name_of(when), runs, cancelled);
    }
  }
  CHECK(test::open_descriptors() == descriptors);
}
