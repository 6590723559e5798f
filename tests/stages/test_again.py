"""A second chance is for tests that a slow machine has failed, and never for a router that is wrong."""
import xml.etree.ElementTree as ElementTree

import pytest
from again import AGAIN_MAX, TESTS_FAILED, try_again
from outcome import count_results


def case(name, *parts):
    """A test case as pytest writes it; parts: (tag, text)."""
    made = ElementTree.Element("testcase", classname="tests.system.test_x", name=name)
    properties = ElementTree.SubElement(made, "properties")
    ElementTree.SubElement(properties, "property", name="nodeid", value="tests/system/test_x.py::" + name)
    for tag, text in parts:
        ElementTree.SubElement(made, tag, message=text.splitlines()[0]).text = text
    return made


def write(path, *cases):
    suites = ElementTree.Element("testsuites")
    ElementTree.SubElement(suites, "testsuite").extend(cases)
    ElementTree.ElementTree(suites).write(path)


@pytest.fixture
def stage(tmp_path):
    """stage(cases of the first run, cases of the second): the outcome, and which tests ran again."""
    asked = []

    def stage(first, second=(), status=TESTS_FAILED):
        def run(tests, path):
            asked.extend(tests)
            write(path, *second)
        results = tmp_path / "pytest-system.xml"
        write(results, *first)
        return count_results(results, try_again(results, status, run)), asked
    return stage


LATE = ("failure", "AssertionError: waited 10 s in vain for an outcome")


def test_nothing_failed_nothing_runs_again(stage):
    outcome, asked = stage([case("a")], status=0)
    assert (outcome.describe(True), asked) == ("1 passed, 0 failed", [])


def test_passed_when_alone_is_unsteady_and_told(stage, capsys):
    outcome, asked = stage([case("a"), case("late", LATE), case("c", ("skipped", "no"))], [case("late")])
    assert asked == ["tests/system/test_x.py::late"]
    assert outcome.describe(True) == "2 passed, 0 failed, 1 unsteady, 1 skipped"
    assert outcome.unsteady == asked
    told = capsys.readouterr().out
    assert "!!! unsteady: tests/system/test_x.py::late has failed" in told and LATE[1] in told and "FAILED" not in told


def test_junit_file_says_what_the_stage_came_to(stage, tmp_path):
    stage([case("a"), case("late", LATE), case("wrong", LATE)], [case("late"), case("wrong", LATE)])
    (suite,) = ElementTree.parse(tmp_path / "pytest-system.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "1", "0")
    assert suite[1].find("flakyFailure").text == LATE[1]


def test_failed_again_is_a_failure(stage, capsys):
    outcome, _ = stage([case("a"), case("late", LATE), case("wrong", LATE)], [case("late"), case("wrong", LATE)])
    assert outcome.describe(True) == "2 passed, 1 failed, 1 unsteady"
    assert "FAILED tests/system/test_x.py::wrong" in capsys.readouterr().out


@pytest.mark.parametrize("second", [[], [case("late", ("skipped", "not today"))]])
def test_second_run_that_does_not_run_it_forgives_nothing(stage, second):
    assert stage([case("late", LATE)], second)[0].failed == 1


@pytest.mark.parametrize("text", [
    "AssertionError: a sanitizer reported on router:\n==9==ERROR: AddressSanitizer: heap-use-after-free",
    "AssertionError: a sanitizer reported on router:\nWARNING: ThreadSanitizer: data race",
    "AssertionError: a sanitizer reported on router:\nroute/link.c:9:3: runtime error: signed integer overflow",
    "AssertionError: router died with status -11\nits log",
    "AssertionError: A ended with status -6\nits log",
    "AssertionError\nE       assert -6 == 0",
    "CompletedProcess(args=['qdsend'], returncode=-11, stdout='')",
    "router died with status 1\nlib/base/list.c:12: assertion failed: n != NULL",
])
def test_crash_or_report_is_a_failure_at_once(stage, text):
    outcome, asked = stage([case("a"), case("grave", ("failure", text))], [case("grave")])
    assert (outcome.describe(True), asked) == ("1 passed, 1 failed", [])


def test_crash_that_shows_when_the_test_is_tidied_up_is_a_failure(stage):
    """pytest writes two cases then, and the node id only into the second."""
    first = case("grave", LATE)
    first.remove(first.find("properties"))
    outcome, asked = stage([first, case("grave", ("error", "router died with status -11"))], [case("grave")])
    assert (outcome.failed, asked) == (2, [])


def test_two_cases_of_one_test_are_one_when_it_passes(stage):
    first = case("late", LATE)
    first.remove(first.find("properties"))
    outcome, _ = stage([first, case("late", ("error", "AssertionError: it did not stop within 20 s"))], [case("late")])
    assert outcome.describe(True) == "1 passed, 0 failed, 1 unsteady"


def test_many_failures_are_no_accident(stage):
    failed = [case("t%d" % number, LATE) for number in range(AGAIN_MAX + 1)]
    outcome, asked = stage(failed, [case("t%d" % number) for number in range(AGAIN_MAX + 1)])
    assert (outcome.failed, asked) == (AGAIN_MAX + 1, [])


def test_pytest_that_ended_otherwise_is_not_run_again(stage):
    outcome, asked = stage([case("late", LATE)], [case("late")], status=2)
    assert (outcome.failed, asked) == (1, [])


def test_worker_that_crashed_is_a_failure(stage):
    crashed = case("late", ("failure", "worker 'gw0' crashed while running"))
    crashed.remove(crashed.find("properties"))
    assert stage([crashed], [case("late")])[0].failed == 1
