// An echo server by Asio's callbacks: `echo_callbacks [--port N]`, ended by a signal.
#include <array>
#include <cstddef>
#include <memory>
#include <utility>

#include <boost/asio.hpp>

#include "perf/peers/asio/listener.hpp"

namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
using boost::system::error_code;

class connection : public std::enable_shared_from_this<connection> {
 public:
  explicit connection(tcp::socket socket) : socket_{std::move(socket)} {}

  void read() {
    socket_.async_read_some(asio::buffer(buffer_),
                            [self = shared_from_this()](const error_code& error, std::size_t bytes) {
                              if (!error) self->answer(bytes);
                            });
  }

 private:
  void answer(std::size_t bytes) {
    asio::async_write(socket_, asio::buffer(buffer_.data(), bytes),
                      [self = shared_from_this()](const error_code& error, std::size_t) {
                        if (!error) self->read();
                      });
  }

  tcp::socket socket_;
  std::array<char, 4096> buffer_;
};

void accept(tcp::acceptor& acceptor) {
  acceptor.async_accept([&acceptor](const error_code& error, tcp::socket socket) {
    if (!error) {
      socket.set_option(tcp::no_delay{true});
      std::make_shared<connection>(std::move(socket))->read();
    }
    accept(acceptor);
  });
}

}  // namespace

int main(int count, char** arguments) {
  asio::io_context context{1};
  tcp::acceptor acceptor = roving_perf::listen_on(context, roving_perf::port_of(count, arguments));
  accept(acceptor);
  context.run();
}
