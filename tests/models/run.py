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
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent


@dataclasses.dataclass(frozen=True)
class Check:
    model: str
    name: str  # of the definition: AS_IT_IS, or a way to break it
    must_hold: bool
    compiler: tuple = ()  # definitions for the checker
    is_long: bool = False


# Per model: ways to break it. What the checker needs besides, to find the fault soon, stands behind a colon.
BROKEN = {
    "deque": "LAST_OF_DEQUE_UNRACED STEAL_IN_TWO_STEPS POP_RELEASE BOTTOM_FIRST SLOT_AFTER PUBLISHED_FIRST",
    "inbox": "INBOX_NEWEST_FIRST DRAIN_IN_TWO_STEPS MESSAGE_WITHOUT_WAKE SLEEP_WITHOUT_SECOND_LOOK LOOK_FIRST "
             "PUSH_IN_TWO_STEPS APPEND_WITHOUT_DRAIN",
    "sleep_wake": "SLEEP_WITHOUT_SECOND_LOOK LOOK_FIRST MESSAGE_WITHOUT_WAKE:-DREVERSE ROVING_WITHOUT_CALL "
                  "FOUND_ALONE:-O2 NO_CHAIN:-O2 ANYBODY_AWAKE",
    "claim_word": "CLAIM_IN_TWO_STEPS UNLOCK_BEFORE_LEAVING READY_BEFORE_LEAVING SECOND_CANCEL_THROWN_TWICE "
                  "EPOCH_IGNORED EARLY_MADE_READY PENDING_IGNORED",
    "cancel_on_its_way": "PINS_NOT_AWAITED CANCEL_NOT_PASSED_ON REFUSAL_NOT_MARKED MARKED_AFTER_UNPIN END_WITHOUT_LOOK",
    "future": "FINISH_WITHOUT_LOCK COMPLETION_IN_TWO_STEPS STATUS_FIRST NOT_UNSUBSCRIBED THREAD_LEAVES_EARLY "
              "SIGNALLED_WITHOUT_MUTEX",
    "inline_join": "INLINE_IN_TWO_STEPS STALE_ENTRY_WITHOUT_REFERENCE ENTRY_NOT_CLAIMED REFERENCE_KEPT "
                   "OTHERS_RUN_IT_TOO",
    "mutex": "MUTEX_BARGING MUTEX_CANCELLED_KEEPS_IT UNLOCK_BEFORE_LEAVING QUEUED_IN_TWO_STEPS PASSED_AGAIN "
             "GRANT_NOT_PASSED_ON",
    "timers": "TIMERS_EARLY CLAIMED_OUTSIDE_LOCK CANCELLED_WITHOUT_LOCK NOT_CANCELLED SLEEPS_PAST_TIMERS NOT_SERVICED",
    "timed_callback": "TAKEN_IN_TWO_STEPS MESSAGE_WITHOUT_REFERENCE WHEEL_REFERENCE_DROPPED DOOR_NOT_ASKED "
                      "CLOSE_DOES_NOT_WAIT",
    "start": "THREADS_STOPPED_WITHOUT_WAKE NOTIFIED_WITHOUT_LOCK FAILED_START_LEAVES_THREADS FAILURE_NOT_SAID "
             "WAKE_NOT_KEPT",
    "stop": "CLOSED_BEFORE_TASKS_ENDED THREADS_STOPPED_WITHOUT_WAKE SPAWN_UNSEEN_BY_CLOSE NOT_WOKEN_WHILE_DRAINING "
            "BEGINNINGS_FIRST DOORS_NOT_AWAITED STOPPED_AFTER_WAKE",
}

# Those that must hold in more than one size: the small one, and the large one, which is long.
SIZES = {"sleep_wake": ("SMALL", "AS_IT_IS"), "cancel_on_its_way": ("AS_IT_IS", "TWO")}


def all_checks():
    for model, broken in BROKEN.items():
        small, *large = SIZES.get(model, ("AS_IT_IS",))
        yield Check(model, small, True)
        for way in broken.split():
            name, *compiler = way.split(":")
            yield Check(model, name, False, tuple(compiler))
        for name in large:
            yield Check(model, name, True, is_long=True)


@dataclasses.dataclass
class Result:
    check: Check
    states: int = 0
    seconds: float = 0
    verdict: str = "no answer"
    is_good: bool = False


def command(arguments, folder):
    """What it said, how it ended, and the seconds of a processor that it took."""
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(arguments, cwd=folder, stdin=subprocess.DEVNULL, stdout=said,
                                   stderr=subprocess.STDOUT)
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        said.seek(0)
        return said.read(), process.returncode, used.ru_utime + used.ru_stime


def run(check):
    result = Result(check)
    # What is refuted is refuted at once, mostly: there it is the compiler that takes the time.
    speed = "-O2" if check.must_hold else "-O0"
    megabytes, table_bits = (12000, 26) if check.is_long else (3000, 23)
    with tempfile.TemporaryDirectory() as folder:
        for arguments in (["spin", f"-D{check.name}", "-a", str(HERE / f"{check.model}.pml")],
                          ["cc", "-w", speed, "-DSAFETY", f"-DMEMLIM={megabytes}", *check.compiler, "-o", "pan",
                           "pan.c"],
                          ["./pan", "-m400000", f"-w{table_bits}"]):
            said, status, seconds = command(arguments, folder)
            result.seconds += seconds
            if status != 0 and arguments[0] != "./pan":
                result.verdict = f"{arguments[0]} failed: {said.strip()[-400:]}"
                return result
    errors = re.search(r"errors: (\d+)", said)
    states = re.search(r"([\d.e+]+) states, stored", said)
    if not errors or not states:
        result.verdict = f"pan failed: {said.strip()[-400:]}"
        return result
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
    print(f"{'model':<20} {'variant':<30} {'states':>12} {'seconds':>8}  verdict")
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for result in pool.map(run, checks):
            results.append(result)
            print(f"{result.check.model:<20} {result.check.name:<30} {result.states:>12,} {result.seconds:>8.1f}  "
                  f"{'' if result.is_good else 'WRONG: '}{result.verdict}", flush=True)
    failed = sum(not each.is_good for each in results)
    print(f"{len(results) - failed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
