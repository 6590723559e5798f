"""Brokers and other containers behind a router: how they are configured, and whether autoLinks and link routes to them
work."""
from support.deadline import wait_until
from support.mesh import Manager
from support.router import Config

ACTIVE = ("active", None)  # of an autoLink: its state, and no error


def with_broker(config, broker, name="broker", **connector):
    return config.add("connector", name=name, host="127.0.0.1", port=broker.port, role="route-container",
                      saslMechanisms="ANONYMOUS", **connector)


def waypoint(config, queue="wp.q", name="broker"):
    """The queue in the way of its address: in and out."""
    for direction in ("out", "in"):
        config.add("autoLink", address=queue, direction=direction, connection=name)
    return config


def queue_config(broker, queue="wp.q"):
    return waypoint(with_broker(Config().add("address", prefix="wp", waypoint=True), broker), queue)


def states(router):
    """{(address, direction): (state, last error)} of a router's autoLinks."""
    manager = Manager(router)
    rows = manager.query("router.config.autoLink", "address", "direction", "operStatus", "lastError")
    manager.close()
    return {(row["address"], row["direction"]): (row["operStatus"], row["lastError"]) for row in rows}


def wait_states(router, expected, limit=10.0):
    seen = {}

    def are_so():
        seen.update(states(router))
        return {key: seen[key] for key in expected} == expected
    wait_until(are_so, limit, lambda: "%s; there is %s" % (expected, seen))


def both_ways(config, prefix="lr", **attributes):
    attributes = attributes or {"connection": "broker"}
    for direction in ("in", "out"):
        config.add("linkRoute", prefix=prefix, direction=direction, **attributes)
    return config


def wait_active(router, count, limit=10.0):
    """Until so many link routes have a container."""
    manager = Manager(router)
    rows = []

    def are_active():
        rows[:] = manager.query("router.config.linkRoute", "operStatus")
        return sum(1 for row in rows if row["operStatus"] == "active") == count
    wait_until(are_active, limit, lambda: "%d active link routes; there are %s" % (count, rows))
    manager.close()


def wait_remote(router, keys=("Clr", "Dlr"), limit=20.0):
    """Until another router is known to have containers for these addresses."""
    manager = Manager(router)
    wait_until(lambda: set(keys) <= {row["key"] for row in manager.query("router.address", "key", "remoteCount")
                                     if row["remoteCount"]}, limit)
    manager.close()
