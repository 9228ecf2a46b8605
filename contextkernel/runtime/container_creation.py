"""Containers are made: from what was asked for and the image to what is recorded, with the volumes they need."""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import ContainerNotFound, InvalidInput
from contextkernel.layer.lowers import overlay_lowers
from contextkernel.model.container import ContainerSpec
from contextkernel.model.layers import PopulateRequest
from contextkernel.model.life import Life
from contextkernel.model.mounts import Mounts
from contextkernel.model.networking import Networking
from contextkernel.model.resources import Resources
from contextkernel.model.security import Security
from contextkernel.runtime import companions, log_options, network_rules
from contextkernel.runtime import spec as rules
from contextkernel.runtime.container_reach import ContainerReach
from contextkernel.runtime.device_fence import fence_base
from contextkernel.runtime.enforcing import GroupFacts, adapted
from contextkernel.runtime.events import EventLog
from contextkernel.runtime.fallbacks import unheard
from contextkernel.runtime.mounting import resolve_mounts, to_populate
from contextkernel.runtime.networks import Networks
from contextkernel.runtime.requests import launch_request, shown_mounts

if TYPE_CHECKING:
    from contextkernel.model.container import LaunchRequest, Network
    from contextkernel.model.digest import Digest
    from contextkernel.model.ports import ContainerRuntime, LayerWorker
    from contextkernel.model.volumes import Volume
    from contextkernel.runtime.facts import HostFacts
    from contextkernel.store import Store


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


class ContainerCreation(ContainerReach):
    """How new containers come to be recorded.

    Args:
        store: where they are recorded.
        runtime: what starts and reaches them.
        worker: makes the layer worker on demand; it fills volumes, and removes files of foreign owners.
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
        spec, made = self._store.add_container(spec, volumes)
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


def _check_life(spec: ContainerSpec) -> None:
    if spec.auto_remove and spec.life.restart.name != "no":
        raise InvalidInput(
            f"a container that is removed at its end (--rm) cannot be restarted (--restart {spec.life.restart.name})",
            hint="leave one of the two out",
        )
    log_options.check(spec.life.logs)
