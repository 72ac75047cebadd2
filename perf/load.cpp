// The load generator: many connections that ask a server, and how long the answers took. A roving program itself.
//
// Closed loop: each connection sends its next request when it has the answer to the one before. What that measures is
// how much the server can do; its latencies say little, since a server that stalls is asked less.
//
// Open loop (--rate): requests are due at fixed times, whatever the server does, and the latency of each counts from
// when it was due, not from when it could be sent. So a stall shows in every request that it delayed.
//
// Each connection is a task that is pinned to a shard, and writes to that shard's results without a lock.
#include <algorithm>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <iterator>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <roving/roving.hpp>

#include "perf/histogram.hpp"
#include "perf/http_response.hpp"

namespace {

using namespace std::chrono_literals;
using roving_perf::histogram;
using roving_perf::http_response_head;

constexpr std::string_view usage =
    R"(load: asks a server for a while and says how long the answers took

load --url http://HOST[:PORT][/PATH] [options]      HTTP, one request at a time on each connection
load --echo --url HOST:PORT [options]               messages that come back as they are

  --connections N   connections at once (64)
  --duration S      seconds that are measured (5)
  --warmup S        seconds before them that are not (0.5)
  --rate N          requests per second in all, sent when they are due; latency counts from there (none: as fast as the
                    answers come)
  --shards N        threads of this program (1)
  --size N          bytes of a message with --echo (64)
  --json FILE       writes the results there too
  --help            this

Exit status: 0; 1 if there was an error or no answer; 2 if the arguments are wrong.
)";

// --- arguments ------------------------------------------------------------------------------------------------------

struct settings {
  std::string url;
  std::string host;
  std::uint16_t port = 80;
  std::string path = "/";
  bool echo = false;
  unsigned connections = 64;
  double duration_s = 5;
  double warmup_s = 0.5;
  std::optional<double> rate;  // per second
  unsigned shards = 1;
  unsigned size_bytes = 64;
  std::string json;
};

class bad_arguments : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class Number>
Number number(std::string_view option, std::string_view text, Number least, Number most) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least && value <= most))
    throw bad_arguments{std::string{option} + " wants a number from " + std::to_string(least) + " to " +
                        std::to_string(most) + ", not \"" + std::string{text} + "\""};
  return value;
}

// "HOST", "HOST:PORT", "[::1]:PORT"
void read_authority(std::string_view text, settings& into, bool port_is_needed) {
  std::string_view port;
  if (text.starts_with('[')) {
    const std::size_t end = text.find(']');
    if (end == std::string_view::npos) throw bad_arguments{"--url: there is no ] after ["};
    into.host = text.substr(1, end - 1);
    port = text.substr(end + 1);
  } else {
    const std::size_t colon = std::min(text.find(':'), text.size());
    into.host = text.substr(0, colon);
    port = text.substr(colon);
  }
  if (into.host.empty()) throw bad_arguments{"--url names no host"};
  if (port.starts_with(':'))
    into.port = number<std::uint16_t>("the port in --url", port.substr(1), 1, 65535);
  else if (!port.empty() || port_is_needed)
    throw bad_arguments{"--url: HOST:PORT is wanted"};
}

void read_url(settings& into) {
  std::string_view rest = into.url;
  if (rest.empty()) throw bad_arguments{"--url is missing"};
  if (into.echo) {
    read_authority(rest, into, true);
    return;
  }
  constexpr std::string_view scheme = "http://";
  if (!rest.starts_with(scheme)) throw bad_arguments{"--url begins with http://, or give --echo"};
  rest.remove_prefix(scheme.size());
  const std::size_t slash = std::min(rest.find('/'), rest.size());
  read_authority(rest.substr(0, slash), into, false);
  if (slash < rest.size()) into.path = rest.substr(slash, rest.find('#') - slash);
  for (const char c : into.path)
    if (c <= ' ' || c == '\x7f') throw bad_arguments{"--url: write blanks and control characters as %20 and the like"};
}

// Nothing when there was --help.
std::optional<settings> read_arguments(int count, char** arguments) {
  settings read;
  for (int i = 1; i < count; ++i) {
    const std::string_view option = arguments[i];
    if (option == "--help" || option == "-h") return std::nullopt;
    if (option == "--echo") {
      read.echo = true;
      continue;
    }
    const auto value = [&]() -> std::string_view {
      if (++i >= count) throw bad_arguments{std::string{option} + " wants a value"};
      return arguments[i];
    };
    if (option == "--url") {
      read.url = value();
    } else if (option == "--connections") {
      read.connections = number<unsigned>(option, value(), 1, 100'000);
    } else if (option == "--duration") {
      read.duration_s = number<double>(option, value(), 0.01, 86'400);
    } else if (option == "--warmup") {
      read.warmup_s = number<double>(option, value(), 0, 86'400);
    } else if (option == "--rate") {
      read.rate = number<double>(option, value(), 0.01, 1e9);
    } else if (option == "--shards") {
      read.shards = number<unsigned>(option, value(), 1, 1024);
    } else if (option == "--size") {
      read.size_bytes = number<unsigned>(option, value(), 1, 1U << 24U);
    } else if (option == "--json") {
      read.json = value();
    } else {
      throw bad_arguments{"there is no option " + std::string{option}};
    }
  }
  read_url(read);
  return read;
}

// --- results --------------------------------------------------------------------------------------------------------

struct results {
  histogram latencies_ns;
  std::uint64_t errors = 0;
  std::uint64_t unsent = 0;  // were due, but the connection was never free
  std::string first_error;
  roving::time_point last_answer{};

  void note_error(std::string_view what) {
    if (errors++ == 0) first_error = what;
  }

  void add(const results& other) {
    latencies_ns.add(other.latencies_ns);
    if (errors == 0) first_error = other.first_error;
    errors += other.errors;
    unsent += other.unsent;
    last_answer = std::max(last_answer, other.last_answer);
  }
};

// --- one connection -------------------------------------------------------------------------------------------------

// The server answered, but not as it should.
class bad_answer : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

// Sends a request and takes in the answer.
class exchange {
 public:
  exchange(const settings& chosen, roving::tcp_stream stream) : settings_{chosen}, stream_{std::move(stream)} {
    if (settings_.echo) {
      request_.assign(settings_.size_bytes, 'x');
      buffer_.resize(settings_.size_bytes);
    } else {
      const bool is_ipv6 = settings_.host.find(':') != std::string::npos;
      request_ = "GET " + settings_.path + " HTTP/1.1\r\nHost: " + (is_ipv6 ? "[" : "") + settings_.host +
          (is_ipv6 ? "]:" : ":") + std::to_string(settings_.port) + "\r\nUser-Agent: roving-load\r\n\r\n";
      buffer_.resize(16 * 1024);
    }
  }

  void run() {
    if (!stream_.is_open()) stream_ = roving::tcp_stream::connect(settings_.host, settings_.port);
    try {
      stream_.write_all(request_);
      if (settings_.echo)
        take_echo();
      else
        take_response();
    } catch (...) {
      stream_.close();  // nobody knows what comes next on it
      throw;
    }
  }

 private:
  void take_echo() {
    stream_.read_exactly(buffer_);
    if (buffer_ != request_) throw bad_answer{"the message came back changed"};
  }

  void take_response() {
    std::size_t filled = 0;
    http_response_head head;
    while (head.is != http_response_head::state::complete) {
      if (filled == buffer_.size()) throw bad_answer{"the head of the response is too large"};
      const std::size_t bytes = stream_.read_some(roving::mutable_buffer{buffer_}.behind(filled));
      if (bytes == 0) throw bad_answer{"the server closed the connection without an answer"};
      filled += bytes;
      head = http_response_head::of(std::string_view{buffer_}.substr(0, filled));
      if (head.is == http_response_head::state::invalid)
        throw bad_answer{"what came is no HTTP response of known length"};
    }
    const std::size_t body_bytes = filled - head.head_bytes;
    if (body_bytes > head.body_bytes) throw bad_answer{"more came than the response"};
    for (std::uint64_t left = head.body_bytes - body_bytes; left != 0;) {
      const std::size_t bytes = stream_.read_some({buffer_.data(), std::min<std::uint64_t>(left, buffer_.size())});
      if (bytes == 0) throw bad_answer{"the server closed the connection within an answer"};
      left -= bytes;
    }
    if (!head.keeps_alive) stream_.close();
    if (head.status >= 400) throw bad_answer{"the status of a response was " + std::to_string(head.status)};
  }

  const settings& settings_;
  roving::tcp_stream stream_;
  std::string request_;
  std::string buffer_;
};

// When requests are sent, and which count.
struct plan {
  roving::time_point start;
  roving::time_point measured_from;
  roving::time_point end;
  double interval_ns = 0;  // between the requests of all connections; 0 in a closed loop
  unsigned connections = 1;

  // Of the `turn`th request of a connection, in an open loop.
  [[nodiscard]] roving::time_point due(unsigned connection, std::uint64_t turn) const noexcept {
    const double position = static_cast<double>(turn) * connections + connection;
    return start + roving::duration{static_cast<std::int64_t>(position * interval_ns)};
  }

  // How many of a connection's requests from `turn` on count and are due before the end.
  [[nodiscard]] std::uint64_t left(unsigned connection, std::uint64_t turn) const noexcept {
    const std::uint64_t first = std::max(turn, first_due_from(connection, measured_from));
    return std::max(first, first_due_from(connection, end)) - first;
  }

 private:
  [[nodiscard]] std::uint64_t first_due_from(unsigned connection, roving::time_point at) const noexcept {
    const double position = static_cast<double>((at - start).count()) / interval_ns;
    return static_cast<std::uint64_t>(std::max(0.0, std::ceil((position - connection) / connections)));
  }
};

void ask_once(exchange& with, roving::time_point since, const plan& when, results& into) {
  const bool counts = since >= when.measured_from;
  try {
    with.run();
    if (!counts) return;
    into.last_answer = roving::now();
    into.latencies_ns.record(static_cast<std::uint64_t>((into.last_answer - since).count()));
  } catch (const roving::cancelled&) {
    into.note_error("no answer came for seconds after the end");
    throw;
  } catch (const std::exception& error) {  // before the measured time too: a server that fails is no good
    into.note_error(error.what());
  }
}

void run_connection(exchange with, unsigned number, const plan& when, results& into) {
  roving::sleep_until(when.start);
  for (std::uint64_t turn = 0;; ++turn) {
    roving::time_point now = roving::now();
    if (when.interval_ns == 0) {
      if (now >= when.end) return;
      const std::uint64_t errors = into.errors;
      ask_once(with, now, when, into);
      if (into.errors != errors) roving::sleep_for(1ms);  // a server that refuses is not to be hammered
      continue;
    }
    const roving::time_point due = when.due(number, turn);
    if (due >= when.end) return;
    if (due > now) {
      roving::sleep_until(due);
      now = roving::now();
    }
    if (now >= when.end) {
      into.unsent += when.left(number, turn);
      return;
    }
    ask_once(with, due, when, into);
  }
}

// --- the whole ------------------------------------------------------------------------------------------------------

constexpr roving::duration patience = 5s;  // for connecting, and for the last answers

struct attempt {
  roving::tcp_stream stream;
  std::error_code error;
};

std::vector<roving::tcp_stream> connect_all(const settings& chosen) {
  std::vector<roving::task<attempt>> connecting;
  for (unsigned i = 0; i < chosen.connections; ++i) {
    connecting.push_back(roving::spawn(roving::on_shard(i % chosen.shards), [&chosen] {
      attempt made;
      made.stream = roving::tcp_stream::connect(chosen.host, chosen.port, made.error);
      return made;
    }));
  }
  const roving::time_point deadline = roving::now() + patience;
  std::vector<roving::tcp_stream> streams;
  for (auto& each : connecting) {
    attempt made;
    if (each.join_until(deadline))
      made = std::move(each).get();
    else
      made.error = std::make_error_code(std::errc::timed_out);
    if (made.error)
      throw std::system_error{made.error, "connecting to " + chosen.host + " port " + std::to_string(chosen.port)};
    streams.push_back(std::move(made.stream));
  }
  return streams;
}

results run(const settings& chosen, plan& when) {
  std::vector<roving::tcp_stream> streams = connect_all(chosen);
  const auto seconds = [](double count) {
    return std::chrono::duration_cast<roving::duration>(std::chrono::duration<double>{count});
  };
  when.start = roving::now() + 10ms;  // so that all are there
  when.measured_from = when.start + seconds(chosen.warmup_s);
  when.end = when.measured_from + seconds(chosen.duration_s);
  when.interval_ns = chosen.rate ? 1e9 / *chosen.rate : 0;
  when.connections = chosen.connections;

  std::vector<results> of_shards(chosen.shards);
  std::vector<roving::task<void>> tasks;
  for (unsigned i = 0; i < chosen.connections; ++i) {
    const unsigned shard = i % chosen.shards;
    tasks.push_back(
        roving::spawn(roving::on_shard(shard),
                      [with = exchange{chosen, std::move(streams[i])}, i, &when, &into = of_shards[shard]]() mutable {
                        run_connection(std::move(with), i, when, into);
                      }));
  }
  for (const auto& each : tasks) {
    if (!each.join_until(when.end + patience)) each.cancel();
  }
  tasks.clear();
  results all;
  for (const results& each : of_shards) all.add(each);
  return all;
}

constexpr std::pair<double, const char*> percentiles[] = {{50, "p50"}, {90, "p90"}, {99, "p99"}, {99.9, "p99.9"}};

// Of a plot: as far apart where they are rare.
constexpr double curve[] = {10, 25, 50, 60, 70, 80, 90, 95, 98, 99, 99.5, 99.8, 99.9, 99.95, 99.98, 99.99};

double microseconds(std::uint64_t nanoseconds) { return static_cast<double>(nanoseconds) / 1000; }

void print(const settings& chosen, const results& found, double seconds) {
  const std::uint64_t answers = found.latencies_ns.count();
  std::printf("%u connections, %u shard%s, ", chosen.connections, chosen.shards, chosen.shards == 1 ? "" : "s");
  if (chosen.rate)
    std::printf("open loop at %.0f requests/s, %.2f s\n", *chosen.rate, seconds);
  else
    std::printf("closed loop, %.2f s\n", seconds);
  std::printf("requests  %llu, %.0f/s\n", static_cast<unsigned long long>(answers),
              static_cast<double>(answers) / seconds);
  std::printf("errors    %llu%s%s\n", static_cast<unsigned long long>(found.errors), found.errors != 0 ? ": " : "",
              found.first_error.c_str());
  if (found.unsent != 0)
    std::printf("unsent    %llu: they were due, but their connections still waited for earlier answers\n",
                static_cast<unsigned long long>(found.unsent));
  if (answers == 0) return;
  std::printf("latency  ");
  for (const auto& [percent, name] : percentiles)
    std::printf(" %s %.1f us ", name, microseconds(found.latencies_ns.percentile(percent)));
  std::printf(" max %.1f us\n", microseconds(found.latencies_ns.max()));
}

void write_json(const settings& chosen, const results& found, double seconds) {
  std::FILE* const file = std::fopen(chosen.json.c_str(), "w");
  if (file == nullptr) throw std::system_error{errno, std::generic_category(), chosen.json};
  const std::uint64_t answers = found.latencies_ns.count();
  std::fprintf(file,
               "{\"connections\": %u, \"shards\": %u, \"rate\": %s, \"seconds\": %.6f, \"requests\": %llu, "
               "\"requests_per_second\": %.3f, \"errors\": %llu, \"unsent\": %llu, \"latency_us\": {",
               chosen.connections, chosen.shards, chosen.rate ? std::to_string(*chosen.rate).c_str() : "null", seconds,
               static_cast<unsigned long long>(answers), static_cast<double>(answers) / seconds,
               static_cast<unsigned long long>(found.errors), static_cast<unsigned long long>(found.unsent));
  for (const auto& [percent, name] : percentiles)
    std::fprintf(file, "\"%s\": %.3f, ", name, microseconds(found.latencies_ns.percentile(percent)));
  std::fprintf(file, "\"max\": %.3f}, \"percentiles_us\": [", microseconds(found.latencies_ns.max()));
  for (const double percent : curve)
    std::fprintf(file, "[%g, %.3f]%s", percent, microseconds(found.latencies_ns.percentile(percent)),
                 percent == curve[std::size(curve) - 1] ? "]}\n" : ", ");
  if (std::fclose(file) != 0) throw std::system_error{errno, std::generic_category(), chosen.json};
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const std::optional<settings> chosen = read_arguments(count, arguments);
    if (!chosen) {
      std::fputs(usage.data(), stdout);
      return 0;
    }
    plan when;
    const results found = roving::run({.shards = chosen->shards}, [&] { return run(*chosen, when); });
    const std::chrono::duration<double> measured = std::max(when.end, found.last_answer) - when.measured_from;
    print(*chosen, found, measured.count());
    if (!chosen->json.empty()) write_json(*chosen, found, measured.count());
    return found.errors == 0 && found.latencies_ns.count() != 0 ? 0 : 1;
  } catch (const bad_arguments& error) {
    std::fprintf(stderr, "load: %s (see load --help)\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "load: %s\n", error.what());
    return 1;
  }
}
