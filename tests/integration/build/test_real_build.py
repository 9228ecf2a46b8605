"""Builds with the real store, layer worker and runtime, as whichever user runs the tests."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from contextkernel import host
from contextkernel.build import Builder, BuildRequest
from contextkernel.build.hostfiles import write_root
from contextkernel.errors import DockerfileError, SourceNotFound, StepFailed
from contextkernel.layer.index import unpack_index
from contextkernel.layer.merge import merge
from contextkernel.model.digest import Digest
from contextkernel.model.events import BuildWarning, StepCached, StepOutput, StepStarted
from contextkernel.model.layers import Entry
from contextkernel.model.oci import ImageConfig, RunConfig
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.model.results import BuildResult
from contextkernel.runtime.client import NamespaceRuntime
from contextkernel.store import Store
from contextkernel.store.archive import import_tar
from contextkernel.store.worker_client import LayerWorkerClient

BASE = ImageRef.parse("base")


class Workshop:
    """A builder with everything real, and a base image made of the host's own tools."""

    def __init__(self, root: Path) -> None:
        self.store = Store.open(root / "store")
        idmap = host.idmap(self.store.root)
        self.worker = LayerWorkerClient(idmap)
        self.runtime = NamespaceRuntime(idmap)
        self.context = root / "context"
        self.context.mkdir()
        self.events: list[Any] = []
        tar = str(root / "base.tar")
        write_root(tar, "base")
        platform = Platform.host()
        config = ImageConfig(architecture=platform.architecture, os="linux", config=RunConfig(cmd=("/bin/sh",)))
        import_tar(self.store, self.worker, tar, BASE, config=config, origin="stand-in: host files")
        self.builder = Builder(
            self.store,
            self.worker,
            self.runtime,
            self.resolve,
            fake_ids=idmap.single,
        )

    def build(self, text: str, *tags: str, **options: Any) -> BuildResult:
        self.events = []
        request = BuildRequest(
            context=str(self.context), dockerfile=text, tags=tuple(map(ImageRef.parse, tags)), **options
        )
        return self.builder.build(request, self.events.append)

    def resolve(self, ref: ImageRef, **_: object) -> Digest:
        """Only what is here."""
        return self.store.resolve(str(ref))

    def files(self, image: Digest) -> dict[str, Entry]:
        """What a container of the image would see."""
        layers = self.store.layers_of(image)
        return merge(unpack_index(Path(layer.index).read_bytes()) for layer in layers)

    def cached(self) -> list[str]:
        names = {event.step: event.name for event in self.events if isinstance(event, StepStarted)}
        return [names[event.step] for event in self.events if isinstance(event, StepCached)]

    def output(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, StepOutput))

    def close(self) -> None:
        self.runtime.close()
        self.worker.close()
        self.store.close()


@pytest.fixture(scope="module")
def workshop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    made = Workshop(tmp_path_factory.mktemp("build"))
    try:
        yield made
    finally:
        made.close()


JOURNEY = """\
FROM base AS build
RUN mkdir -p /out && echo made > /out/file && rm -f /etc/hostname-of-base
WORKDIR /app/
COPY src/hello.c ./
RUN cp hello.c hello && chmod 750 hello
FROM scratch AS final
WORKDIR /app/
COPY --from=build /app/hello ./
COPY --from=build --chown=5:6 /out /out
ENTRYPOINT ["/app/hello"]
"""


def test_multi_stage_onto_scratch(workshop: Workshop) -> None:
    (workshop.context / "src").mkdir(exist_ok=True)
    (workshop.context / "src" / "hello.c").write_text("int main;\n")
    first = workshop.build(JOURNEY, "journey:v1")
    files = workshop.files(first.image)
    assert set(files) == {".", "app", "app/hello", "out", "out/file"}
    assert (files["app/hello"].mode, files["app/hello"].uid, files["app/hello"].size) == (0o750, 0, 10)
    assert (files["out/file"].uid, files["out/file"].gid) == (5, 6)
    config = workshop.store.config(first.image)
    assert config.config.working_dir == "/app/"
    assert [entry.created_by for entry in config.history] == [
        "WORKDIR /app/",
        "COPY /app/hello ./ # buildkit",
        "COPY --chown=5:6 /out /out # buildkit",
        'ENTRYPOINT ["/app/hello"]',
    ]
    again = workshop.build(JOURNEY)
    assert again.image == first.image
    assert len(workshop.cached()) == 8


def test_a_run_sees_what_came_before_and_its_environment(workshop: Workshop) -> None:
    workshop.build(
        "FROM base\nARG SAID=word\nENV KEPT=value\nRUN echo one > /one\nWORKDIR /here\n"
        "RUN cat /one; pwd; echo $SAID $KEPT; hostname; echo problem >&2\n"
    )
    # the two streams have no order between them
    assert sorted(workshop.output().splitlines()) == sorted(
        ["one", "/here", "word value", "buildkitsandbox", "problem"]
    )


def test_nothing_of_the_sandbox_stays_in_the_layer(workshop: Workshop) -> None:
    result = workshop.build("FROM base\nRUN echo x > /only\n")
    layer = workshop.store.layers_of(result.image)[-1]
    paths = {entry.path for entry in unpack_index(Path(layer.index).read_bytes())}
    assert paths - {"."} == {"only"}


def test_heredocs_of_all_forms(workshop: Workshop) -> None:
    result = workshop.build(
        "FROM base\nARG NAME=world\n"
        "RUN <<EOF\necho lone $NAME > /lone\nEOF\n"
        "RUN cat > /piped <<EOF\npiped text\nEOF\n"
        "RUN <<EOF\n#!/bin/sh\necho program $0 > /program\nEOF\n"
        "COPY <<expanded <<'literal' /files/\nhello $NAME\nexpanded\nhello $NAME\nliteral\n"
    )
    files = workshop.files(result.image)
    assert files["lone"].size == len("lone world\n")
    assert files["piped"].size == len("piped text\n")
    assert files["program"].size == len("program /dev/pipes/EOF\n")
    assert files["files/expanded"].size == len("hello world\n")
    assert files["files/literal"].size == len("hello $NAME\n")
    assert not any(path.startswith("dev/pipes") for path in files)


def test_tmpfs_mounts_leave_nothing(workshop: Workshop) -> None:
    result = workshop.build("FROM base\nRUN --mount=type=tmpfs,target=/scratch,size=1m echo x > /scratch/x\n")
    assert "scratch/x" not in workshop.files(result.image)


def test_a_failing_step_keeps_the_ones_before(workshop: Workshop) -> None:
    text = "FROM base\nRUN echo before > /before\nRUN echo last words; exit 7\n"
    for _ in range(2):
        with pytest.raises(StepFailed) as caught:
            workshop.build(text, "never")
        assert caught.value.status == 7
        assert caught.value.tail == ("last words",)
    assert "[2/3] RUN echo before > /before" in workshop.cached()
    assert workshop.store.check() == ()


def test_a_program_that_is_not_there(workshop: Workshop) -> None:
    with pytest.raises(StepFailed) as caught:
        workshop.build('FROM base\nRUN ["no-such-program"]\n')
    assert caught.value.status == 127
    with pytest.raises(StepFailed) as caught:
        workshop.build("FROM base\nRUN no-such-program\n")
    assert caught.value.status == 127


def test_interrupting_a_running_step(workshop: Workshop) -> None:
    request = BuildRequest(
        context=None, dockerfile="FROM base\nRUN echo $$ > /pid; echo started; while :; do sleep 60; done\n"
    )
    seen: list[Any] = []

    def report(event: object) -> None:
        seen.append(event)
        if isinstance(event, StepOutput):
            signal.raise_signal(signal.SIGINT)

    before = set(threading.enumerate())
    with pytest.raises(KeyboardInterrupt):
        workshop.builder.build(request, report)
    assert set(threading.enumerate()) <= before
    workshop.worker.remove(workshop.store.trash())
    workshop.store.forget_trash(workshop.store.trash())
    assert workshop.store.check() == ()
    with open("/proc/self/mounts") as mounts:
        assert workshop.store.root not in mounts.read()


def test_context_problems_come_with_place_and_hint(workshop: Workshop) -> None:
    (workshop.context / ".dockerignore").write_text("hidden\n")
    (workshop.context / "hidden").write_text("x")
    try:
        with pytest.raises(SourceNotFound, match="dockerignore") as caught:
            workshop.build("FROM base\nCOPY hidden /\n")
    finally:
        os.unlink(workshop.context / ".dockerignore")
    assert caught.value.span is not None


def test_copy_over_a_directory_merges_and_ignore_holds_inside(workshop: Workshop) -> None:
    tree = workshop.context / "tree"
    for name in ("a", "sub/b", "sub/skip.log", "empty/.keep"):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    (tree / "link").symlink_to("sub/b")
    (tree / "empty" / ".keep").unlink()
    (workshop.context / ".dockerignore").write_text("**/*.log\n")
    try:
        result = workshop.build("FROM scratch\nCOPY <<old /d/old\ntext\nold\nCOPY tree /d\n")
    finally:
        os.unlink(workshop.context / ".dockerignore")
    files = workshop.files(result.image)
    assert set(files) == {".", "d", "d/old", "d/a", "d/sub", "d/sub/b", "d/empty", "d/link"}
    assert files["d/link"].link == "sub/b"


def test_what_checks_find_does_not_change_the_image(workshop: Workshop) -> None:
    text = "FROM base as Stage\nENV TOKEN=x\nWORKDIR here\nRUN echo $HOME > file\nCMD echo hi\n"
    first = workshop.build(text)
    found = [event.rule for event in workshop.events if isinstance(event, BuildWarning)]
    assert found == [
        "StageNameCasing",
        "FromAsCasing",
        "SecretsUsedInArgOrEnv",
        "WorkdirRelativePath",
        "JSONArgsRecommended",
    ]
    quiet = workshop.build(f"# check=skip=all\n{text}")
    assert not [event for event in workshop.events if isinstance(event, BuildWarning)]
    assert quiet.image == first.image
    with pytest.raises(DockerfileError):
        workshop.build(f"# check=error=true\n{text}", no_cache=True)
    assert not [event for event in workshop.events if isinstance(event, StepStarted) and event.instruction]
