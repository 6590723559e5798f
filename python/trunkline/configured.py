"""Operations on configured entities: CREATE, UPDATE, DELETE, and CALLME."""

from trunkline import actions, amqp, checks, core, core_types, entities, refusals, schema, view
from trunkline.entities import Duplicate, make
from trunkline.request import (
    BAD_REQUEST,
    CREATED,
    EMPTY_MAP,
    INTERNAL_ERROR,
    NOT_IMPLEMENTED,
    NO_CONTENT,
    OK,
    Failure,
    core_type_of,
    known_type,
    not_implemented,
)


def create(request):
    body = request.body if isinstance(request.body, dict) else None
    asked = core_type_of(request)
    if asked is None and body and request.type is None and isinstance(body.get("type"), str):
        asked = schema.find(body["type"])
        asked = asked if asked and asked.core else None
    if asked:
        return core_types.create(request, asked)
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
    entity_type = known_type(str(values.pop("type")))
    if "CREATE" not in entity_type.operations:
        raise not_implemented(request, entity_type)
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
    return CREATED, amqp.encode(view.attributes(entity, request))


def _warn(text):
    core.log("AGENT", core.WARNING, text)


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
    return OK, amqp.encode(view.attributes(entity, request))


def _delete(request, entity):
    actions.apply(entity, "delete")
    entities.registry.remove(entity)
    return NO_CONTENT, EMPTY_MAP


def _callme(request, entity):
    return OK, amqp.encode(request.properties)


OPERATIONS = {"UPDATE": _update, "DELETE": _delete, "CALLME": _callme}
