"""Pushing to the real registry server, and who can pull from there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from judge.base import BASE, write_base

from contextkernel import Engine
from contextkernel.errors import RegistryUnauthorized
from contextkernel.model.events import LayerProgress
from contextkernel.model.oci import MEDIA_MANIFEST

FILE = f"FROM {BASE}\nRUN echo one > /one && ln one two && chmod 4711 one\nRUN rm two && mkdir -p a/b\n"


@pytest.fixture
def engine(tmp_path: Path) -> Any:
    write_base(tmp_path / "base.tar")
    with Engine(root=tmp_path / "store") as made:
        made.import_image(str(tmp_path / "base.tar"), BASE)
        yield made


def phases(events: list[Any]) -> set[str]:
    last = {event.layer: event.phase for event in events if isinstance(event, LayerProgress)}
    return set(last.values())


def test_push_and_pull_on_another_store(
    engine: Engine, real_registry: Any, skopeo: Callable[..., str], tmp_path: Path
) -> None:
    name = f"{real_registry.address}/team/app"
    built = engine.build(None, text=FILE, tags=[f"{name}:v1"])
    events: list[Any] = []
    (pushed,) = engine.push(f"{name}:v1", report=events.append)
    assert phases(events) == {"pushed"}
    # skopeo reads it
    seen = skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}:v1")
    manifest = json.loads(seen)
    assert (manifest["mediaType"], manifest["config"]["digest"]) == (MEDIA_MANIFEST, built.image)
    skopeo("copy", "-q", "--src-tls-verify=false", f"docker://{name}:v1", f"oci:{tmp_path / 'layout'}:v1")
    # another store pulls it, and pushes it on under the same digest
    with Engine(root=tmp_path / "other") as other:
        other.pull(f"{name}:v1")
        assert other.inspect([f"{name}:v1"], "image")[0]["Id"] == built.image
        assert other.run(f"{name}:v1", ["/bin/sh", "-c", "cat /one; test ! -e /two"]).stdout == b"one\n"
        other.tag(f"{name}:v1", f"{real_registry.address}/else/app:v2")
        (again,) = other.push(f"{real_registry.address}/else/app:v2")
    assert again.digest == pushed.digest
    # all of it is known here by now
    events.clear()
    engine.tag(f"{name}:v1", f"{name}:v3")
    rows = engine.push(name, all_tags=True, report=events.append)
    assert [(row.name.tag, row.digest) for row in rows] == [("v1", pushed.digest), ("v3", pushed.digest)]
    assert phases(events) == {"present"}
    assert real_registry.tags("team/app") == ["v1", "v3"]


def test_a_registry_that_wants_a_login(engine: Engine, start_registry: Callable[..., Any]) -> None:
    registry = start_registry(login=True)
    engine.tag(BASE, f"{registry.address}/app:v1")
    with pytest.raises(RegistryUnauthorized) as caught:
        engine.push(f"{registry.address}/app:v1")
    assert f"login {registry.address}" in (caught.value.hint or "")


def test_a_build_is_pushed(engine: Engine, real_registry: Any, skopeo: Callable[..., str]) -> None:
    name = f"{real_registry.address}/built/app"
    events: list[Any] = []
    result = engine.build(
        None,
        text=FILE,
        tags=[f"{name}:v1"],
        outputs=["type=image,push=true"],
        attests=["type=provenance"],
        report=events.append,
    )
    # a registry without referrers gets them under a tag (distribution-spec, "Pushing Manifests with Subject")
    assert [tag for tag in real_registry.tags("built/app") if not tag.startswith("sha256-")] == ["v1"]
    digest = result.metadata["containerimage.digest"]
    assert engine.inspect([f"{name}:v1"], "image")[0]["RepoDigests"] == [f"{name}@{digest}"]
    index = json.loads(skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}@{digest}"))
    assert [one["platform"]["os"] for one in index["manifests"]] == ["linux", "unknown"]
    # the same again by push: nothing is left to send, and it is the same
    events.clear()
    (row,) = engine.push(f"{name}:v1", report=events.append)
    assert (row.digest, phases(events)) == (digest, {"present"})


def test_an_index_of_several_platforms_is_pushed(
    engine: Engine, real_registry: Any, skopeo: Callable[..., str], tmp_path: Path
) -> None:
    name = f"{real_registry.address}/built/several"
    result = engine.build(
        {"file": "content"},
        text="FROM scratch\nARG TARGETARCH\nCOPY file /$TARGETARCH\n",
        tags=[f"{name}:v1"],
        platform=["linux/amd64", "linux/arm64"],
        outputs=["type=registry"],
    )
    assert not result.stored
    for architecture in ("amd64", "arm64"):
        skopeo(
            "copy", "-q", "--src-tls-verify=false", f"--override-arch={architecture}",
            f"docker://{name}:v1", f"oci:{tmp_path / architecture}:v1",
        )  # fmt: skip
    only = engine.build(None, text=FILE, tags=[name], outputs=["type=image,push-by-digest=true,store=false"]).metadata[
        "containerimage.digest"
    ]
    assert real_registry.tags("built/several") == ["v1"]
    skopeo("inspect", "--raw", "--tls-verify=false", f"docker://{name}@{only}")
