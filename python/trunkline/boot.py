"""Start of the router: the two functions that C calls with a configuration file's path. See core.py."""

from trunkline import actions, config, core, entities, references, schema
from trunkline.held import HELD
from trunkline.reader import ConfigError


class StartError(Exception):
    """The router cannot start; the text is the last word, for stderr and the log."""


def check(path):
    """What is wrong with the file, one line each; [] if nothing. Warnings go to the log."""
    try:
        loaded = config.parse(path, config.read_file(path))
    except ConfigError as error:
        return [line if path + ":" in line else "%s: %s" % (path, line) for line in error.lines]
    for note in loaded.notes:
        core.log(*note)
    return [
        "%s: %s: %s" % (entity.place, entity.type.section, text)
        for entity, text in references.refusals_of_the_machine(loaded.registry)
    ]


def start(path):
    """Check the file, then carry it out; StartError if either fails."""
    try:
        data = config.read_file(path)
    except ConfigError as error:
        raise StartError(str(error)) from None
    try:
        loaded = config.parse(path, data)
    except ConfigError as error:
        for line in error.lines[1:]:
            core.log("AGENT", core.ERROR, line)
        more = " (and %d more errors)" % (len(error.lines) - 1) if len(error.lines) > 1 else ""
        raise StartError(
            "Python: Exception: Cannot load configuration file %s: %s%s" % (path, error.lines[0], more)
        ) from None
    entities.registry = loaded.registry
    try:
        carry_out(loaded)
    except core.Error as error:
        raise StartError("Python: CError: %s: %s" % error.args[:2]) from None


def carry_out(loaded):
    """Apply a checked configuration in the order of management reference 6.1."""
    registry = loaded.registry
    logs = schema.find("log")
    for module in logs.attributes["module"].enum:
        if not registry.by_identity("log/" + module):
            registry.add(entities.make(logs, {"module": module}, registry.number(logs)))
    # DEFAULT first: if its file cannot be opened, the others have nothing to fall back on.
    for entity in sorted(registry.of(logs), key=lambda e: e.values["module"] != "DEFAULT"):
        if entity.place or entity.values["module"] == "DEFAULT":
            actions.apply(entity, "update")
    for note in loaded.notes:
        core.log(*note)
    for short in ("router", "policy", entities.ADDRESS, *HELD, "connector", "listener"):
        for entity in list(registry.of(schema.find(short))):
            try:
                actions.apply(entity, "create")
            except core.Error as error:
                if short in HELD and error.args[0] == "Value":  # as one that cannot be made at all: config.py
                    text = "Error configuring %s: %s (%s)" % (HELD[short].kind, error.args[1], entity.place)
                    core.log("ROUTER_CORE", core.ERROR, text)
                    registry.remove(entity)
                    continue
                if short == "listener" and error.args[0] == "System":
                    core.log("SERVER", core.ERROR, error.args[1])
                    core.log(
                        "SERVER",
                        core.CRITICAL,
                        "Shutting down, required listener failed %s:%s"
                        % (entity.values["host"], entity.values["port"]),
                    )
                raise
