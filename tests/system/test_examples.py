"""The configurations of etc/examples, and the commands that docs/ shows: they work as they stand, and do what is said."""
import json
import os
import re
import socket
import subprocess
from pathlib import Path

import pytest
from proton import Message, symbol

from support.broker import Broker
from support.client_peer import ClientPeer
from support.container import Container
from support.deadline import seconds, wait_until
from support.peers import ACCEPTED
from support.rabbitmq import free_ports
from support.router import ROOT, Router, build_dir, die_with_parent, program
from support.tool import output
from support.wire import TRANSFER, Wire, message

EXAMPLES = ROOT / "etc" / "examples"
ATTRIBUTE = r"^(\s*%s\s*:\s*)([^#\s]+)"


def here(text, kind="listener", **values):
    """A configuration with other values of attributes in sections of a kind: free ports of the loopback, that is."""
    def replace(section):
        changed = section[0]
        for name, value in values.items():
            changed = re.sub(ATTRIBUTE % name, r"\g<1>%s" % value, changed, flags=re.M)
        return changed
    return re.sub(r"^%s \{.*?^\}" % kind, replace, text, flags=re.M | re.S)


@pytest.fixture
def start_example(tmp_path):
    """start_example(name, **values of its connector): the example as it stands, but for ports, hosts and log files."""
    routers = []

    def start(name, **connector):
        text = here((EXAMPLES / name).read_text(), host="127.0.0.1", port=0)
        text = here(text, "log", outputFile=tmp_path / "example.log")
        text = here(text, "connector", **connector)
        made = Router(text, tmp_path, name="example" if not routers else "example%d" % len(routers))
        routers.append(made)
        listeners = len(re.findall(r"^listener \{", text, re.M))
        wait_until(lambda: made.log().count("Listening on") == listeners, 15, lambda: "listeners:\n" + made.log())
        made.wait_ready()
        return made
    yield start
    for router in routers:
        router.finish()


def all_examples():
    return sorted(str(path.relative_to(EXAMPLES)) for path in EXAMPLES.rglob("*.conf"))


@pytest.mark.parametrize("name", all_examples())
def test_example_is_right(name):
    done = subprocess.run([program("qdrouterd"), "--check", "-c", EXAMPLES / name], capture_output=True, text=True,
                          timeout=seconds(20))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_each_example_is_run_by_a_test_of_its_own():
    tests = set(re.findall(r'start_example\("([^"]*)"', Path(__file__).read_text()))
    assert tests == set(all_examples())


def shares(router, peers, address, messages=4):
    """What two receivers of an address get of some messages to it."""
    inboxes = [peers.connect(router).receiver(address, credit=100) for _ in range(2)]
    router.wait_receivers(address, 2)
    outbox = peers.connect(router).sender(address)
    for n in range(messages):
        assert outbox.outcome(outbox.send("m%d" % n)).state == ACCEPTED
    found = [len(inbox.messages) for inbox in inboxes]
    return "all to both" if found == [messages] * 2 else "shared" if sum(found) == messages else found


def test_standalone_balances_queues_and_copies_news(start_example, peers):
    router = start_example("standalone.conf")
    assert shares(router, peers, "queue/a") == "shared"
    assert shares(router, peers, "news/a") == "all to both"


def test_addresses_are_treated_as_the_comments_say(start_example, peers):
    router = start_example("addresses.conf")
    assert shares(router, peers, "orders/eu") == "shared"
    assert shares(router, peers, "orders.eu") == "shared"
    assert shares(router, peers, "orders") == "shared"
    assert shares(router, peers, "rpc/a") == "shared"
    assert shares(router, peers, "events/a") == "all to both"
    assert shares(router, peers, "sensors/roof/alarm") == "all to both"
    assert shares(router, peers, "sensors/roof/heat/now") == "shared"
    for unmatched in ("orders2", "elsewhere"):
        box = peers.connect(router).sender(unmatched, wait=False)
        assert box.wait_detached()[0] == "amqp:not-found"


def test_limits_are_those_of_the_listener(start_example, peers):
    router = start_example("limits.conf")
    ports = {name: (router.host, port) for name, port in router.ports.items()}
    inbox = peers.connect(ports["inner"]).receiver("queue/a", credit=0)
    inner = peers.connect(ports["inner"]).sender("queue/a")
    outer = peers.connect(ports["outer"]).sender("queue/a")
    inner.wait_credit(1000)
    outer.wait_credit(50)
    assert (inner.credit, outer.credit) == (1000, 50)
    assert inner.peer.connection.transport.remote_max_frame_size == 65536
    assert outer.peer.connection.transport.remote_max_frame_size == 16384
    assert outer.peer.connection.transport.remote_idle_timeout == 15  # half of it, in which we must send something
    assert inbox.link.credit == 0


def test_logging_shows_messages_of_the_listener_that_says_so(start_example, peers):
    router = start_example("logging.conf")
    inbox = peers.connect((router.host, router.ports["plain"])).receiver("queue/a")
    outbox = peers.connect((router.host, router.ports["watched"])).sender("queue/a")
    outbox.outcome(outbox.send(Message("body", id="m1", subject="s", reply_to="r", properties={"a": "b"})))
    inbox.next()
    line = router.wait_log(r"MESSAGE .*\n")[0]
    assert 'Received Message{message-id="m1", subject="s", app-properties={"a"="b"}} on link' in line
    assert router.log().count(" MESSAGE (") == 1
    assert " SERVER (info)" not in (router.directory / "example.log").read_text()
    assert re.match(r"\d{4}-\d\d-\d\d \S+ \+0000 ", router.log().splitlines()[-1])


def test_connector_brings_a_server_that_listens(start_example, peers):
    with ClientPeer() as server:
        router = start_example("connector.conf", host="127.0.0.1", port=server.port)
        router.wait_log(r"Connection Opened: dir=out ")
        rows = output("qdstat", "-b", router.address, "-c")
        assert re.search(r"client-peer +route-container +amqp +out ", rows)


def test_exchange_passes_weather_on(start_example, peers):
    router = start_example("exchange.conf")
    client = peers.connect(router)
    inboxes = {name: client.receiver(name) for name in ("alarms", "weather/eu", "weather/other")}
    outbox = client.sender("weather")
    for subject in ("eu.storm", "us.storm", "eu.north.sun", "us.sun"):
        assert outbox.outcome(outbox.send(Message("x", subject=subject))).state == ACCEPTED
    for name, subjects in (("alarms", ["eu.storm", "us.storm"]), ("weather/eu", ["eu.storm", "eu.north.sun"]),
                           ("weather/other", ["us.sun"])):
        inboxes[name].wait_count(len(subjects))
        assert [message.subject for message in inboxes[name].messages] == subjects


def test_tenants_have_names_of_their_own(start_example, peers):
    router = start_example("tenants.conf")
    one, two = (peers.connect((router.host, router.ports["tenants"]), virtual_host=vhost) for vhost in ("ten1", "ten2"))
    orders, news = one.receiver("orders"), [one.receiver("news"), one.receiver("news")]
    operator = peers.connect((router.host, router.ports["operators"])).sender(None)
    for address in ("ten1/orders", "ten1/news"):
        assert operator.outcome(operator.send(address, to=address)).state == ACCEPTED
    for inbox in (orders, *news):
        inbox.wait_count(1)
    other = two.sender("orders")
    peers.run_for(0.2)
    assert other.credit == 0


def test_failover_works_both_ways(start_example):
    first, second = Container(), Container()
    router = start_example("failover.conf", host="127.0.0.1", port=first.port)
    with Wire(router) as client:
        told = client.open().fields["properties"][symbol("failover-server-list")]
        assert told == [{symbol("scheme"): "amqp", symbol("network-host"): "127.0.0.1", symbol("port"): "5673"}]
    server, opened, _ = first.accept_open(properties={symbol("failover-server-list"): [
        {symbol("network-host"): "127.0.0.1", symbol("port"): second.port}]})
    assert opened["properties"][symbol("site")] == "roof"
    first.close()
    server.drop()
    server, _, _ = second.accept_open()
    server.begin()
    server.attach("in", 0, False, "rpc/a")
    server.credit(0, 5)
    with Wire(router) as client:
        client.open_session()
        client.attach("out", 0, True, "rpc/a")
        client.wait_credit(0)
        client.transfer(0, 0, message("found you"))
        assert b"found you" in server.expect(TRANSFER).payload
    second.close()
    server.drop()


def test_interior_routers_form_a_network(start_example, peers):
    a = start_example("interior-a.conf")
    b = start_example("interior-b.conf", host="127.0.0.1", port=a.ports["routers"])
    clients = {router: (router.host, router.ports["clients"]) for router in (a, b)}
    addresses = {router: "%s:%d" % clients[router] for router in (a, b)}
    wait_until(lambda: re.search(r"^\s*Router\.B\s+-\s", output("qdstat", "-b", addresses[a], "-n"), re.M), 15,
               lambda: output("qdstat", "-b", addresses[a], "-n"))
    inboxes = [peers.connect(clients[router]).receiver("news/a", credit=10) for router in (a, b)]
    outbox = peers.connect(clients[a]).sender("news/a")
    wait_until(lambda: remote_of(addresses[a], "news/a") == 1, 15, lambda: output("qdstat", "-b", addresses[a], "-a"))
    assert outbox.outcome(outbox.send(Message("to all"))).state == ACCEPTED
    assert [inbox.next().body for inbox in inboxes] == ["to all", "to all"]
    queue = peers.connect(clients[b]).receiver("queue/a", credit=10)
    outbox = peers.connect(clients[a]).sender("queue/a")
    assert outbox.outcome(outbox.send(Message("across"))).state == ACCEPTED
    assert queue.next().body == "across"


def test_edge_router_is_part_of_the_network(start_example, peers):
    a = start_example("interior-a.conf")
    edge = start_example("edge.conf", host="127.0.0.1", port=a.ports["edges"])
    edge.wait_log("is this edge router's uplink")
    at_edge, inside = peers.connect((edge.host, edge.ports["clients"])), peers.connect((a.host, a.ports["clients"]))
    for sends, receives in ((at_edge, inside), (inside, at_edge)):
        queue, news = receives.receiver("queue/a"), [client.receiver("news/a") for client in (at_edge, inside)]
        outbox = sends.sender("queue/a")
        assert outbox.outcome(outbox.send("across")).state == ACCEPTED
        assert queue.next().body == "across"
        outbox = sends.sender(None)
        wait_until(lambda: consumers_of("%s:%d" % (a.host, a.ports["clients"]), "news/a") == 2, 10, "two receivers of news/a")
        assert outbox.outcome(outbox.send("to all", to="news/a")).state == ACCEPTED
        assert [inbox.next().body for inbox in news] == ["to all", "to all"]
        for box in [queue, *news]:
            box.close()
        wait_until(lambda: consumers_of("%s:%d" % (a.host, a.ports["clients"]), "news/a") == 0, 10, "no receivers of news/a")


def consumers_of(router, address):
    """How many receivers of an address a router has, edge routers with some included."""
    rows = json.loads(output("qdmanage", "-b", router, "query", "--type=router.address"))
    return sum(row["subscriberCount"] for row in rows if row["name"] == "M0" + address)


# -- in front of brokers


def test_fallback_keeps_what_nobody_takes(start_example, peers):
    with Broker() as broker:
        router = start_example("fallback.conf", port=broker.port)
        broker.wait_attached("orders", 1, is_sender=True)
        outbox = peers.connect(router).sender("orders")
        assert outbox.outcome(outbox.send("kept")).state == ACCEPTED
        assert broker.bodies("orders") == ["kept"]
        inbox = peers.connect(router).receiver("orders")
        assert inbox.next().body == "kept"
        assert outbox.outcome(outbox.send("straight")).state == ACCEPTED
        assert inbox.next().body == "straight"
        broker.wait_length("orders", 0)


def test_aggregation_puts_the_brokers_queue_in_the_way(start_example, peers):
    with Broker() as broker:
        router = start_example("aggregation/qdrouterd.conf", port=broker.port)
        broker.wait_attached("orders", 2)
        outbox = peers.connect(router).sender("orders")
        assert outbox.outcome(outbox.send("kept")).state == ACCEPTED
        assert broker.bodies("orders") == ["kept"]
        assert peers.connect(router).receiver("orders").next().body == "kept"


def test_sharded_queue_is_one_queue(start_example, peers):
    with Broker() as broker:  # both connectors lead to it
        router = start_example("sharded-queue/qdrouterd.conf", port=broker.port)
        broker.wait_attached("orders", 4)
        outbox = peers.connect(router).sender("orders")
        for number in range(20):
            assert outbox.outcome(outbox.send(number)).state == ACCEPTED
        inbox = peers.connect(router).receiver("orders", credit=100)
        inbox.wait_count(20)
        assert sorted(message.body for message in inbox.messages) == list(range(20))


@pytest.mark.parametrize("folder, ports, shown", [
    ("aggregation", ("ROUTER_PORT", "BROKER_PORT"), [r"orders +in +1 .*active", "order 1\norder 2\norder 3\norder 4\norder 5\n"]),
    ("sharded-queue", ("ROUTER_PORT", "BROKER1_PORT", "BROKER2_PORT"), [r"received 100, settled 100"]),
])
def test_example_folder_runs(folder, ports, shown):
    environment = dict(os.environ, PATH="%s:/usr/bin:/bin" % (build_dir() / "bin"),
                       **dict(zip(ports, map(str, free_ports(len(ports))))))
    done = subprocess.run([EXAMPLES / folder / "run"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, env=environment, timeout=seconds(60),
                          preexec_fn=die_with_parent)
    assert done.returncode == 0, done.stdout
    for pattern in shown:
        assert re.search(pattern, done.stdout), done.stdout


def test_example_folder_says_why_it_cannot_run():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port, = free_ports(1)
        environment = dict(os.environ, PATH="%s:/usr/bin:/bin" % (build_dir() / "bin"), BROKER_PORT=str(port),
                           ROUTER_PORT=str(taken.getsockname()[1]))
        done = subprocess.run([EXAMPLES / "aggregation" / "run"], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, env=environment, timeout=seconds(60),
                              preexec_fn=die_with_parent)
    assert done.returncode == 1
    assert "waited in vain for the router's links to the broker; the program said:\n" in done.stdout
    # Not always last: its connection to the broker may have come about, and is closed.
    assert re.search(r"^qdrouterd: .*Address already in use$", done.stdout, re.M), done.stdout


def remote_of(router, address):
    """How many other routers have receivers of an address."""
    rows = json.loads(output("qdmanage", "-b", router, "query", "--type=router.address"))
    return sum(row["remoteCount"] for row in rows if row["name"] == "M0" + address)


# -- the commands of the documentation

BLOCK = re.compile(r"(?:^    .*\n|^\n(?=    ))+", re.M)


def blocks(page, heading):
    """The indented blocks with commands (`$ `) of a section of a page."""
    text = (ROOT / "docs" / page).read_text()
    section = re.search(r"^## %s\n(.*?)(?=^## |\Z)" % re.escape(heading), text, re.M | re.S)
    assert section, "no section '%s' in docs/%s" % (heading, page)
    return [block for block in BLOCK.findall(section[1]) if re.search(r"^    \$ ", block, re.M)]


def test_link_routes_lead_to_the_broker(start_example, peers):
    with Broker() as broker:
        router = start_example("link-routes.conf", host="127.0.0.1", port=broker.port)
        router.wait_log("Link Route Activated 'linkRoute/3'")
        client = peers.connect(router)
        producer = client.sender("queues/a")
        assert producer.outcome(producer.send("x")).state == ACCEPTED
        broker.wait_length("queues/a", 1)
        assert client.receiver("queues/a", credit=1).next().body == "x"
        broker.put("events/eu", "news")
        assert client.receiver("topics/events/eu", credit=1).next().body == "news"


def documented():
    return [pytest.param(page, heading, number, id="%s-%s-%d" % (page, heading.replace(" ", "_"), number))
            for page, heading in (("tools.md", "Sending and receiving"), ("running.md", "Levels at run time"),
                                  ("running.md", "When messages do not move"), ("running.md", "Each message in the log"), ("exchanges.md", "Watching and changing"))
            for number in range(len(blocks(page, heading)))]


@pytest.mark.parametrize("page, heading, number", documented())
def test_documented_commands_print_what_is_shown(start_router, tmp_path, page, heading, number):
    """All commands of a block in one shell; each line shown (`...` stands for anything) is among what they print."""
    router = start_router((ROOT / "etc" / "examples" / "standalone.conf").read_text()
                          .replace("0.0.0.0", "127.0.0.1").replace("amqp  ", "0  ")
                          .replace("saslMechanisms: ANONYMOUS", "saslMechanisms: ANONYMOUS\n"
                                   "    messageLoggingComponents: all"))
    block = [line[4:] for line in blocks(page, heading)[number].splitlines()]
    commands = [line[2:] for line in block if line.startswith("$ ")]
    shown = [line for line in block if line and not line.startswith("$ ")]
    script = "\n".join(commands + ["wait"]).replace("127.0.0.1:5672", router.address)
    (tmp_path / "orders.txt").write_text("one\ntwo\nthree\n")
    (tmp_path / "qdrouterd.log").symlink_to(router.log_path)
    environment = {"PATH": "%s:/usr/bin:/bin" % (build_dir() / "bin"), "LC_ALL": "C.UTF-8", "TZ": "UTC",
                   "HOME": os.environ.get("HOME", "/")}
    done = subprocess.run(["/bin/bash", "-c", script], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT, text=True, cwd=tmp_path, env=environment, timeout=seconds(60),
                          preexec_fn=die_with_parent)
    printed = done.stdout.replace(router.address, "127.0.0.1:5672")
    assert done.returncode == 0, printed
    for line in shown:
        pattern = r"\s+".join(".*".join(map(re.escape, word.split("..."))) for word in line.split())
        assert line == "..." or re.search(r"^\s*%s\s*$" % pattern, printed, re.M), "%r is not in\n%s" % (line, printed)
