from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from contextkernel.model.life import LogRules
from contextkernel.runtime.log_reading import read_log
from contextkernel.runtime.logs import JsonLog, timestamp


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


def write_lines(log: JsonLog, first: int, last: int) -> None:
    for number in range(first, last + 1):
        log.write("stdout", f"line {number}\n".encode())


def test_full_files_are_renamed_and_the_oldest_goes(tmp_path):
    path = tmp_path / "log"
    log = JsonLog(str(path), LogRules(max_size=500, max_files=3))
    write_lines(log, 1, 40)
    log.close()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["log", "log.1", "log.2"]
    # docker looks before it writes: a file may be longer by one record
    assert all(file.stat().st_size < 600 for file in tmp_path.iterdir())
    kept = [entry["log"] for name in ("log.2", "log.1", "log") for entry in records(tmp_path / name)]
    assert kept == [f"line {number}\n" for number in range(41 - len(kept), 41)]
    assert len(kept) < 40


def test_one_file_alone_begins_anew(tmp_path):
    log = JsonLog(str(tmp_path / "log"), LogRules(max_size=500))
    write_lines(log, 1, 40)
    log.close()
    assert [file.name for file in tmp_path.iterdir()] == ["log"]
    assert records(tmp_path / "log")[-1]["log"] == "line 40\n"
    assert (tmp_path / "log").stat().st_size < 600


def test_each_record_carries_what_it_was_asked_to(tmp_path):
    log = JsonLog(str(tmp_path / "log"), LogRules(attributes={"tier": "front"}))
    log.write("stdout", b"x\n")
    log.close()
    assert list(records(tmp_path / "log")[0]) == ["log", "stream", "attrs", "time"]
    assert records(tmp_path / "log")[0]["attrs"] == {"tier": "front"}


def read(path, **how) -> list[str]:
    return [record.log for record in read_log(str(path), lambda: False, **how)]


def test_what_was_rotated_is_read_too_oldest_first(tmp_path):
    log = JsonLog(str(tmp_path / "log"), LogRules(max_size=500, max_files=9))
    write_lines(log, 1, 30)
    log.close()
    assert read(tmp_path / "log") == [f"line {number}\n" for number in range(1, 31)]
    assert read(tmp_path / "log", tail=12) == [f"line {number}\n" for number in range(19, 31)]
    assert read(tmp_path / "log", tail=0) == []


def test_a_log_that_is_not_there_is_empty(tmp_path):
    assert read(tmp_path / "log") == []
    assert read(tmp_path / "log", follow=True) == []


def entry(second: int) -> bytes:
    return json.dumps({"log": f"{second}\n", "stream": "stdout", "time": timestamp(second * 10**9)}).encode() + b"\n"


def test_moments_bound_what_is_read(tmp_path):
    (tmp_path / "log").write_bytes(b"".join(entry(second) for second in range(10)))
    assert read(tmp_path / "log", since=7 * 10**9) == ["7\n", "8\n", "9\n"]
    assert read(tmp_path / "log", until=1 * 10**9) == ["0\n", "1\n"]
    assert read(tmp_path / "log", since=3 * 10**9, until=5 * 10**9, tail=2) == ["4\n", "5\n"]


def test_a_record_that_a_full_disk_cut_off_is_left_out(tmp_path):
    (tmp_path / "log").write_bytes(entry(1) + b'{"log":"tw\n' + entry(3))
    assert read(tmp_path / "log") == ["1\n", "3\n"]


def test_who_follows_sees_every_line_across_many_files(tmp_path):
    log = JsonLog(str(tmp_path / "log"), LogRules(max_size=300, max_files=30))
    write_lines(log, 1, 5)
    left = iter([(6, 20), (21, 21), (22, 40)])
    alive = True

    def sleep(_seconds: float) -> None:
        nonlocal alive
        lines = next(left, None)
        if lines is None:
            alive = False
        else:
            write_lines(log, *lines)

    found = [record.log for record in read_log(str(tmp_path / "log"), lambda: alive, follow=True, sleep=sleep)]
    log.close()
    assert found == [f"line {number}\n" for number in range(1, 41)]


def test_who_follows_sees_every_line_of_one_file_that_begins_anew(tmp_path):
    log = JsonLog(str(tmp_path / "log"), LogRules(max_size=300))
    write_lines(log, 1, 2)
    numbers = iter(range(3, 30))
    alive = True

    def sleep(_seconds: float) -> None:
        nonlocal alive
        number = next(numbers, None)
        if number is None:
            alive = False
        else:
            write_lines(log, number, number)

    found = [record.log for record in read_log(str(tmp_path / "log"), lambda: alive, follow=True, sleep=sleep)]
    log.close()
    assert found == [f"line {number}\n" for number in range(1, 30)]


def test_who_follows_ends_with_the_first_line_after_the_end(tmp_path):
    (tmp_path / "log").write_bytes(entry(1) + entry(2))

    def sleep(_seconds: float) -> None:
        with (tmp_path / "log").open("ab") as file:
            file.write(entry(5))

    far = 10**9 * 4_000_000_000
    following = read_log(str(tmp_path / "log"), lambda: True, follow=True, until=far, sleep=sleep)
    assert [next(following).log for _ in range(3)] == ["1\n", "2\n", "5\n"]
    assert [record.log for record in read_log(str(tmp_path / "log"), lambda: True, follow=True, until=2 * 10**9)] == [
        "1\n",
        "2\n",
    ]
