"""The verb of the fake engine that plans: a canned plan, a recorded call."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Unpack

from contextkernel.model.given import words_of
from contextkernel.model.planned import Planned, PlannedStep
from contextkernel.testing.fake_calls import FakeCalls

if TYPE_CHECKING:
    from contextkernel.engine.asked import CreateKeywords
    from contextkernel.model.ports import Reporter


def planned(argv: Sequence[str] = ("prog",)) -> Planned:
    """A plan of three steps."""
    return Planned(
        document={
            "ociVersion": "1.2.0",
            "process": {
                "user": {"uid": 0, "gid": 0},
                "args": list(argv),
                "capabilities": {"bounding": ["CAP_CHOWN"], "effective": ["CAP_CHOWN"], "permitted": ["CAP_CHOWN"]},
                "noNewPrivileges": False,
            },
            "linux": {"namespaces": [{"type": "pid"}, {"type": "ipc", "path": "/proc/7/ns/ipc"}]},
            "annotations": {"a": "b"},
        },
        operations=(
            PlannedStep(number=1, operation="MakePrivate", values={}),
            PlannedStep(number=2, operation="MountProc", values={"target": "/proc", "read_only": False}),
            PlannedStep(number=3, operation="Exec", values={"argv": list(argv), "env": ["A=1\n2"], "secrets": []}),
        ),
    )


class FakePlanning(FakeCalls):
    """Has the method :meth:`contextkernel.engine.Engine.plan`."""

    def plan(
        self,
        image: str,
        command: str | Sequence[str] = (),
        *,
        pull: str = "missing",
        report: Reporter | None = None,
        **wanted: Unpack[CreateKeywords],
    ) -> Planned:
        """The canned plan, of this command."""
        del report, wanted
        self._note("plan", image=image, command=words_of(command), pull="" if pull == "missing" else pull)
        self._fail()
        return planned(words_of(command))
