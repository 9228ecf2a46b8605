"""What a monitor tells of its container in the store's event log."""

from __future__ import annotations

import os

from contextkernel.model.container import LaunchRequest, UsedVolume
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

    def begun(self) -> None:
        """The container has been started: its volumes are in use."""
        for volume in self._volumes:
            writable = str(volume.writable).lower()
            use = {"destination": volume.target, "driver": "local", "propagation": "", "read/write": writable}
            self._volume("mount", volume.name, use)

    def ended(self) -> None:
        """The container has ended: they are no longer."""
        for volume in self._volumes:
            self._volume("unmount", volume.name, {"driver": "local"})

    @property
    def _volumes(self) -> tuple[UsedVolume, ...]:
        return self._request.telling.volumes if self._request.telling is not None else ()

    def _volume(self, action: str, name: str, attributes: dict[str, str]) -> None:
        if self._log is not None:
            self._log.write("volume", action, name, {"container": self._request.id, **attributes})

    def _name(self) -> dict[str, str]:
        try:
            with open(os.path.join(self._request.state_dir or "", NAME), encoding="utf-8") as file:
                return {"name": file.read()}
        except OSError:
            return {}
