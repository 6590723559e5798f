"""Entity types and their attributes, as python/trunkline/schema.json states them.

    schema.find("listener")      by short or full name, None if there is no such type
    schema.section("linkRoute")  by the name of a configuration section

A Type is made when it is first asked for: a router's start needs six of the twenty-nine.
"""

from trunkline import _schema

PREFIX = _schema.PREFIX


class Attribute:
    __slots__ = (
        "name",
        "type",
        "enum",
        "default",
        "required",
        "unique",
        "create",
        "update",
        "hidden",
        "deprecated",
        "graph",
        "old_name",
    )

    def __init__(self, name, type_, enum, default, flags, old_name):
        self.name, self.type, self.enum, self.default, self.old_name = name, type_, enum, default, old_name
        for i, flag in enumerate(_schema.FLAGS):
            setattr(self, flag, bool(flags >> i & 1))

    @property
    def read_only(self):
        return not (self.create or self.update)


class Type:
    """attributes: own ones in schema order, then the inherited. columns: of a core type, {name: AMQP type} in wire
    order; else None."""

    __slots__ = (
        "short",
        "full",
        "base",
        "section",
        "dump_name",
        "abstract",
        "singleton",
        "references",
        "deprecated",
        "core",
        "own_operations",
        "operations",
        "columns",
        "own_attributes",
        "attributes",
        "old_names",
    )

    def __init__(self, short, source):
        (
            base,
            self.section,
            self.dump_name,
            self.abstract,
            self.singleton,
            self.references,
            self.deprecated,
            handler,
            self.own_operations,
            columns,
            attributes,
        ) = source
        self.short, self.full = short, PREFIX + "." + short
        self.base = find(base) if base else None
        self.core = handler == "core"
        self.columns = dict(columns) if columns else None
        self.own_attributes = {a[0]: Attribute(*a) for a in attributes}
        self.attributes = dict(self.own_attributes)
        self.operations = list(self.own_operations)
        if self.base:
            for name, attribute in self.base.attributes.items():
                self.attributes.setdefault(name, attribute)
            self.operations += [op for op in self.base.operations if op not in self.operations]
        self.old_names = {a.old_name: a.name for a in self.own_attributes.values() if a.old_name}

    def bases(self):
        """The types it extends, nearest first."""
        found, t = [], self.base
        while t:
            found.append(t)
            t = t.base
        return found

    def is_a(self, other):
        return self is other or other in self.bases()


_made = {}


def find(name):
    """The type with that short or full name, or None."""
    if name.startswith(PREFIX + "."):
        name = name[len(PREFIX) + 1 :]
    made = _made.get(name)
    if made is None and name in _schema.TYPES:
        made = _made[name] = Type(name, _schema.TYPES[name])
    return made


def qualify(name):
    """The full name for a name as clients write it, whether or not there is such a type."""
    return name if name.startswith(PREFIX + ".") else PREFIX + "." + name


def types():
    """All types in schema order."""
    return [find(name) for name in _schema.TYPES]


def section(name):
    """The type of the configuration section of that name, or None."""
    for short, source in _schema.TYPES.items():
        if source[1] == name:
            return find(short)
    return None


def sections():
    """Names of all configuration sections, in schema order."""
    return [source[1] for source in _schema.TYPES.values() if source[1]]


def dump():
    """The map that GET-SCHEMA answers with (management reference 2.5): members that are false, zero or empty are left
    out."""
    from trunkline._schema_text import TEXTS

    def filled(**members):
        return {k: v for k, v in members.items() if v}

    result = {}
    for t in types():
        attributes = {}
        for a in t.attributes.values():
            if a.name == "type":
                continue
            owner = next(x for x in [t] + t.bases() if a.name in x.own_attributes)
            attributes[a.name] = filled(
                type=list(a.enum) if a.enum else a.type,
                default=a.default,
                required=a.required,
                unique=a.unique,
                deprecated=a.deprecated,
                description=TEXTS[owner.short][1][a.name],
                graph=a.graph,
            )
        result[t.dump_name] = filled(
            attributes=attributes,
            operations=list(t.operations),
            description=TEXTS[t.short][0],
            fullyQualifiedType=t.full,
            references=t.references,
            deprecated=t.deprecated,
            singleton=t.singleton,
        )
    return {"prefix": PREFIX, "entityTypes": result}
