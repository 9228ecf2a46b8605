"""Verbs about volumes."""

from __future__ import annotations

from contextkernel.commands.call import Call, for_each_name
from contextkernel.commands.declared_volumes import LIST_FILTERS, PRUNE_FILTERS
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.inspected import inspect_each
from contextkernel.commands.outcome import Nothing, Outcome, Table, Text
from contextkernel.commands.pruned import deleted, reclaimed
from contextkernel.commands.values import parse_filters, parse_labels, parse_pairs
from contextkernel.commands.verbs_image import shown


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
        driver_opts=parse_pairs(parsed.texts("opt")),
        labels=parse_labels(parsed.texts("label")),
    )
    return Outcome(value=Text(f"{made}\n"))


def list_volumes(call: Call) -> Outcome:
    """List volumes."""
    filters = parse_filters(call.parsed.texts("filter"), LIST_FILTERS)
    return shown(call, Table("volumes", call.engine.volumes(filters=filters)))


def inspect(call: Call) -> Outcome:
    """Documents of volumes."""
    return inspect_each(call, call.engine.inspect_volume)


def remove(call: Call) -> Outcome:
    """Remove volumes."""
    force = call.parsed.flag("force")
    return for_each_name(call.parsed.arguments, lambda name: call.engine.remove_volume(name, force=force))


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
    return Outcome(value=Text(deleted("Deleted Volumes:", gone) + reclaimed(freed)))
