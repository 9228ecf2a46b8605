"""COPY, ADD and WORKDIR into steps (``dispatchCopy``, ``dispatchWorkdir``)."""

from __future__ import annotations

import posixpath

from contextkernel.dockerfile.expand import expand_document
from contextkernel.dockerfile.instructions import Add, Copy
from contextkernel.errors import InvalidInput
from contextkernel.plan import refusals
from contextkernel.plan.scope import StepScope
from contextkernel.plan.steps import ContextOrigin, CopyStep, InlineFile, MetadataStep, WorkdirStep
from contextkernel.plan.values import absolute, octal_mode


def plan_copy(instruction: Copy | Add, scope: StepScope) -> CopyStep:
    """Plan a COPY, or an ADD of local files.

    Raises:
        DockerfileError: a mode that is none, or something that is not supported.
    """
    span, source = scope.command.span, scope.dockerfile.source
    word = "ADD" if isinstance(instruction, Add) else "COPY"
    sources = tuple(map(scope.expand, instruction.sources))
    refusals.refuse_transfer(instruction, sources, span, source)
    destination = scope.expand(instruction.destination)
    chown = scope.expand(instruction.chown) if instruction.chown else ""
    chmod = scope.expand(instruction.chmod) if instruction.chmod else ""
    mode = None
    if chmod:
        try:
            mode = octal_mode(chmod)
        except InvalidInput as problem:
            raise scope.problem(f"{word} --chmod: {problem.problem}", hint="e.g. --chmod=755") from None
        if mode is None:
            raise refusals.refuse_mode(word, chmod, span, source)
    flags = (f" --chown={chown}" if chown else "") + (f" --chmod={chmod}" if chmod else "")
    shown = "".join([*(f" {path}" for path in sources), *(f" <<{doc.name}" for doc in instruction.files)])
    return CopyStep(
        title=scope.title(),
        created_by=f"{word}{flags}{shown} {destination} # buildkit",
        span=span,
        original=instruction.original,
        origin=scope.command.origins[0] if scope.command.origins else ContextOrigin(),
        sources=tuple(map(absolute, sources)),
        files=tuple(
            InlineFile(doc.name, expand_document(doc.text, scope.env) if doc.expand else doc.text)
            for doc in instruction.files
        ),
        destination=absolute(posixpath.join(scope.cwd, destination)),
        # a directory only if it says so: with several sources and no slash BuildKit writes one over the other
        directory=destination in {"", "."} or destination.endswith(("/", "/.")),
        chown=chown,
        chmod=mode,
        unpack=isinstance(instruction, Add) and instruction.unpack is not False,
    )


def plan_workdir(path: str, owner: str, scope: StepScope) -> WorkdirStep | MetadataStep:
    """Plan a WORKDIR; the root needs no layer.

    Args:
        path: absolute, as the configuration has it.
        owner: the user in force, who owns what has to be made.
        scope: what the instruction saw.
    """
    created_by = f"WORKDIR {path}"
    original = scope.command.instruction.original
    if absolute(path) == "/":
        return MetadataStep(title="", created_by=created_by, span=scope.command.span, original=original)
    return WorkdirStep(
        title=scope.title(),
        created_by=created_by,
        span=scope.command.span,
        original=original,
        path=absolute(path),
        owner=owner,
    )
