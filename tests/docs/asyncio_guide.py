#!/usr/bin/env python3
"""The programs of the pages on asyncio: made into one C++ source, and checked.

    asyncio_guide.py generate OUT.cpp PAGE.md...   each C++ snippet in a function of its own
    asyncio_guide.py check PROGRAM PAGE.md...      runs it: each must print the text block that follows its snippet; so
                                                   must the Python before it, where there is CPython 3.13, unless that
                                                   has a text block of its own
    asyncio_guide.py self-test

A snippet with a main is taken as it is. Any other is the body of main: what roving::run calls, or asyncio.run awaits.
"""
import os
import re
import subprocess
import sys
import textwrap

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "conformance"))
import run as conformance  # noqa: E402  it knows where Python is

BLOCK = re.compile(r"^```(python|cpp|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
MARK = "== "
LIMIT_S = 120


class Snippet:
    def __init__(self, name):
        self.name = name
        self.python = None
        self.cpp = None
        self.line = 0  # of the C++
        self.page = ""
        self.expected = None
        self.expected_of_python = None


def snippets_of(name, page):
    """The snippets of a page. Each has C++, and ends with the text block of that."""
    found, pending = [], Snippet("")
    for match in BLOCK.finditer(page):
        kind, text = match.groups()
        headings = re.findall(r"^##+ (.*)$", page[:match.start()], re.MULTILINE)
        pending.name = f"{name} {len(found) + 1}: {headings[-1] if headings else ''}"
        if kind == "python":
            assert pending.python is None and pending.cpp is None, f"{pending.name}: Python without C++ after it"
            pending.python = text
        elif kind == "cpp":
            assert pending.cpp is None, f"{pending.name}: C++ without a text block after it"
            pending.cpp, pending.line, pending.page = text, page.count("\n", 0, match.start()) + 2, name
        elif pending.cpp is None:
            assert pending.python and pending.expected_of_python is None, f"{pending.name}: a text block of what?"
            pending.expected_of_python = text
        else:
            pending.expected = text
            found.append(pending)
            pending = Snippet("")
    assert pending.python is None and pending.cpp is None, f"{pending.name}: no text block after it"
    return found


def generate(found):
    """One source with all of them."""
    headers = ("array", "cstdio", "functional", "memory", "mutex", "stdexcept", "string", "string_view", "thread",
               "vector", "roving/roving.hpp")
    lines = ["// Made by tests/docs/asyncio_guide.py."]
    lines += [f"#include <{header}>" for header in headers]
    lines += ["using namespace std::chrono_literals;"]
    for number, snippet in enumerate(found):
        kept = [line if not line.startswith(("#include", "using namespace")) else "" for line in
                snippet.cpp.split("\n")]
        code = "\n".join(kept)
        where = f'#line {snippet.line} "{snippet.page}"'
        lines.append(f"namespace snippet_{number} {{")
        if "int main()" in code:
            lines += [where, code.replace("int main()", "void program()")]
        else:
            lines += ["void program() {", "roving::run([] {", where, code, "});", "}"]
        lines.append("}")
    lines.append("int main() {")
    for number, snippet in enumerate(found):
        lines += [f'  std::puts("{MARK}{snippet.name}");', f"  snippet_{number}::program();"]
    lines += ["}", ""]
    return "\n".join(lines)


def parts_of(output):
    """What was printed, by name of the snippet."""
    parts = {}
    for part in re.split(f"^{MARK}", output, flags=re.MULTILINE)[1:]:
        name, _, text = part.partition("\n")
        parts[name] = text
    return parts


def python_program(text):
    if re.search(r"^asyncio\.run\(", text, re.MULTILINE):
        return text
    return "import asyncio\n\nasync def main():\n" + textwrap.indent(text, "    ") + "\nasyncio.run(main())\n"


def find_python():
    try:
        python, version = conformance.find_python()
        return (python, ".".join(map(str, version))) if version[:2] == (3, 13) else (None, None)
    except SystemExit:
        return None, None


def run(command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S)
    return done.stdout + (f"\n[ended with {done.returncode}: {done.stderr}]" if done.returncode != 0 else "")


def check(found, program):
    printed = parts_of(run([program]))
    python, version = find_python()
    print(f"the Python is run by {version}" if python else "no CPython 3.13: the Python is not run")
    failures = 0
    for snippet in found:
        outputs = [("C++", printed.get(snippet.name, ""), snippet.expected)]
        if python and snippet.python:
            expected = snippet.expected_of_python or snippet.expected
            outputs.append(("Python", run([python, "-c", python_program(snippet.python)]), expected))
        for language, output, expected in outputs:
            if output != expected:
                failures += 1
                print(f"FAILED: {snippet.name}: the {language} prints\n{output}instead of\n{expected}")
    print(f"{len(found)} snippets, {failures} outputs differ")
    return 1 if failures or len(printed) != len(found) else 0


def self_test():
    page = "# Page\n\n## One\n\n```python\nprint(1)\n```\n\n```cpp\nint main() {}\n```\n\n```text\n1\n```\n\n" \
           "### Two\n\n```cpp\n#include <x>\nf();\n```\n\n```text\n2\n```\n" \
           "```python\nx\n```\n```text\n3\n```\n```cpp\ny\n```\n```text\n4\n```\n"
    found = snippets_of("p.md", page)
    one, two, three = found
    assert (one.name, one.python, one.cpp, one.expected) == ("p.md 1: One", "print(1)\n", "int main() {}\n", "1\n")
    assert (two.name, two.python, two.line, two.expected) == ("p.md 2: Two", None, 20, "2\n"), two.line
    assert (one.expected_of_python, three.expected_of_python, three.expected) == (None, "3\n", "4\n")
    source = generate(found)
    assert "void program() {}" in source and "#include <x>" not in source and '#line 20 "p.md"' in source
    assert parts_of("== p.md 1: One\n1\n== p.md 2: Two\n2\n") == {"p.md 1: One": "1\n", "p.md 2: Two": "2\n"}
    for broken in ("```cpp\nf();\n```\n", "```text\n1\n```\n", "```python\nx\n```\n\n```python\ny\n```\n"):
        try:
            snippets_of("p.md", broken)
        except AssertionError:
            continue
        raise RuntimeError(f"taken: {broken}")
    assert "    print(1)" in python_program("print(1)\n")
    print("ok")
    return 0


def main(arguments):
    if arguments == ["self-test"]:
        return self_test()
    if len(arguments) < 3 or arguments[0] not in ("generate", "check"):
        sys.exit(__doc__)
    found = []
    for path in arguments[2:]:
        with open(path, encoding="utf-8") as file:
            found += snippets_of(os.path.basename(path), file.read())
    if arguments[0] == "check":
        return check(found, arguments[1])
    with open(arguments[1], "w", encoding="utf-8") as file:
        file.write(generate(found))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
