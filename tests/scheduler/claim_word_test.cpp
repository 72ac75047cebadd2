// Tested: claim_word, every transition, and that of those who race for a wait exactly one wins.
#include <array>
#include <atomic>
#include <thread>
#include <vector>

#include <roving/detail/claim_word.hpp>

#include "tests/support/catch.hpp"

using namespace roving::detail;

TEST_CASE("claim word: one claim wins a wait, later ones and those of former waits lose", "[claim]") {
  claim_word word;
  const auto first = word.next_epoch();
  CHECK(word.claim(first, winner::event) == claim_result::lost);  // not parked yet
  REQUIRE(word.arm(wait_mode::claimable));
  CHECK(word.is_parked());
  CHECK(word.claim(first + 1, winner::event) == claim_result::lost);
  CHECK(word.claim(first, winner::timeout) == claim_result::won);
  CHECK(word.claim(first, winner::event) == claim_result::lost);
  CHECK(word.settled() == winner::timeout);

  const auto second = word.next_epoch();
  CHECK(second == first + 1);
  REQUIRE(word.arm(wait_mode::claimable));
  CHECK(word.claim(first, winner::event) == claim_result::lost);  // late for the first wait: does not hit the second
  CHECK(word.claim(second, winner::event) == claim_result::won);
  CHECK(word.settled() == winner::event);
}

TEST_CASE("claim word: a cancel claims a parked task, and marks one that is not parked", "[claim]") {
  claim_word word;
  CHECK(word.cancel() == cancel_result::marked);
  CHECK(word.is_pending());
  CHECK_FALSE(word.arm(wait_mode::claimable));  // must not park over it
  word.end_by_mark();
  CHECK(word.settled() == winner::cancel);
  CHECK_FALSE(word.is_pending());

  REQUIRE(word.arm(wait_mode::claimable));
  CHECK(word.cancel() == cancel_result::claimed);
  CHECK(word.settled() == winner::cancel);
  CHECK(word.cancel() == cancel_result::marked);  // claimed already: it waits for the next
  CHECK(word.take_pending());
  CHECK_FALSE(word.take_pending());
}

TEST_CASE("claim word: who reads a task holds it in its wait, and learns whether that was ended", "[claim]") {
  claim_word word;
  claim_word::word seen = 0;
  CHECK_FALSE(word.try_pin(seen));  // runs
  const wait_mode mode = GENERATE(wait_mode::claimable, wait_mode::masked, wait_mode::forwards);
  REQUIRE(word.arm(mode));
  REQUIRE(word.try_pin(seen));
  CHECK(word.is_untouched(seen));
  claim_word::word second = 0;
  REQUIRE(word.try_pin(second));  // several may
  word.unpin();
  CHECK(word.is_untouched(seen));
  CHECK(word.claim(word.epoch(), winner::event) == claim_result::won);
  CHECK_FALSE(word.is_untouched(seen));
  CHECK_FALSE(word.try_pin(second));

  std::atomic<bool> is_back{false};
  std::thread task{[&] {
    static_cast<void>(word.settled());
    is_back = true;
    static_cast<void>(word.arm(mode));  // the next wait
  }};
  for (int i = 0; i < 1000; ++i) std::this_thread::yield();
  CHECK_FALSE(is_back);
  word.unpin();
  task.join();
  CHECK_FALSE(word.is_untouched(seen));

  REQUIRE(word.claim(word.epoch(), winner::event) == claim_result::won);
  REQUIRE(word.prepare(mode));
  REQUIRE(word.try_pin(seen));  // about to park: readable, but not its stack
  CHECK_FALSE(word.is_untouched(seen));
  CHECK(word.commit());
  CHECK_FALSE(word.is_untouched(seen));
  word.unpin();
}

TEST_CASE("claim word: a masked wait keeps the mark for later", "[claim]") {
  claim_word word;
  REQUIRE(word.arm(wait_mode::masked));
  CHECK(word.cancel() == cancel_result::marked);
  CHECK(word.claim(word.epoch(), winner::event) == claim_result::won);
  CHECK(word.settled() == winner::event);
  CHECK(word.is_pending());
  REQUIRE(word.arm(wait_mode::masked));  // parks over it
  CHECK(word.claim(word.epoch(), winner::event) == claim_result::won);
  CHECK(word.is_pending());
}

TEST_CASE("claim word: a forwarding wait is pinned by the canceller, and settled() waits for it", "[claim]") {
  claim_word word;
  REQUIRE(word.arm(wait_mode::forwards));
  REQUIRE(word.cancel() == cancel_result::forward);
  CHECK(word.claim(word.epoch(), winner::event) == claim_result::won);
  std::atomic<bool> back{false};
  std::thread task{[&] {
    (void)word.settled();
    back = true;
  }};
  std::this_thread::yield();
  CHECK_FALSE(back.load());
  word.unpin();
  task.join();
  CHECK(back);
  CHECK_FALSE(word.is_pending());
}

TEST_CASE("claim word: after prepare() a claim comes early, and commit() says so", "[claim]") {
  claim_word word;
  REQUIRE(word.prepare(wait_mode::claimable));
  const auto epoch = word.epoch();
  SECTION("an event before the commit") {
    CHECK(word.claim(epoch, winner::event) == claim_result::early);
    CHECK_FALSE(word.commit());
    CHECK(word.settled() == winner::event);
  }
  SECTION("a cancel before the commit") {
    CHECK(word.cancel() == cancel_result::claimed_early);
    CHECK_FALSE(word.commit());
    CHECK(word.settled() == winner::cancel);
  }
  SECTION("nothing before the commit") {
    REQUIRE(word.commit());
    CHECK(word.claim(epoch, winner::event) == claim_result::won);
  }
}

TEST_CASE("claim word: a reused block's late claimers miss", "[claim]") {
  claim_word word;
  REQUIRE(word.arm(wait_mode::claimable));
  const auto epoch = word.epoch();
  REQUIRE(word.claim(epoch, winner::event) == claim_result::won);
  word.reuse();
  REQUIRE(word.arm(wait_mode::claimable));
  CHECK(word.claim(epoch, winner::timeout) == claim_result::lost);
  CHECK(word.claim(epoch + 1, winner::timeout) == claim_result::lost);
}

TEST_CASE("claim word: of event, timeout and cancel that race exactly one wins", "[claim]") {
  constexpr int rounds = 20'000;
  claim_word word;
  std::atomic<int> round{0};
  std::atomic<int> ready{0};
  std::array<std::atomic<int>, 3> won{};
  std::atomic<claim_word::word> epoch{0};
  const auto racer = [&](unsigned which) {
    for (int i = 1; i <= rounds; ++i) {
      while (round.load(std::memory_order_acquire) < i) std::this_thread::yield();
      const auto of = epoch.load(std::memory_order_relaxed);
      if (which == 2) {
        if (word.cancel() == cancel_result::claimed) won[2].fetch_add(1);
      } else if (word.claim(of, which == 0 ? winner::event : winner::timeout) == claim_result::won) {
        won[which].fetch_add(1);
      }
      ready.fetch_add(1, std::memory_order_release);
    }
  };
  std::vector<std::thread> threads;
  for (unsigned which = 0; which < 3; ++which) threads.emplace_back(racer, which);
  int wrong = 0;
  for (int i = 1; i <= rounds; ++i) {
    (void)word.take_pending();
    if (!word.arm(wait_mode::claimable)) ++wrong;
    epoch.store(word.epoch(), std::memory_order_relaxed);
    const int before = won[0] + won[1] + won[2];
    ready.store(0, std::memory_order_relaxed);
    round.store(i, std::memory_order_release);
    while (ready.load(std::memory_order_acquire) < 3) std::this_thread::yield();
    if (won[0] + won[1] + won[2] != before + 1 || word.settled() == winner::none) ++wrong;
  }
  for (auto& each : threads) each.join();
  CHECK(wrong == 0);
}
