// See symbols.hpp. Whatever a file has to say is checked before it is used: it may have been replaced since the process
// began.
#include "scheduler/symbols.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string_view>

#include <cxxabi.h>

#if defined(__ELF__) && defined(__LP64__)
#  include <link.h>
#endif

namespace roving::detail {

struct symbol_table::file {
  struct symbol {
    std::uint64_t begin;
    std::uint64_t size_bytes;
    std::uint32_t name;  // in names
  };
  std::string path;  // empty: what is mapped and is no file
  std::string shown;
  std::uintptr_t base = 0;
  std::uintptr_t begin = 0;
  std::uintptr_t end = 0;
  std::vector<symbol> symbols;        // functions, by address
  std::vector<symbol> thread_locals;  // in no order; `begin` is the offset
  std::string names;

  void read();
};

symbol_table::symbol_table() = default;
symbol_table::~symbol_table() = default;

namespace {

std::string hexadecimal(std::uint64_t value) {
  char text[24];
  std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
  return text;
}

std::string readable(const char* name) {
  int status = 0;
  char* const text = abi::__cxa_demangle(name, nullptr, nullptr, &status);
  std::string found = status == 0 && text != nullptr ? text : name;
  std::free(text);
  return found;
}

#if defined(__ELF__) && defined(__LP64__)

template <class Value>
bool read_at(std::ifstream& from, std::uint64_t offset, Value* into, std::uint64_t count) {
  from.clear();
  from.seekg(static_cast<std::streamoff>(offset));
  from.read(reinterpret_cast<char*>(into), static_cast<std::streamsize>(count * sizeof(Value)));
  return static_cast<bool>(from);
}

#endif

}  // namespace

#if defined(__ELF__) && defined(__LP64__)

// The whole symbol table, or where it was stripped the one of exported names.
void symbol_table::file::read() {
  std::ifstream from{path, std::ios::binary};
  Elf64_Ehdr head{};
  if (!read_at(from, 0, &head, 1) || std::string_view{reinterpret_cast<const char*>(head.e_ident), SELFMAG} != ELFMAG ||
      head.e_shentsize != sizeof(Elf64_Shdr))
    return;
  std::vector<Elf64_Shdr> sections(head.e_shnum);
  if (sections.empty() || !read_at(from, head.e_shoff, sections.data(), sections.size())) return;
  const auto is_kind = [](std::uint32_t kind) {
    return [kind](const Elf64_Shdr& each) { return each.sh_type == kind; };
  };
  auto table = std::find_if(sections.begin(), sections.end(), is_kind(SHT_SYMTAB));
  if (table == sections.end()) table = std::find_if(sections.begin(), sections.end(), is_kind(SHT_DYNSYM));
  if (table == sections.end() || table->sh_link >= sections.size()) return;

  from.seekg(0, std::ios::end);
  const auto size_of_file = static_cast<std::uint64_t>(from.tellg());
  const Elf64_Shdr& strings = sections[table->sh_link];
  if (table->sh_size > size_of_file || strings.sh_size > size_of_file) return;
  std::vector<Elf64_Sym> all(table->sh_size / sizeof(Elf64_Sym));
  names.resize(strings.sh_size);
  if (!read_at(from, table->sh_offset, all.data(), all.size()) ||
      !read_at(from, strings.sh_offset, names.data(), names.size()))
    return;
  for (const Elf64_Sym& each : all) {
    if (ELF64_ST_TYPE(each.st_info) == STT_TLS && each.st_shndx != SHN_UNDEF && each.st_name < names.size())
      thread_locals.push_back({each.st_value, each.st_size, each.st_name});
    const bool is_function = ELF64_ST_TYPE(each.st_info) == STT_FUNC || ELF64_ST_TYPE(each.st_info) == STT_GNU_IFUNC;
    if (is_function && each.st_shndx != SHN_UNDEF && each.st_size != 0 && each.st_name < names.size())
      symbols.push_back({each.st_value, each.st_size, each.st_name});
  }
  std::sort(symbols.begin(), symbols.end(), [](const symbol& a, const symbol& b) { return a.begin < b.begin; });
}

symbol_table::file* symbol_table::file_of(std::uintptr_t address) {
  for (const auto& each : files_)
    if (address >= each->begin && address < each->end) return each.get();

  struct question {
    std::uintptr_t address;
    file* found;
  };
  auto made = std::make_unique<file>();
  question asked{address, made.get()};
  const auto look = [](dl_phdr_info* loaded, std::size_t, void* argument) -> int {
    auto& of = *static_cast<question*>(argument);
    for (unsigned i = 0; i < loaded->dlpi_phnum; ++i) {
      const auto& part = loaded->dlpi_phdr[i];
      const std::uintptr_t begin = loaded->dlpi_addr + part.p_vaddr;
      if (part.p_type != PT_LOAD || of.address - begin >= part.p_memsz) continue;
      of.found->base = loaded->dlpi_addr;
      of.found->begin = begin;
      of.found->end = begin + part.p_memsz;
      of.found->path = loaded->dlpi_name;
      return 1;
    }
    return 0;
  };
  if (::dl_iterate_phdr(look, &asked) == 0) return nullptr;
  if (made->path.empty()) {  // the program itself
    made->path = "/proc/self/exe";
    made->shown = program_invocation_short_name;
  } else {
    made->shown = made->path.substr(made->path.rfind('/') + 1);
  }
  try {
    made->read();
  } catch (const std::bad_alloc&) {  // a report without names then
    made->symbols.clear();
  }
  files_.push_back(std::move(made));
  return files_.back().get();
}

#else

symbol_table::file* symbol_table::file_of(std::uintptr_t) { return nullptr; }

#endif

const std::string& symbol_table::describe(std::uintptr_t address) {
  const auto [place, is_new] = texts_.try_emplace(address);
  if (is_new) place->second = text_of(address);
  return place->second;
}

std::string symbol_table::text_of(std::uintptr_t address) {
  const file* const in = file_of(address);
  if (in == nullptr) return "?";
  const std::uint64_t offset = address - in->base;
  const std::string place = " (" + in->shown + "+" + hexadecimal(offset) + ")";
  auto after = std::upper_bound(in->symbols.begin(), in->symbols.end(), offset,
                                [](std::uint64_t value, const file::symbol& each) { return value < each.begin; });
  if (after == in->symbols.begin()) return "?" + place;
  const file::symbol& symbol = *--after;
  if (offset - symbol.begin >= symbol.size_bytes) return "?" + place;
  return readable(in->names.c_str() + symbol.name) + "+" + hexadecimal(offset - symbol.begin) + place;
}

std::string symbol_table::describe_thread_local(std::uintptr_t address, std::uintptr_t offset) {
  const file* const in = file_of(address);
  if (in == nullptr) return "?";
  for (const file::symbol& each : in->thread_locals)
    if (offset - each.begin < each.size_bytes) return readable(in->names.c_str() + each.name) + " (" + in->shown + ")";
  return "? (" + in->shown + ", offset " + hexadecimal(offset) + ")";
}

}  // namespace roving::detail
