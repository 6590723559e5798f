"""Operations on core types, which the core of Qpid Dispatch answered by rules of its own (management reference 2.5)."""

from trunkline import actions, addresses, amqp, checks, core, entities, refusals, schema, view
from trunkline.entities import make
from trunkline.held import BINDING, EXCHANGE, HELD, OWN_LINK_ROUTE, Invalid
from trunkline.request import (
    BAD_REQUEST,
    CREATED,
    EMPTY_MAP,
    FORBIDDEN,
    INTERNAL_ERROR,
    NOT_FOUND,
    NOT_IMPLEMENTED,
    NO_CONTENT,
    NULL,
    OK,
    Failure,
    not_implemented,
)


def _read(request, entity_type):
    name, identity = request.name, request.identity
    if entity_type is view.CONSOLE:
        raise Failure(FORBIDDEN)
    if entity_type is view.ROUTER:
        router = entities.registry.singleton("router")
        if (
            identity not in (None, "1", router.identity)
            or identity is None
            and name not in (None, router.name, router.values["id"])
        ):
            raise Failure(NOT_FOUND)
        return OK, amqp.encode(view.attributes(router, request))
    if entity_type.short in entities.NUMBERED:
        return OK, amqp.encode(view.attributes(_numbered(request, entity_type), request))
    if entity_type is view.OWN_ROUTE:
        return OK, amqp.encode(view.own_route(request))
    if entity_type is view.CONNECTION and identity is None:
        raise Failure(BAD_REQUEST, "Name not supported. Identity required")
    if entity_type is view.LINK and identity is None:
        raise Failure(
            BAD_REQUEST, "No name or identity provided" if name is None else "Name not supported. Identity required"
        )
    return OK, amqp.encode(view.core_row(entity_type, identity if identity is not None else name, request))


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


def _update(request, entity_type):
    if entity_type is view.CONSOLE:
        raise Failure(FORBIDDEN)
    if entity_type is view.LINK:
        return _update_link(request)
    if entity_type is view.CONNECTION:
        return _update_connection(request)
    raise not_implemented(request, entity_type)


def _update_link(request):
    """adminStatus is accepted and changes nothing, as ever (management reference 2.5)."""
    if request.identity is None:
        raise Failure(BAD_REQUEST)
    if not isinstance(request.body, dict) or set(request.body) - {"adminStatus"}:
        raise Failure(BAD_REQUEST, "Only adminStatus of a link can be updated")
    if request.body.get("adminStatus") not in view.LINK.attributes["adminStatus"].enum:
        raise Failure(BAD_REQUEST, "Invalid value for 'adminStatus'")
    return _read(request, view.LINK)


def _update_connection(request):
    if request.identity is None:
        raise Failure(BAD_REQUEST, "No identity provided")
    if not isinstance(request.body, dict):
        raise Failure(BAD_REQUEST, "The body is no map of attributes")
    body = request.body
    attrs = {}
    row = core.read("connection", request.identity, ("role",), request.conn_id)
    if row is None:
        raise Failure(BAD_REQUEST, "No connection with identity=%s" % request.identity)
    status = body.get("adminStatus")
    if status == "deleted":
        if row[0] in ("inter-router", "edge"):
            raise Failure(FORBIDDEN, "You are not allowed to perform this operation.")
        attrs["adminStatus"] = "deleted"
    elif status is not None and status != "enabled":
        raise Failure(BAD_REQUEST, "Invalid value for 'adminStatus'; allowed: enabled, deleted")
    if "enableProtocolTrace" in body:
        try:
            attrs["enableProtocolTrace"] = checks.boolean(body["enableProtocolTrace"])
        except checks.Problem as problem:
            raise Failure(BAD_REQUEST, str(problem)) from None
    if not attrs and status is None:
        raise Failure(BAD_REQUEST, "Only adminStatus and enableProtocolTrace of a connection can be updated")
    _, shown = _read(request, view.CONNECTION)
    if attrs:
        try:
            core.apply("connection", "update", request.identity, attrs)
        except core.Error as error:
            gone = Failure(BAD_REQUEST, "No connection with identity=%s" % request.identity)
            raise gone if error.args[0] == "Not found" else error
        values, _ = amqp.decode(shown)
        if "adminStatus" in attrs:
            values.update(adminStatus="deleted", operStatus="closing")
        if "enableProtocolTrace" in attrs:
            values["enableProtocolTrace"] = attrs["enableProtocolTrace"]
        shown = amqp.encode(values)
    return OK, shown


def _delete(request, entity_type):
    if entity_type in (view.CONSOLE, view.ROUTER, view.CONNECTION):
        raise Failure(FORBIDDEN)
    if entity_type is view.OWN_ROUTE:
        row = view.own_route(request)
        core.apply(OWN_LINK_ROUTE.kind, "delete", row["identity"], {"ofConnection": str(request.conn_id)})
        return NO_CONTENT, EMPTY_MAP
    if entity_type.short not in entities.NUMBERED:
        raise not_implemented(request, entity_type)
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


OPERATIONS = {"READ": _read, "UPDATE": _update, "DELETE": _delete}


def create(request, entity_type):
    """The core half: only the name property names the entity, unknown keys of the body are ignored, failures have a
    null body."""
    if entity_type in (view.ROUTER, view.CONSOLE):
        raise Failure(FORBIDDEN, body=NULL)
    if "CREATE" not in entity_type.operations:
        raise not_implemented(request, entity_type, NULL)
    if not isinstance(request.body, dict):
        raise Failure(BAD_REQUEST, "Body of request must be a map", NULL)
    refused = refusals.refused_type(entity_type)
    if refused:
        raise Failure(NOT_IMPLEMENTED, "%s: %s" % (entity_type.full, refused), NULL)
    if entity_type is view.OWN_ROUTE:
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
    return CREATED, amqp.encode(view.attributes(entity, request))


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
    return CREATED, amqp.encode(view.own_route(request))


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
    for name, attribute in view.CONFIG_ADDRESS.own_attributes.items():
        value = values.get(name)
        if value is None:
            continue
        if name in ("prefix", "pattern"):
            if not isinstance(value, str):
                raise addresses.Invalid("%s must be a non-empty string type" % name.capitalize())
            converted[name] = str(value)
        try:
            converted[name] = checks.convert(view.CONFIG_ADDRESS, attribute, value)
        except checks.Problem as problem:
            wrong_enum = attribute.enum and "Invalid value for '%s'" % name
            raise addresses.Invalid(wrong_enum or "%s: %s" % (name, problem)) from None
    return converted
