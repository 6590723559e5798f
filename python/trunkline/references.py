"""What the sections of a checked file say of each other and of the machine: names that lead nowhere, of which 1.19 said nothing."""

from trunkline import checks
from trunkline.held import AUTOLINK, BINDING, EXCHANGE, LINK_ROUTE


def _container(entity, endpoints):
    """What is wrong with the container that an autoLink or link route is for; None: nothing that could be known."""
    name = entity.values.get("connection")
    if name is None:
        if entity.values.get("containerId") is None:
            return "neither 'connection' nor 'containerId' is given: it stays inactive"
        return None
    found = endpoints.get(name)
    if found is None:
        return "connection: no connector or listener has the name '%s': it stays inactive while there is none%s" % (
            name,
            checks.instead(name, sorted(endpoints)).replace("allowed: ", "there are: ") if endpoints else "",
        )
    if found.values["role"] != "route-container":
        return "connection: '%s' is a %s of role '%s', not 'route-container': it stays inactive" % (
            name,
            found.type.short,
            found.values["role"],
        )
    return None


def warnings(registry):
    """Yields (entity, text) for what is allowed, and has no effect as it stands."""
    endpoints = {e.name: e for e in registry if e.type.short in ("listener", "connector") and e.named}
    for entity in registry:
        short = entity.type.short
        text = None
        if short in (AUTOLINK, LINK_ROUTE):
            text = _container(entity, endpoints)
        elif short in ("listener", "connector"):
            text = _parts(entity.values["messageLoggingComponents"])
        if text:
            yield entity, text


def _parts(components):
    if components in ("none", "all", ""):
        return None
    unknown = [part for part in components.split(",") if part not in (*checks.MESSAGE_PARTS, "all", "none")]
    if not unknown:
        return None
    return "messageLoggingComponents: %s is no part of a message%s" % (
        checks.quote(unknown[0]),
        checks.instead(unknown[0], ("all", "none", *checks.MESSAGE_PARTS)),
    )


def bindings_without_exchange(registry):
    """The bindings whose exchange is not in the file: they are skipped, as 1.19 does."""
    exchanges = {e.name for e in registry if e.type.short == EXCHANGE}
    return [e for e in registry if e.type.short == BINDING and e.values["exchangeName"] not in exchanges]


def refusals_of_the_machine(registry):
    """Yields (entity, text) for what would end the start on this machine, as this user, though the file is right.
    Nothing is opened or made for it."""
    for entity in registry:
        if entity.type.short == "log":
            text = _log_file(entity.values.get("outputFile"))
            if text:
                yield entity, "outputFile: " + text
        elif entity.type.short == "connector":
            text = _variable(entity.values.get("saslPassword"))
            if text:
                yield entity, "saslPassword: " + text


def _log_file(path):
    """Why it cannot be written, else None."""
    from posix import W_OK, X_OK, access

    if path in (None, "", "stderr", "stdout", "syslog"):
        return None
    if _is_there(path):
        return None if access(path, W_OK) else "'%s' may not be written" % path
    directory = path.rpartition("/")[0] or ("/" if path.startswith("/") else ".")
    if not _is_there(directory):
        return "there is no directory '%s'" % directory
    return None if access(directory, W_OK | X_OK) else "no file may be made in '%s'" % directory


def _variable(text):
    """Why the variable of the environment that holds the password is of no use, else None."""
    from posix import environ

    if text is None or not text.startswith("env:"):
        return None
    name = text[4:].lstrip()
    return None if name.encode() in environ else "the environment has no variable '%s'" % name


def _is_there(path):
    from posix import stat

    try:
        stat(path)
        return True
    except OSError:
        return False
