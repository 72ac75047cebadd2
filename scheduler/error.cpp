// The texts of what roving throws.
#include <roving/error.hpp>

#include <string>

namespace roving {

not_in_task::not_in_task(std::string_view call)
    : broken_contract{
          std::string{call} +
          ": nothing can be suspended here. Call it in a task (roving::run, roving::spawn); a posted callback "
          "or a plain thread can spawn one, or submit() it to a runtime"} {}

no_shard::no_shard(std::string_view call)
    : broken_contract{std::string{call} +
                      ": the calling thread is not a shard of a runtime. Call it inside roving::run, or use "
                      "runtime::submit() from a plain thread"} {}

runtime_closed::runtime_closed(std::string_view call)
    : std::runtime_error{std::string{call} + ": the runtime is closed and takes no more work"} {}

}  // namespace roving
