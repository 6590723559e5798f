"""The management node: requests in, answers out (management reference section 2).

A request is decoded, its operation found, and answered with a status, a description and a body; whatever goes wrong on
the way becomes an answer too. Departures from Qpid Dispatch, all where it answered wrongly or not at all, are listed
in docs/differences-from-qpid-dispatch.md.
"""

import collections
import types

from trunkline import amqp, configured, core, core_types, entities, management_node, query, schema, view
from trunkline.entities import MANAGEMENT
from trunkline.request import (
    BAD_REQUEST,
    DESCRIPTIONS,
    EMPTY_MAP,
    INTERNAL_ERROR,
    NOT_FOUND,
    OK,
    Failure,
    core_type_of,
    known_type,
    not_implemented,
    read_request,
)

# Larger requests are none; C rejects them, and so do we.
MAX_REQUEST = 1 << 20


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
    """(status, description, encoded body): a generator, which pauses where others should have their turn."""
    try:
        request = read_request(received, conn_id)
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


def _perform(request):
    """(status, encoded body); raises Failure, core.Error."""
    operation, core_type = request.operation, core_type_of(request)
    if operation == "QUERY" and core_type:
        return OK, query.query(request, core_type)
    if operation == "CREATE":
        return configured.create(request)
    if core_type and operation in ("READ", "UPDATE", "DELETE"):
        return core_types.OPERATIONS[operation](request, core_type)
    entity = _find(request)
    if operation not in entity.type.operations:
        raise not_implemented(request, entity.type)
    if operation == "READ":
        if request.type and entity.type is not schema.find(request.type) and entity is not MANAGEMENT:
            raise Failure(
                NOT_FOUND,
                "Entity type '%s' does match requested type '%s'" % (entity.type.full, schema.qualify(request.type)),
            )
        return OK, amqp.encode(view.attributes(entity, request))
    if entity.type.core:
        return core_types.OPERATIONS[operation](request, entity.type)
    if entity is MANAGEMENT:
        if operation not in management_node.OPERATIONS:
            raise not_implemented(request, entity.type)
        return OK, management_node.OPERATIONS[operation](request)
    return configured.OPERATIONS[operation](request, entity)


def _find(request):
    """The addressed entity (management reference 2.4)."""
    management, requested = MANAGEMENT.type, request.type
    if request.name is None and request.identity is None:
        if requested is None or schema.find(requested) and management.is_a(schema.find(requested)):
            return MANAGEMENT
        raise Failure(BAD_REQUEST, "%s: No name or identity provided" % known_type(requested).full)
    entity = _lookup(request)
    if entity is None:
        given = ["%s=%s" % (k, v) for k, v in (("name", request.name), ("identity", request.identity)) if v is not None]
        raise Failure(NOT_FOUND, "No entity with " + " ".join(given))
    if request.name is not None and request.identity is not None and entity.identity != request.identity:
        raise Failure(BAD_REQUEST, "Conflicting name=%s identity=%s" % (request.name, request.identity))
    if requested is not None:
        requested_type = known_type(requested)
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
    for entity in view.live_entities(request):
        if request.name == entity.name if request.name is not None else request.identity == entity.identity:
            return entity
    return None
