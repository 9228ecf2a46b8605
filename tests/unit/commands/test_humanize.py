from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contextkernel.commands.humanize import (
    align,
    display_width,
    ellipsis,
    go_quote,
    human_ago,
    human_duration,
    human_size,
    rfc3339,
    short_id,
)


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0B"),
        (999, "999B"),
        (1000, "1kB"),
        (1234, "1.23kB"),
        (72_776_453, "72.8MB"),
        (292_000_000, "292MB"),
        (5_585_772, "5.59MB"),
        (1_000_000_000, "1GB"),
        (999_900, "1e+03kB"),  # docker prints this too
        (10**30, "1e+06YB"),
    ],
)
def test_human_size(size, text):
    assert human_size(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (-5, "Less than a second"),
        (0.9, "Less than a second"),
        (1, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (3599, "59 minutes"),
        (3600, "About an hour"),
        (5399, "About an hour"),
        (5400, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (59 * 86400, "8 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_human_duration(seconds, text):
    assert human_duration(timedelta(seconds=seconds)) == text


def test_human_ago():
    now = datetime(2026, 1, 2, tzinfo=UTC)
    assert human_ago(datetime(2026, 1, 1, tzinfo=UTC), now) == "24 hours ago"


def test_rfc3339_in_utc(monkeypatch):
    import time

    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    assert rfc3339(datetime(2022, 1, 7, 2, 25, 30, 389665, tzinfo=UTC)) == "2022-01-07T02:25:30Z"
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    assert rfc3339(datetime(2022, 1, 7, 2, 25, 30, tzinfo=UTC)) == "2022-01-07T03:25:30+01:00"
    monkeypatch.undo()
    time.tzset()


def test_short_id():
    assert short_id("sha256:da62877a7eadf60842f7") == "da62877a7ead"
    assert short_id("da62877a7eadf60842f7") == "da62877a7ead"


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("echo 'from the container!'", 20, "echo 'from the cont…"),
        ("exactly twenty chars", 20, "exactly twenty chars"),
        ("日本語テキスト", 7, "日本語…"),
        ("日本語", 6, "日本語"),
        ("", 5, ""),
    ],
)
def test_ellipsis(text, width, cut):
    assert ellipsis(text, width) == cut


@given(st.text(), st.integers(2, 50))
def test_ellipsis_fits(text, width):
    assert display_width(ellipsis(text, width)) <= width


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("echo 'a…'", "\"echo 'a…'\""),
        ('say "hi"\\', '"say \\"hi\\"\\\\"'),
        ("a\n\t\x1b", '"a\\n\\t\\x1b"'),
        ("\udcff\u200b", '"\\xff\\u200b"'),
        ("\U000e0001", '"\\U000e0001"'),
    ],
)
def test_go_quote(text, quoted):
    assert go_quote(text) == quoted


def test_align_is_docker_s_tabwriter():
    assert align(["A\tB\tC", "long enough\t\tx", "1\t2\t"]) == [
        "A             B         C",
        "long enough             x",
        "1             2         ",
    ]


def test_align_columns_end_where_cells_end():
    # text/tabwriter: a column is a block of adjacent lines that have that cell
    assert align(["wide first cell\tx", "no tabs", "a\tx"]) == ["wide first cell   x", "no tabs", "a         x"]


@given(st.lists(st.lists(st.text(alphabet="ab…語 ", max_size=14), min_size=1, max_size=4), max_size=6))
def test_align_keeps_every_cell(rows):
    lines = align(["\t".join(row) for row in rows])
    assert len(lines) == len(rows)
    for line, row in zip(lines, rows, strict=True):
        assert line.replace(" ", "") == "".join(row).replace(" ", "")
