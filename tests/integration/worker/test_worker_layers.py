"""Unpacking, committing and rendering on a real file system, with every id map."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import socket
import stat
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from contextkernel.errors import InvalidArchive, StoreProblem
from contextkernel.layer.index import layer_size
from contextkernel.layer.tar import END
from contextkernel.model.ids import IdMap, IdRange
from contextkernel.model.layers import Entry, MakeDirRequest
from contextkernel.store.streaming import StreamedUnpack
from contextkernel.store.worker_commit import commit
from contextkernel.store.worker_tree import Ids
from contextkernel.store.worker_unpack import unpack
from tests.integration.worker.conftest import Bench, archive, diffs, index
from tests.unit.layer.conftest import Archive


def test_an_empty_layer(bench: Bench) -> None:
    layer = bench.layer()
    facts = bench.worker.commit(str(layer))
    assert facts.diff_id == "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef"
    assert (facts.size, facts.entries, index(layer)) == (0, 0, [])
    assert bench.tar(layer)[0] == END


def sample(*, attributes: bool = True) -> bytes:
    made = Archive().dir("etc", 0o750).add("etc/motd", data=b"hello", mode=0o4755, uid=0, gid=0, mtime=1_600_000_000)
    made.add("etc/owned", data=b"x", uid=33, gid=34).symlink("etc/link", "/nowhere").hardlink("a", "etc/motd")
    made.add("etc/.wh.gone").dir("opaque").add("opaque/.wh..wh..opq").add("pipe", tarfile.FIFOTYPE, mode=0o600)
    made.add("etc/caps", data=b"y", pax_headers={"SCHILY.xattr.user.note": "text"} if attributes else {})
    return made.bytes()


def test_what_is_unpacked_is_on_disk_and_in_the_index(bench: Bench) -> None:
    data = sample()
    layer, facts = bench.unpack(data)
    assert facts.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"
    rows = {(entry.kind, entry.path): entry for entry in index(layer)}
    assert facts.entries == len(rows)
    assert facts.size == layer_size(rows.values()) == 5 + 1 + 1 + len("/nowhere")
    owned = rows["file", "etc/owned"]
    assert (owned.uid, owned.gid, owned.digest) == (33, 34, hashlib.sha256(b"x").hexdigest())
    diff = layer / "diff"
    info = (diff / "a").stat()
    assert (stat.S_IMODE(info.st_mode), info.st_mtime, info.st_nlink) == (0o4755, 1_600_000_000, 2)
    assert os.path.samefile(diff / "a", diff / "etc/motd")
    assert os.readlink(diff / "etc/link") == "/nowhere"
    assert stat.S_ISCHR((diff / "etc/gone").lstat().st_mode)
    assert (diff / "etc/gone").lstat().st_rdev == 0
    assert stat.S_ISFIFO((diff / "pipe").lstat().st_mode)
    assert os.getxattr(diff / "etc/caps", "user.note") == b"text"
    name = "trusted.overlay.opaque" if bench.ids == "identity" else "user.overlay.opaque"
    assert os.getxattr(diff / "opaque", name) == b"y"
    assert rows["opaque", "opaque"].path == "opaque"


def test_unpacking_then_committing_gives_the_same_index_and_the_same_layer(bench: Bench) -> None:
    layer, _ = bench.unpack(sample(attributes=False))  # of those, a commit takes the capability only
    before = index(layer)
    data, rendered = bench.tar(layer)
    facts = bench.worker.commit(str(layer))
    assert index(layer) == before
    assert facts == rendered
    assert facts.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_layer_is_unpacked_while_it_arrives(bench: Bench, pack: Callable[[bytes], bytes]) -> None:
    packed = pack(sample())
    layer = bench.layer()
    with StreamedUnpack(bench.worker, str(layer)) as unpacking:
        for at in range(0, len(packed), 999):
            unpacking.write(packed[at : at + 999])
        facts = unpacking.finish()
    assert facts.packed == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    whole, same = bench.unpack(packed)
    assert facts == same
    assert index(layer) == index(whole)


def test_a_rendered_layer_unpacks_to_itself(bench: Bench) -> None:
    first, _ = bench.unpack(sample())
    data, facts = bench.tar(first)
    second, again = bench.unpack(data)
    assert (again.diff_id, again.size, again.entries) == (facts.diff_id, facts.size, facts.entries)
    assert again.reproducible
    assert index(second) == index(first)
    assert bench.tar(second)[0] == data


def test_a_commit_is_reproducible(bench: Bench) -> None:
    layer, _ = bench.unpack(sample())
    assert bench.worker.commit(str(layer)) == bench.worker.commit(str(layer))


@pytest.mark.parametrize("packer", ["gzip", "zstd", "bz2", "xz", "gzip in two members"])
def test_compression_is_found_by_content(bench: Bench, packer: str) -> None:
    data = sample()
    if packer == "zstd":
        import zstandard

        packed = zstandard.ZstdCompressor().compress(data)
    elif packer == "bz2":
        import bz2

        packed = bz2.compress(data)
    elif packer == "xz":
        import lzma

        packed = lzma.compress(data)
    elif packer == "gzip":
        packed = gzip.compress(data, 1)
    else:
        packed = gzip.compress(data[:1000]) + gzip.compress(data[1000:])
    _, facts = bench.unpack(packed)
    assert facts.diff_id == f"sha256:{hashlib.sha256(data).hexdigest()}"


@pytest.mark.parametrize("cut", [20, 200])
def test_a_damaged_gzip_layer_is_refused(bench: Bench, cut: int) -> None:
    packed = bytearray(gzip.compress(sample()))
    with pytest.raises(InvalidArchive):
        bench.unpack(bytes(packed[:cut]))
    packed[cut] ^= 0xFF
    with pytest.raises(InvalidArchive):
        bench.unpack(bytes(packed))


def test_a_small_archive_that_unpacks_to_gigabytes_is_refused_at_the_limit(bench: Bench) -> None:
    header = tarfile.TarInfo("bomb")
    header.size = 1 << 33
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as out:
        out.write(header.tobuf())
        for _ in range(64):
            out.write(bytes(1 << 20))
    with pytest.raises(InvalidArchive, match="larger than 33554432"):
        bench.unpack(stream.getvalue(), limit=32 << 20)


@pytest.mark.parametrize("target", ["/", "../../../../../../../..", "/proc/self/root"])
def test_no_symbolic_link_leads_an_extraction_outside(bench: Bench, target: str) -> None:
    marker = f"contextkernel-escape-{os.getpid()}"
    layer, _ = bench.unpack(Archive().symlink("a", target).add(f"a/{marker}", data=b"!").bytes())
    assert not os.path.lexists(f"/{marker}")
    assert list((layer / "diff").rglob(marker))


def test_a_directory_replaced_by_a_link_does_not_lead_outside(bench: Bench) -> None:
    outside = bench.root / "outside"
    outside.mkdir()
    data = Archive().dir("d").add("d/x").symlink("d", str(outside)).add("d/y", data=b"!").dir("d").bytes()
    layer, _ = bench.unpack(data)
    assert list(outside.iterdir()) == []
    assert (layer / "diff" / "d").is_dir()


def test_a_link_that_is_already_on_disk_is_not_followed(bench: Bench) -> None:
    outside = bench.root / "outside"
    outside.mkdir()
    layer = bench.layer()
    (layer / "diff" / "d").symlink_to(outside)
    source = bench.root / "a.tar"
    source.write_bytes(Archive().add("d/y", data=b"!").bytes())
    bench.worker.unpack(str(source), str(layer))
    assert list(outside.iterdir()) == []


def test_a_hard_link_to_a_symbolic_link_does_not_reach_its_target(bench: Bench) -> None:
    layer, _ = bench.unpack(Archive().symlink("a", "/etc/passwd").hardlink("b", "a").bytes())
    assert (layer / "diff" / "b").is_symlink()


def test_device_nodes_are_kept_in_the_index_and_made_where_that_is_allowed(bench: Bench) -> None:
    layer, facts = bench.unpack(
        Archive().add("null", tarfile.CHRTYPE, devmajor=1, devminor=3, mode=0o666).hardlink("zero", "null").bytes()
    )
    assert [(e.kind, e.major, e.minor) for e in index(layer)] == [("char", 1, 3), ("hardlink", 0, 0)]
    assert (layer / "diff" / "null").exists() == (bench.ids == "identity")
    assert bench.tar(layer)[1] == facts or bench.tar(layer)[1].entries == 2


def test_a_sparse_file_is_read_as_what_it_means(bench: Bench, tmp_path: Path) -> None:
    source = tmp_path / "sparse"
    with source.open("wb") as stream:
        stream.write(b"start")
        stream.seek(3 << 20)
        stream.write(b"middle")
        stream.truncate(5 << 20)
    content = hashlib.sha256(source.read_bytes()).hexdigest()
    for option in ("gnu", "pax"):
        out = tmp_path / f"{option}.tar"
        subprocess.run(["tar", "-S", f"--format={option}", "-cf", out, "-C", tmp_path, "sparse"], check=True)
        layer, _ = bench.unpack(out.read_bytes())
        (row,) = index(layer)
        assert (row.size, row.digest) == (5 << 20, content)
        assert (layer / "diff" / "sparse").stat().st_blocks * 512 < 1 << 20


def test_gnu_tar_reads_what_we_render(bench: Bench, tmp_path: Path) -> None:
    layer, _ = bench.unpack(sample())
    out = tmp_path / "x.tar"
    out.write_bytes(bench.tar(layer)[0])
    listing = subprocess.run(["tar", "-tvf", out], check=True, capture_output=True, text=True).stdout
    assert "etc/motd link to a" in listing
    assert "33/34" in listing
    assert "etc/.wh.gone" in listing
    assert "opaque/.wh..wh..opq" in listing


def test_a_tar_of_gnu_tar_loads(bench: Bench, tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / ("d" * 120)).mkdir(parents=True)
    (tree / ("d" * 120) / ("f" * 120)).write_text("x")
    (tree / "ümlaut").symlink_to("y" * 150)
    data = subprocess.run(["tar", "-C", tree, "-c", "."], check=True, capture_output=True).stdout
    layer, _ = bench.unpack(data)
    assert {e.path for e in index(layer)} == {".", "d" * 120, "d" * 120 + "/" + "f" * 120, "ümlaut"}


def test_a_commit_sees_every_kind_of_change_that_overlay_leaves(bench: Bench) -> None:
    layer = bench.layer()
    diff = layer / "diff"
    (diff / "d").mkdir()
    (diff / "d" / "new").write_text("new")
    os.link(diff / "d" / "new", diff / "again")
    (diff / "link").symlink_to("d/new")
    os.mknod(diff / "removed", stat.S_IFCHR, 0)
    os.mkfifo(diff / "fifo")
    server = socket.socket(socket.AF_UNIX)
    server.bind(str(diff / "sock"))
    server.close()
    (diff / "x").mkdir()
    (diff / "x" / "hidden").touch()
    os.setxattr(diff / "x" / "hidden", "user.overlay.whiteout", b"y")
    os.setxattr(diff / "x", "user.overlay.opaque", b"x")
    (diff / "o").mkdir()
    os.setxattr(diff / "o", "user.overlay.opaque", b"y")
    (diff / ".wh.fuse").touch()
    facts = bench.worker.commit(str(layer))
    assert [(e.kind, e.path) for e in index(layer)] == [
        ("file", "again"),
        ("dir", "d"),
        ("hardlink", "d/new"),
        ("fifo", "fifo"),
        ("whiteout", "fuse"),
        ("symlink", "link"),
        ("dir", "o"),
        ("opaque", "o"),
        ("whiteout", "removed"),
        ("dir", "x"),
        ("whiteout", "x/hidden"),
    ]
    assert facts.size == 3 + len("d/new")


def test_owners_that_the_host_cannot_store_are_in_the_index(bench: Bench) -> None:
    layer, _ = bench.unpack(Archive().add("f", uid=1000, gid=2000).symlink("l", "f").bytes())
    bench.worker.commit(str(layer))
    assert (index(layer)[0].uid, index(layer)[0].gid) == (1000, 2000)


def test_a_copied_up_file_keeps_the_owner_that_the_layers_below_say(bench: Bench) -> None:
    base, _ = bench.unpack(Archive().add("f", uid=1000, gid=2000).bytes())
    upper = bench.layer()
    if bench.ids == "single":
        (upper / "diff" / "f").write_text("changed in a RUN")
        bench.worker.commit(str(upper), lowers=diffs((base,)))
        assert (index(upper)[0].uid, index(upper)[0].gid) == (1000, 2000)


def test_what_is_new_belongs_to_the_user_of_the_program_and_to_the_directorys_group(bench: Bench) -> None:
    base, _ = bench.unpack(
        Archive()
        .add("tmp", type=tarfile.DIRTYPE, mode=0o1777)
        .add("mail", type=tarfile.DIRTYPE, gid=8, mode=0o2775)
        .add("f", uid=5)
        .bytes()
    )
    upper = bench.layer()
    diff = upper / "diff"
    if bench.ids != "single":
        return  # there the host keeps them
    os.setxattr(diff, "user.contextkernel.user", b"1000:2000")
    for name, mode in (("tmp", 0o1777), ("mail", 0o2775), ("mail/deep", 0o2755)):
        (diff / name).mkdir()
        (diff / name).chmod(mode)
        (diff / name / "new").touch()
    (diff / "f").touch()  # it was there before
    os.link(diff / "f", diff / "a-further-name")
    bench.worker.commit(str(upper), lowers=diffs((base,)))
    assert {entry.path: (entry.uid, entry.gid) for entry in index(upper)} == {
        "a-further-name": (5, 0),
        "f": (5, 0),
        "mail": (0, 8),
        "mail/deep": (1000, 8),
        "mail/deep/new": (1000, 8),
        "mail/new": (1000, 8),
        "tmp": (0, 0),
        "tmp/new": (1000, 2000),
    }


def test_a_file_keeps_its_owner_under_another_name(bench: Bench) -> None:
    base, _ = bench.unpack(Archive().add("f", uid=5, gid=6).add("d", type=tarfile.DIRTYPE, uid=7, mode=0o755).bytes())
    upper = bench.layer()
    if bench.ids != "single":
        return  # there the host keeps them
    bench.worker.commit(str(base))
    for name in ("f", "d"):  # as overlay copies up
        place = upper / "diff" / f"moved-{name}"
        (place.mkdir if name == "d" else place.touch)()
        for attribute in os.listxattr(base / "diff" / name):
            os.setxattr(place, attribute, os.getxattr(base / "diff" / name, attribute))
    bench.worker.commit(str(upper), lowers=diffs((base,)))
    assert {entry.path: (entry.uid, entry.gid) for entry in index(upper)} == {"moved-d": (7, 0), "moved-f": (5, 6)}
    assert not any(entry.xattrs for entry in index(upper))


def test_names_of_any_bytes_survive_the_whole_way(bench: Bench) -> None:
    name = os.fsdecode(b"\xff\xfe-\xc3\xa4")
    layer = bench.layer()
    (layer / "diff" / name).write_text("x")
    bench.worker.commit(str(layer))
    assert index(layer)[0].path == name
    data, _ = bench.tar(layer)
    second, _ = bench.unpack(data)
    assert (second / "diff" / name).read_text() == "x"


def test_adopting_moves_a_tree_into_a_layer(bench: Bench) -> None:
    tree = bench.root / "tree"
    (tree / "bin").mkdir(parents=True)
    (tree / "bin" / "sh").write_text("#!")
    layer = bench.layer()
    facts = bench.worker.adopt(str(tree), str(layer))
    assert facts.entries == 2
    assert not tree.exists()
    assert (layer / "diff" / "bin" / "sh").exists()


def test_rendering_notices_a_file_that_changed(bench: Bench) -> None:
    layer, _ = bench.unpack(archive(f=b"12345"))
    (layer / "diff" / "f").write_bytes(b"123456")
    with pytest.raises(StoreProblem, match="does not have the 5 bytes"):
        bench.tar(layer)


def test_removing_is_thorough_and_careful(bench: Bench) -> None:
    outside = bench.root / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    layer, _ = bench.unpack(
        Archive()
        .dir("closed", 0)
        .add("closed/f", uid=33)
        .dir("ro", 0o555)
        .add("ro/f")
        .symlink("l", str(outside))
        .bytes()
    )
    (layer / "diff" / "there").symlink_to(outside)
    bench.worker.remove([str(layer), str(bench.root / "missing"), str(bench.root / "no" / "such")])
    assert not layer.exists()
    assert (outside / "keep").exists()


def test_removing_a_link_leaves_its_target(bench: Bench) -> None:
    target = bench.root / "target"
    target.mkdir()
    link = bench.root / "link"
    link.symlink_to(target)
    bench.worker.remove([str(link)])
    assert target.is_dir()
    assert not link.is_symlink()


def test_removing_a_tree_deeper_than_a_path_can_say(bench: Bench) -> None:
    top = bench.root / "deep"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):
        os.mkdir("d", dir_fd=here)
        below = os.open("d", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    bench.worker.remove([str(top)])
    assert not top.exists()


def test_a_working_directory_is_made_once_with_its_parents(bench: Bench) -> None:
    base = bench.base(**{"etc": 0o755, "etc/passwd": b"app:x:1000:1001::/:/bin/sh\n", "srv": 0o700, "link": "srv"})
    layer = bench.layer()
    common = {"lowers": diffs((base,)), "upper": str(layer / "diff"), "work": str(layer / "work")}
    bench.worker.make_dir(MakeDirRequest(path="/link/app/x", owner="app", **common))  # type: ignore[arg-type]
    rows = bench.rows(layer)
    assert rows["srv"].mode == 0o700
    assert [(rows[p].mode, rows[p].uid, rows[p].gid) for p in ("srv/app", "srv/app/x")] == [(0o755, 1000, 1001)] * 2


def test_a_working_directory_that_exists_makes_an_empty_layer(bench: Bench) -> None:
    base = bench.base(app=0o700)
    layer = bench.layer()
    bench.worker.make_dir(
        MakeDirRequest(path="/app", lowers=diffs((base,)), upper=str(layer / "diff"), work=str(layer / "work"))
    )
    assert bench.rows(layer) == {}


def test_a_new_layer_takes_over_the_mode_of_the_root_directory(bench: Bench) -> None:
    base, _ = bench.unpack(Archive().dir(".", 0o711).add("f").bytes())
    assert isinstance(index(base)[0], Entry)
    assert index(base)[0].mode == 0o711
    layer = bench.layer()
    (bench.context / "x").touch()
    bench.copy_into(layer, "x", to="/", lowers=(base,))
    assert stat.S_IMODE((layer / "diff").stat().st_mode) == 0o711


def test_a_store_where_whiteout_devices_cannot_be_made_uses_the_other_form(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "mknod", refuse)
    source = bench.root / "a.tar"
    source.write_bytes(Archive().dir("d").add("d/.wh.gone").dir("o").add("o/.wh.x").add("o/.wh..wh..opq").bytes())
    layer = bench.layer()
    here = Ids(IdMap((IdRange(0, os.geteuid(), 1),), (IdRange(0, os.getegid(), 1),)))
    facts = unpack(str(source), str(layer), None, here, lambda: None)
    assert os.getxattr(layer / "diff" / "d", "user.overlay.opaque") == b"x"
    assert os.getxattr(layer / "diff" / "d" / "gone", "user.overlay.whiteout") == b"y"
    assert os.getxattr(layer / "diff" / "o", "user.overlay.opaque") == b"y"
    # o is opaque: overlay would show the mark of a file in it, which it hides anyway
    assert not os.path.lexists(layer / "diff" / "o" / "x")
    before = [row for row in index(layer) if row.path != "o/x"]
    assert commit(str(layer), here, lambda: None).entries == facts.entries - 1
    assert index(layer) == before
