"""An engine without containers: canned rows, recorded calls; for tests of the faces and of programs that use them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any, Unpack

import msgspec

from contextkernel.errors import (
    CommandNotFound,
    ContainerNotFound,
    ContextKernelError,
    ImageInUse,
    ImageNotFound,
    NameInUse,
    NotFound,
)
from contextkernel.model.build_inputs import StepOptions
from contextkernel.model.cache import CacheFilter, CacheLimits, CachePruned, CacheRow
from contextkernel.model.events import StepBroke, StepDone, StepStarted
from contextkernel.model.explanation import KeyChange, StepExplanation
from contextkernel.model.given import Filters, filter_values, several, words_of
from contextkernel.model.outputs import ImageOutput
from contextkernel.model.ports import Reporter, Screen
from contextkernel.model.results import (
    BaseRow,
    BuildResult,
    BuildStep,
    CheckFinding,
    CompareRow,
    ContainerRow,
    Fact,
    HistoryRow,
    HostReport,
    ImageRow,
    Pruned,
    Remedy,
    RunResult,
)
from contextkernel.testing.fake_archives import FakeArchives
from contextkernel.testing.fake_checks import FakeChecks
from contextkernel.testing.fake_debug import FakeDebugging
from contextkernel.testing.fake_files import FakeFiles
from contextkernel.testing.fake_interaction import FakeInteraction
from contextkernel.testing.fake_life import FakeLife, plain
from contextkernel.testing.fake_networks import FakeNetworks
from contextkernel.testing.fake_packs import FakePacks
from contextkernel.testing.fake_planning import FakePlanning
from contextkernel.testing.fake_pulling import FakePulling
from contextkernel.testing.fake_push import FakePushing
from contextkernel.testing.fake_records import FakeRecords
from contextkernel.testing.fake_registries import FakeRegistries
from contextkernel.testing.fake_remote import FakeRemote
from contextkernel.testing.fake_resources import FakeMeasurements
from contextkernel.testing.fake_serving import FakeServing
from contextkernel.testing.fake_usage import FakeUsage
from contextkernel.testing.fake_volumes import FakeVolumes
from contextkernel.testing.samples import (
    BOZO,
    DANGLING,
    GREET,
    WEB,
    build_events,
    container_document,
    history_rows,
    image_document,
)

if TYPE_CHECKING:
    import os

    from contextkernel.engine.asked import CreateKeywords
    from contextkernel.engine.contexts import BuildContext
    from contextkernel.engine.moments import Moment
    from contextkernel.model.outputs import Annotation, Attest, Output


class FakeEngine(
    FakePulling,
    FakeArchives,
    FakeChecks,
    FakeDebugging,
    FakeFiles,
    FakeInteraction,
    FakeLife,
    FakeMeasurements,
    FakeNetworks,
    FakePacks,
    FakePlanning,
    FakePushing,
    FakeRecords,
    FakeRegistries,
    FakeRemote,
    FakeServing,
    FakeUsage,
    FakeVolumes,
):
    """Has every method of :class:`contextkernel.engine.Engine` with the same signatures; changes nothing.

    Attributes:
        calls: every call as ``(method, keyword and positional arguments that differ from the defaults)``.
        stdout, stderr: what a container writes.
        exit_code: what a container exits with.
        on_warning: as of the real one; never called.
        failure: raised by the next build, run, pull or ensure_bases instead of its result.
    """

    def __init__(self, root: str | os.PathLike[str] | None = None) -> None:
        super().__init__()
        self.root = str(root or "/var/lib/contextkernel")
        self.findings: tuple[CheckFinding, ...] = ()
        self.closed = False
        self.on_warning: Callable[[str], None] | None = None

    def close(self) -> None:
        """Remember that it was called."""
        self.closed = True

    def __enter__(self) -> FakeEngine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def build(
        self,
        context: BuildContext = ".",
        *,
        dockerfile: str | None = None,
        text: str | None = None,
        tags: str | Sequence[str] = (),
        build_args: Mapping[str, str | None] | None = None,
        target: str | None = None,
        no_cache: bool = False,
        no_cache_filter: str | Sequence[str] = (),
        pull: bool = False,
        labels: Mapping[str, str] | None = None,
        network: str = "default",
        steps: StepOptions | None = None,
        platform: str | Sequence[str] | None = None,
        jobs: int | None = None,
        contexts: Mapping[str, str] | None = None,
        cache_from: str | Sequence[str] = (),
        cache_to: str | Sequence[str] = (),
        report: Reporter | None = None,
        outputs: str | Sequence[str | Output] = (),
        annotations: str | Sequence[str | Annotation] = (),
        attests: str | Sequence[str | Attest] = (),
        stdout: int | None = None,
    ) -> BuildResult:
        """Report the events of a two-step build; :attr:`failure` breaks its last step."""
        self._note(
            "build",
            context=context,
            dockerfile=dockerfile,
            text=text,
            tags=several(tags),
            build_args=dict(build_args or {}),
            target=target,
            no_cache=no_cache,
            no_cache_filter=several(no_cache_filter),
            pull=pull,
            labels=dict(labels or {}),
            cache_from=several(cache_from),
            cache_to=several(cache_to),
            network="" if network == "default" else network,
            steps=None if steps == StepOptions() else steps,
            platform=platform,
            jobs=jobs,
            contexts=dict(contexts or {}),
            outputs=() if several(outputs) == (ImageOutput(),) else several(outputs),
            annotations=several(annotations),
            attests=several(attests),
            stdout=stdout,
        )
        events = build_events(several(tags))
        if self.failure is not None:
            problem = self.failure.problem if isinstance(self.failure, ContextKernelError) else "canceled"
            events = (*events[:11], StepBroke(step=3, seconds=1.24, problem=problem))
        for event in events:
            if report is not None:
                report(event)
        self._fail()
        return BuildResult(
            image=GREET,
            names=tuple(f"docker.io/library/{tag}" for tag in tags),
            metadata={"containerimage.config.digest": str(GREET), "containerimage.digest": str(GREET)},
            steps=(
                BuildStep(step=2, name="[1/2] FROM ubuntu:20.04", state="cached", seconds=0.2, line=1),
                BuildStep(step=3, name="[2/2] RUN apt-get update", state="done", seconds=1.24, line=2),
            ),
            seconds=1.5,
            explanation=(
                StepExplanation(step=2, name="[1/2] FROM ubuntu:20.04", line=1, detail="found in the cache"),
                StepExplanation(
                    step=3,
                    name="[2/2] RUN apt-get update",
                    line=2,
                    state="miss",
                    reason="changed",
                    detail="ARG VERSION: 1 -> 2; ENV MODE added: a",
                    changes=(
                        KeyChange(input="ARG", name="VERSION", old="1", new="2"),
                        KeyChange(input="ENV", name="MODE", change="added", new="a"),
                    ),
                ),
            ),
            warnings=("JSONArgsRecommended: use JSON arguments for CMD",),
        )

    def images(self, name: str | None = None, *, all: bool = False) -> tuple[ImageRow, ...]:
        """The rows, limited to ``name``."""
        self._note("images", name=name, all=all)
        if name is None:
            return self.image_rows
        return tuple(r for r in self.image_rows if name in (r.repository, f"{r.repository}:{r.tag}"))

    def history(self, image: str) -> tuple[HistoryRow, ...]:
        """The rows of ``greet``, whatever the image."""
        self._note("history", image=image)
        self._image(image)
        return history_rows()

    def inspect(self, names: str | Sequence[str], kind: str | None = None) -> list[dict[str, Any]]:
        """Documents made from the rows."""
        self._note("inspect", names=several(names), kind=kind)
        return [self._inspect(name, kind) for name in several(names)]

    def _inspect(self, name: str, kind: str | None) -> dict[str, Any]:
        if kind == "volume":
            return self.inspect_volume(name)
        if kind == "network":
            return self.inspect_network(name)
        if kind != "image":
            try:
                return container_document(self._container(name))
            except ContainerNotFound:
                if kind:
                    raise
        try:
            return image_document(self._image(name))
        except ImageNotFound:
            if kind:
                raise
            raise NotFound(f"no such object: {name}") from None

    def tag(self, source: str, target: str) -> None:
        """Check that the image is there."""
        self._note("tag", source=source, target=target)
        self._image(source)

    def remove_image(self, name: str, *, force: bool = False) -> tuple[str, ...]:
        """Docker's lines; refused while a container row uses the image."""
        self._note("remove_image", name=name, force=force)
        row = self._image(name)
        users = [c for c in self.container_rows if c.image in (row.repository, f"{row.repository}:{row.tag}")]
        if users and not force:
            raise ImageInUse(
                f"image {name} is used by container {users[0].name} ({users[0].id[:12]})",
                hint=f"remove the container first: rm {users[0].name}",
            )
        return (f"Untagged: {row.repository}:{row.tag}", f"Deleted: {row.id}")

    def prune_images(self, *, all: bool = False, filters: Filters | None = None) -> Pruned:
        """Docker's line of the dangling row."""
        self._note("prune_images", all=all, filters=dict(filters or {}))
        return Pruned(removed=(f"Deleted: {DANGLING}",), size=1_500_000)

    def compare(self, images: str | Sequence[str]) -> tuple[CompareRow, ...]:
        """Sizes from the rows, all of them shared by ubuntu's children."""
        self._note("compare", images=several(images))
        rows = [(name, self._image(name)) for name in several(images)]
        largest = max(row.size for _, row in rows)
        shared = 72_776_453 if len(rows) > 1 else 0
        return tuple(
            CompareRow(
                image=name,
                size=row.size,
                layers=row.layers,
                shared=min(shared, row.size),
                unique=row.size - min(shared, row.size),
                factor=largest / row.size,
            )
            for name, row in rows
        )

    def ensure_bases(self, names: str | Sequence[str], *, report: Reporter | None = None) -> tuple[BaseRow, ...]:
        """A stand-in for each name."""
        self._note("ensure_bases", names=several(names))
        self._fail()
        if report is not None:
            report(StepStarted(step=1, name=f"base {several(names)[0]}"))
            report(StepDone(step=1, seconds=3.0))
        detail = "built with mmdebstrap; docker.io cannot be reached"
        return tuple(
            BaseRow(image=name, action="bootstrapped", stand_in=True, size=72_776_453, detail=detail)
            for name in several(names)
        )

    def run(
        self,
        image: str,
        command: str | Sequence[str] = (),
        *,
        detach: bool = False,
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
        forward_signals: bool = False,
        stdin_open: bool | None = None,
        streams: Collection[str] | None = None,
        screen: Screen | None = None,
        detach_keys: str = "",
        pull: str = "missing",
        report: Reporter | None = None,
        on_created: Callable[[str], None] | None = None,
        **wanted: Unpack[CreateKeywords],
    ) -> RunResult | str:
        """Hand out :attr:`stdout` and :attr:`stderr`; descriptors are only recorded, never written to."""
        del report
        self._note(
            "run",
            image=image,
            command=words_of(command),
            detach=detach,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            forward_signals=forward_signals,
            stdin_open=stdin_open,
            streams=tuple(streams or ()),
            screen=screen is not None,
            detach_keys=detach_keys,
            pull="" if pull == "missing" else pull,
            **plain(wanted),
        )
        self._fail()
        name = wanted.get("name")
        if name is not None and any(row.name == name for row in self.container_rows):
            raise NameInUse(f'the container name "/{name}" is already in use by container "{BOZO}"')
        self._image(image)
        if "nosuchprogram" in words_of(command):
            raise CommandNotFound('exec: "nosuchprogram": executable file not found in $PATH')
        if on_created is not None:
            on_created(WEB)
        return WEB if detach else self._output(WEB, name or "vigilant_curie", stdout, stderr, on_output)

    def start(
        self,
        container: str,
        *,
        attach: bool = False,
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
        forward_signals: bool = False,
        screen: Screen | None = None,
        detach_keys: str = "",
    ) -> RunResult | str:
        """The container's id, or with ``attach`` the canned output."""
        del forward_signals, screen
        self._note("start", container=container, attach=attach, stdin=stdin, detach_keys=detach_keys)
        row = self._container(container)
        return self._output(row.id, row.name, stdout, stderr, on_output) if attach else row.id

    def containers(
        self,
        *,
        all: bool = False,
        latest: bool = False,
        limit: int | None = None,
        filters: Filters | None = None,
        size: bool = False,
    ) -> tuple[ContainerRow, ...]:
        """The rows: running ones, or all; filters by ``status`` and ``name`` only."""
        self._note("containers", all=all, latest=latest, limit=limit, filters=dict(filters or {}), size=size)
        filters = filter_values(filters)
        everything = all or latest or limit is not None or "status" in filters
        rows = [row for row in self.container_rows if everything or row.state == "running"]
        if "status" in filters:
            rows = [row for row in rows if row.state in filters["status"]]
        if "name" in filters:
            rows = [row for row in rows if any(part in row.name for part in filters["name"])]
        return tuple(rows[: 1 if latest else limit])

    def logs(
        self,
        container: str,
        *,
        tail: int | None = None,
        follow: bool = False,
        timestamps: bool = False,
        since: Moment | None = None,
        until: Moment | None = None,
        details: bool = False,
    ) -> Iterator[tuple[str, bytes]]:
        """:attr:`stdout` and :attr:`stderr`, line by line."""
        self._note(
            "logs",
            container=container,
            tail=tail,
            follow=follow,
            timestamps=timestamps,
            since=since,
            until=until,
            details=details,
        )
        self._container(container)
        lines = [
            (s, line)
            for s, d in (("stdout", self.stdout), ("stderr", self.stderr))
            for line in d.splitlines(keepends=True)
        ]
        when = b"2026-11-23T11:59:03.000000000Z " if timestamps else b""
        for stream, line in lines if tail is None else lines[max(0, len(lines) - tail) :]:
            yield stream, when + line

    def stop(self, container: str, *, timeout: int | None = None, signal: str | None = None) -> None:
        """Check that the container is there."""
        self._note("stop", container=container, timeout=timeout, signal=signal)
        self._container(container)

    def kill(self, container: str, *, signal: str = "KILL") -> None:
        """Check that the container is there."""
        self._note("kill", container=container, signal=signal)
        self._container(container)

    def wait(self, container: str) -> int:
        """The row's exit code."""
        self._note("wait", container=container)
        return self._container(container).exit_code

    def remove_container(self, container: str, *, force: bool = False, volumes: bool = False) -> None:
        """Take the row away."""
        self._note("remove_container", container=container, force=force, volumes=volumes)
        row = self._container(container)
        self.container_rows = tuple(other for other in self.container_rows if other is not row)

    def build_cache(self, wanted: CacheFilter | None = None) -> tuple[CacheRow, ...]:
        """:attr:`cache_rows` that fit."""
        self._note("build_cache")
        return tuple(row for row in self.cache_rows if wanted is None or wanted.fits(row))

    def prune_build_cache(
        self, wanted: CacheFilter | None = None, limits: CacheLimits | None = None, *, all: bool = False
    ) -> CachePruned:
        """Take the rows away that fit and are reclaimable."""
        self._note("prune_build_cache", limits=limits, all=all)
        gone = tuple(row for row in self.build_cache(wanted) if row.reclaimable and (all or not row.shared))
        self.cache_rows = tuple(row for row in self.cache_rows if row not in gone)
        return CachePruned(rows=gone, freed=sum(row.size for row in gone if not row.shared))

    def check_store(self, *, repair: bool = False) -> tuple[CheckFinding, ...]:
        """:attr:`findings`, repaired when asked to."""
        self._note("check_store", repair=repair)
        return tuple(msgspec.structs.replace(finding, repaired=repair) for finding in self.findings)

    def host_report(self) -> HostReport:
        """A rootless host."""
        self._note("host_report")
        return HostReport(
            tier="rootless",
            facts=(
                Fact(name="user namespace", verdict="works", milliseconds=1.5),
                Fact(name="overlay", verdict="limited", reason="no index option", remedy="Linux 5.13", milliseconds=2),
                Fact(
                    name="bridged network",
                    verdict="refused",
                    reason="EPERM: no CAP_NET_ADMIN outside",
                    remedy="run as root",
                ),
            ),
            remedies=(
                Remedy(fact="bridged network", who="operator", where="docker", text="run as root", gives="bridges"),
            ),
            build=("RUN is isolated",),
            run=("programs are isolated",),
            milliseconds=31.5,
        )
