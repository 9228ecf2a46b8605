"""Rows to DataFrames that are displayed as docker displays tables.

This module imports pandas; import it only where a table is about to be made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import pandas as pd

from contextkernel.notebook import display
from contextkernel.notebook.columns import DTYPES, TIME
from contextkernel.notebook.records import RECORDS

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from contextkernel.commands.outcome import Table


class ContainerFrame(pd.DataFrame):
    """A DataFrame that shows sizes, times and ids as docker does; in everything else it is a DataFrame.

    ``df["size"] > 50_000_000`` compares bytes, ``df.image_id`` holds full ids: only the display is humanised.
    Filtering, sorting and picking columns keep the display.
    """

    @property
    def _constructor(self) -> Any:
        return ContainerFrame

    def __repr__(self) -> str:
        return display.frame_text(self) if display.knows(self) else super().__repr__()

    def _repr_html_(self) -> str | None:
        if not display.knows(self):
            return cast("str | None", cast("Any", super())._repr_html_())
        return display.frame_html(self)


def to_frame(table: Table) -> ContainerFrame:
    """The rows of ``table`` as a frame. Pure but for the clock that ``status`` (``Up 3 minutes``) is told by.

    Args:
        table: rows of one kind; see :data:`contextkernel.notebook.columns.DTYPES` for what they become.
    """
    records = [RECORDS[table.kind](row) for row in table.rows]
    frame = make_frame(table.kind, records)
    if table.options.digests:
        frame.attrs[display.ASKED_FOR] = ("digest",)  # kept by pandas through filters and sorts
    return frame


def make_frame(kind: str, records: Sequence[tuple[Any, ...]]) -> ContainerFrame:
    """A frame of ``kind`` from tuples in the order of its columns. Pure."""
    columns = {}
    for place, (name, dtype) in enumerate(DTYPES[kind].items()):
        values = [record[place] for record in records]
        if dtype == TIME:
            columns[name] = pd.Series(pd.DatetimeIndex([_time(value) for value in values], dtype=dtype))
        else:
            columns[name] = pd.Series(values, dtype=cast("Any", dtype))
    return ContainerFrame(columns)


def grid_frame(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> pd.DataFrame:
    """A frame of text cells; a column of whole numbers is one of numbers. Pure.

    Args:
        headings: as in the text; their small letters name the columns.
        rows: cells.
    """
    columns: dict[str, Any] = {}
    for place, heading in enumerate(headings):
        cells = [row[place] for row in rows]
        if cells and all(cell.removeprefix("-").isdigit() for cell in cells):
            columns[heading.lower()] = pd.Series([int(cell) for cell in cells], dtype="int64")
        else:
            columns[heading.lower()] = pd.Series(cells, dtype="string")
    return pd.DataFrame(columns)


def _time(value: datetime | int | None) -> pd.Timestamp | Any:
    """A timestamp; times that 64 bits of nanoseconds cannot hold (docker's year 1 for "unknown") become NaT."""
    if isinstance(value, int):
        value = pd.Timestamp(value, tz="UTC")
    if value is None or not pd.Timestamp.min.year < value.year < pd.Timestamp.max.year:
        return pd.NaT
    return pd.Timestamp(value).tz_convert("UTC").as_unit("ns")
