"""One build, from its request to its outputs: what has to be read is read, planned, executed and exported."""

from __future__ import annotations

import time
from collections.abc import Container, Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, cast

import msgspec

from contextkernel.build.admission import Admission
from contextkernel.build.attestations import build_facts, make_statements
from contextkernel.build.board import Board, StackLayer
from contextkernel.build.cache import BuildCache
from contextkernel.build.cache_exchange import CacheExchange, CachePart
from contextkernel.build.cache_transfer import ForeignCache
from contextkernel.build.commits import Committer, Stack
from contextkernel.build.context import DirectoryContext
from contextkernel.build.copy_step import execute_copy
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.epoch import source_date_epoch
from contextkernel.build.explaining import Explainer
from contextkernel.build.export import Exporter
from contextkernel.build.fetching import OriginLayers
from contextkernel.build.finished import Finished
from contextkernel.build.loading import find_copies, load_context, load_dockerfile, load_named
from contextkernel.build.means import Means
from contextkernel.build.needed_images import NeededImages
from contextkernel.build.opening import open_source
from contextkernel.build.origin_files import OriginFiles
from contextkernel.build.outputs import check_outputs
from contextkernel.build.planning import check_network, plan_stages, stage_graph, step_facts
from contextkernel.build.platforms import admit, bottom_config, for_target
from contextkernel.build.ports import OwnerKeepingWorker
from contextkernel.build.provenance import BuildFacts, metadata_provenance
from contextkernel.build.reporting import BuildReport
from contextkernel.build.request import BuildRequest
from contextkernel.build.run_mounts import MountFacts, RunMounts
from contextkernel.build.schedule import default_jobs, run_stages
from contextkernel.build.secrets import check_secrets
from contextkernel.build.ssh_agents import check_agents
from contextkernel.build.stage_run import StageRun
from contextkernel.build.tools import Tools
from contextkernel.dockerfile.instructions import Dockerfile
from contextkernel.errors import ContextKernelError, StoreProblem
from contextkernel.layer.lowers import overlay_lowers
from contextkernel.model.digest import Digest
from contextkernel.model.explanation import StepExplanation
from contextkernel.model.platform import Platform
from contextkernel.model.results import BuildResult
from contextkernel.plan.arguments import global_scope, platform_arguments, unconsumed
from contextkernel.plan.checks import Subject
from contextkernel.plan.named import parse_contexts
from contextkernel.plan.stage import StagePlan
from contextkernel.plan.stages import StageGraph
from contextkernel.plan.steps import ContextOrigin, CopyStep, Origin, ScratchOrigin

if TYPE_CHECKING:
    from contextkernel.store.steps import StepRecord


class Build:
    """One build, for one platform or several.

    Args:
        means: has what it is done with.
        request: what is asked for.
        report: receives the events.
        stack: what was taken for the build is given back when it is closed.
    """

    def __init__(self, means: Means, request: BuildRequest, report: BuildReport, stack: ExitStack) -> None:
        self._means, self._store = means, means.store
        self._request = request
        self._report = report
        self._stack = stack
        self._args = request.given_args
        self._scope = f"{request.context or ''}:{request.dockerfile_name}"
        self._platform = request.platform or means.platform
        self._contexts: dict[Origin, DirectoryContext] = {}
        self._fetching = means.fetching(request, self._keep, stack, lambda: self._board.canceled)
        self._stack.callback(lambda: self._store.release(self._fetching.added) if self._fetching.added else None)
        self._layers = OriginLayers(self._fetching, self._contexts)
        self._layers[ScratchOrigin()] = ()
        self._named = parse_contexts(request.contexts, request.platform)
        self._jobs = default_jobs() if request.jobs is None else request.jobs
        self._board = Board(self._jobs)
        self._images = NeededImages(means, request, self._layers, board=self._board, report=report, stack=stack)
        self._files = OriginFiles(self._contexts, self._layers, self._board)
        self._epoch: int | None = None
        self._asked, self._began, self._prefix = request, time.time(), ""
        self._ignore: tuple[str, ...] = ()
        self._facts: BuildFacts | None = None
        self._foreign: tuple[ForeignCache, ...] = ()
        self._parts: list[CachePart] = []

    def run(self) -> BuildResult:
        """Do all of it; errors as of ``Builder.build``."""
        check_network(self._request.network)
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

    def _for(self, platform: Platform) -> Build:
        """The same for one of several platforms."""
        request = msgspec.structs.replace(self._request, platform=platform, platforms=())
        build = Build(self._means, request, self._report, self._stack)
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
        dockerfile, checks = load_dockerfile(self._request, self._subject(), self._report)
        try:
            self._load_contexts(layered=given is not None)
            graph, scope = self._graph(dockerfile)
        except ContextKernelError:
            checks.broken()
            raise
        checks.stages(graph, self._images.configs, self._ignore)
        plans = self._plan(dockerfile, graph, scope)
        mounts = self._mounts(plans)
        copies = find_copies(plans, self._contexts, self._files, mounts, dockerfile.source, self._report)
        scope_of = (self._request.context or "", self._request.dockerfile_name, *filter(None, (self._prefix,)))
        explainer = Explainer(self._store, scope_of, plans, self._images.ids)
        worker, resolve = self._means.worker, self._means.resolve_base
        remote = self._means.remote_caches
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
            self._images.ids,
            text=dockerfile.source,
            fetched=self._fetching.digests,
            builder=self._means.platform,
            platform=self._platform,
            began=self._began,
        )
        inline = exchange.write(explainer.asked(), [layer.diff_id for layer in self._board.layers(graph.target)])
        finished = Finished(
            state=plans[graph.target].state,
            base=for_target(bottom_config(plans, graph.target, self._images.configs), self._request.platform),
            layers=self._board.layers(graph.target),
            platform=self._platform,
            inline_cache=inline,
        )
        return finished, explainer.rows(self._report.steps)

    # -- reading and planning ---------------------------------------------------------------------

    def _subject(self) -> Subject:
        return Subject(
            build_args=self._args,
            build_platform=self._means.platform,
            platform=self._platform,
            target=self._request.target,
        )

    def _load_contexts(self, *, layered: bool) -> None:
        """The directories to copy from; ``layered``: the build context is not one of them."""
        if not layered:
            self._contexts[ContextOrigin()], self._ignore = load_context(self._request, self._store, self._report)
        for origin, path in self._named.directories.items():
            self._contexts[origin] = load_named(origin.name, path, self._store, self._report)

    def _graph(self, dockerfile: Dockerfile) -> tuple[StageGraph, Mapping[str, str]]:
        """The stages, once all images they need are here; and the variables of the whole file."""
        target = self._request.target
        start = platform_arguments(self._means.platform, self._platform, target, self._args)
        scope = global_scope(dockerfile, self._args, start)
        return stage_graph(dockerfile, scope, target, self._named.origins, self._images), scope

    def _plan(self, dockerfile: Dockerfile, graph: StageGraph, scope: Mapping[str, str]) -> dict[int, StagePlan]:
        self._epoch = source_date_epoch(self._args, scope, self._request.context_epoch, self._report.warn)
        facts = step_facts(self._request, dockerfile, scope, self._epoch)
        return plan_stages(graph, facts, self._images.configs, prefix=self._prefix)

    # -- doing ------------------------------------------------------------------------------------

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

        means, request, store, board = self._means, self._request, self._store, self._board
        # every worker takes what lies below a layer; the port will say so once all of them are known to
        worker = cast("OwnerKeepingWorker", means.worker)
        with Committer(
            store, worker, record, board, self._report.layer, jobs=self._jobs, keep=self._keep_new
        ) as committer:
            # after the image refers to them: until then another builder's equal step could make them unused
            self._stack.callback(lambda: store.release(committer.added) if committer.added else None)
            tools = Tools(
                store=store,
                worker=worker,
                runtime=means.runtime,
                committer=committer,
                cache=BuildCache(
                    store, explainer, self._keep, without=_without_cache(plans, request), foreign=self._foreign
                ),
                board=board,
                report=self._report,
                fake_ids=means.fake_ids,
                shows_users=means.programs.shows_users,
                backing=means.backing,
                source=source,
                context=self._contexts.get,
                copies=copies,
                resolve=lambda step: self._files.copy(step, plans),
                lowers=lambda step: overlay_lowers(layer.directory for layer in self._files.layers_of(step.origin)),
                mounts=mounts,
                scope=self._scope,
                record=request.record,
                base=self._files.layers_of,
                fetched=self._images.fetched,
                unfetched=self._layers.unfetched,
                fetch=self._layers.fetch,
                now=means.now,
            )
            self._stack.callback(mounts.close, tools)
            run_stages(
                [StageRun(plan, tools) for plan in plans.values()],
                tools,
                jobs=self._jobs,
                admit=Admission(
                    means.programs,
                    self._report,
                    lambda stage: admit(
                        stage,
                        bottom_config(plans, stage.index, self._images.configs),
                        target=self._platform,
                        host=means.platform,
                        cannot_run=means.cannot_run,
                        source=source,
                    ),
                    source,
                ),
            )

    def _warn_unconsumed(self, dockerfile: Dockerfile) -> None:
        names = unconsumed(dockerfile, self._args)
        if names:
            self._report.warn(f"[Warning] One or more build-args [{' '.join(names)}] were not consumed")

    def _export(self, builds: Sequence[Build], finished: Sequence[Finished]) -> BuildResult:
        worker = self._means.worker
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
