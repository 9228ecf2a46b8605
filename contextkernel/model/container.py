"""Containers as values: what was asked for, what is launched, what became of it."""

from __future__ import annotations

from typing import Literal

import msgspec

from contextkernel.model.digest import Digest
from contextkernel.model.life import Health, Life, LogRules
from contextkernel.model.mounts import Mount, Mounts
from contextkernel.model.networking import Networking
from contextkernel.model.networks import NetworkLaunch, NetworkState
from contextkernel.model.resources import Enforced, Resources
from contextkernel.model.room import Growth
from contextkernel.model.security import Join, Security
from contextkernel.model.step_mounts import Limit, SecretVariable, StepMount

#: ``default``, ``bridge``, ``none``, ``host``, ``container:ID``, or the name or id of a network
Network = str


class Bind(msgspec.Struct, frozen=True):
    """A host file or directory (absolute path) made visible at ``target``."""

    source: str
    target: str
    read_only: bool = False


class Tmpfs(msgspec.Struct, frozen=True):
    """A temporary file system at ``target``; ``options`` as in ``--tmpfs`` (``size=64m,mode=1777``)."""

    target: str
    options: str = ""


class Terminal(msgspec.Struct, frozen=True):
    """A terminal for a program (``-t``).

    Attributes:
        rows, columns: its size; 0: not known.
    """

    rows: int = 0
    columns: int = 0


class ExecRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A further program for a running container (``exec``).

    Attributes:
        argv: program and arguments; the program is looked up in the ``PATH`` of ``env``.
        env: all of its environment, ``KEY=value``.
        user: ``user[:group]``, names or ids; resolved in the container.
        privileged: it gets all capabilities of this engine; the system call filter stays.
        terminal: it gets one.
        open_stdin: it has an input, from the client; else it reads ``/dev/null``.
    """

    argv: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str = "/"
    user: str = ""
    privileged: bool = False
    terminal: Terminal | None = None
    open_stdin: bool = False


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A container as it was created; stored, and never changed afterwards.

    Attributes:
        id: 64 hex digits.
        name: unique in the store.
        image: the image as the user named it.
        image_id: the image it was created from.
        argv: entrypoint and command, joined; ``path`` and ``args`` of ``inspect``.
        env: ``KEY=value`` strings, image's first, then the user's.
        working_dir: absolute, ``/`` by default.
        user: ``user[:group]``, names or ids; resolved in the image.
        hostname: name in the UTS namespace.
        network: see :data:`Network`; ``default`` is what this host gives a container that asks for nothing.
        created: nanoseconds since the epoch.
        stop_signal: name or number, ``SIGTERM`` by default.
        tty: it has a terminal.
        stdin_open: it has an input.
        networking, mounts, resources, security, life: what was asked for, by what it is about.
    """

    id: str
    name: str
    image: str
    image_id: Digest
    argv: tuple[str, ...]
    entrypoint: tuple[str, ...] | None = None
    cmd: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    working_dir: str = "/"
    user: str = ""
    hostname: str = ""
    network: Network = "default"
    read_only: bool = False
    binds: tuple[Bind, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    init: bool = False
    tty: bool = False
    stdin_open: bool = False
    detached: bool = False
    auto_remove: bool = False
    labels: dict[str, str] = {}
    stop_signal: str = "SIGTERM"
    stop_timeout: int = 10
    created: int
    networking: Networking = Networking()
    mounts: Mounts = Mounts()
    resources: Resources = Resources()
    security: Security = Security()
    life: Life = Life()


class UsedVolume(msgspec.Struct, frozen=True):
    """A volume of a container: its name, where it is seen, and whether it may be written to."""

    name: str
    target: str
    writable: bool


class Telling(msgspec.Struct, frozen=True):
    """Where a monitor tells what happens to its container, and what it tells with each event.

    Attributes:
        root: directory of the store.
        attributes: docker's: labels, image, name.
        volumes: which are in use while it runs.
    """

    root: str
    attributes: dict[str, str]
    volumes: tuple[UsedVolume, ...] = ()


class LaunchRequest(msgspec.Struct, frozen=True, kw_only=True):
    """All a runtime needs to start one process tree in its own namespaces.

    Attributes:
        id: container id, or a name for a build step; only shown.
        argv: program and arguments; the program is looked up in the container's ``PATH``.
        lowers: directories of the image's layers, **base first**; all under one parent directory.
        upper: directory that receives the changes; with ``work`` on the same file system.
        work: overlay's work directory, empty.
        hosts_files: generate ``/etc/hosts``, ``/etc/hostname`` and ``/etc/resolv.conf`` over the image's.
        state_dir: where the monitor keeps ``state.json``, ``control.sock`` and its lock; ``None`` for a build step.
        log: file for the output in Docker's json-file format; ``None`` keeps no log.
        remove: directories that the monitor removes after the exit (``--rm``).
        die_with_client: kill the container when the client's connection closes (build steps).
        fake_ids: answer ownership and identity calls with success (one mapped id only).
        open_stdin: the program has an input, which clients may be connected to; else it reads ``/dev/null``.
        stdin_once: that ends with the input of the first client that is connected to it.
        terminal: the program has a terminal.
        sandbox: generated files as BuildKit has them for a build step: /etc/hosts and /etc/resolv.conf, read-only.
        hosts: more ``(name, address)`` for /etc/hosts.
        insecure: all capabilities of this engine, no system call filter, no masked paths, devices can be opened.
        shm_size: bytes of /dev/shm, 0 for the usual.
        limits: resource limits.
        mounts: what a build step sees besides its layers.
        secret_env: variables in addition to ``env``.
        networking, volumes, resources, security, life: see ContainerSpec; a build step has none of these.
        log_rules: how the log is written.
        telling: where events go; ``None``: nowhere.
        joins: namespaces of other containers, for the modes in ``security``.
        attach: what its monitor does about networks; ``network`` is then ``none``, or ``host`` for the host's.
        room: how far its files may grow; ``None``: as far as the disk goes.
    """

    id: str
    argv: tuple[str, ...]
    env: tuple[str, ...]
    working_dir: str = "/"
    user: str = ""
    hostname: str
    network: Literal["none", "host"]
    lowers: tuple[str, ...]
    upper: str
    work: str
    read_only: bool = False
    binds: tuple[Bind, ...] = ()
    tmpfs: tuple[Tmpfs, ...] = ()
    init: bool = False
    hosts_files: bool = True
    state_dir: str | None = None
    log: str | None = None
    remove: tuple[str, ...] = ()
    die_with_client: bool = False
    fake_ids: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    terminal: Terminal | None = None
    sandbox: bool = False
    hosts: tuple[tuple[str, str], ...] = ()
    insecure: bool = False
    shm_size: int = 0
    limits: tuple[Limit, ...] = ()
    mounts: tuple[StepMount, ...] = ()
    secret_env: tuple[SecretVariable, ...] = ()
    networking: Networking = Networking()
    volumes: tuple[Mount, ...] = ()
    resources: Resources = Resources()
    security: Security = Security()
    life: Life = Life()
    log_rules: LogRules = LogRules()
    telling: Telling | None = None
    joins: tuple[Join, ...] = ()
    attach: NetworkLaunch | None = None
    room: Growth | None = None


class Usage(msgspec.Struct, frozen=True):
    """What a container's init, and the processes it waited for, have used.

    Attributes:
        cpu_seconds: user and system time.
        peak_memory: bytes, of the largest of them; what starts the program counts as well.
        outgrown: bytes that it had written when it was killed for that (``LaunchRequest.room``); 0: it was not.
    """

    cpu_seconds: float
    peak_memory: int
    outgrown: int = 0


Status = Literal["created", "running", "paused", "restarting", "exited", "dead"]


#: changes of owner that the host cannot store are noted
RECORDED = "recorded"


class RunState(msgspec.Struct, frozen=True, kw_only=True):
    """What the monitor knows of its container; the content of ``state.json``.

    Attributes:
        status: docker's state names. ``created``: never started. ``restarting``: it has ended, and its monitor waits to
            start it again. ``dead``: its monitor was killed, and could not record an exit; ``exit_code`` is then 137.
            One that ran when the machine went down is ``exited`` with 255, as with docker.
        pid: of the container's init as the host sees it, 0 when not running.
        started, finished: nanoseconds since the epoch, 0 for not yet.
        error: why it could not be started, else empty.
        restart_count: how often its monitor has started it again.
        wanted_end: somebody asked for the end (stop, kill): no policy starts it again.
        health: of its health check; ``None`` without one.
        groups: directories of its control group by controller, while it lives.
        limits: how each limit that was asked for is kept.
        network: what it has of networks while it runs.
        isolation: what keeps it apart, by ``inspect``'s names; of its last start.
        fallbacks: what stood in for what this host refuses, with the reason.
        boot: which start of the machine this was recorded in.
        owners: where one id is mapped: :data:`RECORDED`, or why changes of owner are answered without being noted.
    """

    status: Status
    pid: int = 0
    exit_code: int = 0
    started: int = 0
    finished: int = 0
    error: str = ""
    oom_killed: bool = False
    restart_count: int = 0
    wanted_end: bool = False
    health: Health | None = None
    groups: dict[str, str] = {}
    limits: tuple[Enforced, ...] = ()
    network: NetworkState = NetworkState()
    isolation: dict[str, str] = {}
    fallbacks: tuple[str, ...] = ()
    boot: str = ""
    owners: str = ""

    @property
    def alive(self) -> bool:
        """A monitor looks after it: it runs, is paused, or is about to be started again."""
        return self.status in ("running", "paused", "restarting")
