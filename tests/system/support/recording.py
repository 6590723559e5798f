"""Recorded exchanges of 1.19 routers with each other and with clients, as files of data/recorded.

A file is one JSON object a line. The first says what the scenario is; then `t` seconds since it began, the same clock in
all its files, `conn` number of the TCP connection, `from` A (the router that ours takes the place of) or B (the other
side), `kind` header, sasl, amqp, empty, tcp or note, and `hex`, the whole frame. Of a frame that ends with many octets
of one value `payload_omitted` of them are left out, which were all `payload_fill`.

support.playing plays them.
"""
import json
from pathlib import Path

DATA = Path(__file__).resolve().parents[1] / "data" / "recorded"


class Recording:
    """One file: its lines, with the protocol frames as octets.

    until       leave out what comes from that second on
    without     leave out lines of these numbers
    name        of this playing of the file, when it is played by two clients at once
    allowed     differences of its connections that are known, like those of support.playing.Playing
    """

    def __init__(self, file, until=None, without=(), name=None, allowed=()):
        lines = [json.loads(line) for line in (DATA / (file + ".jsonl")).read_text().splitlines()]
        self.name, self.allowed = name or file, set(allowed)
        self.events = [line for line in lines[1:] if (until is None or line["t"] < until) and line["n"] not in without]
        for event in self.events:
            event["recording"] = self
            if "hex" in event:
                omitted = bytes([event.get("payload_fill", 0)]) * event.get("payload_omitted", 0)
                event["octets"] = bytes.fromhex(event["hex"]) + omitted

    def play_first(self, until, note):
        """Play what comes before that second before all other recordings, and then tell of it by a note."""
        for event in self.events:
            event["t"] -= until if event["t"] < until else 0
        self.events.append({"kind": "note", "text": note, "t": 0.0, "conn": 1, "n": 0, "recording": self})

    def is_dialled(self):
        """Whether it is the router, ours, that opens the connection."""
        return next(event for event in self.events if event["kind"] == "tcp")["from"] == "A"


class Swapped(Recording):
    """A recording in which ours takes the place of the other side, B."""

    def __init__(self, file, **how):
        super().__init__(file, **how)
        for event in self.events:
            if event.get("from"):
                event["from"] = {"A": "B", "B": "A"}[event["from"]]
