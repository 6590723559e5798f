"""Operations of the management node itself."""

from trunkline import amqp, checks, core, entities, query, schema
from trunkline.request import BAD_REQUEST, EMPTY_MAP, INTERNAL_ERROR, Failure, known_type, read_number


def _get_types(request):
    requested = known_type(request.entity_type) if request.entity_type else None
    return amqp.encode(
        {t.full: [b.full for b in t.bases()] for t in schema.types() if requested is None or t.is_a(requested)}
    )


def _per_type(request, lists):
    asked = [known_type(request.entity_type)] if request.entity_type else schema.types()
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
        json.dumps(schema.dump(), indent=min(read_number(request, "indent"), 64) if indent is not None else None)
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


_EXPLAINED = ("address", "rule", "uses", "trunks", "edges", "interior", "linkRoutes", "autoLinks", "exchanges")


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


OPERATIONS = {
    "QUERY": query.query,
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
