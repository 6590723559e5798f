"""qdstat --explain: what an address leads to beside its own receivers: link routes, autoLinks, exchanges, fallback, other
routers; and asked at an edge router."""
import re

from proton import Message, symbol
from proton.reactor import LinkOption

from support.broker import Broker
from support.deadline import wait_until
from support.old_router import OldRouter
from support.peers import ACCEPTED, RELEASED
from support.router import Config
from support.tool import run, start
from test_explain import HEALTHY, STUCK, explain, wait_sentence


def containers(name="broker"):
    """A listener where a container may connect, for link routes and autoLinks."""
    return Config().listener(name, role="route-container")


class Fallback(LinkOption):
    def apply(self, link):
        link.source.capabilities.put_object(symbol("qd.fallback"))


# -- link routes


def test_link_route_without_and_with_its_container(start_router, peers):
    """Both directions: who cannot attach, because what is not open since when; then where links go, and how many."""
    config = containers()
    for direction in ("in", "out"):
        config.add("linkRoute", prefix="lr", direction=direction, connection="broker")
    router = start_router(config)
    wait_sentence(router, "lr/q", r"^link-routed by 'lr', and no sender can attach: connection 'broker' is not open at router Test "
                  r"for \d+ s$", STUCK)
    with Broker(connect_to=("127.0.0.1", router.ports["broker"])) as broker:
        wait_until(lambda: broker.connections, what="the broker to be connected")
        outbox = peers.connect(router).sender("lr/q")
        assert outbox.outcome(outbox.send("through")).state == ACCEPTED
        done = run("qdstat", "-b", router.address, "--explain", "lr/q", "--interval", "0")
        assert done.returncode == HEALTHY and done.stdout.startswith(
            "lr/q: link-routed by 'lr': senders attach straight to connection 'broker' at router Test, 1 is now; credit and messages "
            "are the container's\n"), done.stdout
        assert [line.split()[1] for line in done.stdout.split("Link routes\n")[1].splitlines()[2:4]] == ["in", "out"]


def test_link_route_of_another_router_is_found_there(start_mesh):
    def at_b(config):
        config.listener("broker", role="route-container")
        config.add("linkRoute", prefix="lr", direction="out", containerId="the-broker")
    mesh = start_mesh("AB", conf={"B": at_b})
    wait_sentence(mesh["A"], "lr/q", r"^link-routed by 'lr', and no receiver can attach: container 'the-broker' is not open at "
                  r"router B for \d+ s$", STUCK)
    with Broker(connect_to=("127.0.0.1", mesh["B"].ports["broker"]), container_id="the-broker"):
        wait_sentence(mesh["A"], "lr/q", r"^link-routed by 'lr': receivers attach straight to container 'the-broker' at router B, ",
                      HEALTHY)


# -- autoLinks


def test_autolinks_that_are_not_attached(start_router, peers):
    config = containers().add("address", prefix="wp", waypoint=True)
    config.add("autoLink", name="to", address="wp/q", direction="out", connection="broker")
    config.add("autoLink", name="from", address="wp/q", direction="in", connection="broker")
    router = start_router(config)
    wait_sentence(router, "wp/q", r"^phase 0: autoLink 'to' \(out\) on router Test to connection 'broker' is inactive: connection "
                  r"'broker' is not open$", STUCK)
    broker = Broker(connect_to=("127.0.0.1", router.ports["broker"]))
    broker.refusals["wp/q"] = 1000
    with broker:
        wait_sentence(router, "wp/q", r"^phase 0: autoLink 'to' \(out\) on router Test to connection 'broker' has failed: "
                      r".*no queue wp/q; next attempt in \d s$", STUCK)


# -- exchanges


def test_exchange_says_what_it_does_with_messages(start_router, peers):
    config = Config().add("exchange", name="empty", address="x/empty").add("exchange", name="ex", address="x/in")
    for hop in ("q/1", "q/2"):
        config.add("binding", exchangeName="ex", bindingKey="k", nextHopAddress=hop)
    router = start_router(config)
    wait_sentence(router, "x/empty", r"^exchange 'empty' on router Test has no binding and no alternateAddress: it releases every "
                  r"message$", STUCK)
    wait_sentence(router, "x/in", r"^exchange 'ex' on router Test passes messages on by 2 bindings; explain q/1 and q/2 to see who "
                  r"receives$", HEALTHY)
    outbox = peers.connect(router).sender("x/in")
    say_while_sending(peers, router, outbox, RELEASED, STUCK, r"^x/in: exchange 'ex' on router Test found nobody for \d+ messages? in "
                      r"the last .*: no binding matches their subject, or what matches leads to no receiver$")
    peers.connect(router).receiver("q/1", credit=10000)
    say_while_sending(peers, router, outbox, ACCEPTED, HEALTHY,
                      r"^x/in: messages move: exchange 'ex' on router Test has passed on \d+ in the last .*$")


def say_while_sending(peers, router, outbox, outcome, status, pattern):
    """The sentence while messages are sent one after the other, all with that outcome."""
    with start("qdstat", "-b", router.address, "--explain", "x/in") as tool:
        while tool.poll() is None:
            assert outbox.outcome(outbox.send(Message("m", subject="k"))).state == outcome
        first = tool.stdout.readline()
    assert re.search(pattern, first) and tool.returncode == status, first


# -- who else takes messages


def test_fallback_destination_takes_what_has_no_receiver(start_router, peers):
    router = start_router(Config().add("address", prefix="fb", enableFallback=True))
    peers.connect(router).receiver("fb/q", options=[Fallback()])
    wait_sentence(router, "fb/q", r"^no receiver of its own: messages go to the fallback destination, which has 1 receiver$",
                  HEALTHY, peers)


# -- asked at an edge router


def test_edge_router_tells_what_the_network_knows(start_mesh, start_router, peers):
    """It asks its interior router who else there is: the receiver two routers away is found, and why it takes nothing."""
    mesh = start_mesh("AB", conf={"A": lambda config: config.listener("edge", role="edge")})
    config = Config(mode="edge", id="E")
    config.add("connector", name="uplink", role="edge", host="127.0.0.1", port=mesh["A"].ports["edge"], saslMechanisms="ANONYMOUS")
    edge = start_router(config, name="E")
    edge.wait_log(r"is this edge router's uplink")
    peers.connect(mesh["B"]).receiver("balanced/far", credit=0)
    mesh.wait_subscribed("balanced/far", at="A", remote=1)
    wait_sentence(edge, "balanced/far", r"^receiver \S+ on router B has given no credit for \d+ s", STUCK, peers)
    _, found = explain(edge, "balanced/far")
    assert sorted(found["routers"]) == ["A", "B", "E"] and found["silent"] == {}


def test_edge_router_without_uplink_tells_of_itself(start_router, peers):
    edge = start_router(Config(mode="edge", id="E"))
    peers.connect(edge).receiver("balanced/here", credit=5)
    wait_sentence(edge, "balanced/here", r"^no sender attached to it: 1 receiver, 1 with credit$", HEALTHY, peers)
    assert sorted(explain(edge, "balanced/here")[1]["routers"]) == ["E"]


# -- a router that cannot be asked


def test_old_router_has_the_receiver_and_does_not_know_the_question(start_router, peers):
    router = start_router(Config(mode="interior", id="A").listener("mesh", role="inter-router"))
    with OldRouter("O", dial=[router.ports["mesh"]]) as old:
        old.consumer("balanced/old")
        old.wait_converged("A")
        peers.connect(router).sender("balanced/old", wait=False).wait_credit()
        wait_sentence(router, "balanced/old", r"^router A says that router O has a receiver, which cannot be asked: \S", STUCK, peers)
