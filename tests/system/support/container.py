"""A container that a router connects to, played by hand."""
import socket
import time

from proton import UNDESCRIBED, Array, Data, symbol, ubyte

from support.deadline import seconds
from support.wire import AMQP_HEADER, OPEN, SASL_HEADER, SASL_INIT, SASL_MECHANISMS, SASL_OUTCOME, Wire, described, encode, frame


class Container:
    """A listening socket that the router is to connect to, answered by hand."""

    def __init__(self, host="127.0.0.1"):
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self.socket = socket.create_server((host, 0), family=family)
        self.host, self.port = self.socket.getsockname()[:2]

    def accept(self, limit=10.0):
        """The next connection: (Wire, when it came)."""
        self.socket.settimeout(seconds(limit))
        try:
            accepted, _ = self.socket.accept()
        except socket.timeout:
            raise AssertionError("no connection came within %g s" % seconds(limit)) from None
        return Wire(accepted), time.monotonic()

    def accept_open(self, limit=10.0, **fields):
        """Accept the next connection and open it: (Wire, the router's open, when it came)."""
        wire, when = self.accept(limit)
        sasl(wire, "ANONYMOUS")
        assert wire.read_header() == AMQP_HEADER
        opened = wire.expect(OPEN)
        wire.raw(AMQP_HEADER)
        wire.send(OPEN, **{"container_id": "container", **fields})
        return wire, opened.fields, when

    def close(self):
        self.socket.close()


def sasl(wire, mechanism):
    """Our side of a SASL exchange in which the router may do anything; return the router's init."""
    assert wire.read_header() == SASL_HEADER
    wire.raw(SASL_HEADER)
    wire.send(SASL_MECHANISMS, mechanisms=Array(UNDESCRIBED, Data.SYMBOL, symbol(mechanism)))
    init = wire.expect(SASL_INIT)
    wire.raw(frame(encode(described(SASL_OUTCOME, ubyte(0))), kind=1))
    return init.fields
