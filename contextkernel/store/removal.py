"""Removing images by docker's rules (moby, daemon/images/image_delete.go)."""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Callable, Sequence

import msgspec

from contextkernel.errors import ImageInUse, ImageNotFound
from contextkernel.model.codec import from_json
from contextkernel.model.container import ContainerSpec, RunState
from contextkernel.model.digest import Digest
from contextkernel.model.reference import ImageRef
from contextkernel.store.images import resolve
from contextkernel.store.paths import Paths
from contextkernel.store.sweep import drop_unused_layers


class _User(msgspec.Struct, frozen=True):
    """A container that uses the image."""

    id: str
    name: str
    runs: bool

    def __str__(self) -> str:
        return f"{'running' if self.runs else 'stopped'} container {self.id[:12]} ({self.name})"

    @property
    def advice(self) -> str:
        """What to do about it."""
        if self.runs:
            return f"stop and remove the container first: rm -f {self.name}"
        return f"remove the container first (rm {self.name}), or use rmi -f"


class Removal:
    """One removal.

    Args:
        paths: of the store.
        running: tells of a container directory whether its container runs.

    Attributes:
        deleted: whether an image went, and not only a name.
        freed: bytes of the layers that went with it; those that the build cache or a container needs do not.
    """

    def __init__(self, paths: Paths, running: Callable[[str], bool] | None) -> None:
        self._paths = paths
        self._running = running or recorded_running
        self.deleted = False
        self.freed = 0

    def remove(self, sql: sqlite3.Connection, text: str, *, force: bool) -> tuple[str, ...]:
        """Do it inside a transaction; see ``Store.remove_image``."""
        image, ref = resolve(sql, text)
        names = names_of(sql, image)
        using = self._containers(sql, image)
        lines: list[str] = []
        if ref is not None:
            # a name was given; the image stays if it has others
            if not force and single_name(names) and using:
                raise ImageInUse(
                    f"conflict: unable to remove repository reference {text!r} (must force) - "
                    f"{using[0]} is using its referenced image {image.short}",
                    hint=using[0].advice,
                )
            removed = _matching(names, ref, image)
            for name in (removed, *_left_digests(names, removed)):
                _drop_name(sql, name)
                lines.append(f"Untagged: {name.familiar}")
            if names_of(sql, image):
                return tuple(lines)
            if any(user.runs for user in using):
                # forced: the name goes, the image stays as long as the container runs
                return tuple(lines)
        else:
            problem = f"conflict: unable to delete {image.short}"
            if using and using[0].runs:
                raise ImageInUse(
                    f"{problem} (cannot be forced) - image is being used by {using[0]}", hint=using[0].advice
                )
            if not force and len(names) > 1 and not single_name(names):
                shown = ", ".join(name.familiar for name in names)
                raise ImageInUse(
                    f"{problem} (must be forced) - image has several names: {shown}",
                    hint="remove the names one by one, or use rmi -f",
                )
            if not force and using:
                raise ImageInUse(
                    f"{problem} (must be forced) - image is being used by {using[0]}", hint=using[0].advice
                )
            for name in names:
                _drop_name(sql, name)
                lines.append(f"Untagged: {name.familiar}")
        return (*lines, *self._delete(sql, image))

    def prune(self, sql: sqlite3.Connection, image: Digest, *, named: bool) -> tuple[str, ...]:
        """The same for ``prune`` (moby, daemon/images/image_prune.go): nothing that somebody began to use meanwhile.

        Args:
            sql: inside a transaction.
            image: its id.
            named: also if it has a tag; a repository digest alone does not keep it.
        """
        if not sql.execute("SELECT 1 FROM images WHERE id = ?", (str(image),)).fetchone():
            return ()
        names = names_of(sql, image)
        if self._containers(sql, image) or (not named and any(name.tag is not None for name in names)):
            return ()
        for name in names:
            _drop_name(sql, name)
        return (*(f"Untagged: {name.familiar}" for name in names), *self._delete(sql, image))

    def _containers(self, sql: sqlite3.Connection, image: Digest) -> list[_User]:
        """Containers of the image, running ones first."""
        rows = sql.execute("SELECT spec FROM containers WHERE image = ? ORDER BY created", (str(image),))
        found = []
        for (document,) in rows:
            spec = from_json(document, ContainerSpec)
            path = self._paths.container(spec.id)
            if not spec.auto_remove or os.path.isdir(path):  # else its monitor has already removed it
                found.append(_User(spec.id, spec.name, self._running(path)))
        return sorted(found, key=lambda user: not user.runs)

    def _delete(self, sql: sqlite3.Connection, image: Digest) -> list[str]:
        rows = sql.execute(
            "SELECT diff_id, size FROM image_layers JOIN layers USING (diff_id) WHERE image = ? ORDER BY position",
            (str(image),),
        )
        sizes = [(Digest(diff_id), size) for diff_id, size in rows]
        layers = [layer for layer, _ in sizes]
        sql.execute("UPDATE containers SET image_removed = 1 WHERE image = ?", (str(image),))
        sql.execute("DELETE FROM images WHERE id = ?", (str(image),))
        self.deleted = True
        gone = drop_unused_layers(sql)
        self.freed += sum(size for layer, size in dict(sizes).items() if layer in gone)
        chains = chain_ids(layers)
        return [
            f"Deleted: {image}",
            *(
                f"Deleted: {chain}"
                for layer, chain in reversed(list(zip(layers, chains, strict=True)))
                if layer in gone
            ),
        ]


def recorded_running(directory: str) -> bool:
    """Whether ``state.json`` in a container's directory says that it runs, and its init is still there."""
    try:
        with open(f"{directory}/state.json", "rb") as source:
            state = from_json(source.read(), RunState)
    except (OSError, ValueError):
        return False
    return state.alive and (state.pid == 0 or os.path.exists(f"/proc/{state.pid}"))


def names_of(sql: sqlite3.Connection, image: Digest) -> list[ImageRef]:
    """All names of an image: tags, then repository digests, each sorted."""
    tags = sql.execute("SELECT registry, repository, tag FROM tags WHERE image = ?", (str(image),))
    names = sorted(ImageRef(*row) for row in tags)
    digests = sql.execute("SELECT registry, repository, digest FROM repo_digests WHERE image = ?", (str(image),))
    return names + sorted(ImageRef(row[0], row[1], None, Digest(row[2])) for row in digests)


def single_name(names: Sequence[ImageRef]) -> bool:
    """One tag, or several names of one repository of which at most one is a tag."""
    return len({name.name for name in names}) == 1 and sum(name.tag is not None for name in names) <= 1


def chain_ids(layers: Sequence[Digest]) -> list[Digest]:
    """The chain ids of layers, base first (OCI image-spec, config.md, "Layer ChainID")."""
    out: list[Digest] = []
    for layer in layers:
        text = f"{out[-1]} {layer}" if out else ""
        out.append(Digest.from_hex(hashlib.sha256(text.encode()).hexdigest()) if out else layer)
    return out


def _matching(names: Sequence[ImageRef], ref: ImageRef, image: Digest) -> ImageRef:
    for name in names:
        if name.name == ref.name and (name.digest == ref.digest if ref.digest else name.tag == ref.tag):
            return name
    for name in names:  # name@<image id>
        if name.name == ref.name and ref.digest == image:
            return name
    raise ImageNotFound(f"no such image: {ref.familiar}", hint="images lists the images there are")


def _left_digests(names: Sequence[ImageRef], removed: ImageRef) -> list[ImageRef]:
    """With the last tag of a repository its repository digests go too."""
    if removed.digest is not None:
        return []
    same = [name for name in names if name.name == removed.name and name != removed]
    return [] if any(name.tag is not None for name in same) else same


def _drop_name(sql: sqlite3.Connection, name: ImageRef) -> None:
    if name.digest is not None:
        sql.execute(
            "DELETE FROM repo_digests WHERE registry = ? AND repository = ? AND digest = ?",
            (name.registry, name.repository, str(name.digest)),
        )
    else:
        sql.execute(
            "DELETE FROM tags WHERE registry = ? AND repository = ? AND tag = ?",
            (name.registry, name.repository, name.tag),
        )
