"""The part of the store about builds that were: their records, and the steps that failed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextkernel.model.builds import BuildLog, BuildRow, BuildStepRow
    from contextkernel.model.failed import FailedStep
    from contextkernel.store.builds import Builds, StepEntry
    from contextkernel.store.failed import FailedSteps


class BuildRecords:
    """What a store knows of builds; see :class:`contextkernel.store.Store`."""

    _builds: Builds
    _failed: FailedSteps

    # ---- records of builds

    def begin_build(self, row: BuildRow) -> None:
        """Record that a build begins; the oldest records go when there are too many."""
        self._builds.begin(row)

    def record_build(self, build: str, steps: Sequence[StepEntry], row: BuildRow | None = None) -> None:
        """Record steps of a build, and with ``row`` its end; nothing if its record was removed meanwhile."""
        self._builds.record(build, steps, row)

    def builds(self) -> tuple[BuildRow, ...]:
        """Recorded builds, newest first; one whose process is gone counts as canceled."""
        return self._builds.rows()

    def build(self, text: str) -> BuildRow:
        """The build that ``text`` names: a unique part of an id from its start, ``^N`` for the Nth before the newest.

        Args:
            text: empty for the newest.

        Raises:
            NotFound: there is none. InvalidInput: more than one id starts so.
        """
        return self._builds.find(text)

    def build_steps(self, build: str) -> tuple[BuildStepRow, ...]:
        """The recorded steps of a build, by number."""
        return self._builds.steps(build)

    def build_logs(self, build: str) -> tuple[BuildLog, ...]:
        """The recorded output of a build's steps, of those that had any."""
        return self._builds.logs(build)

    def remove_builds(self, builds: Iterable[str]) -> None:
        """Forget builds by their whole ids; fine for those that are gone."""
        self._builds.remove(builds)

    # ---- failed steps

    def keep_failed(self, step: FailedStep, directory: str) -> None:
        """Keep a failed step and the layers below it; what was kept for the same scope, or is too old, goes.

        Args:
            step: what it was.
            directory: from :meth:`new_layer_dir`, with its changes in ``diff/``.

        Raises:
            StoreProblem: a layer is not here.
        """
        self._failed.keep(step, directory)

    def failed_step(self, id: str | None = None) -> tuple[FailedStep, str]:
        """A failed step and its directory.

        Args:
            id: of the build, or its start; ``None`` for the last one.

        Raises:
            NotFound: none is kept.
        """
        return self._failed.get(id)

    def failed_steps(self) -> tuple[FailedStep, ...]:
        """The failed steps that are kept, newest first."""
        return self._failed.all()

    def forget_failed(self, scope: str | None = None) -> int:
        """Let failed steps go: those of a scope, or all; returns how many. Their directories become trash."""
        return self._failed.forget(scope)
