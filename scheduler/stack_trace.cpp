// See stack_trace.hpp. The unwind tables are as the Linux Standard Base describes them (.eh_frame, .eh_frame_hdr), the
// instructions in them as DWARF 4, 6.4 does.
#include "scheduler/stack_trace.hpp"

#include <algorithm>
#include <cstring>
#include <optional>

#if defined(__x86_64__) && defined(__ELF__) && defined(__LP64__)
#  include <link.h>
#endif

namespace roving::detail {

void stack_copy::copy_memory(std::uintptr_t end) noexcept {
  const std::uintptr_t begin = registers[rsp];
  size_bytes = begin < end ? std::min<std::size_t>(end - begin, at_most_bytes) : 0;
#if defined(__x86_64__)
  // Not memcpy(), which sanitizers replace: parts of that memory are poisoned, and somebody may write to it.
  void* into = memory.get();
  std::uintptr_t from = begin;
  std::size_t left = size_bytes;
  asm volatile("rep movsb" : "+D"(into), "+S"(from), "+c"(left) : : "memory");
#else
  size_bytes = 0;
#endif
}

#if defined(__x86_64__) && defined(__ELF__) && defined(__LP64__)

namespace {

constexpr std::size_t calls_at_most = 64;
constexpr unsigned registers = std::tuple_size_v<decltype(stack_copy::registers)>;

// Reads a table, which is the loader's and is right, up to its end.
class reader {
 public:
  reader(std::uintptr_t from, std::uintptr_t end) noexcept : at_{from}, end_{end} {}

  [[nodiscard]] bool is_at_end() const noexcept { return at_ >= end_; }
  [[nodiscard]] std::uintptr_t at() const noexcept { return at_; }
  void skip(std::uintptr_t bytes) noexcept { at_ = bytes <= end_ - at_ ? at_ + bytes : end_; }

  template <class Number>
  Number take() noexcept {
    Number value{};
    if (end_ - at_ < sizeof value) {
      at_ = end_;
      return value;
    }
    std::memcpy(&value, reinterpret_cast<const void*>(at_), sizeof value);
    at_ += sizeof value;
    return value;
  }

  std::uint64_t take_unsigned() noexcept {  // LEB128
    std::uint64_t value = 0;
    for (unsigned shift = 0; !is_at_end(); shift += 7) {
      const auto byte = take<std::uint8_t>();
      if (shift < 64) value |= std::uint64_t{byte & 0x7fU} << shift;
      if ((byte & 0x80U) == 0) break;
    }
    return value;
  }

  std::int64_t take_signed() noexcept {
    std::uint64_t value = 0;
    unsigned shift = 0;
    while (!is_at_end()) {
      const auto byte = take<std::uint8_t>();
      if (shift < 64) value |= std::uint64_t{byte & 0x7fU} << shift;
      shift += 7;
      if ((byte & 0x80U) != 0) continue;
      if ((byte & 0x40U) != 0 && shift < 64) value |= ~std::uint64_t{0} << shift;
      break;
    }
    return static_cast<std::int64_t>(value);
  }

  // An address in one of the ways in which these tables write them. `base` is what "relative to data" refers to.
  std::uintptr_t take_pointer(std::uint8_t encoding, std::uintptr_t base) noexcept {
    constexpr std::uint8_t omitted = 0xff;
    if (encoding == omitted) return 0;
    const std::uintptr_t here = at_;
    std::uintptr_t value = 0;
    switch (encoding & 0x0fU) {
      case 0x00:
      case 0x04:
      case 0x0c:
        value = take<std::uint64_t>();
        break;
      case 0x01:
        value = take_unsigned();
        break;
      case 0x02:
        value = take<std::uint16_t>();
        break;
      case 0x03:
        value = take<std::uint32_t>();
        break;
      case 0x09:
        value = static_cast<std::uintptr_t>(take_signed());
        break;
      case 0x0a:
        value = static_cast<std::uintptr_t>(std::int64_t{take<std::int16_t>()});
        break;
      case 0x0b:
        value = static_cast<std::uintptr_t>(std::int64_t{take<std::int32_t>()});
        break;
      default:
        return 0;
    }
    if (value == 0) return 0;
    if ((encoding & 0x70U) == 0x10) value += here;
    if ((encoding & 0x70U) == 0x30) value += base;
    if ((encoding & 0x80U) != 0) {
      std::uintptr_t indirect = 0;
      std::memcpy(&indirect, reinterpret_cast<const void*>(value), sizeof indirect);
      value = indirect;
    }
    return value;
  }

 private:
  std::uintptr_t at_;
  std::uintptr_t end_;
};

// The index of a loaded file's unwind table (.eh_frame_hdr), by which `address` is looked up.
std::uintptr_t index_for(std::uintptr_t address) {
  struct question {
    std::uintptr_t address;
    std::uintptr_t index;
  } asked{address, 0};
  const auto look = [](dl_phdr_info* file, std::size_t, void* argument) -> int {
    auto& of = *static_cast<question*>(argument);
    bool is_in_it = false;
    std::uintptr_t index = 0;
    for (unsigned i = 0; i < file->dlpi_phnum; ++i) {
      const auto& part = file->dlpi_phdr[i];
      const std::uintptr_t begin = file->dlpi_addr + part.p_vaddr;
      if (part.p_type == PT_LOAD && of.address - begin < part.p_memsz) is_in_it = true;
      if (part.p_type == PT_GNU_EH_FRAME) index = begin;
    }
    if (!is_in_it) return 0;
    of.index = index;
    return 1;
  };
  ::dl_iterate_phdr(look, &asked);
  return asked.index;
}

// What the table says of one function.
struct function_entry {
  std::uintptr_t begin = 0;
  reader common{0, 0};  // instructions that hold for many functions
  reader own{0, 0};
  std::uint64_t code_unit = 1;
  std::int64_t data_unit = 1;
  std::uint8_t pointer_encoding = 0;
  bool is_signal_frame = false;
};

reader entry_at(std::uintptr_t address) noexcept {
  reader head{address, address + 12};
  std::uint64_t size = head.take<std::uint32_t>();
  if (size == 0xffffffffU) size = head.take<std::uint64_t>();
  return {head.at(), head.at() + size};
}

std::optional<function_entry> entry_of(std::uintptr_t address) {
  const std::uintptr_t index = index_for(address);
  if (index == 0) return std::nullopt;
  constexpr std::size_t more_than_any = std::size_t{1} << 40U;
  reader head{index, index + more_than_any};
  const auto version = head.take<std::uint8_t>();
  const auto frame_encoding = head.take<std::uint8_t>();
  const auto count_encoding = head.take<std::uint8_t>();
  const auto table_encoding = head.take<std::uint8_t>();
  constexpr std::uint8_t relative_to_index_4_bytes = 0x3b;
  if (version != 1 || table_encoding != relative_to_index_4_bytes) return std::nullopt;  // linkers write nothing else
  (void)head.take_pointer(frame_encoding, index);
  const std::uintptr_t count = head.take_pointer(count_encoding, index);
  struct row {
    std::int32_t begin;
    std::int32_t entry;
  };
  // The last row that begins at or before the address.
  std::uintptr_t low = 0;
  std::uintptr_t high = count;
  const auto row_at = [table = head.at()](std::uintptr_t i) noexcept {
    row found{};
    std::memcpy(&found, reinterpret_cast<const void*>(table + i * sizeof found), sizeof found);
    return found;
  };
  const auto absolute = [index](std::int32_t offset) noexcept {
    return index + static_cast<std::uintptr_t>(std::int64_t{offset});
  };
  while (low < high) {
    const std::uintptr_t middle = low + (high - low) / 2;
    if (absolute(row_at(middle).begin) <= address)
      low = middle + 1;
    else
      high = middle;
  }
  if (low == 0) return std::nullopt;

  function_entry found;
  reader entry = entry_at(absolute(row_at(low - 1).entry));
  const std::uintptr_t distance_from = entry.at();
  const auto distance = entry.take<std::uint32_t>();
  reader common = entry_at(distance_from - distance);
  (void)common.take<std::uint32_t>();
  const auto common_version = common.take<std::uint8_t>();
  char augmentation[8] = {};
  for (std::size_t i = 0;; ++i) {
    const auto letter = common.take<char>();
    if (letter == '\0') break;
    if (i + 1 >= sizeof augmentation) return std::nullopt;
    augmentation[i] = letter;
  }
  found.code_unit = common.take_unsigned();
  found.data_unit = common.take_signed();
  if (common_version == 1)
    (void)common.take<std::uint8_t>();  // the column of the return address: that of rip
  else
    (void)common.take_unsigned();
  const bool has_sizes = augmentation[0] == 'z';
  if (augmentation[0] != '\0' && !has_sizes) return std::nullopt;
  if (has_sizes) {
    const std::uint64_t size = common.take_unsigned();
    const std::uintptr_t instructions = common.at() + size;
    for (const char* letter = augmentation + 1; *letter != '\0'; ++letter) {
      if (*letter == 'R') {
        found.pointer_encoding = common.take<std::uint8_t>();
      } else if (*letter == 'P') {
        const auto encoding = common.take<std::uint8_t>();
        (void)common.take_pointer(encoding & 0x7fU, 0);
      } else if (*letter == 'L') {
        (void)common.take<std::uint8_t>();
      } else if (*letter == 'S') {
        found.is_signal_frame = true;
      } else {
        return std::nullopt;
      }
    }
    common.skip(instructions - common.at());
  }
  found.begin = entry.take_pointer(found.pointer_encoding, 0);
  const std::uintptr_t size = entry.take_pointer(found.pointer_encoding & 0x0fU, 0);
  if (address - found.begin >= size) return std::nullopt;  // between two functions
  if (has_sizes) entry.skip(entry.take_unsigned());
  found.common = common;
  found.own = entry;
  return found;
}

// How to find the caller's registers at one place of a function.
struct frame_rules {
  enum class how : std::uint8_t { same, undefined, at_offset, is_offset, in_register, at_expression, is_expression };
  struct rule {
    how kind = how::same;
    std::int64_t value = 0;
    reader expression{0, 0};
  };
  std::array<rule, registers> of{};
  rule frame{};  // the address of the frame: `value` off the register `frame_register`, or an expression
  std::uint64_t frame_register = stack_copy::rsp;
};

class machine {
 public:
  explicit machine(const function_entry& of) noexcept : of_{of} {}

  // The rules for `address`. Nothing for instructions that are not known.
  std::optional<frame_rules> rules_for(std::uintptr_t address) {
    at_ = of_.begin;
    if (!execute(of_.common, address)) return std::nullopt;
    initial_ = now_;
    at_ = of_.begin;
    if (!execute(of_.own, address)) return std::nullopt;
    return now_;
  }

 private:
  using how = frame_rules::how;

  void set(std::uint64_t which, how kind, std::int64_t value) noexcept {
    if (which < registers) now_.of[which] = {kind, value, reader{0, 0}};
  }
  void restore(std::uint64_t which) noexcept {
    if (which < registers) now_.of[which] = initial_.of[which];
  }
  static reader take_block(reader& from) noexcept {
    const std::uint64_t size = from.take_unsigned();
    const reader block{from.at(), from.at() + size};
    from.skip(size);
    return block;
  }
  [[nodiscard]] std::int64_t take_offset(reader& from) const noexcept {
    return static_cast<std::int64_t>(from.take_unsigned()) * of_.data_unit;
  }
  void define_frame(std::uint64_t which, std::int64_t offset) noexcept {
    now_.frame = {how::is_offset, offset, reader{0, 0}};
    now_.frame_register = which;
  }
  void advance(std::uint64_t units) noexcept { at_ += units * of_.code_unit; }

  // Up to the place that `address` is at.
  bool execute(reader from, std::uintptr_t address) {
    while (!from.is_at_end() && at_ <= address) {
      const auto instruction = from.take<std::uint8_t>();
      const std::uint8_t low = instruction & 0x3fU;
      switch (instruction & 0xc0U) {
        case 0x40:
          advance(low);
          continue;
        case 0x80:
          set(low, how::at_offset, take_offset(from));
          continue;
        case 0xc0:
          restore(low);
          continue;
        default:
          if (!execute_one(instruction, from)) return false;
      }
    }
    return true;
  }

  bool execute_one(std::uint8_t instruction, reader& from) {
    switch (instruction) {
      case 0x00:  // nop
        return true;
      case 0x01:  // set_loc
        at_ = from.take_pointer(of_.pointer_encoding, 0);
        return true;
      case 0x02:
        advance(from.take<std::uint8_t>());
        return true;
      case 0x03:
        advance(from.take<std::uint16_t>());
        return true;
      case 0x04:
        advance(from.take<std::uint32_t>());
        return true;
      case 0x05: {  // offset_extended
        const std::uint64_t which = from.take_unsigned();
        set(which, how::at_offset, take_offset(from));
        return true;
      }
      case 0x06:  // restore_extended
        restore(from.take_unsigned());
        return true;
      case 0x07:  // undefined
        set(from.take_unsigned(), how::undefined, 0);
        return true;
      case 0x08:  // same_value
        set(from.take_unsigned(), how::same, 0);
        return true;
      case 0x09: {  // register
        const std::uint64_t which = from.take_unsigned();
        set(which, how::in_register, static_cast<std::int64_t>(from.take_unsigned()));
        return true;
      }
      case 0x0a:  // remember_state
        remembered_.push_back(now_);
        return true;
      case 0x0b:  // restore_state
        if (remembered_.empty()) return false;
        now_ = remembered_.back();
        remembered_.pop_back();
        return true;
      case 0x0c: {  // def_cfa
        const std::uint64_t which = from.take_unsigned();
        define_frame(which, static_cast<std::int64_t>(from.take_unsigned()));
        return true;
      }
      case 0x0d:  // def_cfa_register
        now_.frame_register = from.take_unsigned();
        return true;
      case 0x0e:  // def_cfa_offset
        now_.frame.value = static_cast<std::int64_t>(from.take_unsigned());
        return true;
      case 0x0f:  // def_cfa_expression
        now_.frame = {how::is_expression, 0, take_block(from)};
        return true;
      case 0x10:    // expression
      case 0x16: {  // val_expression
        const std::uint64_t which = from.take_unsigned();
        const reader block = take_block(from);
        if (which < registers)
          now_.of[which] = {instruction == 0x10 ? how::at_expression : how::is_expression, 0, block};
        return true;
      }
      case 0x11: {  // offset_extended_sf
        const std::uint64_t which = from.take_unsigned();
        set(which, how::at_offset, from.take_signed() * of_.data_unit);
        return true;
      }
      case 0x12: {  // def_cfa_sf
        const std::uint64_t which = from.take_unsigned();
        define_frame(which, from.take_signed() * of_.data_unit);
        return true;
      }
      case 0x13:  // def_cfa_offset_sf
        now_.frame.value = from.take_signed() * of_.data_unit;
        return true;
      case 0x14: {  // val_offset
        const std::uint64_t which = from.take_unsigned();
        set(which, how::is_offset, take_offset(from));
        return true;
      }
      case 0x2e:  // GNU_args_size
        (void)from.take_unsigned();
        return true;
      default:
        return false;
    }
  }

  const function_entry& of_;
  std::uintptr_t at_ = 0;
  frame_rules now_;
  frame_rules initial_;
  std::vector<frame_rules> remembered_;
};

// Goes from frame to frame.
class walker {
 public:
  explicit walker(const stack_copy& copy) noexcept
      : copy_{copy}, begin_{copy.registers[stack_copy::rsp]}, now_{copy.registers} {}

  [[nodiscard]] std::vector<std::uintptr_t> calls() {
    std::vector<std::uintptr_t> found;
    bool was_interrupted = copy_.was_interrupted;
    while (found.size() < calls_at_most && now_[stack_copy::rip] != 0) {
      // A call at the end of a function returns behind it.
      const std::uintptr_t at = now_[stack_copy::rip] - (was_interrupted ? 0 : 1);
      const std::optional<function_entry> entry = entry_of(at);
      if (!entry && index_for(at) == 0 && !is_code(at)) break;
      found.push_back(at);
      const std::uintptr_t before = now_[stack_copy::rsp];
      if (!(entry ? step(*entry, at) : step_by_frame_pointer())) break;
      if (now_[stack_copy::rsp] <= before && !(was_interrupted && now_[stack_copy::rsp] == before)) break;
      was_interrupted = entry && entry->is_signal_frame;
    }
    return found;
  }

 private:
  // In a part of a loaded file that is run, without an unwind table.
  static bool is_code(std::uintptr_t address) {
    const auto look = [](dl_phdr_info* file, std::size_t, void* asked) -> int {
      for (unsigned i = 0; i < file->dlpi_phnum; ++i) {
        const auto& part = file->dlpi_phdr[i];
        if (part.p_type == PT_LOAD && (part.p_flags & PF_X) != 0 &&
            *static_cast<std::uintptr_t*>(asked) - (file->dlpi_addr + part.p_vaddr) < part.p_memsz)
          return 1;
      }
      return 0;
    };
    return ::dl_iterate_phdr(look, &address) != 0;
  }

  [[nodiscard]] std::optional<std::uintptr_t> read(std::uintptr_t address) const noexcept {
    std::uintptr_t value = 0;
    const std::uintptr_t offset = address - begin_;
    if (copy_.size_bytes < sizeof value || offset > copy_.size_bytes - sizeof value) return std::nullopt;
    std::memcpy(&value, copy_.memory.get() + offset, sizeof value);
    return value;
  }

  bool step(const function_entry& entry, std::uintptr_t at) {
    using how = frame_rules::how;
    const std::optional<frame_rules> rules = machine{entry}.rules_for(at);
    if (!rules) return false;
    std::optional<std::uintptr_t> frame;
    if (rules->frame.kind == how::is_expression)
      frame = evaluate(rules->frame.expression, {});
    else if (rules->frame_register < registers)
      frame = now_[rules->frame_register] + static_cast<std::uintptr_t>(rules->frame.value);
    if (!frame) return false;
    auto next = now_;
    next[stack_copy::rsp] = *frame;
    for (unsigned i = 0; i < registers; ++i) {
      const frame_rules::rule& rule = rules->of[i];
      std::optional<std::uintptr_t> value;
      switch (rule.kind) {
        case how::same:
          continue;
        case how::undefined:
          value = 0;
          break;
        case how::at_offset:
          value = read(*frame + static_cast<std::uintptr_t>(rule.value));
          break;
        case how::is_offset:
          value = *frame + static_cast<std::uintptr_t>(rule.value);
          break;
        case how::in_register:
          if (static_cast<std::uint64_t>(rule.value) < registers) value = now_[static_cast<std::size_t>(rule.value)];
          break;
        case how::at_expression:
          if (const auto address = evaluate(rule.expression, frame)) value = read(*address);
          break;
        case how::is_expression:
          value = evaluate(rule.expression, frame);
          break;
      }
      if (!value) return false;
      next[i] = *value;
    }
    if (rules->of[stack_copy::rip].kind == how::same) return false;  // has no caller
    now_ = next;
    return true;
  }

  bool step_by_frame_pointer() {
    const std::uintptr_t frame = now_[stack_copy::rbp];
    const auto outer = read(frame);
    const auto back = read(frame + sizeof(std::uintptr_t));
    if (!outer || !back) return false;
    now_[stack_copy::rbp] = *outer;
    now_[stack_copy::rip] = *back;
    now_[stack_copy::rsp] = frame + 2 * sizeof(std::uintptr_t);
    return true;
  }

  // What compilers and linkers write: where a stack was realigned, and in the jump tables of shared libraries.
  [[nodiscard]] std::optional<std::uintptr_t> evaluate(reader from, std::optional<std::uintptr_t> first) const {
    std::vector<std::uintptr_t> values;
    if (first) values.push_back(*first);
    const auto pop = [&]() -> std::uintptr_t {
      if (values.empty()) return 0;
      const std::uintptr_t value = values.back();
      values.pop_back();
      return value;
    };
    while (!from.is_at_end()) {
      const auto operation = from.take<std::uint8_t>();
      if (operation >= 0x30 && operation <= 0x4f) {  // lit0 to lit31
        values.push_back(operation - 0x30U);
        continue;
      }
      if (operation >= 0x70 && operation <= 0x8f) {  // breg0 to breg31
        const unsigned which = operation - 0x70U;
        if (which >= registers) return std::nullopt;
        values.push_back(now_[which] + static_cast<std::uintptr_t>(from.take_signed()));
        continue;
      }
      switch (operation) {
        case 0x06: {  // deref
          const auto value = read(pop());
          if (!value) return std::nullopt;
          values.push_back(*value);
          break;
        }
        case 0x08:  // const1u
          values.push_back(from.take<std::uint8_t>());
          break;
        case 0x09:  // const1s
          values.push_back(static_cast<std::uintptr_t>(std::int64_t{from.take<std::int8_t>()}));
          break;
        case 0x10:  // constu
          values.push_back(from.take_unsigned());
          break;
        case 0x11:  // consts
          values.push_back(static_cast<std::uintptr_t>(from.take_signed()));
          break;
        case 0x12:  // dup
          values.push_back(values.empty() ? 0 : values.back());
          break;
        case 0x1a: {  // and
          const std::uintptr_t top = pop();
          values.push_back(pop() & top);
          break;
        }
        case 0x1c: {  // minus
          const std::uintptr_t top = pop();
          values.push_back(pop() - top);
          break;
        }
        case 0x22: {  // plus
          const std::uintptr_t top = pop();
          values.push_back(pop() + top);
          break;
        }
        case 0x23:  // plus_uconst
          values.push_back(pop() + from.take_unsigned());
          break;
        case 0x24: {  // shl
          const std::uintptr_t top = pop();
          values.push_back(top < 64 ? pop() << top : 0);
          break;
        }
        case 0x2a: {  // ge
          const auto top = static_cast<std::int64_t>(pop());
          values.push_back(static_cast<std::int64_t>(pop()) >= top ? 1 : 0);
          break;
        }
        default:
          return std::nullopt;
      }
    }
    if (values.empty()) return std::nullopt;
    return values.back();
  }

  const stack_copy& copy_;
  const std::uintptr_t begin_;
  std::array<std::uintptr_t, registers> now_;
};

}  // namespace

std::vector<std::uintptr_t> calls_on(const stack_copy& copy) { return walker{copy}.calls(); }

#else

std::vector<std::uintptr_t> calls_on(const stack_copy&) { return {}; }

#endif

}  // namespace roving::detail
