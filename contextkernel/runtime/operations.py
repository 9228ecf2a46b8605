"""The steps that turn a fresh process in new namespaces into a container, as values: what ``run --plan`` prints.

Names of paths: ``target`` counts from the container's root and is resolved inside it; ``source``, ``lowers``, ``upper``
and ``work`` are paths of the host. One function, :func:`contextkernel.runtime.child.apply`, carries them out.
"""

from __future__ import annotations

import msgspec

from contextkernel.model.step_mounts import SecretVariable
from contextkernel.runtime import operations_traced as traced


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


class OpenTerminal(_Operation, frozen=True):
    """A new terminal of ``/dev/pts`` becomes standard input, output and error; the monitor has its other end.

    Attributes:
        rows, columns: its size; 0: not known.
        console: bind it to ``/dev/console`` too.
        hosts: it is one of the host's: the container has no terminals of its own.
    """

    rows: int
    columns: int
    console: bool
    hosts: bool = False


class MountMqueue(_Operation, frozen=True):
    """POSIX message queues of this ipc namespace."""

    target: str = "/dev/mqueue"


class JoinIpc(_Operation, frozen=True):
    """Enter the ipc namespace of another container, whose first process is ``pid`` on the host."""

    pid: int


class JoinNetwork(_Operation, frozen=True):
    """Enter the network namespace of a file of the host's /proc: it was made before, and has its links."""

    path: str


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


class SetHostname(_Operation, frozen=True):
    """Name of this UTS namespace."""

    name: str


class LoopbackUp(_Operation, frozen=True):
    """Switch on ``lo`` of this network namespace."""


class SetSysctl(_Operation, frozen=True):
    """A kernel setting of the container's namespaces.

    Attributes:
        name: path below /proc/sys.
        required: it was asked for; else it is set where it exists and may be written.
    """

    name: str
    value: str
    required: bool = False


class SetLimit(_Operation, frozen=True):
    """A resource limit (setrlimit(2)): name as in ``RLIMIT_<NAME>``, lower case; -1 is no limit."""

    name: str
    soft: int
    hard: int


class SetOomScore(_Operation, frozen=True):
    """How likely the kernel picks the process when memory is short (/proc/self/oom_score_adj)."""

    value: int


class SetNice(_Operation, frozen=True):
    """A lower priority for the program, where no control group gives it a weight."""

    level: int


class AwaitGroup(_Operation, frozen=True):
    """Wait until the monitor has put this process into its control group.

    Attributes:
        private: get a cgroup namespace that begins there.
    """

    private: bool = False


class ProcFile(_Operation, frozen=True):
    """A generated file over one of /proc's or /sys's, read-only; the monitor can write it, and keeps it fresh."""

    target: str
    content: str


class NewKeyring(_Operation, frozen=True):
    """A session keyring of its own, so that the keys of whoever started it stay out of reach."""

    name: str


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


class LimitCapabilities(_Operation, frozen=True):
    """Drop everything else from the bounding set: what any program in here can ever have.

    Attributes:
        required: those that were asked for by name; it is an error if the engine itself has them not.
    """

    capabilities: tuple[str, ...]
    required: tuple[str, ...] = ()


class LimitScope(_Operation, frozen=True):
    """A Landlock domain, where no namespace does it.

    Attributes:
        signals: none to processes outside.
        sockets: none of the abstract ones that were made outside.
        tracing: no looking into processes outside; the other two bring it along.
    """

    signals: bool
    sockets: bool
    tracing: bool = False


class NoNewPrivileges(_Operation, frozen=True):
    """No program gains privileges when it is executed (``--security-opt no-new-privileges``)."""


class InstallSeccomp(_Operation, frozen=True):
    """The system call policy for these capabilities: docker's default, or a ``profile`` in its JSON format."""

    capabilities: tuple[str, ...]
    profile: str = ""


class RefuseSockets(_Operation, frozen=True):
    """No sockets but unix ones: ``--network none`` where there are no network namespaces."""


class InstallFakeIds(_Operation, frozen=True):
    """Answer identity calls with success and without effect (one mapped id only).

    Owners and device nodes as well where they are ``lost``, which says why; else they are answered, and noted, outside.
    """

    lost: str = ""


class SetUser(_Operation, frozen=True):
    """Become ``user[:group]`` of the image's /etc/passwd and /etc/group; sets ``HOME`` if the environment does not.

    Attributes:
        change: ``False``: look it up only, because a single id is mapped and the program stays root.
        groups: set the supplementary groups too; not allowed in a single-id namespace.
        keep: capabilities stay, for what comes after; :class:`DropCapabilities` or :class:`GrantCapabilities` ends it.
        more_groups: further supplementary groups, names of the image or numbers (``--group-add``).
    """

    user: str
    change: bool = True
    groups: bool = True
    keep: bool = False
    more_groups: tuple[str, ...] = ()


class DropCapabilities(_Operation, frozen=True):
    """Keep exactly these capabilities for root, none for another user."""

    capabilities: tuple[str, ...]


class GrantCapabilities(_Operation, frozen=True):
    """Give the program these capabilities, as far as this engine has them, whatever user it runs as."""

    capabilities: tuple[str, ...]


class Chdir(_Operation, frozen=True):
    """Go to the working directory."""

    target: str


class StartInit(_Operation, frozen=True):
    """Stay as process 1 that forwards signals and reaps orphans; the program becomes its child (``--init``)."""


class RunOci(_Operation, frozen=True):
    """Have an installed OCI runtime set up and start the container, and stay as its keeper.

    Attributes:
        program: name or path of the runtime.
        name: the container's, for the runtime.
        bundle: folder for ``config.json``, the generated files and the runtime's own notes.
        config: the document; user and capabilities are completed by ``user`` and ``groups``, as the image knows them.
        files: generated ``(name, content)`` of the bundle, which the document's mounts show.
        settings: ``(path below /proc/sys, value, required)`` of the network namespace, which is there already.
    """

    program: str
    name: str
    bundle: str
    config: str
    files: tuple[tuple[str, str], ...]
    user: str
    groups: tuple[str, ...]
    settings: tuple[tuple[str, str, bool], ...]


class Exec(_Operation, frozen=True):
    """Look the program up in ``PATH`` of ``env`` and execute it; ``secrets`` are further variables."""

    argv: tuple[str, ...]
    env: tuple[str, ...]
    secrets: tuple[SecretVariable, ...] = ()


Operation = (
    HoldSource
    | MakePrivate
    | MountOverlay
    | BindRoot
    | MountProc
    | BindProc
    | MountTmpfs
    | MakeScratch
    | MakeDevice
    | HostDevices
    | AddDevice
    | MountDevpts
    | OpenTerminal
    | MountMqueue
    | JoinIpc
    | JoinNetwork
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
    | NoteUser
    | MakeDirectory
    | SetHostname
    | LoopbackUp
    | SetSysctl
    | SetLimit
    | SetOomScore
    | SetNice
    | AwaitGroup
    | ProcFile
    | NewKeyring
    | PivotRoot
    | MoveRoot
    | ChangeRoot
    | ProtectProc
    | MaskPath
    | ReadonlyPath
    | RemountReadonly
    | LimitCapabilities
    | LimitScope
    | NoNewPrivileges
    | InstallSeccomp
    | RefuseSockets
    | InstallFakeIds
    | SetUser
    | DropCapabilities
    | GrantCapabilities
    | Chdir
    | StartInit
    | RunOci
    | traced.TracedOperation
    | Exec
)
