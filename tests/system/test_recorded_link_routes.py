"""Links between a client and a container, recorded on both sides of a 1.19 router, with ours in its place."""
from proton import ubyte, ulong

from support.brokers import both_ways, wait_active, wait_remote
from support.playing import Hosting
from support.recorded import CONTAINERS, KNOWN, OFFERS, container_config, interior
from support.recording import Recording

# docs/differences-from-qpid-dispatch.md: ours passes them on, so that the container hears what the client has said.
PASSED_ON = ("snd_settle_mode", "rcv_settle_mode", "max_message_size", "properties")
SAID = {"snd_settle_mode": ("ubyte", ubyte(0)), "rcv_settle_mode": ("ubyte", ubyte(1)),
        "max_message_size": ("ulong", ulong(1000)), "properties": ("map", {"lp": ("symbol", ("int", 1))})}


def passed_on(connection):
    """What the container was told of these fields: {name of the link: {field: value}}."""
    attaches = {key[2]: value for key, value in connection.live.facts if key[0] == "attach"}
    return {name: {field: value[field] for field in PASSED_ON if field in value} for name, value in attaches.items()}


def test_recorded_client_and_container_meet_the_same(start_router):
    """Attach, messages and outcomes both ways, drain, detach with and without close, refusal, error, container lost."""
    client, container = "08a-link-route.client", "08a-link-route"
    hosting = Hosting([Recording(client, allowed=OFFERS),
                       Recording(container, allowed=[*CONTAINERS, *(("attach", field) for field in PASSED_ON)])],
                      allowed=KNOWN)
    live = start_router(both_ways(container_config(hosting.ports[container], "A")))
    hosting.port = live.port

    def on_note(text):
        if text.startswith("client attaches a sender to lr.in"):
            wait_active(live, 2)

    hosting.on_note = on_note
    assert hosting.run() == []
    told = passed_on(hosting.connections[container, 1])
    assert told.pop("durable@client") == told.pop("durable-2@client") == SAID
    assert set(told) == {"snd@client", "rcv@client", "snd-no@client", "snd3@client", "rcv3@client"}
    assert not any(told.values()), told


def test_recorded_client_and_container_meet_the_same_over_two_routers(start_router):
    """Both routers are ours. In test_recorded_messages.py the one or the other is recorded, too."""
    client, container = (Recording("08b-link-route-two-routers." + who, allowed=allowed)
                         for who, allowed in (("client", OFFERS), ("container", CONTAINERS)))
    hosting = Hosting([client, container], allowed=KNOWN)
    first = start_router(interior("A"))
    hosting.port = first.port
    config = interior("B", dials=[first.ports["mesh"]])
    config.add("connector", name="broker", role="route-container", host="127.0.0.1", port=hosting.ports[container.name],
               saslMechanisms="ANONYMOUS", idleTimeoutSeconds=600)
    start_router(both_ways(config), name="B")

    def on_note(text):
        if text.startswith("client at A attaches a sender to lr.in"):
            wait_remote(first)

    hosting.on_note = on_note
    assert hosting.run() == []
