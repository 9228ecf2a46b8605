"""ADD of a local archive: unpacking into the merged view of a stage, as docker's archive package does."""

from __future__ import annotations

import os
import stat

import msgspec

from contextkernel.errors import InvalidArchive
from contextkernel.layer import names
from contextkernel.layer.untar import read_members
from contextkernel.model.layers import Entry
from contextkernel.store.worker_commit import Check
from contextkernel.store.worker_extract import Extractor, open_source
from contextkernel.store.worker_owners import Owner
from contextkernel.store.worker_stage import Stage, destination_in_root
from contextkernel.store.worker_tree import Tree


def is_archive(descriptor: int) -> bool:
    """Whether a file is a tar archive, maybe compressed: by its first entry, not by its name."""
    with open(os.dup(descriptor), "rb") as stream:
        try:
            return next(read_members(open_source(stream, None)), None) is not None
        except InvalidArchive:
            return False
        finally:
            stream.seek(0)


def extract_archive(descriptor: int, stage: Stage, target: str, owner: Owner | None, check: Check) -> None:
    """Unpack an archive.

    Links in the archive, and links that are already there, are followed inside of ``target`` as if it were the root.
    Whiteouts mean nothing here.

    Args:
        descriptor: the archive, open for reading.
        stage: the file system.
        target: a directory in it, clean.
        owner: for everything, ``None`` for what the archive says.
        check: raises when the client has given up.

    Raises:
        InvalidArchive: its content is refused.
    """
    directories: dict[str, Entry] = {}
    with (
        open(os.dup(descriptor), "rb") as stream,
        Tree(stage.tree.open(target, os.O_RDONLY | os.O_DIRECTORY)) as tree,
    ):
        extractor = Extractor(tree, stage.ids, owner)
        for member in read_members(open_source(stream, None)):
            check()
            entry = member.entry
            if entry.path == ".":
                continue  # docker leaves a destination that exists as it is
            directory, name = names.split(entry.path)
            parent = destination_in_root(tree.root, directory)
            _make_parents(tree, parent, entry.mtime, directories, stage, target)
            link = entry.link
            if entry.kind == "hardlink":
                link_directory, last = names.split(link)
                link = names.join(destination_in_root(tree.root, link_directory), last)
            entry = msgspec.structs.replace(entry, path=names.join(parent, name), link=link)
            existing = tree.lstat(entry.path)
            if existing is not None and (entry.kind != "dir" or not stat.S_ISDIR(existing.st_mode)):
                if entry.kind == "hardlink" and entry.path == link:
                    continue
                tree.remove(entry.path)
                directories = {path: one for path, one in directories.items() if not _below(path, entry.path)}
            member.entry = entry
            if entry.kind == "hardlink" and tree.lstat(link) is None:
                raise InvalidArchive(f"hard link {entry.path!r} names {link!r}, which does not exist")
            extractor.write(member)
            if entry.kind == "dir":
                directories[entry.path] = entry
            if entry.kind == "hardlink":
                # docker gives the file what the link's own header says: the last name wins
                extractor.settle(entry)
                stage.remember(names.join(target, link), owner or (entry.uid, entry.gid))
            stage.remember(names.join(target, entry.path), owner or (entry.uid, entry.gid))
        extractor.finish(directories[path] for path in sorted(directories, reverse=True))


def _below(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + "/")


def _make_parents(tree: Tree, path: str, mtime: int, directories: dict[str, Entry], stage: Stage, target: str) -> None:
    """Make the directories that the archive uses without having them: mode 0755, owned by root."""
    if path == "." or tree.lstat(path) is not None:
        return
    here = "."
    for part in path.split("/"):
        here = names.join(here, part)
        if tree.lstat(here) is None:
            parent, name = tree.parent(here)
            os.mkdir(name, 0o700, dir_fd=parent)
            directories[here] = Entry(path=here, kind="dir", mode=0o755, mtime=mtime)
            stage.remember(names.join(target, here), (0, 0))
