"""RUN into a step (``dispatchRun``)."""

from __future__ import annotations

import posixpath

from contextkernel.dockerfile.instructions import ExecForm, FileScript, Run, ShellScript
from contextkernel.dockerfile.mounts import TmpfsMount, resolve_mount
from contextkernel.errors import DockerfileError, InvalidInput
from contextkernel.plan import refusals, texts
from contextkernel.plan.scope import StepScope
from contextkernel.plan.steps import InlineFile, Network, RunStep, TmpfsTarget
from contextkernel.plan.values import absolute

SCRIPT_DIRECTORY = "/dev/pipes"
"""Where a here-document with a shebang is mounted."""

_NETWORKS: dict[str, Network] = {"default": "default", "none": "none", "host": "host"}
_MOUNT_KINDS = {
    "BindMount": "bind",
    "CacheMount": "cache",
    "SecretMount": "secret",
    "SshMount": "ssh",
}


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
        arguments=tuple(dict.fromkeys(name for name, _ in scope.arguments)),
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
