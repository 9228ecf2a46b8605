"""A process becomes the container's program: its namespaces, limits, rights and user, and the start, carried out."""

from __future__ import annotations

import errno
import os
import signal
from contextlib import suppress
from typing import assert_never

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux.caps import (
    CapabilitySets,
    apply_capabilities,
    keep_capabilities,
    set_capabilities,
    set_no_new_privs,
)
from contextkernel.linux.libc import AT_FDCWD
from contextkernel.linux.namespaces import (
    CLONE_NEWCGROUP,
    CLONE_NEWNET,
    join_new_session_keyring,
    set_domainname,
    set_dumpable,
    set_hostname,
    set_parent_death_signal,
    setns,
    unshare,
)
from contextkernel.linux.net import loopback_up
from contextkernel.linux.openat2 import RESOLVE_NO_MAGICLINKS, openat2
from contextkernel.linux.seccomp import fixed_filter, install_filter
from contextkernel.linux.seccomp_policy import UNIX_SOCKETS_POLICY
from contextkernel.runtime import answering, limits, privileges, sharing
from contextkernel.runtime import operations as op
from contextkernel.runtime.child_report import REPORT, announce, await_go
from contextkernel.runtime.child_terminal import open_hosts_terminal, open_terminal, own_streams
from contextkernel.runtime.child_tree import ChildTree
from contextkernel.runtime.execute import execute
from contextkernel.runtime.image_users import identity_of
from contextkernel.runtime.init import run_as_init
from contextkernel.runtime.users import Identity


class ChildProgram:
    """What the steps share that are about the process itself.

    Args:
        tree: what the process sees, or is going to.
        permitted: capabilities that the launcher has; no others can be kept.
        hidden: stay not dumpable until the program is executed.
    """

    def __init__(self, tree: ChildTree, permitted: frozenset[str], *, hidden: bool) -> None:
        self._tree = tree
        self._permitted = permitted
        self._hidden = hidden
        self._identity = Identity(0, 0, (), "/")
        self._init = False

    def apply(self, step: op.ProgramOperation) -> None:
        """Carry out one operation.

        Raises:
            SyscallFailed, LaunchFailed, InvalidInput: it failed. ExecProblem: of the program itself.
        """
        match step:
            case op.NewKeyring(name):
                with suppress(SyscallFailed):  # a host may lack or refuse it without harm
                    join_new_session_keyring(name)
            case op.JoinNetwork(path):
                _join_network(path)
            case op.JoinIpc(pid):
                sharing.join(pid, "ipc")
            case op.OpenTerminal():
                self._open_terminal(step)
            case op.SetHostname(name, domain):
                set_hostname(name)
                if domain:
                    set_domainname(domain)
            case op.LoopbackUp():
                _loopback()
            case op.SetSysctl(name, value, required):
                privileges.set_sysctl(self._tree.points.root, name, value, required=required)
            case op.SetLimit(name, soft, hard):
                limits.set_limit(name, soft, hard)
            case op.SetOomScore(value):
                limits.set_oom_score(value)
            case op.SetNice(level):
                limits.set_nice(level)
            case op.AwaitGroup(private):
                await_go()
                if private:
                    unshare(CLONE_NEWCGROUP)
            case op.LimitCapabilities(capabilities, required):
                privileges.limit_capabilities(capabilities, required, self._permitted)
            case op.LimitScope(signals, sockets, tracing):
                privileges.limit_scope(signals=signals, sockets=sockets, tracing=tracing)
            case op.NoNewPrivileges():
                set_no_new_privs()
            case op.InstallSeccomp(capabilities, profile):
                privileges.install_policy(frozenset(capabilities), profile)
            case op.RefuseSockets():
                install_filter(fixed_filter(UNIX_SOCKETS_POLICY))
            case op.InstallFakeIds(lost):
                answering.install_fake_ids(REPORT, lost, noted=self._identity.uid == 0)
            case op.SetUser():
                self._set_user(step)
            case op.DropCapabilities(capabilities):
                own = frozenset(capabilities) & self._permitted if self._identity.uid == 0 else frozenset[str]()
                set_capabilities(own, own)
            case op.GrantCapabilities(capabilities):
                all_of_them = frozenset(capabilities) & self._permitted
                apply_capabilities(CapabilitySets(*[all_of_them] * 5))
            case op.Chdir(target):
                self._change_directory(target)
            case op.StartInit():
                self._init = True
            case op.RunOci():
                self._run_oci(step)
            case op.Exec(argv, env, secrets):
                self._exec(argv, (*env, *(f"{one.name}={one.value}" for one in secrets)))
            case _:
                assert_never(step)

    def _open_terminal(self, step: op.OpenTerminal) -> None:
        if step.hosts:
            self._tree.tracing.show_terminal(open_hosts_terminal(step, REPORT), console=step.console)
            return
        own = self._tree.has_root
        root = self._tree.points.root if own else os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        open_terminal(step, root, self._tree.dev, REPORT)

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

    def _change_directory(self, target: str) -> None:
        """Go there without using a jump link of /proc, and make sure that it is inside."""
        if self._tree.is_traced:
            self._tree.tracing.change_directory(target)
            return
        descriptor = openat2(AT_FDCWD, target, os.O_PATH | os.O_DIRECTORY, resolve=RESOLVE_NO_MAGICLINKS)
        os.fchdir(descriptor)
        os.close(descriptor)
        if not os.getcwd().startswith("/"):
            raise LaunchFailed(f"working directory {target!r} is outside of the container")

    def _run_oci(self, step: op.RunOci) -> None:
        from contextkernel.runtime.oci_keeper import keep  # nothing of the host's is gone here

        points = self._tree.points
        identity = identity_of(step.user, step.groups, root=points.root)
        keep(step, identity, started=lambda: announce(points))

    def _exec(self, argv: tuple[str, ...], env: tuple[str, ...]) -> None:
        environment = dict(item.partition("=")[::2] for item in env if not item.startswith("="))
        if not environment.get("HOME"):
            environment["HOME"] = self._identity.home
        if self._init:
            run_as_init(argv, REPORT)
        execute(argv, environment)


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
