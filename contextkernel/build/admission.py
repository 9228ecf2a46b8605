"""Whether what a build still has to do can be done on this host: asked of each stage, before anything is executed."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from contextkernel.build.reporting import BuildReport
from contextkernel.build.stage_run import StageRun
from contextkernel.errors import HostUnsupported


class Programs(msgspec.Struct, frozen=True, kw_only=True):
    """Running programs on this host.

    Attributes:
        refusal: why none can be run, and what would allow it; ``None`` where they can.
        notices: what has to be said before one is run; sentences.
        shows_users: where one id is all there is, they are shown the user that was asked for.
    """

    refusal: tuple[str, str] | None = None
    notices: tuple[str, ...] = ()
    shows_users: bool = False


PROGRAMS = Programs()
"""They run, and nothing has to be said of it."""


class Admission:
    """Lets stages be executed, or says why not.

    Args:
        programs: of this host.
        report: gets the notices, each once a build.
        platform: raises if a stage's programs are for machines that this one cannot run.
        source: the Dockerfile's text.
    """

    def __init__(
        self, programs: Programs, report: BuildReport, platform: Callable[[StageRun], None], source: str
    ) -> None:
        self._programs = programs
        self._report = report
        self._platform = platform
        self._source = source

    def __call__(self, stage: StageRun) -> None:
        """Let a stage be executed that is not in the cache in full.

        Where no program can be run, a RUN that may still be found in the cache is waited for; running it is refused
        when it comes to that.

        Raises:
            HostUnsupported: it cannot be; with the place of the first RUN.
        """
        self._platform(stage)
        if stage.program is None:
            return
        doomed = stage.doomed
        if self._programs.refusal is not None and doomed is not None:
            reason, hint = self._programs.refusal
            title = doomed.title.partition("\n")[0]
            raise HostUnsupported(
                f"{title} is not in the cache, and {reason}", hint=hint, span=doomed.span, source=self._source
            )
        for notice in self._programs.notices:
            self._report.warn_once(notice, early=True)
