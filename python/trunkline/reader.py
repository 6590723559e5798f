"""The grammar of configuration files: text in, sections with positions out. Knows nothing of what the sections mean.

Two forms. The classic one, line by line:

    # comment                       dropped; in other lines everything from the first # on is dropped, except after the
    router {                        keys pattern, bindingKey and hostname, whose value is the first word
        id: A.1                     value: the rest of the line, with JSON's backslash escapes; may be in double quotes
    }                               quotes keep a #, and can be empty
    listener {
        openProperties: {           a map: JSON in any layout, trailing commas allowed,
            "site": 5, "x": "y",
            zone: north             or the classic style again
        }
    }

and, for files named *.json, a list of pairs [section, {attribute: value}], strict JSON except for whole-line #
comments.

Names may be in camelCase, kebab-case or snake_case. Every mistake in the file becomes one line; reading goes on behind
it.
"""

# Beyond these something is wrong with the file, or it is no configuration file.
MAX_BYTES = 16 * 1024 * 1024
MAX_DEPTH = 32
MAX_ERRORS = 100

KEEP_HASH = ("pattern", "bindingKey", "hostname")
ESCAPES = {'"': '"', "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
CONSTANTS = {"true": True, "false": False, "null": None}


class ConfigError(Exception):
    """The file cannot be used. lines: what is wrong, one line of text for each mistake, in file order."""

    def __init__(self, lines):
        super().__init__(lines[0])
        self.lines = lines


class Mistake(Exception):
    """One mistake at one place; caught by the reader, which notes it and goes on."""

    def __init__(self, line, column, text):
        super().__init__(text)
        self.line, self.column, self.text = line, column, text


class Value:
    """An attribute's value (text, or what JSON can say) and where its key stands. written: the key as in the file."""

    __slots__ = ("value", "line", "column", "written")

    def __init__(self, value, line, column, written):
        self.value, self.line, self.column, self.written = value, line, column, written


class Section:
    """attributes: {name in camelCase: Value}; of a repeated name the last."""

    __slots__ = ("name", "written", "line", "column", "attributes")

    def __init__(self, name, written, line, column):
        self.name, self.written, self.line, self.column, self.attributes = name, written, line, column, {}


class Map(dict):
    """A map that was read; at: {key: (line, column)}."""

    def __init__(self):
        super().__init__()
        self.at = {}


class List(list):
    """A list that was read; at: [(line, column)]."""

    def __init__(self):
        super().__init__()
        self.at = []


def camel_case(name, separators="-_"):
    """max-frame-size, max_frame_size -> maxFrameSize; a name without separators stays as it is."""
    for separator in separators[1:]:
        name = name.replace(separator, separators[0])
    first, *rest = name.split(separators[0])
    return first + "".join(word[:1].upper() + word[1:].lower() for word in rest)


def is_name(text):
    return text.replace("_", "a").replace("-", "a").isalnum()


def show(text, limit=60):
    """Text of the file as part of an error: quoted, on one line, not too long."""
    text = "".join(c if c.isprintable() else "?" for c in text)
    return "'%s'" % (text if len(text) <= limit else text[: limit - 3] + "...")


class Cursor:
    """Reads JSON and classic maps from the text at a position.

    strict: nothing but JSON (RFC 8259 section 2 and following, JSON Grammar); no trailing commas.
    """

    def __init__(self, text, position, line, line_start, strict):
        self.text, self.position, self.line, self.line_start, self.strict = text, position, line, line_start, strict

    def fail(self, text, position=None):
        position = self.position if position is None else position
        raise Mistake(self.line, position - self.line_start + 1, text)

    def newline(self):
        self.position += 1
        self.line += 1
        self.line_start = self.position

    def skip(self):
        """To the next character that is neither blank nor comment; returns it, '' at the end."""
        text = self.text
        while self.position < len(text):
            c = text[self.position]
            if c == "\n":
                self.newline()
            elif c in " \t\r":
                self.position += 1
            elif c == "#" and not self.strict:
                end = text.find("\n", self.position)
                self.position = len(text) if end < 0 else end
            else:
                return c
        return ""

    def string(self):
        """A string in double quotes, which the position is at."""
        text, start = self.text, self.position
        pieces, i = [], start + 1
        while True:
            run = i
            while i < len(text) and text[i] not in '"\\' and text[i] >= " ":
                i += 1
            pieces.append(text[run:i])
            if i >= len(text) or text[i] == "\n":
                self.fail("a string in double quotes is not closed on its line", start)
            if text[i] == '"':
                self.position = i + 1
                return "".join(pieces)
            if text[i] != "\\":
                self.fail("control character in a string; write \\t for a tab", i)
            piece, i = self.escape(i)
            pieces.append(piece)

    def escape(self, i):
        """The escape sequence at i: what it stands for and the position behind it."""
        text = self.text
        c = text[i + 1 : i + 2]
        if c in ESCAPES and c:
            return ESCAPES[c], i + 2
        if c == "u":
            code = self.hex4(i)
            if 0xD800 <= code < 0xDC00 and text[i + 6 : i + 8] == "\\u":
                low = self.hex4(i + 6)
                if 0xDC00 <= low < 0xE000:
                    return chr(0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00)), i + 12
            if 0xD800 <= code < 0xE000:
                self.fail("half of a surrogate pair in an escape", i)
            return chr(code), i + 6
        self.fail("invalid escape %s; write \\\\ for a backslash" % show(text[i : i + 2].rstrip("\n")), i)

    def hex4(self, i):
        digits = self.text[i + 2 : i + 6]
        if len(digits) != 4 or any(c not in "0123456789abcdefABCDEF" for c in digits):
            self.fail("invalid escape; \\u needs four hexadecimal digits", i)
        return int(digits, 16)

    def value(self, depth):
        """A JSON value. In a map that is not strict, maps inside may be classic."""
        c = self.skip()
        if c == '"':
            return self.string()
        if c == "{":
            return self.map(depth + 1)
        if c == "[":
            return self.list(depth + 1)
        start = i = self.position
        while i < len(self.text) and (self.text[i].isalnum() or self.text[i] in "+-._"):
            i += 1
        word = self.text[start:i]
        if word in CONSTANTS:
            self.position = i
            return CONSTANTS[word]
        number = json_number(word)
        if number is None:
            found = self.text[start:].split("\n", 1)[0].strip() if c else "the end of the file"
            self.fail(
                "found %s where a value is needed: a text in double quotes, number, true, false, null, map or list"
                % (show(found) if c else found)
            )
        self.position = i
        return number

    def list(self, depth):
        if depth > MAX_DEPTH:
            self.fail("lists and maps are nested more than %d deep" % MAX_DEPTH)
        opened = self.line
        self.position += 1
        result = List()
        if self.skip() == "]":
            self.position += 1
            return result
        while True:
            self.skip()
            result.at.append((self.line, self.position - self.line_start + 1))
            result.append(self.value(depth))
            if not self.another("]", "list", opened):
                return result

    def another(self, close, what, opened):
        """Behind a member: whether another follows, or the end, which is consumed."""
        c = self.skip()
        comma = c == ","
        if comma:
            self.position += 1
            c = self.skip()
            if c == close and self.strict:
                self.fail("comma before '%s'" % close)
        if c == close:
            self.position += 1
            return False
        if not c:
            self.fail("%s opened at line %d is not closed" % (what, opened))
        if not comma:
            self.fail("found %s where ',' or '%s' is needed" % (show(c), close))
        return True

    def map(self, depth):
        """A map, which the position is at; behind it afterwards."""
        if depth > MAX_DEPTH:
            self.fail("lists and maps are nested more than %d deep" % MAX_DEPTH)
        opened = self.line
        self.position += 1
        result = Map()
        while True:
            c = self.skip()
            if c == "}":
                if self.strict and result:
                    self.fail("comma before '}'")
                self.position += 1
                return result
            if not c:
                self.fail("map opened at line %d is not closed" % opened)
            at = self.line, self.position - self.line_start + 1
            if c == '"':
                key, classic = self.string(), False
            elif self.strict:
                self.fail("found %s where a name in double quotes is needed" % show(c))
            else:
                key, classic = self.bare_key(), True
            if self.skip() != ":":
                self.fail(
                    "found %s where ':' is needed after %s"
                    % (show(self.text[self.position : self.position + 1]), show(key))
                )
            self.position += 1
            result[key] = self.bare_value(key, depth) if classic else self.value(depth)
            result.at[key] = at
            if classic:
                if self.skip() == ",":
                    self.position += 1
            elif not self.another("}", "map", opened):
                return result

    def bare_key(self):
        start = i = self.position
        while i < len(self.text) and (self.text[i].isalnum() or self.text[i] in "$_-."):
            i += 1
        if i == start:
            self.fail("found %s where a name or '}' is needed" % show(self.text[start:].split("\n", 1)[0].strip()))
        self.position = i
        return self.text[start:i]

    def bare_value(self, key, depth):
        """After an unquoted key: a map, list or quoted text, else the rest of the line."""
        text = self.text
        while self.position < len(text) and text[self.position] in " \t":
            self.position += 1
        if text[self.position : self.position + 1] in ("{", "[", '"'):
            return self.value(depth)
        keep_hash = key in KEEP_HASH or key.endswith("Pattern")
        start = i = self.position
        open_braces = 0
        while i < len(text) and text[i] != "\n" and not (text[i] == "#" and not keep_hash):
            if text[i] == "{":
                open_braces += 1
            elif text[i] == "}":
                if not open_braces:
                    break
                open_braces -= 1
            i += 1
        raw = text[start:i].rstrip()
        if not raw:
            self.fail("%s has no value" % show(key))
        self.position = i
        return self.unescape(raw, start)

    def unescape(self, raw, start):
        """The value of an unquoted text at that position: JSON's escapes, no control characters, no bare quotes."""
        if "\\" not in raw and '"' not in raw and raw.isprintable():
            return raw
        pieces, i = [], 0
        while i < len(raw):
            if raw[i] == "\\":
                piece, behind = self.escape(start + i)
                pieces.append(piece)
                i = behind - start
            elif raw[i] == '"':
                self.fail('double quote inside a value; write \\" or put the whole value in quotes', start + i)
            elif raw[i] < " ":
                self.fail("tab or control character inside a value; write \\t for a tab", start + i)
            else:
                pieces.append(raw[i])
                i += 1
        return "".join(pieces)


def json_number(word):
    """The number that JSON's grammar reads in the word, or None."""
    digits = word[1:] if word[:1] == "-" else word
    if (
        not digits[:1].isdigit()
        or not digits.isascii()
        or "_" in digits
        or (digits[0] == "0" and digits[1:2].isdigit())
    ):
        return None
    try:
        if digits.isdigit():
            return int(word)
        if digits[-1] in "." or "." in digits and not digits.split(".", 1)[1][:1].isdigit():
            return None
        number = float(word)
    except ValueError:
        return None
    return number if number - number == 0 else None


class Reader:
    """Reads one file's text. sections: what was found. errors: [(line, column, text)]."""

    def __init__(self, text):
        self.text = text
        self.sections = []
        self.errors = []
        self.in_map = False

    def error(self, line, column, text):
        self.errors.append((line, column, text))

    # classic form
    # ------------------------------------------------------------------------------------------------------

    def read_classic(self):
        text = self.text
        position, line, section = 0, 0, None
        while position < len(text):
            line += 1
            end = text.find("\n", position)
            end = len(text) if end < 0 else end
            following = end + 1
            raw = text[position:end]
            stripped = raw.strip()
            if stripped and stripped[0] != "#":
                cursor = Cursor(text, position + raw.index(stripped[0]), line, position, False)
                column = cursor.position - position + 1
                try:
                    section = self.classic_line(cursor, stripped, section)
                except Mistake as mistake:
                    self.error(
                        mistake.line, mistake.column, ("%s: " % section.written if section else "") + mistake.text
                    )
                    if self.in_map:
                        # What follows in a broken map, up to its end, means nothing.
                        self.in_map = False
                        line, following = self.behind_map(line, position)
                else:
                    if cursor.line != line:
                        line = cursor.line
                        end = text.find("\n", cursor.position)
                        following = len(text) if end < 0 else end + 1
                if len(self.errors) >= MAX_ERRORS:
                    self.error(line, column, "too many errors; the rest of the file was not read")
                    return
            position = following
        if section:
            self.error(line, 1, "section '%s' opened at line %d is not closed" % (section.written, section.line))

    def behind_map(self, line, position):
        """After a mistake in a map that begins on `line`, which is at `position`: its last line, and where the next
        line begins."""
        depth, line = 0, line - 1
        while position < len(self.text):
            end = self.text.find("\n", position)
            end = len(self.text) if end < 0 else end
            raw = self.text[position:end]
            if raw.rstrip().endswith("{") and is_name(raw.strip()[:-1].rstrip()):
                return line, position  # a new section: the map was never closed
            line, position = line + 1, end + 1
            depth += raw.count("{") - raw.count("}")
            if depth <= 0:
                break
        return line, position

    def classic_line(self, cursor, stripped, section):
        """One line, neither empty nor comment. Returns the section that is open after it."""
        key, colon, rest = stripped.partition(":")
        written = key.rstrip()
        if colon and is_name(written.removeprefix("$")):
            value_at = cursor.position + len(key) + 1 + len(rest) - len(rest.lstrip())
            at = cursor.line, cursor.position - cursor.line_start + 1
            if not section:
                cursor.fail("attribute '%s' stands outside of any section" % written)
            value = self.classic_value(cursor, written, value_at)
            section.attributes[camel_case(written)] = Value(value, at[0], at[1], written)
            return section
        code = stripped.split("#", 1)[0].rstrip()
        if not code:
            return section
        if code == "}":
            if not section:
                cursor.fail("'}' closes nothing")
            return None
        word = code[:-1].rstrip()
        # A dotted type name is no section (router.link), but opens and closes like one.
        if code[-1] == "{" and is_name(word.replace(".", "_")):
            line, column = cursor.line, cursor.position - cursor.line_start + 1
            if section:
                self.error(
                    line, column, "section '%s' opened at line %d is not closed" % (section.written, section.line)
                )
            opened = Section(camel_case(word), word, line, column)
            self.sections.append(opened)
            return opened
        if "{" in code and is_name(code.split("{", 1)[0].rstrip() or "{"):
            cursor.fail("a section's '{' must be the last on its line, and its attributes on lines of their own")
        what = (
            "found %s; allowed are 'section {', 'attribute: value', '}' and '# comment', each on a line of its own"
            % show(code)
        )
        if code[-1] == "{" and not section:
            # A section all the same: what follows up to its '}' is no mistake of its own.
            line, column = cursor.line, cursor.position - cursor.line_start + 1
            self.error(line, column, what)
            return Section("", show(word), line, column)
        cursor.fail(what)

    def classic_value(self, cursor, key, value_at):
        """The value behind `key:`, at that position. A map moves the cursor to behind it."""
        text = self.text
        end = text.find("\n", value_at)
        raw = text[value_at : len(text) if end < 0 else end].strip()
        if raw[:1] == '"':
            cursor.position = value_at
            value = cursor.string()
            end = text.find("\n", cursor.position)
            behind = text[cursor.position : len(text) if end < 0 else end].strip()
            if behind and behind[0] != "#":
                cursor.fail("found %s after the closing double quote" % show(behind))
            return value
        if raw[:1] == "{":
            cursor.position = value_at
            self.in_map = True
            value = cursor.map(1)
            self.in_map = False
            end = text.find("\n", cursor.position)
            behind = text[cursor.position : len(text) if end < 0 else end].strip()
            if behind not in ("", ",") and behind[0] != "#":
                cursor.fail("found %s after the map's '}'" % show(behind))
            return value
        raw = raw.split(None, 1)[0] if key in KEEP_HASH and raw else raw.split("#", 1)[0].rstrip()
        if not raw:
            cursor.fail("attribute '%s' has no value; write \"\" for an empty one" % key, value_at)
        return eat_commas(cursor.unescape(raw, value_at))

    # JSON form
    # ---------------------------------------------------------------------------------------------------------

    def read_json(self):
        lines = self.text.split("\n")
        self.text = "\n".join(" " * len(line) if line.lstrip().startswith("#") else line for line in lines)
        cursor = Cursor(self.text, 0, 1, 0, True)
        try:
            top = cursor.value(0)
            if cursor.skip():
                cursor.fail("found %s after the end of the list" % show(self.text[cursor.position :].split("\n", 1)[0]))
        except Mistake as mistake:
            self.error(mistake.line, mistake.column, mistake.text)
            return
        if not isinstance(top, List):
            self.error(1, 1, 'the file must hold a list of pairs ["section", {"attribute": value, ...}]')
            return
        for (line, column), pair in zip(top.at, top):
            if not (
                isinstance(pair, List) and len(pair) == 2 and isinstance(pair[0], str) and isinstance(pair[1], Map)
            ):
                self.error(
                    line, column, 'found something else where a pair ["section", {"attribute": value, ...}] is needed'
                )
                continue
            section = Section(camel_case(pair[0], "-_. "), pair[0], line, column)
            for key, value in pair[1].items():
                at = pair[1].at[key]
                section.attributes[camel_case(key, "-_. ")] = Value(value, at[0], at[1], key)
            self.sections.append(section)


def eat_commas(value):
    """A comma followed by blanks and ] or } is dropped from a value, as it always was."""
    i = value.find(",")
    while i >= 0:
        behind = value[i + 1 :].lstrip()
        if behind[:1] in ("]", "}") and behind:
            value = value[:i] + behind
            i = value.find(",", i)
        else:
            i = value.find(",", i + 1)
    return value


def decode(data):
    """UTF-8 text with every kind of line end made \\n; raises Mistake."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        raise Mistake(
            before.count(b"\n") + 1,
            error.start - before.rfind(b"\n"),
            "byte 0x%02x: the file is not UTF-8 text" % data[error.start],
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read(path, data):
    """Sections of the file's contents, and what is wrong with it as [(line, column, text)] in file order."""
    if len(data) > MAX_BYTES:
        return [], [(1, 1, "the file is larger than %d MiB" % (MAX_BYTES >> 20))]
    try:
        reader = Reader(decode(data))
    except Mistake as mistake:
        return [], [(mistake.line, mistake.column, mistake.text)]
    if path.endswith(".json"):
        reader.read_json()
    else:
        reader.read_classic()
    return reader.sections, reader.errors
