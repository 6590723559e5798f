"""From a file to checked entities, and to what C is told: management reference sections 3, 4, 5.4, 6, 13."""

import os
import random
import subprocess
import sys

import pytest

from test_reader import SEEDS, mutate
from trunkline import actions, boot, checks, config, levels, refusals, schema
from trunkline.reader import ConfigError

REPOSITORY = os.path.join(os.path.dirname(__file__), "..", "..", "..")


def lines(text, path="q.conf"):
    """Errors of a configuration text, one line each, without the path."""
    try:
        config.parse(path, text.encode())
    except ConfigError as error:
        assert all(line.startswith(path + ":") and "\n" not in line for line in error.lines)
        return [line.removeprefix(path + ":") for line in error.lines]
    return []


def load(text, path="q.conf"):
    return config.parse(path, text.encode())


def entity(text, short):
    return next(e for e in load(text).registry if e.type.short == short)


def values(attributes, section="listener"):
    return entity("%s {\n%s\n}\n" % (section, attributes), schema.section(section).short).values


def called(core, kind):
    return [attrs for k, op, identity, attrs in core.calls if k == kind]


# Values (section 3)
# -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text, expected", [("yes", True), ("TRUE", True), ("On", True), ("no", False), ("False", False), ("OFF", False)]
)
def test_config_booleans_in_words(text, expected):
    assert values("authenticatePeer: " + text)["authenticatePeer"] is expected


@pytest.mark.parametrize("text, expected", [("5", 5), ("+5", 5), ("0", 0), ("007", 7)])
def test_config_integers(text, expected):
    assert values("linkCapacity: " + text)["linkCapacity"] == expected


@pytest.mark.parametrize("text, expected", [("2", "out"), ("0", "in"), ("-1", "no"), ("both", "both")])
def test_config_enumerations_by_word_or_index(text, expected):
    # route-container is the third of the roles, but inter-router is refused: stripAnnotations has no refusals
    assert values("role: normal\nstripAnnotations: " + {"2": "1"}.get(text, text))["stripAnnotations"] == expected


def test_config_json_values_are_converted():
    text = '[["listener", {"port": 5672, "authenticatePeer": 1, "linkCapacity": 7.9, "host": true, "maxSessionFrames": null, "role": 0}]]'
    found = next(e for e in load(text, "q.json").registry if e.type.short == "listener").values
    assert (found["port"], found["authenticatePeer"], found["linkCapacity"], found["host"], found["role"]) == (
        "5672",
        True,
        7,
        "True",
        "normal",
    )
    assert "maxSessionFrames" not in found


LISTENER_NAMES = [a for a, x in schema.find("listener").own_attributes.items() if not x.read_only] + ["name"]

ERRORS = [
    (
        "listener {\n    prot: 1\n}",
        "2:5: listener: unknown attribute 'prot'; did you mean 'port'? allowed: " + ", ".join(LISTENER_NAMES),
    ),
    (
        "listener {\n  authenticatePeer: 1\n}",
        "2:3: listener: authenticatePeer: '1' is not a boolean; allowed: yes, true, on, no, false, off",
    ),
    ("listener {\n  linkCapacity: ten\n}", "2:3: listener: linkCapacity: 'ten' is not a whole number"),
    (
        "listener {\n  linkCapacity: -1\n}",
        "2:3: listener: linkCapacity: '-1' is out of range; allowed: 0 to 2147483647",
    ),
    (
        "listener {\n  cost: 2147483648\n}",
        "2:3: listener: cost: '2147483648' is out of range; allowed: -2147483648 to 2147483647",
    ),
    (
        "listener {\n  idleTimeoutSeconds: -16\n}",
        "2:3: listener: idleTimeoutSeconds: '-16' is out of range; allowed: 0 to 4294967",
    ),
    (
        "listener {\n  role: norml\n}",
        "2:3: listener: role: 'norml' is not allowed; did you mean 'normal'? allowed: normal, inter-router, route-container, edge",
    ),
    (
        "listener {\n  stripAnnotations: 9\n}",
        "2:3: listener: stripAnnotations: '9' is not allowed; allowed: in, out, both, no",
    ),
    ("listener {\n  openProperties: x\n}", "2:3: listener: openProperties: 'x' is not a map"),
    ('listener {\n  openProperties: {"\u00e9": 1}\n}', "2:3: listener: openProperties: key '\u00e9' is not ASCII text"),
    (
        'listener {\n  openProperties: {"a": 9223372036854775808}\n}',
        "2:3: listener: openProperties: the number of 'a' does not fit 64 bits",
    ),
    ("listener {\n  host: a\\u0000b\n}", "2:3: listener: host: the text contains the character NUL"),
    ("log {\n  enable: info\n}", "1:1: log: required attribute 'module' is missing"),
    (
        "log {\n  module: server\n}",
        "2:3: log: module: 'server' is not allowed; did you mean 'SERVER'? allowed: "
        + ", ".join(schema.find("log").attributes["module"].enum),
    ),
    (
        "log {\n  module: SERVER\n  enable: loud\n}",
        "3:3: log: enable: 'loud' is not a valid log level. Should be one of {none, trace, debug, info, notice, warning, error, critical}.",
    ),
    (
        "listener {\n  trustedCerts: a\n  trustedCertsFile: b\n}",
        "2:3: listener: both the old name 'trustedCerts' and its successor 'trustedCertsFile' are given",
    ),
    (
        "listener {\n  port: nosuchservice\n}",
        "2:3: listener: port: 'nosuchservice' is neither a port number nor the name of a service known to this machine",
    ),
    (
        "connector {\n  port: 65536\n}",
        "2:3: connector: port: port '65536' is out of range; allowed: 0 to 65535 or a service name",
    ),
    (
        "listener {\n  failoverUrls: amqp://:5\n}",
        "2:3: listener: failoverUrls: No network host in failover item 'amqp://:5'",
    ),
    ("listener {\n  failoverList: a,,b\n}", "2:3: listener: failoverUrls: No network host in failover item ''"),
    ("policy {\n  maxConnections: -1\n}", "2:3: policy: maxConnections: maxConnections must be >= 0"),
    (
        "router {\n  id: " + "x" * 128 + "\n}",
        '2:3: router: id: Router ID "%s" exceeds the maximum allowed length (127 characters)' % ("x" * 128),
    ),
    (
        "router {\n  id: a b\n}",
        "2:3: router: id: Router id attribute containing character ' ' in id 'a b' is disallowed.",
    ),
    (
        "router {\n  id: a\\tb\n}",
        "2:3: router: id: Router id attribute containing character '\\t' in id 'a?b' is disallowed.",
    ),
    (
        'router {\n  id: ""\n}',
        "2:3: router: id: an empty id is not allowed; leave the attribute out for one made at random",
    ),
    (
        "router {\n  workerThreads: 1025\n}",
        "2:3: router: workerThreads: '1025' is out of range; allowed: -2147483648 to 1024",
    ),
    (
        "listner {\n}",
        "1:1: unknown section 'listner'; did you mean 'listener'? allowed: " + ", ".join(schema.sections()),
    ),
    ("zork {\n}", "1:1: unknown section 'zork'; allowed: " + ", ".join(schema.sections())),
    ("connection {\n}", "1:1: section 'connection' cannot be configured; allowed: " + ", ".join(schema.sections())),
    ("router {\n}\nrouter {\n}", "3:1: router: may occur only once; the first one is at line 1"),
    (
        "listener {\n}\nlistener {\n}",
        "3:1: listener: the listener at line 1 has the same host, port and name; give one of them another name",
    ),
    ("log {\n module: HTTP\n}\nlog {\n module: HTTP\n}", "4:1: log: module 'HTTP' already has a section at line 1"),
    (
        "address {\n prefix: a\n name: x\n}\nconnector {\n name: x\n}",
        "6:2: connector: name 'x' is already used by the address at line 1",
    ),
    (
        "connector {\n name: x\n}\naddress {\n prefix: a\n name: x\n}",
        "6:2: address: name 'x' is already used by the connector at line 1",
    ),
] + [
    (
        '%s {\n  openProperties: {\n    "%s": 1\n  }\n}' % (section, key),
        "2:3: %s: openProperties: Reserved key '%s' not allowed in openProperties" % (section, key),
    )
    for section in ("listener", "connector")
    for key in ("product", "version", "failover-server-list", "network-host", "port", "qd.x", "x-opt-qd.y")
]


@pytest.mark.parametrize("text, expected", ERRORS)
def test_config_error_is_one_line_with_place_and_what_is_allowed(text, expected):
    assert lines(text) == [expected]


def test_config_all_errors_of_a_file_are_told_in_order():
    text = "listener {\n  prot: 1\n  role: x\n}\nzork {\n}\nrouter {\n  id A\n}\n"
    assert [line.split(": ")[0] for line in lines(text)] == ["2:3", "3:3", "5:1", "8:3"]


def test_config_scheme_and_hostname_are_no_reserved_keys():
    assert values('openProperties: {"scheme": "a", "hostname": "b"}')["openProperties"] == {
        "scheme": "a",
        "hostname": "b",
    }


def test_config_service_names():
    assert checks.port_number("amqp") == 5672 and checks.port_number("amqps") == 5671 and checks.port_number(" 0 ") == 0
    assert checks.port_number("http") == 80


# Old names (13.2) and releases (13.1)
# --------------------------------------------------------------------------------------

OLD = [(t.short, old, new) for t in schema.types() for old, new in t.old_names.items()]


@pytest.mark.parametrize("short, old, new", OLD)
def test_config_old_name_means_the_current_one(short, old, new):
    told = []
    entity_type = schema.find(short)
    attribute = entity_type.attributes[new]
    value = attribute.enum[0] if attribute.enum else {"boolean": "yes", "integer": "5"}.get(attribute.type, "x")
    converted, problems = checks.check(entity_type, {old: value}, told.append, partial=True)
    assert problems == [] and list(converted) == [new]
    assert told == ["Attribute '%s' of entity '%s' has been deprecated. Use '%s' instead" % (old, short, new)]


def test_config_old_name_in_a_file_is_warned_of_with_its_place():
    notes = load("log {\n  module: SERVER\n  output: stdout\n}").notes
    assert notes == [
        ("AGENT", 16, "Attribute 'output' of entity 'log' has been deprecated. Use 'outputFile' instead (q.conf:1:1)")
    ]


@pytest.mark.parametrize("section", ["listener", "connector"])
def test_config_old_role_of_connections_to_containers_is_understood(section):
    values, told = {"role": "on-demand"}, []
    converted, problems = checks.check_all(schema.find(section), values, told.append)
    assert (converted["role"], problems) == ("route-container", [])
    assert told == [
        "Value 'on-demand' of attribute 'role' of entity '%s' has been deprecated. Use 'route-container' instead" % section
    ]


@pytest.mark.parametrize("section", list(refusals.REMOVED_SECTIONS))
def test_config_removed_section_gets_advice(section):
    (line,) = lines(section + " {\n}")
    assert line == "1:1: section '%s' is of an old release and no longer known; %s" % (
        section,
        refusals.REMOVED_SECTIONS[section],
    )


@pytest.mark.parametrize(
    "text, expected",
    [
        (
            "listener {\n addr: x\n}",
            "2:2: listener: attribute 'addr' is of an old release and no longer known; write 'host'",
        ),
        (
            "connector {\n role: edge-uplink\n}",
            "2:2: connector: role: 'edge-uplink' is of an old release and no longer known; write 'edge'",
        ),
        (
            "log {\n module: TCP_ADAPTOR\n}",
            "2:2: log: module: 'TCP_ADAPTOR' is of an old release and no longer known; remove the section",
        ),
    ],
)
def test_config_removed_names_and_values_get_advice(text, expected):
    assert lines(text) == [expected]


# What this version does not carry out
# ---------------------------------------------------------------------------------------

REFUSED_SECTIONS = [
    "sslProfile {\n name: x\n}",
    "authServicePlugin {\n name: x\n}",
    "vhost {\n hostname: h\n}",
]


@pytest.mark.parametrize("text", REFUSED_SECTIONS)
def test_config_section_of_a_later_version_is_refused_in_one_line(text):
    section = text.split(" ")[0]
    assert lines(text) == [
        "1:1: %s: not yet in this version of the router (%s)" % (section, refusals.TYPES[schema.section(section).short])
    ]


REFUSED_VALUES = {
    "saslMechanisms": "PLAIN GSSAPI",
    "saslConfigName": "x",
}


@pytest.mark.parametrize("short, attribute", [r[:2] for r in refusals.ATTRIBUTES])
def test_config_attribute_of_a_later_version_is_refused_in_one_line(short, attribute):
    entity_type = schema.find(short)
    value = REFUSED_VALUES.get(attribute) or {"boolean": "yes"}.get(entity_type.attributes[attribute].type, "x")
    both = "\n prefix: a" if short.endswith("address") else ""
    (line,) = lines("%s {\n %s: %s%s\n}" % (entity_type.section, attribute, value, both))
    assert (
        line.startswith("2:2: %s: %s: '%s' needs " % (entity_type.section, attribute, value))
        and "not yet in this version of the router; " in line
    )


def test_config_refused_attribute_under_its_old_name_is_shown_where_it_stands():
    assert lines("listener {\n httpRoot: /x\n}")[0].startswith("2:2: listener: httpRootDir: '/x' needs HTTP")


@pytest.mark.parametrize(
    "text",
    [
        "listener {\n role: route-container\n saslMechanisms: ANONYMOUS PLAIN EXTERNAL\n http: no\n multiTenant: no\n policyVhost: x\n healthz: yes\n}",
        'connector {\n role: normal\n sslProfile: ""\n}',
        "policy {\n enableVhostPolicy: no\n maxConnections: 5\n defaultVhost: x\n}",
        "router {\n mode: standalone\n helloInterval: 2\n allowResumableLinkRoute: no\n metadata: m\n}",
        "dummy {\n arg1: x\n}",
        "address {\n prefix: a\n waypoint: yes\n}\naddress {\n prefix: b\n ingressPhase: 1\n egressPhase: 3\n}",
        "address {\n prefix: a\n enableFallback: yes\n}",
    ],
)
def test_config_what_is_carried_out_or_changes_nothing_is_accepted(text):
    assert lines(text) == []


def test_config_console_is_ignored_with_a_warning():
    loaded = load("console {\n proxy: x\n home: y\n}")
    assert loaded.notes == [
        ("AGENT", 16, "Console entity is deprecated: Use http:yes on listener entity instead"),
        ("AGENT", 16, "Section 'console' has no effect: its program is not run (q.conf:1:1)"),
    ]
    assert lines("console {\n}") == [
        "1:1: console: required attribute 'proxy' is missing",
        "1:1: console: required attribute 'home' is missing",
    ]


def test_config_read_only_attribute_is_ignored_with_a_warning():
    loaded = load("connector {\n connectionStatus: SUCCESS\n}\nrouter {\n area: 7\n version: 1\n}")
    assert [n[2] for n in loaded.notes] == [
        "Attribute 'connectionStatus' of entity 'connector' is set by the router itself: the value given is ignored (q.conf:2:2)",
        "Attribute 'area' of entity 'router' is set by the router itself: the value given is ignored (q.conf:5:2)",
        "Attribute 'version' of entity 'router' is set by the router itself: the value given is ignored (q.conf:6:2)",
    ]
    assert "connectionStatus" not in next(e for e in loaded.registry if e.type.short == "connector").values


def test_config_value_without_effect_is_warned_of():
    assert (
        load("listener {\n trustedCertsFile: x\n}")
        .notes[0][2]
        .startswith("Attribute 'trustedCertsFile' of entity 'listener' has no effect")
    )
    assert load("connector {\n messageLoggingComponents: all\n}").notes == []


def test_config_listener_s_mechanisms_that_cannot_be_served_are_told():
    """Nobody may believe that passwords are checked where there are none."""
    (note,) = load("listener {\n saslMechanisms: ANONYMOUS PLAIN\n}").notes
    assert "PLAIN and EXTERNAL are not offered" in note[2]
    for mechanisms in ("PLAIN", "EXTERNAL", "PLAIN EXTERNAL"):
        (line,) = lines("listener {\n saslMechanisms: %s\n}" % mechanisms)
        assert line.startswith("2:2: listener: saslMechanisms: '%s' needs a store of passwords" % mechanisms)
    assert lines("connector {\n saslMechanisms: PLAIN\n}") == []


# Roles (3.4)


@pytest.mark.parametrize(
    "mode, short, role, part",
    [
        (
            "standalone",
            "listener",
            "inter-router",
            "role='standalone' not allowed to connect to or accept connections from other routers.",
        ),
        ("standalone", "connector", "edge", "role='standalone' not allowed"),
        ("edge", "connector", "inter-router", "role='inter-router' only allowed with router mode='interior' for x"),
        ("edge", "listener", "edge", "role='edge' only allowed with router mode='interior' for x"),
        ("interior", "connector", "edge", None),
        ("interior", "listener", "inter-router", None),
        ("edge", "connector", "edge", None),
        ("standalone", "listener", "route-container", None),
    ],
)
def test_config_roles_that_a_mode_allows(mode, short, role, part):
    problem = checks.role_problem(mode, schema.find(short), {"role": role, "name": "x"})
    assert problem is None if part is None else part in problem.wire


@pytest.mark.parametrize("role", ["inter-router", "edge"])
def test_config_open_properties_are_not_for_other_routers(role):
    _, problems = checks.check_all(schema.find("listener"), {"role": role, "openProperties": {"a": 1}}, print)
    assert [p.wire for p in problems] == [
        "org.apache.qpid.dispatch.listener: openProperties not allowed for role " + role
    ]


# Log levels (8.2)


@pytest.mark.parametrize(
    "text, expected",
    [
        ("trace", 1),
        ("trace+", 127),
        ("info+", 124),
        ("warn+", 112),
        ("debug, error", 34),
        ("debug;error:crit", 98),
        ("INFO+", 124),
        ("none", 0),
        ("none,info", 4),
        ("default", None),
        ("de", None),
        ("deb", 2),
        ("n", 0),
        ("not", 8),
        ("i e", 36),
        ("critical+", 64),
        (" info ", 4),
    ],
)
def test_levels_words(text, expected):
    assert levels.mask(text) == expected


@pytest.mark.parametrize("text", ["loud", "info+ loud", "", "+", ",", "infos"])
def test_levels_unknown_word(text):
    with pytest.raises(ValueError) as error:
        levels.mask(text)
    assert (
        str(error.value)
        == "'%s' is not a valid log level. Should be one of {none, trace, debug, info, notice, warning, error, critical}."
        % text
    )


# Addresses in a file (6.3)


@pytest.mark.parametrize(
    "attributes, module, level, text",
    [
        (
            "prefix: a\npattern: b",
            "ROUTER",
            16,
            "Cannot set both 'prefix' and 'pattern': ignoring configured address a, b (q.conf:1:1)",
        ),
        (
            "distribution: closest",
            "ROUTER",
            16,
            "Must set either 'prefix' or 'pattern' attribute: ignoring configured address (q.conf:1:1)",
        ),
        ("prefix: /./", "ROUTER_CORE", 32, "Error configuring address: Prefix invalid - no tokens (q.conf:1:1)"),
        (
            'pattern: ""',
            "ROUTER_CORE",
            32,
            "Error configuring address: Pattern must be a non-empty string type (q.conf:1:1)",
        ),
        (
            "prefix: a\npriority: 10",
            "ROUTER_CORE",
            32,
            "Error configuring address: Priority value, if present, must be between 0 and QDR_MAX_PRIORITY (q.conf:1:1)",
        ),
        (
            "prefix: a\ningressPhase: 0",
            "ROUTER_CORE",
            32,
            "Error configuring address: Phase values must be between 0 and 9 (q.conf:1:1)",
        ),
        (
            "prefix: a\nwaypoint: yes\nenableFallback: yes",
            "ROUTER_CORE",
            32,
            "Error configuring address: Fallback cannot be specified with waypoint or non-zero ingress and egress "
            "phases (q.conf:1:1)",
        ),
    ],
)
def test_config_wrong_address_is_skipped_and_logged(attributes, module, level, text):
    loaded = load("address {\n%s\n}" % attributes)
    assert loaded.notes == [(module, level, text)] and not [
        e for e in loaded.registry if e.type.short.endswith("address")
    ]


def test_config_autolinks_are_told_to_c_with_old_names_and_defaults():
    text = """
autoLink {
 addr: a
 dir: in
 connection: c
}
autoLink {
 name: two
 address: b
 direction: out
 containerId: i
 externalAddress: e
 phase: 3
}
autoLink {
 address: c
 direction: in
 fallback: yes
}
"""
    loaded = load(text)
    found = [e for e in loaded.registry if e.type.short.endswith("autoLink")]
    assert [e.name for e in found] == ["autoLink/0", "two", "autoLink/2"]
    told = [note[2].split(" of ")[0] for note in loaded.notes if note[2].startswith("Attribute")]
    assert told == ["Attribute 'addr'", "Attribute 'dir'"]
    told = [actions.held(e) for e in found]
    assert [(t["in"], t["phase"], t["fallback"]) for t in told] == [(True, 1, False), (False, 3, False), (True, 0, True)]
    assert [(t["connection"], t["containerId"], t["externalAddress"]) for t in told] == [
        ("c", None, None),
        (None, "i", "e"),
        (None, None, None),
    ]


@pytest.mark.parametrize(
    "attributes, text",
    [
        ("connection: c\ncontainerId: i", "Both connection and containerId cannot be specified. Specify only one"),
        ("phase: 11", "autoLink phase must be between 0 and 9"),
    ],
)
def test_config_wrong_autolink_is_skipped_and_logged(attributes, text):
    loaded = load("autoLink {\naddress: a\ndirection: in\n%s\n}" % attributes)
    assert loaded.notes == [("ROUTER_CORE", 32, "Error configuring autoLink: %s (q.conf:1:1)" % text)]
    assert not [e for e in loaded.registry if e.type.short.endswith("autoLink")]


def test_config_same_address_twice_is_logged():
    loaded = load("address {\n prefix: a.b\n}\naddress {\n pattern: a/b/#\n}\naddress {\n prefix: c\n}")
    assert [n[2] for n in loaded.notes] == ["Error configuring address: Already exists (q.conf:4:1)"]
    assert [e.name for e in loaded.registry if e.type.short.endswith("address")] == ["address/0", "address/2"]


# Order, and what C is told (4, 6.1)
# -------------------------------------------------------------------------------------------


def test_boot_order_of_application(start):
    core = start(
        "listener {\n port: 0\n}\nconnector {\n port: 1\n}\naddress {\n prefix: a\n}\npolicy {\n}\nlog {\n module: SERVER\n enable: debug+\n}\n"
        "log {\n module: DEFAULT\n enable: warning+\n}\n"
    )
    assert [c[:3] for c in core.calls] == [
        ("log", "update", "log/DEFAULT"),
        ("log", "update", "log/SERVER"),
        ("router", "create", "1"),
        ("policy", "create", "policy/None"),
        ("address", "create", ""),
        ("connector", "create", "connector/127.0.0.1:1"),
        ("listener", "create", "listener/:0"),
    ]
    assert called(core, "log") == [
        {"module": "DEFAULT", "mask": 112, "timestamp": True, "source": False, "output": "stderr"},
        {"module": "SERVER", "mask": 126, "timestamp": None, "source": None, "output": None},
    ]


def test_boot_file_of_comments_is_a_standalone_router_with_random_id(core, tmp_path):
    ids = set()
    for i in range(2):
        path = tmp_path / "q.conf"
        path.write_text("# nothing\n")
        boot.start(str(path))
        ids.add(called(core, "router")[-1]["id"])
    assert len(ids) == 2
    for name in ids:
        assert name.startswith("Standalone_") and len(name) == 26 and set(name[11:]) <= set(config.RANDOM_ID)
    assert not called(core, "listener")


def test_boot_default_file(core):
    path = os.path.join(REPOSITORY, "etc", "qdrouterd.conf")
    assert boot.check(path) == []
    boot.start(path)
    assert [(a["prefix"], a["distribution"]) for a in called(core, "address")] == [
        ("closest", "closest"),
        ("multicast", "multicast"),
        ("unicast", "closest"),
        ("exclusive", "closest"),
        ("broadcast", "multicast"),
    ]
    (listener,) = called(core, "listener")
    assert (
        listener["host"],
        listener["port"],
        listener["portNumber"],
        listener["authenticatePeer"],
        listener["saslMechanisms"],
    ) == ("0.0.0.0", "amqp", 5672, False, "ANONYMOUS")
    assert ("CONN_MGR", 4, "Configured Listener: 0.0.0.0:amqp proto=any, role=normal") in core.lines


def test_boot_the_article_that_introduced_interconnect(start):
    core = start(
        """router {
    mode: standalone
    id: Router.A
    workerThreads: 4
}
listener {
    host: 0.0.0.0
    port: 2009
    role: normal
    saslMechanisms: ANONYMOUS
}
address {
    prefix: closest
    distribution: closest
}
"""
    )
    assert called(core, "router")[0]["workerThreads"] == 4 and called(core, "listener")[0]["portNumber"] == 2009


@pytest.mark.parametrize(
    "attributes, expected",
    [
        ("maxFrameSize: 100", {"maxFrameSize": 512}),
        ("maxSessions: 0", {"maxSessions": 32768}),
        ("maxSessions: 99999", {"maxSessions": 32768}),
        ("maxSessions: 7", {"maxSessions": 7}),
        ("maxSessionFrames: 0", {"maxSessionFrames": None}),
        ("maxSessionFrames: 9", {"maxSessionFrames": 9}),
        ("linkCapacity: 0", {"linkCapacity": 250}),
        (
            'host: ""',
            {
                "host": "",
                "linkCapacity": 250,
                "maxFrameSize": 16384,
                "maxSessions": 32768,
                "maxSessionFrames": None,
                "idleTimeoutSeconds": 16,
                "initialHandshakeTimeoutSeconds": 0,
            },
        ),
        ("stripAnnotations: in", {"stripIn": True, "stripOut": False}),
        ("stripAnnotations: out", {"stripIn": False, "stripOut": True}),
        ("stripAnnotations: no", {"stripIn": False, "stripOut": False}),
        ("role: normal", {"stripIn": True, "stripOut": True}),
        ("messageLoggingComponents: subject,message-id,zork", {"messageLogging": ["message-id", "subject"]}),
        ("logMessage: all", {"messageLogging": list(checks.MESSAGE_PARTS)}),
        ("messageLoggingComponents: none", {"messageLogging": []}),
        (
            "failoverUrls: a, amqps://b:1 ,[::1]:2,amqp://[fe80::1]",
            {
                "failover": [
                    {"scheme": None, "host": "a", "port": "5672"},
                    {"scheme": "amqps", "host": "b", "port": "1"},
                    {"scheme": None, "host": "::1", "port": "2"},
                    {"scheme": "amqp", "host": "fe80::1", "port": "5672"},
                ]
            },
        ),
        ("name: public\nport: 5673", {"name": "public", "named": True}),
        ("port: 5673", {"name": "listener/:5673", "named": False}),
    ],
)
def test_boot_listener_as_c_gets_it(start, attributes, expected):
    (listener,) = called(start("listener {\n%s\n}\n" % attributes), "listener")
    assert {k: listener[k] for k in expected} == expected


def test_boot_identities(start):
    core = start("listener {\n host: 1.2.3.4\n port: 1\n name: n\n}\nconnector {\n host: h\n}\nlistener {\n}\n")
    assert [c[2] for c in core.calls if c[0] in ("listener", "connector")] == [
        "connector/h:amqp",
        "listener/1.2.3.4:1:n",
        "listener/:amqp",
    ]


def test_boot_worker_threads_below_one_is_one(start):
    assert called(start("router {\n id: A\n workerThreads: 0\n}\n"), "router")[0]["workerThreads"] == 1


@pytest.mark.parametrize(
    "written, expected, line",
    [
        ("env:TRUNKLINE_TEST_PASSWORD", "fr\u00e4", None),
        ("env: TRUNKLINE_TEST_PASSWORD", "fr\u00e4", None),
        ("pass:secret", "secret", "unsafe"),
        ("secret", "secret", "unsafe"),
        ("literal:secret", "literal:secret", "unsafe"),
        (
            "file:/nosuch/file",
            "file:/nosuch/file",
            "Unable to open password file /nosuch/file, error: No such file or directory",
        ),
    ],
)
def test_boot_password_forms(start, monkeypatch, written, expected, line):
    import posix

    monkeypatch.setitem(posix.environ, b"TRUNKLINE_TEST_PASSWORD", "fr\u00e4".encode())
    core = start("connector {\n saslUsername: u\n saslPassword: %s\n}\n" % written)
    assert called(core, "connector")[0]["saslPassword"] == expected
    assert (
        any(module == "CONN_MGR" and line in text for module, _, text in core.lines)
        if line
        else not any("unsafe" in x[2] for x in core.lines)
    )


def test_boot_password_from_a_file(start, tmp_path):
    (tmp_path / "pw").write_bytes(b"s3cret\r\nsecond\n")
    assert (
        called(start("connector {\n saslPassword: file:%s\n}\n" % (tmp_path / "pw")), "connector")[0]["saslPassword"]
        == "s3cret"
    )


def test_boot_password_variable_unset_is_fatal(start):
    with pytest.raises(boot.StartError) as error:
        start("connector {\n saslPassword: env:TRUNKLINE_TEST_UNSET\n}\n")
    assert str(error.value) == (
        "Python: CError: Not found: Failed to find a password in the environment variable TRUNKLINE_TEST_UNSET"
    )


# Messages of the end (6.2, 6.3)


def test_boot_missing_file(core, tmp_path):
    path = str(tmp_path / "nosuch.conf")
    with pytest.raises(boot.StartError) as error:
        boot.start(path)
    why = "Not found: Configuration file could not be opened: %s: " % path
    assert str(error.value) == why + "No such file or directory"
    assert boot.check(path) == [why + "No such file or directory"]
    with pytest.raises(boot.StartError) as error:
        boot.start(str(tmp_path))
    assert str(error.value).endswith(": Is a directory")


# Names that lead nowhere


CONTAINER = "connector {\n name: broker\n role: %s\n}\n"


@pytest.mark.parametrize(
    "text, told",
    [
        ("autoLink {\n address: a\n direction: in\n connection: broker\n}\n" + CONTAINER % "route-container", []),
        ("autoLink {\n address: a\n direction: in\n containerId: anybody\n}\n", []),
        (
            "autoLink {\n address: a\n direction: in\n connection: brokr\n}\n" + CONTAINER % "route-container",
            [
                "autoLink: connection: no connector or listener has the name 'brokr': it stays inactive while there is none; "
                "did you mean 'broker'? there are: broker (q.conf:1:1)"
            ],
        ),
        (
            "linkRoute {\n prefix: a\n direction: in\n connection: broker\n}\n" + CONTAINER % "normal",
            [
                "linkRoute: connection: 'broker' is a connector of role 'normal', not 'route-container': it stays inactive "
                "(q.conf:1:1)"
            ],
        ),
        (
            "linkRoute {\n prefix: a\n direction: in\n connection: x\n}\n",
            [
                "linkRoute: connection: no connector or listener has the name 'x': it stays inactive while there is none "
                "(q.conf:1:1)"
            ],
        ),
        (
            "linkRoute {\n prefix: a\n direction: in\n}\n",
            ["linkRoute: neither 'connection' nor 'containerId' is given: it stays inactive (q.conf:1:1)"],
        ),
        ("listener {\n messageLoggingComponents: all\n}\n", []),
    ],
)
def test_name_that_leads_nowhere_is_told(text, told):
    assert [note[2] for note in load(text).notes] == told


def test_part_of_messages_that_there_is_not_is_told():
    (note,) = load("listener {\n messageLoggingComponents: to,subjct\n}\n").notes
    assert note[2].startswith("listener: messageLoggingComponents: 'subjct' is no part of a message; did you mean 'subject'? ")


def test_binding_without_its_exchange_is_skipped_and_told_before_it_is_tried():
    text = "binding {\n exchangeName: %s\n nextHopAddress: b\n}\nexchange {\n address: a\n}\n"
    assert not load(text % "exchange/0").notes
    loaded = load(text % "other")
    assert [note[2] for note in loaded.notes] == ["Error configuring binding: Named exchange does not exist (q.conf:1:1)"]
    assert not [e for e in loaded.registry if e.type.short == "router.config.binding"]


@pytest.mark.parametrize("vhost", ["a/b", "_topo", "amqp:"])
def test_policy_vhost_that_cannot_be_a_tenant_is_refused(vhost):
    load("listener {\n policyVhost: %s\n}\n" % vhost)
    with pytest.raises(ConfigError) as error:
        load("listener {\n multiTenant: yes\n policyVhost: %s\n}\n" % vhost)
    assert "q.conf:3:2: listener: policyVhost: '%s' cannot be a tenant's name" % vhost in str(error.value)


# What --check says of the machine


def test_check_says_that_a_log_file_cannot_be_opened(core, tmp_path):
    path = tmp_path / "q.conf"
    for file, why in (
        (tmp_path / "new.log", None),
        (tmp_path / "q.conf", None),
        ("stderr", None),
        (tmp_path / "none" / "x.log", "there is no directory '%s'" % (tmp_path / "none")),
    ):
        path.write_text("log {\n module: DEFAULT\n outputFile: %s\n}\n" % file)
        assert boot.check(str(path)) == (["%s:1:1: log: outputFile: %s" % (path, why)] if why else [])
    assert not (tmp_path / "new.log").exists()


def test_check_says_that_a_password_s_variable_is_not_set(core, tmp_path, monkeypatch):
    path = tmp_path / "q.conf"
    path.write_text("connector {\n saslPassword: env:TRUNKLINE_TEST_UNSET\n}\n")
    assert boot.check(str(path)) == [
        "%s:1:1: connector: saslPassword: the environment has no variable 'TRUNKLINE_TEST_UNSET'" % path
    ]


def test_boot_empty_file(core, tmp_path):
    path = tmp_path / "q.conf"
    path.write_text("")
    with pytest.raises(boot.StartError) as error:
        boot.start(str(path))
    assert str(error.value) == "Configuration: Configuration file was empty"


def test_boot_wrong_file_starts_nothing_and_tells_everything(core, tmp_path):
    path = tmp_path / "q.conf"
    path.write_text("router {\n  id: A\n}\nlistener {\n  authenticatePeer: maybe\n  zork: 1\n}\n")
    with pytest.raises(boot.StartError) as error:
        boot.start(str(path))
    assert str(error.value).startswith(
        "Python: Exception: Cannot load configuration file %s: %s:5:3: listener: authenticatePeer: 'maybe' is not a boolean"
        % (path, path)
    )
    assert str(error.value).endswith(" (and 1 more errors)") and "\n" not in str(error.value)
    assert (
        core.calls == []
        and [line[:2] for line in core.lines] == [("AGENT", 32)]
        and "unknown attribute 'zork'" in core.lines[0][2]
    )
    assert [line.split(" ")[0] for line in boot.check(str(path))] == ["%s:5:3:" % path, "%s:6:3:" % path]


def test_boot_listener_that_cannot_listen_is_fatal(core, start):
    core.fail["listener", "create"] = core.Error("System", "Listener error on 0.0.0.0:amqp: Address already in use")
    fail = dict(core.fail)
    core_reset, core.reset = core.reset, lambda: None
    try:
        with pytest.raises(boot.StartError) as error:
            start("listener {\n host: 0.0.0.0\n}\n")
    finally:
        core.reset = core_reset
    assert fail and str(error.value) == "Python: CError: System: Listener error on 0.0.0.0:amqp: Address already in use"
    assert core.lines[-2:] == [
        ("SERVER", 32, "Listener error on 0.0.0.0:amqp: Address already in use"),
        ("SERVER", 64, "Shutting down, required listener failed 0.0.0.0:amqp"),
    ]


def test_boot_log_file_that_cannot_be_opened_is_fatal(core, start):
    core.fail["log", "update"] = core.Error("Configuration", "Failed to open log file '/nosuch/x'")
    with pytest.raises(boot.StartError) as error:
        start("log {\n module: DEFAULT\n outputFile: /nosuch/x\n}\n")
    assert str(error.value) == "Python: CError: Configuration: Failed to open log file '/nosuch/x'"


def test_config_mutated_files_end_in_a_configuration_or_in_lines():
    random_ = random.Random(2)
    seeds = SEEDS + [
        open(os.path.join(REPOSITORY, "etc", "qdrouterd.conf"), "rb").read(),
        "\n".join(text for text, _ in ERRORS[:16]).encode(),
        "\n".join(REFUSED_SECTIONS).encode(),
    ]
    good = 0
    for i in range(2500):
        data = mutate(random_, seeds[i % len(seeds)])
        try:
            config.parse("q.json" if i % len(seeds) == 1 else "q.conf", data)
            good += 1
        except ConfigError as error:
            assert all("\n" not in line and line.startswith("q.") for line in error.lines)
    assert 0 < good < 2500


# Start-up cost: what the interpreter must load. Counted, since clocks depend on the machine.


def test_boot_imports_nothing_costly():
    script = """
import sys, os
sys.path[:0] = [os.environ["TRUNKLINE_PYTHON"], %r]
import fake_core
before = set(sys.modules)
from trunkline import boot
assert boot.check(%r) == []
print(*sorted(set(sys.modules) - before))
""" % (
        os.path.dirname(os.path.abspath(__file__)),
        os.path.join(REPOSITORY, "etc", "qdrouterd.conf"),
    )
    loaded = subprocess.run(
        [sys.executable, "-I", "-c", script], check=True, capture_output=True, text=True, env=dict(os.environ)
    ).stdout.split()
    foreign = [name for name in loaded if name.split(".")[0] != "trunkline"]
    assert (
        set(foreign) <= {"encodings.utf_8_sig"}
        and len(loaded) <= 16
        and "trunkline.agent" not in loaded
        and "trunkline._schema_text" not in loaded
    )


def test_config_linkroutes_are_told_to_c_with_old_names():
    loaded = load(
        "linkRoute {\n prefix: a.b\n dir: in\n connection: c\n}\n"
        "linkRoute {\n name: two\n pattern: x.*.y\n direction: out\n containerId: i\n delExternalPrefix: x.\n"
        " distribution: linkBalanced\n}"
    )
    found = [e for e in loaded.registry if e.type.short.endswith("linkRoute")]
    assert [e.name for e in found] == ["linkRoute/0", "two"]
    assert [actions.held(e) for e in found] == [
        {
            "name": "linkRoute/0",
            "prefix": "a.b",
            "pattern": None,
            "in": True,
            "connection": "c",
            "containerId": None,
            "addExternalPrefix": None,
            "delExternalPrefix": None,
        },
        {
            "name": "two",
            "prefix": None,
            "pattern": "x.*.y",
            "in": False,
            "connection": None,
            "containerId": "i",
            "addExternalPrefix": None,
            "delExternalPrefix": "x.",
        },
    ]


def test_config_wrong_linkroute_is_skipped_and_logged():
    loaded = load("linkRoute {\n direction: in\n}")
    text = "Error configuring linkRoute: Either a 'prefix' or 'pattern' attribute must be provided (q.conf:1:1)"
    assert loaded.notes == [("ROUTER_CORE", 32, text)]
    assert not [e for e in loaded.registry if e.type.short.endswith("linkRoute")]
