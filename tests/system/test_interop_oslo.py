"""OpenStack's remote calls over the router: oslo.messaging with its AMQP 1.0 driver."""
import json
from pathlib import Path

import pytest

from support.broker import Broker
from support.brokers import waypoint, with_broker
from support.router import Config

CLIENT = Path(__file__).parent / "clients" / "oslo_client.py"


def oslo_config(config):
    """What OpenStack's documentation gives for a router, and the prefixes of addresses that are meant for brokers."""
    for prefix, distribution in (("exclusive", "closest"), ("unicast", "closest"), ("broadcast", "multicast")):
        config.add("address", prefix=prefix, distribution=distribution)
    for prefix, distribution in (("openstack.org/om/rpc/multicast", "multicast"), ("openstack.org/om/rpc/unicast", "closest"),
                                 ("openstack.org/om/rpc/anycast", "balanced"), ("openstack.org/om/notify/multicast", "multicast"),
                                 ("openstack.org/om/notify/unicast", "closest"), ("openstack.org/om/notify/anycast", "balanced")):
        config.add("address", prefix=prefix, distribution=distribution)
    return config


@pytest.mark.parametrize("mode", ("dynamic", "legacy"))
def test_oslo_call_cast_fanout_and_notification(start_router, start_program, mode):
    """By addresses for routers, which the driver chooses when it sees one, and by those that are meant for brokers."""
    router = start_router(oslo_config(Config()))
    lines = start_program("/usr/bin/python3", CLIENT, router.host, router.port, 50, mode).wait(60)
    result = json.loads(next(line for line in lines if line.startswith("{")))
    assert result == {"calls": True, "servers": ["one", "two"], "to_two": True, "error": "no such number",
                      "heard": [["cast", "fanout"], ["fanout"]], "notified": True}
    keys = {"dynamic": "openstack.org/om/rpc/anycast", "legacy": "unicast."}
    assert keys[mode] in router.log()


@pytest.mark.parametrize("mode", ("routable", "legacy"))
def test_oslo_notifications_pass_a_brokers_queue(start_router, start_program, mode):
    """Calls go straight, notifications by way of a broker behind the router: they would wait there for a listener."""
    topic = {"routable": "openstack.org/om/notify/anycast", "legacy": "unicast"}[mode]
    queue = {"routable": topic + "/openstack/events.info", "legacy": "unicast.openstack.events.info"}[mode]
    with Broker() as broker:
        config = with_broker(oslo_config(Config()), broker).add("address", pattern=queue, waypoint=True)
        router = start_router(waypoint(config, queue))
        broker.wait_attached(queue, 2)
        lines = start_program("/usr/bin/python3", CLIENT, router.host, router.port, 20, mode).wait(60)
        result = json.loads(next(line for line in lines if line.startswith("{")))
        assert result["notified"] and result["calls"]
        assert broker.numbers == 20, "all of them were in the queue"
