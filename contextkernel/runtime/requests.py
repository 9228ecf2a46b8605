"""From a container's specification to the request that starts it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import msgspec

from contextkernel.layer.lowers import overlay_lowers
from contextkernel.model.container import LaunchRequest, Terminal
from contextkernel.runtime import log_options

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.mounts import Mount
    from contextkernel.model.networking import PortBinding
    from contextkernel.model.networks import NetworkLaunch
    from contextkernel.model.security import Join
    from contextkernel.store import Store


def launch_request(
    spec: ContainerSpec,
    store: Store,
    *,
    fake_ids: bool,
    networks: tuple[NetworkLaunch, tuple[PortBinding, ...]],
    volumes: tuple[Mount, ...],
    joins: tuple[Join, ...],
) -> LaunchRequest:
    """All that a start of ``spec`` needs, but where its events go.

    Args:
        spec: the container.
        store: it belongs to.
        fake_ids: this host maps a single id only.
        networks: what its monitor does about networks, and which ports are published.
        volumes: its mounts as they are carried out.
        joins: namespaces of other containers.
    """
    directory = store.container_dir(spec.id)
    launch, ports = networks
    return LaunchRequest(
        id=spec.id,
        argv=spec.argv,
        env=spec.env,
        working_dir=spec.working_dir,
        user=spec.user,
        hostname=spec.hostname,
        network="host" if launch.mode == "host" else "none",
        attach=launch,
        lowers=overlay_lowers(layer.directory for layer in store.layers_of(spec.image_id)),
        upper=os.path.join(directory, "upper"),
        work=os.path.join(directory, "work"),
        read_only=spec.read_only,
        init=spec.init,
        state_dir=directory,
        log=None if spec.life.logs.driver == "none" else os.path.join(directory, "log.json"),
        remove=(directory,) if spec.auto_remove else (),
        fake_ids=fake_ids,
        open_stdin=spec.stdin_open,
        stdin_once=not spec.detached,
        terminal=Terminal() if spec.tty else None,
        networking=msgspec.structs.replace(spec.networking, ports=ports),
        volumes=volumes,
        resources=spec.resources,
        security=spec.security,
        life=spec.life,
        log_rules=log_options.rules(spec),
        joins=joins,
    )


def shown_mounts(mounts: tuple[Mount, ...], store: Store) -> tuple[Mount, ...]:
    """The mounts with the places that volumes have, or will have; nothing is made or looked up."""
    return tuple(
        msgspec.structs.replace(mount, source=store.volume_dir(mount.source)) if mount.type == "volume" else mount
        for mount in mounts
    )
