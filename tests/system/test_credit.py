"""Who gets credit when, what becomes of messages without a consumer, and drain (wire-protocol.md section 6.1, 6.2)."""
import pytest

from support.peers import ACCEPTED, RELEASED
from support.router import Config
from support.wire import DETACH, DISPOSITION, FLOW, TRANSFER, Wire, described, message


@pytest.fixture
def wires(router):
    """Two connections with a session each: (consumer, sender)."""
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        sender.open_session()
        yield consumer, sender


def test_sender_gets_no_credit_before_there_is_a_consumer(router, peers):
    outbox = peers.connect(router).sender("closest/first")
    peers.run_for(0.3)
    assert outbox.credit == 0
    peers.connect(router).receiver("closest/first", credit=0)
    outbox.wait_credit(250)


def test_sender_gets_credit_at_once_where_a_consumer_is(router, peers):
    peers.connect(router).receiver("closest/there", credit=0)
    outbox = peers.connect(router).sender("closest/there")
    outbox.wait_credit(250)
    peers.run_for(0.2)
    assert outbox.credit == 250


@pytest.mark.parametrize("capacity", [1, 10, 1000])
def test_link_capacity_is_the_credit(start_router, peers, capacity):
    router = start_router(Config().change("listener", linkCapacity=capacity))
    peers.connect(router).receiver("closest/capacity", credit=0)
    outbox = peers.connect(router).sender("closest/capacity")
    outbox.wait_credit(capacity)
    peers.run_for(0.2)
    assert outbox.credit == capacity


def test_credit_comes_back_as_deliveries_are_settled(router, peers):
    """And not before: a consumer that does not settle stops its sender at the link's capacity."""
    inbox = peers.connect(router).receiver("closest/back", credit=1000, accept=False)
    outbox = peers.connect(router).sender("closest/back")
    outbox.wait_credit(250)
    sent = [outbox.send(number) for number in range(250)]
    inbox.wait_count(250)
    peers.run_for(0.3)
    assert outbox.credit == 0
    for _ in range(100):
        delivery = inbox.take()[1]
        delivery.update(ACCEPTED)
        delivery.settle()
    outbox.wait_credit(100)
    assert outbox.credit == 100
    assert all(outbox.outcome(delivery).state == ACCEPTED for delivery in sent[:100])


def test_many_more_messages_than_credit_pass(router, peers):
    inbox = peers.connect(router).receiver("closest/many", credit=10)
    outbox = peers.connect(router).sender("closest/many")
    deliveries = [outbox.send(number) for number in range(3000)]
    inbox.wait_count(3000, 30)
    assert {outbox.outcome(delivery).state for delivery in deliveries} == {ACCEPTED}
    outbox.wait_credit(250)


def test_last_consumer_gone_the_next_message_is_released_and_the_credit_drained(router, wires):
    """Granted credit stays; the next delivery is released, and a flow with drain takes the rest back."""
    consumer, sender = wires
    consumer.attach("in", 0, False, "closest/gone")
    consumer.credit(0, 10)
    sender.attach("out", 0, True, "closest/gone")
    assert sender.wait_credit() == 250
    consumer.send(DETACH, handle=0, closed=True)
    consumer.expect(DETACH)
    sender.transfer(0, 0, message())
    assert int(sender.expect(DISPOSITION).fields["state"].descriptor) == 0x26
    drains = [got for got in sender.seen if got.code == FLOW and got.fields.get("drain")]
    flow = drains[-1] if drains else sender.expect(FLOW, lambda got: got.fields.get("drain"))
    assert flow.fields["link_credit"] == 249
    # Having drained, and with a consumer there again, the sender gets its credit back.
    sender.send(FLOW, next_incoming_id=0, incoming_window=0x7fffffff, next_outgoing_id=1, outgoing_window=0x7fffffff,
                handle=0, delivery_count=250, link_credit=0, drain=True)
    consumer.attach("again", 1, False, "closest/gone")
    consumer.credit(1, 10)
    flow = sender.expect(FLOW, lambda got: not got.fields.get("drain") and got.fields.get("link_credit"))
    assert flow.fields["delivery_count"] == 250 and flow.fields["link_credit"] == 250
    sender.transfer(0, 1, message("back"))
    assert b"back" in consumer.expect(TRANSFER).payload


def test_consumer_leaves_as_another_comes_the_sender_keeps_or_gets_back_its_credit(wires):
    """Whether a message meets the old routes or the new ones, and whichever of both consumers control hears of first."""
    consumer, sender = wires
    for number in range(40):
        address = "closest/race%d" % number
        consumer.attach("in%d" % number, 2 * number, False, address)
        sender.attach("out%d" % number, number, True, address)
        sender.wait_credit(number, 250)
        consumer.send(DETACH, handle=2 * number, closed=True)
        sender.transfer(number, number, message("may be released"), settled=True)
        consumer.attach("again%d" % number, 2 * number + 1, False, address)
        consumer.credit(2 * number + 1, 10)
        got = sender.seen[-1]
        sender.send(FLOW, next_incoming_id=0, incoming_window=0x7fffffff, next_outgoing_id=number + 1, echo=True,
                    outgoing_window=0x7fffffff, handle=number, delivery_count=1, link_credit=249)
        while not (got.code == FLOW and got.fields.get("handle") == number and not got.fields.get("drain")
                   and got.fields.get("delivery_count") == 1 and got.fields["link_credit"] >= 249):
            got = sender.expect(FLOW)


def test_sender_recovers_when_its_consumer_returns(router, peers):
    outbox = peers.connect(router).sender("closest/recovers")
    for _ in range(3):
        inbox = peers.connect(router).receiver("closest/recovers")
        assert outbox.outcome(outbox.send("x")).state == ACCEPTED
        inbox.next()
        inbox.peer.close()
        assert outbox.outcome(outbox.send("nobody")).state == RELEASED


def test_messages_wait_for_the_consumer_s_credit(router, peers):
    inbox = peers.connect(router).receiver("closest/waits", credit=0)
    outbox = peers.connect(router).sender("closest/waits")
    sent = [outbox.send(number) for number in range(5)]
    peers.run_for(0.3)
    assert not inbox.messages and not any(delivery.settled for delivery in sent)
    inbox.link.flow(3)
    inbox.wait_count(3)
    inbox.link.flow(10)
    inbox.wait_count(5)
    assert [received.body for received in inbox.messages] == list(range(5))
    assert all(outbox.outcome(delivery).state == ACCEPTED for delivery in sent)


def test_consumer_without_credit_does_not_hold_up_one_with(router, peers):
    """One consumer of an address is stuck, and another address on the same connection is not."""
    client = peers.connect(router)
    client.receiver("closest/stuck", credit=0)
    free = client.receiver("closest/free", credit=100)
    producer = peers.connect(router)
    stuck_outbox, free_outbox = producer.sender("closest/stuck"), producer.sender("closest/free")
    for number in range(250):
        stuck_outbox.send(number)
    for number in range(100):
        free_outbox.send(number)
    free.wait_count(100)


# -- drain

def test_drain_without_messages_returns_credit(router, peers):
    inbox = peers.connect(router).receiver("closest/dry", credit=10)
    inbox.drain()
    assert inbox.link.credit == 0


def test_drain_delivers_what_there_is_first(router, peers):
    inbox = peers.connect(router).receiver("closest/some", credit=0)
    outbox = peers.connect(router).sender("closest/some")
    for number in range(3):
        outbox.send(number)
    peers.run_for(0.1)
    inbox.link.drain(10)
    peers.wait(lambda: not inbox.link.draining(), what="the drain")
    inbox.wait_count(3)
    assert [received.body for received in inbox.messages] == [0, 1, 2]


def test_drained_consumer_can_go_on(router, peers):
    """DISPATCH-1055, -1287: credit after a drain was lost."""
    inbox = peers.connect(router).receiver("closest/on", credit=0)
    outbox = peers.connect(router).sender("closest/on")
    for number in range(20):
        inbox.link.drain(5)
        peers.wait(lambda: not inbox.link.draining(), what="drain %d" % number)
        inbox.link.drain_mode = False
        inbox.link.flow(1)
        delivery = outbox.send(number)
        inbox.wait_count(number + 1)
        assert outbox.outcome(delivery).state == ACCEPTED


def test_drain_answer_counts_the_credit_as_used(wires):
    """AMQP 1.0 part 2.6.7, Flow Control: delivery-count advances by the credit, link-credit is 0."""
    consumer, _ = wires
    consumer.attach("in", 0, False, "closest/drained")
    start = consumer.delivery_counts[0, 0]
    consumer.credit(0, 37, drain=True)
    got = consumer.expect(FLOW, lambda flow: flow.fields.get("handle") == 0)
    assert (got.fields["delivery_count"], got.fields["link_credit"]) == ((start + 37) & 0xffffffff, 0)


def test_drain_across_the_wrap_of_the_delivery_count(wires):
    consumer, sender = wires
    consumer.attach("in", 0, False, "closest/around")
    start = consumer.delivery_counts[0, 0]
    consumer.credit(0, 0x7fffffff, drain=True)
    got = consumer.expect(FLOW, lambda flow: flow.fields.get("handle") == 0)
    count = int(got.fields["delivery_count"])
    assert count == (start + 0x7fffffff) & 0xffffffff
    consumer.credit(0, 0x7fffffff, delivery_count=count, drain=True)
    got = consumer.expect(FLOW, lambda flow: flow.fields.get("handle") == 0)
    count = int(got.fields["delivery_count"])
    consumer.credit(0, 10, delivery_count=count)
    sender.attach("out", 0, True, "closest/around")
    sender.wait_credit()
    for number in range(5):
        sender.transfer(0, number, message("m%d" % number))
        assert b"m%d" % number in consumer.expect(TRANSFER).payload


def test_echo_is_answered(wires):
    consumer, _ = wires
    consumer.attach("in", 0, False, "closest/echo")
    consumer.credit(0, 5, echo=True)
    got = consumer.expect(FLOW, lambda flow: flow.fields.get("handle") == 0)
    assert got.fields["link_credit"] == 5 and not got.fields.get("echo")


def test_session_echo_is_answered(wires):
    consumer, _ = wires
    consumer.send(FLOW, next_incoming_id=consumer.next_incoming[0], incoming_window=5, next_outgoing_id=0,
                  outgoing_window=5, echo=True)
    got = consumer.expect(FLOW, lambda flow: flow.fields.get("handle") is None)
    assert got.fields["next_incoming_id"] == 0


def test_consumer_s_session_window_holds_back_and_opens_again(router):
    """Finite incoming-window: no more transfers than it allows, whatever the link's credit."""
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open()
        consumer.begin(incoming_window=3)
        consumer.attach("in", 0, False, "closest/window")
        consumer.credit(0, 100, incoming_window=3)
        sender.open_session()
        sender.attach("out", 0, True, "closest/window")
        sender.wait_credit()
        for number in range(9):
            sender.transfer(0, number, message("m%d" % number))
        got = 0
        while got < 9:
            for _ in range(3):
                transfer = consumer.expect(TRANSFER)
                assert b"m%d" % got in transfer.payload
                got += 1
            with pytest.raises(AssertionError, match="nothing came in time"):
                consumer.expect(TRANSFER, limit=0.2)
            move_window(consumer, 3)


def move_window(wire, window):
    """Tell the peer that we take that many transfer frames more than have come."""
    wire.send(FLOW, next_incoming_id=wire.next_incoming[0], incoming_window=window, next_outgoing_id=0,
              outgoing_window=0x7fffffff)


def test_credit_beyond_the_window_is_used_as_the_window_moves(router):
    """A receiver granting more than 2^16 credits with a finite window stalled elsewhere at 65,535."""
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open()
        consumer.begin(incoming_window=2048)
        consumer.attach("in", 0, False, "closest/beyond")
        consumer.credit(0, 1000000, incoming_window=2048)
        sender.open_session()
        sender.attach("out", 0, True, "closest/beyond")
        limit, sent, got, payload, total = sender.wait_credit(), 0, 0, message("x"), 70000
        batch = 500
        while got < total:
            while sent < total and sent < limit:
                sender.transfer(0, sent & 0xffffffff, payload, settled=True)
                sent += 1
            while got < sent:
                consumer.expect(TRANSFER)
                consumer.seen.clear()
                got += 1
                if got % batch == 0:
                    move_window(consumer, 2048)
            if got < total:
                flow = sender.expect(FLOW, lambda f: f.fields.get("handle") == 0
                                     and f.fields["delivery_count"] + f.fields["link_credit"] > limit)
                limit = int(flow.fields["delivery_count"] + flow.fields["link_credit"])


def test_unsettled_delivery_settled_by_its_sender_is_settled_for_the_consumer(wires):
    consumer, sender = wires
    consumer.attach("in", 0, False, "closest/sender-settles")
    consumer.credit(0, 5)
    sender.attach("out", 0, True, "closest/sender-settles")
    sender.wait_credit()
    sender.transfer(0, 0, message())
    delivery_id = consumer.expect(TRANSFER).fields["delivery_id"]
    sender.send(DISPOSITION, role=False, first=0, settled=True)
    got = consumer.expect(DISPOSITION)
    assert got.fields["first"] == delivery_id and got.fields["settled"] is True and got.fields["role"] is False
    consumer.send(DISPOSITION, role=True, first=delivery_id, settled=True, state=described(0x24))  # too late: ignored
    sender.transfer(0, 1, message("next"))
    assert b"next" in consumer.expect(TRANSFER).payload
