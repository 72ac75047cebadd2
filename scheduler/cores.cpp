// See cores.hpp. A quota below a whole core still gets one shard. Of nested groups the tightest counts.
#include "scheduler/cores.hpp"

#include <algorithm>
#include <charconv>
#include <fstream>
#include <iterator>
#include <string>
#include <thread>

#if defined(__linux__)
#  include <sched.h>
#endif

namespace roving::detail {
namespace {

std::string contents_of(const std::string& path) {
  std::ifstream file{path};
  return {std::istreambuf_iterator<char>{file}, {}};
}

std::optional<long> leading_number(std::string_view text) noexcept {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  long value = 0;
  const auto result = std::from_chars(text.data(), text.data() + text.size(), value);
  if (result.ec != std::errc{}) return std::nullopt;
  return value;
}

std::optional<unsigned> cores_for(long quota_us, long period_us) noexcept {
  if (quota_us <= 0 || period_us <= 0) return std::nullopt;
  return static_cast<unsigned>(std::max(1L, (quota_us + period_us - 1) / period_us));
}

// The process's groups, from its own up to the root: of v2 "0::/a/b", of v1 "4:cpu,cpuacct:/a/b".
void tighten(std::optional<unsigned>& limit, std::optional<unsigned> other) noexcept {
  if (other) limit = limit ? std::min(*limit, *other) : *other;
}

std::optional<unsigned> quota() {
  std::optional<unsigned> limit;
  const std::string groups = contents_of("/proc/self/cgroup");
  std::size_t at = 0;
  while (at < groups.size()) {
    const std::size_t end = std::min(groups.find('\n', at), groups.size());
    const std::string line = groups.substr(at, end - at);
    at = end + 1;
    const std::size_t first = line.find(':');
    const std::size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    std::string controllers{','};
    controllers.append(line, first + 1, second - first - 1).push_back(',');
    const bool is_v2 = controllers == ",,";
    if (!is_v2 && controllers.find(",cpu,") == std::string::npos) continue;
    for (std::string path = line.substr(second + 1);; path.resize(path.find_last_of('/'))) {
      if (path == "/") path.clear();
      if (is_v2) {
        tighten(limit, cores_in_quota(contents_of("/sys/fs/cgroup" + path + "/cpu.max")));
      } else {
        const std::string base = "/sys/fs/cgroup/cpu" + path;
        const auto quota_us = leading_number(contents_of(base + "/cpu.cfs_quota_us"));
        const auto period_us = leading_number(contents_of(base + "/cpu.cfs_period_us"));
        if (quota_us && period_us) tighten(limit, cores_for(*quota_us, *period_us));
      }
      if (path.find_last_of('/') == std::string::npos) break;
    }
  }
  return limit;
}

}  // namespace

std::optional<unsigned> cores_in_quota(std::string_view text) noexcept {
  if (text.substr(0, 3) == "max") return std::nullopt;
  const auto quota_us = leading_number(text);
  const std::size_t space = text.find(' ');
  if (!quota_us || space == std::string_view::npos) return std::nullopt;
  const auto period_us = leading_number(text.substr(space));
  if (!period_us) return std::nullopt;
  return cores_for(*quota_us, *period_us);
}

std::vector<unsigned> usable_cores() {
  std::vector<unsigned> cores;
#if defined(__linux__)
  cpu_set_t mask;
  if (::sched_getaffinity(0, sizeof mask, &mask) == 0) {
    for (unsigned core = 0; core < CPU_SETSIZE; ++core)
      if (CPU_ISSET(core, &mask)) cores.push_back(core);
  }
#endif
  if (cores.empty())
    for (unsigned core = 0; core < std::max(1U, std::thread::hardware_concurrency()); ++core) cores.push_back(core);
  return cores;
}

unsigned default_shard_count() {
  const auto cores = static_cast<unsigned>(usable_cores().size());
  const std::optional<unsigned> paid = quota();
  return paid ? std::clamp(*paid, 1U, cores) : cores;
}

}  // namespace roving::detail
