"""qdstat: show the state of a router.

Each view is a function of (Node, options) that gives the lines to print; VIEWS lists them with their options.
"""

import datetime
import locale
import time
from contextlib import ExitStack

from proton import Timeout
from proton.utils import LinkDetached

from . import explain
from . import options as common
from .node import PREFIX
from .table import Columns, Table, binary_size, clock, commas, duration

_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_ADDRESS_CLASSES = {
    "M": "mobile", "R": "router", "A": "area", "L": "local", "T": "topo",
    "C": "link-in", "E": "link-in", "D": "link-out", "F": "link-out", "H": "edge",
}


# Addresses as the router keeps them: a letter for the class, for mobile ones the phase, then the text.

def address_class(key):
    """The class of an address from its key."""
    return _ADDRESS_CLASSES.get(key[0], "unknown: " + key[0]) if key else ""


def address_text(key):
    """The address itself from its key."""
    return key[2 if key[0] == "M" else 1:] if key else ""


def address_phase(key):
    """The phase of a mobile address from its key, else nothing."""
    return key[1:2] if key and key[0] == "M" else ""


def _get(name):
    return lambda entity: entity.get(name)


def _commas(name):
    return lambda entity: commas(entity.get(name))


# -g

_GENERAL = (
    ("Version", "version", None),
    ("Mode", "mode", None),
    ("Router Id", "id", None),
    ("Worker Threads", "workerThreads", None),
    ("Uptime", "uptimeSeconds", duration),
    ("VmSize", "memoryUsage", binary_size),
    ("Area", "area", None),
    ("Link Routes", "linkRouteCount", None),
    ("Auto Links", "autoLinkCount", None),
    ("Links", "linkCount", None),
    ("Nodes", "nodeCount", None),
    ("Addresses", "addrCount", None),
    ("Connections", "connectionCount", None),
)
_STATISTICS = (
    ("Presettled Count", "presettledDeliveries"),
    ("Dropped Presettled Count", "droppedPresettledDeliveries"),
    ("Accepted Count", "acceptedDeliveries"),
    ("Rejected Count", "rejectedDeliveries"),
    ("Released Count", "releasedDeliveries"),
    ("Modified Count", "modifiedDeliveries"),
    ("Deliveries Delayed > 1sec", "deliveriesDelayed1Sec"),
    ("Deliveries Delayed > 10sec", "deliveriesDelayed10Sec"),
    ("Deliveries Stuck > 10sec", "deliveriesStuck"),
    ("Deliveries to Fallback", "deliveriesRedirectedToFallback"),
    ("Links Blocked", "linksBlocked"),
    ("Ingress Count", "deliveriesIngress"),
    ("Egress Count", "deliveriesEgress"),
    ("Transit Count", "deliveriesTransit"),
    ("Deliveries from Route Container", "deliveriesIngressRouteContainer"),
    ("Deliveries to Route Container", "deliveriesEgressRouteContainer"),
)


def general(node, opts):
    router = node.router()
    table = Table("Router Statistics", ("attr", "value"))
    for label, name, style in _GENERAL:
        value = router.get(name)
        if name in router and not (name == "memoryUsage" and value is None):
            table.add(label, style(value) if style else value)
    for label, name in _STATISTICS:
        if name not in router:
            break  # an older router: what came later it does not have either
        table.add(label, router[name])
    return table.lines(opts.csv)


# -c and -e

def _security(connection):
    if not connection.get("isEncrypted"):
        return "no-security"
    if connection.get("sasl") == "GSSAPI":
        return "Kerberos"
    return "%s(%s)" % (connection.get("sslProto"), connection.get("sslCipher"))


def _authentication(connection):
    if not connection.get("isAuthenticated"):
        return "no-auth"
    mechanism = connection.get("sasl")
    if mechanism == "ANONYMOUS":
        return "anonymous-user"
    mechanism = {"GSSAPI": "Kerberos", "EXTERNAL": "x.509"}.get(mechanism, mechanism)
    user = connection.get("user")
    return "%s(%s)" % (user, mechanism) if user else mechanism


def _tenant(connection):
    tenant = connection.get("tenant") or ""
    return tenant[:-1] if tenant.endswith("/") else tenant


def _last_delivery(connection):
    value = connection.get("lastDlvSeconds")
    return "-" if value is None else duration(value)


def connections(node, opts):
    answer = node.query(PREFIX + "connection", limit=opts.limit)
    columns = Columns("Connections")
    columns.column("id", _get("identity"))
    columns.column("host", _get("host"))
    columns.column("container", _get("container"))
    columns.column("role", _get("role"))
    columns.column("proto", _get("protocol"))
    columns.column("dir", _get("dir"))
    columns.column("security", _security)
    columns.column("authentication", _authentication)
    columns.column("tenant", _tenant)
    has_times = "lastDlvSeconds" in answer and "uptimeSeconds" in answer
    columns.column("last dlv", _last_delivery, has_times)
    columns.column("uptime", lambda connection: duration(connection.get("uptimeSeconds")), has_times)
    return columns.lines(answer.rows, opts.csv)


def edges(node, opts):
    answer = node.query(PREFIX + "connection", limit=opts.limit)
    if not answer.rows:
        return ["No Edge Router Connections"]
    rows = [row for row in answer.rows if row.get("role") == "edge"]
    if not rows:
        return []
    columns = Columns("Connections")
    columns.column("id", _get("identity"))
    columns.column("host", _get("host"))
    columns.column("container", _get("container"))
    columns.column("role", _get("role"))
    columns.column("dir", _get("dir"))
    columns.column("security", _security)
    columns.column("authentication", _authentication)
    columns.column("tenant", _tenant)
    columns.column("active", lambda row: "yes" if row.get("active") else "no", "active" in answer)
    return columns.lines(rows, opts.csv)


# -l

_LINK_ATTRIBUTES = (
    "linkType", "linkDir", "connectionId", "identity", "peer", "owningAddr", "capacity", "undeliveredCount", "unsettledCount",
    "deliveryCount", "presettledCount", "droppedPresettledCount", "acceptedCount", "rejectedCount", "releasedCount",
    "modifiedCount", "deliveriesDelayed1Sec", "deliveriesDelayed10Sec", "deliveriesStuck", "creditAvailable",
    "zeroCreditSeconds", "adminStatus", "operStatus", "linkName", "priority", "settleRate",
)
# Heading, attribute; the derived columns come with a function.
_LINK_COLUMNS = (
    ("type", "linkType", None),
    ("dir", "linkDir", None),
    ("conn id", "connectionId", None),
    ("id", "identity", None),
    ("peer", "peer", None),
    ("class", "owningAddr", lambda link: address_class(link.get("owningAddr"))),
    ("addr", "owningAddr", lambda link: address_text(link.get("owningAddr"))),
    ("phs", "owningAddr", lambda link: address_phase(link.get("owningAddr"))),
    ("cap", "capacity", None),
    ("pri", "priority", None),
    ("undel", "undeliveredCount", None),
    ("unsett", "unsettledCount", None),
    ("deliv", "deliveryCount", None),
    ("presett", "presettledCount", None),
    ("psdrop", "droppedPresettledCount", None),
    ("acc", "acceptedCount", None),
    ("rej", "rejectedCount", None),
    ("rel", "releasedCount", None),
    ("mod", "modifiedCount", None),
    ("delay", "deliveriesDelayed1Sec",
     lambda link: (link.get("deliveriesDelayed1Sec") or 0) + (link.get("deliveriesDelayed10Sec") or 0)),
    ("rate", "settleRate", None),
    ("stuck", "deliveriesStuck", None),
    ("cred", "creditAvailable", None),
    ("blkd", "zeroCreditSeconds", lambda link: clock(link["zeroCreditSeconds"]) if link["zeroCreditSeconds"] else "-"),
)
_LINK_COLUMNS_VERBOSE = (
    ("admin", "adminStatus", None),
    ("oper", "operStatus", None),
    ("name", "linkName", None),
)


def links(node, opts):
    answer = node.query(PREFIX + "router.link", _LINK_ATTRIBUTES, opts.limit)
    columns = Columns("Router Links")
    for heading, attribute, function in _LINK_COLUMNS + (_LINK_COLUMNS_VERBOSE if opts.verbose else ()):
        columns.column(heading, function or _get(attribute), attribute in answer)
    return columns.lines(answer.rows, opts.csv)


# -n

def _moment(seconds):
    """Friday Nov 20 09:43:06 2026 GMT, in English whatever the locale."""
    moment = time.gmtime(seconds)
    _, month, _, hours, year = time.asctime(moment).split()
    return "%s %s %02d %s %s GMT" % (_WEEKDAYS[moment.tm_wday], month, moment.tm_mday, hours, year)


def _strings(value):
    return None if value is None else [str(item) for item in value]


def _router_link(router):
    return "-" if router.get("nextHop") else router.get("routerLink")


def nodes(node, opts):
    answer = node.query(PREFIX + "router.node", limit=opts.limit)
    if not answer.rows:
        return ["Router is Standalone - No Router List"]
    changed = max(router.get("lastTopoChange") or 0 for router in answer.rows)
    title = "Routers in the Network"
    if changed > 1:
        title += "\nLast Topology Change: " + _moment(changed)
    columns = Columns(title)
    columns.column("router-id", _get("id"))
    columns.column("next-hop", lambda router: router.get("nextHop") or "-")
    columns.column("link", _router_link)
    if opts.verbose:
        columns.column("ver", _get("protocolVersion"))
        columns.column("cost", _get("cost"))
        columns.column("neighbors", lambda router: _strings(router.get("linkState")))
        columns.column("valid-origins", lambda router: _strings(router.get("validOrigins")))
    return columns.lines(sorted(answer.rows, key=lambda router: str(router.get("id"))), opts.csv)


# -a

_ADDRESS_ATTRIBUTES = (
    "distribution", "inProcess", "subscriberCount", "remoteCount", "containerCount", "deliveriesIngress", "deliveriesEgress",
    "deliveriesRedirectedToFallback", "deliveriesTransit", "deliveriesToContainer", "deliveriesFromContainer", "name",
    "priority",
)


def _local_count(address):
    key = address.get("name") or " "
    return commas(address.get("containerCount" if key[0] in "CDEF" else "subscriberCount"))


def _address_priority(address):
    priority = address.get("priority")
    return "-" if priority is None or priority < 0 else priority


def _fallback_count(address):
    count = address.get("deliveriesRedirectedToFallback")
    return "-" if count is None else commas(count)


def addresses(node, opts):
    answer = node.query(PREFIX + "router.address", _ADDRESS_ATTRIBUTES, opts.limit)
    columns = Columns("Router Addresses")
    columns.column("class", lambda address: address_class(address.get("name")))
    columns.column("addr", lambda address: address_text(address.get("name")))
    columns.column("phs", lambda address: address_phase(address.get("name")))
    columns.column("distrib", _get("distribution"))
    columns.column("pri", _address_priority, "priority" in answer)
    columns.column("in-proc", _commas("inProcess"), opts.verbose)
    columns.column("local", _local_count)
    columns.column("remote", _commas("remoteCount"))
    columns.column("in", _commas("deliveriesIngress"))
    columns.column("out", _commas("deliveriesEgress"))
    columns.column("thru", _commas("deliveriesTransit"))
    columns.column("fallback", _fallback_count)
    columns.column("to-proc", _commas("deliveriesToContainer"), opts.verbose)
    columns.column("from-proc", _commas("deliveriesFromContainer"), opts.verbose)
    return columns.lines(sorted(answer.rows, key=lambda address: address_text(address.get("name"))), opts.csv)


# -m

_POOL_ATTRIBUTES = (
    "identity", "typeSize", "transferBatchSize", "localFreeListMax", "totalAllocFromHeap", "heldByThreads",
    "batchesRebalancedToThreads", "batchesRebalancedToGlobal",
)


def _pool_type(pool):
    identity = pool.get("identity") or ""
    return identity.partition("/")[2] or identity


def memory(node, opts):
    pools = node.query(PREFIX + "allocator", _POOL_ATTRIBUTES).rows
    vmsize = node.router(("memoryUsage",)).get("memoryUsage")
    if all(pool.get("totalAllocFromHeap") is None for pool in pools):
        return ["No memory statistics available"]
    columns = Columns("Memory Pools")
    columns.column("type", _pool_type)
    columns.column("size", _commas("typeSize"))
    columns.column("batch", _get("transferBatchSize"))
    columns.column("thread-max", _commas("localFreeListMax"))
    columns.column("total", _commas("totalAllocFromHeap"))
    columns.column("in-threads", _commas("heldByThreads"))
    columns.column("rebal-in", _commas("batchesRebalancedToThreads"))
    columns.column("rebal-out", _commas("batchesRebalancedToGlobal"))
    pooled = sum((pool.get("typeSize") or 0) * (pool.get("totalAllocFromHeap") or 0) for pool in pools)
    summary = Table("Memory Summary", ("VmSize", "Pooled"))
    summary.add("-" if vmsize is None else binary_size(vmsize), binary_size(pooled))
    return [*columns.lines(sorted(pools, key=_pool_type), opts.csv), "", *summary.lines(opts.csv)]


# -p

_POLICY_CONFIGURATION = (
    ("Maximum Concurrent Connections", "maxConnections"),
    ("Maximum Message Size", "maxMessageSize"),
    ("Enable Vhost Policy", "enableVhostPolicy"),
    ("Enable Vhost Name Patterns", "enableVhostNamePatterns"),
    ("Policy Directory", "policyDir"),
    ("Default Vhost", "defaultVhost"),
)
_POLICY_STATUS = (
    ("Connections Processed", "connectionsProcessed"),
    ("Connections Denied", "connectionsDenied"),
    ("Connections Current", "connectionsCurrent"),
    ("Links Denied", "linksDenied"),
    ("Maximum Message Size Denied", "maxMessageSizeDenied"),
    ("Total Denials", "totalDenials"),
)


def _policy_cell(name, value):
    return (value or "(nil)") if name in ("policyDir", "defaultVhost") else value


def policy(node, opts):
    answer = node.query(PREFIX + "policy")
    lines = []
    for title, rows in (("Policy Configuration", _POLICY_CONFIGURATION), ("Policy Status", _POLICY_STATUS)):
        table = Table(title, ("attr", "value"))
        for entity in answer.rows[:1]:
            for label, name in rows:
                if name in answer:
                    table.add(label, _policy_cell(name, entity[name]))
        lines += [*table.lines(opts.csv), ""]
    return lines[:-1]


# --autolinks and --linkroutes

_AUTOLINK_COLUMNS = (
    ("addr", "address"), ("dir", "direction"), ("phs", "phase"), ("extAddr", "externalAddress"), ("link", "linkRef"),
    ("status", "operStatus"), ("lastErr", "lastError"),
)
_LINK_ROUTE_ATTRIBUTES = (
    "prefix", "direction", "distribution", "operStatus", "pattern", "addExternalPrefix", "delExternalPrefix",
)


def autolinks(node, opts):
    rows = node.query(PREFIX + "router.config.autoLink", [name for _, name in _AUTOLINK_COLUMNS], opts.limit).rows
    if not rows:
        return ["AutoLinks", "No AutoLinks found"]
    columns = Columns("AutoLinks")
    for heading, name in _AUTOLINK_COLUMNS:
        columns.column(heading, _get(name))
    return columns.lines(sorted(rows, key=lambda row: row.get("address") or ""), opts.csv)


def _route_address(route):
    return route.get("prefix") or route.get("pattern") or ""


def _route_prefixes(route):
    return (route.get("addExternalPrefix"), route.get("delExternalPrefix"))


def linkroutes(node, opts):
    rows = node.query(PREFIX + "router.config.linkRoute", _LINK_ROUTE_ATTRIBUTES, opts.limit).rows
    if not rows:
        return ["Link Routes", "No Link Routes found"]
    headings = ["address", "dir", "distrib", "status"]
    if any(any(_route_prefixes(row)) for row in rows):
        headings += ["add-ext-prefix", "del-ext-prefix"]
    table = Table("Link Routes", headings)
    for row in sorted(rows, key=_route_address):
        prefixes = _route_prefixes(row)
        table.add(_route_address(row), row.get("direction"), row.get("distribution"), row.get("operStatus"),
                  *(prefixes if any(prefixes) else ()))
    return table.lines(opts.csv)


# --vhosts, --vhostgroups and --vhoststats

_GROUP_NUMBERS = (
    "maxConnectionsPerUser", "maxConnectionsPerHost", "maxMessageSize", "maxFrameSize", "maxSessionWindow", "maxSessions",
    "maxSenders", "maxReceivers",
)
_GROUP_BOOLEANS = (
    "allowDynamicSource", "allowAnonymousSender", "allowUserIdProxy", "allowWaypointLinks", "allowDynamicLinkRoutes",
    "allowAdminStatusUpdate", "allowFallbackLinks",
)
_GROUP_LISTS = ("users", "remoteHosts", "sources", "targets", "sourcePattern", "targetPattern")


def _hostname(vhost):
    return vhost.get("hostname") or vhost.get("id")  # id: what routers before 1.1 called it


def vhosts(node, opts):
    answer = node.query(PREFIX + "vhost")
    if not answer.rows:
        return ["No Vhosts"]
    columns = Columns("Vhosts")
    columns.column("hostname", _hostname)
    columns.column("maxConnections", _get("maxConnections"))
    columns.column("maxMessageSize", lambda vhost: str(vhost.get("maxMessageSize")), "maxMessageSize" in answer)
    columns.column("maxConnectionsPerUser", _get("maxConnectionsPerUser"))
    columns.column("maxConnectionsPerHost", _get("maxConnectionsPerHost"))
    columns.column("allowUnknownUser", _get("allowUnknownUser"))
    columns.column("groups", lambda vhost: len(vhost.get("groups") or ()))
    return columns.lines(answer.rows, opts.csv)


def _group_defaults(node):
    """The defaults of group settings, from the router's own schema: they differ between releases."""
    schema = node.management("GET-SCHEMA") or {}
    settings = (schema.get("entityTypes") or {}).get("vhostUserGroupSettings") or {}
    return {name: attribute.get("default") for name, attribute in (settings.get("attributes") or {}).items()}


def _setting(group, defaults, name, unset):
    value = group.get(name)
    if value is None:
        value = defaults.get(name)
    return unset if value is None else value


def vhostgroups(node, opts):
    answer = node.query(PREFIX + "vhost")
    if not answer.rows:
        return ["No Vhosts"]
    defaults = _group_defaults(node)
    table = Table("Vhost Groups", ("vhost", "group", *_GROUP_NUMBERS, *_GROUP_BOOLEANS))
    details = []
    for vhost in answer.rows:
        for name, group in (vhost.get("groups") or {}).items():
            group = group or {}
            table.add(_hostname(vhost), name,
                      *(_setting(group, defaults, number, "(nil)") for number in _GROUP_NUMBERS),
                      *(_setting(group, defaults, boolean, False) for boolean in _GROUP_BOOLEANS))
            detail = Table("Vhost '%s' UserGroup '%s'" % (_hostname(vhost), name), ("attr", "value"))
            detail.add("vhost", _hostname(vhost))
            detail.add("group", name)
            for attribute in _GROUP_LISTS:
                detail.add(attribute, _setting(group, {}, attribute, "(nil)"))
            details += ["", *detail.lines(opts.csv)]
    return table.lines(opts.csv) + details


def vhoststats(node, opts):
    answer = node.query(PREFIX + "vhostStats")
    if not answer.rows:
        return ["No Vhost Stats"]
    columns = Columns("Vhost Stats")
    columns.column("hostname", _hostname)
    for name in ("connectionsApproved", "connectionsDenied", "connectionsCurrent", "sessionDenied", "senderDenied",
                 "receiverDenied"):
        columns.column(name, _get(name))
    columns.column("maxMessageSizeDenied", _get("maxMessageSizeDenied"), "maxMessageSizeDenied" in answer)
    users = Table("Vhost User Stats", ("vhost", "user", "remote hosts"))
    for vhost in answer.rows:
        for user, hosts in (vhost.get("perUserState") or {}).items():
            users.add(_hostname(vhost), user, _strings(hosts))
    return [*columns.lines(answer.rows, opts.csv), "", *users.lines(opts.csv)]


# --log

def log(node, opts):
    entries = node.management("GET-LOG", limit=opts.limit or None) or ()
    return ["%s %s (%s) %s" % (time.ctime(moment), module, level, message)
            for module, level, message, _, _, moment in entries]


# --all-entities

def all_entities(node, opts):
    lines = []
    for view in (links, addresses, connections, autolinks, linkroutes, general, memory, policy, vhosts, vhoststats):
        lines += [*view(node, opts), ""]
    return lines


# Options, function, whether time and router id stand before it, help.
VIEWS = (
    (("-g", "--general"), general, True, "show general router statistics (the default)"),
    (("-c", "--connections"), connections, True, "show connections"),
    (("-l", "--links"), links, True, "show links"),
    (("-n", "--nodes"), nodes, True, "show the routers of the network"),
    (("-e", "--edge"), edges, True, "show connections of edge routers"),
    (("-a", "--address"), addresses, True, "show addresses"),
    (("-m", "--memory"), memory, True, "show memory statistics"),
    (("-p", "--policy"), policy, True, "show policy configuration and counters"),
    (("--autolinks",), autolinks, True, "show autoLinks"),
    (("--linkroutes",), linkroutes, True, "show link routes"),
    (("--vhosts",), vhosts, False, "show vhosts"),
    (("--vhostgroups",), vhostgroups, False, "show vhost groups"),
    (("--vhoststats",), vhoststats, False, "show vhost counters"),
    (("--log",), log, False, "show the latest log entries"),
    (("--all-entities",), all_entities, True, "show links, addresses, connections, autoLinks, link routes, statistics, "
                                              "memory, policy, vhosts and vhost counters"),
)


def parse(argv, version):
    """The options from the command line. Exits on wrong usage, --help and --version."""
    parser = common.new_parser("qdstat", version, description="Show the state of a router.")
    parser.add_argument("-v", "--verbose", action="count", default=0, help="show more columns")
    group = parser.add_argument_group("what to show (at most one)")
    group = group.add_mutually_exclusive_group()
    for flags, *view, text in VIEWS:
        group.add_argument(*flags, action="store_const", dest="view", const=tuple(view), help=text)
    group.add_argument("--explain", metavar="ADDRESS",
                       help="say why messages of this address move or do not, from every router's view; status 3: they cannot")
    group = parser.add_argument_group("which router (at most one)").add_mutually_exclusive_group()
    group.add_argument("--all-routers", action="store_true", help="ask every router of the network in turn")
    common.add_router(group)
    parser.add_argument("--limit", metavar="N", type=common.count, default=0, help="show at most N rows (0: all)")
    parser.add_argument("--csv", action="store_true", help="show tables as comma-separated values")
    parser.add_argument("--json", action="store_true", help="with --explain: everything as JSON")
    parser.add_argument("--interval", metavar="SECS", type=common.seconds, default=explain.INTERVAL,
                        help="with --explain: count what moves in so many seconds (default %(default)s)")
    common.add_connection(parser)
    opts = parser.parse_args(argv)
    if opts.explain == "":
        parser.error("--explain: the address is empty")
    if opts.json and opts.explain is None:
        parser.error("--json goes with --explain")
    opts.view = opts.view or (general, True)
    return opts


def _now():
    return "%s UTC" % datetime.datetime.utcnow()


def _show(lines):
    for line in lines:
        print(line)


def _show_one(node, opts):
    view, framed = opts.view
    lines = view(node, opts)
    if framed:
        router = node.router()
        _show([_now(), router.get("id"), ""])
    _show(lines)


def _router_id(address):
    """A from _topo/0/A/$management."""
    return address.split("/", 2)[-1].rsplit("/", 1)[0]


def _show_all(node, opts, node_addresses):
    """One that does not answer does not keep the others from being shown. Gives the exit status."""
    view, _ = opts.view
    print(_now())
    unreachable = node.unreachable()
    status = 0
    with ExitStack() as connections:
        for address in node_addresses:
            address = address.removeprefix("amqp:/")
            router = _router_id(address)
            try:
                if router in unreachable:
                    raise Timeout("not asked: " + unreachable[router])
                node = node or connections.enter_context(common.connect(opts))
                node.attach(address)
                lines = view(node, opts)
            except (Timeout, LinkDetached) as error:
                lines, status = ["%s: %s" % (type(error).__name__, error)], 1
                if router not in unreachable:
                    node = None  # a request that was never sent spoils the numbers of its session for Proton's peers
            _show(["Router  " + router, "", *lines, ""])
    return status


def main(argv, version):
    """Do what the command line says. Raises whatever goes wrong. Gives the exit status."""
    try:
        locale.setlocale(locale.LC_TIME, "")
    except locale.Error:
        pass  # the environment names a locale that is not installed: times in the style of C
    opts = parse(argv, version)
    with common.connect(opts) as node:
        if opts.explain is not None:
            found, status = explain.explain(node, opts)
            _show(explain.lines(found, opts))
            return status
        node_addresses = node.mgmt_nodes()
        if opts.all_routers and len(node_addresses) > 1:
            return _show_all(node, opts, node_addresses)
        _show_one(node, opts)
    return 0
