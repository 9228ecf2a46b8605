"""Verbs about images, and ``inspect`` of anything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from contextkernel.commands.call import Call, for_each
from contextkernel.commands.declared_options import IMAGE_FILTERS, IMAGE_PRUNE_FILTERS
from contextkernel.commands.grammar import nearest, usage_problem
from contextkernel.commands.inspected import inspect_each
from contextkernel.commands.outcome import Nothing, Outcome, Table, TableOptions, Text
from contextkernel.commands.pruned import deleted, reclaimed
from contextkernel.commands.tables import formatted, identifiers
from contextkernel.commands.values import parse_filters
from contextkernel.errors import ImageNotFound

if TYPE_CHECKING:
    from contextkernel.model.results import ImageRow

_NONE = "<none>"
_INSPECTED = ("container", "image", "network", "volume")
_TRUE = frozenset({"1", "t", "true"})


def shown(call: Call, table: Table) -> Outcome:
    """A table the way the options ask for it: ids, a format, or as it is."""
    layout = call.parsed.text("format")
    if call.parsed.flag("quiet") and layout in ("", "table"):
        return Outcome(value=Text(identifiers(table)))
    if layout in ("", "table"):
        return Outcome(value=table)
    return Outcome(value=Text(formatted(table, layout)))


def images(call: Call) -> Outcome:
    """List images; without ``-a`` untagged ones are hidden unless a filter asks for them."""
    parsed = call.parsed
    filters = parse_filters(parsed.texts("filter"), IMAGE_FILTERS)
    names = (*parsed.arguments, *filters.get("reference", ()))
    all_ = parsed.flag("all")
    if names:
        found = {(row.id, row.repository, row.tag): row for name in names for row in call.engine.images(name, all=all_)}
        rows = tuple(found.values())
    else:
        rows = call.engine.images(all=all_)
    dangling = filters.get("dangling")
    if dangling is not None:
        wanted = dangling[-1].lower() in _TRUE
        rows = tuple(row for row in rows if _is_dangling(row) == wanted)
    elif not all_:
        rows = tuple(row for row in rows if not _is_dangling(row))
    for value in filters.get("label", ()):
        rows = tuple(row for row in rows if _has_label(call, row, value))
    for value in filters.get("before", ()):
        limit = _created(call, value)
        rows = tuple(row for row in rows if row.created < limit.created)
    for value in filters.get("since", ()):
        limit = _created(call, value)
        rows = tuple(row for row in rows if row.created > limit.created)
    options = TableOptions(no_trunc=parsed.flag("no-trunc"), digests=parsed.flag("digests"))
    return shown(call, Table("images", rows, options))


def _is_dangling(row: ImageRow) -> bool:
    return row.repository == _NONE


def _has_label(call: Call, row: ImageRow, wanted: str) -> bool:
    config = call.engine.inspect([str(row.id)], "image")[0].get("Config") or {}
    labels = config.get("Labels") or {}
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def _created(call: Call, name: str) -> ImageRow:
    identifier = call.engine.inspect([name], "image")[0]["Id"]
    for row in call.engine.images(all=True):
        if row.id == identifier:
            return row
    raise ImageNotFound(f"no such image: {name}")


def history(call: Call) -> Outcome:
    """The steps an image was made by."""
    options = TableOptions(no_trunc=call.parsed.flag("no-trunc"), human=call.parsed.flag("human"))
    name = call.parsed.arguments[0]
    if call.parsed.flag("remote"):
        platform = call.parsed.maybe("platform")
        remote = call.engine.remote(name, platform=platform, every=False)
        return shown(call, Table("remote_history", remote.history(platform), options))
    return shown(call, Table("history", call.engine.history(name), options))


def inspect(call: Call) -> Outcome:
    """Documents of containers and images."""
    kind = call.parsed.maybe("type")
    if kind not in (None, *_INSPECTED):
        more = f"one of {', '.join(_INSPECTED)}"
        raise usage_problem(f'unknown type: "{kind}"', near=nearest(kind or "", _INSPECTED), more=more, exit_code=1)
    return _inspect(call, kind)


def inspect_images(call: Call) -> Outcome:
    """Documents of images, in the store or (``--remote``) in their registries."""
    if call.parsed.flag("remote"):
        platform = call.parsed.maybe("platform")
        return inspect_each(call, lambda name: call.engine.inspect_remote(name, platform=platform))
    return _inspect(call, "image")


def inspect_containers(call: Call) -> Outcome:
    """Documents of containers."""
    return _inspect(call, "container")


def _inspect(call: Call, kind: str | None) -> Outcome:
    def look(name: str) -> dict[str, Any]:
        [document] = call.engine.inspect([name], kind)
        return _with_size(call, document) if call.parsed.flag("size") else document

    return inspect_each(call, look)


def _with_size(call: Call, document: dict[str, Any]) -> dict[str, Any]:
    """With docker's two sizes, if it is a container's, at docker's place."""
    if "State" not in document:
        return document
    size, virtual = call.engine.container_sizes(document["Id"])
    sizes = {"SizeRw": size, "SizeRootFs": virtual}
    items = list(document.items())
    at = next((place for place, (key, _) in enumerate(items) if key == "Mounts"), len(items))
    return dict([*items[:at], *sizes.items(), *items[at:]])


def tag(call: Call) -> Outcome:
    """Give an image a further name."""
    source, target = call.parsed.arguments
    call.engine.tag(source, target)
    return Outcome(value=Nothing())


def remove(call: Call) -> Outcome:
    """Remove images by name or id."""
    force = call.parsed.flag("force")

    def one(name: str) -> str:
        return "".join(f"{line}\n" for line in call.engine.remove_image(name, force=force))

    return for_each(call.parsed.arguments, one, skip=ImageNotFound if force else ())


def compare(call: Call) -> Outcome:
    """Sizes, layers and shared bytes of images."""
    return shown(call, Table("compare", call.engine.compare(call.parsed.arguments)))


def prune(call: Call) -> Outcome:
    """Remove images that nothing needs."""
    all_ = call.parsed.flag("all")
    filters = parse_filters(call.parsed.texts("filter"), IMAGE_PRUNE_FILTERS)
    what = "all images without at least one container associated to them" if all_ else "all dangling images"
    question = f"WARNING! This will remove {what}.\nAre you sure you want to continue?"
    if not call.parsed.flag("force") and not call.face.confirm(question):
        return Outcome(value=Nothing())
    pruned = call.engine.prune_images(all=all_, filters=filters)
    return Outcome(value=Text(deleted("Deleted Images:", pruned.removed) + reclaimed(pruned.size)))
