"""Planned steps: what is to be done, fully resolved; frozen, and distinct from the instructions they came from."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from contextkernel.errors import Span
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

Network: TypeAlias = Literal["default", "none", "host"]


class StageOrigin(msgspec.Struct, frozen=True):
    """An earlier stage of the same Dockerfile, by its position."""

    index: int


class ImageOrigin(msgspec.Struct, frozen=True):
    """An image from the store or a registry; ``platform`` if a FROM asked for one."""

    ref: ImageRef
    platform: Platform | None = None


class ScratchOrigin(msgspec.Struct, frozen=True):
    """Nothing: ``scratch``."""


class ContextOrigin(msgspec.Struct, frozen=True):
    """The build context."""


Base: TypeAlias = StageOrigin | ImageOrigin | ScratchOrigin
Origin: TypeAlias = StageOrigin | ImageOrigin | ScratchOrigin | ContextOrigin


class InlineFile(msgspec.Struct, frozen=True):
    """A file whose content stands in the Dockerfile (a here-document)."""

    name: str
    content: str


class TmpfsTarget(msgspec.Struct, frozen=True):
    """A temporary file system during one RUN: absolute path, and bytes (0: no limit)."""

    path: str
    size: int = 0


class _Step(msgspec.Struct, frozen=True, kw_only=True):
    """What every step has.

    Attributes:
        title: as docker's progress shows it, e.g. ``[build 2/5] WORKDIR /app``.
        created_by: text of its history entry.
        span: the instruction (of an ONBUILD trigger: the FROM) in the Dockerfile.
        original: the instruction's text.
    """

    title: str
    created_by: str
    span: Span
    original: str


class RunStep(_Step, frozen=True, kw_only=True):
    """Run a program and keep what it changed.

    Attributes:
        argv: program and arguments, the shell included.
        env: ``NAME=value``: the image's environment, then arguments in scope.
        arguments: which names in ``env`` come from ARG; for explanations only.
        proxy: predefined proxy variables; not part of the cache key.
        script: a here-document with a shebang, mounted as ``/dev/pipes/<name>``; ``argv`` then runs it.
    """

    argv: tuple[str, ...]
    env: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    proxy: tuple[str, ...] = ()
    user: str = ""
    cwd: str = "/"
    network: Network = "default"
    tmpfs: tuple[TmpfsTarget, ...] = ()
    script: InlineFile | None = None


class CopyStep(_Step, frozen=True, kw_only=True):
    """COPY, or ADD of local files.

    Attributes:
        origin: where the sources are.
        sources: absolute paths within the origin, possibly with wildcards.
        files: here-documents, expanded.
        destination: absolute path in the image.
        directory: the destination is a directory (it ended in ``/`` or ``/.``, or there are several sources).
        chown: ``user[:group]``, empty for none.
        chmod: permission bits, or ``None``.
        unpack: unpack sources that are tar archives (ADD).
    """

    origin: Origin
    sources: tuple[str, ...]
    files: tuple[InlineFile, ...] = ()
    destination: str
    directory: bool = False
    chown: str = ""
    chmod: int | None = None
    unpack: bool = False


class WorkdirStep(_Step, frozen=True, kw_only=True):
    """Make the working directory, with ``owner`` (``user[:group]``) for directories that are missing."""

    path: str
    owner: str = ""


class MetadataStep(_Step, frozen=True, kw_only=True):
    """A change of the image's configuration only; already applied in the stage's configuration."""


LayerStep: TypeAlias = RunStep | CopyStep | WorkdirStep
Step: TypeAlias = RunStep | CopyStep | WorkdirStep | MetadataStep


def origins_of(step: LayerStep) -> tuple[Origin, ...]:
    """What a step reads besides the layers below it."""
    return (step.origin,) if isinstance(step, CopyStep) else ()
