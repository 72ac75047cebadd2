// Virtual time for one shard: its clock, and its parker, which never waits. When nothing is ready it moves the clock to
// the next timer; when there is none it says so.
#pragma once

#include <functional>
#include <memory>
#include <utility>

#include "scheduler/clock.hpp"
#include "scheduler/parker.hpp"

namespace conformance {

class virtual_clock final : public roving::detail::clock_source {
 public:
  [[nodiscard]] roving::time_point now() noexcept override { return now_; }
  void advance_to(roving::time_point then) noexcept {
    if (then > now_) now_ = then;
  }

 private:
  roving::time_point now_{};
};

class virtual_parker final : public roving::detail::parker {
 public:
  struct events {
    std::function<void()> generation_begins;
    std::function<void()> nothing_is_left;  // makes something ready, or the loop asks again for ever
  };

  virtual_parker(virtual_clock& clock, events tell) : clock_{clock}, tell_{std::move(tell)} {}

  void wait(roving::time_point until, roving::detail::ready_list&) noexcept override {
    if (until == roving::time_point::max())
      tell_.nothing_is_left();
    else
      clock_.advance_to(until);
  }
  void poll(roving::detail::ready_list&) noexcept override { tell_.generation_begins(); }
  bool service(roving::detail::ready_list&) noexcept override { return false; }  // there is one shard
  void wake() noexcept override {}

 private:
  virtual_clock& clock_;
  events tell_;
};

}  // namespace conformance
