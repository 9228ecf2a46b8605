"""Builds that fetch, and builds that are fed with something else than a directory."""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from contextkernel.build.opening import checked_files, is_archive
from contextkernel.build.request import ArchiveContext, FilesContext, RemoteContext
from contextkernel.errors import FetchFailed, HostUnsupported, InvalidArchive, InvalidInput, SourceNotFound
from contextkernel.model.build_inputs import SecretValue, StepOptions
from contextkernel.model.events import StepProgress, StepStarted
from contextkernel.testing.fetching import Page

URL = "http://h/data.txt"
REMOTE = "https://h/r.git"
ONE, TWO = "1" * 40, "2" * 40


def image(bench: Any, result: Any) -> dict[str, Any]:
    return json.loads(bench.store.images[result.image])  # type: ignore[no-any-return]


def files(bench: Any, result: Any) -> dict[str, str]:
    """Path to content of everything that the build put on top of its base."""
    found = {}
    for diff_id in image(bench, result)["rootfs"]["diff_ids"]:
        top = Path(bench.store.layer(diff_id).directory) / "diff"
        for path in sorted(top.rglob("*")):
            if path.is_file():
                found[str(path.relative_to(top))] = path.read_text()
    return {path: text for path, text in found.items() if path not in {"etc/passwd", "bin/sh"}}


def tar(entries: dict[str, bytes]) -> bytes:
    with tarfile.open(fileobj=(out := io.BytesIO()), mode="w") as archive:
        for name, content in entries.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def nothing_left(bench: Any) -> bool:
    return not os.path.isdir(f"{bench.store.root}/tmp") or os.listdir(f"{bench.store.root}/tmp") == []


# ---- ADD of URLs


def test_add_of_a_url(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"hello", modified=1_000_000)
    result = bench.build(f"FROM base\nADD {URL} /to/\n")
    assert files(bench, result) == {"to/data.txt": "hello"}
    assert bench.outcome() == {
        "[1/2] FROM docker.io/library/base:latest": "cached",
        f"[2/2] ADD {URL} /to/": "done",
    }
    (fetched,) = [one.items[0] for one in bench.worker.copies]
    assert (fetched.source, fetched.extract) == ("data.txt", False)
    assert nothing_left(bench)


def test_the_file_has_mode_and_time_of_docker(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"x", modified=1_000_000)
    bench.build(f"FROM base\nADD {URL} /x\n")
    place = Path(bench.worker.copies[0].source_lowers[0]) / "data.txt"
    assert (place.stat().st_mode & 0o7777, int(place.stat().st_mtime)) == (0o600, 1_000_000)


def test_unchanged_content_is_not_fetched_again(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"v1", etag='"1"')
    text = f"FROM base\nADD {URL} /x\nRUN echo\n"
    bench.build(text)
    bench.build(text)
    assert bench.fetcher.asked == [f"get {URL}", f"have {URL}"]
    assert set(bench.outcome().values()) == {"cached"}
    bench.fetcher.pages[URL] = Page(content=b"v2", etag='"2"')
    assert files(bench, bench.build(text))["x"] == "v2"
    bench.fetcher.pages[URL] = Page(content=b"v2", etag='"3"')
    bench.build(text)
    assert set(bench.outcome().values()) == {"cached"}, "equal content joins the cache again"


def test_a_server_without_tags_is_asked_each_time(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"v1")
    for _ in range(2):
        bench.build(f"FROM base\nADD {URL} /x\n")
    assert bench.fetcher.asked == [f"get {URL}", f"get {URL}"]
    assert set(bench.outcome().values()) == {"cached"}


def test_a_checksum_needs_no_server_the_second_time(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"v1")
    text = f"FROM base\nADD --checksum=sha256:{hashlib.sha256(b'v1').hexdigest()} {URL} /x\n"
    bench.build(text)
    bench.fetcher.pages.clear()
    bench.build(text)
    assert bench.fetcher.asked == [f"get {URL}"]


def test_a_wrong_checksum_fails_the_step(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"other")
    text = f"FROM base\nADD --checksum=sha256:{'0' * 64} {URL} /x\n"
    with pytest.raises(FetchFailed, match=r"has the digest sha256:d9298a10.*, not sha256:0000") as problem:
        bench.build(text)
    assert problem.value.span is not None
    assert problem.value.span.line == 2
    assert bench.outcome()[f"[2/2] ADD --checksum=sha256:{'0' * 64} {URL} /x"] == "broke"
    assert nothing_left(bench)


def test_a_checksum_is_held_against_what_is_here_already(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"v1", etag='"1"')
    bench.build(f"FROM base\nADD {URL} /x\n")
    with pytest.raises(FetchFailed, match="has the digest sha256:3bfc2695"):
        bench.build(f"FROM base\nADD --checksum=sha256:{'0' * 64} {URL} /x\n")
    right = f"FROM base\nADD --checksum=sha256:{hashlib.sha256(b'v1').hexdigest()} {URL} /x\n"
    bench.build(right)
    bench.fetcher.pages.clear()
    bench.build(right)
    assert bench.fetcher.asked == [f"get {URL}", f"have {URL}", f"have {URL}"]


def test_no_cache_fetches_again(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"v1", etag='"1"')
    bench.build(f"FROM base\nADD {URL} /x\n")
    bench.build(f"FROM base\nADD {URL} /x\n", no_cache=True)
    assert bench.fetcher.asked == [f"get {URL}", f"get {URL}"]


def test_unpacking_on_request(bench: Any) -> None:
    bench.fetcher.pages["http://h/a.tar"] = Page(content=tar({"in/side": b"x"}))
    result = bench.build("FROM base\nADD --unpack=true http://h/a.tar /u/\n")
    assert files(bench, result) == {"u/in/side": "x"}


def test_one_url_is_fetched_once_in_a_build(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"v1")
    text = f"FROM base AS a\nADD {URL} /x\nFROM base AS b\nADD {URL} /y\n"
    text += "FROM base\nCOPY --from=a /x /\nCOPY --from=b /y /\n"
    result = bench.build(text)
    assert bench.fetcher.asked == [f"get {URL}"]
    assert files(bench, result) == {"x": "v1", "y": "v1"}


def test_several_places_make_one_layer(bench: Any) -> None:
    bench.write({"local": "L"})
    bench.fetcher.pages[URL] = Page(content=b"U")
    bench.fetcher.references[REMOTE, ""] = ONE
    bench.fetcher.commits[ONE] = {"g/it": b"G"}
    result = bench.build(f"FROM base\nADD local {URL} {REMOTE} /to/\n")
    assert files(bench, result) == {"to/local": "L", "to/data.txt": "U", "to/g/it": "G"}
    assert len(image(bench, result)["rootfs"]["diff_ids"]) == 2


def test_a_failed_fetch_is_told_at_its_line(bench: Any) -> None:
    with pytest.raises(FetchFailed, match="answered 404") as problem:
        bench.build(f"FROM base\nRUN echo\nADD {URL} /x\n")
    assert problem.value.span is not None
    assert problem.value.span.line == 3
    assert bench.fetcher.asked == [f"miss {URL}"]


def test_only_secrets_for_servers_are_handed_on(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"x")
    secrets = {"HTTP_AUTH_TOKEN_h": SecretValue(b"t"), "other": SecretValue(b"o"), "GIT_AUTH_TOKEN": SecretValue(b"g")}
    bench.build(f"FROM base\nADD {URL} /x\n", steps=StepOptions(secrets=secrets))
    assert bench.fetcher.credentials.secrets == {"HTTP_AUTH_TOKEN_h": b"t", "GIT_AUTH_TOKEN": b"g"}


def test_passwords_stay_out_of_events_and_history(bench: Any) -> None:
    url = "http://me:s3cret@h/x"
    bench.fetcher.pages[url] = Page(content=b"x", etag='"1"')
    result = bench.build(f"FROM base\nADD {url} /x\n")
    assert "s3cret" not in repr(bench.events)
    assert "s3cret" not in bench.store.images[result.image].decode()
    assert "s3cret" not in repr(bench.store.__dict__)


# ---- repositories


def test_add_of_a_repository(bench: Any) -> None:
    bench.fetcher.references[REMOTE, "v1"] = ONE
    bench.fetcher.commits[ONE] = {"sub/a": b"A", "b": b"B"}
    text = f"FROM base\nADD {REMOTE}#v1:sub /to\n"
    assert files(bench, bench.build(text)) == {"to/a": "A"}
    bench.build(text)
    assert bench.fetcher.asked == ["resolve", f"export {ONE}", "resolve"]
    bench.fetcher.references[REMOTE, "v1"] = TWO
    bench.fetcher.commits[TWO] = {"sub/a": b"new"}
    assert files(bench, bench.build(text)) == {"to/a": "new"}


def test_a_repository_is_a_build_context(bench: Any) -> None:
    bench.fetcher.references[REMOTE, ""] = ONE
    bench.fetcher.commits[ONE] = {"dockerfile": b"FROM base\nCOPY . /c/\n", ".dockerignore": b"a", "a": b"A"}
    result = bench.build(None, context=None, source=RemoteContext(REMOTE))
    # as with BuildKit, ignore files are for directories of this machine only
    assert files(bench, result) == {"c/dockerfile": "FROM base\nCOPY . /c/\n", "c/.dockerignore": "a", "c/a": "A"}
    assert bench.states()[0] == (f"[internal] load git source {REMOTE}", "done")


def test_files_of_a_repository_have_the_commit_s_time_in_a_reproducible_build(bench: Any) -> None:
    bench.fetcher.references[REMOTE, ""] = ONE
    bench.fetcher.commits[ONE] = {"Dockerfile": b"FROM base\nCOPY . /c/\n"}
    bench.build(None, context=None, source=RemoteContext(REMOTE), build_args={"SOURCE_DATE_EPOCH": "1"})
    assert bench.fetcher.asked == ["resolve", f"export {ONE} with its time"]


def created(bench: Any, result: Any) -> str:
    return str(image(bench, result)["created"])


@pytest.mark.parametrize("asked_by", ["argument", "Dockerfile"])
def test_the_time_of_a_repository_is_the_time_of_the_build(bench: Any, asked_by: str) -> None:
    bench.fetcher.references[REMOTE, ""] = ONE
    bench.fetcher.times[ONE] = 1_000_000_000
    line = "ARG SOURCE_DATE_EPOCH=context\n" if asked_by == "Dockerfile" else ""
    bench.fetcher.commits[ONE] = {"Dockerfile": f"{line}FROM base\nRUN x\n".encode()}
    given = {} if line else {"SOURCE_DATE_EPOCH": "context"}
    for _ in range(2):  # the second one takes the files from the cache
        result = bench.build(None, context=None, source=RemoteContext(REMOTE), build_args=given)
        assert created(bench, result) == "2001-09-09T01:46:40Z"


def test_the_time_of_a_url_is_the_time_of_the_build(bench: Any, tmp_path: Path) -> None:
    given = {"SOURCE_DATE_EPOCH": "context"}
    bench.fetcher.pages["http://h/d"] = Page(content=b"FROM base\nRUN x\n", modified=1_000_000_000)
    result = bench.build(None, context=None, source=RemoteContext("http://h/d"), build_args=given)
    assert created(bench, result) == "2001-09-09T01:46:40Z"
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        for name, seconds in (("Dockerfile", 5), ("young", 1_000_000_001)):
            info = tarfile.TarInfo(name)
            info.mtime, info.size = seconds, 16
            archive.addfile(info, io.BytesIO(b"FROM base\nRUN x\n"))
    data = (tmp_path / "x.tar").read_bytes()
    bench.fetcher.pages["http://h/t"] = Page(content=data)
    bench.fetcher.pages["http://h/u"] = Page(content=data, modified=1_000_000_002)
    for source, last in (
        (ArchiveContext(str(tmp_path / "x.tar")), 1),  # no server said anything: the youngest file counts
        (RemoteContext("http://h/t"), 1),
        (RemoteContext("http://h/u"), 2),
    ):
        result = bench.build(None, context=None, source=source, build_args=given)
        assert created(bench, result) == f"2001-09-09T01:46:4{last}Z"


def test_a_directory_has_no_time_of_its_own(bench: Any) -> None:
    result = bench.build("FROM base\nRUN x\n", build_args={"SOURCE_DATE_EPOCH": "context"})
    assert [text for text in result.warnings if "SOURCE_DATE_EPOCH=context has no effect" in text]


def test_what_was_fetched_is_known_to_the_provenance(bench: Any) -> None:
    bench.fetcher.references[REMOTE, "v1"] = ONE
    bench.fetcher.commits[ONE] = {"Dockerfile": f"FROM base\nADD {URL} /x\n".encode()}
    bench.fetcher.pages[URL] = Page(content=b"v1", etag='"1"')
    file = {"uri": URL, "digest": {"sha256": hashlib.sha256(b"v1").hexdigest()}}
    commit = {"uri": f"{REMOTE}#v1", "digest": {"sha1": ONE}}
    for _ in range(2):  # fetched, and found in the cache
        result = bench.build(None, context=None, source=RemoteContext(f"{REMOTE}#v1"))
        found = result.metadata["buildx.build.provenance"]
        assert [one for one in found["materials"] if not one["uri"].startswith("pkg:")] == [commit, file]
        assert found["invocation"]["configSource"] == {**commit, "entryPoint": "Dockerfile"}


# ---- archives, URLs, files in memory


def test_an_archive_is_a_build_context(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "x.tar").write_bytes(tar({"d/Dockerfile": b"FROM base\nCOPY a /a\n", "a": b"A"}))
    source = ArchiveContext(str(tmp_path / "x.tar"))
    result = bench.build(None, context=None, source=source, dockerfile_name="d/Dockerfile")
    assert files(bench, result) == {"a": "A"}
    with pytest.raises(SourceNotFound, match="there is no Dockerfile in the build context"):
        bench.build(None, context=None, source=source)
    with pytest.raises(SourceNotFound, match="'b' is not in the build context"):
        bench.build("FROM base\nCOPY b /b\n", context=None, source=source)
    with pytest.raises(InvalidInput, match="is a dir, not a file"):
        bench.build(None, context=None, source=source, dockerfile_name="d")


def test_a_url_of_an_archive_and_of_a_dockerfile(bench: Any) -> None:
    bench.fetcher.pages["http://h/c"] = Page(content=tar({"Dockerfile": b"FROM base\nCOPY a /a\n", "a": b"A"}))
    bench.fetcher.pages["http://h/d"] = Page(content=b"FROM base\nRUN echo\n", etag='"1"')
    assert files(bench, bench.build(None, context=None, source=RemoteContext("http://h/c"))) == {"a": "A"}
    result = bench.build(None, context=None, source=RemoteContext("http://h/d"))
    assert image(bench, result)["history"][-1]["created_by"] == "RUN /bin/sh -c echo # buildkit"
    text = "FROM base\nCOPY context /the/file\n"
    result = bench.build(text, context=None, source=RemoteContext("http://h/d"))
    assert files(bench, result) == {"the/file": "FROM base\nRUN echo\n"}
    assert bench.fetcher.asked == ["get http://h/c", "get http://h/d", "have http://h/d"]
    assert nothing_left(bench)


def test_files_in_memory_are_a_build_context(bench: Any) -> None:
    given = {"src/a.txt": b"A", "b": b"B", ".dockerignore": b"b\n"}
    result = bench.build("FROM base\nCOPY . /c/\n", context=None, source=FilesContext(given))
    assert files(bench, result) == {"c/src/a.txt": "A", "c/.dockerignore": "b\n"}
    assert nothing_left(bench)
    bench.build("FROM base\nCOPY . /c/\n", context=None, source=FilesContext(dict(reversed(given.items()))))
    assert set(bench.outcome().values()) == {"cached"}
    with pytest.raises(SourceNotFound, match="there is no Dockerfile"):
        bench.build(None, context=None, source=FilesContext(given))
    assert nothing_left(bench)


@pytest.mark.parametrize(
    ("given", "problem"),
    [
        ([("a", "b")], "is a list, not a dict"),
        ({1: "x"}, "the key 1, which is not a file name"),
        ({"/etc/passwd": ""}, "is absolute"),
        ({"a/../../b": ""}, "leads out of the context"),
        ({"..": ""}, "leads out of the context"),
        ({"": ""}, "'' is not a file name"),
        ({"a/": ""}, "'a/' is not a file name"),
        ({"a\0b": ""}, "is not a file name"),
        ({"x" * 256: ""}, "is too long"),
        ({"a": 1}, r"\['a'\] is a int, not text or bytes"),
        ({"a": None}, "is a NoneType"),
        ({"a": "", "./a": ""}, "has 'a' twice"),
        ({"a": "", "a/b": ""}, "the file 'a', and 'a/b'"),
    ],
)
def test_what_is_no_context_in_memory(given: Any, problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem):
        checked_files(given, "files")


def test_text_and_bytes_are_files() -> None:
    assert checked_files({"a": "é", "./b//c": b"\0", "d": bytearray(b"x")}, "f") == {
        "a": "é".encode(),
        "b/c": b"\0",
        "d": b"x",
    }


@pytest.mark.parametrize(
    ("head", "archive"),
    [
        (tar({"a": b"x"})[:1024], True),
        (b"\x1f\x8b\x08\0", True),
        (b"BZh9", True),
        (b"\xfd7zXZ\0", True),
        (b"\x28\xb5\x2f\xfd", True),
        (b"FROM scratch\n" * 100, False),
        (b"", False),
        (bytes(1024), False),
    ],
)
def test_archives_are_known_by_their_beginning(head: bytes, *, archive: bool) -> None:
    assert is_archive(head) is archive


def test_archives_of_the_first_tar_too() -> None:
    block = bytearray(tar({"a": b"x"})[:512])
    block[257:265] = bytes(8)
    block[148:156] = b"%06o\0 " % (sum(block[:148]) + 256 + sum(block[156:]))
    assert is_archive(bytes(block))


# ---- named contexts


def test_named_contexts(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    for name, text in {"a": "A", "hidden": "H", ".dockerignore": "hidden\n"}.items():
        (tmp_path / "n" / name).write_text(text)
    bench.fetcher.references[REMOTE, ""] = ONE
    bench.fetcher.commits[ONE] = {"g": b"G"}
    bench.fetcher.pages[URL] = Page(content=b"U")
    contexts = {"dir": str(tmp_path / "n"), "repo": REMOTE, "page": URL, "img": "docker-image://base"}
    text = "FROM img\nCOPY --from=dir . /d/\nCOPY --from=repo g /g\nCOPY --from=page context /u\n"
    result = bench.build(text, contexts=contexts)
    assert files(bench, result) == {"d/a": "A", "d/.dockerignore": "hidden\n", "g": "G", "u": "U"}
    bench.build(text, contexts=contexts)
    assert {state for name, state in bench.outcome().items() if not name.startswith("[context")} == {"cached"}


def test_a_stage_on_a_directory(bench: Any, tmp_path: Path) -> None:
    (tmp_path / "n").mkdir()
    (tmp_path / "n" / "a").write_text("A")
    result = bench.build("FROM dir\nENV X=y\n", contexts={"dir": str(tmp_path / "n")})
    assert files(bench, result) == {"a": "A"}
    assert [(one["created_by"], one["comment"]) for one in image(bench, result)["history"]] == [
        ("ENV X=y", "buildkit.dockerfile.v0"),
        ("local source for dir", "buildkit.exporter.image.v0"),
    ]


def test_contexts_that_cannot_be_had(bench: Any) -> None:
    with pytest.raises(SourceNotFound, match="build context nope=/no/such: it does not exist"):
        bench.build("FROM base\n", contexts={"nope": "/no/such"})
    with pytest.raises(HostUnsupported, match="image layout '/l'"):
        bench.build("FROM l\n", contexts={"l": "oci-layout:///l"})
    # what is not used is not fetched
    bench.build("FROM base\n", contexts={"repo": REMOTE})
    assert bench.fetcher.asked == []


def test_a_layout_is_asked_for_by_its_place(bench: Any) -> None:
    asked: list[tuple[str, Any]] = []

    def layout(place: str, *, platform: Any = None, report: Any = None) -> Any:
        assert report is not None
        asked.append((place, platform))
        return bench.store.names["docker.io/library/base:latest"]

    bench.build("FROM l\nRUN echo\n", contexts={"l": "oci-layout:///l:t"}, layout=layout)
    assert asked == [("/l:t", None)]


def test_damaged_archives_leave_nothing(bench: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.fetcher.pages["http://h/c"] = Page(content=tar({"a": b"A"}))

    def refuse(*_args: Any, **_options: Any) -> Any:
        raise InvalidArchive("entry '../x' leaves the layer")

    monkeypatch.setattr(bench.worker, "unpack", refuse)
    with pytest.raises(InvalidArchive):
        bench.build(None, context=None, source=RemoteContext("http://h/c"))
    assert nothing_left(bench)


def test_transfers_are_told_as_part_of_their_step(bench: Any) -> None:
    bench.fetcher.pages[URL] = Page(content=b"hello")
    bench.build(f"FROM base\nADD {URL} /x\n")
    number = next(event.step for event in bench.events if isinstance(event, StepStarted) and "ADD" in event.name)
    assert [event for event in bench.events if isinstance(event, StepProgress)] == [StepProgress(number, URL, 0, 0)]
