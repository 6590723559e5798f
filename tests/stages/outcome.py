"""What stages came to, and how it is read from JUnit files."""
import xml.etree.ElementTree as ElementTree

from command import ROOT

RESULTS = ROOT / "build" / "results"
# What a failure becomes that did not come again (again.py); the names are those of Maven's Surefire.
FLAKY = {"failure": "flakyFailure", "error": "flakyError"}


class Outcome:
    """Test counts of a stage, or for a stage that is no test, one failure if it failed.

    unsteady    names of tests that failed at first; they are among the passed
    """

    def __init__(self, passed=0, failed=0, skipped=0, note="", unsteady=()):
        self.passed, self.failed, self.skipped, self.note, self.unsteady = passed, failed, skipped, note, list(unsteady)

    def __add__(self, other):
        return Outcome(self.passed + other.passed, self.failed + other.failed, self.skipped + other.skipped,
                       unsteady=self.unsteady + other.unsteady)

    def describe(self, is_test):
        if not is_test:
            return "failed (%s)" % self.note if self.failed else "ok"
        text = "%d passed, %d failed" % (self.passed, self.failed)
        if self.unsteady:
            text += ", %d unsteady" % len(self.unsteady)
        if self.skipped:
            text += ", %d skipped" % self.skipped
        return text + (" (%s)" % self.note if self.note else "")


def as_check(status):
    return Outcome(failed=1, note="status %d" % status) if status else Outcome()


def has_failed(case):
    return any(case.find(tag) is not None for tag in FLAKY) or case.get("status") == "fail"


def is_unsteady(case):
    return any(case.find(tag) is not None for tag in FLAKY.values())


def is_skipped(case):
    return case.find("skipped") is not None or case.get("status") in ("notrun", "disabled")


def nodeid(case):
    """The name by which pytest runs it again; tests/system/conftest.py records it. None: it has none."""
    return next((p.get("value") for p in case.iter("property") if p.get("name") == "nodeid"), None)


def count_results(path, status):
    """Sum a JUnit file. No file or no test at all is a failure: a stage that tests nothing must not look green."""
    outcome = Outcome()
    if path.exists():
        for case in ElementTree.parse(path).getroot().iter("testcase"):
            if has_failed(case):
                outcome.failed += 1
            elif is_skipped(case):
                outcome.skipped += 1
            else:
                outcome.passed += 1
                if is_unsteady(case):
                    outcome.unsteady.append(nodeid(case))
    if outcome.passed + outcome.failed == 0:
        outcome.failed, outcome.note = 1, "no test ran"
    elif status and not outcome.failed:
        outcome.failed, outcome.note = 1, "the tool ended with status %d" % status
    return outcome
