"""How an old router finds the others: hello, link states, addresses, each by ticks (wire-protocol reference 3).

Part of support.old_router.
"""
import time

from proton import Described, int32, symbol, ulong

from support.old_conn import Copy, Incoming
from support.old_words import (ANNOTATIONS, APPLICATION, BODIES, BODY, HEADER, PREFIX, PROPERTIES, Paths, annotations_of, key_of,
                               sections_of, with_annotations)
from support.wire import encode


class Node:
    """What is known of another router."""

    def __init__(self):
        self.instance, self.ls_seq, self.peers, self.mobile_seq, self.keys = None, 0, {}, 0, {}
        self.need_lsr, self.need_mar, self.asked = False, False, False


class Control:
    """The part of an OldRouter that speaks to other routers about the network."""

    def _tick(self):
        now = time.monotonic()
        seen = [router for router, when in self.heard.items() if now - when <= 3]
        for conn in self.conns:
            if conn.control_out and conn.control_out.answered:
                self._to_link(conn, "HELLO", "amqp:/_local/qdhello", {"instance": int32(self.instance), "seen": seen})
        for router, (_, when) in list(self.neighbours.items()):
            if now - when > 3:
                del self.neighbours[router]
                self.changed = True
        if self.changed:
            self.changed = False
            self.ls_seq += 1
            self.flux = now + 8
            self._compute()
            self._ra()
        for router, node in self.nodes.items():
            if node.need_lsr and self._to_router(router, "LSR", {}):
                node.need_lsr = False
            if node.need_mar and router in self.paths.cost and self._to_router(router, "MAR", {"have_seq": node.mobile_seq}):
                node.need_mar = False
        if self.pending:
            self._mau()
        if now - self.last_ra > (4 if now < self.flux else 30):
            self._ra()

    def _body(self, op, fields):
        body = {"id": self.id, "pv": int32(1), "area": "0", **fields}
        if op in ("MAU", "MAR"):
            return {symbol(key): int(value) if isinstance(value, int32) else value for key, value in body.items()}
        return body

    def _message(self, op, to, fields):
        at = "0/" + self.id
        notes = {symbol(PREFIX + "ingress"): at, symbol(PREFIX + "trace"): [at]}
        key = symbol("opcode") if op in ("MAU", "MAR") else "opcode"
        nulls = [None] * (3 if op not in ("MAU", "MAR") else 0)
        return b"".join(encode(Described(ulong(code), value)) for code, value in (
            (HEADER, [False]), (ANNOTATIONS, notes), (PROPERTIES, [None, None, to] + nulls), (APPLICATION, {key: op}),
            (BODY, self._body(op, fields))))

    def _put_control(self, conn, octets):
        incoming = Incoming(settled=True)
        incoming.payload, incoming.complete = bytearray(octets), True
        conn.control_out.queue.append(Copy(incoming))
        conn.pump(conn.control_out)

    def _to_link(self, conn, op, to, fields):
        self.counts[op] = self.counts.get(op, 0) + 1
        self._put_control(conn, self._message(op, to, fields))

    def _next_conn(self, router):
        hop = router if router in self.neighbours else self.paths.next_hop(router)
        found = self.neighbours.get(hop)
        return found[0] if found else None

    def _to_router(self, router, op, fields):
        conn = self._next_conn(router)
        if conn:
            tail = ".ma" if op in ("MAU", "MAR") else ""
            self._to_link(conn, op, "amqp:/_topo/0/%s/qdrouter%s" % (router, tail), fields)
        return conn is not None

    def _flood_conns(self, trace):
        """One for each next hop towards all that are known, but not to those the message has been at (3.1)."""
        out = []
        for router in self.nodes:
            conn = self._next_conn(router)
            if conn and conn not in out and conn.peer not in trace:
                out.append(conn)
        return out

    def _ra(self):
        self.last_ra = time.monotonic()
        fields = {"instance": int32(self.instance), "ls_seq": int32(self.ls_seq), "mobile_seq": int32(self.mobile_seq)}
        for conn in self._flood_conns([]):
            self._to_link(conn, "RA", "amqp:/_topo/0/all/qdrouter", fields)

    def _mau(self):
        add = [key for key, there in self.pending.items() if there]
        gone = [key for key, there in self.pending.items() if not there]
        self.pending = {}
        self.mobile_seq += 1
        hints = [int32(self._treatment(key)) for key in add]
        for conn in self._flood_conns([]):
            self._to_link(conn, "MAU", "_topo/0/all/qdrouter.ma",
                          {"mobile_seq": self.mobile_seq, "hints": hints, "add": add, "del": gone})
        self._ra()

    def control_up(self, conn):
        self._to_link(conn, "HELLO", "amqp:/_local/qdhello", {"instance": int32(self.instance), "seen": list(self.heard)})

    def control(self, conn, incoming):
        """A control message: judge it, take it, pass it on."""
        found = sections_of(incoming.payload, whole=True)
        op = (found.get(APPLICATION) or {}).get("opcode") or (found.get(APPLICATION) or {}).get(symbol("opcode"))
        body = found.get(BODY)
        to = (found.get(PROPERTIES) or [None] * 3)[2]
        _, notes = annotations_of(found.get(ANNOTATIONS) or {})
        if body is None or op is None or to is None:
            conn.complain("a control message without body, opcode or to: %s" % (found,))
            return
        self._judge(conn, str(op), to, found, notes, body)
        body = {str(key): value for key, value in body.items()}
        key = key_of(to, self.id)
        trace = [entry[2:] for entry in notes.get(PREFIX + "trace", [])]
        if key.startswith("T"):
            for other in self._flood_conns(trace):
                self._put_control(other, self._relayed(incoming, notes))
        elif key.startswith("R"):
            other = self._next_conn(key[1:])
            if other:
                self._put_control(other, self._relayed(incoming, notes))
            return
        if body["id"] != self.id:
            getattr(self, "_on_" + str(op).lower())(conn, body)

    def _relayed(self, incoming, notes):
        notes = dict(notes)
        notes.setdefault(PREFIX + "ingress", "0/" + self.id)
        notes[PREFIX + "trace"] = list(notes.get(PREFIX + "trace", [])) + ["0/" + self.id]
        return with_annotations(incoming.payload, {}, notes)[0]

    def _judge(self, conn, op, to, found, notes, body):
        """Rules 2, 3, 12 and the tables of chapter 3."""
        name = op if op != "MAU" else "MAU=" if any(str(key) == "exist" for key in body) else "MAU+"
        if [str(key) for key in body] != BODIES.get(name):
            conn.complain("%s with the fields %s" % (name, [str(key) for key in body]))
        wanted = "symbol" if op in ("MAU", "MAR") else "str"
        if any(type(key).__name__ != wanted for key in body):
            conn.complain("%s with keys that are no %s" % (name, wanted))
        lists = [body[key] for key in body if str(key) in ("seen", "add", "del", "exist", "hints")]
        if any(not isinstance(value, list) for value in lists):
            conn.complain("%s with something for a list: %s" % (name, body))
        if len(notes.get(PREFIX + "trace", [])) < 1 or not notes.get(PREFIX + "ingress"):
            conn.complain("%s without ingress or trace: %s" % (name, notes))
        elif notes[PREFIX + "trace"][-1] != "0/" + conn.peer:
            conn.complain("%s whose trace ends with another router: %s" % (name, notes))
        if notes.get(PREFIX + "ingress") != "0/" + body[next(iter(body))]:
            conn.complain("%s of %s with ingress %s" % (name, body[next(iter(body))], notes.get(PREFIX + "ingress")))
        if op == "LSU":
            record = body["ls"]
            if list(record) != ["id", "area", "ls_seq", "peers"] or any(type(cost).__name__ != "int32" for cost in record["peers"].values()):
                conn.complain("LSU with the record %s" % record)

    def _node(self, router):
        return self.nodes.setdefault(router, Node())

    def _instance(self, node, body):
        if node.instance is not None and node.instance != int(body["instance"]):
            node.ls_seq, node.peers, node.mobile_seq, node.keys = 0, {}, 0, {}
            node.need_lsr, node.asked = True, False
            self._compute()
        node.instance = int(body["instance"])

    def _on_hello(self, conn, body):
        router = body["id"]
        conn.peer = router
        self.heard[router] = time.monotonic()
        node = self._node(router)
        self._instance(node, body)
        if self.id not in body["seen"]:
            return
        known = self.neighbours.get(router)
        if known is None or known[0] is not conn:
            node.need_lsr = self.changed = True
        self.neighbours[router] = (conn, time.monotonic())

    def _on_ra(self, conn, body):
        node = self._node(body["id"])
        self._instance(node, body)
        if int(body["ls_seq"]) > node.ls_seq:
            node.need_lsr = not self._to_router(body["id"], "LSR", {})
        if int(body["mobile_seq"]) > node.mobile_seq:
            node.need_mar = True

    def _on_lsu(self, conn, body):
        node = self._node(body["id"])
        self._instance(node, body)
        record = body["ls"]
        if int(record["ls_seq"]) > node.ls_seq:
            node.ls_seq = int(record["ls_seq"])
            node.peers = {router: int(cost) for router, cost in record["peers"].items()}
            for router in node.peers:
                if router != self.id and router not in self.nodes:
                    self._node(router).need_lsr = True
            self.flux = time.monotonic() + 8
            self._compute()

    def _on_lsr(self, conn, body):
        peers = {router: int32(at[0].cost) for router, at in self.neighbours.items()}
        record = {"id": self.id, "area": "0", "ls_seq": int32(self.ls_seq), "peers": peers}
        self._node(body["id"])
        self._to_router(body["id"], "LSU", {"instance": int32(self.instance), "ls_seq": int32(self.ls_seq), "ls": record})

    def _on_mar(self, conn, body):
        if int(body["have_seq"]) < self.mobile_seq:
            keys = [key for key in self.own if self.own[key] and key not in self.pending]
            self._to_router(body["id"], "MAU", {"mobile_seq": self.mobile_seq, "exist": keys,
                                                "hints": [int32(self._treatment(key)) for key in keys]})

    def _on_mau(self, conn, body):
        if body["id"] not in self.nodes:
            return
        node, seq = self.nodes[body["id"]], int(body["mobile_seq"])
        hints = body.get("hints") or []
        if "exist" in body:
            node.keys = {}
            self._map(node, body["exist"], hints)
        elif seq != node.mobile_seq + 1:
            if not node.asked:
                node.need_mar = node.asked = True
            return
        else:
            self._map(node, body["add"], hints)
            for key in body["del"]:
                node.keys.pop(key, None)
        node.mobile_seq, node.asked = seq, False

    def _map(self, node, keys, hints):
        for at, key in enumerate(keys):
            node.keys[key] = True
            if len(hints) == len(keys):
                self.hints.setdefault(key, int(hints[at]))

    def _compute(self):
        peers = {router: node.peers for router, node in self.nodes.items()}
        peers[self.id] = {router: at[0].cost for router, at in self.neighbours.items()}
        self.paths = Paths(self.id, peers)
        self.trees = {router: Paths(router, peers) for router in self.nodes}
