"""ADD into steps: local files as COPY does, URLs and Git repositories as copies of what will be fetched.

Source of the rules: BuildKit's ``dispatchCopy``.
"""

from __future__ import annotations

import re

import msgspec

from contextkernel.dockerfile.instructions import Add
from contextkernel.errors import InvalidInput
from contextkernel.plan.copy_steps import plan_copy
from contextkernel.plan.remote import GitOrigin, HttpOrigin, Remote, is_commit, parse_remote, redacted
from contextkernel.plan.scope import StepScope
from contextkernel.plan.steps import CopyStep, SeveralOrigins

_SHA256 = re.compile(r"sha256:[a-f0-9]{64}\Z")
_HEX = re.compile(r"[a-fA-F0-9]+\Z")
_WILDCARD = re.compile(r"[*?\[\\]")


def plan_add(instruction: Add, scope: StepScope) -> CopyStep:
    """Plan an ADD: one copy, or several where the sources are in different places.

    Raises:
        DockerfileError: flags that do not fit the sources, or a checksum that is none.
    """
    words = [scope.expand(word) for word in instruction.sources]
    remotes = [_remote(word, scope) for word in words]
    checksum = scope.expand(instruction.checksum) if instruction.checksum else ""
    if checksum:
        if len(words) != 1 or instruction.files:
            raise scope.problem("ADD --checksum is for one source", hint="write one ADD for each")
        if remotes[0] is None:
            raise scope.problem(
                f"ADD --checksum is for URLs and Git repositories, not for the local file {words[0]!r}",
            )
    step = plan_copy(instruction, scope)
    if not any(remotes):
        return step
    # what the user wrote may hold a password, which must not come into events and history
    step = msgspec.structs.replace(
        step, title=redacted(step.title), created_by=redacted(step.created_by), original=redacted(step.original)
    )
    parts = _parts(step, [_with_flags(remote, instruction, checksum, scope) for remote in remotes], instruction)
    if len(parts) == 1:
        return parts[0]
    return msgspec.structs.replace(step, origin=SeveralOrigins(tuple(parts)), sources=(), files=())


def _remote(word: str, scope: StepScope) -> Remote | None:
    try:
        return parse_remote(word)
    except InvalidInput as problem:
        raise scope.problem(f"ADD {problem.problem}", hint=problem.hint) from None


def _with_flags(remote: Remote | None, instruction: Add, checksum: str, scope: StepScope) -> Remote | None:
    """The remote with what the instruction's flags say of it."""
    match remote:
        case HttpOrigin():
            if checksum and not _SHA256.match(checksum):
                raise scope.problem(
                    f"ADD --checksum={checksum} is not a digest", hint="write sha256: and 64 hexadecimal digits"
                )
            return msgspec.structs.replace(remote, checksum=checksum)
        case GitOrigin():
            if checksum and remote.checksum and checksum != remote.checksum:
                raise scope.problem(f"ADD --checksum={checksum} contradicts checksum={remote.checksum} in the URL")
            checksum = checksum or remote.checksum
            if checksum and not _HEX.match(checksum):
                raise scope.problem(
                    f"ADD --checksum={checksum} is not a commit", hint="write the commit, or its first digits"
                )
            if remote.by_commit and not is_commit(checksum) and not is_commit(remote.ref):
                raise scope.problem("ADD: fetch-by-commit needs a full commit as checksum or reference")
            keep = instruction.keep_git_dir
            return msgspec.structs.replace(
                remote, checksum=checksum, keep_git_dir=remote.keep_git_dir if keep is None else keep
            )
        case None:
            return None


def _parts(step: CopyStep, remotes: list[Remote | None], instruction: Add) -> list[CopyStep]:
    """A copy for each remote source and for each run of local ones; here-documents come last."""
    parts: list[CopyStep] = []
    local: list[str] = []

    def flush() -> None:
        if local:
            parts.append(msgspec.structs.replace(step, sources=tuple(local), files=()))
            local.clear()

    for path, remote in zip(step.sources, remotes, strict=True):
        match remote:
            case None:
                local.append(path)
            case HttpOrigin(name=name):
                flush()
                source = "/" + _WILDCARD.sub(lambda found: f"[{found[0].replace(chr(92), chr(92) * 2)}]", name)
                parts.append(_fetched(step, remote, source, unpack=instruction.unpack is True))
            case GitOrigin():
                flush()
                parts.append(_fetched(step, remote, "/", unpack=False))
    flush()
    if step.files:
        parts.append(msgspec.structs.replace(step, sources=()))
    return parts


def _fetched(step: CopyStep, remote: Remote, source: str, *, unpack: bool) -> CopyStep:
    return msgspec.structs.replace(step, origin=remote, sources=(source,), files=(), unpack=unpack)
