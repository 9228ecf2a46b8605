"""Which file of the host a path means to a traced program, and whether it is a program."""

from __future__ import annotations

import os
import shutil

import pytest

from contextkernel.runtime.execute import ExecProblem
from contextkernel.runtime.traced_paths import View
from contextkernel.runtime.traced_program import find_program


@pytest.fixture
def view(tmp_path):
    root, data = tmp_path / "root", tmp_path / "data"
    (root / "usr/bin").mkdir(parents=True)
    (root / "bin").symlink_to("usr/bin")
    (root / "var").mkdir()
    (root / "var/run").symlink_to("/run")
    (root / "run").mkdir()
    (root / "out").symlink_to("../../../../etc")
    (root / "etc").mkdir()
    (root / "loop").symlink_to("loop")
    (root / "mnt").mkdir()
    data.mkdir()
    (data / "back").symlink_to("/usr/bin")
    made = View(str(root))
    made.show("/mnt", str(data))
    return made


@pytest.mark.parametrize(
    ("path", "guest", "host", "missing"),
    [
        ("/", "/", "root", 0),
        ("/bin", "/usr/bin", "root/usr/bin", 0),
        ("/bin/../bin", "/usr/bin", "root/usr/bin", 0),
        ("/var/run/x/y", "/run/x/y", "root/run/x/y", 2),
        ("/out", "/etc", "root/etc", 0),
        ("/../../etc", "/etc", "root/etc", 0),
        ("/mnt", "/mnt", "data", 0),
        ("/mnt/new", "/mnt/new", "data/new", 1),
        ("/mnt/back", "/usr/bin", "root/usr/bin", 0),
        ("/none/../etc", "/etc", "root/etc", 0),
    ],
)
def test_a_path_is_followed_inside(view, tmp_path, path, guest, host, missing):
    assert view.find(path) == (guest, str(tmp_path / host), missing)


def test_a_path_that_is_not_absolute_starts_in_the_directory(view):
    assert view.find("../etc", directory="/bin").guest == "/usr/etc"


def test_loops_end(view):
    with pytest.raises(OSError, match="symbolic links"):
        view.find("/loop")


def test_only_plain_files_are_read(view, tmp_path):
    (tmp_path / "root/etc/passwd").write_text("root")
    os.mkfifo(tmp_path / "root/etc/group")
    assert view.read("/etc/passwd") == "root"
    assert view.read("/etc/group") == ""
    assert view.read("/etc/shadow") == ""


def problem_of(view: View, name: str, **environment: str) -> ExecProblem:
    with pytest.raises(ExecProblem) as caught:
        find_program(view, name, environment, "/")
    return caught.value


def program(path, content: bytes) -> None:
    path.write_bytes(content)
    path.chmod(0o755)


def test_a_program_is_found_in_the_path(view, tmp_path):
    shutil.copy("/bin/true", tmp_path / "data/tool")
    program(tmp_path / "root/usr/bin/script", b"#!/mnt/back/sh -e\n")
    shutil.copy("/bin/true", tmp_path / "root/usr/bin/sh")
    # the interpreter of the copies, which are not static everywhere
    for name in ("lib", "lib64"):
        (tmp_path / "root" / name).mkdir()
        view.show(f"/{name}", f"/{name}")
    assert find_program(view, "tool", {"PATH": "/bin:/mnt"}, "/") == "/mnt/tool"
    assert find_program(view, "script", {"PATH": "/bin"}, "/") == "/bin/script"
    assert find_program(view, "./script", {}, "/usr/bin") == "/usr/bin/./script"


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("none", "not_found", 'exec: "none": executable file not found in $PATH'),
        ("/none", "not_found", 'exec: "/none": stat /none: no such file or directory'),
        ("/etc", "not_executable", 'exec: "/etc": is a directory'),
        ("/bin/plain", "not_executable", 'exec: "/bin/plain": permission denied'),
        ("/bin/text", "not_executable", "exec /bin/text: exec format error"),
        ("/bin/orphan", "not_found", "exec /bin/orphan: no such file or directory"),
        ("/bin/foreign", "not_executable", "exec /bin/foreign: exec format error"),
    ],
)
def test_what_is_wrong_with_a_program_is_said_as_docker_does(view, tmp_path, name, kind, text):
    bin_ = tmp_path / "root/usr/bin"
    (bin_ / "plain").write_text("")
    program(bin_ / "text", b"echo no interpreter\n")
    program(bin_ / "orphan", b"#!/opt/none\n")
    program(bin_ / "foreign", b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\x00\x08\x00" + bytes(200))  # MIPS
    problem = problem_of(view, name, PATH="/bin")
    assert (problem.kind, problem.text) == (kind, text)
