// What all pollers share.
#include "io/poller.hpp"

#include <utility>

#include "scheduler/current.hpp"

namespace roving::detail {

registration poller::enroll(int fd, interest what, std::error_code& error) {
  struct unused {
    descriptor* state;
    ~unused() {
      if (state == nullptr) return;
      ready_list nobody;
      descriptor_table::end_generation(*state, state->generation(), nobody);
      descriptor_table::release(*state);
    }
  } taken{&table_->acquire()};
  error = table_->add_to_poller(*taken.state, fd, what);
  if (error) return {};
  descriptor& state = *std::exchange(taken.state, nullptr);
  return {&state, state.generation()};
}

void withdraw(registration from, int fd, const system_calls* calls) noexcept {
  ready_list wakes;
  descriptor_table::end_generation(*from.state, from.generation, wakes);
  descriptor_table::remove_from_poller(*from.state, fd);
  if (calls != nullptr) calls->close(fd);
  descriptor_table::release(*from.state);
  make_ready(wakes);
}

poller& current_poller(const char* call) {
  return static_cast<poller&>(current_parker(call));  // runtime/ plugs in nothing else
}

}  // namespace roving::detail
