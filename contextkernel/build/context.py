"""The build context: a directory on this machine, seen through its ignore file.

Directories are read when they are first needed, so that ``COPY src/hello.c`` in a large tree costs one look and
``COPY . .`` one walk, without entering what is ignored. Nothing outside of the directory is ever reached: links are
resolved here, inside of it. A socket is an empty file, as BuildKit has it.
"""

from __future__ import annotations

import hashlib
import os
import stat
import time
from collections.abc import Callable, Iterable, Iterator

import msgspec

from contextkernel.build.ports import BuildStore
from contextkernel.build.trees import Node, NodeKind
from contextkernel.dockerfile.ignore import IgnoreMatcher
from contextkernel.errors import InvalidInput, SourceNotFound
from contextkernel.layer.following import follow
from contextkernel.layer.index import encode_name

_KINDS: dict[int, NodeKind] = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "dir",
    stat.S_IFLNK: "symlink",
    stat.S_IFIFO: "fifo",
    stat.S_IFCHR: "char",
    stat.S_IFBLK: "block",
    stat.S_IFSOCK: "file",  # an empty one: it means nothing without its process
}


_SETTLED_NS = 2_000_000_000  # times of files may be as coarse as this
_EMPTY = hashlib.sha256().hexdigest()


class _Listing(msgspec.Struct, frozen=True):
    """A directory: what is to be seen by name (sorted), and the names that are left out."""

    seen: dict[str, os.stat_result]
    ignored: tuple[str, ...]


_NOTHING = _Listing({}, ())


class DirectoryContext:
    """A :class:`~contextkernel.build.trees.SourceTree` of a directory.

    Args:
        root: the directory; ``None`` for a build without a context, in which nothing is found.
        matcher: the ignore file.
        store: remembers digests of files that have not changed since.
        label: what it is, for messages.
        now: nanoseconds since the epoch.

    Attributes:
        transferred: bytes of the files that have been looked into.
    """

    def __init__(
        self,
        root: str | None,
        matcher: IgnoreMatcher,
        store: BuildStore,
        label: str = "the build context",
        *,
        now: Callable[[], int] = time.time_ns,
    ) -> None:
        self.root = root
        self.label = label
        self._prefix = "/nonexistent" if root is None else os.path.abspath(root)
        self.transferred = 0
        self._matcher = matcher
        self._store = store
        self._now = now
        self._listings: dict[str, _Listing] = {}
        self._digests: dict[str, str] = {}
        self._fresh: list[tuple[str, os.stat_result, str]] = []
        self._top: os.stat_result | None = None

    def again(self) -> DirectoryContext:
        """The same directory, to be looked at afresh."""
        return DirectoryContext(self.root, self._matcher, self._store, self.label, now=self._now)

    def moved(self, paths: Iterable[str]) -> bool:
        """Whether any of these entries is not quite what it was when it was first seen; looks at no content."""
        for path in paths:
            before = self._facts(path)
            try:
                now = os.stat(self._absolute(path), follow_symlinks=path == ".")
            except OSError:
                return True
            if before is None or _marks(before) != _marks(now):
                return True
        return False

    def get(self, path: str) -> Node | None:
        """See ``SourceTree``."""
        facts = self._facts(path)
        return None if facts is None else self._node(path, facts)

    def resolve(self, path: str) -> str | None:
        """See ``SourceTree``."""

        def link_at(step: str) -> str | None:
            facts = self._facts(step)
            if facts is None:
                raise KeyError(step)
            return os.readlink(self._absolute(step)) if stat.S_ISLNK(facts.st_mode) else None

        def endless() -> InvalidInput:
            return InvalidInput(f"{path!r} of the build context leads through too many symbolic links")

        try:
            return follow(path, link_at, endless)
        except KeyError:
            return None

    def children(self, path: str) -> list[str]:
        """See ``SourceTree``."""
        return list(self._list(path).seen)

    def below(self, path: str, enter: Callable[[Node], bool] | None = None) -> Iterator[Node]:
        """See ``SourceTree``."""
        facts = self._facts(path)
        if facts is None:
            return
        # one walk for a whole context: a stack of open directories costs less than a generator for each
        todo = [iter([(path, facts)])]
        while todo:
            found = next(todo[-1], None)
            if found is None:
                todo.pop()
                continue
            here, facts = found
            node = self._node(here, facts)
            yield node
            if node.kind == "dir" and (enter is None or enter(node)):
                prefix = "" if here == "." else f"{here}/"
                todo.append(iter([(prefix + name, inside) for name, inside in self._list(here).seen.items()]))

    def digest(self, node: Node) -> str:
        """See ``SourceTree``; remembered within this build, and for unchanged files by the store."""
        known = self._digests.get(node.path)
        if known is not None:
            return known
        path = self._absolute(node.path)
        facts = self._facts(node.path)
        if facts is None:
            raise SourceNotFound(f"{node.path!r} is not in the build context")
        self.transferred += facts.st_size
        found = _EMPTY if stat.S_ISSOCK(facts.st_mode) else self._store.file_digest(path, facts)
        if found is None:
            try:
                with open(path, "rb") as stream:
                    # what was read is what is remembered, even if the file was replaced since it was listed; but not
                    # if it was written to while it was read, or so shortly before that its times need not tell
                    before, began = os.fstat(stream.fileno()), self._now()
                    found = hashlib.file_digest(stream, "sha256").hexdigest()
                    if _settled(before, began) and _marks(before) == _marks(os.fstat(stream.fileno())):
                        self._fresh.append((path, before, found))
            except OSError as problem:
                raise _unreadable(node.path, problem) from None
        self._digests[node.path] = found
        return found

    def excluded_below(self, path: str, enter: Callable[[str], bool] | None = None) -> tuple[str, ...]:
        """The outermost entries at or below ``path`` that are left out, sorted; not those in what is not entered."""
        if not self._matcher:
            return ()
        found: list[str] = []
        todo = [path]
        while todo:
            directory = todo.pop()
            listing = self._list(directory)
            found += [_join(directory, name) for name in listing.ignored]
            inside = (_join(directory, name) for name, facts in listing.seen.items() if stat.S_ISDIR(facts.st_mode))
            todo += [one for one in inside if enter is None or enter(one)]
        return tuple(sorted(found))

    def is_ignored(self, path: str) -> bool:
        """Whether ``path`` exists on disk and the ignore file leaves it out."""
        return self.root is not None and os.path.lexists(self._absolute(path)) and self._matcher.excludes(path)

    def remember(self) -> None:
        """Hand the digests of files that had to be read to the store."""
        if self._fresh:
            self._store.remember_file_digests(self._fresh)
            self._fresh = []

    def _absolute(self, path: str) -> str:
        return self._prefix if path == "." else f"{self._prefix}/{path}"

    def _facts(self, path: str) -> os.stat_result | None:
        if path == ".":
            if self._top is None and self.root is not None:
                self._top = os.stat(self.root)
            return self._top
        directory, _, name = path.rpartition("/")
        return self._list(directory or ".").seen.get(name)

    def _node(self, path: str, facts: os.stat_result) -> Node:
        kind = _KINDS[stat.S_IFMT(facts.st_mode)]
        return Node(
            path=path,
            kind=kind,
            mode=stat.S_IMODE(facts.st_mode),
            size=facts.st_size if kind == "file" else 0,
            link=os.readlink(self._absolute(path)) if kind == "symlink" else "",
            device=(os.major(facts.st_rdev), os.minor(facts.st_rdev)) if kind in {"char", "block"} else (0, 0),
        )

    def _list(self, path: str) -> _Listing:
        found = self._listings.get(path)
        if found is None:
            found = self._listings[path] = self._read(path)
        return found

    def _read(self, directory: str) -> _Listing:
        facts = self._facts(directory)
        # a link here would lead out of what has been resolved
        if facts is None or not stat.S_ISDIR(facts.st_mode):
            return _NOTHING
        return self._scan(directory)

    def _scan(self, directory: str) -> _Listing:
        seen: dict[str, os.stat_result] = {}
        ignored: list[str] = []
        try:
            with os.scandir(self._absolute(directory)) as entries:
                found = sorted(entries, key=lambda entry: encode_name(entry.name))
            for entry in found:
                facts = entry.stat(follow_symlinks=False)
                path = _join(directory, entry.name)
                if self._hidden(path, facts):
                    ignored.append(entry.name)
                else:
                    seen[entry.name] = facts
        except OSError as problem:
            raise _unreadable(directory, problem) from None
        return _Listing(seen, tuple(ignored))

    def _hidden(self, path: str, facts: os.stat_result) -> bool:
        if not self._matcher or not self._matcher.excludes(path):
            return False
        if not stat.S_ISDIR(facts.st_mode) or not self._matcher.may_contain_exceptions(path):
            return True
        # an ignored directory is there if something in it is taken back
        listing = self._listings[path] = self._scan(path)
        return not listing.seen


def _marks(facts: os.stat_result) -> tuple[int, ...]:
    """What changes with every change of an entry."""
    return (facts.st_dev, facts.st_ino, facts.st_mode, facts.st_size, facts.st_mtime_ns, facts.st_ctime_ns)


def _settled(facts: os.stat_result, now: int) -> bool:
    """Whether a further change of a file would show in its times: the last one is a while ago.

    Args:
        facts: of the file.
        now: when it is read, in nanoseconds since the epoch.
    """
    return max(facts.st_mtime_ns, facts.st_ctime_ns) < now - _SETTLED_NS


def _join(directory: str, name: str) -> str:
    return name if directory == "." else f"{directory}/{name}"


def _unreadable(path: str, problem: OSError) -> InvalidInput:
    return InvalidInput(
        f"cannot read {path!r} of the build context: {(problem.strerror or str(problem)).lower()}",
        hint="make it readable, or leave it out with .dockerignore",
    )
