"""``push`` in docker's words."""

from __future__ import annotations

import pytest

from contextkernel.commands.execute import execute
from contextkernel.commands.outcome import Nothing, Text
from contextkernel.errors import UsageProblem


@pytest.fixture
def do(engine, face):
    def run(line):
        return execute(engine, line.split(), face).value

    return run


def test_docker_s_lines(do, engine, face):
    assert do("push localhost:5000/greet") == Nothing()
    lines = (face.out + face.err).splitlines()
    assert lines[:2] == [
        "Using default tag: latest",
        "The push refers to repository [localhost:5000/greet]",
    ]
    assert {"5f70bf18a086: Preparing", "5f70bf18a086: Pushed", "a3ed95caeb02: Layer already exists"} <= set(lines)
    assert lines[-1].startswith("latest: digest: sha256:")
    assert lines[-1].endswith(" size: 482")
    assert engine.calls == [("push", {"name": "localhost:5000/greet"})]


def test_a_tag_is_no_default(do, face):
    do("image push localhost:5000/greet:v1")
    assert "Using default tag" not in face.out


def test_quiet_says_the_name_alone(do, face):
    assert do("push -q greet") == Text("docker.io/library/greet:latest\n")
    assert do("push -q -a greet") == Text("docker.io/library/greet\n")
    assert face.out == face.err == ""


def test_all_tags_wants_no_tag(do, engine):
    for name in ("greet:v1", "localhost:5000/greet:v1"):
        with pytest.raises(UsageProblem, match="tag can't be used with --all-tags/-a"):
            do(f"push -a {name}")
    do("push -a localhost:5000/greet")
    assert engine.calls == [("push", {"name": "localhost:5000/greet", "all_tags": True})]


def test_a_platform_is_told_of(do, engine, face):
    do("push --platform linux/arm64 greet:v1")
    assert "Using --platform pushes only" in face.err
    assert engine.calls == [("push", {"name": "greet:v1", "platform": "linux/arm64"})]
