"""RUN, executed: a program on top of the layers so far."""

from __future__ import annotations

import os
import posixpath
import shlex
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import IO, Literal

from contextkernel.build.advice import Failure, advise
from contextkernel.build.commits import Stack
from contextkernel.build.failure_facts import StageFiles
from contextkernel.build.relay import Tail, relay
from contextkernel.build.reporting import StepReport
from contextkernel.build.roots import prepare_root, settle_root
from contextkernel.build.tools import Tools
from contextkernel.errors import CommandNotExecutable, CommandNotFound, LaunchFailed, StepFailed
from contextkernel.model.backing import Root
from contextkernel.model.container import Bind, LaunchRequest
from contextkernel.model.ports import Process, Runtime
from contextkernel.model.recorded import TABLE
from contextkernel.plan.run_steps import SCRIPT_DIRECTORY
from contextkernel.plan.steps import RunStep

HOSTNAME = "buildkitsandbox"
_GRACE = 10.0
#: said once in a build, at the first RUN that it is true of
STAYS_ROOT = (
    "this host maps a single id: after USER the program still runs as root of the container; what it makes belongs to "
    "that user in the image. A range in /etc/subuid and /etc/subgid changes that"
)
#: the same; what a step says of owners is written down beside its files, if it can be
OWNERS_LOST = (
    "this host lets no supervisor answer system calls: what chown and mknod say in a RUN with a single id is not kept; "
    "`doctor` says why (seccomp_notify)"
)
#: the same where proot says what owners are
OWNERS_LOST_TRACED = "what chown and mknod say in a RUN through proot is not kept in the image"


class RunExecution:
    """A RUN step at work.

    Args:
        tools: of the build.
        stack: what the stage has come to; layers that finish meanwhile are recorded in it.
    """

    def __init__(self, tools: Tools, stack: Stack) -> None:
        self._tools = tools
        self._stack = stack

    def run(self, step: RunStep, directory: str, report: StepReport, *, more: bool) -> None:
        """Run the program; what it changes is left in ``directory``.

        Args:
            step: what to run.
            directory: of the layer to be.
            report: of the step.
            more: another RUN follows in this stage.

        Raises:
            StepFailed: it failed.
        """
        tools, tail = self._tools, Tail()

        def emit(stream: str, text: str) -> None:
            tail.add(stream, text)
            report.output(stream, text)

        if tools.fake_ids and not tools.shows_users and step.user.partition(":")[0] not in ("", "0", "root"):
            tools.report.warn_once(STAYS_ROOT, step.span)
        with self._script(step) as binds, ExitStack() as taken:
            mounts, tmpfs, variables = tools.mounts.prepare(step, directory, tools, report, taken)
            root = prepare_root(self._stack, directory, tools)
            request = LaunchRequest(
                id=f"build-{os.path.basename(directory)}",
                argv=step.argv,
                env=(*step.env, *step.proxy),
                working_dir=step.cwd,
                user=step.user,
                hostname=step.hostname or HOSTNAME,
                network=_network(step),
                lowers=root.lowers,
                upper=root.upper,
                work=root.work,
                binds=binds,
                tmpfs=tmpfs,
                mounts=mounts,
                secret_env=variables,
                sandbox=True,
                hosts=step.hosts,
                insecure=step.security == "insecure",
                shm_size=step.shm_size,
                limits=step.ulimits,
                die_with_client=True,
                fake_ids=tools.fake_ids,
                room=tools.store.bound.growth(directory),
            )
            try:
                status = self._wait(request, emit, report)
            except (CommandNotFound, CommandNotExecutable) as problem:
                raise self._failed(step, root, problem.exit_code, (*tail.lines(), problem.problem)) from problem
        if tools.fake_ids and not os.path.exists(f"{directory}/{TABLE}"):
            tools.report.warn_once(OWNERS_LOST_TRACED if tools.shows_users else OWNERS_LOST, step.span)
        if status:
            raise self._failed(step, root, status, tail.lines())
        settle_root(self._stack, directory, tools, more=more)
        if os.path.isdir(f"{directory}/rooms"):
            tools.worker.remove([f"{directory}/rooms"])

    def _wait(self, request: LaunchRequest, emit: Callable[[str, str], None], report: StepReport) -> int:
        with ExitStack() as stack:
            out, out_writer = _pipe(stack)
            err, err_writer = _pipe(stack)
            with _launched(self._tools.runtime, request, out_writer.fileno(), err_writer.fileno()) as process:
                out_writer.close()
                err_writer.close()
                with self._tools.board.stopping(lambda: process.signal(signal.SIGKILL)):
                    relay(
                        {out.fileno(): "stdout", err.fileno(): "stderr"},
                        emit,
                        self._stack.wakes,
                        lambda: self._tools.committer.gather(self._stack, in_use=True),
                    )
                    status = process.wait()
                report.used(process.usage)
                if process.usage is not None and process.usage.outgrown:
                    raise self._tools.store.bound.problem()  # placed in the Dockerfile by the stage
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

    def _failed(self, step: RunStep, root: Root, status: int, tail: tuple[str, ...]) -> StepFailed:
        files = StageFiles(root.lowers, root.upper, step)
        failure = Failure(
            status=status,
            output="\n".join(tail),
            argv=step.argv,
            user=step.user,
            network=step.network,
            machine=files.machine,
            programs=files.programs,
            look=files.look,
        )
        return StepFailed(
            f"{step.title or shlex.join(step.argv)} failed with exit code {status}",
            status=status,
            tail=tail,
            hint=advise(failure),
            span=step.span,
            source=self._tools.source,
        )


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
