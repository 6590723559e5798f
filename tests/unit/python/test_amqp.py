"""The AMQP codec against the specification's XML, Proton's codec, recorded messages of Qpid Dispatch, and hostile
octets."""

import os
import random
import uuid
import xml.etree.ElementTree as xml

import pytest

proton = pytest.importorskip("proton")

from trunkline import amqp

SPECIFICATION = "/usr/share/amqp/specs/1-0/"
NAMESPACE = "{http://www.amqp.org/schema/amqp.xsd}"


def vectors():
    with open(os.path.join(os.path.dirname(__file__), "vectors.txt"), encoding="ascii") as f:
        for line in f:
            if not line.startswith("#"):
                name, kind, octets = line.split()
                yield name + " " + kind, bytes.fromhex(octets)


VECTORS = dict(vectors())


# The specification
# -----------------------------------------------------------------------------------------------------


@pytest.mark.skipif(not os.path.exists(SPECIFICATION), reason="package amqp-specs is not installed")
def test_amqp_constructors_are_those_of_the_specification():
    python = {
        "null": type(None),
        "boolean": bool,
        "ubyte": amqp.UByte,
        "ushort": amqp.UShort,
        "uint": amqp.UInt,
        "ulong": amqp.ULong,
        "byte": amqp.Byte,
        "short": amqp.Short,
        "int": amqp.Int,
        "long": amqp.Long,
        "float": amqp.Float,
        "double": float,
        "decimal32": amqp.Decimal,
        "decimal64": amqp.Decimal,
        "decimal128": amqp.Decimal,
        "char": amqp.Char,
        "timestamp": amqp.Timestamp,
        "uuid": amqp.UUID,
        "binary": bytes,
        "string": str,
        "symbol": amqp.Symbol,
        "list": list,
        "map": dict,
        "array": amqp.Array,
    }
    codes = set()
    for entry in xml.parse(SPECIFICATION + "types.bare.xml").iter(NAMESPACE + "type"):
        name = entry.get("name")
        for encoding in entry.findall(NAMESPACE + "encoding"):
            code, category, width = int(encoding.get("code"), 16), encoding.get("category"), int(encoding.get("width"))
            codes.add(code)
            if category == "fixed":
                octets = bytes((code,)) + bytes(width)
            elif category == "variable":
                octets = bytes((code,)) + bytes(width)
            elif category == "compound":
                octets = bytes((code,)) + (width).to_bytes(width, "big") + bytes(width)
            else:
                octets = bytes((code,)) + (width + 1).to_bytes(width, "big") + bytes(width) + b"\x50"
            value, behind = amqp.decode(octets)
            assert type(value) is python[name] and behind == len(octets), (name, hex(code))
            assert type(amqp.decode(amqp.encode(value))[0]) is python[name]
            for cut in range(len(octets)):
                with pytest.raises(amqp.CodecError):
                    amqp.decode(octets[:cut])
    assert codes == set(amqp.FIXED) | set(amqp.VARIABLE) | set(amqp.COMPOUND)
    for code in set(range(1, 256)) - codes:
        with pytest.raises(amqp.CodecError):
            amqp.decode(bytes((code,)) + bytes(64))


@pytest.mark.skipif(not os.path.exists(SPECIFICATION), reason="package amqp-specs is not installed")
def test_amqp_sections_are_those_of_the_specification():
    found = {}
    for descriptor in xml.parse(SPECIFICATION + "messaging.bare.xml").iter(NAMESPACE + "descriptor"):
        code = int(descriptor.get("code").split(":")[1], 16)
        if code >= 0x70:
            found[amqp.Symbol(descriptor.get("name"))] = code
    assert found == amqp._SYMBOLIC


# Proton
# ------------------------------------------------------------------------------------------------------------------


def from_proton(value):
    """A value as proton's Data.get_object() gives it, in our types."""
    known = {
        proton.ubyte: amqp.UByte,
        proton.ushort: amqp.UShort,
        proton.uint: amqp.UInt,
        proton.ulong: amqp.ULong,
        proton.byte: amqp.Byte,
        proton.short: amqp.Short,
        proton.int32: amqp.Int,
        proton.timestamp: amqp.Timestamp,
        proton.symbol: amqp.Symbol,
        proton.char: amqp.Char,
        proton.float32: amqp.Float,
        int: amqp.Long,
        uuid.UUID: lambda v: amqp.UUID(v.bytes),
    }
    if type(value) is list:
        return [from_proton(v) for v in value]
    if type(value) is dict:
        return {from_proton(k): from_proton(v) for k, v in value.items()}
    if isinstance(value, proton.Described):
        return amqp.Described(from_proton(value.descriptor), from_proton(value.value))
    if type(value) in known:
        return known[type(value)](value)
    return value


def same(a, b):
    if type(a) is not type(b):
        return False
    if isinstance(a, list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return len(a) == len(b) and all(same(x, y) and same(a[x], b[y]) for x, y in zip(a, b))
    if isinstance(a, amqp.Described):
        return same(a.descriptor, b.descriptor) and same(a.value, b.value)
    return a == b


def random_value(random_, depth=0):
    big = lambda bits: random_.getrandbits(random_.choice((3, bits // 2, bits)))
    signed = lambda bits: big(bits - 1) * random_.choice((-1, 1))
    choices = [
        lambda: None,
        lambda: random_.random() < 0.5,
        lambda: proton.ubyte(big(8)),
        lambda: proton.ushort(big(16)),
        lambda: proton.uint(big(32)),
        lambda: proton.ulong(big(64)),
        lambda: proton.byte(signed(8)),
        lambda: proton.short(signed(16)),
        lambda: proton.int32(signed(32)),
        lambda: signed(64),
        lambda: proton.timestamp(big(50)),
        lambda: random_.random() * 1e9,
        lambda: proton.float32(random_.randrange(1000) / 4),
        lambda: proton.symbol("s" * random_.choice((0, 5, 255, 256))),
        lambda: proton.char(chr(random_.choice((65, 233, 0x4E00)))),
        lambda: "t\u00e9" * random_.choice((0, 1, 127, 128)),
        lambda: b"b\xff" * random_.choice((0, 1, 128)),
        lambda: uuid.UUID(int=random_.getrandbits(128)),
    ]
    if depth < 4:
        choices += [
            lambda: [random_value(random_, depth + 1) for _ in range(random_.choice((0, 1, 5)))],
            lambda: {
                random_.choice((str, proton.symbol))("k%d" % i): random_value(random_, depth + 1)
                for i in range(random_.choice((0, 1, 4)))
            },
            # Not described in described: Proton miscounts the list around it.
            lambda: proton.Described(proton.symbol("d"), [random_value(random_, depth + 1)]),
        ]
        choices += choices[-3:] * 3
    return random_.choice(choices)()


def test_amqp_reads_what_proton_writes_and_the_other_way_round():
    random_ = random.Random(3)
    for _ in range(3000):
        value = random_value(random_)
        data = proton.Data()
        data.put_object(value)
        octets = data.encode()
        ours, behind = amqp.decode(octets)
        assert behind == len(octets) and same(ours, from_proton(value)), value
        again = amqp.encode(ours)
        back = proton.Data()
        assert back.decode(again) == len(again)
        back.rewind()
        back.next()
        assert same(from_proton(back.get_object()), ours)


def test_amqp_arrays_agree_with_proton():
    for code, type_, items in (
        (0x70, proton.Data.UINT, [1, 2, 3]),
        (0x81, proton.Data.LONG, [-1, 1 << 40]),
        (0xB1, proton.Data.STRING, ["a", "\u00e9" * 200]),
        (0xB3, proton.Data.SYMBOL, [proton.symbol("x"), proton.symbol("y")]),
        (0x56, proton.Data.BOOL, [True, False]),
        (0x50, proton.Data.UBYTE, []),
    ):
        data = proton.Data()
        data.put_array(False, type_)
        data.enter()
        for item in items:
            {
                proton.Data.UINT: data.put_uint,
                proton.Data.LONG: data.put_long,
                proton.Data.STRING: data.put_string,
                proton.Data.SYMBOL: data.put_symbol,
                proton.Data.BOOL: data.put_bool,
                proton.Data.UBYTE: data.put_ubyte,
            }[type_](item)
        data.exit()
        ours, _ = amqp.decode(data.encode())
        assert isinstance(ours, amqp.Array) and ours == items and (ours.code == code or not items)
        back = proton.Data()
        octets = amqp.encode(ours)
        assert back.decode(octets) == len(octets)
        again, _ = amqp.decode(back.encode())
        assert again == items


def test_amqp_plain_integers_take_the_narrowest_type():
    for value, kind in (
        (0, amqp.Int),
        (-1, amqp.Int),
        (2**31 - 1, amqp.Int),
        (-(2**31), amqp.Int),
        (2**31, amqp.Long),
        (-(2**31) - 1, amqp.Long),
        (2**63 - 1, amqp.Long),
        (2**63, amqp.ULong),
        (2**64 - 1, amqp.ULong),
    ):
        decoded, _ = amqp.decode(amqp.encode(value))
        assert decoded == value and type(decoded) is kind


@pytest.mark.parametrize(
    "value",
    [
        2**64,
        -(2**63) - 1,
        amqp.UInt(2**32),
        amqp.UByte(-1),
        amqp.Symbol("\u00e9"),
        "\ud800",
        amqp.UUID(b"x"),
        amqp.Decimal(b"xyz"),
        object(),
        {1, 2},
        amqp.Char("ab"),
        amqp.Array(0x70, ["x"]),
        amqp.Array(0xB3, [amqp.Symbol("\u00e9")]),
    ],
)
def test_amqp_value_without_amqp_form_is_refused(value):
    with pytest.raises(amqp.CodecError):
        amqp.encode(value)


def test_amqp_sizes_switch_constructors_where_they_must():
    for length in (0, 1, 255, 256, 70000):
        for value in (
            "x" * length,
            b"x" * length,
            amqp.Symbol("x" * length),
            [None] * length,
            [b"x" * length],
            {i: i for i in range(length)},
        ):
            assert amqp.decode(amqp.encode(value)) == (value, len(amqp.encode(value)))
    for size in range(245, 262):
        value = ["x" * size]
        assert amqp.decode(amqp.encode(value))[0] == value
    nested = []
    for _ in range(20):
        nested = [nested]
    assert amqp.decode(amqp.encode(nested))[0] == nested


# Hostile octets
# ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "octets, part",
    [
        ("", "missing"),
        ("00", "missing"),
        ("0053", "cut off"),
        ("71000000", "cut off"),
        ("5602", "boolean octet"),
        ("a102c328", "not UTF-8"),
        ("a301ff", "not ASCII"),
        ("7300110000", "no Unicode character"),
        ("730000d800", "no Unicode character"),
        ("a105616263", "beyond the end"),
        ("b1ffffffff", "beyond the end"),
        ("d0ffffffff00000000", "beyond the end"),
        ("d000000004ffffffff", "more than the octets"),
        ("c00401540140", "left over"),
        ("c10301a10161", "beyond"),
        ("c1020140", "odd number"),
        ("c1050440404040", "occurs twice"),
        ("c103024540", "list, map or array"),
        ("e00100", "without a constructor"),
        ("e0020100", "missing"),
        ("f00000000500ffffff40", "more than the octets"),
        ("e003117040", "more than the octets"),
        ("e00340ff40", "more than the octets"),
    ],
)
def test_amqp_malformed_octets_are_told(octets, part):
    with pytest.raises(amqp.CodecError) as error:
        amqp.decode(bytes.fromhex(octets))
    assert part in str(error.value)


def test_amqp_nesting_is_bounded():
    for wrap in (
        lambda inner: b"\xd0" + (len(inner) + 4).to_bytes(4, "big") + b"\0\0\0\1" + inner,
        lambda inner: b"\x00\x40" + inner,
        lambda inner: b"\x00" + inner + b"\x40",
        lambda inner: b"\xf0" + (len(inner) + 4).to_bytes(4, "big") + b"\0\0\0\1" + inner,
    ):
        octets = b"\x40"
        for _ in range(100000 if wrap(b"x")[0] == 0 else 300):
            octets = wrap(octets)
        with pytest.raises(amqp.CodecError, match="nested"):
            amqp.decode(octets)
    value = []
    for _ in range(1000):
        value = [value]
    with pytest.raises(amqp.CodecError, match="nested"):
        amqp.encode(value)


def test_amqp_octets_cannot_make_us_allocate_much_more_than_they_are():
    import tracemalloc

    hostile = [
        b"\xf0\x00\x00\x00\x05\x7f\xff\xff\xff\x40",
        b"\xd0" + (60004).to_bytes(4, "big") + (10000).to_bytes(4, "big") + b"\xe0\x02\x10\x41\xe0\x00"[:4] * 15000,
    ]
    for octets in hostile:
        tracemalloc.start()
        with pytest.raises(amqp.CodecError):
            amqp.decode(octets)
        assert tracemalloc.get_traced_memory()[1] < 300 * len(octets) + 100000
        tracemalloc.stop()


def test_amqp_mutated_messages_are_read_or_refused():
    random_ = random.Random(4)
    seeds = list(VECTORS.values())
    read = 0
    for i in range(30000):
        data = bytearray(seeds[i % len(seeds)][:400])
        for _ in range(random_.randrange(1, 5)):
            at = random_.randrange(len(data))
            what = random_.randrange(4)
            if what == 0:
                data[at] = random_.choice(
                    (
                        0,
                        1,
                        0x40,
                        0x45,
                        0x53,
                        0x70,
                        0xA1,
                        0xC0,
                        0xC1,
                        0xD0,
                        0xD1,
                        0xE0,
                        0xF0,
                        0xFF,
                        random_.randrange(256),
                    )
                )
            elif what == 1:
                del data[at : at + random_.randrange(1, 5)]
            elif what == 2:
                data[at:at] = random_.randbytes(random_.randrange(1, 5))
            else:
                del data[at:]
            if not data:
                break
        try:
            message = amqp.decode_message(bytes(data))
            read += 1
            amqp.encode(message.body)
        except amqp.CodecError as error:
            assert str(error)
    assert read > 100


# Messages
# ------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VECTORS)
def test_amqp_recorded_message_as_proton_reads_it(name):
    octets = VECTORS[name]
    expected = proton.Message()
    expected.decode(octets)
    found = amqp.decode_message(octets)
    assert same(found.body, from_proton(expected.body))
    assert (
        (found.application_properties or {}) == expected.properties
        or found.application_properties is None
        and not expected.properties
    )
    assert found.properties.get("to") == expected.address and found.properties.get("reply_to") == expected.reply_to
    if expected.correlation_id is not None:
        assert amqp.decode(found.correlation_id)[0] == expected.correlation_id
    # Written again, the body has the same octets as Proton's but for its habit of writing wide maps and lists.
    assert amqp.decode(amqp.encode(found.body))[0] == found.body


def test_amqp_answer_as_proton_reads_it():
    for id_ in (amqp.ULong(5), "x", uuid.uuid4(), b"\x00\xff", amqp.ULong(1 << 60)):
        ours = amqp.UUID(id_.bytes) if isinstance(id_, uuid.UUID) else id_
        message = proton.Message()
        message.decode(
            amqp.encode_message(
                "amqp:/_topo/0/A/temp.x", amqp.encode(ours), {"statusCode": amqp.Int(200)}, amqp.encode([1])
            )
        )
        assert (
            message.address == "amqp:/_topo/0/A/temp.x"
            and message.correlation_id == id_
            and message.properties == {"statusCode": 200}
            and message.body == [1]
        )
        assert not message.durable and message.id is None and message.subject is None
    message.decode(amqp.encode_message("t", None, {}, amqp.encode(None)))
    assert message.correlation_id is None and message.body is None


def test_amqp_sections_out_of_order_or_twice_are_refused():
    header, properties, application, value, data, sequence = (
        b"\x00\x53\x70\x45",
        b"\x00\x53\x73\x45",
        b"\x00\x53\x74\xc1\x01\x00",
        b"\x00\x53\x77\x40",
        b"\x00\x53\x75\xa0\x01x",
        b"\x00\x53\x76\xc0\x02\x01\x40",
    )
    for good in (
        header + properties + application + value,
        data + data,
        sequence + sequence,
        b"",
        properties,
        header + value + b"\x00\x53\x78\xc1\x01\x00",
    ):
        amqp.decode_message(good)
    for bad in (
        properties + header,
        value + value,
        data + sequence,
        value + application,
        header + header,
        b"\x00\x53\x79\x45",
        b"\x40",
        b"\x00\x40\x45",
    ):
        with pytest.raises(amqp.CodecError):
            amqp.decode_message(bad)
    assert amqp.decode_message(data + data).body == b"xx" and amqp.decode_message(sequence + sequence).body == [
        None,
        None,
    ]


def test_amqp_symbolic_descriptors_are_understood():
    message = amqp.decode_message(b"\x00" + amqp.encode(amqp.Symbol("amqp:amqp-value:*")) + b"\x54\x05")
    assert message.body == 5 and message.has_body


# Tables
# --------------------------------------------------------------------------------------------------------------------

COLUMNS = [
    ("name", "string"),
    ("capacity", "uint"),
    ("count", "ulong"),
    ("priority", "int"),
    ("sslSsf", "long"),
    ("opened", "boolean"),
    ("list", "list"),
    ("properties", "map"),
    ("any", None),
]


def test_amqp_table_is_the_map_of_its_values_with_the_columns_types():
    names, types = [c[0] for c in COLUMNS], [c[1] for c in COLUMNS]
    for count in (0, 1, 2, 300):
        rows = [
            ("n%d" % (i % 7), i * 3, i << 33, -i, i, i % 2 == 0, [i] * (i % 3), {"k": i}, None if i % 2 else "x")
            for i in range(count)
        ]
        value, behind = amqp.decode(amqp.encode_table(names, types, rows))
        assert value == {"attributeNames": names, "results": [list(r) for r in rows]}
        for row in value["results"]:
            assert [type(v) for v in row[:6]] == [str, amqp.UInt, amqp.ULong, amqp.Int, amqp.Long, bool]
    nulls, _ = amqp.decode(amqp.encode_table(names, types, [(None,) * len(names)]))
    assert nulls["results"] == [[None] * len(names)]
    assert amqp.decode(amqp.encode_table([], [], [(), ()]))[0] == {"attributeNames": [], "results": [[], []]}


@pytest.mark.parametrize(
    "kind, value",
    [("uint", 1 << 32), ("uint", -1), ("ulong", "x"), ("int", 1 << 31), ("string", 5), ("string", "\ud800")],
)
def test_amqp_table_value_of_another_type_is_refused(kind, value):
    with pytest.raises(amqp.CodecError):
        amqp.encode_table(["a"], [kind], [(value,)])


def test_amqp_table_costs_little_per_cell():
    """Counted in calls, not in time: a page of 500 links must not call a function for each of its 13,500 cells."""
    import sys

    rows = [("link%d" % i, "endpoint", 250) + (i,) * 14 + (1,) * 10 for i in range(500)]
    names = ["c%d" % i for i in range(27)]
    types = ["string", "string", "uint"] + ["ulong"] * 14 + ["uint"] * 10
    calls = [0]

    def count(frame, event, argument):
        calls[0] += event == "call"

    sys.setprofile(count)
    try:
        amqp.encode_table(names, types, rows)
    finally:
        sys.setprofile(None)
    assert calls[0] < 3000
