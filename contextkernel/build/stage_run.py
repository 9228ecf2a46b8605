"""One planned stage, executed: what the cache has is taken, the rest is run, layer by layer."""

from __future__ import annotations

import os
import posixpath
import shlex
import shutil
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import IO, Literal, assert_never

import msgspec

from contextkernel.build.commits import Committer, KeyMaker, Stack, StackLayer
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.ports import BuildStore
from contextkernel.build.relay import Tail, relay
from contextkernel.build.reporting import BuildReport, StepReport
from contextkernel.errors import (
    CommandNotExecutable,
    CommandNotFound,
    ContextKernelError,
    InvalidInput,
    LaunchFailed,
    NotFound,
    StepFailed,
)
from contextkernel.model.container import Bind, LaunchRequest, Tmpfs
from contextkernel.model.digest import Digest
from contextkernel.model.layers import CopyRequest, MakeDirRequest
from contextkernel.model.ports import LayerWorker, Process, Runtime
from contextkernel.plan import keys
from contextkernel.plan.image import MadeLayer
from contextkernel.plan.run_steps import SCRIPT_DIRECTORY
from contextkernel.plan.stage import StagePlan
from contextkernel.plan.steps import ContextOrigin, CopyStep, LayerStep, RunStep, WorkdirStep

HOSTNAME = "buildkitsandbox"
_GRACE = 10.0
_HINTS = {
    126: "the program was found and is not executable: check its mode, and its interpreter if it is a script",
    127: "a program was not found: is it installed in this stage's image, and spelled right?",
    137: "the program was killed, often because memory ran out",
}


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """What every stage of a build is executed with.

    Attributes:
        source: the Dockerfile's text, for errors.
        context: directory of the build context.
        copies: sources found beforehand, for copies from the context.
        resolve: finds the sources of any other copy.
        lowers: layer directories of an origin.
        keep: keeps a layer from being removed until the build ends; false if it is gone already.
        now: nanoseconds since the epoch.
    """

    store: BuildStore
    worker: LayerWorker
    runtime: Runtime
    committer: Committer
    report: BuildReport
    fake_ids: bool
    no_cache: bool
    source: str
    context: str | None
    copies: Mapping[CopyStep, ResolvedCopy]
    resolve: Callable[[CopyStep], ResolvedCopy]
    lowers: Callable[[CopyStep], tuple[str, ...]]
    keep: Callable[[Digest], bool]
    now: Callable[[], int] = time.time_ns


def run_stage(plan: StagePlan, base: tuple[StackLayer, ...], tools: Tools) -> tuple[StackLayer, ...]:
    """Execute a stage.

    Args:
        plan: what to do.
        base: the layers it starts from.
        tools: to do it with.

    Returns:
        Its layers, base first.

    Raises:
        StepFailed: a program failed; the steps before it stay cached.
    """
    stack = Stack(known=list(base))
    run = _StageRun(tools, stack)
    try:
        for step in plan.layer_steps:
            run.step(step)
    except BaseException:
        # what was finished before stays finished; if even that fails, the first problem is the one to tell
        with ExitStack() as quiet:
            quiet.push(lambda *problem: isinstance(problem[1], Exception))
            tools.committer.gather(stack, wait=True)
        raise
    tools.committer.gather(stack, wait=True)
    return tuple(stack.known)


class _StageRun:
    """A stage while it is executed."""

    def __init__(self, tools: Tools, stack: Stack) -> None:
        self._tools = tools
        self._stack = stack
        # once a step had to be run, those after it are run too: what they stand on is new
        self._use_cache = not tools.no_cache

    def step(self, step: LayerStep) -> None:
        with (
            self._tools.report.step(step.title, instruction=step.original, span=step.span) as report,
            placed(step, self._tools.source),
        ):
            copy = self._resolved(step)
            key = _key_maker(step, copy)
            if self._use_cache and self._cached(key):
                report.cached()
                return
            self._use_cache = False
            # where the host can store one id only, the worker reads owners from the indexes of all layers below
            owners_needed = self._tools.fake_ids and not isinstance(step, RunStep)
            self._tools.committer.gather(self._stack, wait=owners_needed)
            self._make(step, copy, key, report)

    def _resolved(self, step: LayerStep) -> ResolvedCopy | None:
        if not isinstance(step, CopyStep):
            return None
        found = self._tools.copies.get(step)
        if found is None:
            found = self._tools.resolve(step)
            self._tools.report.unmatched(step, found.unmatched)
        return found

    def _cached(self, key: KeyMaker) -> bool:
        store = self._tools.store
        record = store.step(key(self._stack.identity))
        if record is None or not self._tools.keep(record.diff_id):
            return False
        directory = store.layer(record.diff_id).directory
        made = MadeLayer(record.diff_id, record.created)
        self._stack.known.append(StackLayer(record.diff_id, directory, made))
        return True

    def _make(self, step: LayerStep, copy: ResolvedCopy | None, key: KeyMaker, report: StepReport) -> None:
        directory = self._tools.store.new_layer_dir()
        try:
            match step:
                case RunStep():
                    self._run(step, directory, report)
                case CopyStep():
                    assert copy is not None  # noqa: S101 - every copy was resolved
                    self._copy(step, copy, directory)
                case WorkdirStep():
                    self._tools.worker.make_dir(
                        MakeDirRequest(
                            lowers=self._stack.lowers,
                            upper=f"{directory}/diff",
                            work=f"{directory}/work",
                            path=step.path,
                            owner=step.owner,
                        )
                    )
                case _ as never:
                    assert_never(never)
        except BaseException:
            self._tools.committer.give_up(directory)
            raise
        self._tools.committer.submit(self._stack, directory, key, self._tools.now())

    def _copy(self, step: CopyStep, copy: ResolvedCopy, directory: str) -> None:
        from_context = isinstance(step.origin, ContextOrigin)
        self._tools.worker.copy(
            CopyRequest(
                lowers=self._stack.lowers,
                upper=f"{directory}/diff",
                work=f"{directory}/work",
                source_root=self._tools.context if from_context else None,
                source_lowers=() if from_context else self._tools.lowers(step),
                items=copy.items,
                excludes=copy.excludes,
                destination=step.destination,
                directory=step.directory,
                chown=step.chown,
                chmod=step.chmod,
            )
        )

    def _run(self, step: RunStep, directory: str, report: StepReport) -> None:
        tools, tail = self._tools, Tail()

        def emit(stream: str, text: str) -> None:
            tail.add(stream, text)
            report.output(stream, text)

        with self._script(step) as binds:
            request = LaunchRequest(
                id=f"build-{os.path.basename(directory)}",
                argv=step.argv,
                env=(*step.env, *step.proxy),
                working_dir=step.cwd,
                user=step.user,
                hostname=HOSTNAME,
                network=_network(step),
                lowers=self._stack.lowers,
                upper=f"{directory}/diff",
                work=f"{directory}/work",
                binds=binds,
                tmpfs=tuple(
                    Tmpfs(mount.path, f"exec,size={mount.size}" if mount.size else "exec") for mount in step.tmpfs
                ),
                die_with_client=True,
                fake_ids=tools.fake_ids,
            )
            try:
                status = self._wait(request, emit)
            except (CommandNotFound, CommandNotExecutable) as problem:
                raise self._failed(step, problem.exit_code, (*tail.lines(), problem.problem)) from problem
        if status:
            raise self._failed(step, status, tail.lines())

    def _wait(self, request: LaunchRequest, emit: Callable[[str, str], None]) -> int:
        with ExitStack() as stack:
            out, out_writer = _pipe(stack)
            err, err_writer = _pipe(stack)
            with _launched(self._tools.runtime, request, out_writer.fileno(), err_writer.fileno()) as process:
                out_writer.close()
                err_writer.close()
                relay(
                    {out.fileno(): "stdout", err.fileno(): "stderr"},
                    emit,
                    self._tools.committer.wakes,
                    lambda: self._tools.committer.gather(self._stack, in_use=True),
                )
                status = process.wait()
        if status is None:
            raise LaunchFailed("the step's monitor gave no exit code")
        return status

    @contextmanager
    def _script(self, step: RunStep) -> Iterator[tuple[Bind, ...]]:
        """The mount for a here-document that is a program."""
        if step.script is None:
            yield ()
            return
        folder = self._tools.store.temporary_path()
        os.mkdir(folder, 0o755)
        try:
            path = os.path.join(folder, posixpath.basename(step.script.name))
            with open(path, "w", encoding="utf-8", errors="surrogateescape", newline="") as stream:
                stream.write(step.script.content)
            os.chmod(path, 0o755)  # noqa: S103 - a program for whatever USER the step has
            yield (Bind(folder, SCRIPT_DIRECTORY, read_only=True),)
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def _failed(self, step: RunStep, status: int, tail: tuple[str, ...]) -> StepFailed:
        return StepFailed(
            f"{step.title or shlex.join(step.argv)} failed with exit code {status}",
            status=status,
            tail=tail,
            hint=_HINTS.get(status),
            span=step.span,
            source=self._tools.source,
        )


def _key_maker(step: LayerStep, copy: ResolvedCopy | None) -> KeyMaker:
    match step:
        case RunStep():
            return lambda parent: keys.run_key(step, parent)
        case CopyStep():
            content: Digest | None = copy.content if copy is not None else None
            assert content is not None  # noqa: S101 - every copy was resolved
            return lambda parent: keys.copy_key(step, parent, content)
        case WorkdirStep():
            return lambda parent: keys.workdir_key(step, parent)
        case _ as never:
            assert_never(never)


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


def _pipe(stack: ExitStack) -> tuple[IO[bytes], IO[bytes]]:
    """Both ends, as objects: closing one twice is harmless, closing a number twice is not."""
    reader, writer = os.pipe()
    return (
        stack.enter_context(os.fdopen(reader, "rb", buffering=0)),
        stack.enter_context(os.fdopen(writer, "wb", buffering=0)),
    )


def _network(step: RunStep) -> Literal["none", "host"]:
    """``default`` is the host's network: this version has no networks of its own."""
    return "none" if step.network == "none" else "host"


@contextmanager
def _launched(runtime: Runtime, request: LaunchRequest, stdout: int, stderr: int) -> Iterator[Process]:
    """A process that does not outlive the block."""
    process = runtime.launch(request, stdout=stdout, stderr=stderr)
    try:
        yield process
    except BaseException:
        process.signal(signal.SIGKILL)
        process.wait(_GRACE)
        raise
    finally:
        process.close()
