// Tested: the slab alone, of which a shard's tasks are made: blocks that come back from elsewhere, and that it goes
// with the last of them. What a block keeps is destroyed with the slab, which shows when that was.

#include "scheduler/slab.hpp"

#include <array>
#include <atomic>
#include <cstddef>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

using roving::detail::slab;
using roving::detail::task_base;

// A slab knows whose it is and calls nothing of it.
roving::detail::scheduler& nobody() {
  alignas(64) static std::array<std::byte, 64> place{};
  return reinterpret_cast<roving::detail::scheduler&>(place);
}

// Gone as soon as the block is destroyed that is given it.
class mark {
 public:
  explicit mark(task_base& block) {
    const auto text = std::make_shared<const std::string>("in a block");
    block.extra().marked = text;
    in_block_ = text;
  }
  [[nodiscard]] bool is_gone() const noexcept { return in_block_.expired(); }

 private:
  std::weak_ptr<const std::string> in_block_;
};

TEST_CASE("slab: gives blocks anew that came back, from its owner and from elsewhere", "[scheduler][slab]") {
  slab& blocks = *new slab{nobody()};  // deletes itself
  task_base& first = blocks.take();
  task_base& second = blocks.take();
  CHECK(&first != &second);
  CHECK(first.origin == &blocks);
  CHECK(blocks.live_blocks() == 2);

  blocks.give_back(first, true);
  CHECK(blocks.live_blocks() == 1);
  CHECK(&blocks.take() == &first);

  std::thread{[&] { blocks.give_back(second, false); }}.join();
  CHECK(blocks.live_blocks() == 1);
  std::vector<task_base*> taken;  // all that the first chunk has, and then what came back
  while ((taken.empty() || taken.back() != &second) && taken.size() < 1000) taken.push_back(&blocks.take());
  CHECK(taken.back() == &second);
  CHECK(blocks.live_blocks() == 1 + taken.size());

  for (task_base* const each : taken) blocks.give_back(*each, true);
  const mark kept{first};
  blocks.give_back(first, true);
  CHECK(blocks.live_blocks() == 0);
  CHECK_FALSE(kept.is_gone());
  blocks.retire();
  CHECK(kept.is_gone());
}

TEST_CASE("slab: one that is retired goes with the last block that comes back", "[scheduler][slab]") {
  slab& blocks = *new slab{nobody()};
  const std::array<task_base*, 3> out{&blocks.take(), &blocks.take(), &blocks.take()};
  const mark kept{*out[0]};
  blocks.give_back(*out[0], false);
  blocks.retire();
  CHECK(out[1]->origin->owner() == nullptr);
  blocks.give_back(*out[1], false);
  CHECK_FALSE(kept.is_gone());
  blocks.give_back(*out[2], false);
  CHECK(kept.is_gone());
}

// What retire() reads after it has said how many blocks are out may be gone. That both are ordered by nothing but the
// slab itself shows it to ThreadSanitizer whenever they run.
TEST_CASE("slab: is not read by who has retired it, since its last block may come back meanwhile",
          "[scheduler][slab]") {
  slab& blocks = *new slab{nobody()};
  task_base& last = blocks.take();
  const mark kept{last};
  std::atomic<bool> is_retired{false};
  std::thread other{[&] {
    while (!is_retired.load(std::memory_order_relaxed)) std::this_thread::yield();
    blocks.give_back(last, false);
  }};
  blocks.retire();
  is_retired.store(true, std::memory_order_relaxed);  // relaxed: a release would order what retire() still reads
  other.join();
  CHECK(kept.is_gone());
}

// The same for AddressSanitizer, by chance.
TEST_CASE("slab: goes once, whoever of its owner and those who bring blocks back is last", "[scheduler][slab]") {
  constexpr int rounds = 3000;
  constexpr std::size_t others = 2;
  std::array<std::atomic<task_base*>, others> brought_by{};
  std::array<std::thread, others> threads;
  for (std::size_t i = 0; i < others; ++i)
    threads[i] = std::thread{[&, i] {
      for (int round = 0; round < rounds; ++round) {
        task_base* block = nullptr;
        while ((block = brought_by[i].exchange(nullptr, std::memory_order_acquire)) == nullptr)
          std::this_thread::yield();
        if (round % 2 == 0)  // about when it is retired
          while (block->origin->owner() != nullptr) std::this_thread::yield();
        block->origin->give_back(*block, false);
      }
    }};

  int gone = 0;
  for (int round = 0; round < rounds; ++round) {
    slab& blocks = *new slab{nobody()};
    task_base& kept_back = blocks.take();
    const mark kept{kept_back};
    blocks.give_back(kept_back, true);
    std::array<task_base*, others> out{};
    for (task_base*& each : out) each = &blocks.take();
    for (std::size_t i = 0; i < others; ++i) brought_by[i].store(out[i], std::memory_order_release);
    blocks.retire();
    while (!kept.is_gone()) std::this_thread::yield();
    ++gone;
  }
  for (std::thread& each : threads) each.join();
  CHECK(gone == rounds);
}

}  // namespace
