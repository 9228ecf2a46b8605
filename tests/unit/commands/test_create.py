"""``create``, and the options it shares with ``run``."""

from __future__ import annotations

import os

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.tables import text_of
from contextkernel.errors import ContextKernelError
from contextkernel.model.life import LogOptions
from contextkernel.model.oci import Healthcheck
from contextkernel.testing.samples import WEB


@pytest.fixture
def do(engine, face):
    return lambda *words: execute(engine, words, face)


def test_create_prints_the_id_and_hands_the_options_on(do, engine):
    outcome = do("create", "-i", "--name", "x", "-e", "A=1", "--restart", "on-failure:3", "greet", "echo", "hi")
    assert text_of(outcome.value) == f"{WEB}\n"
    assert engine.calls == [
        (
            "create",
            {
                "image": "greet",
                "command": ("echo", "hi"),
                "stdin_open": True,
                "name": "x",
                "environment": ("A=1",),
                "restart_policy": "on-failure:3",
            },
        )
    ]


@pytest.mark.parametrize("words", [("-d",), ("--sig-proxy",)])
def test_create_has_no_options_of_a_run(do, words):
    with pytest.raises(ContextKernelError, match="unknown"):
        do("create", *words, "greet")


def test_create_fails_with_one_and_run_with_125(do):
    for words, code in (("create", 1), ("run", 125)):
        with pytest.raises(ContextKernelError) as caught:
            do(words, "nosuchimage")
        assert caught.value.exit_code == code


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (
            ("--health-cmd", "wget x", "--health-interval", "1m30s", "--health-retries", "5"),
            Healthcheck(test=("CMD-SHELL", "wget x"), interval=90 * 10**9, retries=5),
        ),
        (
            ("--health-timeout", "500ms", "--health-start-period", "2s", "--health-start-interval", "1s"),
            Healthcheck(timeout=500_000_000, start_period=2 * 10**9, start_interval=10**9),
        ),
        (("--no-healthcheck",), Healthcheck(test=("NONE",))),
    ],
)
def test_health_options(do, engine, words, expected):
    do("create", *words, "greet")
    assert engine.calls[0][1]["healthcheck"] == expected


def test_log_options(do, engine):
    do("create", "--log-driver", "local", "--log-opt", "max-size=1m", "--log-opt", "max-file=3", "greet")
    assert engine.calls[0][1]["log_config"] == LogOptions(driver="local", options={"max-size": "1m", "max-file": "3"})


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--no-healthcheck", "--health-cmd", "x"), "--no-healthcheck conflicts"),
        (("--health-retries", "-1"), "--health-retries cannot be negative"),
        (("--health-interval", "-1s"), "--health-interval cannot be negative"),
        (("--health-interval", "soon"), 'invalid argument "soon" for "--health-interval"'),
    ],
)
def test_bad_health_options_are_refused_like_docker_s(do, words, problem):
    with pytest.raises(ContextKernelError, match=problem) as caught:
        do("create", *words, "greet")
    assert caught.value.exit_code == 125


@pytest.mark.parametrize("verb", ["create", "run"])
def test_the_id_goes_into_a_file(do, tmp_path, verb):
    path = tmp_path / "cid"
    do(verb, "--cidfile", str(path), "greet")
    assert path.read_text() == WEB


@pytest.mark.parametrize(("verb", "code"), [("create", 1), ("run", 125)])
def test_a_cid_file_that_is_there_is_left_alone(do, engine, tmp_path, verb, code):
    path = tmp_path / "cid"
    path.write_text("other")
    with pytest.raises(ContextKernelError, match="container ID file found") as caught:
        do(verb, "--cidfile", str(path), "greet")
    assert caught.value.exit_code == code
    assert path.read_text() == "other"
    assert engine.calls == []


def test_attack_a_link_under_the_name_of_the_cid_file_is_not_followed(do, tmp_path):
    victim = tmp_path / "victim"
    os.symlink(victim, tmp_path / "cid")
    with pytest.raises(ContextKernelError, match="container ID file found"):
        do("create", "--cidfile", str(tmp_path / "cid"), "greet")
    assert not victim.exists()


def test_no_container_no_cid_file(do, tmp_path):
    with pytest.raises(ContextKernelError, match="nosuchimage"):
        do("create", "--cidfile", str(tmp_path / "cid"), "nosuchimage")
    assert not (tmp_path / "cid").exists()


def test_a_cid_file_in_no_directory(do, tmp_path):
    with pytest.raises(ContextKernelError, match="cannot be made: no such file or directory"):
        do("create", "--cidfile", str(tmp_path / "no/cid"), "greet")
