"""QUERY: many entities as a table."""

from trunkline import amqp, core, entities, schema, view
from trunkline.entities import MANAGEMENT
from trunkline.request import BAD_REQUEST, FORBIDDEN, NOT_FOUND, Failure, known_type, read_number

# Core types of which there may be very many: so many rows are made in one turn.
PAGED = {schema.find("connection"), schema.find("router.link"), schema.find("router.address")}
PAGE = 200


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


def query(request, core_type=None):
    asked, offset, count = _names_asked(request), read_number(request, "offset"), read_number(request, "count")
    if core_type is view.CONSOLE:
        raise Failure(FORBIDDEN, body=amqp.encode({"attributeNames": [], "results": []}))
    if core_type:
        known = dict.fromkeys(list(core_type.columns) + list(core_type.attributes))
        _refuse_unknown(asked, known, core_type)
        names = asked or view.all_columns(core_type)
        kinds = [core_type.columns.get(view.SAME_AS.get(core_type.short, {}).get(n, n)) for n in names]
        if core_type in PAGED:
            return _table_in_pages(request, core_type, names, kinds, offset, count)
        return amqp.encode_table(names, kinds, _core_rows(request, core_type, names, offset, count))
    requested = known_type(request.entity_type) if request.entity_type else None
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
        yield view.attributes(MANAGEMENT, request)
    for entity in entities.registry:
        if entity.type in selected:
            yield view.attributes(entity, request)
    for entity in view.live_entities(request, selected):
        yield entity.attributes()


def _core_rows(request, entity_type, names, offset, count):
    """Rows of a core type: tuples in the order of names."""
    if entity_type is view.ROUTER:
        values = view.router_values(names, request)
        return [[values[n] for n in names]] if offset == 0 else []
    if entity_type is view.CONFIG_ADDRESS:
        rules = entities.registry.of(view.CONFIG_ADDRESS)[offset : offset + count if count else None]
        return [[values[n] for n in names] for values in map(view.address_values, rules)]
    if entity_type is view.OWN_ROUTE:
        rows = view.own_routes(request)[offset : offset + count if count else None]
        return [[row[n] for n in names] for row in rows]
    wanted, build = view.core_columns(entity_type, names)
    rows = core.query(entity_type.short, wanted, offset, count, request.conn_id)
    return rows if build is None else [build(row) for row in rows]


def _table_in_pages(request, entity_type, names, kinds, offset, count):
    """The octets of a table of many rows: a generator that pauses after each page."""
    wanted, build = view.core_columns(entity_type, names)
    lists, after = [], 0
    while True:
        page = min(PAGE, count - len(lists)) if count else PAGE
        rows, after = core.query_page(entity_type.short, wanted, after, offset, page, request.conn_id)
        offset = 0
        lists += amqp.encode_rows(kinds, rows if build is None else [build(row) for row in rows])
        if len(rows) < page or len(lists) == count:
            return amqp.join_table(names, lists)
        yield
