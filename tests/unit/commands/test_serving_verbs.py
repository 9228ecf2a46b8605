"""Verbs of registries of our own."""

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Served, Text
from contextkernel.commands.tables import text_of
from contextkernel.errors import NotFound, UsageProblem
from contextkernel.notebook.display import frame_text
from contextkernel.notebook.frames import to_frame


@pytest.fixture
def do(engine, face):
    def run(line):
        return execute(engine, line.split(), face)

    return run


def asked(engine, method):
    return [arguments for name, arguments in engine.calls if name == method]


def test_start(do, engine, face):
    assert do("registry start").value == Served("127.0.0.1:5000\n", address="127.0.0.1:5000")
    assert do("registry start --images --name show -p 0").value.text == "127.0.0.1:5000\n"
    assert face.err == ""
    assert asked(engine, "start_registry") == [
        {"name": "registry"},
        {"name": "show", "images": True, "port": 0},
    ]


@pytest.mark.parametrize("stdin", [b"a lesson\n", "descriptor"])
def test_a_password_comes_by_standard_input(do, engine, face, stdin):
    import os

    if stdin == "descriptor":
        face.stdin, writer = os.pipe()
        os.write(writer, b"a lesson\n")
        os.close(writer)
    else:
        face.stdin = stdin
    do("registry start --user student --password-stdin")
    if stdin == "descriptor":
        os.close(face.stdin)
    assert asked(engine, "start_registry") == [{"name": "registry", "user": "student", "password": "a lesson"}]
    assert "lesson" not in face.err


def test_a_password_is_not_a_word_of_the_command(do, face):
    with pytest.raises(UsageProblem, match="--user needs --password-stdin"):
        do("registry start --user student")
    face.stdin = None
    with pytest.raises(UsageProblem, match="no standard input"):
        do("registry start --user student --password-stdin")


def test_lists(do):
    assert text_of(do("registry ls").value).splitlines() == [
        "NAME       ADDRESS          STATUS    CONTENT               TAGS      SIZE      ANSWERS",
        (
            "registry   127.0.0.1:5000   running   pushed                2         7.3MB     "
            "programs of this user and root"
        ),
        (
            "show       127.0.0.1:5001   stopped   images of the store   0         0B        "
            "whoever has the password of student"
        ),
    ]
    assert do("registry ls -q").value == Text("registry\nshow\n")
    assert do("registry list --format {{.Address}}").value == Text("127.0.0.1:5000\n127.0.0.1:5001\n")
    lines = text_of(do("registry images").value).splitlines()
    assert lines[0].split() == ["REPOSITORY", "TAG", "DIGEST", "KIND", "PUSHED", "SIZE"]
    assert lines[1].split()[:4] == ["greet", "latest", "sha256:abababababab", "image"]
    assert "cd" * 32 in text_of(do("registry images registry --no-trunc").value)


def test_stop_and_remove(do, engine):
    assert do("registry stop").value == Text("registry\n")
    outcome = do("registry rm -f show nothing")
    assert (outcome.value, outcome.exit_code) == (Text("show\n"), 1)
    assert isinstance(outcome.problems[0], NotFound)
    assert asked(engine, "remove_registry")[0] == {"name": "show", "force": True}


def test_frames(do):
    registries = to_frame(do("registry ls").value)
    assert list(registries["running"]) == [True, False]
    images = to_frame(do("registry images").value)
    assert list(images["kind"]) == ["image", "index"]
    assert images["pushed"].notna().all()
    assert "ago" in frame_text(images), "times are humanised"
