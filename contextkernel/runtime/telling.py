"""What a monitor tells of its container in the store's event log."""

from __future__ import annotations

import os

from contextkernel.model.container import LaunchRequest
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

    def _name(self) -> dict[str, str]:
        try:
            with open(os.path.join(self._request.state_dir or "", NAME), encoding="utf-8") as file:
                return {"name": file.read()}
        except OSError:
            return {}
