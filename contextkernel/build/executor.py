"""The builder: from a request to an image in the store."""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING, cast

import msgspec

from contextkernel.build.admission import PROGRAMS, Admission, Programs
from contextkernel.build.attestations import build_facts, make_statements
from contextkernel.build.board import Board, StackLayer
from contextkernel.build.cache import BuildCache
from contextkernel.build.cache_exchange import CacheExchange, CachePart
from contextkernel.build.cache_transfer import ForeignCache, RemoteCaches
from contextkernel.build.checking import Checker
from contextkernel.build.commits import Committer, Stack
from contextkernel.build.context import DirectoryContext
from contextkernel.build.copy_step import execute_copy
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.crew import together
from contextkernel.build.epoch import source_date_epoch
from contextkernel.build.explaining import Explainer
from contextkernel.build.export import Exporter
from contextkernel.build.fetching import Fetching, OriginLayers
from contextkernel.build.finished import Finished
from contextkernel.build.opening import credentials_of, named_directory, open_source
from contextkernel.build.origin_files import OriginFiles
from contextkernel.build.outputs import check_outputs
from contextkernel.build.platforms import CannotRun, admit, bottom_config, for_target
from contextkernel.build.ports import BaseResolver, BuildStore, LayoutResolver, OwnerKeepingWorker
from contextkernel.build.provenance import BuildFacts, metadata_provenance
from contextkernel.build.reporting import BuildReport, bytes_text
from contextkernel.build.request import BuildRequest
from contextkernel.build.run_mounts import MountFacts, RunMounts
from contextkernel.build.schedule import default_jobs, run_stages
from contextkernel.build.secrets import check_secrets
from contextkernel.build.sources import read_ignore
from contextkernel.build.ssh_agents import check_agents
from contextkernel.build.stage_run import StageRun
from contextkernel.build.tools import Tools, placed
from contextkernel.dockerfile.ignore import IgnoreMatcher, parse_ignore
from contextkernel.dockerfile.instructions import Dockerfile
from contextkernel.dockerfile.parse import assemble, read_instructions
from contextkernel.dockerfile.suggest import nearest
from contextkernel.errors import ContextKernelError, HostUnsupported, ImageNotFound, InvalidInput, StoreProblem
from contextkernel.host.emulation import cannot_run
from contextkernel.layer.lowers import overlay_lowers
from contextkernel.model.backing import Backing
from contextkernel.model.digest import Digest
from contextkernel.model.explanation import StepExplanation
from contextkernel.model.fetching import Fetcher
from contextkernel.model.layers import Entry
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.model.ports import IndexReader, LayerWorker, Reporter, Runtime
from contextkernel.model.results import BuildResult
from contextkernel.plan.arguments import global_scope, platform_arguments, proxy_environment, unconsumed
from contextkernel.plan.checks import Subject
from contextkernel.plan.named import parse_contexts
from contextkernel.plan.remote import GitOrigin, HttpOrigin
from contextkernel.plan.run_steps import settings_of
from contextkernel.plan.stage import Facts, StagePlan, from_files, from_image, from_scratch, from_stage, plan_stage
from contextkernel.plan.stages import StageGraph, build_graph
from contextkernel.plan.steps import (
    Base,
    ContextOrigin,
    CopyStep,
    ImageOrigin,
    Network,
    Origin,
    RunStep,
    ScratchOrigin,
    StageOrigin,
    origins_of,
)

if TYPE_CHECKING:
    from contextkernel.store.steps import StepRecord

_NETWORKS: dict[str, Network] = {"default": "default", "none": "none", "host": "host", "": "default"}
_TRIES = 3  # to keep a base image, where somebody prunes again and again


class Builder:
    """Builds images with what it is given; knows neither registries nor namespaces itself.

    Args:
        store: layers, images and the build cache.
        worker: copies files and hashes layers, with the container's ids.
        runtime: runs programs.
        resolve_base: finds the images that are built upon or copied from.
        fake_ids: this host maps one id only.
        backing: what the roots of steps are made with.
        platform: of this host.
        read_index: reads a layer's index.
        now: nanoseconds since the epoch.
        fetcher: fetches URLs and Git repositories; ``None`` where nothing may be fetched.
        resolve_layout: finds images in directories in OCI image layout.
        fetch_limit: the most bytes that an archive may have when unpacked.
        cannot_run: says which platforms' programs do not run here.
        programs: whether programs run here, and what has to be said before one does.
        remote_caches: build caches in registries.
    """

    def __init__(
        self,
        store: BuildStore,
        worker: LayerWorker,
        runtime: Runtime,
        resolve_base: BaseResolver,
        *,
        fake_ids: bool = False,
        backing: Backing = "overlay",
        platform: Platform | None = None,
        read_index: IndexReader | None = None,
        now: Callable[[], int] = time.time_ns,
        fetcher: Fetcher | None = None,
        resolve_layout: LayoutResolver | None = None,
        fetch_limit: int | None = None,
        cannot_run: CannotRun = cannot_run,
        programs: Programs = PROGRAMS,
        remote_caches: RemoteCaches | None = None,
    ) -> None:
        self._store = store
        self._worker = worker
        self._runtime = runtime
        self._resolve_base = resolve_base
        self._fake_ids = fake_ids
        self._backing = backing
        self._platform = platform or Platform.host()
        self._read_index = read_index or _read_index
        self._now = now
        self._fetcher = fetcher
        self._resolve_layout = resolve_layout or _no_layouts
        self._fetch_limit = fetch_limit
        self._cannot_run = cannot_run
        self._programs = programs
        self._remote_caches = remote_caches

    def fetching(
        self, request: BuildRequest, keep: Callable[[Digest], bool], stack: ExitStack, stopped: Callable[[], bool]
    ) -> Fetching:
        """What makes layers of what ``request`` needs fetched.

        Args:
            request: of the build.
            keep: keeps a cached layer until the build ends.
            stack: closed when the build ends.
            stopped: whether it is to stop.
        """
        return Fetching(
            self._store,
            self._worker,
            self._fetcher,
            credentials=lambda: credentials_of(request, self._store.temporary_path(), stack),
            keep=keep,
            limit=self._fetch_limit,
            fresh=request.no_cache,
            stopped=stopped,
            now=self._now,
        )

    def build(self, request: BuildRequest, report: Reporter) -> BuildResult:
        """Build.

        Args:
            request: what to build.
            report: receives the events of :mod:`contextkernel.model.events`.

        Raises:
            DockerfileError: the text cannot be built; nothing was run.
            InvalidInput: a target or network that does not exist.
            SourceNotFound: a COPY source is missing; nothing was run if it should be in the context.
            ImageNotFound: a base image cannot be had.
            StepFailed: a program failed; the steps before it stay cached.
            KeyboardInterrupt, anything else: the running step was killed and its files are gone.
        """
        with ExitStack() as stack:
            return _Build(self, request, BuildReport(report), stack).run()


class _Build:
    """One build."""

    def __init__(self, builder: Builder, request: BuildRequest, report: BuildReport, stack: ExitStack) -> None:
        self._builder, self._store = builder, builder._store
        self._request = request
        self._report = report
        self._stack = stack
        self._args = request.given_args
        self._scope = f"{request.context or ''}:{request.dockerfile_name}"
        self._platform = request.platform or builder._platform
        self._configs: dict[ImageOrigin, ImageConfig] = {}
        self._contexts: dict[Origin, DirectoryContext] = {}
        self._fetching = builder.fetching(request, self._keep, stack, lambda: self._board.canceled)
        self._stack.callback(lambda: self._store.release(self._fetching.added) if self._fetching.added else None)
        self._layers = OriginLayers(self._fetching, self._contexts)
        self._layers[ScratchOrigin()] = ()
        self._named = parse_contexts(request.contexts, request.platform)
        self._pulled: set[Base] = set()
        self._jobs = default_jobs() if request.jobs is None else request.jobs
        self._board = Board(self._jobs)
        self._files = OriginFiles(self._contexts, self._layers, self._board, builder._read_index)
        self._epoch: int | None = None
        self._asked, self._began, self._prefix = request, time.time(), ""
        self._ignore: tuple[str, ...] = ()
        self._images: dict[ImageOrigin, Digest] = {}
        self._facts: BuildFacts | None = None
        self._foreign: tuple[ForeignCache, ...] = ()
        self._parts: list[CachePart] = []

    def run(self) -> BuildResult:
        if self._request.network not in _NETWORKS:
            raise InvalidInput(
                f"network {self._request.network!r} is not supported for a build", hint="one of default, none, host"
            )
        platforms = self._request.platforms
        check_outputs(self._request, max(1, len(platforms)))
        if self._request.steps.cgroup_parent:
            self._report.warn("--cgroup-parent has no effect: steps have no cgroup of their own")
        check_secrets(self._request.steps.secrets)
        check_agents(self._request.steps.agents)
        self._request, given = open_source(self._request, self._fetching, self._report, self._stack)
        builds = [self] if not platforms else [self._for(platform) for platform in platforms]
        made = [build.make(given) for build in builds]
        result = builds[0]._export(builds, [finished for finished, _ in made])
        self._store.forget_failed(self._scope)
        return msgspec.structs.replace(result, explanation=tuple(row for _, rows in made for row in rows))

    def _for(self, platform: Platform) -> _Build:
        """The same for one of several platforms."""
        request = msgspec.structs.replace(self._request, platform=platform, platforms=())
        build = _Build(self._builder, request, self._report, self._stack)
        build._prefix, build._asked, build._parts = f"{platform} ", self._asked, self._parts
        build._fetching.digests = self._fetching.digests
        return build

    def make(self, given: StackLayer | None) -> tuple[Finished, tuple[StepExplanation, ...]]:
        """Everything but the export.

        Args:
            given: the context, where it had to be fetched or unpacked.
        """
        if given is not None:
            self._layers[ContextOrigin()] = (given,)
        dockerfile, checks = self._load_dockerfile()
        try:
            self._load_contexts(layered=given is not None)
            graph, scope = self._graph(dockerfile)
        except ContextKernelError:
            checks.broken()
            raise
        checks.stages(graph, self._configs, self._ignore)
        plans = self._plan(dockerfile, graph, scope)
        mounts = self._mounts(plans)
        copies = self._find_copies(mounts, plans, dockerfile.source)
        scope_of = (self._request.context or "", self._request.dockerfile_name, *filter(None, (self._prefix,)))
        explainer = Explainer(self._store, scope_of, plans, self._images)
        worker, resolve = self._builder._worker, self._builder._resolve_base
        remote = self._builder._remote_caches
        exchange = CacheExchange(self._store, worker, self._asked, self._report, resolve, self._parts, remote)
        self._foreign = exchange.open(self._stack)
        try:
            self._execute(plans, copies, mounts, dockerfile.source, explainer)
        finally:
            explainer.flush()
        self._warn_unconsumed(dockerfile)
        self._facts = build_facts(
            self._asked,
            tuple(plans.values()),
            self._images,
            text=dockerfile.source,
            fetched=self._fetching.digests,
            builder=self._builder._platform,
            platform=self._platform,
            began=self._began,
        )
        inline = exchange.write(explainer.asked(), [layer.diff_id for layer in self._board.layers(graph.target)])
        finished = Finished(
            state=plans[graph.target].state,
            base=for_target(bottom_config(plans, graph.target, self._configs), self._request.platform),
            layers=self._board.layers(graph.target),
            platform=self._platform,
            inline_cache=inline,
        )
        return finished, explainer.rows(self._report.steps)

    # -- reading ----------------------------------------------------------------------------------

    def _load_dockerfile(self) -> tuple[Dockerfile, Checker]:
        name, text = self._request.dockerfile_name, self._request.dockerfile or ""
        with self._report.step(f"[internal] load build definition from {name.rpartition('/')[2]}") as step:
            size = len(text if isinstance(text, bytes) else text.encode("utf-8", "surrogateescape"))
            step.note(f"transferring dockerfile: {bytes_text(size)}")
            reading = read_instructions(text, file=name)
            subject = Subject(
                build_args=self._args,
                build_platform=self._builder._platform,
                platform=self._platform,
                target=self._request.target,
            )
            checks = Checker(reading, subject, self._report)
            if reading.problem is not None:
                checks.broken()
            return assemble(reading), checks

    def _load_contexts(self, *, layered: bool) -> None:
        """The directories to copy from; ``layered``: the build context is not one of them."""
        if not layered:
            self._contexts[ContextOrigin()] = self._load_context()
        for origin, path in self._named.directories.items():
            with self._report.step(f"[context {origin.name}] load .dockerignore"):
                self._contexts[origin] = named_directory(origin.name, path, self._store)

    def _load_context(self) -> DirectoryContext:
        if self._request.context is not None:
            with self._report.step("[internal] load .dockerignore") as step:
                found = read_ignore(self._request.context, self._request.dockerfile_name)
                step.note(f"transferring context: {bytes_text(len(found[0]) if found else 2)}")
                if found:
                    self._ignore = parse_ignore(found[0])
                    try:
                        matcher = IgnoreMatcher(self._ignore)
                    except InvalidInput as problem:
                        raise InvalidInput(f"{found[1]}: {problem.problem}", hint=problem.hint) from None
                    return DirectoryContext(self._request.context, matcher, self._store)
        return DirectoryContext(self._request.context, IgnoreMatcher(()), self._store)

    # -- planning ---------------------------------------------------------------------------------

    def _graph(self, dockerfile: Dockerfile) -> tuple[StageGraph, Mapping[str, str]]:
        """The stages, once all images they need are here; triggers of an image may bring in more."""
        target = self._request.target
        start = platform_arguments(self._builder._platform, self._platform, target, self._args)
        scope = global_scope(dockerfile, self._args, start)
        while True:
            graph = build_graph(
                dockerfile, scope=scope, target=target, images=self._configs, contexts=self._named.origins
            )
            missing = graph.missing(self._configs)
            if not missing:
                return graph, scope
            first = self._report.reserve(len(missing))
            works = [
                partial(self._resolve, image, first + place, graph, dockerfile) for place, image in enumerate(missing)
            ]
            if len(works) == 1:
                works[0]()
            else:
                together(works, self._board, self._report)

    def _resolve(self, image: ImageOrigin, number: int, graph: StageGraph, dockerfile: Dockerfile) -> None:
        with self._report.step(f"[internal] load metadata for {image.ref}", number=number) as step:

            def nested(event: object) -> None:
                self._board.check()
                step.nested(event)

            def find() -> Digest:
                platform = image.platform or self._request.platform
                if image.layout:
                    return self._builder._resolve_layout(image.layout, platform=platform, report=nested)
                return self._builder._resolve_base(image.ref, pull=self._request.pull, platform=platform, report=nested)

            try:
                self._images[image] = self._held_base(image, find)
            except ImageNotFound as problem:
                near = nearest(image.ref.familiar_name, graph.names())
                problem.span, problem.source = problem.span or graph.place(image), dockerfile.source
                problem.hint = f"did you mean the stage {near!r}?" if near else problem.hint
                raise
            if step.transferred:
                self._pulled.add(image)

    def _held_base(self, image: ImageOrigin, find: Callable[[], Digest]) -> Digest:
        """Find an image and keep what it is made of; once more if it was removed in between (``prune`` beside it)."""
        for left in reversed(range(_TRIES)):
            found = find()
            try:
                ids = [layer.diff_id for layer in self._store.layers_of(found)]
                self._stack.enter_context(self._store.hold(ids))
                layers = self._store.layers_of(found)  # as they are, now that they stay
                self._configs[image] = self._store.config(found)
            except (ImageNotFound, StoreProblem):
                if not left:
                    raise
                continue
            self._layers[image] = tuple(StackLayer(layer.diff_id, layer.directory) for layer in layers)
            return found
        raise AssertionError  # the last try returns or raises

    def _keep_new(self, layer: Digest) -> None:
        """Keep a layer that is about to be added until the build ends."""
        self._stack.enter_context(self._store.hold([layer], expected=True))

    def _keep(self, layer: Digest) -> bool:
        """Keep a cached layer until the build ends; false if somebody removed it just now."""
        try:
            self._stack.enter_context(self._store.hold([layer]))
        except StoreProblem:
            return False
        return True

    def _plan(self, dockerfile: Dockerfile, graph: StageGraph, scope: Mapping[str, str]) -> dict[int, StagePlan]:
        self._epoch = source_date_epoch(self._args, scope, self._request.context_epoch, self._report.warn)
        facts = Facts(
            dockerfile=dockerfile,
            scope=scope,
            build_args=self._args,
            proxy=proxy_environment(self._args),
            network=_NETWORKS[self._request.network],
            run=settings_of(self._args, self._request.steps, _NETWORKS[self._request.network]),
            epoch=self._epoch,
        )
        plans: dict[int, StagePlan] = {}
        for index in graph.needed:
            node = graph.stages[index]
            node = msgspec.structs.replace(node, shown=f"{self._prefix}{node.shown}".rstrip())
            match node.base:
                case ScratchOrigin():
                    start = from_scratch()
                case ContextOrigin() | HttpOrigin() | GitOrigin():
                    start = from_files(node.base)
                case ImageOrigin():
                    start = from_image(self._configs[node.base])
                case StageOrigin(index=below):
                    start = from_stage(plans[below].state)
            plans[index] = plan_stage(node, start, facts)
        return plans

    def _find_copies(
        self, mounts: RunMounts, plans: Mapping[int, StagePlan], source: str
    ) -> dict[CopyStep, ResolvedCopy]:
        """Sources in the context: all of them before anything runs, so that a missing one costs no time."""
        users = [step for plan in plans.values() for step in plan.layer_steps if ContextOrigin() in origins_of(step)]
        steps = [step for step in users if isinstance(step, CopyStep)]
        mounting = [step for step in users if isinstance(step, RunStep)]
        found: dict[CopyStep, ResolvedCopy] = {}
        reading = [step for step in steps if step.sources]
        for step in steps:
            if not step.sources:
                found[step] = self._files.copy(step, plans)
        if reading or mounting:
            with self._report.step("[internal] load build context") as report:
                for step in reading:
                    with placed(step, source):
                        found[step] = self._files.copy(step, plans)
                for run in mounting:
                    with placed(run, source):
                        mounts.contents(run, context_only=True)
                for context in self._contexts.values():
                    context.remember()
                size = sum(context.transferred for context in self._contexts.values())
                report.note(f"transferring context: {bytes_text(size)}")
        for step, copy in found.items():
            self._report.unmatched(step, copy.unmatched)
        return found

    def _mounts(self, plans: Mapping[int, StagePlan]) -> RunMounts:
        steps = self._request.steps
        return RunMounts(
            MountFacts(
                secrets=steps.secrets,
                agents=steps.agents,
                tree=lambda origin: self._files.files(origin, plans),
                lowers=lambda origin: overlay_lowers(layer.directory for layer in self._files.layers_of(origin)),
                copy=lambda step, directory, tools: execute_copy(
                    step, self._files.copy(step, plans), Stack(()), directory, tools
                ),
            )
        )

    # -- doing ------------------------------------------------------------------------------------

    def _execute(
        self,
        plans: Mapping[int, StagePlan],
        copies: Mapping[CopyStep, ResolvedCopy],
        mounts: RunMounts,
        source: str,
        explainer: Explainer,
    ) -> None:
        from contextkernel.store.steps import StepRecord

        def record(diff_id: Digest, created: int) -> StepRecord:
            return StepRecord(diff_id=diff_id, created=created)

        builder, request, store, board = self._builder, self._request, self._store, self._board
        # every worker takes what lies below a layer; the port will say so once all of them are known to
        worker = cast("OwnerKeepingWorker", builder._worker)
        with Committer(
            store, worker, record, board, self._report.layer, jobs=self._jobs, keep=self._keep_new
        ) as committer:
            # after the image refers to them: until then another builder's equal step could make them unused
            self._stack.callback(lambda: store.release(committer.added) if committer.added else None)
            tools = Tools(
                store=store,
                worker=worker,
                runtime=builder._runtime,
                committer=committer,
                cache=BuildCache(
                    store, explainer, self._keep, without=_without_cache(plans, request), foreign=self._foreign
                ),
                board=board,
                report=self._report,
                fake_ids=builder._fake_ids,
                shows_users=builder._programs.shows_users,
                backing=builder._backing,
                source=source,
                context=self._contexts.get,
                copies=copies,
                resolve=lambda step: self._files.copy(step, plans),
                lowers=lambda step: overlay_lowers(layer.directory for layer in self._files.layers_of(step.origin)),
                mounts=mounts,
                scope=self._scope,
                record=request.record,
                base=self._files.layers_of,
                fetched=self._pulled,
                unfetched=self._layers.unfetched,
                fetch=self._layers.fetch,
                now=builder._now,
            )
            self._stack.callback(mounts.close, tools)
            run_stages(
                [StageRun(plan, tools) for plan in plans.values()],
                tools,
                jobs=self._jobs,
                admit=Admission(
                    builder._programs,
                    self._report,
                    lambda stage: admit(
                        stage,
                        bottom_config(plans, stage.index, self._configs),
                        target=self._platform,
                        host=builder._platform,
                        cannot_run=builder._cannot_run,
                        source=source,
                    ),
                    source,
                ),
            )

    def _warn_unconsumed(self, dockerfile: Dockerfile) -> None:
        names = unconsumed(dockerfile, self._args)
        if names:
            self._report.warn(f"[Warning] One or more build-args [{' '.join(names)}] were not consumed")

    def _export(self, builds: Sequence[_Build], finished: Sequence[Finished]) -> BuildResult:
        worker = self._builder._worker
        facts = {build._platform: build._facts for build in builds if build._facts is not None}
        name = self._request.tags[0].familiar if self._request.tags else "image"
        exporter = Exporter(
            self._store,
            worker,
            self._report,
            self._request,
            epoch=self._epoch,
            keep=self._keep,
            stack=self._stack,
            statements=lambda finished: make_statements(
                self._request.attests,
                finished,
                facts[finished.platform],
                self._store,
                worker,
                name=name,
                epoch=self._epoch,
                warn=self._report.warn,
            ),
            metadata={"buildx.build.provenance": metadata_provenance(facts[builds[0]._platform])},
        )
        return exporter.export(finished)


def _without_cache(plans: Mapping[int, StagePlan], request: BuildRequest) -> Container[int]:
    """Positions of the stages that ``--no-cache`` and ``--no-cache-filter`` mean; names in any case, as BuildKit."""
    if request.no_cache:
        return plans
    names = {name.lower() for name in request.no_cache_stages}
    return {index for index, plan in plans.items() if plan.node.name in names}


def _no_layouts(layout: str, *, platform: Platform | None = None, report: Reporter | None = None) -> Digest:
    del platform, report
    raise HostUnsupported(f"this builder was made without a way to read the image layout {layout!r}")


def _read_index(path: str) -> list[Entry]:
    from contextkernel.layer.index import unpack_index

    with open(path, "rb") as stream:
        return unpack_index(stream.read())
