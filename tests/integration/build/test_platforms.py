"""Builds for several platforms: what is written, what other tools make of it, programs under an emulator."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from contextkernel import Engine
from contextkernel.build.hostfiles import write_root
from contextkernel.errors import InvalidInput
from contextkernel.host.emulation import cannot_run
from contextkernel.model.platform import Platform

BOTH = ["linux/amd64", "linux/arm64"]
NAMES = ["linux_amd64", "linux_arm64"]
CROSS = """\
FROM --platform=$BUILDPLATFORM base AS made
ARG TARGETPLATFORM TARGETOS TARGETARCH TARGETVARIANT
RUN echo "$TARGETPLATFORM $TARGETOS $TARGETARCH $TARGETVARIANT" > /out
FROM scratch
ARG TARGETARCH
ENV FOR=$TARGETARCH
COPY --from=made /out /out
"""


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[Engine]:
    write_root(str(tmp_path / "base.tar"), "base")
    with Engine(tmp_path / "store") as made:
        made.import_image(str(tmp_path / "base.tar"), "base")
        yield made


def blob(layout: Path, digest: str) -> dict[str, object]:
    return dict(json.loads((layout / "blobs" / digest.replace(":", "/")).read_text()))


def index_of(layout: Path) -> list[dict[str, object]]:
    (top,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert top["mediaType"] == "application/vnd.oci.image.index.v1+json"
    return list(blob(layout, top["digest"])["manifests"])


def test_an_index_with_the_platforms(engine, tmp_path):
    layout = tmp_path / "layout"
    engine.build(
        None,
        text=CROSS,
        platform=[*BOTH, "linux/arm/v7"],
        outputs=[f"type=oci,dest={layout},tar=false"],
        annotations=["manifest[linux/arm64]:key=value"],
    )
    entries = index_of(layout)
    assert [entry["platform"] for entry in entries] == [
        {"architecture": "amd64", "os": "linux"},
        {"architecture": "arm64", "os": "linux"},
        {"architecture": "arm", "os": "linux", "variant": "v7"},
    ]
    manifests = [blob(layout, entry["digest"]) for entry in entries]
    assert [manifest.get("annotations") for manifest in manifests] == [None, {"key": "value"}, None]
    configs = [blob(layout, manifest["config"]["digest"]) for manifest in manifests]
    assert [(one["architecture"], one.get("variant")) for one in configs] == [
        ("amd64", None),
        ("arm64", None),
        ("arm", "v7"),
    ]
    assert ["FOR=arm64" in one["config"]["Env"] for one in configs] == [False, True, False]


def test_a_statement_for_each_platform(engine, tmp_path):
    layout = tmp_path / "layout"
    engine.build(
        None, text=CROSS, platform=BOTH, outputs=[f"type=oci,dest={layout},tar=false"], attests=["type=provenance"]
    )
    images, statements = index_of(layout)[:2], index_of(layout)[2:]
    assert [one["platform"]["architecture"] for one in statements] == ["unknown", "unknown"]
    assert [one["annotations"] for one in statements] == [
        {"vnd.docker.reference.type": "attestation-manifest", "vnd.docker.reference.digest": image["digest"]}
        for image in images
    ]


def test_files_of_each_platform(engine, tmp_path):
    folder, tar = tmp_path / "files", tmp_path / "files.tar"
    engine.build(None, text=CROSS, platform=BOTH, outputs=[f"type=local,dest={folder}", f"type=tar,dest={tar}"])
    wanted = ["linux/amd64 linux amd64 \n", "linux/arm64 linux arm64 \n"]
    assert [(folder / name / "out").read_text() for name in NAMES] == wanted
    with tarfile.open(tar) as archive:
        assert archive.getnames() == ["linux_amd64", "linux_amd64/out", "linux_arm64", "linux_arm64/out"]
        assert [archive.extractfile(f"{name}/out").read().decode() for name in NAMES] == wanted
    size = os.path.getsize(tar)
    assert tar.read_bytes()[size - 1024 :] == bytes(1024)


def test_files_of_platforms_side_by_side(engine, tmp_path):
    folder = tmp_path / "files"
    output = f"type=local,dest={folder},platform-split=false"
    with pytest.raises(InvalidInput, match="cannot overwrite out from linux/amd64 with linux/arm64"):
        engine.build(None, text=CROSS, platform=BOTH, outputs=[output])
    assert not folder.exists()
    text = CROSS.replace("/out /out", "/out /out-$TARGETARCH")
    engine.build(None, text=text, platform=BOTH, outputs=[output], attests=["type=provenance"])
    assert sorted(os.listdir(folder)) == [
        "out-amd64",
        "out-arm64",
        "provenance.linux_amd64.json",
        "provenance.linux_arm64.json",
    ]


@pytest.mark.may_skip
def test_another_tool_takes_one_platform_out(engine, tmp_path):
    if shutil.which("skopeo") is None:
        pytest.skip("skopeo is not installed")
    archive, taken = tmp_path / "x.tar", tmp_path / "taken"
    engine.build(None, text=CROSS, platform=BOTH, outputs=[f"type=oci,dest={archive}"])
    raw = subprocess.run(["skopeo", "inspect", "--raw", f"oci-archive:{archive}"], check=True, capture_output=True)
    assert len(json.loads(raw.stdout)["manifests"]) == 2
    words = ["skopeo", "--insecure-policy", "--override-arch", "arm64", "copy"]
    subprocess.run([*words, f"oci-archive:{archive}", f"dir:{taken}"], check=True, capture_output=True)
    manifest = json.loads((taken / "manifest.json").read_text())
    config = json.loads((taken / manifest["config"]["digest"].partition(":")[2]).read_text())
    assert config["architecture"] == "arm64"


@pytest.mark.may_skip
def test_programs_under_an_emulator(tmp_path):
    """Needs an arm64 program that needs no libraries: ``CONTEXTKERNEL_TEST_ARM64_BUSYBOX`` names one."""
    arm = Platform("linux", "arm64")
    reason = cannot_run(arm, Platform.host())
    if reason is not None:
        pytest.skip(reason[0])
    busybox = os.environ.get("CONTEXTKERNEL_TEST_ARM64_BUSYBOX", "")
    if not os.path.isfile(busybox):
        pytest.skip("CONTEXTKERNEL_TEST_ARM64_BUSYBOX names no busybox of arm64")
    context = tmp_path / "context"
    context.mkdir()
    shutil.copy(busybox, context / "busybox")
    text = (
        "FROM scratch\nCOPY --chmod=755 busybox /bin/busybox\n"
        'RUN ["/bin/busybox", "sh", "-c", "/bin/busybox uname -m > /machine"]\n'
    )
    with Engine(tmp_path / "store") as engine:
        engine.build(str(context), text=text, platform="linux/arm64", outputs=[f"type=local,dest={tmp_path}/files"])
    assert (tmp_path / "files" / "machine").read_text() == "aarch64\n"
