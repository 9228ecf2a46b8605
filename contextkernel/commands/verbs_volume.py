"""Verbs about volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contextkernel.commands.call import Call, for_each
from contextkernel.commands.declared_volumes import LIST_FILTERS, PRUNE_FILTERS
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.humanize import human_size
from contextkernel.commands.outcome import Document, Nothing, Outcome, Table, Text
from contextkernel.commands.tables import documents_formatted
from contextkernel.commands.values import parse_filters, parse_labels
from contextkernel.commands.verbs_image import shown
from contextkernel.errors import ContextKernelError

if TYPE_CHECKING:
    from collections.abc import Iterable


def create(call: Call) -> Outcome:
    """Make a volume; prints its name."""
    parsed = call.parsed
    name = parsed.maybe("name")
    if parsed.arguments:
        if name:
            raise usage_problem(
                "conflicting options: cannot specify a volume-name through both --name and as a positional arg",
                exit_code=1,
            )
        name = parsed.arguments[0]
    made = call.engine.create_volume(
        name,
        driver=parsed.text("driver"),
        driver_opts=_pairs(parsed.texts("opt")),
        labels=parse_labels(parsed.texts("label")),
    )
    return Outcome(value=Text(f"{made}\n"))


def _pairs(words: Iterable[str]) -> dict[str, str]:
    pairs = (word.partition("=") for word in words)
    return {key: value for key, _, value in pairs}


def list_volumes(call: Call) -> Outcome:
    """List volumes."""
    filters = parse_filters(call.parsed.texts("filter"), LIST_FILTERS)
    return shown(call, Table("volumes", call.engine.volumes(filters=filters)))


def inspect(call: Call) -> Outcome:
    """Documents of volumes."""
    documents: list[dict[str, Any]] = []
    problems: list[ContextKernelError] = []
    layout = call.parsed.text("format")
    if layout not in ("", "json"):  # a template that is none must fail before anything else
        from contextkernel.commands.template import Template

        Template(layout)
    for name in call.parsed.arguments:
        try:
            documents.append(call.engine.inspect_volume(name))
        except ContextKernelError as problem:
            problems.append(problem)
    value = Text(documents_formatted(documents, layout)) if layout else Document(tuple(documents))
    return Outcome(value=value, exit_code=1 if problems else 0, problems=tuple(problems))


def remove(call: Call) -> Outcome:
    """Remove volumes."""
    force = call.parsed.flag("force")

    def one(name: str) -> str:
        call.engine.remove_volume(name, force=force)
        return f"{name}\n"

    return for_each(call.parsed.arguments, one)


def prune(call: Call) -> Outcome:
    """Remove volumes that no container refers to."""
    parsed = call.parsed
    everything = parsed.flag("all")
    filters = parse_filters(parsed.texts("filter"), PRUNE_FILTERS)
    what = "all local volumes" if everything else "anonymous local volumes"
    question = (
        f"WARNING! This will remove {what} not used by at least one container.\nAre you sure you want to continue?"
    )
    if not parsed.flag("force") and not call.face.confirm(question):
        return Outcome(value=Nothing())
    gone, freed = call.engine.prune_volumes(all=everything, filters=filters)
    listed = "Deleted Volumes:\n" + "".join(f"{name}\n" for name in gone) + "\n" if gone else ""
    return Outcome(value=Text(f"{listed}Total reclaimed space: {human_size(freed, 4)}\n"))
