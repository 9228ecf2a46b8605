"""ADD of a local archive: unpacking into the merged view of a stage, as docker's archive package does."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

import msgspec

from contextkernel.errors import InvalidArchive
from contextkernel.layer import names
from contextkernel.layer.untar import is_tar, read_members
from contextkernel.model.layers import Entry
from contextkernel.store.worker_commit import Check
from contextkernel.store.worker_extract import Extractor, open_source
from contextkernel.store.worker_owners import Owner
from contextkernel.store.worker_stage import Stage
from contextkernel.store.worker_tree import Tree

_BLOCK = 512  # of a tar archive


def is_archive(descriptor: int) -> bool:
    """Whether a file is a tar archive, maybe compressed: by its first entry, not by its name."""
    with open(os.dup(descriptor), "rb") as stream:
        try:
            return is_tar(open_source(stream, None, _BLOCK))
        except InvalidArchive:
            return False
        finally:
            stream.seek(0)


def extract_archive(descriptor: int, stage: Stage, target: str, owner: Owner | None, check: Check) -> tuple[str, ...]:
    """Unpack an archive.

    Names, links in the archive, and links that are already there, lead nowhere but below ``target``, as if it were
    the root. A directory that the archive uses without having it is made; a link to nothing is not followed there.
    Whiteouts mean nothing here.

    Args:
        descriptor: the archive, open for reading.
        stage: the file system.
        target: a directory in it, clean.
        owner: for everything, ``None`` for what the archive says.
        check: raises when the client has given up.

    Returns:
        What its user should know: device nodes that a user namespace cannot have are left out, as with docker.

    Raises:
        InvalidArchive: its content is refused.
    """
    directories = _Directories()
    with (
        open(os.dup(descriptor), "rb") as stream,
        stage.tree.inside(target) as tree,
    ):
        extractor = Extractor(tree, stage.ids, owner)
        for member in read_members(open_source(stream, None, check=check), names.contained):
            check()
            entry = member.entry
            if entry.path == ".":
                continue  # docker leaves a destination that exists as it is
            if entry.kind == "char" and entry.major == entry.minor == 0:
                raise InvalidArchive(f"entry {entry.path!r} is a device 0:0, which in a layer means removed")
            directory, name = names.split(entry.path)
            parent = _parent(tree, entry, directory, stage, target)
            link = entry.link
            if entry.kind == "hardlink":
                link_directory, last = names.split(link)
                link = names.join(tree.resolve(link_directory), last)
            entry = msgspec.structs.replace(entry, path=names.join(parent, name), link=link)
            existing = tree.lstat(entry.path)
            if existing is not None and (entry.kind != "dir" or not stat.S_ISDIR(existing.st_mode)):
                if entry.kind == "hardlink" and entry.path == link:
                    continue
                tree.remove(entry.path)
                if stat.S_ISDIR(existing.st_mode):
                    directories.remove(entry.path)
            member.entry = entry
            if entry.kind == "hardlink":
                _check_link(entry.path, link, tree.lstat(link))
            extractor.write(member)
            if entry.kind == "dir":
                directories.add(entry)
            if entry.kind == "hardlink":
                # docker gives the file what the link's own header says: the last name wins
                extractor.settle(entry)
                stage.remember(names.join(target, link), owner or (entry.uid, entry.gid))
            stage.remember(names.join(target, entry.path), owner or (entry.uid, entry.gid))
        extractor.finish(directories.left())
    if not extractor.unmade:
        return ()
    more = f" and {len(extractor.unmade) - 1} more" if len(extractor.unmade) > 1 else ""
    return (f"device {extractor.unmade[0]!r}{more} left out: devices cannot be made in a user namespace",)


def _check_link(path: str, target: str, info: os.stat_result | None) -> None:
    if info is None or stat.S_ISDIR(info.st_mode):
        what = "does not exist" if info is None else "is a directory"
        raise InvalidArchive(f"hard link {path!r} names {target!r}, which {what}")


class _Directories:
    """The directories of an archive that are still there at its end."""

    def __init__(self) -> None:
        self._added: dict[str, tuple[int, Entry]] = {}
        self._removed: dict[str, int] = {}
        self._count = 0

    def add(self, entry: Entry) -> None:
        """The last entry of a path counts."""
        self._count += 1
        self._added[entry.path] = (self._count, entry)

    def remove(self, path: str) -> None:
        """What was at ``path`` and below is gone."""
        self._count += 1
        self._removed[path] = self._count

    def left(self) -> Iterator[Entry]:
        """What is left, innermost first."""
        for _, (count, entry) in sorted(self._added.items(), reverse=True):
            here = entry.path if self._removed else "."
            while here != "." and self._removed.get(here, 0) < count:
                here = names.split(here)[0]
            if here == ".":
                yield entry


def _parent(tree: Tree, entry: Entry, path: str, stage: Stage, target: str) -> str:
    """Where the directory of an entry is; what is missing of it is made, mode 0755 and owned by root.

    Raises:
        InvalidArchive: it leads to what is no directory, or is not there.
    """
    here = "."
    for part in path.split("/") if path != "." else ():
        step = names.join(here, part)
        info = tree.lstat(step)
        if info is None:
            parent, name = tree.parent(step)
            os.mkdir(name, 0o755, dir_fd=parent)
            stage.remember(names.join(target, step), (0, 0))
        elif stat.S_ISLNK(info.st_mode):
            link, step = step, tree.resolve(step)
            info = tree.lstat(step)
            if info is None:
                raise InvalidArchive(f"entry {entry.path!r} lies in {link!r}, a link to what is not there")
        if info is not None and not stat.S_ISDIR(info.st_mode):
            raise InvalidArchive(f"entry {entry.path!r} lies in {names.join(here, part)!r}, which is not a directory")
        here = step
    return here
