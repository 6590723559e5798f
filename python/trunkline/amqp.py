"""AMQP 1.0 types and message sections, for the messages of the management node.

Source: AMQP 1.0 part 1, Types, and part 3.2, Message Format.

Decoding turns each AMQP type into a Python type that remembers it, so that decode() and encode() are inverse up to the
choice of the shortest constructor:

    null None | boolean bool | string str | binary bytes | list list | map dict | double float | int Int | long Long
    ubyte UByte, ushort UShort, uint UInt, ulong ULong, byte Byte, short Short, timestamp Timestamp (all of them int)
    symbol Symbol, char Char (str) | float Float | uuid UUID, decimal32 .. 128 Decimal (bytes) | array Array |
    described Described

Encoding also takes plain int: int if it fits 32 bits, else long, else ulong. Whatever is wrong with octets or values
raises CodecError.
"""

from struct import Struct, error as StructError

MAX_DEPTH = 32
MAX_EMPTY_ELEMENTS = 16


class CodecError(ValueError):
    """The octets are no AMQP, or the value has no AMQP form. The text says what and where."""


class Byte(int):
    pass


class Short(int):
    pass


class Int(int):
    pass


class Long(int):
    pass


class UByte(int):
    pass


class UShort(int):
    pass


class UInt(int):
    pass


class ULong(int):
    pass


class Timestamp(int):
    pass


class Float(float):
    pass


class Symbol(str):
    pass


class Char(str):
    pass


class UUID(bytes):
    pass


class Decimal(bytes):
    """decimal32, 64 or 128 by its length, as octets; nothing here computes with them."""


class Array(list):
    """code: the elements' type code; descriptor: theirs, or None."""

    def __init__(self, code, items=(), descriptor=None):
        super().__init__(items)
        self.code, self.descriptor = code, descriptor


class Described:
    __slots__ = ("descriptor", "value")

    def __init__(self, descriptor, value):
        self.descriptor, self.value = descriptor, value

    def __eq__(self, other):
        return isinstance(other, Described) and (self.descriptor, self.value) == (other.descriptor, other.value)

    def __hash__(self):
        return hash(("Described", self.descriptor))

    def __repr__(self):
        return "Described(%r, %r)" % (self.descriptor, self.value)


_B, _H, _I, _Q = Struct(">B"), Struct(">H"), Struct(">I"), Struct(">Q")
_b, _h, _i, _q, _f, _d = Struct(">b"), Struct(">h"), Struct(">i"), Struct(">q"), Struct(">f"), Struct(">d")

# Decoding -------------------------------------------------------------------------------------------------------------
# part 1.6, Primitive Type Definitions. Fixed widths: code -> (octets, function of octets).


def _boolean(octets):
    if octets[0] > 1:
        raise CodecError("boolean octet 0x%02x" % octets[0])
    return octets[0] == 1


def _char(octets):
    (code,) = _I.unpack(octets)
    if code > 0x10FFFF or 0xD800 <= code < 0xE000:
        raise CodecError("char 0x%x is no Unicode character" % code)
    return Char(chr(code))


def _unpacker(struct, python_type):
    unpack = struct.unpack
    return lambda octets: python_type(unpack(octets)[0])


FIXED = {
    0x40: (0, lambda octets: None),
    0x41: (0, lambda octets: True),
    0x42: (0, lambda octets: False),
    0x43: (0, lambda octets: UInt(0)),
    0x44: (0, lambda octets: ULong(0)),
    0x45: (0, lambda octets: []),
    0x50: (1, _unpacker(_B, UByte)),
    0x51: (1, _unpacker(_b, Byte)),
    0x52: (1, _unpacker(_B, UInt)),
    0x53: (1, _unpacker(_B, ULong)),
    0x54: (1, _unpacker(_b, Int)),
    0x55: (1, _unpacker(_b, Long)),
    0x56: (1, _boolean),
    0x60: (2, _unpacker(_H, UShort)),
    0x61: (2, _unpacker(_h, Short)),
    0x70: (4, _unpacker(_I, UInt)),
    0x71: (4, _unpacker(_i, Int)),
    0x72: (4, _unpacker(_f, Float)),
    0x73: (4, _char),
    0x74: (4, Decimal),
    0x80: (8, _unpacker(_Q, ULong)),
    0x81: (8, _unpacker(_q, Long)),
    0x82: (8, _unpacker(_d, float)),
    0x83: (8, _unpacker(_q, Timestamp)),
    0x84: (8, Decimal),
    0x94: (16, Decimal),
    0x98: (16, UUID),
}


def _text(octets):
    try:
        return str(octets, "utf-8")
    except UnicodeDecodeError as error:
        raise CodecError("string is not UTF-8: %s" % error.reason) from None


def _symbol(octets):
    try:
        return Symbol(str(octets, "ascii"))
    except UnicodeDecodeError:
        raise CodecError("symbol is not ASCII") from None


# Variable widths and compounds: code -> (octets of the size field, what it is).
VARIABLE = {
    0xA0: (1, bytes),
    0xB0: (4, bytes),
    0xA1: (1, _text),
    0xB1: (4, _text),
    0xA3: (1, _symbol),
    0xB3: (4, _symbol),
}
COMPOUND = {
    0xC0: (1, "list"),
    0xD0: (4, "list"),
    0xC1: (1, "map"),
    0xD1: (4, "map"),
    0xE0: (1, "array"),
    0xF0: (4, "array"),
}


def _size(data, at, end, width):
    if end - at < width:
        raise CodecError("octet %d: a size is cut off" % at)
    return (data[at] if width == 1 else _I.unpack_from(data, at)[0]), at + width


def _value(data, at, end, depth):
    """The value at `at`, none of which may lie beyond `end`: (value, position behind it)."""
    if at >= end:
        raise CodecError("octet %d: a value is missing" % at)
    code = data[at]
    if code == 0:
        if depth >= MAX_DEPTH:
            raise CodecError("octet %d: nested more than %d deep" % (at, MAX_DEPTH))
        descriptor, at = _value(data, at + 1, end, depth + 1)
        value, at = _value(data, at, end, depth + 1)
        return Described(descriptor, value), at
    return _body(data, at + 1, end, code, depth)


def _body(data, at, end, code, depth):
    """The value of type `code` whose constructor is already read."""
    fixed = FIXED.get(code)
    if fixed:
        behind = at + fixed[0]
        if behind > end:
            raise CodecError("octet %d: a value is cut off" % at)
        return fixed[1](data[at:behind]), behind
    variable = VARIABLE.get(code)
    if variable:
        size, at = _size(data, at, end, variable[0])
        if size > end - at:
            raise CodecError("octet %d: size %d is beyond the end" % (at, size))
        return variable[1](data[at : at + size]), at + size
    compound = COMPOUND.get(code)
    if compound is None:
        raise CodecError("octet %d: unknown constructor 0x%02x" % (at - 1, code))
    if depth >= MAX_DEPTH:
        raise CodecError("octet %d: nested more than %d deep" % (at, MAX_DEPTH))
    width, kind = compound
    size, at = _size(data, at, end, width)
    behind = at + size
    if behind > end:
        raise CodecError("octet %d: size %d is beyond the end" % (at, size))
    count, at = _size(data, at, behind, width)
    if kind == "array":
        value, at = _array(data, at, behind, count, depth)
    else:
        # Every member takes an octet at least, so the count cannot make us allocate more than was received.
        if count > behind - at:
            raise CodecError("octet %d: count %d is more than the octets there are" % (at, count))
        members = []
        for _ in range(count):
            member, at = _value(data, at, behind, depth + 1)
            members.append(member)
        value = _map(members) if kind == "map" else members
    if at != behind:
        raise CodecError("octet %d: %d octets left over in a %s" % (at, behind - at, kind))
    return value, behind


def _map(members):
    """part 1.6.23, map: pairs; a key may occur only once."""
    if len(members) % 2:
        raise CodecError("map with an odd number of members")
    keys = members[::2]
    try:
        value = dict(zip(keys, members[1::2]))
    except TypeError:
        raise CodecError("map with a key that is a list, map or array") from None
    if len(value) != len(keys):
        raise CodecError("map with a key that occurs twice")
    return value


def _array(data, at, behind, count, depth):
    """part 1.6.24, array: one constructor for all elements."""
    if at >= behind:
        raise CodecError("octet %d: array without a constructor" % at)
    descriptor = None
    if data[at] == 0:
        descriptor, at = _value(data, at + 1, behind, depth + 1)
        if at >= behind:
            raise CodecError("octet %d: array without a constructor" % at)
    code = data[at]
    if code == 0:
        raise CodecError("octet %d: array with two descriptors" % at)
    at += 1
    # Elements of types without octets (null, true, list0 ...) cost the sender nothing and us memory; nobody sends them
    # in arrays.
    if count > (behind - at if FIXED.get(code, (1,))[0] else MAX_EMPTY_ELEMENTS):
        raise CodecError("octet %d: count %d is more than the octets there are" % (at, count))
    array = Array(code, descriptor=descriptor)
    for _ in range(count):
        element, at = _body(data, at, behind, code, depth + 1)
        array.append(element)
    return array, at


def decode(data, at=0):
    """The value that begins at octet `at` of bytes: (value, position behind it). Raises CodecError."""
    return _value(data, at, len(data), 0)


# Encoding
# ---------------------------------------------------------------------------------------------------------------

_NULL, _TRUE, _FALSE = b"\x40", b"\x41", b"\x42"
_ULONG_SMALL = (b"\x44",) + tuple(b"\x53" + bytes((i,)) for i in range(1, 256))
_UINT_SMALL = (b"\x43",) + tuple(b"\x52" + bytes((i,)) for i in range(1, 256))
_ulong, _uint, _int, _long = (Struct(">BQ").pack, Struct(">BI").pack, Struct(">Bi").pack, Struct(">Bq").pack)
_small = Struct(">Bb").pack
_head8, _head32 = Struct(">BBB").pack, Struct(">BII").pack


def _variable(code, octets):
    size = len(octets)
    return bytes((code, size)) + octets if size < 256 else _uint(code | 0x10, size) + octets


def _compound(code, count, octets):
    """list (0xC0) or map (0xC1) around encoded members."""
    size = len(octets)
    if size < 255 and count < 256:
        return _head8(code, size + 1, count) + octets
    return _head32(code | 0x10, size + 4, count) + octets


def _encode_text(value):
    try:
        return _variable(0xA1, value.encode())
    except UnicodeEncodeError:
        raise CodecError("text with half of a surrogate pair has no AMQP form") from None


def _encode_symbol(value):
    try:
        return _variable(0xA3, value.encode("ascii"))
    except UnicodeEncodeError:
        raise CodecError("symbol %r is not ASCII" % str(value)) from None


def _encode_char(value):
    if len(value) != 1:
        raise CodecError("char %r is not one character" % str(value))
    return _uint(0x73, ord(value))


def _encode_ulong(value):
    return _ULONG_SMALL[value] if 0 <= value < 256 else _ulong(0x80, value)


def _encode_uint(value):
    return _UINT_SMALL[value] if 0 <= value < 256 else _uint(0x70, value)


def _encode_int(value):
    return _small(0x54, value) if -128 <= value < 128 else _int(0x71, value)


def _encode_long(value):
    return _small(0x55, value) if -128 <= value < 128 else _long(0x81, value)


def _encode_plain_int(value):
    if -0x80000000 <= value < 0x80000000:
        return _encode_int(value)
    return _encode_long(value) if value < 1 << 63 else _encode_ulong(value)


def _encode_list(value, depth):
    if not value:
        return b"\x45"
    return _compound(0xC0, len(value), b"".join([_encode(v, depth + 1) for v in value]))


def _encode_map(value, depth):
    return _compound(0xC1, 2 * len(value), b"".join([_encode(x, depth + 1) for item in value.items() for x in item]))


_DECIMAL_CODES = {4: b"\x74", 8: b"\x84", 16: b"\x94"}
# How the elements of an array are written: the type's widest constructor is used for all.
_ARRAY_CODES = {
    0x43: 0x70,
    0x52: 0x70,
    0x44: 0x80,
    0x53: 0x80,
    0x54: 0x71,
    0x55: 0x81,
    0x41: 0x56,
    0x42: 0x56,
    0xA0: 0xB0,
    0xA1: 0xB1,
    0xA3: 0xB3,
    0x45: 0xD0,
    0xC0: 0xD0,
    0xC1: 0xD1,
    0xE0: 0xF0,
}
_ARRAY_STRUCTS = {
    0x50: _B,
    0x51: _b,
    0x60: _H,
    0x61: _h,
    0x70: _I,
    0x71: _i,
    0x72: _f,
    0x80: _Q,
    0x81: _q,
    0x82: _d,
    0x83: _q,
}


def _array_element(code, value, depth):
    if code in _ARRAY_STRUCTS:
        return _ARRAY_STRUCTS[code].pack(value)
    if code == 0x40:
        return b""
    if code == 0x56:
        return b"\x01" if value else b"\x00"
    if code == 0x73:
        return _encode_char(value)[1:]
    if code in (0x74, 0x84, 0x94, 0x98):
        if len(value) != FIXED[code][0]:
            raise CodecError("array element of %d octets" % len(value))
        return bytes(value)
    if code in (0xB0, 0xB1, 0xB3):
        octets = value if code == 0xB0 else value.encode("utf-8" if code == 0xB1 else "ascii")
        return _I.pack(len(octets)) + octets
    if code == 0xD0:
        octets = b"".join([_encode(v, depth + 1) for v in value])
        return _I.pack(len(octets) + 4) + _I.pack(len(value)) + octets
    if code == 0xD1:
        octets = b"".join([_encode(x, depth + 1) for item in value.items() for x in item])
        return _I.pack(len(octets) + 4) + _I.pack(2 * len(value)) + octets
    if code == 0xF0:
        return _encode_array(value, depth + 1)[1:]
    raise CodecError("array of unknown type 0x%02x" % code)


def _encode_array(value, depth):
    if depth >= MAX_DEPTH:
        raise CodecError("nested more than %d deep" % MAX_DEPTH)
    code = _ARRAY_CODES.get(value.code, value.code)
    constructor = (b"" if value.descriptor is None else b"\x00" + _encode(value.descriptor, depth + 1)) + bytes((code,))
    try:
        octets = constructor + b"".join([_array_element(code, v, depth) for v in value])
    except (AttributeError, UnicodeEncodeError, TypeError):
        raise CodecError("array with an element of another type") from None
    return _head32(0xF0, len(octets) + 4, len(value)) + octets


_SIMPLE = {
    type(None): lambda v: _NULL,
    bool: lambda v: _TRUE if v else _FALSE,
    int: _encode_plain_int,
    str: _encode_text,
    bytes: lambda v: _variable(0xA0, v),
    float: lambda v: b"\x82" + _d.pack(v),
    Float: lambda v: b"\x72" + _f.pack(v),
    Int: _encode_int,
    Long: _encode_long,
    UInt: _encode_uint,
    ULong: _encode_ulong,
    UByte: lambda v: b"\x50" + _B.pack(v),
    Byte: lambda v: b"\x51" + _b.pack(v),
    UShort: lambda v: b"\x60" + _H.pack(v),
    Short: lambda v: b"\x61" + _h.pack(v),
    Timestamp: lambda v: b"\x83" + _q.pack(v),
    Symbol: _encode_symbol,
    Char: _encode_char,
    UUID: lambda v: b"\x98" + v if len(v) == 16 else _wrong_length("uuid", v),
    Decimal: lambda v: _DECIMAL_CODES[len(v)] + v if len(v) in _DECIMAL_CODES else _wrong_length("decimal", v),
}


def _wrong_length(kind, value):
    raise CodecError("%s of %d octets" % (kind, len(value)))


def _encode(value, depth):
    simple = _SIMPLE.get(type(value))
    if simple:
        return simple(value)
    if depth >= MAX_DEPTH:
        raise CodecError("nested more than %d deep" % MAX_DEPTH)
    if isinstance(value, Array):
        return _encode_array(value, depth)
    if isinstance(value, (list, tuple)):
        return _encode_list(value, depth)
    if isinstance(value, dict):
        return _encode_map(value, depth)
    if isinstance(value, Described):
        return b"\x00" + _encode(value.descriptor, depth + 1) + _encode(value.value, depth + 1)
    raise CodecError("a %s has no AMQP form" % type(value).__name__)


def encode(value):
    """The octets of a value. Raises CodecError."""
    try:
        return _encode(value, 0)
    except (StructError, OverflowError) as error:
        raise CodecError("number out of range: %s" % error) from None


# Tables: the rows of a QUERY
# ----------------------------------------------------------------------------------------------


def _ulong_column(cells):
    small = _ULONG_SMALL
    return [_NULL if v is None else small[v] if 0 <= v < 256 else _ulong(0x80, v) for v in cells]


def _uint_column(cells):
    small = _UINT_SMALL
    return [_NULL if v is None else small[v] if 0 <= v < 256 else _uint(0x70, v) for v in cells]


def _string_column(cells):
    # Most columns of text repeat a few words, or hold an identity each; the cache serves the first and does not hurt
    # the second.
    known = {None: _NULL}
    encoded = []
    for v in cells:
        octets = known.get(v)
        if octets is None:
            octets = known[v] = _encode_text(v)
        encoded.append(octets)
    return encoded


def _counts(value):
    """A list; those that hold only numbers, as histograms do, and mostly the same ones, quickly."""
    if set(map(type, value)) != {int}:
        return _encode(value, 3)
    known = {n: _encode_plain_int(n) for n in set(value)}
    return _compound(0xC0, len(value), b"".join([known[n] for n in value]))


def _column(one):
    return lambda cells: [_NULL if v is None else one(v) for v in cells]


_COLUMNS = {
    "ulong": _ulong_column,
    "uint": _uint_column,
    "string": _string_column,
    "int": _column(_encode_int),
    "long": _column(_encode_long),
    "boolean": lambda cells: [_NULL if v is None else _TRUE if v else _FALSE for v in cells],
    None: lambda cells: [_encode(v, 3) for v in cells],
    "list": lambda cells: [_counts(v) if type(v) is list else _encode(v, 3) for v in cells],
    "map": lambda cells: [_encode(v, 3) for v in cells],
}


def encode_rows(types, rows):
    """Rows of a table, each as the octets of a list.

    types: for each column 'string', 'ulong', 'uint', 'int', 'long', 'boolean', 'list', 'map', or None for what the
    value suggests. rows: sequences with a value for each column. Works column by column, twice as fast as value by
    value. Raises CodecError.
    """
    width = len(types)
    try:
        columns = [_COLUMNS[t](cells) for t, cells in zip(types, zip(*rows))] if rows and width else []
    except (StructError, OverflowError, TypeError, AttributeError) as error:
        raise CodecError("a value is not of its column's type: %s" % error) from None
    if not columns:
        return [b"\x45"] * len(rows)
    join = b"".join
    return [_compound(0xC0, width, join(cells)) for cells in zip(*columns)]


def encode_table(names, types, rows):
    """The octets of {attributeNames: names, results: rows}, the body of an answer to QUERY. See encode_rows()."""
    return join_table(names, encode_rows(types, rows))


def join_table(names, lists):
    """The same of rows from encode_rows()."""
    results = _compound(0xC0, len(lists), b"".join(lists)) if lists else b"\x45"
    return _compound(
        0xC1,
        4,
        b"".join((_encode_text("attributeNames"), _encode_list(list(names), 1), _encode_text("results"), results)),
    )


# Messages (part 3.2, Message Format)
# ----------------------------------------------------------------------------------------

(
    HEADER,
    DELIVERY_ANNOTATIONS,
    MESSAGE_ANNOTATIONS,
    PROPERTIES,
    APPLICATION_PROPERTIES,
    DATA,
    SEQUENCE,
    VALUE,
    FOOTER,
) = range(0x70, 0x79)
_SECTION_NAMES = {
    0x70 + i: name
    for i, name in enumerate(
        (
            "header",
            "delivery-annotations",
            "message-annotations",
            "properties",
            "application-properties",
            "data",
            "amqp-sequence",
            "amqp-value",
            "footer",
        )
    )
}
_SYMBOLIC = {
    Symbol(
        "amqp:%s:%s"
        % (
            name,
            "list"
            if code in (HEADER, PROPERTIES)
            else "binary"
            if code == DATA
            else "list"
            if code == SEQUENCE
            else "*"
            if code == VALUE
            else "map",
        )
    ): code
    for code, name in _SECTION_NAMES.items()
}
# Order of sections; the body is data or amqp-sequence, any number, or one amqp-value.
_RANK = {
    HEADER: 0,
    DELIVERY_ANNOTATIONS: 1,
    MESSAGE_ANNOTATIONS: 2,
    PROPERTIES: 3,
    APPLICATION_PROPERTIES: 4,
    DATA: 5,
    SEQUENCE: 5,
    VALUE: 5,
    FOOTER: 6,
}
_PROPERTY_NAMES = (
    "message_id",
    "user_id",
    "to",
    "subject",
    "reply_to",
    "correlation_id",
    "content_type",
    "content_encoding",
    "absolute_expiry_time",
    "creation_time",
    "group_id",
    "group_sequence",
    "reply_to_group_id",
)
_TEXT_PROPERTIES = ("to", "subject", "reply_to")


class Message:
    """A received message, as far as management needs it.

    properties: {name: value} of those that are set. correlation_id: the encoded octets of that property, or None:
    echoed, it keeps its exact type. application_properties: dict, or None if the section is missing. body: of
    amqp-value; a list for amqp-sequence, bytes for data, None without body. has_body: whether there was any body
    section.
    """

    __slots__ = ("properties", "correlation_id", "application_properties", "body", "has_body")

    def __init__(self):
        self.properties, self.correlation_id, self.application_properties, self.body, self.has_body = (
            {},
            None,
            None,
            None,
            False,
        )


def _properties(message, data, start, end):
    """part 3.2.4, Properties. Reads the list member by member, to keep the octets of correlation-id."""
    code = data[start] if start < end else 0
    if code == 0x45:
        return
    if COMPOUND.get(code, (0, ""))[1] != "list":
        raise CodecError("octet %d: properties are not a list" % start)
    width = COMPOUND[code][0]
    at = start + 1 + width
    count, at = _size(data, at, end, width)
    if count > len(_PROPERTY_NAMES):
        raise CodecError("octet %d: %d properties" % (at, count))
    for name in _PROPERTY_NAMES[:count]:
        value, behind = _value(data, at, end, 1)
        if value is not None:
            if name in _TEXT_PROPERTIES and type(value) is not str:
                raise CodecError("octet %d: property %s is not a string" % (at, name.replace("_", "-")))
            message.properties[name] = value
            if name == "correlation_id":
                message.correlation_id = bytes(data[at:behind])
        at = behind


def decode_message(data):
    """The Message in these octets. Raises CodecError."""
    message, at, rank, end = Message(), 0, -1, len(data)
    body_code = None
    while at < end:
        if data[at] != 0:
            raise CodecError("octet %d: a section does not begin with a descriptor" % at)
        descriptor, start = _value(data, at + 1, end, 0)
        code = (
            descriptor
            if type(descriptor) is ULong
            else _SYMBOLIC.get(descriptor)
            if type(descriptor) is Symbol
            else None
        )
        if code not in _RANK:
            raise CodecError("octet %d: unknown section" % at)
        if _RANK[code] < rank or _RANK[code] == rank and (code != body_code or code == VALUE):
            raise CodecError("octet %d: section %s is out of order" % (at, _SECTION_NAMES[code]))
        rank = _RANK[code]
        if rank == 5:
            body_code = code
        value, at = _value(data, start, end, 0)
        if code == PROPERTIES:
            _properties(message, data, start, at)
        elif code == APPLICATION_PROPERTIES:
            if not isinstance(value, dict) or any(type(key) is not str for key in value):
                raise CodecError("octet %d: application-properties are not a map with strings as keys" % start)
            message.application_properties = value
        elif code == VALUE:
            message.body, message.has_body = value, True
        elif code in (DATA, SEQUENCE):
            if not isinstance(value, bytes if code == DATA else list):
                raise CodecError("octet %d: section %s has a value of another type" % (start, _SECTION_NAMES[code]))
            message.body = value if message.body is None else message.body + value
            message.has_body = True
    return message


def encode_message(to, correlation_id, application_properties, body):
    """The octets of an answer. correlation_id: encoded, or None. body: encoded octets of the amqp-value. Raises
    CodecError."""
    # message-id, user-id, to, subject, reply-to, correlation-id
    members = [_NULL, _NULL, _encode_text(to)] + ([_NULL, _NULL, correlation_id] if correlation_id else [])
    return b"".join(
        (
            b"\x00\x53\x70\x45",
            b"\x00\x53\x73",
            _compound(0xC0, len(members), b"".join(members)),
            b"\x00\x53\x74",
            encode(application_properties),
            b"\x00\x53\x77",
            body,
        )
    )
