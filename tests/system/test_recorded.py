"""Clients of a 1.19 router, recorded octet by octet, meet the same answers here (what differs is said beside each test)."""
import re

import pytest
from proton import Described, Message, symbol, ulong

from support.playing import Playing
from support.recorded import KNOWN, OFFERS
from support.recording import Recording
from support.router import Config, program
from support.wire import ACCEPTED, DISPOSITION, MODIFIED, REJECTED, RELEASED, frame, parse, performative

ALLOWED = [*KNOWN, *OFFERS]


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
    assert Playing([Recording(name)], live.port, allowed=ALLOWED).run() == []


def test_recorded_client_without_sasl_meets_the_same_answers(start_router):
    """Where no peer has to authenticate it gets in; where each has, the connection ends without a word."""
    config = recorded_config("closest").listener("closed", authenticatePeer=True)
    live, closed = start_router(config), "16b-client-without-sasl.authenticate-peer"
    playing = Playing([Recording("16b-client-without-sasl"), Recording(closed)], live.port,
                      ports={closed: live.ports["closed"]}, allowed=ALLOWED)
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

    playing = Playing([Recording("18-no-consumer.sender")], live.port, allowed=ALLOWED, on_note=on_note)
    assert playing.run() == []


def test_recorded_request_and_reply_are_the_same(start_router):
    """The service was at another router; what it sent to that one's temporary address stays within ours."""
    live = start_router(recorded_config("closest", "multicast"))
    names = "12-request-reply.requester", "12-request-reply.service"
    playing = Playing([Recording(name, until=6.3) for name in names], live.port, allowed=ALLOWED + [("open", "container_id")])
    assert playing.run() == []


def test_recorded_consumer_that_vanishes_gives_back_the_same(start_router, start_program):
    """Sent but not settled: modified. Not sent yet: released. In multicast the other consumer's `accepted` wins."""
    live = start_router(recorded_config("closest", "multicast"))
    other = start_program(program("qdrecv"), "-b", live.address, "multicast/v", "-c", 3)
    live.wait_receivers("multicast/v")
    names = "17b-consumer-vanishes-one-router.consumer", "17b-consumer-vanishes-one-router.sender"
    playing = Playing([Recording(name) for name in names], live.port, allowed=ALLOWED)
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
                       Recording("03-multicast.sender")], live.port, allowed=ALLOWED + [("open", "container_id")])
    assert playing.run() == []


# -- management, as the old router's own qdstat and qdmanage ask for it


def decoded(octets):
    message = Message()
    message.decode(octets)
    return message


def column_types(body, column):
    return {type(row[column]) for row in body["results"]} - {type(None)}


def assert_same_answer(recorded, live):
    """The same columns with values of the same types; another router has other rows."""
    assert live.properties == recorded.properties
    assert type(live.properties["statusCode"]) is type(recorded.properties["statusCode"])
    assert (live.address, live.correlation_id, live.reply_to, live.subject, live.durable) == (
        recorded.address, recorded.correlation_id, None, None, False)
    assert type(live.body) is type(recorded.body)
    if isinstance(recorded.body, dict) and "attributeNames" in recorded.body:
        assert live.body["attributeNames"] == recorded.body["attributeNames"]
        for column, name in enumerate(recorded.body["attributeNames"]):
            old, new = column_types(recorded.body, column), column_types(live.body, column)
            assert not old or new <= old, "column %s is of type %s, was of %s" % (name, new, old)
    elif isinstance(recorded.body, dict):
        assert {key: value for key, value in live.body.items() if key != "identity"} == {
            key: value for key, value in recorded.body.items() if key != "identity"}


def test_recorded_qdstat_gets_the_same_answers(start_router):
    """qdstat -c, -l, -a and -n; those by way of another router come with the mesh."""
    live = start_router(recorded_config("closest", "multicast"))
    playing = Playing([Recording("13a-qdstat.client", until=5.6)], live.port, allowed=ALLOWED, messages=False)
    assert playing.run() == []
    answers = [(decoded(recorded), decoded(now)) for _, recorded, now in playing.messages()]
    assert len(answers) == 12
    for recorded, now in answers:
        assert_same_answer(recorded, now)
    connections = [now.body for _, now in answers if now.body and "sslProto" in now.body["attributeNames"]]
    assert [row[connections[0]["attributeNames"].index("user")] for row in connections[0]["results"]] == ["anonymous"]


def test_recorded_qdmanage_gets_the_same_answers(start_router):
    """Create, read, query, update, delete, what is not there and what is wrong; and every address of the node."""
    live = start_router(recorded_config("closest", "multicast"))
    playing = Playing([Recording("13b-management-operations")], live.port, allowed=ALLOWED, messages=False)
    # docs/differences-from-qpid-dispatch.md: a request without application properties is answered.
    (unasked,) = playing.run()
    assert re.search(r"'answers', 'from A', 0, 5\): recorded \[\], live \[", unasked)
    answers = [(decoded(recorded), decoded(now)) for _, recorded, now in playing.messages()]
    assert len(answers) == 14
    for recorded, now in answers[:-1]:
        operations = now.body.get("org.apache.qpid.dispatch.management") if isinstance(now.body, dict) else None
        if operations and "EXPLAIN" in operations:
            operations.remove("EXPLAIN")  # ours alone
        assert_same_answer(recorded, now)
    recorded, now = answers[-1]  # a request without operation: the old router loses its correlation-id
    assert now.properties["statusCode"] == recorded.properties["statusCode"] == 400
    assert now.properties["statusDescription"].startswith("No 'operation' property: ")
    assert (recorded.correlation_id, now.correlation_id) == (None, 1)
