"""The entities that exist because somebody configured them, in a file or by management.

What comes and goes by itself - connections, links, addresses in use - is not here; the agent asks C for it.

Invariants
  E1  identity is unique over all entities here but addresses, whose identities are numbers of their own kind.
  E2  name is unique over all entities here but addresses, and over addresses. (A file is held to more: over all of
  them.) E3  what is here has been carried out by C, and what C has carried out is here.
"""

from trunkline import schema

ADDRESS = "router.config.address"


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
        # Only addresses can be without a name.
        self.name = name if self.named or entity_type.short == ADDRESS else identity
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
    elif short == ADDRESS:
        identity, name = "", "address/%d" % number if name is None and number is not None else name
    else:
        identity = "%s/%d" % (short, number)
    return Entity(entity_type, values, identity, name, place)


class Registry:
    """All configured entities in order of creation."""

    def __init__(self):
        self._entities = {}  # id(entity): entity; a dict so that removal is cheap and order kept
        self._by_name = {}
        self._addresses_by_name = {}
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
        return self._addresses_by_name if entity.type.short == ADDRESS else self._by_name

    def check(self, entity, across=False):
        """Raise Duplicate if its name or identity is taken. across: the name must differ from those of both name
        spaces."""
        other = self._by_identity.get(entity.identity) if entity.type.short != ADDRESS else None
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
        else:
            self._by_identity[entity.identity] = entity

    def remove(self, entity):
        del self._entities[id(entity)]
        if entity.name is not None:
            del self.names(entity)[entity.name]
        if entity.type.short == ADDRESS:
            del self._by_match[tuple(entity.values["match"])]
        else:
            del self._by_identity[entity.identity]

    def named(self, name):
        """The entity of that name; if an address has it too, the other one."""
        return self._by_name.get(name) or self._addresses_by_name.get(name)

    def address_named(self, name):
        return self._addresses_by_name.get(name)

    def by_identity(self, identity):
        return self._by_identity.get(identity)

    def singleton(self, short):
        """The one entity of that type."""
        return next(e for e in self._entities.values() if e.type.short == short)

    def address(self, identity):
        return next((e for e in self._entities.values() if e.type.short == ADDRESS and e.identity == identity), None)

    def match_exists(self, match):
        """Whether an address rule with these normalised tokens exists."""
        return tuple(match) in self._by_match


# The router's own; filled by boot.start().
registry = Registry()
MANAGEMENT = Entity(schema.find("management"), {}, "self", None)
