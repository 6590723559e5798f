"""The time-outs of the tools' connection, on a clock of the test's own, and interrupts."""

import os
import select
import signal

import pytest

from proton import ConnectionException, Endpoint, Timeout

from trunkline.tools import connection as module


class World:
    """Clock and event loop in one: each turn of the loop takes as long as the test says, at most what it is allowed."""

    def __init__(self):
        self.now = 100.0
        self.turns = []  # how long after it began each turn of the loop has an event
        self.allowed = []  # what time each turn was given
        self.timeout = None

    def selectable(self, bell):
        pass  # a turn of the loop does not wait for anything

    def monotonic(self):
        return self.now

    def process(self):
        self.allowed.append(self.timeout)
        self.now += min(self.turns.pop(0) if self.turns else self.timeout, self.timeout)


class Remote:
    state = Endpoint.LOCAL_ACTIVE | Endpoint.REMOTE_ACTIVE
    connected_address = "amqp://r"
    closed = False

    def close(self):
        self.closed = True


@pytest.fixture(autouse=True)
def interruptible():
    """Also where whoever started the tests ignores interrupts, as a shell does for what runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(module.time, "monotonic", world.monotonic)
    return world


@pytest.fixture
def connection(world):
    made = module.Connection.__new__(module.Connection)
    made.container, made.conn, made.disconnected, made.closing, made._limit = world, Remote(), False, False, 5.0
    made._interrupts = module._Interrupts(world)
    made.restart_clock()
    return made


def test_connection_events_do_not_prolong_the_wait(world, connection):
    world.turns = [2.0, 2.5]
    with pytest.raises(Timeout) as raised:
        connection.wait(lambda: False, msg="Waiting for response")
    assert str(raised.value) == "Connection amqp://r timed out: Waiting for response"
    assert world.allowed == [5.0, 3.0, 0.5]
    assert world.now == 105.0


def test_connection_waits_of_one_exchange_share_the_deadline(world, connection):
    world.turns = [3.0]
    connection.wait(lambda: world.now >= 103)
    with pytest.raises(Timeout):
        connection.wait(lambda: False)
    assert world.now == 105.0
    connection.restart_clock()
    with pytest.raises(Timeout):
        connection.wait(lambda: False)
    assert world.now == 110.0


def test_connection_shorter_wait_ends_earlier_and_longer_one_does_not_last_longer(world, connection):
    for timeout, end in ((1, 101.0), (60, 105.0)):
        with pytest.raises(Timeout):
            connection.wait(lambda: False, timeout=timeout)
        assert world.now == end


def test_connection_condition_that_holds_needs_no_time_left(world, connection):
    world.now += 60
    connection.wait(lambda: True)
    assert world.allowed == []


def test_connection_lost_while_waiting_is_an_error(world, connection):
    def lose():
        connection.disconnected = "reason"

    world.process = lose
    with pytest.raises(ConnectionException) as raised:
        connection.wait(lambda: False)
    assert str(raised.value) == "Connection amqp://r disconnected: reason"


def test_connection_close_waits_a_bounded_time_for_the_peer(world, connection):
    connection.close()
    assert connection.conn.closed
    assert world.now == 100.0 + module.FAREWELL
    connection.close()
    assert world.now == 100.0 + module.FAREWELL


def test_connection_close_after_loss_says_nothing(world, connection):
    connection.disconnected = "reason"
    connection.close()
    assert not connection.conn.closed
    assert world.allowed == []


def test_connection_interrupted_does_its_step_first(world, connection):
    steps = []

    def step():
        os.kill(os.getpid(), signal.SIGINT)
        steps.append("done")

    world.process = step
    with pytest.raises(KeyboardInterrupt):
        connection.wait(lambda: False)
    assert steps == ["done"]
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    # What the container waits for has been rung, so that a wait for the peer ends at once.
    assert select.select([connection._interrupts._bell], [], [], 0)[0]


def test_connection_interrupted_by_the_last_step_is_told(world, connection):
    with pytest.raises(KeyboardInterrupt):
        connection.wait(lambda: signal.raise_signal(signal.SIGINT) is None)


def test_connection_leaves_interrupts_to_who_handles_them(world, connection):
    came = []
    before = signal.signal(signal.SIGINT, lambda *_: came.append(1))
    try:
        world.process = lambda: os.kill(os.getpid(), signal.SIGINT)
        connection.wait(lambda: came)
    finally:
        signal.signal(signal.SIGINT, before)
    assert came == [1]
