"""qdmanage asks and changes what a router manages; its answers are JSON that scripts read.

The router is a fake one (support/fake_router.py). Where it repeats recorded exchanges, a request that differs from what the
tool of Qpid Dispatch 1.19 sent is answered with an error.
"""

import json
import re
import uuid

import pytest

from proton import Array, Data, symbol, timestamp, UNDESCRIBED

from support.fake_router import PREFIX, Exchanges, FakeRouter, Tables
from support.tool import failure, output, run, usage_error

pytestmark = pytest.mark.python_only


def manage(book, *arguments, **options):
    """The output of a successful qdmanage at a router with this book."""
    with FakeRouter(book) as router:
        text = output("qdmanage", "-b", router.address, *arguments, **options)
        router.wait_closed()
        return text


class Recorder:
    """A book that keeps the requests and gives each the same answer."""

    def __init__(self, status=200, body=None):
        self.status, self.body, self.requests = status, body, []

    def __call__(self, address, properties, body):
        self.requests.append((properties, body))
        return self.status, "OK", {} if self.body is None else self.body


def request(*arguments, status=200, **options):
    """Properties and body of the one request that these arguments make."""
    book = Recorder(status)
    manage(book, *arguments, **options)
    (made,) = book.requests
    return made


# Exchanges as the old tools had them with the old router

MADE = """\
{
  "name": "a1",
  "identity": "9",
  "type": "org.apache.qpid.dispatch.router.config.address",
  "prefix": "made",
  "distribution": "multicast",
  "waypoint": false,
  "ingressPhase": 0,
  "egressPhase": 0,
  "pattern": null,
  "priority": -1,
  "fallback": false
}
"""


@pytest.mark.parametrize("arguments, printed", [
    ("get-mgmt-nodes", '[\n  "amqp:/_topo/0/A/$management"\n]\n'),
    ("get-operations --type=listener",
     '{\n  "org.apache.qpid.dispatch.listener": [\n    "CREATE",\n    "DELETE",\n    "READ"\n  ]\n}\n'),
    ("create --type=address name=a1 prefix=made distribution=multicast", MADE),
    ("prefix=made".join(["--type address create name=a1 ", " distribution=multicast"]), MADE),
    ("read --type=address --name=a1", MADE),
    ("READ --type=address --name=a1", MADE),
    ("update --type=log --name=log/ROUTER enable=info+", """\
{
  "type": "org.apache.qpid.dispatch.log",
  "module": "ROUTER",
  "identity": "log/ROUTER",
  "name": "log/ROUTER",
  "enable": "info+"
}
"""),
    ("delete --type=org.apache.qpid.dispatch.router.config.address --name=a1", ""),
])
def test_recorded_exchange(arguments, printed):
    assert manage(Exchanges(), *arguments.split()) == printed


def test_recorded_query_leaves_nulls_out():
    entities = json.loads(manage(Exchanges(), "query", "--type=org.apache.qpid.dispatch.router.config.address"))
    assert list(entities[0].items()) == [
        ("name", "address/0"), ("identity", "1"), ("type", "org.apache.qpid.dispatch.router.config.address"),
        ("prefix", "closest"), ("distribution", "closest"), ("waypoint", False), ("ingressPhase", 0), ("egressPhase", 0),
        ("priority", -1), ("fallback", False)]
    assert [entity["name"] for entity in entities] == ["address/0", "address/1", "a1"]


@pytest.mark.parametrize("arguments, line", [
    ("read --type=listener --name=nosuch", "NotFoundStatus: No entity with name=nosuch"),
    ("create --type=org.apache.qpid.dispatch.router.config.address name=a2",
     "BadRequestStatus: Either a 'prefix' or 'pattern' attribute must be provided"),
])
def test_recorded_failure(arguments, line):
    with FakeRouter(Exchanges()) as router:
        assert failure("qdmanage", "-b", router.address, *arguments.split()) == line + "\n"


# Query

def connectors():
    book = Tables.of("A")
    book.tables[PREFIX + "connector"] = {
        "attributeNames": ["name", "host", "failoverUrls", "connectionStatus", "connectionMsg", "sslProfile"],
        "results": [[
            "brk", "127.0.0.1", "amqp://127.0.0.1:21700, amqp://127.0.0.1:21701, amqps://127.0.0.1:21702", "SUCCESS",
            "[C1] Connection Opened: dir=out host=127.0.0.1:21700 vhost= encrypted=no auth=ANONYMOUS user=(null) "
            "container_id=fakebroker", None]]}
    return book


def test_query_of_attributes():
    assert manage(connectors(), "query", "--type=connector", "name", "failoverUrls", "connectionStatus", "connectionMsg") == """\
[
  {
    "name": "brk",
    "failoverUrls": "amqp://127.0.0.1:21700, amqp://127.0.0.1:21701, amqps://127.0.0.1:21702",
    "connectionStatus": "SUCCESS",
    "connectionMsg": "[C1] Connection Opened: dir=out host=127.0.0.1:21700 vhost= encrypted=no auth=ANONYMOUS user=(null) container_id=fakebroker"
  }
]
"""


def test_query_of_all_types():
    class Everything(Recorder):
        def __call__(self, address, properties, body):
            super().__call__(address, properties, body)
            return 200, "OK", {"attributeNames": ["b", "a"], "results": [[1, None], [None, 2]]}

    book = Everything()
    assert json.loads(manage(book, "query")) == [{"b": 1}, {"a": 2}]
    assert book.requests == [({"name": "self", "type": "org.amqp.management", "operation": "QUERY", "offset": 0, "count": 500},
                              {"attributeNames": []})]


def test_query_fetches_pages_also_from_a_router_that_ignores_them():
    for paging in (True, False):
        book = Tables.of("A", paging=paging)
        book.tables[PREFIX + "router.link"] = {"attributeNames": ["identity"], "results": [[str(n)] for n in range(1000)]}
        entities = json.loads(manage(book, "query", "--type=link"))
        assert [entity["identity"] for entity in entities] == [str(n) for n in range(1000)]


def test_query_of_a_type_that_the_router_does_not_know():
    with FakeRouter(Tables.of("A")) as router:
        assert failure("qdmanage", "-b", router.address, "query", "--type", "nosuch") == (
            "BadRequestStatus: No such entity type 'org.apache.qpid.dispatch.nosuch'\n")


@pytest.mark.parametrize("given, sent", [
    ("link", PREFIX + "router.link"), ("node", PREFIX + "router.node"), ("address", PREFIX + "router.config.address"),
    ("linkRoute", PREFIX + "router.config.linkRoute"), ("autoLink", PREFIX + "router.config.autoLink"),
    ("listener", PREFIX + "listener"), ("exchange", PREFIX + "exchange"),
    ("router.config.exchange", "router.config.exchange"), (PREFIX + "log", PREFIX + "log"),
])
def test_type_names_are_expanded(given, sent):
    assert request("read", "--type", given, "--name=x")[0]["type"] == sent


# Which entity

@pytest.mark.parametrize("arguments, sent", [
    (["--name=n"], {"name": "n"}),
    (["--identity=5"], {"identity": "5"}),
    (["--name=n", "--identity=5"], {"identity": "5"}),
    ([], {}),
])
def test_identity_wins_over_name(arguments, sent):
    assert request("read", *arguments) == ({"operation": "READ", **sent}, {})
    assert request("delete", *arguments, status=204) == ({"operation": "DELETE", **sent}, {})
    assert request("update", "a=b", *arguments) == ({"operation": "UPDATE", **sent}, {"a": "b"})


# Attributes

@pytest.mark.parametrize("word, sent", [
    ("host=h", {"host": "h"}), ("host=a=b", {"host": "a=b"}), ("host=", {"host": ""}), ("host", {"host": None}),
    ("http=true", {"http": True}), ("http=false", {"http": False}), ("http=yes", {"http": "yes"}),
    ("cost=7", {"cost": 7}), ("cost=-7", {"cost": -7}), ("port=7", {"port": "7"}),
    ("idleTimeoutSeconds=7", {"idleTimeoutSeconds": 7}),
    ("failoverList=x", {"failoverList": "x"}), ("httpRoot=x", {"httpRoot": "x"}),  # names of older releases
    ("type=listener", {"type": PREFIX + "listener"}),
])
def test_attributes_become_what_the_schema_says(word, sent):
    assert request("create", "--type=listener", word, status=201)[1] == sent


def test_attributes_without_a_type_are_text():
    assert request("create", "cost=7", "zork=x", "y=true", status=201) == (
        {"operation": "CREATE"}, {"cost": "7", "zork": "x", "y": True})


@pytest.mark.parametrize("arguments, line", [
    (["--type=listener", "zork=1"], "ValidationError: Unknown attribute 'zork' for 'org.apache.qpid.dispatch.listener'"),
    (["--type=listener", "cost=abc"], "ValueError: invalid literal for int() with base 10: 'abc'"),
    (["--type=exchange", "name=x"], "ValidationError: No such entity type 'org.apache.qpid.dispatch.exchange'"),
])
def test_attributes_are_checked_before_anything_is_sent(arguments, line):
    for operation in ("create", "update", "callme"):
        assert failure("qdmanage", "-b", "127.0.0.1:1", operation, *arguments) == line + "\n"


def test_create_and_update_want_attributes():
    for operation in ("create", "update"):
        assert failure("qdmanage", "-b", "127.0.0.1:1", operation, "--type=listener").startswith("AttributeError: ")


def test_create_takes_name_and_type_from_options_or_attributes():
    assert request("create", "--type=address", "--name=ma", "prefix=foo", "priority=3", status=201) == (
        {"operation": "CREATE", "type": PREFIX + "router.config.address", "name": "ma"}, {"prefix": "foo", "priority": 3})
    assert request("create", "type=address", "name=ma", status=201) == (
        {"operation": "CREATE", "type": PREFIX + "router.config.address", "name": "ma"},
        {"type": PREFIX + "router.config.address", "name": "ma"})


def test_update_turns_words_into_booleans():
    words = {"a": "yes", "b": "true", "c": "on", "d": "no", "e": "false", "f": "off", "g": "Yes", "h": "1"}
    assert request("update", "--identity=1", *("%s=%s" % word for word in words.items()))[1] == {
        "a": True, "b": True, "c": True, "d": False, "e": False, "f": False, "g": "Yes", "h": "1"}


# Standard input

def test_stdin_with_a_map():
    book = Recorder(201, {"name": "x", "n": None})
    text = manage(book, "create", "--stdin", stdin='{"type": "listener", "name": "x", "cost": 3, "openProperties": {"a": [1]}}')
    assert json.loads(text) == {"name": "x", "n": None}
    assert book.requests == [({"operation": "CREATE", "type": PREFIX + "listener", "name": "x"},
                              {"type": PREFIX + "listener", "name": "x", "cost": 3, "openProperties": {"a": [1]}})]


def test_stdin_with_a_list_of_updates():
    book = Recorder(200, {"ok": 1})
    text = manage(book, "update", "--stdin", "--type=log", stdin='[{"name": "a", "x": "on"}, {"identity": "b", "name": "c"}]')
    assert json.loads(text) == [{"ok": 1}, {"ok": 1}]
    assert book.requests == [
        ({"operation": "UPDATE", "type": PREFIX + "log", "name": "a"}, {"name": "a", "x": True}),
        ({"operation": "UPDATE", "type": PREFIX + "log", "identity": "b"}, {"identity": "b", "name": "c"})]


def test_stdin_stops_at_the_first_failure_and_keeps_what_was_made():
    book = Tables.of("A")
    book.tables[PREFIX + "dummy"] = {"attributeNames": ["name", "type"], "results": []}
    with FakeRouter(book) as router:
        line = failure("qdmanage", "-b", router.address, "create", "--type=dummy", "--stdin",
                       stdin='[{"name": "a"}, {"name": "a"}, {"name": "b"}]')
        assert line == "BadRequestStatus: Name conflicts with an existing entity\n"
        assert json.loads(output("qdmanage", "-b", router.address, "query", "--type=dummy", "name")) == [{"name": "a"}]


@pytest.mark.parametrize("stdin, error", [
    ("7", "ValueError: "), ("[1]", "ValueError: "), ("", "JSONDecodeError: "), ("{", "JSONDecodeError: ")])
def test_stdin_that_is_neither_map_nor_list_of_maps(stdin, error):
    assert failure("qdmanage", "-b", "127.0.0.1:1", "create", "--stdin", stdin=stdin).startswith(error)


# Other operations

@pytest.mark.parametrize("operation", ["get-types", "get-attributes", "get-operations", "get-annotations", "Get-Types"])
def test_get_operations_take_a_type(operation):
    of_node = {"name": "self", "type": "org.amqp.management", "operation": operation.upper()}
    assert request(operation) == (of_node, {})
    assert request(operation, "listener") == ({**of_node, "entityType": "listener"}, {})
    assert request(operation, "--type=listener") == ({**of_node, "entityType": PREFIX + "listener"}, {})


@pytest.mark.parametrize("arguments, properties, body", [
    (["get-schema"], {"operation": "GET-SCHEMA"}, {}),
    (["get-log", "limit=3"], {"operation": "GET-LOG", "limit": 3}, {}),
    (["get-json-schema", "indent=4"], {"operation": "GET-JSON-SCHEMA", "indent": 4}, {}),
    (["callme", "--type=dummy", "--name=d", "--identity=i", "num1=5", "arg1=x"],
     {"operation": "CALLME", "type": PREFIX + "dummy", "name": "d", "identity": "i", "num1": 5, "arg1": "x"}, {}),
    (["callme", "a=1", "--properties", '{"a": 2, "b": true}', "--body", '{"x": [1, null]}'],
     {"operation": "CALLME", "a": 2, "b": True}, {"x": [1, None]}),
    (["callme", "--body", "plain text"], {"operation": "CALLME"}, "plain text"),
])
def test_custom_operations(arguments, properties, body):
    assert request(*arguments) == (properties, body)


@pytest.mark.parametrize("answer, printed", [
    ("text\nmore", "text\nmore\n"), ("", ""), ([], ""), ({}, ""), ([1, "\u00e9\u2028"], '[\n  1,\n  "\\u00e9\\u2028"\n]\n')])
def test_result_of_custom_operations(answer, printed):
    assert manage(Recorder(200, answer), "callme") == printed


def test_result_with_types_that_json_has_not():
    number = uuid.UUID(int=5)
    body = {symbol("s"): symbol("v"), 7: timestamp(9), "u": number, "b": b"x\xff", "a": Array(UNDESCRIBED, Data.INT, 1, 2)}
    assert json.loads(manage(Recorder(200, body), "callme")) == {
        "s": "v", "7": 9, "u": str(number), "b": "x\\xff", "a": [1, 2]}


@pytest.mark.parametrize("arguments, start", [
    (["callme", "--properties", "[1]"], "ValueError: "), (["callme", "--properties", "{"], "JSONDecodeError: "),
    (["callme", "--body", "{"], "JSONDecodeError: "), (["get-log", "limit=x"], "ValueError: invalid literal for int()")])
def test_custom_operations_with_bad_json(arguments, start):
    assert failure("qdmanage", "-b", "127.0.0.1:1", *arguments).startswith(start)


# Output and statuses

@pytest.mark.parametrize("indent, printed", [
    ("-1", '{"a": [1, null]}\n'), ("0", '{\n"a": [\n1,\nnull\n]\n}\n'), ("4", '{\n    "a": [\n        1,\n        null\n    ]\n}\n')])
def test_indent(indent, printed):
    for option in (["--indent", indent], ["--indent=" + indent], ["--ind=" + indent]):
        assert manage(Recorder(200, {"a": [1, None]}), "read", "--name=x", *option) == printed


def test_success_other_than_expected():
    with FakeRouter(Recorder(200)) as router:
        assert failure("qdmanage", "-b", router.address, "create", "a=b") == (
            "ValueError: Response was 200(OK) but expected 201(Created): OK\n")
        assert failure("qdmanage", "-b", router.address, "delete", "--name=x") == (
            "ValueError: Response was 200(OK) but expected 204(No Content): OK\n")


def test_another_router():
    with FakeRouter(Recorder(200, {"a": 1})) as router:
        for option, address in ((["-r", "B"], "_topo/0/B/$management"), (["--edge-router=E"], "_edge/E/$management")):
            output("qdmanage", "-b", router.address, *option, "read", "--name=x")
            assert router.requests[-1].address == address


def test_unknown_router_times_out():
    class Nowhere(Recorder):
        def reaches(self, address):
            return False

    with FakeRouter(Nowhere()) as router:
        line = failure("qdmanage", "-b", router.address, "-t", "2", "-r", "nosuch", "query")
        assert re.fullmatch(r"Timeout: Connection amqp://%s timed out: Sending on sender \S+-_topo/0/nosuch/\$management\n"
                            % router.address, line)


# Usage

@pytest.mark.parametrize("arguments, error", [
    ([], "No operation specified"),
    (["--type=listener"], "No operation specified"),
    (["read", "foo"], "Unexpected arguments: foo"),
    (["delete", "foo", "--bar"], "Unexpected arguments: foo --bar"),
    (["get-mgmt-nodes", "foo"], "Unexpected arguments: foo"),
    (["get-types", "listener", "foo"], "Unexpected arguments: foo"),
    (["create", "--stdin", "a=b"], "Unexpected arguments: a=b"),
    (["query", "--indent", "x"], "argument --indent: invalid int value: 'x'"),
    (["query", "--s"], "ambiguous option: --s could match --stdin, --ssl-certificate, --ssl-key, --ssl-trustfile, "
                       "--ssl-password, --ssl-password-file, --ssl-disable-peer-name-verify, --sasl-mechanisms, "
                       "--sasl-username, --sasl-password, --sasl-password-file"),
])
def test_wrong_usage(arguments, error):
    assert usage_error("qdmanage", "-b", "127.0.0.1:1", *arguments) == "qdmanage: error: " + error


def test_an_unknown_option_is_an_argument():
    assert request("callme", "--zork=x")[0] == {"operation": "CALLME", "--zork": "x"}


def test_help_and_version():
    assert output("qdmanage", "-h").startswith("usage: qdmanage [options] OPERATION [ARGUMENT...]\n")
    assert re.fullmatch(r"\d+\.\d+\.\d+\n", output("qdmanage", "--version"))
    assert run("qdmanage", "--version").stdout == run("qdstat", "--version").stdout
