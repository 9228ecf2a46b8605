from __future__ import annotations

import signal

import pytest

from contextkernel.errors import InvalidInput
from contextkernel.model.oci import RunConfig
from contextkernel.runtime import spec

IMAGE = RunConfig(entrypoint=("entry",), cmd=("a", "b"))


@pytest.mark.parametrize(
    ("config", "entrypoint", "command", "expected"),
    [
        (IMAGE, None, (), (("entry",), ("a", "b"))),
        (IMAGE, None, ("x",), (("entry",), ("x",))),
        (IMAGE, ("other",), (), (("other",), None)),
        (IMAGE, ("other",), ("x",), (("other",), ("x",))),
        (IMAGE, ("",), ("x",), (None, ("x",))),
        (RunConfig(cmd=("a",)), None, (), (None, ("a",))),
    ],
)
def test_entrypoint_and_command(
    config: RunConfig, entrypoint: tuple[str, ...] | None, command: tuple[str, ...], expected: object
) -> None:
    assert spec.compose_command(config, entrypoint, command) == expected


@pytest.mark.parametrize(("config", "entrypoint"), [(RunConfig(), None), (IMAGE, ("",))])
def test_nothing_to_run(config: RunConfig, entrypoint: tuple[str, ...] | None) -> None:
    with pytest.raises(InvalidInput, match="no command specified"):
        spec.compose_command(config, entrypoint, ())


def test_environment_is_replaced_in_place() -> None:
    assert spec.merge_environment(("A=1", "B=2"), ("B=3", "C=4", "A")) == ("B=3", "C=4")


@pytest.mark.parametrize("name", ["ab", "bozo", "a.b-c_9", "/web1"])
def test_names(name: str) -> None:
    assert spec.check_name(name) == name.removeprefix("/")


@pytest.mark.parametrize("name", ["", "a", "-ab", "a b", "ü1", "a/b"])
def test_bad_names(name: str) -> None:
    with pytest.raises(InvalidInput, match="invalid container name"):
        spec.check_name(name)


@pytest.mark.parametrize(
    ("text", "number"), [("TERM", 15), ("sigkill", 9), ("9", 9), ("SIGRTMIN+3", signal.SIGRTMIN + 3), ("QUIT", 3)]
)
def test_signals(text: str, number: int) -> None:
    assert spec.signal_number(text) == number


@pytest.mark.parametrize("text", ["", "0", "99", "NOPE", "SIGRTMIN+99", "-1"])
def test_bad_signals(text: str) -> None:
    with pytest.raises(InvalidInput, match="invalid signal"):
        spec.signal_number(text)


def test_the_shown_command() -> None:
    assert spec.shown_command(("echo", "from the container!")) == "echo 'from the container!'"
