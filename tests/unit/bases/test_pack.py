"""Base images from the pack, where no registry gives them."""

from __future__ import annotations

from pathlib import Path

import pytest

from contextkernel.build import bases
from contextkernel.build.pack import packed
from contextkernel.errors import RegistryUnreachable, StoreFull
from contextkernel.model.events import StepNote
from contextkernel.model.ids import IdMap
from contextkernel.model.reference import ImageRef
from contextkernel.store.archive import import_tar, load, save
from contextkernel.store.archive_save import save_layout
from contextkernel.testing.stores import InProcessLayerWorker, temporary_store

UBUNTU = ImageRef.parse("ubuntu:20.04")


@pytest.fixture
def pack(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "pack"
    directory.mkdir()
    monkeypatch.setenv("CONTEXTKERNEL_PACK", str(directory))

    def unreachable(*_args: object, **_kwargs: object) -> None:
        raise RegistryUnreachable("nobody answers")

    monkeypatch.setattr("contextkernel.registry.pull_image", unreachable)
    monkeypatch.setattr(bases, "_bootstrap", lambda *_: (_ for _ in ()).throw(bases._NotPossible("no bootstrap")))
    return directory


def write_archive(path: Path, name: str, *, label: str = "") -> None:
    import tarfile

    tree = path.with_suffix(".root")
    with tarfile.open(tree, "w") as tar:
        tar.addfile(tarfile.TarInfo("marker"))
    with temporary_store() as store:
        ref, worker = ImageRef.parse(name), InProcessLayerWorker()
        if label:
            bases._import(store, worker, ref, str(tree), ("sh",), label, "1")
        else:
            import_tar(store, worker, str(tree), ref)
        save(store, worker, [name], str(path))
    tree.unlink()


def ensured(ref: ImageRef = UBUNTU) -> tuple[str, bool, str, list[str]]:
    notes: list[str] = []

    def report(event: object) -> None:
        if isinstance(event, StepNote):
            notes.append(event.text)

    with temporary_store() as store:
        (row,) = bases.ensure(store, InProcessLayerWorker(), [ref], idmap=IdMap(), report=report)
        assert store.resolve(str(ref))
        return row.action, row.stand_in, row.detail, notes


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("ubuntu:20.04", "ubuntu_20.04.tar"),
        ("ubuntu", "ubuntu_latest.tar"),
        ("ghcr.io/jupyter/base:x", "ghcr.io_jupyter_base_x.tar"),
    ],
)
def test_the_name_of_an_archive_is_the_images(pack: Path, name: str, file: str) -> None:
    assert packed(ImageRef.parse(name)) == ()
    (pack / file).touch()
    assert packed(ImageRef.parse(name)) == (str(pack / file),)


def test_an_image_of_the_pack_is_loaded_and_no_stand_in(pack: Path) -> None:
    write_archive(pack / "ubuntu_20.04.tar", "ubuntu:20.04")
    action, stand_in, detail, notes = ensured()
    assert (action, stand_in) == ("loaded", False)
    assert detail == f"loaded from the pack, {pack}/ubuntu_20.04.tar (no pull: nobody answers)"
    assert notes == ["no pull: nobody answers", f"loaded: {detail}"]


def test_a_stand_in_of_the_pack_stays_one(pack: Path) -> None:
    write_archive(pack / "ubuntu_20.04.tar", "ubuntu:20.04", label="host files")
    assert ensured()[:2] == ("loaded", True)


@pytest.mark.parametrize("content", [b"no archive", None])
def test_a_useless_archive_is_told_and_passed_over(pack: Path, content: bytes | None) -> None:
    path = pack / "ubuntu_20.04.tar"
    if content is None:
        write_archive(path, "debian:12")
    else:
        path.write_bytes(content)
    action, stand_in, detail, notes = ensured()
    assert (action, stand_in) == ("assembled", True)
    assert "not in the pack:" in detail
    assert notes[1].startswith("not in the pack:")


def test_without_an_archive_nothing_is_said_of_the_pack(pack: Path) -> None:
    assert list(pack.iterdir()) == []
    assert not any("the pack" in note for note in ensured()[3])


def test_a_full_store_is_no_reason_to_pull(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_archive(pack / "ubuntu_20.04.tar", "ubuntu:20.04")

    def full(*_: object, **_keywords: object) -> None:
        raise StoreFull("no space")

    monkeypatch.setattr("contextkernel.store.archive.load", full)
    with pytest.raises(StoreFull):
        ensured()


def test_a_registry_that_is_silent_is_not_asked_for_every_name(pack: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def unreachable(_store: object, _worker: object, ref: ImageRef, **_kwargs: object) -> None:
        asked.append(str(ref))
        raise RegistryUnreachable("nobody answers")

    monkeypatch.setattr("contextkernel.registry.pull_image", unreachable)
    names = ["ubuntu:20.04", "ubuntu:22.04", "ghcr.io/team/app:1"]
    for name in names:
        write_archive(pack / f"{name.replace('/', '_').replace(':', '_')}.tar", name)
    with temporary_store() as store:
        refs = [ImageRef.parse(name) for name in names]
        rows = bases.ensure(store, InProcessLayerWorker(), refs, idmap=IdMap(), report=lambda _event: None)
    assert [row.action for row in rows] == ["loaded"] * 3
    assert asked == ["docker.io/library/ubuntu:20.04", "ghcr.io/team/app:1"]


@pytest.mark.parametrize("form", ["directory", "file", "within"])
def test_a_course_pack_gives_the_one_image_that_is_asked_for(
    pack: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    place = {"directory": tmp_path / "laid", "file": tmp_path / "course.tar", "within": pack}[form]
    monkeypatch.setenv("CONTEXTKERNEL_PACK", str(place))
    write_archive(tmp_path / "one.tar", "ubuntu:20.04")
    write_archive(tmp_path / "two.tar", "debian:12", label="host files")
    with temporary_store() as store:
        worker = InProcessLayerWorker()
        for name in ("one", "two"):
            load(store, worker, str(tmp_path / f"{name}.tar"))
        names = ["ubuntu:20.04", "debian:12"]
        if form == "file":
            save(store, worker, names, str(place))
        else:
            save_layout(store, worker, names, str(place))
    action, stand_in, detail, _ = ensured()
    assert (action, stand_in, detail.partition(" (")[0]) == ("loaded", False, f"loaded from the pack, {place}")
    assert ensured(ImageRef.parse("debian:12"))[:2] == ("loaded", True)
    action, _, detail, _ = ensured(ImageRef.parse("ubuntu:22.04"))
    assert action == "assembled"
    assert "not in the pack: " in detail
    assert "has no image ubuntu:22.04" in detail
