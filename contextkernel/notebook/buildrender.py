"""Draws a :class:`~contextkernel.notebook.buildstate.BuildState`: HTML and its plain-text twin. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from contextkernel.commands.humanize import human_size
from contextkernel.notebook.buildstate import FIRST_LINES, LOG_LINES, is_base
from contextkernel.notebook.layerrender import layers_html, layers_summary, layers_text, notes_html
from contextkernel.notebook.style import escape, wrap

if TYPE_CHECKING:
    from contextkernel.notebook.buildstate import BuildState, StepView, Warned

RUNNING_LINES = 6
"""Last lines of a running step."""
FAILED_LINES = 25
"""Last lines of a failed step, shown without a click."""
PLAIN_LINES = 20
"""Lines of one step in the plain twin."""

_NAME = re.compile(r"\[([^\]]*)\] (.*)", re.DOTALL)
_KEYWORD = re.compile(r"[A-Z]+(?= |\Z)")
_MARKS = {"running": "●", "cached": "✓", "done": "✓", "failed": "✗", "interrupted": "■"}
_WORDS = {
    "build": {"running": "Building", "done": "Built", "failed": "Build failed", "interrupted": "Build interrupted"},
    "transfer": {"running": "Getting", "done": "Got", "failed": "Failed", "interrupted": "Interrupted"},
    "push": {"running": "Pushing", "done": "Pushed", "failed": "Push failed", "interrupted": "Push interrupted"},
    "load": {"running": "Loading", "done": "Loaded", "failed": "Load failed", "interrupted": "Load interrupted"},
    "save": {"running": "Saving", "done": "Saved", "failed": "Save failed", "interrupted": "Save interrupted"},
}
_COLOURS = {"running": "busy", "cached": "ok", "done": "ok", "failed": "bad", "interrupted": "warn"}


def seconds(value: float) -> str:
    """A duration: ``0.4s``, ``12.0s``, ``2m 05s``."""
    if value < 60:
        return f"{value:.1f}s"
    whole = round(value)
    return f"{whole // 60}m {whole % 60:02}s"


def summary(state: BuildState) -> str:
    """The build in a line, as plain text, without its names: ``6 steps, 4 cached, 12.0s``."""
    return _facts(state, cached=True)


def _facts(state: BuildState, *, cached: bool) -> str:
    steps = state.instructions
    number = sum(step.state == "cached" for step in steps)
    parts = [f"{len(steps)} step{'' if len(steps) == 1 else 's'}"] if steps else []
    parts += filter(None, [layers_summary(state.layers)])
    if cached and number:
        parts.append("all cached" if state.all_cached else f"{number} cached")
    if state.seconds is not None:
        parts.append(seconds(state.seconds))
    return ", ".join(parts)


def _elapsed(state: BuildState, now: float) -> str:
    spent = seconds(max(0.0, now - state.started))
    return ", ".join(filter(None, [layers_summary(state.layers), spent]))


def to_html(state: BuildState, now: float) -> str:
    """The view as static HTML; needs no script and stands alone in a saved notebook.

    Args:
        state: what to draw.
        now: clock reading in seconds, for the time of running steps.
    """
    final = state.status != "running"
    hidden = [
        step
        for step in state.steps
        if state.work == "build" and _is_internal(step) and step.state in {"done", "cached"}
    ]
    early = [warning for warning in state.warnings if warning.early]
    left = [warning for warning in state.warnings if not warning.early]
    rows = "".join(_row(step, now, _take(left, step), final=final) for step in state.steps if step not in hidden)
    table = f'<table class="ck-steps">{rows}</table>' if rows else ""
    table = layers_html(state.layers, stopped=final) + table
    body = _head(state, now) + _warnings(early) + table + _warnings(left) + _internal(hidden, now)
    body += notes_html(state.notes)
    return wrap(f'<div class="ck-box ck-{state.status}">{body}</div>')


def _head(state: BuildState, now: float) -> str:
    mark = f'<span class="ck-{_COLOURS[state.status]}">{_MARKS[state.status]}</span>'
    names = state.names or ((state.title,) if state.title else ())
    shown = ", ".join(f"<code>{escape(name)}</code>" for name in names)
    if state.image and not names:
        shown = f"<code>{escape(_short(state.image))}</code>"
    facts = _facts(state, cached=not state.all_cached) if state.status != "running" else _elapsed(state, now)
    badge = '<span class="ck-badge ck-ok">all steps cached</span>' if state.all_cached else ""
    extra = f" · {_short(state.image)}" if state.image and names else ""
    problem = f'<div class="ck-bad">{escape(state.problem)}</div>' if state.problem else ""
    return (
        f'<div class="ck-head">{mark} <b>{_WORDS[state.work][state.status]}</b> {shown} '
        f'<span class="ck-muted">{escape(facts)}{escape(extra)}</span>{badge}{problem}</div>'
    )


def _take(left: list[Warned], step: StepView) -> list[Warned]:
    """The warnings about the step's line; they stand beside it, and are taken from what is left."""
    taken = [warning for warning in left if step.line and warning.line == step.line]
    left[:] = [warning for warning in left if warning not in taken]
    return taken


def _row(step: StepView, now: float, warnings: list[Warned], *, final: bool) -> str:
    label, text = _split(step)
    keyword = _KEYWORD.match(text)
    code = f"<b>{keyword[0]}</b>{escape(text[keyword.end() :])}" if keyword else escape(text)
    spent = step.seconds if step.seconds is not None else max(0.0, now - step.started)
    time = "" if step.state == "cached" else seconds(spent)
    colour = _COLOURS[step.state]
    state = f'<span class="ck-badge ck-{colour}">{_word(step)}</span> ' if step.state != "done" else ""
    detail = "".join(f"<div>{_warning(warning)}</div>" for warning in warnings) + _detail(step, final=final)
    more = f'<tr class="ck-more"><td></td><td></td><td colspan="2">{detail}</td></tr>' if detail else ""
    return (
        f'<tr><td class="ck-mark ck-{colour}">{_MARKS[step.state]}</td><td class="ck-num">{escape(label)}</td>'
        f'<td><code>{code}</code></td><td class="ck-time">{state}{time}</td></tr>{more}'
    )


def _detail(step: StepView, *, final: bool) -> str:
    """What stands below a step's instruction: its last lines, its problem, or its whole log on demand."""
    out = []
    if step.state == "running":
        out += [_meter(item, current, total) for item, current, total in step.progress if current < total or not total]
        out.append(layers_html(step.layers))
        lines = step.tail(RUNNING_LINES)
        if lines:
            out.append(_pre(lines))
    elif step.state in {"failed", "interrupted"}:
        place = f" (Dockerfile line {step.line})" if step.line else ""
        if step.problem:
            out.append(f'<div class="ck-bad">{escape(step.problem)}{place}</div>')
        count = FAILED_LINES if step.state == "failed" else RUNNING_LINES
        lines = step.tail(count)
        if lines:
            out.append(_pre(lines))
        if len(step.log) > count:
            out.append(_fold(step))
    elif _is_internal(step):
        out += [f'<div class="ck-muted">{escape(line)}</div>' for line in step.tail(1)]
        if final and len(step.log) > 1:
            out.append(_fold(step))
    elif final and len(step.log):
        out.append(_fold(step))
    return "".join(out)


def _meter(item: str, current: int, total: int) -> str:
    if not total:
        return f'<div class="ck-muted"><code>{escape(item)}</code> {human_size(current)}</div>'
    return (
        f'<div class="ck-muted"><code>{escape(item)}</code> <progress value="{current}" max="{total}"></progress> '
        f"{human_size(current)} / {human_size(total)}</div>"
    )


def _pre(lines: tuple[str, ...] | list[str]) -> str:
    return f'<pre class="ck-log">{escape(chr(10).join(lines))}</pre>'


def _fold(step: StepView) -> str:
    count = len(step.log)
    word = "line" if count == 1 else "lines"
    return f"<details><summary>log, {count:,} {word}</summary>{_pre(_shortened(step))}</details>"


def _shortened(step: StepView) -> list[str]:
    if len(step.log) <= LOG_LINES:
        return list(step.log.last(LOG_LINES))
    left_out = len(step.log) - LOG_LINES
    last = step.log.last(LOG_LINES - FIRST_LINES)
    return [*step.log.first(FIRST_LINES), f"… {left_out:,} lines left out …", *last]


def _internal(hidden: list[StepView], now: float) -> str:
    """Finished steps that are no instructions: folded, but what the last one said stays in sight."""
    if not hidden:
        return ""
    spent = sum(step.seconds if step.seconds is not None else now - step.started for step in hidden)
    items = "".join(
        "<br>".join([f"<div><code>{escape(step.name)}</code>", *map(escape, step.tail(RUNNING_LINES))]) + "</div>"
        for step in hidden
    )
    naming = [line for step in hidden for line in step.lines if line.startswith("naming to ")]
    said = "".join(f"<div><code>{escape(line)}</code></div>" for line in naming)
    word = "step" if len(hidden) == 1 else "steps"
    return (
        f'<div class="ck-foot">{said}<details><summary>{len(hidden)} more {word} of the builder, '
        f"{seconds(spent)}</summary>{items}</details></div>"
    )


def _warning(warning: Warned) -> str:
    tip = f' title="{escape(warning.detail)}"' if warning.detail else ""
    rule, colon, text = warning.text.partition(": ")
    if warning.url and colon:
        shown = f'<a href="{escape(warning.url)}"{tip}>{escape(rule)}</a>: {escape(text)}'
    else:
        shown = f"<span{tip}>{escape(warning.text)}</span>" if tip else escape(warning.text)
    where = f" (Dockerfile line {warning.line})" if warning.line else ""
    return f'<span class="ck-warn">warning</span> {shown}{where}'


def _warnings(left: list[Warned]) -> str:
    """The warnings that no step shows, with the line that they are about."""
    if not left:
        return ""
    items = []
    for warning in left:
        source = (
            f'<div><span class="ck-muted">{warning.line} |</span> <code>{escape(warning.source)}</code></div>'
            if warning.source
            else ""
        )
        items.append(f"<div>{_warning(warning)}{source}</div>")
    return f'<div class="ck-foot">{"".join(items)}</div>'


def _split(step: StepView) -> tuple[str, str]:
    """Number and text of a step's name: ``[2/6] RUN make`` gives ``2/6`` and ``RUN make``."""
    found = _NAME.fullmatch(step.name)
    return (found[1], found[2]) if found else ("", step.name)


def _word(step: StepView) -> str:
    return "CACHED" if step.state == "cached" else step.state


def _is_internal(step: StepView) -> bool:
    return not step.line and not step.instruction and not is_base(step)


def _short(image: str) -> str:
    return image.partition(":")[2][:12] or image[:12]


def to_text(state: BuildState, now: float) -> str:
    """The plain twin, in the layout of docker's ``--progress plain``.

    Args:
        state: what to draw.
        now: clock reading in seconds.
    """
    blocks = [_block(step, now) for step in state.steps]
    if state.layers or state.notes:
        blocks.insert(0, "\n".join([*layers_text(state.layers), *state.notes]))
    early, late = ([_warning_text(one) for one in state.warnings if one.early == when] for when in (True, False))
    if early:
        blocks.insert(0, "\n".join(early))
    if late:
        blocks.append("\n".join(late))
    facts = summary(state)
    word = _WORDS[state.work][state.status].lower()
    match state.status:
        case "done":
            what = ", ".join(state.names) or _short(state.image) or state.title
            blocks.append(f"{word} {what} ({facts})")
        case "running":
            blocks.append(f"{word} {state.title} ({_elapsed(state, now)})".replace("  ", " "))
        case "failed" | "interrupted":
            reason = f": {state.problem}" if state.problem else ""
            blocks.append(f"{word} ({facts}){reason}")
    return "\n\n".join(blocks)


def _warning_text(warning: Warned) -> str:
    return f"WARNING: {warning.text}" + (f" (line {warning.line})" if warning.line else "")


def _block(step: StepView, now: float) -> str:
    number = f"#{step.number}"
    count = FAILED_LINES if step.state == "failed" else PLAIN_LINES
    lines = step.tail(count)
    out = [f"{number} {step.name}"]
    if step.state != "cached" or lines:
        left_out = step.count - len(lines)
        if left_out:
            out.append(f"{number} … {left_out:,} lines before")
        out += [f"{number} {line}" for line in lines]
    out += [
        f"{number} {item} {human_size(current)}{f' / {human_size(total)}' if total else ''}"
        for item, current, total in step.progress
        if step.state == "running"
    ]
    out += [f"{number} {line}" for line in layers_text(step.layers) if step.state == "running"]
    spent = step.seconds if step.seconds is not None else max(0.0, now - step.started)
    match step.state:
        case "cached":
            out.append(f"{number} CACHED")
        case "done":
            out.append(f"{number} DONE {spent:.1f}s")
        case "failed":
            out.append(f"{number} ERROR: {step.problem}")
        case "interrupted":
            out.append(f"{number} CANCELED {spent:.1f}s")
        case "running":
            out.append(f"{number} running {spent:.1f}s")
    return "\n".join(out)
