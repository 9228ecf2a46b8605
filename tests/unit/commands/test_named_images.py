"""Which images the files of a course name."""

import json

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.named_images import images_named
from contextkernel.commands.outcome import Table, Text
from contextkernel.errors import DockerfileError, InvalidInput, UsageProblem


@pytest.fixture
def notebook(tmp_path):
    def write(*cells, name="course.ipynb"):
        path = tmp_path / name
        made = [{"cell_type": "code", "metadata": {}, "outputs": [], "source": cell} for cell in cells]
        made.insert(0, {"cell_type": "markdown", "metadata": {}, "source": "run `%container pull told-only:1`"})
        path.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
        return str(path)

    return write


def named(*paths):
    return [one.ref.familiar for one in images_named(paths)]


@pytest.mark.parametrize(
    ("cell", "names"),
    [
        ("%container base ensure ubuntu:20.04 alpine:3.15.0", ["alpine:3.15.0", "ubuntu:20.04"]),
        ("rows = %container run --rm -e A=1 -v /a:/b busybox sh -c 'run other'", ["busybox:latest"]),
        ("%docker pull ghcr.io/a/b:v1\nprint(1)\n!docker create --name x debian", ["debian:latest", "ghcr.io/a/b:v1"]),
        ("%%container run -i python:3.12 python\nprint('run no')", ["python:3.12"]),
        ("%container run \\\n  --rm \\\n  busybox:1 true", ["busybox:1"]),
        (["%container run --rm $image\n", "%container run {image}\n", "%container images"], []),
        ("%container run --help", []),
        ("%container nonsense busybox\n%container run --no-such busybox", []),
        ("print('%container run busybox')", []),
        ("%container run 'open", []),
        ("%container run UPPER", []),
        ("%%dockerfile -t mine\nFROM ubuntu:20.04\nRUN true", ["ubuntu:20.04"]),
        ("%%dockerfile --build-arg V=22.04\nARG V=20.04\nFROM ubuntu:$V", ["ubuntu:22.04"]),
        ("%%dockerfile\nFROM gcc:12 AS build\nFROM scratch\nCOPY --from=build /a /a", ["gcc:12"]),
        ("%%dockerfile\nFROM a\nCOPY --from=busybox:1 /b /b\nRUN --mount=from=alpine:3,target=/x ls", None),
        ("%%dockerfile\nFORM broken", []),
        ("%%dockerfile --build-context x=dir --build-context y=docker-image://b:2\nFROM y\nCOPY --from=x . .", ["b:2"]),
        ("%%writefile demo/Dockerfile\nFROM debian:12\n", ["debian:12"]),
        ("%%writefile notes.txt\nFROM debian:12\n", []),
    ],
    ids=str,
)
def test_a_cell(notebook, cell, names):
    assert named(notebook(cell)) == (["a:latest", "alpine:3", "busybox:1"] if names is None else names)


def test_what_is_made_here_is_not_needed(notebook):
    path = notebook(
        "%%dockerfile -t base -t app:v1\nFROM ubuntu:20.04",
        "%%dockerfile -t next\nFROM base",
        "%container run --rm app:v1\n%container run next",
        "%container tag next other:v1\n%container run other:v1",
        "%container commit box kept\n%container run kept\n%container import root.tar got\n%container run got",
        "%container build -t built .\n%container run built",
    )
    assert named(path) == ["ubuntu:20.04"]


def test_places_say_where(notebook, tmp_path):
    one = notebook("x = 1", "%container pull a", "%container run a", name="01.ipynb")
    (tmp_path / "Dockerfile").write_text("# comment\nFROM a\n")
    (found,) = images_named([one, str(tmp_path / "Dockerfile")])
    assert found.places == ("01.ipynb, cell 3", "01.ipynb, cell 4", f"{tmp_path}/Dockerfile:2")


def test_directories_are_searched(notebook, tmp_path):
    notebook("%container pull a", name="01.ipynb")
    for place in ("demo/Dockerfile", "demo/app.Dockerfile", "demo/Dockerfile.dev", ".ipynb_checkpoints/Dockerfile"):
        path = tmp_path / place
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"FROM {place.split('/')[1].lower().replace('.', '-')}-base\n")
    (tmp_path / "demo/Dockerfile.dockerignore").write_text("*\n")
    (tmp_path / "demo/readme.md").write_text("FROM no\n")
    assert named(str(tmp_path)) == [
        "a:latest",
        "app-dockerfile-base:latest",
        "dockerfile-base:latest",
        "dockerfile-dev-base:latest",
    ]


def test_files_that_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match="no such file"):
        images_named([str(tmp_path / "none.ipynb")])
    path = tmp_path / "bad.ipynb"
    for content in (b"{", b"[]", b"\xff", b'{"cells": 1}', b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match="is not a notebook"):
            images_named([str(path)])
    other = tmp_path / "Dockerfile"
    other.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InvalidInput, match="neither a notebook nor a Dockerfile"):
        images_named([str(other)])
    other.write_text("FORM broken\n")
    with pytest.raises(DockerfileError):
        images_named([str(other)])


def test_the_command(engine, face, notebook):
    def do(words):
        return execute(engine, words, face)

    path = notebook("%container pull b", "%container pull a:1")
    done = do(["pack", path, "--image", "extra", "-o", "out.tar", "--platform", "linux/arm64", "--compression", "zstd"])
    assert isinstance(done.value, Table)
    assert [row.image for row in done.value.rows] == ["a:1", "b:latest", "extra:latest"]
    assert engine.calls == [
        (
            "pack",
            {
                "names": ("a:1", "b:latest", "extra:latest"),
                "output": "out.tar",
                "platform": ("linux/arm64",),
                "compression": "zstd",
            },
        )
    ]
    listed = do(["pack", "--dry-run", path]).value
    assert listed == Text("a:1\tcourse.ipynb, cell 3\nb:latest\tcourse.ipynb, cell 2\n")
    with pytest.raises(UsageProblem, match="no image to pack"):
        do(["pack"])
    with pytest.raises(UsageProblem, match="a directory or a file"):
        do(["pack", "-o", "-", path])
