"""The management node: requests in, answers out (management reference section 2).

A request is decoded, its operation found, and answered with a status, a description and a body; whatever goes wrong on
the way becomes an answer too. Departures from Qpid Dispatch, all where it answered wrongly or not at all, are listed
in docs/differences-from-qpid-dispatch.md.
"""

import collections
import types

from trunkline import actions, addresses, amqp, checks, core, entities, refusals, schema
from trunkline.entities import ADDRESS, MANAGEMENT, Duplicate, make
from trunkline.held import AUTOLINK, BINDING, EXCHANGE, HELD, LINK_ROUTE, OWN_LINK_ROUTE, Invalid

# Larger requests are none; C rejects them, and so do we.
MAX_REQUEST = 1 << 20

OK, CREATED, NO_CONTENT, BAD_REQUEST, FORBIDDEN, NOT_FOUND, INTERNAL_ERROR, NOT_IMPLEMENTED = (
    200,
    201,
    204,
    400,
    403,
    404,
    500,
    501,
)
DESCRIPTIONS = {
    200: "OK",
    201: "Created",
    204: "No Content",
    400: "Bad Request",
    403: "Forbidden",
    404: "Not Found",
    500: "Internal Server Error",
    501: "Not Implemented",
}
EMPTY_MAP, NULL = amqp.encode({}), amqp.encode(None)

CONFIG_ADDRESS = schema.find(ADDRESS)
ROUTER, CONNECTION, LINK = schema.find("router"), schema.find("connection"), schema.find("router.link")
OWN_ROUTE = OWN_LINK_ROUTE.type
CONSOLE = schema.find("console")
# Core types of which there may be very many: so many rows are made in one turn.
PAGED = {schema.find("connection"), schema.find("router.link"), schema.find("router.address")}
PAGE = 200
# Attributes that C knows of an entity that we hold: their values are asked for when the entity is shown.
LIVE = {
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
FROM_CORE = {"logStats": "name", "allocator": "typeName", "router.node": "id"}
# Core columns that Python has or that are another column under a second name.
SAME_AS = {
    "router.address": {"name": "key", "identity": "key"},
    "router": {"blockedLinkCount": "linksBlocked"},
    ADDRESS: {"enableFallback": "fallback"},
    LINK_ROUTE: {"dir": "direction"},
    AUTOLINK: {"addr": "address", "dir": "direction", "externalAddr": "externalAddress"},
}


class Failure(Exception):
    """The answer is a failure. body: encoded, an empty map if not given."""

    def __init__(self, status, description=None, body=EMPTY_MAP):
        super().__init__(description or DESCRIPTIONS[status])
        self.status, self.body = status, body


class Request:
    __slots__ = (
        "operation",
        "type",
        "name",
        "identity",
        "entity_type",
        "properties",
        "body",
        "has_body",
        "conn_id",
        "reply_to",
    )


def on_request(message, conn_id, to):
    """Answer one request. See core.py."""
    try:
        if len(message) > MAX_REQUEST:
            core.log(
                "AGENT",
                core.WARNING,
                "Management request of %d octets from connection %d dropped: at most %d are allowed"
                % (len(message), conn_id, MAX_REQUEST),
            )
            return
        received = amqp.decode_message(message)
    except amqp.CodecError as error:
        core.log("AGENT", core.WARNING, "Management request from connection %d dropped: %s" % (conn_id, error))
        return
    except Exception as error:
        _defect(error)
        return
    try:
        reply_to = received.properties.get("reply_to")
        if not reply_to or "\0" in reply_to:
            return
        answer = Answer(received, reply_to, conn_id)
        if not answer.go_on():
            _later(answer)
    except Exception as error:
        _defect(error)


# Answers that are made a part each turn of the router's loop, one after the other.
_unfinished = collections.deque()
# While there are so many, C gives us no other request: what is made of each stays in memory.
MAX_UNFINISHED = 8


def _later(answer):
    _unfinished.append(answer)
    if len(_unfinished) == 1:
        core.again()


def is_busy():
    """Whether an answer is unfinished, and go_on() will be called."""
    return bool(_unfinished)


def is_full():
    """Whether requests are to wait. See core.py."""
    return len(_unfinished) >= MAX_UNFINISHED


def go_on():
    """Make one more part of the first unfinished answer. See core.py."""
    try:
        answer = _unfinished.popleft()
        if not answer.go_on():
            _unfinished.appendleft(answer)
    except Exception as error:
        _defect(error)
    if _unfinished:
        core.again()


class Answer:
    """The answer to one request, which may be made in parts."""

    def __init__(self, received, reply_to, conn_id):
        self.reply_to, self.correlation_id = reply_to, received.correlation_id
        self.parts = _answer(received, conn_id)

    def go_on(self):
        """Make one part; if it was the last, send the whole. Result: whether it is done."""
        try:
            next(self.parts)
            return False
        except StopIteration as end:
            status, description, body = end.value
        head = {"statusCode": amqp.Int(status), "statusDescription": description}
        octets = amqp.encode_message(self.reply_to, self.correlation_id, head, body)
        if not core.send(self.reply_to, octets) and core.log_enabled("AGENT", core.DEBUG):
            core.log("AGENT", core.DEBUG, "Nobody receives the answer to a management request at %s" % self.reply_to)
        return True


def _defect(error):
    """Log an exception that should not have been, with the place it comes from."""
    try:
        import traceback

        core.log(
            "AGENT",
            core.ERROR,
            "Management request failed: " + "".join(traceback.format_exception(error)).replace("\n", " | "),
        )
    except Exception:  # nothing is left to report to
        core.log("AGENT", core.ERROR, "Management request failed: %s" % type(error).__name__)


def _answer(received, conn_id):
    """(status, description, encoded body) for a request: a generator, which pauses where others should have their turn."""
    try:
        request = _request(received, conn_id)
        status, body = _perform(request)
        if isinstance(body, types.GeneratorType):
            body = yield from body
        return status, DESCRIPTIONS[status], body
    except Failure as failure:
        return failure.status, str(failure), failure.body
    except core.Error as error:
        return INTERNAL_ERROR, "CError: %s: %s" % error.args[:2], EMPTY_MAP
    except Exception as error:
        _defect(error)
        return INTERNAL_ERROR, "%s: %s" % (type(error).__name__, error), EMPTY_MAP


def _text(properties, key):
    """A request property that must be text, or None."""
    value = properties.get(key)
    if value is None:
        return None
    if isinstance(value, str):
        if "\0" in value:
            raise Failure(BAD_REQUEST, "Property '%s' contains the character NUL" % key)
        return str(value)
    if key in ("name", "identity") and isinstance(value, int) and not isinstance(value, bool):
        return str(int(value))
    raise Failure(BAD_REQUEST, "Property '%s' must be a string" % key)


def _request(received, conn_id):
    request = Request()
    properties = request.properties = received.application_properties or {}
    request.body, request.has_body, request.conn_id = received.body, received.has_body, conn_id
    operation = properties.get("operation")
    if not isinstance(operation, str) or not operation:
        raise Failure(
            BAD_REQUEST,
            "No 'operation' property: Message(address=%r, properties=%r, body=%r, reply_to=%r, correlation_id=%r)"
            % (
                received.properties.get("to"),
                _Shown(properties),
                _Shown(received.body),
                received.properties["reply_to"],
                _Shown(received.properties.get("correlation_id")),
            ),
        )
    request.operation = operation.upper()
    request.type, request.name, request.identity, request.entity_type = (
        _text(properties, key) for key in ("type", "name", "identity", "entityType")
    )
    return request


class _Shown:
    """A received value whose repr() is fit for a description."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return checks.shown(self.value)


# Which operation on which entity
# ------------------------------------------------------------------------------------------


def _known_type(name):
    entity_type = schema.find(name)
    if entity_type is None:
        raise Failure(BAD_REQUEST, "No such entity type '%s'" % name)
    return entity_type


def _not_implemented(request, entity_type, body=EMPTY_MAP):
    return Failure(
        NOT_IMPLEMENTED,
        "Operation '%s' not implemented for '%s' %s"
        % (request.operation, entity_type.full, list(entity_type.operations)),
        body,
    )


def _core_type(request):
    """The core type that a request is for, by entityType or else type; or None."""
    name = request.entity_type or request.type
    entity_type = schema.find(name) if name else None
    return entity_type if entity_type and entity_type.core else None


def _perform(request):
    """(status, encoded body); raises Failure, core.Error."""
    operation, core_type = request.operation, _core_type(request)
    if operation == "QUERY" and core_type:
        return OK, _query(request, core_type)
    if operation == "CREATE":
        return _create(request)
    if core_type and operation in ("READ", "UPDATE", "DELETE"):
        return CORE_OPERATIONS[operation](request, core_type)
    entity = _find(request)
    if operation not in entity.type.operations:
        raise _not_implemented(request, entity.type)
    if operation == "READ":
        if request.type and entity.type is not schema.find(request.type) and entity is not MANAGEMENT:
            raise Failure(
                NOT_FOUND,
                "Entity type '%s' does match requested type '%s'" % (entity.type.full, schema.qualify(request.type)),
            )
        return OK, amqp.encode(_shown(entity, request))
    if entity.type.core:
        return CORE_OPERATIONS[operation](request, entity.type)
    if entity is MANAGEMENT:
        if operation not in MANAGEMENT_OPERATIONS:
            raise _not_implemented(request, entity.type)
        return OK, MANAGEMENT_OPERATIONS[operation](request)
    return ENTITY_OPERATIONS[operation](request, entity)


def _find(request):
    """The addressed entity (management reference 2.4)."""
    management, requested = MANAGEMENT.type, request.type
    if request.name is None and request.identity is None:
        if requested is None or schema.find(requested) and management.is_a(schema.find(requested)):
            return MANAGEMENT
        raise Failure(BAD_REQUEST, "%s: No name or identity provided" % _known_type(requested).full)
    entity = _lookup(request)
    if entity is None:
        given = ["%s=%s" % (k, v) for k, v in (("name", request.name), ("identity", request.identity)) if v is not None]
        raise Failure(NOT_FOUND, "No entity with " + " ".join(given))
    if request.name is not None and request.identity is not None and entity.identity != request.identity:
        raise Failure(BAD_REQUEST, "Conflicting name=%s identity=%s" % (request.name, request.identity))
    if requested is not None:
        requested_type = _known_type(requested)
        if not entity.type.is_a(requested_type):
            raise Failure(
                BAD_REQUEST,
                "Entity type '%s' does not extend requested type '%s'" % (entity.type.full, requested_type.full),
            )
    return entity


def _lookup(request):
    """By name or, if there is none, by identity: a configured entity, the management node, or one that C has; or
    None."""
    registry = entities.registry
    if request.name is not None:
        found = MANAGEMENT if request.name == MANAGEMENT.name else registry.named(request.name)
    else:
        found = (
            MANAGEMENT
            if request.identity == MANAGEMENT.identity
            else registry.by_identity(request.identity) or registry.numbered(None, request.identity)
        )
    if found:
        return found
    for entity in _live_entities(request):
        if request.name == entity.name if request.name is not None else request.identity == entity.identity:
            return entity
    return None


def _live_entities(request, only=None):
    """Entities of the general types that C has."""
    for short, key in FROM_CORE.items():
        entity_type = schema.find(short)
        if only is not None and entity_type not in only:
            continue
        columns = tuple(entity_type.own_attributes)
        asked = columns if key in columns else (key,) + columns
        for row in core.query(short, asked, 0, 0, request.conn_id):
            values = dict(zip(asked, row))
            identity = "%s/%s" % (short, values[key])
            yield entities.Entity(entity_type, values, identity, values.pop("name") if key == "name" else identity)


# Showing entities
# -----------------------------------------------------------------------------------------------------------


def _shown(entity, request):
    """All attributes of an entity that have a value; of core types all columns, with nulls, and for the router what
    else was configured."""
    if entity.type is CONFIG_ADDRESS or entity.type is ROUTER:
        names = _all_columns(entity.type)
        if entity.type is ROUTER:
            names = list(dict.fromkeys(names + list(ROUTER.attributes)))
        values = _address_values(entity) if entity.type is CONFIG_ADDRESS else _router_values(names, request)
        return {name: _typed(entity.type, name, values[name]) for name in names}
    if entity.type.short in HELD:
        return _core_row(entity.type, entity.identity, request)
    attributes = entity.attributes()
    live = LIVE.get(entity.type.short)
    if live:
        row = core.read(entity.type.short, entity.identity, live, request.conn_id)
        attributes.update((k, v) for k, v in zip(live, row or ()) if v is not None)
    return attributes


_WRAP = {"ulong": amqp.ULong, "uint": amqp.UInt, "long": amqp.Long, "int": amqp.Int}


def _typed(entity_type, name, value):
    """A core attribute's value with its column's AMQP type."""
    wrap = _WRAP.get(entity_type.columns.get(name))
    return wrap(value) if wrap and value is not None else value


def _all_columns(entity_type):
    return list(entity_type.columns or entity_type.attributes)


def _address_values(entity):
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


def _router_values(names, request):
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
            if n in aliases or n in ROUTER.columns and values[n] is None and n not in ROUTER_CONFIGURED
        )
    )
    if wanted:
        (row,) = core.query("router", wanted, 0, 1, request.conn_id)
        figures = dict(zip(wanted, row))
        values.update((n, figures[aliases.get(n, n)]) for n in names if aliases.get(n, n) in figures)
    return values


ROUTER_CONFIGURED = {a.name for a in ROUTER.own_attributes.values() if not a.read_only} | {"name", "identity", "type"}


# QUERY
# ----------------------------------------------------------------------------------------------------------------------


def _number(request, key):
    """offset, count, limit: a number not below 0, or text of one; 0 if absent."""
    value = request.properties.get(key)
    if value is None:
        return 0
    try:
        if isinstance(value, bool) or not isinstance(value, (int, str)):
            raise ValueError
        number = int(value)
    except ValueError:
        raise Failure(BAD_REQUEST, "Property '%s' must be a number, not %s" % (key, checks.quote(value))) from None
    if number < 0:
        raise Failure(BAD_REQUEST, "Property '%s' must not be negative" % key)
    return min(number, 1 << 31)


def _names_asked(request):
    """attributeNames of the request's body, or [] for all."""
    asked = request.body.get("attributeNames") if isinstance(request.body, dict) else None
    if asked is None:
        return []
    if not isinstance(asked, list) or not all(isinstance(n, str) for n in asked):
        raise Failure(BAD_REQUEST, "attributeNames must be a list of strings")
    return [str(n) for n in asked]


def _refuse_unknown(asked, known, entity_type):
    unknown = [n for n in asked if n not in known]
    if unknown:
        raise Failure(
            NOT_FOUND, "Unknown attributes %s%s." % (unknown, " for type " + entity_type.full if entity_type else "")
        )


def _query(request, core_type=None):
    asked, offset, count = _names_asked(request), _number(request, "offset"), _number(request, "count")
    if core_type is CONSOLE:
        raise Failure(FORBIDDEN, body=amqp.encode({"attributeNames": [], "results": []}))
    if core_type:
        known = dict.fromkeys(list(core_type.columns) + list(core_type.attributes))
        _refuse_unknown(asked, known, core_type)
        names = asked or _all_columns(core_type)
        kinds = [core_type.columns.get(SAME_AS.get(core_type.short, {}).get(n, n)) for n in names]
        if core_type in PAGED:
            return _table_in_pages(request, core_type, names, kinds, offset, count)
        return amqp.encode_table(names, kinds, _core_rows(request, core_type, names, offset, count))
    requested = _known_type(request.entity_type) if request.entity_type else None
    selected = [t for t in schema.types() if requested is None or t.is_a(requested)]
    if requested is not None and selected == [requested]:
        known = list(requested.attributes)
    else:
        known = list(dict.fromkeys(a for t in selected for a in (t.columns or t.attributes)))
    _refuse_unknown(asked, set(known), requested)
    names = asked or known
    rows = []
    for shown in _general_maps(request, selected):
        row = [shown.get(n) for n in names]
        if any(v is not None for v in row):
            rows.append(row)
    rows = rows[offset : offset + count if count else None]
    return amqp.encode_table(names, [None] * len(names), rows)


def _general_maps(request, selected):
    """Attributes of each entity of the selected types in order of creation, the management node first and what C has
    last.

    Connections, links and addresses in use are left out: they are asked for by their own types, in pages.
    """
    selected = set(selected)
    if MANAGEMENT.type in selected:
        yield _shown(MANAGEMENT, request)
    for entity in entities.registry:
        if entity.type in selected:
            yield _shown(entity, request)
    for entity in _live_entities(request, selected):
        yield entity.attributes()


def _core_rows(request, entity_type, names, offset, count):
    """Rows of a core type: tuples in the order of names."""
    if entity_type is ROUTER:
        values = _router_values(names, request)
        return [[values[n] for n in names]] if offset == 0 else []
    if entity_type is CONFIG_ADDRESS:
        rules = entities.registry.of(CONFIG_ADDRESS)[offset : offset + count if count else None]
        return [[values[n] for n in names] for values in map(_address_values, rules)]
    if entity_type is OWN_ROUTE:
        rows = _own_routes(request)[offset : offset + count if count else None]
        return [[row[n] for n in names] for row in rows]
    wanted, build = _core_columns(entity_type, names)
    rows = core.query(entity_type.short, wanted, offset, count, request.conn_id)
    return rows if build is None else [build(row) for row in rows]


def _table_in_pages(request, entity_type, names, kinds, offset, count):
    """The octets of a table of many rows: a generator that pauses after each page."""
    wanted, build = _core_columns(entity_type, names)
    lists, after = [], 0
    while True:
        page = min(PAGE, count - len(lists)) if count else PAGE
        rows, after = core.query_page(entity_type.short, wanted, after, offset, page, request.conn_id)
        offset = 0
        lists += amqp.encode_rows(kinds, rows if build is None else [build(row) for row in rows])
        if len(rows) < page or len(lists) == count:
            return amqp.join_table(names, lists)
        yield


def _core_columns(entity_type, names):
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


# READ, UPDATE, DELETE of core types
# -----------------------------------------------------------------------------------------


def _read_core(request, entity_type):
    name, identity = request.name, request.identity
    if entity_type is CONSOLE:
        raise Failure(FORBIDDEN)
    if entity_type is ROUTER:
        router = entities.registry.singleton("router")
        if (
            identity not in (None, "1", router.identity)
            or identity is None
            and name not in (None, router.name, router.values["id"])
        ):
            raise Failure(NOT_FOUND)
        return OK, amqp.encode(_shown(router, request))
    if entity_type.short in entities.NUMBERED:
        return OK, amqp.encode(_shown(_numbered(request, entity_type), request))
    if entity_type is OWN_ROUTE:
        return OK, amqp.encode(_own_route(request))
    if entity_type is CONNECTION and identity is None:
        raise Failure(BAD_REQUEST, "Name not supported. Identity required")
    if entity_type is LINK and identity is None:
        raise Failure(
            BAD_REQUEST, "No name or identity provided" if name is None else "Name not supported. Identity required"
        )
    return OK, amqp.encode(_core_row(entity_type, identity if identity is not None else name, request))


def _core_row(entity_type, key, request):
    """All columns of an object that C has, with their types."""
    names = _all_columns(entity_type)
    wanted, build = _core_columns(entity_type, names)
    row = core.read(entity_type.short, key, wanted, request.conn_id) if key is not None else None
    if row is None:
        raise Failure(NOT_FOUND)
    values = build(row) if build else row
    return {n: _typed(entity_type, n, v) for n, v in zip(names, values)}


OWN_ROUTE_COLUMNS = ("name", "identity", "pattern", "direction", "containerId")


def _own_routes(request):
    """The link routes that the connection of the request has made for itself, as dicts; others' it does not see."""
    asked, of = OWN_ROUTE_COLUMNS + ("ofConnection",), str(request.conn_id)
    rows = core.query(OWN_ROUTE.short, asked, 0, 0, request.conn_id)
    return [dict(zip(asked, row), type=OWN_ROUTE.full) for row in rows if row[-1] == of]


def _own_route(request):
    """The one that the request names; identity wins over name."""
    key = "identity" if request.identity is not None else "name"
    value = getattr(request, key)
    if value is None:
        raise Failure(BAD_REQUEST, "No name or identity provided")
    for row in _own_routes(request):
        if row[key] == value:
            return {n: row[n] for n in OWN_ROUTE.columns}
    raise Failure(NOT_FOUND)


def _numbered(request, entity_type):
    """The entity of a type that C numbers which a request names; identity wins over name."""
    if request.identity is None and request.name is None:
        which = "binding name" if entity_type.short == BINDING else "name"
        raise Failure(BAD_REQUEST, "No %s or identity provided" % which)
    if request.identity is not None:
        entity = entities.registry.numbered(entity_type, request.identity)
    else:
        entity = entities.registry.numbered_named(entity_type, request.name)
    if entity is None:
        raise Failure(NOT_FOUND)
    return entity


def _update_core(request, entity_type):
    if entity_type is CONSOLE:
        raise Failure(FORBIDDEN)
    if entity_type is LINK:
        return _update_link(request)
    if entity_type is CONNECTION:
        return _update_connection(request)
    raise _not_implemented(request, entity_type)


def _update_link(request):
    """adminStatus is accepted and changes nothing, as ever (management reference 2.5)."""
    if request.identity is None:
        raise Failure(BAD_REQUEST)
    if not isinstance(request.body, dict) or set(request.body) - {"adminStatus"}:
        raise Failure(BAD_REQUEST, "Only adminStatus of a link can be updated")
    if request.body.get("adminStatus") not in LINK.attributes["adminStatus"].enum:
        raise Failure(BAD_REQUEST, "Invalid value for 'adminStatus'")
    return _read_core(request, LINK)


def _update_connection(request):
    if request.identity is None or not isinstance(request.body, dict):
        raise Failure(BAD_REQUEST)
    body = request.body
    attrs = {}
    row = core.read("connection", request.identity, ("role",), request.conn_id)
    if row is None:
        raise Failure(BAD_REQUEST)
    status = body.get("adminStatus")
    if status == "deleted":
        if row[0] in ("inter-router", "edge"):
            raise Failure(FORBIDDEN, "You are not allowed to perform this operation.")
        attrs["adminStatus"] = "deleted"
    elif status is not None and status != "enabled":
        raise Failure(BAD_REQUEST)
    if "enableProtocolTrace" in body:
        try:
            attrs["enableProtocolTrace"] = checks.boolean(body["enableProtocolTrace"])
        except checks.Problem as problem:
            raise Failure(BAD_REQUEST, str(problem)) from None
    if not attrs and status is None:
        raise Failure(BAD_REQUEST)
    _, shown = _read_core(request, CONNECTION)
    if attrs:
        try:
            core.apply("connection", "update", request.identity, attrs)
        except core.Error as error:
            raise Failure(BAD_REQUEST) if error.args[0] == "Not found" else error
        values, _ = amqp.decode(shown)
        if "adminStatus" in attrs:
            values.update(adminStatus="deleted", operStatus="closing")
        if "enableProtocolTrace" in attrs:
            values["enableProtocolTrace"] = attrs["enableProtocolTrace"]
        shown = amqp.encode(values)
    return OK, shown


def _delete_core(request, entity_type):
    if entity_type in (CONSOLE, ROUTER, CONNECTION):
        raise Failure(FORBIDDEN)
    if entity_type is OWN_ROUTE:
        row = _own_route(request)
        core.apply(OWN_LINK_ROUTE.kind, "delete", row["identity"], {"ofConnection": str(request.conn_id)})
        return NO_CONTENT, EMPTY_MAP
    if entity_type.short not in entities.NUMBERED:
        raise _not_implemented(request, entity_type)
    entity = _numbered(request, entity_type)
    actions.apply(entity, "delete")
    entities.registry.remove(entity)
    if entity_type.short == EXCHANGE:
        _forget_bindings(entity)
    return NO_CONTENT, EMPTY_MAP


def _forget_bindings(exchange):
    """They have gone with their exchange."""
    registry = entities.registry
    for entity in list(registry.of(schema.find(BINDING))):
        if entity.values["exchangeName"] == exchange.name:
            registry.remove(entity)


CORE_OPERATIONS = {"READ": _read_core, "UPDATE": _update_core, "DELETE": _delete_core}


# CREATE
# ---------------------------------------------------------------------------------------------------------------------


def _create(request):
    body = request.body if isinstance(request.body, dict) else None
    asked = _core_type(request)
    if asked is None and body and request.type is None and isinstance(body.get("type"), str):
        asked = schema.find(body["type"])
        asked = asked if asked and asked.core else None
    if asked:
        return _create_core(request, asked)
    values = {str(k): v for k, v in (body or {}).items()}
    for key in ("type", "name"):
        given = getattr(request, key)
        if given is not None and values.get(key) is not None:
            same = schema.qualify(given) == schema.qualify(str(values[key])) if key == "type" else given == values[key]
            if not same:
                raise Failure(BAD_REQUEST, "Conflicting values for '%s'" % key)
        if given is not None:
            values[key] = given
    if values.get("type") is None:
        raise Failure(BAD_REQUEST, "No 'type' attribute in %s" % checks.shown(values))
    entity_type = _known_type(str(values.pop("type")))
    if "CREATE" not in entity_type.operations:
        raise _not_implemented(request, entity_type)
    for name, value in values.items():
        attribute = entity_type.attributes.get(entity_type.old_names.get(name, name))
        if attribute is None:
            raise Failure(BAD_REQUEST, "Unknown attribute '%s' for '%s'" % (name, entity_type.full))
        if value is not None and not attribute.create:
            raise Failure(BAD_REQUEST, "Cannot set attribute '%s' in CREATE" % name)
    converted, problems = checks.check_all(entity_type, values, _warn)
    if problems:
        raise Failure(BAD_REQUEST, problems[0].wire)
    refused = refusals.refused_type(entity_type) or next(
        (text for _, text in refusals.refused_attributes(entity_type, converted)), None
    )
    if refused:
        raise Failure(NOT_IMPLEMENTED, "%s: %s" % (entity_type.full, refused))
    registry = entities.registry
    role = checks.role_problem(registry.singleton("router").values["mode"], entity_type, converted)
    if role:
        raise Failure(BAD_REQUEST, role.wire)
    entity = make(entity_type, converted, registry.number(entity_type))
    try:
        registry.check(entity)
    except Duplicate as duplicate:
        raise Failure(BAD_REQUEST, "%s: %s" % (entity_type.full, duplicate)) from None
    for text in refusals.without_effect(entity_type, converted):
        _warn(text)
    actions.apply(entity, "create")
    registry.add(entity)
    return CREATED, amqp.encode(_shown(entity, request))


def _warn(text):
    core.log("AGENT", core.WARNING, text)


def _create_core(request, entity_type):
    """The core half: only the name property names the entity, unknown keys of the body are ignored, failures have a
    null body."""
    if entity_type in (ROUTER, CONSOLE):
        raise Failure(FORBIDDEN, body=NULL)
    if "CREATE" not in entity_type.operations:
        raise _not_implemented(request, entity_type, NULL)
    if not isinstance(request.body, dict):
        raise Failure(BAD_REQUEST, "Body of request must be a map", NULL)
    refused = refusals.refused_type(entity_type)
    if refused:
        raise Failure(NOT_IMPLEMENTED, "%s: %s" % (entity_type.full, refused), NULL)
    if entity_type is OWN_ROUTE:
        return _create_own_route(request)
    registry = entities.registry
    try:
        if request.name is not None and registry.numbered_named(entity_type, request.name):
            raise Invalid("Name conflicts with an existing entity")
        values = _held_values(request, entity_type) if entity_type.short in HELD else _rule_values(request)
    except (addresses.Invalid, Invalid) as invalid:
        raise Failure(BAD_REQUEST, str(invalid), NULL) from None
    entity = make(entity_type, dict(values, name=request.name), None)
    try:
        actions.apply(entity, "create")
    except core.Error as error:
        if entity_type.short in HELD and error.args[0] == "Value":
            raise Failure(BAD_REQUEST, error.args[1], NULL) from None
        raise Failure(INTERNAL_ERROR, "CError: %s: %s" % error.args[:2], NULL) from None
    registry.add(entity)
    return CREATED, amqp.encode(_shown(entity, request))


def _create_own_route(request):
    """A link route of the connection that asks. Edge routers make theirs known so (wire-protocol reference 2.5.3)."""
    try:
        values = OWN_LINK_ROUTE.converted(request.body)
        attrs = dict(OWN_LINK_ROUTE.check(values), name=request.name, ofConnection=str(request.conn_id))
    except Invalid as invalid:
        raise Failure(BAD_REQUEST, str(invalid), NULL) from None
    try:
        identity = core.apply(OWN_LINK_ROUTE.kind, "create", "", attrs)
    except core.Error as error:
        text = "Parent connection no longer exists" if error.args[0] == "Not found" else "creation failed"
        raise Failure(BAD_REQUEST, text, NULL) from None
    request.identity = identity
    return CREATED, amqp.encode(_own_route(request))


def _held_values(request, entity_type):
    """Attributes of a thing that C holds, checked; Invalid if it cannot be."""
    kind = HELD[entity_type.short]
    if entity_type.short == EXCHANGE and not request.name:
        raise Invalid("exchange requires a unique name")
    values = kind.converted(request.body)
    kind.check(values)
    return values


def _rule_values(request):
    """Attributes of an address rule, checked and completed; addresses.Invalid if it cannot be."""
    values = _address_attributes(request.body)
    values.update(addresses.rule(values))
    if entities.registry.match_exists(values["match"]):
        raise addresses.Invalid("Already exists")
    return values


def _address_attributes(body):
    """Attributes of an address from a request's body, converted; addresses.Invalid where a value is wrong. `fallback`
    is enableFallback."""
    values = {str(k): v for k, v in body.items() if isinstance(k, str)}
    if "fallback" in values:
        values.setdefault("enableFallback", values["fallback"])
    converted = {}
    for name, attribute in CONFIG_ADDRESS.own_attributes.items():
        value = values.get(name)
        if value is None:
            continue
        if name in ("prefix", "pattern"):
            if not isinstance(value, str):
                raise addresses.Invalid("%s must be a non-empty string type" % name.capitalize())
            converted[name] = str(value)
        try:
            converted[name] = checks.convert(CONFIG_ADDRESS, attribute, value)
        except checks.Problem as problem:
            wrong_enum = attribute.enum and "Invalid value for '%s'" % name
            raise addresses.Invalid(wrong_enum or "%s: %s" % (name, problem)) from None
    return converted


# Operations on configured entities
# ------------------------------------------------------------------------------------------


def _update(request, entity):
    """log and dummy: change what the body names; nothing is changed if any of it cannot be (management reference 2.5,
    UPDATE)."""
    if request.has_body and request.body is not None and not isinstance(request.body, dict):
        raise Failure(BAD_REQUEST, "Body of request must be a map")
    entity_type, values = entity.type, {str(k): v for k, v in (request.body or {}).items()}
    current = entity.attributes()
    removed = []
    for name, value in values.items():
        attribute = entity_type.attributes.get(entity_type.old_names.get(name, name))
        if attribute is None:
            raise Failure(BAD_REQUEST, "Unknown attribute '%s' for '%s'" % (name, entity_type.full))
        if not attribute.update and (
            current.get(attribute.name) != value
            and not (attribute.name == "type" and isinstance(value, str) and schema.find(value) is entity_type)
        ):
            raise Failure(BAD_REQUEST, "Cannot update attribute '%s' in UPDATE" % name)
        if value is None:
            removed.append(attribute.name)
    converted, problems = checks.check(entity_type, values, _warn, partial=True)
    if problems:
        raise Failure(BAD_REQUEST, problems[0].wire)
    changed = dict(entity.values)
    changed.update((k, v) for k, v in converted.items() if entity_type.attributes[k].update)
    for name in removed:
        changed.pop(name, None)
    if entity_type.short == "log" and "enable" in converted:
        try:
            actions.levels.mask(converted["enable"])
        except ValueError as error:
            raise Failure(INTERNAL_ERROR, "CError: Configuration: %s" % error) from None
    before, entity.values = entity.values, changed
    try:
        actions.apply(entity, "update")
    except BaseException:
        entity.values = before
        raise
    return OK, amqp.encode(_shown(entity, request))


def _delete(request, entity):
    actions.apply(entity, "delete")
    entities.registry.remove(entity)
    return NO_CONTENT, EMPTY_MAP


def _callme(request, entity):
    return OK, amqp.encode(request.properties)


ENTITY_OPERATIONS = {"UPDATE": _update, "DELETE": _delete, "CALLME": _callme}


# Operations of the management node
# --------------------------------------------------------------------------------------------


def _get_types(request):
    requested = _known_type(request.entity_type) if request.entity_type else None
    return amqp.encode(
        {t.full: [b.full for b in t.bases()] for t in schema.types() if requested is None or t.is_a(requested)}
    )


def _per_type(request, lists):
    asked = [_known_type(request.entity_type)] if request.entity_type else schema.types()
    return amqp.encode({t.full: list(lists(t)) for t in asked})


def _get_operations(request):
    return _per_type(request, lambda t: t.operations)


def _get_attributes(request):
    return _per_type(request, lambda t: t.attributes)


def _get_annotations(request):
    return EMPTY_MAP


def _get_mgmt_nodes(request):
    own = entities.registry.singleton("router").values["id"]
    ids = [row[0] for row in core.query("router.node", ("id",), 0, 0, request.conn_id)]
    ids.sort(key=lambda node: node != own)
    return amqp.encode(["amqp:/_topo/0/%s/$management" % node for node in ids])


def _get_schema(request):
    return amqp.encode(schema.dump())


def _get_json_schema(request):
    import json

    indent = request.properties.get("indent")
    return amqp.encode(
        json.dumps(schema.dump(), indent=min(_number(request, "indent"), 64) if indent is not None else None)
    )


def _get_log(request):
    try:
        limit = int(request.properties.get("limit") or 0)
    except (TypeError, ValueError):
        raise Failure(
            INTERNAL_ERROR,
            "ValueError: invalid literal for int() with base 10: %s" % checks.quote(request.properties["limit"]),
        ) from None
    if limit < 0:
        raise Failure(BAD_REQUEST, "Property 'limit' must not be negative")
    return amqp.encode([list(entry) for entry in core.log_entries(min(limit, (1 << 31) - 1))])


_EXPLAINED = ("address", "rule", "uses", "trunks", "edges")


def _explain(request):
    """What this router knows of an address (docs/explain.md)."""
    address = request.properties.get("address")
    if not isinstance(address, str) or not address or "\0" in address:
        raise Failure(BAD_REQUEST, "EXPLAIN needs the application property 'address'")
    row = core.read("explain", str(address), _EXPLAINED, request.conn_id)
    if row is None:
        raise Failure(BAD_REQUEST, "'%s' is no address" % checks.quote(address))
    router = entities.registry.singleton("router").values
    known = dict(zip(_EXPLAINED, row), router=router["id"], mode=router["mode"])
    known["defaultDistribution"] = router["defaultDistribution"]
    return amqp.encode(known)


MANAGEMENT_OPERATIONS = {
    "QUERY": _query,
    "GET-TYPES": _get_types,
    "GET-OPERATIONS": _get_operations,
    "GET-ATTRIBUTES": _get_attributes,
    "GET-ANNOTATIONS": _get_annotations,
    "GET-MGMT-NODES": _get_mgmt_nodes,
    "GET-SCHEMA": _get_schema,
    "GET-JSON-SCHEMA": _get_json_schema,
    "GET-LOG": _get_log,
    "EXPLAIN": _explain,
}
