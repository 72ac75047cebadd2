#!/usr/bin/env python3
"""Holds roving against asyncio: the golden cases, then random programs. What `./dev conformance` runs.

    run.py --runner BUILD/roving_trace [--seed S] [--count N] [--size SIZE] [--jobs J]

A third of the programs is small, medium and large each, unless a size is given. The reference wants Python 3.13; with
an older one the features that all versions share are compared. The first line says which ran, the last one is
`N passed, M failed`. What differs is shown, shrunk, and written to build/conformance-failures/.
"""
import argparse
import glob
import os
import re
import shutil
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
ORACLE = os.path.join(HERE, "oracle")
CLOSING = re.compile(r"(\d+) passed, (\d+) failed(, \d+ skipped)?$")
PREFERRED = ((3, 13), (3, 12), (3, 11), (3, 14))  # 3.14 was never tried


def version_of(python):
    """(major, minor, micro) of an interpreter; None if it does not run."""
    try:
        done = subprocess.run([python, "-c", "import sys; print(*sys.version_info[:3])"], stdout=subprocess.PIPE,
                              stderr=subprocess.DEVNULL, text=True, timeout=30)
        return tuple(int(part) for part in done.stdout.split()) if done.returncode == 0 else None
    except (OSError, ValueError, subprocess.TimeoutExpired):
        return None


def find_python():
    """The interpreter for the reference and its version: 3.13 if there is one, else the best there is."""
    named = [f"python{major}.{minor}" for major, minor in PREFERRED] + ["python3"]
    candidates = [os.environ.get("ROVING_PYTHON"), sys.executable] + [shutil.which(name) for name in named]
    pyenv = os.environ.get("PYENV_ROOT") or os.path.expanduser("~/.pyenv")  # its shims run one version only
    candidates += sorted(glob.glob(os.path.join(pyenv, "versions", "3.1[1-4].*", "bin", "python3")))
    found = {}
    for candidate in candidates:
        version = version_of(candidate) if candidate else None
        if version:
            found.setdefault(version[:2], (candidate, version))
    for wanted in PREFERRED:
        if wanted in found:
            return found[wanted]
    sys.exit("run.py: the reference needs Python 3.11 or later, best 3.13; name one in ROVING_PYTHON")


def compare(python, arguments):
    """Runs compare.py, passes its output on but for the last line; (passed, failed) of that."""
    command = [python, os.path.join(ORACLE, "compare.py"), *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
        closing = None
        for line in running.stdout:
            if closing is not None:
                print(closing.string, end="", flush=True)
            closing = CLOSING.match(line)
            if closing is None:
                print(line, end="", flush=True)
    if closing is None:  # it broke down
        return 0, 1
    if closing.group(3):  # what can't be run is no success
        print(f"skipped programs: {closing.string.strip()}")
        return int(closing.group(1)), int(closing.group(2)) + 1
    return int(closing.group(1)), int(closing.group(2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--runner", required=True, help="the interpreter, tests/conformance/roving_trace of a build")
    parser.add_argument("--seed", default="1")
    parser.add_argument("--count", type=int, default=2000, help="random programs; 0: the golden cases alone")
    parser.add_argument("--size", choices=("small", "medium", "large", "mixed"), default="mixed")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1)
    args = parser.parse_args()

    python, version = find_python()
    number = ".".join(map(str, version))
    features = "all" if version[:2] == (3, 13) else "shared"
    print(f"the reference is asyncio of CPython {number} ({python}): "
          + ("all features" if features == "all" else "the features that all its versions share"), flush=True)

    common = ["--runner", f"{args.runner} --list {{list}}", "--out", "build/conformance-failures"]
    runs = [("golden cases", ["--cases", os.path.join(ORACLE, "cases")])]
    sizes = ("small", "medium", "large") if args.size == "mixed" else (args.size,)
    for i, size in enumerate(sizes):
        count = args.count * (i + 1) // len(sizes) - args.count * i // len(sizes)
        if count > 0:
            runs.append((f"{count} random programs, {size}, seed {args.seed}",
                         ["--seed", args.seed, "--count", str(count), "--size", size, "--jobs", str(args.jobs),
                          "--features", features]))
    passed = failed = 0
    for what, arguments in runs:
        plus, minus = compare(python, common + arguments)
        print(f"{what}: {minus} of {plus + minus} differ", flush=True)
        passed += plus
        failed += minus
    print(f"{passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
