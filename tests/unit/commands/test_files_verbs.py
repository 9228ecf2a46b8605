"""Verbs of files: cp, diff, export, commit."""

import os

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Nothing, Text
from contextkernel.commands.tables import text_of
from contextkernel.errors import InvalidInput, UsageProblem
from contextkernel.notebook.frames import to_frame


@pytest.fixture
def do(engine, face):
    def run(line, **options):
        return execute(engine, line.split() if isinstance(line, str) else line, options.pop("face", face), **options)

    return run


def asked(engine, method):
    return [arguments for name, arguments in engine.calls if name == method]


def test_cp(do, engine, make_face):
    assert do("cp -aL box:/a b").value == Nothing()
    do("container cp -q a box:/b")
    assert asked(engine, "copy") == [
        {"source": "box:/a", "destination": "b", "archive": True, "follow_link": True},
        {"source": "a", "destination": "box:/b"},
    ]
    do("cp - box:/x", face=make_face(stdin=b"the cell"))
    assert asked(engine, "copy")[-1]["stdin"] == b"the cell"
    do("cp box:/x -", face=make_face(descriptors=(7, 8)))
    assert asked(engine, "copy")[-1]["stdout"] == 7
    for words in (["cp", "", "a:b"], ["cp", "a:b", ""]):
        with pytest.raises(UsageProblem, match="can not be empty"):
            do(words)


def test_diff(do):
    value = do("diff box").value
    assert text_of(value) == "C /etc\nA /etc/new\nD /old\n"
    frame = to_frame(value)
    assert list(frame["change"]) == ["C", "A", "D"]
    assert list(frame["path"]) == ["/etc", "/etc/new", "/old"]


def test_export(do, engine, make_face, tmp_path):
    do(["export", "-o", str(tmp_path / "x.tar"), "box"])
    reader, end = os.pipe()
    do("export box", face=make_face(descriptors=(end, 2)))
    os.close(end)
    with os.fdopen(reader, "rb") as stream:
        assert stream.read() == engine.archive
    with pytest.raises(InvalidInput, match=r"invalid output path: stat .*/no: no such file or directory"):
        do(["export", "-o", str(tmp_path / "no" / "x.tar"), "box"])
    with pytest.raises(InvalidInput, match="no standard output"):
        do("export box")


def test_commit(do, engine):
    done = do(["commit", "-a", "Me", "-m", "why", "-c", "ENV A=1", "--change", "USER x", "box", "name:tag"])
    assert done.value == Text("sha256:" + "c0" * 32 + "\n")
    do("commit --no-pause box")
    do("commit -p=false box")
    assert asked(engine, "commit") == [
        {
            "container": "box",
            "repository": "name:tag",
            "message": "why",
            "author": "Me",
            "changes": ("ENV A=1", "USER x"),
            "pause": True,
        },
        {"container": "box"},
        {"container": "box"},
    ]
