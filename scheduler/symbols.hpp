// Addresses of code as text. What the dynamic linker knows (dladdr) are exported names only, and the bodies of most
// tasks are lambdas; so the symbol tables of the loaded files are read, as a debugger does, when somebody asks.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

namespace roving::detail {

/// Keeps what it has read of files: use one for a report, and let it go.
///
/// Not for a shard in a hurry: it reads files. Thread safety: none.
class symbol_table {
 public:
  symbol_table();
  symbol_table(const symbol_table&) = delete;
  symbol_table& operator=(const symbol_table&) = delete;
  ~symbol_table();

  /// "handle(request&)+0x1f (server+0x12ab4)": the function, if it has a name in its file's symbol table, and the file
  /// with the offset there, as addr2line takes it. No address of memory, so the same program gives the same text.
  [[nodiscard]] const std::string& describe(std::uintptr_t address);

  /// "cache (server)": the thread-local variable at that offset of those of the file in which `address` lies.
  [[nodiscard]] std::string describe_thread_local(std::uintptr_t address, std::uintptr_t offset);

 private:
  struct file;
  [[nodiscard]] file* file_of(std::uintptr_t address);
  [[nodiscard]] std::string text_of(std::uintptr_t address);

  std::vector<std::unique_ptr<file>> files_;
  std::unordered_map<std::uintptr_t, std::string> texts_;
};

}  // namespace roving::detail
