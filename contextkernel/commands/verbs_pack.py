"""The verb that packs a course's images."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.named_images import images_named
from contextkernel.commands.outcome import Outcome, Table, Text
from contextkernel.commands.verbs_image import shown
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.model.outputs import CompressionKind


_MOST_PLACES = 3


def pack(call: Call) -> Outcome:
    """Write the images that files name into one layout, or say which they are."""
    parsed = call.parsed
    found = images_named(parsed.arguments)
    places = {one.ref.familiar: _shown(one.places) for one in found}
    for name in parsed.texts("image"):
        places.setdefault(ImageRef.parse(name).familiar, "--image")
    if not places:
        raise usage_problem("there is no image to pack", more="name notebooks or Dockerfiles, or images with --image")
    if parsed.flag("dry-run"):
        return Outcome(value=Text("".join(f"{name}\t{place}\n" for name, place in places.items())))
    if parsed.text("output") in ("", "-"):
        raise usage_problem("a pack goes into a directory or a file", more="give one: -o course, or -o course.tar")
    with call.face.reporter("quiet" if parsed.flag("quiet") else "auto") as report:
        rows = call.engine.pack(
            tuple(places),
            parsed.text("output"),
            platform=parsed.texts("platform") or None,
            compression=cast("CompressionKind", parsed.text("compression")),
            report=report,
        )
    table = Table("bases", rows)
    return Outcome(value=table) if not parsed.given("format") else shown(call, table)


def _shown(places: tuple[str, ...]) -> str:
    more = len(places) - _MOST_PLACES
    return "; ".join(places[:_MOST_PLACES]) + (f" and {more} more" if more > 0 else "")
