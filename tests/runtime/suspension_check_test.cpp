// Tested: debug mode's search for addresses of thread-local variables in roving tasks that suspend.
#include <string>
#include <vector>

#include <roving/roving.hpp>

#include "tests/support/broken_contracts.hpp"
#include "tests/support/catch.hpp"

using Catch::Matchers::Contains;

namespace {

thread_local int cache_of_this_thread[16];

// Keeps the address in the frame of who calls `f`, as a reference would. Not on a fake stack, where nobody searches.
template <class Function>
[[gnu::noinline, gnu::no_sanitize_address]] void with_its_address(Function&& f) {
  int* volatile place = &cache_of_this_thread[3];
  f();
  *place = 1;
}

std::vector<std::string> told_of(roving::placement where, bool scan, const std::function<void()>& body) {
  std::vector<std::string> all;
  roving::run({.shards = 1,
               .on_unhandled = roving_test::note_broken_contracts(all),
               .debug = true,
               .debug_thread_local_scan = scan},
              [&] {
                roving::spawn(roving::attributes{.placement = where, .name = "rover"}, [&] {
                  roving::yield();
                  body();
                }).join();
              });
  return all;
}

}  // namespace

TEST_CASE("suspension check: a roving task that keeps the address of a thread-local is told, once", "[runtime]") {
  if (ROVING_TEST_FAKE_STACKS) return;  // frames are elsewhere then, where nobody searches
  const auto all = told_of(roving::anywhere, true, [] {
    with_its_address([] {
      roving::yield();
      roving::yield();
    });
  });
  REQUIRE(all.size() == 1);
  CHECK_THAT(all[0],
             Contains("rover: it suspends in yield and may have the address of a thread-local variable") &&
                 Contains("cache_of_this_thread"));
}

TEST_CASE("suspension check: a pinned task may keep it, and who did not ask is told nothing", "[runtime]") {
  const auto keep = [] { with_its_address([] { roving::yield(); }); };
  CHECK(told_of(roving::here, true, keep).empty());
  CHECK(told_of(roving::anywhere, false, keep).empty());
}
