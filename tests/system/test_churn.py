"""The router lives through clients that come and go under load, and loses nothing that it has taken on.

What is checked is told in support/churn.py. These are short runs; tests/soak.py goes on for as long as one wants.
"""
import json
import random
import signal
import threading
import time

import pytest
from proton import symbol

from support.churn import ENVIRONMENT, Churn, Manager, churn_config
from support.container import Container
from support.deadline import SLOWNESS, seconds
from support.router import build_dir
from support.wire import CLOSE, SASL_HEADER, Wire

ROUND_S = 4.0


@pytest.mark.parametrize("workers", [1, 4])
def test_churn_every_message_is_accounted_for_and_everything_returns(start_router, workers):
    router = start_router(churn_config(workers), environment=ENVIRONMENT)
    with Churn(router, seed=workers) as churn:
        churn.round(ROUND_S)
        after_first = router.rss_kb()
        churn.round(ROUND_S)
        if SLOWNESS == 1:  # sanitizers keep what was freed
            assert router.rss_kb() < after_first + 32768  # a burst; tests/soak.py looks whether it grows on


def test_full_speed_beside_churn_loses_nothing(start_router, start_program):
    """The load generator, in C and as fast as it goes; two more of it are killed in the middle of their work."""
    router = start_router(churn_config())
    count = int(200000 / SLOWNESS)

    def load(address, messages, *more):
        return start_program(build_dir() / "bench" / "amqload", "-p", router.port, "-A", address, "-s", 2, "-r", 2, "-n",
                             messages, *more)

    def are_done():
        if time.monotonic() > doom:
            for program in doomed:
                program.end()
        return all(program.process.poll() is not None for program in whole + doomed)

    with Churn(router, seed=3) as churn:
        whole = [load("closest/full", count, "-u"), load("balanced/full", count)]
        doomed = [load("closest/doomed", 100 * count, "-u"), load("balanced/doomed", 100 * count)]
        doom = time.monotonic() + 1.0
        assert churn.round(seconds(30), are_done), [program.output() for program in whole]
    for program in whole:
        told = json.loads(program.wait()[-1])
        assert (told["sent"], told["received"]) == (2 * count, 2 * count), told
    assert json.loads(whole[0].lines()[-1])["accepted"] == 2 * count


class Endpoints:
    """Listeners and connectors made by management, whose connections die at every stage, in a thread beside the churn."""
    STAGES = ["silent", "sasl", "open", "linked"]

    def __init__(self, router, seed):
        self.router, self.rng = router, random.Random(seed)
        self.manager = Manager(router, seed + 1000)
        self.failure = None
        self.thread = threading.Thread(target=self.run, name="endpoints")

    def is_done(self):
        return not self.thread.is_alive()

    def run(self):
        containers = [Container() for _ in range(3)]
        try:
            self.live(containers)
        except Exception as e:  # told by check()
            self.failure = e
        finally:
            for container in containers:
                container.close()

    def live(self, containers):
        for _ in range(3):
            self.manager.create_listener()
        for container in containers:
            self.manager.create("connector", {"host": "127.0.0.1", "port": str(container.port),
                                              "saslMechanisms": "ANONYMOUS", "role": "normal"})
        for stage in ["open", "linked", "silent", "linked"]:
            for container in containers:
                self.drop(self.dialled(container, stage))
            for _ in range(30):
                self.drop(self.accepted(self.rng.choice(self.manager.ports), self.rng.choice(self.STAGES)))
        last = [self.dialled(container, "linked") for container in containers]
        last += [self.accepted(port, "linked") for port in self.manager.ports]
        while self.manager.made:
            self.manager.delete_something()
        for wire in last[:len(containers)]:
            wire.expect(CLOSE)  # a connector takes its connection along, a listener does not
        for wire in last[len(containers):]:
            wire.attach("more", 2, True, "closest/endpoints")
        for wire in last:
            wire.drop()

    def drop(self, wire):
        wire.drop(reset=self.rng.random() < 0.5)

    def dialled(self, container, stage):
        """The router's connection to a container, brought to that stage by the container."""
        if stage == "silent":
            return container.accept(limit=20.0)[0]
        here = {symbol("network-host"): "localhost", symbol("port"): container.port}
        wire, _, _ = container.accept_open(limit=20.0, properties={symbol("failover-server-list"): [here]})
        return self.linked(wire) if stage == "linked" else wire

    def accepted(self, port, stage):
        wire = Wire(("127.0.0.1", port))
        if stage == "sasl":
            wire.raw(SASL_HEADER)
        elif stage == "open":
            wire.open()
        elif stage == "linked":
            wire.open()
            self.linked(wire)
        return wire

    @staticmethod
    def linked(wire):
        wire.begin()
        wire.attach("in", 0, False, "closest/endpoints")
        wire.credit(0, 10)
        wire.attach("out", 1, True, "closest/endpoints")
        wire.wait_credit(1)
        return wire

    def check(self):
        self.thread.join()
        self.manager.close()
        if self.failure:
            raise self.failure


@pytest.mark.parametrize("seed", [1, 2])
def test_listeners_and_connectors_outlive_their_connections_under_churn(start_router, seed):
    router = start_router(churn_config(), environment=ENVIRONMENT)
    endpoints = Endpoints(router, seed)
    try:
        with Churn(router, seed) as churn:
            endpoints.thread.start()
            assert churn.round(seconds(60), endpoints.is_done)
    finally:
        endpoints.check()


@pytest.mark.parametrize("seed", [1, 2])
def test_stop_under_churn_ends_in_order(start_router, seed):
    """Connections, streams, requests, connectors and listeners are under way when the signal comes."""
    router = start_router(churn_config())
    rng = random.Random(seed)
    with Churn(router, seed) as churn:
        churn.run(seconds(0.5) + rng.random())
        router.process.send_signal(signal.SIGTERM)
        churn.churn_until_it_ends()
    assert router.stop() == 0
