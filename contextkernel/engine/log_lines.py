"""Records of a log as docker's ``logs`` shows them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextkernel.runtime.log_reading import LogRecord


def lines_of(records: Iterable[LogRecord], *, timestamps: bool, details: bool) -> Iterator[tuple[str, bytes]]:
    """``(stream, bytes)``, with what was asked for before each record: a line of more than 16 KiB is in several.

    Args:
        records: of a log.
        timestamps: the time.
        details: ``a=1,b=2``, what the log carries besides (moby, daemon/server/httputils/logstream).
    """
    for record in records:
        before = f"{record.time} " if timestamps else ""
        before += _details(record.attrs) if details else ""
        yield record.stream, before.encode() + record.line


def _details(attributes: dict[str, str]) -> str:
    from urllib.parse import quote_plus

    return ",".join(f"{quote_plus(key)}={quote_plus(value)}" for key, value in sorted(attributes.items())) + " "
