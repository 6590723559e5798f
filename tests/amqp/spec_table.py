#!/usr/bin/python3
"""Write the tables of the AMQP 1.0 specification's XML as C, for spec_test.c.

usage: spec_table.py FOLDER-OF-XML OUTPUT.h

Encodings of primitive types, descriptors, and each field of each composite type with its type resolved to a primitive
one (or ANY: "*" and composite types; SYMBOLS: several symbols) and its default to a literal.
"""
import sys
import xml.etree.ElementTree as ElementTree
from pathlib import Path

PARTS = ["types", "transport", "messaging", "transactions", "security"]


def local(element):
    return element.tag.rpartition("}")[2]


def children(element, name):
    return [child for child in element if local(child) == name]


class Spec:
    def __init__(self, folder):
        self.types = {}
        for part in PARTS:
            for element in ElementTree.parse(folder / (part + ".bare.xml")).iter():
                if local(element) == "type":
                    self.types[element.get("name")] = element

    def primitive(self, name):
        while name in self.types and self.types[name].get("class") == "restricted":
            name = self.types[name].get("source")
        return name if name in self.types and self.types[name].get("class") == "primitive" else "*"

    def kind(self, field):
        primitive = self.primitive(field.get("type"))
        if field.get("multiple") == "true":
            return primitive.upper() + "S"
        return {"*": "ANY", "boolean": "BOOL"}.get(primitive, primitive.upper())

    def default(self, field):
        """The literal of a default, which may be given as the name of a choice; None if there is none."""
        value, name = field.get("default"), field.get("type")
        while value is not None and name in self.types:
            for choice in children(self.types[name], "choice"):
                if choice.get("name") == value:
                    return choice.get("value")
            name = self.types[name].get("source")
        return value


def c_string(text):
    return "NULL" if text is None else '"%s"' % text


def rows(spec):
    yield "static const struct spec_encoding SPEC_ENCODINGS[] = {"
    for name, element in spec.types.items():
        for encoding in children(element, "encoding"):
            yield '    {"%s", %s, "%s", %s},' % (name, encoding.get("code"), encoding.get("category"), encoding.get("width"))
    yield "};"
    yield "static const struct spec_descriptor SPEC_DESCRIPTORS[] = {"
    for name, element in spec.types.items():
        for descriptor in children(element, "descriptor"):
            domain, code = (int(part, 16) for part in descriptor.get("code").split(":"))
            yield '    {%du, "%s"},' % (domain << 32 | code, descriptor.get("name"))
    yield "};"
    yield "static const struct spec_field SPEC_FIELDS[] = {"
    for name, element in spec.types.items():
        if element.get("class") == "composite":
            for index, field in enumerate(children(element, "field")):
                yield '    {"%s", %d, "%s", "%s", %s, %s},' % (
                    name, index, field.get("name"), spec.kind(field), str(field.get("mandatory") == "true").lower(),
                    c_string(spec.default(field)))
    yield "};"


def main():
    Path(sys.argv[2]).write_text("\n".join(rows(Spec(Path(sys.argv[1])))) + "\n")


if __name__ == "__main__":
    main()
