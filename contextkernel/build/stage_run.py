"""One planned stage, executed: what the cache has is taken, the rest is run, layer by layer."""

from __future__ import annotations

from contextlib import ExitStack
from typing import assert_never

from contextkernel.build.cache import CacheEntry
from contextkernel.build.commits import Stack, StackLayer
from contextkernel.build.copy_step import execute_copy
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.reporting import StepReport
from contextkernel.build.run_step import RunExecution
from contextkernel.build.tools import Tools, placed
from contextkernel.model.layers import MakeDirRequest
from contextkernel.plan.stage import StagePlan
from contextkernel.plan.steps import CopyStep, LayerStep, RunStep, WorkdirStep


def run_stage(plan: StagePlan, base: tuple[StackLayer, ...], tools: Tools) -> tuple[StackLayer, ...]:
    """Execute a stage.

    Args:
        plan: what to do.
        base: the layers it starts from.
        tools: to do it with.

    Returns:
        Its layers, base first.

    Raises:
        StepFailed: a program failed; the steps before it stay cached.
    """
    stack = Stack(known=list(base))
    run = _StageRun(plan, tools, stack)
    try:
        for step in plan.layer_steps:
            run.step(step)
    except BaseException:
        # what was finished before stays finished; if even that fails, the first problem is the one to tell
        with ExitStack() as quiet:
            quiet.push(lambda *problem: isinstance(problem[1], Exception))
            tools.committer.gather(stack, wait=True)
        raise
    tools.committer.gather(stack, wait=True)
    return tuple(stack.known)


class _StageRun:
    """A stage while it is executed."""

    def __init__(self, plan: StagePlan, tools: Tools, stack: Stack) -> None:
        self._tools = tools
        self._stack = stack
        self._cache = tools.cache.stage(plan.node.index)
        self._cache.begin(stack)

    def step(self, step: LayerStep) -> None:
        with (
            self._tools.report.step(step.title, instruction=step.original, span=step.span) as report,
            placed(step, self._tools.source),
        ):
            copy = self._resolved(step)
            entry = self._cache.entry(step, copy)
            found = self._cache.find(entry, self._stack)
            if found is not None:
                self._stack.known.append(found)
                report.cached()
                return
            # where the host can store one id only, the worker reads owners from the indexes of all layers below
            owners_needed = self._tools.fake_ids and not isinstance(step, RunStep)
            self._tools.committer.gather(self._stack, wait=owners_needed)
            self._make(entry, copy, report)

    def _resolved(self, step: LayerStep) -> ResolvedCopy | None:
        if not isinstance(step, CopyStep):
            return None
        found = self._tools.copies.get(step)
        if found is None:
            found = self._tools.resolve(step)
            self._tools.report.unmatched(step, found.unmatched)
        return found

    def _make(self, entry: CacheEntry, copy: ResolvedCopy | None, report: StepReport) -> None:
        step = entry.step
        directory = self._tools.store.new_layer_dir()
        try:
            match step:
                case RunStep():
                    RunExecution(self._tools, self._stack).run(step, directory, report)
                case CopyStep():
                    assert copy is not None  # noqa: S101 - every copy was resolved
                    execute_copy(step, copy, self._stack, directory, self._tools)
                case WorkdirStep():
                    self._tools.worker.make_dir(
                        MakeDirRequest(
                            lowers=self._stack.lowers,
                            upper=f"{directory}/diff",
                            work=f"{directory}/work",
                            path=step.path,
                            owner=step.owner,
                        )
                    )
                case _ as never:
                    assert_never(never)
        except BaseException:
            self._tools.committer.give_up(directory)
            raise
        self._tools.committer.submit(self._stack, directory, entry.key, self._tools.now())
