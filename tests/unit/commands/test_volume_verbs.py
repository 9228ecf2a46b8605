"""Verbs of volumes: docker's words, columns and lines."""

import json

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Document, Nothing, Text
from contextkernel.commands.tables import text_of
from contextkernel.errors import UsageProblem
from contextkernel.notebook.frames import to_frame

ANONYMOUS = "9a5b62f31fcceceb97e4bec955c837706ffc07a808c8698779540f4d85fc8601"


@pytest.fixture
def do(engine, face):
    def run(line, **options):
        return execute(engine, line.split() if isinstance(line, str) else line, options.pop("face", face), **options)

    return run


def asked(engine, method):
    return [arguments for name, arguments in engine.calls if name == method]


def test_create(do, engine):
    assert do("volume create data -o type=tmpfs -o device=tmpfs -o o=size=1m --label a=b --label c").value == Text(
        "data\n"
    )
    assert do("volume create").value == Text(f"{ANONYMOUS}\n")
    assert do("volume create --name x1").value == Text("x1\n")
    assert asked(engine, "create_volume") == [
        {
            "name": "data",
            "driver": "local",
            "driver_opts": {"type": "tmpfs", "device": "tmpfs", "o": "size=1m"},
            "labels": {"a": "b", "c": ""},
        },
        {"driver": "local"},
        {"name": "x1", "driver": "local"},
    ]
    with pytest.raises(UsageProblem, match="conflicting options"):
        do("volume create --name a b")
    with pytest.raises(UsageProblem):
        do("volume create a b")


def test_list_is_docker_s(do):
    assert text_of(do("volume ls").value) == f"DRIVER    VOLUME NAME\nlocal     {ANONYMOUS}\nlocal     data\n"
    assert do("volume list -q").value == Text(f"{ANONYMOUS}\ndata\n")
    line = do(["volume", "ls", "--format", "json"]).value.text.splitlines()[1]
    assert line == (
        '{"Availability":"N/A","Driver":"local","Group":"N/A","Labels":"keep=,tier=back","Links":"N/A",'
        '"Mountpoint":"/var/lib/contextkernel/volumes/data/_data","Name":"data","Scope":"local","Size":"N/A",'
        '"Status":"N/A"}'
    )
    table = do(["volume", "ls", "--format", 'table {{.Name}}\t{{.Label "tier"}}']).value.text
    assert table.splitlines()[0].split() == ["VOLUME", "NAME", "tier"]


def test_list_filters(do, engine):
    do("volume ls -f dangling=true -f label=a=b -f name=x -f driver=local")
    assert asked(engine, "volumes")[0]["filters"] == {
        "dangling": ("true",),
        "label": ("a=b",),
        "name": ("x",),
        "driver": ("local",),
    }
    with pytest.raises(UsageProblem, match="invalid filter 'color'") as caught:
        do("volume ls -f color=red")
    assert caught.value.exit_code == 1


def test_a_frame(do):
    frame = to_frame(do("volume ls").value)
    assert list(frame["volume_name"]) == [ANONYMOUS, "data"]
    assert list(frame["containers"]) == [0, 1]
    assert list(frame["anonymous"]) == [True, False]


def test_inspect(do):
    outcome = do("volume inspect data nope")
    assert outcome.exit_code == 1
    assert str(outcome.problems[0].problem) == "get nope: no such volume"
    assert isinstance(outcome.value, Document)
    assert outcome.value.documents == (
        {
            "CreatedAt": "2026-11-25T12:00:01Z",
            "Driver": "local",
            "Labels": {"keep": "", "tier": "back"},
            "Mountpoint": "/var/lib/contextkernel/volumes/data/_data",
            "Name": "data",
            "Options": None,
            "Scope": "local",
        },
    )
    assert do(["volume", "inspect", "-f", "{{json .Labels}}", "data"]).value == Text(
        json.dumps({"keep": "", "tier": "back"}, separators=(",", ":")) + "\n"
    )


def test_remove(do, engine):
    outcome = do("volume rm data nope")
    assert (outcome.value, outcome.exit_code) == (Text("data\n"), 1)
    assert do("volume rm -f nope").value == Text("nope\n")
    assert asked(engine, "remove_volume")[-1] == {"name": "nope", "force": True}


def test_prune(do, engine, make_face):
    assert do("volume prune -f").value == Text(f"Deleted Volumes:\n{ANONYMOUS}\n\nTotal reclaimed space: 4.096kB\n")
    do(["volume", "prune", "-a", "-f", "--filter", "label!=keep"])
    assert asked(engine, "prune_volumes")[1] == {"all": True, "filters": {"label!": ("keep",)}}
    no = make_face(answer=False)
    assert do("volume prune", face=no).value == Nothing()
    assert no.questions[0].startswith("WARNING! This will remove anonymous local volumes not used by at least one")
    with pytest.raises(UsageProblem, match="invalid filter"):
        do("volume prune -f --filter foo=bar")
