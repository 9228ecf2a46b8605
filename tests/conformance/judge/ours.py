"""What contextkernel makes of a case, through the same words a user would type."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

from contextkernel import Engine
from contextkernel.commands.execute import execute
from contextkernel.errors import ContextKernelError
from contextkernel.model.ports import Reporter

from .base import BASE, write_base
from .cases import Case
from .images import beyond, differences, flatten, imported


class QuietFace:
    """Where the build's words come from: standard input may be a file, output is dropped.

    Args:
        stdin: descriptor of standard input.
    """

    program = "contextkernel"

    def __init__(self, stdin: int | None) -> None:
        self.stdin = stdin

    def write_out(self, text: str) -> None:
        """Drop it."""

    def write_err(self, text: str) -> None:
        """Drop it."""

    def write_output(self, stream: str, data: bytes) -> None:
        """Drop it."""

    def output_descriptors(self) -> tuple[int | None, int | None]:
        """None."""
        return (None, None)

    def screen(self, *, keys: bool) -> None:
        """None."""

    def ask(self, question: str, *, secret: bool) -> str | None:  # noqa: ARG002
        return None

    def confirm(self, question: str) -> bool:  # noqa: ARG002
        """Nobody is asked."""
        return False

    @contextlib.contextmanager
    def live(self) -> Iterator[Callable[[object], None]]:
        """Nobody looks."""
        yield lambda value: None  # noqa: ARG005

    @contextlib.contextmanager
    def reporter(self, progress: str, *, out: bool = False) -> Iterator[Reporter]:  # noqa: ARG002
        """Nobody looks."""
        yield lambda event: None  # noqa: ARG005


def prepare(engine: Engine, folder: Path) -> dict[str, Any]:
    """Bring the base image to an engine.

    Args:
        engine: the engine.
        folder: for scratch files.

    Returns:
        Its description.
    """
    write_base(folder / "base.tar")
    engine.import_image(str(folder / "base.tar"), BASE)
    return imported(folder / "base.tar")


def result(case: Case, engine: Engine, base: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Build a case.

    Args:
        case: the case.
        engine: builds it.
        base: description of the base image.
        folder: an empty directory.

    Returns:
        The image beyond its base, or ``refused`` with the error's class, line and whole text.
    """
    context, archive = case.lay_out(folder), folder / "ours.tar"
    with (
        contextlib.chdir(context),
        mock.patch.dict(os.environ, case.env),
        open(case.stdin or os.devnull, "rb") as stdin,
    ):
        try:
            execute(engine, ["build", "-t", case.tag, *case.words, case.context], QuietFace(stdin.fileno()))
        except ContextKernelError as problem:
            line = problem.span.line if problem.span else None
            return {"refused": {"error": type(problem).__name__, "line": line, "says": str(problem)}}
    engine.save([case.tag], str(archive))
    return beyond(flatten(archive)[0], base)


def verdict(case: Case, found: dict[str, Any], expected: dict[str, Any]) -> list[str]:
    """How our result differs from docker's.

    Args:
        case: the case.
        found: our result.
        expected: docker's result.

    Returns:
        One line per difference; none if both agree.
    """
    refusal = found.get("refused")
    if case.refused is None:
        if refusal is not None:
            return [f"refused: ours {refusal['error']} in line {refusal['line']}: {refusal['says']}"]
        return differences(found, expected)
    if refusal is None:
        return [f"accepted: ours builds it, docker refuses: {expected['refused']}"]
    return [
        f"{key}: ours {refusal[key]!r}, wanted {wanted!r}"
        for key, wanted in case.refused.items()
        if (wanted not in refusal["says"] if key == "says" else wanted != refusal[key])
    ]
