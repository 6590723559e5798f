"""An interior router of Qpid Dispatch 1.19, played: what it does in a mesh, and what it demands of its neighbours.

    with OldRouter("O", dial=[router.ports["mesh"]]) as old:      # or listen=True and old.port
        inbox = old.consumer("closest/x")
        old.wait_converged("A")
        assert old.send("closest/y", "hello").wait() == ACCEPTED
    # leaving fails if a neighbour has ever sent what a 1.19 router would not understand

It is written from the wire-protocol reference, section by section, and not from how ours works: hello, link states and
addresses by ticks of a second, paths, forwarding with the multicast copies that an old router makes in a circle, large
messages on links of their own. Each frame that comes is judged with its rules; `complaints` has what breaks one.
"""
import itertools
import select
import socket
import threading
import time

from support.deadline import wait_until
from support.old_conn import Conn
from support.old_control import Control
from support.old_forward import BALANCED, CLOSEST, MULTICAST, Forwarding
from support.old_words import Paths, key_of
from support.wire import MODIFIED, RELEASED


class OldRouter(Control, Forwarding):
    def __init__(self, router_id, dial=(), listen=False, cost=1, priorities=10, distributions=None, instance=None,
                 tick=0.2):
        self.id, self.cost, self.priorities, self.names, self.tick = router_id, cost, priorities, 0, tick
        self.distributions = distributions or {"multicast": MULTICAST, "closest": CLOSEST, "balanced": BALANCED}
        self.complaints, self.conns, self.lock = [], [], threading.RLock()
        self.instance = instance or int(time.time())
        self.heard, self.neighbours, self.nodes = {}, {}, {}
        self.ls_seq, self.mobile_seq, self.changed, self.pending, self.own = 0, 0, True, {}, {}
        self.consumers, self.turns, self.hints = [], itertools.count(), {}
        self.paths, self.trees, self.flux, self.last_ra = Paths(router_id, {}), {}, 0, 0
        self.counts = {}
        self.ending, self.frozen, self.failure = False, False, None
        self.listener = socket.create_server(("127.0.0.1", 0)) if listen else None
        self.port = self.listener.getsockname()[1] if listen else None
        for port in dial:
            self.conns.append(Conn(self, socket.create_connection(("127.0.0.1", port)), True))
        self.thread = threading.Thread(target=self._run, name="old router " + router_id)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, kind, *_):
        self.ending = True
        self.thread.join(20)
        for conn in self.conns:
            conn.socket.close()
        if self.listener:
            self.listener.close()
        if kind is None:
            if self.failure:
                raise self.failure
            assert self.complaints == []

    # -- its thread

    def _run(self):
        try:
            due = time.monotonic()
            while not self.ending:
                readers = [conn.socket for conn in self.conns] + ([self.listener] if self.listener else [])
                writers = [conn.socket for conn in self.conns if conn.output]
                ready, _, _ = select.select(readers, writers, [], 0.05)
                with self.lock:
                    if self.frozen:
                        continue
                    if self.listener in ready:
                        self.conns.append(Conn(self, self.listener.accept()[0], False))
                    for conn in list(self.conns):
                        if conn.socket in ready and not conn.read():
                            self._lost(conn)
                    if time.monotonic() >= due:
                        due = time.monotonic() + self.tick
                        self._tick()
                    self._write()
        except Exception as error:  # told in __exit__
            import traceback; traceback.print_exc()
            self.failure = error

    def _write(self):
        for conn in list(self.conns):
            try:
                if conn.output:
                    del conn.output[:conn.socket.send(conn.output)]
            except BlockingIOError:
                pass
            except OSError:
                self._lost(conn)

    def _lost(self, conn):
        if conn not in self.conns:
            return
        self.conns.remove(conn)
        conn.socket.close()
        for session in conn.sessions.values():
            for incoming in list(session.received.values()):
                incoming.conn = None
            for link in session.links:
                if link.incoming:
                    link.incoming.complete = link.incoming.aborted = True
                    self.arrived(link.incoming)
            for copy in session.unsettled.values():
                self.copy_done(copy.incoming, MODIFIED)
            for link in session.links:
                for copy in link.queue:
                    if not copy.started:
                        self.copy_done(copy.incoming, RELEASED)
        for router, at in list(self.neighbours.items()):
            if at[0] is conn:
                del self.neighbours[router]
                self.changed = True
        self._compute()

    def drop(self, conn):
        """End a connection as when a cable is cut."""
        with self.lock:
            self._lost(conn)

    # -- what tests wait for

    def wait_converged(self, *routers, limit=15.0):
        """Until paths lead to these routers and no other."""
        def agreed():
            self._fail_early()
            with self.lock:
                return set(self.paths.cost) == {self.id, *routers}
        wait_until(agreed, limit, lambda: "paths from %s to %s; there are %s" % (self.id, routers, self.paths.cost))

    def wait_remote(self, text, *routers, phase=0, limit=15.0):
        """Until it knows that just these routers have the address."""
        key = key_of(text, self.id, phase)
        wait_until(lambda: self._fail_early() or self.has(key) == set(routers), limit,
                   lambda: "%s at %s to be of %s, not %s" % (key, self.id, routers, self.has(key)))

    def has(self, key):
        with self.lock:
            return {router for router, node in self.nodes.items() if key in node.keys and router in self.paths.cost}

    def has_of(self, router):
        """The keys that another router has announced."""
        self._fail_early()
        with self.lock:
            return set(self.nodes[router].keys) if router in self.nodes else set()

    def forget(self, router, key):
        """As if the last update of a router, with this key, had been lost."""
        with self.lock:
            del self.nodes[router].keys[key]
            self.nodes[router].mobile_seq -= 1

    def _fail_early(self):
        if self.failure:
            raise self.failure
        assert self.complaints == []
