"""What the stages of a build are executed with, and where their problems are put."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterator, Mapping
from contextlib import contextmanager

import msgspec

from contextkernel.build.board import Board, Canceled, StackLayer
from contextkernel.build.cache import BuildCache
from contextkernel.build.commits import Committer
from contextkernel.build.context import DirectoryContext
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.ports import BuildStore, OwnerKeepingWorker
from contextkernel.build.reporting import BuildReport
from contextkernel.build.run_mounts import RunMounts
from contextkernel.errors import ContextKernelError, FetchFailed, InvalidInput, LaunchFailed, NotFound, StoreFull
from contextkernel.model.backing import Backing
from contextkernel.model.ports import Reporter, Runtime
from contextkernel.plan.steps import Base, CopyStep, LayerStep, Origin


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What every stage of a build is executed with; all of it may be used by several threads.

    Attributes:
        board: what the stages know of each other.
        shows_users: with one id all the same, programs are shown the user that was asked for.
        backing: what roots are made with.
        source: the Dockerfile's text, for errors.
        context: the directory that an origin is; ``None`` for what consists of layers.
        copies: sources found beforehand, for copies from the context.
        resolve: finds the sources of any other copy.
        lowers: layer directories of an origin.
        mounts: what the mounts of RUNs show.
        base: layers of what a stage starts from, base first; of a stage that has come to its end.
        fetched: images that had to be fetched for this build.
        unfetched: whether an origin is remote and not here yet.
        fetch: brings it here.
        scope: context and Dockerfile, as one text.
        record: id under which the build is recorded, or empty.
        now: nanoseconds since the epoch.
    """

    store: BuildStore
    worker: OwnerKeepingWorker
    runtime: Runtime
    committer: Committer
    cache: BuildCache
    board: Board
    report: BuildReport
    fake_ids: bool
    shows_users: bool = False
    backing: Backing
    source: str
    context: Callable[[Origin], DirectoryContext | None]
    copies: Mapping[CopyStep, ResolvedCopy]
    resolve: Callable[[CopyStep], ResolvedCopy]
    lowers: Callable[[CopyStep], tuple[str, ...]]
    mounts: RunMounts
    base: Callable[[Base], tuple[StackLayer, ...]]
    fetched: Container[Base]
    unfetched: Callable[[Origin], bool]
    fetch: Callable[[Origin, Reporter], object]
    scope: str = ""
    record: str = ""
    now: Callable[[], int] = time.time_ns


@contextmanager
def placed(step: LayerStep, source: str, board: Board | None = None) -> Iterator[None]:
    """Give problems with what the step asked for their place in the Dockerfile.

    Args:
        step: what is done in the block.
        source: the Dockerfile's text.
        board: once it is canceled, a problem is only what the cancelation led to.

    Raises:
        Canceled: instead of that problem.
    """
    try:
        yield
    except Exception as problem:
        if board is not None and board.canceled:
            raise Canceled from problem
        if isinstance(problem, NotFound | InvalidInput | LaunchFailed | FetchFailed | StoreFull):
            put_in_place(problem, step, source)
        raise


def put_in_place(problem: ContextKernelError, step: LayerStep, source: str) -> None:
    """Set span and source of an error that has none."""
    if problem.span is None:
        problem.span, problem.source = step.span, source
