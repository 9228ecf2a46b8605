"""Process 1 of a container: carries out the plan's operations in order, the last of which executes the program.

It is cloned from the monitor, and every module it uses is imported before: the host's files are gone half way through.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import NamedTuple, NoReturn, assert_never

from contextkernel.errors import ContextKernelError, LaunchFailed, SyscallFailed
from contextkernel.linux import mount as mounts
from contextkernel.linux.caps import (
    CapabilitySets,
    apply_capabilities,
    keep_capabilities,
    set_capabilities,
    set_no_new_privs,
)
from contextkernel.linux.descriptors import close_from
from contextkernel.linux.libc import AT_FDCWD
from contextkernel.linux.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWNET,
    join_new_session_keyring,
    set_dumpable,
    set_hostname,
    set_parent_death_signal,
    setns,
    unshare,
)
from contextkernel.linux.net import loopback_up
from contextkernel.linux.openat2 import RESOLVE_NO_MAGICLINKS, make_dirs_in_root, open_in_root, openat2
from contextkernel.linux.seccomp import install_filter, unix_sockets_filter
from contextkernel.runtime import answering, binds, devices, limits, privileges, roots, sharing, step_mounts
from contextkernel.runtime import operations as op
from contextkernel.runtime import operations_traced as traced
from contextkernel.runtime.child_terminal import open_hosts_terminal, open_terminal, own_streams
from contextkernel.runtime.execute import ExecProblem, execute
from contextkernel.runtime.image_users import identity_of
from contextkernel.runtime.init import run_as_init
from contextkernel.runtime.messages import Failed, Generated, Rooted, SetUp, encode, send
from contextkernel.runtime.mountpoints import OWN, MountPoints
from contextkernel.runtime.traced_tree import TracedTree
from contextkernel.runtime.users import Identity

_STANDARD = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_STANDARD_ATTRIBUTES = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
_SCRATCH_FLAGS = {
    "ro": mounts.MOUNT_ATTR_RDONLY,
    "nosuid": mounts.MOUNT_ATTR_NOSUID,
    "nodev": mounts.MOUNT_ATTR_NODEV,
    "noexec": mounts.MOUNT_ATTR_NOEXEC,
}
#: signals that launcher or monitor handle in their own way; the launcher puts all others to their default
CHANGED_SIGNALS = (
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGPIPE,
    signal.SIGCHLD,
)
_REPORT = 3  # the report socket's descriptor in the child
#: what the monitor sends when everything around the container is there
GO = b"g"
#: what it sends when it has seen which namespaces the child has; from there on the child may hide itself
SEEN = b"s"
_GENERATED = "/dev/.generated"


class Streams(NamedTuple):
    """Descriptors for the child: its three standard ones, and the socket on which it reports."""

    stdin: int
    stdout: int
    stderr: int
    report: int


def run_child(
    operations: tuple[op.Operation, ...], streams: Streams, permitted: frozenset[str], *, hidden: bool = False
) -> NoReturn:
    """Become the container; never returns, never raises.

    Args:
        operations: the plan.
        streams: descriptors, see there.
        permitted: capabilities that the launcher has; no others can be kept.
        hidden: there are others in the container already, and this process stays not dumpable until it executes the
            program, so that they cannot look into it.
    """
    step: op.Operation | None = None
    try:
        _settle(streams)
        setup = _SetUp(permitted, hidden=hidden)
        for step in operations:
            setup.apply(step)
        _report(Failed("setup", "the plan does not end in executing a program"))
    except ExecProblem as problem:
        _report(Failed(problem.kind, problem.text, operation="Exec", number=problem.number))
    except ContextKernelError as problem:
        hint, number = problem.hint, getattr(problem, "number", 0)
        _report(Failed("setup", _said(step, problem), hint=hint, operation=type(step).__name__, number=number))
    except OSError as problem:
        number = problem.errno or 0
        where = f" {problem.filename}" if problem.filename else ""
        reason = f"{os.strerror(number).lower()} (errno {number})"
        text = f"container set-up failed at {type(step).__name__}:{where} {reason}"
        _report(Failed("setup", text, operation=type(step).__name__, number=number))
    except BaseException as problem:
        text = f"container set-up failed at {type(step).__name__}: {type(problem).__name__}: {problem}"
        _report(Failed("setup", text, operation=type(step).__name__))
    finally:
        os._exit(1)


def _join_network(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        setns(descriptor, CLONE_NEWNET)
    finally:
        os.close(descriptor)


def _loopback() -> None:
    """Without the capability for it (root in a container) loopback stays down, as it is for others there."""
    try:
        loopback_up()
    except SyscallFailed as failure:
        if failure.number not in (errno.EPERM, errno.EACCES):
            raise


def _said(step: op.Operation | None, problem: ContextKernelError) -> str:
    if isinstance(problem, SyscallFailed):
        return f"container set-up failed at {type(step).__name__}: {problem.problem}"
    return problem.problem


def _report(message: Failed | SetUp) -> None:
    frame = encode(message)
    while frame:
        frame = frame[os.write(_REPORT, frame) :]


def _settle(streams: Streams) -> None:
    """A clean process: own session, default signals, only the descriptors it is meant to have."""
    # first out of the way of 0..3, then into place
    high = [fcntl.fcntl(descriptor, fcntl.F_DUPFD, 10) for descriptor in streams]
    for place, descriptor in enumerate(high):
        os.dup2(descriptor, place, inheritable=place < _REPORT)
    close_from(_REPORT + 1)
    set_parent_death_signal(signal.SIGKILL)
    poll = select.poll()
    poll.register(_REPORT, 0)
    if poll.poll(0):  # the reader, our monitor, was gone before it could be watched
        os._exit(1)
    os.setsid()
    for number in CHANGED_SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)


class _SetUp:
    """What the operations share while they are applied, in order."""

    def __init__(self, permitted: frozenset[str], *, hidden: bool) -> None:
        self._permitted = permitted
        self._hidden = hidden
        self._points: MountPoints | None = None
        self._dev = -1  # descriptor of the container's own /dev
        self._identity = Identity(0, 0, (), "/")
        self._empty = ""  # a directory that is already masked
        self._init = False
        self._held: dict[str, int] = {}  # sources that were taken before, by target
        self._tracing: TracedTree | None = None

    @property
    def _tree(self) -> MountPoints:
        if self._points is None:
            raise LaunchFailed("the plan mounts something before the container's root")
        return self._points

    @property
    def _traced(self) -> TracedTree:
        if self._tracing is None:
            raise LaunchFailed("the plan shows something before the container's tree")
        return self._tracing

    def apply(self, step: op.Operation) -> None:
        """Carry out one operation.

        Raises:
            SyscallFailed, LaunchFailed, InvalidInput: it failed. ExecProblem: of the program itself.
        """
        match step:
            case op.MakePrivate():
                mounts.make_private("/")
            case op.NewKeyring(name):
                _if_possible(join_new_session_keyring, name)
            case op.MountOverlay() | op.BindRoot():
                self._mount_root(step)
            case op.MountProc(target, options):
                self._mount(target, "proc", _STANDARD, options or None)
            case op.BindProc(target):
                self._bind("/proc", target)
            case op.MountTmpfs(target, flags, options, source):
                self._mount_tmpfs(target, flags, options, source)
            case op.MakeScratch():
                self._make_scratch(step)
            case op.HostDevices():
                devices.host_devices(self._dev)
            case op.AddDevice(source, target):
                devices.add_device(self._tree, self._dev, source, target)
            case op.JoinNetwork(path):
                _join_network(path)
            case op.JoinIpc(pid):
                sharing.join(pid, "ipc")
            case op.ShareMount(pid, target):
                sharing.share_mount(pid, target, self._tree.at(target))
            case op.MountDevpts(target, options):
                self._mount(target, "devpts", mounts.MS_NOSUID | mounts.MS_NOEXEC, options)
            case op.OpenTerminal(hosts=True):
                self._traced.show_terminal(open_hosts_terminal(step, _REPORT), console=step.console)
            case op.OpenTerminal():
                root = self._tree.root if self._points else os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                open_terminal(step, root, self._dev, _REPORT)
            case op.MountMqueue(target):
                self._mount(target, "mqueue", _STANDARD)
            case op.MakeDevice(path):
                devices.make_device(self._dev, _name_in_dev(path), path)
            case op.MakeLink(target, link):
                self._make_link(target, link)
            case op.WriteFile(target, content):
                self._write(target, content)
            case op.MountSysfs(target, read_only):
                self._mount(target, "sysfs", _STANDARD | mounts.MS_RDONLY * read_only)
            case op.BindSysfs(target, read_only):
                self._bind("/sys", target, attributes=mounts.MOUNT_ATTR_RDONLY * read_only | _STANDARD_ATTRIBUTES)
            case op.MountCgroup(target):
                _if_possible(self._mount, target, "cgroup2", _STANDARD | mounts.MS_RDONLY)
            case op.HostsFile(target, content, read_only):
                self._hosts_file(target, content, read_only=read_only)
            case op.HoldSource():
                self._held[step.target] = binds.hold_source(step)
            case op.BindMount():
                binds.bind_mount(step, self._tree, self._held.pop(step.target, -1))
            case op.MountDevice():
                binds.mount_device(step, self._tree)
            case op.BindLayers():
                step_mounts.bind_layers(step, self._tree)
            case op.BindCache():
                step_mounts.bind_cache(step, self._tree)
            case op.BindSecret():
                step_mounts.bind_secret(step, self._tree, self._dev)
            case op.BindSocket():
                step_mounts.bind_socket(step, self._tree)
            case op.MakeDirectory(target, owner):
                self._make_directory(target, owner)
            case op.NoteUser(user):
                privileges.note_user(self._tree.root, user)
            case op.SetHostname(name):
                set_hostname(name)
            case op.LoopbackUp():
                _loopback()
            case op.SetSysctl(name, value, required):
                privileges.set_sysctl(self._tree.root, name, value, required=required)
            case op.SetLimit(name, soft, hard):
                limits.set_limit(name, soft, hard)
            case op.SetOomScore(value):
                limits.set_oom_score(value)
            case op.SetNice(level):
                limits.set_nice(level)
            case op.AwaitGroup(private):
                _await_group(private=private)
            case op.ProcFile(target, content):
                self._proc_file(target, content)
            case op.PivotRoot():
                self._settle_in(roots.pivot)
            case op.MoveRoot():
                self._settle_in(roots.move)
            case op.ChangeRoot():
                self._settle_in(roots.change)
            case op.ProtectProc():
                mounts.mount_setattr("/proc", set_attributes=mounts.MOUNT_ATTR_RDONLY, recursive=True)
            case op.MaskPath(target):
                self._mask(target)
            case op.ReadonlyPath(target):
                _read_only(target)
            case op.RemountReadonly():
                mounts.mount_setattr("/", set_attributes=mounts.MOUNT_ATTR_RDONLY)
            case op.LimitCapabilities(capabilities, required):
                privileges.limit_capabilities(capabilities, required, self._permitted)
            case op.LimitScope(signals, sockets, tracing):
                privileges.limit_scope(signals=signals, sockets=sockets, tracing=tracing)
            case op.NoNewPrivileges():
                set_no_new_privs()
            case op.InstallSeccomp(capabilities, profile):
                privileges.install_policy(frozenset(capabilities), profile)
            case op.RefuseSockets():
                install_filter(unix_sockets_filter())
            case op.InstallFakeIds(lost):
                answering.install_fake_ids(_REPORT, lost, noted=self._identity.uid == 0)
            case op.SetUser():
                self._set_user(step)
            case op.DropCapabilities(capabilities):
                own = frozenset(capabilities) & self._permitted if self._identity.uid == 0 else frozenset[str]()
                set_capabilities(own, own)
            case op.GrantCapabilities(capabilities):
                all_of_them = frozenset(capabilities) & self._permitted
                apply_capabilities(CapabilitySets(*[all_of_them] * 5))
            case op.Chdir(target) if self._tracing is not None:
                self._tracing.change_directory(target)
            case op.Chdir(target):
                _change_directory(target)
            case op.StartInit():
                self._init = True
            case op.RunOci():
                self._run_oci(step)
            case traced.UseTree():
                self._tracing = TracedTree(step)
                self._points = self._tracing.points
            case traced.ShowDirectory():
                self._dev = self._traced.show_directory(step, self._dev)
            case traced.ShowPath() | traced.ShowFile() | traced.Confine() | traced.InstallTracedFilter():
                self._traced.apply(step)
            case traced.RunTraced():
                self._traced.run(step, self._set_up_done)
            case op.Exec(argv, env, secrets):
                self._exec(argv, (*env, *(f"{one.name}={one.value}" for one in secrets)))
            case _:
                assert_never(step)

    def _mount_root(self, step: op.MountOverlay | op.BindRoot) -> None:
        """The root is mounted over its own writable directory: any place will do in a namespace of its own."""
        upper = os.open(step.upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if isinstance(step, op.BindRoot):
            mounts.bind(step.upper, step.upper)
            mounts.mount_setattr(step.upper, set_attributes=mounts.MOUNT_ATTR_NODEV * step.nodev)
        else:
            mounts.overlay(
                step.upper,
                lowers=step.lowers,
                upper=step.upper,
                work=step.work,
                userxattr=step.userxattr,
                volatile=step.volatile,
                flags=mounts.MS_NODEV * step.nodev,
            )
        root = os.open(step.upper, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._points = MountPoints(root, upper, keep_own=step.keep_own, keep_points=step.keep_points)

    def _mount(self, target: str, fstype: str, flags: int, options: str | None = None, source: str = "") -> None:
        point = self._tree.at(target)
        try:
            mounts.mount(source or fstype, f"/proc/self/fd/{point}", fstype, flags, options)
        except SyscallFailed as failure:
            raise SyscallFailed(
                f"mount {fstype}", failure.number, target, _mount_hint(fstype, failure.number)
            ) from None
        finally:
            os.close(point)

    def _mount_tmpfs(self, target: str, flags: tuple[str, ...], options: str, source: str) -> None:
        known = self._tree.made
        point = self._tree.at(target)
        mode = os.fstat(point).st_mode & 0o7777
        os.close(point)
        if self._tree.made == known and "mode=" not in options:
            options = ",".join(filter(None, (options, f"mode={mode:o}")))
        number = 0
        for flag in flags:
            number |= binds.FLAGS[flag]
        self._mount(target, "tmpfs", number, options, source)
        self._note_dev(target)

    def _make_scratch(self, step: op.MakeScratch) -> None:
        known = self._tree.made
        point = self._tree.at(step.target)
        try:
            mode = os.fstat(point).st_mode & 0o7777 if self._tree.made == known else 0o1777
            roots.make_scratch(step.source, int(step.mode, 8) if step.mode else mode)
            flags = [_SCRATCH_FLAGS[flag] for flag in step.flags if flag in _SCRATCH_FLAGS]
            mounts.bind_at(step.source, point, sum(flags))
        finally:
            os.close(point)
        self._note_dev(step.target)

    def _note_dev(self, target: str) -> None:
        if target == "/dev":
            self._dev = open_in_root(self._tree.root, target, os.O_PATH | os.O_DIRECTORY)

    def _bind(self, source: str, target: str, *, attributes: int = 0) -> None:
        try:
            point = self._tree.at(target, directory=os.path.isdir(source))
            try:
                mounts.bind_at(source, point, attributes)
            finally:
                os.close(point)
        except SyscallFailed as failure:
            raise SyscallFailed(failure.call, failure.number, f"{source} at {target}") from failure

    # The next three, and make_device, work in a /dev that was mounted a moment ago and that nobody else has seen:
    # names in it are plain.

    def _make_link(self, target: str, link: str) -> None:
        os.symlink(link, _name_in_dev(target), dir_fd=self._dev)

    def _write(self, target: str, content: str) -> None:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY
        descriptor = os.open(_name_in_dev(target), flags, 0o644, dir_fd=self._dev)
        data = content.encode("utf-8", "surrogateescape")
        while data:
            data = data[os.write(descriptor, data) :]
        os.close(descriptor)

    def _hosts_file(self, target: str, content: str, *, read_only: bool) -> None:
        """Bind a file that is kept in /dev's memory and has no name there any more.

        An image whose file is a link into /proc, /sys or /dev (``/etc/resolv.conf -> /dev/null``) keeps it.
        """
        point = self._tree.file(target)
        if f"/{self._tree.inside(point).partition('/')[0]}" in OWN:
            os.close(point)
            return
        with self._generated(content, point) as source:
            mounts.bind_at(source, point, (mounts.MOUNT_ATTR_RDONLY | _STANDARD_ATTRIBUTES) * read_only)

    def _proc_file(self, target: str, content: str) -> None:
        """Like :meth:`_hosts_file`, over a file of /proc or /sys; where there is none, nothing is shown either."""
        try:
            point = open_in_root(self._tree.root, target, os.O_PATH)
        except SyscallFailed:
            return
        with self._generated(content, point) as source:
            file = os.open(source, os.O_WRONLY | os.O_CLOEXEC)
            mounts.bind_at(source, point, mounts.MOUNT_ATTR_RDONLY | _STANDARD_ATTRIBUTES)
            with socket.socket(fileno=os.dup(_REPORT)) as channel:
                send(channel, Generated(target), [file])
            os.close(file)

    @contextmanager
    def _generated(self, content: str, point: int) -> Iterator[str]:
        """A file with this content, by a name that it has until it is bound to ``point``, which is closed then."""
        self._write(_GENERATED, content)
        try:
            yield f"/proc/self/fd/{self._dev}/{_name_in_dev(_GENERATED)}"
        finally:
            os.close(point)
        os.unlink(_name_in_dev(_GENERATED), dir_fd=self._dev)

    def _make_directory(self, target: str, owner: str) -> None:
        try:
            descriptor, made = make_dirs_in_root(self._tree.root, target)
        except SyscallFailed as failure:
            raise SyscallFailed(
                "mkdir", failure.number, target, "the working directory must be, or be possible to make, a directory"
            ) from failure
        os.close(descriptor)
        if not made or not owner:
            return
        root = self._tree.root
        identity = identity_of(owner, root=root)
        for name in made:
            here = open_in_root(root, name, os.O_PATH | os.O_DIRECTORY)
            try:
                os.chown(f"/proc/self/fd/{here}", identity.uid, identity.gid)
            finally:
                os.close(here)

    def _settle_in(self, switch: Callable[[], None]) -> None:
        """Tell the monitor, and make the container's root the root; nothing is open that leads out of it."""
        if switch is not roots.pivot:  # whoever enters the mount namespace later finds the host's root there
            with socket.socket(fileno=os.dup(_REPORT)) as channel:
                send(channel, Rooted(), [self._tree.root])
        self._set_up_done()
        os.fchdir(self._tree.root)
        switch()
        os.chdir("/")
        close_from(_REPORT + 1)
        devices.reopen_null(range(_REPORT))

    def _mask(self, target: str) -> None:
        if not os.path.exists(target):
            return
        try:
            if not os.path.isdir(target):
                devices.check_null()
                mounts.bind("/dev/null", target, recursive=False)
            elif self._empty:
                mounts.bind(self._empty, target, recursive=False)
            else:
                self._empty = roots.mask_directory(target)
        except SyscallFailed as failure:
            if failure.number not in (errno.ENOENT, errno.ENOTDIR):
                raise

    def _set_user(self, step: op.SetUser) -> None:
        self._identity = identity_of(step.user, step.more_groups)
        if not step.change:
            return
        uid, gid, groups, _ = self._identity
        if uid:
            own_streams(uid)
        try:
            if step.groups:
                os.setgroups(list(dict.fromkeys((gid, *groups))))
            keep_capabilities(step.keep)
            os.setresgid(gid, gid, gid)
            os.setresuid(uid, uid, uid)
            if step.keep and uid:
                set_capabilities(self._permitted, self._permitted)
        except OSError as problem:
            hint = "only one user id is mapped on this host: give this user a range in /etc/subuid and /etc/subgid"
            raise SyscallFailed(
                f"become user {step.user or 'root'} ({uid}:{gid})",
                problem.errno or 0,
                hint=hint if problem.errno in (errno.EINVAL, errno.EPERM) else None,
            ) from problem
        set_parent_death_signal(signal.SIGKILL)  # forgotten by the change of ids
        set_dumpable(not self._hidden)  # same

    def _run_oci(self, step: op.RunOci) -> None:
        from contextkernel.runtime.oci_keeper import keep  # nothing of the host's is gone here

        keep(step, identity_of(step.user, step.groups, root=self._tree.root), started=self._announce)

    def _announce(self) -> None:
        """Tell the monitor that the container is there, wait until it has seen it, and let go of it."""
        self._set_up_done()
        os.close(_REPORT)

    def _set_up_done(self) -> None:
        _report(SetUp(self._tree.stubs, self._tree.parents))
        while (word := os.read(_REPORT, 1)) != SEEN:
            if word != GO:
                raise LaunchFailed("the container's monitor has ended")

    def _exec(self, argv: tuple[str, ...], env: tuple[str, ...]) -> None:
        environment = dict(item.partition("=")[::2] for item in env if not item.startswith("="))
        if not environment.get("HOME"):
            environment["HOME"] = self._identity.home
        if self._init:
            run_as_init(_REPORT)
        execute(argv, environment)


def _await_group(*, private: bool) -> None:
    if os.read(_REPORT, 1) != GO:
        raise LaunchFailed("the container's monitor has not put it into its control group")
    if private:
        unshare(CLONE_NEWCGROUP)


def _name_in_dev(path: str) -> str:
    """The last component of ``/dev/NAME``."""
    directory, name = os.path.split(path)
    if directory != "/dev":
        raise LaunchFailed(f"the plan puts {path!r} elsewhere than in /dev")
    return name


def _mount_hint(fstype: str, number: int) -> str | None:
    if number == errno.EPERM and fstype in ("proc", "sysfs"):
        return f"parts of the host's /{fstype.removesuffix('fs')} are masked, so the kernel refuses a new one"
    return None


def _if_possible(action: Callable[..., None], *args: object) -> None:
    """Do what a host may lack or refuse without harm."""
    with suppress(SyscallFailed):
        action(*args)


def _read_only(target: str) -> None:
    try:
        mounts.bind(target, target)
        mounts.mount_setattr(target, set_attributes=mounts.MOUNT_ATTR_RDONLY | _STANDARD_ATTRIBUTES, recursive=True)
    except SyscallFailed as failure:
        if failure.number not in (errno.ENOENT, errno.ENOTDIR):
            raise


def _change_directory(target: str) -> None:
    """Go there without using a jump link of /proc, and make sure that it is inside."""
    descriptor = openat2(AT_FDCWD, target, os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_NO_MAGICLINKS)
    os.fchdir(descriptor)
    os.close(descriptor)
    if not os.getcwd().startswith("/"):
        raise LaunchFailed(f"working directory {target!r} is outside of the container")
