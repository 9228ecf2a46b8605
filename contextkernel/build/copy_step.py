"""COPY and ADD, executed."""

from __future__ import annotations

from contextkernel.build.commits import Stack
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.tools import Tools
from contextkernel.model.layers import CopyRequest
from contextkernel.plan.steps import ContextOrigin, CopyStep


def execute_copy(step: CopyStep, copy: ResolvedCopy, stack: Stack, directory: str, tools: Tools) -> None:
    """Copy into ``directory`` on top of ``stack``.

    Raises:
        SourceNotFound, InvalidInput: see ``ports.LayerWorker.copy``.
    """
    from_context = isinstance(step.origin, ContextOrigin)
    tools.worker.copy(
        CopyRequest(
            lowers=() if step.link else stack.lowers,
            upper=f"{directory}/diff",
            work=f"{directory}/work",
            source_root=tools.context if from_context else None,
            source_lowers=() if from_context else tools.lowers(step),
            items=copy.items,
            excludes=copy.excludes,
            exclude=step.exclude,
            destination=step.destination,
            directory=step.directory,
            chown=step.chown,
            chmod=step.chmod,
            link=step.link,
        )
    )
