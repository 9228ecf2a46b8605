"""The finished image's configuration: layers, history and times as BuildKit writes them.

Source of the rules: BuildKit's ``exporter/containerimage/writer.go`` (``normalizeLayersAndHistory``,
``patchImageConfig``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from contextkernel.model.digest import Digest
from contextkernel.model.oci import History, ImageConfig, RootFS, RunConfig
from contextkernel.model.platform import Platform
from contextkernel.plan.stage import StageState

COMMENT = "buildkit.dockerfile.v0"
_EXPORTER_COMMENT = "buildkit.exporter.image.v0"


class MadeLayer(msgspec.Struct, frozen=True):
    """A layer that this build made or found in its cache; ``created`` in nanoseconds since the epoch."""

    diff_id: Digest
    created: int


def image_config(
    state: StageState,
    *,
    base: ImageConfig | None,
    made: Sequence[MadeLayer],
    labels: Mapping[str, str],
    platform: Platform,
    epoch: int | None = None,
) -> ImageConfig:
    """Put the document together.

    Args:
        state: the target stage at its end.
        base: configuration of the image at the bottom; ``None`` for ``scratch``.
        made: the layers on top of it, in order, one for each history line with a layer.
        labels: from ``--label``; they win, and leave no history.
        platform: of an image that is based on nothing.
        epoch: SOURCE_DATE_EPOCH in seconds: the time of everything that this build added to the history.
    """
    below = base.rootfs.diff_ids if base else ()
    inherited = _complete(base) if base else ()
    fixed = None if epoch is None else timestamp(epoch * 1_000_000_000)
    own = tuple(
        History(created=fixed, created_by=line.created_by, comment=COMMENT, empty_layer=not line.layer)
        for line in state.history
    )
    # a stage that starts from files has their layer, and no line of its own for it: BuildKit adds one at the end,
    # which says what made the topmost layer
    titles = [line.title for line in state.history if line.layer]
    missing = len(made) - len(titles)
    own += (History(created_by=titles[-1] if titles else state.bottom, comment=_EXPORTER_COMMENT),) * missing
    history = with_times((*inherited, *own), [None] * len(below) + [timestamp(layer.created) for layer in made])
    times = [entry.created for entry in history if entry.created]
    return ImageConfig(
        architecture=base.architecture if base else platform.architecture,
        os=base.os if base else platform.os,
        variant=(base.variant if base else platform.variant) or "",
        config=sorted_config(state.config, labels),
        rootfs=RootFS("layers", (*below, *(layer.diff_id for layer in made))),
        history=history,
        created=times[-1] if times else base.created if base else None,
        author=state.author,
    )


def _complete(base: ImageConfig) -> tuple[History, ...]:
    """The base's history with exactly one layer entry for each of its layers."""
    layers, history = len(base.rootfs.diff_ids), []
    for entry in base.history:
        if not entry.empty_layer:
            if layers == 0:
                history.append(msgspec.structs.replace(entry, empty_layer=True))
                continue
            layers -= 1
        history.append(entry)
    missing = History(created=base.created, created_by="created by buildkit", comment=_EXPORTER_COMMENT)
    return (*history, *([missing] * layers))


def with_times(history: Sequence[History], layer_times: Sequence[str | None]) -> tuple[History, ...]:
    """Give every entry a time.

    A layer's entry has its layer's time. A change of metadata has the time of the layer before it, and those before
    the first new layer have that layer's; with no new layer, the time of the last entry that has one.

    Args:
        history: entries, the base's with their own times.
        layer_times: one per entry with a layer, in order; used where the entry has no time.
    """
    times = iter(layer_times)
    dated = [
        msgspec.structs.replace(entry, created=entry.created or time)
        for entry, time in ((entry, None if entry.empty_layer else next(times, None)) for entry in history)
    ]
    current: str | None = None
    gap = False
    for entry in dated:
        if entry.created is None:
            gap = True
            continue
        current = entry.created
        if gap:
            break
    gap, out = False, []
    for entry in dated:
        if entry.created is None:
            gap = True
        elif gap:
            current = entry.created
        out.append(entry if entry.created else msgspec.structs.replace(entry, created=current))
    return tuple(out)


def sorted_config(config: RunConfig, labels: Mapping[str, str]) -> RunConfig:
    """The configuration with ``labels`` added and its maps in the order in which Go writes them."""
    both = {**(config.labels or {}), **labels}
    return msgspec.structs.replace(
        config,
        labels=dict(sorted(both.items())) or None,
        volumes=dict(sorted((config.volumes or {}).items())) or None,
        exposed_ports=dict(sorted((config.exposed_ports or {}).items())) or None,
        env=config.env or None,
    )


def timestamp(nanoseconds: int) -> str:
    """RFC 3339 with as many decimals as needed, in UTC, as Go writes a time."""
    seconds, rest = divmod(nanoseconds, 1_000_000_000)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    fraction = f".{rest:09d}".rstrip("0") if rest else ""
    return f"{whole}{fraction}Z"
