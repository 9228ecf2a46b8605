"""The steps that start a container where there are no namespaces: a tracer (proot) shows it its files, as values.

Names of paths are as in :mod:`~contextkernel.runtime.operations.tree`. :mod:`contextkernel.runtime.traced_tree` carries
them out.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from contextkernel.model.step_mounts import SecretVariable


class _Operation(msgspec.Struct, frozen=True, tag=True):
    pass


class UseTree(_Operation, frozen=True):
    """Without namespaces: a complete tree is the container's root, and a tracer shows it to the program.

    Attributes:
        upper: the tree.
        room: a directory of the host, beside it, for what is shown over it; it is removed at the end.
        report: a pipe by which the monitor hears which process the program is, and how it ends.
        read_only: nothing in the tree can be changed.
        keep_own, keep_points: as for :class:`MountOverlay`.
    """

    upper: str
    room: str
    report: str
    read_only: bool = False
    keep_own: bool = False
    keep_points: bool = False


class ShowPath(_Operation, frozen=True):
    """The tracer shows a file or directory of the host at ``target``.

    Attributes:
        access: ``write``: all but executing, see :class:`Confine`; ``list``: the names in a directory alone.
        within: a path inside ``source``, links followed inside of it only; that is shown.
        optional: nothing is shown where the host has no such file.
    """

    source: str
    target: str
    access: Literal["write", "read", "list"] = "write"
    within: str = ""
    optional: bool = False


class ShowDirectory(_Operation, frozen=True):
    """The tracer shows a directory that was empty at the start, in the container's room: what a tmpfs is elsewhere."""

    target: str
    mode: int = 0o755
    read_only: bool = False


class ShowFile(_Operation, frozen=True):
    """The tracer shows a file with this content, in the container's room, or in ``place`` (memory, for secrets)."""

    target: str
    content: bytes
    mode: int = 0o644
    read_only: bool = False
    place: str = ""

    def __repr__(self) -> str:
        """Without the content, which may be a secret: representations end up in messages."""
        return f"ShowFile({self.target!r}, {len(self.content)} bytes)"


class Confine(_Operation, frozen=True):
    """Landlock: only what is shown can be opened, by whatever way; see :mod:`contextkernel.linux.landlock`.

    Attributes:
        files: hold files to that; without it the tracer alone keeps the program in its root.
        signals, sockets: as for :class:`LimitScope`.
        readable: more that may be read, for the tracer.
        executable: what may be executed: the tracer, its interpreter and its loaders. Programs of the container are
            mapped by a loader.
    """

    files: bool
    signals: bool
    sockets: bool
    readable: tuple[str, ...] = ()
    executable: tuple[str, ...] = ()


class InstallTracedFilter(_Operation, frozen=True):
    """Calls that the tracer does not know fail as on an old kernel."""


class RunTraced(_Operation, frozen=True):
    """Execute the program below the tracer (proot), which changes its paths and answers for its identity.

    Attributes:
        program: proot.
        user, groups: ``user[:group]`` that it appears to be, and more groups; as in the image.
        announce: tell the monitor, and wait for it, before that.
    """

    program: str
    argv: tuple[str, ...]
    env: tuple[str, ...]
    user: str = ""
    groups: tuple[str, ...] = ()
    secrets: tuple[SecretVariable, ...] = ()
    announce: bool = True


TracedOperation = UseTree | ShowPath | ShowDirectory | ShowFile | Confine | InstallTracedFilter | RunTraced
