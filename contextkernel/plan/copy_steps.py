"""COPY, ADD and WORKDIR into steps (``dispatchCopy``, ``dispatchWorkdir``)."""

from __future__ import annotations

import posixpath

from contextkernel.dockerfile.expand import expand_document
from contextkernel.dockerfile.ignore import IgnoreMatcher
from contextkernel.dockerfile.instructions import Add, Copy
from contextkernel.errors import InvalidInput
from contextkernel.model.modes import parse_mode
from contextkernel.plan import refusals
from contextkernel.plan.scope import StepScope
from contextkernel.plan.steps import ContextOrigin, CopyStep, InlineFile, MetadataStep, WorkdirStep
from contextkernel.plan.values import absolute


def plan_copy(instruction: Copy | Add, scope: StepScope) -> CopyStep:
    """Plan a COPY, or an ADD of local files.

    Raises:
        DockerfileError: a mode or a pattern that is none, or something that is not supported.
    """
    span, source = scope.command.span, scope.dockerfile.source
    word = "ADD" if isinstance(instruction, Add) else "COPY"
    sources = tuple(map(scope.expand, instruction.sources))
    refusals.refuse_transfer(instruction, sources, span, source)
    try:
        IgnoreMatcher(instruction.exclude)
    except InvalidInput as problem:
        raise scope.problem(f"{word} --exclude: {problem.problem}", hint=problem.hint) from None
    destination = scope.expand(instruction.destination)
    chown = scope.expand(instruction.chown) if instruction.chown else ""
    chmod = scope.expand(instruction.chmod) if instruction.chmod else ""
    # a mode cannot be set on what is merged: BuildKit copies as without --link then
    link = instruction.link and not chmod
    if link and any(part and part != "root" and not part.isdigit() for part in chown.split(":", 1)):
        raise scope.problem(
            f"{word} --link --chown={chown}: there are no names of users to look up where --link copies to",
            hint="give numbers (--chown=1000:1000), or leave out --link",
        )
    with_parents = isinstance(instruction, Copy) and instruction.parents
    # what the history says of the flags; the others only decide which files there are
    flags = (
        (" --parents" if with_parents else "")
        + (f" --chown={chown}" if chown else "")
        + (f" --chmod={chmod}" if chmod else "")
    )
    shown = "".join([*(f" {path}" for path in sources), *(f" <<{doc.name}" for doc in instruction.files)])
    split = [_split(path) for path in sources] if with_parents else [(path, "") for path in sources]
    return CopyStep(
        title=scope.title(),
        created_by=f"{word}{flags}{shown} {destination} # buildkit",
        span=span,
        original=instruction.original,
        origin=scope.command.origins[0] if scope.command.origins else ContextOrigin(),
        sources=tuple(absolute(path) for path, _ in split),
        parents=tuple(pattern for _, pattern in split) if with_parents else (),
        exclude=instruction.exclude,  # as written: BuildKit replaces no variables here
        files=tuple(
            InlineFile(doc.name, expand_document(doc.text, scope.env) if doc.expand else doc.text)
            for doc in instruction.files
        ),
        destination=absolute(posixpath.join(scope.cwd, destination)),
        # a directory only if it says so: with several sources and no slash BuildKit writes one over the other
        directory=destination in {"", "."} or destination.endswith(("/", "/.")),
        chown=chown,
        chmod=_mode(word, chmod, scope) if chmod else "",
        link=link,
        unpack=isinstance(instruction, Add) and instruction.unpack is not False,
    )


def _split(path: str) -> tuple[str, str]:
    """A source of ``COPY --parents``: where it starts, and the pattern from there; ``/./`` stands between the two."""
    start, pivot, pattern = path.partition("/./")
    return (start, absolute(pattern)[1:]) if pivot else ("/", absolute(path)[1:])


def _mode(word: str, text: str, scope: StepScope) -> str:
    try:
        return parse_mode(text).text
    except InvalidInput as problem:
        raise scope.problem(f"{word} --chmod: {problem.problem}", hint=problem.hint) from None


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
