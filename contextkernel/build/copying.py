"""What a COPY or ADD copies: sources found, wildcards matched, content digested.

Source of the rules: BuildKit's ``solver/llbsolver/file/backend.go`` and ``fsutil/copy``: sources are paths from the
origin's root, links are followed inside of it, a directory stands for its contents, a wildcard that matches nothing
copies nothing.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from contextkernel.build.context import DirectoryContext
from contextkernel.build.trees import Node, SourceTree
from contextkernel.dockerfile.ignore import match_glob
from contextkernel.dockerfile.suggest import nearest
from contextkernel.errors import InvalidInput, SourceNotFound
from contextkernel.model.digest import Digest
from contextkernel.model.layers import CopyItem
from contextkernel.plan import keys
from contextkernel.plan.steps import CopyStep

_WILDCARDS = "*?["


class ResolvedCopy(msgspec.Struct, frozen=True, kw_only=True):
    """A COPY with its sources found.

    Attributes:
        items: for the copy request.
        excludes: paths in the sources that the ignore file leaves out.
        content: digest of everything that is copied.
        unmatched: wildcards that matched nothing.
        groups: what is copied, for explanations: paths in front, and rows whose paths go on from there.
    """

    items: tuple[CopyItem, ...]
    excludes: tuple[str, ...]
    content: Digest
    unmatched: tuple[str, ...] = ()
    groups: tuple[tuple[str, Sequence[tuple[object, ...]]], ...] = ()


def resolve_copy(step: CopyStep, tree: SourceTree) -> ResolvedCopy:
    """Find and digest what ``step`` copies from ``tree``.

    Raises:
        SourceNotFound: a source does not exist, with what was near. InvalidInput: a bad pattern.
    """
    items: list[CopyItem] = []
    rows: list[tuple[object, ...]] = []
    excludes: set[str] = set()
    unmatched: list[str] = []
    groups: list[tuple[str, Sequence[tuple[object, ...]]]] = []
    for source in step.sources:
        path = source.lstrip("/") or "."
        matches = _matches(tree, path)
        if matches is None:
            matches = [path]
        elif not matches:
            unmatched.append(path)
        for match in matches:
            item, found = _item(step, tree, match)
            items.append(item)
            rows += [(len(items), *row) for row in found]
            top = "" if item.source == "." else item.source
            groups.append((top, found if item.contents else [row[1:] for row in found]))
            if isinstance(tree, DirectoryContext) and item.contents:
                excludes.update(tree.excluded_below(item.source))
    for file in step.files:
        data = file.content.encode("utf-8", "surrogateescape")
        items.append(CopyItem(source=file.name, name=file.name, data=data))
        rows.append((len(items), "inline", file.name, str(Digest.of(data))))
        groups.append(("", [(file.name, str(Digest.of(data)))]))
    return ResolvedCopy(
        items=tuple(items),
        excludes=tuple(sorted(excludes)),
        content=keys.source_digest(rows),
        unmatched=tuple(unmatched),
        groups=tuple(groups),
    )


def _item(step: CopyStep, tree: SourceTree, path: str) -> tuple[CopyItem, list[tuple[object, ...]]]:
    resolved = tree.resolve(path)
    node = tree.get(resolved) if resolved is not None else None
    if resolved is None or node is None:
        raise _not_found(step, tree, path)
    if node.kind == "dir":
        # the directory's own name does not matter: only what is in it is copied
        rows = [_row(tree, below, resolved) for below in tree.below(resolved)]
        return CopyItem(source=resolved, contents=True), rows
    name = path.rpartition("/")[2]
    # whether it is an archive, the worker sees by its content
    item = CopyItem(source=resolved, name=name, extract=step.unpack and node.kind == "file")
    return item, [(name, *_row(tree, node, resolved))]


def _row(tree: SourceTree, node: Node, top: str) -> tuple[object, ...]:
    """Everything of an entry that ends up in the image, but times."""
    path = node.path if top == "." else node.path[len(top) :]
    content = tree.digest(node) if node.kind == "file" else ""
    return (path, node.kind, node.mode, node.uid, node.gid, node.link, content, node.xattrs, node.device)


def _matches(tree: SourceTree, path: str) -> list[str] | None:
    """What a wildcard matches, in order; ``None`` if ``path`` has none.

    A component is matched by names in real directories only; links are followed in front of the first wildcard.
    """
    parts = path.split("/")
    first = next((index for index, part in enumerate(parts) if _is_wild(part)), None)
    if first is None:
        return None
    start = tree.resolve("/".join(parts[:first]) or ".")
    found = [start] if start is not None else []
    for index, pattern in enumerate(parts[first:], first):
        last = index == len(parts) - 1
        found = [
            _join(directory, name)
            for directory in found
            for name in tree.children(directory)
            if match_glob(pattern, name) and (last or _is_directory(tree, _join(directory, name)))
        ]
    return found


def _is_wild(part: str) -> bool:
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
