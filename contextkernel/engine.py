"""The engine: one method per user verb, composed once from store, worker, runtime and builder.

Both faces (notebook and command line) and scripts use this object and nothing below it. Nothing is
started by creating one: helper processes come with the first verb that needs them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Any

from contextkernel.errors import ContainerNotFound, ImageNotFound, InvalidInput, NotFound
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.host import Inspection
    from contextkernel.model.container import Bind, ContainerSpec, Network, Tmpfs
    from contextkernel.model.digest import Digest
    from contextkernel.model.ids import IdMap
    from contextkernel.model.oci import RunConfig
    from contextkernel.model.platform import Platform
    from contextkernel.model.ports import LayerWorker, Reporter, Runtime
    from contextkernel.model.results import (
        BaseRow,
        BuildResult,
        CheckFinding,
        CompareRow,
        ContainerRow,
        HistoryRow,
        HostReport,
        ImageRow,
        RunResult,
    )
    from contextkernel.runtime.containers import Containers
    from contextkernel.store import Store


def _silent(_event: object) -> None:
    """The reporter of somebody who does not want to know."""


class Engine:
    """Build, run and look into images, in one store.

    Args:
        root: directory of the store; default: ``$CONTEXTKERNEL_ROOT`` or the platform's data directory.
        store, runtime, worker: replace the real ones (tests).
        host: what this machine allows, instead of finding it out; also a way to ask for less than it allows.
        fork_launcher: start the launcher by forking this process: only for small single-threaded
            programs such as the command line.

    Raises:
        HostUnsupported: not on Linux (raised by the first verb, with what to use instead).
        StoreTooNew, StoreProblem: the store cannot be used.
    """

    def __init__(
        self,
        root: str | os.PathLike[str] | None = None,
        *,
        store: Store | None = None,
        runtime: Runtime | None = None,
        worker: LayerWorker | None = None,
        host: Inspection | None = None,
        fork_launcher: bool = False,
    ) -> None:
        self._root = root
        self._fork_launcher = fork_launcher
        self._store_made = store
        self._runtime_made = runtime
        self._worker_made = worker
        self._host_made = host
        self._lock = threading.RLock()
        self._swept = False

    # -- composition ------------------------------------------------------------------------------

    @property
    def root(self) -> str:
        """Directory of the store."""
        return self._store.root

    @property
    def _store(self) -> Store:
        with self._lock:
            if self._store_made is None:
                from contextkernel.host import require_linux
                from contextkernel.store import Store

                require_linux()
                self._store_made = Store.open(self._root)
            return self._store_made

    @property
    def _host(self) -> Inspection:
        with self._lock:
            if self._host_made is None:
                from contextkernel import host

                self._host_made = host.inspect(self._store.root)
            return self._host_made

    @property
    def _idmap(self) -> IdMap:
        return self._host.idmap

    @property
    def _runtime(self) -> Runtime:
        with self._lock:
            if self._runtime_made is None:
                self._runtime_made = self._choose_runtime()
            return self._runtime_made

    def _choose_runtime(self) -> Runtime:
        report = self._host.report
        if report.tier in ("ptrace", "analysis"):
            from contextkernel.runtime.refusal import RefusingRuntime

            return RefusingRuntime(report)
        from contextkernel.runtime.client import NamespaceRuntime
        from contextkernel.runtime.facts import from_report

        return NamespaceRuntime(self._idmap, fork=self._fork_launcher, facts=from_report(self._idmap, report))

    def _worker(self) -> LayerWorker:
        with self._lock:
            if self._worker_made is None:
                from contextkernel.store.worker_client import LayerWorkerClient

                self._worker_made = LayerWorkerClient(self._idmap)
            return self._worker_made

    @property
    def _containers(self) -> Containers:
        from contextkernel.runtime.containers import Containers
        from contextkernel.store.names import generate_name

        return Containers(
            self._store,
            self._runtime,
            self._worker,
            fake_ids=self._idmap.single,
            new_name=lambda: generate_name({spec.name for spec in self._store.containers()}),
        )

    def close(self) -> None:
        """End the helper processes; containers go on. Idempotent."""
        with self._lock:
            runtime, worker, store = self._runtime_made, self._worker_made, self._store_made
            self._runtime_made = self._worker_made = self._store_made = None
        for part in (runtime, worker, store):
            if part is not None:
                part.close()

    def __enter__(self) -> Engine:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # -- images -----------------------------------------------------------------------------------

    def build(
        self,
        context: str | None = ".",
        *,
        dockerfile: str | None = None,
        text: str | None = None,
        tags: Sequence[str] = (),
        build_args: Mapping[str, str | None] | None = None,
        target: str | None = None,
        no_cache: bool = False,
        pull: bool = False,
        labels: Mapping[str, str] | None = None,
        network: str = "default",
        report: Reporter | None = None,
    ) -> BuildResult:
        """Build an image from a Dockerfile and a context directory.

        Args:
            context: directory of files for COPY and ADD; ``None`` for none.
            dockerfile: path of the Dockerfile; default ``Dockerfile`` in the context.
            text: the Dockerfile itself; then no file is read.
            tags: names for the image.
            build_args: values for ARG; ``None`` takes the caller's environment variable.
            target: stage to stop at; default the last.
            no_cache: run every step.
            pull: ask the registry for newer base images.
            labels: added to the image.
            network: for RUN: ``default``, ``none`` or ``host``.
            report: receives the build's events.

        Raises:
            DockerfileError, SourceNotFound, StepFailed, ImageNotFound: see there; finished steps stay cached.
        """
        from contextkernel.build import Builder, BuildRequest, read_dockerfile

        self._sweep()
        source, name = read_dockerfile(context, dockerfile, text)
        request = BuildRequest(
            context=os.path.abspath(context) if context is not None else None,
            dockerfile=source,
            dockerfile_name=name,
            tags=tuple(ImageRef.parse(tag) for tag in tags),
            build_args={
                key: value if value is not None else os.environ.get(key) for key, value in (build_args or {}).items()
            },
            target=target,
            no_cache=no_cache,
            pull=pull,
            labels=dict(labels or {}),
            network=network,
        )
        builder = Builder(self._store, self._worker(), self._runtime, self._resolve_base, fake_ids=self._idmap.single)
        try:
            return builder.build(request, report or _silent)
        finally:
            self._empty_trash()

    def _resolve_base(
        self, ref: ImageRef, *, pull: bool, platform: Platform | None = None, report: Reporter | None = None
    ) -> Digest:
        """The image for a FROM or ``run``: the store's, else pulled."""
        if not pull:
            try:
                return self._store.resolve(str(ref))
            except ImageNotFound:
                pass
        from contextkernel.errors import RegistryProblem
        from contextkernel.registry import pull_image

        try:
            return pull_image(self._store, self._worker(), ref, platform=platform, report=report or _silent)
        except ImageNotFound as problem:
            problem.hint = problem.hint or self._instead(ref)
            raise
        except RegistryProblem as problem:
            if pull:
                raise
            raise ImageNotFound(
                f"image {ref.familiar!r} is not in the store and cannot be pulled: {problem.problem}",
                hint=self._instead(ref),
            ) from problem

    def _instead(self, ref: ImageRef) -> str:
        """What to do without an image that cannot be had."""
        from contextkernel.dockerfile.suggest import nearest

        names: dict[str, str] = {}
        for row in self._store.image_rows():
            names.setdefault(row.repository, f"{row.repository}:{row.tag}")  # the newest
        near = nearest(ref.familiar_name, names)
        if near in names:
            return f"did you mean {names[near]}?"
        return f"`base ensure {ref.familiar}` makes a stand-in where no registry is reachable"

    def pull(self, name: str, *, report: Reporter | None = None) -> Digest:
        """Fetch an image from its registry.

        Raises:
            RegistryUnreachable, RegistryRefused, ImageNotFound: see there.
        """
        from contextkernel.registry import pull_image

        return pull_image(self._store, self._worker(), ImageRef.parse(name), report=report or _silent)

    def ensure_bases(self, names: Sequence[str], *, report: Reporter | None = None) -> tuple[BaseRow, ...]:
        """Make base images available: present, else pulled, else bootstrapped, else assembled from the host.

        Returns:
            One row per name that says what was done; stand-ins are marked.
        """
        from contextkernel.build.bases import ensure

        return ensure(
            self._store,
            self._worker(),
            tuple(ImageRef.parse(name) for name in names),
            idmap=self._idmap,
            report=report or _silent,
        )

    def images(self, name: str | None = None, *, all: bool = False) -> tuple[ImageRow, ...]:
        """Images, newest first; ``name`` limits them to a repository or reference, ``all`` adds untagged parents."""
        return self._store.image_rows(all=all, reference=name)

    def history(self, image: str) -> tuple[HistoryRow, ...]:
        """The steps an image was made by, newest first."""
        return self._store.history_rows(self._store.resolve(image))

    def inspect(self, names: Sequence[str], kind: str | None = None) -> list[dict[str, Any]]:
        """Docker's document for each container or image (containers win, as in docker).

        Args:
            names: names, ids or unique id prefixes.
            kind: ``container`` or ``image`` to look only there.

        Raises:
            NotFound: naming the first that does not exist; ``found`` on the error has the documents before it.
        """
        return [self._inspect(name, kind) for name in names]

    def _inspect(self, name: str, kind: str | None) -> dict[str, Any]:
        if kind in (None, "container"):
            try:
                return self._inspect_container(self._containers.find(name))
            except ContainerNotFound:
                if kind:
                    raise
        try:
            return self._store.inspect_image(self._store.resolve(name))
        except (ImageNotFound, InvalidInput) as problem:
            if kind:
                raise
            raise NotFound(f"no such object: {name}", hint=problem.hint) from None

    def _inspect_container(self, spec: ContainerSpec) -> dict[str, Any]:
        from contextkernel.runtime.inspect import container_document

        return container_document(
            spec,
            self._containers.state(spec),
            self._image_config(spec),
            self._store.layers_of(spec.image_id),
            directory=self._store.container_dir(spec.id),
            tier=self._host.report.tier,
        )

    def _image_config(self, spec: ContainerSpec) -> RunConfig:
        """What the container's image said; nothing if it was removed by force since."""
        from contextkernel.model.oci import RunConfig

        try:
            return self._store.config(spec.image_id).config
        except ImageNotFound:
            return RunConfig()

    def tag(self, source: str, target: str) -> None:
        """Give the image ``source`` the further name ``target``."""
        self._store.tag(self._store.resolve(source), ImageRef.parse(target))

    def remove_image(self, name: str, *, force: bool = False) -> tuple[str, ...]:
        """Remove a name, and the image with its last name.

        Returns:
            Docker's lines: ``Untagged: ...`` and ``Deleted: ...``.

        Raises:
            ImageInUse: a container uses it; the message says which.
        """
        lines = self._store.remove_image(name, force=force)
        self._empty_trash()
        return lines

    def prune_images(self, *, all: bool = False) -> tuple[str, ...]:
        """Remove images without a name (``all``: without a container); docker's lines of what went."""
        used = {spec.image_id for spec in self._store.containers()}
        rows = [row for row in self._store.image_rows(all=False) if row.id not in used]
        lines: list[str] = []
        for row in rows:
            if row.repository == "<none>":
                lines += self._store.remove_image(str(row.id), force=True)
            elif all:
                lines += self._store.remove_image(f"{row.repository}:{row.tag}")
        self._empty_trash()
        return tuple(lines)

    def compare(self, images: Sequence[str]) -> tuple[CompareRow, ...]:
        """Sizes, layers and shared bytes of several images."""
        return self._store.compare([(name, self._store.resolve(name)) for name in images])

    def save(self, names: Sequence[str], output: str | int) -> None:
        """Write images to a docker-archive that is an OCI layout too.

        Args:
            names: images.
            output: path, or open descriptor.
        """
        from contextkernel.store.archive import save

        save(self._store, self._worker(), names, output)

    def load(self, source: str | int) -> tuple[str, ...]:
        """Read images from a docker-archive or OCI layout tar; returns their names."""
        from contextkernel.store.archive import load

        return load(self._store, self._worker(), source)

    def import_image(self, path: str, name: str, *, message: str = "") -> Digest:
        """Make a one-layer image from a tar of a root file system."""
        from contextkernel.store.archive import import_tar

        return import_tar(self._store, self._worker(), path, ImageRef.parse(name), message=message)

    # -- containers -------------------------------------------------------------------------------

    def run(
        self,
        image: str,
        command: Sequence[str] = (),
        *,
        name: str | None = None,
        detach: bool = False,
        remove: bool = False,
        environment: Mapping[str, str] | Sequence[str] = (),
        working_dir: str | None = None,
        user: str = "",
        hostname: str | None = None,
        network: Network = "default",
        read_only: bool = False,
        volumes: Sequence[Bind] = (),
        tmpfs: Sequence[Tmpfs] = (),
        init: bool = False,
        entrypoint: Sequence[str] | None = None,
        labels: Mapping[str, str] | None = None,
        stop_signal: str | None = None,
        stop_timeout: int = 10,
        stdin: bytes | int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
        forward_signals: bool = False,
        pull: str = "missing",
        report: Reporter | None = None,
        on_created: Callable[[str], None] | None = None,
    ) -> RunResult | str:
        """Run a program in a new container of ``image``. Keyword names follow docker-py.

        Args:
            image: name or id; pulled when missing (``pull``: ``missing``, ``always``, ``never``).
            command: replaces the image's CMD.
            detach: return the container's id as soon as it runs.
            remove: remove the container after its exit.
            stdin: bytes to feed, or a descriptor to relay; ``None``: the program reads ``/dev/null``.
            stdout, stderr: descriptors that get the output directly; without them it is collected in the result
                and handed to ``on_output(stream, chunk)`` as it comes.
            forward_signals: pass SIGINT, SIGTERM, ... of this process on to the container (main thread only).
            on_created: called with the id before the start.

        Returns:
            The finished result, or with ``detach`` the container's id.

        Raises:
            CommandNotFound, CommandNotExecutable, LaunchFailed, NameInUse, ImageNotFound, InvalidInput: see there.
            KeyboardInterrupt: after the container has been stopped.
        """
        from contextkernel.runtime.attach import attach
        from contextkernel.runtime.containers import RunOptions
        from contextkernel.runtime.spec import environment_items

        if pull == "never":
            image_id = self._store.resolve(image)
        elif pull == "always":
            image_id = self._resolve_base(ImageRef.parse(image), pull=True, report=report)
        else:
            try:
                image_id = self._store.resolve(image)
            except ImageNotFound:
                image_id = self._resolve_base(ImageRef.parse(image), pull=False, report=report)
        containers = self._containers
        spec = containers.create(
            image,
            image_id,
            RunOptions(
                command=tuple(command),
                entrypoint=tuple(entrypoint) if entrypoint is not None else None,
                name=name,
                environment=environment_items(environment),
                working_dir=working_dir,
                user=user,
                hostname=hostname,
                network=network,
                read_only=read_only,
                binds=tuple(volumes),
                tmpfs=tuple(tmpfs),
                init=init,
                stdin_open=stdin is not None,
                detached=detach,
                auto_remove=remove,
                labels=dict(labels or {}),
                stop_signal=stop_signal,
                stop_timeout=stop_timeout,
            ),
        )
        try:
            if on_created:
                on_created(spec.id)
            if detach:
                containers.start(spec).close()
                return spec.id
            return attach(
                containers,
                spec,
                stdin=stdin,
                stdout=stdout,
                stderr=stderr,
                on_output=on_output,
                forward_signals=forward_signals,
            )
        except BaseException:
            containers.give_up(spec)
            raise

    def start(
        self,
        container: str,
        *,
        attach: bool = False,
        stdout: int | None = None,
        stderr: int | None = None,
        on_output: Callable[[str, bytes], None] | None = None,
    ) -> RunResult | str:
        """Start a created or exited container again; ``attach`` waits for it as :meth:`run` does."""
        from contextkernel.runtime.attach import attach as attach_to

        containers = self._containers
        spec = containers.find(container)
        if not attach:
            containers.start(spec).close()
            return spec.id
        return attach_to(containers, spec, stdout=stdout, stderr=stderr, on_output=on_output)

    def containers(
        self,
        *,
        all: bool = False,
        latest: bool = False,
        limit: int | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> tuple[ContainerRow, ...]:
        """Containers, newest first: the running ones, or with ``all``, ``latest``, ``limit`` or a status filter any."""
        from contextkernel.runtime.containers import matches

        filters = filters or {}
        everything = all or latest or limit is not None or bool({"status", "exited"} & set(filters))
        rows = [row for row in self._containers.rows(running_only=not everything) if matches(row, filters)]
        return tuple(rows[: 1 if latest else limit])

    def logs(
        self, container: str, *, tail: int | None = None, follow: bool = False, timestamps: bool = False
    ) -> Iterator[tuple[str, bytes]]:
        """Yield ``(stream, line)`` of a container's output; ``timestamps`` puts the time before each line."""
        containers = self._containers
        for stream, when, line in containers.logs(containers.find(container), tail=tail, follow=follow):
            yield stream, f"{when} ".encode() + line if timestamps else line

    def stop(self, container: str, *, timeout: int | None = None) -> None:
        """Stop a container: its stop signal, then SIGKILL after ``timeout`` seconds."""
        containers = self._containers
        containers.stop(containers.find(container), timeout)

    def kill(self, container: str, *, signal: str = "KILL") -> None:
        """Send a signal to a running container."""
        containers = self._containers
        containers.kill(containers.find(container), signal)

    def wait(self, container: str) -> int:
        """Wait for a container's exit; its exit code."""
        containers = self._containers
        return containers.wait(containers.find(container))

    def remove_container(self, container: str, *, force: bool = False) -> None:
        """Remove a container and what it wrote; a running one only with ``force``."""
        containers = self._containers
        containers.remove(containers.find(container), force=force)

    # -- the store and the host -------------------------------------------------------------------

    def check_store(self, *, repair: bool = False) -> tuple[CheckFinding, ...]:
        """Look for anything wrong in the store; ``repair`` also puts right what can be."""
        self._sweep()
        findings = self._store.check(repair=repair)
        self._empty_trash()
        return findings

    def host_report(self) -> HostReport:
        """What this host allows, found out by trying."""
        from contextkernel import host

        return host.inspect_host(self._store.root, refresh=True)

    def _sweep(self) -> None:
        """Once per engine: remove what dead processes left behind."""
        if not self._swept:
            self._swept = True
            self._empty_trash()

    def _empty_trash(self) -> None:
        paths = self._store.trash()
        if paths:
            self._worker().remove(paths)
            self._store.forget_trash(paths)
