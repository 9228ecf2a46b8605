"""Layers that travel, in docker's words, and as lines of a terminal. Pure.

Words and the look of the bar: moby, distribution/ and pkg/jsonmessage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import msgspec

from contextkernel.commands.humanize import human_size
from contextkernel.model.events import LayerProgress

Layers: TypeAlias = tuple[LayerProgress, ...]
"""The newest event of each layer, in order of first appearance."""

MOVING = frozenset({"downloading", "extracting", "pushing", "loading"})
"""Phases that have a bar."""
ENDED = frozenset({"complete", "exists", "pushed", "mounted", "present", "loaded"})
"""Phases that a layer ends with."""
HELD = frozenset({"exists", "mounted", "present"})
"""Ends of layers of which nothing had to be transferred."""

_WORDS = {
    "preparing": "Preparing",
    "waiting": "Waiting",
    "pulling": "Pulling fs layer",
    "downloading": "Downloading",
    "verifying": "Verifying Checksum",
    "downloaded": "Download complete",
    "extracting": "Extracting",
    "complete": "Pull complete",
    "exists": "Already exists",
    "pushing": "Pushing",
    "pushed": "Pushed",
    "present": "Layer already exists",
    "loading": "Loading layer",
    "loaded": "Loaded",
}
_WHOLE = frozenset({"verifying", "downloaded", "extracting"} | ENDED)
_BAR = 50


def phase_words(event: LayerProgress) -> str:
    """What docker says of a layer in this phase, without numbers: ``Pull complete``."""
    if event.phase == "mounted":
        return f"Mounted from {event.detail}" if event.detail else "Mounted"
    if event.phase == "retrying":
        return f"Retrying in {event.current} second{'' if event.current == 1 else 's'}"
    return _WORDS[event.phase]


def with_news(layers: Layers, event: LayerProgress) -> Layers:
    """``layers`` with the newest of one of them; a size that is known already is kept."""
    for place, before in enumerate(layers):
        if before.layer == event.layer:
            news = event if event.total else msgspec.structs.replace(event, total=before.total)
            return (*layers[:place], news, *layers[place + 1 :])
    return (*layers, event)


def transferred(layers: Sequence[LayerProgress]) -> tuple[int, int]:
    """Bytes that have been transferred, and that are to be: those of layers that were there already do not count."""
    wanted = [layer for layer in layers if layer.phase not in HELD]
    done = sum(
        layer.total if layer.phase in _WHOLE else layer.current
        for layer in wanted
        if layer.phase in _WHOLE or (layer.phase in MOVING)
    )
    return done, sum(layer.total for layer in wanted)


def layer_line(event: LayerProgress, width: int) -> str:
    """``a1b2c3: Downloading [===>   ]  1.2MB/3MB`` in at most ``width`` columns."""
    head = f"{event.layer}: {phase_words(event)}"
    if event.phase not in MOVING:
        return head
    if not event.total:
        return f"{head}  {human_size(event.current)}" if event.current else head
    numbers = f"{human_size(min(event.current, event.total)):>8}/{human_size(event.total)}"
    room = min(_BAR, width - len(head) - len(numbers) - 5)
    if room < 5:
        return f"{head} {numbers.strip()}"
    done = min(room, room * event.current // event.total)
    return f"{head} [{'=' * done}>{' ' * (room - done)}] {numbers}"


def fitting(layers: Layers, width: int, rows: int) -> list[str]:
    """Lines for ``layers``, at most ``rows``: those at work come first, the number of what is left out stands last."""
    rows = max(1, rows)
    if len(layers) <= rows:
        return [layer_line(layer, width) for layer in layers]
    order = sorted(range(len(layers)), key=lambda place: _urgency(layers[place]))
    shown = sorted(order[: rows - 1])
    left = [layers[place] for place in order[rows - 1 :]]
    ended = sum(layer.phase in ENDED for layer in left)
    return [
        *(layer_line(layers[place], width) for place in shown),
        f"{len(left)} more layer{'' if len(left) == 1 else 's'}, {ended} done",
    ]


def _urgency(layer: LayerProgress) -> int:
    if layer.phase in MOVING or layer.phase == "retrying":
        return 0
    if layer.phase in {"verifying", "downloaded"}:
        return 1
    return 3 if layer.phase in ENDED else 2
