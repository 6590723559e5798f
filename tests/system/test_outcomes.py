"""Outcomes carried end to end with their fields, settlement of both kinds, consumers that vanish
(wire-protocol.md sections 4.5 and 13)."""
import pytest
from proton import Array, Data, Message, UNDESCRIBED, symbol
from proton.reactor import LinkOption

from support.peers import ACCEPTED, MODIFIED, REJECTED, RELEASED, settle
from support.wire import DISPOSITION, SOURCE, TRANSFER, Wire, described, message


@pytest.fixture
def ends(router, peers):
    """A sender, and a receiver that leaves outcomes to the test."""
    inbox = peers.connect(router).receiver("closest/outcomes", accept=False, credit=20)
    return peers.connect(router).sender("closest/outcomes"), inbox


def outcome_for(ends, state, **fields):
    outbox, inbox = ends
    sent = outbox.send("judge me")
    settle(inbox.take()[1], state, **fields)
    return outbox.outcome(sent)


def test_accepted_comes_back(ends):
    assert outcome_for(ends, ACCEPTED).state == ACCEPTED


def test_released_comes_back(ends):
    assert outcome_for(ends, RELEASED).state == RELEASED


def test_rejected_comes_back_with_its_error(ends):
    info = {symbol("why"): "because", symbol("line"): 7}
    outcome = outcome_for(ends, REJECTED, error=("app:no-good", "not what I ordered", info))
    assert outcome.state == REJECTED
    assert (outcome.error.name, outcome.error.description) == ("app:no-good", "not what I ordered")
    assert outcome.error.info == info


def test_rejected_without_error_comes_back(ends):
    outcome = outcome_for(ends, REJECTED)
    assert outcome.state == REJECTED
    assert outcome.error is None


@pytest.mark.parametrize("undeliverable", [False, True])
@pytest.mark.parametrize("annotations", [None, {symbol("x-opt-tried"): 3, symbol("x-opt-where"): "here"}], ids=["none", "some"])
def test_modified_comes_back_with_its_fields(ends, undeliverable, annotations):
    """delivery-failed is always true when relayed (wire-protocol.md section 4.5)."""
    outcome = outcome_for(ends, MODIFIED, failed=False, undeliverable=undeliverable, annotations=annotations)
    assert outcome.state == MODIFIED
    assert outcome.failed is True
    assert outcome.undeliverable == undeliverable
    assert (outcome.annotations or None) == annotations


def test_settled_without_a_state_comes_back_so(ends):
    outbox, inbox = ends
    sent = outbox.send("x")
    inbox.take()[1].settle()
    outcome = outbox.outcome(sent)
    assert outcome.state not in (REJECTED, RELEASED, MODIFIED)


def test_settled_without_a_state_is_no_other_outcome_to_a_sender_that_lists_its_own(router):
    """As JMS clients do: they would take `released` for a failure, and send again what has been received."""
    outcomes = Array(UNDESCRIBED, Data.SYMBOL,
                     *(symbol("amqp:%s:list" % name) for name in ("accepted", "rejected", "released", "modified")))
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/listed")
        consumer.credit(0, 10)
        sender.open_session()
        sender.attach("out", 0, True, "closest/listed", source=described(SOURCE, "out", *[None] * 8, outcomes))
        sender.wait_credit()
        sender.transfer(0, 0, message())
        consumer.send(DISPOSITION, role=True, first=consumer.expect(TRANSFER).fields["delivery_id"], settled=True)
        got = sender.expect(DISPOSITION).fields
        assert got["settled"] is True and got.get("state") is None


def test_outcomes_in_any_order_go_to_their_deliveries(ends):
    outbox, inbox = ends
    sent = [outbox.send(number) for number in range(12)]
    received = [inbox.take()[1] for _ in sent]
    plan = [ACCEPTED, RELEASED, REJECTED, MODIFIED] * 3
    for number in (5, 0, 11, 3, 2, 1, 10, 9, 4, 8, 7, 6):
        settle(received[number], plan[number])
    assert [outbox.outcome(delivery).state for delivery in sent] == plan


def test_received_state_is_relayed_without_settling(router):
    """A receiver that says how far it has come (AMQP 1.0 part 3.4.1, Received), before its outcome."""
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/received")
        consumer.credit(0, 10)
        sender.open_session()
        sender.attach("out", 0, True, "closest/received")
        sender.wait_credit()
        sender.transfer(0, 0, message())
        delivery_id = consumer.expect(TRANSFER).fields["delivery_id"]
        consumer.send(DISPOSITION, role=True, first=delivery_id, settled=False, state=described(0x23, 1, 42))
        consumer.send(DISPOSITION, role=True, first=delivery_id, settled=True, state=described(0x24))
        while True:
            got = sender.expect(DISPOSITION)
            if int(got.fields["state"].descriptor) == 0x24:
                assert got.fields["settled"] is True
                break
            assert not got.fields.get("settled"), "settled on a received state"


def test_receiver_settling_second_gets_the_sender_s_settlement(router):
    """rcv-settle-mode second: outcome first, settlement after the sender's (AMQP 1.0 part 2.6.12)."""
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/second", rcv_settle_mode=1)
        consumer.credit(0, 10)
        sender.open_session()
        sender.attach("out", 0, True, "closest/second", rcv_settle_mode=1)
        sender.wait_credit()
        sender.transfer(0, 0, message())
        delivery_id = consumer.expect(TRANSFER).fields["delivery_id"]
        consumer.send(DISPOSITION, role=True, first=delivery_id, settled=False, state=described(0x24))
        got = sender.expect(DISPOSITION)
        assert int(got.fields["state"].descriptor) == 0x24
        if not got.fields.get("settled"):
            sender.send(DISPOSITION, role=False, first=0, settled=True, state=described(0x24))
            assert consumer.expect(DISPOSITION).fields["settled"] is True


def test_dispositions_in_ranges_settle_every_delivery(router):
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/ranges")
        consumer.credit(0, 100)
        sender.open_session()
        sender.attach("out", 0, True, "closest/ranges")
        sender.wait_credit(0, 100)
        for number in range(100):
            sender.transfer(0, number, message("m%d" % number))
        ids = [int(consumer.expect(TRANSFER).fields["delivery_id"]) for _ in range(100)]
        assert ids == list(range(ids[0], ids[0] + 100))
        consumer.send(DISPOSITION, role=True, first=ids[10], last=ids[99], settled=True, state=described(0x24))
        consumer.send(DISPOSITION, role=True, first=ids[0], last=ids[20], settled=True, state=described(0x26))
        states = {}
        while len(states) < 100:
            got = sender.expect(DISPOSITION)
            assert got.fields["settled"] is True
            last = got.fields.get("last")
            for number in range(got.fields["first"], (got.fields["first"] if last is None else last) + 1):
                assert number not in states, "settled twice"
                states[number] = int(got.fields["state"].descriptor)
        assert states == {number: 0x26 if number < 10 else 0x24 for number in range(100)}


# -- presettled

def test_presettled_arrives_presettled(router, peers):
    inbox = peers.connect(router).receiver("closest/presettled", accept=False)
    outbox = peers.connect(router).sender("closest/presettled", presettled=True)
    outbox.send("fire and forget")
    received, delivery = inbox.take()
    assert received.body == "fire and forget"
    assert delivery is None, "not settled"


def test_presettled_and_unsettled_mix_on_one_link(router):
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/mixed")
        consumer.credit(0, 10)
        sender.open_session()
        sender.attach("out", 0, True, "closest/mixed")
        sender.wait_credit(0, 4)
        for number in range(4):
            sender.transfer(0, number, message("m%d" % number), settled=number % 2 == 0)
        settled = [bool(consumer.expect(TRANSFER).fields.get("settled")) for _ in range(4)]
        assert settled == [True, False, True, False]


class SettlesAllItReceives(LinkOption):
    """A receiver that asks for settled deliveries (snd-settle-mode settled)."""

    def apply(self, link):
        link.snd_settle_mode = link.SND_SETTLED


def test_consumer_that_wants_settled_gets_it_and_the_sender_hears_accepted(router, peers):
    """wire-protocol.md section 2.7: the router settles on the receiver's behalf."""
    inbox = peers.connect(router).receiver("closest/wants", accept=False, options=[SettlesAllItReceives()])
    outbox = peers.connect(router).sender("closest/wants")
    sent = outbox.send("x")
    assert inbox.take()[1] is None
    assert outbox.outcome(sent).state == ACCEPTED


def test_presettled_to_a_slow_consumer_are_all_delivered(router, peers):
    """Settled messages are never dropped for congestion: the sender waits for credit instead."""
    inbox = peers.connect(router).receiver("closest/slow", credit=0, accept=False)
    outbox = peers.connect(router).sender("closest/slow", presettled=True)
    sent = 0
    outbox.wait_credit()
    for _ in range(200):
        while outbox.credit and sent < 2000:
            outbox.send(sent, wait_credit=False)
            sent += 1
        already = len(inbox.messages)
        inbox.link.flow(10)
        inbox.wait_count(min(already + 10, 2000))
    inbox.link.flow(2000)
    while sent < 2000:
        outbox.send(sent)
        sent += 1
    inbox.wait_count(2000, 20)
    assert [received.body for received in inbox.messages] == list(range(2000))


# -- consumers and producers that vanish

@pytest.mark.parametrize("how", ["vanish", "close"])
def test_consumer_that_leaves_gives_back_what_it_had(router, peers, how):
    """Sent and not settled: modified, delivery-failed. Not yet sent: released."""
    inbox = peers.connect(router).receiver("closest/leaves", credit=5, accept=False)
    outbox = peers.connect(router).sender("closest/leaves")
    sent = [outbox.send(number) for number in range(10)]
    inbox.wait_count(5)
    getattr(inbox.peer, how)()
    outcomes = [outbox.outcome(delivery) for delivery in sent]
    assert [outcome.state for outcome in outcomes] == [MODIFIED] * 5 + [RELEASED] * 5
    assert all(outcome.failed for outcome in outcomes[:5])


def test_consumer_that_detaches_gives_back_what_it_had(router, peers):
    inbox = peers.connect(router).receiver("closest/detaches", credit=5, accept=False)
    outbox = peers.connect(router).sender("closest/detaches")
    sent = [outbox.send(number) for number in range(8)]
    inbox.wait_count(5)
    inbox.close()
    assert [outbox.outcome(delivery).state for delivery in sent] == [MODIFIED] * 5 + [RELEASED] * 3


def test_messages_flow_to_the_consumer_that_stays(router, peers):
    """Whatever the fate of what the other had: what is sent from now on arrives."""
    leaves = peers.connect(router).receiver("closest/stays", accept=False)
    stays = peers.connect(router).receiver("closest/stays", credit=100)
    outbox = peers.connect(router).sender("closest/stays")
    sent = [outbox.send(number) for number in range(10)]
    leaves.wait_count(5)
    leaves.peer.vanish()
    states = [outbox.outcome(delivery).state for delivery in sent]
    assert states.count(MODIFIED) == 5 and states.count(ACCEPTED) == 5
    for number in range(20):
        assert outbox.outcome(outbox.send(number)).state == ACCEPTED
    assert len(stays.messages) == 25


def test_consumer_that_returns_is_served_again_and_again(router, peers):
    """Hono#1026: after a restart of the consumer, one credit at a time for ever."""
    outbox = peers.connect(router).sender("closest/returns")
    for round_number in range(5):
        inbox = peers.connect(router).receiver("closest/returns", credit=300)
        deliveries = [outbox.send(number) for number in range(300)]
        assert {outbox.outcome(delivery).state for delivery in deliveries} == {ACCEPTED}
        outbox.wait_credit(250)
        inbox.peer.vanish()
        last = outbox.outcome(outbox.send("into the void"))
        assert last.state in (RELEASED, MODIFIED)


def test_producer_that_vanishes_leaves_complete_deliveries_alone(router, peers):
    inbox = peers.connect(router).receiver("closest/orphans", accept=False)
    producer = peers.connect(router)
    outbox = producer.sender("closest/orphans")
    for number in range(5):
        outbox.send(number)
    inbox.wait_count(5)
    producer.vanish()
    for _ in range(5):
        settle(inbox.take()[1], ACCEPTED)  # discarded, and nothing breaks
    other = peers.connect(router).sender("closest/orphans")
    sent = other.send("next")
    received, delivery = inbox.take()
    assert received.body == "next"
    settle(delivery, ACCEPTED)
    assert other.outcome(sent).state == ACCEPTED


# -- the message itself

def test_every_section_arrives_as_it_was_sent(router, peers):
    inbox = peers.connect(router).receiver("closest/sections")
    outbox = peers.connect(router).sender("closest/sections")
    sent = Message({"list": [1, 2.5, "three", None], "nested": {"a": b"bytes"}}, id="id-1", user_id=b"me", subject="s",
                   reply_to="r", correlation_id="c", content_type=symbol("text/x"), content_encoding=symbol("y"),
                   expiry_time=1700000000.0, creation_time=1600000000.0, group_id="g", group_sequence=7,
                   reply_to_group_id="rg", durable=True, priority=7, ttl=60.0, first_acquirer=True, delivery_count=3,
                   properties={"key": "value", "number": 5}, annotations={symbol("x-opt-mine"): 1},
                   instructions={symbol("x-opt-inst"): "i"})
    outbox.send(sent)
    got = inbox.next()
    for field in ("body", "id", "user_id", "subject", "reply_to", "correlation_id", "content_type", "content_encoding",
                  "expiry_time", "creation_time", "group_id", "group_sequence", "reply_to_group_id", "durable", "priority",
                  "ttl", "first_acquirer", "delivery_count", "properties", "annotations", "instructions"):
        assert getattr(got, field) == getattr(sent, field), field


@pytest.mark.parametrize("sections", [
    b"\x00\x53\x75\xa0\x03abc" * 3,                               # three data sections
    b"\x00\x53\x76\x45" * 2,                                      # amqp-sequences
    b"\x00\x80\x00\x00\x00\x00\x00\x00\x00\x77\x40",              # descriptor as a full ulong
    b"\x00\x53\x77\x40\x00\x53\x78\xc1\x01\x00",                  # a footer
    b"\x00\x53\x70\xd0\x00\x00\x00\x05\x00\x00\x00\x01\x41\x00\x53\x77\xa1\x01x",  # list32 where list8 would do
], ids=["data", "sequence", "ulong", "footer", "list32"])
def test_octets_of_a_message_are_not_touched(router, sections):
    """Client to client through one router, the bytes are not rewritten."""
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/octets")
        consumer.credit(0, 10)
        sender.open_session()
        sender.attach("out", 0, True, "closest/octets")
        sender.wait_credit()
        sender.transfer(0, 0, sections)
        assert consumer.expect(TRANSFER).payload == sections


def test_message_format_is_carried(router):
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/format")
        consumer.credit(0, 10)
        sender.open_session()
        sender.attach("out", 0, True, "closest/format")
        sender.wait_credit()
        sender.transfer(0, 0, message(), message_format=0x80013700)
        assert consumer.expect(TRANSFER).fields["message_format"] == 0x80013700


def test_types_of_every_kind_survive(router, peers):
    inbox = peers.connect(router).receiver("closest/types")
    outbox = peers.connect(router).sender("closest/types")
    for body in (None, True, 0, -1, 2 ** 62, 1.5, "text", "tëxt ✓", b"\0\xff", [], {}, [[[]]]):
        outbox.send(Message(body))
        assert inbox.next().body == body
