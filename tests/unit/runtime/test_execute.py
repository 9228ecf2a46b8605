from __future__ import annotations

import pytest

from contextkernel.runtime.execute import ExecProblem, find_program


@pytest.fixture
def tree(tmp_path):
    for name in ("a", "b", "b/tool"):
        (tmp_path / name).mkdir()
    for name, mode in (("a/plain", 0o644), ("b/plain", 0o755), ("b/run", 0o755)):
        (tmp_path / name).write_text("")
        (tmp_path / name).chmod(mode)
    return tmp_path


def test_first_executable_in_path(tree):
    search = f"{tree}/missing:{tree}/a:{tree}/b"
    assert find_program("run", search) == f"{tree}/b/run"
    assert find_program("plain", search) == f"{tree}/b/plain"


def test_a_path_is_taken_as_it_is(tree, monkeypatch):
    assert find_program(f"{tree}/b/run", "") == f"{tree}/b/run"
    monkeypatch.chdir(tree)
    assert find_program("b/run", "/bin") == "b/run"
    assert find_program("./b/../b/run", "/bin") == "./b/../b/run"


def test_empty_directory_in_path_is_the_working_directory(tree, monkeypatch):
    monkeypatch.chdir(tree / "b")
    assert find_program("run", "/missing::/other") == "./run"


@pytest.mark.parametrize(
    ("name", "kind", "text"),
    [
        ("nothing", "not_found", 'exec: "nothing": executable file not found in $PATH'),
        ("tool", "not_found", 'exec: "tool": executable file not found in $PATH'),
        ("", "not_found", 'exec: "": executable file not found in $PATH'),
        ("{tree}/x", "not_found", 'exec: "{tree}/x": stat {tree}/x: no such file or directory'),
        ("{tree}/b/run/x", "not_found", 'exec: "{tree}/b/run/x": stat {tree}/b/run/x: not a directory'),
        ("{tree}/a/plain", "not_executable", 'exec: "{tree}/a/plain": permission denied'),
        ("{tree}/a", "not_executable", 'exec: "{tree}/a": is a directory'),
    ],
)
def test_dockers_words(tree, name, kind, text):
    with pytest.raises(ExecProblem) as caught:
        find_program(name.format(tree=tree), f"{tree}/b")
    assert (caught.value.kind, caught.value.text) == (kind, text.format(tree=tree))
