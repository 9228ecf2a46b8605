"""A look at a Dockerfile in a notebook: findings as a DataFrame that shows the marked lines, outline and targets."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, assert_never

from contextkernel.commands.looking import printable
from contextkernel.model.checks import CheckReport, Outline, Targets
from contextkernel.notebook.frames import ContainerFrame, make_frame
from contextkernel.notebook.style import escape, wrap

if TYPE_CHECKING:
    from contextkernel.model.checks import RuleFinding


class CheckFrame(ContainerFrame):
    """The findings of a check, one in a row; shows the Dockerfile with the marked lines above them.

    What is picked out of it (``df[df.rule == "UndefinedVar"]``) is a plain table.

    Attributes:
        report: what it was made of.
    """

    _metadata = ("report",)
    report: CheckReport | None = None

    def __repr__(self) -> str:
        from contextkernel.commands.looking import report_text

        return super().__repr__() if self.report is None else report_text(self.report).rstrip("\n")

    def _repr_html_(self) -> str | None:
        return super()._repr_html_() if self.report is None else report_html(self.report)


def show(value: CheckReport | Outline | Targets) -> Any:
    """The frame for what was found."""
    match value:
        case CheckReport():
            ordered = sorted(value.findings, key=lambda finding: finding.span.line)
            frame = CheckFrame(make_frame("checks", [_record(finding) for finding in ordered]))
            object.__setattr__(frame, "report", value)
            return frame
        case Outline():
            rows = [("build arg", a.name, a.value, False, a.description, a.line) for a in value.arguments]
            for kind, mounts in (("secret", value.secrets), ("ssh", value.ssh), ("cache", value.caches)):
                rows += [(kind, mount.id, "", mount.required, "", mount.line) for mount in mounts]
            return make_frame("outline", rows)
        case Targets():
            return make_frame(
                "targets",
                [(row.name, row.default, row.description, row.base, row.platform, row.line) for row in value.rows],
            )
        case never:
            assert_never(never)


def _record(finding: RuleFinding) -> tuple[Any, ...]:
    span = finding.span
    return (finding.rule, span.line, span.end_line, finding.message, finding.description, finding.url or finding.page)


def report_html(report: CheckReport) -> str:
    """The Dockerfile, numbered, each finding below the line it is about."""
    beside: dict[int, list[RuleFinding]] = {}
    marked: set[int] = set()
    for finding in report.findings:
        beside.setdefault(finding.span.end_line, []).append(finding)
        marked.update(range(finding.span.line, finding.span.end_line + 1))
    count = len(report.findings)
    word = "no warnings" if not count else "1 warning" if count == 1 else f"{count} warnings"
    mark = '<span class="ck-warn">●</span>' if count else '<span class="ck-ok">✓</span>'
    rows = []
    for number, line in enumerate(report.source.removesuffix("\n").split("\n"), 1):
        sign = '<span class="ck-warn">▶</span>' if number in marked else ""
        rows.append(
            f'<tr><td class="ck-mark">{sign}</td><td class="ck-num">{number}</td>'
            f"<td><code>{escape(printable(line))}</code></td></tr>"
        )
        rows += [_told(finding) for finding in beside.get(number, ())]
    notes = "".join(f'<div class="ck-muted">{escape(note)}</div>' for note in report.notes)
    return wrap(
        f'<div class="ck-box ck-{"interrupted" if count else "done"}"><div class="ck-head">{mark} '
        f'<b>{escape(report.file)}</b> <span class="ck-muted">{word}</span>{notes}</div>'
        f'<table class="ck-steps">{"".join(rows)}</table></div>'
    )


def _told(finding: RuleFinding) -> str:
    rule = escape(finding.rule)
    if finding.url:
        rule = f'<a href="{escape(finding.url)}">{rule}</a>'
    return (
        f'<tr class="ck-more"><td></td><td></td><td><span class="ck-warn">warning</span> {rule}: '
        f'{escape(finding.message)}<div class="ck-muted">{escape(finding.description)}</div></td></tr>'
    )
