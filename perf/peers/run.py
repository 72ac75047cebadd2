#!/usr/bin/env python3
"""Measures roving beside its peers: all of them in one run, turn about.

    run.py [PART...]      PART: micro, echo, http, mixed, stalls; all of them without any

    micro    operations of tasks, between tasks and of timers
    echo     64 bytes there and back, 100 and 1,000 connections, one thread: the server's CPU time for a request
    http     hello, keep-alive, 100 connections: the same
    mixed    each request computes for 20 us; two threads, 64 connections: throughput and latencies
    stalls   a share of the requests computes for 2 ms: the same

Builds what the machine can have, by build.sh, and names what is missing. Writes peers_PART.json in Google Benchmark's
format and peers.md, which is what is printed. How a ratio and its interval come about, bench.py says.
"""

import argparse
import collections
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))
import bench  # noqa: E402  (what stands beside this folder)


def peers_there(build):
    """Builds all, and says which could not be: those that can be used, and what the others miss."""
    there, missing = [], {}
    for peer in subprocess.run([HERE / "build.sh", "--list"], capture_output=True, text=True,
                               check=True).stdout.split():
        done = subprocess.run([HERE / "build.sh", peer, build], capture_output=True, text=True, check=False)
        if done.returncode == 0:
            there.append(peer)
        elif done.returncode == 3:
            missing[peer] = done.stderr.strip().splitlines()[-1].removeprefix("missing: ")
        else:
            raise SystemExit(f"run: {peer} could not be built\n{done.stdout}{done.stderr}")
    return there, missing


# ---- micro ------------------------------------------------------------------------------------------------------

# Of each operation: roving's program and its name there, what is compared, and what roving's may be at most of a peer's
# ("" is every other).
Operation = collections.namedtuple("Operation", "program name metric targets")
OPERATIONS = {
    "yield": Operation("tasks", "yield_pinned/shards:1", "ns", {"": 1}),
    "spawn_and_join": Operation("tasks", "spawn_and_get_pinned/shards:1", "ns", {"": 1}),
    "spawn_1000_then_join": Operation("tasks", "spawn_1000_then_join_pinned/shards:1", "ns", {"": 1}),
    "hop": Operation("sync", "semaphore_hop/shards:1", "ns", {"": 1}),
    "timer_set_cancel": Operation("timers", "post_at_and_cancel", "ns", {"": 1, "libuv": 2}),
    "sleepers": Operation("timers", "sleeping_tasks", "cpu_us", {}),
    "hop_asleep": Operation("sync", "shard_hop_asleep", "p50_us", {}),
    "wake": Operation("sync", "shard_wake", "p50_us", {}),
    "wake_by_who_goes_on": Operation("sync", "wake_by_who_goes_on", "p50_us", {"": 1}),
}


def google_entries(program, pattern=None):
    """What a program prints as Google Benchmark does, by name."""
    with tempfile.NamedTemporaryFile(suffix=".json") as file:
        command = [str(program), f"--benchmark_out={file.name}", "--benchmark_out_format=json",
                   "--benchmark_min_time=0.1", *([f"--benchmark_filter={pattern}"] if pattern else [])]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise SystemExit(f"run: {program} ended with {done.returncode}\n{done.stdout}{done.stderr}")
        found = json.load(file)
    return found["context"], {bench.short_name(entry): entry for entry in found["benchmarks"]}


def value_of(entry, metric):
    """Of sleepers: the CPU time of one, so that unlike numbers of them can be compared."""
    if metric != "cpu_us":
        return bench.metric_of(entry, metric)
    return entry["cpu_s"] * 1e6 / int(re.search(r"tasks:(\d+)", entry["name"]).group(1))


def micro(arguments, peers, report):
    programs = [peer for peer in peers if (arguments.build / "perf/peers" / peer / "micro").exists()]
    contexts, entries = {}, []

    def measure(who):
        if who != "roving":
            context, by_name = google_entries(arguments.build / "perf/peers" / who / "micro")
        else:
            context, by_name = {}, {}
            for program in dict.fromkeys(operation.program for operation in OPERATIONS.values()):
                names = [each.name for each in OPERATIONS.values() if each.program == program]
                context, more = google_entries(arguments.build / "perf" / f"bench_{program}", "|".join(names))
                by_name.update(more)
        contexts[who] = context
        entries.extend({**entry, "name": f"{who}/{name}"} for name, entry in by_name.items())
        return by_name

    found = bench.turn_about(arguments.rounds, ["roving", *programs], measure)
    rows, comparisons = [], []
    for title, operation in OPERATIONS.items():
        ours = [value_of(entry, operation.metric) for run in found["roving"] for name, entry in run.items()
                if name.startswith(operation.name)]
        if not ours:
            continue
        rows.append((title, "roving", f"{bench.short(statistics.median(ours))} {operation.metric}", bench.spread(ours),
                     "", "", "", ""))
        for peer in programs:
            names = [name for name in found[peer][0] if name.split("/")[0] == title and
                     "error_message" not in found[peer][0][name]]
            if title == "sleepers":
                names = names[-1:]  # the most that it can have
            for name in names:
                theirs = [value_of(run[name], operation.metric) for run in found[peer]]
                target = operation.targets.get(peer, operation.targets.get(""))
                compared = bench.compare(f"{peer}/{name}", operation.metric, ours, peer, theirs, target)
                comparisons.append(compared)
                kind = "/".join(name.split("/")[1:])
                called = peer + (f" {kind}" if kind and not kind.startswith("tasks:1000000") else "")
                rows.append(("", called, f"{bench.short(statistics.median(theirs))} {operation.metric}",
                             bench.spread(theirs), *bench.comparison_cells(compared)[1:]))
    report.say("## micro")
    report.say()
    report.table(("operation", "who", "measured", "least to most", "roving of it", "95 %", "target", "met"), rows)
    versions = {peer: context for peer, context in contexts.items() if "peer" in context}
    report.say("; ".join(f"{context['peer']} {context['peer_version']} ({context['peer_flags']})"
                         for context in versions.values()))
    report.say()
    return {"peers": versions}, entries, comparisons


# ---- Servers ----------------------------------------------------------------------------------------------------


class Server(bench.Server):
    """Says where it listens in words of its own."""

    says = re.compile(r".*?127\.0\.0\.1:(\d+).*", re.DOTALL)


def measure_server(build, command, connections, *, pinned=True, http=False):
    """Closed loop. Throughput and latencies are the long load's."""
    with Server(command, pinned=pinned, stderr=subprocess.DEVNULL) as server:
        target = ["--url", f"http://127.0.0.1:{server.port}/"] if http else bench.echo_at(server)
        cost, full = bench.closed_loop(build, server, target, connections, 2)
    return {**cost, **{f"{name.replace('.', '_')}_us": value for name, value in full["latency_us"].items()}}


def column(runs, metric):
    return [run[metric] for run in runs]


def middle(runs, metric):
    return bench.short(statistics.median(column(runs, metric)))


def cpu_table(title, found, limit, targets, report):
    """CPU time of each beside that of `limit`, and roving's beside each. `targets` are of roving beside others."""
    rows, comparisons = [], []
    for who, runs in found.items():
        cells = []
        for ours, theirs in ((who, limit), ("roving", who)):
            if ours == theirs:
                cells += ["", ""]
                continue
            compared = bench.compare(f"{ours}/{title}", "cpu_us", column(found[ours], "cpu_us"), theirs,
                                     column(found[theirs], "cpu_us"), targets.get(theirs) if ours == "roving" else None)
            cells += bench.comparison_cells(compared)[1:3]
            if ours == "roving" and not (who == "roving" and theirs == limit):
                comparisons.append(compared)
                cells += bench.comparison_cells(compared)[3:]
        cells += [""] * (6 - len(cells))
        rows.append((who, middle(runs, "cpu_us"), bench.spread(column(runs, "cpu_us")), *cells,
                     middle(runs, "requests_per_second"), middle(runs, "p50_us"), middle(runs, "p99_us")))
    report.say(f"## {title}")
    report.say()
    report.table(("server", "cpu_us", "least to most", f"of {limit}", "95 %", "roving of it", "95 %", "target", "met",
                  "requests/s", "p50_us", "p99_us"), rows)
    return bench.server_entries(title, found), comparisons


def peer_programs(build, peers, pattern):
    """By the names of the tables: those of a peer that has several have both names."""
    found = {}
    for peer in peers:
        for program in sorted((build / "perf/peers" / peer).glob(pattern)):
            kind = program.name.partition("_")[2]
            found[f"{peer} {kind}".strip()] = [program]
    return found


def echo(arguments, peers, report):
    commands = {"raw epoll": [arguments.build / "perf/limit_echo"], "roving": [arguments.build / "perf/echo"],
                **peer_programs(arguments.build, peers, "echo*")}
    entries, comparisons = [], []
    for connections, most in bench.ECHO_TARGETS.items():
        found = bench.turn_about(arguments.rounds, commands,
                                 lambda who, count=connections: measure_server(arguments.build, commands[who], count))
        targets = {who: 1 for who in commands}
        targets["raw epoll"] = most
        more, compared = cpu_table(f"echo, {connections} connections", found, "raw epoll", targets, report)
        entries += more
        comparisons += compared
    return {}, entries, comparisons


def http(arguments, peers, report):
    commands = {**peer_programs(arguments.build, peers, "http*"),
                "roving": [arguments.build / "examples/http_server", "--shards", 1]}
    if "nginx" not in commands:
        report.say("http is left out: there is no nginx.")
        return {}, [], []
    found = bench.turn_about(arguments.rounds, commands,
                             lambda who: measure_server(arguments.build, commands[who], 100, http=True))
    targets = {who: 1.2 if who == "nginx" else 1 for who in commands}
    return {}, *cpu_table("http, 100 connections", found, "nginx", targets, report)


# ---- Requests that compute ------------------------------------------------------------------------------------------


def servers_of_work(build, peers, options):
    ours = [build / "perf/mixed", *options]
    limit = [build / "perf/limit_mixed", *options]
    return {"raw epoll, one accepts": [*limit, "--spread", 0], "raw epoll, spread": [*limit, "--spread", 1],
            **{peer: [*command, *options] for peer, command in peer_programs(build, peers, "mixed").items()},
            "roving, one accepts": [*ours, "--spread", 0], "roving, spread": [*ours, "--spread", 1]}


def work_table(title, found, wanted, report):
    """`wanted`: of roving, (metric, beside whom, at most; of requests_per_second: at least)."""
    rows, comparisons = [], []
    for who, runs in found.items():
        rows.append((who, middle(runs, "requests_per_second"), bench.spread(column(runs, "requests_per_second")),
                     *(middle(runs, metric) for metric in ("cpu_us", "p50_us", "p99_us", "p99_9_us", "max_us"))))
    report.say(f"## {title}")
    report.say()
    report.table(("server", "requests/s", "least to most", "cpu_us", "p50_us", "p99_us", "p99.9_us", "max_us"), rows)
    rows = []
    for ours in [who for who in found if who.startswith("roving")]:
        for metric, theirs, target in wanted:
            if theirs not in found:
                continue
            values, others = column(found[ours], metric), column(found[theirs], metric)
            more_is_better = metric == "requests_per_second"
            if more_is_better:  # as all else: how much longer ours takes for them
                values, others = [1e6 / value for value in values], [1e6 / value for value in others]
            compared = bench.compare(f"{ours}/{title}", "us_per_request" if more_is_better else metric, values, theirs,
                                     others, target)
            comparisons.append(compared)
            rows.append((ours, compared.metric, *bench.comparison_cells(compared)))
    report.table(("server", "what", "against", "ratio", "95 %", "target", "met"), rows)
    return bench.server_entries(title, found), comparisons


def rounds_per_ms(build):
    return int(bench.output_of(str(build / "perf/limit_mixed"), "--calibrate"))


def mixed(arguments, peers, report):
    commands = servers_of_work(arguments.build, peers,
                               ["--threads", 2, "--rounds", round(rounds_per_ms(arguments.build) * 0.02)])
    found = bench.turn_about(arguments.rounds, commands,
                             lambda who: measure_server(arguments.build, commands[who], 64, pinned=False))
    return {}, *work_table("mixed: 20 us for each request", found,
                           [("requests_per_second", "raw epoll, spread", 1 / 0.98), ("p50_us", "tokio", 1),
                            ("p99_us", "tokio", 1)], report)


def stalls(arguments, peers, report):
    entries, comparisons = [], []
    stall = rounds_per_ms(arguments.build) * 2
    for percent in (0, 5, 20, 60):
        commands = servers_of_work(arguments.build, peers,
                                   ["--threads", 2, "--stall-percent", percent, "--stall-rounds", stall])
        found = bench.turn_about(arguments.rounds, commands,
                                 lambda who, of=commands: measure_server(arguments.build, of[who], 64, pinned=False))
        wanted = [("requests_per_second", "raw epoll, spread", 1.05)] if percent == 0 else \
            [(metric, who, 1) for metric in ("requests_per_second", "p99_9_us")
             for who in ("raw epoll, spread", "tokio")]
        more, compared = work_table(f"stalls: {percent} % of the requests", found, wanted, report)
        entries += more
        comparisons += compared
    return {}, entries, comparisons


# ---- The whole --------------------------------------------------------------------------------------------------

PARTS = {"micro": micro, "echo": echo, "http": http, "mixed": mixed, "stalls": stalls}
TARGETS = ["bench_tasks", "bench_sync", "bench_timers", "echo", "limit_echo", "mixed", "limit_mixed", "load",
           "http_server"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="*", metavar="PART", choices=[[], *PARTS], help=", ".join(PARTS))
    parser.add_argument("--build", type=pathlib.Path, default=ROOT / "build/release", help="configured already")
    parser.add_argument("--output", type=pathlib.Path, default=ROOT / "build/bench")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    arguments.build = arguments.build.resolve()
    arguments.output.mkdir(parents=True, exist_ok=True)
    subprocess.run(["cmake", "--build", arguments.build, "--target", *TARGETS], check=True, stdout=subprocess.DEVNULL)
    peers, missing = peers_there(arguments.build)
    bench.allow_many_descriptors()
    machine = bench.describe_machine(arguments.build)
    report = bench.Report()
    report.say(f"{machine['cpu']}, {machine['cores']} cores; {machine['system']}; {machine['compiler']}, "
               f"{machine['build']}; commit {machine['commit']}; {arguments.rounds} rounds")
    report.say(f"Missing: {'; '.join(f'{peer}: {why}' for peer, why in missing.items()) or 'nobody'}")
    report.say()
    whole = bench.Disturbance()
    for part in arguments.parts or PARTS:
        disturbance = bench.Disturbance()
        context, entries, comparisons = PARTS[part](arguments, peers, report)
        context.update(machine, date=time.strftime("%Y-%m-%dT%H:%M:%S%z"), others_share_of_cores=disturbance.share())
        bench.write_json(arguments.output / f"peers_{part}.json", context, entries, comparisons)
    report.say(f"Other processes used {whole.share():.0%} of the cores meanwhile.")
    (arguments.output / "peers.md").write_text("\n".join(report.lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
