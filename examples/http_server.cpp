// An HTTP/1.1 server: Boost.Beast parses, roving serves. Each connection is a task that reads, answers and writes as if
// the calls blocked.
//
//     GET  /              hello
//     POST /json          parses the body as JSON and sends it back
//     GET  /burn?us=N     computes for N microseconds, on any core that is free
//     GET  /sleep?ms=N    answers after N milliseconds
//     GET  /...           a file under --root
//
// What is worth a look:
// - Beast reads from the class `connection` as from any stream. Before that waits for the network, it writes out the
//   answers that have gathered: one write for each answer, one for many when a client sends several requests at once.
// - Nothing on the way of a small request allocates: buffers are the connection's and are used again.
// - Deadlines cost a request two stores. Each connection notes until when it may wait, in ticks; one task looks at all
//   of them once a tick, and ends what is late.
// - SIGINT or SIGTERM: no more connections, no more requests on idle ones; what is being answered is finished. A second
//   one cancels that too.
// Files are read by the task itself. That holds up its shard when they are not in the page cache.
#include <algorithm>
#include <array>
#include <atomic>
#include <cctype>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <ctime>
#include <exception>
#include <limits>
#include <mutex>
#include <optional>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/status.hpp>
#include <boost/beast/http/verb.hpp>
#include <boost/json/src.hpp>  // Boost.JSON without its library

#include <roving/asio.hpp>
#include <roving/roving.hpp>

namespace {

namespace beast = boost::beast;
namespace http = boost::beast::http;
using boost::system::error_code;

constexpr std::size_t largest_head_bytes = 16 * 1024;
constexpr std::size_t largest_body_bytes = 1024 * 1024;
constexpr std::size_t first_read_bytes = 4 * 1024;
constexpr std::size_t file_piece_bytes = 64 * 1024;

// --- arguments ------------------------------------------------------------------------------------------------------

constexpr std::string_view usage =
    R"(http_server: an HTTP/1.1 server on roving

  --port N                  on 127.0.0.1 (8080; 0: the system chooses)
  --shards N                threads, each with an event loop (one for each core)
  --accept one|every        shard 0 accepts, or every shard has a listening socket (one)
  --handlers pinned|anywhere  a connection stays where it was accepted, or idle shards may take it over (anywhere)
  --root DIR                serves the files in it (none)
  --timeout S               seconds that a connection may be silent (60)
  --help                    this

  GET /   POST /json   GET /burn?us=N   GET /sleep?ms=N   GET /path/to/a/file
)";

struct settings {
  std::uint16_t port = 8080;
  std::optional<unsigned> shards;
  bool accepts_on_every_shard = false;
  bool handlers_rove = true;
  std::string root;
  unsigned timeout_s = 60;
};

class bad_arguments : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <class Number>
std::optional<Number> read_number(std::string_view text, Number least, Number most) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || value < least || value > most) return std::nullopt;
  return value;
}

// Nothing when there was --help.
std::optional<settings> read_arguments(int count, char** arguments) {
  settings read;
  for (int i = 1; i < count; ++i) {
    const std::string option = arguments[i];
    if (option == "--help" || option == "-h") return std::nullopt;
    const auto value = [&]() -> std::string_view {
      if (++i >= count) throw bad_arguments{option + " wants a value"};
      return arguments[i];
    };
    const auto number = [&]<class Number>(Number least, Number most) -> Number {
      const std::string_view text = value();
      if (const auto found = read_number<Number>(text, least, most)) return *found;
      throw bad_arguments{option + " wants a number from " + std::to_string(least) + " to " + std::to_string(most) +
                          ", not \"" + std::string{text} + "\""};
    };
    const auto first_of = [&](std::string_view first, std::string_view second) -> bool {
      const std::string_view text = value();
      if (text != first && text != second)
        throw bad_arguments{option + " wants " + std::string{first} + " or " + std::string{second} + ", not \"" +
                            std::string{text} + "\""};
      return text == first;
    };
    if (option == "--port")
      read.port = number(std::uint16_t{0}, std::numeric_limits<std::uint16_t>::max());
    else if (option == "--shards")
      read.shards = number(1U, 1024U);
    else if (option == "--accept")
      read.accepts_on_every_shard = first_of("every", "one");
    else if (option == "--handlers")
      read.handlers_rove = first_of("anywhere", "pinned");
    else if (option == "--root")
      read.root = value();
    else if (option == "--timeout")
      read.timeout_s = number(1U, 86'400U);
    else
      throw bad_arguments{"there is no option " + option};
  }
  return read;
}

// --- files ----------------------------------------------------------------------------------------------------------

class file {
 public:
  explicit file(int fd) noexcept : fd_{fd} {}
  file(file&& from) noexcept : fd_{std::exchange(from.fd_, -1)} {}
  file& operator=(file&& from) noexcept {
    std::swap(fd_, from.fd_);
    return *this;
  }
  ~file() {
    if (fd_ >= 0) ::close(fd_);
  }
  [[nodiscard]] int fd() const noexcept { return fd_; }
  [[nodiscard]] bool is_open() const noexcept { return fd_ >= 0; }

 private:
  int fd_;
};

// Files below a folder, and none outside it: paths are walked name by name, ".." is no name, links are not followed.
class folder {
 public:
  explicit folder(const std::string& path) : root_{-1} {
    if (path.empty()) return;
    root_ = file{::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC)};
    if (!root_.is_open()) throw std::system_error{errno, std::generic_category(), "--root " + path};
  }

  struct found {
    file content;
    std::uint64_t size_bytes;
  };

  // A folder stands for the index.html in it.
  [[nodiscard]] std::optional<found> find(std::string_view path) const {
    if (!root_.is_open()) return std::nullopt;
    file at{-1};
    std::string name;
    while (!path.empty()) {
      const std::size_t slash = std::min(path.find('/'), path.size());
      name = path.substr(0, slash);
      path.remove_prefix(std::min(slash + 1, path.size()));
      if (name.empty()) continue;
      if (name == "." || name == "..") return std::nullopt;
      at = open_in(at, name);
      if (!at.is_open()) return std::nullopt;
    }
    struct stat about {};
    if (at.is_open() && ::fstat(at.fd(), &about) != 0) return std::nullopt;
    if (!at.is_open() || S_ISDIR(about.st_mode)) {
      at = open_in(at, "index.html");
      if (!at.is_open() || ::fstat(at.fd(), &about) != 0) return std::nullopt;
    }
    if (!S_ISREG(about.st_mode)) return std::nullopt;
    return found{std::move(at), static_cast<std::uint64_t>(about.st_size)};
  }

 private:
  [[nodiscard]] file open_in(const file& where, const std::string& name) const {
    // O_NONBLOCK: opening a named pipe does not wait for its other end.
    return file{::openat(where.is_open() ? where.fd() : root_.fd(), name.c_str(),
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)};
  }

  file root_;
};

std::string_view content_type_of(std::string_view path) {
  constexpr std::pair<std::string_view, std::string_view> types[] = {
      {".html", "text/html; charset=utf-8"},
      {".css", "text/css; charset=utf-8"},
      {".js", "text/javascript"},
      {".json", "application/json"},
      {".md", "text/markdown; charset=utf-8"},
      {".txt", "text/plain; charset=utf-8"},
      {".svg", "image/svg+xml"},
      {".png", "image/png"},
      {".jpg", "image/jpeg"},
      {".jpeg", "image/jpeg"},
      {".gif", "image/gif"},
      {".webp", "image/webp"},
      {".ico", "image/x-icon"},
      {".pdf", "application/pdf"},
      {".xml", "application/xml"},
      {".wasm", "application/wasm"},
  };
  if (path.ends_with('/')) path = "index.html";
  for (const auto& [ending, type] : types)
    if (path.ends_with(ending)) return type;
  return "application/octet-stream";
}

// --- what all connections share -------------------------------------------------------------------------------------

class connection;

class site {
 public:
  explicit site(const settings& chosen) : files{chosen.root}, timeout_ticks{chosen.timeout_s} {}

  const folder files;
  const std::uint32_t timeout_ticks;

  // Seconds since the start, about.
  [[nodiscard]] std::uint32_t tick() const noexcept { return tick_.load(std::memory_order_relaxed); }
  [[nodiscard]] bool is_stopping() const noexcept { return stopping_.load(std::memory_order_seq_cst); }

  void add(connection& each);
  void remove(connection& each) noexcept;

  // Lets a tick pass and ends connections that are late.
  void let_a_tick_pass();

  // Wakes those who wait for a request, for the last time.
  void stop();

 private:
  std::atomic<std::uint32_t> tick_{0};
  std::atomic<bool> stopping_{false};
  std::mutex connections_lock_;  // held for short, and never across a suspension
  std::vector<connection*> connections_;
};

// --- requests -------------------------------------------------------------------------------------------------------

// What the routes want to know. Used for one request after another.
struct request {
  http::verb method{};
  std::string target;
  std::string body;
  unsigned version = 0;  // 11 for HTTP/1.1
  bool has_host = false;
  bool expects_continue = false;

  void clear() noexcept {
    target.clear();
    body.clear();
    has_host = expects_continue = false;
  }
};

// Fills a request. Beast's own request_parser keeps all fields, at an allocation for each.
class request_reader final : public http::basic_parser<true> {
 public:
  explicit request_reader(request& into) : into_{into} {
    into_.clear();
    header_limit(largest_head_bytes);
    body_limit(largest_body_bytes);
  }

 private:
  using text = beast::string_view;

  void on_request_impl(http::verb method, text, text target, int version, error_code&) override {
    into_.method = method;
    into_.target.assign(target.data(), target.size());
    into_.version = static_cast<unsigned>(version);
  }
  void on_field_impl(http::field name, text, text value, error_code&) override {
    if (name == http::field::host) into_.has_host = true;
    if (name == http::field::expect) into_.expects_continue = beast::iequals(value, "100-continue");
  }
  void on_body_init_impl(const boost::optional<std::uint64_t>& length, error_code&) override {
    if (length) into_.body.reserve(static_cast<std::size_t>(*length));  // within body_limit
  }
  std::size_t on_body_impl(text piece, error_code&) override {
    into_.body.append(piece.data(), piece.size());
    return piece.size();
  }
  std::size_t on_chunk_body_impl(std::uint64_t, text piece, error_code&) override {
    into_.body.append(piece.data(), piece.size());
    return piece.size();
  }
  void on_response_impl(int, text, int, error_code&) override {}
  void on_header_impl(error_code&) override {}
  void on_chunk_header_impl(std::uint64_t, text, error_code&) override {}
  void on_finish_impl(error_code&) override {}

  request& into_;
};

// "/a%20b" as "/a b". Nothing if it is no such thing.
std::optional<std::string> percent_decoded(std::string_view text) {
  std::string decoded;
  for (std::size_t i = 0; i < text.size(); ++i) {
    char c = text[i];
    if (c == '%') {
      unsigned value = 0;
      const std::string_view digits = text.substr(i + 1, 2);
      const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
      if (digits.size() != 2 || error != std::errc{} || end != digits.data() + 2) return std::nullopt;
      c = static_cast<char>(value);
      i += 2;
    }
    if (c == '\0') return std::nullopt;
    decoded += c;
  }
  return decoded;
}

// The number that a query "a=1&b=2" gives for a name.
std::optional<std::int64_t> number_in(std::string_view query, std::string_view name, std::int64_t most) {
  while (!query.empty()) {
    const std::string_view part = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(part.size() + 1, query.size()));
    if (part.starts_with(name) && part.substr(name.size()).starts_with('='))
      return read_number<std::int64_t>(part.substr(name.size() + 1), 0, most);
  }
  return std::nullopt;
}

void burn(roving::duration span) {
  const roving::time_point end = roving::now() + span;
  while (roving::now() < end) {
  }
}

// The value of the field Date, which changes once a second.
class http_date {
 public:
  std::string_view now() {
    const std::time_t second = std::time(nullptr);
    if (second != second_) {
      second_ = second;
      std::tm parts{};
      ::gmtime_r(&second, &parts);
      size_ = std::strftime(text_.data(), text_.size(), "%a, %d %b %Y %H:%M:%S GMT", &parts);
    }
    return {text_.data(), size_};
  }

 private:
  std::time_t second_ = 0;
  std::size_t size_ = 0;
  std::array<char, 32> text_{};
};

// --- a connection ---------------------------------------------------------------------------------------------------

class connection {
 public:
  connection(site& shared, roving::tcp_stream stream) : site_{shared}, stream_{std::move(stream)} {
    buffer_.reserve(first_read_bytes);
    site_.add(*this);
  }
  connection(const connection&) = delete;
  connection& operator=(const connection&) = delete;
  ~connection() { site_.remove(*this); }

  // Answers requests until there are no more.
  void run() {
    error_code error;
    bool goes_on = true;
    for (unsigned turn = 1; goes_on; ++turn) {
      if (!await_request(error)) return;
      goes_on = answer_next(error);
      if (turn % 64 == 0) roving::yield();  // who sends without a pause must not keep the shard for himself
    }
    if (error) return;  // the connection is broken
    flush(error);
    if (!error) linger();
  }

  // For Beast: a SyncReadStream.
  template <class Buffers>
  std::size_t read_some(const Buffers& into, error_code& error) {
    flush(error);
    return error ? 0 : stream_.read_some(into, error);
  }
  template <class Buffers>
  std::size_t read_some(const Buffers& into) {
    error_code error;
    const std::size_t bytes = read_some(into, error);
    if (error) throw boost::system::system_error{error};
    return bytes;
  }

  // For the site, from any shard.
  [[nodiscard]] bool is_late(std::uint32_t tick) const noexcept {
    return deadline_.load(std::memory_order_relaxed) < tick;
  }
  [[nodiscard]] bool is_idle() const noexcept { return is_idle_.load(std::memory_order_seq_cst); }
  void shut(roving::direction way) noexcept {
    std::error_code ignored;  // it has ended by itself
    stream_.next_layer().shutdown(way, ignored);
  }

  std::size_t place_in_site = 0;

 private:
  static constexpr std::uint32_t never = std::numeric_limits<std::uint32_t>::max();

  void may_take_until(std::uint32_t tick) noexcept { deadline_.store(tick, std::memory_order_relaxed); }
  void may_take_the_timeout() noexcept { may_take_until(site_.tick() + site_.timeout_ticks); }

  // Waits until something of the next request is there. False when the client is done, or we are.
  bool await_request(error_code& error) {
    may_take_the_timeout();
    if (buffer_.size() != 0) return true;
    is_idle_.store(true, std::memory_order_seq_cst);
    // Either stop() sees that we wait, or we see that it was called. What came before may still be read.
    if (site_.is_stopping()) shut(roving::direction::read);
    flush(error);
    if (error) return false;
    std::error_code own;
    const auto room = buffer_.prepare(first_read_bytes);
    const std::size_t bytes = stream_.next_layer().read_some(roving::mutable_buffer{room.data(), room.size()}, own);
    is_idle_.store(false, std::memory_order_seq_cst);
    buffer_.commit(bytes);
    return bytes != 0;
  }

  // False when the connection is to be closed after what was answered.
  bool answer_next(error_code& error) {
    request_reader reader{request_};
    http::read_header(*this, buffer_, reader, error);
    if (!error && request_.expects_continue && !reader.is_done()) out_ += "HTTP/1.1 100 Continue\r\n\r\n";
    if (!error && !reader.is_done()) http::read(*this, buffer_, reader, error);
    if (error) return refuse(error);
    keeps_alive_ = reader.keep_alive();
    if (request_.version >= 11 && !request_.has_host)
      return refuse(http::status::bad_request, "a request needs a Host\n");
    answer(error);
    return keeps_alive_ && !error;
  }

  // A request that can't be understood; nobody knows where the next one would begin. Always false.
  bool refuse(error_code& error) {
    static const boost::system::error_category& of_http = error_code{http::error::bad_method}.category();
    if (error == http::error::end_of_stream || error == http::error::partial_message) {
      error.clear();
      return false;
    }
    if (error.category() != of_http) return false;
    const bool body_is_large = error == http::error::body_limit;
    const bool head_is_large = error == http::error::header_limit || error == http::error::buffer_overflow;
    const std::string reason = error.message() + "\n";
    error.clear();
    http::status status = http::status::bad_request;
    if (body_is_large) status = http::status::payload_too_large;
    if (head_is_large) status = http::status::request_header_fields_too_large;
    return refuse(status, reason);
  }
  bool refuse(http::status status, std::string_view reason) {
    keeps_alive_ = false;
    request_.method = http::verb::get;  // so that the reason is sent
    send(status, "text/plain", reason);
    return false;
  }

  // --- routes

  void answer(error_code& error) {
    std::string_view path = request_.target;
    if (path.starts_with("http://")) {  // clients may name the host here too
      path.remove_prefix(7);
      path.remove_prefix(std::min(path.find('/'), path.size()));
      if (path.empty()) path = "/";
    }
    std::string_view query;
    if (const std::size_t mark = path.find('?'); mark != std::string_view::npos) {
      query = path.substr(mark + 1);
      path = path.substr(0, mark);
    }

    if (path == "/json") {
      if (allows({http::verb::post}, "POST")) answer_json();
      return;
    }
    if (!allows({http::verb::get, http::verb::head}, "GET, HEAD")) return;
    if (path == "/")
      send(http::status::ok, "text/plain", "Hello, world!\n");
    else if (path == "/burn")
      answer_burn(query, error);
    else if (path == "/sleep")
      answer_sleep(query, error);
    else if (path.starts_with('/'))
      answer_file(path, error);
    else
      send(http::status::bad_request, "text/plain", "a path begins with /\n");
  }

  bool allows(std::initializer_list<http::verb> methods, std::string_view names) {
    if (std::find(methods.begin(), methods.end(), request_.method) != methods.end()) return true;
    send(http::status::method_not_allowed, "text/plain", "this path does not know that method\n", names);
    return false;
  }

  void answer_json() {
    error_code error;
    const boost::json::value value = boost::json::parse({request_.body.data(), request_.body.size()}, error);
    if (error)
      send(http::status::bad_request, "text/plain", "no JSON: " + error.message() + "\n");
    else
      send(http::status::ok, "application/json", boost::json::serialize(value));
  }

  void answer_burn(std::string_view query, error_code& error) {
    const auto us = number_in(query, "us", 10'000'000);
    if (!us) return send(http::status::bad_request, "text/plain", "us=N is wanted, at most 10000000\n");
    flush(error);  // earlier answers don't wait for this one
    if (error) return;
    may_take_until(never);
    const auto work = [span = std::chrono::microseconds{*us}] { burn(span); };
    if (roving::this_task::is_roving())
      work();
    else
      roving::spawn(roving::anywhere, work).get();  // pinned connections of this shard go on meanwhile
    send(http::status::ok, "text/plain", "burnt\n");
  }

  void answer_sleep(std::string_view query, error_code& error) {
    const auto ms = number_in(query, "ms", 600'000);
    if (!ms) return send(http::status::bad_request, "text/plain", "ms=N is wanted, at most 600000\n");
    flush(error);
    if (error) return;
    may_take_until(never);
    roving::sleep_for(std::chrono::milliseconds{*ms});
    send(http::status::ok, "text/plain", "slept\n");
  }

  void answer_file(std::string_view path, error_code& error) {
    const std::optional<std::string> decoded = percent_decoded(path);
    if (!decoded) return send(http::status::bad_request, "text/plain", "this is no path\n");
    const std::optional<folder::found> found = site_.files.find(*decoded);
    if (!found) return send(http::status::not_found, "text/plain", "there is nothing here\n");
    begin(http::status::ok, content_type_of(*decoded), found->size_bytes);
    if (request_.method == http::verb::head) return;
    for (std::uint64_t left = found->size_bytes; left != 0;) {
      if (out_.size() >= file_piece_bytes) {
        flush(error);
        if (error) return;
      }
      const std::size_t old_size = out_.size();
      out_.resize(old_size + static_cast<std::size_t>(std::min<std::uint64_t>(left, file_piece_bytes)));
      const ssize_t bytes = ::read(found->content.fd(), out_.data() + old_size, out_.size() - old_size);
      out_.resize(old_size + static_cast<std::size_t>(std::max<ssize_t>(bytes, 0)));
      if (bytes < 0 && errno == EINTR) continue;
      if (bytes <= 0) {  // it has shrunk: less comes than was promised, so the client must see an end
        keeps_alive_ = false;
        return;
      }
      left -= static_cast<std::uint64_t>(bytes);
    }
  }

  // --- answers

  void begin(http::status status, std::string_view content_type, std::uint64_t size_bytes,
             std::string_view allowed_methods = {}) {
    if (site_.is_stopping()) keeps_alive_ = false;
    std::array<char, 24> digits;
    const auto append_number = [&](std::uint64_t number) {
      out_.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), number).ptr);
    };
    const beast::string_view reason = http::obsolete_reason(status);
    out_ += "HTTP/1.1 ";
    append_number(static_cast<std::uint64_t>(status));
    out_ += ' ';
    out_.append(reason.data(), reason.size());
    out_ += "\r\nServer: roving\r\nDate: ";
    out_ += date_.now();
    out_ += "\r\nContent-Type: ";
    out_ += content_type;
    out_ += "\r\nContent-Length: ";
    append_number(size_bytes);
    if (!allowed_methods.empty()) (out_ += "\r\nAllow: ") += allowed_methods;
    if (!keeps_alive_)
      out_ += "\r\nConnection: close";
    else if (request_.version < 11)
      out_ += "\r\nConnection: keep-alive";
    out_ += "\r\n\r\n";
  }

  void send(http::status status, std::string_view content_type, std::string_view body,
            std::string_view allowed_methods = {}) {
    begin(status, content_type, body.size(), allowed_methods);
    if (request_.method != http::verb::head) out_ += body;
  }

  void flush(error_code& error) {
    error.clear();
    if (out_.empty()) return;
    may_take_the_timeout();
    std::error_code own;
    stream_.next_layer().write_all(out_, own);
    error = roving::to_boost(own);
    out_.clear();
  }

  // Closing at once would reset the connection if the client still sends, and with it what it has yet to read.
  void linger() {
    may_take_until(site_.tick() + std::min<std::uint32_t>(site_.timeout_ticks, 5));
    shut(roving::direction::write);
    std::error_code error;
    std::size_t left = 16 * largest_body_bytes;
    while (left != 0) {
      const roving::mutable_buffer discarded{buffer_.prepare(first_read_bytes).data(), first_read_bytes};
      const std::size_t bytes = stream_.next_layer().read_some(discarded, error);
      if (bytes == 0) return;
      left -= std::min(left, bytes);
    }
  }

  site& site_;
  roving::asio_stream<roving::tcp_stream> stream_;
  beast::flat_buffer buffer_{largest_head_bytes + file_piece_bytes};  // came, and was not looked at yet
  std::string out_;                                                   // answers that are not sent yet
  request request_;
  http_date date_;
  bool keeps_alive_ = false;
  std::atomic<bool> is_idle_{false};
  std::atomic<std::uint32_t> deadline_{never};
};

void site::add(connection& each) {
  const std::lock_guard guard{connections_lock_};
  each.place_in_site = connections_.size();
  connections_.push_back(&each);
}

void site::remove(connection& each) noexcept {
  const std::lock_guard guard{connections_lock_};
  connections_.back()->place_in_site = each.place_in_site;
  connections_[each.place_in_site] = connections_.back();
  connections_.pop_back();
}

void site::let_a_tick_pass() {
  const std::uint32_t now = tick_.fetch_add(1, std::memory_order_relaxed) + 1;
  const std::lock_guard guard{connections_lock_};
  for (connection* const each : connections_)
    if (each->is_late(now)) each->shut(roving::direction::both);
}

void site::stop() {
  stopping_.store(true, std::memory_order_seq_cst);
  const std::lock_guard guard{connections_lock_};
  for (connection* const each : connections_)
    if (each->is_idle()) each->shut(roving::direction::read);
}

// --- signals --------------------------------------------------------------------------------------------------------

// SIGINT and SIGTERM as bytes in a pipe, which a task can wait for. The library has no words for signals yet.
class signal_pipe {
 public:
  signal_pipe() {
    if (::pipe(ends_.data()) != 0) throw std::system_error{errno, std::generic_category(), "pipe"};
    for (const int end : ends_) {
      ::fcntl(end, F_SETFL, O_NONBLOCK);
      ::fcntl(end, F_SETFD, FD_CLOEXEC);
    }
    written_by_handler = ends_[1];
    struct sigaction action {};
    action.sa_handler = [](int) {
      const int saved = errno;
      static_cast<void>(::write(written_by_handler, "!", 1) + 1);  // a full pipe says as much
      errno = saved;
    };
    action.sa_flags = SA_RESTART;
    ::sigaction(SIGINT, &action, nullptr);
    ::sigaction(SIGTERM, &action, nullptr);
  }
  signal_pipe(const signal_pipe&) = delete;
  signal_pipe& operator=(const signal_pipe&) = delete;
  ~signal_pipe() {
    ::signal(SIGINT, SIG_DFL);
    ::signal(SIGTERM, SIG_DFL);
    for (const int end : ends_) ::close(end);
  }

  // Suspends until there is a signal.
  void await() const {
    char byte = 0;
    while (::read(ends_[0], &byte, 1) != 1) roving::wait_readable(ends_[0]);
  }

 private:
  static inline int written_by_handler = -1;  // a handler has no other way to know
  std::array<int, 2> ends_{-1, -1};
};

// --- the whole ------------------------------------------------------------------------------------------------------

void serve(const settings& chosen, site& shared, const signal_pipe& signals) {
  roving::listen_options listening;
  listening.reuse_port = chosen.accepts_on_every_shard;
  roving::tcp_listener listener{{"127.0.0.1", chosen.port}, listening};
  std::printf("listening on %s\n", listener.local_endpoint().to_string().c_str());
  std::fflush(stdout);

  roving::serve_options how;
  how.accept = chosen.accepts_on_every_shard ? roving::every_shard : roving::accepting::calling_shard;
  how.handlers = chosen.handlers_rove ? roving::anywhere : roving::pinned;
  const auto server = roving::spawn([&] {
    roving::serve(listener, how, [&shared](roving::tcp_stream stream) {
      connection each{shared, std::move(stream)};
      each.run();
    });
  });
  const auto sweeper = roving::spawn([&shared] {
    for (;;) {
      roving::sleep_for(std::chrono::seconds{1});
      shared.let_a_tick_pass();
    }
  });
  const auto stopper = roving::spawn([&] {
    signals.await();
    std::fputs("stopping: what is being answered is finished\n", stderr);
    server.cancel();
    shared.stop();
    signals.await();
    std::fputs("stopping at once\n", stderr);
    server.cancel();
  });
  server.join();
  if (!server.cancelled()) server.get();  // it failed
}

void print(const std::vector<roving::shard_counters>& counters) {
  std::printf("%-6s%12s%12s%12s%12s%12s%12s%12s\n", "shard", "tasks run", "slices", "stolen", "serviced", "polls",
              "sleeps", "wakes");
  for (std::size_t shard = 0; shard < counters.size(); ++shard) {
    const roving::shard_counters& each = counters[shard];
    std::printf("%-6zu", shard);
    for (const std::uint64_t count :
         {each.finished, each.slices, each.stolen, each.serviced, each.polls, each.sleeps, each.wakes})
      std::printf("%12llu", static_cast<unsigned long long>(count));
    std::printf("\n");
  }
}

}  // namespace

int main(int count, char** arguments) {
  try {
    const std::optional<settings> chosen = read_arguments(count, arguments);
    if (!chosen) {
      std::fputs(usage.data(), stdout);
      return 0;
    }
    const signal_pipe signals;
    site shared{*chosen};
    roving::runtime runtime{{.shards = chosen->shards}};
    runtime.run([&] { serve(*chosen, shared, signals); });
    print(runtime.counters());
    return 0;
  } catch (const bad_arguments& error) {
    std::fprintf(stderr, "http_server: %s (see http_server --help)\n", error.what());
    return 2;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "http_server: %s\n", error.what());
    return 1;
  }
}
