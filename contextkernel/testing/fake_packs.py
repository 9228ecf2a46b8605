"""The verb of the fake engine that packs images: a recorded call, a row for each name."""

from __future__ import annotations

from collections.abc import Sequence

from contextkernel.model.given import several
from contextkernel.model.outputs import CompressionKind
from contextkernel.model.ports import Reporter
from contextkernel.model.results import BaseRow
from contextkernel.testing.fake_calls import FakeCalls


class FakePacks(FakeCalls):
    """Has the method of :class:`contextkernel.engine.packs.Packs`."""

    def pack(
        self,
        names: str | Sequence[str],
        output: str,
        *,
        platform: str | Sequence[str] | None = None,
        compression: CompressionKind = "gzip",
        report: Reporter | None = None,
    ) -> tuple[BaseRow, ...]:
        """A packed image for each name."""
        del report
        self._note("pack", names=several(names), output=output, platform=platform, compression=compression)
        self._fail()
        return tuple(
            BaseRow(image=name, action="packed", stand_in=False, size=7_300_000, detail="from the store: linux/amd64")
            for name in several(names)
        )
