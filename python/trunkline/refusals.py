"""What the schema knows and this version of the router does not carry out yet: refused, in a file and in CREATE, with
one line.

The only place that says so. Whoever brings a feature deletes its line here; nothing else has to change on this side.
"""

from trunkline.checks import MECHANISMS

# Whole types.
TYPES = {
    "sslProfile": "TLS",
    "authServicePlugin": "authentication by a service",
    "vhost": "vhost policy",
}


def unknown_mechanisms(value):
    return [word for word in value.split() if word not in MECHANISMS]


def unserved_mechanisms(value):
    """There is nothing here to check a client's password or certificate against. Without a word: the default."""
    return [word for word in value.split() if word in ("PLAIN", "EXTERNAL")]


def no_mechanism_left(value):
    return value.split() and set(unserved_mechanisms(value)) == set(value.split())


# (type, attribute, whether the value is refused, what it would need, what is allowed or None)
ATTRIBUTES = (
    ("router", "saslConfigDir", bool, "SASL by the Cyrus library", None),
    ("router", "saslConfigName", lambda v: v != "qdrouterd", "SASL by the Cyrus library", None),
    ("listener", "http", bool, "HTTP and WebSocket", "no"),
    ("listener", "httpRootDir", bool, "HTTP and WebSocket", None),
    ("listener", "sslProfile", bool, "TLS", None),
    ("listener", "requireSsl", bool, "TLS", "no"),
    ("listener", "requireEncryption", bool, "TLS", "no"),
    ("listener", "saslPlugin", bool, "authentication by a service", None),
    ("listener", "saslMechanisms", unknown_mechanisms, "SASL by the Cyrus library", " ".join(MECHANISMS)),
    (
        "listener",
        "saslMechanisms",
        no_mechanism_left,
        "a store of passwords or client certificates",
        "ANONYMOUS, alone or with others",
    ),
    ("connector", "sslProfile", bool, "TLS", None),
    ("connector", "saslMechanisms", unknown_mechanisms, "SASL by the Cyrus library", " ".join(MECHANISMS)),
    ("policy", "enableVhostPolicy", bool, "vhost policy", "no"),
    ("policy", "policyDir", bool, "vhost policy", None),
)

# Accepted, but said in the log: the value changes nothing, or only part of it does anything. What the reference itself
# calls without effect is not listed.
NO_EFFECT = (
    (
        "listener",
        "saslMechanisms",
        unserved_mechanisms,
        "is carried out in part: PLAIN and EXTERNAL are not offered, for this version has no store of passwords or client certificates",
    ),
    ("router", "debugDumpFile", bool, "has no effect: there are no memory pools to report on"),
    ("listener", "trustedCertsFile", bool, "has no effect: use caCertFile of an sslProfile"),
)

# Sections that Qpid Dispatch 1.19 refuses too (management reference 13.1), and what to write instead.
REMOVED_SECTIONS = {
    "container": "its attributes now belong to section 'router'; containerName is the router's 'id'",
    "fixedAddress": "write section 'address' with a prefix and a distribution: multicast for fanout multiple, "
    "else closest or balanced for bias closest or spread",
    "waypoint": "write section 'address' with 'waypoint: yes' and two 'autoLink' sections",
    "linkRoutePattern": "write section 'linkRoute' with prefix, direction and connection",
    "tcpListener": "the TCP adaptor was removed in Qpid Dispatch 1.19",
    "tcpConnector": "the TCP adaptor was removed in Qpid Dispatch 1.19",
    "httpListener": "the HTTP adaptor was removed in Qpid Dispatch 1.19; "
    "for HTTP and WebSocket clients write section 'listener' with 'http: yes'",
    "httpConnector": "the HTTP adaptor was removed in Qpid Dispatch 1.19",
}
REMOVED_ATTRIBUTES = {
    ("listener", "addr"): "write 'host'",
    ("connector", "addr"): "write 'host'",
    ("listener", "allowNoSasl"): "write 'authenticatePeer: no' for 'allowNoSasl: yes'",
    ("listener", "requirePeerAuth"): "write 'authenticatePeer'",
    ("listener", "allowUnsecured"): "write 'requireSsl: no' for 'allowUnsecured: yes'",
    ("router", "routerId"): "write 'id'",
    ("router", "mobileAddrMaxAge"): "leave it out",
    ("router", "tcpConnectionCount"): "leave it out",
}
REMOVED_VALUES = {
    ("listener", "role", "edge-uplink"): "edge",
    ("connector", "role", "edge-uplink"): "edge",
    ("log", "module", "TCP_ADAPTOR"): None,
    ("log", "module", "HTTP_ADAPTOR"): None,
}


def refused_type(entity_type):
    """Why nothing of this type can be made in this version, or None."""
    needs = TYPES.get(entity_type.short)
    return "not yet in this version of the router (%s)" % needs if needs else None


def refused_attributes(entity_type, values):
    """[(attribute, text)] for every value that this version does not carry out."""
    found = []
    for short, attribute, refuses, needs, allowed in ATTRIBUTES:
        value = values.get(attribute)
        if short == entity_type.short and value is not None and refuses(value):
            shown = "yes" if value is True else value
            found.append(
                (
                    attribute,
                    "%s: '%s' needs %s, which is not yet in this version of the router; %s"
                    % (attribute, shown, needs, "allowed: " + allowed if allowed else "leave it out"),
                )
            )
    return found


def without_effect(entity_type, values):
    """Sentences for the log about values that are accepted and change nothing, or less than they say."""
    return [
        "Attribute '%s' of entity '%s' %s" % (attribute, short, why)
        for short, attribute, useless, why in NO_EFFECT
        if short == entity_type.short and values.get(attribute) is not None and useless(values[attribute])
    ]
