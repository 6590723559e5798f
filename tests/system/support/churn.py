"""Clients that come and go under load, with an account of every message.

Some clients are steady: they live through it all, and what they send and receive is counted message by message. Around
them a population churns: clients that attach, send and receive, and die in every way and at every stage. A manager
meanwhile deletes connections, makes and deletes listeners, connectors and address rules. All chance is seeded.

    with Churn(router, seed=1) as churn:
        churn.round(5.0)        # churn, then come to rest, then check everything

A round comes to rest when the churning clients are gone. Then must hold:
  - every unsettled message of a steady sender has exactly one outcome
  - accepted or rejected is only what a receiver has accepted or rejected
  - no receiver of an anycast address has what another has, none of a multicast address has a message twice
  - where all receivers were steady nothing is lost, presettled or not, and all is accepted
  - every steady sender has all of its credit again, and more messages than that pass on every address
  - connections, links and addresses are as many as at the start
"""
import random
import socket
import threading
import time
from collections import Counter

from proton import Message
from proton.utils import BlockingConnection, SyncRequestResponse

from support.deadline import seconds, wait_until
from support.router import Config
from support.swarm import Client, ReceiverLink, SenderLink, Swarm, frame
from support.wire import ACCEPTED, MODIFIED, REJECTED, RELEASED

CAPACITY = 100  # credit that the listener gives
PREFIX = "org.apache.qpid.dispatch."
ID_SIZE = 16
# The allocator keeps what a burst needed, each thread for itself; with one arena that is a small part of what is compared.
ENVIRONMENT = {"MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": "32768", "MALLOC_TRIM_THRESHOLD_": "65536"}


def churn_config(workers=4):
    config = Config(workerThreads=workers)
    return config.change("listener", linkCapacity=CAPACITY)


# ---- messages ----

def make_payloads(rng, name, frames):
    """The octets of a message in so many frames: a data section that begins and ends with the message's name."""
    mark = name.encode().ljust(ID_SIZE, b".")
    body = mark + bytes(rng.randrange(10, 200) if frames == 1 else rng.randrange(100, 12000) * frames) + mark
    whole = b"\0\x53\x75\xb0" + len(body).to_bytes(4, "big") + body
    size = -(-len(whole) // frames)
    return [whole[at:at + size] for at in range(0, len(whole), size)]


def name_of(payload):
    """The name at the beginning of a message's octets."""
    return payload[8:8 + ID_SIZE].rstrip(b".").decode()


def check_whole(payload):
    """The name of a message that has come, every octet of which must be its own."""
    size = int.from_bytes(payload[4:8], "big")
    assert payload[:4] == b"\0\x53\x75\xb0" and len(payload) == 8 + size, "damaged: %d octets, %r" % (len(payload), payload[:24])
    mark = payload[8:8 + ID_SIZE]
    assert payload[-ID_SIZE:] == mark and not payload[8 + ID_SIZE:-ID_SIZE].strip(b"\0"), "damaged: %r" % mark
    return name_of(payload)


class Ledger:
    """What became of each message sent to one address.

    copies  every receiver gets each message
    steady  all of its receivers are steady, so nothing may be lost
    """

    def __init__(self, address, copies=False, steady=False):
        self.address, self.copies, self.steady = address, copies, steady
        self.count = 0
        self.outcomes = {}       # of unsettled messages: what their sender heard; None: nothing yet
        self.presettled = set()  # sent in full by senders that live
        self.said = {outcome: set() for outcome in (ACCEPTED, REJECTED, RELEASED, MODIFIED)}
        self.got = Counter()     # by message; with copies by (receiver, message)
        self.given_up = set()    # aborted by their sender
        self.wrong = []

    def new_name(self):
        self.count += 1
        return str(self.count)

    def received(self, receiver, name, outcome):
        key = (receiver, name) if self.copies else name
        self.got[key] += 1
        if self.got[key] > 1:
            self.wrong.append("%s has come %d times" % (name, self.got[key]))
        if name in self.given_up:
            self.wrong.append("%s has come, but was aborted" % name)
        if outcome is not None:
            self.said[outcome].add(name)

    def heard(self, name, outcome):
        if self.outcomes.get(name, "unknown") is not None:
            self.wrong.append("%s is %s after %s" % (name, outcome, self.outcomes.get(name)))
        self.outcomes[name] = outcome

    def pending(self):
        return [name for name, outcome in self.outcomes.items() if outcome is None]

    def check(self, steady_receivers):
        """Complain of everything that is not as it must be, once nothing is under way any more."""
        wrong = ["%s: %s" % (self.address, text) for text in self.wrong[:5]]
        by_outcome = Counter(self.outcomes.values())
        for code, word in ((ACCEPTED, "accepted"), (REJECTED, "rejected")):
            claimed = {name for name, outcome in self.outcomes.items() if outcome == word}
            if claimed - self.said[code]:
                wrong.append("%s: %s, but by no receiver: %s" % (self.address, word, sorted(claimed - self.said[code])[:5]))
        if self.steady:
            due = self.presettled | {name for name, outcome in self.outcomes.items() if outcome == "accepted"}
            for receiver in steady_receivers if self.copies else [None]:
                lost = {name for name in due if not self.got[(receiver, name) if self.copies else name]}
                if lost:
                    wrong.append("%s: %d of %d lost, for instance %s" % (self.address, len(lost), len(due), sorted(lost)[:5]))
            unlike = set(by_outcome) - {"accepted", "unknown"}
            if unlike and not self.copies:
                wrong.append("%s: with steady receivers alone, but %s" % (self.address, dict(by_outcome)))
        assert not wrong, "\n".join(wrong)

    def forget(self):
        """Begin a new round: what is known is checked."""
        self.outcomes.clear()
        self.presettled.clear()
        self.got.clear()
        self.given_up.clear()
        for said in self.said.values():
            said.clear()


class Source:
    """What one sender link sends. budget: messages that it may send now."""

    def __init__(self, ledger, rng, streams=0.1, aborts=0.3):
        self.ledger, self.rng, self.streams, self.aborts = ledger, rng, streams, aborts
        self.budget = 0

    def next(self, link):
        if self.budget <= 0:
            return None
        self.budget -= 1
        name = self.ledger.new_name()
        frames = self.rng.randrange(2, 9) if self.rng.random() < self.streams else 1
        aborted = frames > 1 and self.rng.random() < self.aborts
        if not link.settled:
            self.ledger.outcomes[name] = None
        payloads = make_payloads(self.rng, name, frames)
        if aborted:
            payloads = payloads[:self.rng.randrange(1, len(payloads))] + [b""]
        return name, payloads, aborted

    def sent(self, name):
        if name not in self.ledger.outcomes:
            self.ledger.presettled.add(name)

    def aborted(self, name):
        self.ledger.given_up.add(name)
        if self.ledger.outcomes.get(name, "") is None:
            del self.ledger.outcomes[name]

    def outcome(self, name, outcome):
        self.ledger.heard(name, outcome)

    def unknown(self, name):
        """The link has ended before an outcome came."""
        self.ledger.outcomes[name] = "unknown"


class DyingSource(Source):
    """Of a sender that may die at any moment: what it has sent presettled may still lie in its socket."""

    def sent(self, name):
        pass


class Sink:
    """What one receiver link says."""

    def __init__(self, ledger, rng=None):
        self.ledger, self.rng = ledger, rng

    def choose(self):
        if self.rng is None:
            return ACCEPTED
        return self.rng.choices((ACCEPTED, RELEASED, MODIFIED, REJECTED, None), (80, 6, 6, 4, 4))[0]

    def early(self, link, payload):
        self.ledger.said[ACCEPTED].add(name_of(payload))

    def received(self, link, payload, said):
        outcome = said or self.choose()
        self.ledger.received(link, check_whole(payload), outcome)
        return outcome


# ---- management ----

class Manager:
    """Requests to the router's management node; and, while it is let, a thread that meddles."""

    def __init__(self, router, seed):
        self.router, self.rng = router, random.Random(seed)
        self.connection = BlockingConnection(router.url, timeout=seconds(30), allowed_mechs="ANONYMOUS")
        self.requests = SyncRequestResponse(self.connection, "$management")
        self.names = 0
        self.made = []   # (type, name) of what it has created and not yet deleted
        self.ports = []  # of its listeners
        self.done = Counter()
        self.thread = self.failure = None
        self.stopping = threading.Event()
        self.ending = False  # the router is to end, so a request may fail

    def call(self, operation, kind, body=None, allowed=(), **properties):
        """A request. Gives the body of the answer; None for a status that is allowed to be an error."""
        answer = self.requests.call(Message(properties={"operation": operation, "type": PREFIX + kind, **properties},
                                            body=body if body is not None else {}))
        status = answer.properties["statusCode"]
        self.done["%s %s %d" % (operation, kind, status)] += 1
        assert 200 <= status < 300 or status in allowed, "%s %s: %s" % (operation, kind, answer.properties)
        return answer.body if status < 300 else None

    def query(self, kind, *names):
        body = self.call("QUERY", kind, {"attributeNames": list(names)}, entityType=PREFIX + kind)
        return [dict(zip(body["attributeNames"], row)) for row in body["results"]]

    def counts(self):
        """(connections, links, addresses) of the router."""
        row = self.query("router", "connectionCount", "linkCount", "addrCount")[0]
        return row["connectionCount"], row["linkCount"], row["addrCount"]

    def create(self, kind, attributes):
        self.names += 1
        name = "made-%d" % self.names
        if self.call("CREATE", kind, attributes, allowed=(400, 500), name=name) is not None:
            self.made.append((kind, name))

    def delete_something(self):
        if self.made:
            kind, name = self.made.pop(self.rng.randrange(len(self.made)))
            self.call("DELETE", kind, name=name)

    def create_listener(self):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.create("listener", {"host": "127.0.0.1", "port": str(port), "saslMechanisms": "ANONYMOUS",
                                 "authenticatePeer": False})
        self.ports = self.ports[-4:] + [port]

    def create_connector(self):
        """To the router itself, or to where nobody listens."""
        port = self.rng.choice([self.router.port, 1])
        self.create("connector", {"host": "127.0.0.1", "port": str(port), "role": "normal"})

    def create_address(self):
        self.create("router.config.address", {"prefix": "made%d" % self.names,
                                              "distribution": self.rng.choice(["closest", "multicast"])})

    def delete_connection(self):
        rows = [row for row in self.query("connection", "identity", "container")
                if (row["container"] or "").startswith("churn-")]
        if rows:
            # 400: it has gone meanwhile
            self.call("UPDATE", "connection", {"adminStatus": "deleted"}, allowed=(400,),
                      identity=self.rng.choice(rows)["identity"])

    def meddle(self):
        actions = [self.delete_connection, self.delete_connection, self.create_listener, self.create_connector,
                   self.create_address, self.delete_something, self.delete_something, self.delete_something,
                   lambda: self.query("router.link", "identity", "owningAddr", "undeliveredCount"),
                   lambda: self.query("router.address", "name", "subscriberCount"), self.counts]
        while not self.stopping.wait(0.02):
            self.rng.choice(actions)()

    def start(self):
        self.stopping.clear()

        def run():
            try:
                self.meddle()
            except Exception as e:  # told to the test by stop()
                self.failure = None if self.ending else e

        self.thread = threading.Thread(target=run, name="manager")
        self.thread.start()

    def stop(self):
        """End the meddling and delete what it has made."""
        self.stopping.set()
        if self.thread:
            self.thread.join()
            self.thread = None
        if self.failure:
            raise AssertionError("management failed under churn: %r" % self.failure)
        while self.made:
            self.delete_something()
        self.ports = []

    def close(self):
        self.stopping.set()
        if self.thread:
            self.thread.join()
        if not self.ending:
            self.connection.close()


# ---- the population ----

class Life:
    """A churning client's time and end."""

    def __init__(self, client, rng):
        self.client, self.rng = client, rng
        self.end = time.monotonic() + rng.expovariate(1 / 0.6)
        self.way = rng.choice(["reset", "reset", "fin", "fin", "close", "close", "end", "detach", "half", "garbage", "stall"])
        self.sources = []

    def turn(self, now):
        """Whether it lives on."""
        if self.client.ended:
            return False
        for source in self.sources:
            source.budget = 2
        if now >= self.end:
            self.die()
            self.way, self.end = "reset", now + 0.3  # and if the router does not answer: like that
        return True

    def die(self):
        client = self.client
        if self.way in ("reset", "fin"):
            client.kill(reset=self.way == "reset")
        elif self.way == "close":
            client.close()
        elif self.way == "end":
            client.end_session()
        elif self.way == "detach":
            for link in client.links:
                link.detach()
        elif self.way == "half":
            client.closing = True
            client.output += frame(b"\0\x53\x14\xc0", b"\xff" * 200)[:60]
        elif self.way == "garbage":
            client.closing = True
            client.output += self.rng.randbytes(64)
        elif self.way == "stall":
            client.stalled = True


class Churn:
    STEADY_UNSETTLED = "closest/steady-unsettled"
    STEADY_PRESETTLED = "balanced/steady-presettled"
    STEADY_COPIES = "multicast/steady"
    MIXED = ["closest/mixed", "balanced/mixed", "multicast/mixed"]

    def __init__(self, router, seed, population=40, verbose=False):
        self.router, self.seed, self.population, self.verbose = router, seed, population, verbose
        self.rng = random.Random(seed)
        self.manager = Manager(router, seed)
        self.swarm = Swarm(router)
        self.lives = []
        self.ledgers = {}
        self.senders = []            # links of steady clients
        self.receivers = []
        self.numbers = 0
        self.churning = False
        self.make_steady()
        self.base = self.manager.counts()

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.swarm.close()
        self.manager.close()

    # -- steady clients

    def ledger(self, address, **how):
        if address not in self.ledgers:
            self.ledgers[address] = Ledger(address, copies=address.startswith("multicast"), **how)
        return self.ledgers[address]

    def client(self, kind, **how):
        self.numbers += 1
        return Client(self.swarm, "%s-%d" % (kind, self.numbers), **how)

    def add_sender(self, client, address, settled, dying=False):
        source = (DyingSource if dying else Source)(self.ledger(address), self.rng)
        self.numbers += 1
        return client.add(SenderLink("s%d" % self.numbers, address, source, settled))

    def add_receiver(self, client, address, rng=None, credit=50, early=False):
        self.numbers += 1
        return client.add(ReceiverLink("r%d" % self.numbers, address, Sink(self.ledger(address), rng), credit, early))

    def make_steady(self):
        for address in (self.STEADY_UNSETTLED, self.STEADY_PRESETTLED, self.STEADY_COPIES):
            self.ledger(address, steady=True)
            for _ in range(2):
                self.receivers.append(self.add_receiver(self.client("steady"), address))
        assert self.swarm.run(seconds(10), lambda: all(link.alive for link in self.receivers)), "no steady receivers"
        for address, modes in ((self.STEADY_UNSETTLED, [False, False]), (self.STEADY_PRESETTLED, [True, True]),
                               (self.STEADY_COPIES, [False, True])):
            self.senders += [self.add_sender(self.client("steady"), address, settled) for settled in modes]
        for address in self.MIXED:
            self.senders += [self.add_sender(self.client("steady"), address, settled) for settled in (False, True)]
        assert self.swarm.run(seconds(10), lambda: all(link.alive for link in self.senders)), "no steady senders"

    # -- churning clients

    def spawn(self):
        rng = self.rng
        kind = rng.random()
        stage = rng.choice(["connect", "header", "open", "begin", "half"]) if kind < 0.15 else None
        port = rng.choice(self.manager.ports) if self.manager.ports and rng.random() < 0.2 else None
        client = self.client("churn", stage=stage, port=port)
        life = Life(client, rng)
        self.lives.append(life)
        if stage:
            return
        if kind < 0.4:
            self.spawn_receivers(client)
        elif kind < 0.7:
            self.spawn_senders(client, life)
        elif kind < 0.8:
            self.spawn_dynamic(client, life)
        elif kind < 0.9:
            self.spawn_pair(client, life)
        else:
            for _ in range(30):
                self.add_receiver(client, self.any_address(), rng)

    def any_address(self):
        """One of those with churning receivers, or one that comes and goes."""
        return self.rng.choice(self.MIXED + ["balanced/passing-%d" % self.rng.randrange(8)])

    def spawn_receivers(self, client):
        address = self.any_address()
        for _ in range(self.rng.choice([1, 1, 2, 5])):
            self.add_receiver(client, address, self.rng, self.rng.choice([1, 5, 50]), self.rng.random() < 0.3)
            if self.rng.random() < 0.3:
                address = self.any_address()

    def spawn_senders(self, client, life):
        steady = [self.STEADY_UNSETTLED, self.STEADY_PRESETTLED, self.STEADY_COPIES]
        for _ in range(self.rng.choice([1, 1, 3])):
            address = self.rng.choice(steady + [self.any_address()])
            link = self.add_sender(client, address, self.rng.random() < 0.5, dying=True)
            life.sources.append(link.source)

    def spawn_dynamic(self, client, life):
        """A reply address of its own, and a sender to it that attaches when the address is known."""
        self.numbers += 1
        link = client.add(ReceiverLink("r%d" % self.numbers, None, Sink(self.ledger("dynamic"), self.rng)))
        attached = link.attached

        def then_send(fields):
            attached(fields)
            if link.address:
                self.numbers += 1
                source = DyingSource(self.ledger("dynamic"), self.rng)
                life.sources.append(source)
                client.add(SenderLink("s%d" % self.numbers, link.address, source, False))

        link.attached = then_send

    def spawn_pair(self, client, life):
        address = self.any_address()
        self.add_receiver(client, address, self.rng)
        life.sources.append(self.add_sender(client, address, self.rng.random() < 0.5, dying=True).source)

    def each_turn(self):
        if not self.churning:
            return
        now = time.monotonic()
        for link in self.senders:
            link.source.budget = 3
        self.lives = [life for life in self.lives if life.turn(now)]
        for _ in range(min(4, self.population - len(self.lives))):
            self.spawn()

    # -- a round

    def run(self, limit, until=lambda: False):
        """Churn for so long or until a condition holds, without coming to rest. Gives whether it held."""
        self.churning = True
        self.manager.start()
        held = self.swarm.run(limit, until, self.each_turn)
        self.churning = False
        return held

    def churn_until_it_ends(self):
        """The router has been told to stop: go on until it has. Management and steady clients end with it."""
        self.churning = self.manager.ending = True
        ended = self.swarm.run(seconds(20), lambda: self.router.process.poll() is not None, self.each_turn)
        self.churning = False
        assert ended, "seed %d: the router has not ended" % self.seed

    def round(self, limit, until=lambda: False):
        """Churn, then come to rest and check everything. Gives whether the condition held before the time was over."""
        held = self.run(limit, until)
        self.manager.stop()
        self.come_to_rest()
        self.check()
        self.probe()
        self.check_base()
        for ledger in self.ledgers.values():
            ledger.forget()
        return held

    def wait(self, condition, what, limit=20.0):
        if not self.swarm.run(seconds(limit), condition):
            raise AssertionError("seed %d: waited %g s in vain for %s" % (self.seed, seconds(limit),
                                                                          what() if callable(what) else what))
        dead = [link for link in self.senders + self.receivers if not link.alive]
        assert not dead, "seed %d: steady links ended: %s" % (self.seed, [(link.address, link.error, link.client.error)
                                                                       for link in dead])

    def come_to_rest(self):
        for link in self.senders:
            link.source.budget = 0
        for life in self.lives:
            life.client.kill(reset=self.rng.random() < 0.5)
        self.lives = []
        drain = self.client("drain")
        last = [self.add_receiver(drain, address, credit=1000) for address in self.MIXED]
        self.wait(lambda: all(link.alive for link in last), "receivers to attach at the end")
        self.wait(self.at_rest, self.unrest)
        self.drain = drain

    def at_rest(self):
        return all(not link.pending and link.progress is None and link.credit == CAPACITY for link in self.senders)

    def unrest(self):
        return "steady senders to have all outcomes and credit:\n" + "\n".join(
            "  %s settled=%s: %d without outcome, credit %d of %d, in a message: %s" % (
                link.address, link.settled, len(link.pending), link.credit, CAPACITY, link.progress is not None)
            for link in self.senders)

    def check(self):
        for ledger in self.ledgers.values():
            self.wait_presettled(ledger)
            try:
                ledger.check(self.steady_receivers(ledger.address))
            except AssertionError as e:
                raise AssertionError("seed %d: %s" % (self.seed, e)) from None

    def steady_receivers(self, address):
        return [link for link in self.receivers if link.address == address]

    def wait_presettled(self, ledger):
        """What is presettled has left the router when its credit is back; wait until it is here."""
        if not ledger.steady:
            return
        receivers = self.steady_receivers(ledger.address) if ledger.copies else [None]
        keys = [(receiver, name) if ledger.copies else name for receiver in receivers for name in ledger.presettled]
        self.swarm.run(seconds(10), lambda: all(ledger.got[key] for key in keys))

    def probe(self):
        """More messages than there is credit, on each address by each steady sender: nobody is stuck."""
        before = {link: link.source.ledger.count for link in self.senders}
        for link in self.senders:
            link.source.streams, streams = 0, link.source.streams
            link.source.budget = 2 * CAPACITY
        self.wait(lambda: self.at_rest() and not any(link.source.budget for link in self.senders), self.unrest)
        for link in self.senders:
            link.source.streams = streams
            assert link.source.ledger.count >= before[link] + 2 * CAPACITY
        self.check()

    def check_base(self):
        self.drain.kill()
        counts = []

        def is_base():
            self.swarm.run(0.05)
            counts[:] = self.manager.counts()
            return tuple(counts) == self.base

        wait_until(is_base, 20, lambda: "connections, links, addresses to be %s again: they are %s; connections: %s" % (
            self.base, counts, [row["container"] for row in self.manager.query("connection", "container")]))
        if self.verbose:
            print("seed %d: %d clients so far, base %s, RSS %d kB, management %s" % (
                self.seed, self.swarm.made, self.base, self.router.rss_kb(), dict(self.manager.done)), flush=True)
