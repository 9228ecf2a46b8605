"""Moments as users give them."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest

from contextkernel.engine.moments import nanoseconds
from contextkernel.errors import InvalidInput

NOW = 1_800_000_000 * 10**9
SECOND = 10**9
NEW_YEAR = 1_767_225_600  # 2026-01-01T00:00:00Z


@pytest.fixture(autouse=True)
def _zone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(os.environ, "TZ", "Etc/GMT-2")  # two hours east
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("given", "seconds"),
    [
        ("10m", 1_800_000_000 - 600),
        ("1h30m", 1_800_000_000 - 5400),
        ("0s", 1_800_000_000),
        ("-5s", 1_800_000_005),
        ("0", 0),
        ("1767225600", NEW_YEAR),
        (NEW_YEAR, NEW_YEAR),
        ("2026-01-01T00:00:00Z", NEW_YEAR),
        ("2026-01-01T02:00:00+02:00", NEW_YEAR),
        ("2025-12-31T19:00:00-05:00", NEW_YEAR),
        ("2026-01-01T02:00:00", NEW_YEAR),
        ("2026-01-01T02:00", NEW_YEAR),
        ("2026-01-01T02", NEW_YEAR),
        ("2026-01-01", NEW_YEAR - 7200),
        ("2026-01-01Z", NEW_YEAR),
        (datetime(2026, 1, 1, tzinfo=UTC), NEW_YEAR),
        (datetime(2026, 1, 1, 2), NEW_YEAR),  # noqa: DTZ001 - a naive one is local
    ],
)
def test_a_moment_is_read_as_docker_reads_it(given: str | int | datetime, seconds: int) -> None:
    assert nanoseconds(given, now=NOW) == seconds * SECOND


def test_decimals_count_to_the_nanosecond() -> None:
    assert nanoseconds("1767225600.000000001") == NEW_YEAR * SECOND + 1
    assert nanoseconds("2026-01-01T00:00:00.12345678987Z") == NEW_YEAR * SECOND + 123456789
    assert nanoseconds(0.5) == SECOND // 2


@pytest.mark.parametrize("given", [None, ""])
def test_no_moment_is_none(given: str | None) -> None:
    assert nanoseconds(given) is None


@pytest.mark.parametrize("given", ["soon", "10x", "2026-13-01", "2026-01-01T25:00:00", "1.2.3", "2026-1-1", "0x10"])
def test_what_is_no_moment_is_refused_with_examples(given: str) -> None:
    with pytest.raises(InvalidInput, match="not a moment") as caught:
        nanoseconds(given)
    assert "10m" in (caught.value.hint or "")
