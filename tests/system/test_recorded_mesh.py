"""What a 1.19 router said to another as they met, said to ours: it answers as that one did."""
import re

from proton import Message

from support.deadline import wait_until
from support.mesh import Manager
from support.peers import Peers
from support.recording import OFFERS, Playing, Recording
from support.router import Config, program
from test_waypoint import Capability

# Left open by the old router or a matter of taste: the version, a property that old routers ignore, windows.
KNOWN = [("open", "properties"), ("begin", "incoming_window"), ("begin", "handle_max")]


def matters(difference):
    """When a terminus expires means nothing between routers; and the recording's pace is not kept, so that more control
    messages, settled all of them, may have come by its end."""
    what, said = difference.split(": recorded ", 1)
    recorded, live = said.split(", live ", 1)
    if "('transfer', 0, " in what and recorded == "[]":
        return live != "[{'settled': ('bool', True)}]"
    return recorded != live.replace("('symbol', symbol('link-detach'))", "None")


def test_recorded_router_meets_ours_and_hears_the_same(start_router):
    """Open, eleven sessions, the links of both sides with their capabilities and credit, the first control messages."""
    config = Config(mode="interior", id="A").listener("mesh", role="inter-router")
    live = start_router(config)
    playing = Playing([Recording("01-interior-pair")], live.ports["mesh"], allowed=KNOWN, messages=False)
    assert [difference for difference in playing.run() if matters(difference)] == []
    live.wait_log("neighbour-found router=B ")


# -- phases and fallback


def phases_differ(difference):
    """Control messages have other numbers and another pace; which addresses they announce is looked at beside."""
    return matters(difference) and "('transfer', 0, " not in difference


def announced(facts):
    """The addresses that a router has announced and taken back, in that order, by its control messages."""
    out = []
    for key, value in facts:
        if key[0] == "transfer" and key[1] == 0:
            message = Message()
            message.decode(bytes.fromhex(value[1]))
            if message.properties and message.properties.get("opcode") == "MAU":
                out += ["+" + key for key in message.body.get("add") or message.body.get("exist") or []]
                out += ["-" + key for key in message.body.get("del") or []]
    return out


def test_recorded_router_with_fallback_consumers_gets_what_the_old_one_sent(start_router):
    """The producer is at ours. Consumers at the recorded router come and go: phase 22 while there is no primary one,
    none as soon as there is, and what is on its way then is redirected there."""
    config = Config(mode="interior", id="A").listener("mesh", role="inter-router")
    live = start_router(config.add("address", prefix="fb", distribution="balanced", enableFallback=True))
    producer, manager = "11-fallback.sender", Manager(live)

    def on_message(name, number):
        """Ours must have heard what the other router has said of its consumers by then."""
        known = {1: 1, 3: 0}.get(number)
        if name == producer and known is not None:
            wait_until(lambda: [row["remoteCount"] for row in manager.query("router.address", "key", "remoteCount")
                                if row["key"] == "M0fb.q"] == [known], what="the consumer to be known or forgotten")

    playing = Playing([Recording("11-fallback"), Recording(producer)], live.ports["mesh"], ports={producer: live.port},
                      allowed=[*KNOWN, *OFFERS], on_message=on_message)
    assert [difference for difference in playing.run() if phases_differ(difference)] == []


def test_recorded_router_with_a_queue_gets_what_the_old_one_sent(start_router, start_program):
    """Producer and consumer are at ours: phase 0 on the way to the recorded router's queue, phase 1 on the way back, and
    both are announced."""
    config = Config(mode="interior", id="A").listener("mesh", role="inter-router")
    live = start_router(config.add("address", prefix="wp", waypoint=True))
    with Peers() as peers:
        client, boxes = peers.connect(live), {}

        def on_note(text):
            if text.startswith("final consumer"):
                boxes["consumer"] = start_program(program("qdrecv"), "-b", live.address, "wp.q", "-c", 4)
                live.wait_receivers("wp.q")
                boxes["producer"] = client.sender("wp.q")
                boxes["settling"] = client.sender("wp.q", presettled=True)
                for name in ("producer", "settling"):
                    boxes[name].wait_credit()
            elif text.startswith("three messages"):
                for number, name in enumerate(("producer", "producer", "settling")):
                    boxes[name].send(Message("w-%d" % number, id=number))
            elif text.startswith("an anonymous"):
                client.sender(None).send(Message("w-3", id=3, address="wp.q"))
            elif text.startswith("a client at A"):
                client.receiver("wp.q", options=[Capability("qd.waypoint")])
            peers.wait(lambda: client.connection.transport.pending() == 0, what="all to be written")

        playing = Playing([Recording("10-waypoint")], live.ports["mesh"], allowed=KNOWN, on_note=on_note)
        assert [difference for difference in playing.run() if phases_differ(difference)] == []
        (connection,) = playing.connections.values()
        assert announced(connection.live.facts) == announced(connection.recorded.facts) == ["+M1wp.q", "+M0wp.q"]
        boxes["consumer"].wait_output("w-2")
        assert re.findall(r"w-\d", boxes["consumer"].output()) == ["w-0", "w-1", "w-2"]
