"""Configured things whose state C knows: it holds them, shows them and numbers them; here is what they may say
(management reference 2.5, CREATE, core half).

Each type of HELD has a Kind; config.py and core_types.py know no more of it.
"""

from trunkline import addresses, checks, schema


class Invalid(Exception):
    """It cannot be made so. The text is what CREATE answers."""


class Kind:
    """kind: its name for core.apply(). check: a function from values, of the types that the schema gives them, to those
    that core.apply(kind, 'create') takes, but for the name; it raises Invalid. mistakes: {attribute: text} of what
    CREATE says of a value that cannot be converted."""

    def __init__(self, short, kind, check, mistakes):
        self.type, self.kind, self.check, self.mistakes = schema.find(short), kind, check, mistakes

    def converted(self, body):
        """Attributes of a request's body with the types of the schema, under their current names; others are left out.
        Raises Invalid."""
        result = {}
        for key, value in body.items():
            attribute = self.type.own_attributes.get(self.type.old_names.get(key, key)) if isinstance(key, str) else None
            if attribute is None or attribute.read_only or value is None:
                continue
            if attribute.name != key and attribute.name in body:
                continue
            try:
                result[attribute.name] = checks.convert(self.type, attribute, value)
            except checks.Problem as problem:
                text = self.mistakes.get(attribute.name) or "%s: %s" % (attribute.name, problem)
                raise Invalid(text) from None
        return result


def _container(values):
    """connection and containerId, at most one of them set."""
    connection, container_id = values.get("connection") or None, values.get("containerId") or None
    if connection and container_id:
        raise Invalid("Both connection and containerId cannot be specified. Specify only one")
    return {"connection": connection, "containerId": container_id}


PHASE = "autoLink phase must be between 0 and 9"


def autolink(values):
    container = _container(values)
    address, direction = values.get("address"), values.get("direction")
    if not address or not direction:
        raise Invalid("address and direction fields are mandatory")
    fallback, phase = bool(values.get("fallback")), values.get("phase")
    if phase is None:
        phase = 1 if direction == "in" and not fallback else 0
    if not 0 <= phase <= 9:
        raise Invalid(PHASE)
    return {
        **container,
        "address": address,
        "in": direction == "in",
        "phase": phase,
        "externalAddress": values.get("externalAddress") or None,
        "fallback": fallback,
    }


def _words(name, value):
    """A prefix or pattern, which has at least one word."""
    words = addresses.tokens(value)
    if not words:
        raise Invalid("%s invalid - no tokens" % name)
    if len(words) > addresses.MAX_TOKENS:
        raise Invalid("%s invalid - more than %d tokens" % (name, addresses.MAX_TOKENS))
    return value


def linkroute(values):
    prefix, pattern, direction = values.get("prefix"), values.get("pattern"), values.get("direction")
    if prefix is None and pattern is None:
        raise Invalid("Either a 'prefix' or 'pattern' attribute must be provided")
    if prefix is not None and pattern is not None:
        raise Invalid("Cannot specify both a 'prefix' and a 'pattern' attribute")
    for name, value in (("Prefix", prefix), ("Pattern", pattern)):
        if value == "":
            raise Invalid("%s must be a non-empty string type" % name)
    if not direction:
        raise Invalid("No 'direction' attribute provided - it is mandatory")
    return {
        **_container(values),
        "prefix": _words("Prefix", prefix) if prefix else None,
        "pattern": _words("Pattern", pattern) if pattern else None,
        "in": direction == "in",
        "addExternalPrefix": values.get("addExternalPrefix") or None,
        "delExternalPrefix": values.get("delExternalPrefix") or None,
    }


def own_linkroute(values):
    """A link route that a connection makes for itself."""
    if not values.get("pattern"):
        raise Invalid("Pattern field is required")
    if not values.get("direction"):
        raise Invalid("Missing value for 'direction'")
    return {"pattern": _words("Pattern", values["pattern"]), "in": values["direction"] == "in"}


EXCHANGE_PHASE = "phase must be in the range 0-9"


def _phase(values, name):
    phase = values.get(name) or 0
    if not 0 <= phase <= 9:
        raise Invalid(EXCHANGE_PHASE)
    return phase


def exchange(values):
    """The name is checked where it is known: core_types.py, config.py."""
    if not values.get("address"):
        raise Invalid("exchange address is mandatory")
    return {
        "address": values["address"],
        "phase": _phase(values, "phase"),
        "alternateAddress": values.get("alternateAddress") or None,
        "alternatePhase": _phase(values, "alternatePhase"),
        "mqtt": values.get("matchMethod") == "mqtt",
    }


def binding(values):
    if not values.get("exchangeName"):
        raise Invalid("Binding configuration requires an exchange")
    if not values.get("nextHopAddress"):
        raise Invalid("No next hop specified")
    return {
        "exchangeName": values["exchangeName"],
        "bindingKey": values.get("bindingKey"),
        "nextHopAddress": values["nextHopAddress"],
        "nextHopPhase": _phase(values, "nextHopPhase"),
    }


LINK_ROUTE = "router.config.linkRoute"
AUTOLINK = "router.config.autoLink"
EXCHANGE, BINDING = "router.config.exchange", "router.config.binding"
WRONG_DIRECTION = "Invalid value for 'direction'"
HELD = {
    kind.type.short: kind
    for kind in (
        Kind(LINK_ROUTE, "linkRoute", linkroute, {"direction": WRONG_DIRECTION, "distribution": "Invalid value for 'distribution'"}),
        Kind(AUTOLINK, "autoLink", autolink, {"direction": WRONG_DIRECTION, "phase": PHASE}),
        Kind(
            EXCHANGE,
            "exchange",
            exchange,
            {
                "matchMethod": "Exchange matchMethod must be either 'amqp' or 'mqtt'",
                "phase": EXCHANGE_PHASE,
                "alternatePhase": EXCHANGE_PHASE,
            },
        ),
        Kind(BINDING, "binding", binding, {"nextHopPhase": EXCHANGE_PHASE}),
    )
}
# Those that connections make for themselves are not held: they end with their connection.
OWN_LINK_ROUTE = Kind(
    "router.connection.linkRoute", "connection.linkRoute", own_linkroute, {"direction": WRONG_DIRECTION}
)
