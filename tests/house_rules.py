#!/usr/bin/env python3
"""Checks the rules of the house that a compiler can't: who includes whom, and which file is the home of what.

    house_rules.py [ROOT]      checks a tree: one `file:line: rule: what to do` for each violation
    house_rules.py --self-test plants each violation in a small tree and expects it to be found

The last line is `N passed, M failed`, counting rules; the exit status is 1 if M is not 0.

Text is matched, not parsed: comments and the insides of strings are blanked first, so that prose may name what
code may not. A rule that needs types would belong to clang-tidy.
"""

import collections
import pathlib
import re
import sys
import tempfile

# Each floor may include itself and what lies below. sync and io stand side by side.
MAY_INCLUDE = {
    "scheduler": {"scheduler"},
    "sync": {"sync", "scheduler"},
    "io": {"io", "scheduler"},
    "runtime": {"runtime", "sync", "io", "scheduler"},
}
ROOMS = tuple(MAY_INCLUDE)
USERS = ("examples", "perf", "tests")  # on top of the house: they may include every room
CODE_SUFFIXES = (".cpp", ".hpp")
MAX_COLUMNS = 120

# Headers that are about descriptors, which scheduler/ does not know.
FD_HEADERS = {"unistd.h", "fcntl.h", "poll.h", "sys/epoll.h", "sys/event.h", "sys/eventfd.h", "sys/ioctl.h",
              "sys/select.h", "sys/signalfd.h", "sys/socket.h", "sys/stat.h", "sys/timerfd.h", "sys/uio.h",
              "sys/un.h", "netdb.h", "netinet/in.h", "netinet/tcp.h", "arpa/inet.h"}
FD_EXCEPTIONS = {  # (file, header): why
    ("scheduler/stack.cpp", "unistd.h"): "sysconf: the page size",
    ("scheduler/overflow.cpp", "unistd.h"): "write(2): all that a handler on an overflown stack may call",
    ("scheduler/thread.cpp", "unistd.h"): "getpid(2): whether this is the process's first thread",
}

# Words that no file may contain, each with what to write instead. Empty until there is one.
FORBIDDEN_WORDS = {}

Violation = collections.namedtuple("Violation", "path line rule advice")

INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"\n]+)[>"]', re.MULTILINE)
TOKEN = re.compile(
    r'(?P<comment>//(?:\\\n|[^\n])*|/\*.*?(?:\*/|\Z))'
    r'|(?P<raw>\b(?:u8|[uUL])?R"(?P<delimiter>[^()\\\s]{0,16})\(.*?(?:\)(?P=delimiter)"|\Z))'
    r"|(?P<number>\b\d[\w.']*)"  # 1'000: its quote opens nothing
    r'|(?P<string>"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\')',
    re.DOTALL)


def blank(text):
    return re.sub(r"[^\n]", " ", text)


def without_comments(text, strings):
    """`text` with comments blanked, and strings too unless `strings`; lines and columns stay where they are."""
    def replace(match):
        if match.lastgroup == "comment" or match.group("comment"):
            return blank(match.group())
        if match.group("number") or strings:
            return match.group()
        return blank(match.group())
    return TOKEN.sub(replace, text)


class SourceFile:
    """A file of the tree: its text, its includes and its code with comments and strings blanked."""

    def __init__(self, root, path):
        self.path = path.relative_to(root).as_posix()
        self.text = path.read_text(encoding="utf-8")
        self.lines = self.text.split("\n")
        self.top = self.path.split("/")[0]
        self.room = self.top if self.top in ROOMS else None
        self.is_code = path.suffix in CODE_SUFFIXES
        # roving::sim's own header lies apart, since the other library does not have it.
        prefix = next((folder for folder in (f"{self.room}/include/", "runtime/sim/include/")
                       if self.path.startswith(folder)), None)
        self.is_public = prefix is not None
        self.public_name = self.path[len(prefix):] if prefix else None
        self.includes = []  # (line, opening character, header)
        self.code = ""
        if self.is_code:
            # The include pattern looks at the text with strings, since a quoted include is one.
            for match in INCLUDE.finditer(without_comments(self.text, strings=True)):
                self.includes.append((self.line_of(match.start(1)), match.group(1), match.group(2)))
            self.code = INCLUDE.sub(lambda match: blank(match.group()), without_comments(self.text, strings=False))

    def line_of(self, offset):
        return self.text.count("\n", 0, offset) + 1


class Tree:
    """All files that the rules look at, and which room owns which public header."""

    SKIPPED = {"build", "third_party"}
    SUFFIXES = CODE_SUFFIXES + (".py", ".cmake", ".in", ".txt", ".sh", ".md")
    SCRIPTS = ("dev", ".ci/run")

    def __init__(self, root):
        self.root = root
        self.files = []
        self.owners = collections.defaultdict(list)  # "roving/x.hpp" -> rooms
        for path in sorted(root.rglob("*")):
            relative = path.relative_to(root)
            name = relative.as_posix()
            hidden = any(part.startswith(".") and part != ".ci" for part in relative.parts)
            if hidden or relative.parts[0] in self.SKIPPED or not path.is_file():
                continue
            if path.suffix in self.SUFFIXES or name in self.SCRIPTS:
                self.files.append(SourceFile(root, path))
        for file in self.files:
            if file.is_public:
                self.owners[file.public_name].append(file.room)

    def code(self, *tops):
        return [file for file in self.files if file.is_code and (not tops or file.top in tops)]


# ---- Rules: each is a function of the tree that yields (file, line, advice) -------------------------------------


def included_room(tree, header):
    """The room that an include line reaches, or None for headers of others."""
    if header.startswith("roving/"):
        owners = tree.owners.get(header)
        return owners[0] if owners else None
    first = header.split("/")[0]
    return first if first in ROOMS or first in USERS else None


def floors(tree):
    """Includes go down only: scheduler <- sync, io <- runtime <- examples, perf, tests."""
    for file in tree.code():
        for line, _, header in file.includes:
            room = included_room(tree, header)
            if room is None or file.room is None:
                continue
            if room not in MAY_INCLUDE[file.room]:
                yield file, line, f"{file.room}/ must not include {header} of {room}/; move what is shared down"


def includes_resolve(tree):
    """A room's include names a header that exists, from the root or as <roving/x.hpp>, in one room only."""
    for header, rooms in sorted(tree.owners.items()):
        if len(rooms) > 1:
            file = next(file for file in tree.files if file.path == f"{rooms[1]}/include/{header}")
            yield file, 1, f"{header} is in {' and '.join(rooms)}; keep one"
    for file in tree.code():
        for line, opening, header in file.includes:
            if header.startswith("roving/"):
                if header not in tree.owners:
                    yield file, line, f"no room has {header} in its include/ folder"
                elif opening == '"':
                    yield file, line, f"a public header is included as <{header}>"
            elif opening == '"' and file.room and not (tree.root / header).is_file():
                yield file, line, f'"{header}" is not a path from the root of the repository'


def public_headers_stand_on_public_ones(tree):
    """Public headers include public headers only; private ones are on no path that a user gets."""
    for file in tree.code():
        if not file.is_public:
            continue
        for line, opening, header in file.includes:
            if opening == '"' or header.split("/")[0] in ROOMS:
                yield file, line, f"{header} is private; what templates need of it goes to a roving/detail/ header"


def examples_see_what_users_see(tree):
    """Examples include no private header."""
    for file in tree.code("examples"):
        for line, _, header in file.includes:
            if header.split("/")[0] in ROOMS:
                yield file, line, f"{header} is private; an example includes <roving/...>"


def public_headers_include_no_dependency(tree):
    """Public headers include no Boost (but for roving/asio.hpp) and no oneTBB."""
    for file in tree.code():
        if not file.is_public:
            continue
        for line, _, header in file.includes:
            if re.match(r"(tbb|oneapi)/", header):
                yield file, line, f"keep {header} in a source file: users need not have oneTBB's headers"
            if header.startswith("boost/") and not file.path.endswith("/include/roving/asio.hpp"):
                yield file, line, f"keep {header} in a source file: only roving/asio.hpp may include Boost"


def public_headers_are_exported(tree):
    """What a public header declares is visible outside of a shared library, and nothing of others is made so."""
    push, pop = "#pragma GCC visibility push(default)", "#pragma GCC visibility pop"
    for file in tree.code():
        if not file.is_public or not re.search(r"^(?:inline )?namespace\b", file.code, re.MULTILINE):
            continue
        lines = file.code.splitlines()
        marks = [line for line in lines if line in (push, pop)]
        if marks != [push, pop]:
            yield file, 1, f"its declarations belong between one `{push}` and one `{pop}`: sources are hidden"
            continue
        begin = lines.index(push) + 1
        for line, _, header in file.includes:
            if line > begin:
                yield file, line, f"<{header}> stands within `{push}`"


def scheduler_knows_no_fd(tree):
    """scheduler/ includes nothing about descriptors and names none."""
    for file in tree.code("scheduler"):
        for line, _, header in file.includes:
            if header in FD_HEADERS and (file.path, header) not in FD_EXCEPTIONS:
                yield file, line, f"<{header}> is about descriptors: those belong to io/ (see FD_EXCEPTIONS)"
        for match in re.finditer(r"\b(?:\w+_)?fds?_?\b", file.code):
            yield file, file.line_of(match.start()), f"`{match.group()}`: descriptors belong to io/, behind the parker"


def home(pattern, path, advice, exceptions=()):
    """A rule that code which matches `pattern` has one home in the library."""
    expression = re.compile(pattern)

    def rule(tree):
        for file in tree.code(*ROOMS):  # what stands on the house may do as it likes
            if file.path == path or file.path in exceptions:
                continue
            for match in expression.finditer(file.code):
                yield file, file.line_of(match.start()), f"`{match.group().strip()}` has its home in {path}: {advice}"
            for line, _, header in file.includes:
                if expression.search(f"<{header}>"):
                    yield file, line, f"<{header}> has its home in {path}: {advice}"
    return rule


boost_context_has_one_home = home(
    r"<boost/context/|\bboost::context\b", "scheduler/context.cpp", "switch through scheduler/context.hpp")
thread_local_has_one_home = home(
    r"\bthread_local\b|\b__thread\b", "scheduler/this_shard.cpp",
    "an address taken before a suspension is another thread's after it; use this_shard()")
epoll_has_one_home = home(
    r"<sys/epoll\.h>|\bepoll_(?:create1?|ctl|p?wait2?|event|data_t)\b|\bEPOLL[A-Z_]+\b", "io/poller_epoll.cpp",
    "use the poller", ("io/epoll_calls.hpp",))
kqueue_has_one_home = home(
    r"<sys/event\.h>|\bkqueue1?\s*\(|\bkevent(?:64)?\b|\bEV_SET\b|\bEVFILT_[A-Z]+\b", "io/poller_kqueue.cpp",
    "use the poller")
clock_has_one_home = home(
    r"\b(?:steady_clock|system_clock|high_resolution_clock|utc_clock)\s*::\s*now\b|\bclock_gettime\b|\bgettimeofday\b"
    r"|\b_?_rdtscp?\b|\b__builtin_ia32_rdtscp?\b", "scheduler/clock.cpp",
    "the simulator must be able to turn it; ask scheduler/clock.hpp")

# Signal handlers and the pool of stacks are the real thread's, also in a simulation.
atomic_has_one_home = home(
    r"\bstd\s*::\s*atomic(?:_ref|_flag)?\b", "scheduler/include/roving/detail/atomic.hpp",
    "a simulation stops threads at atomic operations; use detail::atomic",
    ("scheduler/askable_thread.cpp", "scheduler/askable_thread.hpp", "scheduler/interrupt.cpp",
     "scheduler/overflow.cpp", "scheduler/stack.hpp", "scheduler/stack.cpp"))


def files_begin_with_a_comment(tree):
    """A file's first lines say what it is: a comment, after `#!` or `#pragma once` at most."""
    for file in tree.files:
        if file.path.endswith(".md") or (file.path.endswith(".txt") and not file.path.endswith("CMakeLists.txt")):
            continue
        lines = [line.strip() for line in file.lines if line.strip()][:3]
        while lines and (lines[0].startswith("#!") or lines[0] == "#pragma once"):
            lines.pop(0)
        marks = ("//", "/*") if file.is_code else ("#", '"""')
        if not lines or not lines[0].startswith(marks):
            yield file, 1, "say in a comment at the top what this file is about and why it is so"


def text_is_tidy(tree):
    """No tab, no trailing blank, at most 120 columns of code, a newline at the end."""
    for file in tree.files:
        for number, line in enumerate(file.lines, start=1):
            if "\t" in line:
                yield file, number, "a tab; use spaces"
            if line != line.rstrip():
                yield file, number, "blanks at the end of the line"
            if len(line) > MAX_COLUMNS and not file.path.endswith(".md"):
                yield file, number, f"{len(line)} columns; at most {MAX_COLUMNS}"
        if file.text and not file.text.endswith("\n"):
            yield file, len(file.lines), "no newline at the end of the file"


def no_forbidden_word(tree):
    """No word of FORBIDDEN_WORDS."""
    for file in tree.files:
        for word, advice in FORBIDDEN_WORDS.items():
            for match in re.finditer(rf"\b{re.escape(word)}\b", file.text, re.IGNORECASE):
                if file.path != "tests/house_rules.py":
                    yield file, file.line_of(match.start()), f"`{word}`: {advice}"


RULES = {
    "floors": floors,
    "includes-resolve": includes_resolve,
    "public-includes-private": public_headers_stand_on_public_ones,
    "examples-are-users": examples_see_what_users_see,
    "public-dependency": public_headers_include_no_dependency,
    "public-exported": public_headers_are_exported,
    "no-fd-in-scheduler": scheduler_knows_no_fd,
    "home-of-boost-context": boost_context_has_one_home,
    "home-of-thread-local": thread_local_has_one_home,
    "home-of-epoll": epoll_has_one_home,
    "home-of-kqueue": kqueue_has_one_home,
    "home-of-clock": clock_has_one_home,
    "home-of-atomic": atomic_has_one_home,
    "first-comment": files_begin_with_a_comment,
    "tidy-text": text_is_tidy,
    "forbidden-words": no_forbidden_word,
}


def check(root):
    tree = Tree(root)
    return [Violation(file.path, line, rule, advice)
            for rule, find in RULES.items() for file, line, advice in find(tree)]


# ---- Self-test --------------------------------------------------------------------------------------------------

# A small tree without a violation, with code that only looks like one.
CLEAN_TREE = {
    "scheduler/include/roving/task.hpp": "// A task.\n#pragma once\n#include <vector>\n",
    "scheduler/deque.hpp": "// Prose may say thread_local, epoll_wait and fd.\n#pragma once\n"
                           "#include <roving/task.hpp>\n",
    "scheduler/deque.cpp": '// A deque.\n#include "scheduler/deque.hpp"\n'
                           "constexpr int many = 1'000; /* steady_clock::now() */ constexpr char quote = '\"';\n"
                           'const char* text = "thread_local // no comment"; const char* raw = R"(epoll_ctl")";\n',
    "scheduler/context.cpp": "// Switching.\n#include <boost/context/detail/fcontext.hpp>\n",
    "scheduler/this_shard.cpp": "// The one thread-local.\nthread_local int* shard = nullptr;\n",
    "scheduler/clock.cpp": "// The clock.\n#include <chrono>\n"
                           "auto now() { return std::chrono::steady_clock::now(); }\n",
    "scheduler/stack.cpp": "// Stacks.\n#include <unistd.h>\n",
    "sync/include/roving/mutex.hpp": "// A mutex.\n#pragma once\n#include <roving/task.hpp>\n"
                                     "#pragma GCC visibility push(default)\nnamespace roving {\nclass mutex;\n}\n"
                                     "#pragma GCC visibility pop\n",
    "io/include/roving/asio.hpp": "#pragma once\n// For Asio.\n#include <boost/asio/buffer.hpp>\n",
    "io/poller_epoll.cpp": '// epoll.\n#include <sys/epoll.h>\n#include "scheduler/deque.hpp"\n'
                           "int wait(int fd) { return epoll_wait(fd, nullptr, 0, 0); }\n",
    "io/poller_kqueue.cpp": "// kqueue.\n#include <sys/event.h>\nint make() { return kqueue(); }\n",
    "runtime/include/roving/roving.hpp": "// All.\n#pragma once\n#include <roving/asio.hpp>\n"
                                         "#include <roving/mutex.hpp>\n",
    "tests/sync/mutex_test.cpp": '// Tested: mutex.\n#include "scheduler/deque.hpp"\n#include <roving/roving.hpp>\n'
                                 "auto now = std::chrono::steady_clock::now();\n",
    "examples/hello.cpp": "// Hello.\n#include <roving/roving.hpp>\n",
    "CMakeLists.txt": "# The build.\n",
    "dev": "#!/usr/bin/env bash\n# Commands.\n",
    "build/generated.cpp": "no comment\there, and nobody looks\n",
}

PLANTED = (  # (rule, file, its text); the violation is expected in the line marked with `<--`
    ("floors", "scheduler/a.cpp", '// A.\n#include <roving/mutex.hpp>  // <--\n'),
    ("floors", "scheduler/a.cpp", '// A.\n#include "runtime/x.hpp"  // <--\n'),
    ("floors", "sync/a.cpp", '// A.\n\n#include <roving/asio.hpp>  // <--\n'),
    ("floors", "io/a.cpp", '// A.\n#  include "sync/x.hpp"  // <--\n'),
    ("floors", "io/a.cpp", '// A.\n#include <roving/roving.hpp>  // <--\n'),
    ("floors", "runtime/sim/a.cpp", '// A.\n#include "tests/support/x.hpp"  // <--\n'),
    ("includes-resolve", "sync/a.cpp", '// A.\n#include "deque.hpp"  // <--\n'),
    ("includes-resolve", "tests/sync/a_test.cpp", "// A.\n#include <roving/nowhere.hpp>  // <--\n"),
    ("includes-resolve", "sync/a.cpp", '// A.\n#include "roving/task.hpp"  // <--\n'),
    ("includes-resolve", "sync/include/roving/task.hpp", "// A task again. <--\n#pragma once\n"),
    ("public-includes-private", "sync/include/roving/a.hpp",
     '// A.\n#pragma once\n#include "scheduler/deque.hpp"  // <--\n'),
    ("public-includes-private", "sync/include/roving/a.hpp",
     "// A.\n#pragma once\n#include <scheduler/deque.hpp>  // <--\n"),
    ("examples-are-users", "examples/a.cpp", '// A.\n#include "scheduler/deque.hpp"  // <--\n'),
    ("public-dependency", "io/include/roving/a.hpp", "// A.\n#pragma once\n#include <boost/asio.hpp>  // <--\n"),
    ("public-dependency", "runtime/include/roving/a.hpp",
     "// A.\n#pragma once\n#include <tbb/task_arena.h>  // <--\n"),
    ("public-dependency", "runtime/include/roving/a.hpp",
     "// A.\n#pragma once\n#include <oneapi/tbb.h>  // <--\n"),
    ("public-exported", "sync/include/roving/a.hpp", "// A. <--\n#pragma once\nnamespace roving {\nclass a;\n}\n"),
    ("public-exported", "sync/include/roving/a.hpp",
     "// A.\n#pragma once\n#pragma GCC visibility push(default)\n#include <vector>  // <--\nnamespace roving {}\n"
     "#pragma GCC visibility pop\n"),
    ("no-fd-in-scheduler", "scheduler/a.cpp", "// A.\n#include <unistd.h>  // <--\n"),
    ("no-fd-in-scheduler", "scheduler/a.hpp", "// A.\n#pragma once\n#include <sys/socket.h>  // <--\n"),
    ("no-fd-in-scheduler", "scheduler/a.hpp", "// A.\n#pragma once\nint queue_fd_ = -1;  // <--\n"),
    ("no-fd-in-scheduler", "scheduler/a.hpp", "// A.\n#pragma once\nvoid arm(int fd);  // <--\n"),
    ("home-of-boost-context", "runtime/a.cpp", "// A.\n#include <boost/context/fiber.hpp>  // <--\n"),
    ("home-of-thread-local", "runtime/a.cpp", "// A.\nstatic thread_local int counter;  // <--\n"),
    ("home-of-thread-local", "io/a.cpp", "// A.\nconst char* s = \"\\\"\"; __thread int counter;  // <--\n"),
    ("home-of-epoll", "io/a.cpp", "// A.\n#include <sys/epoll.h>  // <--\n"),
    ("home-of-epoll", "io/a.cpp", "// A.\nint i = 1'0; unsigned wanted = EPOLLIN;  // <--\n"),
    ("home-of-kqueue", "io/poller_epoll.hpp", "// A.\n#pragma once\nint queue = kqueue();  // <--\n"),
    ("home-of-kqueue", "runtime/a.cpp", "// A.\nstruct kevent change;  // <--\n"),
    ("home-of-clock", "io/a.cpp", "// A.\n/* a\n comment */ auto t = std::chrono::steady_clock::now();  // <--\n"),
    ("home-of-clock", "sync/a.cpp", "// A.\nvoid f() { clock_gettime(CLOCK_MONOTONIC, nullptr); }  // <--\n"),
    ("home-of-clock", "runtime/sim/a.cpp", "// A.\nauto t = std::chrono::system_clock :: now();  // <--\n"),
    ("home-of-atomic", "sync/a.cpp", "// A.\nstatic std::atomic<int> counter;  // <--\n"),
    ("first-comment", "sync/a.cpp", "int a; // <--\n"),
    ("first-comment", "sync/a.hpp", "#pragma once // <--\n\nint a;\n"),
    ("first-comment", "tests/a.py", "import os # <--\n"),
    ("tidy-text", "sync/a.cpp", "// A.\n\tint a;  // <--\n"),
    ("tidy-text", "sync/a.cpp", "// A.\nint a;  // <-- \n"),
    ("tidy-text", "sync/a.cpp", "// A.\n//" + "-" * 130 + " <--\n"),
    ("tidy-text", "docs/a.md", "# A\n\tcode <--\n"),
    ("tidy-text", "sync/a.cpp", "// A.\nint a;  // <--"),
    ("forbidden-words", "docs/a.md", "# A\n\nA Planted word. <--\n"),
)


def write_tree(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


def self_test():
    """Finds each planted violation by rule, file and line, and nothing in the clean tree."""
    passed = failed = 0

    def expect(holds, message):
        nonlocal passed, failed
        passed += bool(holds)
        failed += not holds
        if not holds:
            print(f"self-test: {message}")

    FORBIDDEN_WORDS["planted"] = "only for this self-test"
    with tempfile.TemporaryDirectory() as folder:
        clean = pathlib.Path(folder) / "clean"
        write_tree(clean, CLEAN_TREE)
        found = check(clean)
        expect(not found, f"the clean tree has {found}")
        for number, (rule, name, text) in enumerate(PLANTED):
            root = pathlib.Path(folder) / str(number)
            write_tree(root, {**CLEAN_TREE, name: text})
            line = text[:text.index("<--")].count("\n") + 1
            found = [violation for violation in check(root) if violation.rule == rule]
            expect([violation[:2] for violation in found] == [(name, line)],
                   f"{rule}: planted at {name}:{line}, found {found}")
    untested = set(RULES) - {rule for rule, _, _ in PLANTED}
    expect(not untested, f"nothing planted for {untested}")
    print(f"{passed} passed, {failed} failed")
    return failed


def main(arguments):
    if arguments == ["--self-test"]:
        return 1 if self_test() else 0
    if len(arguments) > 1 or (arguments and arguments[0].startswith("-")):
        print(__doc__)
        return 2
    root = pathlib.Path(arguments[0]) if arguments else pathlib.Path(__file__).parent.parent
    violations = check(root.resolve())
    for violation in violations:
        print(f"{violation.path}:{violation.line}: {violation.rule}: {violation.advice}")
    broken = len({violation.rule for violation in violations})
    print(f"{len(RULES) - broken} passed, {broken} failed")
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
