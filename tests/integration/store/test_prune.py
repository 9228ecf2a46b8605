"""``system prune`` and ``image prune`` on the real engine."""

from __future__ import annotations

import pytest

from contextkernel.engine import Engine
from contextkernel.errors import InvalidInput


@pytest.fixture
def engine(tmp_path):
    from judge.base import write_base

    write_base(tmp_path / "base.tar")
    with Engine(tmp_path / "store") as engine:
        engine.import_image(str(tmp_path / "base.tar"), "base")
        yield engine


def test_everything_that_is_not_used_goes(engine):
    engine.build({"Dockerfile": "FROM base\nLABEL keep=yes\nRUN echo one > /one\n"}, tags=["app"])
    engine.run("app", ["sh", "-c", "echo written > /file"], name="done", network="none")
    engine.run("app", ["sleep", "100"], name="lives", network="none", detach=True)
    engine.create_network("idle")
    engine.create_volume("named")
    nameless = engine.create_volume()
    try:
        before = engine.disk_usage_details()
        assert {usage.image.repository: usage.containers for usage in before.images} == {"app": 2, "base": 0}
        done = engine.system_prune(all=True, volumes=True)
        assert [row.name for row in engine.containers(all=True)] == ["lives"]
        assert len(done.containers) == 1
        assert done.networks == ("idle",)
        assert done.volumes == (nameless,)
        assert done.images == ("Untagged: base:latest", f"Deleted: {before.images[-1].image.id}")
        assert done.freed >= len("written\n")
        assert [row.volume.name for row in engine.volumes()] == ["named"]
        assert engine.run("app", ["cat", "/one"], network="none", remove=True).stdout == b"one\n"
    finally:
        engine.remove_container("lives", force=True)


def test_filters_keep_what_does_not_fit(engine):
    engine.build({"Dockerfile": "FROM base\nLABEL keep=yes\n"}, tags=["app"])
    assert engine.prune_images(all=True, filters={"label": ["keep=no"]}).removed == ()
    assert engine.prune_images(all=True, filters={"label!": ["keep"], "until": ["24h"]}).removed == ()
    assert engine.prune_images(filters={"dangling": ["false"], "label": ["keep"]}).removed[0] == "Untagged: app:latest"
    for wrong in ({"colour": ["red"]}, {"until": ["1h", "2h"]}):
        with pytest.raises(InvalidInput):
            engine.system_prune(filters=wrong)
    with pytest.raises(InvalidInput, match="until"):
        engine.system_prune(volumes=True, filters={"until": ["1h"]})


def test_the_sum_of_containers_is_that_of_each(engine):
    """Also where a container's user keeps the caller out of a directory."""
    script = "mkdir /x && head -c 5000 /dev/zero >/x/file && chown -R 2:3 /x && chmod 700 /x"
    engine.run("base", ["sh", "-c", script], network="none", name="closed")
    [containers] = [row for row in engine.disk_usage() if row.type == "Containers"]
    [row] = engine.disk_usage_details().containers
    assert row.size >= 5000
    assert (containers.total, containers.active, containers.size, containers.reclaimable) == (1, 0, row.size, row.size)
