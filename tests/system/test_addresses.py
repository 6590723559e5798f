"""What an address may look like, anonymous senders, dynamic nodes, requests and replies (wire-protocol.md section 5)."""
import re

import pytest
from proton import Message

from support.peers import ACCEPTED, REJECTED, RELEASED


SAME = ["foo/bar", "/foo/bar", "foo/bar/", "foo/bar.", "amqp:/foo/bar", "amqp://h:1/foo/bar", "amqp:///foo/bar",
        "//x/foo/bar", "http:/foo/bar"]
OTHER = ["foo.bar", "amqp:foo/bar", "mailto:foo/bar", "foo/bar//", "/foo/bar//", "FOO/bar"]


@pytest.mark.parametrize("how", ["targeted", "anonymous"])
def test_forms_of_one_address_reach_one_consumer(router, peers, how):
    inbox = peers.connect(router).receiver("foo/bar", credit=100)
    client = peers.connect(router)
    anonymous = client.sender(None)
    for text in SAME:
        outbox, to = (anonymous, text) if how == "anonymous" else (client.sender(text), None)
        delivery = outbox.send(text, to=to)
        assert inbox.next().body == text
        assert outbox.outcome(delivery).state == ACCEPTED


def test_addresses_that_only_look_alike_are_others(router, peers):
    inbox = peers.connect(router).receiver("foo/bar", credit=100)
    outbox = peers.connect(router).sender(None)
    for text in OTHER:
        assert outbox.outcome(outbox.send(text, to=text)).state == RELEASED, text
    assert not inbox.messages


@pytest.mark.parametrize("form", SAME)
def test_consumer_may_use_any_form(router, peers, form):
    inbox = peers.connect(router).receiver(form)
    outbox = peers.connect(router).sender("foo/bar")
    outbox.send("hello")
    assert inbox.next().body == "hello"


def test_own_topological_and_local_forms_are_one_node(router, peers):
    inbox = peers.connect(router).receiver("_topo/0/Test/here", credit=10)
    outbox = peers.connect(router).sender(None)
    for text in ("_local/here", "amqp:/_topo/0/Test/here", "_topo/0/Test/here"):
        assert outbox.outcome(outbox.send(text, to=text)).state == ACCEPTED, text
        assert inbox.next().body == text
    assert outbox.outcome(outbox.send("mobile", to="here")).state == RELEASED


def test_receiver_on_another_router_s_topological_address_is_refused(router, peers):
    link = peers.connect(router).receiver("_topo/0/Elsewhere/x", wait=False)
    assert link.wait_detached() == ("qd:no-route-to-dest", "No route to the destination node")


def test_refused_link_leaves_the_connection_working(router, peers):
    peer = peers.connect(router)
    peer.receiver("_topo/0/Elsewhere/x", wait=False).wait_detached()
    router.wait_log(r"\[C1\] Link refused: dir=out source=\{_topo/0/Elsewhere/x.*\} target=\{.*\}: qd:no-route-to-dest ")
    inbox, outbox = peer.receiver("closest/works"), peer.sender("closest/works")
    outbox.send("on")
    assert inbox.next().body == "on"


# -- anonymous senders

def test_anonymous_sender_reaches_any_address(router, peers):
    inboxes = {name: peers.connect(router).receiver(name) for name in ("closest/a", "balanced/b", "plain")}
    outbox = peers.connect(router).sender(None)
    for name, inbox in inboxes.items():
        delivery = outbox.send(name, to=name)
        message = inbox.next()
        assert message.body == name
        assert message.address == name, "the router must not rewrite `to`"
        assert outbox.outcome(delivery).state == ACCEPTED


def test_anonymous_sender_has_credit_at_once(router, peers):
    peers.connect(router).sender(None).wait_credit(250)


def test_anonymous_message_to_nobody_is_released(router, peers):
    outbox = peers.connect(router).sender(None)
    assert outbox.outcome(outbox.send("x", to="closest/nobody")).state == RELEASED


def test_anonymous_message_without_to_is_rejected(router, peers):
    outbox = peers.connect(router).sender(None)
    outcome = outbox.outcome(outbox.send("x"))
    assert outcome.state == REJECTED
    assert outcome.error.name == "amqp:precondition-failed"
    assert outcome.error.description == "Routing failure: no address present"


def test_anonymous_sender_goes_on_after_releases(router, peers):
    """Credit comes back for what was released, far beyond the first grant."""
    outbox = peers.connect(router).sender(None)
    for _ in range(3):
        deliveries = [outbox.send("x", to="closest/nobody") for _ in range(200)]
        assert {outbox.outcome(delivery).state for delivery in deliveries} == {RELEASED}


# -- dynamic nodes, requests and replies

def test_dynamic_source_gets_an_address_of_this_router(router, peers):
    inbox = peers.connect(router).receiver(None, dynamic=True)
    assert re.fullmatch(r"amqp:/_topo/0/Test/temp\.[A-Za-z0-9+_]{15}", inbox.remote_address), inbox.remote_address


def test_dynamic_sources_are_all_different(router, peers):
    peer = peers.connect(router)
    addresses = {peer.receiver(None, dynamic=True).remote_address for _ in range(100)}
    assert len(addresses) == 100


@pytest.mark.parametrize("how", ["targeted", "anonymous"])
def test_request_is_answered_at_the_dynamic_address(router, peers, how):
    service = peers.connect(router)
    requests, replies = service.receiver("closest/service"), service.sender(None)
    client = peers.connect(router)
    answers = client.receiver(None, dynamic=True)
    outbox = client.sender("closest/service" if how == "targeted" else None)
    for number in range(20):
        outbox.send(Message("question %d" % number, address="closest/service", reply_to=answers.remote_address,
                            correlation_id="id-%d" % number))
        request = requests.next()
        assert request.reply_to == answers.remote_address
        replies.send(Message(request.body.upper(), address=request.reply_to, correlation_id=request.correlation_id))
        answer = answers.next()
        assert (answer.body, answer.correlation_id) == ("QUESTION %d" % number, "id-%d" % number)


def test_reply_to_a_client_that_has_gone_is_released(router, peers):
    replies = peers.connect(router).sender(None)
    client = peers.connect(router)
    address = client.receiver(None, dynamic=True).remote_address
    client.vanish()

    def released():
        return replies.outcome(replies.send("late", to=address)).state == RELEASED

    peers.wait(released, what="the router to notice")


def test_dynamic_address_ends_with_its_link(router, peers):
    peer = peers.connect(router)
    inbox, outbox = peer.receiver(None, dynamic=True), peer.sender(None)
    address = inbox.remote_address
    assert outbox.outcome(outbox.send("x", to=address)).state == ACCEPTED
    inbox.close()
    assert outbox.outcome(outbox.send("x", to=address)).state == RELEASED


def test_two_clients_of_one_service_get_their_own_answers(router, peers):
    service = peers.connect(router)
    requests, replies = service.receiver("closest/shared", credit=100), service.sender(None)
    clients = [peers.connect(router) for _ in range(3)]
    answers = [client.receiver(None, dynamic=True) for client in clients]
    for number, client in enumerate(clients):
        client.sender("closest/shared").send(Message(number, reply_to=answers[number].remote_address))
    for _ in clients:
        request = requests.next()
        replies.send(Message(request.body, address=request.reply_to))
    for number, inbox in enumerate(answers):
        assert inbox.next().body == number


@pytest.mark.parametrize("length", [500, 600, 1100, 7000])
def test_address_of_any_length_is_found_for_an_anonymous_message(router, peers, length):
    name = "closest/" + "x" * (length - 8)
    inbox, outbox = peers.connect(router).receiver(name), peers.connect(router).sender(None)
    delivery = outbox.send("hello", to=name)
    assert inbox.next().body == "hello"
    assert outbox.outcome(delivery).state == ACCEPTED
