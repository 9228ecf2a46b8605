"""Verbs about indexes, and about images in registries."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import msgspec

from contextkernel.commands.call import for_each
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.imagetools import applied, overview, template_data
from contextkernel.commands.outcome import DocumentText, Nothing, Outcome, Platforms, Table, TableOptions, Text
from contextkernel.commands.tables import formatted
from contextkernel.commands.template import Template
from contextkernel.errors import InvalidInput
from contextkernel.model.codec import from_json
from contextkernel.model.events import StepNote
from contextkernel.model.oci import Descriptor

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.commands.face import Progress

_PROGRESS: dict[str, Progress] = {"rawjson": "json", "plain": "plain", "none": "quiet", "quiet": "quiet"}


def create(call: Call) -> Outcome:
    """Begin a manifest list, or add to one."""
    name, *images = call.parsed.arguments
    made = call.engine.create_manifest(
        name, images, amend=call.parsed.flag("amend"), insecure=call.parsed.flag("insecure")
    )
    return Outcome(value=Text(f"Created manifest list {made}\n"))


def annotate(call: Call) -> Outcome:
    """Say which platform an image of a list is for."""
    parsed = call.parsed
    name, image = parsed.arguments
    features = [word for text in parsed.texts("os-features") for word in text.split(",") if word]
    call.engine.annotate_manifest(
        name,
        image,
        os=parsed.text("os"),
        arch=parsed.text("arch"),
        variant=parsed.text("variant"),
        os_version=parsed.text("os-version"),
        os_features=features,
    )
    return Outcome(value=Nothing())


def inspect(call: Call) -> Outcome:
    """A manifest or a list, as docker prints it."""
    *within, name = call.parsed.arguments
    data = call.engine.inspect_manifest(
        name,
        within=within[0] if within else None,
        verbose=call.parsed.flag("verbose"),
        insecure=call.parsed.flag("insecure"),
    )
    found = json.loads(data)
    return Outcome(value=DocumentText(f"{data.decode()}\n", tuple(found) if isinstance(found, list) else (found,)))


def push(call: Call) -> Outcome:
    """Push a list; prints what went along, and the list's digest."""
    lines: list[str] = []
    digest = call.engine.push_manifest(
        call.parsed.arguments[0],
        purge=call.parsed.flag("purge"),
        insecure=call.parsed.flag("insecure"),
        tell=lines.append,
    )
    return Outcome(value=Text("".join(f"{line}\n" for line in (*lines, digest))))


def remove(call: Call) -> Outcome:
    """Forget lists."""

    def one(name: str) -> str:
        call.engine.remove_manifest(name)
        return ""

    return for_each(call.parsed.arguments, one)


def assemble(call: Call) -> Outcome:
    """Put an index together in a registry."""
    parsed = call.parsed
    sources = [_source(text) for text in (*map(_file, parsed.texts("file")), *parsed.arguments)]
    dry = parsed.flag("dry-run")
    with call.face.reporter(_PROGRESS.get(parsed.text("progress"), "auto")) as report:
        result = call.engine.assemble(
            sources,
            tags=parsed.texts("tag"),
            annotations=parsed.texts("annotation"),
            platforms=[word for text in parsed.texts("platform") for word in text.split(",") if word],
            append=parsed.flag("append"),
            prefer_index=parsed.flag("prefer-index"),
            push=not dry,
            tell=lambda line: report(StepNote(0, line)),
            report=report,
        )
    return Outcome(
        value=DocumentText(f"{result.document.decode()}\n", (json.loads(result.document),)) if dry else Nothing()
    )


def _file(path: str) -> str:
    try:
        with open(path, encoding="utf-8") as stream:
            return stream.read(1 << 20)
    except (OSError, UnicodeDecodeError) as problem:
        reason = problem.strerror.lower() if isinstance(problem, OSError) and problem.strerror else "not text"
        raise InvalidInput(f"cannot read {path}: {reason}") from None


def _source(text: str) -> str | Descriptor:
    """A name or digest as it is, a descriptor in JSON read."""
    text = text.strip()
    if not text.startswith("{"):
        return text
    hint = 'write {"digest": "sha256:...", "platform": {"os": "linux", "architecture": "arm64"}}'
    try:
        fields = json.loads(text)
        if "schemaVersion" in fields:
            raise InvalidInput("expected an OCI content descriptor, got a manifest or index", hint=hint)
        return from_json(json.dumps({"mediaType": "", "size": 0, **fields}), Descriptor)
    except (ValueError, msgspec.DecodeError) as problem:
        raise InvalidInput(f"invalid descriptor: {problem}", hint=hint) from None


def imagetools_inspect(call: Call) -> Outcome:
    """What a registry has under a name, in buildx' words."""
    name, layout = call.parsed.arguments[0], call.parsed.text("format")
    raw = call.parsed.flag("raw")
    if raw and call.parsed.given("format"):
        raise usage_problem("format and raw cannot be used together", exit_code=1)
    whole = not layout or layout.strip().removeprefix("{{").removesuffix("}}").strip() == ".Manifest"
    if not (raw or whole):
        Template(layout)  # one that is none must fail before anything is asked
    remote = call.engine.remote(name, every=not (raw or whole))
    if raw:
        return Outcome(value=DocumentText(remote.document.decode(), (json.loads(remote.document),)))
    if whole:
        return Outcome(value=Text(overview(remote)))
    wanted = [field for field in ("Provenance", "SBOM") if f".{field}" in layout]
    statements = call.engine.remote_statements(name) if wanted else {}
    return Outcome(value=Text(applied(layout, template_data(name, remote, statements))))


def platforms(call: Call) -> Outcome:
    """The platforms that a name has images for."""
    name, layout = call.parsed.arguments[0], call.parsed.text("format")
    if call.parsed.flag("quiet") and not layout:
        return Outcome(value=Text("".join(f"{one}\n" for one in call.engine.remote_platforms(name))))
    remote = call.engine.remote(name)
    table = Table("platforms", remote.platforms(), TableOptions(no_trunc=call.parsed.flag("no-trunc")))
    if layout not in ("", "table"):
        return Outcome(value=Text(formatted(table, layout)))
    return Outcome(value=Platforms(table.kind, table.rows, table.options, remote))


def layers(call: Call) -> Outcome:
    """The layers of an image in the store, or in a registry."""
    name, platform, layout = call.parsed.arguments[0], call.parsed.maybe("platform"), call.parsed.text("format")
    if platform and not call.parsed.flag("remote"):
        raise usage_problem("--platform is for --remote", more="an image in the store has one platform", exit_code=1)
    if call.parsed.flag("remote"):
        rows = call.engine.remote(name, platform=platform, every=False).layers(platform)
    else:
        rows = call.engine.layers(name)
    table = Table("layers", rows, TableOptions(no_trunc=call.parsed.flag("no-trunc")))
    return Outcome(value=table if layout in ("", "table") else Text(formatted(table, layout)))
