"""What clients see of each entity: its attributes and their columns, from here or from C."""

from trunkline import amqp, core, entities, schema
from trunkline.entities import ADDRESS
from trunkline.held import AUTOLINK, HELD, LINK_ROUTE, OWN_LINK_ROUTE
from trunkline.request import BAD_REQUEST, NOT_FOUND, Failure

CONFIG_ADDRESS = schema.find(ADDRESS)
ROUTER, CONNECTION, LINK = schema.find("router"), schema.find("connection"), schema.find("router.link")
CONSOLE = schema.find("console")
OWN_ROUTE = OWN_LINK_ROUTE.type
# Attributes that C knows of an entity that we hold: their values are asked for when the entity is shown.
_LIVE = {
    "connector": ("failoverUrls", "connectionStatus", "connectionMsg"),
    "policy": (
        "connectionsProcessed",
        "connectionsDenied",
        "connectionsCurrent",
        "linksDenied",
        "maxMessageSizeDenied",
        "totalDenials",
    ),
}
# General types whose entities C has: the attribute that C knows each by.
_FROM_CORE = {"logStats": "name", "allocator": "typeName", "router.node": "id"}
# Core columns that Python has or that are another column under a second name.
SAME_AS = {
    "router.address": {"name": "key", "identity": "key"},
    "router": {"blockedLinkCount": "linksBlocked"},
    ADDRESS: {"enableFallback": "fallback"},
    LINK_ROUTE: {"dir": "direction"},
    AUTOLINK: {"addr": "address", "dir": "direction", "externalAddr": "externalAddress"},
}
_ROUTER_CONFIGURED = {a.name for a in ROUTER.own_attributes.values() if not a.read_only} | {"name", "identity", "type"}


def attributes(entity, request):
    """All attributes of an entity that have a value; of core types all columns, with nulls, and for the router what
    else was configured."""
    if entity.type is CONFIG_ADDRESS or entity.type is ROUTER:
        names = all_columns(entity.type)
        if entity.type is ROUTER:
            names = list(dict.fromkeys(names + list(ROUTER.attributes)))
        values = address_values(entity) if entity.type is CONFIG_ADDRESS else router_values(names, request)
        return {name: _typed(entity.type, name, values[name]) for name in names}
    if entity.type.short in HELD:
        return core_row(entity.type, entity.identity, request)
    known = entity.attributes()
    live = _LIVE.get(entity.type.short)
    if live:
        row = core.read(entity.type.short, entity.identity, live, request.conn_id)
        known.update((k, v) for k, v in zip(live, row or ()) if v is not None)
    return known


_WRAP = {"ulong": amqp.ULong, "uint": amqp.UInt, "long": amqp.Long, "int": amqp.Int}


def _typed(entity_type, name, value):
    """A core attribute's value with its column's AMQP type."""
    wrap = _WRAP.get(entity_type.columns.get(name))
    return wrap(value) if wrap and value is not None else value


def all_columns(entity_type):
    return list(entity_type.columns or entity_type.attributes)


def address_values(entity):
    """Every attribute of an address rule as clients see it (management reference 4.5)."""
    values = entity.values
    phases = values["ingressPhase"], values["egressPhase"]
    distribution = values["distribution"]
    return {
        "name": entity.name,
        "identity": entity.identity,
        "type": CONFIG_ADDRESS.full,
        "prefix": values["prefix"],
        "pattern": values["pattern"],
        "distribution": None if distribution == "unavailable" else distribution,
        "waypoint": phases == (0, 1),
        "ingressPhase": phases[0],
        "egressPhase": phases[1],
        "priority": values["priority"],
        "fallback": values["fallback"],
        "enableFallback": values["fallback"],
    }


def router_values(names, request):
    """The router's attributes of those names: configured ones from here, figures from C."""
    entity = entities.registry.singleton("router")
    aliases = SAME_AS["router"]
    values = {name: entity.values.get(name) for name in names}
    values.update(name=entity.values["id"], identity="1", type=ROUTER.full, area="0", version=core.VERSION)
    if "hostName" in values:
        from posix import uname

        values["hostName"] = uname().nodename
    wanted = tuple(
        dict.fromkeys(
            aliases.get(n, n)
            for n in names
            if n in aliases or n in ROUTER.columns and values[n] is None and n not in _ROUTER_CONFIGURED
        )
    )
    if wanted:
        (row,) = core.query("router", wanted, 0, 1, request.conn_id)
        figures = dict(zip(wanted, row))
        values.update((n, figures[aliases.get(n, n)]) for n in names if aliases.get(n, n) in figures)
    return values


def core_columns(entity_type, names):
    """What to ask C for so that `names` can be shown: (columns, function from C's row to ours, or None if they are the
    same)."""
    aliases = SAME_AS.get(entity_type.short, {})
    sources = ["host" if entity_type is CONNECTION and n == "name" else aliases.get(n, n) for n in names]
    wanted = tuple(dict.fromkeys(n for n in sources if n != "type")) or (
        "identity" if "identity" not in aliases else "key",
    )
    if list(wanted) == names and entity_type is not CONNECTION:
        return wanted, None
    places = [None if n == "type" else wanted.index(n) for n in sources]
    name_at = [i for i, n in enumerate(names) if entity_type is CONNECTION and n == "name"]
    full = entity_type.full

    def build(row):
        shown = [full if place is None else row[place] for place in places]
        for i in name_at:
            shown[i] = "connection/%s" % shown[i]
        return shown

    return wanted, build


def core_row(entity_type, key, request):
    """All columns of an object that C has, with their types."""
    names = all_columns(entity_type)
    wanted, build = core_columns(entity_type, names)
    row = core.read(entity_type.short, key, wanted, request.conn_id) if key is not None else None
    if row is None:
        raise Failure(NOT_FOUND)
    values = build(row) if build else row
    return {n: _typed(entity_type, n, v) for n, v in zip(names, values)}


def live_entities(request, only=None):
    """Entities of the general types that C has."""
    for short, key in _FROM_CORE.items():
        entity_type = schema.find(short)
        if only is not None and entity_type not in only:
            continue
        columns = tuple(entity_type.own_attributes)
        asked = columns if key in columns else (key,) + columns
        for row in core.query(short, asked, 0, 0, request.conn_id):
            values = dict(zip(asked, row))
            identity = "%s/%s" % (short, values[key])
            yield entities.Entity(entity_type, values, identity, values.pop("name") if key == "name" else identity)


_OWN_ROUTE_COLUMNS = ("name", "identity", "pattern", "direction", "containerId")


def own_routes(request):
    """The link routes that the connection of the request has made for itself, as dicts; others' it does not see."""
    asked, of = _OWN_ROUTE_COLUMNS + ("ofConnection",), str(request.conn_id)
    rows = core.query(OWN_ROUTE.short, asked, 0, 0, request.conn_id)
    return [dict(zip(asked, row), type=OWN_ROUTE.full) for row in rows if row[-1] == of]


def own_route(request):
    """The one that the request names; identity wins over name."""
    key = "identity" if request.identity is not None else "name"
    value = getattr(request, key)
    if value is None:
        raise Failure(BAD_REQUEST, "No name or identity provided")
    for row in own_routes(request):
        if row[key] == value:
            return {n: row[n] for n in OWN_ROUTE.columns}
    raise Failure(NOT_FOUND)
