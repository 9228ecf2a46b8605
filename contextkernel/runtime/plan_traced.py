"""The plan of a container where there are no namespaces: a tracer shows it its files, Landlock keeps to them. Pure.

The order matters in two places: whatever the engine itself has to open comes before ``Confine``; the system call
filters come last, because the first program is executed under them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Literal, NoReturn, assert_never

from contextkernel.errors import InvalidInput, LaunchFailed
from contextkernel.linux import landlock
from contextkernel.runtime import operations as op
from contextkernel.runtime.operations import traced
from contextkernel.runtime.plan_security import container_capabilities, filtered, isolated_by_filter, unconfined

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from contextkernel.model.container import ExecRequest, LaunchRequest
    from contextkernel.runtime.facts import HostFacts, Tracer
    from contextkernel.runtime.operations import Operation
    from contextkernel.runtime.step_mounts import UserMount

#: name of a traced container's room, beside its tree
ROOM = "room"
#: names in there: the tracer's loaders, and the program that the tracer starts
LOADER, LOADER_32, STARTER = "loader", "loader-32", "starter"
#: where the program finds the latter, as it sees it
STARTER_TARGET = "/dev/.starter"

#: no terminals can be opened inside: those of the host are not the container's to look at
APT_CONFIG = "/dev/.apt.conf"
_APT_WITHOUT_TERMINAL = b'Dpkg::Use-Pty "0";\n'
_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
)
_NO_NAMESPACES = "this host allows no namespaces (contextkernel doctor)"


def room_of(request: LaunchRequest) -> str:
    """Where the room of a container is."""
    return os.path.join(os.path.dirname(request.upper), ROOM)


def plan_traced(
    request: LaunchRequest, facts: HostFacts, mounts: Iterable[UserMount], files: Iterable[op.HostsFile]
) -> tuple[Operation, ...]:
    """The ordered steps of the first process.

    Args:
        request: what to start; its tree is complete.
        facts: of this host.
        mounts: what the user asked for, outer targets before inner ones.
        files: generated files.

    Raises:
        InvalidInput, LaunchFailed: what was asked for cannot be had here.
    """
    _check(request, facts)
    return (
        op.NewKeyring(f"_ses.{request.id}"),
        *_files(request, facts, tuple(mounts), tuple(files), first=True),
        *([op.NoteUser(request.user)] if request.fake_ids else ()),
        op.MakeDirectory(request.working_dir),
        *_ending(request, facts, argv=request.argv, user=request.user, env=request.env, announce=True),
    )


def plan_traced_exec(
    request: LaunchRequest,
    facts: HostFacts,
    wanted: ExecRequest,
    mounts: Iterable[UserMount],
    files: Iterable[op.HostsFile],
) -> tuple[Operation, ...]:
    """The steps of a further program; arguments as for :func:`plan_traced`."""
    size = wanted.terminal
    return (
        op.NewKeyring(f"_ses.{request.id}"),
        *_files(request, facts, tuple(mounts), tuple(files), first=False),
        *([op.OpenTerminal(size.rows, size.columns, console=False, hosts=True)] if size is not None else ()),
        *_ending(
            request,
            facts,
            argv=wanted.argv,
            user=wanted.user,
            env=wanted.env,
            working_dir=wanted.working_dir,
            announce=False,
        ),
    )


def _files(
    request: LaunchRequest,
    facts: HostFacts,
    mounts: tuple[UserMount, ...],
    files: tuple[op.HostsFile, ...],
    *,
    first: bool,
) -> Iterator[Operation]:
    room = room_of(request)
    keep = request.state_dir is not None and not request.sandbox
    yield traced.UseTree(
        request.upper,
        room=room,
        report=facts.report,
        read_only=request.read_only,
        keep_own=request.sandbox,
        keep_points=keep,
    )
    yield traced.ShowPath("/proc", "/proc", access="read")
    yield traced.ShowPath("/sys", "/sys", access="read", optional=True)
    yield traced.ShowDirectory("/dev")
    if first:
        yield from (op.MakeLink(target, link) for target, link in _LINKS)
    yield traced.ShowPath(os.path.join(room, STARTER), STARTER_TARGET, access="read")
    yield from (traced.ShowPath(f"/dev/{name}", f"/dev/{name}") for name in facts.devices)
    yield traced.ShowPath("/dev/pts", "/dev/pts", access="list", optional=True)
    yield traced.ShowFile(APT_CONFIG, _APT_WITHOUT_TERMINAL, read_only=True, place=room)
    if first and request.terminal is not None:
        size = request.terminal
        yield op.OpenTerminal(size.rows, size.columns, console=True, hosts=True)
    taken = {mount.target for mount in mounts}
    if "/dev/shm" not in taken:  # noqa: S108 - the container's own
        yield traced.ShowDirectory("/dev/shm", mode=0o1777)  # noqa: S108
    for file in files:
        yield traced.ShowFile(file.target, file.content.encode("utf-8", "surrogateescape"), read_only=file.read_only)
    for mount in mounts:
        yield _shown(mount, request, facts)
    for device in request.security.devices:
        yield traced.ShowPath(device.source, device.target)


def _shown(mount: UserMount, request: LaunchRequest, facts: HostFacts) -> Operation:
    """What stands in for a mount.

    Raises:
        LaunchFailed: nothing can.
    """
    read_only = getattr(mount, "read_only", False)
    if read_only and not request.sandbox and facts.landlock < landlock.TRUNCATE_SINCE:
        raise LaunchFailed(
            f"{mount.target} cannot be kept read-only: {_NO_NAMESPACES}, and its kernel has no Landlock for it",
            hint="leave :ro out if the program may change it, or show it a copy",
        )
    access: Literal["read", "write"] = "read" if read_only else "write"
    match mount:
        case op.BindMount(source, target):
            return traced.ShowPath(source, target, access=access)
        case op.MountTmpfs(target, flags, options):
            mode = next((word[5:] for word in options.split(",") if word.startswith("mode=")), "1777")
            return traced.ShowDirectory(target, mode=int(mode, 8), read_only="ro" in flags)
        case op.BindCache(source, target, path):
            return traced.ShowPath(source, target, access=access, within=path)
        case op.BindSecret(target, content, mode):
            return traced.ShowFile(target, content, mode=mode, read_only=True, place=facts.memory_room)
        case op.BindSocket(source, target):
            return traced.ShowPath(source, target)
        case op.BindLayers(target, lowers, source, room):
            if len(lowers) != 1 or not lowers[0].startswith(f"{room}/"):  # else it is a copy of its own
                _refuse(f"the files of another stage or image at {target}", "copy them with COPY --from")
            return traced.ShowPath(lowers[0], target, access=access, within=source)
        case op.MountDevice(target):
            return _refuse(f"a volume with a file system of its own at {target}", "use a volume without --opt")
        case _ as never:
            assert_never(never)


def _ending(
    request: LaunchRequest,
    facts: HostFacts,
    *,
    argv: tuple[str, ...],
    user: str,
    env: tuple[str, ...],
    working_dir: str | None = None,
    announce: bool,
) -> Iterator[Operation]:
    from contextkernel.runtime.plan import limits, memory_limits

    tracer = _tracer(facts)
    room, security = room_of(request), request.security
    capabilities = container_capabilities(request, facts)
    free = unconfined(request) or not security.landlock
    yield from limits(request, facts)
    if not request.fake_ids:  # the host's root, without the power to make namespaces
        yield op.LimitCapabilities(capabilities)
        yield op.DropCapabilities(capabilities)
    yield op.NoNewPrivileges()
    yield traced.Confine(
        files=facts.landlock >= landlock.FILES_SINCE,
        signals=facts.scopes and not free and security.pid != "host",
        sockets=facts.scopes and not free,
        readable=tracer.libraries,
        executable=(
            tracer.path,
            *([tracer.interpreter] if tracer.interpreter else []),
            *(os.path.join(room, name) for name in (LOADER, LOADER_32)),
        ),
    )
    yield op.Chdir(request.working_dir if working_dir is None else working_dir)
    yield traced.InstallTracedFilter()
    if isolated_by_filter(request, facts):
        yield op.RefuseSockets()
    if filtered(request, facts):
        yield op.InstallSeccomp(capabilities, security.seccomp if security.seccomp != "builtin" else "")
    yield from memory_limits(request)
    yield traced.RunTraced(
        tracer.path,
        argv=argv,
        env=env if any(item.startswith("APT_CONFIG=") for item in env) else (*env, f"APT_CONFIG={APT_CONFIG}"),
        user=user,
        groups=security.groups,
        secrets=request.secret_env if announce else (),
        announce=announce,
    )


def _tracer(facts: HostFacts) -> Tracer:
    if facts.tracer is None:
        raise LaunchFailed(
            f"{_NO_NAMESPACES}, and proot is not installed",
            hint="sudo apt-get install proot, or on a Binder a line `proot` in binder/apt.txt",
        )
    return facts.tracer


def _check(request: LaunchRequest, facts: HostFacts) -> None:
    """Refuse what a program would rely on and cannot get.

    Raises:
        InvalidInput: it was asked for by name.
    """
    security = request.security
    _tracer(facts)
    if request.lowers:
        raise LaunchFailed("layers cannot be laid over each other on this host: the container needs a tree of its own")
    if request.read_only and facts.landlock < landlock.TRUNCATE_SINCE:
        _refuse("a root that cannot be changed (--read-only)", "leave --read-only out")
    if security.runtime:
        _refuse(f"--runtime {security.runtime}", "leave --runtime out")
    if security.sysctls:
        _refuse(f"--sysctl {next(iter(security.sysctls))}", "leave --sysctl out")
    if security.gpus:
        _refuse("--gpus", "leave --gpus out")


def _refuse(what: str, hint: str) -> NoReturn:
    raise InvalidInput(f"{what} cannot be had without namespaces, which this host does not allow", hint=hint)
