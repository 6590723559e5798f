"""qdstat --explain: ask every router of the network about one address, and say why its messages move or do not."""

import json
import time

from trunkline import diagnosis

from .errors import ManagementError
from .node import node_address
from .table import Table, commas

# Statuses of qdstat --explain beside those of every tool (program.py).
STATUS = {diagnosis.MOVES: 0, diagnosis.IDLE: 0, diagnosis.STUCK: 3}
INTERVAL = 1.0


def _look(node, address, names, silent=None):
    """({router id: what it says}, {router id: why it says nothing}). names: addresses of management nodes; the routers that
    these name as edge routers are asked, too. silent: those that need not be asked."""
    views, silent = {}, dict(silent or {})
    waiting = list(names)
    while waiting:
        name = waiting.pop(0)
        router = _router_of(name)
        if router in silent:
            continue
        try:
            view = _ask(node, name, address)
        except Exception as error:  # whatever it is, the other routers can still be asked
            if router is None:
                raise
            silent[router] = "%s: %s" % (type(error).__name__, error)
            continue
        views[view["router"]] = view
        for edge in view["edges"]:
            if edge and edge not in views and edge not in silent:
                waiting.append("_edge/%s/$management" % edge)
    return views, silent


def _router_of(name):
    """The id in the address of a router's management node; None: it is the one connected to."""
    return name.split("/")[-2] if "/" in name else None


def _ask(node, name, address):
    if node.address != name:
        node.attach(name)
    view = node.management("EXPLAIN", address=address)
    if not isinstance(view, dict) or "uses" not in view:
        raise ManagementError("The answer to EXPLAIN is none: %.200r" % (view,))
    return view


def _network(node):
    """(addresses of the management nodes of all interior routers, {id: why it need not be asked}). An edge router knows none
    of them but that of its uplink, which knows the others."""
    names = node.mgmt_nodes()
    if names:
        return names, node.unreachable()
    here = node.address
    interior = _ask(node, here, "$management").get("interior")
    if not interior:
        return [here], {}
    try:
        node.attach(node_address(router=interior))
        return [here, *node.mgmt_nodes()], node.unreachable()
    except Exception as error:  # the edge router itself can still be asked
        return [here], {interior: "%s: %s" % (type(error).__name__, error)}


def explain(node, opts):
    """What is to be shown: (map, exit status)."""
    names, silent = _network(node)
    names = [name.removeprefix("amqp:/") for name in names]
    before, silent = _look(node, opts.explain, names, silent)
    if not before:
        raise ManagementError("No router answers: " + "; ".join("%s: %s" % item for item in silent.items()))
    start = time.monotonic()
    time.sleep(opts.interval)
    # Who was silent is not waited for a second time.
    after, silent = _look(node, opts.explain, names, silent)
    found = diagnosis.diagnose(before, after or None, silent, time.monotonic() - start)
    found.update(address=opts.explain, routers=after or before, silent=silent)
    return found, STATUS[found["state"]]


# ---- tables ----


def _seconds(ms):
    return "-" if ms is None else "%.1f" % (ms / 1000)


def _state(link):
    if link["heldBy"] in ("window", "output"):
        return {"window": "window full", "output": "not reading"}[link["heldBy"]]
    if link["credit"] == 0:
        return "no credit"
    return "stuck" if (link["waitingMs"] or 0) >= diagnosis.SLOW_MS else "ok"


def _links(title, key, routers, kind):
    table = Table(title, ("router", "phs", "conn id", "id", "container", "role", "credit", "no credit s", "queued", "unsett",
                          "waiting s", "deliv", "rate", "state"))
    for router, view in sorted(routers.items()):
        for use in view["uses"]:
            for link in use[kind]:
                table.add(router, use["key"][1:2] if use["key"][:1] == "M" else "", link["connection"], link["identity"],
                          link["container"] or link["host"], link["role"], link["credit"], _seconds(link["noCreditMs"]),
                          commas(link["queued"]), commas(link["unsettled"]), _seconds(link["waitingMs"]),
                          commas(link["deliveries"]), link["settleRate"], _state(link))
            hidden = use[key] - len(use[kind])
            if hidden > 0:
                table.add(router, use["key"][1:2], "", "", "and %d more" % hidden)
    return table


def _rule(view):
    rule = view["rule"]
    if rule is None:
        return "none", "", view["defaultDistribution"], "", ""
    kind = "prefix" if "prefix" in rule else "pattern"
    return (kind, rule[kind], rule["distribution"], rule["priority"] if rule["priority"] >= 0 else "-",
            "%d/%d" % (rule["ingressPhase"], rule["egressPhase"]))


def _rules(routers):
    table = Table("How it is configured", ("router", "mode", "by", "text", "distrib", "pri", "phases"))
    for router, view in sorted(routers.items()):
        table.add(router, view["mode"], *_rule(view))
    return table


def _routes(routers):
    table = Table("Link routes", ("router", "dir", "pattern", "name", "to", "open", "for s", "links"))
    for router, view in sorted(routers.items()):
        for entry in view.get("linkRoutes") or ():
            for route in entry["routes"]:
                table.add(router, entry["direction"], entry["key"][1:], route["name"] or route["identity"],
                          diagnosis.container_of(route), route["connections"], _seconds(route["sinceMs"]), entry["links"])
            for other in filter(None, entry["routers"]):
                table.add(router, entry["direction"], entry["key"][1:], "", "router %s" % other["id"],
                          "" if other["reachable"] else "unreachable", "", entry["links"])
    return table


def _auto_links(routers):
    table = Table("AutoLinks", ("router", "dir", "phs", "name", "to", "extAddr", "status", "lastErr", "retry s"))
    for router, view in sorted(routers.items()):
        for link in view.get("autoLinks") or ():
            table.add(router, link["direction"], link["key"][1:2], link["name"] or link["identity"],
                      diagnosis.container_of(link), link["externalAddress"], link["operStatus"], link["lastError"],
                      _seconds(link["retryMs"]))
    return table


def _exchanges(routers):
    table = Table("Exchanges", ("router", "phs", "exchange", "key", "next hop", "hop phs", "matched"))
    for router, view in sorted(routers.items()):
        for exchange in view.get("exchanges") or ():
            for binding in exchange["bindings"]:
                table.add(router, exchange["phase"], exchange["name"], binding["bindingKey"], binding["nextHopAddress"],
                          binding["nextHopPhase"], commas(binding["matchedCount"]))
            hidden = exchange["bindingCount"] - len(exchange["bindings"])
            if hidden > 0:
                table.add(router, exchange["phase"], exchange["name"], "and %d more" % hidden)
    return table


def _ways(routers):
    table = Table("Ways to other routers that have receivers", ("router", "phs", "to", "next hop", "cost", "queued there",
                                                                "unsett there", "held by", "for s"))
    for router, view in sorted(routers.items()):
        trunks = {trunk["router"]: trunk for trunk in view["trunks"]}
        for use in view["uses"]:
            for other in filter(None, use["routers"]):
                trunk = trunks.get(other["nextHop"]) or {}
                table.add(router, use["key"][1:2], other["id"], other["nextHop"] if other["reachable"] else "unreachable",
                          other["cost"], trunk.get("queued"), trunk.get("unsettled"), trunk.get("heldBy") or "-",
                          _seconds(trunk.get("heldMs")))
    return table


def lines(found, opts):
    """What a person reads: the sentence first."""
    if opts.json:
        return json.dumps(found, indent=2, sort_keys=True).split("\n")
    out = ["%s: %s" % (found["address"], found["sentence"]), ""]
    for phase in found["phases"]:
        out += ["also: %s" % sentence for sentence in phase["more"]]
    out += ["router %s did not answer, and may know more: %s" % item for item in sorted(found["silent"].items())]
    if len(out) > 2:
        out.append("")
    routers = found["routers"]
    others = [table for table in (_routes(routers), _auto_links(routers), _exchanges(routers)) if len(table)]
    for table in (*others, _links("Receivers", "receiverCount", routers, "receivers"),
                  _links("Senders", "senderCount", routers, "senders"), _ways(routers), _rules(routers)):
        out += [*table.lines(opts.csv), ""]
    return out[:-1]
