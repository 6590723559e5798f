"""Waiting for a condition, with a deadline: tests never sleep for luck."""
import os
import time

# How much slower than a release build the programs under test are (sanitizers); scripts/test sets it.
SLOWNESS = float(os.environ.get("TRUNKLINE_SLOWNESS", "1"))


def seconds(limit):
    """A deadline of `limit` seconds in a release build, longer where the programs are slower."""
    return limit * SLOWNESS


def kilobytes(limit):
    """A bound of memory in a release build, wider where a sanitizer keeps books on every octet."""
    return limit if SLOWNESS == 1 else 4 * limit


def wait_until(condition, limit=10.0, what="the condition"):
    """Return the first true value of condition(); fail the test when there is none within `limit` seconds.

    what    says what was waited for: a text, or a function that makes it when it is needed.
    """
    end = time.monotonic() + seconds(limit)
    pause = 0.002
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError("waited %g s in vain for %s" % (seconds(limit), what() if callable(what) else what))
        time.sleep(pause)
        pause = min(pause * 2, 0.05)
