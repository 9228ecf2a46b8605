"""With one id: images have the owners and devices that docker gives them (dockerd 28.5, recorded), and so has all else.

Whoever runs this maps a single id, root too. Each with overlay and with complete trees where overlay is not to be had.
"""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from judge.base import write_base

from contextkernel.engine import Engine
from contextkernel.host import inspect
from contextkernel.layer.index import unpack_index
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.layers import Entry

HERE = Path(__file__).parent / "owners"
#: what a program cannot know that asks stat, and hears root: BusyBox's mv copies a directory of a layer below
LOST = {
    "dir 711 77:78 copied/moved/d": "dir 711 0:0 copied/moved/d",
    "file 640 77:79 copied/moved/d/f": "file 640 0:0 copied/moved/d/f",
    "file 640 77:79 copied/moved/d/h": "file 640 0:0 copied/moved/d/h",
}
#: the owner of a link of a layer below is not taken along, it can carry no note; and what docker takes for another kind
#: when it copies it (BuildKit 0.25)
DIFFERS = {
    "symlink 777 66:66 copied/moved/l -> f": "symlink 777 0:0 copied/moved/l -> f",
    "char 644 0:6 copied/blk 8:300": "block 644 0:6 copied/blk 8:300",
}
#: docker's builder here keeps a file that was given the owner it has; containerd's differ, and ours, leave it out
LEFT_OUT = {"file 644 33:34 t/src/a"}
#: in a complete tree a directory that is removed and made anew may have the number of the old one: it is taken for it
TAKEN_FOR_OLD = {f"dir 755 0:0 {path}": f"dir 755 5:60 {path}" for path in ("t/idir", "copied/idir")}


def write_archive(path: Path) -> None:
    """Files of several owners."""
    with tarfile.open(path, "w") as tar:

        def add(name: str, **facts: object) -> None:
            info = tarfile.TarInfo(name)
            info.mtime, info.size = 1_600_000_000, 0 if "type" in facts else 1
            for key, value in facts.items():
                setattr(info, key, value)
            tar.addfile(info, io.BytesIO(b"x"))

        add("d", type=tarfile.DIRTYPE, mode=0o750, uid=77, gid=78)
        add("d/f", mode=0o640, uid=77, gid=79)
        add("d/l", type=tarfile.SYMTYPE, linkname="f", uid=80, gid=81)
        add("d/h", type=tarfile.LNKTYPE, linkname="d/f")


@pytest.fixture(scope="module", params=["overlay", "copy"])
def engine(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    folder = tmp_path_factory.mktemp("owners")
    write_base(folder / "base.tar")
    root = str(folder / "store")
    found = inspect(root)
    if not any(fact.name == "user_namespace" and fact.verdict != "refused" for fact in found.report.facts):
        pytest.skip("this host allows no user namespaces")
    one = IdMap((IdRange(0, os.geteuid(), 1),), (IdRange(0, os.getegid(), 1),))
    facts = tuple(
        msgspec.structs.replace(fact, verdict="refused")
        if request.param == "copy" and fact.name in ("overlay", "fuse_overlayfs")
        else fact
        for fact in found.report.facts
    )
    report = msgspec.structs.replace(found.report, tier="rootless-single", facts=facts)
    with Engine(root, host=msgspec.structs.replace(found, idmap=one, report=report)) as made:
        made.import_image(str(folder / "base.tar"), "ck-base")
        write_archive(folder / "x.tar")
        (folder / "Dockerfile").write_bytes((HERE / "Dockerfile").read_bytes())
        (folder / ".dockerignore").write_text("*\n!x.tar\n")
        made.build(str(folder), tags=["first"], target="first")
        made.build(str(folder), tags=["last"])
        yield made
        for row in made.containers(all=True):
            made.remove_container(row.id, force=True)


def line_of(entry: Entry) -> str:
    device = f" {entry.major}:{entry.minor}" if entry.kind in ("char", "block") else ""
    link = f" -> {entry.link}" if entry.link else ""
    return f"{entry.kind} {entry.mode:o} {entry.uid}:{entry.gid} {entry.path}{device}{link}"


def layers_of(engine: Engine, image: str) -> list[list[Entry]]:
    layers = engine._store.layers_of(engine._store.resolve(image))[1:]
    return [unpack_index(Path(layer.index).read_bytes()) for layer in layers]


def recorded(image: str) -> list[list[str]]:
    text = (HERE / "recorded.txt").read_text().partition(f"== {image}\n")[2].partition("==")[0]
    return [part.splitlines() for part in text.split("--layer\n")[1:]]


@pytest.mark.parametrize("image", ["first", "last"])
def test_files_are_as_dockers(engine: Engine, image: str) -> None:
    layers, copied = layers_of(engine, image), engine._backing == "copy"
    expected = recorded(image)
    assert len(layers) == len(expected)
    for ours, lines in zip(layers, expected, strict=True):
        other = DIFFERS if copied else DIFFERS | LOST  # in a complete tree it is renamed as a whole
        wanted = {other.get(line, line) for line in lines if "/.wh." not in line}
        if ours is layers[-1] or ours is layers[2]:
            wanted -= LEFT_OUT
        found = {line_of(entry) for entry in ours if entry.kind not in ("whiteout", "opaque")}
        taken = {old for new, old in TAKEN_FOR_OLD.items() if new in wanted and old in found and copied}
        assert (found - taken) | {new for new, old in TAKEN_FOR_OLD.items() if old in taken} == wanted


def test_no_note_is_in_an_image(engine: Engine, tmp_path: Path) -> None:
    engine.save(["first", "last"], str(tmp_path / "both.tar"))
    assert b"user.contextkernel" not in (tmp_path / "both.tar").read_bytes()
    for image in ("first", "last"):
        assert not [entry for layer in layers_of(engine, image) for entry in layer if entry.xattrs]


def test_all_that_a_container_changes_has_its_owner_everywhere(engine: Engine, tmp_path: Path) -> None:
    script = (
        "touch /f; chown 5:6 /f; chown 7:8 /t/inst; chown -h 9:9 /t/dst/l; mknod /n c 1 5; chown 3:3 /n;"
        " ln -s x /s; chown -h 4:4 /s; mkdir /d; chown 1:2 /d; mv /s /d/s"
    )
    engine.run("first", ["sh", "-c", script], name="box", user="0")
    try:
        (document,) = engine.inspect(["box"])
        assert document["ContextKernel"]["Owners"] == "recorded"
        changes = {change.path: change.kind for change in engine.diff("box")}
        assert changes["/t/inst"] == changes["/t/dst/l"] == "C"
        assert changes["/f"] == changes["/n"] == changes["/d/s"] == "A"
        wanted = {
            "f": (5, 6), "t/inst": (7, 8), "t/dst/l": (9, 9), "n": (3, 3), "d": (1, 2), "d/s": (4, 4),
            "t/dst/d/f": (77, 79), "t/src/m": (33, 34),
        }  # fmt: skip
        engine.export("box", str(tmp_path / "export.tar"))
        with tarfile.open(tmp_path / "export.tar") as tar:
            members = {member.name.rstrip("/"): member for member in tar}
        assert {name: (members[name].uid, members[name].gid) for name in wanted} == wanted
        assert members["n"].ischr()
        assert (members["n"].devmajor, members["n"].devminor) == (1, 5)
        engine.commit("box", "made")
        (*_, top) = layers_of(engine, "made")
        rows = {entry.path: entry for entry in top}
        assert {name: (rows[name].uid, rows[name].gid) for name in wanted if name in rows} == {
            name: owner for name, owner in wanted.items() if name in rows
        }
        assert rows.keys() >= {"f", "n", "d", "d/s", "t/inst", "t/dst/l"}
        assert rows["n"].kind == "char"
        assert b"user.contextkernel" not in (tmp_path / "export.tar").read_bytes()
    finally:
        engine.remove_container("box", force=True)


def test_a_step_for_another_user_keeps_what_it_makes(engine: Engine) -> None:
    """It takes itself for root: what it says of owners is what it saw, and it would not be allowed to say it."""
    engine.build(None, text="FROM first\nRUN touch /w/a && chown 0:0 /w/a && chown 5 /w/mine; true\n", tags=["x"])
    (*_, top) = layers_of(engine, "x")
    owners = {entry.path: (entry.uid, entry.gid) for entry in top}
    assert owners["w/a"] == (1234, 1235)
    assert owners.get("w/mine", (1234, 1235)) == (1234, 1235)
