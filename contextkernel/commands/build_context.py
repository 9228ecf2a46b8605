"""What ``build`` is fed with: its PATH, ``-f``, standard input, ``--build-context`` and ``--context-var``."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from contextkernel.commands.grammar import nearest, usage_problem
from contextkernel.engine.contexts import BuildContext, is_remote_context
from contextkernel.errors import InvalidInput, SourceNotFound

if TYPE_CHECKING:
    from contextkernel.commands.call import Call

_STDIN_LIMIT = 16 << 20
_HEAD = 1024
_UTF8_BOM = b"\xef\xbb\xbf"


class Feed(msgspec.Struct, frozen=True, kw_only=True):
    """What a build is fed with.

    Attributes:
        context: as ``Engine.build`` takes it.
        dockerfile: path or URL of the Dockerfile.
        text: the Dockerfile itself; at most one of the two.
    """

    context: BuildContext
    dockerfile: str | None = None
    text: str | None = None


def feed_of(call: Call) -> Feed:
    """Sort out PATH, ``-f`` and standard input.

    Raises:
        UsageProblem: they contradict each other. SourceNotFound: there is no such directory.
    """
    file = call.parsed.maybe("file")
    variable = call.parsed.maybe("context-var")
    path = call.parsed.arguments[0] if call.parsed.arguments else "."
    if call.dockerfile is not None and file is not None:
        raise usage_problem(f"-f {file} cannot be used here: the cell is the Dockerfile", more="leave -f out")
    if variable is not None:
        if path != ".":
            raise usage_problem(
                f"--context-var {variable} and {path!r} are both the build context", more="leave one out"
            )
        return Feed(context=_variable(call, variable), dockerfile=file, text=call.dockerfile)
    if call.dockerfile is not None:
        return Feed(context=None if path == "-" else _place(path), text=call.dockerfile)
    if path == "-":
        if file == "-":
            raise usage_problem("standard input cannot be both the context and the Dockerfile", more="use -f - .")
        return _piped(call, file)
    if file == "-":
        return Feed(context=_place(path), text=_text(_stdin(call).read(_STDIN_LIMIT + 1)))
    return Feed(context=_place(path), dockerfile=file)


def parse_build_contexts(words: Iterable[str]) -> dict[str, str]:
    """``--build-context NAME=VALUE`` by name; a later one wins.

    Raises:
        UsageProblem: a word without ``=``, or without a name.
    """
    found: dict[str, str] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or not name or not value:
            raise usage_problem(f"invalid build context: {word!r}", more="use --build-context NAME=DIRECTORY")
        found[name] = value
    return found


def _place(path: str) -> str:
    if not os.path.isdir(path):
        if is_remote_context(path):
            return path
        what = "is not a directory" if os.path.exists(path) else "does not exist"
        raise SourceNotFound(f"the context {path!r} {what}", hint="the context is the directory that COPY reads from")
    return path


def _piped(call: Call, file: str | None) -> Feed:
    """``-``: standard input is a tar archive, or else the Dockerfile."""
    from contextkernel.build.opening import is_archive

    stream = _stdin(call)
    head = b""
    while len(head) < _HEAD and (block := stream.read(_HEAD - len(head))):
        head += block
    if is_archive(head):
        return Feed(context=_Joined(head, stream), dockerfile=file)
    if file is not None:
        raise usage_problem(
            f"-f {file} and standard input both name the Dockerfile",
            more="standard input is no archive: leave -f out, or give a context directory",
        )
    return Feed(context=None, text=_text(head + stream.read(_STDIN_LIMIT + 1 - len(head))))


class _Joined:
    """A stream whose beginning was read already."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head = head
        self._rest = rest

    def read(self, size: int = -1, /) -> bytes:
        """At most ``size`` next bytes."""
        if self._head:
            head, self._head = self._head, b""
            return head
        return self._rest.read(size)


def _stdin(call: Call) -> BinaryIO:
    source = call.face.stdin
    if source is None:
        raise usage_problem("there is no standard input to read from", more="use -f FILE, and a context directory")
    if isinstance(source, bytes):
        return io.BytesIO(source)
    return open(source, "rb", closefd=False)


def _text(data: bytes) -> str:
    if len(data) > _STDIN_LIMIT:
        raise InvalidInput(f"the Dockerfile on standard input is longer than {_STDIN_LIMIT} bytes")
    try:
        return data.removeprefix(_UTF8_BOM).decode("utf-8")
    except UnicodeDecodeError as problem:
        raise InvalidInput(f"the Dockerfile on standard input is not UTF-8 text (byte {problem.start})") from None


def _variable(call: Call, name: str) -> Mapping[str, str | bytes]:
    """The files in a variable of the notebook.

    Raises:
        UsageProblem: no notebook. InvalidInput: no such variable, or it has something else in it.
    """
    from contextkernel.build.opening import checked_files

    namespace = call.face.namespace
    if namespace is None:
        raise usage_problem(
            f"--context-var {name}: only a notebook has variables", more="give the build a context directory"
        )
    if name not in namespace:
        near = nearest(name, [one for one in namespace if not one.startswith("_")])
        raise InvalidInput(
            f"--context-var {name}: there is no variable {name!r}",
            hint=f"did you mean {near}?" if near else "set it to a dict of file name to text or bytes",
        )
    return checked_files(namespace[name], f"the variable {name!r}")
