"""What a monitor tells of its container in the store's event log."""

from __future__ import annotations

import os
from collections.abc import Iterable

from contextkernel.model.container import LaunchRequest, UsedVolume
from contextkernel.model.engine_events import EventType
from contextkernel.model.networks import Endpoint
from contextkernel.runtime.events import EventLog

NAME = "name"
"""File in the container's directory: its name since it was renamed."""


class Teller:
    """Tells of one container; silent for a build step.

    Args:
        request: of the container.
    """

    def __init__(self, request: LaunchRequest) -> None:
        self._request = request
        self._log = EventLog(request.telling.root) if request.telling is not None else None

    def __call__(self, action: str, **attributes: object) -> None:
        """Note an event; never raises.

        Args:
            action: docker's word, ``die`` or ``health_status: healthy``.
            attributes: what docker tells besides labels, image and name.
        """
        if self._log is None or self._request.telling is None:
            return
        told = {**self._request.telling.attributes, **self._name()}
        told.update((name, str(value)) for name, value in attributes.items())
        self._log.write("container", action, self._request.id, told)

    def begun(self, endpoints: Iterable[Endpoint]) -> None:
        """The container has been started: its volumes and networks are in use."""
        for volume in self._volumes:
            writable = str(volume.writable).lower()
            use = {"destination": volume.target, "driver": "local", "propagation": "", "read/write": writable}
            self._other("volume", "mount", volume.name, use)
        for endpoint in endpoints:
            self._network("connect", endpoint)

    def ended(self, endpoints: Iterable[Endpoint]) -> None:
        """The container has ended: they are no longer."""
        for endpoint in endpoints:
            self._network("disconnect", endpoint)
        for volume in self._volumes:
            self._other("volume", "unmount", volume.name, {"driver": "local"})

    @property
    def _volumes(self) -> tuple[UsedVolume, ...]:
        return self._request.telling.volumes if self._request.telling is not None else ()

    def _network(self, action: str, endpoint: Endpoint) -> None:
        self._other("network", action, endpoint.network_id, {"name": endpoint.network, "type": "bridge"})

    def _other(self, kind: EventType, action: str, identity: str, attributes: dict[str, str]) -> None:
        if self._log is not None:
            self._log.write(kind, action, identity, {"container": self._request.id, **attributes})

    def _name(self) -> dict[str, str]:
        try:
            with open(os.path.join(self._request.state_dir or "", NAME), encoding="utf-8") as file:
                return {"name": file.read()}
        except OSError:
            return {}
