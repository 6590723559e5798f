#!/usr/bin/python3
"""Churn for as long as one wants: clients that come and go under load, with an account of every message.

usage: tests/soak.py [--minutes N] [--seed N] [--workers N] [--population N] [--round SECONDS] [--build DIR]

A router runs through rounds of churn (tests/system/support/churn.py says what is checked after each) and is ended under
load at last. The first thing that is wrong ends the run with status 1 and names the seed; chance begins from it, though
the order in which threads come to it does not. Memory must not grow on: bursts raise it, each less often than the last,
so the median of the last quarter of the rounds is compared with that of the second.

--build build/tsan, or build/asan, also sets the sanitizer's options.
"""
import argparse
import os
import signal
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "system"))
sys.path.insert(0, str(Path(__file__).resolve().parent / "stages"))

GROWTH_KB = 24576
ROUNDS_MIN = 12  # fewer say nothing about memory


def check_memory(sizes):
    quarter = len(sizes) // 4
    if len(sizes) < ROUNDS_MIN:
        return
    before, after = (statistics.median(part) for part in (sizes[quarter:2 * quarter], sizes[-quarter:]))
    assert after - before < GROWTH_KB, "memory has grown from %d to %d kB" % (before, after)


def read_arguments():
    parser = argparse.ArgumentParser(description="Churn a router for a while and check everything after each round.")
    parser.add_argument("--minutes", type=float, default=10)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--workers", type=int, default=4)
    parser.add_argument("--population", type=int, default=40, help="clients that come and go, at a time")
    parser.add_argument("--round", type=float, default=10.0, help="seconds of churn between checks")
    parser.add_argument("--build", help="build dir (default: TRUNKLINE_BUILD, or build/release)")
    return parser.parse_args()


def main():
    arguments = read_arguments()
    if arguments.build:
        from command import test_environment
        os.environ.update(test_environment(Path(arguments.build).resolve()))
    from support.churn import ENVIRONMENT, Churn, churn_config
    from support.deadline import SLOWNESS
    from support.router import Router

    end = time.monotonic() + 60 * arguments.minutes
    sizes = []
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        router = Router(churn_config(arguments.workers), directory, environment=ENVIRONMENT)
        try:
            router.wait_ready()
            with Churn(router, arguments.seed, arguments.population, verbose=True) as churn:
                while time.monotonic() < end:
                    churn.round(arguments.round)
                    sizes.append(router.rss_kb())
                if SLOWNESS == 1:  # sanitizers keep what was freed
                    check_memory(sizes)
                churn.run(1.0)
                router.process.send_signal(signal.SIGTERM)
                churn.churn_until_it_ends()
            status = router.stop()
            assert status == 0, "ended with status %s" % status
        except AssertionError as e:
            print("seed %d: %s\n%s" % (arguments.seed, e, router.tail()))
            return 1
        finally:
            router.expected_end = True
            router.finish()
    print("seed %d: %d rounds, all well" % (arguments.seed, len(sizes)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
