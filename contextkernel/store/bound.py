"""The store's size, and the bound that a setting puts on it.

Layers are counted as the database has them, blobs by their files, the rest is measured. Sizes are those of the files'
content, as in ``system df``: what a file system needs beside it is not counted.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence

from contextkernel.errors import StoreFull
from contextkernel.linux.room import free_space, tree_size
from contextkernel.model.cache import parse_size
from contextkernel.model.room import STORE_LIMIT_VARIABLE, Growth, StoreRoom, human_size
from contextkernel.store.database import Database
from contextkernel.store.paths import ROOM_ADVICE, Paths

_RECENT = 1.0  # seconds for which what was measured is good enough to say how much is left
_SLACK = 1 << 28  # bytes
_LAYERS = "SELECT coalesce(sum(size), 0) FROM layers"


class Bound:
    """What the store takes and may take.

    Args:
        paths: of the store.
        database: of the store.

    Attributes:
        measure: measures directories that this user may not look into; replaced by whoever has a layer worker.
        make_room: removes what is in the trash, and unused build cache of so many bytes; replaced by whoever can.
        reclaimable: bytes of unused build cache, which give way to what is worth more.
    """

    def __init__(self, paths: Paths, database: Database) -> None:
        self._paths = paths
        self._database = database
        self._lock = threading.Lock()
        self._measured: tuple[float, dict[str, int]] | None = None
        self.measure: Callable[[Sequence[str]], Sequence[int]] = lambda found: [tree_size(path) for path in found]
        self.make_room: Callable[[int], None] = lambda _bytes: None
        self.reclaimable: Callable[[], int] = lambda: 0

    def limit(self) -> int:
        """Bytes that the store may take; 0 for no bound.

        Raises:
            InvalidInput: the setting is no size.
        """
        chosen = os.environ.get(STORE_LIMIT_VARIABLE)
        return parse_size(chosen) if chosen else 0

    def disk(self) -> tuple[int, int]:
        """Bytes that the file system has left for this user, and in all; 0 in all where it does not say."""
        try:
            state = os.statvfs(self._paths.root)
        except OSError:
            return free_space(self._paths.root), 0
        return free_space(self._paths.root), state.f_blocks * state.f_frsize

    def room(self, *, without: str = "", recent: bool = False) -> StoreRoom:
        """What everything takes, right now.

        Args:
            without: a layer directory in the making that is not to be counted.
            recent: what is measured may be a moment old.

        Raises:
            InvalidInput: the setting is no size.
        """
        free, disk = self.disk()
        parts = self._parts(recent=recent)
        known = {row[0] for row in self._database.all("SELECT directory FROM layers")}
        skipped = {*known, os.path.basename(without)}
        working = [path for path in _below(self._paths.layers) if os.path.basename(path) not in skipped]
        return StoreRoom(
            layers=int(self._database.all(_LAYERS)[0][0]),
            blobs=tree_size(os.path.dirname(self._paths.blobs)),
            containers=parts["containers"],
            volumes=parts["volumes"],
            caches=parts["caches"],
            registries=tree_size(self._paths.registries),
            working=sum(self.measure([*working, self._paths.tmp])) + tree_size(self._paths.downloads),
            bound=self.limit(),
            free=free,
            disk=disk,
        )

    def _parts(self, *, recent: bool) -> dict[str, int]:
        with self._lock:
            now = time.monotonic()
            if recent and self._measured is not None and now - self._measured[0] < _RECENT:
                return self._measured[1]
            names = ("containers", "volumes", "caches")
            sizes = self.measure([self._paths.containers, self._paths.volumes, self._paths.caches])
            found = dict(zip(names, sizes, strict=True))
            self._measured = (now, found)
            return found

    def admit(self, extra: int, *, without: str = "") -> None:
        """Make sure that ``extra`` bytes more are within the bound; unused build cache gives way to them.

        Args:
            extra: bytes that are about to be added, or were written and not added yet.
            without: the layer directory that has them already.

        Raises:
            StoreFull: they are not.
        """
        if not self.limit():
            return
        room = self._made_room(self.room(without=without), extra, without)
        if room.used + extra > room.bound:
            raise exceeded(room, extra)

    def _made_room(self, room: StoreRoom, extra: int, without: str = "") -> StoreRoom:
        """Let go of what is trash anyway, then of cache, until ``extra`` bytes fit; what is there then."""
        if room.used + extra > room.bound:
            self.make_room(0)
            room = self.room(without=without)
        if room.used + extra > room.bound:
            self.make_room(room.used + extra - room.bound)
            room = self.room(without=without)
        return room

    def fetchable(self, size: int) -> None:
        """Before the first byte of something of a promised size is asked for.

        Raises:
            StoreFull: the disk has not that much left.
        """
        left = free_space(self._paths.root)
        if size > left:
            raise StoreFull(
                f"{human_size(size)} were to be fetched, and the disk of the store has {human_size(left)} left",
                hint=ROOM_ADVICE,
            )

    def unpacking(self, limit: int | None = None) -> int:
        """Bytes that an archive may have when unpacked: no more than the disk has, whatever the archive says of itself.

        Args:
            limit: a lower bound of the caller's.

        With a bound of the store a little more than it leaves: :meth:`admit` then says what takes the room.
        """
        left = free_space(self._paths.root)
        if self.limit():
            room = self.room(recent=True)
            left = min(left, max(0, room.bound - room.used) + self.reclaimable() + _SLACK)
        return left if limit is None else min(limit, left)

    def problem(self, written: int = 0) -> StoreFull:
        """The error for what has outgrown its room.

        Args:
            written: bytes that were written when it was stopped; told if they are gone already.
        """
        room = self.room()
        return exceeded(room, written if room.used <= room.bound else 0)

    def outgrown(self, size: int) -> str:
        """What to say of a container that was killed for having written ``size`` bytes."""
        return (
            f"it has written {human_size(size)}, and the store may take {human_size(self.limit())}"
            f" ({STORE_LIMIT_VARIABLE}); {ROOM_ADVICE}"
        )

    def meter(self) -> Callable[[int], None]:
        """Counts bytes that are written to a temporary file of the store; raises StoreFull when they are too many."""
        if not self.limit():
            return lambda _bytes: None
        room = self.room(recent=True)
        left = room.bound - room.used

        def count(size: int) -> None:
            nonlocal left
            left -= size
            if left < 0:
                now = self._made_room(self.room(), 0)  # what was written so far is in it
                if now.used > now.bound:
                    raise exceeded(now)
                left = now.bound - now.used

        return count

    def growth(self, directory: str) -> Growth | None:
        """How far a directory of the store may grow; ``None`` without a bound.

        Args:
            directory: absolute; it may not be there yet.

        What unused build cache has counts as room: it is removed when the directory becomes a layer, at the latest.
        """
        if not self.limit():
            return None
        room = self.room(recent=True)
        size = tree_size(directory)
        left = max(0, room.bound - room.used + self.reclaimable())
        return Growth(root=self._paths.root, directory=directory, size=size, most=size + left)


def exceeded(room: StoreRoom, extra: int = 0) -> StoreFull:
    """The error for a bound that does not hold any more.

    Args:
        room: as it is.
        extra: bytes that were to come.
    """
    parts = [
        (name, size)
        for name, size in (
            ("images and build cache", room.layers + room.blobs),
            ("containers", room.containers),
            ("volumes", room.volumes),
            ("cache mounts", room.caches),
            ("registries", room.registries),
            ("work in progress", room.working),
        )
        if size
    ]
    what = ", ".join(f"{name} {human_size(size)}" for name, size in parts) or "nothing yet"
    more = f" and {human_size(extra)} were to be added" if extra else ""
    return StoreFull(
        f"the store may take {human_size(room.bound)} ({STORE_LIMIT_VARIABLE}), it has {human_size(room.used)}{more}:"
        f" {what}",
        hint=f"{ROOM_ADVICE}, or raise {STORE_LIMIT_VARIABLE}",
    )


def _below(path: str) -> list[str]:
    try:
        return [entry.path for entry in os.scandir(path)]
    except OSError:
        return []
