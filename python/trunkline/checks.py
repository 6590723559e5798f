"""Checking of attribute values, one entity at a time; used for configuration files and for CREATE and UPDATE alike.

What is found wrong is a Problem with two texts: `wire`, the sentence of the old router that management clients may
match on (management reference sections 2.5 and 3), and `text`, the line for a person with a file: what was found and
what is allowed.
"""

from trunkline import schema

TRUE, FALSE = ("yes", "true", "on"), ("no", "false", "off")

INT32 = (-(1 << 31), (1 << 31) - 1)
INT64 = (-(1 << 63), (1 << 63) - 1)
# Limits of integers. Those not named are 32 bits wide, as they are inside the router.
RANGES = {
    ("listener", "maxFrameSize"): (0, INT32[1]),
    ("connector", "maxFrameSize"): (0, INT32[1]),
    ("listener", "maxSessions"): (0, INT32[1]),
    ("connector", "maxSessions"): (0, INT32[1]),
    ("listener", "maxSessionFrames"): (0, INT32[1]),
    ("connector", "maxSessionFrames"): (0, INT32[1]),
    ("listener", "idleTimeoutSeconds"): (0, 4294967),
    ("connector", "idleTimeoutSeconds"): (0, 4294967),
    ("listener", "initialHandshakeTimeoutSeconds"): (0, 4294967),
    ("listener", "linkCapacity"): (0, INT32[1]),
    ("connector", "linkCapacity"): (0, INT32[1]),
    ("router", "workerThreads"): (INT32[0], 1024),
    ("policy", "maxMessageSize"): INT64,
    ("vhost", "maxMessageSize"): INT64,
    ("vhostUserGroupSettings", "maxMessageSize"): INT64,
    ("vhostUserGroupSettings", "maxSessionWindow"): INT64,
}
# Keys of openProperties that the router sets itself, by whole name and by beginning (management reference 3.4).
RESERVED_KEYS = ("product", "version", "failover-server-list", "network-host", "port")
RESERVED_STARTS = ("qd.", "x-opt-qd.")
MECHANISMS = ("ANONYMOUS", "PLAIN", "EXTERNAL")
MESSAGE_PARTS = (
    "message-id",
    "user-id",
    "to",
    "subject",
    "reply-to",
    "correlation-id",
    "content-type",
    "content-encoding",
    "absolute-expiry-time",
    "creation-time",
    "group-id",
    "group-sequence",
    "reply-to-group-id",
    "app-properties",
)


class Problem(Exception):
    """attribute: as the caller wrote it, or None for the whole entity."""

    def __init__(self, attribute, wire, text):
        super().__init__(wire)
        self.attribute, self.wire, self.text = attribute, wire, text


def shown(value):
    """Any value as part of a sentence: as Python writes it, without the names of AMQP types, not too long."""
    try:
        text = repr(plain(value))
    except Problem:
        text = repr(value)
    return text if len(text) <= 500 else text[:497] + "..."


def quote(value):
    text = value if isinstance(value, str) else shown(value)
    return "'%s'" % (text if len(text) <= 80 else text[:77] + "...")


def instead(name, allowed):
    """'; did you mean ...? allowed: ...', the question only if one of the allowed names is near."""
    from difflib import get_close_matches  # rare, and costs more than all of the start-up

    lower = {a.lower(): a for a in allowed}
    near = get_close_matches(name.lower(), lower, 1)
    return "; %sallowed: %s" % ("did you mean '%s'? " % lower[near[0]] if near else "", ", ".join(allowed))


def boolean(value):
    if isinstance(value, str):
        lower = value.lower()
        if lower in TRUE or lower in FALSE:
            return lower in TRUE
        raise Problem(
            None,
            "Invalid Boolean value ''%s''" % value,
            "%s is not a boolean; allowed: %s" % (quote(value), ", ".join(TRUE + FALSE)),
        )
    return bool(value)


def integer(value, limits):
    try:
        number = int(value)
    except (ValueError, TypeError, OverflowError):
        raise Problem(
            None, "invalid literal for int() with base 10: %s" % quote(value), "%s is not a whole number" % quote(value)
        ) from None
    if not limits[0] <= number <= limits[1]:
        text = "%s is out of range; allowed: %d to %d" % (quote(str(number)), *limits)
        raise Problem(None, text, text)
    return number


def enumerated(value, values):
    """One of the values, or its index, as number or text; negative ones count from the end."""
    if isinstance(value, str) and value in values:
        return str(value)
    try:
        return values[int(value)]
    except (ValueError, TypeError, OverflowError, IndexError):
        raise Problem(
            None,
            "Invalid value for enum%s: %s" % (list(values), quote(value)),
            "%s is not allowed%s" % (quote(value), instead(str(value), values)),
        ) from None


def plain(value):
    """What was read from a file or a message in the plain types of the contract with C."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, dict):
        return {plain(str(k)): plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(v) for v in value]
    if isinstance(value, (int, float)):
        return int(value) if isinstance(value, int) else float(value)
    text = str(value, "utf-8", "replace") if isinstance(value, bytes) else str(value)
    if "\0" in text:
        raise Problem(None, "A text may not contain the character NUL", "the text contains the character NUL")
    return text


def properties(value):
    if not isinstance(value, dict):
        raise Problem(None, "Properties must be a map", "%s is not a map" % quote(value))
    for key, member in value.items():
        if not (isinstance(key, str) and key.isascii()):
            raise Problem(None, "Property keys must be ASCII encoded", "key %s is not ASCII text" % quote(key))
        if isinstance(member, int) and not INT64[0] <= member <= INT64[1]:
            raise Problem(None, "Property '%s' is out of range" % key, "the number of '%s' does not fit 64 bits" % key)
    return plain(value)


def container(value, kind, word):
    if not isinstance(value, kind):
        text = "%s is not a %s" % (quote(value), word)
        raise Problem(None, text, text)
    return plain(value)


def convert(entity_type, attribute, value):
    """The value as the attribute's type has it; raises Problem without attribute."""
    kind = attribute.type
    if kind == "boolean":
        return boolean(value)
    if kind == "integer":
        return integer(value, RANGES.get((entity_type.short, attribute.name), INT32))
    if kind == "enum":
        return enumerated(value, attribute.enum)
    if kind == "properties":
        return properties(value)
    if kind == "map":
        return container(value, dict, "map")
    if kind == "list":
        return container(value, (list, tuple), "list")
    return str(plain(value))


def rename(entity_type, values, warn):
    """values with old attribute names replaced by current ones (management reference 13.2). Returns (values, {current:
    as written}, problems)."""
    problems, written, renamed = [], {}, {}
    for name, value in values.items():
        current = entity_type.old_names.get(name)
        if current is None:
            renamed[name] = value
        elif current in values and values[current] is not None:
            problems.append(
                Problem(
                    name,
                    "%s: Both '%s' and '%s' cannot be specified for entity '%s'"
                    % (entity_type.full, name, current, entity_type.short),
                    "both the old name '%s' and its successor '%s' are given" % (name, current),
                )
            )
        else:
            warn(
                "Attribute '%s' of entity '%s' has been deprecated. Use '%s' instead"
                % (name, entity_type.short, current)
            )
            renamed[current] = value
            written[current] = name
    return renamed, written, problems


# Values of old releases that stand for one of today's. 1.19 refuses them; they are understood and said in the log.
OLD_VALUES = {
    ("listener", "role", "on-demand"): "route-container",
    ("connector", "role", "on-demand"): "route-container",
}


def current_value(entity_type, name, value, warn):
    successor = OLD_VALUES.get((entity_type.short, name, value)) if isinstance(value, str) else None
    if successor is None:
        return value
    warn(
        "Value '%s' of attribute '%s' of entity '%s' has been deprecated. Use '%s' instead"
        % (value, name, entity_type.short, successor)
    )
    return successor


def check(entity_type, values, warn, partial=False, extra=()):
    """Convert {name: value} of one entity.

    Returns (converted, problems). converted: all that is right, defaults filled in, absent ones left out; names are
    current. A value None counts as absent. partial: for UPDATE, without defaults and required attributes. extra: names
    allowed beyond the schema's.
    """
    values, written, problems = rename(entity_type, values, warn)
    converted = {}
    for name, value in values.items():
        attribute = entity_type.attributes.get(name)
        if attribute is None:
            if name not in extra:
                allowed = [a for a, x in entity_type.own_attributes.items() if not x.read_only or x.required] + ["name"]
                problems.append(
                    Problem(
                        name,
                        "Unknown attribute '%s' for '%s'" % (name, entity_type.full),
                        "unknown attribute '%s'%s" % (name, instead(name, allowed)),
                    )
                )
        elif value is not None:
            try:
                converted[name] = convert(entity_type, attribute, current_value(entity_type, name, value, warn))
            except Problem as problem:
                shown = written.get(name, name)
                problems.append(
                    Problem(shown, "%s: %s" % (entity_type.full, problem.wire), "%s: %s" % (shown, problem.text))
                )
    if not partial:
        failed = {p.attribute for p in problems}
        for name, attribute in entity_type.attributes.items():
            if name in converted or name in failed or written.get(name) in failed:
                continue
            if attribute.default is not None:
                converted[name] = convert(entity_type, attribute, attribute.default)
            elif attribute.required and name != "type":
                problems.append(
                    Problem(
                        None,
                        "%s: Missing required attribute '%s'" % (entity_type.full, name),
                        "required attribute '%s' is missing" % name,
                    )
                )
    return converted, problems


# Rules beyond single values. Each takes the converted attributes and yields Problems.
# --------------------------------------


def rule(attribute, entity_type, text):
    return Problem(attribute, "%s: %s" % (entity_type.full, text), "%s: %s" % (attribute, text) if attribute else text)


def router_rules(entity_type, values):
    name = values.get("id")
    if name is None:
        return
    if len(name) > 127:
        yield rule("id", entity_type, 'Router ID "%s" exceeds the maximum allowed length (127 characters)' % name)
    for c in name:
        if c.isspace() or not c.isprintable():
            yield rule(
                "id",
                entity_type,
                "Router id attribute containing character '%s' in id '%s' is disallowed."
                % (c if c == " " else repr(c)[1:-1], "".join(x if x.isprintable() else "?" for x in name)),
            )
            break
    if not name:
        yield rule("id", entity_type, "an empty id is not allowed; leave the attribute out for one made at random")


def policy_rules(entity_type, values):
    if values.get("maxConnections", 0) < 0:
        yield rule("maxConnections", entity_type, "maxConnections must be >= 0")


def log_rules(entity_type, values):
    if "enable" in values:
        from trunkline import levels

        try:
            levels.mask(values["enable"])
        except ValueError as error:
            yield rule("enable", entity_type, str(error))


def endpoint_rules(entity_type, values):
    """Listener and connector alike."""
    role = values.get("role")
    for key in values.get("openProperties", ()):
        if role in ("inter-router", "edge"):
            yield rule("openProperties", entity_type, "openProperties not allowed for role %s" % role)
            break
        if key in RESERVED_KEYS or key.startswith(RESERVED_STARTS):
            yield rule("openProperties", entity_type, "Reserved key '%s' not allowed in openProperties" % key)
    if "port" in values:
        try:
            port_number(values["port"])
        except ValueError as error:
            yield rule("port", entity_type, str(error))
    vhost = values.get("policyVhost")
    if values.get("multiTenant") and vhost and ("/" in vhost or vhost.endswith(":") or vhost in ("_local", "_topo", "_edge")):
        yield rule("policyVhost", entity_type, "'%s' cannot be a tenant's name: it holds a '/', or stands for something else" % vhost)
    if entity_type.short == "listener" and values.get("failoverUrls"):
        try:
            failover(values["failoverUrls"])
        except ValueError as error:
            yield rule("failoverUrls", entity_type, str(error))


RULES = {
    "router": router_rules,
    "policy": policy_rules,
    "log": log_rules,
    "listener": endpoint_rules,
    "connector": endpoint_rules,
}


def check_all(entity_type, values, warn, partial=False, extra=()):
    """check(), then the type's rules on what was converted."""
    converted, problems = check(entity_type, values, warn, partial, extra)
    rules = RULES.get(entity_type.short)
    if rules:
        problems += rules(entity_type, converted)
    return converted, problems


def role_problem(mode, entity_type, values):
    """Whether the router's mode forbids the role of this listener or connector (management reference 3.4): a Problem or
    None."""
    role = values.get("role")
    if role not in ("inter-router", "edge"):
        return None
    if mode == "standalone":
        return rule(
            "role", entity_type, "role='standalone' not allowed to connect to or accept connections from other routers."
        )
    needs_interior = role == "inter-router" or entity_type.short == "listener"
    if needs_interior and mode != "interior":
        return rule(
            "role",
            entity_type,
            "role='%s' only allowed with router mode='interior' for %s" % (role, values.get("name", entity_type.short)),
        )
    return None


# Meaning of some texts
# ----------------------------------------------------------------------------------------------------


def port_number(text):
    """Number of a port given as number or service name; ValueError with a sentence."""
    text = text.strip()
    if text.isascii() and text.isdigit():
        number = int(text) if len(text) < 10 else 65536
        if number > 65535:
            raise ValueError("port %s is out of range; allowed: 0 to 65535 or a service name" % quote(text))
        return number
    known = {"amqp": 5672, "amqps": 5671}.get(text)
    if known is not None:
        return known
    from _socket import getservbyname

    try:
        return getservbyname(text, "tcp")
    except (OSError, UnicodeError, ValueError):
        raise ValueError(
            "%s is neither a port number nor the name of a service known to this machine" % quote(text)
        ) from None


def failover(text):
    """[scheme://]host[:port], ... as a list of maps; ValueError with a sentence."""
    result = []
    for item in "".join(text.split()).split(","):
        scheme, separator, rest = item.partition("://")
        if not separator:
            scheme, rest = None, item
        if rest.startswith("["):
            host, _, port = rest[1:].partition("]")
            port = port[1:] if port.startswith(":") else port
        else:
            host, _, port = rest.rpartition(":") if ":" in rest else (rest, "", "")
        if not host:
            raise ValueError("No network host in failover item %s" % quote(item))
        result.append({"scheme": scheme or None, "host": host, "port": port or "5672"})
    return result


def message_parts(text):
    """Names of the message parts to log, in their order; unknown ones are ignored, as they always were."""
    chosen = text.split(",")
    return [part for part in MESSAGE_PARTS if "all" in chosen or part in chosen]
