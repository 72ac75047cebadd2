// Small programs that use one lock-free type each as the library does, for the explorer. Each is named after the type
// and says which of the pairs of memory orders it shows that the file of the type names.
#pragma once

#include <vector>

#include "tests/explorer/explorer.hpp"

namespace roving_test {

struct explored_scenario {
  const char* name;
  const char* shows;  // the tags in the comment of the type's file
  make_scenario make;
  exploration_options options;
};

[[nodiscard]] const std::vector<explored_scenario>& explored_scenarios();

}  // namespace roving_test
