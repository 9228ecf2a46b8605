"""Stores for tests: a real one in a temporary directory, a layer worker inside this process, random images."""

from __future__ import annotations

import hashlib
import io
import os
import random
import shutil
import stat
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from contextkernel.layer import tar
from contextkernel.layer.echo import Echo
from contextkernel.layer.index import layer_size, pack_index, sort_key, unpack_index
from contextkernel.layer.tree import LayerTree
from contextkernel.layer.untar import Source, read_layer
from contextkernel.model.backing import PrepareRequest, Root, SettleRequest
from contextkernel.model.codec import to_json
from contextkernel.model.digest import Digest
from contextkernel.model.layers import CopyRequest, Entry, ExportRequest, LayerFacts, MakeDirRequest
from contextkernel.model.oci import History, ImageConfig, RootFS, RunConfig
from contextkernel.model.ports import LayerWorker
from contextkernel.model.reference import ImageRef
from contextkernel.store import Store
from contextkernel.store.measuring import measure


@contextmanager
def temporary_store() -> Iterator[Store]:
    """An open store in a directory that is removed afterwards."""
    root = tempfile.mkdtemp(prefix="contextkernel-")
    try:
        with Store.open(root) as store:
            yield store
    finally:
        shutil.rmtree(root, ignore_errors=True)


class InProcessLayerWorker:
    """A layer worker without a process, privileges or ids: owners, devices and whiteouts are in the index only.

    It packs, unpacks and renders; it does not mount, so it cannot ``copy`` onto other layers.
    """

    def commit(self, directory: str, *, lowers: Sequence[str] = ()) -> LayerFacts:
        """See ports.LayerWorker; ``lowers`` makes no difference here."""
        del lowers
        entries = sorted(_scanned(f"{directory}/diff"), key=sort_key)
        with open(f"{directory}/index", "wb") as sink:
            sink.write(pack_index(entries))
        return self._facts(directory, entries, None)

    def unpack(self, source: str | int, directory: str, *, limit: int | None = None) -> LayerFacts:
        """See ports.LayerWorker."""
        from contextkernel.store.worker_ahead import Ahead
        from contextkernel.store.worker_unpack import facts_of

        tree = LayerTree()
        os.makedirs(f"{directory}/diff", exist_ok=True)
        with (
            open(source, "rb", closefd=isinstance(source, str)) as stream,
            Ahead(stream.fileno(), lambda: None) as packed,
        ):
            archive = Source(packed.read, limit, packed.plain_digest)
            echo = Echo(archive)
            for member in read_layer(archive, tree, echo):
                path, entry = f"{directory}/diff/{member.entry.path}", member.entry
                if entry.kind == "dir":
                    os.makedirs(path, exist_ok=True)
                elif entry.kind == "symlink":
                    os.symlink(entry.link, path)
                elif entry.kind == "hardlink":
                    os.link(f"{directory}/diff/{entry.link}", path)
                elif entry.kind == "file":
                    content = b"".join(bytes(part) for _, part in member.content())
                    with open(path, "wb") as sink:
                        sink.write(content)
                    tree.replace_content(entry.path, len(content), hashlib.sha256(content).hexdigest())
            entries = tree.entries()
            facts = facts_of(archive, echo, packed, entries)
        with open(f"{directory}/index", "wb") as sink:
            sink.write(pack_index(entries))
        return facts

    def write_tar(self, directory: str, descriptor: int, *, latest: int | None = None) -> LayerFacts:
        """See ports.LayerWorker."""
        with open(f"{directory}/index", "rb") as source:
            rows = unpack_index(source.read())
        if latest is not None:
            rows = [replace(row, mtime=min(row.mtime, latest)) for row in rows]
        return self._facts(directory, rows, descriptor)

    def export_tar(self, request: ExportRequest, descriptor: int) -> None:
        """See ports.LayerWorker."""
        from contextkernel.store.worker_export import export_tar

        export_tar(request, descriptor, lambda: None)

    def export_tree(self, request: ExportRequest, descriptor: int) -> None:
        """See ports.LayerWorker."""
        from contextkernel.model.ids import IdMap
        from contextkernel.store.worker_export import export_tree
        from contextkernel.store.worker_tree import Ids

        export_tree(request, descriptor, Ids(IdMap()), lambda: None)

    def _facts(self, directory: str, entries: Sequence[Entry], descriptor: int | None) -> LayerFacts:
        buffer = io.BytesIO()
        for entry in entries:
            buffer.write(tar.header(entry))
            if entry.kind == "file":
                with open(f"{directory}/diff/{entry.path}", "rb") as source:
                    buffer.write(source.read())
                buffer.write(tar.padding(entry.size))
        buffer.write(tar.END)
        view = buffer.getbuffer()
        while descriptor is not None and view:
            view = view[os.write(descriptor, view) :]
        diff_id = Digest.of(buffer.getvalue())
        return LayerFacts(diff_id=diff_id, size=layer_size(entries), entries=len(entries))

    def prepare(self, request: PrepareRequest) -> Root:
        """See ports.LayerWorker; nothing is to be done."""
        return request.root

    def settle(self, request: SettleRequest) -> None:
        """See ports.LayerWorker; nothing is to be done."""

    def copy(self, request: CopyRequest, *, lowers: Sequence[str] = ()) -> tuple[str, ...]:
        """Only heredoc files and plain files of a context or of other layers, written into the new layer."""
        del lowers
        target = f"{request.upper}{request.destination}"
        for item in request.items:
            path = f"{target}/{item.name or os.path.basename(item.source)}" if request.directory else target
            os.makedirs(os.path.dirname(path), exist_ok=True)
            if item.data is None:
                roots = [request.source_root] if request.source_root else list(reversed(request.source_lowers))
                found = (f"{root}/{item.source}" for root in roots)
                shutil.copy2(next(source for source in found if os.path.exists(source)), path)  # its time is kept
            else:
                with open(path, "wb") as sink:
                    sink.write(item.data)
        return ()

    def make_dir(self, request: MakeDirRequest) -> tuple[str, ...]:
        """See ports.LayerWorker."""
        os.makedirs(f"{request.upper}{request.path}", exist_ok=True)
        return ()

    def remove(self, paths: Sequence[str]) -> None:
        """See ports.LayerWorker."""
        for path in paths:
            shutil.rmtree(path, ignore_errors=True)

    def measure(self, paths: Sequence[str]) -> tuple[int, ...]:
        """See ports.LayerWorker."""
        return tuple(measure(path) for path in paths)

    def adopt(self, source: str, directory: str) -> LayerFacts:
        """See ports.LayerWorker."""
        os.rmdir(f"{directory}/diff")
        os.rename(source, f"{directory}/diff")
        return self.commit(directory)

    def close(self) -> None:
        """Nothing to end."""


def _scanned(diff: str) -> Iterator[Entry]:
    for here, directories, files in os.walk(diff):
        for name in [*directories, *files]:
            path = os.path.join(here, name)
            facts = os.lstat(path)
            mode, mtime, relative = stat.S_IMODE(facts.st_mode), facts.st_mtime_ns, os.path.relpath(path, diff)
            if stat.S_ISLNK(facts.st_mode):
                yield Entry(relative, "symlink", 0o777, mtime=mtime, link=os.readlink(path))
            elif stat.S_ISDIR(facts.st_mode):
                yield Entry(relative, "dir", mode, mtime=mtime)
            else:
                with open(path, "rb") as source:
                    digest = hashlib.file_digest(source, "sha256").hexdigest()
                yield Entry(relative, "file", mode, size=facts.st_size, mtime=mtime, digest=digest)


def random_layer(store: Store, worker: LayerWorker, seed: int, *, files: int = 3) -> Digest:
    """Add a layer of a few small files that depend on ``seed`` alone; returns its ``diff_id``."""
    chance = random.Random(seed)  # noqa: S311 # reproducible on purpose
    directory = store.new_layer_dir()
    os.mkdir(f"{directory}/diff/data")
    for number in range(files):
        path = f"{directory}/diff/data/{seed}-{number}"
        with open(path, "wb") as sink:
            sink.write(chance.randbytes(chance.randrange(1, 2000)))
        os.chmod(path, 0o644)
        os.utime(path, (1_600_000_000, 1_600_000_000))
    os.chmod(f"{directory}/diff/data", 0o755)  # noqa: S103
    os.utime(f"{directory}/diff/data", (1_600_000_000, 1_600_000_000))
    os.utime(f"{directory}/diff", (1_600_000_000, 1_600_000_000))
    facts = worker.commit(directory)
    return store.add_layer(directory, facts).diff_id


def random_image(
    store: Store, worker: LayerWorker, *names: str, seed: int = 0, layers: int = 2, base: Sequence[Digest] = ()
) -> Digest:
    """Add a small image that depends on the arguments alone.

    Args:
        store: where to.
        worker: commits its layers.
        names: its tags.
        seed: of the contents of its own layers.
        layers: number of its own layers.
        base: layers to put below.
    """
    diff_ids = [*base, *(random_layer(store, worker, seed * 1000 + number) for number in range(layers))]
    created = f"2024-01-02T03:04:{seed % 60:02d}.123456789Z"
    config = ImageConfig(
        architecture="amd64",
        os="linux",
        created=created,
        config=RunConfig(env=("PATH=/usr/bin:/bin",), entrypoint=("echo", str(seed))),
        rootfs=RootFS("layers", tuple(diff_ids)),
        history=(
            *(
                History(created=created, created_by=f"COPY {number} /data # buildkit")
                for number in range(len(diff_ids))
            ),
            History(
                created=created,
                created_by=f'ENTRYPOINT ["echo" "{seed}"]',
                comment="buildkit.dockerfile.v0",
                empty_layer=True,
            ),
        ),
    )
    return store.add_image(to_json(config), origin="build", names=[ImageRef.parse(name) for name in names])
