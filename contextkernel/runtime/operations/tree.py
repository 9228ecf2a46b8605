"""The steps that lay out what a container sees: its root, what is mounted there, what is masked, as values.

Names of paths: ``target`` counts from the container's root and is resolved inside it; ``source``, ``lowers``, ``upper``
and ``work`` are paths of the host. :mod:`contextkernel.runtime.child_tree` carries them out.
"""

from __future__ import annotations

import msgspec


class _Operation(msgspec.Struct, frozen=True, tag=True):
    pass


class MakePrivate(_Operation, frozen=True):
    """Cut this mount namespace off from the host's: nothing mounted here is seen there, or the other way round."""


class HoldSource(_Operation, frozen=True):
    """Take the source of a bind whose mounts stay tied to the host's, for :class:`BindMount` of the same target.

    Attributes:
        propagation: ``shared``, ``slave``, and with ``r`` before it for what is mounted below as well.
        recursive: with what is mounted below.
    """

    source: str
    target: str
    propagation: str
    recursive: bool


class MountOverlay(_Operation, frozen=True):
    """Stack the layers, base first, under a writable directory; the result becomes the container's root.

    Attributes:
        userxattr: overlay's own marks are ``user.overlay.*`` (in a user namespace).
        volatile: nothing is synced; for changes that are thrown away, or committed right after. The kernel refuses to
            use the work directory for another mount after that.
        nodev: device nodes on it cannot be opened.
        keep_own: where the image lacks /proc, /sys or /dev, the directories that are made stay in ``upper``, as they do
            with BuildKit.
        keep_points: places that were made for mounts the user asked for stay as well, as they do with docker.
    """

    lowers: tuple[str, ...]
    upper: str
    work: str
    userxattr: bool
    volatile: bool
    nodev: bool = True
    keep_own: bool = False
    keep_points: bool = False


class BindRoot(_Operation, frozen=True):
    """Use a directory as the container's root: an image without layers; the rest is as for the overlay."""

    upper: str
    nodev: bool = True
    keep_own: bool = False
    keep_points: bool = False


class MountProc(_Operation, frozen=True):
    """A /proc of this pid namespace; ``options``: procfs's own."""

    target: str = "/proc"
    options: str = ""


class BindProc(_Operation, frozen=True):
    """The host's /proc, where a new one is refused; see :class:`ProtectProc`."""

    target: str = "/proc"


class MountTmpfs(_Operation, frozen=True):
    """A temporary file system.

    Attributes:
        flags: words such as ``nosuid``.
        options: tmpfs's own, e.g. ``mode=755,size=65536k``; without ``mode`` an existing directory's is kept.
        source: the name that ``df`` and ``mount`` show.
    """

    target: str
    flags: tuple[str, ...]
    options: str = ""
    source: str = "tmpfs"


class MakeDevice(_Operation, frozen=True):
    """A device node like the host's at the same place; a read-only bind of the host's where mknod does not work."""

    path: str


class HostDevices(_Operation, frozen=True):
    """All devices of the host's /dev that are not there yet (``--privileged``)."""


class AddDevice(_Operation, frozen=True):
    """A device of the host (``--device``), or all devices in a directory; ``source`` may be a link."""

    source: str
    target: str


class MakeScratch(_Operation, frozen=True):
    """An empty directory of the host in place of a temporary file system, where those cannot be mounted.

    Attributes:
        source: made anew; what is in it stays until the next start, and counts as the user's disk space.
        flags: as of :class:`MountTmpfs`.
        mode: octal digits; empty: an existing directory's is kept.
    """

    target: str
    source: str
    flags: tuple[str, ...]
    mode: str = ""


class MountDevpts(_Operation, frozen=True):
    """A private set of pseudo terminals."""

    target: str
    options: str


class MountMqueue(_Operation, frozen=True):
    """POSIX message queues of this ipc namespace."""

    target: str = "/dev/mqueue"


class ShareMount(_Operation, frozen=True):
    """What is mounted at ``target`` of another container, whose first process is ``pid`` on the host."""

    pid: int
    target: str


class MakeLink(_Operation, frozen=True):
    """A symbolic link."""

    target: str
    link: str


class WriteFile(_Operation, frozen=True):
    """A small file in the container's own /dev."""

    target: str
    content: str


class MountSysfs(_Operation, frozen=True):
    """A /sys of this network namespace."""

    target: str = "/sys"
    read_only: bool = True


class BindSysfs(_Operation, frozen=True):
    """The host's /sys, where a new one is refused."""

    target: str = "/sys"
    read_only: bool = True


class MountCgroup(_Operation, frozen=True):
    """A read-only view of this cgroup namespace (version 2)."""

    target: str = "/sys/fs/cgroup"


class HostsFile(_Operation, frozen=True):
    """A generated file mounted over the image's; changes made by the program end with the container."""

    target: str
    content: str
    read_only: bool = False


class BindMount(_Operation, frozen=True):
    """A host file or directory, with what is mounted below it.

    Attributes:
        nodev: device nodes on it cannot be opened; without a user namespace the container's root could make one there.
        recursive: with what is mounted below the source.
        read_only_below: ``read_only`` holds for that too.
        propagation: how its mounts stay tied to the host's; empty for not at all. See :class:`HoldSource`.
    """

    source: str
    target: str
    read_only: bool
    nodev: bool
    recursive: bool = True
    read_only_below: bool = True
    propagation: str = ""


class MountDevice(_Operation, frozen=True):
    """The file system of a volume of the local driver, as mount(8) would be given it."""

    target: str
    kind: str
    device: str
    options: str
    read_only: bool
    nodev: bool


class BindLayers(_Operation, frozen=True):
    """Files of other layers: an overlay of them at a place of its own, of which ``source`` is bound to ``target``.

    Attributes:
        room: an empty directory for that place, and for changes, which are thrown away.
        lenient: owners cannot be set here (one mapped id only); so for the others that have it.
    """

    target: str
    lowers: tuple[str, ...]
    source: str
    room: str
    read_only: bool
    userxattr: bool
    nodev: bool
    lenient: bool


class BindCache(_Operation, frozen=True):
    """``path`` inside of a directory that is kept, bound to ``target``."""

    source: str
    target: str
    path: str
    read_only: bool
    nodev: bool


class BindSecret(_Operation, frozen=True):
    """A read-only file in memory that has no other name than ``target``."""

    target: str
    content: bytes
    mode: int
    uid: int
    gid: int
    lenient: bool

    def __repr__(self) -> str:
        """Without the content: representations end up in messages."""
        return f"BindSecret({self.target!r}, {len(self.content)} bytes)"


class BindSocket(_Operation, frozen=True):
    """A listening socket of the host, given this owner and mode, bound to ``target``."""

    source: str
    target: str
    mode: int
    uid: int
    gid: int
    lenient: bool


class MakeDirectory(_Operation, frozen=True):
    """Create a directory and its parents if they are missing, mode 0755: the working directory.

    Attributes:
        owner: ``user[:group]`` of the image, for what is made; empty is root.
    """

    target: str
    owner: str = ""


class NoteUser(_Operation, frozen=True):
    """Note on the container's own files whom it was to run as, because it stays root: what it makes is that user's."""

    user: str


class ProcFile(_Operation, frozen=True):
    """A generated file over one of /proc's or /sys's, read-only; the monitor can write it, and keeps it fresh."""

    target: str
    content: str


class PivotRoot(_Operation, frozen=True):
    """Make the container's root the root of this mount namespace and let go of the host's."""


class MoveRoot(_Operation, frozen=True):
    """Move the container's root over the host's, and make it this process's, where pivot_root is refused.

    The host's stays mounted below it; there is no name that leads there.
    """


class ChangeRoot(_Operation, frozen=True):
    """Make the container's root this process's, where nothing else is possible: CAP_SYS_CHROOT must be out of reach."""


class ProtectProc(_Operation, frozen=True):
    """Make a /proc that is the host's read-only: settings of other processes of the user could be changed in it."""


class MaskPath(_Operation, frozen=True):
    """Hide a path, if it exists: a directory becomes empty, a file is /dev/null."""

    target: str


class ReadonlyPath(_Operation, frozen=True):
    """Make a path read-only, if it exists."""

    target: str


class RemountReadonly(_Operation, frozen=True):
    """Make the container's root file system read-only (``--read-only``)."""


TreeOperation = (
    MakePrivate
    | HoldSource
    | MountOverlay
    | BindRoot
    | MountProc
    | BindProc
    | MountTmpfs
    | MakeDevice
    | HostDevices
    | AddDevice
    | MakeScratch
    | MountDevpts
    | MountMqueue
    | ShareMount
    | MakeLink
    | WriteFile
    | MountSysfs
    | BindSysfs
    | MountCgroup
    | HostsFile
    | BindMount
    | MountDevice
    | BindLayers
    | BindCache
    | BindSecret
    | BindSocket
    | MakeDirectory
    | NoteUser
    | ProcFile
    | PivotRoot
    | MoveRoot
    | ChangeRoot
    | ProtectProc
    | MaskPath
    | ReadonlyPath
    | RemountReadonly
)
