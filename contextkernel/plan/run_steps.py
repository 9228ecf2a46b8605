"""RUN into a step (``dispatchRun``, ``convert_runmount.go``, ``convert_secrets.go``, ``convert_ssh.go``)."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import assert_never

import msgspec

from contextkernel.dockerfile.instructions import ExecForm, FileScript, Run, ShellScript
from contextkernel.dockerfile.mounts import (
    BindMount,
    CacheMount,
    Mount,
    SecretMount,
    SshMount,
    TmpfsMount,
    resolve_mount,
)
from contextkernel.errors import DockerfileError, InvalidInput
from contextkernel.model.build_inputs import StepOptions
from contextkernel.plan import refusals, texts
from contextkernel.plan.run_mounts import (
    BindTarget,
    CacheTarget,
    RunMount,
    RunSettings,
    SecretTarget,
    SshTarget,
    TmpfsTarget,
)
from contextkernel.plan.scope import StepScope
from contextkernel.plan.steps import Base, ContextOrigin, InlineFile, Network, RunStep
from contextkernel.plan.values import absolute

SCRIPT_DIRECTORY = "/dev/pipes"
"""Where a here-document with a shebang is mounted."""

_NETWORKS: dict[str, Network] = {"default": "default", "none": "none", "host": "host"}
_AGENT = "/run/buildkit/ssh_agent"
_SOCKET_VARIABLE = "SSH_AUTH_SOCK"
_HIDDEN = "****"


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
    mounts = _mounts(instruction, scope)
    env = dict(scope.env)
    agents = [mount for mount in mounts if isinstance(mount, SshTarget)]
    if agents:
        env.setdefault(_SOCKET_VARIABLE, agents[0].path)
    hidden = {mount.env: _HIDDEN for mount in mounts if isinstance(mount, SecretTarget) and mount.env}
    shown = msgspec.structs.replace(scope, env={**scope.env, **hidden}) if hidden else scope
    return RunStep(
        title=shown.title(note=note, run=True),
        created_by=texts.run_text(argv, scope.arguments, scope.env),
        span=span,
        original=instruction.original,
        argv=argv,
        env=tuple(f"{name}={value}" for name, value in env.items()),
        arguments=tuple(dict.fromkeys(name for name, _ in scope.arguments)),
        user=scope.user,
        cwd=absolute(scope.cwd),
        network=_NETWORKS[instruction.network],
        security="insecure" if instruction.security == "insecure" else "sandbox",
        mounts=mounts,
        script=inline,
    )


def settle_run(
    step: RunStep, settings: RunSettings, *, network: Network, proxy: tuple[str, ...], source: str
) -> RunStep:
    """A planned RUN with what the build gives all of them.

    Args:
        step: as its instruction has it.
        settings: of the build.
        network: of a RUN that does not choose.
        proxy: ``NAME=value`` for every RUN.
        source: the Dockerfile's text, for errors.

    Raises:
        DockerfileError: it asks for an entitlement that was not granted.
    """
    refusals.refuse_entitlements(step, settings.allow, source)
    return msgspec.structs.replace(
        step,
        proxy=proxy,
        network=network if step.network == "default" else step.network,
        mounts=tuple(_named(mount, settings.cache_namespace) for mount in step.mounts),
        hostname=settings.hostname,
        hosts=settings.hosts,
        shm_size=settings.shm_size,
        ulimits=settings.ulimits,
    )


def _named(mount: RunMount, namespace: str) -> RunMount:
    if not namespace or not isinstance(mount, CacheTarget):
        return mount
    return msgspec.structs.replace(mount, id=f"{namespace}/{mount.id}")


def _mounts(instruction: Run, scope: StepScope) -> tuple[RunMount, ...]:
    origins = iter(scope.command.origins)
    found: list[RunMount] = []
    agents = 0
    for words in instruction.mounts:
        try:
            mount = resolve_mount(words, scope.expand, source=scope.dockerfile.source)
        except DockerfileError:
            raise
        except InvalidInput as problem:
            raise scope.problem(problem.problem, hint=problem.hint) from None
        origin = next(origins) if words.source_stage is not None else None
        if isinstance(mount, SshMount):
            mount = msgspec.structs.replace(mount, target=mount.target or f"{_AGENT}.{agents}")
            agents += 1
        found.append(_planned(mount, origin, scope))
    return tuple(found)


def _planned(mount: Mount, origin: Base | None, scope: StepScope) -> RunMount:
    match mount:
        case BindMount():
            return BindTarget(
                path=_target(mount.target, scope),
                origin=ContextOrigin() if origin is None else origin,
                source=absolute(mount.source),
                read_only=mount.read_only,
            )
        case CacheMount():
            return CacheTarget(
                path=_target(mount.target, scope),
                id=mount.id,
                origin=origin,
                source=absolute(mount.source),
                sharing=mount.sharing,
                read_only=mount.read_only,
                mode=mount.mode,
                uid=mount.uid,
                gid=mount.gid,
            )
        case TmpfsMount():
            return TmpfsTarget(_target(mount.target, scope), mount.size, mount.read_only)
        case SecretMount():
            return SecretTarget(
                id=mount.id,
                path=_target(mount.target, scope) if mount.target else None,
                env=mount.env,
                required=mount.required,
                mode=mount.mode & 0o777,
                uid=mount.uid,
                gid=mount.gid,
            )
        case SshMount():
            return SshTarget(
                path=_target(mount.target or _AGENT, scope),
                id=mount.id,
                required=mount.required,
                mode=mount.mode & 0o777,
                uid=mount.uid,
                gid=mount.gid,
            )
        case _ as never:
            assert_never(never)


def _target(text: str, scope: StepScope) -> str:
    """An absolute path for a mount; a relative one counts from the working directory.

    Raises:
        DockerfileError: it cannot be mounted over.
    """
    path = absolute(posixpath.join("/", scope.cwd, text))
    if path == "/":
        raise scope.problem(
            f"RUN --mount: invalid mount target {text!r}", hint="name a directory or file below /, e.g. target=/src"
        )
    if path == "/proc" or path.startswith("/proc/"):
        raise scope.problem(
            f"RUN --mount: invalid mount target {text!r}: /proc belongs to the sandbox",
            hint="mount it elsewhere, e.g. below /mnt",
        )
    return path


def settings_of(build_args: Mapping[str, str], options: StepOptions, network: Network) -> RunSettings:
    """What every RUN of a build is given.

    ``BUILDKIT_SANDBOX_HOSTNAME`` names the sandbox, ``BUILDKIT_CACHE_MOUNT_NS`` keeps caches apart, and who asks for
    the host's network for the build grants it to every RUN.

    Args:
        build_args: of the build.
        options: of its caller.
        network: of the build.
    """
    return RunSettings(
        hosts=options.hosts,
        hostname=build_args.get("BUILDKIT_SANDBOX_HOSTNAME", ""),
        shm_size=options.shm_size,
        ulimits=options.limits,
        allow=options.allow | {"network.host"} if network == "host" else options.allow,
        cache_namespace=build_args.get("BUILDKIT_CACHE_MOUNT_NS", ""),
    )
