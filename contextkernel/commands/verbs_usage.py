"""Verbs about the room that everything takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.declared_options import PRUNE_FILTERS
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Nothing, Outcome, Table, Text
from contextkernel.commands.pruned import deleted, reclaimed
from contextkernel.commands.values import parse_filters
from contextkernel.commands.verbs_image import shown

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.commands.grammar import Parsed


def disk_usage(call: Call) -> Outcome:
    """What takes how much room; one by one with ``--verbose``."""
    if not call.parsed.flag("verbose"):
        return shown(call, Table("usage", call.engine.disk_usage()))
    from contextkernel.commands.tables import documents_formatted
    from contextkernel.commands.usage_text import usage_document, usage_text

    usage, layout = call.engine.disk_usage_details(), call.parsed.text("format")
    if not layout:
        return Outcome(value=Text(usage_text(usage)))
    if layout == "json":
        from contextkernel.commands.template_values import to_json

        return Outcome(value=Text(to_json(usage_document(usage)) + "\n"))
    return Outcome(value=Text(documents_formatted([usage_document(usage)], layout)))


def prune(call: Call) -> Outcome:
    """Remove what is not used; docker's question and docker's lists."""
    parsed = call.parsed
    filters = parse_filters(parsed.texts("filter"), PRUNE_FILTERS)
    volumes = parsed.flag("volumes")
    if volumes and "until" in filters:
        raise usage_problem('the "until" filter is not supported with "--volumes"', exit_code=1)
    if not parsed.flag("force") and not call.face.confirm(_warning(parsed)):
        return Outcome(value=Nothing())
    done = call.engine.system_prune(all=parsed.flag("all"), volumes=volumes, filters=filters)
    parts = (
        ("Deleted Containers:", done.containers),
        ("Deleted Networks:", done.networks),
        ("Deleted Volumes:", done.volumes),
        ("Deleted Images:", done.images),
        ("Deleted build cache objects:", done.cache),
    )
    listed = "".join(deleted(title, lines) for title, lines in parts)
    return Outcome(value=Text(listed + reclaimed(done.freed)))


def _warning(parsed: Parsed) -> str:
    everything = parsed.flag("all")
    lines = [
        "all stopped containers",
        "all networks not used by at least one container",
        *(["all anonymous volumes not used by at least one container"] if parsed.flag("volumes") else []),
        "all images without at least one container associated to them" if everything else "all dangling images",
        "all build cache" if everything else "unused build cache",
    ]
    text = "WARNING! This will remove:\n" + "".join(f"  - {line}\n" for line in lines)
    wanted = parsed.texts("filter")
    if wanted:
        text += "\n  Items to be pruned will be filtered with:\n" + "".join(f"  - {word}\n" for word in sorted(wanted))
    return f"{text}\nAre you sure you want to continue?"
