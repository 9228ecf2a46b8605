"""The process that tries things: single-threaded, thrown away afterwards, one JSON line on stdout for each thing.

Everything that changes the process happens in a further fork; the lines of all of them are short enough to arrive
whole (pipe(7): up to PIPE_BUF bytes).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import stat
import struct
import tempfile
import time

from contextkernel.errors import ContextKernelError, SyscallFailed
from contextkernel.host import subids
from contextkernel.host.cgroups import try_cgroup_v1, try_cgroup_v2
from contextkernel.host.findings import SETTINGS, TOOLS, Entered, Outcome, Surroundings
from contextkernel.host.trying import Limited, Refused, attempt, in_child, say, start_child
from contextkernel.linux import mount as mounts
from contextkernel.linux import namespaces, userns
from contextkernel.linux.caps import DEFAULT_CAPABILITIES, read_capabilities, read_status, set_no_new_privs
from contextkernel.linux.ptrace import trace_me
from contextkernel.model.ids import IdMap, IdRange

_PREFIX = "probe-"
_STALE_SECONDS = 3600
#: where else an overlay's upper directory is tried when the store's root does not carry one
_ELSEWHERE = ("/var/tmp", "/tmp", "/dev/shm")  # noqa: S108 - only asked whether an overlay works there

_TUNSETIFF = 0x4004_54CA  # <linux/if_tun.h>
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000


def survey(root: str) -> Surroundings:
    """Look at the circumstances, without trying anything."""
    status = read_status()
    uid, gid = os.geteuid(), os.getegid()
    settings = {}
    for name in SETTINGS:
        try:
            with open("/proc/sys/" + name.replace(".", "/"), encoding="ascii") as file:
                settings[name] = file.read().strip()
        except OSError:
            continue
    system = os.uname()
    user = _login(uid)
    return Surroundings(
        uid=uid,
        gid=gid,
        user=user,
        root=root,
        kernel=system.release,
        machine=system.machine,
        admin="CAP_SYS_ADMIN" in read_capabilities().effective,
        no_new_privs=status.get("NoNewPrivs") == "1",
        filtered=status.get("Seccomp") == "2",
        container=os.path.exists("/.dockerenv") or os.path.exists("/run/.containerenv") or _in_pod(),
        kubernetes=_in_pod(),
        subordinate=subids.read_idmap(uid, gid, user) is not None,
        settings=settings,
        tools={name: path for name in TOOLS if (path := shutil.which(name))},
    )


def _in_pod() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ


def _login(uid: int) -> str:
    import pwd

    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def main(root: str) -> None:
    """Try everything; says its findings on standard output.

    Args:
        root: the store's directory; made if it is missing.
    """
    around = survey(root)
    say(around)
    try:
        os.makedirs(root, mode=0o700, exist_ok=True)
        _sweep(root)
        place, unusable = tempfile.mkdtemp(prefix=_PREFIX, dir=root), None
    except OSError as problem:
        place, unusable = tempfile.mkdtemp(prefix="contextkernel-" + _PREFIX), problem
    try:
        # namespaces wait for the kernel a lot: the rest is tried meanwhile
        pid = start_child(lambda: try_all_namespaces(around, place, unusable))
        in_child(lambda: attempt("seccomp", try_seccomp))
        attempt("ptrace", try_ptrace)
        attempt("cgroup_v1", try_cgroup_v1)
        attempt("cgroup_v2", try_cgroup_v2)
        for name in TOOLS:
            attempt(name, lambda name=name: try_tool(name, around.tools.get(name)))  # type: ignore[misc]
        os.waitpid(pid, 0)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _sweep(root: str) -> None:
    """Remove what a killed probe left; a directory's age tells, since its process may be in another pid namespace."""
    for name in os.listdir(root):
        path = os.path.join(root, name)
        if name.startswith(_PREFIX) and time.time() - os.lstat(path).st_mtime > _STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def try_all_namespaces(around: Surroundings, place: str, unusable: OSError | None) -> bool:
    """Enter namespaces in the best way that works: as root, with a range of ids, with a single one."""
    single = IdMap((IdRange(0, around.uid, 1),), (IdRange(0, around.gid, 1),))
    if around.uid == 0 and around.admin:
        in_child(lambda: attempt("user_namespace", lambda: _enter(single)))
        if _may_mark(place) and in_child(lambda: try_namespaces(IdMap(), place, unusable)):
            return True
    candidate = _own_ids() if around.uid == 0 else subids.read_idmap(around.uid, around.gid, around.user)
    if candidate is None and around.uid == 0:
        attempt("id_range", lambda: _refuse("this user namespace has a single id"))
    elif candidate is None:
        attempt("id_range", lambda: _refuse(f"no range for {around.user} in /etc/subuid and /etc/subgid"))
    elif around.uid != 0 and not {"newuidmap", "newgidmap"} <= around.tools.keys():
        attempt("id_range", lambda: _refuse("newuidmap and newgidmap are not installed"))
    elif in_child(lambda: try_namespaces(candidate, place, unusable)):
        return True
    return in_child(lambda: try_namespaces(single, place, unusable))


def _refuse(why: str) -> str:
    raise Refused(why)


def _may_mark(place: str) -> bool:
    """Whether this is root of the whole machine, or only of a user namespace, where overlay's own marks are refused."""
    try:
        os.setxattr(place, "trusted.contextkernel", b"y")
        os.removexattr(place, "trusted.contextkernel")
    except PermissionError:
        return False
    except OSError:
        return True  # a file system without such attributes: overlay's outcome will say it
    return True


def _own_ids() -> IdMap | None:
    """What root with too few capabilities, or in a user namespace, may map: the ids it has, one to one."""
    maps = []
    for path in ("/proc/self/uid_map", "/proc/self/gid_map"):
        with open(path, encoding="ascii") as file:
            maps.append(subids.own_map(file.read()))
    uids, gids = maps
    return IdMap(uids, gids) if uids and gids else None


def _enter(idmap: IdMap) -> str | None:
    """Enter the user namespace; of a range, become the last id, to see that it is really there."""
    userns.enter(idmap)
    if idmap.identity or idmap.single:
        return None
    last = max(part.container + part.size for part in idmap.uids) - 1
    os.setresuid(last, last, 0)
    os.setresuid(0, 0, 0)
    namespaces.set_dumpable(True)
    if last < 65534:
        raise Limited(f"ids 0 to {last}; images use ids up to 65534 (nobody)")
    return f"ids 0 to {last}"


def try_namespaces(idmap: IdMap, place: str, unusable: OSError | None) -> bool:
    """Everything that an engine needs of namespaces, in this process and under one id map.

    Args:
        idmap: empty: without a user namespace.
        place: a directory to mount things in; in the store's root unless that is unusable.
        unusable: why nothing can be made in the store's root.

    Returns:
        Whether namespaces could be entered, so that there is no need to try another id map.
    """
    if idmap.identity:
        if not attempt("mount_namespace", lambda: _private_mounts(place)):
            return False
        say(Outcome(name="id_range", verdict="works", detail="root has all ids"))
    else:
        if not attempt("user_namespace" if idmap.single else "id_range", lambda: _enter(idmap)):
            return False
        if not idmap.single:
            say(Outcome(name="user_namespace", verdict="works"))
        attempt("mount_namespace", lambda: _private_mounts(place))
    say(Entered(idmap=idmap))
    attempt("uts_namespace", lambda: namespaces.unshare(namespaces.CLONE_NEWUTS))
    attempt("ipc_namespace", lambda: namespaces.unshare(namespaces.CLONE_NEWIPC))
    attempt("cgroup_namespace", lambda: namespaces.unshare(namespaces.CLONE_NEWCGROUP))
    userxattr = not idmap.identity
    if not attempt("overlay", lambda: _overlay_in_root(place, unusable, userxattr=userxattr)):
        _overlay_elsewhere(userxattr=userxattr)
    if attempt("network_namespace", lambda: namespaces.unshare(namespaces.CLONE_NEWNET)):
        attempt("tun_device", try_tun)
        attempt("packet_filter", try_packet_filter)
        attempt("fresh_sys", lambda: _mount_at(place, "sysfs", mounts.MS_RDONLY))
    if attempt("pid_namespace", lambda: namespaces.unshare(namespaces.CLONE_NEWPID)):
        # the first process of the new namespace; this one stays in the old
        in_child(lambda: attempt("fresh_proc", lambda: _fresh_proc(place)))
    attempt("pivot_root", lambda: _pivot_root(place))
    return True


def _private_mounts(place: str) -> None:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.make_private("/")
    _mount_at(place, "tmpfs")
    mounts.umount(place)


def _mount_at(place: str, kind: str, flags: int = 0) -> None:
    mounts.mount(kind, place, kind, flags | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC)


def _fresh_proc(place: str) -> None:
    if os.getpid() != 1:
        raise Refused(f"the first process of a new pid namespace has pid {os.getpid()}")
    _mount_at(place, "proc")
    if os.readlink(os.path.join(place, "self")) != "1":
        raise Refused("the new /proc shows other processes")


def _pivot_root(place: str) -> None:
    _mount_at(place, "tmpfs")
    os.chdir(place)
    mounts.pivot_root(".", ".")
    mounts.umount(".", mounts.MNT_DETACH)
    os.chdir("/")
    if os.listdir("/"):
        raise Refused("the old root is still there after pivot_root")


def _overlay_in_root(place: str, unusable: OSError | None, *, userxattr: bool) -> str:
    if unusable is not None:
        raise unusable
    return try_overlay(place, userxattr=userxattr)


def _overlay_elsewhere(*, userxattr: bool) -> None:
    """Where the store could be instead; said as the detail of an outcome of its own."""
    for directory in _ELSEWHERE:
        try:
            place = tempfile.mkdtemp(prefix="contextkernel-" + _PREFIX, dir=directory)
        except OSError:
            continue
        try:
            try_overlay(place, userxattr=userxattr)
        except (ContextKernelError, OSError, Refused):
            continue
        else:
            say(Outcome(name="overlay_elsewhere", verdict="works", detail=directory))
            return
        finally:
            shutil.rmtree(place, ignore_errors=True)


def try_overlay(place: str, *, userxattr: bool) -> str:
    """Mount an overlay in ``place`` and change it as a build step does.

    Some hosts mount it and fail later, so a file and a directory of the lower layer are removed, and the marks that
    the kernel leaves for them are looked at: they are what makes the upper directory a layer.
    """
    lower, upper, work, merged = (os.path.join(place, name) for name in ("lower", "upper", "work", "merged"))
    for path in (lower, upper, work, merged, os.path.join(lower, "directory")):
        os.mkdir(path)
    for name in ("file", "directory/file"):
        with open(os.path.join(lower, name), "w", encoding="ascii") as file:
            file.write("below")
    try:
        # volatile: unmounting would otherwise wait until the whole file system is synced
        mounts.overlay(merged, lowers=(lower,), upper=upper, work=work, userxattr=userxattr, volatile=True)
        try:
            os.unlink(os.path.join(merged, "file"))
            shutil.rmtree(os.path.join(merged, "directory"))
            os.mkdir(os.path.join(merged, "directory"))
            if os.listdir(merged) != ["directory"] or os.listdir(os.path.join(merged, "directory")):
                raise Refused("what was removed is still there")
        finally:
            mounts.umount(merged)
        mark = os.lstat(os.path.join(upper, "file"))
        if not stat.S_ISCHR(mark.st_mode) or mark.st_rdev:
            raise Refused(f"the mark of a removed file has mode {mark.st_mode:o}")
        attribute = "user.overlay.opaque" if userxattr else "trusted.overlay.opaque"
        if os.getxattr(os.path.join(upper, "directory"), attribute) != b"y":
            raise Refused(f"a replaced directory has no {attribute}")
    finally:
        # here, where the owner of overlay's work directory has power over it
        for path in (lower, upper, work, merged):
            shutil.rmtree(path, ignore_errors=True)
    return f"native, marks in {attribute.partition('.')[0]}.overlay"


def try_tun() -> None:
    """Make a network device of one's own, as pasta and slirp4netns do; it goes with the descriptor."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.ioctl(descriptor, _TUNSETIFF, struct.pack("16sH22x", b"ckprobe0", _IFF_TAP | _IFF_NO_PI))
    finally:
        os.close(descriptor)


def try_packet_filter() -> str:
    """Lead connections elsewhere, in the network namespace that is thrown away."""
    from contextkernel.linux.netfilter import try_redirect

    try_redirect()
    return "nf_tables, with redirection"


def try_seccomp() -> None:
    """Install the default filter and have it refuse something harmless."""
    from contextkernel.linux import seccomp

    set_no_new_privs()
    seccomp.install_filter(seccomp.default_filter(DEFAULT_CAPABILITIES))
    try:
        namespaces.unshare(0)
    except SyscallFailed:
        return
    raise Refused("an installed filter refuses nothing")


def try_ptrace() -> None:
    """Trace a child, as proot does."""
    read, write = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            trace_me()
            os.kill(os.getpid(), signal.SIGSTOP)
        except SyscallFailed as failure:
            os.write(write, bytes([failure.number]))
        finally:
            os._exit(0)
    os.close(write)
    _, status = os.waitpid(pid, os.WUNTRACED)
    if os.WIFSTOPPED(status):
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        os.close(read)
        return
    number = os.read(read, 1)
    os.close(read)
    raise SyscallFailed("ptrace", number[0] if number else 0)


def try_tool(name: str, path: str | None) -> str:
    """A program that is looked up in PATH; proot is also run, since it depends on what the host lets it trace."""
    if path is None:
        raise Refused(f"{name} is not installed")
    if name == "proot":
        actions = [(os.POSIX_SPAWN_OPEN, descriptor, os.devnull, os.O_RDWR, 0) for descriptor in (0, 1, 2)]
        pid = os.posix_spawn(path, [path, "-0", "/bin/true"], os.environ, file_actions=actions)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status:
            raise Refused(f"proot -0 /bin/true: exit status {status}")
    return path
