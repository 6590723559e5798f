"""python3-uamqp: the C library of Azure's clients, with a codec of its own. It connects by TLS alone: a relay adds it."""
import json
from pathlib import Path

import pytest

from support.tls_relay import tls_relay

CLIENT = Path(__file__).parent / "clients" / "uamqp_client.py"


@pytest.fixture
def run(router, start_program, tmp_path):
    with tls_relay(router.port, tmp_path) as (port, certificate):
        def run(scenario, address, count):
            program = start_program("/usr/bin/python3", CLIENT, scenario, "localhost", port, certificate, address, count)
            return json.loads(program.wait(60)[-1])
        yield run


def test_uamqp_exchanges_messages(run):
    assert run("exchange", "closest/uamqp", 300) == {"sent": 300, "received": 300, "ordered": True}


def test_uamqp_that_sends_before_there_is_a_receiver_sends_on_when_there_is(router, run):
    """It does not wait for credit: what comes without is released, and the link lives."""
    result = run("unawaited", "closest/uamqp-early", 300)
    assert result == {"early": 0, "sent": 300, "received": 300, "ordered": True}
    assert "Link overdrawn: " in router.log()


def test_uamqp_large_message_arrives_whole(run):
    assert run("large", "closest/uamqp-large", 700_000) == {"sent": 1, "same": True}
