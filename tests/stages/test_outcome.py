"""Counting of tests, and of stages that are none."""
import pytest
from outcome import Outcome, as_check, count_results

PYTEST = """<testsuites><testsuite>
  <testcase name="a"/><testcase name="b"><failure message="m">t</failure></testcase>
  <testcase name="c"><error message="m">t</error></testcase><testcase name="d"><skipped/></testcase>
</testsuite></testsuites>"""
CTEST = """<testsuite><testcase name="a" status="run"/><testcase name="b" status="fail"/><testcase name="c" status="notrun"/></testsuite>"""


@pytest.mark.parametrize("text, status, counts", [(PYTEST, 1, (1, 2, 1)), (CTEST, 8, (1, 1, 1)),
                                                  ("<testsuites/>", 5, (0, 1, 0)),
                                                  ('<testsuite><testcase name="a"/></testsuite>', 3, (1, 1, 0))])
def test_counts_of_junit_files(tmp_path, text, status, counts):
    path = tmp_path / "results.xml"
    path.write_text(text)
    outcome = count_results(path, status)
    assert (outcome.passed, outcome.failed, outcome.skipped) == counts


def test_stage_without_results_is_a_failure(tmp_path):
    assert count_results(tmp_path / "none.xml", 0).describe(True) == "0 passed, 1 failed (no test ran)"


def test_checks_count_only_when_they_fail():
    assert (as_check(0).describe(False), as_check(0).failed) == ("ok", 0)
    assert (as_check(7).describe(False), as_check(7).failed) == ("failed (status 7)", 1)


def test_sum_of_stages():
    total = sum([Outcome(3, 1), Outcome(2, 0, 1, unsteady=["t"])], Outcome())
    assert (total.passed, total.failed, total.unsteady) == (5, 1, ["t"])
