from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from contextkernel.runtime.logs import JsonLog


def records(path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def test_log_lines_of_two_streams(tmp_path):
    log = JsonLog(str(tmp_path / "log"))
    log.write("stdout", b"one\ntw")
    log.write("stderr", b"bad \xff\n")
    log.write("stdout", b"o\n\nrest")
    log.close()
    found = records(tmp_path / "log")
    assert [(entry["stream"], entry["log"]) for entry in found] == [
        ("stdout", "one\n"),
        ("stderr", "bad \ufffd\n"),
        ("stdout", "two\n"),
        ("stdout", "\n"),
        ("stdout", "rest"),
    ]


def test_log_is_appended_to(tmp_path):
    for text in (b"first\n", b"second\n"):
        log = JsonLog(str(tmp_path / "log"))
        log.write("stdout", text)
        log.close()
    assert [entry["log"] for entry in records(tmp_path / "log")] == ["first\n", "second\n"]


def test_long_lines_are_split(tmp_path):
    log = JsonLog(str(tmp_path / "log"))
    log.write("stdout", b"x" * 40000)
    log.write("stdout", b"\ny\n")
    log.close()
    lengths = [len(entry["log"]) for entry in records(tmp_path / "log")]
    assert lengths == [16384, 16384, 7233, 2]


@given(st.lists(st.binary(max_size=40)))
def test_log_holds_exactly_the_output(tmp_path_factory, pieces):
    path = tmp_path_factory.mktemp("log") / "log"
    log = JsonLog(str(path))
    for piece in pieces:
        log.write("stdout", piece)
    log.close()
    text = "".join(entry["log"] for entry in records(path))
    # pieces of one line are joined before they are decoded
    assert text == "".join(line.decode("utf-8", "replace") for line in _lines(b"".join(pieces)))


def _lines(data: bytes) -> list[bytes]:
    *whole, last = data.split(b"\n")
    return [*(line + b"\n" for line in whole), last]
