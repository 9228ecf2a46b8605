"""Verbs that bring images in and out: archives, registries, stand-ins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contextkernel.commands.call import LateReporter
from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Nothing, Outcome, Table, Text
from contextkernel.commands.verbs_image import shown
from contextkernel.errors import InvalidArchive
from contextkernel.model.events import StepNote
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.commands.face import Progress

_ID = "sha256:"
_URLS = ("http://", "https://")


def save(call: Call) -> Outcome:
    """Write an archive to a file or to standard output."""
    output, platform = call.parsed.maybe("output"), call.parsed.texts("platform") or None
    if output is not None:
        if os.path.isdir(output):
            raise usage_problem(f"cannot write {output}: it is a directory", more="give a file: -o image.tar")
        call.engine.save(call.parsed.arguments, output, platform=platform)
        return Outcome(value=Nothing())
    descriptor, _ = call.face.output_descriptors()
    if descriptor is None or os.isatty(descriptor):
        raise usage_problem("an archive is not shown on a screen", more="use -o FILE, or redirect standard output")
    call.engine.save(call.parsed.arguments, descriptor, platform=platform)
    return Outcome(value=Nothing())


def load(call: Call) -> Outcome:
    """Read an archive from a file, a directory or standard input."""
    source = _source(call, call.parsed.text("input"), "-i FILE")
    notes: list[str] = []
    with LateReporter(call.face, _progress(call)) as view:

        def report(event: object) -> None:
            if isinstance(event, StepNote):
                notes.append(event.text)
            else:
                view(event)

        names = call.engine.load(source, platform=call.parsed.maybe("platform"), report=report)
    lines = [f"Loaded image{' ID' if name.startswith(_ID) else ''}: {name}" for name in names]
    return Outcome(value=Text("".join(f"{line}\n" for line in (*notes, *lines))))


def _progress(call: Call) -> Progress:
    """How progress is shown: as docker has it, not at all where output goes to a file or a pipe."""
    descriptor, _ = call.face.output_descriptors()
    redirected = descriptor is not None and not os.isatty(descriptor)
    return "quiet" if redirected or call.parsed.flag("quiet") else "auto"


def import_(call: Call) -> Outcome:
    """Make an image from a tar of a root file system."""
    file, *names = call.parsed.arguments
    for name in names:
        ImageRef.parse(name)  # before anything is fetched
    url = file.startswith(_URLS)
    with LateReporter(call.face, "auto") as report:
        image = call.engine.import_image(
            file if url else _source(call, "" if file == "-" else file, "a file name"),
            names[0] if names else None,
            message=call.parsed.text("message"),
            changes=call.parsed.texts("change"),
            platform=call.parsed.maybe("platform"),
            report=report if url else None,
        )
    return Outcome(value=Text((f"Downloading from {file}\n" if url else "") + f"{image}\n"))


def _source(call: Call, path: str, instead: str) -> str | int:
    """The archive to read: a path that exists, or the descriptor of standard input."""
    if path:
        if not os.path.exists(path):
            raise InvalidArchive(f"cannot read {path}: no such file")
        return path
    stdin = call.face.stdin
    if isinstance(stdin, int) and not os.isatty(stdin):
        return stdin
    raise usage_problem("there is no archive on standard input", more=f"use {instead}, or redirect standard input")


def pull(call: Call) -> Outcome:
    """Fetch an image, or all of a repository, from the registry; docker's lines."""
    parsed = call.parsed
    name, everything, quiet = parsed.arguments[0], parsed.flag("all-tags"), parsed.flag("quiet")
    ref = ImageRef.parse(name)
    bare = ref.digest is None and ref.tag == "latest" and not name.endswith(":latest")
    if everything and not bare:
        raise usage_problem("tag can't be used with --all-tags/-a", exit_code=1)
    with call.face.reporter("quiet" if quiet else "auto", out=True) as report:
        if bare and not everything:
            report(StepNote(0, "Using default tag: latest"))
        call.engine.pull(name, platform=parsed.maybe("platform"), all_tags=everything, report=report)
    return Outcome(value=Text(f"{ref.name if everything else ref}\n"))


def ensure(call: Call) -> Outcome:
    """Make base images available."""
    with call.face.reporter("quiet" if call.parsed.flag("quiet") else "auto") as report:
        rows = call.engine.ensure_bases(call.parsed.arguments, report=report)
    table = Table("bases", rows)
    return Outcome(value=table) if not call.parsed.given("format") else shown(call, table)
