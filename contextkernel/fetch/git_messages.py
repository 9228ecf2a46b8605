"""What the Git helper process and the one that starts it say to each other: one job in, lines of JSON out."""

from __future__ import annotations

import msgspec

from contextkernel.model.fetching import GitCommit, GitSource


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be done.

    Attributes:
        source: repository and reference; user information is in ``authorization`` instead.
        found: the commit to export; ``None`` to find it out.
        directory: an empty directory to work in.
        target: path of the tar archive to write.
        authorization: value of the Authorization header for the remote's own host; empty for none.
        ssh: socket of an SSH agent.
        known_hosts: the caller's file of host keys; a key that differs from one in it is refused.
        size, memory, quiet, connect: see ``Limits``.
    """

    source: GitSource
    found: GitCommit | None = None
    directory: str = ""
    target: str = ""
    authorization: str = ""
    ssh: str = ""
    known_hosts: str = ""
    size: int
    memory: int
    quiet: float
    connect: float


class Progress(msgspec.Struct, frozen=True, tag=True):
    """Bytes that have come so far; also a sign of life."""

    received: int


class Found(msgspec.Struct, frozen=True, tag=True):
    """What the reference leads to."""

    commit: GitCommit


class Exported(msgspec.Struct, frozen=True, tag=True):
    """The archive is written."""


class Broken(msgspec.Struct, frozen=True, tag=True):
    """It cannot be done."""

    problem: str
    hint: str | None = None


Answer = Progress | Found | Exported | Broken
