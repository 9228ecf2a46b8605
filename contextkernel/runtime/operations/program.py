"""The steps that make a process the container's program: its namespaces, limits, rights, user and start, as values.

:mod:`contextkernel.runtime.child_program` carries them out.
"""

from __future__ import annotations

import msgspec

from contextkernel.model.step_mounts import SecretVariable


class _Operation(msgspec.Struct, frozen=True, tag=True):
    pass


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


class JoinIpc(_Operation, frozen=True):
    """Enter the ipc namespace of another container, whose first process is ``pid`` on the host."""

    pid: int


class JoinNetwork(_Operation, frozen=True):
    """Enter the network namespace of a file of the host's /proc: it was made before, and has its links."""

    path: str


class SetHostname(_Operation, frozen=True):
    """Names of this UTS namespace.

    Attributes:
        name: of the host.
        domain: of its domain; empty: it stays.
    """

    name: str
    domain: str = ""


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


class NewKeyring(_Operation, frozen=True):
    """A session keyring of its own, so that the keys of whoever started it stay out of reach."""

    name: str


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


ProgramOperation = (
    OpenTerminal
    | JoinIpc
    | JoinNetwork
    | SetHostname
    | LoopbackUp
    | SetSysctl
    | SetLimit
    | SetOomScore
    | SetNice
    | AwaitGroup
    | NewKeyring
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
    | Exec
)
