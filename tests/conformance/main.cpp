// roving_trace: runs trace programs (oracle/LANGUAGE.md) on roving and prints their traces.
//
//     roving_trace PROGRAM.json ...    the trace; after lines `=== PATH` if there are several
//     roving_trace --list FILE         the programs named in FILE, one a line, each after `=== PATH`
//     roving_trace --golden FOLDER     runs FOLDER/*.json and compares with the *.trace beside them
//
// A program with an operation that this does not know prints the one line SKIP.
#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "tests/conformance/json.hpp"
#include "tests/conformance/world.hpp"

namespace {

std::string read_file(const std::filesystem::path& path) {
  std::ifstream file{path, std::ios::binary};
  if (!file) throw std::runtime_error{"can't read it"};
  return {std::istreambuf_iterator<char>{file}, {}};
}

std::vector<std::string> trace_of(const std::filesystem::path& path) {
  try {
    const conformance::program what = conformance::read_program(read_file(path));
    return conformance::world{what}.run();
  } catch (const conformance::unknown_operation&) {
    return {"SKIP"};
  }
}

std::vector<std::string> lines_of(const std::string& text) {
  std::vector<std::string> lines;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

int print_traces(const std::vector<std::string>& paths, bool with_names) {
  int status = 0;
  for (const std::string& path : paths) {
    try {
      const std::vector<std::string> lines = trace_of(path);
      if (with_names) std::cout << "=== " << path << '\n';
      for (const std::string& line : lines) std::cout << line << '\n';
    } catch (const std::exception& error) {
      std::cerr << path << ": " << error.what() << '\n';
      status = 2;
    }
  }
  std::cout.flush();
  return status;
}

// Prints the first line that differs, with what came before it.
void show_difference(const std::vector<std::string>& expected, const std::vector<std::string>& actual) {
  const auto [left, right] = std::mismatch(expected.begin(), expected.end(), actual.begin(), actual.end());
  for (auto line = expected.begin(); line != left; ++line) std::cout << "    " << *line << '\n';
  std::cout << "  - " << (left != expected.end() ? *left : "(nothing)") << '\n';
  std::cout << "  + " << (right != actual.end() ? *right : "(nothing)") << '\n';
}

int compare_golden(const std::filesystem::path& folder) {
  std::vector<std::filesystem::path> programs;
  for (const auto& entry : std::filesystem::directory_iterator{folder})
    if (entry.path().extension() == ".json") programs.push_back(entry.path());
  std::sort(programs.begin(), programs.end());
  std::size_t failed = 0;
  for (std::filesystem::path path : programs) {
    try {
      const std::vector<std::string> actual = trace_of(path);
      const std::vector<std::string> expected = lines_of(read_file(path.replace_extension(".trace")));
      if (actual == expected) continue;
      std::cout << path.stem().string() << ": differs\n";
      show_difference(expected, actual);
    } catch (const std::exception& error) {
      std::cout << path.stem().string() << ": " << error.what() << '\n';
    }
    ++failed;
  }
  std::cout << programs.size() - failed << " passed, " << failed << " failed\n";
  return failed != 0 || programs.empty() ? 1 : 0;
}

}  // namespace

int main(int count, char** arguments) {
  const std::vector<std::string> given{arguments + 1, arguments + count};
  try {
    if (given.size() == 2 && given[0] == "--list") return print_traces(lines_of(read_file(given[1])), true);
    if (given.size() == 2 && given[0] == "--golden") return compare_golden(given[1]);
    if (!given.empty() && given[0].substr(0, 1) != "-") return print_traces(given, given.size() > 1);
  } catch (const std::exception& error) {
    std::cerr << "roving_trace: " << error.what() << '\n';
    return 2;
  }
  std::cerr << "usage: roving_trace PROGRAM.json ... | --list FILE | --golden FOLDER\n";
  return 2;
}
