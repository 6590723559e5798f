"""Recordings of two 1.19 routers, with ours in the place of one of them.

    assert play_as_a(start_router, "02-closest-unicast", "02-closest-unicast.sender") == []      # the dialled one
    assert play_as_b(start_router, "02-closest-unicast", "02-closest-unicast.consumer") == []    # the dialling one

The first file is of the connection between the routers, the others are of clients of ours. What other clients did, which
were not recorded, `acts` do: {beginning of a note: what is done then}, of functions that do not wait.
"""
from support.mesh import Manager
from support.peers import Peers
from support.playing import Hosting, Playing
from support.recording import Recording, Swapped
from support.router import Config

# docs/differences-from-qpid-dispatch.md: the window of a session is bounded, and so are its handles.
KNOWN = [("begin", "incoming_window"), ("begin", "handle_max")]
# There too: links for large messages are offered to routers alone, by the old router to everybody.
OFFERS = [("open", "offered_capabilities"), ("open", "desired_capabilities")]
# A recorded container says nothing in between: container_config() gives it the time that a slow machine takes.
CONTAINERS = [*OFFERS, ("open", "idle_time_out")]


def interior(name, cost=None, dials=()):
    """The configuration of the recorded routers: an id, a listener for clients and one for routers, two prefixes.

    dials   ports of other routers
    """
    config = Config(bare=True).add("router", mode="interior", id=name, workerThreads=2)
    config.listener("normal").listener("mesh", role="inter-router", authenticatePeer=None, cost=cost)
    for number, port in enumerate(dials):
        config.add("connector", name="to-%d" % number, role="inter-router", host="127.0.0.1", port=port,
                   saslMechanisms="ANONYMOUS", cost=cost)
    for prefix in ("closest", "multicast"):
        config.add("address", prefix=prefix, distribution=prefix)
    return config.add("log", module="ROUTER_MA", enable="debug+")


def container_config(port, router_id):
    """Of a router that dials a recorded container, to be called `broker`."""
    config = Config(id=router_id)
    return config.add("connector", name="broker", role="route-container", host="127.0.0.1", port=port,
                      saslMechanisms="ANONYMOUS", idleTimeoutSeconds=600)


class Actors:
    """Clients that do something at the notes of a recording, while it is played.

    router      once it runs; a client of it, `client`, is connected then
    text        of the note that is acted on
    meanwhile   called again and again, too
    """

    def __init__(self, acts=None, meanwhile=None):
        self.acts, self.also, self.done = dict(acts or {}), meanwhile or (lambda: None), []
        self.peers = Peers()
        self.peers.container.timeout = 0
        self.boxes, self.manager = {}, None
        self.arrivals = []  # what is done as soon as the routers have met, and as they have met again

    def start(self, router):
        self.router = router
        self.client, self.manager = self.peers.connect(router), Manager(router)

    def play(self, playing, after):
        self.playing = playing
        differences = playing.run()
        if after:
            after(self)
        return differences

    def on_note(self, text):
        for beginning, act in self.acts.items():
            if text.startswith(beginning):
                self.done.append(beginning)
                self.text = text
                act(self)

    def meanwhile(self):
        if self.arrivals and self._have_met():
            self.arrivals.pop(0)(self)
        self.peers.container.process()
        self.also()

    def _have_met(self):
        """Whether ours has made itself known on the connection between routers that is being played."""
        return any(one.live.said("RA") for one in self.playing.connections.values() if not one.is_over())

    def settle(self):
        """A question that is answered when all is done that came before."""
        self.manager.query("router", "id")

    def receive(self, *addresses, wait=False, **how):
        for address in addresses:
            self.boxes[address] = self.client.receiver(address, wait=wait, **how)

    def announce(self, address):
        """Receive, and wait until the router will tell of it."""
        self.receive(address, wait=True)
        self.router.wait_log("addresses-told seq=1 add=1 ")

    def send(self, address, message, presettled=False):
        """By a sender to the address, or an anonymous one (None), as soon as there is credit."""
        key = address, presettled
        if key not in self.boxes:
            self.boxes[key] = self.client.sender(address, presettled=presettled, wait=False)
        return self.boxes[key].send(message, wait_credit=False)

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        if self.manager:
            self.manager.close()
        self.peers.close()
        if exception[0] is None:
            assert set(self.done) == set(self.acts), "notes that never came: %s" % (set(self.acts) - set(self.done))


def recordings_of(clients, until=None):
    return [Recording(client, until=until, allowed=OFFERS) for client in clients]


def play_as_a(start_router, name, *clients, config=None, acts=None, before=None, after=None, until=None, meanwhile=None,
              arrives=None, **how):
    """The dialled router is ours, A. Result: how it differs, a list of texts.

    before      called with the Actors before the play begins
    arrives     called with the Actors as soon as the routers have met
    after       called with the Actors after it; actors.playing has been played
    until       see Recording
    """
    with Actors(acts, meanwhile) as actors:
        actors.start(start_router(config or interior("A")))
        actors.arrivals += filter(None, [arrives])
        if before:
            before(actors)
        live = actors.router
        playing = Playing([Recording(name, until=until), *recordings_of(clients, until)], live.ports["mesh"],
                          ports={one: live.port for one in clients}, allowed=KNOWN, on_note=actors.on_note,
                          meanwhile=actors.meanwhile, settle=actors.settle, **how)
        return actors.play(playing, after)


def play_as_b(start_router, name, *clients, config=None, acts=None, before=None, after=None, until=None, meanwhile=None,
              arrives=None, **how):
    """The dialling router is ours, B.

    config      makes its configuration, from {name of a recording in which it dials: port to dial}
    """
    with Actors(acts, meanwhile) as actors:
        hosting = Hosting([Swapped(name, until=until), *recordings_of(clients, until)], allowed=KNOWN,
                          on_note=actors.on_note, meanwhile=actors.meanwhile, settle=actors.settle, **how)
        actors.start(start_router(config(hosting.ports) if config else interior("B", dials=[hosting.ports[name]])))
        hosting.port = actors.router.port
        actors.arrivals += filter(None, [arrives])
        if before:
            before(actors)
        return actors.play(hosting, after)


def play_between(start_router, towards_a, towards_c, acts=None, meanwhile=None, **how):
    """Ours is B in a line A - B - C, which dials A and is dialled by C; both neighbours are recorded."""
    with Actors(acts, meanwhile) as actors:
        hosting = Hosting([Swapped(towards_a), Recording(towards_c)], allowed=KNOWN, on_note=actors.on_note,
                          meanwhile=actors.meanwhile, settle=actors.settle, **how)
        actors.start(start_router(interior("B", dials=[hosting.ports[towards_a]])))
        hosting.ports[towards_c] = actors.router.ports["mesh"]
        return actors.play(hosting, None)


def in_the_end(recorded, live, to):
    """Ours says that it has another neighbour as soon as that is so; the old router had said of both at its next tick."""
    return ([(annotations, {**told, "seen": sorted(told.get("seen", []))}) for annotations, told in said[-1:]]
            for said in (recorded, live))
