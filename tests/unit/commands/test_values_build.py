"""Values of ``build`` options with a form of their own."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from contextkernel.commands import values_build as values
from contextkernel.errors import InvalidInput, UsageProblem
from contextkernel.model.build_inputs import AgentKeys, AgentSocket, SecretFromEnvironment, SecretFromFile
from contextkernel.model.step_mounts import Limit


@pytest.mark.parametrize(
    ("text", "source"),
    [
        ("id=a,src=/f", SecretFromFile("/f")),
        ("id=a,source=/f,type=file", SecretFromFile("/f")),
        ('id=a,"src=/f,g"', SecretFromFile("/f,g")),
        ("id=a,env=V", SecretFromEnvironment("V")),
        ("type=env,id=a", SecretFromEnvironment("a")),
        ("type=env,id=a,src=V", SecretFromEnvironment("V")),
        ("id=a", SecretFromEnvironment("a")),
        ("id=a,type=file", SecretFromFile(os.path.abspath("a"))),
    ],
)
def test_secrets(text: str, source: object) -> None:
    assert values.parse_secrets([text], {"a": "1"}) == {"a": source}


def test_a_secret_without_a_source_is_the_variable_or_the_file_of_its_name() -> None:
    assert values.parse_secrets(["id=b"], {}) == {"b": SecretFromFile(os.path.abspath("b"))}


@pytest.mark.parametrize("text", ["", "a", "src=/f", "id=a,frobnicate=1", "id=a,type=x"])
def test_bad_secrets(text: str) -> None:
    with pytest.raises(UsageProblem):
        values.parse_secrets([text], {})


def test_agents(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        found = values.parse_agents(["default", f"a={path}", "k=/one,/two"])
        assert found == {"default": AgentSocket(), "a": AgentSocket(path), "k": AgentKeys(("/one", "/two"))}
        for bad in (f"a={path},/one", "=x"):
            with pytest.raises(UsageProblem):
                values.parse_agents([bad])


def test_hosts() -> None:
    given = ["a:1.2.3.4", "b=::1", "c:::1", "d:[fe80::1]", "e:host-gateway"]
    assert values.parse_hosts(given) == (
        ("a", "1.2.3.4"), ("b", "::1"), ("c", "::1"), ("d", "fe80::1"), ("e", "127.0.0.1"),
    )  # fmt: skip
    for bad in ("a", "a:", ":1.2.3.4", "a:b", "a:1.2.3"):
        with pytest.raises(UsageProblem):
            values.parse_hosts([bad])


@pytest.mark.parametrize(
    ("text", "size"),
    [("", 0), ("64m", 64 << 20), ("1.5g", 3 << 29), ("100", 100), ("2KiB", 2048), ("2kb", 2048), ("7B", 7)],
)
def test_sizes(text: str, size: int) -> None:
    assert values.parse_bytes("shm-size", text) == size


@pytest.mark.parametrize("text", ["x", "1y", "-1", "1e999", "m"])
def test_bad_sizes(text: str) -> None:
    with pytest.raises(UsageProblem):
        values.parse_bytes("shm-size", text)


def test_limits() -> None:
    assert values.parse_limits(["nofile=1", "nofile=1:2", "core=-1"]) == (Limit("nofile", 1, 2), Limit("core", -1, -1))
    for bad in ("nofile", "nofile=x", "nofiel=1", "nofile=2:1", "nofile=-1:5"):
        with pytest.raises(UsageProblem):
            values.parse_limits([bad])


def test_entitlements() -> None:
    assert values.parse_entitlements(["network.host"]) == {"network.host"}
    with pytest.raises(InvalidInput, match=r"unknown entitlement 'network\.hots'") as caught:
        values.parse_entitlements(["network.hots"])
    assert caught.value.hint == "did you mean network.host?"
