"""``debug``: looking around in a failed build step."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

from contextkernel.commands.outcome import Outcome, Ran, Text
from contextkernel.errors import ContextKernelError

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.model.failed import FailedStep

_ENGINE_FAILED = 125
_ID = re.compile(r"[0-9a-z]{25}\Z")  # of a recorded build
_LEAST = 4  # letters that are taken for the start of an id


def debug(call: Call) -> Outcome:
    """Run a command, or a shell, where a failed RUN stood; the command's exit code."""
    parsed, face = call.parsed, call.face
    words = list(parsed.arguments)
    kept = [step.id for step in call.engine.failed_steps()]
    build = None
    if words and (any(one.startswith(words[0]) for one in kept if len(words[0]) >= _LEAST) or _ID.match(words[0])):
        build = words.pop(0)
    if not words and face.stdin is None:
        return Outcome(value=Text(_told(call.engine.failed_steps(), build)))
    terminal = isinstance(face.stdin, int) and os.isatty(face.stdin)
    if not words and terminal:
        words = ["/bin/sh", "-i"]  # says what it is ready for, although it has no terminal of its own
    out, err = face.output_descriptors()
    try:
        done = call.engine.debug(
            words,
            build=build,
            before=parsed.flag("before"),
            stdin=face.stdin,
            stdout=out,
            stderr=err,
            on_output=face.write_output,
            forward_signals=isinstance(face.stdin, int),
        )
    except ContextKernelError as problem:
        if problem.exit_code == 1:
            problem.exit_code = _ENGINE_FAILED
        raise
    return Outcome(value=Ran(done), exit_code=done.exit_code)


def _told(steps: tuple[FailedStep, ...], build: str | None) -> str:
    """What can be looked into, where neither a command nor standard input was given."""
    wanted = [step for step in steps if build is None or step.id.startswith(build)]
    if not wanted:
        return "no failed build is kept: the last failed RUN of a Dockerfile is, until it is built again\n"
    lines = [f"{step.id}  line {step.line}, exit code {step.status}: {step.title}" for step in wanted]
    return "\n".join([*lines, "give a command, e.g. debug ls -l, or a script on standard input", ""])
