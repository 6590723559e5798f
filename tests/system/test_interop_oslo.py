"""OpenStack's remote calls over the router: oslo.messaging with its AMQP 1.0 driver."""
import json
from pathlib import Path

from support.router import Config

CLIENT = Path(__file__).parent / "clients" / "oslo_client.py"


def test_oslo_call_cast_and_fanout(start_router, start_program):
    """The configuration is the one that OpenStack's documentation gives for a router."""
    config = Config()
    for prefix, distribution in (("openstack.org/om/rpc/multicast", "multicast"), ("openstack.org/om/rpc/unicast", "closest"),
                                 ("openstack.org/om/rpc/anycast", "balanced"), ("openstack.org/om/notify/multicast", "multicast"),
                                 ("openstack.org/om/notify/unicast", "closest"), ("openstack.org/om/notify/anycast", "balanced")):
        config.add("address", prefix=prefix, distribution=distribution)
    router = start_router(config)
    lines = start_program("/usr/bin/python3", CLIENT, router.host, router.port, 50).wait(60)
    result = json.loads(next(line for line in lines if line.startswith("{")))
    assert result == {"calls": True, "servers": ["one", "two"], "to_two": True, "error": "no such number",
                      "heard": [["cast", "fanout"], ["fanout"]]}
