"""Verbs for containers that run: attach, exec, pause."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contextkernel.commands.call import Call, for_each_name
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Nothing, Outcome, Ran
from contextkernel.commands.streams import check_terminal, detached, streams_of
from contextkernel.commands.values import parse_environment
from contextkernel.errors import CommandNotExecutable, CommandNotFound, LaunchFailed

if TYPE_CHECKING:
    from contextkernel.model.results import RunResult


def exec_(call: Call) -> Outcome:
    """Run a further program in a running container; docker's exit codes."""
    parsed = call.parsed
    name, *command = parsed.arguments
    detach, interactive, tty = parsed.flag("detach"), parsed.flag("interactive"), parsed.flag("tty")
    if not detach:
        check_terminal(call.face, interactive=interactive, tty=tty)
    directory = parsed.maybe("workdir")
    if directory and not directory.startswith("/"):
        raise usage_problem(
            f"working directory {directory!r} is not absolute", more="let it start with /", exit_code=128
        )
    streams = streams_of(call.face, interactive=interactive, tty=tty)
    try:
        done = call.engine.exec(
            name,
            command,
            detach=detach,
            stdin=streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            on_output=streams.on_output,
            environment=parse_environment(parsed.texts("env"), parsed.texts("env-file"), os.environ),
            working_dir=directory,
            user=parsed.maybe("user"),
            privileged=parsed.flag("privileged"),
            tty=tty,
            screen=streams.screen,
            detach_keys=parsed.text("detach-keys"),
        )
    except LaunchFailed as problem:
        # docker: 126 and 127 are the program's faults; with -d all that went wrong is the engine's answer
        if detach or not isinstance(problem, CommandNotFound | CommandNotExecutable):
            problem.exit_code = 1
        raise
    return Outcome(value=Nothing()) if detach else _ended(done)


def attach(call: Call) -> Outcome:
    """Be with a running container until it ends."""
    parsed = call.parsed
    streams = streams_of(call.face, interactive=not parsed.flag("no-stdin"), tty=True)
    return _ended(
        call.engine.attach(
            parsed.arguments[0],
            # nobody to type: that is not the end of the container's input
            stdin=None if streams.stdin == b"" else streams.stdin,
            stdout=streams.stdout,
            stderr=streams.stderr,
            on_output=streams.on_output,
            forward_signals=parsed.flag("sig-proxy"),
            screen=streams.screen,
            detach_keys=parsed.text("detach-keys"),
        )
    )


def _ended(done: RunResult | None) -> Outcome:
    if done is None:
        raise detached()
    return Outcome(value=Ran(done), exit_code=done.exit_code)


def pause(call: Call) -> Outcome:
    """Pause containers."""
    return for_each_name(call.parsed.arguments, call.engine.pause)


def unpause(call: Call) -> Outcome:
    """Let paused containers go on."""
    return for_each_name(call.parsed.arguments, call.engine.unpause)
