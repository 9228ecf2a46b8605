"""Which images a course needs: what notebooks, Dockerfiles and directories of them name.

Found are the bases of Dockerfiles (FROM, ``COPY --from``, ``RUN --mount=from=``), also in cells, and the images of
``run``, ``create``, ``pull`` and ``base ensure`` on lines of magics and of a shell. What the same files build, tag or
import is made there and needs no registry. Nothing is executed.
"""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from contextkernel.commands.grammar import Parsed
from contextkernel.errors import ContextKernelError, DockerfileError, InvalidInput, InvalidReference
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

_MAX_FILE = 64 << 20
_LINE = re.compile(
    r"\s*(?:[A-Za-z_][\w, ]*=\s*)?(?:%{1,2}|!{1,2})(?P<program>container|docker|contextkernel|podman)\s+(?P<words>.*)"
)
_CELL = re.compile(r"\s*%%dockerfile\b(?P<words>.*)")
_WRITTEN = re.compile(r"\s*%%(?:writefile|file)\s+(?:-a\s+)?(?P<path>\S+)\s*\Z")
_DOCKERFILE = re.compile(r"(?:.*[./_-])?(?:dockerfile|containerfile)(?:[._-].*)?\Z", re.IGNORECASE)
_IMAGE = "docker-image://"
_SKIPPED = {".git", ".ipynb_checkpoints", "__pycache__", "node_modules", ".venv"}


class NamedImage(msgspec.Struct, frozen=True):
    """An image that files name.

    Attributes:
        ref: the image.
        places: where, e.g. ``01-first.ipynb, cell 3`` or ``Dockerfile:1``.
    """

    ref: ImageRef
    places: tuple[str, ...]


class _Cell(msgspec.Struct):
    """Code of a notebook."""

    cell_type: str = ""
    source: str | list[str] = ""


class _Notebook(msgspec.Struct):
    """What is read of a notebook (nbformat 4)."""

    cells: list[_Cell]


def images_named(paths: Sequence[str]) -> tuple[NamedImage, ...]:
    """The images that files need and do not make themselves, by name.

    Args:
        paths: notebooks (``.ipynb``), Dockerfiles, and directories, which are searched for both.

    Raises:
        InvalidInput: a file that cannot be read, or is neither. DockerfileError: a Dockerfile that is none.
    """
    found = _Found()
    for path in paths:
        for file in _files(path):
            _read(file, found)
    return found.result()


class _Found:
    """What was found so far."""

    def __init__(self) -> None:
        self._needed: dict[ImageRef, list[str]] = {}
        self._made: set[ImageRef] = set()

    def need(self, text: str, place: str) -> None:
        """Note an image that is used; variables and ids are passed over."""
        if "$" in text or "{" in text or text == "scratch":
            return
        with suppress(InvalidReference):
            places = self._needed.setdefault(ImageRef.parse(text), [])
            if place not in places:
                places.append(place)

    def make(self, text: str) -> None:
        """Note an image that is made."""
        with suppress(InvalidReference):
            self._made.add(ImageRef.parse(text))

    def result(self) -> tuple[NamedImage, ...]:
        """All that is needed and not made."""
        return tuple(
            NamedImage(ref, tuple(places)) for ref, places in sorted(self._needed.items()) if ref not in self._made
        )


def _files(path: str) -> Iterator[str]:
    if not os.path.isdir(path):
        yield path
        return
    for folder, folders, names in os.walk(path):
        folders[:] = sorted(one for one in folders if one not in _SKIPPED)
        for name in sorted(names):
            file = os.path.join(folder, name)
            if (name.endswith(".ipynb") or _DOCKERFILE.match(name)) and os.path.isfile(file):
                if name.lower().endswith(".dockerignore"):
                    continue
                yield file


def _read(path: str, found: _Found) -> None:
    try:
        with open(path, "rb") as source:
            data = source.read(_MAX_FILE + 1)
    except OSError as problem:
        raise InvalidInput(
            f"cannot read {path}: {(problem.strerror or str(problem)).lower()}",
            hint="name notebooks, Dockerfiles, or directories of them",
        ) from problem
    if len(data) > _MAX_FILE:
        raise InvalidInput(f"cannot read {path}: it is larger than {_MAX_FILE} bytes")
    if path.endswith(".ipynb"):
        _notebook(data, path, found)
        return
    try:
        text = data.decode()
    except UnicodeDecodeError:
        raise InvalidInput(
            f"{path} is neither a notebook nor a Dockerfile", hint="name notebooks, Dockerfiles, or directories of them"
        ) from None
    _dockerfile(text, path, {}, found)


def _notebook(data: bytes, path: str, found: _Found) -> None:
    try:
        notebook = msgspec.json.decode(data, type=_Notebook)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as problem:
        raise InvalidInput(
            f"{path} is not a notebook: {str(problem).lower()}", hint="notebooks of nbformat 4 have cells"
        ) from None
    for number, cell in enumerate(notebook.cells, 1):
        if cell.cell_type == "code":
            text = cell.source if isinstance(cell.source, str) else "".join(cell.source)
            _cell(text, f"{os.path.basename(path)}, cell {number}", found)


def _cell(text: str, place: str, found: _Found) -> None:
    first, _, rest = text.lstrip("\n").partition("\n")
    if magic := _CELL.match(first):
        parsed = _parsed(["build", *_words(magic["words"]), "."])
        values = dict(one.partition("=")[::2] for one in parsed.texts("build-arg")) if parsed else {}
        for tag in parsed.texts("tag") if parsed else ():
            found.make(tag)
        given = dict(one.partition("=")[::2] for one in parsed.texts("build-context")) if parsed else {}
        for value in given.values():
            if value.startswith(_IMAGE):
                found.need(value.removeprefix(_IMAGE), place)
        _dockerfile(rest, place, values, found, lenient=True, given=frozenset(given))
        return
    written = _WRITTEN.match(first)
    if written and _DOCKERFILE.match(os.path.basename(written["path"])):
        _dockerfile(rest, place, {}, found, lenient=True)
        return
    for line in re.sub(r"\\\n", " ", text).splitlines():
        if command := _LINE.match(line):
            _command(_words(command["words"]), place, found)


def _words(text: str) -> list[str]:
    try:
        return shlex.split(text, comments=True)
    except ValueError:  # an open quote: a line of Python that only looks like one of ours
        return []


def _parsed(words: list[str]) -> Parsed | None:
    from contextkernel.commands.declaration import GRAMMAR

    if not words:
        return None
    try:
        parsed = GRAMMAR.parse(words, "contextkernel")
    except ContextKernelError:
        return None
    return None if parsed.help else parsed


def _command(words: list[str], place: str, found: _Found) -> None:
    parsed = _parsed(words)
    if parsed is None:
        return
    arguments = parsed.arguments
    match parsed.command.path:
        case ("container", "run" | "create"):
            found.need(arguments[0], place)
        case ("image", "pull") | ("base", "ensure"):
            for name in arguments:
                found.need(name, place)
        case ("image", "build"):
            for tag in parsed.texts("tag"):
                found.make(tag)
        case ("image", "tag" | "import") | ("container", "commit"):
            for name in arguments[1:2]:
                found.make(name)
        case _:
            pass


def _dockerfile(
    text: str,
    place: str,
    values: dict[str, str],
    found: _Found,
    *,
    lenient: bool = False,
    given: frozenset[str] = frozenset(),
) -> None:
    """Note what a Dockerfile builds on, but for ``given`` contexts; in a notebook a broken one may be a lesson."""
    try:
        origins = list(_origins(text, place, values))
    except (DockerfileError, InvalidInput):
        if not lenient:
            raise
        return
    from contextkernel.plan.named import context_name

    for ref, line in origins:
        if context_name(ref) not in given:
            found.need(str(ref), place if lenient else f"{place}:{line}")


def _origins(text: str, name: str, values: dict[str, str]) -> Iterator[tuple[ImageRef, int]]:
    from contextkernel.dockerfile import parse
    from contextkernel.plan.arguments import global_scope, platform_arguments
    from contextkernel.plan.stages import build_graph
    from contextkernel.plan.steps import ImageOrigin

    dockerfile = parse(text, file=name)
    host = Platform.host()
    scope = global_scope(dockerfile, values, platform_arguments(host, host, None, values))
    for node in build_graph(dockerfile, scope=scope).stages:
        uses: list[tuple[Any, int]] = [(node.base, node.span.line)]
        uses += [(origin, command.span.line) for command in node.commands for origin in command.origins]
        for origin, line in uses:
            if isinstance(origin, ImageOrigin) and not origin.layout:
                yield origin.ref, line
