"""Verbs that bring images in and out: archives, registries, stand-ins."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contextkernel.commands.grammar import usage_problem
from contextkernel.commands.outcome import Nothing, Outcome, Table, Text
from contextkernel.commands.verbs_image import shown
from contextkernel.errors import InvalidArchive
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.commands.call import Call

_ID = "sha256:"


def save(call: Call) -> Outcome:
    """Write an archive to a file or to standard output."""
    output = call.parsed.maybe("output")
    if output is not None:
        if os.path.isdir(output):
            raise usage_problem(f"cannot write {output}: it is a directory", more="give a file: -o image.tar")
        call.engine.save(call.parsed.arguments, output)
        return Outcome(value=Nothing())
    descriptor, _ = call.face.output_descriptors()
    if descriptor is None or os.isatty(descriptor):
        raise usage_problem("an archive is not shown on a screen", more="use -o FILE, or redirect standard output")
    call.engine.save(call.parsed.arguments, descriptor)
    return Outcome(value=Nothing())


def load(call: Call) -> Outcome:
    """Read an archive from a file or from standard input."""
    names = call.engine.load(_source(call, call.parsed.text("input"), "-i FILE"))
    return Outcome(value=Text("".join(f"Loaded image{' ID' if n.startswith(_ID) else ''}: {n}\n" for n in names)))


def import_(call: Call) -> Outcome:
    """Make an image from a tar of a root file system."""
    file, name = call.parsed.arguments
    ImageRef.parse(name)
    source = _source(call, "" if file == "-" else file, "a file name")
    path = source if isinstance(source, str) else f"/dev/fd/{source}"
    image = call.engine.import_image(path, name, message=call.parsed.text("message"))
    return Outcome(value=Text(f"{image}\n"))


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
    """Fetch an image from its registry."""
    name = call.parsed.arguments[0]
    ref = ImageRef.parse(name)
    with call.face.reporter("quiet" if call.parsed.flag("quiet") else "auto") as report:
        call.engine.pull(name, report=report)
    return Outcome(value=Text(f"{ref}\n"))


def ensure(call: Call) -> Outcome:
    """Make base images available."""
    with call.face.reporter("quiet" if call.parsed.flag("quiet") else "auto") as report:
        rows = call.engine.ensure_bases(call.parsed.arguments, report=report)
    table = Table("bases", rows)
    return Outcome(value=table) if not call.parsed.given("format") else shown(call, table)
