"""Build contexts of every kind, with the real engine, as whichever user runs the tests."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import zstandard
from dulwich.objects import Blob, Commit, Tree
from dulwich.repo import Repo
from dulwich.server import DictBackend, TCPGitServer

from contextkernel.build.hostfiles import write_root
from contextkernel.engine import Engine
from contextkernel.errors import FetchFailed, ImageNotFound, InvalidArchive, InvalidInput
from contextkernel.layer.index import unpack_index
from contextkernel.layer.merge import merge
from contextkernel.model.build_inputs import SecretValue, StepOptions
from contextkernel.model.layers import Entry

TOKEN = "tok-s3cret-7f31"
COPY_ALL = b"FROM base\nCOPY . /c/\n"


class House:
    """An engine with a base image, a web server and a Git server."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.engine = Engine(root / "store")
        write_root(str(root / "base.tar"), "base")
        self.engine.import_image(str(root / "base.tar"), "base")
        self.site = root / "site"
        self.site.mkdir()

        class Quiet(SimpleHTTPRequestHandler):
            def do_GET(self) -> None:
                if self.path.startswith("/private") and self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self.send_error(401)
                else:
                    super().do_GET()

            def log_message(self, *_: Any) -> None:
                return

        self._web = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(self.site)))
        self.repo = Repo.init_bare(str(root / "r.git"), mkdir=True)
        self._git = TCPGitServer(DictBackend({b"/r.git": self.repo}), "127.0.0.1", 0)
        self.web = f"http://127.0.0.1:{self._web.server_address[1]}"
        self.git = f"git://127.0.0.1:{self._git.server_address[1]}/r.git"
        self._threads = [threading.Thread(target=one.serve_forever, args=(0.02,)) for one in (self._web, self._git)]
        for thread in self._threads:
            thread.start()

    def commit(self, branch: str, files: dict[str, bytes]) -> None:
        tree = Tree()
        for name, content in files.items():
            blob = Blob.from_string(content)
            self.repo.object_store.add_object(blob)
            tree.add(name.encode(), 0o100755 if name.endswith(".sh") else 0o100644, blob.id)
        commit = Commit()
        commit.tree, commit.author, commit.committer, commit.message = tree.id, b"a <a>", b"a <a>", b"m"
        commit.author_time = commit.commit_time = commit.author_timezone = commit.commit_timezone = 0
        for item in (tree, commit):
            self.repo.object_store.add_object(item)
        self.repo.refs[f"refs/heads/{branch}".encode()] = commit.id
        self.repo.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")

    def build(self, context: Any, text: str | None = None, **options: Any) -> dict[str, Entry]:
        """Below ``/c`` in the image."""
        result = self.engine.build(context, text=text, **options)
        layers = self.engine._store.layers_of(result.image)
        entries = merge(unpack_index(Path(layer.index).read_bytes()) for layer in layers)
        return {path[2:]: entry for path, entry in entries.items() if path.startswith("c/")}

    def leftovers(self) -> list[str]:
        return [path.name for path in (self.root / "store" / "tmp").glob("*")]

    def close(self) -> None:
        for server, thread in zip((self._web, self._git), self._threads, strict=True):
            server.shutdown()
            thread.join()
            server.server_close()
        self.repo.close()
        self.engine.close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[House]:
    made = House(tmp_path_factory.mktemp("contexts"))
    yield made
    made.close()


def archive(*entries: tuple[str, Any], **fields: Any) -> bytes:
    """A tar: name to content, or to a dict of header fields."""
    with tarfile.open(fileobj=(out := io.BytesIO()), mode="w") as tar:
        for name, what in (("Dockerfile", COPY_ALL), *entries):
            info = tarfile.TarInfo(name)
            content = what if isinstance(what, bytes) else b""
            info.size, info.mode = len(content), 0o640
            for field, value in (fields if isinstance(what, bytes) else what).items():
                setattr(info, field, value)
            tar.addfile(info, io.BytesIO(content) if isinstance(what, bytes) else None)
    return out.getvalue()


@pytest.mark.parametrize(
    "pack", [bytes, gzip.compress, bz2.compress, lzma.compress, zstandard.ZstdCompressor().compress]
)
def test_archives_keep_owners_modes_and_times(house: House, pack: Callable[[bytes], bytes]) -> None:
    data = archive(("a", b"A"), uid=1234, gid=567, mtime=1_000_000)
    found = house.build(io.BytesIO(pack(data)))["a"]
    assert (found.uid, found.gid, found.mode, found.mtime) == (1234, 567, 0o640, 1_000_000 * 10**9)
    assert house.leftovers() == []


def test_an_archive_behind_a_url(house: House) -> None:
    (house.site / "x.tgz").write_bytes(gzip.compress(archive(("a", b"A"))))
    assert set(house.build(f"{house.web}/x.tgz")) == {"Dockerfile", "a"}


def test_a_dockerfile_behind_a_url(house: House) -> None:
    (house.site / "df").write_text("FROM base\nRUN mkdir /c && echo 1 > /c/made\n")
    assert set(house.build(f"{house.web}/df")) == {"made"}
    assert set(house.build(None, dockerfile=f"{house.web}/df")) == {"made"}


def test_a_repository(house: House) -> None:
    house.commit("main", {"Dockerfile": COPY_ALL, "run.sh": b"#!/bin/sh\n"})
    house.commit("dev", {"Dockerfile": COPY_ALL, "dev": b""})
    found = house.build(house.git)
    assert {name: (entry.mode, entry.uid) for name, entry in found.items()} == {
        "Dockerfile": (0o644, 0),
        "run.sh": (0o755, 0),
    }
    assert set(house.build(f"{house.git}#dev")) == {"Dockerfile", "dev"}
    with pytest.raises(FetchFailed, match="no reference 'nope'"):
        house.build(f"{house.git}#nope")


def test_files_in_memory(house: House) -> None:
    found = house.build({"Dockerfile": COPY_ALL, "d/a.txt": "é", ".dockerignore": "Dockerfile\n"})
    assert {name: (entry.kind, entry.mode, entry.uid) for name, entry in found.items()} == {
        "d": ("dir", 0o755, 0),
        "d/a.txt": ("file", 0o644, 0),
        ".dockerignore": ("file", 0o644, 0),
    }
    assert house.leftovers() == []
    with pytest.raises(InvalidInput, match="leads out of the context"):
        house.build({"../x": ""}, "FROM base\n")


def test_add_of_a_url_and_of_a_repository(house: House) -> None:
    house.commit("main", {"in": b"git"})
    (house.site / "f.txt").write_bytes(b"web")
    os.utime(house.site / "f.txt", (1_000_000, 1_000_000))
    (house.site / "p.tgz").write_bytes(gzip.compress(archive(("packed", b"P"), uid=77)))
    found = house.build(
        {"own": "mine"},
        f"FROM base\nADD {house.web}/f.txt /c/\nADD --unpack=true {house.web}/p.tgz /c/u/\n"
        f"ADD --chown=3:4 --chmod=711 own {house.web}/f.txt {house.git} /c/m/\n",
    )
    assert (found["f.txt"].mode, found["f.txt"].mtime) == (0o600, 1_000_000 * 10**9)
    assert found["u/packed"].uid == 77
    assert {found[f"m/{name}"].uid for name in ("own", "f.txt", "in")} == {3}
    assert {found[f"m/{name}"].mode for name in ("own", "f.txt", "in")} == {0o711}


def test_no_secret_is_kept_anywhere(house: House) -> None:
    (house.site / "private").write_bytes(b"behind a login")
    url = f"{house.web}/private"
    events: list[object] = []
    text = f"FROM base\nADD {url} /c/x\nRUN cat /c/x; env; ls /run\n"
    with pytest.raises(FetchFailed, match="answered 401"):
        house.build(None, text)
    name = "HTTP_AUTH_TOKEN_127.0.0.1"
    steps = StepOptions(secrets={name: SecretValue(TOKEN.encode())})
    assert "x" in house.build(None, text, steps=steps, report=events.append)
    wrong = StepOptions(secrets={name: SecretValue(b"wrong-" + TOKEN.encode())})
    with pytest.raises(FetchFailed) as raised:
        house.build(None, text, steps=wrong, no_cache=True, report=events.append)
    assert TOKEN not in str(raised.value)
    assert TOKEN not in repr(events)
    assert TOKEN not in repr(steps)
    house.engine.close()  # everything is written down
    kept = [path for path in (house.root / "store").rglob("*") if path.is_file() and os.access(path, os.R_OK)]
    assert len(kept) > 10
    assert [path for path in kept if TOKEN.encode() in path.read_bytes()] == []


def test_named_contexts_everywhere(house: House, tmp_path: Path) -> None:
    house.commit("main", {"in": b"git"})
    (tmp_path / "a").write_text("A")
    (tmp_path / "b").write_text("B")
    (tmp_path / ".dockerignore").write_text("b\n")
    text = (
        "FROM img AS one\n"
        "RUN --mount=from=dir,target=/d --mount=from=repo,target=/g mkdir /c && ls -A /d > /c/list && cp /g/in /c/in\n"
        "COPY --from=dir a /c/a\n"
        "FROM dir\nCOPY --from=one /c /c\n"
    )
    contexts = {"img": "docker-image://base", "dir": str(tmp_path), "repo": house.git}
    result = house.engine.build(None, text=text, contexts=contexts, tags=["named"])
    layers = house.engine._store.layers_of(result.image)
    entries = merge(unpack_index(Path(layer.index).read_bytes()) for layer in layers)
    assert {path for path, entry in entries.items() if entry.kind == "file"} == {
        ".dockerignore", "a", "c/a", "c/in", "c/list",
    }  # fmt: skip
    assert (Path(layers[-1].diff) / "c/list").read_text() == ".dockerignore\na\n"
    assert {entry.uid for entry in entries.values()} == {0}


def test_an_image_layout(house: House, tmp_path: Path) -> None:
    house.build({"x": "1"}, "FROM base\nCOPY x /c/x\n", tags=["laid"])
    house.engine.save(["laid"], str(tmp_path / "i.tar"))
    with tarfile.open(tmp_path / "i.tar") as tar:
        tar.extraction_filter = lambda member, _path: member  # Pythons before 3.11.4 know no other way to say so
        tar.extractall(tmp_path / "lay")  # noqa: S202 - our own
    for place in (f"{tmp_path}/lay", f"{tmp_path}/lay:latest"):
        found = house.build(None, "FROM l\nCOPY --from=l /c/x /c/y\n", contexts={"l": f"oci-layout://{place}"})
        assert set(found) == {"x", "y"}
    with pytest.raises(ImageNotFound, match="has no image 'other'"):
        house.build(None, "FROM l\n", contexts={"l": f"oci-layout://{tmp_path}/lay:other"})
    with pytest.raises(ImageNotFound, match=r"has no index\.json"):
        house.build(None, "FROM l\n", contexts={"l": f"oci-layout://{tmp_path}"})


# ---- archives that mean harm


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ([("../../evil", b"x")], "leaves the layer"),
        ([("a/../../evil", b"x")], "leaves the layer"),
        ([("h", {"type": tarfile.LNKTYPE, "linkname": "/etc/passwd"})], "which is not in the layer"),
        ([("h", {"type": tarfile.LNKTYPE, "linkname": "../../etc/passwd"})], "leaves the layer"),
        ([("x" * 300, b"")], "longer than a file name can be"),
        ([("big", {"size": 1 << 60})], "ends in the middle|ends too early|larger than|damaged"),
        ([("odd", {"type": b"Z"})], "unknown type|is refused"),
    ],
)
def test_archives_that_lead_out_are_refused(house: House, entries: Any, problem: str) -> None:
    with pytest.raises(InvalidArchive, match=problem) as raised:
        house.build(io.BytesIO(archive(*entries)))
    assert raised.value.problem.startswith("the archive of the build context is refused: ")
    assert house.leftovers() == []


def test_links_stay_inside(house: House, tmp_path: Path) -> None:
    evil = tmp_path / "evil"
    data = archive(
        ("up", {"type": tarfile.SYMTYPE, "linkname": "../" * 20 + str(tmp_path).lstrip("/")}),
        ("up/evil", b"x"),
        ("abs", {"type": tarfile.SYMTYPE, "linkname": str(tmp_path)}),
        ("abs/evil2", b"x"),
        ("/absolute", b"x"),
    )
    found = house.build(io.BytesIO(data))
    assert not evil.exists()
    assert not (tmp_path / "evil2").exists()
    assert found["up"].kind == found["abs"].kind == "symlink"
    assert "absolute" in found


def test_bombs_are_refused(house: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CONTEXTKERNEL_FETCH_LIMIT", "8m")
    bomb = gzip.compress(archive(("zeros", bytes(64 << 20))))
    assert len(bomb) < 1 << 20
    with pytest.raises(InvalidArchive, match="larger than 8388608 bytes when unpacked"):
        house.build(io.BytesIO(bomb))
    (house.site / "bomb.tgz").write_bytes(bomb)
    with pytest.raises(InvalidArchive, match="larger than"):
        house.build(f"{house.web}/bomb.tgz")
    with pytest.raises(InvalidInput, match="larger than 8388608 bytes"):
        house.build(io.BytesIO(archive(("a", os.urandom(9 << 20)))))
    assert house.leftovers() == []


@pytest.mark.parametrize(
    "data", [gzip.compress(archive())[:-20], b"\x1f\x8b\x08" + bytes(100), b"BZh9x", b"\xfd7zXZ\0x"]
)
def test_damaged_archives_are_refused(house: House, data: bytes) -> None:
    with pytest.raises(InvalidArchive):
        house.build(io.BytesIO(data))
    assert house.leftovers() == []
