#!/usr/bin/python3
"""Churn for as long as one wants: clients that come and go under load, with an account of every message.

usage: tests/soak.py [--minutes N] [--seed N] [--workers N] [--population N] [--round SECONDS] [--build DIR]

A router runs through rounds of churn (tests/system/support/churn.py says what is checked after each) and is ended under
load at last. The first line that is wrong ends the run with status 1 and names the seed; chance begins from it, though
the order in which threads come to it does not. Memory must not grow after the first rounds.

A build with a sanitizer is found as the system tests find it: scripts/test soak --build build/tsan sets its options.
"""
import argparse
import os
import signal
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "system"))
sys.path.insert(0, str(Path(__file__).resolve().parent))

GROWTH_KB = 16384  # allowed after the second round
WARM_ROUNDS = 2


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
        import stages
        os.environ.update(stages.test_environment(Path(arguments.build).resolve()))
    from support.churn import Churn, churn_config
    from support.deadline import SLOWNESS
    from support.router import Router

    end = time.monotonic() + 60 * arguments.minutes
    settled = None
    with tempfile.TemporaryDirectory(prefix="soak-") as directory:
        router = Router(churn_config(arguments.workers), directory)
        try:
            router.wait_ready()
            with Churn(router, arguments.seed, arguments.population, verbose=True) as churn:
                rounds = 0
                while time.monotonic() < end:
                    churn.round(arguments.round)
                    rounds += 1
                    if rounds == WARM_ROUNDS:
                        settled = router.rss_kb()
                    grown = router.rss_kb() - settled if settled else 0
                    assert SLOWNESS > 1 or grown < GROWTH_KB, "memory has grown by %d kB since round %d" % (grown, WARM_ROUNDS)
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
    print("seed %d: %d rounds, all well" % (arguments.seed, rounds))
    return 0


if __name__ == "__main__":
    sys.exit(main())
