"""The files of a container as values: where they are, what is at a path, what has changed."""

from __future__ import annotations

from typing import Literal

import msgspec

PathKind = Literal["", "dir", "file", "symlink", "other", "not-a-directory"]
ChangeKind = Literal["A", "C", "D"]


class BoxMount(msgspec.Struct, frozen=True, kw_only=True):
    """A volume or bind of a container that does not run.

    Attributes:
        source: absolute path of the host.
        target: absolute path in the container.
        subpath: what inside of ``source`` it is, relative.
    """

    source: str
    target: str
    read_only: bool = False
    subpath: str = ""


class BoxView(msgspec.Struct, frozen=True, kw_only=True):
    """Where a container's files are.

    Attributes:
        lowers: layer ``diff`` directories of its image, base first.
        upper, work: its overlay directories.
        room: directory of the container, in which a mount point can be made for a moment.
        mounts: volumes and binds, where it does not run.
        running: a descriptor of its root, as its processes see it, comes along.
        hidden: paths from the root whose content is not the container's: shown as empty.
    """

    lowers: tuple[str, ...]
    upper: str
    work: str
    room: str
    mounts: tuple[BoxMount, ...] = ()
    running: bool = False
    hidden: tuple[str, ...] = ()


class PathFacts(msgspec.Struct, frozen=True, kw_only=True):
    """What is at a path of a container.

    Attributes:
        path: absolute, links on the way followed inside of the container; the last one only if that was asked for.
        kind: empty for nothing; ``not-a-directory``: it was asked for as a directory (``/`` at the end) and is none.
        mode: type and permission bits (stat(2)).
        size: bytes.
        mtime: nanoseconds since the epoch.
        link: of a symbolic link: the path that it leads to in the end, absolute.
    """

    path: str
    kind: PathKind = ""
    mode: int = 0
    size: int = 0
    mtime: int = 0
    link: str = ""


class Change(msgspec.Struct, frozen=True):
    """A path that a container added (``A``), changed (``C``) or deleted (``D``); absolute."""

    kind: ChangeKind
    path: str


class PlaceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Unpack an archive into a directory of a container.

    Attributes:
        view: where the container's files are.
        path: the directory, absolute; links are followed inside of the container.
        owner: ``user[:group]`` of the container that everything belongs to; empty: as the archive says.
    """

    view: BoxView
    path: str
    owner: str = ""
