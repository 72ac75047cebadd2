// See choices.hpp.
#include "runtime/sim/choices.hpp"

#include <charconv>
#include <stdexcept>

namespace roving::sim {

// splitmix64: every seed is as good as any other, also small ones.
std::uint64_t choice_source::next() noexcept {
  state_ += 0x9e3779b97f4a7c15ULL;
  std::uint64_t mixed = state_;
  mixed = (mixed ^ (mixed >> 30U)) * 0xbf58476d1ce4e5b9ULL;
  mixed = (mixed ^ (mixed >> 27U)) * 0x94d049bb133111ebULL;
  return mixed ^ (mixed >> 31U);
}

std::uint32_t choice_source::choose(std::uint32_t bound, bool is_setting) {
  if (bound <= 1) return 0;
  std::uint32_t value = 0;
  if (!is_replay_)
    value = static_cast<std::uint32_t>(((next() >> 32U) * bound) >> 32U);
  else if (made_.size() < given_.size())
    value = given_[made_.size()] % bound;  // a shrunken log may ask for more than there is
  made_.push_back({value, bound, is_setting});
  return value;
}

std::vector<std::uint32_t> choice_source::values() const {
  std::vector<std::uint32_t> all;
  all.reserve(made_.size());
  for (const choice& each : made_) all.push_back(each.value);
  return all;
}

std::string to_text(const std::vector<std::uint32_t>& choices) {
  std::size_t size = choices.size();
  while (size != 0 && choices[size - 1] == 0) --size;
  std::string text;
  for (std::size_t at = 0; at < size;) {
    std::size_t end = at;
    while (end < size && choices[end] == choices[at]) ++end;
    if (!text.empty()) text += ',';
    text += std::to_string(choices[at]);
    if (end - at > 1) text += 'x' + std::to_string(end - at);
    at = end;
  }
  return text;
}

std::vector<std::uint32_t> choices_from(std::string_view text) {
  constexpr std::size_t most = 100'000'000;
  std::vector<std::uint32_t> choices;
  const char* const begin = text.data();
  const char* const end = begin + text.size();
  const auto fail = [&](const char* at) {
    throw std::invalid_argument{"choices of a simulation: not a number at place " + std::to_string(at - begin) +
                                " of \"" + std::string{text.substr(0, 40)} + "\""};
  };
  for (const char* at = begin; at != end;) {
    std::uint32_t value = 0;
    std::size_t times = 1;
    auto read = std::from_chars(at, end, value);
    if (read.ec != std::errc{}) fail(at);
    if (read.ptr != end && *read.ptr == 'x') {
      const char* const from = read.ptr + 1;
      read = std::from_chars(from, end, times);
      if (read.ec != std::errc{} || times > most) fail(from);
    }
    choices.insert(choices.end(), times, value);
    at = read.ptr;
    if (at == end) break;
    if (*at != ',' || at + 1 == end) fail(at);
    ++at;
  }
  return choices;
}

}  // namespace roving::sim
