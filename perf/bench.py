#!/usr/bin/env python3
"""Runs what is in perf/ beside what it is measured against, and prints one table for each benchmark.

    bench.py [NAME...] [-- OPTION...]   NAME: switch, tasks, sync, elsewhere, timers, memory, forkjoin (Google Benchmark
                                        programs, each gets the OPTIONs), echo (servers under perf/load), offered
                                        (their latency under more and more load); all of them without any
    bench.py --other BUILD [NAME...]    Google Benchmark programs of two builds, turn about, and what differs
    bench.py --compare A.json B.json    what differs between two files of earlier runs
    bench.py --targets [NAME...]        what has to be built for them

Times of one machine drift by tens of percent, so that only ratios within one run mean something. Everything is
measured several times, turn about with its limit: a Google program runs as a new process in each round, servers run in
pairs. The ratio is the median over rounds or pairs, and its interval holds 95 % of what the median is when they are
drawn anew (bootstrap).

A benchmark says in its label what it is compared with, one word for each:

    ns<=1.5*jump    its time per item is to be at most 1.5 times that of the benchmark `jump` of the same program
    p50_us/wake     the ratio of a counter, without a target; wake is another benchmark
    bytes/4096      the same against a number
    bytes<=4608     a counter, or ns, is to be at most that

A target is met (`yes`) when the whole interval is at or below it, missed (`no`) when all of it is above; else `noise`.

Writes NAME.json in Google Benchmark's format, with the comparisons, plots of it as NAME*.svg, and everything that is
printed as report.md.
"""

import argparse
import collections
import json
import os
import pathlib
import platform
import random
import re
import resource
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

import compare_runs
import plots
from entries import NOT_COUNTERS, metric_of, short, short_name
from strace import traced_calls

PROGRAMS = ("switch", "tasks", "sync", "elsewhere", "timers", "memory", "forkjoin")
ECHO_SERVERS = {"limit_echo": "raw epoll", "echo": "roving"}  # the limit first
URING_ECHO = {"limit_uring_echo": "raw io_uring"}  # where the kernel has it
URING_ECHO_TARGET = 0.95  # CPU time per request against raw epoll's: what a reactor over it could win
NO_IO_URING = 3  # its exit status where it can't run
ECHO_TARGETS = {100: 1.03, 1000: 1.04}  # connections: CPU time per request against the limit's
ECHO_CALLS_AT_MOST = 2.1  # system calls per request
ECHO_P99_TARGET = 1.1
OFFERED_TENTHS = (1, 3, 5, 7, 8, 9)  # of what raw epoll can do

Comparison = collections.namedtuple("Comparison", "name metric value against target ratio interval verdict")


# ---- Numbers --------------------------------------------------------------------------------------------------


def interval_of_median(values, draws=2000):
    """The middle 95 % of the medians of `values` drawn anew, always in the same way."""
    chance = random.Random(1)
    medians = sorted(statistics.median(chance.choices(values, k=len(values))) for _ in range(draws))
    return medians[int(draws * 0.025)], medians[int(draws * 0.975)]


def spread(values):
    return f"{short(min(values))} to {short(max(values))}"


def verdict(interval, target):
    if target is None:
        return ""
    low, high = interval
    return "yes" if high <= target else "no" if low > target else "noise"


def compare(name, metric, values, against, others, target):
    """`values` and `others` are pairs. The target is a ratio."""
    ratios = [ours / theirs for ours, theirs in zip(values, others) if theirs]
    if not ratios:
        return Comparison(name, metric, statistics.median(values), against, target, None, None, "")
    interval = interval_of_median(ratios)
    return Comparison(name, metric, statistics.median(values), against, target, statistics.median(ratios), interval,
                      verdict(interval, target))


# ---- Printing ---------------------------------------------------------------------------------------------------


class Report:
    """What is printed, kept for a file."""

    def __init__(self):
        self.lines = []

    def say(self, text=""):
        print(text, flush=True)
        self.lines.append(text)

    def table(self, head, rows):
        cells = [list(head)] + [list(row) for row in rows]
        widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
        def line(row):
            return "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
        self.say(line(cells[0]))
        self.say("|" + "|".join("-" * (width + 2) for width in widths) + "|")
        for row in cells[1:]:
            self.say(line(row))
        self.say()


HEAD = ("benchmark", "measured", "least to most", "against", "ratio", "95 %", "target", "met")


def comparison_cells(found):
    interval = "" if found.ratio is None else f"{short(found.interval[0])} to {short(found.interval[1])}"
    target = "" if found.target is None else f"<= {short(found.target)}"
    return found.against, short(found.ratio), interval, target, found.verdict


# ---- The machine ------------------------------------------------------------------------------------------------


def first_match(pattern, path, otherwise="unknown"):
    try:
        found = re.search(pattern, pathlib.Path(path).read_text(), re.MULTILINE)
    except OSError:
        return otherwise
    return found.group(1).strip() if found else otherwise


def output_of(*command):
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def describe_machine(build):
    cache = build / "CMakeCache.txt"
    compiler = first_match(r"^CMAKE_CXX_COMPILER:\w+=(.*)$", cache)
    kind = first_match(r"^CMAKE_BUILD_TYPE:\w+=(.*)$", cache)
    flags = first_match(rf"^CMAKE_CXX_FLAGS_{kind.upper()}:\w+=(.*)$", cache)
    return {
        "cpu": first_match(r"^model name\s*:\s*(.*)$", "/proc/cpuinfo", platform.processor()),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.release()}",
        "compiler": output_of(compiler, "--version").split("\n")[0],
        "build": f"{kind}: {flags}",
        "commit": output_of("git", "-C", str(pathlib.Path(__file__).parent), "describe", "--always", "--dirty"),
    }


class Disturbance:
    """How much of the cores' time went to others than what we started."""

    def __init__(self):
        self.before = self.read()

    @staticmethod
    def read():
        with open("/proc/stat", encoding="ascii") as file:
            user, nice, system, _, _, hard, soft, stolen = map(int, file.readline().split()[1:9])
        ours = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = resource.getrusage(resource.RUSAGE_SELF)
        return (time.monotonic(), (user + nice + system + hard + soft + stolen) / os.sysconf("SC_CLK_TCK"),
                ours.ru_utime + ours.ru_stime + own.ru_utime + own.ru_stime)

    def share(self):
        wall, busy, ours = (now - before for now, before in zip(self.read(), self.before))
        return max(0.0, (busy - ours) / (wall * os.cpu_count()))


# ---- Google Benchmark programs ----------------------------------------------------------------------------------

WORD = re.compile(r"(\w+)(?:<=(?:([\d.]+)\*(.+)|([\d.]+))|/(?:([\d.]+)|(.+)))")


def run_once(program, options):
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        done = subprocess.run([program, f"--benchmark_out={file.name}", "--benchmark_out_format=json",
                               "--benchmark_min_time=0.05", *options], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench: {program} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        try:
            return json.load(file)
        except json.JSONDecodeError:
            raise SystemExit(f"bench: {program} measured nothing\n{done.stdout}{done.stderr}") from None


def run_programs(programs, rounds, options):
    """For each of them the context of its first round and all rounds' entries. They take turns."""
    found = [({}, []) for _ in programs]
    for round_number in range(rounds):
        for which in range(len(programs))[::1 if round_number % 2 == 0 else -1]:
            whole = run_once(programs[which], options)
            context, entries = found[which]
            context.update(whole["context"] if not context else {})
            for entry in whole["benchmarks"]:
                entry.update(repetitions=rounds, repetition_index=round_number)
                entries.append(entry)
    return found


def compare_entries(entries):
    """Comparisons by benchmark, in the order in which they stand in the program."""
    by_name = collections.OrderedDict()
    for entry in entries:
        by_name.setdefault(short_name(entry), []).append(entry)
    found = collections.OrderedDict()
    for name, mine in by_name.items():
        found[name] = []
        if any(entry.get("error_occurred") for entry in mine):
            continue
        for word in mine[0].get("label", "").split():
            parsed = WORD.fullmatch(word)
            if not parsed:
                raise SystemExit(f"bench: the label of {name} has \"{word}\", which says nothing")
            metric, factor, factor_of, at_most, number, other = parsed.groups()
            values = [metric_of(entry, metric) for entry in mine]
            if at_most is not None:
                interval = interval_of_median(values)
                found[name].append(Comparison(name, metric, statistics.median(values), "", float(at_most), None,
                                              interval, verdict(interval, float(at_most))))
                continue
            target = float(factor) if factor else None
            if number is not None:
                found[name].append(compare(name, metric, values, number, [float(number)] * len(values), target))
                continue
            against = factor_of or other
            theirs = [metric_of(entry, metric) for entry in by_name.get(against, [])
                      if not entry.get("error_occurred")]
            found[name].append(compare(name, metric, values, against, theirs, target))
    return by_name, found


def print_entries(report, by_name, comparisons):
    rows = []
    for name, mine in by_name.items():
        if mine[0].get("error_occurred"):
            rows.append((name, mine[0]["error_message"], "", "", "", "", "", ""))
            continue
        compared = [each.metric for each in comparisons[name]]
        lines = [(each.metric, each) for each in comparisons[name]]
        if not lines and "items_per_second" in mine[0]:
            lines = [("ns", None)]
        lines += [(counter, None) for counter in mine[0] if counter not in NOT_COUNTERS and counter not in compared]
        shown = set()
        for metric, comparison in lines:
            values = [metric_of(entry, metric) for entry in mine]
            measured = (f"{short(statistics.median(values))} {metric}",
                        spread(values) if len(values) > 1 else "")
            rows.append((name, *(("", "") if metric in shown else measured),
                         *(comparison_cells(comparison) if comparison else ("", "", "", "", ""))))
            shown.add(metric)
    blank_repeats(rows)
    report.table(HEAD, rows)


def blank_repeats(rows):
    """A name is printed once."""
    last = None
    for i, row in enumerate(rows):
        if row[0] == last:
            rows[i] = ("", *row[1:])
        last = row[0]


def run_google(name, arguments, report):
    builds = [arguments.build, *([arguments.other] if arguments.other else [])]
    programs = [str(build / "perf" / f"bench_{name}") for build in builds]
    (context, entries), *others = run_programs(programs, arguments.rounds, arguments.options)
    for other_context, other_entries in others:
        other_context.update(describe_machine(arguments.other))
        write_json(arguments.output / f"{name}.other.json", other_context, other_entries, [])
    by_name, comparisons = compare_entries(entries)
    report.say(f"## {name}")
    report.say()
    print_entries(report, by_name, comparisons)
    return context, entries, [each for group in comparisons.values() for each in group]


# ---- The echo servers -------------------------------------------------------------------------------------------


def on_core(number, command):
    """Servers on the first core that we may use, their client on the last."""
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2 or not shutil.which("taskset"):
        return command
    return ["taskset", "-c", str(cores[number]), *command]


def children_of(pid):
    with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
        return [int(child) for child in file.read().split()]


class Server:
    """A server that runs, and its port; on the first core, or on all of them. With `trace` it runs under strace, which
    writes its counts there. Stopped when the `with` is left."""

    says = re.compile(r"listening on 127\.0\.0\.1:(\d+)\n")

    def __init__(self, command, *, trace=None, pinned=True, stderr=None):
        command = [*(["strace", "-c", "-f", "-o", trace] if trace else []), *map(str, command), "--port", "0"]
        self.process = subprocess.Popen(on_core(0, command) if pinned else command, stdout=subprocess.PIPE,
                                        stderr=stderr, text=True)
        said = self.process.stdout.readline()
        found = self.says.fullmatch(said)
        if not found:
            self.process.kill()
            raise SystemExit(f"bench: {' '.join(command)} said \"{said}\" and not where it listens")
        self.port = int(found.group(1))
        self.pid = children_of(self.process.pid)[0] if trace else self.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop()

    def cpu_ns(self):
        """Of all its threads."""
        threads = pathlib.Path(f"/proc/{self.pid}/task").glob("*/schedstat")
        return sum(int(thread.read_text().split()[0]) for thread in threads)

    def stop(self):
        os.kill(self.pid, signal.SIGTERM)
        self.process.stdout.close()
        self.process.wait(10)


def echo_at(server):
    return ["--echo", "--url", f"127.0.0.1:{server.port}"]


def load(build, target, connections, seconds, *options):
    """`target`: what tells the client whom to ask, and how."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [str(build / "perf" / "load"), *target, "--json", file.name, "--connections", str(connections),
                   "--duration", str(seconds), *options]
        done = subprocess.run(on_core(-1, command), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"bench: load ended with {done.returncode}\n{done.stdout}{done.stderr}")
        return json.load(file)


def closed_loop(build, server, target, connections, seconds):
    """What a request costs the server: the difference of a long and a short load, so that starting, accepting and
    closing cancel out. And what the client said of the long one."""
    at_start = server.cpu_ns()
    brief = load(build, target, connections, seconds / 10, "--warmup", "0")
    before = server.cpu_ns()
    full = load(build, target, connections, seconds, "--warmup", "0")
    after = server.cpu_ns()
    used_ns = (after - before) - (before - at_start)
    return {
        "cpu_us": used_ns / 1000 / (full["requests"] - brief["requests"]),
        "requests_per_second": full["requests_per_second"],
        "busy": (after - before) / 1e9 / full["seconds"],
    }, full


def measure_closed_loop(build, program, connections, seconds):
    with Server([program]) as server:
        cost, full = closed_loop(build, server, echo_at(server), connections, seconds)
    return {**cost, "p50_us": full["latency_us"]["p50"], "p99_us": full["latency_us"]["p99"]}


def measure_open_loop(build, program, connections, seconds, rate):
    with Server([program]) as server:
        found = load(build, echo_at(server), connections, seconds, "--warmup", "0.2", "--rate", str(rate))
    return {"p50_us": found["latency_us"]["p50"], "p99_us": found["latency_us"]["p99"],
            "requests_per_second": found["requests_per_second"], "percentiles": found["percentiles_us"]}


def measure_calls(build, program, connections):
    """System calls per request by name: again the difference of two loads."""
    found = []
    for seconds in (0.2, 1.2):
        with tempfile.NamedTemporaryFile() as file:
            with Server([program], trace=file.name) as server:
                requests = load(build, echo_at(server), connections, seconds, "--warmup", "0")["requests"]
            found.append((requests, traced_calls(pathlib.Path(file.name).read_text())))
    (few, brief), (many, full) = found
    return {name: (count - brief[name]) / (many - few) for name, count in full.items() if count != brief[name]}


def turn_about(rounds, names, measure):
    """What measure(name) gives for each name, once a round, each round in the other order."""
    found = {name: [] for name in names}
    for round_number in range(rounds):
        for name in list(names)[::1 if round_number % 2 == 0 else -1]:
            found[name].append(measure(name))
    return found


def server_entries(name, found):
    """In Google Benchmark's words."""
    entries = []
    for program, runs in found.items():
        for number, run in enumerate(runs):
            microseconds = run.get("cpu_us", run.get("p50_us", 0))
            entries.append({"name": f"{program}/{name}", "run_name": f"{program}/{name}", "run_type": "iteration",
                            "repetitions": len(runs), "repetition_index": number, "threads": 1, "iterations": 1,
                            "real_time": microseconds, "cpu_time": microseconds, "time_unit": "us", **run})
    return entries


def echo_rows(name, found, metrics, targets):
    """All servers' rows, and the comparisons of each with the limit."""
    rows = []
    comparisons = []
    limit, ours = ECHO_SERVERS
    for program, runs in found.items():
        called = {**ECHO_SERVERS, **URING_ECHO}[program]
        for metric in metrics:
            values = [run[metric] for run in runs]
            cells = ("", "", "", "", "")
            if program != limit and metric in targets:
                target = targets[metric] if program == ours else URING_ECHO_TARGET if metric == "cpu_us" else None
                comparison = compare(f"{'echo' if program == ours else 'uring_echo'}/{name}", metric, values,
                                     ECHO_SERVERS[limit], [run[metric] for run in found[limit]], target)
                comparisons.append(comparison)
                cells = comparison_cells(comparison)
            rows.append((f"{name} {called}", f"{short(statistics.median(values))} {metric}", spread(values), *cells))
    blank_repeats(rows)
    return rows, comparisons


def allow_many_descriptors():
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


class EchoRuns:
    """What several measurements of both servers came to."""

    def __init__(self, build):
        allow_many_descriptors()
        self.build = build
        self.entries, self.comparisons, self.rows = [], [], []

    def program(self, name):
        return str(self.build / "perf" / name)

    def measure(self, pairs, how, *options, servers=tuple(ECHO_SERVERS)):
        """Each server once a pair, turn about."""
        return turn_about(pairs, servers, lambda name: how(self.build, self.program(name), *options))

    def add(self, name, called, found, metrics, targets):
        """`name` is for the file, `called` for the table."""
        self.entries += server_entries(name, found)
        rows, comparisons = echo_rows(called, found, metrics, targets)
        self.rows += rows
        self.comparisons += comparisons


def why_no_io_uring(program):
    """What it says where the kernel has no io_uring for it, else None."""
    with subprocess.Popen([program, "--port", "0"], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                          text=True) as process:
        if process.stdout.readline():
            process.terminate()
        said = process.stderr.read().strip()
        return said if process.wait() == NO_IO_URING else None


def run_echo(arguments, report):
    limit, ours = ECHO_SERVERS
    runs = EchoRuns(arguments.build)
    refusal = why_no_io_uring(runs.program(*URING_ECHO))
    servers = ECHO_SERVERS if refusal else {**ECHO_SERVERS, **URING_ECHO}
    rate = 0
    for connections, target in ECHO_TARGETS.items():
        found = runs.measure(arguments.pairs, measure_closed_loop, connections, 1, servers=servers)
        name = f"connections:{connections}"
        runs.add(name, name, found, ("cpu_us", "requests_per_second", "busy"),
                 {"cpu_us": target, "requests_per_second": None})
        rate = rate or round(0.5 * statistics.median(run["requests_per_second"] for run in found[limit]), -3)

    found = runs.measure(arguments.pairs, measure_open_loop, 100, 0.5, max(rate, 1000))
    name = "connections:100/half_load"
    runs.add(name, name, found, ("p50_us", "p99_us"), {"p50_us": None, "p99_us": ECHO_P99_TARGET})

    report.say("## echo")
    report.say()
    report.table(HEAD, runs.rows)
    report.say(f"half_load: {rate:,.0f} requests per second, each due at its time, by which latency counts.")
    if refusal:
        report.say(f"{' '.join(URING_ECHO.values())} is not measured: {refusal}.")
    report.say()

    if shutil.which("strace"):
        rows = []
        for name, called in servers.items():
            calls = measure_calls(arguments.build, runs.program(name), 100)
            total = sum(calls.values())
            met = "" if name != ours else "yes" if total <= ECHO_CALLS_AT_MOST else "no"
            rows.append((called, f"{total:.3f}", "" if name != ours else f"<= {ECHO_CALLS_AT_MOST}", met,
                         ", ".join(f"{call} {count:.3f}" for call, count in sorted(calls.items(), key=lambda x: -x[1])
                                   if count >= 0.0005)))
            runs.entries += server_entries("connections:100/calls", {name: [{"calls": total, "by_name": calls}]})
            if name == ours:
                runs.comparisons.append(Comparison("echo/connections:100", "calls", total, "", ECHO_CALLS_AT_MOST, None,
                                                   (total, total), met))
        report.table(("100 connections", "system calls per request", "target", "met", "which"), rows)
    else:
        report.say("System calls are not counted: there is no strace.")
        report.say()
    return {}, runs.entries, runs.comparisons


def run_offered(arguments, report):
    """Latency under a tenth, two tenths and so on of what raw epoll can do. Each request counts from when it was due,
    so that both servers are offered the same, whatever they make of it."""
    limit, _ = ECHO_SERVERS
    runs = EchoRuns(arguments.build)
    most = statistics.median(measure_closed_loop(runs.build, runs.program(limit), 100, 1)["requests_per_second"]
                             for _ in range(3))
    for tenths in OFFERED_TENTHS:
        rate = max(1000, round(most * tenths / 10, -2))
        found = runs.measure(max(3, arguments.pairs // 2), measure_open_loop, 100, 0.5, rate)
        runs.add(f"offered:{rate:.0f}", f"{rate:,.0f}/s", found, ("p50_us", "p99_us", "requests_per_second"),
                 {"p50_us": None, "p99_us": ECHO_P99_TARGET})
    report.say("## offered")
    report.say()
    report.table(HEAD, runs.rows)
    report.say(f"Raw epoll answers {most:,.0f} requests per second of 100 connections in a closed loop.")
    report.say()
    return {}, runs.entries, runs.comparisons


# ---- The whole --------------------------------------------------------------------------------------------------

SERVERS = {"echo": run_echo, "offered": run_offered}


def write_json(path, context, entries, comparisons):
    with open(path, "w", encoding="utf-8") as file:
        json.dump({"context": context, "benchmarks": entries,
                   "comparisons": [each._asdict() for each in comparisons]}, file, indent=1)


def read_arguments():
    parser = argparse.ArgumentParser(prog="bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME")
    parser.add_argument("--targets", action="store_true", help="print what has to be built, and end")
    parser.add_argument("--build", type=pathlib.Path, default=pathlib.Path("build/release"))
    parser.add_argument("--output", type=pathlib.Path, default=pathlib.Path("build/bench"))
    parser.add_argument("--rounds", type=int, default=5, help="of each Google Benchmark program (5)")
    parser.add_argument("--pairs", type=int, default=10, help="of servers (10)")
    parser.add_argument("--other", type=pathlib.Path, metavar="BUILD", help="another build, as build/lto")
    parser.add_argument("--compare", nargs=2, type=pathlib.Path, metavar="JSON")
    given = sys.argv[1:]
    options = []
    if "--" in given:
        options = given[given.index("--") + 1:]
        given = given[:given.index("--")]
    arguments = parser.parse_args(given)
    arguments.options = options
    arguments.names = [name.removeprefix("bench_") for name in arguments.names] or [*PROGRAMS, *SERVERS]
    for name in arguments.names:
        if name not in (*PROGRAMS, *SERVERS):
            parser.error(f"there is no {name}; there are {', '.join((*PROGRAMS, *SERVERS))}")
    if arguments.other:
        arguments.names = [name for name in arguments.names if name in PROGRAMS]
    return arguments


def main():
    arguments = read_arguments()
    if arguments.targets:
        print("\n".join([f"bench_{name}" for name in arguments.names if name in PROGRAMS] +
                        ([*ECHO_SERVERS, *URING_ECHO, "load"] if set(arguments.names) & set(SERVERS) else [])))
        return
    if arguments.compare:
        compare_runs.say(Report(), arguments.compare)
        return
    arguments.output.mkdir(parents=True, exist_ok=True)
    machine = describe_machine(arguments.build)
    report = Report()
    report.say(f"{machine['cpu']}, {machine['cores']} cores; {machine['system']}; {machine['compiler']}, "
               f"{machine['build']}; commit {machine['commit']}; {arguments.rounds} rounds, {arguments.pairs} pairs")
    report.say()
    whole = Disturbance()
    began = time.monotonic()
    for name in arguments.names:
        disturbance = Disturbance()
        context, entries, comparisons = (SERVERS[name](arguments, report) if name in SERVERS else
                                         run_google(name, arguments, report))
        context.update(machine, date=time.strftime("%Y-%m-%dT%H:%M:%S%z"), others_share_of_cores=disturbance.share())
        path = arguments.output / f"{name}.json"
        write_json(path, context, entries, comparisons)
        drawn = plots.draw(path)
        if drawn:
            report.say(f"Plots: {', '.join(map(str, drawn))}")
            report.say()
        if arguments.other:
            report.say(f"{arguments.other} (before) against {arguments.build} (after)")
            report.say()
            compare_runs.say(report, [path.with_suffix(".other.json"), path])
            report.say()
    share = whole.share()
    report.say(f"{time.monotonic() - began:.0f} s. Other processes used {share:.0%} of the cores meanwhile"
               f"{': repeat it when the machine is quiet.' if share > 0.05 else '.'}")
    (arguments.output / "report.md").write_text("\n".join(report.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
