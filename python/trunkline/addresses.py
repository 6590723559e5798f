"""Rules for addresses, router.config.address: normal form of prefixes and patterns, and what a rule may say
(management reference 4.5)."""

MAX_PRIORITY = 9
MAX_TOKENS = 255  # router/route/rules.h allows one more, the '#' of a prefix


class Invalid(Exception):
    """The rule cannot be used. The text is what CREATE answers (management reference 2.5, CREATE, core half)."""


def tokens(text):
    """Words of an address: separated by . or /, which mean the same; several in a row are one, at either end they do
    not count."""
    return [word for word in text.replace(".", "/").split("/") if word]


def normal(words):
    """One spelling for patterns that match the same: #/* is */#, #/# is #."""
    result, wild = [], []
    for word in words + [None]:
        if word in ("*", "#"):
            wild.append(word)
            continue
        result += [w for w in wild if w == "*"] + ["#"] * ("#" in wild)
        wild = []
        if word is not None:
            result.append(word)
    return result


def _words(name, value):
    if not isinstance(value, str) or not value:
        raise Invalid("%s must be a non-empty string type" % name)
    words = tokens(value)
    if not words:
        raise Invalid("%s invalid - no tokens" % name)
    if len(words) > MAX_TOKENS:
        raise Invalid("%s invalid - more than %d tokens" % (name, MAX_TOKENS))
    return words


def rule(values):
    """Check a rule's attributes and return those that core.apply('address', 'create') takes, but for the name.

    values: prefix, pattern, distribution, waypoint, ingressPhase, egressPhase, priority, enableFallback, of the types
    that the schema gives them; absent or None where not set. Raises Invalid.
    """
    prefix, pattern = values.get("prefix"), values.get("pattern")
    if prefix is None and pattern is None:
        raise Invalid("Either a 'prefix' or 'pattern' attribute must be provided")
    if prefix is not None and pattern is not None:
        raise Invalid("Cannot specify both a 'prefix' and a 'pattern' attribute")
    match = normal(_words("Pattern", pattern) if prefix is None else _words("Prefix", prefix) + ["#"])
    ingress, egress, waypoint = values.get("ingressPhase"), values.get("egressPhase"), bool(values.get("waypoint"))
    fallback = bool(values.get("enableFallback"))
    if ingress is None and egress is None:
        ingress, egress = 0, 1 if waypoint else 0
    if fallback and (waypoint or ingress or egress):
        raise Invalid("Fallback cannot be specified with waypoint or non-zero ingress and egress phases")
    if ingress is None or egress is None or not (0 <= ingress <= 9 and 0 <= egress <= 9):
        raise Invalid("Phase values must be between 0 and 9")
    priority = values.get("priority")
    priority = -1 if priority is None else priority
    if not -1 <= priority <= MAX_PRIORITY:
        raise Invalid("Priority value, if present, must be between 0 and QDR_MAX_PRIORITY")
    return {
        "prefix": prefix,
        "pattern": pattern,
        "match": match,
        "distribution": values.get("distribution") or "balanced",
        "ingressPhase": ingress,
        "egressPhase": egress,
        "priority": priority,
        "fallback": fallback,
    }
