"""What the stages of a build are executed with, and where their problems are put."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from contextkernel.build.cache import BuildCache
from contextkernel.build.commits import Committer
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.ports import BuildStore
from contextkernel.build.reporting import BuildReport
from contextkernel.errors import ContextKernelError, InvalidInput, LaunchFailed, NotFound
from contextkernel.model.ports import LayerWorker, Runtime
from contextkernel.plan.steps import CopyStep, LayerStep


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What every stage of a build is executed with.

    Attributes:
        source: the Dockerfile's text, for errors.
        context: directory of the build context.
        copies: sources found beforehand, for copies from the context.
        resolve: finds the sources of any other copy.
        lowers: layer directories of an origin.
        now: nanoseconds since the epoch.
    """

    store: BuildStore
    worker: LayerWorker
    runtime: Runtime
    committer: Committer
    cache: BuildCache
    report: BuildReport
    fake_ids: bool
    source: str
    context: str | None
    copies: Mapping[CopyStep, ResolvedCopy]
    resolve: Callable[[CopyStep], ResolvedCopy]
    lowers: Callable[[CopyStep], tuple[str, ...]]
    now: Callable[[], int] = time.time_ns


@contextmanager
def placed(step: LayerStep, source: str) -> Iterator[None]:
    """Give problems with what the step asked for their place in the Dockerfile."""
    try:
        yield
    except (NotFound, InvalidInput, LaunchFailed) as problem:
        put_in_place(problem, step, source)
        raise


def put_in_place(problem: ContextKernelError, step: LayerStep, source: str) -> None:
    """Set span and source of an error that has none."""
    if problem.span is None:
        problem.span, problem.source = step.span, source
