"""The verbs of the fake engine that look at recorded builds: two records, one of them failed."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from contextkernel.errors import NotFound
from contextkernel.model.builds import BuildLog, BuildRow, BuildStepRow
from contextkernel.model.digest import Digest
from contextkernel.model.given import several
from contextkernel.testing.fake_calls import FakeCalls
from contextkernel.testing.samples import GREET


def build_rows() -> tuple[BuildRow, ...]:
    """A failed build, and the one before it."""
    dockerfile = Digest.of(b"FROM ubuntu:20.04")
    return (
        BuildRow(
            id="q7m2c0x9v4k1t8s5z3b6n0w2a",
            name="greet (test)",
            status="error",
            created=datetime(2026, 3, 1, 10, 5, tzinfo=UTC),
            seconds=61.25,
            context="/home/ada/greet",
            dockerfile_digest=dockerfile,
            target="test",
            steps=2,
            cached=1,
            problem="[2/2] RUN make test failed with exit code 2",
        ),
        BuildRow(
            id="a1b2c3d4e5f6g7h8i9j0k1l2m",
            name="greet",
            status="completed",
            created=datetime(2026, 3, 1, 10, 0, tzinfo=UTC),
            seconds=1.5,
            context="/home/ada/greet",
            dockerfile_digest=dockerfile,
            build_args=("VERSION=1",),
            image=GREET,
            names=("greet:latest",),
            steps=2,
            cached=1,
        ),
    )


def build_step_rows() -> tuple[BuildStepRow, ...]:
    """One step of each kind."""
    begun = datetime(2026, 3, 1, 10, 0, tzinfo=UTC)
    return (
        BuildStepRow(number=1, name="[internal] load build definition", state="done", started=begun, seconds=0.01),
        BuildStepRow(
            number=2,
            name="[1/2] FROM docker.io/library/ubuntu:20.04",
            instruction="FROM ubuntu:20.04",
            line=1,
            state="cached",
            started=begun,
            seconds=0.0,
        ),
        BuildStepRow(
            number=3,
            name="[2/2] RUN apt-get update",
            instruction="RUN apt-get update",
            line=2,
            state="done",
            started=begun,
            seconds=1.24,
            cpu_seconds=0.75,
            peak_memory=64 << 20,
            written=30_000_000,
            layer=Digest.of(b"layer"),
        ),
    )


class FakeRecords(FakeCalls):
    """Recorded builds that never change.

    Attributes:
        build_rows: what is recorded, newest first.
    """

    build_rows = build_rows()

    def _build(self, text: str) -> BuildRow:
        for row in self.build_rows:
            if row.id.startswith(text):
                return row
        raise NotFound(f"no such build: {text}", hint="`builds` lists them")

    def builds(self) -> tuple[BuildRow, ...]:
        """The rows."""
        self._note("builds")
        return self.build_rows

    def inspect_build(self, build: str = "") -> tuple[BuildRow, tuple[BuildStepRow, ...]]:
        """The row, and the steps of the completed one."""
        self._note("inspect_build", build=build)
        return self._build(build), build_step_rows()

    def build_logs(self, build: str = "") -> tuple[BuildLog, ...]:
        """The output of one step."""
        self._note("build_logs", build=build)
        self._build(build)
        return (BuildLog(number=3, name="[2/2] RUN apt-get update", text="Hit:1 focal\nReading package lists...\n"),)

    def remove_builds(self, builds: str | Sequence[str] = (), *, all: bool = False) -> tuple[str, ...]:
        """The ids."""
        self._note("remove_builds", builds=several(builds), all=all)
        return tuple(row.id for row in (self.build_rows if all else map(self._build, several(builds))))
