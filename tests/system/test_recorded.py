"""Clients of a 1.19 router, recorded octet by octet, meet the same answers here (what differs is said beside each test)."""
import re

import pytest
from proton import Described, symbol, ulong

from support.recording import Playing, Recording
from support.router import Config, program
from support.wire import ACCEPTED, DISPOSITION, MODIFIED, REJECTED, RELEASED, frame, parse, performative

# docs/differences-from-qpid-dispatch.md: the version is our own; the window of a session is bounded, and so are its handles.
KNOWN = [("open", "properties"), ("begin", "incoming_window"), ("begin", "handle_max")]


def recorded_config(*distributions, **router):
    """The recorded router's configuration, in mode standalone."""
    config = Config(bare=True).add("router", mode="standalone", id="A", workerThreads=2, **router).listener("normal")
    for name in distributions:
        config.add("address", prefix=name, distribution=name)
    return config


@pytest.mark.parametrize("name, distributions, router", [
    ("16a-client-sasl-anonymous", ("unavailable", "closest", "multicast"), {}),
    ("16c-same-link-name", ("closest", "multicast"), {}),
    ("18b-default-unavailable", ("closest",), {"defaultDistribution": "unavailable"}),
])
def test_recorded_client_meets_the_same_answers(start_router, name, distributions, router):
    live = start_router(recorded_config(*distributions, **router))
    assert Playing([Recording(name)], live.port, allowed=KNOWN).run() == []


def test_recorded_client_without_sasl_meets_the_same_answers(start_router):
    """Where no peer has to authenticate it gets in; where each has, the connection ends without a word."""
    config = recorded_config("closest").listener("closed", authenticatePeer=True)
    live, closed = start_router(config), "16b-client-without-sasl.authenticate-peer"
    playing = Playing([Recording("16b-client-without-sasl"), Recording(closed)], live.port,
                      ports={closed: live.ports["closed"]}, allowed=KNOWN)
    assert playing.run() == []


def test_recorded_senders_without_consumers_meet_the_same_answers(start_router, start_program):
    """Credit comes with the first consumer; without any, what is sent is released and the rest of the credit drained."""
    live = start_router(recorded_config("unavailable", "closest", "multicast"))
    consumers = []

    def consume(name):
        consumers.append((name, start_program(program("qdrecv"), "-b", live.address, name)))
        live.wait_receivers(name, [other for other, _ in consumers].count(name))

    def on_note(text):
        if text.startswith("consumers of closest/n, multicast/n, plain/n attach"):
            for name in ("closest/n", "multicast/n", "plain/n"):
                consume(name)
        elif text == "they detach":
            for _, consumer in consumers:
                consumer.end()
            live.wait_log(r"(Link (detached|lost): del=1 (.|\n)*){3}")
        elif text.startswith("a consumer of closest/n attaches again"):
            consume("closest/n")

    playing = Playing([Recording("18-no-consumer.sender")], live.port, allowed=KNOWN, on_note=on_note)
    assert playing.run() == []


def test_recorded_request_and_reply_are_the_same(start_router):
    """The service was at another router; what it sent to that one's temporary address stays within ours."""
    live = start_router(recorded_config("closest", "multicast"))
    names = "12-request-reply.requester", "12-request-reply.service"
    playing = Playing([Recording(name, until=6.3) for name in names], live.port, allowed=KNOWN + [("open", "container_id")])
    assert playing.run() == []


def test_recorded_consumer_that_vanishes_gives_back_the_same(start_router, start_program):
    """Sent but not settled: modified. Not sent yet: released. In multicast the other consumer's `accepted` wins."""
    live = start_router(recorded_config("closest", "multicast"))
    other = start_program(program("qdrecv"), "-b", live.address, "multicast/v", "-c", 3)
    live.wait_receivers("multicast/v")
    names = "17b-consumer-vanishes-one-router.consumer", "17b-consumer-vanishes-one-router.sender"
    playing = Playing([Recording(name) for name in names], live.port, allowed=KNOWN)
    assert playing.run() == []
    other.wait()


STATES = {"ACCEPTED": Described(ulong(ACCEPTED), []), "RELEASED": Described(ulong(RELEASED), []),
          "MODIFIED": Described(ulong(MODIFIED), [True, False]),
          "REJECTED": Described(ulong(REJECTED), [Described(ulong(0x1d), [symbol("test:refused"), "by consumer A"])])}


def answering_as_a(recording):
    """Make of consumer B's recording that of consumer A, which took part in the scenario: the notes tell its answers."""
    answer = None
    for event in recording.events:
        if event["kind"] == "note":
            told = re.search(r"consumer on A answers (\w+)", event["text"])
            answer = STATES[told[1]] if told else None
        elif event.get("performative") == "disposition" and answer is not None:
            got = parse(event["octets"])
            event["octets"] = frame(performative(DISPOSITION, **{**got.fields, "state": answer}), got.channel)
    return recording


def test_recorded_multicast_outcomes_are_the_same(start_router):
    """Rejected over accepted over modified over released. Both consumers are at one router here."""
    live = start_router(recorded_config("closest", "multicast"))
    b = "03-multicast.consumer-b"
    playing = Playing([answering_as_a(Recording(b, name="03-multicast.consumer-a")), Recording(b),
                       Recording("03-multicast.sender")], live.port, allowed=KNOWN + [("open", "container_id")])
    assert playing.run() == []
