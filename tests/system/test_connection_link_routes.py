"""Link routes that a client makes to itself over the wire: router.connection.linkRoute, which end with its connection
(management.md 4.9). Only its own connection sees them."""
import pytest
from proton import Message

from support.deadline import wait_until
from support.mesh import Manager

OWN_ROUTE = "org.apache.qpid.dispatch.router.connection.linkRoute"
PATTERN = "own.*.q"


class Node:
    """The management node, asked over one client's own connection; and what others attach there, which it answers."""

    def __init__(self, peers, router):
        self.peers, self.links = peers, []
        self.client = peers.connect(router)
        self.client.handler.on_link_opening = self.on_link_opening
        self.answers = self.client.receiver(None, dynamic=True)
        self.requests = self.client.sender("$management")

    def on_link_opening(self, event):
        link = event.link
        link.source.copy(link.remote_source)
        link.target.copy(link.remote_target)
        link.open()
        if link.is_receiver:
            link.flow(10)
        self.links.append(link)

    def ask(self, operation, body=None, **properties):
        """(status code, body) of the answer."""
        self.requests.send(Message(properties={"operation": operation, **properties}, body=body or {},
                                   reply_to=self.answers.remote_address, correlation_id=1))
        answer = self.answers.next()
        return answer.properties["statusCode"], answer.body

    def create(self, name="mine", **attributes):
        return self.ask("CREATE", {"pattern": PATTERN, "direction": "in", **attributes}, type=OWN_ROUTE, name=name)

    def query(self):
        status, body = self.ask("QUERY", entityType=OWN_ROUTE)
        assert status == 200
        return [dict(zip(body["attributeNames"], row)) for row in body["results"]]


def routes(router):
    """Keys of link routes that a router has containers for."""
    manager = Manager(router)
    rows = manager.query("router.address", "key", "containerCount")
    manager.close()
    return {row["key"] for row in rows if row["containerCount"]}


def test_own_link_route_leads_to_its_maker_until_it_is_deleted(router, peers):
    node, other = Node(peers, router), peers.connect(router)
    status, made = node.create()
    assert (status, made["name"], made["pattern"], made["direction"]) == (201, "mine", PATTERN, "in")
    assert node.ask("READ", type=OWN_ROUTE, identity=made["identity"]) == (200, made)
    assert node.query() == [made]
    outbox = other.sender("own.a.q", name="snd")
    assert node.links[-1].name == "snd@" + other.connection.container
    assert outbox.credit == 10, "it is the maker's"
    assert node.ask("DELETE", type=OWN_ROUTE, identity=made["identity"])[0] == 204
    assert routes(router) == set() and node.query() == []
    assert node.ask("DELETE", type=OWN_ROUTE, identity=made["identity"])[0] == 404
    count = len(node.links)
    other.sender("own.b.q")
    assert len(node.links) == count, "it is no link route any more"


def test_own_link_routes_end_with_their_connection(router, peers):
    node = Node(peers, router)
    for direction in ("in", "out"):
        assert node.create(direction, direction=direction)[0] == 201
    assert routes(router) == {"E" + PATTERN, "F" + PATTERN}
    node.client.vanish()
    wait_until(lambda: routes(router) == set(), what="the routes to end")


def test_own_link_routes_are_nothing_to_other_connections(router, peers):
    node, stranger = Node(peers, router), Node(peers, router)
    made = node.create()[1]
    assert stranger.query() == []
    for operation in ("READ", "DELETE"):
        assert stranger.ask(operation, type=OWN_ROUTE, identity=made["identity"])[0] == 404
    assert node.query() == [made]
    assert stranger.create("theirs")[0] == 201, "the same pattern leads to either"
    assert [row["name"] for row in stranger.query()] == ["theirs"]


@pytest.mark.parametrize("wrong", [{"pattern": None}, {"direction": None}, {"direction": "up"}, {"pattern": "./."}])
def test_own_link_route_that_is_wrong_is_refused(router, peers, wrong):
    node = Node(peers, router)
    attributes = {name: value for name, value in {"pattern": PATTERN, "direction": "in", **wrong}.items() if value is not None}
    status, _ = node.ask("CREATE", attributes, type=OWN_ROUTE, name="wrong")
    assert status == 400 and node.query() == []
