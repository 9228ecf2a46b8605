"""Git repositories over loopback: what comes of them, and servers that do not behave."""

from __future__ import annotations

import socket
import stat
import tarfile
import threading
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, make_server

import msgspec
import pytest
from dulwich.objects import Blob, Commit, Tag, Tree
from dulwich.repo import Repo
from dulwich.server import DictBackend, TCPGitServer
from dulwich.web import make_wsgi_chain

from contextkernel.errors import FetchFailed
from contextkernel.fetch.fetcher import NetworkFetcher
from contextkernel.fetch.git_process import Refused, pick
from contextkernel.model.fetching import Credentials, GitCommit, GitSource

from .conftest import SHORT, drip

LIMITS = msgspec.structs.replace(SHORT, quiet=20.0, size=8 << 20)
NOBODY = Credentials()
WHEN = 1_600_000_000


class Forge:
    """A repository with a history, and servers for it."""

    def __init__(self, root: Path) -> None:
        self.repo = Repo.init_bare(str(root / "r.git"), mkdir=True)
        self.inner = Repo.init_bare(str(root / "inner.git"), mkdir=True)
        self.backend = DictBackend({b"/r.git": self.repo, b"/inner.git": self.inner})
        inner = self.commit(self.inner, {"i.txt": b"inner"}, [])
        self.inner.refs[b"refs/heads/main"] = inner
        self.first = self.commit(self.repo, {"old": b"1"}, [])
        files: dict[str, Any] = {
            "a.txt": b"one\n",
            "bin/run": (0o100755, b"#!/bin/sh\n"),
            "sub/deep/b": b"two",
            "link": (stat.S_IFLNK, b"../outside"),
            "mod": (0o160000, inner),
            ".gitmodules": b'[submodule "mod"]\n\tpath = mod\n\turl = ../inner.git\n',
        }
        self.main = self.commit(self.repo, files, [self.first])
        tag = Tag()
        tag.name, tag.message, tag.tagger = b"v1", b"v1", b"a <a>"
        tag.tag_time, tag.tag_timezone, tag.object = WHEN, 0, (Commit, self.main)
        self.repo.object_store.add_object(tag)
        self.tag = tag.id
        for name, value in (("heads/main", self.main), ("heads/old", self.first), ("tags/v1", tag.id)):
            self.repo.refs[b"refs/" + name.encode()] = value
        self.repo.refs.set_symbolic_ref(b"HEAD", b"refs/heads/main")

    def commit(self, repo: Repo, files: dict[str, Any], parents: list[bytes]) -> bytes:
        commit = Commit()
        commit.tree = self.tree(repo, files)
        commit.parents = parents
        commit.author = commit.committer = b"a <a>"
        commit.author_time = commit.commit_time = WHEN
        commit.author_timezone = commit.commit_timezone = 0
        commit.message = b"m"
        repo.object_store.add_object(commit)
        return commit.id

    def tree(self, repo: Repo, files: dict[str, Any]) -> bytes:
        tree, below = Tree(), dict[str, dict[str, Any]]()
        for path, content in files.items():
            head, _, tail = path.partition("/")
            if tail:
                below.setdefault(head, {})[tail] = content
                continue
            mode, data = content if isinstance(content, tuple) else (0o100644, content)
            if mode != 0o160000:
                blob = Blob.from_string(data)
                repo.object_store.add_object(blob)
                data = blob.id
            tree.add(head.encode(), mode, data)
        for name, inside in below.items():
            tree.add(name.encode(), stat.S_IFDIR, self.tree(repo, inside))
        repo.object_store.add_object(tree)
        return tree.id


@pytest.fixture(scope="module")
def forge(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Forge]:
    made = Forge(tmp_path_factory.mktemp("forge"))
    yield made
    made.repo.close()
    made.inner.close()


@pytest.fixture(scope="module")
def daemon(forge: Forge) -> Iterator[str]:
    server = TCPGitServer(forge.backend, "127.0.0.1", 0)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield f"git://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    thread.join()
    server.server_close()


class Web:
    """The repository over HTTP; ``password``: the Authorization header it asks for."""

    def __init__(self, forge: Forge) -> None:
        self.password: str | None = None
        self.seen: list[str | None] = []
        self.redirect: str | None = None
        inner = make_wsgi_chain(forge.backend)

        def app(environ: dict[str, Any], start: Callable[..., Any]) -> Any:
            given = environ.get("HTTP_AUTHORIZATION")
            self.seen.append(given)
            if self.redirect is not None:
                query = f"?{environ['QUERY_STRING']}" if environ["QUERY_STRING"] else ""
                start(
                    "302 Found", [("Location", self.redirect + environ["PATH_INFO"] + query), ("Content-Length", "0")]
                )
                return [b""]
            if self.password is not None and given != self.password:
                start("401 Unauthorized", [("Content-Length", "0")])
                return [b""]
            return inner(environ, start)

        class Quiet(WSGIRequestHandler):
            def log_message(self, *_: Any) -> None:
                return

        self._server = make_server("127.0.0.1", 0, app, handler_class=Quiet)
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def web(forge: Forge) -> Iterator[Callable[[], Web]]:
    made: list[Web] = []

    def make() -> Web:
        made.append(Web(forge))
        return made[-1]

    yield make
    for one in made:
        one.close()


def export(tmp_path: Path, credentials: Credentials = NOBODY, **source: Any) -> dict[str, tarfile.TarInfo]:
    fetcher, wanted = NetworkFetcher(LIMITS), GitSource(**source)
    path = tmp_path / "out.tar"
    path.unlink(missing_ok=True)
    fetcher.export(wanted, fetcher.resolve(wanted, credentials), str(path), credentials)
    with tarfile.open(path) as tar:
        found = {member.name: member for member in tar}
    assert not [name for name in tmp_path.iterdir() if name.name.startswith("git-")]
    return found


def test_a_checkout(daemon: str, tmp_path: Path) -> None:
    found = export(tmp_path, remote=f"{daemon}/r.git")
    assert {name: (member.type, member.mode) for name, member in found.items()} == {
        ".": (tarfile.DIRTYPE, 0o755),
        ".gitmodules": (tarfile.REGTYPE, 0o644),
        "a.txt": (tarfile.REGTYPE, 0o644),
        "bin": (tarfile.DIRTYPE, 0o755),
        "bin/run": (tarfile.REGTYPE, 0o755),
        "link": (tarfile.SYMTYPE, 0o777),
        "mod": (tarfile.DIRTYPE, 0o755),
        "mod/i.txt": (tarfile.REGTYPE, 0o644),
        "sub": (tarfile.DIRTYPE, 0o755),
        "sub/deep": (tarfile.DIRTYPE, 0o755),
        "sub/deep/b": (tarfile.REGTYPE, 0o644),
    }
    assert {(member.uid, member.gid) for member in found.values()} == {(0, 0)}
    assert found["link"].linkname == "../outside"


def test_parts_of_it(daemon: str, tmp_path: Path) -> None:
    assert sorted(export(tmp_path, remote=f"{daemon}/r.git", subdir="sub/deep")) == [".", "b"]
    assert sorted(export(tmp_path, remote=f"{daemon}/r.git", ref="old")) == [".", "old"]
    without = export(tmp_path, remote=f"{daemon}/r.git", submodules=False, commit_time=True)
    assert "mod" in without
    assert "mod/i.txt" not in without
    assert {member.mtime for member in without.values()} == {WHEN}


def test_a_commit_that_no_reference_names(daemon: str, forge: Forge, tmp_path: Path) -> None:
    commit = forge.first.decode()
    assert NetworkFetcher(LIMITS).resolve(GitSource(remote="nowhere", ref=commit), NOBODY).commit == commit
    assert sorted(export(tmp_path, remote=f"{daemon}/r.git", ref=commit)) == [".", "old"]


def test_with_its_git_directory(daemon: str, forge: Forge, tmp_path: Path) -> None:
    found = export(tmp_path, remote=f"{daemon}/r.git", ref="v1", keep_git_dir=True, submodules=False)
    tag = forge.tag.decode()
    assert f".git/objects/{tag[:2]}/{tag[2:]}" in found
    (tmp_path / "tree").mkdir()
    with tarfile.open(tmp_path / "out.tar") as tar:
        tar.extraction_filter = lambda member, _path: member  # Pythons before 3.11.4 know no other way to say so
        tar.extractall(tmp_path / "tree")  # noqa: S202 - our own
    with Repo(str(tmp_path / "tree")) as repo:
        assert repo.head() == forge.main
        assert repo.refs[b"refs/tags/v1"] == forge.tag
        assert repo.get_shallow() == {forge.main}
        assert sorted(repo.open_index()) == [b".gitmodules", b"a.txt", b"bin/run", b"link", b"mod", b"sub/deep/b"]
        assert repo[forge.main].tree in repo.object_store
    assert not any(
        name.startswith(".git/") for name in export(tmp_path, remote=f"{daemon}/r.git", subdir="sub", keep_git_dir=True)
    )


def test_over_http_with_a_token(web: Callable[[], Web], tmp_path: Path) -> None:
    server = web()
    server.password = "Basic eC1hY2Nlc3MtdG9rZW46czNjcmV0"  # x-access-token:s3cret
    source = {"remote": f"{server.url}/r.git", "submodules": False}
    assert "a.txt" in export(tmp_path, Credentials({"GIT_AUTH_TOKEN": b"s3cret\n"}), **source)
    host = server.url.removeprefix("http://")
    both = Credentials({f"GIT_AUTH_HEADER.{host}": server.password.encode(), "GIT_AUTH_TOKEN": b"wrong"})
    assert "a.txt" in export(tmp_path, both, **source)
    with pytest.raises(FetchFailed, match="wants a login") as problem:
        export(tmp_path, Credentials({"GIT_AUTH_TOKEN": b"other-s3cret"}), **source)
    assert "s3cret" not in "".join(problem.value.lines())


def test_credentials_stay_with_their_server(web: Callable[[], Web], tmp_path: Path) -> None:
    first, second = web(), web()
    first.redirect = second.url
    credentials = Credentials({"GIT_AUTH_TOKEN": b"s3cret"})
    assert "a.txt" in export(tmp_path, credentials, remote=f"{first.url}/r.git", submodules=False)
    assert all(first.seen)
    assert second.seen
    assert not any(second.seen)


def test_redirects_to_files_are_not_followed(web: Callable[[], Web], forge: Forge, tmp_path: Path) -> None:
    server = web()
    server.redirect = f"file://{Path(forge.repo.path).parent}"
    with pytest.raises(FetchFailed, match="cannot fetch"):
        export(tmp_path, remote=f"{server.url}/r.git")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ({"ref": "mian"}, "no reference 'mian'"),
        ({"ref": "main", "checksum": "abc"}, "checksum abc was asked, and main is"),
        ({"subdir": "nope"}, "no directory 'nope'"),
        ({"subdir": "a.txt"}, "'a.txt' in it is not a directory"),
        ({"subdir": "link/x"}, "is not a directory"),
        ({"ref": "0" * 39 + "1"}, "cannot fetch"),
        ({"remote": "/absent.git"}, "cannot fetch"),
        ({"remote": "ssh://git@127.0.0.1/r.git"}, "was given no SSH agent"),
        ({"remote": "file:///etc"}, "file:// is not spoken"),
        ({"remote": "ext://sh"}, "ext:// is not spoken"),
    ],
)
def test_what_cannot_be_fetched(daemon: str, tmp_path: Path, source: dict[str, str], problem: str) -> None:
    given = {"remote": f"{daemon}/r.git"} | source
    if given["remote"].startswith("/"):
        given["remote"] = daemon + given["remote"]
    with pytest.raises(FetchFailed) as raised:
        export(tmp_path, **given)
    assert problem in raised.value.problem
    if source.get("ref") == "mian":
        assert raised.value.hint == "did you mean main?"


def test_bad_trees_are_refused(forge: Forge, daemon: str, tmp_path: Path) -> None:
    def ref(name: str, files: dict[str, Any]) -> str:
        forge.repo.refs[f"refs/heads/{name}".encode()] = forge.commit(forge.repo, files, [])
        return name

    bad = {
        "dots": {"..": b"x"},
        "git": {".GIT/config": b"[core]\n\tfsmonitor = evil\n"},
        "fifo": {"f": (stat.S_IFIFO | 0o644, b"x")},
        "stray": {"m": (0o160000, forge.first)},
        "file": {
            "m": (0o160000, forge.first),
            ".gitmodules": b'[submodule "m"]\n\tpath = m\n\turl = file:///etc\n',
        },
    }
    for name, files in bad.items():
        with pytest.raises(FetchFailed, match=r"entry named|impossible mode|says nothing of|file:// is not spoken"):
            export(tmp_path, remote=f"{daemon}/r.git", ref=ref(name, files))


def test_a_bomb_is_refused(forge: Forge, daemon: str, tmp_path: Path) -> None:
    forge.repo.refs[b"refs/heads/bomb"] = forge.commit(forge.repo, {"zeros": bytes(16 << 20)}, [])
    assert len(zlib.compress(bytes(16 << 20))) < LIMITS.size
    with pytest.raises(FetchFailed, match=r"larger than|memory|ended early|file too large"):
        export(tmp_path, remote=f"{daemon}/r.git", ref="bomb")


# ---- servers that do not behave


@pytest.mark.parametrize("scheme", ["git", "http"])
@pytest.mark.parametrize(
    "data", [b"", b"0000", b"zzzz", b"fff0" + b"x" * 100, b"HTTP/1.1 200 OK\r\n\r\n001e# service=git"]
)
def test_answers_that_are_none(wire: Any, scheme: str, data: bytes) -> None:
    def talk(connection: socket.socket, _over: threading.Event) -> None:
        connection.sendall(data)

    with pytest.raises(FetchFailed, match="cannot fetch"):
        NetworkFetcher(LIMITS).resolve(GitSource(remote=f"{scheme}://127.0.0.1:{wire(talk).port}/r.git"), NOBODY)


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200 OK\r\nContent-Type: application/x-git-upload-pack-advertisement\r\n\r\nff00"]
)
def test_a_server_that_drips(wire: Any, data: bytes) -> None:
    limits = msgspec.structs.replace(LIMITS, quiet=1.5)
    with pytest.raises(FetchFailed, match=r"fallen silent|timed out|no answer"):
        NetworkFetcher(limits).resolve(GitSource(remote=f"http://127.0.0.1:{wire(drip(data, 0.1)).port}/r.git"), NOBODY)


def test_references_without_end(wire: Any) -> None:
    line = b"003d" + b"1" * 40 + b" refs/heads/abcdefgh\n"

    def talk(connection: socket.socket, over: threading.Event) -> None:
        while not over.is_set():
            connection.sendall(line * 1000)

    with pytest.raises(FetchFailed, match="cannot fetch"):
        NetworkFetcher(LIMITS).resolve(GitSource(remote=f"git://127.0.0.1:{wire(talk).port}/r.git"), NOBODY)


# ---- which reference wins

ONE, TWO, THREE = "1" * 40, "2" * 40, "3" * 40


@pytest.mark.parametrize(
    ("ref", "refs", "expected"),
    [
        ("x", {"refs/heads/x": ONE, "refs/tags/x": TWO}, (ONE, ONE, "refs/heads/x")),
        ("refs/tags/x", {"refs/heads/x": ONE, "refs/tags/x": TWO}, (TWO, TWO, "refs/tags/x")),
        ("tags/x", {"refs/heads/x": ONE, "refs/tags/x": TWO}, (TWO, TWO, "refs/tags/x")),
        ("x", {"refs/tags/x": TWO, "refs/tags/x^{}": THREE}, (TWO, THREE, "refs/tags/x")),
        ("pull/1/head", {"refs/pull/1/head": ONE}, (ONE, ONE, "refs/pull/1/head")),
        ("", {"refs/heads/trunk": ONE, "HEAD": ONE}, (ONE, ONE, "refs/heads/trunk")),
    ],
)
def test_which_reference_wins(ref: str, refs: dict[str, str], expected: tuple[str, str, str]) -> None:
    found = pick(GitSource(remote="r", ref=ref), refs, {"HEAD": "refs/heads/trunk"})
    assert found == GitCommit(object=expected[0], commit=expected[1], ref=expected[2])


def test_a_checksum_may_be_of_the_tag_or_of_the_commit() -> None:
    refs = {"refs/tags/x": TWO, "refs/tags/x^{}": THREE}
    for checksum in ("22", "33"):
        assert pick(GitSource(remote="r", ref="x", checksum=checksum), refs, {}).object == TWO
    with pytest.raises(Refused):
        pick(GitSource(remote="r", ref="x", checksum="23"), refs, {})


def test_a_transfer_is_stopped(wire: Any) -> None:
    asked = threading.Event()

    def talk(_connection: socket.socket, over: threading.Event) -> None:
        asked.set()
        over.wait()

    limits = msgspec.structs.replace(LIMITS, quiet=300.0)
    source = GitSource(remote=f"git://127.0.0.1:{wire(talk).port}/r.git")
    with pytest.raises(FetchFailed, match="it was stopped"):
        NetworkFetcher(limits).resolve(source, NOBODY, stopped=asked.is_set)
