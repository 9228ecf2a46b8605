"""What a COPY or ADD copies: sources found, wildcards matched, content digested.

Source of the rules: BuildKit's ``solver/llbsolver/file/backend.go`` and ``fsutil/copy``: sources are paths from the
origin's root, links are followed inside of it, a directory stands for its contents, a wildcard that matches nothing
copies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import zip_longest

import msgspec

from contextkernel.build.context import DirectoryContext
from contextkernel.build.trees import Node, SourceTree
from contextkernel.dockerfile.ignore import match_glob
from contextkernel.dockerfile.suggest import nearest
from contextkernel.errors import InvalidInput, SourceNotFound
from contextkernel.layer.selection import Selection
from contextkernel.model.digest import Digest
from contextkernel.model.layers import CopyItem
from contextkernel.plan import keys
from contextkernel.plan.steps import CopyStep, InlineFile, SeveralOrigins

_WILDCARDS = "*?["


Row = tuple[object, ...]
"""Everything of an entry that ends up in the image, but times; its path in the source comes first."""

_INLINE = 2  # columns of a here-document's row in a group
_SHORT = 16  # hex digits: to tell rows apart, not to trust them


class ResolvedCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A COPY with its sources found.

    Attributes:
        items: for the copy request.
        excludes: paths in the sources that the ignore file leaves out.
        content: digest of everything that is copied.
        unmatched: wildcards that matched nothing.
        groups: what is copied, source by source: the path in front, and rows whose paths go on from there.
        parts: of an ADD from several places, its copies in order; then there are no items.
    """

    items: tuple[CopyItem, ...]
    excludes: tuple[str, ...]
    content: Digest
    unmatched: tuple[str, ...] = ()
    groups: tuple[tuple[str, Sequence[Row]], ...] = ()
    parts: tuple[tuple[CopyStep, ResolvedCopy], ...] = ()

    def paths(self) -> Iterator[str]:
        """The paths in the origin of what is copied, here-documents left out."""
        for prefix, rows in self.groups:
            for row in rows:
                if len(row) > _INLINE:
                    yield (prefix + str(row[0])).lstrip("/") or "."

    @property
    def rows(self) -> tuple[tuple[str, str], ...]:
        """Each entry's path in the origin and a short digest of all that counts of it; made when asked for."""
        return tuple(
            ((prefix + str(row[0])).lstrip("/") or ".", keys.source_digest([row]).hex[:_SHORT])
            for prefix, rows in self.groups
            for row in rows
        )


def resolve_several(step: CopyStep, resolve: Callable[[CopyStep], ResolvedCopy]) -> ResolvedCopy:
    """Find what ``step`` copies, from one place or from several.

    Args:
        step: a COPY or ADD.
        resolve: does it for one place.
    """
    match step.origin:
        case SeveralOrigins(parts=parts):
            found = tuple((part, resolve(part)) for part in parts)
            return ResolvedCopy(
                items=(),
                excludes=(),
                content=keys.several_content((part, copy.content) for part, copy in found),
                unmatched=tuple(pattern for _, copy in found for pattern in copy.unmatched),
                groups=tuple(group for _, copy in found for group in copy.groups),
                parts=found,
            )
        case _:
            return resolve(step)


def resolve_copy(step: CopyStep, tree: SourceTree) -> ResolvedCopy:
    """Find and digest what ``step`` copies from ``tree``.

    Raises:
        SourceNotFound: a source does not exist, with what was near. InvalidInput: a bad pattern.
    """
    search = _Search(step, tree)
    unmatched: list[str] = []
    for source, pattern in zip_longest(step.sources, step.parents):
        path = source.lstrip("/") or "."
        matches = _matches(step, tree, path)
        for match in [path] if matches is None else matches:
            search.add(match, pattern, wild=matches is not None)
        if matches is not None and not matches:
            unmatched.append(path)
    for file in step.files:
        search.add_inline(file)
    return search.result(tuple(unmatched))


class _Search:
    """What has been found of a COPY so far."""

    def __init__(self, step: CopyStep, tree: SourceTree) -> None:
        self._step = step
        self._tree = tree
        self._items: list[CopyItem] = []
        self._rows: list[Row] = []
        self._groups: list[tuple[str, Sequence[Row]]] = []
        self._excludes: set[str] = set()

    def result(self, unmatched: tuple[str, ...]) -> ResolvedCopy:
        return ResolvedCopy(
            items=tuple(self._items),
            excludes=tuple(sorted(self._excludes)),
            content=keys.source_digest(self._rows),
            groups=tuple(self._groups),
            unmatched=unmatched,
        )

    def add_inline(self, file: InlineFile) -> None:
        data = file.content.encode("utf-8", "surrogateescape")
        self._items.append(CopyItem(source=file.name, name=file.name, data=data))
        self._rows.append((len(self._items), "inline", file.name, str(Digest.of(data))))
        self._groups.append(("", [(file.name, str(Digest.of(data)))]))

    def add(self, path: str, pattern: str | None, *, wild: bool) -> None:
        """Add one source; ``pattern`` says what of it is copied with its parents."""
        step, tree = self._step, self._tree
        resolved = tree.resolve(path)
        node = tree.get(resolved) if resolved is not None else None
        if resolved is None or node is None:
            raise _not_found(step, tree, path)
        if node.kind != "dir":
            name, row = path.rpartition("/")[2], _row(tree, node, resolved)
            # whether it is an archive, the worker sees by its content
            self._items.append(CopyItem(source=resolved, name=name, extract=step.unpack and node.kind == "file"))
            self._rows.append((len(self._items), name, *row))
            self._groups.append((resolved, [row]))
            return
        # the directory's own name does not matter: only what is in it is copied
        self._items.append(CopyItem(source=resolved, contents=True, include=pattern))
        number, selection = len(self._items), Selection(pattern, step.exclude)
        if selection:
            found = _selected(tree, resolved, selection)
        else:
            found = [_row(tree, below, resolved) for below in tree.below(resolved)]
        self._rows += [(number, *row) for row in found]
        self._groups.append(("" if resolved == "." else resolved, found))
        if pattern is not None and not (wild or _has_wildcards(pattern)):
            if not pattern:
                raise SourceNotFound(
                    f"COPY --parents takes nothing of {path!r} itself", hint="name what is in it: * for everything"
                )
            if len(found) == 1:
                raise _not_found(step, tree, _join(path, pattern))
            start = tree.get(path)
            if start is not None and start.kind == "symlink":
                # BuildKit finds nothing there, although it would copy it
                raise SourceNotFound(
                    f"{path!r} is a link to {start.link!r}, which --parents does not start from",
                    hint=f"write {_join(resolved, '.')}/{pattern}",
                )
        if isinstance(tree, DirectoryContext):
            self._excludes.update(tree.excluded_below(resolved, _enters(selection, resolved)))


def _selected(tree: SourceTree, top: str, selection: Selection) -> list[Row]:
    """What is copied of a directory; one that is only there for what is in it comes before that, and is marked."""
    cut, enters = 0 if top == "." else len(top) + 1, _enters(selection, top)
    found: list[Row] = []
    waiting: list[Node] = []
    for node in tree.below(top, lambda one: enters(one.path)):
        while waiting and not node.path.startswith(waiting[-1].path + "/"):
            waiting.pop()
        if not selection.takes("" if node.path == top else node.path[cut:]):
            if node.kind == "dir":
                waiting.append(node)
            continue
        # one that exists at the destination takes over less of a parent
        found += [(*_row(tree, parent, top), "parent") for parent in waiting]
        waiting.clear()
        found.append(_row(tree, node, top))
    return found


def _enters(selection: Selection, top: str) -> Callable[[str], bool]:
    """Which directories at and below ``top``, by their paths in the tree, something may be copied of."""
    cut = 0 if top == "." else len(top) + 1
    return lambda path: selection.enters(path[cut:] if path != top else "")


def _row(tree: SourceTree, node: Node, top: str) -> Row:
    path = node.path if top == "." else node.path[len(top) :]
    content = tree.digest(node) if node.kind == "file" else ""
    return (path, node.kind, node.mode, node.uid, node.gid, node.link, content, node.xattrs, node.device)


def _matches(step: CopyStep, tree: SourceTree, path: str) -> list[str] | None:
    """What a wildcard matches, in order; ``None`` if ``path`` has none.

    A component is matched by names in real directories only; links are followed in front of the first wildcard.

    Raises:
        InvalidInput: a malformed pattern. SourceNotFound: what is in front of the first wildcard is not there.
    """
    parts = path.split("/")
    first = next((index for index, part in enumerate(parts) if _has_wildcards(part)), None)
    if first is None:
        return None
    rest = "/".join(parts[first:])
    match_glob(rest, "")  # a malformed pattern is one even where there is nothing to match
    before = "/".join(parts[:first]) or "."
    start = tree.resolve(before)
    if start is None or (isinstance(tree, DirectoryContext) and not _is_directory(tree, start)):
        if isinstance(tree, DirectoryContext) and tree.root is None:
            return []
        raise _not_found(step, tree, before)
    if "[" in rest:
        return _walk_matches(tree, start, rest)
    found = [start]
    for index, pattern in enumerate(parts[first:], first):
        last = index == len(parts) - 1
        found = [
            _join(directory, name)
            for directory in found
            for name in tree.children(directory)
            if match_glob(pattern, name) and (last or _is_directory(tree, _join(directory, name)))
        ]
    return found


def _walk_matches(tree: SourceTree, start: str, pattern: str) -> list[str]:
    """What matches below ``start``, where a class of characters may stand for a slash too."""
    cut = 0 if start == "." else len(start) + 1
    found: list[str] = []

    def enter(node: Node) -> bool:
        return not found or found[-1] != node.path

    for node in tree.below(start, enter):
        if node.path != start and match_glob(pattern, node.path[cut:]):
            found.append(node.path)  # noqa: PERF401  (enter looks at what was found so far)
    return found


def _has_wildcards(part: str) -> bool:
    escaped = False
    for char in part:
        if escaped:
            escaped = False
        elif char == "\\":
            escaped = True
        elif char in _WILDCARDS:
            return True
    return False


def _is_directory(tree: SourceTree, path: str) -> bool:
    node = tree.get(path)
    return node is not None and node.kind == "dir"


def _not_found(step: CopyStep, tree: SourceTree, path: str) -> SourceNotFound | InvalidInput:
    if isinstance(tree, DirectoryContext):
        if tree.root is None:
            return InvalidInput(
                f"{path!r} cannot be copied: this build has no context", hint="give the build a directory, often ."
            )
        for end in range(1, path.count("/") + 2):
            part = "/".join(path.split("/")[:end])
            if tree.is_ignored(part):
                return SourceNotFound(
                    f"{path!r} is not in {tree.label}: .dockerignore leaves out {part!r}",
                    hint=f"take it back with a line !{part} at the end of .dockerignore",
                )
        if re.search(r"(^|[\s/\"=])\.\.(/|[\s\",]|$)", step.original):
            # BuildKit's way: .. ends at the root of the context
            return SourceNotFound(
                f"{path!r} is not in {tree.label}, and .. does not lead out of it",
                hint=f"copy the file into {tree.root}, or give the build a directory above both",
            )
    return SourceNotFound(f"{path!r} is not in {tree.label}", hint=_near(tree, path))


def _near(tree: SourceTree, path: str) -> str | None:
    """The nearest path that exists, or where the path breaks off."""
    directory = "."
    for part in path.split("/"):
        names = tree.children(directory)
        if part in names:
            directory = _join(directory, part)
            node = tree.get(directory)
            if node is not None and node.kind == "symlink" and tree.resolve(directory) is None:
                return f"{directory!r} is a link to {node.link!r}, which is not there; links are followed inside only"
            continue
        found = nearest(part, names)
        if found is not None:
            # the case of the name counts: take the entry, not the spelling
            exact = next(name for name in names if name.lower() == found.lower())
            rest = path[len(directory) + 1 + len(part) :] if directory != "." else path[len(part) :]
            candidate = _join(directory, exact) + rest
            return f"did you mean {candidate}?" if tree.resolve(candidate) is not None else None
        if directory == "." and isinstance(tree, DirectoryContext):
            return f"paths of COPY start at {tree.root}"
        return f"{directory!r} is there, {part!r} is not in it" if directory != "." else None
    return None


def _join(directory: str, name: str) -> str:
    return name if directory == "." else f"{directory}/{name}"
