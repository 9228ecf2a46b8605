"""The order in which stages are executed: what is cached first, then the rest, at the same time where it may be."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from contextkernel.build.stage_run import StageRun
    from contextkernel.build.tools import Tools

_LEAST_JOBS = 4


def default_jobs() -> int:
    """How many steps run at the same time if nobody says: one for each CPU of this process, and four at least.

    Much of a build waits for a network or a disk. BuildKit's daemon has no bound, but a machine to itself.
    """
    return max(_LEAST_JOBS, len(os.sched_getaffinity(0)))


def run_stages(stages: Sequence[StageRun], tools: Tools, *, jobs: int, admit: Callable[[StageRun], None]) -> None:
    """Execute stages.

    Args:
        stages: in an order in which each comes after those it needs.
        tools: to do it with.
        jobs: how many steps may run at the same time; with 1, or where nothing can overlap, no thread is started.
        admit: gets each stage that is not in the cache in full, before anything runs; raises if it cannot be done.

    Raises:
        StepFailed, anything else: what the first stage to fail raised; the others have been stopped.
    """
    for stage in stages:
        stage.take_cached()
    left = [stage for stage in stages if not stage.finished]
    for stage in left:
        admit(stage)
    if jobs <= 1 or not _overlap(left):
        for stage in left:
            stage.run()
        return
    from contextkernel.build.crew import together

    if any(stage.program for stage in left):
        tools.runtime.warm()  # while there is one thread: a command line forks its launcher
    together([stage.run for stage in left], tools.board, tools.report)


def _overlap(stages: Sequence[StageRun]) -> bool:
    """Whether any of the stages can begin before the one ahead of it has ended."""
    return any(before.index not in stage.waits_for for before, stage in pairwise(stages))
