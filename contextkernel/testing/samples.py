"""Canned rows, documents and events: the course's images and containers, looked at at :data:`NOW`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from contextkernel.errors import StepFailed
from contextkernel.model.cache import CacheRow
from contextkernel.model.digest import Digest
from contextkernel.model.events import (
    BuildFinished,
    BuildWarning,
    Event,
    LayerProgress,
    StepCached,
    StepDone,
    StepNote,
    StepOutput,
    StepProgress,
    StepStarted,
)
from contextkernel.model.results import ContainerRow, HistoryRow, ImageRow

NOW = datetime(2026, 11, 23, 12, 0, 0, tzinfo=UTC)
"""The moment at which the canned rows are looked at."""

GREET = Digest.from_hex("da62877a7eadf60842f7a8fd292763c7e5e3628daf8bf2b8214e99d7f6003ae4")
UBUNTU = Digest.from_hex("54c9d81cbb440897908abdcaa98674db83444636c300170cfd211e40a66f704f")
GREETING_C = Digest.from_hex("3f1a0c5d2b7e48961234567890abcdef3f1a0c5d2b7e48961234567890abcdef")
DANGLING = Digest.from_hex("0badcafe0badcafe0badcafe0badcafe0badcafe0badcafe0badcafe0badcafe")
BASE_LAYER = "sha256:0eba131dffd015134cb310c284b776c1e44d330146cd2f0e30c4e464d0b76d24"
BOZO = "e3d24ebb1e19aa10c3d8bd1b9c3f2f2a7f0a3a4b5c6d7e8f9a0b1c2d3e4f5a6b"
GALLANT = "93deb6a0f7df5ce1ab61c3d8bd1b9c3f2f2a7f0a3a4b5c6d7e8f9a0b1c2d3e4f"
WEB = "5b6c7d8e9f0a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f6071829304"

_IMAGES = (
    ("greeting-c", "v0.1", GREETING_C, timedelta(minutes=2), 292_000_000, "build", 6),
    ("greet", "latest", GREET, timedelta(weeks=3), 72_776_453, "build", 1),
    ("<none>", "<none>", DANGLING, timedelta(weeks=3, days=1), 72_776_500, "build", 2),
    ("ubuntu", "20.04", UBUNTU, timedelta(weeks=3, hours=2), 72_776_453, "stand-in: mmdebstrap", 1),
)


def image_rows() -> tuple[ImageRow, ...]:
    """Rows of ``images``: the course's, a dangling one and a stand-in."""
    return tuple(
        ImageRow(repository=repository, tag=tag, id=image, created=NOW - age, size=size, origin=origin, layers=layers)
        for repository, tag, image, age, size, origin, layers in _IMAGES
    )


def history_rows() -> tuple[HistoryRow, ...]:
    """Rows of ``history greet``, as the course shows them."""
    created = NOW - timedelta(weeks=3)
    add = "/bin/sh -c #(nop) ADD file:122ad323412c2e70bfb5dd1d0e7d5f0d9ea1ad8b32e5d1d6e1fdc8d3d34ef3ad in / "
    return (
        HistoryRow(
            id=GREET,
            created=created,
            created_by='ENTRYPOINT ["echo" "from the container!"]',
            size=0,
            comment="buildkit.dockerfile.v0",
        ),
        HistoryRow(id=None, created=created, created_by='/bin/sh -c #(nop)  CMD ["bash"]', size=0, comment=""),
        HistoryRow(id=None, created=created, created_by=add, size=72_776_453, comment=""),
    )


def container_rows() -> tuple[ContainerRow, ...]:
    """Rows of ``ps -a``: one running, two exited, newest first."""
    echo = "echo 'from the container!'"
    return (
        ContainerRow(
            id=WEB,
            image="greeting-c:v0.1",
            command="sleep 1000",
            created=NOW - timedelta(seconds=7),
            state="running",
            exit_code=0,
            started=NOW - timedelta(seconds=5),
            finished=None,
            ports="",
            name="vigilant_curie",
            labels={"tier": "web", "a": "b"},
            size=1_234,
            network="host",
        ),
        ContainerRow(
            id=BOZO,
            image="greet",
            command=echo,
            created=NOW - timedelta(seconds=57),
            state="exited",
            exit_code=0,
            started=NOW - timedelta(seconds=57),
            finished=NOW - timedelta(seconds=56),
            ports="",
            name="bozo",
            network="host",
        ),
        ContainerRow(
            id=GALLANT,
            image="greet",
            command=echo,
            created=NOW - timedelta(minutes=7),
            state="exited",
            exit_code=3,
            started=NOW - timedelta(minutes=7),
            finished=NOW - timedelta(minutes=7),
            ports="",
            name="gallant_mendeleev",
            network="host",
        ),
    )


def image_document(row: ImageRow) -> dict[str, Any]:
    """A document of ``inspect`` for an image, with docker's keys."""
    return {
        "Id": str(row.id),
        "RepoTags": [f"{row.repository}:{row.tag}"],
        "RepoDigests": [],
        "Comment": "buildkit.dockerfile.v0",
        "Created": row.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Config": {
            "Env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8"],
            "Cmd": None,
            "WorkingDir": "",
            "Entrypoint": ["echo", "from the container!"],
            "Labels": {"org.example.one": "1", "two": "2 & <3>"},
        },
        "Architecture": "amd64",
        "Os": "linux",
        "Size": row.size,
        "RootFS": {"Type": "layers", "Layers": [BASE_LAYER]},
    }


def container_document(row: ContainerRow) -> dict[str, Any]:
    """A document of ``inspect`` for a container, with docker's keys."""
    path, *args = row.command.split(" ", 1)
    return {
        "Id": row.id,
        "Created": row.created.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "Path": path,
        "Args": args,
        "State": {"Status": row.state, "Running": row.state == "running", "ExitCode": row.exit_code},
        "Image": str(GREET),
        "Name": f"/{row.name}",
        "Config": {"Image": row.image, "Labels": dict(row.labels)},
    }


def build_events(tags: Sequence[str] = ("greet",), *, cached: bool = False) -> tuple[Event, ...]:
    """What a build of two steps says."""
    names = tuple(f"docker.io/library/{tag}" for tag in tags)
    run = "RUN apt-get update"
    events: list[Event] = [
        StepStarted(step=1, name="[internal] load build definition from Dockerfile"),
        StepNote(step=1, text="transferring dockerfile: 88B done"),
        StepDone(step=1, seconds=0.01),
        StepStarted(step=2, name="[1/2] FROM ubuntu:20.04", instruction="FROM ubuntu:20.04", line=1),
        StepProgress(step=2, item="sha256:0eba131dffd0", current=1_000_000, total=72_776_453),
        StepProgress(step=2, item="sha256:0eba131dffd0", current=72_776_453, total=72_776_453),
        StepDone(step=2, seconds=0.2),
        StepStarted(step=3, name=f"[2/2] {run}", instruction=run, line=2),
    ]
    if cached:
        events.append(StepCached(step=3))
    else:
        events += [
            StepOutput(step=3, stream="stdout", text="Get:1 focal InRelease\nReading pack"),
            StepOutput(step=3, stream="stdout", text="age lists...\n"),
            StepOutput(step=3, stream="stderr", text="W: a warning without an end of line"),
            StepDone(step=3, seconds=1.24),
        ]
    events += [
        BuildWarning(text="JSONArgsRecommended: use JSON arguments for CMD", line=3),
        StepStarted(step=4, name="exporting to image"),
        StepNote(step=4, text=f"writing image {GREET}"),
        *(StepNote(step=4, text=f"naming to {name}") for name in names),
        StepDone(step=4, seconds=0.0),
        BuildFinished(image=GREET, names=names, seconds=1.5),
    ]
    return tuple(events)


def pull_events() -> tuple[Event, ...]:
    """What a pull of two layers says, without docker's last lines."""
    new, old, size = "0eba131dffd0", "a1b2c3d4e5f6", 30_000_000
    return (
        StepNote(0, "20.04: Pulling from library/ubuntu"),
        LayerProgress(0, old, "exists", 0, 1_000_000),
        LayerProgress(0, new, "pulling", 0, size),
        LayerProgress(0, new, "downloading", 3_000_000, size),
        LayerProgress(0, new, "verifying", size, size),
        LayerProgress(0, new, "downloaded", size, size),
        LayerProgress(0, new, "extracting", size, size),
        LayerProgress(0, new, "complete", size, size),
        StepNote(0, f"Digest: {UBUNTU}"),
    )


def failed_step() -> StepFailed:
    """The error of a RUN that exits with 100."""
    return StepFailed(
        'process "/bin/sh -c apt-get update" did not complete successfully: exit code: 100',
        status=100,
        tail=("E: Unable to locate package nosuch",),
    )


def cache_rows() -> tuple[CacheRow, ...]:
    """Entries of a build cache: one of its own, one that an image has too, a cache mount in use."""
    made = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    return (
        CacheRow(
            id="a" * 25,
            type="regular",
            description="[2/3] RUN make",
            size=5_000_000,
            created=made,
            used=made,
            uses=2,
        ),
        CacheRow(id="b" * 25, type="regular", description="[3/3] COPY", size=300, created=made, used=made, shared=True),
        CacheRow(
            id="c" * 14,
            type="exec.cachemount",
            description="cache mount /root/.cache",
            size=700,
            created=made,
            used=made,
            reclaimable=False,
        ),
    )
