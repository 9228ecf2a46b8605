"""Pulling from a real registry server (Debian's docker-registry), filled by skopeo."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from judge.base import BASE, write_base

from contextkernel import Engine
from contextkernel.errors import DigestMismatch, ImageNotFound, RegistryUnreachable, SizeMismatch
from contextkernel.model.events import LayerProgress

CONFIG = """\
version: 0.1
log: {{level: error, accesslog: {{disabled: true}}}}
storage: {{filesystem: {{rootdirectory: {root}}}}}
http: {{addr: "127.0.0.1:{port}"}}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Path]]:
    """A registry on loopback that has ``demo:v1``; yields its address and its storage directory."""
    for tool in ("docker-registry", "skopeo"):
        if shutil.which(tool) is None:
            pytest.skip(f"{tool} is not installed")
    folder = tmp_path_factory.mktemp("registry")
    port = free_port()
    (folder / "config.yml").write_text(CONFIG.format(root=folder / "storage", port=port))
    server = subprocess.Popen(
        ["docker-registry", "serve", str(folder / "config.yml")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(1200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        else:
            pytest.fail("the registry does not answer")
        fill(folder, f"127.0.0.1:{port}")
        yield f"127.0.0.1:{port}", folder / "storage"
    finally:
        server.terminate()
        server.wait()


def fill(folder: Path, address: str) -> None:
    write_base(folder / "base.tar")
    with Engine(folder / "source") as engine:
        engine.import_image(str(folder / "base.tar"), BASE)
        engine.build(None, text=f"FROM {BASE}\nRUN echo layer > /layer\nCMD cat /layer\n", tags=["demo:v1"])
        engine.save(["demo:v1"], str(folder / "demo.tar"))
    subprocess.run(
        [
            "skopeo",
            "--insecure-policy",
            "copy",
            "--dest-tls-verify=false",
            f"docker-archive:{folder / 'demo.tar'}",
            f"docker://{address}/team/demo:v1",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def test_a_pulled_image_runs(registry: tuple[str, Path], tmp_path: Path) -> None:
    address, _ = registry
    with Engine(tmp_path / "store") as engine:
        image = engine.pull(f"{address}/team/demo:v1")
        assert engine.run(f"{address}/team/demo:v1", network="none", remove=True).stdout == b"layer\n"
        assert [row.origin for row in engine.images()] == ["pull"]
        assert engine.pull(f"{address}/team/demo:v1") == image
        assert engine.check_store() == ()


def test_what_an_interrupted_pull_left_is_continued(registry: tuple[str, Path], tmp_path: Path) -> None:
    """The real registry gives parts; what was left is the first half of the largest blob, or something else."""
    address, storage = registry
    layer = max(storage.glob("**/blobs/sha256/*/*/data"), key=lambda path: path.stat().st_size)
    content = layer.read_bytes()
    for left in (content[: len(content) // 2], bytes(5000)):
        with Engine(tmp_path / f"store{len(left)}") as engine:
            kept = Path(engine.root) / "downloads" / f"sha256-{layer.parent.name}"
            kept.parent.mkdir()
            kept.write_bytes(left)
            told: list[object] = []
            engine.pull(f"{address}/team/demo:v1", report=told.append)
            first = next(
                event.current
                for event in told
                if isinstance(event, LayerProgress)
                and event.phase == "downloading"
                and event.layer == layer.parent.name[:12]
            )
            assert first > len(left)
            assert list(kept.parent.iterdir()) == []
            assert engine.check_store() == ()


def test_run_and_build_pull_what_is_missing(registry: tuple[str, Path], tmp_path: Path) -> None:
    address, _ = registry
    with Engine(tmp_path / "store") as engine:
        engine.build(None, text=f"FROM {address}/team/demo:v1\nRUN cp /layer /copy\n", tags=["built"])
        assert engine.run("built", ["cat", "/copy"], network="none", remove=True).stdout == b"layer\n"


def test_what_the_registry_does_not_have(registry: tuple[str, Path], tmp_path: Path) -> None:
    address, _ = registry
    with Engine(tmp_path / "store") as engine:
        with pytest.raises(ImageNotFound, match="nothing:v9"):
            engine.pull(f"{address}/team/nothing:v9")
        assert engine.images() == ()


def test_nobody_answers(tmp_path: Path) -> None:
    with Engine(tmp_path / "store") as engine, pytest.raises(RegistryUnreachable, match="cannot reach"):
        engine.pull(f"127.0.0.1:{free_port()}/team/demo:v1")


def test_a_lying_registry_is_found_out(registry: tuple[str, Path], tmp_path: Path) -> None:
    """A blob whose bytes were exchanged on the server: refused, and nothing of the image stays."""
    address, storage = registry
    blobs = sorted(storage.glob("**/blobs/sha256/*/*/data"), key=lambda path: path.stat().st_size)
    layer = blobs[-1]
    original = layer.read_bytes()
    try:
        layer.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        with Engine(tmp_path / "store") as engine:
            with pytest.raises((DigestMismatch, SizeMismatch)):
                engine.pull(f"{address}/team/demo:v1")
            assert engine.images() == ()
            assert engine.check_store() == ()
    finally:
        layer.write_bytes(original)


def put(folder: Path, name: str, *, text: str, platform: list[str] | None = None) -> None:
    """Build an image and push it; a layout goes through skopeo."""
    with Engine(folder / "maker") as engine:
        engine.build(None, text=text, platform=platform, outputs=[f"type=oci,dest={folder / 'put.tar'}"], no_cache=True)
    subprocess.run(
        [
            "skopeo",
            "--insecure-policy",
            "copy",
            "--all",
            "--dest-tls-verify=false",
            f"oci-archive:{folder / 'put.tar'}",
            f"docker://{name}",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
    )


def test_a_build_takes_the_newer_base_only_when_told_to(registry: tuple[str, Path], tmp_path: Path) -> None:
    name = f"{registry[0]}/team/moving:v1"
    put(tmp_path, name, text="FROM scratch\nENV AGE=old\n")

    def age(engine: Engine, *, pull: bool) -> tuple[str, ...]:
        result = engine.build(None, text=f"FROM {name}\nENV OWN=x\n", pull=pull)
        return tuple(one for one in env_of(engine, result.image) if one.startswith("AGE="))

    with Engine(tmp_path / "store") as engine:
        assert age(engine, pull=False) == ("AGE=old",)
        put(tmp_path, name, text="FROM scratch\nENV AGE=new\n")
        assert age(engine, pull=False) == ("AGE=old",)
        assert age(engine, pull=True) == ("AGE=new",)
        assert age(engine, pull=False) == ("AGE=new",)


def test_a_base_of_another_platform_is_not_taken(registry: tuple[str, Path], tmp_path: Path) -> None:
    name = f"{registry[0]}/team/several:v1"
    text = "FROM scratch\nARG TARGETARCH\nENV FOR=$TARGETARCH\n"
    put(tmp_path, name, text=text, platform=["linux/amd64", "linux/arm64", "linux/s390x"])
    with Engine(tmp_path / "store") as engine:
        for architecture in ("s390x", "arm64", "amd64", "s390x"):
            result = engine.build(None, text=f"FROM {name}\nENV OWN=x\n", platform=f"linux/{architecture}")
            assert f"FOR={architecture}" in env_of(engine, result.image)


def env_of(engine: Engine, image: str) -> list[str]:
    (shown,) = engine.inspect([str(image)])
    return list(shown["Config"]["Env"])
