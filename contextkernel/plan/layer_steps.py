"""RUN, COPY, ADD and WORKDIR into steps that make a layer (``dispatchRun``, ``dispatchCopy``, ``dispatchWorkdir``)."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

import msgspec

from contextkernel.dockerfile.expand import expand_document
from contextkernel.dockerfile.instructions import Add, Copy, Dockerfile, ExecForm, FileScript, Run, ShellScript
from contextkernel.dockerfile.mounts import TmpfsMount, resolve_mount
from contextkernel.errors import DockerfileError, InvalidInput
from contextkernel.plan import refusals, texts
from contextkernel.plan.arguments import expander
from contextkernel.plan.stages import Command
from contextkernel.plan.steps import (
    ContextOrigin,
    CopyStep,
    InlineFile,
    MetadataStep,
    Network,
    RunStep,
    TmpfsTarget,
    WorkdirStep,
)
from contextkernel.plan.values import absolute, octal_mode

SCRIPT_DIRECTORY = "/dev/pipes"
"""Where a here-document with a shebang is mounted."""

_NETWORKS: dict[str, Network] = {"default": "default", "none": "none", "host": "host"}
_MOUNT_KINDS = {
    "BindMount": "bind",
    "CacheMount": "cache",
    "SecretMount": "secret",
    "SshMount": "ssh",
}


class StepScope(msgspec.Struct, frozen=True, kw_only=True):
    """What a layer-making instruction sees.

    Attributes:
        command: the instruction in its stage.
        dockerfile: for its source and escape character.
        env: variables in scope.
        arguments: ARGs declared so far.
        user, cwd, shell: of the stage so far.
        prefix: of the progress title, e.g. ``[build 2/5] ``.
    """

    command: Command
    dockerfile: Dockerfile
    env: Mapping[str, str]
    arguments: tuple[tuple[str, str | None], ...]
    user: str
    cwd: str
    shell: tuple[str, ...]
    prefix: str

    def title(self, *, note: str = "", run: bool = False) -> str:
        """The progress title."""
        text = self.command.instruction.original + note
        return self.prefix + texts.shown_command(text, self.env, escape=self.dockerfile.directives.escape, run=run)

    def expand(self, word: str) -> str:
        """A word with the variables in scope."""
        return expander(self.dockerfile, self.command.span)(word, self.env)

    def problem(self, text: str, *, hint: str | None = None) -> DockerfileError:
        """An error at the instruction."""
        return DockerfileError(text, hint=hint, span=self.command.span, source=self.dockerfile.source)


def plan_run(instruction: Run, scope: StepScope) -> RunStep:
    """Plan a RUN.

    Raises:
        DockerfileError: no command, or something that is not supported.
    """
    span, source = scope.command.span, scope.dockerfile.source
    refusals.refuse_run(instruction, span, source)
    script, note, inline = instruction.script(), "", None
    match script:
        case ExecForm(argv=words):
            argv = words
        case ShellScript(text=text):
            argv = (*scope.shell, text)
            if instruction.heredocs and text == instruction.heredocs[0].text:
                note = f" ({texts.heredoc_summary(text)})"
        case FileScript(name=name, content=content):
            inline = InlineFile(name, content)
            argv = (*scope.shell, posixpath.join(SCRIPT_DIRECTORY, name))
            note = f" ({texts.heredoc_summary(content)})"
    if not argv:
        raise scope.problem("RUN needs a command", hint='RUN apt-get update, or RUN ["program", "argument"]')
    return RunStep(
        title=scope.title(note=note, run=True),
        created_by=texts.run_text(argv, scope.arguments, scope.env),
        span=span,
        original=instruction.original,
        argv=argv,
        env=tuple(f"{name}={value}" for name, value in scope.env.items()),
        user=scope.user,
        cwd=absolute(scope.cwd),
        network=_NETWORKS[instruction.network],
        tmpfs=tuple(_tmpfs(instruction, scope)),
        script=inline,
    )


def _tmpfs(instruction: Run, scope: StepScope) -> list[TmpfsTarget]:
    found = []
    for words in instruction.mounts:
        try:
            mount = resolve_mount(words, scope.expand, source=scope.dockerfile.source)
        except DockerfileError:
            raise
        except InvalidInput as problem:
            raise scope.problem(problem.problem, hint=problem.hint) from None
        if not isinstance(mount, TmpfsMount):
            kind = _MOUNT_KINDS[type(mount).__name__]
            raise refusals.refuse_mount(kind, words.span, scope.dockerfile.source)
        path = absolute(posixpath.join(scope.cwd, mount.target))
        if path == "/":
            raise scope.problem(f"RUN --mount: {mount.target!r} cannot be a mount's target")
        found.append(TmpfsTarget(path, mount.size))
    return found


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
