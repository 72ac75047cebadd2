// A handler of unhandled errors that keeps what is told of broken contracts, as "task: what".
#pragma once

#include <exception>
#include <string>
#include <vector>

#include <roving/error.hpp>
#include <roving/unhandled.hpp>

namespace roving_test {

inline roving::unhandled_handler note_broken_contracts(std::vector<std::string>& all) {
  return [&all](const roving::unhandled& what) {
    try {
      std::rethrow_exception(what.error);
    } catch (const roving::broken_contract& error) {
      all.push_back(what.task + ": " + error.what());
    }
  };
}

}  // namespace roving_test
