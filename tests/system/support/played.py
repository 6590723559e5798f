"""One recorded TCP connection and the live one that stands for it."""
import select
import socket
import struct
import time

from support.control import PROPERTIES, matches, sections
from support.conversation import Conversation
from support.wire import FLOW, TRANSFER, UNLIMITED, performative, frame as framed

GREETING = 0.7  # seconds after which a recorded router says HELLO again


class Connection:
    """One recorded TCP connection and the live one that stands for it."""

    def __init__(self, name, connected, dialler, allowed):
        self.name, self.allowed = name, allowed
        self.socket = connected
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.dialler = dialler
        self.recorded, self.live = Conversation(dialler), Conversation(dialler)
        self.history = []  # (side, octets) as recorded, of what has been played so far
        self.router_ended = {"recorded": False, "live": False}
        self.is_cut = False
        self.hello, self.greeted = None, 0  # the last HELLO that was played: channel, fields, payload; when

    def play(self, side, octets):
        self.history.append((side, octets))
        self.recorded.see(side, octets)

    def take(self):
        """Read what there is, without waiting."""
        while not self.is_over() and select.select([self.socket], [], [], 0)[0]:
            try:
                data = self.socket.recv(65536)
            except ConnectionResetError:
                data = b""
            self.router_ended["live"] = not data
            self.buffer += data
        while len(self.buffer) >= 8:
            size = 8 if self.buffer[:4] == b"AMQP" else struct.unpack(">I", self.buffer[:4])[0]
            if len(self.buffer) < size:
                break
            octets = bytes(self.buffer[:size])
            del self.buffer[:size]
            self.live.see("A", octets)

    def is_over(self):
        return self.is_cut or self.router_ended["live"]

    def write(self, octets):
        """Send a frame. That the router has ended the connection is seen when it is read."""
        self.live.see("B", octets)
        try:
            self.socket.sendall(octets)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def ask_for_window(self):
        """Ask the router something that it answers when it has read all that was sent before. Result: it can be asked."""
        if self.is_over() or 0 not in self.live.sessions["A"].values():
            return False
        sent, received = (self.live.frames.get((side, 0), 0) for side in "BA")
        self.write(framed(performative(FLOW, next_incoming_id=received, incoming_window=UNLIMITED, next_outgoing_id=sent,
                                       outgoing_window=UNLIMITED, echo=True), 0))
        return True

    def link(self, got):
        """The live link that a frame of the played side is about."""
        return self.live.handles["B", self.live.sessions["B"][got.channel], int(got.fields["handle"])]

    def say(self, got):
        """Send a control message's frame, numbered after what was sent before."""
        link = self.link(got)
        number = link.deliveries["B"] - link.under_way["B"]
        fields = {**got.fields, "delivery_id": number, "delivery_tag": struct.pack("<Q", number)}
        if not link.under_way["B"] and matches("amqp:/_local/qdhello", dict(sections(got.payload))[PROPERTIES][2]):
            self.hello, self.greeted = got, time.monotonic()
        self.write(framed(performative(TRANSFER, **fields) + got.payload, got.channel))

    def greet(self):
        """Say HELLO again, if the router would take the played one for dead."""
        if self.hello and not self.is_over() and time.monotonic() - self.greeted > GREETING:
            self.say(self.hello)

    def cut(self):
        """End it as the crash of a client's machine would."""
        self.is_cut = True
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def missing(self):
        """What the recorded router had said by now and the live one has not."""
        balance = {}
        for key in self.live.milestones:
            balance[key] = balance.get(key, 0) + 1
        out = []
        for key in self.recorded.milestones:
            balance[key] = balance.get(key, 0) - 1
            if balance[key] < 0:
                out.append(key)
        if self.router_ended["recorded"] and not self.router_ended["live"]:
            out.append("end of the connection")
        return out
