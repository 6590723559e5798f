#!/usr/bin/python3
"""Remote calls on oslo.messaging's AMQP 1.0 driver (OpenStack's, on pyngus and proton): two servers, one client.

usage: oslo_client.py HOST PORT [COUNT [MODE]]; prints one line of JSON: what each way of calling came to. MODE is the driver's
addressing_mode: dynamic (it asks the peer who it is), routable, or legacy, which is for brokers.
"""
import json
import os
import sys
import threading
import time

import oslo_messaging
from oslo_config import cfg
from oslo_messaging._drivers.amqp1_driver.opts import amqp1_opts

TOPIC = "numbers"


class Endpoint:
    """What the servers offer."""

    def __init__(self, name):
        self.name, self.heard, self.lock = name, [], threading.Lock()

    def double(self, ctxt, number):
        return {"server": self.name, "result": 2 * number}

    def fail(self, ctxt):
        raise ValueError("no such number")

    def note(self, ctxt, text):
        with self.lock:
            self.heard.append(text)


class Listener:
    """Who hears notifications."""

    def __init__(self):
        self.heard = []

    def info(self, ctxt, publisher_id, event_type, payload, metadata):
        self.heard.append((event_type, payload["number"]))


def notify(host, port, count):
    """Tell two listeners of a topic, which share it, so many things; what was heard is returned."""
    transport = oslo_messaging.get_notification_transport(cfg.CONF, url="amqp://%s:%s/" % (host, port))
    listeners = [Listener(), Listener()]
    servers = [oslo_messaging.get_notification_listener(transport, [oslo_messaging.Target(topic="events")], [listener],
                                                        executor="threading") for listener in listeners]
    for server in servers:
        server.start()
    notifier = oslo_messaging.Notifier(transport, publisher_id="here", driver="messaging", topics=["events"])
    for number in range(count):
        notifier.info({}, "made", {"number": number})
    wait_until(lambda: sum(len(listener.heard) for listener in listeners) >= count)
    return sorted(number for listener in listeners for _, number in listener.heard)


def connect(host, port):
    return oslo_messaging.get_rpc_transport(cfg.CONF, url="amqp://%s:%s/" % (host, port))


def wait_until(condition, limit=20):
    end = time.monotonic() + limit
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)


def serve(host, port, name):
    endpoint = Endpoint(name)
    server = oslo_messaging.get_rpc_server(connect(host, port), oslo_messaging.Target(topic=TOPIC, server=name), [endpoint],
                                           executor="threading")
    server.start()
    return endpoint, server


def main():
    host, port = sys.argv[1:3]
    cfg.CONF([], project="trunkline-tests")
    count = int(sys.argv[3]) if len(sys.argv) > 3 else 20
    cfg.CONF.register_opts(amqp1_opts, group="oslo_messaging_amqp")
    cfg.CONF.set_override("addressing_mode", sys.argv[4] if len(sys.argv) > 4 else "dynamic", group="oslo_messaging_amqp")
    endpoints, servers = zip(*(serve(host, port, name) for name in ("one", "two")))
    client = oslo_messaging.get_rpc_client(connect(host, port), oslo_messaging.Target(topic=TOPIC), timeout=20)
    answers = [client.call({}, "double", number=number) for number in range(count)]
    result = {"calls": [answer["result"] for answer in answers] == [2 * number for number in range(count)],
              "servers": sorted({answer["server"] for answer in answers}),
              "to_two": {client.prepare(server="two").call({}, "double", number=1)["server"] for _ in range(5)} == {"two"}}
    try:
        client.call({}, "fail")
        result["error"] = None
    except ValueError as e:  # carried over and raised here again
        result["error"] = str(e).splitlines()[0]
    client.prepare(server="one").cast({}, "note", text="cast")
    client.prepare(fanout=True).cast({}, "note", text="fanout")
    wait_until(lambda: len(endpoints[0].heard) >= 2 and len(endpoints[1].heard) >= 1)
    result["heard"] = [sorted(endpoint.heard) for endpoint in endpoints]
    result["notified"] = notify(host, port, count) == list(range(count))
    print(json.dumps(result), flush=True)
    os._exit(0)  # the library takes seconds to stop each of its servers in order


if __name__ == "__main__":
    main()
