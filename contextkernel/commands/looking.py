"""``build --check`` and ``build --call``: looking at a Dockerfile, and what is printed of it (as buildx does)."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple, assert_never

from contextkernel.commands.build_context import parse_build_contexts
from contextkernel.commands.humanize import display_width
from contextkernel.commands.outcome import Looked, Outcome
from contextkernel.commands.values import parse_build_args
from contextkernel.dockerfile.suggest import did_you_mean
from contextkernel.errors import ContextKernelError, Span, UsageProblem
from contextkernel.model.checks import CheckReport, Outline, RuleFinding, Targets

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.contexts import BuildContext

_CALLS = ("build", "check", "outline", "targets")
_RULER = "-" * 20


class Wanted(NamedTuple):
    """A ``--call``: what, as JSON or not, and whether findings count for the exit code."""

    what: str
    as_json: bool = False
    ignore_status: bool = False


def wanted(parsed: Parsed) -> Wanted:
    """What the command line asks for.

    Raises:
        UsageProblem: an unknown call, or an unknown field behind it.
    """
    what, *fields = parsed.text("call").split(",")
    what = "check" if what == "lint" else what or "build"
    if parsed.flag("check"):
        if what != "check" and parsed.given("call"):
            raise UsageProblem(f"--check is --call=check, and cannot be given with --call={what}")
        what = "check"
    if what not in _CALLS:
        raise UsageProblem(f"unknown --call {what!r}", hint=did_you_mean(what, _CALLS))
    as_json = ignore_status = False
    for field in fields:
        key, _, value = field.partition("=")
        if key == "format" and value in ("json", "text"):
            as_json = value == "json"
        elif key == "ignorestatus" and value in ("", "true", "1", "false", "0"):
            ignore_status = value not in ("false", "0")
        else:
            raise UsageProblem(f"invalid field {field!r} of --call", hint="format=json, format=text, ignorestatus=true")
    return Wanted(what, as_json, ignore_status)


def wants_a_look(parsed: Parsed) -> bool:
    """Whether nothing is to be built."""
    return wanted(parsed).what != "build"


def look(call: Call, context: BuildContext, dockerfile: str | None, text: str | None) -> Outcome:
    """Look at the Dockerfile; the exit code of a check is 1 if there is anything to say."""
    parsed = call.parsed
    what, as_json, ignore_status = wanted(parsed)
    arguments, target = parse_build_args(parsed.texts("build-arg")), parsed.maybe("target")
    # of several platforms the first is looked at, as findings hardly ever differ
    platform = (parsed.maybe("platform") or "").partition(",")[0] or None
    try:
        match what:
            case "targets":
                return Outcome(value=Looked(call.engine.targets(context, dockerfile=dockerfile, text=text), as_json))
            case "outline":
                found = call.engine.outline(
                    context, dockerfile=dockerfile, text=text, build_args=arguments, target=target, platform=platform
                )
                return Outcome(value=Looked(found, as_json))
            case _:
                report = call.engine.check(
                    context,
                    dockerfile=dockerfile,
                    text=text,
                    build_args=arguments,
                    target=target,
                    platform=platform,
                    contexts=parse_build_contexts(parsed.texts("build-context")),
                )
    except ContextKernelError as problem:
        problem.exit_code = 1  # docker build: whatever failed
        raise
    for note in report.notes:
        call.face.write_err(f"note: {note}\n")
    problems: tuple[ContextKernelError, ...] = ()
    if report.problem is not None and not as_json:
        problems = (report.problem,)
    code = 0 if report.clean or (ignore_status and report.problem is None) else 1
    return Outcome(value=Looked(report, as_json), exit_code=code, problems=problems)


def looked_text(looked: Looked) -> str:
    """What the command line prints."""
    match looked.value:
        case CheckReport() as report:
            return _json(report_document(report)) if looked.as_json else report_text(report)
        case Outline() as outline:
            return _json(outline_document(outline)) if looked.as_json else outline_text(outline)
        case Targets() as targets:
            return _json(targets_document(targets)) if looked.as_json else targets_text(targets)
        case never:
            assert_never(never)


def report_text(report: CheckReport) -> str:
    """The findings by line, each with an excerpt in docker's layout."""
    count = len(report.findings)
    if not count:
        return "" if report.problem is not None else "Check complete, no warnings found.\n"
    has = "1 warning has" if count == 1 else f"{count} warnings have"
    out = [f"Check complete, {has} been found!\n"]
    for finding in sorted(report.findings, key=lambda one: one.span.line):
        page = f" - {finding.url}" if finding.url else ""
        out.append(f"\nWARNING: {finding.rule}{page}\n{finding.message}\n")
        out.append(excerpt(report, finding.span))
    return "".join(out)


def excerpt(report: CheckReport, span: Span) -> str:
    """The lines of ``span`` marked, with some around them (BuildKit, ``errdefs/source.go``)."""
    lines = report.source.split("\n")
    first, last = span.line, min(span.end_line, len(lines))
    start, end = first, last
    around = 4 if first == last else 2
    taken = 0
    while taken < around:
        if start > 1:
            start, taken = start - 1, taken + 1
        if end < len(lines):
            end, taken = end + 1, taken + 1
        taken += 1
    shown = [
        f" {number:>3} | {'>>>' if first <= number <= last else '   '} {printable(lines[number - 1])}\n"
        for number in range(start, end + 1)
    ]
    return f"{report.file.rpartition('/')[2]}:{first}\n{_RULER}\n{''.join(shown)}{_RULER}\n"


def printable(line: str) -> str:
    """A line as a terminal or a page may have it: a Dockerfile is not to move the cursor."""
    return "".join(char if char.isprintable() or char == "\t" else "\ufffd" for char in line.rstrip("\r"))


def outline_text(outline: Outline) -> str:
    """What the target takes, as docker prints it; cache mounts are our own section."""
    out = []
    if outline.target or outline.description:
        head = [f"TARGET:\t{outline.target or '(default)'}"]
        if outline.description:
            head.append(f"DESCRIPTION:\t{outline.description}")
        out += [*_columns(head, 1), ""]
    out += _section("BUILD ARG\tVALUE\tDESCRIPTION", [(a.name, a.value, a.description) for a in outline.arguments])
    out += _section("SECRET\tREQUIRED", [(one.id, "true" if one.required else "") for one in outline.secrets])
    out += _section("SSH\tREQUIRED", [(one.id, "true" if one.required else "") for one in outline.ssh])
    out += _section("CACHE\tLINE", [(one.id, str(one.line)) for one in outline.caches])
    return "".join(f"{line}\n" for line in out)


def _section(head: str, rows: Iterable[tuple[str, ...]]) -> list[str]:
    lines = ["\t".join(row) for row in rows]
    return [*_columns([head, *lines], 3), ""] if lines else []


def _columns(lines: list[str], gap: int) -> list[str]:
    """Cells that are divided by tabs, side by side with ``gap`` blanks between (Go's ``tabwriter``)."""
    rows = [line.split("\t") for line in lines]
    widths = [max(map(display_width, column)) + gap for column in zip(*rows, strict=True)]
    return [
        "".join(cell + " " * (width - display_width(cell)) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


def targets_text(targets: Targets) -> str:
    """The stages as docker lists them."""
    lines = ["TARGET\tDESCRIPTION"]
    for row in targets.rows:
        name = row.name
        if row.default:
            name = f"{name} (default)" if name else "(default)"
        lines.append(f"{name}\t{row.description}")
    return "".join(f"{line}\n" for line in _columns(lines, 1))


def report_document(report: CheckReport) -> dict[str, Any]:
    """Docker's document (``subrequests/lint``) without the definition of the source."""
    document: dict[str, Any] = {
        "warnings": [_finding(finding) for finding in report.findings],
        "sources": [
            {"filename": report.file.rpartition("/")[2], "data": _encoded(report.source), "language": "Dockerfile"}
        ],
    }
    if report.problem is not None:
        span = report.problem.span
        document["buildError"] = {
            "message": report.problem.problem,
            "location": _location(span.line, span.end_line) if span else {},
        }
    return document


def _finding(finding: RuleFinding) -> dict[str, Any]:
    found: dict[str, Any] = {"ruleName": finding.rule, "description": finding.description}
    if finding.url:
        found["url"] = finding.url
    return {**found, "detail": finding.message, "location": _location(finding.span.line, finding.span.end_line)}


def _location(first: int, last: int) -> dict[str, Any]:
    return {"ranges": [{"start": {"line": line}, "end": {"line": line}} for line in range(first, last + 1)]}


def outline_document(outline: Outline) -> dict[str, Any]:
    """Docker's document (``subrequests/outline``)."""
    groups: dict[str, list[dict[str, Any]]] = {
        "args": [
            _filled(name=one.name, description=one.description, value=one.value, line=one.line)
            for one in outline.arguments
        ],
        "secrets": [_filled(name=one.id, required=one.required, line=one.line) for one in outline.secrets],
        "ssh": [_filled(name=one.id, required=one.required, line=one.line) for one in outline.ssh],
        "cache": [_filled(ID=one.id, line=one.line) for one in outline.caches],
    }
    return {
        **_filled(name=outline.target, description=outline.description),
        **{name: rows for name, rows in groups.items() if rows},
        "sources": [_encoded(outline.source)],
    }


def targets_document(targets: Targets) -> dict[str, Any]:
    """Docker's document (``subrequests/targets``)."""
    return {
        "targets": [
            _filled(
                name=row.name,
                default=row.default,
                description=row.description,
                base=row.base,
                platform=row.platform,
                line=row.line,
            )
            for row in targets.rows
        ],
        "sources": [_encoded(targets.source)],
    }


def _filled(*, line: int = 0, **values: object) -> dict[str, Any]:
    """What has a value, and the place."""
    found = {name: value for name, value in values.items() if value}
    return {**found, "location": _location(line, line)} if line else found


def _encoded(source: str) -> str:
    return base64.b64encode(source.encode("utf-8", "surrogateescape")).decode("ascii")


def _json(document: dict[str, Any]) -> str:
    from contextkernel.commands.template_values import to_json

    return to_json(document, indent=2) + "\n"
