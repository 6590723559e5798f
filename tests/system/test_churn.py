"""The router lives through clients that come and go under load, and loses nothing that it has taken on.

What is checked is told in support/churn.py. These are short runs; tests/soak.py goes on for as long as one wants.
"""
import json
import random
import signal
import time

import pytest

from support.churn import ENVIRONMENT, Churn, churn_config
from support.deadline import SLOWNESS, seconds
from support.router import build_dir

ROUND_S = 4.0


@pytest.mark.parametrize("workers", [1, 4])
def test_churn_every_message_is_accounted_for_and_everything_returns(start_router, workers):
    router = start_router(churn_config(workers), environment=ENVIRONMENT)
    with Churn(router, seed=workers) as churn:
        churn.round(ROUND_S)
        after_first = router.rss_kb()
        churn.round(ROUND_S)
        if SLOWNESS == 1:  # sanitizers keep what was freed
            assert router.rss_kb() < after_first + 32768  # a burst; tests/soak.py looks whether it grows on


def test_full_speed_beside_churn_loses_nothing(start_router, start_program):
    """The load generator, in C and as fast as it goes; two more of it are killed in the middle of their work."""
    router = start_router(churn_config())
    count = int(200000 / SLOWNESS)

    def load(address, messages, *more):
        return start_program(build_dir() / "bench" / "amqload", "-p", router.port, "-A", address, "-s", 2, "-r", 2, "-n",
                             messages, *more)

    def are_done():
        if time.monotonic() > doom:
            for program in doomed:
                program.end()
        return all(program.process.poll() is not None for program in whole + doomed)

    with Churn(router, seed=3) as churn:
        whole = [load("closest/full", count, "-u"), load("balanced/full", count)]
        doomed = [load("closest/doomed", 100 * count, "-u"), load("balanced/doomed", 100 * count)]
        doom = time.monotonic() + 1.0
        assert churn.round(seconds(30), are_done), [program.output() for program in whole]
    for program in whole:
        told = json.loads(program.wait()[-1])
        assert (told["sent"], told["received"]) == (2 * count, 2 * count), told
    assert json.loads(whole[0].lines()[-1])["accepted"] == 2 * count


@pytest.mark.parametrize("seed", [1, 2])
def test_stop_under_churn_ends_in_order(start_router, seed):
    """Connections, streams, requests, connectors and listeners are under way when the signal comes."""
    router = start_router(churn_config())
    rng = random.Random(seed)
    with Churn(router, seed) as churn:
        churn.run(seconds(0.5) + rng.random())
        router.process.send_signal(signal.SIGTERM)
        churn.churn_until_it_ends()
    assert router.stop() == 0
