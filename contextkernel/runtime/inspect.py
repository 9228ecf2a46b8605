"""The document that ``inspect`` shows for a container, in docker's shape (Engine API, ContainerInspect)."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from contextkernel.runtime.inspecting import life, mounts, resources, security
from contextkernel.runtime.inspecting import network as network_part
from contextkernel.runtime.inspecting.order import host_config
from contextkernel.runtime.inspecting.times import rfc3339

if TYPE_CHECKING:
    from contextkernel.model.backing import Backing
    from contextkernel.model.container import ContainerSpec, RunState
    from contextkernel.model.layers import Layer
    from contextkernel.model.oci import RunConfig
    from contextkernel.model.resources import Enforced


def container_document(
    spec: ContainerSpec,
    state: RunState,
    config: RunConfig,
    layers: tuple[Layer, ...],
    *,
    directory: str,
    tier: str,
    backing: Backing = "overlay",
    kept: Iterable[Enforced] = (),
    apart: tuple[dict[str, str], tuple[str, ...]] = ({}, ()),
) -> dict[str, Any]:
    """Describe one container.

    Args:
        spec: as created.
        state: what became of it.
        config: of its image.
        layers: of its image, base first.
        directory: where the container's files are.
        tier: the host's tier; shown with what it means for isolation.
        backing: what its root is made with.
        kept: how its limits are kept.
        apart: what keeps it apart, by name, and what stands in for what this host refuses.

    Returns:
        Docker's document; the ``ContextKernel`` object at the end is ours and says how it is isolated.
    """
    running = state.alive
    return {
        "Id": spec.id,
        "Created": rfc3339(spec.created),
        "Path": spec.argv[0],
        "Args": list(spec.argv[1:]),
        "State": {
            "Status": state.status,
            "Running": running,
            "Paused": state.status == "paused",
            "Restarting": state.status == "restarting",
            "OOMKilled": state.oom_killed,
            "Dead": state.status == "dead",
            "Pid": state.pid if running else 0,
            "ExitCode": state.exit_code,
            "Error": state.error,
            "StartedAt": rfc3339(state.started),
            "FinishedAt": rfc3339(state.finished),
            **life.health_state(state.health),
        },
        "Image": str(spec.image_id),
        "ResolvConfPath": "",
        "HostnamePath": "",
        "HostsPath": "",
        "LogPath": life.log_path(spec.life, directory),
        "Name": f"/{spec.name}",
        "RestartCount": state.restart_count,
        "Driver": "overlay",
        "Platform": "linux",
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": None,
        "HostConfig": host_config(
            {
                "ContainerIDFile": "",
                "AutoRemove": spec.auto_remove,
                "ConsoleSize": [0, 0],
                "Init": spec.init,
            },
            mounts.host_config(spec),
            life.host_config(spec.life),
            network_part.host_config(spec),
            resources.host_config(spec.resources),
            security.host_config(spec.security),
        ),
        "GraphDriver": _graph_driver(layers, directory, backing),
        "Mounts": mounts.mounts(spec, directory),
        "Config": {
            "Hostname": spec.hostname,
            **network_part.config(spec),
            "User": spec.user,
            "AttachStdin": spec.stdin_open and not spec.detached,
            "AttachStdout": not spec.detached,
            "AttachStderr": not spec.detached,
            "Tty": spec.tty,
            "OpenStdin": spec.stdin_open,
            "StdinOnce": spec.stdin_open and not spec.detached,
            "Env": life.environment(spec, config),
            "Cmd": list(spec.cmd) if spec.cmd else None,
            **life.healthcheck(spec.life),
            "Image": spec.image,
            "Volumes": mounts.volumes(spec, config.volumes),
            "WorkingDir": spec.working_dir if spec.working_dir != "/" or config.working_dir else "",
            "Entrypoint": list(spec.entrypoint) if spec.entrypoint else None,
            "OnBuild": list(config.on_build) if config.on_build else None,
            "Labels": dict(sorted(spec.labels.items())),
            **life.ending(spec, config),
        },
        "NetworkSettings": network_part.settings(spec, state),
        "ContextKernel": {
            "Tier": tier,
            "Isolation": apart[0],
            "Fallbacks": list(apart[1]),
            "Backing": backing,
            **({"Owners": state.owners} if state.owners else {}),
            "Limits": resources.limits(kept),
            **network_part.ours(spec, state),
        },
    }


def _graph_driver(layers: tuple[Layer, ...], directory: str, backing: Backing) -> dict[str, Any]:
    """Where the files are, in docker's words: its driver for complete copies is called vfs, and tells nothing."""
    if backing == "copy":
        return {"Data": None, "Name": "vfs"}
    data = {
        "LowerDir": ":".join(layer.diff for layer in reversed(layers)),
        "UpperDir": f"{directory}/upper",
        "WorkDir": f"{directory}/work",
    }
    return {"Data": data, "Name": "overlay"}
