"""Draws layers that travel: a small table with bars, and its plain-text twin. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.humanize import human_size
from contextkernel.commands.layer_lines import ENDED, HELD, MOVING, layer_line, phase_words, transferred
from contextkernel.notebook.style import escape

if TYPE_CHECKING:
    from collections.abc import Sequence

    from contextkernel.commands.layer_lines import Layers
    from contextkernel.model.events import LayerProgress

MOST_ROWS = 60
"""Layers that are drawn one by one; of more those that are done are counted."""
_WIDTH = 100
_FOLDED = 8


def layers_html(layers: Layers, *, stopped: bool = False) -> str:
    """A table, one row for each layer: what it does, how far it is, its size; nothing for no layers.

    Args:
        layers: the newest of each.
        stopped: nothing goes on: what was at work did not finish.
    """
    if not layers:
        return ""
    shown, left = _chosen(layers)
    rows = "".join(_row(layer, stopped=stopped) for layer in shown)
    if left:
        rows += f'<tr><td></td><td class="ck-muted" colspan="4">{left} more layers are done</td></tr>'
    return f'<table class="ck-steps ck-layers">{rows}</table>'


def _chosen(layers: Layers) -> tuple[Sequence[LayerProgress], int]:
    if len(layers) <= MOST_ROWS:
        return layers, 0
    busy = [layer for layer in layers if layer.phase not in ENDED][:MOST_ROWS]
    return busy, len(layers) - len(busy)


def _row(layer: LayerProgress, *, stopped: bool) -> str:
    ended = layer.phase in ENDED
    colour = "ok" if ended else "warn" if stopped or layer.phase == "retrying" else "busy"
    moving = "■" if stopped else "●"
    mark = "✓" if ended else moving if layer.phase in MOVING or layer.phase == "retrying" else "·"
    bar, size = "", human_size(layer.total) if layer.total else ""
    if layer.phase in MOVING and layer.total:
        done = min(layer.current, layer.total)
        bar = f'<progress value="{done}" max="{layer.total}"></progress>'
        size = f"{human_size(done)} / {human_size(layer.total)}"
    elif layer.phase in MOVING and layer.current:
        size = human_size(layer.current)
    return (
        f'<tr><td class="ck-mark ck-{colour}">{mark}</td><td class="ck-num"><code>{escape(layer.layer)}</code></td>'
        f'<td class="{"ck-muted" if layer.phase in HELD else ""}">{escape(phase_words(layer))}</td>'
        f'<td>{bar}</td><td class="ck-time">{size}</td></tr>'
    )


def layers_text(layers: Layers) -> list[str]:
    """Docker's lines."""
    return [layer_line(layer, _WIDTH) for layer in layers]


def notes_html(notes: Sequence[str]) -> str:
    """What was said around the layers, in order; more than a few lines are folded."""
    if not notes:
        return ""
    lines = "".join(f'<div class="ck-muted"><code>{escape(note)}</code></div>' for note in notes)
    if len(notes) > _FOLDED:
        lines = f"<details><summary>{len(notes)} lines</summary>{lines}</details>"
    return f'<div class="ck-foot">{lines}</div>'


def layers_summary(layers: Layers) -> str:
    """``3 layers, 1 was here, 45MB / 120MB``; what is done needs no second number. Empty for no layers."""
    if not layers:
        return ""
    held = sum(layer.phase in HELD for layer in layers)
    parts = [f"{len(layers)} layer{'' if len(layers) == 1 else 's'}"]
    if held:
        parts.append("all were there" if held == len(layers) else f"{held} {'was' if held == 1 else 'were'} there")
    done, total = transferred(layers)
    if total:
        parts.append(human_size(total) if done >= total else f"{human_size(done)} / {human_size(total)}")
    return ", ".join(parts)
