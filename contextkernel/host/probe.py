"""The process that tries things: single-threaded, thrown away afterwards, one JSON line on stdout for each thing.

Everything that changes the process happens in a further fork; the lines of all of them are short enough to arrive
whole (pipe(7): up to PIPE_BUF bytes).
"""

from __future__ import annotations

import fcntl
import os
import shutil
import struct
import tempfile
import time
from collections.abc import Callable

from contextkernel.host import probe_confinement as confinement
from contextkernel.host import probe_files as files
from contextkernel.host import resources, subids
from contextkernel.host.cgroups import try_cgroup_v1, try_cgroup_v2
from contextkernel.host.findings import NOTED_SETTINGS, SETTINGS, TOOLS, Entered, Outcome, Surroundings
from contextkernel.host.probe_fuse import try_fuse_overlayfs
from contextkernel.host.trying import Limited, Refused, attempt, in_child, say, start_child
from contextkernel.linux import mount as mounts
from contextkernel.linux import namespaces, userns
from contextkernel.linux.caps import read_capabilities, read_status
from contextkernel.model.ids import IdMap, IdRange

_PREFIX = "probe-"
_STALE_SECONDS = 3600
#: where else an overlay's upper directory is tried when the store's root does not carry one
_ELSEWHERE = ("/var/tmp", "/tmp", "/dev/shm")  # noqa: S108 - only asked whether an overlay works there

#: bytes that must be free there: the 64 MB of a container's /dev/shm would not do
_ROOM = 1000**3

_OVER_ETC = frozenset({"/etc/hosts", "/etc/hostname", "/etc/resolv.conf"})

_TUNSETIFF = 0x4004_54CA  # <linux/if_tun.h>
_IFF_TAP, _IFF_NO_PI = 0x0002, 0x1000


def survey(root: str) -> Surroundings:
    """Look at the circumstances, without trying anything."""
    status = read_status()
    uid, gid = os.geteuid(), os.getegid()
    capabilities = read_capabilities().effective
    settings = {}
    for name in (*SETTINGS, *NOTED_SETTINGS):
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
        admin="CAP_SYS_ADMIN" in capabilities,
        chown="CAP_CHOWN" in capabilities and _own_ids() is not None,
        no_new_privs=status.get("NoNewPrivs") == "1",
        filtered=status.get("Seccomp") == "2",
        container=_in_container(),
        kubernetes=_in_pod(),
        subordinate=subids.read_idmap(uid, gid, user) is not None,
        settings=settings,
        apparmor=_apparmor(),
        tools={name: path for name in (*TOOLS, "fuse-overlayfs") if (path := shutil.which(name))},
    )


def _in_container() -> bool:
    """Whether somebody else's container surrounds this: none goes without files of the runtime's over these of /etc.

    Not ``/.dockerenv``: virtual machines that are made from an image have it too.
    """
    return (
        os.path.exists("/run/.containerenv")
        or not _OVER_ETC.isdisjoint(resources.mount_points())
        or resources.kind_of("/") == "overlay"
        or _in_pod()
    )


def _in_pod() -> bool:
    return "KUBERNETES_SERVICE_HOST" in os.environ or os.path.isdir("/run/secrets/kubernetes.io")


def _apparmor() -> str:
    """The AppArmor profile that this process is confined by; empty if none."""
    for path in ("/proc/self/attr/apparmor/current", "/proc/self/attr/current"):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                label = file.read().strip(" \n\0")
        except OSError:
            continue
        # another security module's label, such as SELinux's, has colons
        return "" if label == "unconfined" or ":" in label else label
    return ""


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
        # imported once, for the forks that need it: it takes longer than they do
        import contextkernel.linux.seccomp  # noqa: F401

        in_child(lambda: attempt("seccomp", confinement.try_seccomp))
        in_child(lambda: attempt("seccomp_notify", confinement.try_seccomp_notify))
        in_child(lambda: attempt("landlock", confinement.try_landlock))
        attempt("ptrace", confinement.try_ptrace)
        attempt("user_xattrs", lambda: _in_root(unusable, lambda: files.try_user_xattrs(place)))
        attempt("reflink", lambda: _in_root(unusable, lambda: files.try_reflink(place)))
        attempt("disk", lambda: _in_root(unusable, lambda: resources.try_disk(place)))
        attempt("memory", resources.try_memory)
        attempt("cpus", resources.try_cpus)
        attempt("cgroup_v1", try_cgroup_v1)
        attempt("cgroup_v2", try_cgroup_v2)
        for name in TOOLS:
            attempt(name, lambda name=name: try_tool(name, around.tools.get(name), place))  # type: ignore[misc]
        os.waitpid(pid, 0)
    finally:
        shutil.rmtree(place, ignore_errors=True)


def _in_root(unusable: OSError | None, action: Callable[[], str | None]) -> str | None:
    """What ``action`` says of the store's root; the reason why nothing can be made there, if that is so."""
    if unusable is not None:
        raise unusable
    return action()


def _sweep(root: str) -> None:
    """Remove what a killed probe left; a directory's age tells, since its process may be in another pid namespace."""
    for name in os.listdir(root):
        path = os.path.join(root, name)
        if name.startswith(_PREFIX) and time.time() - os.lstat(path).st_mtime > _STALE_SECONDS:
            shutil.rmtree(path, ignore_errors=True)


def try_all_namespaces(around: Surroundings, place: str, unusable: OSError | None) -> bool:
    """Enter namespaces in the best way that works: as root, with a range of ids, with a single one."""
    single = IdMap((IdRange(0, around.uid, 1),), (IdRange(0, around.gid, 1),))
    attempt("whiteout_marks", lambda: _in_root(unusable, lambda: files.try_whiteout_node(place)))
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
    if in_child(lambda: try_namespaces(single, place, unusable)):
        return True
    return in_child(lambda: attempt("chroot", lambda: _chroot(place)))


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
    attempt("tmpfs", lambda: _mountable(place, "tmpfs"))
    attempt("devpts", lambda: _mountable(place, "devpts", "newinstance,ptmxmode=0666"))
    if attempt("ipc_namespace", lambda: namespaces.unshare(namespaces.CLONE_NEWIPC)) or idmap.identity:
        attempt("mqueue", lambda: _mountable(place, "mqueue"))
    attempt("cgroup_namespace", lambda: namespaces.unshare(namespaces.CLONE_NEWCGROUP))
    userxattr = not idmap.identity
    if not attempt("overlay", lambda: _in_root(unusable, lambda: files.try_overlay(place, userxattr=userxattr))):
        _overlay_elsewhere(userxattr=userxattr)
    fuse = shutil.which("fuse-overlayfs")
    attempt("fuse_overlayfs", lambda: _in_root(unusable, lambda: try_fuse_overlayfs(place, fuse)))
    if not _marks(place):
        attempt("whiteout_marks", lambda: _in_root(unusable, lambda: files.try_whiteout_xattr(place)))
    in_child(lambda: attempt("chroot", lambda: _chroot(place)))
    if attempt("network_namespace", lambda: namespaces.unshare(namespaces.CLONE_NEWNET)):
        attempt("tun_device", try_tun)
        attempt("packet_filter", try_packet_filter)
        attempt("fresh_sys", lambda: _fresh_sys(place))
    elif idmap.identity:
        attempt("fresh_sys", lambda: _fresh_sys(place))
    if attempt("pid_namespace", lambda: namespaces.unshare(namespaces.CLONE_NEWPID)):
        # the first process of the new namespace; this one stays in the old
        in_child(lambda: attempt("fresh_proc", lambda: _fresh_proc(place)))
    elif idmap.identity:
        attempt("fresh_proc", lambda: _shared_proc(place))
    if not attempt("pivot_root", lambda: _pivot_root(place)):
        attempt("move_root", lambda: _move_root(place))
    return True


def _marks(place: str) -> bool:
    """Whether a device node can mark a removed file in ``place``; said already, by whoever began."""
    try:
        files.try_whiteout_node(place)
    except OSError:
        return False
    return True


def _chroot(place: str) -> None:
    inside = os.path.join(place, "root")
    os.makedirs(inside, exist_ok=True)
    os.chroot(inside)
    os.chdir("/")
    if os.listdir("/"):
        raise Refused("the old root is still there after chroot")


def _private_mounts(place: str) -> None:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.make_private("/")
    mounts.bind(place, place, recursive=False)
    mounts.umount(place)


def _mountable(place: str, kind: str, options: str | None = None) -> None:
    mounts.mount(kind, place, kind, mounts.MS_NOSUID | mounts.MS_NOEXEC, options)
    try:
        if kind == "devpts":
            os.close(os.open(os.path.join(place, "ptmx"), os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    finally:
        mounts.umount(place)


def _mount_at(place: str, kind: str, flags: int = 0) -> None:
    mounts.mount(kind, place, kind, flags | mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC)


def _fresh_sys(place: str) -> None:
    _mount_at(place, "sysfs", mounts.MS_RDONLY)
    mounts.umount(place)


def _fresh_proc(place: str) -> None:
    if os.getpid() != 1:
        raise Refused(f"the first process of a new pid namespace has pid {os.getpid()}")
    _mount_at(place, "proc")
    try:
        if os.readlink(os.path.join(place, "self")) != "1":
            raise Refused("the new /proc shows other processes")
    finally:
        mounts.umount(place)


def _shared_proc(place: str) -> str:
    """Of the processes that are there already: root of the machine may, and can have others hidden (Linux 5.8)."""
    mounts.mount("proc", place, "proc", mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC, "hidepid=ptraceable")
    mounts.umount(place)
    return "without a pid namespace; processes that may not be traced are hidden"


def _pivot_root(place: str) -> None:
    _go_to_new_root(place)
    mounts.pivot_root(".", ".")
    mounts.umount(".", mounts.MNT_DETACH)
    os.chdir("/")
    if os.listdir("/"):
        raise Refused("the old root is still there after pivot_root")


def _move_root(place: str) -> None:
    _go_to_new_root(place)
    mounts.mount(".", "/", None, mounts.MS_MOVE)
    os.chroot(".")
    os.chdir("/..")
    if os.listdir("."):
        raise Refused("the old root is still there after another was moved over it")


def _go_to_new_root(place: str) -> None:
    inside = os.path.join(place, "root")
    os.makedirs(inside, exist_ok=True)
    mounts.bind(inside, inside, recursive=False)
    os.chdir(inside)


def _overlay_elsewhere(*, userxattr: bool) -> None:
    """Where the store could be instead; said as the detail of an outcome of its own."""
    for directory in _ELSEWHERE:
        try:
            place = tempfile.mkdtemp(prefix="contextkernel-" + _PREFIX, dir=directory)
        except OSError:
            continue
        try:
            if resources.room(place) >= _ROOM and files.overlay_works(place, userxattr=userxattr):
                say(Outcome(name="overlay_elsewhere", verdict="works", detail=directory))
                return
        finally:
            shutil.rmtree(place, ignore_errors=True)


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


def try_tool(name: str, path: str | None, place: str) -> str:
    """A program that is looked up in PATH; proot is also run, since it depends on what the host lets it trace.

    Args:
        name: of the program.
        path: where it is; ``None`` if it is not installed.
        place: a directory in the store's root.

    Returns:
        ``path``.
    """
    if path is None:
        raise Refused(f"{name} is not installed")
    if name == "proot":
        confinement.try_proot(path, place)
    return path
