"""The part of the fake engine that tells what containers use and see: canned rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from contextkernel.model.given import several
from contextkernel.model.measurements import NamespaceRow, StatsRow
from contextkernel.testing.fake_calls import FakeCalls

WEB_ID = "3cca44ea2680ba89759b74ad4f89d6601033973fcbbbb722a7739d3ac829eb0e"
DB_ID = "0690b69cf74e6e76d95d2ca6a0ca597ff592b7328b629de68dc0893487024eb7"


def stats_rows() -> tuple[StatsRow, ...]:
    """A busy container with a limit, and one that does not run."""
    return (
        StatsRow(
            container="web",
            id=WEB_ID,
            name="web",
            cpu_percent=50.126,
            memory=332 << 10,
            memory_limit=64 << 20,
            memory_percent=0.506,
            received=862,
            sent=126,
            read=4096,
            written=0,
            pids=1,
        ),
        StatsRow(container=DB_ID, id=DB_ID, name="db"),
    )


def namespace_rows() -> tuple[NamespaceRow, ...]:
    """Two types of the host and a container."""
    return (
        NamespaceRow(
            id="", name="(host)", type="pid", inode=4026531836, whose="host", sees="all processes of the host"
        ),
        NamespaceRow(id="", name="(host)", type="net", inode=4026531833, whose="host", sees="1 interface: lo"),
        NamespaceRow(id=WEB_ID, name="web", type="pid", inode=4026532501, whose="own", sees="process 1 is sleep 1000"),
        NamespaceRow(id=WEB_ID, name="web", type="net", inode=4026531833, whose="host", sees="1 interface: lo"),
    )


class FakeMeasurements(FakeCalls):
    """See :class:`contextkernel.engine.measurements.Measurements`.

    Attributes:
        frames: how many looks a stream has.
    """

    frames = 2

    def stats(self, containers: str | Sequence[str] = (), *, all: bool = False) -> tuple[StatsRow, ...]:
        """Canned rows."""
        self._note("stats", containers=several(containers), all=all)
        return stats_rows()

    def stats_stream(
        self, containers: str | Sequence[str] = (), *, all: bool = False
    ) -> Iterator[tuple[StatsRow, ...]]:
        """The same rows, a few times."""
        self._note("stats_stream", containers=several(containers), all=all)
        for _ in range(self.frames):
            yield stats_rows()

    def namespaces(self, containers: str | Sequence[str] = ()) -> tuple[NamespaceRow, ...]:
        """Canned rows."""
        self._note("namespaces", containers=several(containers))
        return namespace_rows()
