"""``build``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contextkernel.commands.build_context import feed_of, parse_build_contexts
from contextkernel.commands.build_outputs import ResultOptions
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.looking import look, wants_a_look
from contextkernel.commands.outcome import Outcome, Table, Text
from contextkernel.commands.tables import formatted
from contextkernel.commands.values import parse_build_args, parse_labels
from contextkernel.errors import ContextKernelError

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.commands.face import Progress
    from contextkernel.commands.grammar import Parsed
    from contextkernel.model.build_inputs import StepOptions

_PROGRESS: dict[str, Progress] = {"json": "json", "rawjson": "json", "plain": "plain", "quiet": "quiet"}


def build(call: Call) -> Outcome:
    """Build an image; events go to the face's view, what the result becomes is for ``--output`` to say."""
    parsed = call.parsed
    feed = feed_of(call)
    if wants_a_look(parsed):
        if parsed.flag("explain"):
            raise usage_problem(
                "--explain is told of a build, and --check builds nothing", more="leave one of them out"
            )
        return look(call, feed.context, feed.dockerfile, feed.text)
    options = ResultOptions(call)
    labels, arguments = parse_labels(parsed.texts("label")), parse_build_args(parsed.texts("build-arg"))
    steps = _step_options(parsed)
    quiet = parsed.flag("quiet") or parsed.text("progress") == "quiet"
    try:
        with call.face.reporter("quiet" if quiet else _PROGRESS.get(parsed.text("progress"), "auto")) as report:
            result = call.engine.build(
                feed.context,
                dockerfile=feed.dockerfile,
                text=feed.text,
                tags=parsed.texts("tag"),
                build_args=arguments,
                target=parsed.maybe("target"),
                no_cache=parsed.flag("no-cache"),
                no_cache_filter=_stages(parsed.texts("no-cache-filter")),
                pull=parsed.flag("pull"),
                labels=labels,
                network=parsed.text("network"),
                steps=steps,
                platform=parsed.texts("platform") or None,
                jobs=_jobs(parsed.number("jobs")),
                contexts=parse_build_contexts(parsed.texts("build-context")),
                cache_from=parsed.texts("cache-from"),
                cache_to=parsed.texts("cache-to"),
                report=report,
                outputs=options.outputs,
                annotations=options.annotations,
                attests=options.attests,
                stdout=options.stdout,
            )
    except ContextKernelError as problem:
        problem.exit_code = 1  # docker build: whatever failed
        raise
    finished = options.finish(result, quiet=quiet)
    if parsed.flag("explain"):
        table, layout = Table("explanation", result.explanation), parsed.text("format")
        return Outcome(value=table if layout in ("", "table") else Text(formatted(table, layout)))
    return finished


def _step_options(parsed: Parsed) -> StepOptions:
    from contextkernel.commands import values_build as values
    from contextkernel.model.build_inputs import StepOptions

    return StepOptions(
        secrets=values.parse_secrets(parsed.texts("secret"), os.environ),
        agents=values.parse_agents(parsed.texts("ssh")),
        hosts=values.parse_hosts(parsed.texts("add-host")),
        shm_size=values.parse_bytes("shm-size", parsed.maybe("shm-size")),
        limits=values.parse_limits(parsed.texts("ulimit")),
        allow=values.parse_entitlements(parsed.texts("allow")),
        cgroup_parent=parsed.maybe("cgroup-parent") or "",
    )


def _stages(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Names of stages, several of them perhaps with commas in one word."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())


def _jobs(number: int | None) -> int | None:
    if number is not None and number < 1:
        raise usage_problem(f"--jobs {number}: at least one step must be allowed to run", more="leave --jobs out")
    return number
