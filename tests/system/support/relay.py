"""A TCP relay between a program and a router, which a test can make late, or cut, as a network does.

    with Relays() as relays:
        relay = relays.to(port)                  # connect to relay.port instead
        relay.hold(); relay.resume()             # bytes wait, none is lost; both ends see an open, silent connection
        relay.cut(); relay.mend()                # connections are reset, new ones refused; from mend() on they are let in
        slow = relays.to(port, rate=2_000_000)   # octets in a second, each way
    seen = relay.tap()                       # a bytearray of what passes from now on, either way
"""
import selectors
import socket
import struct
import threading
import time

SLOW_BUFFER = 32 << 10  # what a slow relay's sockets, and itself, hold at most
LIMIT = 1 << 20  # bytes on their way in one direction: beyond it the sender is not read


class _Pipe:
    """One direction of one connection."""

    def __init__(self, source, target, rate):
        self.source, self.target, self.waiting, self.ended = source, target, bytearray(), False
        self.rate, self.allowance, self.refilled = rate, 0.0, time.monotonic()

    def allowed(self):
        """How many octets may go on now: what is due for the time since it was asked last."""
        if not self.rate:
            return len(self.waiting)
        now = time.monotonic()
        self.allowance = min(self.allowance + (now - self.refilled) * self.rate, SLOW_BUFFER)
        self.refilled = now
        return min(int(self.allowance), len(self.waiting))


class Relay:
    def __init__(self, relays, port, rate=None):
        self.relays, self.to_port, self.rate = relays, port, rate
        self.held, self.is_cut, self.tapped = False, False, None
        self.listener = socket.socket()
        if rate:
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
        self.listener.bind(("127.0.0.1", 0))
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.port = self.listener.getsockname()[1]
        self.pipes = []

    def hold(self):
        self.relays.do(lambda: setattr(self, "held", True))

    def resume(self):
        self.relays.do(lambda: setattr(self, "held", False))

    def tap(self):
        self.relays.do(lambda: setattr(self, "tapped", bytearray()))
        return self.tapped

    def cut(self):
        def reset():
            self.is_cut = True
            while self.pipes:
                self.relays.end(self, self.pipes[0])
        self.relays.do(reset)

    def mend(self):
        self.relays.do(lambda: setattr(self, "is_cut", False))


class Relays:
    """All relays of a test, served by one thread.

    longest_pause   seconds that the thread had to wait for its turn, at most: so long was the network silent
    """

    def __init__(self):
        self.longest_pause = 0.0
        self.relays, self.errands, self.lock = [], [], threading.Lock()
        self.wake_in, self.wake_out = socket.socketpair()
        self.wake_out.setblocking(False)
        self.running = True
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exception):
        self.do(lambda: setattr(self, "running", False))
        self.thread.join(10)

    def to(self, port, rate=None):
        relay = Relay(self, port, rate)
        self.do(lambda: self.relays.append(relay))
        return relay

    def do(self, errand):
        """Have the thread do it, and wait until it has."""
        done = threading.Event()
        with self.lock:
            self.errands.append((errand, done))
        self.wake_in.send(b"x")
        assert done.wait(10), "the relays' thread has ended"

    # -- the thread

    def _run(self):
        while self.running:
            with selectors.DefaultSelector() as selector:
                selector.register(self.wake_out, selectors.EVENT_READ, lambda _, __: self._run_errands())
                for relay in self.relays:
                    self._watch(selector, relay)
                pause, began = 0.002 if any(r.rate for r in self.relays) else None, time.monotonic()
                ready = selector.select(pause)
                if pause:
                    self.longest_pause = max(self.longest_pause, time.monotonic() - began - pause)
                for key, events in ready:
                    key.data(key.fileobj, events)
        for relay in self.relays:
            relay.listener.close()
            while relay.pipes:
                self.end(relay, relay.pipes[0])
        self.wake_in.close()
        self.wake_out.close()

    def _run_errands(self):
        self.wake_out.recv(4096)
        with self.lock:
            errands, self.errands = self.errands, []
        for errand, done in errands:
            errand()
            done.set()

    def _watch(self, selector, relay):
        selector.register(relay.listener, selectors.EVENT_READ, lambda _, __: self._accept(relay))
        if relay.held:
            return
        wanted = {}
        for pipe in relay.pipes:
            if not pipe.ended and len(pipe.waiting) < (SLOW_BUFFER if relay.rate else LIMIT):
                wanted[pipe.source] = wanted.get(pipe.source, 0) | selectors.EVENT_READ
            if pipe.waiting and pipe.allowed():
                wanted[pipe.target] = wanted.get(pipe.target, 0) | selectors.EVENT_WRITE
        for sock, events in wanted.items():
            selector.register(sock, events, lambda fileobj, ready: self._move(relay, fileobj, ready))

    def _accept(self, relay):
        dialler, _ = relay.listener.accept()
        if relay.is_cut:
            dialler.close()
            return
        router = socket.socket()
        try:
            if relay.rate:
                router.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SLOW_BUFFER)
                router.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SLOW_BUFFER)
                dialler.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, SLOW_BUFFER)
            router.settimeout(5)
            router.connect(("127.0.0.1", relay.to_port))
        except OSError:
            router.close()
            dialler.close()
            return
        for sock in (dialler, router):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
        relay.pipes += [_Pipe(dialler, router, relay.rate), _Pipe(router, dialler, relay.rate)]

    def _move(self, relay, sock, ready):
        if relay.held:
            return  # since this turn
        for pipe in list(relay.pipes):
            try:
                if pipe.source is sock and ready & selectors.EVENT_READ and not pipe.ended:
                    data = sock.recv(65536)
                    pipe.ended = not data
                    pipe.waiting += data
                    if relay.tapped is not None:
                        relay.tapped += data
                if pipe.target is sock and ready & selectors.EVENT_WRITE and pipe.waiting:
                    sent = sock.send(pipe.waiting[:pipe.allowed()])
                    del pipe.waiting[:sent]
                    pipe.allowance -= sent
            except BlockingIOError:
                continue
            except OSError:
                self.end(relay, pipe)
                return
            if pipe.ended and not pipe.waiting:
                self.end(relay, pipe)
                return

    def end(self, relay, pipe):
        """Reset both directions of its connection."""
        for sock in (pipe.source, pipe.target):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            sock.close()
        relay.pipes = [p for p in relay.pipes if p.source not in (pipe.source, pipe.target)]
