"""Verbs about containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands import run_options
from contextkernel.commands.call import Call, LateReporter, for_each, for_each_name
from contextkernel.commands.cid_file import CidFile
from contextkernel.commands.declared_options import CONTAINER_FILTERS, PRUNE_FILTERS
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Detached, Nothing, Outcome, Ran, Table, TableOptions, Text
from contextkernel.commands.pruned import deleted, reclaimed
from contextkernel.commands.streams import attached_streams, check_terminal, streams_of
from contextkernel.commands.tables import identifiers
from contextkernel.commands.values import parse_filters
from contextkernel.commands.verbs_image import shown
from contextkernel.errors import ContainerNotFound, ContextKernelError, HostUnsupported, InvalidInput

if TYPE_CHECKING:
    from contextkernel.model.results import RunResult

_ENGINE_FAILED = 125


def run(call: Call) -> Outcome:
    """Run a program in a new container; docker's exit codes."""
    parsed = call.parsed
    if not parsed.flag("detach"):
        check_terminal(call.face, interactive=parsed.flag("interactive"), tty=parsed.flag("tty"))
    made: list[str] = []
    try:
        return _run(call, made)
    except ContextKernelError as problem:
        if made and parsed.flag("detach"):  # docker tells the id also of one that could not be started
            call.face.write_out(f"{made[0]}\n")
        if problem.exit_code == 1:  # docker run: all of the engine's own errors
            problem.exit_code = _ENGINE_FAILED
        raise


def _run(call: Call, made: list[str]) -> Outcome:
    parsed, face = call.parsed, call.face
    if parsed.flag("plan"):
        from contextkernel.commands import plan_text

        return plan_text.plan(call)
    image, *command = parsed.arguments
    detach, interactive, tty = parsed.flag("detach"), parsed.flag("interactive"), parsed.flag("tty")
    attached = attached_streams(parsed)
    if detach and attached:
        raise usage_problem("conflicting options: cannot specify both --attach and --detach")
    wanted = run_options.keywords(parsed)
    with CidFile(parsed.maybe("cidfile")) as cid, LateReporter(face, "auto") as report:
        streams = streams_of(face, interactive=interactive, tty=tty)

        def created(identity: str) -> None:
            report.finish()
            cid.write(identity)
            made.append(identity)

        done = call.engine.run(
            image,
            command,
            detach=detach,
            stdin=None if detach else streams.stdin,
            stdout=None if detach else streams.stdout,
            stderr=None if detach else streams.stderr,
            on_output=streams.on_output,
            forward_signals=not detach and parsed.flag("sig-proxy"),
            stdin_open=interactive or (isinstance(streams.stdin, bytes) and not detach),
            streams=attached,
            screen=streams.screen,
            detach_keys=parsed.text("detach-keys"),
            pull=parsed.text("pull"),
            report=None if parsed.flag("quiet") else report,
            on_created=created,
            **wanted,
        )
    if isinstance(done, str) and not detach:  # the detach keys were typed; docker says nothing
        return Outcome(value=Nothing())
    if attached == ("stdin",) and not isinstance(done, str):
        return Outcome(value=Text(f"{done.id}\n"))
    return _ended(done)


def create(call: Call) -> Outcome:
    """Make a container without starting it."""
    parsed, face = call.parsed, call.face
    if parsed.flag("plan"):
        from contextkernel.commands import plan_text

        return plan_text.plan(call)
    image, *command = parsed.arguments
    wanted = run_options.keywords(parsed)
    with CidFile(parsed.maybe("cidfile")) as cid, LateReporter(face, "auto") as report:
        try:
            identity = call.engine.create(
                image,
                command,
                stdin_open=parsed.flag("interactive"),
                pull=parsed.text("pull"),
                report=None if parsed.flag("quiet") else report,
                on_created=cid.write,
                **wanted,
            )
        except HostUnsupported as problem:
            problem.exit_code = 1  # 125 is for run
            raise
    return Outcome(value=Text(f"{identity}\n"))


def _ended(done: RunResult | str) -> Outcome:
    if isinstance(done, str):
        return Outcome(value=Detached(f"{done}\n", done))
    return Outcome(value=Ran(done), exit_code=done.exit_code)


def ps(call: Call) -> Outcome:
    """List containers."""
    parsed = call.parsed
    filters = parse_filters(parsed.texts("filter"), CONTAINER_FILTERS)
    limit = parsed.number("last")
    rows = call.engine.containers(
        all=parsed.flag("all"),
        latest=parsed.flag("latest"),
        limit=limit if limit is not None and limit > 0 else None,
        filters=filters,
        size=parsed.flag("size") or ".Size" in parsed.text("format"),
    )
    options = TableOptions(no_trunc=parsed.flag("no-trunc"), size=parsed.flag("size"))
    table = Table("containers", rows, options)
    if parsed.flag("quiet") and parsed.text("format"):
        call.face.write_err("WARNING: Ignoring custom format, because both --format and --quiet are set.\n")
        return Outcome(value=Text(identifiers(table)))
    return shown(call, table)


def logs(call: Call) -> Outcome:
    """Show a container's output, each stream on its own."""
    tail = call.parsed.text("tail")
    # docker takes what is no number, or a negative one, for all
    limit = int(tail) if tail.isdigit() else None
    name = call.parsed.arguments[0]
    follow, timestamps = call.parsed.flag("follow"), call.parsed.flag("timestamps")
    lines = call.engine.logs(
        name,
        tail=limit,
        follow=follow,
        timestamps=timestamps,
        since=call.parsed.maybe("since"),
        until=call.parsed.maybe("until"),
        details=call.parsed.flag("details"),
    )
    for stream, line in lines:
        call.face.write_output(stream, line)
    return Outcome(value=Nothing())


def start(call: Call) -> Outcome:
    """Start containers again."""
    names = call.parsed.arguments
    interactive = call.parsed.flag("interactive")
    if not call.parsed.flag("attach") and not interactive:
        return for_each_name(names, call.engine.start)
    if len(names) > 1:
        raise usage_problem("cannot attach to several containers at once", more="start -a takes one", exit_code=1)
    streams = streams_of(call.face, interactive=interactive, tty=True)
    done = call.engine.start(
        names[0],
        attach=True,
        stdin=streams.stdin,
        stdout=streams.stdout,
        stderr=streams.stderr,
        on_output=streams.on_output,
        forward_signals=True,
        screen=streams.screen,
        detach_keys=call.parsed.text("detach-keys"),
    )
    return Outcome(value=Nothing()) if isinstance(done, str) else _ended(done)


def stop(call: Call) -> Outcome:
    """Stop containers."""
    timeout, signal = stop_options(call)
    return for_each_name(call.parsed.arguments, lambda name: call.engine.stop(name, timeout=timeout, signal=signal))


def stop_options(call: Call) -> tuple[int | None, str | None]:
    """Seconds and signal of ``stop`` and ``restart``."""
    return call.parsed.number("timeout" if call.parsed.given("timeout") else "time"), call.parsed.maybe("signal")


def kill(call: Call) -> Outcome:
    """Send a signal to containers."""
    signal = call.parsed.text("signal")
    return for_each_name(call.parsed.arguments, lambda name: call.engine.kill(name, signal=signal))


def wait(call: Call) -> Outcome:
    """Wait for containers; one exit code on each line."""
    return for_each(call.parsed.arguments, lambda name: f"{call.engine.wait(name)}\n")


def remove(call: Call) -> Outcome:
    """Remove containers."""
    force = call.parsed.flag("force")

    def one(name: str) -> None:
        bare = name.strip("/")
        if not bare:
            raise InvalidInput("container name cannot be empty")
        call.engine.remove_container(bare, force=force, volumes=call.parsed.flag("volumes"))

    def not_there(problem: ContextKernelError) -> None:
        call.face.write_err(f"{problem.problem}\n")  # docker says so too, and does not count it

    return for_each_name(call.parsed.arguments, one, skip=ContainerNotFound if force else (), skipped=not_there)


def prune(call: Call) -> Outcome:
    """Remove all containers that do not run."""
    filters = parse_filters(call.parsed.texts("filter"), PRUNE_FILTERS)
    question = "This removes all containers that do not run. Go on?"
    if not call.parsed.flag("force") and not call.face.confirm(question):
        return Outcome(value=Nothing())
    pruned = call.engine.prune_containers(filters=filters)
    return Outcome(value=Text(deleted("Deleted Containers:", pruned.removed) + reclaimed(pruned.size)))
