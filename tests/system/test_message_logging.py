"""A line in the log for each message, where a listener or connector has messageLoggingComponents and MESSAGE is at trace
(management reference 8.5, Message logging)."""
import os
import re
import socket
import struct
import uuid

import pytest
from proton import Message, int32, symbol
from proton.handlers import MessagingHandler
from proton.reactor import Container as Reactor

from support.deadline import kilobytes, wait_until
from support.peers import ACCEPTED
from support.router import Config
from support.tool import output
from support.wire import TRANSFER, Wire, described, encode, message

# [C<n>]: Received|Sent <what> on link '<name>' (<source> -> <target>)
LINE = re.compile(r"^\S+ \S+ \S+ MESSAGE \(trace\) \[C(?P<conn>\d+)\]: (?P<way>Received|Sent) (?P<what>.*)"
                  r" on link '(?P<link>.*)' \((?P<source>.*) -> (?P<target>.*)\)$", re.M)
ALL = ('message-id="m1", user-id=b"anonymous", to="closest/log", subject="greeting", reply-to="back", '
       'correlation-id=7, content-type=:"text/plain", content-encoding=:"identity", '
       'absolute-expiry-time="2026-11-20 09:36:16.347000 +0000", '
       'creation-time="2017-07-14 02:40:00.000000 +0000", group-id="g", group-sequence=3, reply-to-group-id="rg", '
       'app-properties={"a"=1, "b"="x", "c"=:"sym", "d"=true}')


def logging_router(start_router, components, level="trace+", **listener):
    config = Config().change("listener", messageLoggingComponents=components, **listener)
    config.add("log", module="MESSAGE", enable=level)
    router = start_router(config, wait=False)
    router.wait_ready()
    return router


def lines(router, link=None):
    """The matches of what was logged of messages, in their order."""
    text = router.log().rpartition("\n")[0]  # a line that is being written may be there in part
    found = list(LINE.finditer(text))
    assert len(found) == len(re.findall(r"^\S+ \S+ \S+ MESSAGE ", text, re.M)), text
    return [line for line in found if link in (None, line["link"])]


def wait_lines(router, count, link=None):
    wait_until(lambda: len(lines(router, link)) >= count, 10, lambda: "%d lines:\n%s" % (count, router.tail()))
    found = lines(router, link)
    assert len(found) == count
    return found


def full_message(body="the body"):
    made = Message(body, id="m1", user_id=b"anonymous", address="closest/log", subject="greeting", reply_to="back",
                   correlation_id=7, content_type="text/plain", content_encoding="identity", expiry_time=1795167376.347,
                   creation_time=1500000000.0, group_id="g", group_sequence=3, reply_to_group_id="rg")
    made.properties = {"a": int32(1), "b": "x", "c": symbol("sym"), "d": True}
    return made


def pass_on(router, peers, *messages, presettled=False):
    """From one client to another; return the names of their links."""
    inbox = peers.connect(router).receiver("closest/log", name="in")
    outbox = peers.connect(router).sender("closest/log", presettled=presettled, name="out")
    for made in messages:
        sent = outbox.send(made)
        received = inbox.next(30)
        assert received.body == made.body
        if not presettled:
            assert outbox.outcome(sent).state == ACCEPTED
    return "out", "in"


@pytest.mark.parametrize("presettled", [False, True])
def test_all_components_of_messages_received_and_sent(start_router, peers, presettled):
    router = logging_router(start_router, "all")
    pass_on(router, peers, full_message(), presettled=presettled)
    received, sent = wait_lines(router, 2)
    assert received["way"] == "Received" and sent["way"] == "Sent"
    assert received["what"] == sent["what"] == "Message{%s}" % ALL
    assert (received["link"], received["target"]) == ("out", "closest/log")
    assert (sent["link"], sent["source"]) == ("in", "closest/log")
    assert "the body" not in router.log()
    assert received["conn"] != sent["conn"]


def test_several_components_come_in_their_own_order(start_router, peers):
    router = logging_router(start_router, "app-properties,subject,nonsense,message-id")
    pass_on(router, peers, full_message(), Message("bare"))
    received = [found["what"] for found in wait_lines(router, 2, "out")]
    assert received == [
        'Message{message-id="m1", subject="greeting", app-properties={"a"=1, "b"="x", "c"=:"sym", "d"=true}}',
        "Message{}"]


def test_message_that_tries_to_look_like_another_line_is_escaped(start_router, peers):
    router = logging_router(start_router, "all")
    trick = 'x"}\n2026-01-01 00:00:00.000000 +0000 MESSAGE (trace) [C1]: Received aborted message on link \'a\' (b -> c)'
    pass_on(router, peers, Message("tricky", subject=trick + "\\ \u00e4"))
    received, sent = wait_lines(router, 2)
    assert received["what"].startswith(r'Message{subject="x\22}\0a2026-01-01 00:00:00.000000')
    assert received["what"].endswith(r'(b -> c)\5c \c3\a4"}')


def test_ids_of_each_type(start_router, peers):
    router = logging_router(start_router, "message-id")
    ids = ["text", 2**40, uuid.UUID(int=255), b"\0\x7f!"]
    pass_on(router, peers, *[Message("m", id=value) for value in ids])
    assert [found["what"] for found in wait_lines(router, 4, "in")] == [
        'Message{message-id="text"}', "Message{message-id=1099511627776}",
        "Message{message-id=UUID(00000000-0000-0000-0000-0000000000ff)}", r'Message{message-id=b"\00\7f!"}']


def test_large_message_is_one_line_each_way(start_router, peers):
    router = logging_router(start_router, "all")
    pass_on(router, peers, full_message(b"z" * 3_000_000))
    received, sent = wait_lines(router, 2)
    assert received["what"] == sent["what"] == "Message{%s}" % ALL


def test_properties_larger_than_a_line_are_cut_and_the_line_is_whole(start_router, peers):
    router = logging_router(start_router, "all")
    pass_on(router, peers, Message("m", id="m1", properties={"long": "y" * 40_000}))
    received, sent = wait_lines(router, 2)
    assert received["what"].startswith('Message{message-id="m1", app-properties={"long"="yyyyyy')
    assert received["what"].endswith("yyy...")
    assert received["target"] == sent["source"] == "closest/log"
    assert 1900 < len(received[0]) < 2100


def test_memory_stays_bounded_while_endless_heads_are_under_way(start_router):
    """Fifty links in the middle of properties that do not end: at most 64 KiB are kept of each."""
    router = logging_router(start_router, "all", maxFrameSize=65536)
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/log")
        consumer.credit(0, 1)
        sender.open_session()
        start = b"\0\x53\x74\xd1" + struct.pack(">II", 100_000_000, 2) + b"\xb1" + struct.pack(">I", 90_000_000)
        for link in range(50):
            sender.attach("out%d" % link, link, True, "closest/log")
            sender.wait_credit(link)
        before = router.rss_kb()
        for link in range(50):
            sender.transfer(link, link, start + b"x" * 60_000, more=True, settled=True)
        for _ in range(4):
            for link in range(50):
                sender.send(TRANSFER, payload=b"x" * 60_000, handle=link, more=True)
        # The last one ends, so that its line tells that all was seen before it.
        sender.send(TRANSFER, payload=b"x", handle=49)
        assert wait_lines(router, 1, "out49")[0]["what"] == "Message{...}"
        # 50 * 5 * 60 kB are 15 MB, which wait for credit; what is kept for the log is 3 MB of that at most.
        assert router.rss_kb() - before < kilobytes(30_000)


def test_aborted_message_is_told_both_ways(start_router):
    router = logging_router(start_router, "all")
    with Wire(router) as consumer, Wire(router) as sender:
        consumer.open_session()
        consumer.attach("in", 0, False, "closest/log")
        consumer.credit(0, 10)
        sender.open_session()
        sender.attach("out", 0, True, "closest/log")
        sender.wait_credit()
        properties = encode(described(0x73, "m1"))
        sender.transfer(0, 0, properties + message("begun"), more=True)
        consumer.expect(TRANSFER)
        sender.send(TRANSFER, handle=0, aborted=True)
        consumer.expect(TRANSFER, lambda got: got.fields.get("aborted"))
        # The next one is itself again.
        sender.transfer(0, 1, properties + message("whole"))
        consumer.expect(TRANSFER)
        found = wait_lines(router, 4)
    assert [(f["way"], f["what"], f["link"]) for f in found] == [
        ("Received", "aborted message", "out"), ("Sent", "aborted message", "in"),
        ("Received", 'Message{message-id="m1"}', "out"), ("Sent", 'Message{message-id="m1"}', "in")]
    assert (found[0]["source"], found[0]["target"]) == ("closest/log", "closest/log")


def test_request_too_large_for_the_router_is_told_as_oversize(start_router):
    router = logging_router(start_router, "all")
    with Wire(router) as wire:
        wire.open_session()
        wire.attach("ask", 0, True, "$management")
        wire.wait_credit()
        wire.transfer(0, 0, b"\0\x53\x75\xb0" + struct.pack(">I", 5_000_000), more=True, settled=True)
        for at in range(0, 5_000_000, 10_000):
            wire.send(TRANSFER, payload=b"x" * 10_000, handle=0, more=at + 10_000 < 5_000_000)
        assert wait_lines(router, 1, "ask")[0]["what"] == "oversize message"


def test_requests_and_answers_of_management_are_messages_too(start_router):
    router = logging_router(start_router, "to,correlation-id")
    output("qdmanage", "-b", router.address, "query", "--type=router")
    found = lines(router)
    assert found[0]["way"] == "Received" and found[0]["what"].startswith("Message{")
    answers = [f for f in found if f["way"] == "Sent"]
    assert answers and all(re.fullmatch(r'Message\{to="amqp:/_topo/0/Test/temp\.\S+", correlation-id="\d+"\}', f["what"])
                           for f in answers)
    # A dynamic source has the address that the router gave it.
    assert all(f["source"].startswith("amqp:/_topo/0/Test/temp.") for f in answers)


def test_listeners_without_components_and_other_levels_log_nothing(start_router, peers):
    config = Config().listener("logs", messageLoggingComponents="all").add("log", module="MESSAGE", enable="trace+")
    router = start_router(config)
    inbox = peers.connect((router.host, router.ports["logs"])).receiver("closest/log", name="in")
    outbox = peers.connect(router).sender("closest/log", name="out")
    outbox.outcome(outbox.send(full_message()))
    inbox.next()
    assert wait_lines(router, 1)[0]["way"] == "Sent"
    quiet = logging_router(start_router, "all", level="debug+")
    pass_on(quiet, peers, full_message())
    assert lines(quiet) == []


def test_level_changes_at_run_time(start_router, peers):
    config = Config().listener("logs", messageLoggingComponents="subject")
    router = start_router(config)
    at_logs = (router.host, router.ports["logs"])
    inbox, outbox = peers.connect(at_logs).receiver("closest/log"), peers.connect(at_logs).sender("closest/log")

    def exchange(subject):
        sent = outbox.send(Message("m", subject=subject))
        inbox.next()
        assert outbox.outcome(sent).state == ACCEPTED

    def manage(level):
        output("qdmanage", "-b", router.address, "update", "--type=log", "--name=log/MESSAGE", "enable=" + level)

    exchange("before")
    manage("trace+")
    exchange("during")
    manage("default")
    exchange("after")
    assert [f["what"] for f in wait_lines(router, 2)] == ['Message{subject="during"}'] * 2


class Container(MessagingHandler):
    """A container that a router's connector connects to: it attaches a sender and a receiver to the router."""

    def __init__(self):
        super().__init__()
        self.received = []

    def on_start(self, event):
        self.acceptor = event.container.acceptor("127.0.0.1", 0)
        with socket.socket(fileno=os.dup(self.acceptor._selectable.fileno())) as listening:
            self.port = listening.getsockname()[1]

    def on_connection_opened(self, event):
        event.container.create_receiver(event.connection, "closest/log", name="in")

    def on_link_opened(self, event):
        if event.link.name == "in":
            event.container.create_sender(event.connection, "closest/log", name="out")

    def on_sendable(self, event):
        if not self.received and not event.sender.unsettled:
            event.sender.send(full_message())

    def on_message(self, event):
        self.received.append(event.message)


def test_connector_has_components_of_its_own(start_router):
    """What goes over a connection that the router made is logged as its connector says."""
    handler = Container()
    container = Reactor(handler)
    container.timeout = 0.05
    container.start()
    container.process()
    config = Config().add("log", module="MESSAGE", enable="trace+")
    config.add("connector", name="to-container", host="127.0.0.1", port=handler.port, saslMechanisms="ANONYMOUS",
               role="route-container", messageLoggingComponents="message-id,group-sequence")
    router = start_router(config)

    def received():
        container.process()
        return handler.received
    wait_until(received, 10, lambda: "the message; the log ends:\n" + router.tail())
    found = wait_lines(router, 2)
    assert [(f["way"], f["what"], f["link"]) for f in found] == [
        ("Received", 'Message{message-id="m1", group-sequence=3}', "out"),
        ("Sent", 'Message{message-id="m1", group-sequence=3}', "in")]
    handler.acceptor.close()
    router.stop()
    wait_until(lambda: not container.process(), 10, "the container to end")
    container.stop()
