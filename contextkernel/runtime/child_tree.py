"""What a container sees is laid out from inside: its root, what is mounted in it, what is masked, carried out in order.

Nothing here says what is to be there: that is the plan's (:mod:`contextkernel.runtime.operations.tree`).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress
from typing import assert_never

from contextkernel.errors import LaunchFailed, SyscallFailed
from contextkernel.linux import mount as mounts
from contextkernel.linux.descriptors import close_from
from contextkernel.linux.openat2 import make_dirs_in_root, open_in_root
from contextkernel.runtime import binds, devices, generated, privileges, roots, sharing, step_mounts
from contextkernel.runtime import operations as op
from contextkernel.runtime.child_report import REPORT, hand_over, set_up_done
from contextkernel.runtime.image_users import identity_of
from contextkernel.runtime.messages import Rooted
from contextkernel.runtime.mountpoints import MountPoints
from contextkernel.runtime.operations import traced
from contextkernel.runtime.traced_tree import TracedTree

_STANDARD = mounts.MS_NOSUID | mounts.MS_NODEV | mounts.MS_NOEXEC
_STANDARD_ATTRIBUTES = mounts.MOUNT_ATTR_NOSUID | mounts.MOUNT_ATTR_NODEV | mounts.MOUNT_ATTR_NOEXEC
_SCRATCH_FLAGS = {
    "ro": mounts.MOUNT_ATTR_RDONLY,
    "nosuid": mounts.MOUNT_ATTR_NOSUID,
    "nodev": mounts.MOUNT_ATTR_NODEV,
    "noexec": mounts.MOUNT_ATTR_NOEXEC,
}


class ChildTree:
    """One container's, as far as it is there.

    Attributes:
        dev: descriptor of the container's own /dev; -1: it is not there.
    """

    def __init__(self) -> None:
        self.dev = -1
        self._points: MountPoints | None = None
        self._tracing: TracedTree | None = None
        self._held: dict[str, int] = {}  # sources that were taken before, by target
        self._empty = ""  # a directory that is already masked

    @property
    def has_root(self) -> bool:
        """Whether there are :attr:`points`; a further program comes into a root that is there."""
        return self._points is not None

    @property
    def points(self) -> MountPoints:
        """The mount points inside the root.

        Raises:
            LaunchFailed: there is no root yet.
        """
        if self._points is None:
            raise LaunchFailed("the plan mounts something before the container's root")
        return self._points

    @property
    def is_traced(self) -> bool:
        """Whether a tracer shows the tree, because nothing can be mounted."""
        return self._tracing is not None

    @property
    def tracing(self) -> TracedTree:
        """What the tracer is to show.

        Raises:
            LaunchFailed: there is nothing yet.
        """
        if self._tracing is None:
            raise LaunchFailed("the plan shows something before the container's tree")
        return self._tracing

    def trace(self, step: traced.TracedOperation) -> None:
        """Carry out one operation of a traced container.

        Raises:
            SyscallFailed, LaunchFailed, InvalidInput: it failed. ExecProblem: of the program itself.
        """
        match step:
            case traced.UseTree():
                self._tracing = TracedTree(step)
                self._points = self._tracing.points
            case traced.ShowDirectory():
                self.dev = self.tracing.show_directory(step, self.dev)
            case traced.ShowPath() | traced.ShowFile() | traced.Confine() | traced.InstallTracedFilter():
                self.tracing.apply(step)
            case traced.RunTraced():
                self.tracing.run(step, lambda: set_up_done(self.points))
            case _:
                assert_never(step)

    def apply(self, step: op.TreeOperation) -> None:
        """Carry out one operation.

        Raises:
            SyscallFailed, LaunchFailed, InvalidInput: it failed.
        """
        match step:
            case op.MakePrivate():
                mounts.make_private("/")
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
                devices.host_devices(self.dev)
            case op.AddDevice(source, target):
                devices.add_device(self.points, self.dev, source, target)
            case op.ShareMount(pid, target):
                sharing.share_mount(pid, target, self.points.at(target))
            case op.MountDevpts(target, options):
                self._mount(target, "devpts", mounts.MS_NOSUID | mounts.MS_NOEXEC, options)
            case op.MountMqueue(target):
                self._mount(target, "mqueue", _STANDARD)
            case op.MakeDevice(path):
                devices.make_device(self.dev, generated.name_in_dev(path), path)
            case op.MakeLink(target, link):
                os.symlink(link, generated.name_in_dev(target), dir_fd=self.dev)
            case op.WriteFile(target, content):
                generated.write(self.dev, target, content)
            case op.MountSysfs(target, read_only):
                self._mount(target, "sysfs", _STANDARD | mounts.MS_RDONLY * read_only)
            case op.BindSysfs(target, read_only):
                self._bind("/sys", target, attributes=mounts.MOUNT_ATTR_RDONLY * read_only | _STANDARD_ATTRIBUTES)
            case op.MountCgroup(target):
                with suppress(SyscallFailed):  # a host may lack or refuse it without harm
                    self._mount(target, "cgroup2", _STANDARD | mounts.MS_RDONLY)
            case op.HostsFile():
                generated.hosts_file(step, self.points, self.dev)
            case op.ProcFile():
                generated.proc_file(step, self.points, self.dev)
            case op.HoldSource():
                self._held[step.target] = binds.hold_source(step)
            case op.BindMount():
                binds.bind_mount(step, self.points, self._held.pop(step.target, -1))
            case op.MountDevice():
                binds.mount_device(step, self.points)
            case op.BindLayers():
                step_mounts.bind_layers(step, self.points)
            case op.BindCache():
                step_mounts.bind_cache(step, self.points)
            case op.BindSecret():
                step_mounts.bind_secret(step, self.points, self.dev)
            case op.BindSocket():
                step_mounts.bind_socket(step, self.points)
            case op.MakeDirectory(target, owner):
                self._make_directory(target, owner)
            case op.NoteUser(user):
                privileges.note_user(self.points.root, user)
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
        point = self.points.at(target)
        try:
            mounts.mount(source or fstype, f"/proc/self/fd/{point}", fstype, flags, options)
        except SyscallFailed as failure:
            raise SyscallFailed(
                f"mount {fstype}", failure.number, target, _mount_hint(fstype, failure.number)
            ) from None
        finally:
            os.close(point)

    def _mount_tmpfs(self, target: str, flags: tuple[str, ...], options: str, source: str) -> None:
        known = self.points.made
        point = self.points.at(target)
        mode = os.fstat(point).st_mode & 0o7777
        os.close(point)
        if self.points.made == known and "mode=" not in options:
            options = ",".join(filter(None, (options, f"mode={mode:o}")))
        number = 0
        for flag in flags:
            number |= binds.FLAGS[flag]
        self._mount(target, "tmpfs", number, options, source)
        self._note_dev(target)

    def _make_scratch(self, step: op.MakeScratch) -> None:
        known = self.points.made
        point = self.points.at(step.target)
        try:
            mode = os.fstat(point).st_mode & 0o7777 if self.points.made == known else 0o1777
            roots.make_scratch(step.source, int(step.mode, 8) if step.mode else mode)
            flags = [_SCRATCH_FLAGS[flag] for flag in step.flags if flag in _SCRATCH_FLAGS]
            mounts.bind_at(step.source, point, sum(flags))
        finally:
            os.close(point)
        self._note_dev(step.target)

    def _note_dev(self, target: str) -> None:
        if target == "/dev":
            self.dev = open_in_root(self.points.root, target, os.O_PATH | os.O_DIRECTORY)

    def _bind(self, source: str, target: str, *, attributes: int = 0) -> None:
        try:
            point = self.points.at(target, directory=os.path.isdir(source))
            try:
                mounts.bind_at(source, point, attributes)
            finally:
                os.close(point)
        except SyscallFailed as failure:
            raise SyscallFailed(failure.call, failure.number, f"{source} at {target}") from failure

    def _make_directory(self, target: str, owner: str) -> None:
        try:
            descriptor, made = make_dirs_in_root(self.points.root, target)
        except SyscallFailed as failure:
            raise SyscallFailed(
                "mkdir", failure.number, target, "the working directory must be, or be possible to make, a directory"
            ) from failure
        os.close(descriptor)
        if not made or not owner:
            return
        root = self.points.root
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
            hand_over(Rooted(), self.points.root)
        set_up_done(self.points)
        os.fchdir(self.points.root)
        switch()
        os.chdir("/")
        close_from(REPORT + 1)
        devices.reopen_null(range(REPORT))

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


def _mount_hint(fstype: str, number: int) -> str | None:
    if number == errno.EPERM and fstype in ("proc", "sysfs"):
        return f"parts of the host's /{fstype.removesuffix('fs')} are masked, so the kernel refuses a new one"
    return None


def _read_only(target: str) -> None:
    try:
        mounts.bind(target, target)
        mounts.mount_setattr(target, set_attributes=mounts.MOUNT_ATTR_RDONLY | _STANDARD_ATTRIBUTES, recursive=True)
    except SyscallFailed as failure:
        if failure.number not in (errno.ENOENT, errno.ENOTDIR):
            raise
