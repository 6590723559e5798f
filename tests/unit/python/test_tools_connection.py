"""The time-outs of the tools' connection, on a clock of the test's own."""

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


@pytest.fixture
def world(monkeypatch):
    world = World()
    monkeypatch.setattr(module.time, "monotonic", world.monotonic)
    return world


@pytest.fixture
def connection(world):
    made = module.Connection.__new__(module.Connection)
    made.container, made.conn, made.disconnected, made.closing, made._limit = world, Remote(), False, False, 5.0
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
