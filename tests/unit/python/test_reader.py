"""The grammar of configuration files: management reference section 5, line by line, and hostile files."""

import json
import random

import pytest

from trunkline import reader
from trunkline.reader import read


def sections(text, path="q.conf"):
    found, errors = read(path, text.encode() if isinstance(text, str) else text)
    assert errors == []
    return [(s.name, {k: v.value for k, v in s.attributes.items()}) for s in found]


def one(lines):
    """Attributes of a section with these lines in it."""
    ((_, attributes),) = sections("router {\n" + lines + "\n}\n")
    return attributes


def errors(text, path="q.conf"):
    return read(path, text.encode() if isinstance(text, str) else text)[1]


@pytest.mark.parametrize(
    "line, expected",
    [
        ("id: A", "A"),
        ("id:A", "A"),
        ("id \t : \t A  ", "A"),
        ("  id: A\r", "A"),
        ("id: a b   c", "a b   c"),
        ("id: A,", "A,"),
        ("id: a, ]b", "a]b"),
        ("id: a,}b", "a}b"),
        ("id: a,b", "a,b"),
        ("id: a, ] , ]", "a] ]"),
        ("id: a,", "a,"),
        ("id: A # comment", "A"),
        ("id: a#b", "a"),
        ("id: a:b:c", "a:b:c"),
        (r"id: a\tb\\c\"d\u00e9\ud83d\ude00", 'a\tb\\c"d\u00e9\U0001F600'),
        ("id: h\u00e9", "h\u00e9"),
        ('id: "A"', "A"),
        ('id: ""', ""),
        ('id: "a # b"  # comment', "a # b"),
        (r'id: "a\"b"', 'a"b'),
    ],
)
def test_reader_value_is_rest_of_line(line, expected):
    assert one(line) == {"id": expected}


@pytest.mark.parametrize(
    "line, key, expected",
    [
        ("pattern: a.#", "pattern", "a.#"),
        ("pattern: a.# # comment", "pattern", "a.#"),
        ("bindingKey: #", "bindingKey", "#"),
        ("hostname: h#1 x y", "hostname", "h#1"),
        ("prefix: a#b", "prefix", "a"),
    ],
)
def test_reader_hash_stays_in_three_keys_only(line, key, expected):
    assert one(line) == {key: expected}


def test_reader_repeated_key_last_wins():
    assert one("id: A\nid: B") == {"id": "B"}


@pytest.mark.parametrize("written", ["max-frame-size", "max_frame_size", "maxFrameSize", "max-FRAME_siZE"])
def test_reader_names_in_every_case_are_one(written):
    assert one(written + ": 1") == {"maxFrameSize": "1"}


def test_reader_section_names_in_every_case():
    assert [s[0] for s in sections("ssl-profile {\n}\nsslProfile {\n}\nssl_profile{\n}\nRouter   {\n}\n")] == [
        "sslProfile"
    ] * 3 + ["Router"]


def test_reader_comments_and_empty_lines_are_dropped():
    assert sections("\n# x {\n   # y\nrouter { # z: {\n\n  #id: B\n  id: A\n} # end\n") == [("router", {"id": "A"})]


@pytest.mark.parametrize("data", [b"# only comments\n", b"\n\n", b"   "])
def test_reader_nothing_but_comments_is_valid(data):
    assert read("q.conf", data) == ([], [])


def test_reader_line_ends_and_byte_order_mark_of_other_systems():
    assert sections(b"\xef\xbb\xbfrouter {\r\n id: A\r\n}\r\n") == [("router", {"id": "A"})]
    assert sections(b"router {\r id: A\r}\r") == [("router", {"id": "A"})]


@pytest.mark.parametrize(
    "lines, expected",
    [
        ('openProperties: {\n"a": 1,\n"b": "x",\n}', {"a": 1, "b": "x"}),
        ('openProperties: {"a": 1, "b": [1, 2.5, null, true]}', {"a": 1, "b": [1, 2.5, None, True]}),
        ('openProperties:{\n"a"\n:\n1\n,"b":2}', {"a": 1, "b": 2}),
        ('openProperties: {\n# comment\n"a": "#1", # comment\n}', {"a": "#1"}),
        ("openProperties: {\nsite: north # comment\nzone: a, b\n}", {"site": "north", "zone": "a, b"}),
        ("openProperties: { site: north }", {"site": "north"}),
        ("openProperties: {\n}", {}),
        ("openProperties: {}", {}),
        ("openProperties: {\nuser: ${user}\n}", {"user": "${user}"}),
        ("openProperties: {\nsourcePattern: a.#\n}", {"sourcePattern": "a.#"}),
        ('openProperties: {\nname: "quoted # text"\n}', {"name": "quoted # text"}),
        ("openProperties: {\nlist: [1, 2]\n}", {"list": [1, 2]}),
    ],
)
def test_reader_map_values_in_any_layout(lines, expected):
    assert one(lines)["openProperties"] == expected


def test_reader_groups_before_1_13():
    text = "vhost {\n  hostname: h\n  groups: {\n    $default: {\n      users: *\n      remoteHosts: *\n    }\n    admin: {\n      users: a, b\n    }\n  }\n  maxConnections: 3\n}\n"
    assert sections(text) == [
        (
            "vhost",
            {
                "hostname": "h",
                "groups": {"$default": {"users": "*", "remoteHosts": "*"}, "admin": {"users": "a, b"}},
                "maxConnections": "3",
            },
        )
    ]


def test_reader_groups_as_json_that_the_old_router_refused():
    groups = {"$default": {"users": "*", "sources": ["a", "b"]}, "other": {"users": "x"}}
    for text in (json.dumps(groups, indent=4), json.dumps(groups), json.dumps(groups, indent=0)):
        assert one("groups: " + text + "\nmaxConnections: 3") == {"groups": groups, "maxConnections": "3"}


MISTAKES = [
    (
        "router {\n  id A\n}",
        [
            (
                2,
                3,
                "router: found 'id A'; allowed are 'section {', 'attribute: value', '}' and '# comment', each on a line of its own",
            )
        ],
    ),
    (
        "router { id: A }",
        [(1, 1, "a section's '{' must be the last on its line, and its attributes on lines of their own")],
    ),
    (
        "router\n{\n}",
        [
            (
                1,
                1,
                "found 'router'; allowed are 'section {', 'attribute: value', '}' and '# comment', each on a line of its own",
            ),
            (
                2,
                1,
                "found '{'; allowed are 'section {', 'attribute: value', '}' and '# comment', each on a line of its own",
            ),
        ],
    ),
    (
        "9 x {\n a: b\n}\nrouter.link {\n c: d\n}\nlistener\n",
        [
            (
                1,
                1,
                "found '9 x {'; allowed are 'section {', 'attribute: value', '}' and '# comment', each on a line of its own",
            ),
            (
                7,
                1,
                "found 'listener'; allowed are 'section {', 'attribute: value', '}' and '# comment', each on a line of its own",
            ),
        ],
    ),
    ("id: A", [(1, 1, "attribute 'id' stands outside of any section")]),
    ("}", [(1, 1, "'}' closes nothing")]),
    ("router {\n id: A\n", [(2, 1, "section 'router' opened at line 1 is not closed")]),
    ("router {\n\nlistener {\n}\n", [(3, 1, "section 'router' opened at line 1 is not closed")]),
    ("router {\n  id:\n}", [(2, 6, "router: attribute 'id' has no value; write \"\" for an empty one")]),
    ("router {\n  id: #A\n}", [(2, 7, "router: attribute 'id' has no value; write \"\" for an empty one")]),
    ("router {\n  id: a\tb\n}", [(2, 8, "router: tab or control character inside a value; write \\t for a tab")]),
    ("router {\n  id: a\\qb\n}", [(2, 8, "router: invalid escape '\\q'; write \\\\ for a backslash")]),
    ("router {\n  id: \\u12\n}", [(2, 7, "router: invalid escape; \\u needs four hexadecimal digits")]),
    ("router {\n  id: \\ud800x\n}", [(2, 7, "router: half of a surrogate pair in an escape")]),
    (
        'router {\n  id: a "b" c\n}',
        [(2, 9, 'router: double quote inside a value; write \\" or put the whole value in quotes')],
    ),
    ('router {\n  id: "A" B\n}', [(2, 10, "router: found 'B' after the closing double quote")]),
    ('router {\n  id: "A\n}', [(2, 7, "router: a string in double quotes is not closed on its line")]),
    ('router {\n  x: {\n  "a": 1 2\n  }\n}', [(3, 10, "router: found '2' where ',' or '}' is needed")]),
    (
        'router {\n  x: {\n  "a": tru\n  }\n  id: A\n}',
        [
            (
                3,
                8,
                "router: found 'tru' where a value is needed: a text in double quotes, number, true, false, "
                "null, map or list",
            )
        ],
    ),
    ('router {\n  x: {\n  "a" 1\n  }\n}', [(3, 7, "router: found '1' where ':' is needed after 'a'")]),
    ("router {\n  x: {\n  a:\n  }\n}", [(3, 5, "router: 'a' has no value")]),
    ("router {\n  x: {} y\n}", [(2, 8, "router: found 'y' after the map's '}'")]),
    (
        'router {\n  x: {\n  "a": 1\n',
        [
            (4, 1, "router: map opened at line 2 is not closed"),
            (3, 1, "section 'router' opened at line 1 is not closed"),
        ],
    ),
    ('router {\n  x: {\n  "a": [1\n  }\n}', [(4, 3, "router: found '}' where ',' or ']' is needed")]),
]


@pytest.mark.parametrize("text, expected", MISTAKES)
def test_reader_mistake_is_told_with_line_and_column(text, expected):
    assert errors(text) == expected


def test_reader_goes_on_behind_a_mistake():
    found, mistakes = read(
        "q.conf", b"router {\n  id A\n  mode: edge\n}\nlistener {\n  x: {\n  bad\n  }\n  port: 1\n}\n"
    )
    assert [m[:2] for m in mistakes] == [(2, 3), (8, 3)]
    assert [(s.name, list(s.attributes)) for s in found] == [("router", ["mode"]), ("listener", ["port"])]


def test_reader_not_utf8_tells_where():
    assert errors(b"router {\n  id: A\xff\n}") == [(2, 8, "byte 0xff: the file is not UTF-8 text")]


def test_reader_bounds():
    deep = 'router {\n x: {"a": ' + "[" * 100000 + "\n}"
    assert "nested more than 32 deep" in errors(deep)[0][2]
    assert errors(b"#" * (reader.MAX_BYTES + 1))[0][2] == "the file is larger than 16 MiB"
    many = errors("x\n" * 1000)
    assert len(many) == reader.MAX_ERRORS + 1 and "too many errors" in many[-1][2]


# JSON form


def test_reader_json_form():
    text = '# comment\n[\n  ["router", {"id": "A", "worker-threads": 2}],\n # other\n  ["ssl.profile", {"http root dir": null, "x": {"a-b": 1}}]\n]\n'
    assert sections(text, "q.json") == [
        ("router", {"id": "A", "workerThreads": 2}),
        ("sslProfile", {"httpRootDir": None, "x": {"a-b": 1}}),
    ]


@pytest.mark.parametrize(
    "text, line, column, part",
    [
        ('[["router", {"id": "A",}]]', 1, 24, "comma before '}'"),
        ('[\n["router", {"id": "A"}],\n]', 3, 1, "comma before ']'"),
        ('{"router": {}}', 1, 1, "the file must hold a list of pairs"),
        ('[["router"]]', 1, 2, "where a pair"),
        ("[5]", 1, 2, "where a pair"),
        ('[["router", {id: 1}]]', 1, 14, "where a name in double quotes is needed"),
        ('[["router", {}]] x', 1, 18, "after the end of the list"),
        ('[["router", {"a": 01}]]', 1, 19, "where a value is needed"),
        ('[["router", {"a": NaN}]]', 1, 19, "where a value is needed"),
        ('[["router", {"a": 1.}]]', 1, 19, "where a value is needed"),
        ('[["router", {}]', 1, 16, "list opened at line 1 is not closed"),
        ("", 1, 1, "the end of the file where a value is needed"),
    ],
)
def test_reader_json_mistakes(text, line, column, part):
    ((found_line, found_column, found_text),) = errors(text, "q.json")
    assert (found_line, found_column) == (line, column) and part in found_text


def test_reader_json_numbers_agree_with_the_json_module():
    for word in ("0", "-0", "1", "-12", "1.5", "-1.5e3", "1E+2", "1e-2", "123456789012345678901234567890"):
        assert reader.json_number(word) == json.loads(word)
    for word in (
        "",
        "-",
        "+1",
        "01",
        "-01",
        ".5",
        "1.",
        "1.e3",
        "1e",
        "1e+",
        "0x1",
        "1_0",
        "inf",
        "nan",
        "1e999",
        "--1",
        "1-",
        "٣",
    ):
        assert reader.json_number(word) is None


def random_json(random_, depth=0):
    kind = random_.randrange(7 if depth < 4 else 5)
    if kind == 5:
        return [random_json(random_, depth + 1) for _ in range(random_.randrange(4))]
    if kind == 6:
        return {"k%d" % i: random_json(random_, depth + 1) for i in range(random_.randrange(4))}
    return (
        None,
        True,
        random_.randrange(-(10**6), 10**6),
        random_.random() * 100,
        "".join(
            chr(random_.choice((34, 92, 35, 123, 125, 44, 10, 9, 97, 233, 0x4E00, 0x1F600)))
            for _ in range(random_.randrange(8))
        ),
    )[kind]


def test_reader_reads_whatever_json_dumps_writes():
    random_ = random.Random(5)
    for _ in range(400):
        value = {"m": random_json(random_)}
        for indent in (None, 0, 3):
            for ascii_ in (True, False):
                text = json.dumps(value, indent=indent, ensure_ascii=ascii_)
                assert one("x: " + text) == {"x": value}
                assert sections('[["router", %s]]' % text, "q.json") == [("router", value)]


SEEDS = [
    b'router {\n    mode: standalone\n    id: A # x\n}\n\nlistener {\n    host: "0.0.0.0"\n    port: amqp\n    openProperties: {\n        "a": [1, 2.5, null],\n'
    b"        b: {\n           c: ${user}\n        }\n    }\n}\naddress {\n    pattern: a.#\n    prefix: x\\u00e9\\n\n}\n",
    b'[["router", {"id": "A", "x": {"a": [1, -2.5e3, "\\ud83d\\ude00"]}}],\n# c\n["listener", {"port": 5672}]]\n',
]


def mutate(random_, data):
    data = bytearray(data)
    for _ in range(random_.randrange(1, 6)):
        at = random_.randrange(len(data) + 1)
        what = random_.randrange(5)
        if what == 0:
            data[at : at + random_.randrange(1, 20)] = b""
        elif what == 1:
            data[at:at] = random_.choice(
                (
                    b"{",
                    b"}",
                    b"\n",
                    b'"',
                    b"\\",
                    b"[",
                    b",",
                    b":",
                    b"#",
                    b"\x00",
                    b"\xff",
                    b"\t",
                    b"\r",
                    b"\\u",
                    b"\xe2\x80\xa8",
                )
            )
        elif what == 2 and data:
            data[at % len(data)] = random_.randrange(256)
        elif what == 3:
            start = random_.randrange(len(data) + 1)
            data[at:at] = data[start : start + random_.randrange(40)]
        else:
            del data[at:]
    return bytes(data)


def test_reader_mutated_files_never_do_anything_but_read_or_tell():
    random_ = random.Random(1)
    for i in range(20000):
        seed = i % len(SEEDS)
        data = mutate(random_, SEEDS[seed])
        found, mistakes = read("q.json" if seed else "q.conf", data)
        lines = data.count(b"\n") + data.count(b"\r") + 1
        for line, column, text in mistakes:
            assert 1 <= line <= lines + 1 and column >= 1 and text.isprintable(), (data, mistakes)
        if not mistakes:
            assert all(isinstance(k, str) for s in found for k in s.attributes)
