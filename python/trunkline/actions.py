"""Carrying out what is configured: from checked entities to calls of core.apply(), whose tables core.py has."""

from trunkline import checks, core, levels
from trunkline.held import HELD

LOG_DEFAULTS = {"mask": levels.mask("info+"), "timestamp": True, "source": False, "output": "stderr"}


def log_settings(entity):
    values = entity.values
    settings = {
        "mask": levels.mask(values["enable"]) if "enable" in values else None,
        "timestamp": values.get("includeTimestamp"),
        "source": values.get("includeSource"),
        "output": values.get("outputFile"),
    }
    if values["module"] == "DEFAULT":
        settings = {k: LOG_DEFAULTS[k] if v is None else v for k, v in settings.items()}
    return dict(settings, module=values["module"])


def password(text):
    """The password that a connector's saslPassword stands for (management reference 9.1). core.Error if its variable
    is not set."""
    if text is None:
        return None
    if text.startswith("env:"):
        from posix import environ

        value = environ.get(text[4:].lstrip().encode())
        if value is None:
            raise core.Error("Not found", "Failed to find a password in the environment variable %s" % text[4:].lstrip())
        return value.decode("utf-8", "replace")
    if text.startswith("file:"):
        path = text[5:].strip()
        try:
            with open(path, "rb") as f:
                return f.readline(200)[:199].rstrip(b"\r\n").decode("utf-8", "replace")
        except OSError as error:
            core.log("CONN_MGR", core.ERROR, "Unable to open password file %s, error: %s" % (path, error.strerror))
            return text
    core.log("CONN_MGR", core.WARNING, "It is unsafe to provide plain text passwords in the config file")
    return text[5:] if text.startswith("pass:") else text


def endpoint(entity):
    """What listeners and connectors have in common."""
    values = entity.values
    strip = values["stripAnnotations"]
    sessions = values["maxSessions"]
    return {
        "name": entity.name,
        "named": entity.named,
        "host": values["host"].strip(),
        "port": values["port"].strip(),
        "portNumber": checks.port_number(values["port"]),
        "role": values["role"],
        "saslMechanisms": values.get("saslMechanisms"),
        "maxFrameSize": max(values["maxFrameSize"], 512),
        "maxSessions": sessions if 0 < sessions <= 32768 else 32768,
        "maxSessionFrames": values.get("maxSessionFrames") or None,
        "idleTimeoutSeconds": values["idleTimeoutSeconds"],
        "cost": max(1, values.get("cost") or 1),
        "linkCapacity": values.get("linkCapacity") or 250,
        "stripIn": strip in ("in", "both"),
        "stripOut": strip in ("out", "both"),
        "openProperties": values.get("openProperties", {}),
        "messageLogging": checks.message_parts(values["messageLoggingComponents"]),
    }


def listener(entity):
    values = entity.values
    return dict(
        endpoint(entity),
        authenticatePeer=values["authenticatePeer"],
        multiTenant=values["multiTenant"],
        policyVhost=values.get("policyVhost"),
        initialHandshakeTimeoutSeconds=values["initialHandshakeTimeoutSeconds"],
        failover=checks.failover(values["failoverUrls"]) if values.get("failoverUrls") else [],
        socketAddressFamily=values.get("socketAddressFamily"),
    )


def connector(entity):
    return dict(
        endpoint(entity),
        saslUsername=entity.values.get("saslUsername"),
        saslPassword=password(entity.values.get("saslPassword")),
    )


def schema_values(entity):
    """Every attribute that can be configured, None where it was not."""
    return {name: entity.values.get(name) for name, a in entity.type.own_attributes.items() if not a.read_only}


def router(entity):
    values = schema_values(entity)
    values["workerThreads"] = max(values["workerThreads"], 1)
    values["timestampsInUTC"] = bool(values["timestampsInUTC"])
    return values


def address(entity):
    return {
        "name": entity.name,
        **{
            k: entity.values.get(k)
            for k in (
                "prefix",
                "pattern",
                "match",
                "distribution",
                "ingressPhase",
                "egressPhase",
                "priority",
                "fallback",
            )
        },
    }


def held(entity):
    return {"name": entity.name, **HELD[entity.type.short].check(entity.values)}


BUILDERS = {
    "router": router,
    "policy": schema_values,
    "listener": listener,
    "connector": connector,
    "router.config.address": address,
    "log": log_settings,
    **{short: held for short in HELD},
}
KINDS = {"router.config.address": "address", **{short: kind.kind for short, kind in HELD.items()}}


def apply(entity, op):
    """Have C make, change or remove it; core.Error if that fails. What C numbers gets its identity here."""
    kind = KINDS.get(entity.type.short, entity.type.short)
    builder = BUILDERS.get(entity.type.short)
    if builder is None:
        return  # a type that lives in management alone, such as dummy
    attrs = builder(entity) if op != "delete" else {}
    result = core.apply(kind, op, "1" if kind == "router" else entity.identity, attrs)
    if entity.type.short in KINDS and op == "create":
        entity.identity = result
    elif kind in ("listener", "connector") and op == "create":
        core.log(
            "CONN_MGR",
            core.INFO,
            "Configured %s: %s:%s proto=any, role=%s"
            % (kind.capitalize(), attrs["host"], attrs["port"], attrs["role"]),
        )
