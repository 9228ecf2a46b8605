"""A commit as a tar archive, with its submodules and, where asked, a ``.git`` directory."""

from __future__ import annotations

import io
import os
import posixpath
import stat
import tarfile
import time
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit

from dulwich.config import ConfigFile, parse_submodules
from dulwich.index import IndexEntry, write_index_dict
from dulwich.objects import Blob, Commit, Tag, Tree

from contextkernel.fetch.git_messages import Job
from contextkernel.fetch.git_process import Meter, Refused, fetch
from contextkernel.model.fetching import GitCommit
from contextkernel.plan.remote import redacted

if TYPE_CHECKING:
    from dulwich.repo import Repo

_MAX_DEPTH = 10  # submodules of submodules
_MAX_MODULES = 500
_MAX_NESTING = 1000  # directories
_LOOSE = 100  # git keeps a smaller pack as loose objects (transfer.unpackLimit)
_GITLINK = 0o160000
_FORBIDDEN = {b"", b".", b"..", b".git"}


def export(job: Job, found: GitCommit) -> None:
    """See ``Fetcher.export``."""
    with tarfile.open(job.target, "x", format=tarfile.GNU_FORMAT, encoding="utf-8", errors="surrogateescape") as tar:
        _Export(job, tar).run(found)


class _Export:
    """One archive in the making."""

    def __init__(self, job: Job, tar: tarfile.TarFile) -> None:
        self._job = job
        self._tar = tar
        self._meter = Meter(job.size)
        self._modules = 0
        self._written = 0
        self._mtime = int(time.time())

    def run(self, found: GitCommit) -> None:
        source = self._job.source
        repo = fetch(source.remote, found.object, f"{self._job.directory}/0", self._job, self._meter)
        commit = _commit(repo, found.object)
        shown = _text(commit.id)
        if not found.object.startswith(source.checksum) and not shown.startswith(source.checksum):
            raise Refused(f"checksum {source.checksum} was asked, and the commit is {shown}")
        if source.commit_time:
            self._mtime = max(0, int(commit.commit_time))
        self._directory(".")
        keep = source.keep_git_dir and not source.subdir
        if keep:
            self._git_directory(repo, found, commit)
        # what is outside of the subdirectory is not unpacked, and its submodules are not fetched
        self._walk(repo, commit, source.remote, _below(repo, commit, source.subdir), "", source.subdir, 0)

    def _walk(self, repo: Repo, commit: Commit, remote: str, tree: Tree, place: str, inside: str, level: int) -> None:
        """Write the entries of a tree.

        Args:
            place: where they go, in the archive.
            inside: where the tree is in its repository.
            level: how many submodules deep.
        """
        if place.count("/") > _MAX_NESTING:
            raise Refused(f"directories are nested more than {_MAX_NESTING} deep")
        for name, mode, identity in tree.iteritems():
            self._meter.beat()
            if name.lower() in _FORBIDDEN or b"/" in name or b"\0" in name:
                raise Refused(f"a directory has an entry named {_text(name)!r}")
            path, own = posixpath.join(place, _text(name)), posixpath.join(inside, _text(name))
            kind = stat.S_IFMT(mode)
            if kind == _GITLINK:
                self._directory(path)
                if self._job.source.submodules:
                    self._submodule(repo, commit, remote, path, own, _text(identity), level + 1)
                continue
            item = repo.object_store[identity]
            match item:
                case Tree() if kind == stat.S_IFDIR:
                    self._directory(path)
                    self._walk(repo, commit, remote, item, path, own, level)
                case Blob() if kind == stat.S_IFLNK:
                    info = self._info(path, 0o777)
                    info.type, info.linkname = tarfile.SYMTYPE, _text(item.data)
                    self._tar.addfile(info)
                case Blob() if kind == stat.S_IFREG:
                    self._file(path, item.data, 0o755 if mode & 0o100 else 0o644)
                case _:
                    raise Refused(f"{own!r} has the impossible mode {mode:o}")

    def _submodule(self, repo: Repo, commit: Commit, remote: str, path: str, own: str, wanted: str, level: int) -> None:
        self._modules += 1
        if level > _MAX_DEPTH or self._modules > _MAX_MODULES:
            raise Refused("too many submodules, or too deep", "submodules=false in the URL's query leaves them out")
        url = _submodule_url(repo, commit, remote, own)
        directory = f"{self._job.directory}/{self._modules}"
        inner = fetch(url, wanted, directory, self._job, self._meter)
        top = _commit(inner, wanted)
        self._walk(inner, top, url, _below(inner, top, ""), path, "", level)
        inner.close()

    def _directory(self, path: str) -> None:
        info = self._info(path, 0o755)
        info.type = tarfile.DIRTYPE
        self._tar.addfile(info)

    def _file(self, path: str, data: bytes, mode: int) -> None:
        info = self._info(path, mode)
        info.size = len(data)
        self._written += len(data)
        if self._written > self._job.size:
            raise Refused(
                f"its files are larger than {self._job.size} bytes",
                "CONTEXTKERNEL_FETCH_LIMIT sets how much may be fetched, e.g. 50g",
            )
        self._tar.addfile(info, io.BytesIO(data))

    def _info(self, path: str, mode: int) -> tarfile.TarInfo:
        info = tarfile.TarInfo(path)
        info.mode, info.mtime = mode, self._mtime
        return info

    # ---- .git

    def _git_directory(self, repo: Repo, found: GitCommit, commit: Commit) -> None:
        """A repository with this one commit, its head detached; the index knows nothing of times, which git mends."""
        for name in ("", "/branches", "/info", "/objects", "/objects/info", "/objects/pack", "/refs", "/refs/heads",
                     "/refs/tags", "/hooks"):  # fmt: skip
            self._directory(f".git{name}")
        config = (
            "[core]\n\trepositoryformatversion = 0\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = true\n"
            f'[remote "origin"]\n\turl = {redacted(self._job.source.remote)}\n'
            "\tfetch = +refs/heads/*:refs/remotes/origin/*\n"
        )
        identity = _text(commit.id)
        texts = {
            "HEAD": f"{identity}\n",
            "config": config,
            "description": "Unnamed repository; edit this file 'description' to name the repository.\n",
            "info/exclude": "",
            "shallow": f"{identity}\n",
        }
        if found.ref.startswith("refs/") and ".." not in found.ref:
            parts = found.ref.split("/")
            for end in range(3, len(parts)):
                self._directory(f".git/{'/'.join(parts[:end])}")
            texts[found.ref] = f"{found.object}\n"
        for name, text in texts.items():
            self._file(f".git/{name}", text.encode(), 0o644)
        self._file(".git/index", _index(repo, commit), 0o644)
        self._objects(repo)

    def _objects(self, repo: Repo) -> None:
        identities = sorted(repo.object_store)
        if len(identities) >= _LOOSE:
            folder = os.path.join(self._job.directory, "0", "objects", "pack")
            for name in sorted(os.listdir(folder)):
                if name.endswith((".pack", ".idx")):
                    with open(os.path.join(folder, name), "rb") as file:
                        info = self._info(f".git/objects/pack/{name}", 0o444)
                        info.size = os.fstat(file.fileno()).st_size
                        self._tar.addfile(info, file)
            return
        made = set()
        for identity in identities:
            item, name = repo.object_store[identity], _text(identity)
            if name[:2] not in made:
                made.add(name[:2])
                self._directory(f".git/objects/{name[:2]}")
            raw = item.as_raw_string()
            data = zlib.compress(b"%s %d\0" % (item.type_name, len(raw)) + raw)
            self._file(f".git/objects/{name[:2]}/{name[2:]}", data, 0o444)


def _index(repo: Repo, commit: Commit) -> bytes:
    entries: dict[bytes, Any] = {}
    for entry in repo.object_store.iter_tree_contents(commit.tree):
        entries[entry.path] = IndexEntry(
            ctime=0, mtime=0, dev=0, ino=0, mode=entry.mode, uid=0, gid=0, size=0, sha=entry.sha
        )
    out = io.BytesIO()
    import hashlib

    write_index_dict(out, entries)
    data = out.getvalue()
    return data + hashlib.sha1(data, usedforsecurity=False).digest()


def _commit(repo: Repo, identity: str) -> Commit:
    """The commit, or the one that a tag leads to."""
    item: Any = repo.object_store[identity.encode()]  # type: ignore[index]
    for _ in range(10):
        if not isinstance(item, Tag):
            break
        item = repo.object_store[item.object[1]]
    if not isinstance(item, Commit):
        raise Refused(f"{identity} is a {_text(item.type_name)}, not a commit")
    return item


def _below(repo: Repo, commit: Commit, subdir: str) -> Tree:
    """The tree of a directory.

    Raises:
        Refused: it does not exist, or is not a directory.
    """
    tree: Any = repo.object_store[commit.tree]
    for part in (part for part in subdir.split("/") if part):
        found = {_text(name): (mode, identity) for name, mode, identity in tree.iteritems()}.get(part)
        if found is None:
            raise Refused(f"there is no directory {subdir!r} in it")
        if stat.S_IFMT(found[0]) != stat.S_IFDIR:
            raise Refused(f"{subdir!r} in it is not a directory")
        tree = repo.object_store[found[1]]
    if not isinstance(tree, Tree):
        raise Refused(f"{subdir!r} in it is not a directory")
    return tree


def _submodule_url(repo: Repo, commit: Commit, remote: str, path: str) -> str:
    """Where .gitmodules says that a submodule is; relative to its parent where it says so."""
    try:
        _, identity = _root_entry(repo, commit, b".gitmodules")
        config = ConfigFile.from_file(io.BytesIO(repo.object_store[identity].as_raw_string()))
        urls = {_text(where): _text(url) for where, url, _name in parse_submodules(config)}
    except (KeyError, ValueError):
        urls = {}
    url = urls.get(path)
    if url is None:
        raise Refused(f".gitmodules says nothing of the submodule {path!r}", "submodules=false leaves them out")
    if not url.startswith(("./", "../")):
        return url
    if "://" not in remote:
        head, _, tail = remote.partition(":")
        return f"{head}:{posixpath.normpath(posixpath.join(tail, url))}"
    parts = urlsplit(remote)
    where = posixpath.normpath(posixpath.join(parts.path or "/", url))
    return urlunsplit((parts.scheme, parts.netloc, where, "", ""))


def _root_entry(repo: Repo, commit: Commit, name: bytes) -> tuple[int, Any]:
    tree: Any = repo.object_store[commit.tree]
    return tree[name]  # type: ignore[no-any-return]


def _text(value: bytes) -> str:
    return bytes(value).decode("utf-8", "surrogateescape")
