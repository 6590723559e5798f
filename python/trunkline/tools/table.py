"""Tables and number formats of qdstat. Scripts cut these columns out: widths, blanks and order are a contract."""

import time

_CONTROL = {code: "\\x%02x" % code for code in (*range(0x20), *range(0x7F, 0xA0))}
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")


def text(value):
    """A cell's text: null is nothing. Control characters, which peers may put into names, are shown as \\xNN."""
    return "" if value is None else str(value).translate(_CONTROL)


def commas(value):
    """1,234,567; null is nothing."""
    return "" if value is None else "{:,}".format(int(value))


def duration(seconds):
    """DDD:HH:MM:SS; null is nothing."""
    if seconds is None:
        return ""
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    return "%03d:%02d:%02d:%02d" % (days, hours, minutes, seconds)


def clock(seconds):
    """Hours, minutes and seconds in the time style of the locale, modulo a day."""
    return time.strftime("%X", time.gmtime(int(seconds) % 86400))


def binary_size(value):
    """Octets with a binary unit in about three digits: 999, 1.40 MiB, 14.0 MiB, 390 MiB."""
    if value < 1024:
        return str(value)
    for unit in _UNITS:
        value /= 1024
        if value < 1024 or unit == _UNITS[-1]:
            break
    digits = 2 if value < 10 else 1 if value < 100 else 0
    return "%.*f %s" % (digits, value, unit)


def _csv_field(cell):
    return '"%s"' % cell.replace('"', '""') if cell else ""


class Table:
    """A titled table. Cells are any values; see text()."""

    def __init__(self, title, headings):
        self._title = title
        self._headings = list(headings)
        self._rows = []

    def __len__(self):
        return len(self._rows)

    def add(self, *cells):
        """Append a row. It may be shorter than the headings."""
        self._rows.append([text(cell) for cell in cells])

    def lines(self, csv=False):
        """The lines to print. Without rows only the title."""
        if not self._rows:
            return [self._title]
        rows = [self._headings, *self._rows]
        if csv:
            return [self._title, *(",".join(map(_csv_field, row)) for row in rows)]
        last = len(self._headings) - 1
        widths = [2 + max(len(row[i]) for row in rows if i < len(row)) for i in range(last + 1)]
        drawn = ["  " + "".join(cell if i == last else cell.ljust(widths[i]) for i, cell in enumerate(row)) for row in rows]
        drawn.insert(1, "  " + "=" * sum(widths))
        return [self._title, *drawn]


class Columns:
    """A table whose columns depend on which attributes the router's answer has."""

    def __init__(self, title):
        self._title = title
        self._columns = []

    def column(self, heading, function, present=True):
        """Append a column: function maps an entity to its cell. With present false the column is left out."""
        if present:
            self._columns.append((heading, function))

    def lines(self, entities, csv=False):
        """The lines for these entities."""
        table = Table(self._title, [heading for heading, _ in self._columns])
        for entity in entities:
            table.add(*(function(entity) for _, function in self._columns))
        return table.lines(csv)
