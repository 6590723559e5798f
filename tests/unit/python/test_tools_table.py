"""Tables and number formats of qdstat."""

import locale

import pytest

from trunkline.tools.qdstat import _moment, _router_id, address_class, address_phase, address_text
from trunkline.tools.table import Columns, Table, binary_size, clock, commas, duration, text


@pytest.mark.parametrize("value, shown", [
    (0, "0"), (1, "1"), (1023, "1023"), (1024, "1.00 KiB"), (1536, "1.50 KiB"), (10 * 1024 - 1, "10.00 KiB"),
    (10 * 1024, "10.0 KiB"), (100 * 1024, "100 KiB"), (1048575, "1024 KiB"), (1 << 20, "1.00 MiB"), (1468006, "1.40 MiB"),
    (408944640, "390 MiB"), (1 << 30, "1.00 GiB"), (1 << 40, "1.00 TiB"), (1 << 50, "1.00 PiB"), (5000 << 50, "5000 PiB"),
])
def test_table_binary_size_has_about_three_digits(value, shown):
    assert binary_size(value) == shown


@pytest.mark.parametrize("value, shown", [
    (0, "000:00:00:00"), (11, "000:00:00:11"), (86399, "000:23:59:59"), (86400, "001:00:00:00"),
    (1000 * 86400 + 3661, "1000:01:01:01"), (None, ""),
])
def test_table_duration_counts_days(value, shown):
    assert duration(value) == shown


@pytest.mark.parametrize("value, shown", [(0, "0"), (999, "999"), (1000, "1,000"), (1234567, "1,234,567"), (None, "")])
def test_table_commas_separate_thousands(value, shown):
    assert commas(value) == shown


def test_table_clock_wraps_at_a_day():
    before = locale.setlocale(locale.LC_TIME)
    locale.setlocale(locale.LC_TIME, "C")
    try:
        assert [clock(value) for value in (1, 3723, 86399, 86400)] == ["00:00:01", "01:02:03", "23:59:59", "00:00:00"]
    finally:
        locale.setlocale(locale.LC_TIME, before)


@pytest.mark.parametrize("value, shown", [
    (None, ""), (0, "0"), (True, "True"), ("a b", "a b"), ("a\tb\n", "a\\x09b\\x0a"), ("\x7f\x9b", "\\x7f\\x9b"), ("\u00e9", "\u00e9"),
])
def test_table_text_escapes_control_characters(value, shown):
    assert text(value) == shown


def test_table_pads_all_columns_but_the_last():
    table = Table("Title", ("a", "long heading", "c"))
    table.add("wide cell", 1, "x")
    table.add(None, None, "")
    assert table.lines() == [
        "Title",
        "  a          long heading  c",
        "  ============================",
        "  wide cell  1             x",
        "                           ",
    ]


def test_table_without_rows_is_its_title():
    assert Table("Title", ("a", "b")).lines() == ["Title"]
    assert Table("Title", ("a", "b")).lines(csv=True) == ["Title"]


def test_table_csv_quotes_what_is_not_empty():
    table = Table("Title", ("a", "b", "c"))
    table.add('say "x", y', None, 0)
    table.add("short")
    assert table.lines(csv=True) == ["Title", '"a","b","c"', '"say ""x"", y",,"0"', '"short"']


def test_table_columns_that_are_not_present_are_left_out():
    columns = Columns("Title")
    columns.column("a", lambda row: row["a"])
    columns.column("b", lambda row: row["b"], present=False)
    assert columns.lines([{"a": 1}], csv=True) == ["Title", '"a"', '"1"']


@pytest.mark.parametrize("key, parts", [
    ("M0a/b", ("mobile", "a/b", "0")), ("MFfb", ("mobile", "fb", "F")), ("Rr", ("router", "r", "")), ("A0", ("area", "0", "")),
    ("Lx", ("local", "x", "")), ("Tx", ("topo", "x", "")), ("Cx", ("link-in", "x", "")), ("Ex", ("link-in", "x", "")),
    ("Dx", ("link-out", "x", "")), ("Fx", ("link-out", "x", "")), ("Hx", ("edge", "x", "")), ("Qx", ("unknown: Q", "x", "")),
    ("", ("", "", "")), (None, ("", "", "")), ("M", ("mobile", "", "")),
])
def test_address_key_has_class_text_and_phase(key, parts):
    assert (address_class(key), address_text(key), address_phase(key)) == parts


@pytest.mark.parametrize("seconds, shown", [
    (1795167786, "Friday Nov 20 09:43:06 2026 GMT"), (1794009600, "Saturday Nov 07 00:00:00 2026 GMT"),
])
def test_topology_change_is_told_in_english(seconds, shown):
    assert _moment(seconds) == shown


@pytest.mark.parametrize("address, router", [
    ("_topo/0/A/$management", "A"), ("_topo/0/a/b/$management", "a/b"),
])
def test_router_id_from_its_management_address(address, router):
    assert _router_id(address) == router
