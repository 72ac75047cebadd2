// Tested: docs/testing-your-server.md: a fault of a server is found by simulation, made short and replayed; without it
// the server holds.
#include <cstdlib>
#include <string>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

#include "examples/key_value.hpp"
#include "tests/support/catch.hpp"
#include "tests/support/in_a_child.hpp"

namespace sim = roving::sim;
using Catch::Matchers::Contains;

namespace {

// The guide's first version: between get() and set() somebody else may add.
class hasty_store : public key_value::store {
 public:
  long add(const std::string& key, long by) {
    const long sum = get(key).value_or(0) + by;
    set(key, sum);
    return sum;
  }
};

// What the guide calls `ask`.
std::string ask(roving::tcp_stream& stream, key_value::line_reader& answers, const std::string& line) {
  stream.write_all(roving::const_buffer{line + '\n'});
  return answers.next().value_or("the connection ended");
}

// What the guide calls `two_clients`: two that add, and one that looks afterwards.
template <class Store>
void two_clients() {
  roving::tcp_listener listener{{"127.0.0.1", 8080}};
  Store values;
  auto server = roving::spawn([&] { key_value::serve(listener, values); });
  const auto client = [&] {
    auto stream = roving::tcp_stream::connect(listener.local_endpoint());
    key_value::line_reader answers{stream};
    for (int i = 0; i < 3; ++i) ask(stream, answers, "ADD visits 1");
  };
  roving::gather(client, client);
  {
    auto stream = roving::tcp_stream::connect(listener.local_endpoint());
    key_value::line_reader answers{stream};
    const std::string visits = ask(stream, answers, "GET visits");
    if (visits != "6") throw std::runtime_error{"6 visits were counted as " + visits};
  }
  server.cancel();
  server.join();
}

std::string explore_hasty_store() {
  try {
    sim::explore({.seeds = 2000}, two_clients<hasty_store>);
  } catch (const sim::failure& found) {
    return found.what();
  }
  return {};
}

}  // namespace

TEST_CASE("key-value server: the fault is found, made short and replayed", "[sim]") {
  const auto found_with = [](const auto& prepare) {
    return test::in_a_child(
               [&] {
                 prepare();
                 return explore_hasty_store();
               },
               120)
        .how();
  };
  const std::string found = found_with([] { ::unsetenv("ROVING_SIM_SHRINK"); });
  REQUIRE_THAT(found, Contains("6 visits were counted as"));
  const std::size_t shrunken = found.find("shrunken from ");
  REQUIRE(shrunken != std::string::npos);
  CHECK(std::stoul(found.substr(found.find(" choices to ", shrunken) + 12)) < 40);
  if (std::getenv("ROVING_SHOW_FAILURE") != nullptr) std::printf("%s\n", found.c_str());
  const std::size_t begin = found.find("ROVING_SIM_REPLAY='") + 19;
  const std::string replay = found.substr(begin, found.rfind('\'') - begin);
  const std::string again = found_with([&] { ::setenv("ROVING_SIM_REPLAY", replay.c_str(), 1); });
  CHECK_THAT(again, Contains("6 visits were counted as"));
}

TEST_CASE("key-value server: without the fault it holds", "[sim]") {
  CHECK_NOTHROW(sim::explore({.seeds = 300}, two_clients<key_value::store>));
}
