"""What ``ps`` lists: rows out of documents, docker's texts for ports, docker's filters."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from contextkernel.commands.container_fields import container_fields, status_text
from contextkernel.commands.outcome import TableOptions
from contextkernel.errors import InvalidInput
from contextkernel.model.container import ContainerSpec, RunState
from contextkernel.model.digest import Digest
from contextkernel.model.life import Health
from contextkernel.model.results import ContainerRow, MountRow, PortRow
from contextkernel.runtime.container_filters import check, chosen
from contextkernel.runtime.container_rows import container_row, port_rows, ports_text

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVERYWHERE = "0.0.0.0"  # noqa: S104 - an address to show


def row(name: str = "web", **changes: Any) -> ContainerRow:
    given: dict[str, Any] = {
        "id": name.encode().hex().ljust(64, "0"),
        "image": "busybox",
        "command": "sleep 9",
        "created": NOW - timedelta(hours=3),
        "state": "running",
        "exit_code": 0,
        "started": NOW - timedelta(minutes=5),
        "finished": None,
        "ports": "",
        "name": name,
        **changes,
    }
    return ContainerRow(**given)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({}, "Up 5 minutes"),
        ({"health": "starting"}, "Up 5 minutes (health: starting)"),
        ({"health": "healthy"}, "Up 5 minutes (healthy)"),
        ({"health": "unhealthy"}, "Up 5 minutes (unhealthy)"),
        ({"isolation": "none"}, "Up 5 minutes (no isolation)"),
        ({"isolation": "none", "health": "healthy"}, "Up 5 minutes (healthy, no isolation)"),
        ({"state": "paused", "health": "healthy"}, "Up 5 minutes (Paused)"),
        (
            {"state": "restarting", "exit_code": 1, "finished": NOW - timedelta(seconds=3)},
            "Restarting (1) 3 seconds ago",
        ),
        ({"state": "exited", "exit_code": 137, "finished": NOW - timedelta(hours=1)}, "Exited (137) About an hour ago"),
        ({"state": "created", "started": None}, "Created"),
        ({"state": "dead"}, "Dead"),
    ],
)
def test_status_words_are_docker_s(changes: dict[str, Any], text: str) -> None:
    assert status_text(row(**changes), NOW) == text


def test_columns_have_docker_s_content() -> None:
    full = row(
        size=2,
        virtual_size=21_500_000,
        labels={"b": "2", "a": "1"},
        network="bridge,back",
        mounts=(
            MountRow(name="a-very-long-volume-name", source="/v", target="/data", driver="local"),
            MountRow(source="/tmp", target="/x"),
        ),
    )
    fields = container_fields(full, TableOptions(), NOW)
    assert fields["Size"] == "2B (virtual 21.5MB)"
    assert (fields["Mounts"], fields["LocalVolumes"]) == ("a-very-long-vo…,/tmp", "1")
    assert (fields["Labels"], fields["Networks"], fields["Label"]("a")) == ("a=1,b=2", "bridge,back", "1")
    assert container_fields(full, TableOptions(no_trunc=True), NOW)["Mounts"] == "a-very-long-volume-name,/tmp"


PORTS = {
    "80/tcp": [{"HostIp": EVERYWHERE, "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],
    "9/udp": [{"HostIp": "127.0.0.1", "HostPort": "9"}],
    "443/tcp": None,
    "444/tcp": None,
}


def test_ports_are_docker_s_text_in_docker_s_order() -> None:
    rows = port_rows(PORTS)
    assert rows[0] == PortRow(private=9, type="udp", address="127.0.0.1", public=9)
    assert ports_text(rows) == "127.0.0.1:9->9/udp, 443-444/tcp, 0.0.0.0:8080->80/tcp, [::]:8080->80/tcp"


@pytest.mark.parametrize(
    ("ports", "text"),
    [
        ({}, ""),
        ({f"{number}/tcp": None for number in (1, 2, 3, 7, 9, 10)}, "1-3/tcp, 7/tcp, 9-10/tcp"),
        (
            {f"{number}/tcp": [{"HostIp": EVERYWHERE, "HostPort": str(number)}] for number in (80, 81)},
            "0.0.0.0:80-81->80-81/tcp",
        ),
        ({"53/udp": None, "53/tcp": None}, "53/tcp, 53/udp"),
        ({"1/tcp": [{"HostIp": "::1", "HostPort": "1"}]}, "[::1]:1->1/tcp"),
    ],
)
def test_ports_that_follow_each_other_are_put_together(ports: dict[str, Any], text: str) -> None:
    assert ports_text(port_rows(ports)) == text


def test_a_row_is_made_from_the_document() -> None:
    spec = ContainerSpec(
        id="ab" * 32, name="web", image="busybox", image_id=Digest.of(b""), argv=("sh", "-c", "echo hi"), created=0
    )
    document = {
        "NetworkSettings": {"Ports": PORTS, "Networks": {"bridge": {"NetworkID": "f00"}, "back": None}},
        "Mounts": [{"Type": "volume", "Name": "data", "Source": "/s", "Destination": "/data", "Driver": "local"}],
    }
    state = RunState(status="running", started=10**9, health=Health(status="healthy"))
    made = container_row(spec, state, document, image="busybox", size=1, virtual_size=2)
    assert (made.command, made.health, made.network) == ("sh -c 'echo hi'", "healthy", "bridge,back")
    assert made.networks == {"bridge": "f00", "back": ""}
    assert made.mounts == (MountRow(name="data", source="/s", target="/data", driver="local"),)
    assert len(made.port_list) == 5
    ended = container_row(spec, RunState(status="exited"), document, image="busybox")
    assert (ended.ports, ended.port_list, ended.started) == ("", (), None)


FIRST = row("first", state="exited", exit_code=3, finished=NOW, labels={"tier": "back"}, image_id="sha256:1")
WEB = row(
    "web",
    labels={"tier": "front", "x": ""},
    networks={"bridge": "f00d"},
    health="healthy",
    mounts=(MountRow(name="data", source="/s", target="/data"), MountRow(source="/src", target="/x")),
    port_list=tuple(port_rows(PORTS)),
    image_id="sha256:2",
)
NEW = row("new", state="created", started=None)
ROWS = (NEW, WEB, FIRST)


@pytest.mark.parametrize(
    ("filters", "names"),
    [
        ({}, ["new", "web", "first"]),
        ({"name": ("e",)}, ["new", "web"]),
        ({"name": ("^/?web$",)}, ["web"]),
        ({"name": ("/web",)}, ["web"]),
        ({"name": ("(",)}, []),
        ({"id": (WEB.id[:4],)}, ["web"]),
        ({"status": ("exited", "created")}, ["new", "first"]),
        ({"exited": ("3",)}, ["first"]),
        ({"exited": ("0",)}, []),
        ({"label": ("tier",)}, ["web", "first"]),
        ({"label": ("tier=front", "x")}, ["web"]),
        ({"label": ("tier=front", "y")}, []),
        ({"health": ("none",)}, ["new", "first"]),
        ({"health": ("healthy",)}, ["web"]),
        ({"network": ("bridge",)}, ["web"]),
        ({"network": ("f0",)}, ["web"]),
        ({"volume": ("data",)}, ["web"]),
        ({"volume": ("/x",)}, ["web"]),
        ({"volume": ("/s",)}, []),
        ({"volume": ("/src",)}, ["web"]),
        ({"publish": ("8080",)}, ["web"]),
        ({"publish": ("80",)}, []),
        ({"publish": ("8000-9000/tcp",)}, ["web"]),
        ({"publish": ("8080/udp",)}, []),
        ({"expose": ("443",)}, ["web"]),
        ({"expose": ("8080",)}, []),
        ({"is-task": ("false",)}, ["new", "web", "first"]),
        ({"is-task": ("true",)}, []),
        ({"status": ("running",), "label": ("tier=back",)}, []),
    ],
)
def test_filters_are_docker_s(filters: dict[str, tuple[str, ...]], names: list[str]) -> None:
    check(filters)
    assert [found.name for found in chosen(ROWS, filters)] == names


def test_filters_by_age_and_image() -> None:
    assert [found.name for found in chosen(ROWS, {"before": ("web",)}, before=WEB.id)] == ["first"]
    assert [found.name for found in chosen(ROWS, {"since": ("web",)}, since=WEB.id)] == ["new"]
    assert [found.name for found in chosen(ROWS, {"ancestor": ("x",)}, ancestors=frozenset({"sha256:2"}))] == ["web"]
    assert [found.name for found in chosen(ROWS, {"ancestor": ("x",)})] == []


@pytest.mark.parametrize(
    ("filters", "problem"),
    [
        ({"colour": ("red",)}, "invalid filter 'colour'"),
        ({"status": ("exitde",)}, "invalid filter 'status=exitde'"),
        ({"health": ("well",)}, "invalid filter 'health=well'"),
        ({"exited": ("x",)}, "invalid filter 'exited=x'"),
        ({"is-task": ("maybe",)}, "invalid filter 'is-task=maybe'"),
        ({"publish": ("80:80",)}, "invalid filter 'publish=80:80'"),
        ({"expose": ("http",)}, "invalid filter 'expose=http'"),
    ],
)
def test_filters_that_cannot_be_are_refused_with_what_can(filters: dict[str, tuple[str, ...]], problem: str) -> None:
    with pytest.raises(InvalidInput, match=problem) as caught:
        check(filters)
    assert caught.value.hint
