#!/usr/bin/env python3
"""Exact gates: what an operation costs in instructions, allocations, system calls and bytes, against accepted figures.

    gates.py [NAME...]                  measures all figures, or those that are named (yield_pinned, '*.allocations')
    gates.py --accept NAME --why TEXT   measures NAME and writes it to perf/accepted.json as what it has to be from now
                                        on; NAME may be a pattern, and be repeated
    gates.py --list                     the figures, and why each is what it is

A figure that is worse by more than 2 % than what was accepted fails; one that is better by more than 2 % asks to be
accepted, so that it can't be lost again unseen. A few are not measured against themselves but are to be at most
something. The last line is `N passed, M failed`.

Each operation runs in perf/gates.cpp with a count and with twice that; the difference is what it costs once. What is
counted is the same in each run on a machine. Instructions are those of one compiler: where another one built the
program, they are shown and not judged.
"""

import argparse
import collections
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

from strace import traced_calls

HERE = pathlib.Path(__file__).resolve().parent
MARGIN = 0.02
SLACK = 0.005  # of figures around 0, which have no two per cent

# Operations of gates.cpp, what one of them is, and how many are run first. Each run of the second has twice as many.
ALONE = {
    "yield_pinned": ("yield", 8000),
    "yield_roving": ("yield", 8000),
    "spawn_get_pinned": ("task", 4000),
    "spawn_get_roving": ("task", 4000),
    "spawn_1000_pinned": ("task", 4000),
    "spawn_1000_roving": ("task", 4000),
    "fork_join": ("task", 8800),
    "group_of_10_roving": ("task", 4000),
    "gather_two": ("call", 2000),
    "cancel_waiting": ("task", 2000),
    "read_context_var": ("read", 8000),
    "semaphore_hop": ("hop", 8000),
    "event_hop": ("hop", 8000),
    "queue_hop": ("hop", 8000),
    "queue_put_get": ("item", 8000),
    "mutex_lock_unlock": ("pair", 8000),
    "post": ("callback", 4000),
    "timer_set_cancel": ("timer", 8000),
    "deadline_scope": ("scope", 8000),
    "echo_100": ("request", 4000),
    "echo_1": ("request", 1000),
}
MEMORY = {"memory_of_tasks": ("task", 20_000), "memory_of_connections": ("connection", 1500)}
# Under strace. Those of the clients in gates.cpp are no one else's.
CLIENT_CALLS = {"writev", "readv"}
CALLS = {"echo_100": ("request", 2000), "echo_1": ("request", 1000), "post_to_awake": ("post", 1000),
         "post_to_asleep": ("sleep", 200)}
SETTLING_S = 0.2  # after which a runtime that has nothing to do sleeps for good

Figure = collections.namedtuple("Figure", "name per value")
Verdict = collections.namedtuple("Verdict", "state text")  # state: good, bad, better, unjudged


# ---- Measuring --------------------------------------------------------------------------------------------------


def run(command, **options):
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, **options)
    if done.returncode != 0:
        raise SystemExit(f"gates: {' '.join(command)} ended with {done.returncode}\n{done.stdout}{done.stderr}")
    return done


def both_counts(measure, operation, count):
    """What is more in the second run, per operation, from two dictionaries of totals."""
    once, twice = measure(operation, count), measure(operation, 2 * count)
    return {name: (twice[name] - once.get(name, 0)) / count for name in twice}


# What memcpy and the like are made of depends on the processor unless they are told not to look.
PLAIN_PROCESSOR = {"GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX2,-ERMS,-FSRM,-RTM"}


def under_callgrind(program):
    def measure(operation, count):
        done = run(["valgrind", "--tool=callgrind", "--callgrind-out-file=/dev/null", program, operation, str(count)],
                   env={**os.environ, **PLAIN_PROCESSOR})
        instructions = re.search(r"Collected : (\d+)", done.stderr)
        if not instructions:
            raise SystemExit(f"gates: callgrind counted nothing\n{done.stderr}")
        return {"instructions": int(instructions.group(1)), **json.loads(done.stdout)}
    return measure


def alone(program):
    return lambda operation, count: json.loads(run([program, operation, str(count)]).stdout)


def under_strace(program):
    def measure(operation, count):
        with tempfile.NamedTemporaryFile() as file:
            done = run(["strace", "-c", "-f", "-o", file.name, program, operation, str(count)])
            calls = traced_calls(pathlib.Path(file.name).read_text(encoding="utf-8"))
        if not calls:
            raise SystemExit(f"gates: strace counted nothing\n{done.stderr}")
        of_ours = sum(number for call, number in calls.items() if call not in CLIENT_CALLS)
        return {"calls": of_ours, "writes": calls["write"], **json.loads(done.stdout)}
    return measure


def figures_of_calls(operation, per, found):
    if operation == "post_to_awake":
        return [Figure("post_to_awake.eventfd_writes", per, found["writes"])]
    if operation == "post_to_asleep":
        return [Figure("post_to_asleep.eventfd_writes", per, found["writes"] / found["sleeps"])]
    return [Figure(f"{operation}.calls", per, found["calls"])]


def calls_between_marks(text):
    """Lines of strace -ttt between the two readv(-1, ...), but for what comes right after the first and at the last."""
    lines = [(float(line.split()[1]), line) for line in text.splitlines()]
    marks = [at for at, line in lines if "readv(-1," in line]
    if len(marks) != 2 or marks[1] - marks[0] < 2 * SETTLING_S:
        raise SystemExit(f"gates: marks at {marks} in strace's log\n{text}")
    return [line for at, line in lines if marks[0] + SETTLING_S < at < marks[1] - SETTLING_S / 10]


def idle_calls(program):
    with tempfile.NamedTemporaryFile() as file:
        run(["strace", "-f", "-ttt", "-o", file.name, program, "idle", str(round(1000 * (1 + 1.1 * SETTLING_S)))])
        found = calls_between_marks(pathlib.Path(file.name).read_text(encoding="utf-8"))
    for line in found:
        print(f"gates: an idle runtime called {line}", file=sys.stderr)
    return [Figure("idle.calls", "second", len(found))]


def jobs(program):
    """(names of figures, function that measures them), in the order in which they are shown."""
    for operation, (per, count) in ALONE.items():
        def measure(operation=operation, per=per, count=count):
            found = both_counts(under_callgrind(program), operation, count)
            return [Figure(f"{operation}.{what}", per, found[what]) for what in ("instructions", "allocations")]
        yield [f"{operation}.instructions", f"{operation}.allocations"], measure
    for operation, (per, count) in CALLS.items():
        def measure(operation=operation, per=per, count=count):
            return figures_of_calls(operation, per, both_counts(under_strace(program), operation, count))
        what = "calls" if operation.startswith("echo") else "eventfd_writes"
        yield [f"{operation}.{what}"], measure
    yield ["idle.calls"], lambda: idle_calls(program)
    for operation, (per, count) in MEMORY.items():
        whats = {"memory_of_tasks": ["unstarted_bytes", "parked_bytes", "page_table_bytes"],
                 "memory_of_connections": ["connection_bytes"]}[operation]
        def measure(operation=operation, per=per, count=count, whats=whats):
            found = both_counts(alone(program), operation, count)
            return [Figure(f"memory.{what}", per, found[what]) for what in whats]
        yield [f"memory.{what}" for what in whats], measure


def is_wanted(name, patterns):
    return not patterns or any(fnmatch.fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")
                               for pattern in patterns)


def measure_all(program, patterns):
    wanted = [(names, measure) for names, measure in jobs(program) if any(is_wanted(name, patterns) for name in names)]
    if not wanted:
        raise SystemExit(f"gates: there is no figure {' '.join(patterns)}; see --list")
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(lambda job: job[1](), wanted))
    return [figure for each in found for figure in each if is_wanted(figure.name, patterns)]


# ---- Judging ----------------------------------------------------------------------------------------------------


def short(value):
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3f}".rstrip("0").rstrip(".") or "0"


def judge(figure, accepted, same_compiler=True):
    """`accepted` is the figure's entry in accepted.json, or None."""
    accept = f"./dev gates --accept {figure.name} --why '...'"
    if accepted is None:
        return Verdict("bad", f"{figure.name} is {short(figure.value)} per {figure.per} and has no accepted figure: "
                              f"{accept}")
    if "at_most" in accepted:
        limit = accepted["at_most"]
        if figure.value <= limit + SLACK:
            return Verdict("good", "")
        return Verdict("bad", f"{figure.name} is {short(figure.value)} per {figure.per} and must be at most "
                              f"{short(limit)}: {accepted['why']}")
    if figure.name.endswith(".instructions") and not same_compiler:
        return Verdict("unjudged", "")
    was = accepted["accepted"]
    said = f"{figure.name} is {short(figure.value)} per {figure.per}, accepted was {short(was)}"
    if figure.value > was * (1 + MARGIN) + SLACK:
        return Verdict("bad", f"{said} ({accepted['why']}). If that is worth it: {accept}")
    if figure.value < was * (1 - MARGIN) - SLACK:
        return Verdict("better", f"{said}. So that it stays: {accept}")
    return Verdict("good", "")


def change(figure, accepted):
    if accepted is None or "at_most" in accepted or accepted["accepted"] == 0:
        return ""
    return f"{figure.value / accepted['accepted'] - 1:+.1%}"


def print_table(figures, accepted, verdicts):
    words = {"good": "", "bad": "WORSE", "better": "better", "unjudged": "not judged"}
    rows = [("figure", "per", "measured", "accepted", "change", "")]
    for figure, verdict in zip(figures, verdicts):
        entry = accepted.get(figure.name)
        target = "" if entry is None else short(entry["accepted"]) if "accepted" in entry else \
            f"<= {short(entry['at_most'])}"
        rows.append((figure.name, figure.per, short(figure.value), target, change(figure, entry), words[verdict.state]))
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        cells = [cell.rjust(width) if i in (2, 3, 4) else cell.ljust(width)
                 for i, (cell, width) in enumerate(zip(row, widths))]
        print("  ".join(cells).rstrip())


# ---- The whole --------------------------------------------------------------------------------------------------


def write_accepted(path, kept):
    kept["figures"] = dict(sorted(kept["figures"].items()))
    path.write_text(json.dumps(kept, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def accept(path, kept, figures, about, why):
    for figure in figures:
        entry = kept["figures"].get(figure.name, {})
        if "at_most" in entry:
            print(f"gates: {figure.name} stays at most {short(entry['at_most'])}: that is a rule, and no measurement")
            continue
        kept["figures"][figure.name] = {"accepted": round(figure.value, 3), "why": why}
        print(f"accepted: {figure.name} {short(figure.value)} per {figure.per}, "
              f"{'was ' + short(entry['accepted']) if entry else 'new'}")
    kept["measured_with"] = about
    write_accepted(path, kept)


def read_arguments():
    parser = argparse.ArgumentParser(prog="gates", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--program", default="build/release/perf/gates")
    parser.add_argument("--accepted", type=pathlib.Path, default=HERE / "accepted.json")
    parser.add_argument("--accept", action="append", default=[], metavar="NAME")
    parser.add_argument("--why", metavar="TEXT")
    parser.add_argument("--list", action="store_true")
    arguments = parser.parse_args()
    if bool(arguments.accept) != bool(arguments.why):
        parser.error("--accept NAME and --why TEXT go together")
    return arguments


def main():
    arguments = read_arguments()
    kept = {"measured_with": {}, "figures": {}}
    if arguments.accepted.exists():
        kept = json.loads(arguments.accepted.read_text(encoding="utf-8"))
    accepted = kept["figures"]
    if arguments.list:
        for name, entry in accepted.items():
            print(f"{name}: {short(entry['accepted']) if 'accepted' in entry else 'at most ' + short(entry['at_most'])}"
                  f"; {entry['why']}")
        return 0
    for tool in ("valgrind", "strace"):
        if not shutil.which(tool):
            raise SystemExit(f"gates: there is no {tool}")
    began = time.monotonic()
    about = json.loads(run([arguments.program, "--about"]).stdout)
    patterns = arguments.accept or arguments.names
    figures = measure_all(arguments.program, patterns)
    if arguments.accept:
        accept(arguments.accepted, kept, figures, about, arguments.why)
        return 0

    before = kept["measured_with"]
    same_compiler = before.get("compiler") in (None, about["compiler"])
    verdicts = [judge(figure, accepted.get(figure.name), same_compiler) for figure in figures]
    print_table(figures, accepted, verdicts)
    print()
    for what, word in (("compiler", "The compiler"), ("libc", "The C library"), ("boost", "Boost")):
        if before.get(what) not in (None, about[what]):
            print(f"{word} is {about[what]}; the figures were accepted with {before[what]}"
                  f"{', so instructions are not judged' if what == 'compiler' else ''}.")
    gone = [] if patterns else [name for name in accepted if name not in {figure.name for figure in figures}]
    for name in gone:
        print(f"{name} is accepted and not measured any more: take it out of {arguments.accepted.name}")
    for verdict in verdicts:
        if verdict.text:
            print(verdict.text)
    failed = sum(verdict.state == "bad" for verdict in verdicts) + len(gone)
    print(f"{time.monotonic() - began:.0f} s")
    print(f"{len(verdicts) + len(gone) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
