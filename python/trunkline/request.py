"""A management request, read and checked, and the failures that are its answer (management reference section 2)."""

from trunkline import amqp, checks, schema

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


def read_request(received, conn_id):
    """The request that a message makes; raises Failure."""
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


class _Shown:
    """A received value whose repr() is fit for a description."""

    def __init__(self, value):
        self.value = value

    def __repr__(self):
        return checks.shown(self.value)


def read_number(request, key):
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


def known_type(name):
    entity_type = schema.find(name)
    if entity_type is None:
        raise Failure(BAD_REQUEST, "No such entity type '%s'" % name)
    return entity_type


def not_implemented(request, entity_type, body=EMPTY_MAP):
    return Failure(
        NOT_IMPLEMENTED,
        "Operation '%s' not implemented for '%s' %s"
        % (request.operation, entity_type.full, list(entity_type.operations)),
        body,
    )


def core_type_of(request):
    """The core type that a request is for, by entityType or else type; or None."""
    name = request.entity_type or request.type
    entity_type = schema.find(name) if name else None
    return entity_type if entity_type and entity_type.core else None
