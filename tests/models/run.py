#!/usr/bin/env python3
"""Checks the Spin models in this folder over all interleavings, each as it is and with each way to break it.

    run.py [--quick | --full] [--jobs N] [MODEL...]

    --quick    only that the broken ones are refuted
    --full     besides: the models that take minutes and 8 GB of memory
    --jobs N   so many at once (1)
    MODEL      only these, by name: deque, inbox, ...

A model as it is must hold, and each broken one must be refuted. The last line is `N passed, M failed`. Needs spin and
a C compiler.
"""

import concurrent.futures
import dataclasses
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
SECONDS_AT_MOST = 1200


@dataclasses.dataclass(frozen=True)
class Check:
    model: str
    name: str  # of the definition: AS_IT_IS, or a way to break it
    must_hold: bool
    definitions: tuple = ()
    compiler: tuple = ()  # more definitions, for the checker
    claim: str = ""  # what must come about, of every fair run; else that nothing bad happens
    megabytes: int = 2000
    is_long: bool = False


# Per model: ways to break it. What the checker needs besides, to find the fault soon, stands behind a colon.
BROKEN = {
    "deque": "LAST_OF_DEQUE_UNRACED STEAL_IN_TWO_STEPS POP_RELEASE BOTTOM_FIRST SLOT_AFTER PUBLISHED_FIRST",
    "inbox": "INBOX_NEWEST_FIRST DRAIN_IN_TWO_STEPS MESSAGE_WITHOUT_WAKE SLEEP_WITHOUT_SECOND_LOOK LOOK_FIRST "
             "PUSH_IN_TWO_STEPS APPEND_WITHOUT_DRAIN",
    "claim_word": "CLAIM_IN_TWO_STEPS UNLOCK_BEFORE_LEAVING READY_BEFORE_LEAVING SECOND_CANCEL_THROWN_TWICE "
                  "EPOCH_IGNORED EARLY_MADE_READY PENDING_IGNORED",
    "future": "FINISH_WITHOUT_LOCK COMPLETION_IN_TWO_STEPS STATUS_FIRST NOT_UNSUBSCRIBED THREAD_LEAVES_EARLY "
              "SIGNALLED_WITHOUT_MUTEX",
    "mutex": "MUTEX_BARGING MUTEX_CANCELLED_KEEPS_IT UNLOCK_BEFORE_LEAVING QUEUED_IN_TWO_STEPS PASSED_AGAIN "
             "GRANT_NOT_PASSED_ON",
    "timers": "TIMERS_EARLY CLAIMED_OUTSIDE_LOCK CANCELLED_WITHOUT_LOCK NOT_CANCELLED SLEEPS_PAST_TIMERS NOT_SERVICED",
    "start": "THREADS_STOPPED_WITHOUT_WAKE NOTIFIED_WITHOUT_LOCK FAILED_START_LEAVES_THREADS FAILURE_NOT_SAID "
             "WAKE_NOT_KEPT",
    "stop": "CLOSED_BEFORE_TASKS_ENDED THREADS_STOPPED_WITHOUT_WAKE SPAWN_UNSEEN_BY_CLOSE NOT_WOKEN_WHILE_DRAINING "
            "BEGINNINGS_FIRST DOORS_NOT_AWAITED STOPPED_AFTER_WAKE",
    "sleep_wake": "NO_SECOND_LOOK LOOK_FIRST MESSAGE_NO_WAKE:-DREVERSE FOUND_ALONE NO_CHAIN ANYBODY_AWAKE",
}

# What must come about, and the ways to break that.
CLAIMS = {}


def all_checks():
    for model, broken in BROKEN.items():
        small = ("SMALL",) if model == "sleep_wake" else ()
        yield Check(model, "AS_IT_IS", True, small)
        for claim, ways in CLAIMS.get(model, {}).items():
            yield Check(model, "AS_IT_IS", True, claim=claim)
            for way in ways.split():
                yield Check(model, way, False, claim=claim)
        for way in broken.split():
            name, *compiler = way.split(":")
            yield Check(model, name, False, small, tuple(compiler))
        if model == "sleep_wake":
            yield Check(model, "FULL", True, compiler=("-DCOLLAPSE",), megabytes=12000, is_long=True)


@dataclasses.dataclass
class Result:
    check: Check
    states: int = 0
    seconds: float = 0
    verdict: str = "no answer"
    is_good: bool = False


def command(arguments, folder):
    done = subprocess.run(arguments, cwd=folder, capture_output=True, text=True, timeout=SECONDS_AT_MOST)
    return done.returncode, done.stdout + done.stderr


def run(check):
    result = Result(check)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        definitions = [f"-D{each}" for each in (check.name, *check.definitions)]
        status, said = command(["spin", *definitions, "-a", str(HERE / f"{check.model}.pml")], folder)
        if status != 0:
            return Result(check, verdict=f"spin: {said.strip()[-400:]}")
        what = [] if check.claim else ["-DSAFETY", "-DNOCLAIM"]
        # What is refuted is refuted at once: there it is the compiler that takes the time.
        speed = ["-O2"] if check.must_hold else ["-O0"]
        status, said = command(["cc", "-w", *speed, *what, f"-DMEMLIM={check.megabytes}", *check.compiler, "-o", "pan",
                                "pan.c"], folder)
        if status != 0:
            return Result(check, verdict=f"cc: {said.strip()[-400:]}")
        how = ["-a", "-f", "-N", check.claim] if check.claim else []
        try:
            _, said = command(["./pan", "-m400000", f"-w{26 if check.is_long else 22}", *how], folder)
        except subprocess.TimeoutExpired:
            return Result(check, seconds=SECONDS_AT_MOST, verdict="no end")
    result.seconds = time.monotonic() - began
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"([\d.e+]+) states, stored", said)
    if not errors or not states:
        return Result(check, verdict=f"pan: {said.strip()[-400:]}")
    result.states = int(float(states.group(1)))
    if int(errors.group(1)) != 0:
        why = re.search(r"pan:\d+: (.*?) \(at depth", said)
        result.verdict = f"refuted: {why.group(1)}" if why else "refuted"
        result.is_good = not check.must_hold
    elif "max search depth too small" in said or "out of memory" in said or "pan: reached" in said:
        result.verdict = "not all of it was seen"
    else:
        result.verdict = "holds"
        result.is_good = check.must_hold
    return result


def usage(complaint):
    print(f"run.py: {complaint}\n\n{__doc__.strip()}", file=sys.stderr)
    return 2


def main(arguments):
    quick = full = False
    jobs = 1
    models = []
    arguments = list(arguments)
    while arguments:
        argument = arguments.pop(0)
        if argument == "--quick":
            quick = True
        elif argument == "--full":
            full = True
        elif argument == "--jobs":
            if not arguments or not re.fullmatch(r"[1-9]\d{0,2}", arguments[0]):
                return usage("--jobs takes a number above 0")
            jobs = int(arguments.pop(0))
        elif argument in ("-h", "--help"):
            print(__doc__.strip())
            return 0
        elif argument in BROKEN:
            models.append(argument)
        else:
            return usage(f'what is "{argument}"? Models: {" ".join(BROKEN)}')
    if quick and full:
        return usage("--quick and --full are two things")
    for tool, package in (("spin", "spin"), ("cc", "gcc")):
        if shutil.which(tool) is None:
            print(f"run.py: there is no {tool} here (Debian: apt-get install {package})", file=sys.stderr)
            print("0 passed, 1 failed")
            return 1

    checks = [each for each in all_checks() if (not models or each.model in models) and (full or not each.is_long)
              and not (quick and each.must_hold)]
    results = []
    print(f"{'model':<20} {'variant':<28} {'states':>12} {'seconds':>8}  verdict")
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(run, checks):
            results.append(result)
            name = result.check.name + (f" ({result.check.claim})" if result.check.claim else "")
            print(f"{result.check.model:<20} {name:<28} {result.states:>12,} {result.seconds:>8.1f}  "
                  f"{'' if result.is_good else 'WRONG: '}{result.verdict}", flush=True)
    failed = sum(not each.is_good for each in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
