"""One planned stage, executed: what the cache has is taken, the rest is run, layer by layer."""

from __future__ import annotations

import threading
from collections import deque
from contextlib import ExitStack
from itertools import islice
from typing import assert_never

import msgspec

from contextkernel.build.ahead import CopiesAhead
from contextkernel.build.board import StackLayer
from contextkernel.build.cache import CacheEntry
from contextkernel.build.commits import Stack
from contextkernel.build.copy_step import execute_copy
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.keeping import keep_failed
from contextkernel.build.reporting import StepReport
from contextkernel.build.roots import release_root
from contextkernel.build.run_step import RunExecution
from contextkernel.build.tools import Tools, placed
from contextkernel.errors import ContextKernelError, StepFailed
from contextkernel.model.digest import Digest
from contextkernel.model.layers import MakeDirRequest
from contextkernel.plan.stage import StagePlan
from contextkernel.plan.steps import CopyStep, LayerStep, Origin, RunStep, StageOrigin, WorkdirStep, origins_of


class _Found(msgspec.Struct, frozen=True):
    """A step that was looked at: its sources, its cache key, and what the cache has for it."""

    copy: ResolvedCopy | None
    entry: CacheEntry
    layer: StackLayer | None


class StageRun:
    """A stage while it is executed: first :meth:`take_cached`, then :meth:`run`, perhaps in a thread of its own.

    Args:
        plan: what to do.
        tools: to do it with.
    """

    def __init__(self, plan: StagePlan, tools: Tools) -> None:
        self.plan = plan
        self._tools = tools
        self._stack: Stack | None = None
        self._todo = deque(plan.layer_steps)
        self._found: _Found | None = None
        self._sought: dict[CopyStep, ResolvedCopy] = {}
        self._cache = tools.cache.stage(self.index)
        self._ahead = CopiesAhead(
            tools,
            lambda step: not any(self._lacking(one) or tools.unfetched(one) for one in origins_of(step)),
            self._sources,
            uses_cache=self._cache.allowed,
        )

    @property
    def index(self) -> int:
        """Position of the stage in the Dockerfile."""
        return self.plan.node.index

    @property
    def finished(self) -> bool:
        """Whether all of it is done."""
        return self._tools.board.finished(self.index)

    @property
    def waits_for(self) -> tuple[int, ...]:
        """Positions of the stages that must come to their end before anything more can be done."""
        needed: list[Origin] = [self.plan.node.base]
        if self._todo:
            needed += origins_of(self._todo[0])
        return tuple(one.index for one in needed if self._lacking(one) and isinstance(one, StageOrigin))

    @property
    def program(self) -> RunStep | None:
        """The first RUN that is still to be done."""
        return next((step for step in self._todo if isinstance(step, RunStep)), None)

    @property
    def doomed(self) -> RunStep | None:
        """The first RUN that has to be executed whatever comes before it turns out to be: it is not in the cache.

        ``None`` as long as a step before it may still be found there, and it after that.
        """
        return None if self._cache.active else self.program

    def take_cached(self) -> None:
        """Go on as long as steps are in the cache and what they need is there; runs nothing and never waits."""
        if self._lacking(self.plan.node.base):
            return
        stack = self._begin()
        while self._todo and self._cache.active:
            step = self._todo[0]
            if any(self._lacking(one) or self._tools.unfetched(one) for one in origins_of(step)):
                return
            try:
                found = self._found = self._look(step, stack)
            except ContextKernelError:
                return  # run() comes upon it again, and tells
            if found.layer is None:
                return
            with self._tools.report.step(step.title, instruction=step.original, span=step.span) as report:
                report.cached()
                self._tools.report.layer(report.number, found.layer.diff_id)
            self._take(stack, found.layer)
        if not self._todo:
            self._tools.board.finish(self.index, stack.known)

    def run(self) -> None:
        """Do the rest, waiting for other stages where they are needed.

        Raises:
            StepFailed: a program failed; the steps before it stay cached.
            Canceled: another stage failed.
        """
        tools = self._tools
        self._await([self.plan.node.base], None)
        stack = self._begin()
        try:
            while self._todo:
                self._await(origins_of(self._todo[0]), stack)
                self._step(self._todo[0], stack)
        except BaseException:
            # what was finished before stays finished; if even that fails, the first problem is the one to tell
            with ExitStack() as quiet:
                quiet.push(lambda *problem: isinstance(problem[1], Exception))
                tools.committer.gather(stack, wait=True)
            raise
        finally:
            self._ahead.close()
            release_root(stack, tools)
        tools.committer.gather(stack, wait=True)
        tools.board.finish(self.index, stack.known)

    def _begin(self) -> Stack:
        """The stack of the stage; the first time its FROM is told of."""
        if self._stack is None:
            node = self.plan.node
            if self.plan.from_title:
                with self._tools.report.step(self.plan.from_title, instruction=node.original, span=node.span) as report:
                    if node.base not in self._tools.fetched:
                        report.cached()
            self._stack = self._tools.committer.stack(self._tools.base(node.base))
            self._cache.begin(self._stack)
        return self._stack

    def _lacking(self, origin: Origin) -> bool:
        return isinstance(origin, StageOrigin) and not self._tools.board.finished(origin.index)

    def _await(self, origins: list[Origin] | tuple[Origin, ...], stack: Stack | None) -> None:
        for origin in origins:
            if isinstance(origin, StageOrigin) and self._lacking(origin):
                if stack is not None:  # nobody may wait for one that waits
                    self._tools.committer.gather(stack, wait=True)
                self._tools.board.layers(origin.index)

    def _look(self, step: LayerStep, stack: Stack) -> _Found:
        copy = self._resolved(step)
        mounted = self._tools.mounts.contents(step) if isinstance(step, RunStep) else None
        entry = self._cache.entry(step, copy, mounted)
        return _Found(copy, entry, self._cache.find(entry, stack))

    def _take(self, stack: Stack, layer: StackLayer) -> None:
        stack.known.append(layer)
        self._todo.popleft()
        self._found = None

    def _step(self, step: LayerStep, stack: Stack) -> None:
        tools, board = self._tools, self._tools.board
        with (
            tools.report.step(step.title, instruction=step.original, span=step.span) as report,
            placed(step, tools.source, board),
        ):
            if isinstance(step, CopyStep) and step.link:
                # it may be in the cache whatever lies below, which has to be known before it goes on top
                tools.committer.gather(stack, wait=True)
            for origin in origins_of(step):
                if tools.unfetched(origin):
                    tools.fetch(origin, report.nested)
            found = self._found or self._look(step, stack)
            layer = found.layer
            below = stack.pending[-1].step if stack.pending else board.definition(stack.identity)
            claim = found.entry.definition(below)
            if layer is None and not board.claim(claim):
                tools.committer.gather(stack, wait=True)  # nobody may wait for one that waits
                layer = board.made(claim)
                self._cache.shared(found.entry, stack)
            if layer is not None:
                report.cached()
                tools.report.layer(report.number, layer.diff_id)
                self._take(stack, layer)
                return
            with board.slot():
                # where the host can store one id only, the worker reads owners from the indexes of all layers below
                # and, without overlay, what is there at all
                needed = (tools.fake_ids or tools.backing == "copy") and not isinstance(step, RunStep)
                tools.committer.gather(stack, wait=needed)
                self._make(step, found, claim, stack, report)
            self._todo.popleft()
            self._found = None

    def _kept(self, step: LayerStep, problem: BaseException, stack: Stack, directory: str) -> bool:
        """Whether a failed RUN is kept for a look; if that fails too, the first problem is the one to tell."""
        if not isinstance(step, RunStep) or not isinstance(problem, StepFailed) or self._tools.board.canceled:
            return False  # a program that was killed because of another's failure fails as well
        try:
            return keep_failed(step, problem, stack, directory, self._tools)
        except Exception:
            return False

    def _resolved(self, step: LayerStep) -> ResolvedCopy | None:
        return self._sources(step) if isinstance(step, CopyStep) else None

    def _sources(self, step: CopyStep) -> ResolvedCopy:
        found = self._tools.copies.get(step) or self._sought.get(step)
        if found is None:
            found = self._sought[step] = self._tools.resolve(step)
            self._tools.report.unmatched(step, found.unmatched)
        return found

    def _make(self, step: LayerStep, found: _Found, claim: Digest, stack: Stack, report: StepReport) -> None:
        tools, thread = self._tools, threading.get_ident()
        ahead = self._ahead.take(step)
        directory = ahead.directory if ahead else tools.store.new_layer_dir()
        try:
            with tools.board.stopping(lambda: tools.worker.cancel(thread)):
                match step:
                    case RunStep():
                        more = any(isinstance(one, RunStep) for one in islice(self._todo, 1, None))
                        RunExecution(tools, stack).run(step, directory, report, more=more)
                    case CopyStep():
                        assert found.copy is not None  # noqa: S101 - every copy was resolved
                        if step.link:
                            self._ahead.begin(islice(self._todo, 1, None))
                        if ahead:
                            for note in ahead.wait():
                                tools.report.warn(note, step.span)
                        else:
                            execute_copy(step, found.copy, stack, directory, tools)
                    case WorkdirStep():
                        notes = tools.worker.make_dir(
                            MakeDirRequest(
                                lowers=stack.lowers,
                                upper=f"{directory}/diff",
                                work=f"{directory}/work",
                                path=step.path,
                                owner=step.owner,
                                mtime=None if step.epoch is None else step.epoch * 1_000_000_000,
                            )
                        )
                        for note in notes:
                            tools.report.warn(note, step.span)
                    case _ as never:
                        assert_never(never)
            tools.board.check()
        except BaseException as problem:
            if not self._kept(step, problem, stack, directory):
                tools.committer.give_up(directory)
            raise
        alone = isinstance(step, CopyStep) and step.link
        tools.committer.submit(stack, directory, found.entry.key, claim, report.number, tools.now(), alone=alone)
        if not any(isinstance(one, RunStep) for one in islice(self._todo, 1, None)):
            release_root(stack, tools)
