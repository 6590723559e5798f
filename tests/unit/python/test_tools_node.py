"""Paging and names of the management client."""

import pytest

from proton import int32, symbol, ulong
from trunkline.tools.node import PAGE, Node, full_type, node_address, plain


class Entities(Node):
    """A node with this many entities, named by number, that grows and shrinks between requests as the test says."""

    def __init__(self, numbers, paging=True):
        self.numbers, self.paging, self.asked = numbers, paging, []

    def call(self, properties, body=None, expect=200):
        offset, count = properties["offset"], properties["count"]
        self.asked.append((offset, count))
        numbers = self.numbers(len(self.asked)) if callable(self.numbers) else self.numbers
        rows = [[n] for n in range(numbers)]
        return {"attributeNames": ["n"], "results": rows[offset:offset + count] if self.paging else rows}


def numbers(node, limit=0):
    return [row["n"] for row in node.query("t", ["n"], limit).rows]


@pytest.mark.parametrize("number", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE, 5 * PAGE + 7])
@pytest.mark.parametrize("paging", [True, False])
@pytest.mark.parametrize("limit", [0, 1, PAGE - 1, PAGE, PAGE + 1, 3 * PAGE])
def test_node_query_gives_each_entity_once(number, paging, limit):
    node = Entities(number, paging)
    assert numbers(node, limit) == list(range(min(number, limit) if limit else number))
    assert len(node.asked) <= number // PAGE + 3
    assert all(0 < count <= PAGE for _, count in node.asked)


@pytest.mark.parametrize("change", [-1, 0, 1])
def test_node_query_of_a_router_that_ignores_paging_while_entities_come_and_go(change):
    node = Entities(lambda request: PAGE + (change if request > 1 else 0), paging=False)
    assert numbers(node) == list(range(PAGE + change))


def test_node_query_asks_for_no_row_more_than_the_limit():
    node = Entities(10 * PAGE)
    assert len(numbers(node, PAGE + 20)) == PAGE + 20
    assert [asked for asked in node.asked if asked[1] > 1] == [(0, PAGE), (PAGE, 20)]


@pytest.mark.parametrize("given, full", [
    (None, None), ("", ""), ("a.b", "a.b"), ("listener", "org.apache.qpid.dispatch.listener"),
    ("node", "org.apache.qpid.dispatch.router.node"), ("autoLink", "org.apache.qpid.dispatch.router.config.autoLink"),
])
def test_node_type_names(given, full):
    assert full_type(given) == full


@pytest.mark.parametrize("arguments, address", [
    ({}, "$management"), ({"path": "x"}, "x"), ({"router": "A"}, "_topo/0/A/$management"),
    ({"router": "A", "path": "x"}, "_topo/0/A/$management"), ({"edge": "E"}, "_edge/E/$management"),
])
def test_node_addresses(arguments, address):
    assert node_address(**arguments) == address


def test_node_values_lose_the_types_of_the_wire():
    given = {symbol("a"): [ulong(2**40), int32(-1), True, None, 1.5, symbol("b")], "m": {"k": ulong(0)}}
    text = str(plain(given))
    assert text == "{'a': [1099511627776, -1, True, None, 1.5, 'b'], 'm': {'k': 0}}"
