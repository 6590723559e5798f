"""What a 1.19 router did at a container that it had autoLinks for, ours does at the same container."""
import pytest
from proton import Message

from support.playing import Hosting
from support.recorded import CONTAINERS, KNOWN, container_config
from support.recording import Recording
from support.router import program

ALLOWED = [*KNOWN, *CONTAINERS]


def send(peers, client, address, *messages, presettled=False):
    """Send without waiting for outcomes: the recorded container gives them later."""
    box = client.sender(address, presettled=presettled)
    for message in messages:
        box.send(message)
    peers.wait(lambda: client.connection.transport.pending() == 0, what="all to be written")


@pytest.mark.heavy  # it takes as long as the recording
def test_recorded_container_refuses_detaches_and_accepts_autolinks(start_router, start_program, peers):
    """Tried again after 3 s, then 6 s, again 3 s after a detach; credit only while somebody consumes. The old router gave
    credit on a link that was refused; ours does not."""
    name = "09-autolinks"
    hosting = Hosting([Recording(name)], allowed=ALLOWED, patience=12)
    config = container_config(hosting.ports[name], "A")
    for direction in ("in", "out"):
        config.add("autoLink", connection="broker", address="q." + direction, direction=direction)
    config.add("autoLink", connection="broker", address="local.name", externalAddress="remote/name", direction="in", phase=0)
    live = start_router(config)
    client = peers.connect(live)

    def on_note(text):
        if text.startswith("a client sends to q.out"):
            start_program(program("qdrecv"), "-b", live.address, "q.in")
            live.wait_receivers("q.in")
            send(peers, client, "q.out", Message("to the queue", id=1))
        elif text.startswith("a client receives from local.name"):
            start_program(program("qdrecv"), "-b", live.address, "local.name")

    hosting.on_note = on_note
    assert [line for line in hosting.run() if "('flow', 0, 'qdlink #3'" not in line] == []


def test_recorded_container_in_the_way_of_an_address(start_router, start_program, peers):
    """Out at phase 0, in at phase 1. Here producer and consumer are at the router of the container."""
    name = "10-waypoint.container"
    hosting = Hosting([Recording(name)], allowed=ALLOWED)
    config = container_config(hosting.ports[name], "B").add("address", prefix="wp", waypoint=True)
    for direction in ("out", "in"):
        config.add("autoLink", connection="broker", address="wp.q", direction=direction)
    live = start_router(config)
    client = peers.connect(live)

    def on_note(text):
        if text.startswith("final consumer"):
            start_program(program("qdrecv"), "-b", live.address, "wp.q")
            live.wait_receivers("wp.q")
        elif text.startswith("three messages"):
            send(peers, client, "wp.q", Message("w-0", id=0), Message("w-1", id=1))
            send(peers, client, "wp.q", Message("w-2", id=2), presettled=True)
        elif text.startswith("an anonymous"):
            send(peers, client, None, Message("w-3", id=3, address="wp.q"))

    hosting.on_note = on_note
    assert hosting.run() == []
