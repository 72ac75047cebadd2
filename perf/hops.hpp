// Ways in which one task wakes another, and two that do so in turn. bells.hpp has those of threads.
//
// Each of them: ring() lets one wait() of the other side return.
#pragma once

#include <array>
#include <cstdint>

#include <roving/roving.hpp>

namespace roving_perf {

class semaphore_bell {
 public:
  void ring() { permits_.release(); }
  void wait() { permits_.acquire(); }

 private:
  roving::semaphore permits_{0};
};

class event_bell {
 public:
  void ring() { rung_.set(); }
  void wait() {
    rung_.wait();
    rung_.clear();
  }

 private:
  roving::event rung_;
};

class queue_bell {
 public:
  void ring() { rings_.put(1); }
  void wait() { static_cast<void>(rings_.get()); }

 private:
  roving::queue<int> rings_{1};
};

/// Two tasks of the caller's kind, `count` turns in all: each waits for its own bell and rings the other's.
template <class Bell>
void hop_to_and_fro(std::uint64_t count) {
  std::array<Bell, 2> bells;
  const auto play = [&](Bell& mine, Bell& others) {
    for (std::uint64_t left = count / 2; left != 0; --left) {
      mine.wait();
      others.ring();
    }
  };
  const roving::task<void> first = roving::spawn([&] { play(bells[0], bells[1]); });
  const roving::task<void> second = roving::spawn([&] { play(bells[1], bells[0]); });
  roving::yield();  // both wait
  bells[0].ring();
  first.join();
  second.join();
}

}  // namespace roving_perf
