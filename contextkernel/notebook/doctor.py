"""The report of ``doctor`` in a notebook: a frame of facts that shows what they mean and what would allow more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.commands.host_text import AUDIENCES, PLACES, TIERS, VERDICTS, grouped, host_text, why
from contextkernel.notebook.frames import ContainerFrame, make_frame
from contextkernel.notebook.records import fact_record
from contextkernel.notebook.style import escape, wrap

if TYPE_CHECKING:
    from contextkernel.model.results import Fact, HostReport, Remedy

_COLOURS = {"works": "ok", "limited": "warn", "refused": "bad"}
_MARKS = {"works": "✓", "limited": "●", "refused": "✗"}
#: the colour of the box: containers as they should be, containers with a limit, none
_BOXES = {"rootful": "done", "rootless": "done", "rootless-single": "interrupted", "ptrace": "interrupted"}
_GROUPS = {
    "conclusions": "What it comes to",
    "namespaces": "Namespaces",
    "files": "Files",
    "confinement": "Confinement",
    "resources": "Resources",
    "network": "Network",
    "programs": "Programs",
}


class DoctorFrame(ContainerFrame):
    """The facts about a host, one in a row; shows the whole report.

    What is picked out of it (``df[df.verdict == "refused"]``) is a plain table.

    Attributes:
        report: what it was made of.
    """

    _metadata = ("report",)
    report: HostReport | None = None

    def __repr__(self) -> str:
        return super().__repr__() if self.report is None else host_text(self.report).rstrip("\n")

    def _repr_html_(self) -> str | None:
        return super()._repr_html_() if self.report is None else report_html(self.report)


def show(report: HostReport) -> DoctorFrame:
    """The frame for a report."""
    frame = DoctorFrame(make_frame("facts", [fact_record(fact) for fact in report.facts]))
    object.__setattr__(frame, "report", report)
    return frame


def report_html(report: HostReport) -> str:
    """Tier, meaning, remedies to be copied, and every fact; what works is folded away."""
    box = _BOXES.get(report.tier, "failed")
    spent = f' <span class="ck-muted">found out in {report.milliseconds:.0f} ms</span>' if report.milliseconds else ""
    head = f'<div class="ck-head"><b>{escape(report.tier)}</b>{escape(TIERS.get(report.tier, ""))}{spent}</div>'
    meaning = "".join(
        f'<tr><td class="ck-num">{title}</td><td>{"<br>".join(escape(one) for one in sentences)}</td></tr>'
        for title, sentences in (("builds", report.build), ("containers", report.run))
        if sentences
    )
    return wrap(
        f'<div class="ck-box ck-{box}">{head}<table class="ck-steps">{meaning}</table>'
        f"{_remedies(report)}{_facts(report.facts)}</div>"
    )


def _remedies(report: HostReport) -> str:
    parts = []
    for who, title in AUDIENCES.items():
        for gives, group in grouped([remedy for remedy in report.remedies if remedy.who == who]):
            parts.append(
                f'<div><b>{escape(gives)}</b> <span class="ck-muted">{escape(title)}</span>{_texts(group)}</div>'
            )
    if not parts:
        return ""
    # on a host that runs containers it is there for whoever wants more
    opened = " open" if report.tier in ("ptrace", "analysis") else ""
    return f'<div class="ck-foot"><details{opened}><summary>to allow more</summary>{"".join(parts)}</details></div>'


def _texts(remedies: list[Remedy]) -> str:
    return "".join(
        f'<div class="ck-muted">{escape(PLACES.get(one.where, one.where))}</div>'
        f'<pre class="ck-log">{escape(one.text)}</pre>'
        for one in remedies
    )


def _facts(facts: tuple[Fact, ...]) -> str:
    """A table for each group; open where something does not work."""
    groups: dict[str, list[Fact]] = {}
    for fact in facts:
        groups.setdefault(fact.group or "conclusions", []).append(fact)
    parts = []
    for name, members in groups.items():
        working = sum(fact.verdict == "works" for fact in members)
        opened = " open" if working < len(members) else ""
        parts.append(
            f"<details{opened}><summary>{escape(_GROUPS.get(name, name))} "
            f'<span class="ck-muted">{working} of {len(members)} work</span></summary>'
            f'<table class="ck-table"><thead><tr><th>fact</th><th>verdict</th><th>why</th><th>who</th>'
            f'<th class="ck-r">ms</th></tr></thead><tbody>{"".join(map(_row, members))}</tbody></table></details>'
        )
    return f'<div class="ck-foot">{"".join(parts)}</div>'


def _row(fact: Fact) -> str:
    colour, mark = _COLOURS.get(fact.verdict, "muted"), _MARKS.get(fact.verdict, "")
    tip = f' title="{escape(fact.about)}"' if fact.about else ""
    spent = f"{fact.milliseconds:.1f}" if fact.milliseconds >= 0.05 else ""
    return (
        f'<tr><td class="ck-mono"{tip}>{escape(fact.name)}</td>'
        f'<td><span class="ck-{colour}">{mark} {escape(VERDICTS.get(fact.verdict, fact.verdict))}</span></td>'
        f'<td class="ck-wrap">{escape(why(fact))}</td><td>{escape(fact.who)}</td><td class="ck-r">{spent}</td></tr>'
    )
