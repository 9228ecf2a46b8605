"""The bound on what the store takes: what counts, what gives way, and what is refused with nothing half done."""

from __future__ import annotations

import importlib.util
import io
import os
import shutil
from pathlib import Path

import pytest

from contextkernel import Engine
from contextkernel.engine.caches import cache_limit
from contextkernel.errors import InvalidInput, StoreFull
from contextkernel.linux.room import GrowthWatch, bytes_written, tree_size
from contextkernel.model.digest import Digest
from contextkernel.model.reference import ImageRef
from contextkernel.model.room import Growth, StoreRoom, human_size
from contextkernel.store import Store
from contextkernel.store.archive import import_tar, load
from contextkernel.store.bound import exceeded
from contextkernel.store.steps import StepRecord
from contextkernel.testing.stores import InProcessLayerWorker

_SPEC = importlib.util.spec_from_file_location("archives", Path(__file__).with_name("archives.py"))
archives = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(archives)
MB = 10**6


@pytest.fixture
def bound(monkeypatch: pytest.MonkeyPatch):
    def to(size: str) -> None:
        monkeypatch.setenv("CONTEXTKERNEL_MAX_SIZE", size)

    monkeypatch.delenv("CONTEXTKERNEL_MAX_SIZE", raising=False)
    return to


def layer(store: Store, size: int, fill: bytes = b"x") -> Digest:
    """A layer with one file."""
    worker = InProcessLayerWorker()
    directory = store.new_layer_dir()
    written(directory, fill * size)
    return store.add_layer(directory, worker.commit(directory)).diff_id


def written(directory: str, content: bytes) -> None:
    """The one file; of one time, because equal layers are told by times too."""
    path = Path(directory, "diff", "file")
    path.write_bytes(content)
    os.utime(path, (0, 0))


def leftovers(store: Store) -> list[str]:
    trash = {os.path.basename(path) for path in store.trash()}
    known = {name for name in os.listdir(f"{store.root}/layers") if name not in trash}
    return sorted([*known, *os.listdir(f"{store.root}/tmp")])


def test_everything_counts(store: Store) -> None:
    layer(store, 1000)
    store.write_blob(b"b" * 300)
    for place, size in (
        ("containers/one/upper", 20),
        ("volumes/v/_data", 7),
        ("caches/c/tree/data", 5),
        ("registry/r/layout", 13),
    ):
        os.makedirs(f"{store.root}/{place}")
        Path(store.root, place, "file").write_bytes(b"x" * size)
    working = store.new_layer_dir()
    Path(working, "diff", "half").write_bytes(b"x" * 11)
    room = store.bound.room()
    assert (room.layers, room.blobs, room.containers, room.volumes, room.caches) == (1000, 300, 20, 7, 5)
    assert (room.registries, room.working) == (13, 11)
    assert room.used == 1356
    assert room.bound == 0
    assert 0 < room.left == room.free <= room.disk
    assert store.bound.room(without=working).working == 0


def test_what_is_left_is_the_smaller_of_two() -> None:
    assert StoreRoom(layers=60, bound=100, free=1000).left == 40
    assert StoreRoom(layers=60, bound=100, free=10).left == 10
    assert StoreRoom(layers=160, bound=100, free=10).left == 0


def test_without_a_bound_nothing_is_measured(store: Store, bound, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(store.bound, "room", lambda **_: pytest.fail("looked"))
    store.bound.admit(1 << 60)
    assert store.bound.growth(store.root) is None
    store.bound.meter()(1 << 60)
    bound("0")
    store.bound.admit(1 << 60)


def test_a_setting_that_is_no_size(store: Store, bound) -> None:
    bound("lots")
    with pytest.raises(InvalidInput, match="'lots' is not a size"):
        store.bound.admit(1)


def test_a_layer_that_does_not_fit_is_not_added(store: Store, bound) -> None:
    kept = layer(store, 2 * MB)
    bound("3MB")
    directory = store.new_layer_dir()
    written(directory, b"y" * 2 * MB)
    facts = InProcessLayerWorker().commit(directory)
    with pytest.raises(StoreFull) as caught:
        store.add_layer(directory, facts)
    problem = caught.value
    assert problem.problem == (
        "the store may take 3MB (CONTEXTKERNEL_MAX_SIZE), it has 2MB and 2MB were to be added:"
        " images and build cache 2MB"
    )
    assert "system prune" in (problem.hint or "")
    assert "CONTEXTKERNEL_MAX_SIZE" in (problem.hint or "")
    assert not store.has_layer(facts.diff_id)
    store.discard_layer_dir(directory)
    removed = store.trash()
    assert removed == (directory,)
    store.bound.make_room = lambda _size: [shutil.rmtree(path, ignore_errors=True) for path in removed]
    bound("4MB")  # trash is removed before anything is refused
    assert layer(store, 2 * MB, b"y") == facts.diff_id
    assert store.has_layer(kept)


def test_a_layer_that_is_here_already_costs_nothing(store: Store, bound) -> None:
    first = layer(store, 2 * MB)
    bound("1MB")
    assert layer(store, 2 * MB) == first


def test_a_blob_that_does_not_fit_is_not_even_read(store: Store, bound) -> None:
    bound("3MB")

    class Untouched:
        def read(self, _size: int) -> bytes:
            raise AssertionError("was read")

    with pytest.raises(StoreFull, match="4MB were to be added"):
        store.write_blob(Untouched(), size=4 * MB)
    assert leftovers(store) == []


def test_a_blob_of_unknown_size_is_stopped_on_its_way(store: Store, bound) -> None:
    bound("3MB")
    source = io.BytesIO(b"x" * (20 * MB))
    with pytest.raises(StoreFull):
        store.write_blob(source)
    assert source.tell() < 6 * MB
    assert leftovers(store) == []


def test_a_load_that_does_not_fit_leaves_nothing(store: Store, bound, tmp_path: Path) -> None:
    small, big = archives.tar(("a", b"a" * 1000)), archives.tar(("b", os.urandom(3 * MB)))
    path = tmp_path / "image.tar"
    path.write_bytes(archives.docker_archive(small, big))
    bound("2MB")
    worker = InProcessLayerWorker()
    with pytest.raises(StoreFull):
        load(store, worker, str(path))
    assert store.image_rows() == ()
    assert leftovers(store) == []
    bound("9MB")
    assert load(store, worker, str(path)) == ("old:v1",)


def test_a_compressed_archive_is_stopped_while_it_is_unpacked(store: Store, bound, tmp_path: Path) -> None:
    import gzip

    path = tmp_path / "image.tar.gz"
    path.write_bytes(gzip.compress(archives.docker_archive(archives.tar(("zeros", b"\0" * (30 * MB)))), 1))
    bound("2MB")
    with pytest.raises(StoreFull):
        load(store, InProcessLayerWorker(), str(path))
    assert leftovers(store) == []


def test_an_import_that_does_not_fit_leaves_nothing(store: Store, bound, tmp_path: Path) -> None:
    path = tmp_path / "root.tar"
    path.write_bytes(archives.tar(("b", b"b" * (3 * MB))))
    bound("2MB")
    with pytest.raises(StoreFull):
        import_tar(store, InProcessLayerWorker(), str(path), ImageRef.parse("x"))
    assert store.image_rows() == ()
    assert leftovers(store) == []


# ---- what gives way


@pytest.fixture
def engine(tmp_path: Path):
    with Engine(tmp_path / "store", worker=InProcessLayerWorker()) as made:
        yield made


def cached(store: Store, size: int, fill: bytes) -> Digest:
    """A layer that only the build cache has."""
    diff_id = layer(store, size, fill)
    store.add_step(Digest.of(fill), StepRecord(diff_id=diff_id, created=1))
    store.release([diff_id])
    return diff_id


def test_unused_build_cache_gives_way_least_recently_used_first(engine: Engine, bound) -> None:
    store = engine._store
    old, new = cached(store, 2 * MB, b"o"), cached(store, 2 * MB, b"n")
    told: list[str] = []
    engine.on_warning = told.append
    bound("5MB")
    kept = layer(store, 2 * MB, b"k")
    assert [store.has_layer(one) for one in (old, new, kept)] == [False, True, True]
    assert store.trash() == ()
    with engine._writing():
        pass
    assert told == ["2MB of build cache that nothing uses was removed: the store was nearly full"]
    with engine._writing():
        pass
    assert len(told) == 1


def test_what_a_build_works_with_does_not_give_way(engine: Engine, bound) -> None:
    store = engine._store
    used = cached(store, 2 * MB, b"u")
    bound("3MB")
    with store.hold([used]), pytest.raises(StoreFull):
        layer(store, 2 * MB, b"k")
    assert store.has_layer(used)


def test_a_margin_is_kept_free_before_something_large_is_written(engine: Engine, bound) -> None:
    store = engine._store
    old, new = cached(store, 2 * MB, b"o"), cached(store, 2 * MB, b"n")
    bound("4.1MB")  # a twentieth of it is more than what is left
    with engine._writing():
        assert [store.has_layer(one) for one in (old, new)] == [False, True]


def test_what_cache_has_counts_as_room_for_what_grows(engine: Engine, bound) -> None:
    store = engine._store
    cached(store, 2 * MB, b"o")
    bound("5MB")
    directory = store.new_layer_dir()
    growth = store.bound.growth(directory)
    assert growth is not None
    assert (growth.size, growth.most) == (0, 5 * MB)


def test_the_cache_may_have_half_of_the_bound(bound, tmp_path: Path) -> None:
    bound("10MB")
    assert cache_limit(str(tmp_path)) == 5 * MB
    bound("0")
    assert cache_limit(str(tmp_path)) > 5 * MB


# ---- growth


class Signs:
    """What a watch looks at before it measures, and how often it did measure."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.free, self.written, self.now, self.looked = 1000, 0, 0.0, 0
        monkeypatch.setattr("contextkernel.linux.room.free_space", lambda _root: self.free)
        monkeypatch.setattr("contextkernel.linux.room.bytes_written", lambda: self.written)
        monkeypatch.setattr("contextkernel.linux.room.tree_size", self._measured)

    def _measured(self, path: str) -> int:
        self.looked += 1
        return tree_size(path)

    def watch(self, directory: Path) -> GrowthWatch:
        return GrowthWatch(Growth(root="/", directory=str(directory), size=0, most=100), lambda: self.now)


@pytest.fixture
def signs(monkeypatch: pytest.MonkeyPatch) -> Signs:
    return Signs(monkeypatch)


def test_growth_is_measured_when_the_disk_has_filled_up(tmp_path: Path, signs: Signs) -> None:
    watch = signs.watch(tmp_path)
    (tmp_path / "a").write_bytes(b"x" * 90)
    signs.free = 900
    assert (watch.exceeded(), signs.looked) == (0, 0)
    signs.free = 899  # somebody else wrote the rest
    assert (watch.exceeded(), signs.looked) == (0, 1)
    (tmp_path / "b").write_bytes(b"x" * 11)
    signs.free = 889
    assert (watch.exceeded(), signs.looked) == (0, 1)  # only 10 more than at the last look: that much was left
    signs.free = 888
    assert (watch.exceeded(), signs.looked) == (101, 2)


def test_growth_is_measured_when_this_process_has_written_much(tmp_path: Path, signs: Signs) -> None:
    """While others free the same disk."""
    watch = signs.watch(tmp_path)
    (tmp_path / "a").write_bytes(b"x" * 101)
    signs.free = 5000
    signs.written = 100
    assert (watch.exceeded(), signs.looked) == (0, 0)
    signs.written = 101
    assert (watch.exceeded(), signs.looked) == (101, 1)


def test_growth_is_measured_now_and_then_in_any_case(tmp_path: Path, signs: Signs) -> None:
    watch = signs.watch(tmp_path)
    signs.free = 5000
    signs.now = 1.9
    assert (watch.exceeded(), signs.looked) == (0, 0)
    signs.now = 2.0
    assert (watch.exceeded(), signs.looked) == (0, 1)
    (tmp_path / "a").write_bytes(b"x" * 101)
    signs.now = 3.9
    assert (watch.exceeded(), signs.looked) == (0, 1)
    signs.now = 4.0
    assert (watch.exceeded(), signs.looked) == (101, 2)


def test_what_this_process_has_written_is_known() -> None:
    before = bytes_written()
    with open("/dev/null", "wb", buffering=0) as sink:
        sink.write(bytes(5000))
    assert bytes_written() - before >= 5000


def test_the_message_has_all_parts() -> None:
    room = StoreRoom(layers=10**9, containers=2 * 10**9, volumes=3, caches=4, registries=6, working=5, bound=10**9)
    assert exceeded(room).problem == (
        "the store may take 1GB (CONTEXTKERNEL_MAX_SIZE), it has 3GB: images and build cache 1GB, containers 2GB,"
        " volumes 3B, cache mounts 4B, registries 6B, work in progress 5B"
    )


def test_sizes_are_dockers() -> None:
    assert [human_size(size) for size in (0, 999, 72776453, 5 * 10**9)] == ["0B", "999B", "72.8MB", "5GB"]


def test_an_image_of_the_config_alone(store: Store, bound) -> None:
    bound("1kB")  # documents are small; they are not refused one by one
    assert store.add_image(archives.config(), origin="build")


def test_what_was_written_and_is_gone_is_told_all_the_same(store: Store, bound) -> None:
    layer(store, 2 * MB)
    bound("3MB")
    assert "it has 2MB and 7MB were to be added" in store.bound.problem(7 * MB).problem
    Path(store.root, "tmp", "half").write_bytes(b"x" * 2 * MB)
    assert "it has 4MB: " in store.bound.problem(7 * MB).problem
