"""Containers from creation to removal, on top of a store and a runtime."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import (
    Conflict,
    ContainerNotFound,
    ContainerRunning,
    ImageNotFound,
    InvalidInput,
    LaunchFailed,
)
from contextkernel.layer.lowers import overlay_lowers
from contextkernel.model.backing import PrepareRequest, Root
from contextkernel.model.container import ContainerSpec, RunState, Telling, Terminal, UsedVolume
from contextkernel.model.layers import PopulateRequest
from contextkernel.model.life import Life
from contextkernel.model.mounts import Mounts
from contextkernel.model.networking import Networking
from contextkernel.model.resources import Resources
from contextkernel.model.security import Security
from contextkernel.runtime import companions, log_options, network_rules
from contextkernel.runtime import spec as rules
from contextkernel.runtime.container_changes import ContainerChanges
from contextkernel.runtime.container_talks import ContainerTalks
from contextkernel.runtime.device_fence import fence_base
from contextkernel.runtime.enforcing import GroupFacts, adapted
from contextkernel.runtime.events import EventLog, event_attributes
from contextkernel.runtime.fallbacks import unheard
from contextkernel.runtime.log_reading import LogRecord, read_log
from contextkernel.runtime.mounting import launch_mounts, resolve_mounts, to_populate
from contextkernel.runtime.networks import Networks
from contextkernel.runtime.requests import launch_request, shown_mounts
from contextkernel.store.measuring import measure
from contextkernel.store.tree_record import has_tree, tree_of

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest, Network
    from contextkernel.model.digest import Digest
    from contextkernel.model.ports import ContainerRuntime, LayerWorker, RunningContainer
    from contextkernel.model.volumes import Volume
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.store import Store


_SOON = 0.01  # seconds


class RunOptions(msgspec.Struct, frozen=True, kw_only=True):
    """What the user asked of a container, before the image's configuration is known. Fields as in ContainerSpec."""

    command: tuple[str, ...] = ()
    entrypoint: tuple[str, ...] | None = None
    name: str | None = None
    environment: tuple[str, ...] = ()
    working_dir: str | None = None
    user: str = ""
    hostname: str | None = None
    network: Network = "default"
    read_only: bool = False
    init: bool = False
    tty: bool = False
    stdin_open: bool = False
    detached: bool = False
    auto_remove: bool = False
    labels: dict[str, str] = {}
    stop_signal: str | None = None
    stop_timeout: int = 10
    networking: Networking = Networking()
    mounts: Mounts = Mounts()
    resources: Resources = Resources()
    security: Security = Security()
    life: Life = Life()


class Containers(ContainerChanges, ContainerTalks):
    """The containers of one store.

    Args:
        store: where they are recorded.
        runtime: what starts and reaches them.
        worker: makes the layer worker on demand; it removes files of foreign owners.
        fake_ids: this host maps a single id only.
        shows_users: all the same, programs are shown the user that was asked for.
        new_name: generates a name that is not taken.
        events: where it is told what happens.
        groups: what control groups this host allows; asked for containers with limits only.
        warn: gets what the user should know of a container that is made all the same.
        facts: what this host allows a container; ``None`` where none can be started.
    """

    def __init__(
        self,
        store: Store,
        runtime: ContainerRuntime,
        worker: Callable[[], LayerWorker],
        *,
        fake_ids: bool,
        shows_users: bool = False,
        new_name: Callable[[], str],
        events: EventLog,
        groups: Callable[[], GroupFacts] = GroupFacts,
        warn: Callable[[str], None] = lambda _: None,
        facts: Callable[[], HostFacts | None] = lambda: None,
    ) -> None:
        super().__init__(store, runtime, events, fake_ids=fake_ids, shows_users=shows_users, warn=warn)
        self._worker = worker
        self._new_name = new_name
        self._groups = groups
        self._facts = facts
        self.networks = Networks(store, self.state, events)

    def create(self, image: str, image_id: Digest, options: RunOptions) -> ContainerSpec:
        """Record a new container of ``image_id``; nothing is started.

        Raises:
            NameInUse: the name is taken. InvalidInput: a bad name, signal or path, or nothing to run.
        """
        spec, volumes = self._specified(image, image_id, options)
        spec, made = self._store.add_container_with(spec, volumes)
        for name in made:
            self._events.write("volume", "create", name, {"driver": "local"})
        try:
            self._populate(spec)
        except BaseException:
            self._store.remove_container(spec.id, volumes=True)
            raise
        self.tell(spec, "create")
        return spec

    def planned(self, image: str, image_id: Digest, options: RunOptions) -> LaunchRequest:
        """What a start of such a container would be asked to do; nothing is recorded, made or started.

        Raises:
            As :meth:`create` and :meth:`start`.
        """
        spec, _ = self._specified(image, image_id, options)
        return launch_request(
            spec,
            self._store,
            fake_ids=self._fake_ids,
            networks=self.networks.launch(spec),
            volumes=shown_mounts(spec.mounts.points, self._store),
            joins=tuple(companions.joins(spec.security, self.find, self.state)),
        )

    def _specified(self, image: str, image_id: Digest, options: RunOptions) -> tuple[ContainerSpec, tuple[Volume, ...]]:
        """The container that is asked for, and the volumes that are to be made for it."""
        config = self._store.config(image_id).config
        entrypoint, cmd = rules.compose_command(config, options.entrypoint, options.command)
        working_dir = options.working_dir or config.working_dir or "/"
        if not working_dir.startswith("/"):
            raise InvalidInput(f"working directory {working_dir!r} is not absolute", hint="let it start with /")
        stop_signal = options.stop_signal or config.stop_signal or "SIGTERM"
        rules.signal_number(stop_signal)
        mounts, volumes = resolve_mounts(options.mounts, config.volumes, self.find)
        network_rules.check_asked(options.network, options.networking, hostname=options.hostname is not None)
        identity = secrets.token_hex(32)
        network, hostname = self._network_of(options)
        if network == "host" and (options.networking.ports or options.networking.publish_all):
            self._warn("Published ports are discarded when using host network mode")
        hostname = hostname or identity[:12]
        environment = rules.merge_environment(
            (rules.DEFAULT_PATH, f"HOSTNAME={hostname}", *([rules.TERM] if options.tty else ())),
            (*(config.env or ()), *options.environment),
        )
        spec = ContainerSpec(
            id=identity,
            name=rules.check_name(options.name) if options.name is not None else self._new_name(),
            image=image,
            image_id=image_id,
            argv=(*(entrypoint or ()), *(cmd or ())),
            entrypoint=entrypoint,
            cmd=cmd,
            env=environment,
            working_dir=working_dir,
            user=options.user or config.user,
            hostname=hostname,
            network=network,
            read_only=options.read_only,
            init=options.init,
            tty=options.tty,
            stdin_open=options.stdin_open,
            detached=options.detached,
            auto_remove=options.auto_remove,
            labels={**(config.labels or {}), **options.labels},
            stop_signal=stop_signal,
            stop_timeout=options.stop_timeout,
            created=time.time_ns(),
            networking=msgspec.structs.replace(
                options.networking,
                joins=self.networks.settled(network_rules.first_join(network, options.networking)),
                exposed=tuple(dict.fromkeys([*(config.exposed_ports or ()), *options.networking.exposed])),
            ),
            mounts=mounts,
            resources=self._limits(options.resources),
            security=companions.settled(options.security, options.hostname, self.find),
            life=rules.merge_life(options.life, config),
        )
        _check_life(spec)
        self._warn_of_user(spec.user)
        facts = self._facts()
        for text in unheard(spec, facts) if facts is not None else ():
            self._warn(text)
        if spec.security.device_rules and not spec.security.runtime and not fence_base().version:
            self._warn("--device-cgroup-rule has no effect: this engine may make no device control groups here")
        return spec, volumes

    def _populate(self, spec: ContainerSpec) -> None:
        """Give new volumes what the image has at their places."""
        if not spec.mounts.points:
            return
        layers = overlay_lowers(layer.directory for layer in self._store.layers_of(spec.image_id))
        room = self._store.container_dir(spec.id)
        for point in spec.mounts.points:
            if point.type != "volume" or point.no_copy or point.subpath:
                continue
            with self._store.volume_lock(point.source):  # whoever comes second finds it filled
                mount = to_populate(point, layers, self._store)
                if mount is not None:
                    request = PopulateRequest(lowers=layers, target=mount.target, directory=mount.source, room=room)
                    self._worker().populate(request)

    def _limits(self, asked: Resources) -> Resources:
        """What is asked for, as far as this host can keep it in any way; the rest is said."""
        if asked == Resources():
            return asked
        kept, warnings = adapted(asked, self._groups())
        for text in warnings:
            self._warn(text)
        return kept

    def _network_of(self, options: RunOptions) -> tuple[str, str]:
        """The kind of network, with another container's id in full, and the host name; empty for the usual one."""
        kind, _, other = options.network.partition(":")
        if kind == "container" and other:
            with suppress(ContainerNotFound):  # the start says so
                spec = self._store.container(other)
                return f"container:{spec.id}", spec.hostname
        return options.network, options.hostname or (os.uname().nodename if options.network == "host" else "")

    def start(
        self,
        spec: ContainerSpec,
        *,
        stdin: int | None = None,
        stdout: int | None = None,
        stderr: int | None = None,
        detach_keys: bytes = b"",
        size: tuple[int, int] = (0, 0),
    ) -> RunningContainer:
        """Start a created or exited container.

        Args:
            spec: the container.
            stdin, stdout, stderr, detach_keys: see :class:`Runtime`.
            size: rows and columns of its terminal, if it has one.

        Raises:
            ContainerRunning: it runs already. LaunchFailed and its kinds: see :class:`Runtime`; with ``auto_remove``
                the container is gone then, else it stays, created.
        """
        if self.state(spec).alive:
            raise ContainerRunning(f"container {spec.name!r} is already running")
        directory = self._store.container_dir(spec.id)
        upper, work = os.path.join(directory, "upper"), os.path.join(directory, "work")
        for path in (upper, work):
            os.makedirs(path, exist_ok=True)
        self._store.bound.admit(0)
        request = launch_request(
            spec,
            self._store,
            fake_ids=self._fake_ids,
            networks=self.networks.launch(spec),
            volumes=launch_mounts(spec.mounts, self._store),
            joins=tuple(companions.joins(spec.security, self.find, self.state)),
        )
        used = tuple(
            UsedVolume(one.source, one.target, not one.read_only) for one in spec.mounts.points if one.type == "volume"
        )
        telling = Telling(self._store.root, event_attributes(spec, {}), used)
        if self._facts() is None:
            return self._runtime.launch(request)  # it refuses: nothing is copied for that
        root = self._worker().prepare(PrepareRequest(root=Root(lowers=request.lowers, upper=upper, work=work)))
        request = msgspec.structs.replace(
            request,
            lowers=root.lowers,
            upper=root.upper,
            work=root.work,
            telling=telling,
            terminal=Terminal(*size) if spec.tty else None,
            room=self._store.bound.growth(directory),
        )
        try:
            return self._runtime.launch(request, stdin=stdin, stdout=stdout, stderr=stderr, detach_keys=detach_keys)
        except LaunchFailed:
            if spec.auto_remove:
                self._forget(spec)
            raise

    def find(self, text: str) -> ContainerSpec:
        """The container with this name, id or unique id prefix.

        Raises:
            ContainerNotFound: there is none.
        """
        spec = self._store.container(text.removeprefix("/"))
        if self._is_gone(spec):
            self._store.remove_container(spec.id, volumes=True)
            raise ContainerNotFound(f"no such container: {text}")
        return spec

    def _is_gone(self, spec: ContainerSpec) -> bool:
        """A ``--rm`` container whose monitor has removed its directory: only the record is left."""
        return spec.auto_remove and not os.path.isdir(self._store.container_dir(spec.id))

    def known(self) -> Iterator[tuple[ContainerSpec, RunState]]:
        """All containers, newest first, with what became of them."""
        for spec in self._store.containers():
            if self._is_gone(spec):
                self._store.remove_container(spec.id, volumes=True)
            else:
                yield spec, self.state(spec)

    def shown_image(self, spec: ContainerSpec) -> str:
        """The name the user gave, or the short id once that name means another image (as docker shows it)."""
        try:
            same = self._store.resolve(spec.image) == spec.image_id
        except (ImageNotFound, InvalidInput):  # gone, or by now a prefix of several ids
            same = False
        return spec.image if same else spec.image_id.short

    def written(self, spec: ContainerSpec) -> int:
        """Bytes of the files that the container has written."""
        directory = self._store.container_dir(spec.id)
        if has_tree(directory):  # all of the image is in it: somebody has to find what has changed
            return self._worker().measure([tree_of(directory)])[0]
        upper = os.path.join(directory, "upper")
        try:
            return measure(upper)
        except PermissionError:  # files of the container's other users
            return self._worker().measure([upper])[0]

    def processes(self, spec: ContainerSpec) -> tuple[int, ...]:
        """Its processes as the host sees them, parents before children.

        Raises:
            Conflict: it does not run.
        """
        if self.state(spec).status == "restarting":
            raise Conflict(f"container {spec.name!r} is restarting", hint="wait until it runs")
        process = self.connect(spec)
        if process is None:
            raise Conflict(f"container {spec.name!r} is not running", hint="ps -a shows what became of it")
        try:
            return process.processes()
        finally:
            process.close()

    def stop(self, spec: ContainerSpec, timeout: int | None = None, signal: str | None = None) -> None:
        """Send the stop signal, and SIGKILL after ``timeout`` seconds (default: the container's; negative: never).

        The end is wanted: no restart policy starts it again. A paused container is resumed for it.
        """
        process = self.connect(spec)
        if process is None:
            return
        try:
            number = rules.signal_number(signal or spec.stop_signal)
            process.stop(number, spec.stop_timeout if timeout is None else timeout)
            process.wait()
        finally:
            process.close()
        self.tell(spec, "stop")

    def restart(self, spec: ContainerSpec, timeout: int | None = None, signal: str | None = None) -> None:
        """Stop a container, if it runs, and start it again.

        Args:
            spec: the container.
            timeout: seconds until SIGKILL; default: the container's.
            signal: to send first; default: the container's stop signal.

        Raises:
            LaunchFailed and its kinds: it cannot be started.
        """
        self.stop(spec, timeout, signal)
        self.start(spec).close()
        self.tell(spec, "restart")

    def kill(self, spec: ContainerSpec, signal: str) -> None:
        """Send a signal.

        Raises:
            Conflict: it does not run. InvalidInput: no such signal.
        """
        number = rules.signal_number(signal)
        process = self._process(spec, "kill")
        try:
            process.signal(number, ends=number in (9, rules.signal_number(spec.stop_signal)))
            if number == 9:
                process.wait(10)
        finally:
            process.close()

    def wait(self, spec: ContainerSpec) -> int:
        """Block until the container has exited; its exit code."""
        process = self.connect(spec)
        while process is None:
            state = self.state(spec)
            if not state.alive:
                return state.exit_code
            time.sleep(_SOON)  # its monitor hears nobody any more, and is about to record the exit
            process = self.connect(spec)
        try:
            return process.wait() or 0
        finally:
            process.close()

    def remove(self, spec: ContainerSpec, *, force: bool = False, volumes: bool = False) -> None:
        """Remove a container and its files.

        Args:
            spec: the container.
            force: kill it if it runs.
            volumes: remove its anonymous volumes too, those that no other container uses.

        Raises:
            ContainerRunning: it runs, and ``force`` is not set.
        """
        state = self.state(spec)
        if state.alive:
            if not force:
                raise ContainerRunning(
                    f"cannot remove {state.status} container {spec.name!r} ({spec.id[:12]})",
                    hint=f"{'unpause and stop' if state.status == 'paused' else 'stop'} it first, or remove with -f",
                )
            with suppress(Conflict):  # it has ended meanwhile
                self.kill(spec, "KILL")
        self._forget(spec, volumes=volumes)

    def give_up(self, spec: ContainerSpec) -> None:
        """Remove a ``--rm`` container whose start or run was broken off, if it is still there."""
        if spec.auto_remove and any(known.id == spec.id for known in self._store.containers()):
            self.remove(spec, force=True)

    def finished(self, spec: ContainerSpec) -> None:
        """Complete the removal of a ``--rm`` container after its exit."""
        if spec.auto_remove:
            self._forget(spec)

    def _forget(self, spec: ContainerSpec, *, volumes: bool = False) -> None:
        directory = self._store.container_dir(spec.id)
        there = os.path.isdir(directory)
        try:
            shutil.rmtree(directory)
        except FileNotFoundError:
            pass
        except PermissionError:
            self._worker().remove([directory])
        except OSError as problem:
            if problem.errno != errno.ENOTEMPTY:  # its monitor is just ending: the store removes the rest later
                raise
        gone = self._store.remove_container(spec.id, volumes=volumes or spec.auto_remove)
        if there:  # else its monitor has removed it, and told so
            self.tell(spec, "destroy")
        for name in gone:
            self._events.write("volume", "destroy", name, {"driver": "local"})
        if gone:
            from contextkernel.store.trash import empty_trash

            empty_trash(self._store, self._worker())

    def logs(
        self,
        spec: ContainerSpec,
        *,
        tail: int | None = None,
        follow: bool = False,
        since: int | None = None,
        until: int | None = None,
    ) -> Iterator[LogRecord]:
        """The records of the container's log, oldest first.

        Args:
            spec: the container.
            tail: only the last ones.
            follow: go on until the container has exited.
            since, until: nanoseconds since the epoch.

        Raises:
            Conflict: the container keeps no log.
        """
        if spec.life.logs.driver == "none":
            raise Conflict(
                f"container {spec.name!r} keeps no log (--log-driver none)",
                hint="create it without --log-driver none to be able to read its output later",
            )
        path = os.path.join(self._store.container_dir(spec.id), "log.json")
        return read_log(path, lambda: self.state(spec).alive, tail=tail, follow=follow, since=since, until=until)


def _check_life(spec: ContainerSpec) -> None:
    if spec.auto_remove and spec.life.restart.name != "no":
        raise InvalidInput(
            f"a container that is removed at its end (--rm) cannot be restarted (--restart {spec.life.restart.name})",
            hint="leave one of the two out",
        )
    log_options.check(spec.life.logs)
