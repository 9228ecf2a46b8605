"""What this version does not build yet, refused with its place before anything runs."""

from __future__ import annotations

from collections.abc import Iterable

from contextkernel.dockerfile.instructions import Add, Copy, Run
from contextkernel.errors import DockerfileError, Span
from contextkernel.plan.remote import GitOrigin, parse_remote, redacted
from contextkernel.plan.steps import RunStep


def refuse_transfer(instruction: Add | Copy, sources: Iterable[str], span: Span, source: str) -> None:
    """Raise for flags and expanded ``sources`` of COPY and ADD that are not supported.

    Raises:
        DockerfileError: naming the flag.
    """
    word = "ADD" if isinstance(instruction, Add) else "COPY"
    for path in sources:
        remote = parse_remote(path) if word == "COPY" else None
        if remote is not None:
            kind = "a Git repository" if isinstance(remote, GitOrigin) else "a URL"
            raise DockerfileError(
                f"COPY {redacted(path)}: {kind} cannot be copied",
                hint="COPY takes files of the build context; ADD fetches",
                span=span,
                source=source,
            )


def refuse_run(instruction: Run, span: Span, source: str) -> None:
    """Raise for flags of RUN that are not supported.

    Raises:
        DockerfileError: naming the flag.
    """
    if instruction.devices:
        raise DockerfileError(
            f"RUN --device={instruction.devices[0].name}: this engine has no Container Device Interface (CDI)",
            hint="leave --device out: a RUN sees the standard devices only",
            span=span,
            source=source,
        )


def refuse_entitlements(step: RunStep, allow: frozenset[str], source: str) -> None:
    """Raise for what a RUN may have only if the build's caller grants it, as buildx does.

    Raises:
        DockerfileError: naming the entitlement.
    """
    wanted = {"network.host": step.network == "host", "security.insecure": step.security == "insecure"}
    for name, needed in wanted.items():
        if needed and name not in allow:
            flag, _, value = name.partition(".")
            raise DockerfileError(
                f"RUN --{flag}={value}: {name} is not allowed",
                hint=f"if this Dockerfile may have it, build with --allow {name}",
                span=step.span,
                source=source,
            )
