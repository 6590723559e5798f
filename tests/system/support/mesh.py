"""Several real routers in interior mode, joined into a network whose state the test can wait for.

    mesh = start_mesh("AB BC")                   # a line of three; "AB:5" costs 5
    mesh.wait_converged()                        # every router knows every other, by the cheapest way
    mesh.wait_subscribed("closest/x", at="A", remote=1)
    mesh["B"].kill(); mesh.wait_converged(without="B")

What the routers must know is computed here from the links alone, and compared with their `router.node` entities.
"""
import heapq
import itertools

from proton import ConnectionException, LinkException, Message
from proton.utils import BlockingConnection, SyncRequestResponse

from support.deadline import seconds, wait_until
from support.router import Config

PREFIX = "org.apache.qpid.dispatch."
SELF, DIRECT = "(self)", None  # next hops


class Manager:
    """Requests to the management node of one router, or by way of it to another's: `node`."""

    def __init__(self, router, node="$management"):
        self.connection = BlockingConnection(router.url, timeout=seconds(10), allowed_mechs="ANONYMOUS")
        self.requests = SyncRequestResponse(self.connection, node)

    def query(self, kind, *names):
        answer = self.requests.call(Message(properties={"operation": "QUERY", "entityType": PREFIX + kind},
                                            body={"attributeNames": list(names)}))
        assert answer.properties["statusCode"] == 200, answer.properties
        return [dict(zip(answer.body["attributeNames"], row)) for row in answer.body["results"]]

    def create(self, kind, name, **attributes):
        answer = self.requests.call(Message(properties={"operation": "CREATE", "type": PREFIX + kind, "name": name},
                                            body=attributes))
        assert answer.properties["statusCode"] == 201, answer.properties

    def management_nodes(self):
        answer = self.requests.call(Message(properties={"operation": "GET-MGMT-NODES"}, body={}))
        assert answer.properties["statusCode"] == 200, answer.properties
        return answer.body

    def close(self):
        self.connection.close()


def links_of(text):
    """{(dialling router, its listener's router): cost} of links like "AB BC:5"."""
    links = {}
    for word in text.split():
        pair, _, cost = word.partition(":")
        links[pair[1], pair[0]] = int(cost or 1)
    return links


def full(names):
    return " ".join(a + b for a, b in itertools.combinations(names, 2))


class Mesh:
    """Routers named by letters; in a link "AB" it is B that connects to A, so A is started before B.

    conf        {name: function that adds to that router's Config}
    relays      Relays (support.relay): each link goes through one, mesh.relays["AB"]; rate: octets in a second
    """

    def __init__(self, start_router, links, conf=None, relays=None, rate=None, **router):
        self.links = links_of(links)
        self.relays = {}
        self.names = sorted({name for pair in self.links for name in pair})
        self.routers, self.managers = {}, {}
        for name in self.names:
            config = Config(mode="interior", id=name, **router).listener("mesh", role="inter-router")
            for (dialler, acceptor), cost in self.links.items():
                if dialler == name:
                    port = self.routers[acceptor].ports["mesh"]
                    if relays:
                        self.relays[acceptor + dialler] = relay = relays.to(port, rate)
                        port = relay.port
                    config.add("connector", name="to-%s" % acceptor, host="127.0.0.1", role="inter-router", cost=cost,
                               port=port, saslMechanisms="ANONYMOUS")
            if conf and name in conf:
                conf[name](config)
            self.routers[name] = start_router(config, name=name)
            self.keep_ports(self.routers[name])

    @staticmethod
    def keep_ports(router):
        """When it is started again it listens where it did, so that the others find it."""
        before = router.config.text()
        for kind, attributes in router.config.sections:
            if kind == "listener":
                attributes["port"] = router.ports[attributes["name"]]
        router.conf_path.write_text(router.conf_path.read_text().replace(before, router.config.text()))

    def __getitem__(self, name):
        return self.routers[name]

    # -- asking

    def manager(self, name):
        if name not in self.managers:
            self.managers[name] = Manager(self.routers[name])
        return self.managers[name]

    def forget_manager(self, name):
        manager = self.managers.pop(name, None)
        if manager:
            manager.close()

    def query(self, name, kind, *attributes):
        """Rows of entities of one router. One that does not answer has none: it may be about to start or to end."""
        try:
            return self.manager(name).query(kind, *attributes)
        except (ConnectionException, LinkException):
            self.managers.pop(name, None)
            return []

    def nodes(self, name):
        """{id: (next hop, cost)} of the routers that a router reaches. One that is lost keeps its row, without a cost."""
        rows = self.query(name, "router.node", "id", "nextHop", "cost")
        return {row["id"]: (row["nextHop"], row["cost"]) for row in rows
                if row["nextHop"] != SELF and row["cost"] is not None}

    def told(self, name):
        """{id: neighbours} as the routers that this one reaches, and itself, have told it."""
        rows = self.query(name, "router.node", "id", "nextHop", "cost", "linkState")
        return {row["id"]: set(row["linkState"] or ()) for row in rows if row["nextHop"] == SELF or row["cost"] is not None}

    def close(self):
        for name in list(self.managers):
            self.forget_manager(name)

    # -- what must be

    def open_links(self, without):
        """{pair: cost} of the links that carry messages: not of routers in `without`, not where a relay is cut or held."""
        def is_open(dialler, acceptor):
            relay = self.relays.get(acceptor + dialler)
            return not (dialler in without or acceptor in without or (relay and (relay.is_cut or relay.held)))
        return {pair: cost for pair, cost in self.links.items() if is_open(*pair)}

    def distances(self, start, without=""):
        """{router: cost} of all that `start` reaches by links that do not touch routers in `without`."""
        costs, heap, links = {}, [(0, start)], self.open_links(without)
        while heap:
            cost, name = heapq.heappop(heap)
            if name in costs:
                continue
            costs[name] = cost
            for (a, b), step in links.items():
                if name in (a, b):
                    heapq.heappush(heap, (cost + step, b if name == a else a))
        return costs

    def is_right(self, name, known, without):
        """Whether a router knows exactly those that it reaches, their costs, and a next hop on a cheapest way."""
        costs = self.distances(name, without)
        costs.pop(name)
        links = self.open_links(without)
        if set(known) != set(costs):
            return False
        for other, (hop, cost) in known.items():
            first = other if hop == DIRECT else hop
            step = links.get((name, first)) or links.get((first, name))
            if cost != costs[other] or step is None:
                return False
            if step + self.distances(first, without)[other] != cost:
                return False
        return True

    def is_told(self, name, without):
        """Whether all that a router reaches have told it of all their links: ways of multicast are computed from that."""
        links = self.open_links(without)

        def neighbours(one):
            return {b if one == a else a for a, b in links if one in (a, b)}

        return all(told == neighbours(one) for one, told in self.told(name).items())

    def wait_converged(self, without="", limit=20.0, among=None):
        """Wait until every router that lives, or those of `among`, sees the network as it is."""
        waiting = [name for name in among or self.names if name not in without]
        seen = {}

        def converged():
            for name in list(waiting):
                seen[name] = self.nodes(name)
                if self.is_right(name, seen[name], without) and self.is_told(name, without):
                    waiting.remove(name)
            return not waiting

        wait_until(converged, limit, lambda: "a network of %s without %s; seen: %s" % (
            self.links, without or "nobody", {name: seen[name] for name in waiting}))

    def wait_subscribed(self, address, at, remote=0, local=0, limit=10.0):
        """Wait until a router knows of so many other routers with consumers of an address, and has so many itself."""
        rows = []

        def is_so():
            found = self.query(at, "router.address", "key", "remoteCount", "subscriberCount")
            rows[:] = [row for row in found if row["key"] in ("M" + address, "M0" + address)]
            return (sum(row["remoteCount"] for row in rows), sum(row["subscriberCount"] for row in rows)) == (remote, local)

        wait_until(is_so, limit, lambda: "%s at %s to have consumers at %d other routers and %d here; it has %s" % (
            address, at, remote, local, rows))

    def wait_routed(self, key, at, limit=10.0):
        """Wait until a router knows of another one with a container for the link routes of this key."""
        def is_so():
            rows = self.query(at, "router.address", "key", "remoteCount")
            return any(row["key"] == key and row["remoteCount"] for row in rows)

        wait_until(is_so, limit, lambda: "a container for %s elsewhere than at %s" % (key, at))
