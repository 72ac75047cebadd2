// Tested: what all kernel queues share, over one that only counts: who asks it, for how long, and how often it is rung.

#include "io/kernel_poller.hpp"

#include <thread>
#include <vector>

#include "tests/support/catch.hpp"

namespace {

using namespace std::chrono_literals;
using roving::detail::ready_list;

class counting_poller final : public roving::detail::kernel_poller {
 public:
  counting_poller() : kernel_poller{roving::detail::real_system_calls()} {}
  ~counting_poller() override { descriptors().orphan(); }

  std::error_code add(int, const roving::detail::descriptor&, roving::detail::interest) noexcept override { return {}; }
  void remove(int) noexcept override {}

  std::vector<std::optional<roving::duration>> asked;
  std::atomic<int> rings{0};
  bool serviced_inside = true;

 protected:
  void ask(std::optional<roving::duration> timeout, ready_list&) noexcept override {
    asked.push_back(timeout);
    ready_list ready;
    serviced_inside = service(ready);
  }
  void ring() noexcept override { ++rings; }
};

}  // namespace

TEST_CASE("kernel_poller: any number of wakes between two waits rings once", "[io][poller]") {
  counting_poller poller;
  std::vector<std::thread> wakers;
  for (int i = 0; i < 4; ++i)
    wakers.emplace_back([&] {
      for (int n = 0; n < 250; ++n) poller.wake();
    });
  for (std::thread& each : wakers) each.join();
  CHECK(poller.rings == 1);

  ready_list ready;
  poller.wait(roving::time_point::max(), ready);
  poller.wake();
  poller.wake();
  CHECK(poller.rings == 2);
}

TEST_CASE("kernel_poller: who was woken does not block, and blocks the next time", "[io][poller]") {
  counting_poller poller;
  ready_list ready;
  poller.wake();
  poller.wait(roving::time_point::max(), ready);
  poller.wait(roving::time_point::max(), ready);
  REQUIRE(poller.asked.size() == 2);
  CHECK(poller.asked[0] == 0ns);
  CHECK(poller.asked[1] == std::nullopt);
}

TEST_CASE("kernel_poller: it blocks for as long as asked, and never when it is polled", "[io][poller]") {
  counting_poller poller;
  ready_list ready;
  poller.poll(ready);
  CHECK(poller.service(ready));
  poller.wait(roving::now() - 1s, ready);
  poller.wait(roving::time_point::min(), ready);
  poller.wait(roving::now() + 1h, ready);
  REQUIRE(poller.asked.size() == 5);
  for (std::size_t i = 0; i < 4; ++i) CHECK(poller.asked[i] == 0ns);
  CHECK(poller.asked[4] <= 1h);
  CHECK(poller.asked[4] > 0ns);
}

TEST_CASE("kernel_poller: one asks at a time", "[io][poller]") {
  counting_poller poller;
  ready_list ready;
  poller.wait(roving::now(), ready);
  CHECK_FALSE(poller.serviced_inside);
  CHECK(poller.asked.size() == 1);
}
