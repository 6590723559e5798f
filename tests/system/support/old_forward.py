"""Where an old router's messages go, and what becomes of them (wire-protocol reference 4 and 6).

Part of support.old_router.
"""
from proton import Described, int32, symbol, ubyte, ulong

from support.old_conn import RANK, Copy, Incoming
from support.old_words import (ANNOTATIONS, BODY, HEADER, KNOWN_KEYS, PREFIX, PROPERTIES, annotations_of, key_of, sections_of,
                               with_annotations)
from support.wire import ACCEPTED, REJECTED, RELEASED, encode

MULTICAST, CLOSEST, BALANCED = 1, 2, 3
STREAM_FROM = 128 * 1024


class Consumer:
    """A client's receiver at this router: takes all, and says `outcome` of each."""

    def __init__(self, key, outcome):
        self.key, self.outcome, self.bodies, self.messages, self.aborted = key, outcome, [], [], 0
        self.links = []  # priority of the link that each came on; "stream": one for large messages; None: a client of ours


class Forwarding:
    """The part of an OldRouter that passes messages on, of its own clients and of others."""

    def _treatment(self, key):
        text = key[2:]
        for prefix, treatment in self.distributions.items():
            if text == prefix or text.startswith(prefix + "/") or text.startswith(prefix + "."):
                return treatment
        return self.hints.get(key, BALANCED)

    def consumer(self, text, outcome=ACCEPTED, phase=0, is_told=True):
        """A client attaches here as receiver. outcome None: it never says one; is_told False: the update is lost."""
        with self.lock:
            consumer = Consumer(key_of(text, self.id, phase), outcome)
            self.consumers.append(consumer)
            if is_told:
                self._set_own(consumer.key)
            else:
                self.own[consumer.key] = True
                self.mobile_seq += 1
            return consumer

    def leave(self, consumer):
        with self.lock:
            self.consumers.remove(consumer)
            self._set_own(consumer.key)

    def _set_own(self, key):
        there = any(consumer.key == key for consumer in self.consumers)
        if there != self.own.get(key, False):
            self.own[key] = there
            if key in self.pending:
                del self.pending[key]
            else:
                self.pending[key] = there

    def send(self, to, body, settled=False, priority=None, anonymous=False, notes=None):
        """A client's message; what becomes of it."""
        sections = [(HEADER, [None, ubyte(priority)])] if priority is not None else []
        sections += [(ANNOTATIONS, {symbol(key): value for key, value in notes.items()})] if notes else []
        sections += [(PROPERTIES, [None, None, to])] if anonymous else []
        octets = b"".join(encode(Described(ulong(code), value)) for code, value in sections + [(BODY, body)])
        return self.send_octets(octets, None if anonymous else to, settled)

    def send_octets(self, octets, for_=None, settled=False):
        """The same, of an encoded message; for_: its sender's target."""
        incoming = self._of_client(for_, settled, for_ is None)
        incoming.payload += octets
        incoming.complete = True
        with self.lock:
            self.arrived(incoming)
        return incoming

    def begin_large(self, to):
        """A client's message of binary data whose end is to come: add to its payload with more()."""
        incoming = self._of_client(to, False, False)
        return incoming

    def more(self, incoming, octets, complete=False, aborted=False):
        with self.lock:
            incoming.payload += octets
            incoming.complete, incoming.aborted = complete or aborted, aborted
            self.arrived(incoming)

    def _of_client(self, to, settled, anonymous):
        incoming = Incoming(settled=settled)
        incoming.for_ = None if anonymous else to
        return incoming

    def arrived(self, incoming):
        """Some of a message has come."""
        if not incoming.routed:
            if incoming.aborted or not (incoming.complete or len(incoming.payload) >= STREAM_FROM):
                return
            incoming.routed = True
            self._route(incoming)
            return
        for conn in self.conns:
            for session in list(conn.sessions.values()):
                for link in session.links:
                    if link.is_sender and any(copy.incoming is incoming for copy in link.queue):
                        conn.pump(link)
        if incoming.complete:
            self._to_consumers(incoming)

    def _route(self, incoming):
        head = sections_of(incoming.payload)
        user, notes = annotations_of(head.get(ANNOTATIONS) or {})
        self._judge_message(incoming, head, notes)
        properties = head.get(PROPERTIES) or []
        for_, phase = getattr(incoming, "for_", None), 0
        if incoming.link is None:
            text = for_ or properties[2]
        else:
            text = notes.get(PREFIX + "to") or (properties[2] if len(properties) > 2 else None)
            phase = int(notes.get(PREFIX + "phase", 0))
            for_ = notes.get(PREFIX + "to")
        if text is None:
            self._finish(incoming, REJECTED)
            return
        incoming.key = key_of(text, self.id, phase)
        trace = [entry[2:] for entry in notes.get(PREFIX + "trace", [])]
        if len(trace) > max(self.paths.hops.values()) + 1:
            self._finish(incoming, RELEASED)
            return
        ingress = notes.get(PREFIX + "ingress", "0/" + self.id)[2:]
        local, remote = self._ways(incoming, ingress, trace)
        incoming.copies = len(local) + len(remote)
        if not incoming.copies:
            self._finish(incoming, RELEASED)
            return
        incoming.local = local
        out = {PREFIX + "phase": int32(phase)} if phase else {}
        out.update({PREFIX + "to": for_} if for_ else {})
        out.update({PREFIX + "ingress": "0/" + ingress, PREFIX + "trace": ["0/" + one for one in trace] + ["0/" + self.id]})
        first, skip = with_annotations(incoming.payload, user, out, head_only=True)
        header = head.get(HEADER) or []
        priority = min(int(header[1]), 9) if len(header) > 1 and header[1] is not None else 4
        for conn in remote:
            copy = Copy(incoming, first, skip)
            if incoming.complete:
                at = min(priority, len(conn.data_out) - 1)
                link = conn.data_out[at] if conn.data_out else None
            else:
                link = conn.stream_link()
            if link is None:
                self.copy_done(incoming, RELEASED)
                continue
            link.queue.append(copy)
            conn.pump(link)
        if incoming.complete:
            self._to_consumers(incoming)

    def _judge_message(self, incoming, head, notes):
        """What an old router reads of a neighbour's message (4.1)."""
        if incoming.link is None:
            return
        raw = [str(key) for key in head.get(ANNOTATIONS) or {}]
        of_router = [key for key in raw if key in KNOWN_KEYS]
        if of_router != raw[len(raw) - len(of_router):]:
            incoming.conn.complain("annotations in the order %s" % raw)
        trace = notes.get(PREFIX + "trace")
        if not trace or trace[-1] != "0/" + incoming.conn.peer or not notes.get(PREFIX + "ingress"):
            incoming.conn.complain("a message with the annotations %s" % notes)
        if any(type(notes[key]).__name__ != "str" for key in (PREFIX + "to", PREFIX + "ingress") if key in notes):
            incoming.conn.complain("a message with annotations of wrong types: %s" % notes)

    def _ways(self, incoming, ingress, trace):
        """Consumers here and connections that get a copy (6.3)."""
        key = incoming.key
        local = [consumer for consumer in self.consumers if consumer.key == key]
        remote = [router for router, node in self.nodes.items() if key in node.keys and router in self.paths.cost]
        if key[0] == "R":
            remote = [key[1:]] if key[1:] in self.paths.cost else []
        treatment = self._treatment(key) if key[0] == "M" else CLOSEST
        if treatment == MULTICAST:
            conns = []
            for router in remote if ingress == self.id or ingress in self.nodes else []:
                conn = self._next_conn(router)
                if conn and conn not in conns and conn.peer not in trace:
                    conns.append(conn)
            return local, conns
        if local:
            return [local[next(self.turns) % len(local)]], []
        if treatment == BALANCED:
            remote = [router for router in remote if ingress == self.id or self.id in self.trees[ingress].way(router)[1:-1]] \
                if ingress == self.id or ingress in self.trees else []
            best = min(remote, key=lambda router: self.paths.cost[router] + self._outstanding(router), default=None)
        else:
            least = min((self.paths.cost[router] for router in remote), default=0)
            nearest = [router for router in remote if self.paths.cost[router] == least]
            best = nearest[next(self.turns) % len(nearest)] if nearest else None
        conn = self._next_conn(best) if best else None
        return [], [conn] if conn else []

    def _outstanding(self, router):
        conn = self._next_conn(router)
        return sum(len(session.unsettled) for session in conn.sessions.values()) if conn else 0

    def _to_consumers(self, incoming):
        local, incoming.local = getattr(incoming, "local", []), []
        for consumer in local:
            if incoming.aborted:
                consumer.aborted += 1
                continue
            found = sections_of(incoming.payload) if len(incoming.payload) < 65536 else {}
            consumer.messages.append(found)
            consumer.links.append(incoming.link and incoming.link.priority)
            consumer.bodies.append(found.get(BODY) if found else len(incoming.payload))
            if consumer.outcome is not None or incoming.settled:
                self.copy_done(incoming, consumer.outcome)

    def copy_done(self, incoming, code):
        incoming.outcomes.append(code)
        if len(incoming.outcomes) == incoming.copies:
            self._finish(incoming, max(incoming.outcomes, key=lambda one: RANK.get(one, -1)))

    def _finish(self, incoming, code):
        incoming.outcome = code
        if incoming.conn in self.conns:
            incoming.conn.settle(incoming, code)
        incoming.done.set()
