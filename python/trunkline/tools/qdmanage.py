"""qdmanage: ask and change the management of a router.

The words on the command line are an operation and its arguments, in any order with the options. Each operation is a function
of (options, arguments) that checks them, before anything is sent, and gives a function of the Node that does the work.
"""

import argparse
import json
import sys
import uuid

from http import HTTPStatus

from . import options as common
from .errors import ValidationError
from .node import full_type

# Custom operations whose arguments are numbers.
_NUMBERS = {"GET-LOG": ("limit",), "GET-JSON-SCHEMA": ("indent",)}
_BOOLEAN_WORDS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False}


class UsageError(Exception):
    """The words on the command line do not fit the operation."""


# Attributes from the command line and from standard input

def _attribute(word, types, entity_type):
    """(name, value) from name=value, or from name alone, which is null.

    types: the attribute types of entity_type, None if no type was given.
    """
    name, equals, value = word.partition("=")
    if types is not None and name not in types:
        raise ValidationError("Unknown attribute '%s' for '%s'" % (name, entity_type))
    if not equals:
        return name, None
    if value in ("true", "false"):
        return name, value == "true"
    if types is not None and types[name] == "integer":
        return name, int(value)
    return name, value


def attribute_types(entity_type):
    """The type of each attribute of an entity type, by the names of today and of older releases.

    Raises ValidationError if the schema has no such entity type.
    """
    from trunkline import schema  # here, for most runs do without

    found = schema.find(entity_type)
    if found is None:
        raise ValidationError("No such entity type '%s'" % entity_type)
    types = {name: attribute.type for name, attribute in found.attributes.items()}
    types.update((old, types[new]) for old, new in found.old_names.items())
    return types


def _attributes(words, entity_type):
    types = attribute_types(entity_type) if entity_type and words else None
    return _qualified(dict(_attribute(word, types, entity_type) for word in words))


def _qualified(attributes):
    if isinstance(attributes.get("type"), str):
        attributes["type"] = full_type(attributes["type"])
    return attributes


def _no_more(words):
    if words:
        raise UsageError("Unexpected arguments: %s" % " ".join(words))


def _at_most_one(words):
    _no_more(words[1:])
    return words[0] if words else None


def _entities(opts, words):
    """The attribute maps to work on, and whether they came as a list."""
    if not opts.stdin:
        if not words:
            raise AttributeError("No attributes given: add name=value, or --stdin")
        return [_attributes(words, opts.type)], False
    _no_more(words)
    given = json.load(sys.stdin)
    entities = given if isinstance(given, list) else [given]
    if not all(isinstance(entity, dict) for entity in entities):
        raise ValueError("Standard input holds neither a JSON map nor a list of maps")
    return [_qualified(entity) for entity in entities], isinstance(given, list)


def _for_each(opts, words, request):
    """A function of the Node that calls request(node, attributes) for each entity. The first failure ends it."""
    entities, is_list = _entities(opts, words)

    def work(node):
        results = [request(node, attributes) for attributes in entities]
        return results if is_list else results[0]

    return work


def _which(opts, attributes):
    """The properties that say which entity: from the options, else from its attributes. The identity alone suffices."""
    identity = opts.identity or attributes.get("identity")
    return {
        "type": opts.type or attributes.get("type"),
        "name": None if identity else opts.name or attributes.get("name"),
        "identity": identity,
    }


# Operations

def query(opts, words):
    def work(node):
        rows = node.query(opts.type, words).rows
        return [{name: value for name, value in row.items() if value is not None} for row in rows]

    return work


def create(opts, words):
    return _for_each(opts, words, lambda node, attributes: node.call(
        {
            "operation": "CREATE",
            "type": opts.type or attributes.get("type"),
            "name": opts.name or attributes.get("name"),
        },
        attributes, HTTPStatus.CREATED))


def read(opts, words):
    _no_more(words)
    return lambda node: node.call({"operation": "READ", **_which(opts, {})})


def _with_booleans(attributes):
    return {name: _BOOLEAN_WORDS.get(value, value) if isinstance(value, str) else value for name, value in attributes.items()}


def update(opts, words):
    return _for_each(opts, words, lambda node, attributes: node.call(
        {"operation": "UPDATE", **_which(opts, attributes)}, _with_booleans(attributes)))


def delete(opts, words):
    _no_more(words)

    def work(node):
        node.call({"operation": "DELETE", **_which(opts, {})}, expect=HTTPStatus.NO_CONTENT)

    return work


def get_by_type(opts, words):
    entity_type = _at_most_one(words) or opts.type
    return lambda node: node.management(opts.operation, entityType=entity_type)


def get_mgmt_nodes(opts, words):
    _no_more(words)
    return lambda node: node.mgmt_nodes()


def _body(text):
    if text is None:
        return None
    return json.loads(text) if any(mark in text for mark in '"{}[]') else text


def _properties(text):
    properties = json.loads(text) if text else {}
    if not isinstance(properties, dict):
        raise ValueError("--properties is not a JSON map: %s" % text)
    return properties


def custom(opts, words):
    arguments = _attributes(words, opts.type)
    for name in _NUMBERS.get(opts.operation, ()):
        if isinstance(arguments.get(name), str):
            arguments[name] = int(arguments[name])
    properties = {
        "operation": opts.operation, "type": opts.type, "name": opts.name, "identity": opts.identity,
        **arguments, **_properties(opts.properties),
    }
    body = _body(opts.body)
    return lambda node: node.call(properties, body) or None


OPERATIONS = {
    "QUERY": query,
    "CREATE": create,
    "READ": read,
    "UPDATE": update,
    "DELETE": delete,
    "GET-TYPES": get_by_type,
    "GET-ATTRIBUTES": get_by_type,
    "GET-OPERATIONS": get_by_type,
    "GET-ANNOTATIONS": get_by_type,
    "GET-MGMT-NODES": get_mgmt_nodes,
}


# Output

def _plain(value):
    """JSON can say this: AMQP has types that it has not."""
    if isinstance(value, dict):
        return {key if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, (bytes, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, uuid.UUID):
        return str(value)
    if hasattr(value, "elements"):  # proton.Array
        return [_plain(item) for item in value.elements]
    return value


def _print(result, indent):
    if result is None:
        return
    if isinstance(result, str):
        print(result)
    else:
        print(json.dumps(_plain(result), indent=indent if indent >= 0 else None))


_EPILOG = """operations:
  query [ATTR...]              all entities, of one type with --type
  create [ATTR=VALUE...]       make an entity
  read, delete                 one entity, by --name or --identity
  update [ATTR=VALUE...]       change one entity
  get-types [TYPE], get-attributes [TYPE], get-operations [TYPE], get-annotations [TYPE]
  get-mgmt-nodes               addresses of the management nodes of the network
  get-schema, get-json-schema [indent=N], get-log [limit=N]
  any other [PROPERTY=VALUE...]   sent to the router as it is
"""


def _parser(version):
    parser = common.new_parser(
        "qdmanage", version, usage="%(prog)s [options] OPERATION [ARGUMENT...]",
        description="Ask and change the management of a router.", epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("-v", "--verbose", action="count", default=0, help="no effect")
    parser.add_argument("--type", metavar="TYPE", help="type of entity")
    parser.add_argument("--name", metavar="NAME", help="name of the entity")
    parser.add_argument("--identity", metavar="ID", help="identity of the entity")
    parser.add_argument("--indent", metavar="N", type=int, default=2,
                        help="indent JSON by N blanks (default %(default)s; -1: all on one line)")
    parser.add_argument("--stdin", action="store_true", help="create, update: read attributes from standard input, as JSON")
    parser.add_argument("--body", metavar="JSON", help="body of the request of other operations")
    parser.add_argument("--properties", metavar="JSON", help="more properties of the request of other operations")
    common.add_router(parser.add_argument_group("which router").add_mutually_exclusive_group())
    common.add_connection(parser)
    return parser


def main(argv, version):
    """Do what the command line says. Raises whatever goes wrong."""
    parser = _parser(version)
    # What is no option of ours is a word, also with a dash before it.
    opts, words = parser.parse_known_args(argv)
    if not words:
        parser.error("No operation specified")
    opts.operation = words.pop(0).upper()
    opts.type = full_type(opts.type)
    try:
        work = OPERATIONS.get(opts.operation, custom)(opts, words)
    except UsageError as error:
        parser.error(str(error))
    with common.connect(opts) as node:
        _print(work(node), opts.indent)
