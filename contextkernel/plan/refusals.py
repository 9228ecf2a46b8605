"""What this version does not build yet, refused with its place before anything runs."""

from __future__ import annotations

import re
from collections.abc import Iterable

from contextkernel.dockerfile.instructions import Add, Copy, Run
from contextkernel.errors import DockerfileError, Span
from contextkernel.plan.steps import RunStep

# BuildKit's dfgitutil: what is neither http(s) nor one of these is a path, "github.com/a/b" included
_SSH = r"[A-Za-z0-9._-]+@[A-Za-z0-9.-]+:"
_REMOTE = re.compile(rf"(?:https?|git|ssh)://|{_SSH}", re.IGNORECASE)
_GIT = re.compile(rf"(?:git|ssh)://|{_SSH}|https?://[^#?]*\.git(?:[#?]|\Z)", re.IGNORECASE)


def is_remote(source: str) -> bool:
    """Whether a COPY or ADD source is a URL or a Git repository rather than a path."""
    return _REMOTE.match(source) is not None


def refuse_transfer(instruction: Add | Copy, sources: Iterable[str], span: Span, source: str) -> None:
    """Raise for flags and expanded ``sources`` of COPY and ADD that are not supported.

    Raises:
        DockerfileError: naming the flag.
    """
    word = "ADD" if isinstance(instruction, Add) else "COPY"
    for path in sources:
        if not is_remote(path):
            continue
        kind = "a Git repository" if _GIT.match(path) else "a URL"
        if word == "COPY":
            raise DockerfileError(
                f"COPY {path}: {kind} cannot be copied",
                hint="COPY takes files of the build context",
                span=span,
                source=source,
            )
        raise _later(f"ADD of {kind} ({path})", span, source, hint="download it beside the Dockerfile, or in a RUN")
    if isinstance(instruction, Add) and (instruction.checksum or instruction.keep_git_dir is not None):
        flag = "--checksum" if instruction.checksum else "--keep-git-dir"
        raise DockerfileError(
            f"ADD {flag} is for URLs and Git repositories, not for local files", span=span, source=source
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


def _later(what: str, span: Span, source: str, hint: str | None = None) -> DockerfileError:
    return DockerfileError(f"{what} is not supported by this version", hint=hint, span=span, source=source)
