"""``run --plan``: what a start would do, for people and as JSON."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from contextkernel.commands.call import LateReporter
from contextkernel.commands.outcome import Outcome, Text
from contextkernel.commands.run_options import keywords

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.model.planned import Planned

_WIDTH = 110  # columns of details, in the table; the JSON has all


def plan(call: Call) -> Outcome:
    """Show the plan of ``run`` or ``create``; nothing is started."""
    parsed = call.parsed
    image, *command = parsed.arguments
    with LateReporter(call.face, "auto") as report:
        made = call.engine.plan(
            image,
            command,
            pull=parsed.text("pull"),
            report=None if parsed.flag("quiet") else report,
            **keywords(parsed),
        )
    return Outcome(value=Text(as_json(made) if parsed.text("plan-format") == "json" else as_table(made)))


def as_json(made: Planned) -> str:
    """One object with the OCI ``config.json`` and the operations, in order."""
    operations = [{"operation": step.operation, **step.values} for step in made.operations]
    whole = {"config": made.document, "operations": operations, "backing": made.backing}
    whole |= {"isolation": made.isolation, "fallbacks": list(made.fallbacks)}
    return json.dumps(whole, indent=2) + "\n"


def as_table(made: Planned) -> str:
    """The operations line by line, then what the document says of the process and what keeps it apart."""
    width = max(len(step.operation) for step in made.operations)
    lines = [f"{'STEP':4}  {'OPERATION':{width}}  DETAILS"]
    lines += [
        f"{step.number:4}  {step.operation:{width}}  {_details(step.values)}".rstrip() for step in made.operations
    ]
    document = made.document
    process, linux = document["process"], document["linux"]
    seccomp = linux.get("seccomp")
    facts = (
        ("arguments", process["args"]),
        ("user", process["user"]),
        ("namespaces", [_namespace(space) for space in linux["namespaces"]]),
        ("capabilities", process["capabilities"]["bounding"]),
        ("effective", process["capabilities"]["effective"]),
        ("system calls", f"{seccomp['defaultAction']} but for {len(seccomp['syscalls'])} rules" if seccomp else "all"),
        ("no new privileges", process["noNewPrivileges"]),
        ("annotations", document.get("annotations", {})),
        ("root", "a copy of the layers" if made.backing == "copy" else "an overlay of the layers"),
    )
    lines += ["", "PROCESS"]
    lines += [f"  {name:18}{_shown(value)}".rstrip() for name, value in facts]
    lines += ["", "ISOLATION"] if made.isolation else []
    lines += [f"  {name:18}{value or '-'}" for name, value in made.isolation.items()]
    lines += ["", "FALLBACKS"] if made.fallbacks else []
    lines += [f"  {text}" for text in made.fallbacks]
    return "\n".join(lines) + "\n"


def _namespace(space: dict[str, str]) -> str:
    return f"{space['type']} ({space['path']})" if "path" in space else space["type"]


def _details(values: dict[str, Any]) -> str:
    words = [f"{name}={_shown(value)}" for name, value in values.items() if value not in ("", False, None, [])]
    text = " ".join(words)
    return text if len(text) <= _WIDTH else f"{text[: _WIDTH - 3]}..."


def _shown(value: Any) -> str:
    if isinstance(value, dict):
        return " ".join(f"{key}={_shown(item)}" for key, item in value.items())
    if isinstance(value, list):
        return ",".join(_shown(item) for item in value)
    return json.dumps(value) if isinstance(value, bool) or "\n" in str(value) else str(value)
