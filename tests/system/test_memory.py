"""What clients have used is given back when they have gone."""
import socket

from support.deadline import SLOWNESS, kilobytes, seconds, wait_until
from support.router import Config
from support.wire import (AMQP_HEADER, ATTACH, BEGIN, FLOW, OPEN, SOURCE, TARGET, UNLIMITED, described, frame,
                          performative)

AT_ONCE, WAVES = 1500, 6


def visit(number):
    """All that a short-lived client says: a session, a receiver with credit and a sender."""
    address = "closest/%d" % (number % 500)
    says = [performative(OPEN, container_id="client-%d" % number, max_frame_size=65536),
            performative(BEGIN, next_outgoing_id=0, incoming_window=UNLIMITED, outgoing_window=UNLIMITED),
            performative(ATTACH, name="in", handle=0, role=True, source=described(SOURCE, address), target=described(TARGET, "here")),
            performative(ATTACH, name="out", handle=1, role=False, initial_delivery_count=0, source=described(SOURCE, "here"),
                         target=described(TARGET, address)),
            performative(FLOW, next_incoming_id=0, incoming_window=UNLIMITED, next_outgoing_id=0, outgoing_window=UNLIMITED,
                         handle=0, delivery_count=0, link_credit=10)]
    return AMQP_HEADER + b"".join(map(frame, says))


def wait_attached(client):
    """Read until both links have been answered: an attach is descriptor 0x12 here, and in nothing else that comes."""
    client.settimeout(seconds(30))
    got = b""
    while got.count(b"\x00\x53\x12") < 2:
        piece = client.recv(65536)
        assert piece, "the router has ended the connection"
        got += piece


def test_memory_of_clients_that_have_gone_is_given_back(start_router):
    router = start_router(Config(workerThreads=4))
    files, before, sizes = router.open_files(), router.rss_kb(), []
    says = [visit(number) for number in range(AT_ONCE)]
    for _ in range(WAVES):
        clients = [socket.create_connection((router.host, router.port)) for _ in says]
        for client, octets in zip(clients, says):
            client.sendall(octets)
        for client in clients:
            wait_attached(client)
        sizes.append(router.rss_kb())
        for client in clients:
            client.close()
        wait_until(lambda: router.open_files() <= files, 30, "the connections to end")
    print("kB: %d before, %s with %d clients, %d when the last had gone" % (before, sizes, AT_ONCE, router.rss_kb()))
    if SLOWNESS > 1:
        return  # sanitizers keep what is freed
    wait_until(lambda: router.rss_kb() < before + kilobytes(6_000), 30,
               lambda: "the memory to come back: it was %d kB, was %s with clients, is %d" % (before, sizes, router.rss_kb()))
    print("kB: %d in the end" % router.rss_kb())
