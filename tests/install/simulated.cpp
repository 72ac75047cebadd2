// A user's test by simulation, built against the installed package: an hour of sleep takes no time.
#include <chrono>
#include <cstdio>

#include <roving/roving.hpp>
#include <roving/sim.hpp>

int main() {
  const roving::sim::report done = roving::sim::run({.seed = 7}, [] { roving::sleep_for(std::chrono::hours{1}); });
  std::printf("an hour of virtual time in %llu steps\n", static_cast<unsigned long long>(done.steps));
  return done.time >= std::chrono::hours{1} ? 0 : 1;
}
