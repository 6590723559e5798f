"""The management node: management reference sections 1, 2, 4, with a router in C that is a table."""

import json
import random
import uuid

import pytest

from test_amqp import VECTORS
from trunkline import agent, amqp, checks, core, entities, management_node, query, schema

EXCHANGE, BINDING = "router.config.exchange", "router.config.binding"
P = "org.apache.qpid.dispatch."
REPLY = "amqp:/_topo/0/A/temp.x"
HEAD = b"\x00\x53\x70\x45"


def message(properties, body=amqp.CodecError, reply_to=REPLY, correlation=amqp.encode("1")):
    """A request's octets. body: CodecError for a message without body."""
    octets = HEAD + b"\x00\x53\x73" + amqp._compound(0xC0, 6, b"\x40\x40\x40\x40" + amqp.encode(reply_to) + correlation)
    if properties is not None:
        octets += b"\x00\x53\x74" + amqp.encode(properties)
    if body is not amqp.CodecError:
        octets += b"\x00\x53\x77" + amqp.encode(body)
    return octets


def plain(value):
    return checks.plain(value)


class Node:
    """Asks the agent. Each answer: (status, description, body), body in plain types."""

    def __init__(self, core):
        self.core = core

    def ask_now(self, operation, **properties):
        """Ask for what takes one turn."""
        agent.on_request(message(dict(properties, operation=operation), {}), 5, "$management")
        head = amqp.decode_message(self.core.sent[-1][1]).application_properties
        return head["statusCode"], head["statusDescription"], None

    def raw(self, octets):
        sent = len(self.core.sent)
        agent.on_request(octets, 5, "$management")
        turns = 0
        while agent.is_busy():
            assert len(self.core.sent) == sent and self.core.turns_asked > turns
            turns = self.core.turns_asked
            agent.go_on()
        assert len(self.core.sent) - sent <= 1
        if len(self.core.sent) == sent:
            return None
        to, answer = self.core.sent[-1]
        return to, amqp.decode_message(answer)

    def ask(self, operation, body=None, **properties):
        properties = {k: v for k, v in properties.items() if v is not None}
        to, answer = self.raw(message(dict(properties, operation=operation), body if body is not None else {}))
        assert to == REPLY == answer.properties["to"] and set(answer.properties) == {"to", "correlation_id"}
        assert (
            set(answer.application_properties) == {"statusCode", "statusDescription"}
            and type(answer.application_properties["statusCode"]) is amqp.Int
        )
        status, description = (
            answer.application_properties["statusCode"],
            answer.application_properties["statusDescription"],
        )
        assert all(type(k) is str for k in answer.body) if isinstance(answer.body, dict) else True
        if status < 300:
            assert description == {200: "OK", 201: "Created", 204: "No Content"}[status]
        self.body = answer.body
        return status, description, plain(answer.body)

    def good(self, operation, body=None, **properties):
        status, description, answer = self.ask(operation, body, **properties)
        assert status < 300, description
        return answer

    def bad(self, operation, body=None, **properties):
        status, description, answer = self.ask(operation, body, **properties)
        assert status >= 400
        assert not [line for line in self.core.lines if "failed" in line[2]], self.core.lines
        return status, description

    def query(self, entity_type=None, names=(), **properties):
        result = self.good(
            "QUERY",
            {"attributeNames": list(names)},
            entityType=entity_type,
            type="org.amqp.management",
            name="self",
            **properties
        )
        assert list(result) == ["attributeNames", "results"]
        return [dict(zip(result["attributeNames"], row)) for row in result["results"]]


FILE = """
router {
    id: A
    metadata: m
    helloInterval: 2
}
listener {
    port: 5672
    name: public
    openProperties: {"a": 1}
}
listener {
    host: 127.0.0.1
    port: 0
}
connector {
    name: broker
    port: 5673
    saslPassword: pass:x
}
address {
    prefix: closest
    distribution: closest
}
address {
    pattern: m.#
    distribution: multicast
    name: mc
    priority: 3
}
address {
    prefix: no
    distribution: unavailable
}
log {
    module: SERVER
    enable: debug+
}
"""


@pytest.fixture
def node(start):
    core = start(FILE)
    core.tables["connector"] = [
        dict(
            identity="connector/127.0.0.1:5673:broker",
            failoverUrls="amqp://127.0.0.1:5673",
            connectionStatus="CONNECTING",
            connectionMsg="",
        )
    ]
    core.tables["connection"] = [
        dict(
            identity=str(i),
            host="127.0.0.1:%d" % i,
            role="edge" if i == 3 else "normal",
            protocol="amqp",
            dir="in",
            container="c%d" % i,
            sasl=None,
            isAuthenticated=False,
            user=None,
            isEncrypted=False,
            sslProto=None,
            sslCipher=None,
            properties={"product": "x", "n": 1},
            sslSsf=0,
            tenant=None,
            ssl=False,
            opened=True,
            active=True,
            adminStatus="enabled",
            operStatus="up",
            uptimeSeconds=i,
            lastDlvSeconds=None,
            enableProtocolTrace=False,
        )
        for i in (1, 2, 3)
    ]
    link = {c: 7 for c in schema.find("router.link").columns if c != "type"}
    core.tables["router.link"] = [
        dict(
            link,
            name="l%d" % i,
            identity=str(i),
            linkName="l%d" % i,
            linkType="endpoint",
            linkDir="in",
            owningAddr="M0q",
            peer=None,
            connectionId="1",
            adminStatus="enabled",
            operStatus="up",
            ingressHistogram=None,
        )
        for i in range(1200)
    ]
    address = {c: 0 for c in schema.find("router.address").columns if c not in ("type", "name", "identity")}
    core.tables["router.address"] = [
        dict(address, key=key, distribution="balanced", remoteHostRouters=[], transitOutstanding=None, priority=-1)
        for key in ("L$management", "M0$management", "M0q")
    ]
    core.tables["logStats"] = [
        dict(
            name=m,
            **{level + "Count": i for i, level in enumerate("trace debug info notice warning error critical".split())}
        )
        for m in ("ROUTER", "MAIN")
    ]
    core.tables["allocator"] = [dict({a: 1 for a in schema.find("allocator").own_attributes}, typeName="buffer")]
    core.calls.clear()
    return Node(core)


# Requests and answers (2.2, 2.3)
# ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "id_",
    [
        amqp.ULong(5),
        amqp.ULong(1 << 40),
        amqp.UUID(uuid.uuid4().bytes),
        b"\x00\x01",
        "text",
        amqp.Int(-3),
        amqp.Long(7),
    ],
)
def test_agent_correlation_id_comes_back_octet_for_octet(node, id_):
    _, answer = node.raw(message({"operation": "GET-MGMT-NODES"}, {}, correlation=amqp.encode(id_)))
    assert answer.correlation_id == amqp.encode(id_)


def test_agent_request_without_correlation_id_is_answered_without(node):
    _, answer = node.raw(message({"operation": "GET-MGMT-NODES"}, {}, correlation=b"\x40"))
    assert answer.correlation_id is None and answer.application_properties["statusCode"] == 200


def test_agent_request_without_reply_to_is_dropped(node):
    assert node.raw(message({"operation": "GET-MGMT-NODES"}, {}, reply_to=None)) is None
    assert node.raw(HEAD) is None


def test_agent_request_without_application_properties_is_answered(node):
    _, answer = node.raw(message(None, {}))
    assert answer.application_properties["statusCode"] == 400
    assert answer.application_properties["statusDescription"].startswith("No 'operation' property: Message(")


@pytest.mark.parametrize("operation", [None, 5, ""])
def test_agent_operation_missing_or_no_text(node, operation):
    status, text = node.bad(operation, type="listener")
    assert (
        status == 400
        and text.startswith("No 'operation' property: Message(address=None, properties={")
        and "'type': 'listener'" in text
    )


@pytest.mark.parametrize("octets", [b"", b"\x00", b"\x00\x53\x70", b"junk", b"\x00\x53\x77\xff"])
def test_agent_octets_that_are_no_message_are_dropped_and_logged(node, octets):
    assert node.raw(octets) is None
    assert (
        octets == b"" or ("AGENT", 16) == node.core.lines[-1][:2] and "connection 5 dropped" in node.core.lines[-1][2]
    )


def test_agent_request_that_is_too_large_is_dropped_and_logged(node):
    assert node.raw(message({"operation": "QUERY"}, {"x": "y" * agent.MAX_REQUEST})) is None
    assert "at most 1048576 are allowed" in node.core.lines[-1][2]


def test_agent_exception_of_our_own_is_answered_and_logged(node, monkeypatch):
    monkeypatch.setitem(management_node.OPERATIONS, "GET-TYPES", lambda request: 1 // 0)
    assert node.ask("GET-TYPES") == (500, "ZeroDivisionError: integer division or modulo by zero", {})
    assert node.core.lines[-1][:2] == ("AGENT", 32) and "ZeroDivisionError" in node.core.lines[-1][2]


def test_agent_operations_in_any_case(node):
    assert node.good("get-mgmt-nodes") == [] and node.good("read", type="listener", name="public")["name"] == "public"


def test_agent_symbols_are_texts(node):
    assert node.good(amqp.Symbol("READ"), type=amqp.Symbol("listener"), name=amqp.Symbol("public"))["port"] == "5672"


# Finding (2.4)
# ---------------------------------------------------------------------------------------------------------------

FINDING = [
    (dict(operation="READ", type="listener"), 400, P + "listener: No name or identity provided"),
    (dict(operation="READ", name="nosuch"), 404, "No entity with name=nosuch"),
    (dict(operation="READ", identity="nosuch"), 404, "No entity with identity=nosuch"),
    (dict(operation="READ", name="nosuch", identity="x"), 404, "No entity with name=nosuch identity=x"),
    (dict(operation="READ", type=P + "listener", name="nosuch"), 404, "No entity with name=nosuch"),
    (dict(operation="READ", name="public", identity="x"), 400, "Conflicting name=public identity=x"),
    (dict(operation="READ", name="public", type="zork"), 400, "No such entity type 'zork'"),
    (
        dict(operation="READ", name="public", type="connector"),
        400,
        "Entity type '%slistener' does not extend requested type '%sconnector'" % (P, P),
    ),
    (
        dict(operation="READ", name="public", type="configurationEntity"),
        404,
        "Entity type '%slistener' does match requested type '%sconfigurationEntity'" % (P, P),
    ),
    (
        dict(operation="UPDATE", name="public"),
        501,
        "Operation 'UPDATE' not implemented for '%slistener' ['CREATE', 'DELETE', 'READ']" % P,
    ),
    (
        dict(operation="zork", name="public"),
        501,
        "Operation 'ZORK' not implemented for '%slistener' ['CREATE', 'DELETE', 'READ']" % P,
    ),
    (
        dict(operation="DELETE", name="log/SERVER"),
        501,
        "Operation 'DELETE' not implemented for '%slog' ['UPDATE', 'READ']" % P,
    ),
    (
        dict(operation="PROFILE"),
        501,
        "Operation 'PROFILE' not implemented for '%smanagement' ['GET-SCHEMA', 'GET-JSON-SCHEMA', 'GET-LOG', 'EXPLAIN', 'PROFILE', 'QUERY', "
        "'GET-TYPES', 'GET-ANNOTATIONS', 'GET-OPERATIONS', 'GET-ATTRIBUTES', 'GET-MGMT-NODES', 'READ']" % P,
    ),
    (dict(operation="GET-SCHEMA-JSON"), 501, None),
    (dict(operation="QUERY", type="listener"), 400, P + "listener: No name or identity provided"),
    (dict(operation="QUERY", type="zork"), 400, "No such entity type 'zork'"),
    (dict(operation="READ", name=True), 400, "Property 'name' must be a string"),
]


@pytest.mark.parametrize("properties, status, text", FINDING)
def test_agent_finding_an_entity_fails_with_its_sentence(node, properties, status, text):
    found = node.bad(**properties)
    assert found[0] == status and (text is None or found[1] == text)


def test_agent_management_entity_is_the_default(node):
    expected = {"identity": "self", "name": "self", "type": P + "management"}
    for properties in (
        {},
        {"type": "management"},
        {"type": "org.amqp.management"},
        {"type": P + "org.amqp.management", "name": "self"},
        {"identity": "self"},
    ):
        assert node.good("READ", **properties) == expected


def test_agent_names_and_identities(node):
    for name, identity in (
        ("public", "listener/:5672:public"),
        ("listener/127.0.0.1:0", "listener/127.0.0.1:0"),
        ("broker", "connector/127.0.0.1:5673:broker"),
        ("log/SERVER", "log/SERVER"),
        ("policy/None", "policy/None"),
        ("ROUTER", "logStats/ROUTER"),
        ("allocator/buffer", "allocator/buffer"),
    ):
        for key, value in (("name", name), ("identity", identity)):
            found = node.good("READ", **{key: value})
            assert (found["name"], found["identity"]) == (name, identity)


# Operations of the management node (2.5)
# -------------------------------------------------------------------------------------


def test_agent_get_types(node):
    types = node.good("GET-TYPES")
    assert len(types) == 29 and types[P + "management"] == [
        P + "org.amqp.management",
        P + "operationalEntity",
        P + "entity",
    ]
    assert list(node.good("GET-TYPES", entityType="org.amqp.management")) == [
        P + "org.amqp.management",
        P + "management",
    ]
    assert node.bad("GET-TYPES", entityType="zork") == (400, "No such entity type 'zork'")


def test_agent_get_operations_and_attributes(node):
    assert node.good("GET-OPERATIONS", entityType="listener") == {P + "listener": ["CREATE", "DELETE", "READ"]}
    assert node.good("GET-ATTRIBUTES", entityType="log") == {
        P + "log": ["module", "enable", "includeTimestamp", "includeSource", "outputFile", "name", "identity", "type"]
    }
    assert len(node.good("GET-OPERATIONS")) == len(node.good("GET-ATTRIBUTES")) == 29
    assert list(node.good("GET-ATTRIBUTES", entityType="configurationEntity")) == [P + "configurationEntity"]
    assert node.good("GET-ANNOTATIONS") == {}


def test_agent_get_mgmt_nodes(node):
    assert node.good("GET-MGMT-NODES") == []
    node.core.tables["router.node"] = [{"id": "B"}, {"id": "A"}]
    assert node.good("GET-MGMT-NODES") == ["amqp:/_topo/0/A/$management", "amqp:/_topo/0/B/$management"]


def test_agent_get_schema(node):
    found = node.good("GET-SCHEMA")
    assert (
        found["prefix"] == P[:-1]
        and len(found["entityTypes"]) == 29
        and {"address", "linkRoute", "autoLink", "exchange", "binding"} <= set(found["entityTypes"])
    )
    listener = found["entityTypes"]["listener"]
    assert (
        set(listener) == {"attributes", "operations", "description", "fullyQualifiedType"}
        and "type" not in listener["attributes"]
    )
    assert (
        listener["attributes"]["role"]["type"] == ["normal", "inter-router", "route-container", "edge"]
        and listener["attributes"]["role"]["default"] == "normal"
    )
    assert (
        "default" not in listener["attributes"]["http"]
        and "default" not in listener["attributes"]["host"]
        and listener["attributes"]["name"]["unique"] is True
    )
    assert (
        found["entityTypes"]["router"]["singleton"] is True
        and found["entityTypes"]["router"]["attributes"]["linkCount"]["graph"] is True
    )
    assert found["entityTypes"]["vhostUserGroupSettings"]["attributes"]["maxSenders"]["default"] == 2147483647
    for key in ("create", "update", "hidden", "oldName"):
        assert all(key not in a for t in found["entityTypes"].values() for a in t.get("attributes", {}).values())
    assert json.loads(node.good("GET-JSON-SCHEMA")) == found and "\n" not in node.good("GET-JSON-SCHEMA")
    assert node.good("GET-JSON-SCHEMA", indent=amqp.Long(2)).startswith('{\n  "') and node.good(
        "GET-JSON-SCHEMA", indent="4"
    ).startswith('{\n    "')
    assert node.bad("GET-JSON-SCHEMA", indent="x")[0] == 400


def test_agent_get_log(node):
    node.core.entries = [
        ("SERVER", "info", "text %d" % i, "a.c" if i % 2 else None, i if i % 2 else None, 1795171278 + i)
        for i in range(5)
    ]
    everything = [list(e) for e in node.core.entries]
    for limit in (None, 0, "0"):
        assert node.good("GET-LOG", limit=limit) == everything
    assert (
        node.good("GET-LOG", limit=amqp.Long(2)) == everything[-2:]
        and node.good("GET-LOG", limit="2") == everything[-2:]
    )
    assert node.bad("GET-LOG", limit="x")[0] == 500 and node.bad("GET-LOG", limit=-1)[0] == 400


# QUERY
# -------------------------------------------------------------------------------------------------------------------------


def test_agent_query_of_core_type_has_its_columns_and_types(node):
    for name in ("connection", P + "connection"):
        rows = node.query(name)
        assert [r["identity"] for r in rows] == ["1", "2", "3"] and list(rows[0]) == list(
            schema.find("connection").columns
        )
        assert (
            rows[0]["name"] == "connection/127.0.0.1:1"
            and rows[0]["type"] == P + "connection"
            and rows[0]["properties"] == {"product": "x", "n": 1}
        )
        types = {n: type(v) for n, v in zip(node.body["attributeNames"], node.body["results"][0])}
        assert types["sslSsf"] is amqp.Long and types["uptimeSeconds"] is amqp.UInt and types["opened"] is bool


@pytest.mark.parametrize("short", [t.short for t in schema.types() if t.columns])
def test_agent_query_every_core_type_under_both_names(node, short):
    columns = list(schema.find(short).columns)
    for name in (short, P + short):
        result = node.good("QUERY", {}, entityType=name)
        assert result["attributeNames"] == columns
        for raw in node.body["results"]:
            for column, value in zip(columns, raw):
                kind = schema.find(short).columns[column]
                assert (
                    value is None
                    or type(value)
                    is {
                        "string": str,
                        "ulong": amqp.ULong,
                        "uint": amqp.UInt,
                        "int": amqp.Int,
                        "long": amqp.Long,
                        "boolean": bool,
                        "list": list,
                        "map": dict,
                    }[kind]
                )
    assert result == node.good("QUERY", {}, type=P + short)


def test_agent_query_router(node):
    (row,) = node.query(P + "router")
    assert (row["name"], row["identity"], row["id"], row["mode"], row["area"], row["version"], row["metadata"]) == (
        "A",
        "1",
        "A",
        "standalone",
        "0",
        "9.9.9",
        "m",
    )
    assert (
        row["linksBlocked"] == 0
        and row["uptimeSeconds"] == 5
        and row["workerThreads"] == 4
        and row["memoryUsage"] == 182763520
    )
    (row,) = node.query("router", ["helloIntervalSeconds", "blockedLinkCount", "hostName", "linkCount"])
    assert (
        row["helloIntervalSeconds"] == 2 and row["blockedLinkCount"] == 0 and row["hostName"] and row["linkCount"] == 25
    )
    assert node.query("router", offset=1) == []


def test_agent_query_config_addresses(node):
    rows = node.query("router.config.address")
    assert [(r["name"], r["identity"], r["prefix"], r["pattern"], r["distribution"], r["priority"]) for r in rows] == [
        ("address/0", "1", "closest", None, "closest", -1),
        ("mc", "2", None, "m.#", "multicast", 3),
        ("address/2", "3", "no", None, None, -1),
    ]
    assert [list(r) for r in rows][0] == list(schema.find("router.config.address").columns)
    assert node.query("router.config.address", ["enableFallback", "name"])[0] == {
        "enableFallback": False,
        "name": "address/0",
    }


def test_agent_query_router_address_knows_its_key_under_three_names(node):
    for row in node.query("router.address", ["identity", "key", "name", "type"]):
        assert row["identity"] == row["key"] == row["name"] and row["type"] == P + "router.address"
    assert len(node.query("router.address", ["type"])) == 3


@pytest.mark.parametrize(
    "entity_type, total",
    [
        ("router.link", 1200),
        ("connection", 3),
        ("router.config.address", 3),
        ("log", 17),
        ("listener", 2),
        ("router", 1),
        ("configurationEntity", 25),
        ("logStats", 2),
        (None, 29),
    ],
)
def test_agent_every_query_is_paged(node, entity_type, total):
    everything = node.query(entity_type, ["identity"])
    assert len(everything) == total
    for offset, count in (
        (0, 1),
        (1, 2),
        (0, 0),
        (2, 0),
        (total - 1, 5),
        (total, 5),
        (total + 7, 1),
        (0, 500),
        (500, 500),
    ):
        expected = everything[offset : offset + count if count else None]
        assert node.query(entity_type, ["identity"], offset=offset, count=amqp.Long(count)) == expected
        assert node.query(entity_type, ["identity"], offset=str(offset), count=str(count)) == expected


def ask_for_links(node):
    """Begin a QUERY of all links, which takes several turns."""
    agent.on_request(message(dict(operation="QUERY", entityType="router.link"), {"attributeNames": ["identity"]}), 5, "x")
    assert agent.is_busy() and not node.core.sent


def links_answered(node):
    (_, answer), node.core.sent[:] = node.core.sent[-1], []
    return [row[0] for row in amqp.decode_message(answer).body["results"]]


def finish(node):
    turns = 0
    while agent.is_busy():
        agent.go_on()
        turns += 1
    return turns


def test_agent_query_of_many_rows_lets_others_have_their_turn(node):
    ask_for_links(node)
    status, _, _ = node.ask_now("READ", type="org.amqp.management", name="self")
    assert status == 200 and agent.is_busy()
    node.core.sent.clear()
    assert finish(node) >= 1200 // query.PAGE - 1
    assert links_answered(node) == [row["identity"] for row in node.core.tables["router.link"]]


def test_agent_query_in_turns_shows_what_stays(node):
    ask_for_links(node)
    agent.go_on()
    links = node.core.tables["router.link"]
    removed = [links.pop(0)["identity"], links.pop()["identity"]]
    finish(node)
    shown = links_answered(node)
    assert len(shown) == len(set(shown)) and removed[1] not in shown
    assert {row["identity"] for row in links} <= set(shown)


def test_agent_many_long_queries_at_once_are_all_answered(node):
    for _ in range(agent.MAX_UNFINISHED):
        assert not agent.is_full()
        ask_for_links(node)
    assert agent.is_full()
    while agent.is_full():
        agent.go_on()
    assert len(node.core.sent) == 1
    finish(node)
    assert len(node.core.sent) == agent.MAX_UNFINISHED
    node.core.sent.clear()


@pytest.mark.parametrize("key", ["offset", "count"])
@pytest.mark.parametrize("value", [-1, "x", True, 1.5, "-1", b"1"])
def test_agent_query_page_must_be_a_number(node, key, value):
    for entity_type in ("router.link", "log"):
        assert node.bad("QUERY", {}, entityType=entity_type, **{key: value})[0] == 400


def test_agent_query_unknown_attribute_is_404(node):
    assert node.bad("QUERY", {"attributeNames": ["a", "name", "b"]}, entityType="listener") == (
        404,
        "Unknown attributes ['a', 'b'] for type %slistener." % P,
    )
    assert node.bad("QUERY", {"attributeNames": ["zork"]}, entityType="router.link") == (
        404,
        "Unknown attributes ['zork'] for type %srouter.link." % P,
    )
    assert node.bad("QUERY", {"attributeNames": ["zork"]}) == (404, "Unknown attributes ['zork'].")
    assert node.bad("QUERY", {}, entityType="zork") == (400, "No such entity type 'zork'")
    assert (
        node.bad("QUERY", {"attributeNames": "name"}, entityType="log")[0]
        == node.bad("QUERY", {"attributeNames": [5]}, entityType="log")[0]
        == 400
    )


@pytest.mark.parametrize(
    "body", [None, "text", [], {}, {"attributeNames": []}, {"attributeNames": None}, amqp.CodecError]
)
def test_agent_query_without_usable_body_means_all(node, body):
    for entity_type in ("listener", "connection"):
        _, answer = node.raw(message({"operation": "QUERY", "entityType": entity_type}, body))
        assert answer.application_properties["statusCode"] == 200 and len(answer.body["attributeNames"]) > 20


def test_agent_query_names_may_be_an_array_of_symbols(node):
    names = amqp.Array(0xB3, [amqp.Symbol("host"), amqp.Symbol("name")])
    assert node.good("QUERY", {"attributeNames": names}, entityType="listener")["results"] == [
        ["", "public"],
        ["127.0.0.1", "listener/127.0.0.1:0"],
    ]


def test_agent_query_general_type(node):
    rows = node.query("listener")
    assert list(rows[0]) == list(schema.find("listener").own_attributes) + ["name", "identity", "type"]
    assert (
        rows[0]["openProperties"] == {"a": 1}
        and rows[0]["maxFrameSize"] == 16384
        and rows[0]["sslProfile"] is None
        and rows[0]["type"] == P + "listener"
    )
    (row,) = node.query("connector")
    assert (
        row["connectionStatus"] == "CONNECTING"
        and row["failoverUrls"] == "amqp://127.0.0.1:5673"
        and row["saslPassword"] == "pass:x"
    )
    (row,) = node.query("policy")
    assert row["connectionsProcessed"] == 7 and row["maxConnections"] == 65535 and row["identity"] == "policy/None"
    assert len(node.query("log")) == 17 and node.query("vhost") == [] and node.query("management")[0]["name"] == "self"
    assert [r["infoCount"] for r in node.query("logStats")] == [2, 2]


def test_agent_query_rows_of_nulls_only_are_left_out(node):
    assert node.query("log", ["enable"]) == [{"enable": "debug+"}]


def test_agent_query_of_everything(node):
    rows = node.query()
    assert {r["type"].removeprefix(P) for r in rows} == {
        "management",
        "router",
        "listener",
        "connector",
        "log",
        "policy",
        "router.config.address",
        "logStats",
        "allocator",
    }
    assert rows[0]["type"] == P + "management" and all(r["identity"] for r in rows)
    assert {r["type"].removeprefix(P) for r in node.query("operationalEntity")} == {
        "management",
        "logStats",
        "allocator",
    }


def test_agent_query_console_is_forbidden_with_a_table(node):
    assert node.ask("QUERY", {}, entityType="console") == (403, "Forbidden", {"attributeNames": [], "results": []})


# Core types (2.4, 2.5)
# ----------------------------------------------------------------------------------------------------------

CORE_FAILURES = [
    ("READ", "router.config.address", {}, 400, "No name or identity provided"),
    ("READ", "router.config.address", {"name": "x"}, 404, "Not Found"),
    ("DELETE", "router.config.address", {}, 400, "No name or identity provided"),
    ("DELETE", "router.config.address", {"identity": "99"}, 404, "Not Found"),
    ("READ", "router.config.linkRoute", {}, 400, "No name or identity provided"),
    ("READ", "router.config.autoLink", {"name": "x"}, 404, "Not Found"),
    ("DELETE", "router.config.exchange", {}, 400, "No name or identity provided"),
    ("READ", "router.config.binding", {}, 400, "No binding name or identity provided"),
    ("READ", "router.connection.linkRoute", {}, 400, "No name or identity provided"),
    ("READ", "router.address", {}, 404, "Not Found"),
    ("READ", "router.address", {"name": "x"}, 404, "Not Found"),
    ("READ", "connection", {}, 400, "Name not supported. Identity required"),
    ("READ", "connection", {"name": "connection/127.0.0.1:1"}, 400, "Name not supported. Identity required"),
    ("READ", "connection", {"identity": "99"}, 404, "Not Found"),
    ("UPDATE", "router.link", {}, 400, "Bad Request"),
    ("UPDATE", "connection", {}, 400, "No identity provided"),
    ("UPDATE", "connection", {"identity": "99"}, 400, "No connection with identity=99"),
    ("CREATE", "router", {}, 403, "Forbidden"),
    ("DELETE", "router", {"identity": "1"}, 403, "Forbidden"),
    ("UPDATE", "router", {"identity": "1"}, 501, "Operation 'UPDATE' not implemented for '%srouter' ['READ']" % P),
    ("CREATE", "connection", {}, 501, "Operation 'CREATE' not implemented for '%sconnection' ['READ']" % P),
    ("DELETE", "connection", {"identity": "1"}, 403, "Forbidden"),
    ("CREATE", "router.link", {}, 501, None),
    ("DELETE", "router.link", {"identity": "1"}, 501, None),
    ("CREATE", "router.address", {}, 501, None),
    ("UPDATE", "router.address", {"identity": "M0q"}, 501, None),
    ("DELETE", "router.address", {"identity": "M0q"}, 501, None),
    (
        "UPDATE",
        "router.config.address",
        {"identity": "1"},
        501,
        "Operation 'UPDATE' not implemented for '%srouter.config.address' ['CREATE', 'DELETE', 'READ']" % P,
    ),
    ("READ", "console", {"identity": "x"}, 403, "Forbidden"),
    ("CREATE", "console", {}, 403, "Forbidden"),
    ("UPDATE", "console", {"identity": "x"}, 403, "Forbidden"),
    ("DELETE", "console", {"identity": "x"}, 403, "Forbidden"),
    ("READ", "router", {"identity": "2"}, 404, "Not Found"),
    ("READ", "router.link", {"identity": "9999"}, 404, "Not Found"),
]


@pytest.mark.parametrize("operation, short, which, status, text", CORE_FAILURES)
def test_agent_core_failure_has_its_sentence_under_both_names(node, operation, short, which, status, text):
    for name in (short, P + short):
        for spelled in (operation, operation.lower()):
            found = node.ask(spelled, {}, type=name, **which)
            assert found[0] == status and (text is None or found[1] == text)
            assert found[2] == (None if operation == "CREATE" else {})
    assert not node.core.calls


def test_agent_read_core(node):
    assert (
        node.good("READ", type="router.config.address", name="mc")["identity"]
        == "2"
        == node.good("READ", type="router.config.address", identity="2", name="ignored")["identity"]
    )
    found = node.good("READ", type="connection", identity="2")
    assert (
        list(found) == list(schema.find("connection").columns)
        and found["name"] == "connection/127.0.0.1:2"
        and type(node.body["uptimeSeconds"]) is amqp.UInt
    )
    assert (
        node.good("READ", type="router.address", name="M0q")["key"] == "M0q"
        and node.good("READ", type="router.link", identity="7")["linkName"] == "l7"
    )
    for which in ({}, {"identity": "1"}, {"name": "A"}):
        found = node.good("READ", type="router", **which)
        assert (
            found["id"] == "A"
            and found["linkCount"] == 25
            and found["helloIntervalSeconds"] == 2
            and type(node.body["linkCount"]) is amqp.ULong
        )
    assert (
        node.good("READ", name="mc")["pattern"] == "m.#"
        and node.good("READ", name="address/0", type=None)["prefix"] == "closest"
    )


def test_agent_read_general_leaves_out_what_has_no_value(node):
    found = node.good("READ", type="listener", name="public")
    assert (
        "sslProfile" not in found
        and found["port"] == "5672"
        and found["http"] is False
        and type(node.body["maxFrameSize"]) is amqp.Int
    )
    assert node.good("READ", name="broker")["connectionStatus"] == "CONNECTING"


# CREATE, general
# -----------------------------------------------------------------------------------------------------------------

CREATE_FAILURES = [
    ({}, {}, 400, "No 'type' attribute in {}"),
    ({"type": "zork"}, {}, 400, "No such entity type 'zork'"),
    ({"type": "log"}, {}, 501, "Operation 'CREATE' not implemented for '%slog' ['UPDATE', 'READ']" % P),
    ({"type": "listener"}, {"type": "connector"}, 400, "Conflicting values for 'type'"),
    ({"type": "listener", "name": "a"}, {"name": "b"}, 400, "Conflicting values for 'name'"),
    ({"type": "listener"}, {"zork": 1}, 400, "Unknown attribute 'zork' for '%slistener'" % P),
    ({"type": "listener"}, {"identity": "x"}, 400, "Cannot set attribute 'identity' in CREATE"),
    ({"type": "connector"}, {"connectionStatus": "x"}, 400, "Cannot set attribute 'connectionStatus' in CREATE"),
    ({"type": "listener"}, {"linkCapacity": "abc"}, 400, P + "listener: invalid literal for int() with base 10: 'abc'"),
    ({"type": "listener"}, {"authenticatePeer": "maybe"}, 400, P + "listener: Invalid Boolean value ''maybe''"),
    (
        {"type": "listener"},
        {"stripAnnotations": "x"},
        400,
        P + "listener: Invalid value for enum['in', 'out', 'both', 'no']: 'x'",
    ),
    ({"type": "listener"}, {"openProperties": "x"}, 400, P + "listener: Properties must be a map"),
    ({"type": "listener"}, {"openProperties": {"\u00e9": 1}}, 400, P + "listener: Property keys must be ASCII encoded"),
    (
        {"type": "listener"},
        {"openProperties": {"product": 1}},
        400,
        P + "listener: Reserved key 'product' not allowed in openProperties",
    ),
    (
        {"type": "listener"},
        {"failoverList": "a", "failoverUrls": "b"},
        400,
        P + "listener: Both 'failoverList' and 'failoverUrls' cannot be specified for entity 'listener'",
    ),
    (
        {"type": "listener"},
        {"failoverUrls": "amqp://"},
        400,
        P + "listener: No network host in failover item 'amqp://'",
    ),
    (
        {"type": "listener", "name": "broker"},
        {"port": 1},
        400,
        P + "listener: Duplicate value 'broker' for unique attribute 'name'; connector/127.0.0.1:5673:broker has it",
    ),
    (
        {"type": "listener"},
        {"host": "127.0.0.1", "port": 0},
        400,
        P
        + "listener: Duplicate value 'listener/127.0.0.1:0' for unique attribute 'identity'; listener/127.0.0.1:0 has it",
    ),
    ({"type": "listener"}, {"host": "a\0b"}, 400, P + "listener: A text may not contain the character NUL"),
    ({"type": "sslProfile", "name": "x"}, {}, 501, P + "sslProfile: not yet in this version of the router (TLS)"),
    ({"type": "vhost"}, {"hostname": "h"}, 501, P + "vhost: not yet in this version of the router (vhost policy)"),
    ({"type": "vhost"}, {}, 400, P + "vhost: Missing required attribute 'hostname'"),
    ({"type": "listener"}, {"role": "edge", "port": 1}, 400, None),
    ({"type": "listener"}, {"http": "yes", "port": 1}, 501, None),
]


@pytest.mark.parametrize("properties, body, status, text", CREATE_FAILURES)
def test_agent_create_fails_with_its_sentence_and_nothing_is_made(node, properties, body, status, text):
    before = len(node.query())
    found = node.ask("CREATE", body, **properties)
    assert found[0] == status and (text is None or found[1] == text) and found[2] == {}
    assert not node.core.calls and len(node.query()) == before


def test_agent_create_and_delete_listener(node):
    made = node.good(
        "CREATE",
        {
            "port": amqp.Long(7000),
            "host": "::1",
            "authenticatePeer": "yes",
            "saslMechanisms": "ANONYMOUS PLAIN",
            "trustedCerts": "x",
        },
        type=P + "listener",
        name="extra",
    )
    assert (
        made["identity"] == "listener/::1:7000:extra"
        and made["port"] == "7000"
        and made["authenticatePeer"] is True
        and made["maxFrameSize"] == 16384
        and made["trustedCertsFile"] == "x"
    )
    assert (
        made == node.good("READ", type="listener", name="extra")
        and node.core.calls[0][:3] == ("listener", "create", "listener/::1:7000:extra")
        and node.core.calls[0][3]["portNumber"] == 7000
    )
    assert any("has been deprecated" in line[2] for line in node.core.lines) and any(
        line[2] == "Configured Listener: ::1:7000 proto=any, role=normal" for line in node.core.lines
    )
    assert node.ask("DELETE", type="listener", identity="listener/::1:7000:extra")[::2] == (204, {})
    assert (
        node.core.calls[1:] == [("listener", "delete", "listener/::1:7000:extra", {})]
        and node.bad("READ", name="extra")[0] == 404
    )


def test_agent_create_type_and_name_may_stand_in_the_body(node):
    assert node.good("CREATE", {"type": "connector", "name": "c", "port": "1"})["identity"] == "connector/127.0.0.1:1:c"
    assert (
        node.good("CREATE", {"type": P + "connector", "name": "d", "port": "1"}, type="connector", name="d")["identity"]
        == "connector/127.0.0.1:1:d"
    )
    assert node.good("DELETE", name="c") == {} and [c[:3] for c in node.core.calls][-1] == (
        "connector",
        "delete",
        "connector/127.0.0.1:1:c",
    )
    for prefix in ("b", "c"):
        assert node.good("CREATE", {"type": "router.config.address", "prefix": prefix})["name"] is None


def test_agent_create_that_c_refuses_leaves_nothing(node):
    node.core.fail["listener", "create"] = node.core.Error("System", "Listener error on :7000: Address already in use")
    assert node.ask("CREATE", {"port": "7000"}, type="listener", name="x") == (
        500,
        "CError: System: Listener error on :7000: Address already in use",
        {},
    )
    del node.core.fail["listener", "create"]
    assert node.good("CREATE", {"port": "7000"}, type="listener", name="x")["name"] == "x"
    assert node.ask("CREATE", {"saslPassword": "env:TRUNKLINE_TEST_UNSET", "port": "1"}, type="connector")[:2] == (
        500,
        "CError: Not found: Failed to find a password in the environment variable TRUNKLINE_TEST_UNSET",
    )


def test_agent_delete_that_c_refuses_keeps_it(node):
    node.core.fail["connector", "delete"] = node.core.Error("Run Time", "no")
    assert (
        node.bad("DELETE", name="broker") == (500, "CError: Run Time: no")
        and node.good("READ", name="broker")["name"] == "broker"
    )


def test_agent_dummy(node):
    assert node.good("CREATE", {"arg1": "x", "num1": "5"}, type="dummy") == {
        "arg1": "x",
        "num1": 5,
        "name": "dummy/0",
        "identity": "dummy/0",
        "type": P + "dummy",
    }
    assert node.good("UPDATE", {"arg1": "y"}, name="dummy/0")["arg1"] == "y" and node.good(
        "CALLME", name="dummy/0", foo="bar"
    ) == {"operation": "CALLME", "name": "dummy/0", "foo": "bar"}
    assert node.good("DELETE", identity="dummy/0") == {} and not node.core.calls


# CREATE, core
# -------------------------------------------------------------------------------------------------------------------

ADDRESS_FAILURES = [
    ("text", "Body of request must be a map"),
    ([], "Body of request must be a map"),
    ({}, "Either a 'prefix' or 'pattern' attribute must be provided"),
    ({"prefix": "a", "pattern": "b"}, "Cannot specify both a 'prefix' and a 'pattern' attribute"),
    (
        {"prefix": "x", "fallback": True, "waypoint": True},
        "Fallback cannot be specified with waypoint or non-zero ingress and egress phases",
    ),
    (
        {"prefix": "x", "enableFallback": "yes", "ingressPhase": 1, "egressPhase": 1},
        "Fallback cannot be specified with waypoint or non-zero ingress and egress phases",
    ),
    ({"prefix": "x", "ingressPhase": 1}, "Phase values must be between 0 and 9"),
    ({"prefix": "x", "ingressPhase": 10, "egressPhase": 0}, "Phase values must be between 0 and 9"),
    ({"prefix": "x", "ingressPhase": 0, "egressPhase": "-1"}, "Phase values must be between 0 and 9"),
    ({"prefix": "x", "priority": 10}, "Priority value, if present, must be between 0 and QDR_MAX_PRIORITY"),
    ({"prefix": "x", "priority": -2}, "Priority value, if present, must be between 0 and QDR_MAX_PRIORITY"),
    ({"prefix": "closest"}, "Already exists"),
    ({"pattern": "closest.#"}, "Already exists"),
    ({"pattern": "/closest//#/#."}, "Already exists"),
    ({"prefix": ""}, "Prefix must be a non-empty string type"),
    ({"pattern": 5}, "Pattern must be a non-empty string type"),
    ({"prefix": "./"}, "Prefix invalid - no tokens"),
    ({"pattern": "//"}, "Pattern invalid - no tokens"),
    ({"pattern": "a." * 256}, "Pattern invalid - more than 255 tokens"),
    ({"prefix": "x", "distribution": "zork"}, "Invalid value for 'distribution'"),
    ({"prefix": "x", "waypoint": "maybe"}, "waypoint: Invalid Boolean value ''maybe''"),
    ({"prefix": "x", "priority": "high"}, "priority: invalid literal for int() with base 10: 'high'"),
]


@pytest.mark.parametrize("body, text", ADDRESS_FAILURES)
def test_agent_create_address_fails_with_its_sentence_and_a_null_body(node, body, text):
    for name in ("router.config.address", P + "router.config.address"):
        assert node.ask("CREATE", body, type=name, name="n") == (400, text, None)
    assert not node.core.calls


def test_agent_create_address_name_conflict(node):
    assert node.ask("CREATE", {"prefix": "x"}, type="router.config.address", name="mc") == (
        400,
        "Name conflicts with an existing entity",
        None,
    )
    assert (
        node.good("CREATE", {"prefix": "x"}, type="router.config.address", name="broker")["name"] == "broker"
    ), "a name of another kind is free"
    assert node.good("READ", name="broker")["type"] == P + "connector"


@pytest.mark.parametrize(
    "body, told, shown",
    [
        ({"waypoint": "yes"}, (0, 1, False), (True, 0, 1, False)),
        ({"waypoint": "yes", "ingressPhase": 0, "egressPhase": "2"}, (0, 2, False), (False, 0, 2, False)),
        ({"ingressPhase": 2, "egressPhase": "3"}, (2, 3, False), (False, 2, 3, False)),
        ({"ingressPhase": 0, "egressPhase": 1}, (0, 1, False), (True, 0, 1, False)),
        ({"fallback": True}, (0, 0, True), (False, 0, 0, True)),
        ({"enableFallback": "true"}, (0, 0, True), (False, 0, 0, True)),
    ],
)
def test_agent_create_address_with_phases_or_fallback(node, body, told, shown):
    made = node.good("CREATE", dict(body, prefix="x"), type="router.config.address")
    assert tuple(made[k] for k in ("waypoint", "ingressPhase", "egressPhase", "fallback")) == shown
    assert tuple(node.core.calls[0][3][k] for k in ("ingressPhase", "egressPhase", "fallback")) == told


def test_agent_exchange_and_binding(node):
    """Made under their names, shown as C has them; bindings go with their exchange."""
    made = node.good("CREATE", {"address": "ex/in", "phase": "1", "matchMethod": "mqtt"}, type=EXCHANGE, name="ex")
    assert (made["matchMethod"], made["phase"], made["alternateAddress"]) == ("mqtt", 1, None)
    bound = node.good("CREATE", {"exchangeName": "ex", "nextHopAddress": "q"}, type=BINDING, name="b")
    assert bound["bindingKey"] == "#" and node.core.calls[-1][3]["bindingKey"] is None
    node.good("DELETE", type=EXCHANGE, name="ex")
    assert node.core.calls[-1][:2] == ("exchange", "delete")
    assert node.ask("READ", type=BINDING, name="b")[0] == 404
    assert node.ask("READ", type=BINDING)[1] == "No binding name or identity provided"


@pytest.mark.parametrize(
    "short, name, body, text",
    [
        (EXCHANGE, None, {"address": "a"}, "exchange requires a unique name"),
        (EXCHANGE, "e", {}, "exchange address is mandatory"),
        (EXCHANGE, "e", {"address": "a", "matchMethod": "x"}, "Exchange matchMethod must be either 'amqp' or 'mqtt'"),
        (EXCHANGE, "e", {"address": "a", "phase": 10}, "phase must be in the range 0-9"),
        (EXCHANGE, "e", {"address": "a", "alternatePhase": "x"}, "phase must be in the range 0-9"),
        (BINDING, "b", {"nextHopAddress": "q"}, "Binding configuration requires an exchange"),
        (BINDING, "b", {"exchangeName": "e"}, "No next hop specified"),
        (BINDING, "b", {"exchangeName": "e", "nextHopAddress": "q", "nextHopPhase": -1}, "phase must be in the range 0-9"),
    ],
)
def test_agent_exchange_or_binding_that_cannot_be(node, short, name, body, text):
    assert node.ask("CREATE", body, type=short, name=name) == (400, text, None)


def test_agent_says_what_the_router_has_against_a_binding(node):
    node.core.fail["binding", "create"] = node.core.Error("Value", "Named exchange does not exist")
    body = {"exchangeName": "e", "nextHopAddress": "q"}
    assert node.ask("CREATE", body, type=BINDING, name="b") == (400, "Named exchange does not exist", None)


def test_agent_create_and_delete_address(node):
    made = node.good(
        "CREATE",
        {"name": "other", "prefix": "x.y/", "distribution": "multicast", "priority": "4", "waypoint": "no", "zork": 1},
        type=P + "router.config.address",
        name="new",
    )
    assert made == {
        "name": "new",
        "identity": "4",
        "type": P + "router.config.address",
        "prefix": "x.y/",
        "distribution": "multicast",
        "waypoint": False,
        "ingressPhase": 0,
        "egressPhase": 0,
        "pattern": None,
        "priority": 4,
        "fallback": False,
    } and list(made) == list(schema.find("router.config.address").columns)
    assert node.core.calls == [
        (
            "address",
            "create",
            "",
            {
                "name": "new",
                "prefix": "x.y/",
                "pattern": None,
                "match": ["x", "y", "#"],
                "distribution": "multicast",
                "ingressPhase": 0,
                "egressPhase": 0,
                "priority": 4,
                "fallback": False,
            },
        )
    ]
    assert node.ask("DELETE", type="router.config.address", name="new")[::2] == (204, {}) and node.core.calls[1:] == [
        ("address", "delete", "4", {})
    ]
    assert node.good("CREATE", {"pattern": "x/y/#"}, type="router.config.address", name="new")["identity"] == "5"
    assert node.good("DELETE", name="new") == {} and node.core.calls[-1] == (
        "address",
        "delete",
        "5",
        {},
    ), "without a type the rule itself goes, not a copy of it"


AUTOLINK = P + "router.config.autoLink"


LINK_ROUTE, OWN_LINK_ROUTE = P + "router.config.linkRoute", P + "router.connection.linkRoute"


def test_agent_create_read_and_delete_linkroute(node):
    body = {"prefix": "a.b", "dir": "in", "containerId": "broker", "addExternalPrefix": "x.", "zork": 1}
    made = node.good("CREATE", body, type=LINK_ROUTE, name="mine")
    assert made == {
        "name": "mine",
        "identity": "4",
        "type": LINK_ROUTE,
        "prefix": "a.b",
        "pattern": None,
        "distribution": "linkBalanced",
        "connection": None,
        "containerId": "broker",
        "direction": "in",
        "dir": "in",
        "operStatus": "inactive",
        "addExternalPrefix": "x.",
        "delExternalPrefix": None,
    } and list(made) == list(schema.find(LINK_ROUTE).columns)
    for key in ({"name": "mine"}, {"identity": "4"}):
        assert node.good("READ", type=LINK_ROUTE, **key) == made
    # The same prefix again is another container for it.
    node.good("CREATE", dict(body, containerId="second"), type=LINK_ROUTE)
    assert node.ask("CREATE", body, type=LINK_ROUTE, name="mine")[:2] == (400, "Name conflicts with an existing entity")
    assert node.ask("DELETE", type=LINK_ROUTE, name="mine")[0] == 204
    assert node.ask("READ", type=LINK_ROUTE, name="mine")[0] == 404


@pytest.mark.parametrize(
    "body, text",
    [
        ({"direction": "in"}, "Either a 'prefix' or 'pattern' attribute must be provided"),
        ({"prefix": "a", "pattern": "b", "direction": "in"}, "Cannot specify both a 'prefix' and a 'pattern' attribute"),
        ({"prefix": "", "direction": "in"}, "Prefix must be a non-empty string type"),
        ({"pattern": "./.", "direction": "in"}, "Pattern invalid - no tokens"),
        ({"prefix": "a"}, "No 'direction' attribute provided - it is mandatory"),
        ({"prefix": "a", "direction": "up"}, "Invalid value for 'direction'"),
        ({"prefix": "a", "direction": "in", "distribution": "closest"}, "Invalid value for 'distribution'"),
        (
            {"prefix": "a", "direction": "in", "connection": "c", "containerId": "i"},
            "Both connection and containerId cannot be specified. Specify only one",
        ),
    ],
)
def test_agent_create_linkroute_that_is_wrong(node, body, text):
    assert node.ask("CREATE", body, type=LINK_ROUTE) == (400, text, None) and not node.core.calls


def test_agent_linkroute_of_a_connection_is_its_own(node):
    made = node.good("CREATE", {"pattern": "a/#", "direction": "out"}, type=OWN_LINK_ROUTE, name="E/proxyLinkRoute/Da")
    assert made == {
        "name": "E/proxyLinkRoute/Da",
        "identity": "4",
        "type": OWN_LINK_ROUTE,
        "pattern": "a/#",
        "direction": "out",
        "containerId": "client",
    }
    row = node.core.tables["router.connection.linkRoute"][0]
    node.core.tables["router.connection.linkRoute"].append(dict(row, identity="9", ofConnection="987654"))
    rows = node.good("QUERY", {"attributeNames": ["identity"]}, entityType=OWN_LINK_ROUTE)
    assert rows["results"] == [["4"]]
    assert node.good("READ", type=OWN_LINK_ROUTE, identity="4") == made
    assert node.ask("READ", type=OWN_LINK_ROUTE, identity="9")[0] == 404
    assert node.ask("DELETE", type=OWN_LINK_ROUTE, identity="9")[0] == 404
    assert node.ask("DELETE", type=OWN_LINK_ROUTE, identity="4")[0] == 204
    assert node.core.calls[-1] == ("connection.linkRoute", "delete", "4", {"ofConnection": row["ofConnection"]})


@pytest.mark.parametrize(
    "body, text",
    [
        ({"direction": "in"}, "Pattern field is required"),
        ({"pattern": "a"}, "Missing value for 'direction'"),
        ({"pattern": "a", "direction": "up"}, "Invalid value for 'direction'"),
        ({"pattern": "/", "direction": "in"}, "Pattern invalid - no tokens"),
    ],
)
def test_agent_create_linkroute_of_a_connection_that_is_wrong(node, body, text):
    assert node.ask("CREATE", body, type=OWN_LINK_ROUTE) == (400, text, None) and not node.core.calls


def test_agent_linkroute_of_a_connection_that_has_gone(node):
    node.core.fail["connection.linkRoute", "create"] = node.core.Error("Not found", "gone")
    status, text, body = node.ask("CREATE", {"pattern": "a", "direction": "in"}, type=OWN_LINK_ROUTE)
    assert (status, text, body) == (400, "Parent connection no longer exists", None)


def test_agent_create_read_and_delete_autolink(node):
    made = node.good(
        "CREATE",
        {"type": AUTOLINK, "name": "other", "addr": "q", "dir": "out", "connection": "broker", "phase": "2", "zork": 1},
        type=AUTOLINK,
        name="mine",
    )
    assert made == {
        "name": "mine",
        "identity": "4",
        "type": AUTOLINK,
        "address": "q",
        "addr": "q",
        "direction": "out",
        "dir": "out",
        "phase": 2,
        "connection": "broker",
        "containerId": None,
        "externalAddress": None,
        "externalAddr": None,
        "linkRef": None,
        "operStatus": "inactive",
        "lastError": None,
        "fallback": False,
    } and list(made) == list(schema.find(AUTOLINK).columns)
    for key in ({"name": "mine"}, {"identity": "4"}, {"name": "nonsense", "identity": "4"}):
        assert node.good("READ", type=AUTOLINK, **key) == made
    assert node.good("READ", name="mine") == made
    rows = node.good("QUERY", {"attributeNames": ["addr", "dir", "operStatus"]}, entityType=AUTOLINK)
    assert rows["results"] == [["q", "out", "inactive"]]
    assert node.ask("CREATE", {"address": "q", "direction": "in"}, type=AUTOLINK, name="mine")[:2] == (
        400,
        "Name conflicts with an existing entity",
    )
    assert node.good("CREATE", {"prefix": "x"}, type=P + "router.config.address", name="mine")["identity"] == "5"
    assert node.ask("DELETE", type=AUTOLINK, identity="5")[0] == 404
    assert node.ask("DELETE", type=AUTOLINK, name="mine")[0] == 204
    assert node.core.calls[-1] == ("autoLink", "delete", "4", {})
    assert node.ask("READ", type=AUTOLINK, name="mine")[0] == 404


@pytest.mark.parametrize(
    "body, told",
    [
        ({"address": "q", "direction": "in"}, ("q", True, 1, None, False)),
        ({"address": "q", "direction": "out"}, ("q", False, 0, None, False)),
        ({"address": "q", "direction": "in", "fallback": "yes"}, ("q", True, 0, None, True)),
        ({"address": "q", "direction": "in", "phase": 0}, ("q", True, 0, None, False)),
        ({"addr": "old", "address": "q", "dir": "in", "externalAddr": "e"}, ("q", True, 1, "e", False)),
    ],
)
def test_agent_create_autolink_fills_in(node, body, told):
    node.good("CREATE", body, type=AUTOLINK)
    attrs = node.core.calls[0][3]
    assert tuple(attrs[k] for k in ("address", "in", "phase", "externalAddress", "fallback")) == told


@pytest.mark.parametrize(
    "body, text",
    [
        ({"direction": "in"}, "address and direction fields are mandatory"),
        ({"address": "q"}, "address and direction fields are mandatory"),
        ({"address": "", "direction": "in"}, "address and direction fields are mandatory"),
        ({"address": "q", "direction": "inout"}, "Invalid value for 'direction'"),
        ({"address": "q", "direction": "in", "phase": 10}, "autoLink phase must be between 0 and 9"),
        ({"address": "q", "direction": "in", "phase": -1}, "autoLink phase must be between 0 and 9"),
        ({"address": "q", "direction": "in", "phase": "x"}, "autoLink phase must be between 0 and 9"),
        (
            {"address": "q", "direction": "in", "connection": "c", "containerId": "i"},
            "Both connection and containerId cannot be specified. Specify only one",
        ),
    ],
)
def test_agent_create_autolink_that_is_wrong(node, body, text):
    assert node.ask("CREATE", body, type=AUTOLINK) == (400, text, None) and not node.core.calls


@pytest.mark.parametrize(
    "pattern, match",
    [
        ("a.*.b", ["a", "*", "b"]),
        ("#/*", ["*", "#"]),
        ("#.#", ["#"]),
        ("a/#/*/#/b", ["a", "*", "#", "b"]),
        ("*", ["*"]),
        ("/a*/", ["a*"]),
        ("a//b", ["a", "b"]),
    ],
)
def test_agent_patterns_have_one_spelling(node, pattern, match):
    node.good("CREATE", {"pattern": pattern}, type="router.config.address")
    assert node.core.calls[0][3]["match"] == match


# UPDATE
# ---------------------------------------------------------------------------------------------------------------------------


def test_agent_update_log(node):
    assert node.good("UPDATE", {"enable": "info+"}, type=P + "log", name="log/ROUTER") == {
        "module": "ROUTER",
        "enable": "info+",
        "name": "log/ROUTER",
        "identity": "log/ROUTER",
        "type": P + "log",
    }
    assert node.core.calls == [
        (
            "log",
            "update",
            "log/ROUTER",
            {"module": "ROUTER", "mask": 124, "timestamp": None, "source": None, "output": None},
        )
    ]
    found = node.good(
        "UPDATE",
        {"includeTimestamp": "no", "output": "stdout", "module": "ROUTER", "name": "log/ROUTER", "type": "log"},
        identity="log/ROUTER",
    )
    assert (found["enable"], found["includeTimestamp"], found["outputFile"]) == ("info+", False, "stdout")
    assert node.core.calls[-1][3] == {
        "module": "ROUTER",
        "mask": 124,
        "timestamp": False,
        "source": None,
        "output": "stdout",
    }
    assert (
        "enable" not in node.good("UPDATE", {"enable": None}, name="log/ROUTER")
        and node.core.calls[-1][3]["mask"] is None
    )
    node.good("UPDATE", {"enable": "trace"}, name="log/DEFAULT")
    assert node.core.calls[-1][3] == {
        "module": "DEFAULT",
        "mask": 1,
        "timestamp": True,
        "source": False,
        "output": "stderr",
    }


UPDATE_FAILURES = [
    ({"zork": 1}, 400, "Unknown attribute 'zork' for '%slog'" % P),
    ({"module": "HTTP"}, 400, "Cannot update attribute 'module' in UPDATE"),
    ({"name": "x"}, 400, "Cannot update attribute 'name' in UPDATE"),
    (
        {"output": "a", "outputFile": "b"},
        400,
        P + "log: Both 'output' and 'outputFile' cannot be specified for entity 'log'",
    ),
    ({"includeSource": "maybe"}, 400, P + "log: Invalid Boolean value ''maybe''"),
    (
        {"enable": "loud"},
        500,
        "CError: Configuration: 'loud' is not a valid log level. Should be one of {none, trace, debug, info, notice, warning, error, critical}.",
    ),
    ("text", 400, "Body of request must be a map"),
]


@pytest.mark.parametrize("body, status, text", UPDATE_FAILURES)
def test_agent_update_log_that_fails_changes_nothing(node, body, status, text):
    before = node.good("READ", name="log/SERVER")
    assert node.ask("UPDATE", body, name="log/SERVER") == (status, text, {})
    assert node.good("READ", name="log/SERVER") == before and not node.core.calls


def test_agent_update_log_that_c_refuses_changes_nothing(node):
    node.core.fail["log", "update"] = node.core.Error("Configuration", "Failed to open log file '/nosuch/x'")
    assert node.ask("UPDATE", {"outputFile": "/nosuch/x"}, name="log/SERVER") == (
        500,
        "CError: Configuration: Failed to open log file '/nosuch/x'",
        {},
    )
    assert "outputFile" not in node.good("READ", name="log/SERVER")


def test_agent_update_connection(node):
    found = node.good("UPDATE", {"adminStatus": "deleted"}, type=P + "connection", identity="2")
    assert (found["adminStatus"], found["operStatus"], found["identity"]) == ("deleted", "closing", "2") and type(
        node.body["sslSsf"]
    ) is amqp.Long
    assert node.good("UPDATE", {"adminStatus": "enabled"}, type="connection", identity="2")["adminStatus"] == "enabled"
    assert (
        node.good("UPDATE", {"enableProtocolTrace": True}, type="connection", identity=amqp.Long(2))[
            "enableProtocolTrace"
        ]
        is True
    )
    assert (
        node.good("UPDATE", {"enableProtocolTrace": "no"}, type="connection", identity="2")["enableProtocolTrace"]
        is False
    )
    assert [c[2:] for c in node.core.calls] == [
        ("2", {"adminStatus": "deleted"}),
        ("2", {"enableProtocolTrace": True}),
        ("2", {"enableProtocolTrace": False}),
    ]


@pytest.mark.parametrize(
    "identity, body, status, text",
    [
        ("3", {"adminStatus": "deleted"}, 403, "You are not allowed to perform this operation."),
        ("2", {"adminStatus": "zork"}, 400, "Invalid value for 'adminStatus'; allowed: enabled, deleted"),
        ("2", {}, 400, "Only adminStatus and enableProtocolTrace of a connection can be updated"),
        ("2", {"host": "x"}, 400, "Only adminStatus and enableProtocolTrace of a connection can be updated"),
        ("2", "text", 400, "The body is no map of attributes"),
        ("999", {"adminStatus": "deleted"}, 400, "No connection with identity=999"),
        (None, {"adminStatus": "deleted"}, 400, "No identity provided"),
        ("2", {"enableProtocolTrace": "maybe"}, 400, None),
    ],
)
def test_agent_update_connection_fails(node, identity, body, status, text):
    found = node.ask("UPDATE", body, type="connection", identity=identity)
    assert found[0] == status and (text is None or found[1] == text) and found[2] == {} and not node.core.calls


def test_agent_update_link_is_accepted_without_effect(node):
    assert (
        node.good("UPDATE", {"adminStatus": "disabled"}, type="router.link", identity="7")["adminStatus"] == "enabled"
        and not node.core.calls
    )
    assert (
        node.bad("UPDATE", {"adminStatus": "x"}, type="router.link", identity="7")[0]
        == node.bad("UPDATE", {"capacity": 1}, type="router.link", identity="7")[0]
        == 400
    )


# Recorded requests of qdmanage and qdstat
# -----------------------------------------------------------------------------------------


def recorded(node, name):
    """Our answer to a recorded request, and Qpid Dispatch's."""
    octets = VECTORS[name + " request"]
    to, ours = node.raw(octets)
    theirs = amqp.decode_message(VECTORS[name + " answer"])
    assert (
        to == theirs.properties["to"]
        and ours.properties == theirs.properties
        and ours.correlation_id == theirs.correlation_id
    )
    return ours, theirs


def test_agent_recorded_operations_are_answered_as_recorded(start):
    """The run of 13 requests against a router with two addresses; ours must say the same, but for what a lone
    standalone router cannot."""
    core = start(
        "router {\n id: A\n}\naddress {\n prefix: closest\n distribution: closest\n}\naddress {\n prefix: multicast\n distribution: multicast\n}\n"
    )
    core.next_identity = 9
    node = Node(core)
    for name in ("get-operations", "create", "read", "query", "update-log", "delete", "read-nosuch", "create-wrong"):
        ours, theirs = recorded(node, name)
        assert ours.application_properties == theirs.application_properties, name
        assert type(ours.body) is type(theirs.body) and ours.body == theirs.body, name
        if isinstance(ours.body, dict):
            assert {k: type(v) for k, v in ours.body.items()} == {k: type(v) for k, v in theirs.body.items()}, name
        if name == "query":
            assert [[type(v) for v in row] for row in ours.body["results"]] == [
                [type(v) for v in row] for row in theirs.body["results"]
            ]
    # Qpid Dispatch turned the ulong of that correlation-id into an int; we echo it.
    _, ours = node.raw(VECTORS["no-operation request"])
    theirs = amqp.decode_message(VECTORS["no-operation answer"])
    assert ours.correlation_id == amqp.encode(amqp.ULong(1))
    assert ours.application_properties["statusCode"] == theirs.application_properties["statusCode"] == 400
    assert ours.application_properties["statusDescription"].startswith(
        "No 'operation' property: Message(address=None, properties={'type': 'listener'}, body={}, reply_to="
    )
    assert node.raw(VECTORS["no-reply-to request"]) is None
    _, ours = node.raw(VECTORS["no-properties request"])
    assert ours.application_properties["statusCode"] == 400
    ours, _ = recorded(node, "get-mgmt-nodes")
    assert ours.body == []


@pytest.mark.parametrize("name", ["router", "connection", "link", "address", "node"])
def test_agent_recorded_queries_of_qdstat_have_the_recorded_columns(node, name):
    theirs = amqp.decode_message(VECTORS["qdstat-%s answer" % name])
    if name == "node":
        node.core.tables["router.node"] = [
            dict(zip(theirs.body["attributeNames"], row)) for row in theirs.body["results"]
        ]
    _, ours = node.raw(VECTORS["qdstat-%s request" % name])
    assert (
        ours.application_properties == theirs.application_properties
        and ours.body["attributeNames"] == theirs.body["attributeNames"]
        and ours.body["results"]
    )
    for column, kind, value in zip(theirs.body["attributeNames"], theirs.body["results"][0], ours.body["results"][0]):
        assert type(value) is type(kind) or value is None or kind is None, column
    if name == "node":
        assert ours.body["results"] == theirs.body["results"]


# Hostile requests
# ------------------------------------------------------------------------------------------------------------------


def test_agent_mutated_requests_are_answered_or_dropped(node):
    random_ = random.Random(6)
    seeds = [octets for name, octets in VECTORS.items() if name.endswith("request")]
    answered = 0
    for i in range(6000):
        data = bytearray(seeds[i % len(seeds)])
        for _ in range(random_.randrange(1, 4)):
            at = random_.randrange(len(data))
            if random_.random() < 0.7:
                data[at] = random_.randrange(256)
            else:
                data[at : at + random_.randrange(3)] = random_.randbytes(random_.randrange(3))
        node.core.sent.clear()
        node.core.lines.clear()
        agent.on_request(bytes(data), 5, "$management")
        while agent.is_busy():
            agent.go_on()
        answered += len(node.core.sent)
        assert not [line for line in node.core.lines if "request failed" in line[2]], (bytes(data), node.core.lines)
    assert answered > 500


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        5,
        1 << 63,
        -1,
        1.5,
        float("nan"),
        b"\xff",
        "\0",
        "x" * 70000,
        [],
        {},
        [[[[]]]],
        {"a": {"b": [1]}},
        amqp.Symbol("s"),
        amqp.Described("d", {}),
        amqp.Array(0x70, [1]),
        amqp.UUID(bytes(16)),
        amqp.Timestamp(5),
        amqp.Char("c"),
        amqp.Decimal(bytes(4)),
    ],
)
def test_agent_attribute_values_of_every_type_are_answered(node, value):
    for t in schema.types():
        for attribute in list(t.attributes)[:40]:
            for operation in ("CREATE", "UPDATE"):
                node.core.calls.clear()
                status, _, _ = node.ask(
                    operation, {attribute: value}, type=t.full, name="x" if operation == "CREATE" else "log/SERVER"
                )
                assert status in (200, 201, 400, 403, 404, 500, 501)
                assert not [line for line in node.core.lines if "request failed" in line[2]], (
                    t.short,
                    attribute,
                    node.core.lines,
                )
                if status == 201:
                    assert node.ask("DELETE", type=t.full, name="x")[0] == 204
    for key in ("type", "name", "identity", "entityType", "offset", "count", "limit", "indent"):
        for operation in ("QUERY", "READ", "GET-LOG", "GET-JSON-SCHEMA", "GET-TYPES", "CREATE", "DELETE"):
            node.ask(operation, value, **{key: value})
            assert not [line for line in node.core.lines if "request failed" in line[2]], (
                key,
                operation,
                node.core.lines,
            )


def test_agent_query_of_many_links_asks_c_for_the_page_only(node, monkeypatch):
    asked = []
    page = node.core.query_page
    monkeypatch.setattr(core, "query_page", lambda *arguments: asked.append(arguments) or page(*arguments))
    node.query("router.link", ["identity", "type", "linkName"], offset=500, count=250)
    assert [(kind, columns, offset, count) for kind, columns, _, offset, count, _ in asked] == [
        ("router.link", ("identity", "linkName"), 500, 200),
        ("router.link", ("identity", "linkName"), 0, 50),
    ]
    assert asked[0][2] == 0 < asked[1][2]
