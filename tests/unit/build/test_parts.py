"""Small parts: relayed output, stacked layers, files of the request."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from contextkernel.build.relay import Tail, relay
from contextkernel.build.reporting import bytes_text
from contextkernel.build.sources import read_dockerfile, read_ignore
from contextkernel.errors import InvalidInput, SourceNotFound
from contextkernel.layer.lowers import overlay_lowers


def test_relay_hands_output_on_until_both_ends_are_closed() -> None:
    out, out_writer = os.pipe()
    err, err_writer = os.pipe()
    wakes, wake = os.pipe()
    got: list[tuple[str, str]] = []
    woken = threading.Event()

    def write() -> None:
        os.write(out_writer, "grü".encode()[:3])
        os.write(wake, b"!")
        woken.wait(60)
        os.write(out_writer, "grü".encode()[3:] + b"n\xff\n")
        os.write(err_writer, b"err\n")
        os.close(out_writer)
        os.close(err_writer)

    thread = threading.Thread(target=write)
    thread.start()
    relay({out: "stdout", err: "stderr"}, lambda stream, text: got.append((stream, text)), wakes, woken.set)
    thread.join()
    for fd in (out, err, wakes, wake):
        os.close(fd)
    assert "".join(text for stream, text in got if stream == "stdout") == "grün\ufffd\n"
    assert "".join(text for stream, text in got if stream == "stderr") == "err\n"


def test_tail_keeps_the_last_lines_and_joins_pieces() -> None:
    tail = Tail(3)
    for piece in ("one\ntw", "o\nthree\n", "four\r\nfive", "\n\n"):
        tail.add("stdout", piece)
    assert tail.lines() == ("four", "five")
    tail.add("stderr", "unfinished")
    assert tail.lines()[-1] == "unfinished"


def test_tail_of_streams_that_alternate_in_the_middle_of_lines() -> None:
    tail = Tail()
    tail.add("stdout", "out ")
    tail.add("stderr", "err\n")
    tail.add("stdout", "put\n")
    assert tail.lines() == ("err", "out put")


def test_tail_does_not_grow_with_a_line_without_end() -> None:
    tail = Tail()
    for _ in range(100):
        tail.add("stdout", "x" * 10_000)
    assert len(tail.lines()[0]) == 2_000


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0B"), (518, "518B"), (1_234, "1.234kB"), (2_500_000, "2.5MB"), (7 * 10**12, "7TB")]
)
def test_bytes_text(size: int, text: str) -> None:
    assert bytes_text(size) == text


def test_overlay_lowers_keep_the_upper_of_equal_layers() -> None:
    assert overlay_lowers(["a", "b", "a", "c"]) == ("b/diff", "a/diff", "c/diff")


def test_dockerfile_by_default_by_name_and_as_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    context = tmp_path / "context"
    context.mkdir()
    (context / "Dockerfile").write_text("FROM a\n")
    (context / "other").write_text("FROM b\n")
    (tmp_path / "outside").write_text("FROM c\n")
    monkeypatch.chdir(tmp_path)
    assert read_dockerfile(str(context), None, None) == (b"FROM a\n", "Dockerfile")
    assert read_dockerfile(str(context), "other", None) == (b"FROM b\n", "other")
    assert read_dockerfile(str(context), "outside", None) == (b"FROM c\n", "outside")
    assert read_dockerfile(None, "outside", None) == (b"FROM c\n", "outside")
    assert read_dockerfile(None, None, "FROM d\n") == ("FROM d\n", "Dockerfile")
    (context / "Dockerfile").rename(context / "dockerfile")
    assert read_dockerfile(str(context), None, None) == (b"FROM a\n", "Dockerfile")


def test_dockerfile_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SourceNotFound, match="there is no Dockerfile in"):
        read_dockerfile(str(tmp_path), None, None)
    with pytest.raises(SourceNotFound, match="not a directory"):
        read_dockerfile(str(tmp_path / "nowhere"), None, None)
    with pytest.raises(InvalidInput, match="neither"):
        read_dockerfile(None, None, None)
    (tmp_path / "Dockerfile").mkdir()
    with pytest.raises(InvalidInput, match="cannot read"):
        read_dockerfile(str(tmp_path), None, None)


def test_the_ignore_file_of_the_dockerfile_wins(tmp_path: Path) -> None:
    assert read_ignore(str(tmp_path), "Dockerfile") is None
    (tmp_path / ".dockerignore").write_text("all")
    assert read_ignore(str(tmp_path), "Dockerfile") == (b"all", str(tmp_path / ".dockerignore"))
    (tmp_path / "Dockerfile.dockerignore").write_text("mine")
    assert read_ignore(str(tmp_path), "Dockerfile") == (b"mine", str(tmp_path / "Dockerfile.dockerignore"))
    assert read_ignore(None, "Dockerfile") is None
