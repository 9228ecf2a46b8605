"""The layer worker with each id map that this user can have, and small layer stacks to work on."""

from __future__ import annotations

import io
import os
import pwd
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contextkernel.layer.index import unpack_index
from contextkernel.layer.merge import merge
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.layers import CopyItem, CopyRequest, Entry, LayerFacts
from contextkernel.store.worker_client import LayerWorkerClient


def _subordinate(path: str) -> IdRange | None:
    """The first range that newuidmap would give this user; root needs no permission."""
    if os.geteuid() == 0:
        return IdRange(1, 100000, 65536)
    user = pwd.getpwuid(os.geteuid()).pw_name
    for line in Path(path).read_text().splitlines() if os.path.exists(path) else []:
        name, first, count = line.split(":")
        if name in {user, str(os.geteuid())}:
            return IdRange(1, int(first), int(count))
    return None


def idmap(kind: str) -> IdMap | None:
    uid, gid = IdRange(0, os.geteuid(), 1), IdRange(0, os.getegid(), 1)
    if kind == "single":
        return IdMap((uid,), (gid,))
    if kind == "own":
        return IdMap(own=True) if os.geteuid() != 0 else None
    if kind == "range":
        uids, gids = _subordinate("/etc/subuid"), _subordinate("/etc/subgid")
        return IdMap((uid, uids), (gid, gids)) if uids and gids else None
    return IdMap() if os.geteuid() == 0 else None


def _kinds() -> list[str]:
    """Id maps, and how trees are made with them: with overlay, or by copies."""
    kinds = ("identity", "range", "single", "single+copy", "own+copy")
    return [kind for kind in kinds if idmap(kind.partition("+")[0]) is not None]


@pytest.fixture(scope="session", params=_kinds())
def kind(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="session")
def ids(kind: str) -> str:
    return kind.partition("+")[0]


@pytest.fixture(scope="session")
def worker(kind: str, ids: str) -> Iterator[LayerWorkerClient]:
    found = idmap(ids)
    assert found is not None
    client = LayerWorkerClient(found, backing="copy" if kind.endswith("+copy") else "overlay")
    yield client
    client.close()


@pytest.fixture
def bench(worker: LayerWorkerClient, ids: str) -> Iterator[Bench]:
    root = tempfile.mkdtemp(prefix="contextkernel-", dir=os.environ.get("TMPDIR", "/var/tmp"))
    os.chmod(root, 0o755)  # noqa: S103  (the worker's other ids have to get in)
    try:
        yield Bench(worker, ids, Path(root))
    finally:
        worker.remove([root])


class Bench:
    """A directory with layers in it."""

    def __init__(self, worker: LayerWorkerClient, ids: str, root: Path) -> None:
        self.worker = worker
        self.ids = ids
        self.root = root
        self.context = root / "context"
        self.context.mkdir()
        self._count = 0

    def layer(self) -> Path:
        self._count += 1
        path = self.root / f"layer{self._count}"
        (path / "diff").mkdir(parents=True)
        (path / "work").mkdir()
        return path

    def unpack(self, data: bytes, **options: int) -> tuple[Path, LayerFacts]:
        source = self.root / f"archive{self._count}"
        source.write_bytes(data)
        layer = self.layer()
        return layer, self.worker.unpack(str(source), str(layer), **options)

    def base(self, **members: bytes | str | int) -> Path:
        """A layer from names: bytes are files, text symbolic links, numbers directories with that mode."""
        return self.unpack(archive(**members))[0]

    def copy(self, *sources: str | CopyItem, to: str, lowers: tuple[Path, ...] = (), **options: object) -> Path:
        layer = self.layer()
        self.copy_into(layer, *sources, to=to, lowers=lowers, **options)
        return layer

    def copy_into(
        self, layer: Path, *sources: str | CopyItem, to: str, lowers: tuple[Path, ...] = (), **options: object
    ) -> None:
        items = tuple(
            source if isinstance(source, CopyItem) else CopyItem(source=source, contents=True) for source in sources
        )
        options.setdefault("source_root", None if "source_lowers" in options else str(self.context))
        request = CopyRequest(
            lowers=diffs(lowers),
            upper=str(layer / "diff"),
            work=str(layer / "work"),
            items=items,
            destination=to.rstrip("/") or "/",
            directory=to.endswith("/") or len(items) > 1,
            **options,  # type: ignore[arg-type]
        )
        self.notes = self.worker.copy(request)

    def rows(self, layer: Path) -> dict[str, Entry]:
        """Commit a layer and give its rows."""
        self.worker.commit(str(layer))
        return {entry.path: entry for entry in index(layer)}

    def merged(self, *layers: Path) -> dict[str, Entry]:
        for layer in layers:
            if not (layer / "index").exists():
                self.worker.commit(str(layer))
        return merge(index(layer) for layer in layers)

    def tar(self, layer: Path) -> tuple[bytes, LayerFacts]:
        with tempfile.TemporaryFile() as stream:
            facts = self.worker.write_tar(str(layer), stream.fileno())
            stream.seek(0)
            return stream.read(), facts


def index(layer: Path) -> list[Entry]:
    return unpack_index((layer / "index").read_bytes())


def diffs(layers: tuple[Path, ...]) -> tuple[str, ...]:
    return tuple(str(layer / "diff") for layer in layers)


def archive(**members: bytes | str | int) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, value in members.items():
            info = tarfile.TarInfo(name)
            info.mtime = 1_600_000_000
            if isinstance(value, bytes):
                info.size = len(value)
                tar.addfile(info, io.BytesIO(value))
            elif isinstance(value, str):
                info.type, info.linkname = tarfile.SYMTYPE, value
                tar.addfile(info)
            else:
                info.type, info.mode = tarfile.DIRTYPE, value
                tar.addfile(info)
    return buffer.getvalue()


def run(*argv: str) -> bytes:
    return subprocess.run(argv, check=True, capture_output=True).stdout
