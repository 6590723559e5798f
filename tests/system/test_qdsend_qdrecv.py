"""qdsend and qdrecv against a peer that shares nothing with them but the standard (see support/client_peer.py)."""
import ast
import hashlib
import json
import os
import re
import signal
import socket
import struct
import subprocess
import threading

import pytest
from proton import Described, Message, SSLDomain, byte, symbol, timestamp, ulong

from support.client_peer import ClientPeer
from support.deadline import SLOWNESS, seconds, wait_until
from support.router import die_with_parent, program

pytestmark = pytest.mark.one_thread  # qdsend and qdrecv, with a peer in Python


@pytest.fixture
def peer():
    with ClientPeer() as made:
        yield made


class Tool:
    """A running qdsend or qdrecv."""

    def __init__(self, name, *arguments, stdin=subprocess.DEVNULL, environment=None):
        self.process = subprocess.Popen([program(name)] + [str(a) for a in arguments], stdin=stdin, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, preexec_fn=die_with_parent,
                                        env=dict(os.environ, **(environment or {})))
        self.heard = b""

    def wait_stderr(self, text):
        """Read stderr up to a line that holds text."""
        while text.encode() not in self.heard:
            line = self.process.stderr.readline()
            assert line, "%s ended without saying %r: %s" % (self.process.args, text, self.heard.decode())
            self.heard += line
        return self.heard.decode()

    def finish(self, status=0, stdin=None, limit=20):
        try:
            out, err = self.process.communicate(stdin, timeout=seconds(limit))
        except subprocess.TimeoutExpired:
            self.process.kill()
            out, err = self.process.communicate()
            pytest.fail("%s did not end: %s" % (self.process.args, (self.heard + err).decode()))
        self.out, self.err = out.decode(), (self.heard + err).decode()
        assert self.process.returncode == status, (self.process.returncode, self.out, self.err)
        return self


def qdsend(peer, *arguments, status=0, stdin=None):
    tool = Tool("qdsend", "-b", peer.bus, *arguments, stdin=subprocess.PIPE if stdin is not None else subprocess.DEVNULL)
    return tool.finish(status, stdin)


def qdrecv(peer, *arguments, status=0):
    return Tool("qdrecv", "-b", peer.bus, *arguments).finish(status)


def summary(tool):
    """The object that --summary json writes, which is the last line of stderr."""
    return json.loads(tool.err.strip().splitlines()[-1])


# ---- qdsend: messages ----

def test_qdsend_sets_every_property(peer):
    qdsend(peer, "q", "-m", "hello {n}", "-c", 2, "--id", "id-{n}", "--correlation-id", "c", "--user-id", "me",
           "--subject", "s", "--reply-to", "r", "--to", "t", "--content-type", "text/plain", "--content-encoding", "x",
           "--group-id", "g", "--durable", "--priority", 9, "--ttl", 1.5, "--annotation", "x-opt-a:int=1",
           "-P", "string=01", "-P", "long:long={n}", "-P", "bool:bool=true", "-P", "null:null=", "-P", "a:b:symbol=c")
    assert [m.body for m in peer.received] == ["hello 1", "hello 2"]
    m = peer.received[1]
    assert (m.id, m.correlation_id, m.user_id, m.subject, m.reply_to, m.address) == ("id-2", "c", b"me", "s", "r", "t")
    assert (m.content_type, m.content_encoding, m.group_id) == ("text/plain", "x", "g")
    assert (m.durable, m.priority, m.ttl) == (True, 9, 1.5)
    assert m.annotations == {symbol("x-opt-a"): 1}
    assert m.properties == {"string": "01", "long": 2, "bool": True, "null": None, "a:b": symbol("c")}


def test_qdsend_map_and_list_content_are_typed(peer):
    qdsend(peer, "q", "-M", "a=1", "-M", "b:byte=-1", "-M", "t:timestamp=5", "-M", "u:ulong={n}")
    qdsend(peer, "q", "-L", "x", "-L", "double:0.5", "-L", "binary:0x00ff")
    assert peer.received[0].body == {"a": "1", "b": byte(-1), "t": timestamp(5), "u": ulong(1)}
    assert peer.received[1].body == ["x", 0.5, b"\x00\xff"]


def test_qdsend_lines_are_a_message_each_as_they_come(peer):
    tool = Tool("qdsend", "-b", peer.bus, "q", "--lines", stdin=subprocess.PIPE)
    tool.process.stdin.write(b"one\n")
    tool.process.stdin.flush()
    wait_until(lambda: len(peer.received) == 1, what="the first line before the second is there")
    tool.finish(stdin=b"two\nthree")
    assert [m.body for m in peer.received] == ["one", "two", "three"]


def test_qdsend_rate_spreads_messages_over_time(peer):
    report = summary(qdsend(peer, "q", "-c", 21, "--rate", 40, "--summary", "json"))
    # 20 intervals of 25 ms; never faster, however slow the machine.
    assert report["seconds"] >= 0.49
    assert len(peer.received) == 21


def test_qdsend_presettled_messages_all_arrive(peer):
    report = summary(qdsend(peer, "q", "-c", 5000, "--presettled", "--number", "--summary", "json"))
    assert (report["sent"], report["presettled"], report["error"]) == (5000, 5000, None)
    wait_until(lambda: len(peer.received) == 5000)
    assert [m.properties["sn"] for m in peer.received] == list(range(1, 5001))
    assert peer.settled_received == 5000


def test_qdsend_several_addresses_and_links_take_turns(peer):
    qdsend(peer, "a", "b", "--links", 2, "-c", 8, "--link-name", "L", "--capability", "qd.waypoint", "-m", "{n}")
    assert [m.body for m in peer.queue("a").messages] == ["1", "3", "5", "7"]
    assert len(peer.queue("b").messages) == 4
    assert [a.name for a in peer.attaches] == ["L.0", "L.1", "L.2", "L.3"]
    assert "qd.waypoint" in [str(c) for c in peer.attaches[0].capabilities.elements]


def test_qdsend_anonymous_puts_the_address_into_each_message(peer):
    qdsend(peer, "a", "b", "--anonymous", "-c", 2)
    assert [m.address for m in peer.received] == ["a", "b"]
    assert [a.address for a in peer.attaches] == [None, None]


def test_qdsend_more_messages_than_credit_all_are_accepted():
    with ClientPeer(credit=7) as peer:
        report = summary(qdsend(peer, "q", "-c", 500, "--latency", "--summary", "json"))
        assert report["accepted"] == 500
        assert report["latency_us"]["count"] == 500
        assert 0 < report["latency_us"]["p50"] <= report["latency_us"]["max"]
        assert len(set(peer.tags)) == 500


# ---- qdsend: large contents ----

def sha256_of(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def memory_kb(process):
    with open("/proc/%d/status" % process.pid) as f:
        return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1))


def test_large_file_is_streamed_and_comes_back_whole(peer, tmp_path):
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.write_bytes(os.urandom(1 << 20) * 20 + b"end")
    qdsend(peer, "q", "-f", source)
    qdrecv(peer, "q", "-c", 1, "-o", copy)
    assert sha256_of(source) == sha256_of(copy)


def test_large_pipe_is_one_message_in_many_sections(peer, tmp_path):
    content = os.urandom(3 << 20)
    copy = tmp_path / "copy"
    # Straight from one tool to the other: the peer's library reads only the first data section.
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        wire = Recorder(listening)
        Tool("qdsend", "-b", "127.0.0.1:%d" % listening.getsockname()[1], "--no-sasl", "q", "-f", "-",
             "--presettled", "--link-name", "x", stdin=subprocess.PIPE).finish(stdin=content)
        message = wire.message()
    # Each section: 00 53 75 b0 and four bytes of size.
    at, sections, joined = message.index(b"\x00\x53\x75"), 0, b""
    while at < len(message):
        assert message[at:at + 4] == b"\x00\x53\x75\xb0"
        size = struct.unpack(">I", message[at + 4:at + 8])[0]
        joined += message[at + 8:at + 8 + size]
        at, sections = at + 8 + size, sections + 1
    assert sections > 1
    assert joined == content


class Recorder:
    """A peer of a few canned frames that grants endless credit; it records what comes, or only reads it.

    at_end   called when everything has come, before the close is answered
    """

    def __init__(self, listening, keep=True, at_end=lambda: None):
        self.listening, self.keep, self.at_end, self.data = listening, keep, at_end, b""
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        connection, _ = self.listening.accept()
        with connection:
            connection.sendall(b"AMQP\0\1\0\0" + canned(0x10, b"\xa1\1p") + canned(0x11, b"\x60\0\0", b"\x43", MANY, MANY)
                               + canned(0x12, b"\xa1\1x", b"\x43", b"\x41", NULL, NULL, NULL, performative(0x29, b"\xa1\1q"))
                               + canned(0x13, b"\x43", MANY, b"\x43", MANY, b"\x43", b"\x43", MANY))
            got = True
            while got and b"\x00\x53\x18" not in self.data[-40:]:
                got = connection.recv(1 << 20)
                self.data = self.data + got if self.keep else got
            self.at_end()
            connection.sendall(canned(0x18))

    def join(self):
        self.thread.join(seconds(10))
        assert not self.thread.is_alive()

    def message(self):
        """The payload of all transfer frames."""
        self.join()
        at, payload = 8, b""
        while at < len(self.data):
            size, doff = struct.unpack(">IB", self.data[at:at + 5])
            body = self.data[at + 4 * doff:at + size]
            if body[:3] == b"\x00\x53\x14":
                wide = body[3] == 0xd0
                payload += body[(8 if wide else 5) + (struct.unpack(">I", body[4:8])[0] if wide else body[4]):]
            at += size
        return payload


NULL, MANY = b"\x40", b"\x70\x7f\xff\xff\xff"


def performative(code, *fields):
    body = b"".join(fields)
    return b"\0\x53" + bytes([code, 0xd0]) + struct.pack(">II", len(body) + 4, len(fields)) + body


def canned(code, *fields):
    body = performative(code, *fields)
    return struct.pack(">IBBH", len(body) + 8, 2, 0, 0) + body


def test_qdsend_generated_gigabyte_stays_in_little_memory():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        tool = Tool("qdsend", "-b", "127.0.0.1:%d" % listening.getsockname()[1], "--no-sasl", "q", "--size", "1G",
                    "--presettled", "--link-name", "x")
        peaks = []
        wire = Recorder(listening, keep=False, at_end=lambda: peaks.append(memory_kb(tool.process)))
        tool.finish(limit=60)
        wire.join()
    # A sanitizer's own memory would hide what is looked for.
    if SLOWNESS == 1:
        assert peaks[0] < 32 * 1024


# ---- qdsend: outcomes and failures ----

def test_qdsend_rejected_messages_are_reported_with_the_reason(peer):
    tool = qdsend(peer, "reject.q", "-c", 3, "--summary", "json", status=1)
    report = summary(tool)
    assert (report["sent"], report["accepted"], report["rejected"]) == (3, 0, 3)
    assert "3 of 3 messages were not accepted; the last of them: rejected (x:refused: because)" in tool.err


def test_qdsend_released_and_modified_messages_are_a_failure(peer):
    assert summary(qdsend(peer, "release.q", "--summary", "json", status=1))["released"] == 1
    assert summary(qdsend(peer, "modify.q", "--summary", "json", status=1))["modified"] == 1


def test_qdsend_resend_sends_released_messages_again_until_accepted(peer):
    report = summary(qdsend(peer, "release-once.q", "-c", 3, "-m", "{n}", "--resend", "--resend-delay", "0.01",
                            "--summary", "json"))
    assert (report["sent"], report["accepted"], report["released"], report["resent"]) == (3, 3, 0, 3)
    assert [m.body for m in peer.received] == ["1", "2", "3", "1", "2", "3"]


def test_qdsend_resend_with_a_limit_gives_up_after_it(peer):
    report = summary(qdsend(peer, "release.q", "--resend=2", "--resend-delay", "0.01", "--summary", "json", status=1))
    assert (report["released"], report["resent"]) == (1, 2)
    assert len(peer.received) == 3


def test_qdsend_detached_with_error_tells_condition_and_description(peer):
    tool = qdsend(peer, "detach.q", status=1)
    assert "qdsend: link to 'detach.q' was detached by the peer: amqp:resource-deleted: the node went away" in tool.err


def test_refused_attach_tells_condition_and_description(peer):
    assert "amqp:not-found: no such node here" in qdsend(peer, "refuse.q", status=1).err
    assert "amqp:not-found: no such node here" in qdrecv(peer, "refuse.q", status=1).err


def test_qdsend_closed_connection_tells_condition_and_description(peer):
    assert "amqp:connection:forced: going down" in qdsend(peer, "close.q", status=1).err


@pytest.mark.parametrize("scheme, options, guess", [
    ("amqp", [], "before it answered\n"),
    ("amqp", ["--no-sasl"], "before it answered: it may refuse those who do without SASL\n"),
    ("amqps", [], "before it answered: does it speak TLS at this port?\n"),
])
def test_qdsend_whose_stream_is_ended_without_a_word_says_what_may_be_the_reason(scheme, options, guess):
    with socket.create_server(("127.0.0.1", 0)) as listening:
        tool = Tool("qdsend", "-b", "%s://127.0.0.1:%d" % (scheme, listening.getsockname()[1]), "q", *options)
        connection, _ = listening.accept()
        connection.recv(1000)
        connection.shutdown(socket.SHUT_WR)
        tool.finish(1)
        connection.close()
    assert "the peer closed the socket " + guess in tool.err


def test_qdsend_timeout_tells_what_is_missing(peer):
    assert "gives no credit to send on 'nocredit.q'" in qdsend(peer, "nocredit.q", "-t", "0.2", status=1).err
    tool = qdsend(peer, "silent.q", "-c", 2, "-t", "0.2", "--summary", "json", status=1)
    assert "2 sent messages have no outcome yet" in tool.err
    assert summary(tool)["unsettled"] == 2


def test_lost_connection_without_reconnect_is_a_failure(peer):
    tool = qdsend(peer, "drop-3.q", "-c", 5, "--in-flight", 1, "--summary", "json", status=1)
    assert "connection lost to " + peer.bus in tool.err
    assert summary(tool)["accepted"] == 2


def test_qdsend_reconnect_resends_what_had_no_outcome(peer):
    tool = qdsend(peer, "drop-50.q", "-c", 300, "-m", "{n}", "--reconnect-interval", "0.01", "--summary", "json")
    report = summary(tool)
    assert (report["sent"], report["accepted"], report["reconnects"]) == (300, 300, 1)
    assert report["resent"] >= 1
    assert {m.body for m in peer.queue("drop-50.q").messages} == {str(n) for n in range(1, 301)}
    assert "trying " + peer.bus in tool.err


def test_qdsend_reconnect_keeps_the_lines_it_has_read(peer):
    lines = ["line %d" % n for n in range(1, 101)]
    qdsend(peer, "drop-40.q", "--lines", "--reconnect-interval", "0.01", stdin="\n".join(lines).encode())
    assert {m.body for m in peer.queue("drop-40.q").messages} == set(lines)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def test_reconnect_limit_gives_up():
    port = free_port()
    tool = Tool("qdsend", "-b", "127.0.0.1:%d" % port, "q", "--reconnect-interval", "0.01", "--reconnect-limit", "2")
    tool.finish(1)
    assert tool.err.count("trying") == 2
    assert "cannot connect to 127.0.0.1:%d: Connection refused" % port in tool.err


def test_second_bus_is_tried_when_the_first_is_down(peer):
    tool = Tool("qdsend", "-b", "127.0.0.1:%d" % free_port(), "-b", peer.bus, "--reconnect-interval", "0.01", "q", "-m", "x")
    tool.finish()
    assert len(peer.received) == 1


def test_qdsend_interrupted_prints_its_summary(peer):
    tool = Tool("qdsend", "-b", peer.bus, "q", "-c", 0, "--rate", 200)
    wait_until(lambda: len(peer.received) > 5)
    tool.process.send_signal(signal.SIGINT)
    tool.finish()  # an endless run ends so
    assert re.search(r"^qdsend: sent \d+, accepted \d+", tool.err, re.M)
    before = len(peer.received)
    tool = Tool("qdsend", "-b", peer.bus, "silent.q", "-c", 3)
    wait_until(lambda: len(peer.received) == before + 3)
    tool.process.send_signal(signal.SIGTERM)
    tool.finish(1)
    assert "interrupted with 3 messages without an outcome" in tool.err


# ---- requests and replies ----

def test_requests_are_answered_by_qdrecv(peer):
    responder = Tool("qdrecv", "-b", peer.bus, "service", "--reply", "-c", 10, "--print", "none", "-v")
    responder.wait_stderr("attached to 'service'")
    tool = qdsend(peer, "service", "--request", "-m", "ping {n}", "-c", 10, "--in-flight", 3, "--print", "json", "--latency",
                  "--summary", "json")
    responder.finish()
    replies = [json.loads(line) for line in tool.out.splitlines()]
    assert [r["content"] for r in replies] == ["ping %d" % n for n in range(1, 11)]
    assert [r["correlation_id"] for r in replies] == list(range(1, 11))
    assert summary(tool)["replies"] == 10
    assert summary(tool)["latency_us"]["count"] == 10
    assert "replies 10" in responder.err


def test_responder_without_anonymous_relay_attaches_to_each_reply_address():
    with ClientPeer(relay=False) as peer:
        responder = Tool("qdrecv", "-b", peer.bus, "service", "--reply-content", "pong", "-c", 2, "--print", "none", "-v")
        responder.wait_stderr("attached to 'service'")
        for _ in range(2):
            tool = qdsend(peer, "service", "--request", "-M", "a=b", "--print", "python")
            assert "content='pong'" in tool.out
        responder.finish()
        assert len([a for a in peer.attaches if a.is_sender and (a.address or "").startswith("dynamic-")]) == 2


def test_request_without_a_reply_times_out(peer):
    tool = qdsend(peer, "nobody", "--request", "-t", "0.2", status=1)
    assert "no outcome or reply yet" in tool.err


# ---- qdrecv ----

def test_qdrecv_drain_takes_everything_and_ends(peer):
    peer.put("q", *range(250))
    tool = qdrecv(peer, "q", "--drain", "--credit", 100, "--print", "body")
    assert tool.out.split() == [str(n) for n in range(250)]
    assert qdrecv(peer, "q", "--drain", "--print", "count").out == "0\n"


def test_qdrecv_drain_of_several_addresses_ends_when_all_are_empty(peer):
    peer.put("a", 1, 2, 3)
    peer.put("c", 4)
    assert sorted(qdrecv(peer, "a", "b", "c", "--drain", "--print", "body").out.split()) == ["1", "2", "3", "4"]


def test_qdrecv_browse_leaves_the_messages(peer):
    peer.put("q", "x", "y")
    assert qdrecv(peer, "q", "--browse", "--drain", "--print", "body").out == "x\ny\n"
    assert peer.attaches[0].copy
    assert len(peer.queue("q").messages) == 2


def test_qdrecv_count_takes_no_message_more(peer):
    peer.put("q", *range(10))
    assert qdrecv(peer, "q", "-c", 3, "--print", "body").out == "0\n1\n2\n"
    assert [m.body for m in peer.queue("q").messages] == list(range(3, 10))


def test_qdrecv_timeout_ends_a_silent_run(peer):
    peer.put("q", "x")
    assert qdrecv(peer, "q", "-t", "0.2", "--print", "body").out == "x\n"
    tool = qdrecv(peer, "q", "-t", "0.2", "-c", 5, status=1)
    assert "no message for 0.2 s: 0 of 5 received" in tool.err


def test_qdrecv_waits_for_ever_and_ends_by_signal(peer):
    tool = Tool("qdrecv", "-b", peer.bus, "q", "--print", "body", "-v")
    tool.wait_stderr("attached to 'q'")
    qdsend(peer, "q", "-m", "late")
    assert tool.process.stdout.readline() == b"late\n"
    tool.process.send_signal(signal.SIGINT)
    tool.finish()
    assert "received 1" in tool.err


@pytest.mark.parametrize("outcome, state, failed, undeliverable", [
    ("accept", 0x24, False, False), ("reject", 0x25, False, False), ("release", 0x26, False, False),
    ("modify", 0x27, False, False), ("modify-failed", 0x27, True, False), ("modify-undeliverable", 0x27, False, True)])
def test_qdrecv_gives_the_outcome_it_was_asked_for(peer, outcome, state, failed, undeliverable):
    peer.put("q", "x")
    qdrecv(peer, "q", "-c", 1, "--outcome", outcome, "--print", "none", "--unsettled")
    wait_until(lambda: peer.outcomes)
    assert (int(peer.outcomes[0][0]), peer.outcomes[0][1], peer.outcomes[0][2]) == (state, failed, undeliverable)
    if outcome == "reject":
        assert peer.outcomes[0][3].name == "qdrecv:rejected"


def test_qdrecv_outcome_none_gives_the_message_back_by_leaving(peer):
    peer.put("q", "x")
    qdrecv(peer, "q", "-c", 1, "--outcome", "none", "--print", "none")
    wait_until(lambda: [m.body for m in peer.queue("q").messages] == ["x"])
    assert peer.outcomes == []


def test_qdrecv_settled_messages_are_counted_as_such():
    with ClientPeer(settled=True) as peer:
        peer.put("q", 1, 2)
        report = summary(qdrecv(peer, "q", "-c", 2, "--print", "none", "--presettled", "--summary", "json"))
        assert (report["received"], report["presettled"], report["settled"]) == (2, 2, 0)
        assert peer.attaches[0].snd_settle_mode == 1


def test_qdrecv_rate_slows_the_sender_by_credit(peer):
    peer.put("q", *range(21))
    assert summary(qdrecv(peer, "q", "-c", 21, "--rate", 40, "--print", "none", "--summary", "json"))["seconds"] >= 0.45


def test_qdrecv_prints_what_was_sent_in_each_style(peer):
    body = {"k": [1, 2.5, True, None, b"\xff", "\u00e4\x1b"], "d": {"x": symbol("s")}}
    for _ in range(3):
        peer.put("q", body, subject="s", id=5, properties={"p": 1}, durable=True)
    record = json.loads(qdrecv(peer, "q", "-c", 1, "--print", "json").out)
    assert record == {"number": 1, "source": "q", "id": 5, "subject": "s", "durable": True, "properties": {"p": 1},
                      "body": "value",
                      "content": {"k": [1, 2.5, True, None, {"base64": "/w=="}, "\u00e4\x1b"], "d": {"x": "s"}}}
    call = ast.parse(qdrecv(peer, "q", "-c", 1, "--print", "python").out.strip(), mode="eval").body
    fields = {k.arg: ast.literal_eval(k.value) for k in call.keywords}
    assert fields == {"id": 5, "subject": "s", "durable": True, "properties": {"p": 1},
                      "content": {"k": [1, 2.5, True, None, b"\xff", "\u00e4\x1b"], "d": {"x": "s"}}}
    human = qdrecv(peer, "q", "-c", 1).out
    assert human.startswith('message 1 from "q"\n') and "  properties: {p: 1}\n" in human
    assert "\x1b" not in human


def test_qdrecv_output_with_number_writes_a_file_each(peer, tmp_path):
    peer.put("q", b"one", "two", {"k": 1})
    qdrecv(peer, "q", "-c", 3, "-o", tmp_path / "m-{n}")
    assert [(tmp_path / ("m-%d" % n)).read_bytes() for n in (1, 2)] == [b"one", b"two"]
    assert (tmp_path / "m-3").read_text() == "{k: 1}"


def test_qdrecv_message_larger_than_may_be_kept_is_refused(peer):
    peer.put("q", b"x" * 5000, b"small")
    tool = qdrecv(peer, "q", "-c", 1, "--max-kept", 1000, "--print", "body", status=1)
    assert tool.out == "small\n"
    assert "larger than the 1000 bytes" in tool.err


def test_qdrecv_latency_and_numbers_of_qdsend(peer):
    qdsend(peer, "q", "-c", 100, "--latency", "--number")
    report = summary(qdrecv(peer, "q", "-c", 100, "--latency", "--check-numbers", "--print", "none", "--summary", "json"))
    assert report["latency_us"]["count"] == 100
    assert (report["missing"], report["repeated"], report["late"]) == (0, 0, 0)


def test_qdrecv_missing_and_repeated_numbers_are_a_failure(peer):
    for number in (1, 2, 2, 5):
        peer.queue("q").messages.append(Message(properties={"sn": ulong(number)}))
    tool = qdrecv(peer, "q", "-c", 4, "--check-numbers", "--print", "none", status=1)
    assert "2 messages missing, 1 repeated, 0 without a number" in tool.err


def test_qdrecv_selector_and_capability_reach_the_peer(peer):
    qdrecv(peer, "q", "--drain", "--selector", "colour = 'red'", "--capability", "queue")
    attach = peer.attaches[0]
    assert attach.filter == {symbol("selector"): Described(symbol("apache.org:selector-filter:string"), "colour = 'red'")}


def test_qdrecv_dynamic_tells_its_address(peer):
    tool = Tool("qdrecv", "-b", peer.bus, "--dynamic", "-c", 1, "--print", "body")
    address = re.search("address is '(.*)'", tool.wait_stderr("address is")).group(1)
    qdsend(peer, address, "-m", "found")
    assert tool.finish().out == "found\n"


def test_qdrecv_reconnect_attaches_again():
    port = free_port()
    tool = Tool("qdrecv", "-b", "127.0.0.1:%d" % port, "q", "-c", 2, "--print", "body", "--reconnect-interval", "0.01:0.05", "-v")
    with ClientPeer(port=port) as peer:
        tool.wait_stderr("attached to 'q'")
        peer.put("q")
        qdsend(peer, "q", "-m", "one")
        assert tool.process.stdout.readline() == b"one\n"
    with ClientPeer(port=port) as peer:
        qdsend(peer, "q", "-m", "two")
        assert "two\n" in tool.finish().out


def test_qdrecv_closed_stdout_is_an_error(peer):
    peer.put("q", *["x" * 1000] * 500)
    tool = Tool("qdrecv", "-b", peer.bus, "q", "-c", 500, "--print", "body")
    tool.process.stdout.close()
    err = tool.process.stderr.read().decode()
    assert tool.process.wait(seconds(10)) == 1
    assert "cannot write to stdout: Broken pipe" in err


def test_progress_lines_come_when_asked(peer):
    tool = qdsend(peer, "q", "-c", 30, "--rate", 60, "--progress=0.1")
    assert len(re.findall(r"^qdsend: sent \d+, .*\(now [\d,]+/s\)$", tool.err, re.M)) >= 2
    assert "(now" not in qdsend(peer, "q", "-c", 30, "--rate", 60).err


# ---- connecting ----

def test_operand_may_name_host_and_port(peer):
    Tool("qdsend", peer.bus + "/some/queue", "-m", "x").finish()
    Tool("qdsend", "amqp://%s/some/queue" % peer.bus, "-m", "y").finish()
    assert [m.body for m in peer.queue("some/queue").messages] == ["x", "y"]


def test_with_bus_an_address_is_taken_as_it_stands(peer):
    qdsend(peer, "amqp://other:1/x", "-m", "x")
    assert peer.attaches[0].address == "amqp://other:1/x"


def sasl_server(outcome):
    """One connection, up to the SASL outcome. Returns the port and a list that the client's init frame goes into."""
    listening = socket.socket()
    listening.bind(("127.0.0.1", 0))
    listening.listen()
    seen = []

    def frame(body):
        return struct.pack(">IBBH", len(body) + 8, 2, 1, 0) + body

    def serve():
        connection, _ = listening.accept()
        with connection, listening, connection.makefile("rb") as stream:
            seen.append(stream.read(8))
            connection.sendall(b"AMQP\3\1\0\0" + frame(b"\0\x53\x40\xc0\x08\x01\xa3\x05PLAIN"))
            size = struct.unpack(">I", stream.read(4))[0]
            seen.append(stream.read(size - 4))
            connection.sendall(frame(b"\0\x53\x44\xc0\x03\x01\x50" + bytes([outcome])))
            seen.append(stream.read(8))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    return listening.getsockname()[1], seen, thread


def test_user_and_password_of_the_url_are_sent_by_plain():
    port, seen, thread = sasl_server(0)
    tool = Tool("qdsend", "amqp://us%%40er:p%%3Aw@127.0.0.1:%d/q" % port).finish(1)
    thread.join(seconds(10))
    assert b"PLAIN" in seen[1] and b"\0us@er\0p:w" in seen[1]
    assert seen[2] == b"AMQP\0\1\0\0"
    assert "p:w" not in tool.err


def test_refused_credentials_are_told_and_not_tried_again(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(" pw\n")
    port, seen, thread = sasl_server(1)
    tool = Tool("qdrecv", "-b", "127.0.0.1:%d" % port, "q", "--sasl-username", "u", "--sasl-password-file", secret,
                "--reconnect", "-v").finish(1)
    thread.join(seconds(10))
    assert b"\0u\0pw" in seen[1]
    assert "amqp:unauthorized-access" in tool.err and "trying" not in tool.err


def certificate(folder, name):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=" + name,
                    "-addext", "subjectAltName=DNS:" + name, "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
                   check=True, capture_output=True)
    domain = SSLDomain(SSLDomain.MODE_SERVER)
    domain.set_credentials(str(folder / "cert.pem"), str(folder / "key.pem"), None)
    return domain


def test_tls_verifies_the_certificate_and_its_name(tmp_path):
    with ClientPeer(domain=certificate(tmp_path, "localhost")) as peer:
        trust = ["--ssl-trustfile", tmp_path / "cert.pem"]
        Tool("qdsend", "-b", "amqps://localhost:%d" % peer.port, "q", "-m", "x", *trust).finish()
        assert [m.body for m in peer.received] == ["x"]
        by_address = ["-b", "amqps://127.0.0.1:%d" % peer.port, "q", "-m", "y"]
        assert "certificate" in Tool("qdsend", *by_address, *trust).finish(1).err.lower()
        Tool("qdsend", *by_address, *trust, "--ssl-disable-peer-name-verify").finish()
        assert [m.body for m in peer.received] == ["x", "y"]
        Tool("qdsend", "-b", "amqps://localhost:%d" % peer.port, "q").finish(1)  # trusts nobody who signed this
        assert len(peer.received) == 2
    tool = Tool("qdsend", "-b", "amqps://localhost", "q", "--ssl-trustfile", tmp_path / "none.pem", "--reconnect").finish(1)
    assert "none.pem" in tool.err


def test_peer_that_is_no_amqp_is_told():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()

        def serve():
            connection, _ = listening.accept()
            with connection:
                connection.recv(100)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n")
                connection.recv(100)

        threading.Thread(target=serve, daemon=True).start()
        tool = Tool("qdsend", "-b", "127.0.0.1:%d" % listening.getsockname()[1], "q").finish(1)
        assert "cannot open a connection" in tool.err and "SSH-2.0" in tool.err


def test_peer_that_says_nothing_is_given_up():
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen()
        tool = Tool("qdrecv", "-b", "127.0.0.1:%d" % listening.getsockname()[1], "q", "--connect-timeout", "0.2").finish(1)
        assert "did not answer the open in time" in tool.err


# ---- usage ----

@pytest.mark.parametrize("name, arguments, says", [
    ("qdsend", [], "no ADDRESS to send to"),
    ("qdrecv", [], "no ADDRESS to receive from"),
    ("qdsend", ["q", "-c", "x"], "--count: 'x' is not a whole number"),
    ("qdsend", ["q", "-P", "a:itn=5"], "--property: unknown type 'itn' in 'a:itn=5'"),
    ("qdsend", ["q", "-P", "a:ubyte=256"], "--property: '256' is not a ubyte"),
    ("qdsend", ["q", "-m", "x", "--size", "5"], "only one of --content,"),
    ("qdsend", ["q", "-M", "a=b", "-L", "c"], "only one of --content,"),
    ("qdsend", ["q", "--ttl", "0"], "--ttl: '0' is out of range"),
    ("qdsend", ["q", "--resend", "--presettled"], "--resend: presettled messages"),
    ("qdsend", ["h1:1/a", "h2:1/b"], "'h2:1/b' is at another host"),
    ("qdsend", ["-b", "http://h", "q"], "--bus: unknown scheme in 'http://h'"),
    ("qdsend", ["-b", "h:99999", "q"], "--bus: bad port in 'h:99999'"),
    ("qdsend", ["q", "--sasl-password-file", "/nowhere"], "cannot open /nowhere: No such file"),
    ("qdrecv", ["q", "--print", "xml"], "--print: 'xml' is none of none, count, body, message, json, python"),
    ("qdrecv", ["q", "--outcome", "maybe"], "--outcome: 'maybe' is none of accept"),
    ("qdrecv", ["q", "--dynamic"], "--dynamic: the peer makes the address"),
    ("qdrecv", ["a", "b", "-o", "f"], "--output: needs a single link"),
])
def test_wrong_usage_is_told_with_status_2(name, arguments, says):
    assert says in Tool(name, *arguments).finish(2).err


def test_help_goes_to_stdout_with_status_0():
    for name in ("qdsend", "qdrecv"):
        for option in ("-h", "--help"):
            assert "Examples:" in Tool(name, option).finish().out
        assert re.fullmatch(r"\d+\.\d+\.\d+\n", Tool(name, "--version").finish().out)


def test_unreadable_file_is_told():
    assert "cannot open /nowhere" in Tool("qdsend", "127.0.0.1:1/q", "-f", "/nowhere").finish(1).err
