"""Verbs about the room that everything takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.outcome import Outcome, Table, Text
from contextkernel.commands.verbs_image import shown

if TYPE_CHECKING:
    from contextkernel.commands.call import Call


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
