// A small key-value server: lines of text over TCP.
//
//     SET key number     -> OK
//     GET key            -> number, or NONE
//     ADD key number     -> the sum, which is the new value
//
// What docs/testing-your-server.md tests by simulation. The store comes as a parameter, so that the guide can show one
// that is wrong.
#pragma once

#include <cstddef>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>

#include <roving/mutex.hpp>
#include <roving/serve.hpp>
#include <roving/tcp_listener.hpp>
#include <roving/tcp_stream.hpp>

namespace key_value {

class store {
 public:
  std::optional<long> get(const std::string& key) {
    const std::scoped_lock hold{mutex_};
    const auto found = values_.find(key);
    if (found == values_.end()) return std::nullopt;
    return found->second;
  }

  void set(const std::string& key, long value) {
    const std::scoped_lock hold{mutex_};
    values_[key] = value;
  }

  long add(const std::string& key, long by) {
    const std::scoped_lock hold{mutex_};
    return values_[key] += by;
  }

 private:
  roving::mutex mutex_;
  std::map<std::string, long> values_;
};

/// Lines from a stream, without their ends. Suspends. Throws what reading throws.
class line_reader {
 public:
  explicit line_reader(roving::tcp_stream& from) : from_{from} {}

  /// Nothing at the end of the stream; what follows the last end of a line is left out.
  std::optional<std::string> next() {
    for (;;) {
      if (const std::size_t end = pending_.find('\n'); end != std::string::npos) {
        std::string line = pending_.substr(0, end);
        pending_.erase(0, end + 1);
        return line;
      }
      char bytes[256];
      const std::size_t size = from_.read_some({bytes, sizeof bytes});
      if (size == 0) return std::nullopt;
      pending_.append(bytes, size);
    }
  }

 private:
  roving::tcp_stream& from_;
  std::string pending_;
};

template <class Store>
std::string answer(Store& values, const std::string& line) {
  std::istringstream words{line};
  std::string command;
  std::string key;
  long number = 0;
  words >> command >> key;
  if (command == "GET" && words) {
    const std::optional<long> value = values.get(key);
    return value ? std::to_string(*value) : "NONE";
  }
  words >> number;
  if (command == "SET" && words) {
    values.set(key, number);
    return "OK";
  }
  if (command == "ADD" && words) return std::to_string(values.add(key, number));
  return "ERROR: SET key number, GET key or ADD key number";
}

/// Serves until the calling task is cancelled; each connection is a task that any shard may run.
template <class Store>
void serve(roving::tcp_listener& listener, Store& values) {
  roving::serve(listener, {.handlers = roving::anywhere}, [&values](roving::tcp_stream stream) {
    line_reader lines{stream};
    while (const std::optional<std::string> line = lines.next())
      stream.write_all(roving::const_buffer{answer(values, *line) + '\n'});
  });
}

}  // namespace key_value
