"""``run --plan`` and ``create --plan``: what would be done, and nothing else."""

from __future__ import annotations

import json

import msgspec
import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Text
from contextkernel.commands.plan_text import as_json, as_table
from contextkernel.testing.fake_planning import planned


@pytest.mark.parametrize("verb", ["run", "create"])
def test_nothing_is_started(engine, face, verb):
    outcome = execute(engine, [verb, "--plan", "debian", "ls", "-l"], face)
    assert outcome.exit_code == 0
    assert outcome.value == Text(as_table(planned(("ls", "-l"))))
    assert engine.calls == [("plan", {"image": "debian", "command": ("ls", "-l")})]


def test_json(engine, face):
    outcome = execute(engine, ["run", "--plan", "--plan-format", "json", "debian", "ls"], face)
    assert isinstance(outcome.value, Text)
    assert outcome.value.text == as_json(planned(("ls",)))
    found = json.loads(outcome.value.text)
    assert found["config"]["process"]["args"] == ["ls"]
    assert found["operations"][1] == {"operation": "MountProc", "target": "/proc", "read_only": False}


def test_table():
    assert as_table(planned(("ls", "-l"))).splitlines() == [
        "STEP  OPERATION    DETAILS",
        "   1  MakePrivate",
        "   2  MountProc    target=/proc",
        '   3  Exec         argv=ls,-l env="A=1\\n2"',
        "",
        "PROCESS",
        "  arguments         ls,-l",
        "  user              uid=0 gid=0",
        "  namespaces        pid,ipc (/proc/7/ns/ipc)",
        "  capabilities      CAP_CHOWN",
        "  effective         CAP_CHOWN",
        "  system calls      all",
        "  no new privileges false",
        "  annotations       a=b",
        "  root              an overlay of the layers",
    ]


def test_a_root_that_is_copied_is_said():
    copied = msgspec.structs.replace(planned(("ls",)), backing="copy")
    assert as_table(copied).splitlines()[-1] == "  root              a copy of the layers"
    assert json.loads(as_json(copied))["backing"] == "copy"


def test_what_stands_in_for_what_is_said():
    apart = msgspec.structs.replace(
        planned(("ls",)), isolation={"Pid": "host", "Landlock": ""}, fallbacks=("no pid namespace (why)",)
    )
    assert as_table(apart).splitlines()[-7:] == [
        "",
        "ISOLATION",
        "  Pid               host",
        "  Landlock          -",
        "",
        "FALLBACKS",
        "  no pid namespace (why)",
    ]
    made = json.loads(as_json(apart))
    assert (made["isolation"]["Pid"], made["fallbacks"]) == ("host", ["no pid namespace (why)"])
