"""rhea and amqp10, two AMQP libraries for Node.js, each with a codec of its own."""
import json
from pathlib import Path

import pytest

from support.peers import ACCEPTED, MODIFIED, Peers, settle

CLIENTS = Path(__file__).parent / "clients"


@pytest.fixture
def start(router, start_program):
    """start(library, scenario, address, count): the running Program."""
    def start(library, scenario, address, count=1):
        return start_program("node", "--no-deprecation", CLIENTS / (library + "_client.js"), scenario, router.host,
                             router.port, address, count)
    return start


@pytest.fixture
def run(start):
    """run(library, scenario, address, count): what the scenario printed."""
    def run(*arguments):
        return json.loads(start(*arguments).wait(60)[-1])
    return run


def wait_ended(peers, program):
    """Wait for the end of a program that needs what our own peers do meanwhile; return its lines."""
    peers.wait(lambda: program.process.poll() is not None, 60, "the program to end")
    return program.wait()


@pytest.mark.parametrize("scenario", ["exchange", "exchange_with_sasl"])
def test_rhea_exchanges_messages(run, scenario):
    assert run("rhea", scenario, "closest/rhea", 2000) == {"received": 2000, "accepted": 2000, "ordered": True}


def test_rhea_gets_its_requests_answered(run):
    result = run("rhea", "request", "closest/rhea-service", 50)
    assert result["answers"] == ["QUESTION %d" % number for number in range(50)]
    assert result["reply_to"].startswith("amqp:/_topo/0/Test/temp.")


def test_rhea_hears_every_outcome_with_its_fields(run):
    plain = {"condition": None, "description": None, "undeliverable": False, "annotations": None}
    assert run("rhea", "outcomes", "closest/rhea-outcomes") == {
        "accepted": {"outcome": "accepted", **plain},
        "released": {"outcome": "released", **plain},
        "rejected": {"outcome": "rejected", **plain, "condition": "app:bad", "description": "a bad one"},
        "modified": {"outcome": "modified", **plain, "undeliverable": True, "annotations": {"x-opt-a": 5}},
    }


def test_rhea_presettled_arrives_presettled(run):
    assert run("rhea", "presettled", "closest/rhea-presettled", 1000) == {"received": 1000, "settled": 1000}


def test_rhea_large_message_arrives_whole(run):
    assert run("rhea", "large", "closest/rhea-large", 5_000_000) == {"size": 5_000_000, "same": True}


def test_rhea_drains(run):
    assert run("rhea", "drain", "closest/rhea-drain", 10) == {"received": 3, "credit": 0}


def test_amqp10_exchanges_messages(run):
    """It sends one delivery more than its credit allows."""
    assert run("amqp10", "exchange", "closest/amqp10", 500) == {"received": 500, "ordered": True, "settled": 500}


def test_amqp10_large_message_arrives_whole(run):
    assert run("amqp10", "large", "closest/amqp10-large", 2_000_000) == {"size": 2_000_000, "same": True}


def test_amqp10_hears_a_rejection(run):
    assert run("amqp10", "rejected", "closest/amqp10-rejected")["error"]


@pytest.mark.parametrize("library", ["rhea", "amqp10"])
def test_two_codecs_share_an_address(router, start, library):
    """A Python consumer beside the library's own gets all of what the library sends. amqp10 takes what follows a slash
    for a subject."""
    with Peers() as peers:
        inbox = peers.connect(router).receiver("multicast.codecs", credit=100)
        lines = wait_ended(peers, start(library, "exchange", "multicast.codecs", 20))
        assert json.loads(lines[-1])["received"] == 20
        inbox.wait_count(20)


def test_python_reads_what_rhea_sends(router, start):
    with Peers() as peers:
        inbox = peers.connect(router).receiver("multicast/read", credit=100, accept=False)
        program = start("rhea", "exchange", "multicast/read", 10)
        for number in range(10):
            message, delivery = inbox.take()
            assert message.body == {"number": number, "text": "tëxt ✓"}
            assert message.id == "id-%d" % number and message.subject == "number"
            settle(delivery, ACCEPTED if number % 2 else MODIFIED)
        wait_ended(peers, program)  # multicast: accepted by its own receiver, that outranks modified
