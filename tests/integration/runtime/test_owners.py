"""With one id: what chown and mknod say inside is noted outside, with the errors that the kernel would give.

The notes are read as a commit reads them. All of it needs ``fake_ids``, not a user without privileges.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from contextkernel.model.container import ExecRequest
from contextkernel.model.recorded import DEVICE
from contextkernel.store.worker_records import Records


class Notes:
    """Runs scripts in one container after the other, and reads what was noted of their files."""

    def __init__(self, box) -> None:
        self._box = box
        self.upper = Path()

    def __call__(self, script: str, **changes: object) -> str:
        request = self._box.request("sh", "-c", script, fake_ids=True, **changes)
        self.upper = Path(request.upper)
        done = self._box.execute(request)
        assert done.code == 0, done
        return done.out + done.err

    def of(self, path: str):
        records = Records(str(self.upper.parent))
        place = self.upper / path
        here = os.open(place.parent, os.O_PATH)
        try:
            return records.of(here, place.name, place.lstat(), path)
        finally:
            os.close(here)

    def owner(self, path: str) -> tuple[int | None, int | None]:
        marks = self.of(path)
        assert marks.fresh
        return tuple(marks.owner)


@pytest.fixture
def notes(box) -> Notes:
    return Notes(box)


def test_owners_are_noted(notes):
    notes(
        "mkdir /d; touch /d/f; chown -R 33:34 /d; ln /d/f /d/hard; mv /d/hard /moved; chown 5 /etc/passwd;"
        "ln -s f /d/l; chown -h 6:7 /d/l; mv /d/l /l; chown -h 8:9 /bin/cat; touch /g; chown 12:13 /g; chown 0:0 /g"
    )
    assert notes.owner("d") == notes.owner("d/f") == notes.owner("moved") == (33, 34)
    assert notes.owner("l") == (6, 7)
    assert notes.owner("bin/cat") == (8, 9)  # a link of the layer below
    assert notes.owner("g") == (0, 0)
    assert notes.owner("etc/passwd")[0] == 5
    assert not notes.of("etc/passwd").new
    assert notes.of("g").new


def test_device_nodes_are_noted(notes):
    notes("umask 027; mknod /n c 1 3; mknod /b b 8 300; mkfifo /p 2>/dev/null || mknod /p p; chown 3:4 /n /p")
    assert notes.of("n").device == ("char", 1, 3)
    assert notes.of("b").device == ("block", 8, 300)
    assert stat.S_IMODE((notes.upper / "n").stat().st_mode) == 0o640
    assert notes.owner("n") == notes.owner("p") == (3, 4)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("chown 1 /nothing", "No such file or directory"),
        ("chown 1 /etc/passwd/x", "Not a directory"),
        ("ln -s loop /loop; chown 1 /loop", "Too many symbolic links|Too many levels"),
        ("mknod /bin c 1 3", "File exists"),
        ("mknod /nothing/n c 1 3", "No such file or directory"),
        ("mknod /white c 0 0", "Operation not permitted"),
    ],
)
def test_errors_are_the_kernels(notes, script, said):
    out = notes(f"{script} && exit 9; true")
    assert any(one in out for one in said.split("|")), out


def test_a_read_only_container_refuses(notes):
    assert "Read-only" in notes("chown 1 /etc/passwd && exit 9; true", read_only=True)
    assert "Read-only" in notes("mknod /n c 1 3 && exit 9; true", read_only=True)


def test_set_user_id_bits_go_as_the_kernel_takes_them(notes):
    notes("touch /f /g; mkdir /d; chmod 6755 /f; chmod 2744 /g; chmod 6755 /d; chown 1:1 /f /g /d")
    modes = [stat.S_IMODE((notes.upper / name).stat().st_mode) for name in ("f", "g", "d")]
    assert modes == [0o755, 0o2744, 0o6755]


def test_files_of_the_host_that_are_seen_inside_keep_nothing(notes, tmp_path):
    from contextkernel.model.container import Bind

    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs/f").touch()
    notes(
        "chown 5:6 /v/f /v; ln -s /v/f /l; chown 7:8 /l; mknod /v/n c 1 3",
        binds=(Bind(str(tmp_path / "theirs"), "/v"),),
    )
    for path in (tmp_path / "theirs", tmp_path / "theirs/f"):
        assert not [name for name in os.listxattr(path) if "contextkernel" in name]
    assert os.listdir(tmp_path / "theirs") == ["f"]


def test_programs_of_exec_are_answered_too(box):
    request = box.request("sleep", "100", state=True, fake_ids=True)
    process = box.runtime.launch(request)
    try:
        other = box.runtime.connect(request.state_dir)
        assert other is not None
        argv = ("sh", "-c", "touch /f && chown 5:6 /f && mknod /n c 1 3")
        other.execute(ExecRequest(argv=argv, env=("PATH=/bin",)))
        assert other.wait() == 0
        other.close()
        upper = Path(request.upper)
        found = {path: tuple(owner) for path, owner in Records(str(upper.parent)).all(str(upper)) if any(owner)}
        assert found == {"f": (5, 6)}
        assert os.getxattr(upper / "n", DEVICE) == b"c 1:3"
    finally:
        process.signal(9)
        process.wait()
        process.close()


def test_streams_by_their_names(notes):
    notes("chown 33 /dev/stdout /proc/self/fd/1 /proc/1/fd/1; echo x > /f; chown 3:4 /proc/self/fd/9 9</f")
    assert notes.owner("f") == (3, 4)
