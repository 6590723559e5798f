"""The router lives through clients that come and go under load, and loses nothing that it has taken on.

What is checked is told in support/churn.py. These are short runs; tests/soak.py goes on for as long as one wants.
"""
import random
import signal

import pytest

from support.churn import Churn, churn_config
from support.deadline import SLOWNESS, seconds

ROUND_S = 4.0


@pytest.mark.parametrize("workers", [1, 4])
def test_churn_every_message_is_accounted_for_and_everything_returns(start_router, workers):
    router = start_router(churn_config(workers))
    with Churn(router, seed=workers) as churn:
        churn.round(ROUND_S)
        after_first = router.rss_kb()
        churn.round(ROUND_S)
        if SLOWNESS == 1:  # sanitizers keep what was freed
            assert router.rss_kb() < after_first + 16384


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
