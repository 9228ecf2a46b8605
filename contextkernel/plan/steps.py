"""Planned steps: what is to be done, fully resolved; frozen, and distinct from the instructions they came from."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from contextkernel.errors import Span
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.model.step_mounts import Limit
from contextkernel.plan.remote import GitOrigin, HttpOrigin
from contextkernel.plan.run_mounts import BindTarget, CacheTarget, RunMount, TmpfsTarget

__all__ = [
    "Base",
    "ContextOrigin",
    "CopyStep",
    "GitOrigin",
    "HttpOrigin",
    "ImageOrigin",
    "InlineFile",
    "LayerStep",
    "MetadataStep",
    "Network",
    "Origin",
    "RunStep",
    "ScratchOrigin",
    "Security",
    "SeveralOrigins",
    "StageOrigin",
    "Step",
    "TmpfsTarget",
    "WorkdirStep",
    "origins_of",
]

Network: TypeAlias = Literal["default", "none", "host"]
Security: TypeAlias = Literal["sandbox", "insecure"]


class StageOrigin(msgspec.Struct, frozen=True):
    """An earlier stage of the same Dockerfile, by its position."""

    index: int


class ImageOrigin(msgspec.Struct, frozen=True):
    """An image from the store or a registry; ``platform`` if a FROM asked for one.

    Attributes:
        layout: a directory in OCI image layout that has it instead, with ``:tag`` or ``@digest`` behind it; ``ref``
            then only says what to call it.
    """

    ref: ImageRef
    platform: Platform | None = None
    layout: str = ""


class ScratchOrigin(msgspec.Struct, frozen=True):
    """Nothing: ``scratch``."""


class ContextOrigin(msgspec.Struct, frozen=True):
    """The build context, or the one that was given a ``name`` (``--build-context``)."""

    name: str = ""


class SeveralOrigins(msgspec.Struct, frozen=True):
    """Of an ADD with remote sources: the copies it is made of, in order, which make one layer."""

    parts: tuple[CopyStep, ...]


Base: TypeAlias = StageOrigin | ImageOrigin | ScratchOrigin | ContextOrigin | HttpOrigin | GitOrigin
Origin: TypeAlias = Base | SeveralOrigins


class InlineFile(msgspec.Struct, frozen=True):
    """A file whose content stands in the Dockerfile (a here-document)."""

    name: str
    content: str


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
        security: ``insecure``: all capabilities and no filters.
        mounts: in the order of the flags.
        script: a here-document with a shebang, mounted as ``/dev/pipes/<name>``; ``argv`` then runs it.
        hostname: of the sandbox; empty for the usual one.
        hosts: ``(name, address)`` for /etc/hosts.
        shm_size: bytes of /dev/shm, 0 for the usual.
    """

    argv: tuple[str, ...]
    env: tuple[str, ...]
    arguments: tuple[str, ...] = ()
    proxy: tuple[str, ...] = ()
    user: str = ""
    cwd: str = "/"
    network: Network = "default"
    security: Security = "sandbox"
    mounts: tuple[RunMount, ...] = ()
    script: InlineFile | None = None
    hostname: str = ""
    hosts: tuple[tuple[str, str], ...] = ()
    shm_size: int = 0
    ulimits: tuple[Limit, ...] = ()


class CopyStep(_Step, frozen=True, kw_only=True):
    """COPY, or ADD of local files.

    Attributes:
        origin: where the sources are.
        sources: absolute paths within the origin, possibly with wildcards.
        parents: ``--parents``: for each source the pattern below it that says what is copied, with the directories
            it lies in; empty without the flag.
        exclude: ``--exclude`` patterns, relative to each source; they say nothing of a source itself.
        files: here-documents, expanded.
        destination: absolute path in the image.
        directory: the destination is a directory (it ended in ``/`` or ``/.``, or there are several sources).
        chown: ``user[:group]``, empty for none.
        chmod: as :class:`contextkernel.model.modes.ModeChange` has it, empty for none.
        link: the layer is made on an empty directory, whatever is below.
        unpack: unpack sources that are tar archives (ADD).
    """

    origin: Origin
    sources: tuple[str, ...]
    parents: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    files: tuple[InlineFile, ...] = ()
    destination: str
    directory: bool = False
    chown: str = ""
    chmod: str = ""
    link: bool = False
    unpack: bool = False


class WorkdirStep(_Step, frozen=True, kw_only=True):
    """Make the working directory, with ``owner`` (``user[:group]``) for directories that are missing.

    Attributes:
        epoch: SOURCE_DATE_EPOCH: the time of directories that are made, in seconds; ``None``: when they are made.
    """

    path: str
    owner: str = ""
    epoch: int | None = None


class MetadataStep(_Step, frozen=True, kw_only=True):
    """A change of the image's configuration only; already applied in the stage's configuration."""


LayerStep: TypeAlias = RunStep | CopyStep | WorkdirStep
Step: TypeAlias = LayerStep | MetadataStep


def origins_of(step: LayerStep) -> tuple[Origin, ...]:
    """What a step reads besides the layers below it."""
    match step:
        case CopyStep(origin=SeveralOrigins(parts=parts)):
            return tuple(part.origin for part in parts)
        case CopyStep(origin=origin):
            return (origin,)
        case RunStep():
            mounts = [mount for mount in step.mounts if isinstance(mount, BindTarget | CacheTarget)]
            return tuple(mount.origin for mount in mounts if mount.origin is not None)
        case WorkdirStep():
            return ()
