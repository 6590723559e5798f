"""A test that failed while others ran beside it runs once more, alone.

    pytest   ->  JUnit file  ->  who failed, and may run again?  -- nobody, or too many ->  as it was
                                          |
                                 pytest, these alone, one after the other
                                          |
                 failed again: a failure  +  passed: unsteady, in the JUnit file and in what is printed

Time runs out for a test when a machine is slow for a moment; that says nothing of the programs under test. What says
something, whatever a second run does, is grave: a sanitizer's report, and a router or tool that a signal has ended.
"""
import re
import xml.etree.ElementTree as ElementTree

from outcome import FLAKY, has_failed, is_skipped, nodeid

# More than that at once is no accident.
AGAIN_MAX = 10
TESTS_FAILED = 1  # pytest's exit status when it ran and tests failed
GRAVE = [re.compile(pattern, re.M) for pattern in (
    r"ERROR: (Address|Leak|Undefined\w*|Thread)Sanitizer|WARNING: ThreadSanitizer|runtime error: ",
    # A negative status is that of a process which a signal has ended: support/router.py, support/programs.py, subprocess.
    r"(died|ended) with status -\d+|returncode=-\d+|^E +assert \(?-\d+\b|core dumped|Segmentation fault",
    r"\.[ch]:\d+: assertion failed",  # ours, base/assert.h
)]


def text_of(case):
    """All that was told of a test: its failures, and what was captured."""
    return "\n".join("%s\n%s" % (part.get("message"), part.text or "") for part in case if part.get("message"))


def is_grave(text):
    return any(pattern.search(text) for pattern in GRAVE)


def name_of(case):
    return case.get("classname"), case.get("name")


def failures(tree):
    """{name: cases} of the tests that failed: two cases where it failed, and again when it was tidied up after it."""
    found = {}
    for case in tree.iter("testcase"):
        if has_failed(case):
            found.setdefault(name_of(case), []).append(case)
    return found


def nodeid_of(cases):
    """The name of a test for pytest, which is in the last of its cases; None: a worker has crashed, or nothing was collected."""
    return next(filter(None, map(nodeid, cases)), None)


def candidates(failed):
    """{name: node id} of those that may run again."""
    chosen = {name: nodeid_of(cases) for name, cases in failed.items()
              if nodeid_of(cases) and not any(is_grave(text_of(case)) for case in cases)}
    return chosen if len(chosen) <= AGAIN_MAX else {}


def names_of_passed(path):
    """The tests that a JUnit file says have passed, without a failure before or after."""
    if not path.exists():
        return set()
    tree = ElementTree.parse(path).getroot()
    return {name_of(case) for case in tree.iter("testcase") if not is_skipped(case)} - set(failures(tree))


def forgive(tree, cases):
    """Note in the JUnit file that these, of one test, did not come again."""
    kept, *others = cases
    for other in others:
        kept.extend(list(other))
        for suite in tree.iter("testsuite"):
            if other in list(suite):
                suite.remove(other)
    for part in kept:
        part.tag = FLAKY.get(part.tag, part.tag)
    for suite in tree.iter("testsuite"):
        suite.set("tests", str(len(suite.findall("testcase"))))
        for attribute, tag in (("failures", "failure"), ("errors", "error")):
            suite.set(attribute, str(sum(case.find(tag) is not None for case in suite)))


def tell(test, cases):
    print("\n!!! unsteady: %s has failed, and passed when it ran once more, alone. What it said at first:\n" % test)
    print("\n".join(map(text_of, cases)), flush=True)


def try_again(path, status, run):
    """Give tests that failed a second chance, and note in their JUnit file what came of it.

    status      of the first run
    run         function of (list of node ids, path of a JUnit file): runs these tests, alone
    Result: the status that counts.
    """
    if status != TESTS_FAILED or not path.exists():
        return status
    document = ElementTree.parse(path)
    tree = document.getroot()
    failed = failures(tree)
    chosen = candidates(failed)
    passed = set()
    if chosen:
        print("\n--- once more, alone: %s" % " ".join(chosen.values()), flush=True)
        second = path.with_name(path.stem + "-again.xml")
        second.unlink(missing_ok=True)
        run(list(chosen.values()), second)
        passed = names_of_passed(second).intersection(chosen)
    for name in passed:
        tell(chosen[name], failed[name])
        forgive(tree, failed[name])
    for name in failed:
        if name not in passed:
            print("FAILED %s" % (nodeid_of(failed[name]) or ".".join(filter(None, name))), flush=True)
    document.write(path, encoding="utf-8", xml_declaration=True)
    return 0 if len(passed) == len(failed) else status
