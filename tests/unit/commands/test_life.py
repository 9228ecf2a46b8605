"""Commands about the course of containers' lives."""

from __future__ import annotations

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Grid, Nothing, Text
from contextkernel.commands.tables import text_of
from contextkernel.errors import ContextKernelError, NameInUse
from contextkernel.notebook.frames import grid_frame


@pytest.fixture
def do(engine, face):
    return lambda *words: execute(engine, words, face)


def test_restart_prints_names_and_goes_on_after_a_failure(do, engine):
    outcome = do("restart", "-t", "3", "-s", "INT", "bozo", "nope", "vigilant_curie")
    assert outcome.value == Text("bozo\nvigilant_curie\n")
    assert (outcome.exit_code, str(outcome.problems[0])) == (1, "no such container: nope")
    assert engine.calls[0] == ("restart", {"container": "bozo", "timeout": 3, "signal": "INT"})


def test_stop_takes_a_signal(do, engine):
    do("stop", "-s", "QUIT", "--time", "0", "bozo")
    assert engine.calls == [("stop", {"container": "bozo", "timeout": 0, "signal": "QUIT"})]


def test_rename(do, engine):
    assert do("rename", "bozo", "clown").value == Nothing()
    assert engine.calls == [("rename", {"container": "bozo", "name": "clown"})]
    with pytest.raises(NameInUse):
        do("rename", "bozo", "vigilant_curie")
    for words in (("", "x"), ("/", "x"), ("bozo", " ")):
        with pytest.raises(ContextKernelError, match="may be empty"):
            do("rename", *words)


def test_update_changes_the_restart_policy(do, engine):
    assert do("update", "--restart", "always", "bozo", "vigilant_curie").value == Text("bozo\nvigilant_curie\n")
    assert engine.calls[0] == ("update", {"container": "bozo", "restart_policy": "always"})
    with pytest.raises(ContextKernelError, match="nothing to update") as caught:
        do("update", "bozo")
    assert caught.value.exit_code == 1


def test_top_is_a_table_with_docker_s_columns(do, engine):
    outcome = do("top", "bozo", "-o", "pid,cmd")
    assert engine.calls == [("top", {"container": "bozo", "ps_args": ["-o", "pid,cmd"]})]
    assert isinstance(outcome.value, Grid)
    assert text_of(outcome.value) == (
        "UID                 PID                 CMD\n"
        "root                41                  sh\n"
        "bob                 42                  sleep 9\n"
    )


def test_top_is_a_frame_in_a_notebook(do):
    value = do("top", "bozo").value
    frame = grid_frame(value.headings, value.rows)
    assert list(frame.columns) == ["uid", "pid", "cmd"]
    assert frame.pid.tolist() == [41, 42]
    assert str(frame.pid.dtype) == "int64"


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ((), "9/udp -> 127.0.0.1:9\n80/tcp -> 0.0.0.0:8080\n80/tcp -> [::]:8080\n"),
        (("80",), "0.0.0.0:8080\n[::]:8080\n"),
        (("9/udp",), "127.0.0.1:9\n"),
    ],
)
def test_port(do, words, text):
    assert text_of(do("port", "bozo", *words).value) == text


@pytest.mark.parametrize(
    ("port", "problem"),
    [
        ("9", "no public port '9' published for bozo"),
        ("443", "no public port '443' published"),
        ("http", "invalid port 'http'"),
        ("80/icmp", "invalid port '80/icmp'"),
    ],
)
def test_a_port_that_is_not_published(do, port, problem):
    with pytest.raises(ContextKernelError, match=problem) as caught:
        do("port", "bozo", port)
    assert caught.value.hint
    assert caught.value.exit_code == 1


def test_prune_hands_filters_on(do, engine):
    do("container", "prune", "-f", "--filter", "until=1h", "--filter", "label!=keep", "--filter", "label=a=b")
    assert engine.calls == [
        ("prune_containers", {"filters": {"until": ("1h",), "label!": ("keep",), "label": ("a=b",)}})
    ]
    with pytest.raises(ContextKernelError, match="invalid filter 'name'"):
        do("container", "prune", "-f", "--filter", "name=x")


def test_ps_measures_only_when_sizes_are_shown(do, engine):
    for words, size in ((("ps",), False), (("ps", "-s"), True), (("ps", "--format", "{{.Size}}"), True)):
        engine.calls.clear()
        do(*words)
        assert engine.calls[0][1].get("size", False) is size
