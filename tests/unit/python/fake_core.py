"""A stand-in for the router in C: the module `_trunkline` of python/trunkline/core.py, held to that contract.

It refuses what C would refuse: unknown kinds and columns, missing keys, values of other types than the contract's
tables name.
"""

import sys
import types

INT32 = range(-(1 << 31), 1 << 31)

STR, BOOL, INT, DICT, LIST = (str,), (bool,), (int,), (dict,), (list,)
NONE = (type(None),)
ENDPOINT = {
    "name": STR,
    "named": BOOL,
    "host": STR,
    "port": STR,
    "portNumber": INT,
    "role": STR,
    "saslMechanisms": STR + NONE,
    "maxFrameSize": INT,
    "maxSessions": INT,
    "maxSessionFrames": INT + NONE,
    "idleTimeoutSeconds": INT,
    "cost": INT,
    "linkCapacity": INT,
    "stripIn": BOOL,
    "stripOut": BOOL,
    "openProperties": DICT,
    "messageLogging": LIST,
}
KINDS = {
    "log": {"module": STR, "mask": INT + NONE, "timestamp": BOOL + NONE, "source": BOOL + NONE, "output": STR + NONE},
    "router": {
        "id": STR,
        "mode": STR,
        "workerThreads": INT,
        "defaultDistribution": STR,
        "metadata": STR + NONE,
        "timestampsInUTC": BOOL,
        "timestampFormat": STR + NONE,
        "helloIntervalSeconds": INT,
        "helloMaxAgeSeconds": INT,
        "raIntervalSeconds": INT,
        "raIntervalFluxSeconds": INT,
        "remoteLsMaxAgeSeconds": INT,
        "saslConfigDir": STR + NONE,
        "saslConfigName": STR,
        "debugDumpFile": STR + NONE,
        "allowResumableLinkRoute": BOOL,
        "allowUnsettledMulticast": BOOL,
    },
    "policy": {
        "maxConnections": INT,
        "maxMessageSize": INT + NONE,
        "enableVhostPolicy": BOOL,
        "enableVhostNamePatterns": BOOL,
        "policyDir": STR,
        "defaultVhost": STR,
    },
    "address": {
        "name": STR + NONE,
        "prefix": STR + NONE,
        "pattern": STR + NONE,
        "match": LIST,
        "distribution": STR,
        "ingressPhase": INT,
        "egressPhase": INT,
        "priority": INT,
        "fallback": BOOL,
    },
    "linkRoute": {
        "name": STR + NONE,
        "prefix": STR + NONE,
        "pattern": STR + NONE,
        "in": BOOL,
        "connection": STR + NONE,
        "containerId": STR + NONE,
        "addExternalPrefix": STR + NONE,
        "delExternalPrefix": STR + NONE,
    },
    "connection.linkRoute": {"name": STR + NONE, "pattern": STR, "in": BOOL, "ofConnection": STR},
    "autoLink": {
        "name": STR + NONE,
        "address": STR,
        "in": BOOL,
        "phase": INT,
        "connection": STR + NONE,
        "containerId": STR + NONE,
        "externalAddress": STR + NONE,
        "fallback": BOOL,
    },
    "exchange": {
        "name": STR,
        "address": STR,
        "phase": INT,
        "alternateAddress": STR + NONE,
        "alternatePhase": INT,
        "mqtt": BOOL,
    },
    "binding": {
        "name": STR + NONE,
        "exchangeName": STR,
        "bindingKey": STR + NONE,
        "nextHopAddress": STR,
        "nextHopPhase": INT,
    },
    "listener": dict(
        ENDPOINT,
        authenticatePeer=BOOL,
        multiTenant=BOOL,
        policyVhost=STR + NONE,
        initialHandshakeTimeoutSeconds=INT,
        failover=LIST,
        socketAddressFamily=STR + NONE,
    ),
    "connector": dict(ENDPOINT, saslUsername=STR + NONE, saslPassword=STR + NONE),
}


# What C numbers besides addresses, and its kind for query().
NUMBERED = {
    "autoLink": "router.config.autoLink",
    "linkRoute": "router.config.linkRoute",
    "connection.linkRoute": "router.connection.linkRoute",
    "exchange": "router.config.exchange",
    "binding": "router.config.binding",
}


class Error(Exception):
    pass


def plain(value):
    """Whether a value holds only what C is promised."""
    if type(value) is dict:
        return all(type(k) is str and "\0" not in k and plain(v) for k, v in value.items())
    if type(value) is list:
        return all(map(plain, value))
    if type(value) is str:
        value.encode()
        return "\0" not in value
    if type(value) is int:
        return -(1 << 63) <= value < 1 << 63
    return value is None or type(value) in (bool, float)


class FakeCore(types.ModuleType):
    """tables: {kind: [{column: value}]}, what query() and read() see. calls: what was applied. lines: what was logged.
    sent: what was sent."""

    VERSION = "9.9.9"
    Error = Error

    def __init__(self):
        super().__init__("_trunkline")
        self.reset()

    def reset(self):
        self.calls, self.lines, self.sent, self.entries = [], [], [], []
        self.fail = {}  # {(kind, op): Error} to raise
        self.next_identity = 1
        self.turns_asked = 0
        self.positions = {}
        self.tables = {
            "router": [
                dict(
                    addrCount=14,
                    linkCount=25,
                    nodeCount=0,
                    linkRouteCount=0,
                    autoLinkCount=0,
                    connectionCount=3,
                    presettledDeliveries=0,
                    droppedPresettledDeliveries=0,
                    acceptedDeliveries=11,
                    rejectedDeliveries=0,
                    releasedDeliveries=0,
                    modifiedDeliveries=0,
                    deliveriesDelayed1Sec=0,
                    deliveriesDelayed10Sec=0,
                    deliveriesStuck=0,
                    deliveriesIngress=12,
                    deliveriesEgress=11,
                    deliveriesTransit=0,
                    deliveriesIngressRouteContainer=0,
                    deliveriesEgressRouteContainer=0,
                    deliveriesRedirectedToFallback=0,
                    linksBlocked=0,
                    uptimeSeconds=5,
                    memoryUsage=182763520,
                )
            ],
            "connection": [],
            "router.link": [],
            "router.address": [],
            "router.node": [],
            "router.config.autoLink": [],
            "router.config.linkRoute": [],
            "router.connection.linkRoute": [],
            "router.config.exchange": [],
            "router.config.binding": [],
            "allocator": [],
            "logStats": [],
            "connector": [],
            "policy": [
                dict(
                    identity="policy/None",
                    connectionsProcessed=7,
                    connectionsDenied=1,
                    connectionsCurrent=3,
                    linksDenied=0,
                    maxMessageSizeDenied=0,
                    totalDenials=1,
                )
            ],
        }

    # the module's functions

    def log(self, module, level, text, file, line):
        assert isinstance(module, str) and level in (1, 2, 4, 8, 16, 32, 64) and isinstance(text, str)
        self.lines.append((module, level, text))

    def log_enabled(self, module, level):
        return True

    def log_entries(self, limit):
        return self.entries[-limit:] if limit else list(self.entries)

    def apply(self, kind, op, identity, attrs):
        assert type(identity) is str and type(attrs) is dict and plain(attrs), (kind, attrs)
        if (kind, op) in self.fail:
            raise self.fail[kind, op]
        if kind == "connection":
            assert op == "update" and attrs and set(attrs) <= {"adminStatus", "enableProtocolTrace"}
            if not any(row["identity"] == identity for row in self.tables[kind]):
                raise Error("Not found", "no connection " + identity)
        elif op == "delete":
            assert kind in ("address", *NUMBERED, "listener", "connector")
            assert kind != "connection.linkRoute" or set(attrs) == {"ofConnection"}
        else:
            assert op == ("update" if kind == "log" else "create")
            table = KINDS[kind]
            assert set(attrs) == set(table), (kind, set(attrs) ^ set(table))
            for key, allowed in table.items():
                assert type(attrs[key]) in allowed, (kind, key, attrs[key])
                assert type(attrs[key]) is not int or key == "maxMessageSize" or attrs[key] in INT32, (kind, key)
        self.calls.append((kind, op, identity, attrs))
        if kind in ("address", *NUMBERED) and op == "create":
            self.next_identity += 1
            if kind in NUMBERED:
                self.tables[NUMBERED[kind]].append(self._numbered(kind, attrs))
            return str(self.next_identity - 1)
        if kind in NUMBERED:
            table = self.tables[NUMBERED[kind]]
            table[:] = [row for row in table if row["identity"] != identity]
        return None

    def _numbered(self, kind, attrs):
        if kind in ("exchange", "binding"):
            return self._exchange(attrs) if kind == "exchange" else self._binding(attrs)
        row = {k: v for k, v in attrs.items() if k != "in"}
        row.update(identity=str(self.next_identity - 1), direction="in" if attrs["in"] else "out")
        if kind == "autoLink":
            return dict(row, linkRef=None, operStatus="inactive", lastError=None)
        if kind == "linkRoute":
            return dict(row, distribution="linkBalanced", operStatus="inactive")
        return dict(row, containerId="client")

    def _exchange(self, attrs):
        row = {k: v for k, v in attrs.items() if k != "mqtt"}
        row.update(identity=str(self.next_identity - 1), matchMethod="mqtt" if attrs["mqtt"] else "amqp")
        counts = ("bindingCount", "receivedCount", "droppedCount", "forwardedCount", "divertedCount")
        return dict(row, **dict.fromkeys(counts, 0))

    def _binding(self, attrs):
        return dict(attrs, identity=str(self.next_identity - 1), matchedCount=0, bindingKey=attrs["bindingKey"] or "#")

    def _row(self, kind, row, columns):
        assert "type" not in columns
        for column in columns:
            if column not in row:
                raise Error("Value", "unknown column '%s' of %s" % (column, kind))
        return tuple(row[column] for column in columns)

    def query(self, kind, columns, offset, count, conn_id):
        assert type(columns) is tuple and columns and offset >= 0 and count >= 0 and type(conn_id) is int
        assert kind not in ("connector", "policy")
        rows = self.tables[kind][offset : offset + count if count else None]
        return [self._row(kind, row, columns) for row in rows]

    def query_page(self, kind, columns, after, offset, count, conn_id):
        assert kind in ("connection", "router.link", "router.address") and type(after) is int
        key = "key" if kind == "router.address" else "identity"
        for row in self.tables[kind]:
            self.positions.setdefault((kind, row[key]), len(self.positions) + 1)
        behind = [row for row in self.tables[kind] if self.positions[kind, row[key]] > after]
        page = behind[offset : offset + count if count else None]
        last = self.positions[kind, page[-1][key]] if page else after
        return [self._row(kind, row, columns) for row in page], last

    def again(self):
        self.turns_asked += 1

    def read(self, kind, identity, columns, conn_id):
        assert type(identity) is str
        key = {"router.address": "key", "logStats": "name", "allocator": "typeName"}.get(kind, "identity")
        for row in self.tables[kind]:
            if row[key] == identity:
                return self._row(kind, row, columns)
        return None

    def send(self, to, message):
        assert type(to) is str and type(message) is bytes
        self.sent.append((to, message))
        return True


fake = FakeCore()
sys.modules["_trunkline"] = fake
