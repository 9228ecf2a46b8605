"""COPY and ADD, executed."""

from __future__ import annotations

from contextkernel.build.commits import Stack
from contextkernel.build.copying import ResolvedCopy
from contextkernel.build.steadiness import check_unchanged
from contextkernel.build.tools import Tools
from contextkernel.model.layers import CopyRequest
from contextkernel.plan.steps import CopyStep


def execute_copy(step: CopyStep, copy: ResolvedCopy, stack: Stack, directory: str, tools: Tools) -> None:
    """Copy into ``directory`` on top of ``stack``; what the worker notes becomes a warning at the step.

    Raises:
        SourceNotFound: see ``ports.LayerWorker.copy``.
        InvalidInput: the same, or a file of a context changed meanwhile.
    """
    for note in copy_files(step, copy, () if step.link else stack.lowers, directory, tools):
        tools.report.warn(note, step.span)


def copy_files(
    step: CopyStep, copy: ResolvedCopy, lowers: tuple[str, ...], directory: str, tools: Tools
) -> tuple[str, ...]:
    """Copy into ``directory`` on top of ``lowers``.

    Returns:
        What the worker notes.

    Raises:
        SourceNotFound, InvalidInput: as :func:`execute_copy`.
    """
    if copy.parts:
        return tuple(note for part, found in copy.parts for note in copy_files(part, found, lowers, directory, tools))
    context = tools.context(step.origin)
    root = None if context is None else context.root
    notes = tools.worker.copy(
        CopyRequest(
            lowers=lowers,
            upper=f"{directory}/diff",
            work=f"{directory}/work",
            source_root=root,
            source_lowers=() if root is not None or not _reads(copy) else tools.lowers(step),
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
    if context is not None:
        check_unchanged(step, copy, context)
    return notes


def _reads(copy: ResolvedCopy) -> bool:
    """Whether anything comes from the origin: here-documents do not."""
    return any(item.data is None for item in copy.items)
