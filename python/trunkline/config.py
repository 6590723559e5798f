"""Configuration file to entities: everything is read and checked before anything is set up (management reference 6.1,
step 2)."""

from trunkline import addresses, checks, core, reader, references, refusals, schema
from trunkline.entities import ADDRESS, Duplicate, Registry, make
from trunkline.held import HELD, Invalid
from trunkline.reader import ConfigError

RANDOM_ID = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_"
# Read-only attributes that a configuration section nevertheless sets.
SET_BY_FILE = {
    "log": ("module",),
    "vhost": ("maxMessageSize",),
    "console": ("listener", "wsport", "proxy", "home", "args"),
}


class Config:
    """A checked file. registry: the entities. notes: what the log must say about it, as (module, level, text)."""

    def __init__(self):
        self.registry = Registry()
        self.notes = []


def random_id(mode):
    from posix import urandom

    return mode.capitalize() + "_" + "".join(RANDOM_ID[byte & 63] for byte in urandom(15))


class _Loader:
    def __init__(self, path):
        self.path = path
        self.config = Config()
        self.errors = []  # (line, column, text)
        self.singletons = {}

    def warn(self, text):
        self.config.notes.append(("AGENT", core.WARNING, text))

    def place(self, at):
        return "%s:%d:%d" % (self.path, at.line, at.column)

    def error(self, at, section, text):
        self.errors.append((at.line, at.column, "%s: %s" % (section.written, text) if section else text))

    def section(self, section):
        """Check one section; an entity is added if nothing is wrong with it."""
        entity_type = schema.section(section.name) or (schema.find("dummy") if section.name == "dummy" else None)
        if entity_type is None:
            self.errors.append((section.line, section.column, unknown_section(section)))
            return
        values = {name: v.value for name, v in section.attributes.items()}
        converted, problems = checks.check_all(
            entity_type, values, lambda text: self.warn("%s (%s)" % (text, self.place(section)))
        )
        for problem in problems:
            at = section.attributes.get(problem.attribute) or self.old_place(entity_type, section, problem.attribute)
            self.error(at, section, self.better_text(entity_type, problem, section) or problem.text)
        refused_type = refusals.refused_type(entity_type)
        if refused_type:
            self.error(section, section, refused_type)
        refused = refusals.refused_attributes(entity_type, converted)
        for attribute, text in refused:
            self.error(
                section.attributes.get(attribute) or self.old_place(entity_type, section, attribute), section, text
            )
        if entity_type.singleton and self.singletons.setdefault(entity_type, section) is not section:
            self.error(
                section, section, "may occur only once; the first one is at line %d" % self.singletons[entity_type].line
            )
        elif not (problems or refused_type or refused):
            self.accept(entity_type, section, converted)

    @staticmethod
    def old_place(entity_type, section, attribute):
        """Where an attribute stands that was written under its old name; else the section."""
        for old, current in entity_type.old_names.items():
            if current == attribute and old in section.attributes:
                return section.attributes[old]
        return section

    @staticmethod
    def better_text(entity_type, problem, section):
        """Advice for names and values of releases before 1.19, or None."""
        given = section.attributes.get(problem.attribute)
        removed = refusals.REMOVED_ATTRIBUTES.get((entity_type.short, problem.attribute))
        if removed:
            return "attribute '%s' is of an old release and no longer known; %s" % (problem.attribute, removed)
        key = (entity_type.short, problem.attribute, given.value if given and isinstance(given.value, str) else None)
        if key in refusals.REMOVED_VALUES:
            successor = refusals.REMOVED_VALUES[key]
            return "%s: '%s' is of an old release and no longer known; %s" % (
                problem.attribute,
                key[2],
                "write '%s'" % successor if successor else "remove the section",
            )
        return None

    def accept(self, entity_type, section, values):
        registry, place = self.config.registry, self.place(section)
        for name in section.attributes:
            attribute = entity_type.attributes.get(entity_type.old_names.get(name, name))
            if attribute.read_only and attribute.name not in SET_BY_FILE.get(entity_type.short, ()):
                self.warn(
                    "Attribute '%s' of entity '%s' is set by the router itself: the value given is ignored (%s)"
                    % (attribute.name, entity_type.short, self.place(section.attributes[name]))
                )
                if attribute.default is None:
                    values.pop(attribute.name, None)
                else:
                    values[attribute.name] = checks.convert(entity_type, attribute, attribute.default)
        for text in refusals.without_effect(entity_type, values):
            self.warn("%s (%s)" % (text, place))
        if entity_type.short == "console":
            self.warn("Console entity is deprecated: Use http:yes on listener entity instead")
            self.warn("Section 'console' has no effect: its program is not run (%s)" % place)
            return
        number = registry.number(entity_type)
        if entity_type.short == ADDRESS and not self.address(section, values):
            return
        if entity_type.short in HELD and not self.held(section, HELD[entity_type.short], values):
            return
        if entity_type.short == "router" and "id" not in values:
            values["id"] = random_id(values["mode"])
        entity = make(entity_type, values, number, place)
        try:
            registry.add(entity, across=True)
        except Duplicate as duplicate:
            self.error(
                section.attributes.get("name", section) if duplicate.attribute == "name" else section,
                section,
                duplicate_text(duplicate),
            )

    def address(self, section, values):
        """Complete the values of an address; False if it is wrong, which is not fatal: the section is skipped, with a
        line in the log."""
        prefix, pattern = values.get("prefix"), values.get("pattern")
        note = None
        if prefix is not None and pattern is not None:
            note = (
                "ROUTER",
                core.WARNING,
                "Cannot set both 'prefix' and 'pattern': ignoring configured address %s, %s" % (prefix, pattern),
            )
        elif prefix is None and pattern is None:
            note = (
                "ROUTER",
                core.WARNING,
                "Must set either 'prefix' or 'pattern' attribute: ignoring configured address",
            )
        else:
            try:
                values.update(addresses.rule(values))
                if self.config.registry.match_exists(values["match"]):
                    raise addresses.Invalid("Already exists")
            except addresses.Invalid as invalid:
                note = "ROUTER_CORE", core.ERROR, "Error configuring address: %s" % invalid
        if note:
            module, level, text = note
            self.config.notes.append((module, level, "%s (%s)" % (text, self.place(section))))
        return not note

    def held(self, section, kind, values):
        """Whether it can be made; if not, that is not fatal: the section is skipped, with a line in the log."""
        try:
            kind.check(values)
            return True
        except Invalid as invalid:
            text = "Error configuring %s: %s (%s)" % (kind.kind, invalid, self.place(section))
            self.config.notes.append(("ROUTER_CORE", core.ERROR, text))
            return False

    def complete(self):
        """Add the singletons that the file does not have, and check the roles against the mode."""
        registry = self.config.registry
        for short in ("router", "policy"):
            entity_type = schema.find(short)
            if entity_type not in self.singletons:
                values, _ = checks.check_all(entity_type, {}, self.warn)
                if short == "router":
                    values["id"] = random_id(values["mode"])
                registry.add(make(entity_type, values, registry.number(entity_type)))
        if not self.errors:
            mode = registry.singleton("router").values["mode"]
            for entity in registry:
                problem = entity.type.short in ("listener", "connector") and checks.role_problem(
                    mode, entity.type, entity.attributes()
                )
                if problem:
                    _, line, column = entity.place.rsplit(":", 2)
                    self.errors.append((int(line), int(column), "%s: %s" % (entity.type.short, problem.text)))
            self.follow_references()

    def follow_references(self):
        """Names of other sections: what they lead to nowhere costs, as in 1.19, but is told."""
        registry = self.config.registry
        for entity in references.bindings_without_exchange(registry):
            text = "Error configuring binding: Named exchange does not exist (%s)" % entity.place
            self.config.notes.append(("ROUTER_CORE", core.ERROR, text))
            registry.remove(entity)
        for entity, text in references.warnings(registry):
            self.warn("%s: %s (%s)" % (entity.type.section, text, entity.place))


def duplicate_text(duplicate):
    other = duplicate.other
    where = "at line %s" % other.place.rsplit(":", 2)[1] if other.place else "the router adds itself"
    what = other.type.section or other.type.short
    if duplicate.attribute == "name":
        return "name '%s' is already used by the %s %s" % (duplicate.value, what, where)
    if other.type.short == "log":
        return "module '%s' already has a section %s" % (other.values["module"], where)
    return "the %s %s has the same host, port and name; give one of them another name" % (what, where)


def unknown_section(section):
    advice = refusals.REMOVED_SECTIONS.get(section.name)
    if advice:
        return "section '%s' is of an old release and no longer known; %s" % (section.written, advice)
    if schema.find(section.name):
        return "section '%s' cannot be configured; allowed: %s" % (section.written, ", ".join(schema.sections()))
    return "unknown section '%s'%s" % (section.written, checks.instead(section.name, schema.sections()))


def read_file(path):
    """The file's contents. ConfigError with the text that the router has always ended with (management reference
    6.2)."""
    try:
        with open(path, "rb") as f:
            data = f.read(reader.MAX_BYTES + 1)
    except OSError as error:
        text = "Not found: Configuration file could not be opened: %s: %s" % (path, error.strerror)
        raise ConfigError([text]) from error
    if not data:
        raise ConfigError(["Configuration: Configuration file was empty"])
    return data


def parse(path, data):
    """Check a file's contents; the Config, or ConfigError with every mistake."""
    loader = _Loader(path)
    sections, errors = reader.read(path, data)
    loader.errors += errors
    for section in sections:
        loader.section(section)
    if not errors:
        loader.complete()
    if loader.errors:
        shown = sorted(loader.errors, key=lambda error: error[:2])[: reader.MAX_ERRORS]
        lines = ["%s:%d:%d: %s" % (path, line, column, text) for line, column, text in shown]
        raise ConfigError(lines)
    return loader.config
