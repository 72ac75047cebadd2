#!/usr/bin/env python3
"""Adds up what ctest ran: reads the reports of `ctest --output-junit` and counts Catch2's test cases in them.

    summarize.py NAME=REPORT...   prints a line for each report and at the end `N passed, M failed`
    summarize.py --self-test      checks the counting itself

A ctest entry whose output ends as Catch2's does counts for its test cases, every other entry for one. An entry
that failed counts for at least one failure, also when all its cases passed (a leak found at exit, a crash). A
report that is missing or empty is a failure: nothing ran where something should have. Exit status 1 if M is not 0.
"""

import pathlib
import re
import sys
import tempfile
import xml.etree.ElementTree as xml

ALL_PASSED = re.compile(r"^All tests passed \(.*? in (\d+) test cases?\)", re.MULTILINE)
SOME_FAILED = re.compile(r"^test cases:\s*(\d+)((?:\s*\|\s*\d+ [a-z ]+)*)", re.MULTILINE)


def count_output(output, entry_passed):
    """(passed, failed) of one ctest entry."""
    passed = failed = 0
    counts = ALL_PASSED.findall(output)
    if counts:
        passed = int(counts[-1])
    elif matches := SOME_FAILED.findall(output):
        parts = dict(reversed(part.split(maxsplit=1)) for part in matches[-1][1].replace("|", "\n").splitlines()
                     if part.strip())
        parts = {name.strip(): int(number) for name, number in parts.items()}
        # "failed as expected" is what [!shouldfail] asks for: a pass
        passed = parts.get("passed", 0) + parts.get("failed as expected", 0)
        failed = parts.get("failed", 0)
    elif entry_passed:
        passed = 1
    if not entry_passed and failed == 0:
        failed = 1
    return passed, failed


def count_report(path):
    """(passed, failed, names of failed entries) of a report."""
    try:
        cases = xml.parse(path).getroot().findall("testcase")
    except (OSError, xml.ParseError) as error:
        return 0, 1, [f"no report ({error})"]
    passed = failed = 0
    names = []
    for case in cases:
        if case.get("status") in ("disabled", "notrun") and case.find("failure") is None and case.find("error") is None:
            continue
        entry_passed = case.get("status") == "run"
        plus, minus = count_output(case.findtext("system-out") or "", entry_passed)
        passed += plus
        failed += minus
        if minus:
            names.append(case.get("name"))
    if passed + failed == 0:
        return 0, 1, ["an empty report"]
    return passed, failed, names


def summarize(reports):
    total_passed = total_failed = 0
    for name, path in reports:
        passed, failed, names = count_report(path)
        print(f"{name}: {passed} passed, {failed} failed" + (f" ({', '.join(names)})" if names else ""))
        total_passed += passed
        total_failed += failed
    print(f"{total_passed} passed, {total_failed} failed")
    return total_failed


def self_test():
    two_all = "===\nAll tests passed (123 assertions in 45 test cases)\n\n"
    one_all = "All tests passed (1 assertion in 1 test case)\n"
    two_some = "===\ntest cases: 45 | 43 passed | 2 failed\nassertions: 123 | 120 passed | 3 failed\n"
    expected = "test cases: 12 |  9 passed | 1 failed | 2 failed as expected\nassertions: 12 | 9 passed | 3 failed\n"
    three_all = "All tests passed (7 assertions in 3 test cases)\n"
    checks = [
        (count_output(two_all, True), (45, 0)),
        (count_output(one_all, True), (1, 0)),
        (count_output(three_all + "==1==ERROR: LeakSanitizer", False), (3, 1)),
        (count_output(two_some, False), (43, 2)),
        (count_output(expected, False), (11, 1)),
        (count_output("Randomness seeded to: 1\n", True), (1, 0)),
        (count_output("Segmentation fault", False), (0, 1)),
        (count_output("test cases: 3 | 3 failed\nassertions: 3 | 3 failed\n", False), (0, 3)),
    ]
    with tempfile.TemporaryDirectory() as folder:
        report = pathlib.Path(folder) / "junit.xml"
        report.write_text('<testsuite><testcase name="sync" status="run"><system-out>' + two_all + "</system-out>"
                          '</testcase><testcase name="io" status="fail"><failure message=""/><system-out>' + two_some
                          + '</system-out></testcase><testcase name="off" status="disabled"><skipped/></testcase>'
                          '<testcase name="gone" status="fail"><failure message="Not Run"/></testcase></testsuite>')
        checks.append((count_report(report), (88, 3, ["io", "gone"])))
        report.write_text("<testsuite></testsuite>")
        checks.append((count_report(report)[:2], (0, 1)))
        checks.append((count_report(pathlib.Path(folder) / "missing.xml")[:2], (0, 1)))
    failed = 0
    for number, (got, wanted) in enumerate(checks):
        if got != wanted:
            failed += 1
            print(f"self-test {number}: {got}, expected {wanted}")
    print(f"{len(checks) - failed} passed, {failed} failed")
    return failed


def main(arguments):
    if arguments == ["--self-test"]:
        return 1 if self_test() else 0
    reports = [argument.partition("=")[::2] for argument in arguments]
    if not reports or not all(name and path for name, path in reports):
        print(__doc__)
        return 2
    return 1 if summarize(reports) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
