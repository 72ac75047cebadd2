// Our streams for Boost.Asio's world: Boost.Beast's HTTP and WebSocket, asio::ssl::stream, Boost.MySQL and what else is
// written for a SyncReadStream and SyncWriteStream runs on tasks as it is, as blocking code.
//
// The only public header that needs Boost, and a slow one to compile: include it in source files.
//
//     roving::asio_stream<roving::tcp_stream> stream{listener.accept()};
//     boost::beast::flat_buffer buffer;
//     boost::beast::http::request<boost::beast::http::string_body> request;
//     boost::beast::http::read(stream, buffer, request);
//
// Some of these libraries ask a stream for an executor although they never run anything on it as long as they are used
// synchronously. They get the one of an io_context that nobody runs, made when it is first asked for. (Asio's
// system_executor was rejected: it starts threads.)
#pragma once

#include <cerrno>
#include <concepts>
#include <cstddef>
#include <memory>
#include <span>
#include <system_error>
#include <type_traits>
#include <utility>

#include <boost/asio/async_result.hpp>
#include <boost/asio/buffer.hpp>
#include <boost/asio/error.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/role.hpp>
#include <boost/system/error_code.hpp>
#include <boost/system/system_error.hpp>

#include <roving/buffer.hpp>
#include <roving/io_error.hpp>
#include <roving/tcp_stream.hpp>

#pragma GCC visibility push(default)

namespace roving {

/// What asio_stream can wrap: reads and writes several buffers at once and reports errors in an error_code.
template <class Stream>
concept vectored_stream = requires(Stream& stream, std::span<const mutable_buffer> into,
                                   std::span<const const_buffer> from, std::error_code& error) {
  { stream.read_some(into, error) } -> std::same_as<std::size_t>;
  { stream.write_some(from, error) } -> std::same_as<std::size_t>;
  stream.shutdown(direction::both, error);
};

/// The same error in Boost's words: errno codes in its system category, the end of a stream as asio's eof.
[[nodiscard]] inline boost::system::error_code to_boost(const std::error_code& error) {
  if (!error) return {};
  if (error == io_errc::end_of_stream) return boost::asio::error::eof;
  if (error.category() == std::system_category() || error.category() == std::generic_category())
    return {error.value(), boost::system::system_category()};
  return error;  // Boost wraps any other category
}

/// A stream of ours as an Asio SyncReadStream and SyncWriteStream.
///
/// `Stream` is tcp_stream or the like, or a reference to one that lives elsewhere.
/// Suspends: read_some() and write_some(), as the stream's do. Errors: as the stream's, as boost::system::error_code;
///   asio::error::eof at the end of the stream. A cancel throws `cancelled`, through the library that called.
/// Thread safety: as the stream's.
/// Asynchronous operations are there for libraries that ask for them when they are compiled; they complete with
///   operation_not_supported, if anybody runs the executor. Deadlines are given around the code (with_timeout), not in
///   the library, whose timeouts only know asynchronous operations.
template <class Stream>
class asio_stream {
 public:
  using next_layer_type = std::remove_reference_t<Stream>;
  using lowest_layer_type = asio_stream;  // for asio::ssl::stream
  using executor_type = boost::asio::io_context::executor_type;

  static_assert(vectored_stream<next_layer_type>);

  /// Takes the stream, or binds to it where `Stream` is a reference.
  explicit asio_stream(Stream stream) noexcept : stream_{std::forward<Stream>(stream)} {}

  /// The same with an io_context to hand out, which must outlive this.
  asio_stream(Stream stream, boost::asio::io_context& context) noexcept
      : stream_{std::forward<Stream>(stream)}, context_{&context} {}

  asio_stream(asio_stream&&) noexcept = default;
  asio_stream& operator=(asio_stream&&) noexcept = default;

  [[nodiscard]] next_layer_type& next_layer() noexcept { return stream_; }
  [[nodiscard]] const next_layer_type& next_layer() const noexcept { return stream_; }
  [[nodiscard]] lowest_layer_type& lowest_layer() noexcept { return *this; }
  [[nodiscard]] const lowest_layer_type& lowest_layer() const noexcept { return *this; }

  /// Of an io_context that nobody runs. The first call allocates it, and needs the stream to itself.
  [[nodiscard]] executor_type get_executor() noexcept {
    if (context_ == nullptr) {
      own_context_ = std::make_unique<boost::asio::io_context>(1);
      context_ = own_context_.get();
    }
    return context_->get_executor();
  }

  template <class MutableBufferSequence>
  std::size_t read_some(const MutableBufferSequence& into, boost::system::error_code& error) {
    const buffers<mutable_buffer, boost::asio::mutable_buffer> all{into};
    std::error_code own;
    const std::size_t bytes = next_layer().read_some(all.span(), own);
    error = to_boost(own);
    if (bytes == 0 && !error && !all.span().empty()) error = boost::asio::error::eof;
    return bytes;
  }

  template <class MutableBufferSequence>
  std::size_t read_some(const MutableBufferSequence& into) {
    boost::system::error_code error;
    const std::size_t bytes = read_some(into, error);
    if (error) throw boost::system::system_error{error, "asio_stream::read_some"};
    return bytes;
  }

  template <class ConstBufferSequence>
  std::size_t write_some(const ConstBufferSequence& from, boost::system::error_code& error) {
    const buffers<const_buffer, boost::asio::const_buffer> all{from};
    std::error_code own;
    const std::size_t bytes = next_layer().write_some(all.span(), own);
    error = to_boost(own);
    return bytes;
  }

  template <class ConstBufferSequence>
  std::size_t write_some(const ConstBufferSequence& from) {
    boost::system::error_code error;
    const std::size_t bytes = write_some(from, error);
    if (error) throw boost::system::system_error{error, "asio_stream::write_some"};
    return bytes;
  }

  /// Completes with operation_not_supported.
  template <class MutableBufferSequence, class Token>
  auto async_read_some(const MutableBufferSequence&, Token&& token) {
    return refuse(std::forward<Token>(token));
  }

  /// Completes with operation_not_supported.
  template <class ConstBufferSequence, class Token>
  auto async_write_some(const ConstBufferSequence&, Token&& token) {
    return refuse(std::forward<Token>(token));
  }

 private:
  // The sequence as our own buffers, without empty ones, as many as go into one call.
  template <class Own, class Theirs>
  class buffers {
   public:
    template <class Sequence>
    explicit buffers(const Sequence& from) noexcept {
      const auto end = boost::asio::buffer_sequence_end(from);
      for (auto each = boost::asio::buffer_sequence_begin(from); each != end && count_ < most; ++each) {
        const Theirs buffer{*each};
        if (buffer.size() != 0) all_[count_++] = Own{buffer.data(), buffer.size()};
      }
    }
    [[nodiscard]] std::span<const Own> span() const noexcept { return {all_, count_}; }

   private:
    static constexpr std::size_t most = 16;
    Own all_[most];
    std::size_t count_ = 0;
  };

  template <class Token>
  auto refuse(Token&& token) {
    return boost::asio::async_initiate<Token, void(boost::system::error_code, std::size_t)>(
        [executor = get_executor()](auto handler) {
          boost::asio::post(executor, [handler = std::move(handler)]() mutable {
            std::move(handler)(boost::system::error_code{boost::asio::error::operation_not_supported}, std::size_t{0});
          });
        },
        token);
  }

  Stream stream_;
  std::unique_ptr<boost::asio::io_context> own_context_;
  boost::asio::io_context* context_ = nullptr;
};

/// Ends the connection below a WebSocket; Beast finds it by its argument. Does not suspend.
template <class Stream>
void teardown(boost::beast::role_type, asio_stream<Stream>& stream, boost::system::error_code& error) {
  std::error_code own;
  stream.next_layer().shutdown(direction::both, own);
  error = to_boost(own);
}

/// Completes with operation_not_supported, as all that is asynchronous.
template <class Stream, class Handler>
void async_teardown(boost::beast::role_type, asio_stream<Stream>& stream, Handler&& handler) {
  boost::asio::post(stream.get_executor(), [handler = std::forward<Handler>(handler)]() mutable {
    std::move(handler)(boost::system::error_code{boost::asio::error::operation_not_supported});
  });
}

}  // namespace roving

#pragma GCC visibility pop
