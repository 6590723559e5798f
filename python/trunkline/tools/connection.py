"""A blocking AMQP connection whose time-outs are exact and whose end never hangs.

Built on Proton's BlockingConnection, whose error texts people know from the older tools. What differs:

- One deadline covers connecting, and one each request with its answer. Proton starts a new time-out at every step, and lets
  traffic in between (heartbeats) prolong it.
- close() waits a bounded time for the peer. Proton waits for ever if the peer is stopped.
- An interrupt comes between two steps of Proton's work, not in one.
"""

import os
import signal
import threading
import time

from proton import ConnectionException, Endpoint, Timeout
from proton.reactor import Container, EventInjector
from proton.utils import BlockingConnection

# A peer that does not answer our close does no harm any more; so long it may take, in seconds.
FAREWELL = 0.5


class _Interrupts:
    """SIGINT while Proton works: kept until it has done its step, and then KeyboardInterrupt as ever.

    Raised in the middle it leaves octets that are written and not noted as written. They would be written a second time
    with the close, and the peer would see a broken connection instead of one that ends in order.
    """

    def __init__(self, container):
        self._bell = EventInjector()  # its pipe is among what the container waits for
        container.selectable(self._bell)
        self._has_come = False
        self._is_ours = False

    def __enter__(self):
        # Only where Python would raise: not in another thread, nor where somebody ignores or handles the signal.
        self._is_ours = (threading.current_thread() is threading.main_thread()
                         and signal.getsignal(signal.SIGINT) is signal.default_int_handler)
        if self._is_ours:
            signal.signal(signal.SIGINT, self._ring)
        return self

    def __exit__(self, *_):
        if self._is_ours:
            signal.signal(signal.SIGINT, signal.default_int_handler)
        self.check()

    def _ring(self, *_):
        self._has_come = True
        os.write(self._bell.pipe[1], b"!")

    def check(self):
        """Raise what has been kept."""
        if self._has_come:
            self._has_come = False
            raise KeyboardInterrupt


class Connection(BlockingConnection):
    """One connection to a router. Not for use by several threads."""

    def __init__(self, url, timeout, **kwargs):
        """Connect and wait for the peer's open.

        timeout: seconds for this, and the default for what restart_clock() begins.
        Raises ConnectionException if refused or lost, Timeout, SSLException.
        """
        self._limit = timeout
        self.restart_clock()
        container = Container()
        self._interrupts = _Interrupts(container)
        try:
            super().__init__(url, timeout=timeout, container=container, **kwargs)
        except OSError as error:  # the name cannot be resolved, or there is no route; Proton passes it on bare
            raise ConnectionException("Connection %s failed: %s" % (url, error.strerror or error)) from error

    def restart_clock(self):
        """Begin the next exchange: all waits from here on share one deadline."""
        self._deadline = time.monotonic() + self._limit

    def wait(self, condition, timeout=False, msg=None):
        """Process events until condition() is true.

        timeout: seconds, if less than what is left of the deadline.
        Raises Timeout, and ConnectionException if the connection is lost meanwhile.
        """
        deadline = self._deadline
        if timeout:
            deadline = min(deadline, time.monotonic() + timeout)
        with self._interrupts as interrupts:
            while not condition() and not self.disconnected:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Timeout("Connection %s timed out%s" % (self.url, ": " + msg if msg else ""))
                self.container.timeout = left
                self.container.process()
                interrupts.check()
        if self.disconnected and not self._is_closed():
            raise ConnectionException("Connection %s disconnected: %s" % (self.url, self.disconnected))

    def close(self):
        """Close in order if the peer is still there; takes FAREWELL seconds at most. Raises nothing."""
        if self.closing:
            return
        self.closing = True
        opened = self.conn is not None and not self.conn.state & Endpoint.REMOTE_UNINIT
        if not opened or self.disconnected:
            return  # nobody there to say goodbye to; the socket ends with the process
        self.conn.close()
        self._deadline = time.monotonic() + FAREWELL
        try:
            self.wait(lambda: not self.conn.state & Endpoint.REMOTE_ACTIVE, msg="Closing connection")
        except (Timeout, ConnectionException, OSError):
            pass  # the work was done or had failed before; how the peer takes our leave changes neither
