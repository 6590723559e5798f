#!/usr/bin/python3
"""compile_schema.py SCHEMA.json DIRECTORY: write _schema.py and _schema_text.py, the forms of the schema that load
fast.

The router unmarshals the first from its .pyc at every start, in a third of the time that parsing the JSON takes and
without importing json; the second, the descriptions, is loaded only for GET-SCHEMA. Fails on anything in the schema
that the router would not understand.
"""

import json
import os
import sys

TYPES = {"string", "integer", "boolean", "path", "entityId", "map", "list", "properties"}
FLAGS = ("required", "unique", "create", "update", "hidden", "deprecated", "graph")
TYPE_KEYS = {
    "extends",
    "section",
    "dumpName",
    "abstract",
    "singleton",
    "references",
    "deprecated",
    "handler",
    "operations",
    "description",
    "attributes",
    "columns",
}
COLUMN_TYPES = {"string", "ulong", "uint", "long", "int", "boolean", "list", "map"}


def check(condition, *where):
    if not condition:
        sys.exit("compile_schema.py: " + " ".join(str(w) for w in where))


def compile_type(short, source, types):
    check(set(source) <= TYPE_KEYS, short, "unknown key", set(source) - TYPE_KEYS)
    check(source["handler"] in ("core", "general"), short, "handler")
    check(source.get("extends") is None or source["extends"] in types, short, "extends an unknown type")
    attributes = []
    for name, a in source["attributes"].items():
        check(set(a) <= {"type", "default", "oldName", "description", *FLAGS}, short, name, "unknown key in", a)
        enum = tuple(a["type"]) if isinstance(a["type"], list) else None
        check(enum or a["type"] in TYPES, short, name, "unknown type", a["type"])
        check(
            enum is None or "default" not in a or a["default"] in enum, short, name, "default is not one of the values"
        )
        check(a.get("description"), short, name, "has no description")
        attributes.append(
            (
                name,
                "enum" if enum else a["type"],
                enum,
                a.get("default"),
                sum(1 << i for i, flag in enumerate(FLAGS) if a.get(flag)),
                a.get("oldName"),
            )
        )
    columns = source.get("columns")
    for name, amqp_type in columns or ():
        check(amqp_type in COLUMN_TYPES, short, name, "unknown AMQP type", amqp_type)
    return (
        source.get("extends"),
        source.get("section"),
        source.get("dumpName", short),
        source.get("abstract", False),
        source.get("singleton", False),
        source.get("references", False),
        source.get("deprecated", False),
        source["handler"],
        tuple(source["operations"]),
        tuple(tuple(c) for c in columns) if columns else None,
        tuple(attributes),
    )


def main():
    path, directory = sys.argv[1:]
    with open(path, encoding="ascii") as f:
        schema = json.load(f)
    types = schema["types"]
    compiled = {short: compile_type(short, source, types) for short, source in types.items()}
    texts = {
        short: (t["description"], {n: a["description"] for n, a in t["attributes"].items()})
        for short, t in types.items()
    }
    head = '"""Made from schema.json by compile_schema.py."""\n'
    for name, body in (
        ("_schema.py", "PREFIX = %r\nFLAGS = %r\nTYPES = %r\n" % (schema["prefix"], FLAGS, compiled)),
        ("_schema_text.py", "TEXTS = %r\n" % (texts,)),
    ):
        target = os.path.join(directory, name)
        with open(target + ".new", "w", encoding="ascii") as f:
            f.write(head + body)
        os.replace(target + ".new", target)


main()
