"""Verbs of recorded builds: ``builds``, ``builds inspect``, ``builds logs``, ``builds rm``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.humanize import rfc3339
from contextkernel.commands.outcome import Outcome, Table, TableOptions, Text
from contextkernel.commands.tables import documents_formatted
from contextkernel.commands.verbs_image import shown

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.model.builds import BuildRow, BuildStepRow


def builds(call: Call) -> Outcome:
    """Recorded builds, newest first."""
    return shown(call, Table("builds", call.engine.builds(), TableOptions(no_trunc=call.parsed.flag("no-trunc"))))


def inspect(call: Call) -> Outcome:
    """The steps of a build as a table; the whole record with ``--format json`` or a template."""
    row, steps = call.engine.inspect_build(_wanted(call))
    layout = call.parsed.text("format")
    if layout in ("", "table"):
        return Outcome(value=Table("build_steps", steps))
    document = _document(row, steps)
    if layout == "json":
        from contextkernel.commands.template_values import to_json

        return Outcome(value=Text(to_json(document, indent=2) + "\n"))
    return Outcome(value=Text(documents_formatted([document], layout)))


def logs(call: Call) -> Outcome:
    """What the steps of a build have said."""
    parts = []
    for log in call.engine.build_logs(_wanted(call)):
        lines = [f"#{log.number} {line.rstrip()}".rstrip() for line in log.text.rstrip("\n").split("\n")]
        parts.append("\n".join((f"#{log.number} {log.name}", *lines)) + "\n")
    return Outcome(value=Text("\n".join(parts)))


def remove(call: Call) -> Outcome:
    """Forget builds."""
    every = call.parsed.flag("all")
    if bool(call.parsed.arguments) == every:
        raise usage_problem("builds rm takes either ids of builds or --all", more="`builds` lists the ids")
    ids = call.engine.remove_builds(call.parsed.arguments, all=every)
    return Outcome(value=Text("".join(f"{one}\n" for one in ids)))


def _wanted(call: Call) -> str:
    return call.parsed.arguments[0] if call.parsed.arguments else ""


def _document(row: BuildRow, steps: tuple[BuildStepRow, ...]) -> dict[str, Any]:
    return {
        "Name": row.name,
        "Ref": row.id,
        "Status": row.status,
        "Error": row.problem,
        "Context": row.context,
        "Dockerfile": row.dockerfile,
        "DockerfileDigest": None if row.dockerfile_digest is None else str(row.dockerfile_digest),
        "Target": row.target,
        "Platform": row.platform,
        "BuildArgs": list(row.build_args),
        "Secrets": list(row.secrets),
        "CreatedAt": rfc3339(row.created),
        "Duration": row.seconds,
        "NumTotalSteps": row.steps,
        "NumCachedSteps": row.cached,
        "ImageID": None if row.image is None else str(row.image),
        "Names": list(row.names),
        "Steps": [
            {
                "Number": step.number,
                "Name": step.name,
                "Instruction": step.instruction,
                "Line": step.line,
                "State": step.state,
                "StartedAt": rfc3339(step.started),
                "Duration": step.seconds,
                "CPUTime": step.cpu_seconds,
                "PeakMemory": step.peak_memory,
                "Written": step.written,
                "Layer": None if step.layer is None else str(step.layer),
                "Error": step.problem,
            }
            for step in steps
        ],
    }
