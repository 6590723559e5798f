"""A connection of an old router to a neighbour: its frames, links and credit, and what it demands of the other side's.

Part of support.old_router.
"""
import itertools
import socket
import struct
import threading

from proton import UNDESCRIBED, Array, Data, int32, symbol, ubyte, uint

from support.deadline import wait_until
from support.wire import (ACCEPTED, AMQP_HEADER, ATTACH, BEGIN, CLOSE, DETACH, DISPOSITION, END, FLOW, MODIFIED, OPEN,
                          REJECTED, RELEASED, SASL_HEADER, SASL_INIT, SASL_MECHANISMS, SASL_OUTCOME, SOURCE, TARGET,
                          TRANSFER, UNLIMITED, described, encode, frame, parse, performative)

CREDIT, FRAME_MAX = 250, 16384
# Of several outcomes of copies the highest counts.
RANK = {REJECTED: 3, ACCEPTED: 2, MODIFIED: 1, RELEASED: 0}


class Incoming:
    """A message that this router has: from a client of its own (conn None), or on a link."""

    def __init__(self, conn=None, session=None, delivery_id=None, settled=False):
        self.conn, self.session, self.id, self.settled = conn, session, delivery_id, settled
        self.payload, self.complete, self.aborted, self.routed = bytearray(), False, False, False
        self.copies, self.outcomes, self.outcome, self.done = 0, [], None, threading.Event()
        self.link = None

    def wait(self, limit=10.0):
        """The outcome; None when it was settled without one."""
        wait_until(self.done.is_set, limit, "an outcome of what an old router has sent")
        return self.outcome


class Copy:
    """One way that a message takes over a link: `head` stands for the first `skip` octets of it."""

    def __init__(self, incoming, head=b"", skip=0):
        self.incoming, self.head, self.at, self.started, self.id = incoming, head, skip, False, None

    def take(self, room):
        if self.head:
            head, self.head = self.head, b""
            return head
        piece = bytes(self.incoming.payload[self.at:self.at + room])
        self.at += len(piece)
        return piece

    def is_at_end(self):
        return not self.head and self.at >= len(self.incoming.payload)


class Link:
    def __init__(self, session, handle, is_sender, kind):
        self.session, self.handle, self.is_sender, self.kind = session, handle, is_sender, kind
        self.peer_handle, self.answered, self.credit, self.count = None, False, 0, 0
        self.queue, self.priority, self.idle = [], None, True
        self.incoming = None


class Session:
    def __init__(self, conn, channel):
        self.conn, self.channel, self.peer_channel = conn, channel, None
        self.next_out, self.limit, self.next_in, self.next_id, self.last_in = 0, 0, 0, 0, None
        self.handles, self.links, self.peers, self.unsettled, self.received = itertools.count(), [], {}, {}, {}


class Conn:
    """One connection to a neighbour."""

    def __init__(self, router, sock, is_dialler):
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.router, self.socket, self.is_dialler = router, sock, is_dialler
        self.input, self.output = bytearray(), bytearray()
        self.sessions, self.by_peer, self.channels = {}, {}, itertools.count(0 if is_dialler else 200)
        self.opened, self.closed, self.peer, self.cost, self.sasl_done = False, False, None, router.cost, False
        self.control_out, self.data_out, self.streams, self.stream_session = None, [], [], None
        self.data_in_count, self.order = 0, []  # order: what a dialling peer has opened
        self.outstanding = {}
        if is_dialler:
            self.output += SASL_HEADER

    def complain(self, text):
        self.router.complaints.append("%s from %s: %s" % (self.router.id, self.peer, text))

    # -- frames out

    def put(self, code, channel=0, payload=b"", **fields):
        self.output += frame(performative(code, **fields) + payload, channel, 1 if code >= SASL_MECHANISMS else 0)

    def send_open(self):
        properties = {symbol("product"): "qpid-dispatch-router", symbol("version"): "1.19.0", symbol("qd.conn-id"): int32(1)}
        if self.router.cost > 1:
            properties[symbol("qd.inter-router-cost")] = int32(self.router.cost)
        properties[symbol("qd.annotations-version")] = int32(1)
        offered = Array(UNDESCRIBED, Data.SYMBOL, symbol("ANONYMOUS-RELAY"), symbol("qd.streaming-links"))
        self.put(OPEN, container_id=self.router.id, hostname="127.0.0.1" if self.is_dialler else None,
                 max_frame_size=FRAME_MAX, channel_max=32767, idle_time_out=8000, offered_capabilities=offered,
                 desired_capabilities=offered, properties=properties)

    def begin(self):
        session = Session(self, next(self.channels))
        self.sessions[session.channel] = session
        self.put(BEGIN, session.channel, next_outgoing_id=0, incoming_window=UNLIMITED, outgoing_window=UNLIMITED)
        return session

    def attach(self, session, is_sender, kind):
        link = Link(session, next(session.handles), is_sender, kind)
        session.links.append(link)
        capability = symbol(kind)
        source = described(SOURCE, None, uint(0), symbol("link-detach"), uint(0), False, None, None, None, None, None, capability)
        target = described(TARGET, None, uint(0), symbol("link-detach"), uint(0), False, None, capability)
        self.router.names += 1
        self.put(ATTACH, session.channel, name="qdlink.%s%d" % (self.router.id, self.router.names), handle=link.handle,
                 role=not is_sender, snd_settle_mode=2, rcv_settle_mode=0, source=source, target=target,
                 initial_delivery_count=0, max_message_size=0)
        return link

    def grant(self, link, credit):
        link.credit += credit
        session = link.session
        self.put(FLOW, session.channel, next_incoming_id=session.next_in & 0xffffffff, incoming_window=UNLIMITED,
                 next_outgoing_id=session.next_out & 0xffffffff, outgoing_window=UNLIMITED, handle=link.handle,
                 delivery_count=link.count & 0xffffffff, link_credit=link.credit)

    def dial(self):
        """All links of a connection between routers, without waiting (2.2)."""
        sessions = [self.begin() for _ in range(1 + self.router.priorities)]
        for session in sessions:
            kind = "qd.router" if session is sessions[0] else "qd.router-data"
            self.attach(session, False, kind)
            link = self.attach(session, True, kind)
            if session is sessions[0]:
                self.control_out = link

    def stream_link(self):
        """A link for one large message at a time, made when there is no idle one (2.3)."""
        link = next((one for one in self.streams if one.idle and not one.queue), None)
        if link is None:
            self.stream_session = self.stream_session or self.begin()
            link = self.attach(self.stream_session, True, "qd.router-data")
            link.priority = "stream"
            self.streams.append(link)
        link.idle = False
        return link

    def pump(self, link):
        """Send what waits on a link, as credit and window allow."""
        while link.queue and self._send_some(link, link.queue[0]):
            copy = link.queue.pop(0)
            link.idle = True
            if copy.incoming.settled:
                self.router.copy_done(copy.incoming, None)

    def _send_some(self, link, copy):
        """Send what is here of a message. True: it is over."""
        session, incoming = link.session, copy.incoming
        if not copy.started and not incoming.aborted:
            if not link.answered or link.credit <= 0 or session.limit <= session.next_out:
                return False
            self._start(link, copy)
        while session.limit > session.next_out:
            if incoming.aborted:
                if copy.started:
                    self._transfer_out(link, settled=True, aborted=True)
                    session.unsettled.pop(copy.id, None)
                return True
            piece = copy.take(FRAME_MAX - 100)
            if not piece and not incoming.complete:
                return False
            more = not (incoming.complete and copy.is_at_end())
            self._transfer_out(link, payload=piece, delivery_id=copy.id, delivery_tag=struct.pack("<Q", copy.id),
                               message_format=0, settled=incoming.settled, more=more)
            if not more:
                return True
        return False

    def _start(self, link, copy):
        session = link.session
        copy.started, copy.id = True, session.next_id
        session.next_id += 1
        link.credit -= 1
        link.count += 1
        if not copy.incoming.settled:
            session.unsettled[copy.id] = copy

    def _transfer_out(self, link, payload=b"", **fields):
        self.put(TRANSFER, link.session.channel, payload=payload, handle=link.handle, **fields)
        link.session.next_out += 1

    # -- frames in

    def read(self):
        """Take what is there. False: the peer is gone."""
        try:
            data = self.socket.recv(1 << 18)
        except BlockingIOError:
            return True
        except OSError:
            data = b""
        if not data:
            return False
        self.input += data
        at = 0
        while len(self.input) - at >= 8:
            head = bytes(self.input[at:at + 8])
            if head[:4] == b"AMQP":
                at += 8
                self._header(head)
                continue
            size = struct.unpack(">I", head[:4])[0]
            if len(self.input) - at < size:
                break
            if size > FRAME_MAX:
                self.complain("a frame of %d octets, %d are allowed" % (size, FRAME_MAX))
            got = parse(bytes(self.input[at:at + size]))
            at += size
            if got.code is not None:
                self._frame(got)
        del self.input[:at]
        return not self.closed

    def _header(self, head):
        if head == SASL_HEADER and not self.is_dialler:
            self.output += SASL_HEADER
            self.put(SASL_MECHANISMS, mechanisms=Array(UNDESCRIBED, Data.SYMBOL, symbol("ANONYMOUS")))
        elif head == AMQP_HEADER and not self.is_dialler:
            self.output += AMQP_HEADER

    def _frame(self, got):
        handler = {OPEN: self._open, BEGIN: self._begin, ATTACH: self._attach, FLOW: self._flow, TRANSFER: self._transfer,
                   DISPOSITION: self._disposition, DETACH: self._detach, END: self._end, CLOSE: self._close,
                   SASL_MECHANISMS: self._mechanisms, SASL_INIT: self._init, SASL_OUTCOME: self._outcome}[got.code]
        handler(got)

    def _mechanisms(self, got):
        self.put(SASL_INIT, mechanism="ANONYMOUS", initial_response=b"anonymous", hostname="127.0.0.1")

    def _init(self, got):
        if str(got.fields["mechanism"]) != "ANONYMOUS" or got.fields["initial_response"] != b"anonymous":
            self.complain("SASL init %s" % got.fields)
        self.output += frame(encode(described(SASL_OUTCOME, ubyte(0))), kind=1)

    def _outcome(self, got):
        self.output += AMQP_HEADER
        self.send_open()

    def _open(self, got):
        fields = got.fields
        self.peer = fields["container_id"]
        properties = fields.get("properties") or {}
        if any(type(key).__name__ != "symbol" for key in properties):
            self.complain("a key of the open's properties is no symbol")
        if not self.is_dialler and symbol("failover-server-list") in properties:
            self.complain("a failover list sent to a listener, which kills it")
        if properties.get(symbol("version")) != "1.19.0":
            self.complain("the version %s" % properties.get(symbol("version")))
        cost = properties.get(symbol("qd.inter-router-cost"))
        if cost is not None and type(cost).__name__ != "int32":
            self.complain("a cost of type %s" % type(cost).__name__)
        self.cost = max(self.router.cost, int(cost or 1))
        if not self.is_dialler:
            self.send_open()
        self.opened = True
        if self.is_dialler:
            self.dial()

    def _begin(self, got):
        answered = got.fields.get("remote_channel")
        if answered is not None:
            session = self.sessions[int(answered)]
        else:
            if not self.is_dialler:
                self.order.append("begin")
            session = Session(self, next(self.channels))
            self.sessions[session.channel] = session
            self.put(BEGIN, session.channel, remote_channel=got.channel, next_outgoing_id=0, incoming_window=UNLIMITED,
                     outgoing_window=UNLIMITED)
        session.peer_channel = got.channel
        self.by_peer[got.channel] = session
        session.next_in = int(got.fields["next_outgoing_id"])
        session.limit = int(got.fields["incoming_window"])

    def _capability(self, got, which, at):
        terminus = got.fields.get(which)
        fields = terminus.value if terminus is not None else []
        value = fields[at] if len(fields) > at else None
        if value is not None and type(value).__name__ != "symbol":
            self.complain("attach %s: capabilities of its %s are no bare symbol: %r" % (got.fields["name"], which, value))
        return str(value) if type(value).__name__ == "symbol" else None

    def _attach(self, got):
        session = self.by_peer[got.channel]
        peer_receives = bool(got.fields["role"])
        kinds = self._capability(got, "source", 10), self._capability(got, "target", 6)
        mine = next((link for link in session.links if not link.answered and link.peer_handle is None
                     and link.is_sender == peer_receives and self._is_answer(link, got)), None)
        if kinds[0] != kinds[1] or kinds[0] not in ("qd.router", "qd.router-data"):
            self.complain("attach %s with the capabilities %s" % (got.fields["name"], (kinds,)))
            return
        if (got.fields.get("snd_settle_mode"), got.fields.get("rcv_settle_mode")) not in ((2, 0), (2, None), (None, None), (None, 0)):
            self.complain("attach %s: settle modes %s %s" % (got.fields["name"], got.fields.get("snd_settle_mode"),
                                                            got.fields.get("rcv_settle_mode")))
        if mine is None:
            if not self.is_dialler:
                self.order.append((kinds[0], "receiver" if peer_receives else "sender"))
            elif kinds[0] == "qd.router" or peer_receives:
                self.complain("the acceptor opens a link that is not for streaming: %s" % (kinds[0],))
            mine = Link(session, next(session.handles), peer_receives, kinds[0])
            session.links.append(mine)
            self.put(ATTACH, session.channel, name=got.fields["name"], handle=mine.handle, role=not peer_receives,
                     snd_settle_mode=2, rcv_settle_mode=0, source=got.fields["source"], target=got.fields["target"],
                     initial_delivery_count=0, max_message_size=0)
        mine.peer_handle, mine.answered = int(got.fields["handle"]), True
        session.peers[mine.peer_handle] = mine
        if not mine.is_sender:
            mine.count = int(got.fields.get("initial_delivery_count") or 0)
            self.grant(mine, CREDIT)
            if mine.kind == "qd.router-data":
                mine.priority = self.data_in_count if self.data_in_count < 10 else "stream"
                self.data_in_count += 1
        elif mine.kind == "qd.router":
            self.control_out = mine
            self.router.control_up(self)
        elif mine.priority != "stream" and len(self.data_out) < 10:
            self.data_out.append(mine)

    def _is_answer(self, link, got):
        return "qdlink.%s" % self.router.id in got.fields["name"]

    def _flow(self, got):
        session = self.by_peer[got.channel]
        first = got.fields.get("next_incoming_id")
        session.limit = int(first or 0) + int(got.fields["incoming_window"])
        handle = got.fields.get("handle")
        if handle is not None:
            link = session.peers.get(int(handle))
            if link is None:
                self.complain("flow for handle %s, which is not attached" % handle)
            elif link.is_sender:
                count = got.fields.get("delivery_count")
                link.credit = int(count or 0) + int(got.fields["link_credit"] or 0) - link.count
        for link in session.links:
            if link.is_sender:
                self.pump(link)

    def _transfer(self, got):
        session = self.by_peer[got.channel]
        session.next_in += 1
        fields = got.fields
        link = session.peers.get(int(fields["handle"]))
        if link is None or link.is_sender:
            self.complain("transfer on handle %s" % fields["handle"])
            return
        incoming = link.incoming
        if incoming is None:
            incoming = self._first_transfer(session, link, fields)
        incoming.payload += got.payload
        incoming.complete = not fields.get("more") or bool(fields.get("aborted"))
        incoming.aborted = bool(fields.get("aborted"))
        link.incoming = None if incoming.complete else incoming
        if incoming.aborted and not fields.get("settled"):
            self.complain("an abort that is not settled")
        if link.kind == "qd.router":
            if incoming.complete:
                self.router.control(self, incoming)
            return
        self.router.arrived(incoming)

    def _first_transfer(self, session, link, fields):
        delivery_id, tag = fields.get("delivery_id"), fields.get("delivery_tag")
        if delivery_id is None or tag is None:
            self.complain("a first transfer without delivery-id or tag")
        if session.last_in is not None and int(delivery_id) != (session.last_in + 1) & 0xffffffff:
            self.complain("delivery-id %s after %s" % (delivery_id, session.last_in))
        session.last_in = int(delivery_id)
        if link.credit <= 0:
            self.complain("a delivery without credit")
        incoming = Incoming(self, session, int(delivery_id), bool(fields.get("settled")))
        incoming.link = link
        link.incoming = incoming
        link.credit -= 1
        link.count += 1
        if not incoming.settled:
            session.received[incoming.id] = incoming
        if link.kind == "qd.router" and not incoming.settled:
            self.complain("a control message that is not settled")
        self.grant(link, 1)
        return incoming

    def _disposition(self, got):
        session = self.by_peer[got.channel]
        fields = got.fields
        first = int(fields["first"])
        last = first if fields.get("last") is None else int(fields["last"])
        state = fields.get("state")
        code = int(state.descriptor) if state is not None else None
        if not fields["role"]:
            return  # of who sends: it settles what we have given an outcome
        for number in range(first, last + 1):
            copy = session.unsettled.get(number)
            if copy is None or not (fields.get("settled") or code in RANK):
                continue
            del session.unsettled[number]
            self.router.copy_done(copy.incoming, code)

    def settle(self, incoming, code):
        """Tell the outcome of what came here."""
        if incoming.settled or incoming.aborted:
            return
        incoming.session.received.pop(incoming.id, None)
        state = None
        if code is not None:
            state = described(code, True) if code == MODIFIED else described(code)
        self.put(DISPOSITION, incoming.session.channel, role=True, first=incoming.id, last=incoming.id, settled=True, state=state)

    def _detach(self, got):
        session = self.by_peer[got.channel]
        link = session.peers.pop(int(got.fields["handle"]), None)
        if link is None:
            return
        self.put(DETACH, session.channel, handle=link.handle, closed=True)
        session.links.remove(link)
        if link.incoming:
            link.incoming.complete = link.incoming.aborted = True
            self.router.arrived(link.incoming)
        for which in (self.data_out, self.streams):
            if link in which:
                which.remove(link)

    def _end(self, got):
        session = self.by_peer.pop(got.channel)
        self.put(END, session.channel)
        self.sessions.pop(session.channel, None)
        for link in session.links:
            if link.incoming:
                link.incoming.complete = link.incoming.aborted = True
                self.router.arrived(link.incoming)

    def _close(self, got):
        if got.fields.get("error") is not None:
            self.complain("closed with %s" % got.fields["error"])
        self.closed = True
