// Where the choices of a simulated run come from: chance, a log of an earlier run, or an enumeration. Every choice is
// written down, so that each run can be replayed from its log alone.
//
// By convention 0 is the plainest choice (go on, no fault, the first), which is what shrinking strives for and what a
// log that has ended goes on with.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace roving::sim {

class choice_source {
 public:
  /// From a seed.
  explicit choice_source(std::uint64_t seed) noexcept : state_{seed * 0x9e3779b97f4a7c15ULL ^ 0xd1b54a32d192ed03ULL} {}
  /// From a log; 0 behind its end.
  explicit choice_source(std::vector<std::uint32_t> log) noexcept : given_{std::move(log)}, is_replay_{true} {}

  /// 0 <= result < bound. `bound` > 0; nothing is asked or written down for 1.
  [[nodiscard]] std::uint32_t below(std::uint32_t bound) { return choose(bound, false); }

  /// The same for how the run is set up, which an enumeration leaves as it is.
  [[nodiscard]] std::uint32_t of_setting(std::uint32_t bound) { return choose(bound, true); }

  /// True in `parts` of 1,000 cases.
  [[nodiscard]] bool happens(unsigned parts_of_1000) {
    return parts_of_1000 != 0 && below(1000) > 1000 - 1 - parts_of_1000;
  }

  struct choice {
    std::uint32_t value;
    std::uint32_t bound;
    bool is_setting;
  };
  [[nodiscard]] const std::vector<choice>& made() const noexcept { return made_; }
  [[nodiscard]] std::vector<std::uint32_t> values() const;

 private:
  [[nodiscard]] std::uint32_t choose(std::uint32_t bound, bool is_setting);
  [[nodiscard]] std::uint64_t next() noexcept;

  std::uint64_t state_ = 0;
  std::vector<std::uint32_t> given_;
  bool is_replay_ = false;
  std::vector<choice> made_;
};

/// A log as one word for a command line, "0x12,3,1": runs of the same number are folded. Trailing zeros are left out.
[[nodiscard]] std::string to_text(const std::vector<std::uint32_t>& choices);

/// Throws std::invalid_argument that says where it is wrong.
[[nodiscard]] std::vector<std::uint32_t> choices_from(std::string_view text);

}  // namespace roving::sim
