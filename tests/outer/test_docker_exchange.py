"""docker reads what we write and we read what docker writes: as files, and by way of a registry of our own."""

from __future__ import annotations

import json

import pytest
from judge.base import BASE, write_base
from pods import daemon

from contextkernel import Engine
from contextkernel.testing.registry import serve_registry

pytestmark = [pytest.mark.root, pytest.mark.timeout(300)]

OURS = f"""\
FROM {BASE}
RUN echo ours > /ours && ln /ours /same && chown bin:bin /ours
LABEL made.by=us
CMD ["cat", "/ours"]
"""
THEIRS = 'FROM ours:1\nRUN echo theirs > /theirs && rm /same\nCMD ["sh", "-c", "cat /ours /theirs; ls /same"]\n'


@pytest.fixture(scope="module")
def docker(tmp_path_factory):
    """A dockerd of this module's own; its containers have no network."""
    if problem := daemon.why_not():
        pytest.skip(problem)
    with daemon.Docker(tmp_path_factory.mktemp("docker"), network=False) as docker:
        yield docker


@pytest.fixture(scope="module")
def engine(tmp_path_factory):
    """Has ``ours:1``."""
    folder = tmp_path_factory.mktemp("ours")
    write_base(folder / "base.tar")
    with Engine(folder / "store") as engine:
        engine.import_image(str(folder / "base.tar"), BASE)
        engine.build(None, text=OURS, tags=["ours:1"], network="none")
        yield engine


@pytest.fixture(scope="module")
def theirs(docker, engine, tmp_path_factory):
    """``theirs:1``, made by docker from ours; its id."""
    archive = tmp_path_factory.mktemp("exchange") / "ours.tar"
    engine.save(["ours:1"], str(archive))
    docker.run("load", "--input", str(archive))
    docker.run("build", "--network", "none", "--tag", "theirs:1", "-", stdin=THEIRS)
    return docker.run("inspect", "--format", "{{.Id}}", "theirs:1").strip()


def ran(engine, name):
    done = engine.run(name, network="none", remove=True)
    return done.stdout_text


def test_docker_loads_what_we_save(docker, engine, theirs):
    assert docker.run("inspect", "--format", "{{.Id}}", "ours:1").strip() == engine.inspect(["ours:1"])[0]["Id"]
    assert docker.run("run", "--rm", "--network", "none", "ours:1", "stat", "-c", "%u %g %h", "/ours") == "2 3 2\n"
    assert theirs != engine.inspect(["ours:1"])[0]["Id"]


def test_we_load_what_docker_saves(docker, engine, theirs, tmp_path):
    docker.run("save", "--output", str(tmp_path / "both.tar"), "theirs:1", "ours:1")
    with Engine(tmp_path / "store") as other:
        assert sorted(other.load(str(tmp_path / "both.tar"))) == ["ours:1", "theirs:1"]
        assert other.inspect(["theirs:1"])[0]["Id"] == theirs
        assert other.inspect(["ours:1"])[0]["Id"] == engine.inspect(["ours:1"])[0]["Id"]
        assert ran(other, "theirs:1").splitlines()[:2] == ["ours", "theirs"]


def test_both_by_way_of_a_registry(docker, engine, theirs, tmp_path):
    with serve_registry() as registry:
        name = f"{registry.address}/team"
        engine.tag("ours:1", f"{name}/ours:1")
        engine.push(f"{name}/ours:1")
        docker.run("rmi", "--force", "ours:1")
        docker.run("pull", "--quiet", f"{name}/ours:1")
        known = json.loads(docker.run("inspect", f"{name}/ours:1"))[0]
        assert known["Id"] == engine.inspect(["ours:1"])[0]["Id"]
        assert known["RepoDigests"] == engine.inspect([f"{name}/ours:1"])[0]["RepoDigests"]

        docker.run("tag", "theirs:1", f"{name}/theirs:1")
        docker.run("push", f"{name}/theirs:1")
        with Engine(tmp_path / "store") as other:
            other.pull(f"{name}/theirs:1")
            found = other.inspect([f"{name}/theirs:1"])[0]
            assert found["Id"] == theirs
            assert found["RepoDigests"] == json.loads(docker.run("inspect", f"{name}/theirs:1"))[0]["RepoDigests"]
            assert ran(other, f"{name}/theirs:1").splitlines()[:2] == ["ours", "theirs"]
