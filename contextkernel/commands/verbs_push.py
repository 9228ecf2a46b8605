"""The verb that sends images to registries."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Nothing, Outcome, Text
from contextkernel.model.events import StepNote
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.commands.call import Call

_PLATFORM_ONLY = """\
Using --platform pushes only the specified platform manifest of a multi-platform image index.
Other components, like attestations, will not be included.
"""


def push(call: Call) -> Outcome:
    """Send one tag, or all of them, in docker's words."""
    parsed = call.parsed
    name, quiet, all_tags = parsed.arguments[0], parsed.flag("quiet"), parsed.flag("all-tags")
    ref = ImageRef.parse(name)
    bare = "@" not in name and ":" not in name.rpartition("/")[2]
    if all_tags and not bare:
        raise usage_problem(
            "tag can't be used with --all-tags/-a", more=f"give the name alone: {ref.familiar_name}", exit_code=1
        )
    platform = parsed.maybe("platform")
    if platform is not None and not quiet:
        call.face.write_err(_PLATFORM_ONLY)
    with call.face.reporter("quiet" if quiet else "auto", out=True) as report:
        if bare and not all_tags:
            report(StepNote(0, f"Using default tag: {ref.tag}"))
        call.engine.push(name, all_tags=all_tags, platform=platform, report=report)
    return Outcome(value=Text(f"{ref.name if all_tags else ref}\n") if quiet else Nothing())
