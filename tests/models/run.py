#!/usr/bin/env python3
"""Checks the Spin models in this folder over all interleavings, each as it is and with each way to break it.

    run.py [--quick]     --quick: only the ways to break it, which takes seconds; as it is it takes minutes and 8 GB

The model as it is must hold, and each broken one must be refuted. The last line is `N passed, M failed`. Needs spin and
a C compiler.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent

# Per model: ways to break it, each with what finds the fault soonest.
MODELS = {
    "sleep_wake.pml": {
        "NO_SECOND_LOOK": [],
        "LOOK_FIRST": [],
        "MESSAGE_NO_WAKE": ["-DREVERSE"],
        "FOUND_ALONE": [],
        "NO_CHAIN": [],
        "ANYBODY_AWAKE": [],
    },
}


def check(model, definition, options):
    """The number of errors and of states that were seen."""
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(["spin", f"-D{definition}", "-a", str(HERE / model)], cwd=folder, check=True,
                       capture_output=True)
        subprocess.run(["cc", "-w", "-O2", "-DSAFETY", "-DMEMLIM=12000", *options, "-o", "pan", "pan.c"], cwd=folder,
                       check=True)
        out = subprocess.run(["./pan", "-m400000", "-w26"], cwd=folder, capture_output=True, text=True).stdout
    errors = re.search(r"errors: (\d+)", out)
    states = re.search(r"([\d.e+]+) states, stored", out)
    complete = "max search depth too small" not in out and "out of memory" not in out
    if not errors or not states:
        raise RuntimeError(f"spin said nothing of errors: {out[-400:]}")
    return int(errors.group(1)), int(float(states.group(1))), complete


def main():
    if sys.argv[1:] not in ([], ["--quick"]):
        print(__doc__.strip(), file=sys.stderr)
        return 2
    passed = failed = 0
    for model, broken in MODELS.items():
        cases = [(name, options, False) for name, options in broken.items()]
        if sys.argv[1:] != ["--quick"]:
            cases.insert(0, ("AS_IT_IS", [], True))
        for name, options, must_hold in cases:
            errors, states, complete = check(model, name, options)
            good = (errors == 0 and complete) if must_hold else errors != 0
            passed += good
            failed += not good
            said = "holds" if errors == 0 else "refuted"
            print(f"{model} {name}: {said}, {states:,} states{'' if good else '  WRONG'}", flush=True)
    print(f"{passed} passed, {failed} failed")
    return failed != 0


if __name__ == "__main__":
    sys.exit(main())
