"""The verbs of the fake engine that look into failed steps: one is kept."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from contextkernel.errors import NotFound
from contextkernel.model.failed import FailedStep
from contextkernel.model.given import words_of
from contextkernel.model.results import RunResult
from contextkernel.testing.fake_calls import FakeCalls


def failed_step_kept() -> FailedStep:
    """The failed step of the fake engine's failed build."""
    return FailedStep(
        id="q7m2c0x9v4k1t8s5z3b6n0w2a",
        scope="/home/ada/greet:Dockerfile",
        title="[2/2] RUN make test",
        argv=("/bin/sh", "-c", "make test"),
        line=2,
        status=2,
        env=("PATH=/bin",),
        user="",
        cwd="/",
        hostname="",
        network="host",
    )


class FakeDebugging(FakeCalls):
    """Has the methods of :class:`contextkernel.engine.debug.Debugging`.

    Attributes:
        kept: the failed steps that are kept.
    """

    kept: tuple[FailedStep, ...] = (failed_step_kept(),)

    def failed_steps(self) -> tuple[FailedStep, ...]:
        """What is kept."""
        return self.kept

    def debug(
        self,
        command: str | Sequence[str] = (),
        *,
        build: str | None = None,
        before: bool = False,
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
        forward_signals: bool = False,
    ) -> RunResult:
        """Hand out the engine's output; descriptors are only recorded."""
        del stdout, stderr, forward_signals
        if not self.kept:
            raise NotFound("no failed build is kept")
        self._note("debug", command=words_of(command), build=build, before=before, stdin=stdin)
        if on_output is not None:
            on_output("stdout", self.stdout)
        return RunResult(
            id=self.kept[0].id, name="debug", exit_code=self.exit_code, stdout=self.stdout, stderr=self.stderr
        )
