"""The entities that exist because somebody configured them, in a file or by management.

What comes and goes by itself - connections, links, addresses in use - is not here; the agent asks C for it.

Invariants
  E1  identity is unique over all entities here but those that C numbers, whose identities are numbers of their own kind.
  E2  name is unique over all entities here but those, and over each type of those. (A file is held to more: over all of
  them.) E3  what is here has been carried out by C, and what C has carried out is here.
"""

from trunkline import schema
from trunkline.held import HELD

ADDRESS = "router.config.address"
# Types whose entities get a number from C.
NUMBERED = frozenset([ADDRESS, *HELD])


class Duplicate(Exception):
    """What should be unique is not. attribute: 'name' or 'identity'; other: the entity that has it already."""

    def __init__(self, attribute, value, other):
        super().__init__(
            "Duplicate value '%s' for unique attribute '%s'; %s has it"
            % (value, attribute, other.identity or other.name)
        )
        self.attribute, self.value, self.other = attribute, value, other


class Entity:
    """values: the configured attributes and defaults, by current name, without name, identity, type. place: where in
    the file, or ''."""

    __slots__ = ("type", "identity", "name", "named", "values", "place")

    def __init__(self, entity_type, values, identity, name, place=""):
        self.type, self.identity, self.place = entity_type, identity, place
        self.named = name is not None
        # Only what C numbers can be without a name.
        self.name = name if self.named or entity_type.short in NUMBERED else identity
        self.values = values

    def attributes(self):
        """All attributes that have a value, as management shows them: own ones in schema order, then name, identity,
        type."""
        result = {a: self.values[a] for a in self.type.own_attributes if self.values.get(a) is not None}
        result.update(name=self.name, identity=self.identity, type=self.type.full)
        return result


def make(entity_type, values, number, place=""):
    """The entity for checked values (management reference 1.3). number: its place among those of its kind, for kinds
    that count."""
    name = values.pop("name", None)
    for attribute in ("identity", "type"):
        values.pop(attribute, None)
    short = entity_type.short
    if short in ("listener", "connector"):
        identity = "%s/%s:%s" % (short, values["host"], values["port"]) + (":" + name if name is not None else "")
    elif short == "log":
        identity, name = "log/" + values["module"], None
    elif short == "router":
        identity, name = "router/" + values["id"], None
    elif short == "policy":
        identity, name = "policy/None", None
    elif short in NUMBERED:
        section = short.rsplit(".", 1)[-1]
        identity, name = "", "%s/%d" % (section, number) if name is None and number is not None else name
    else:
        identity = "%s/%d" % (short, number)
    return Entity(entity_type, values, identity, name, place)


class Registry:
    """All configured entities in order of creation."""

    def __init__(self):
        self._entities = {}  # id(entity): entity; a dict so that removal is cheap and order kept
        self._by_name = {}
        self._numbered_by_name = {short: {} for short in NUMBERED}
        self._by_identity = {}
        self._by_match = {}  # addresses, by their normalised tokens
        self._numbers = {}

    def __iter__(self):
        return iter(list(self._entities.values()))

    def of(self, entity_type):
        return [e for e in self._entities.values() if e.type is entity_type]

    def number(self, entity_type):
        """The next number of that kind; counts from 0 and is used up by every entity of the kind."""
        number = self._numbers.get(entity_type, 0)
        self._numbers[entity_type] = number + 1
        return number

    def names(self, entity):
        """The name space that the entity belongs to."""
        return self._numbered_by_name.get(entity.type.short, self._by_name)

    def check(self, entity, across=False):
        """Raise Duplicate if its name or identity is taken. across: the name must differ from those of all name
        spaces."""
        other = self._by_identity.get(entity.identity) if entity.type.short not in NUMBERED else None
        if other:
            raise Duplicate("identity", entity.identity, other)
        if entity.name is not None:
            other = self.names(entity).get(entity.name) or across and self.named(entity.name)
            if other:
                raise Duplicate("name", entity.name, other)

    def add(self, entity, across=False):
        self.check(entity, across)
        self._entities[id(entity)] = entity
        if entity.name is not None:
            self.names(entity)[entity.name] = entity
        if entity.type.short == ADDRESS:
            self._by_match[tuple(entity.values["match"])] = entity
        elif entity.type.short not in NUMBERED:
            self._by_identity[entity.identity] = entity

    def remove(self, entity):
        del self._entities[id(entity)]
        if entity.name is not None:
            del self.names(entity)[entity.name]
        if entity.type.short == ADDRESS:
            del self._by_match[tuple(entity.values["match"])]
        elif entity.type.short not in NUMBERED:
            del self._by_identity[entity.identity]

    def named(self, name):
        """The entity of that name; if one that C numbers has it too, the other one."""
        spaces = (self._by_name, *self._numbered_by_name.values())
        return next((space[name] for space in spaces if name in space), None)

    def numbered_named(self, entity_type, name):
        """The one of that type and name; None."""
        return self._numbered_by_name[entity_type.short].get(name)

    def by_identity(self, identity):
        return self._by_identity.get(identity)

    def singleton(self, short):
        """The one entity of that type."""
        return next(e for e in self._entities.values() if e.type.short == short)

    def numbered(self, entity_type, identity):
        """The one of that type, or of any that C numbers if it is None, and identity; None."""
        found = (e for e in self._entities.values() if e.type.short in NUMBERED and e.identity == identity)
        return next((e for e in found if entity_type is None or e.type is entity_type), None)

    def match_exists(self, match):
        """Whether an address rule with these normalised tokens exists."""
        return tuple(match) in self._by_match


# The router's own; filled by boot.start().
registry = Registry()
MANAGEMENT = Entity(schema.find("management"), {}, "self", None)
