// What the kernel says of this process's memory.
#pragma once

#include <fstream>
#include <stdexcept>
#include <string>

#include <unistd.h>

namespace roving_perf {

/// Of memory that was touched.
inline double resident_bytes() {
  std::ifstream file{"/proc/self/statm"};
  double all = 0;
  double resident = 0;
  if (!(file >> all >> resident)) throw std::runtime_error{"there is no /proc/self/statm"};
  return resident * static_cast<double>(::sysconf(_SC_PAGESIZE));
}

/// Of the kernel's tables for it.
inline double page_table_bytes() {
  std::ifstream file{"/proc/self/status"};
  for (std::string word; file >> word;) {
    double kilobytes = 0;
    if (word == "VmPTE:" && file >> kilobytes) return kilobytes * 1024;
  }
  throw std::runtime_error{"there is no VmPTE in /proc/self/status"};
}

}  // namespace roving_perf
