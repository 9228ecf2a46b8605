"""Changes to containers that exist: their name, their restart policy, their limits."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import msgspec

from contextkernel.errors import Conflict, InvalidInput
from contextkernel.runtime import spec as rules
from contextkernel.runtime.container_reach import ContainerReach
from contextkernel.runtime.telling import NAME

if TYPE_CHECKING:
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.life import RestartPolicy
    from contextkernel.model.resources import Resources


class ContainerChanges(ContainerReach):
    """What :class:`contextkernel.runtime.containers.Containers` does to containers that exist."""

    def rename(self, spec: ContainerSpec, name: str) -> ContainerSpec:
        """Give a container another name; it may run.

        Raises:
            NameInUse: another has it. InvalidInput: it is no name, or the one it has.
        """
        new = rules.check_name(name)
        if new == spec.name:
            raise InvalidInput(f"container {spec.id[:12]} is named {spec.name!r} already")
        renamed = self._changed(spec, name=new)
        with suppress(OSError):  # its monitor looks there; it is about what events say
            path = os.path.join(self._store.container_dir(spec.id), NAME)
            with open(f"{path}.new", "w", encoding="utf-8") as file:
                file.write(new)
            os.rename(f"{path}.new", path)
        self.tell(renamed, "rename", oldName=f"/{spec.name}")
        return renamed

    def update_restart(self, spec: ContainerSpec, policy: RestartPolicy) -> ContainerSpec:
        """Give a container another restart policy; one that runs has it from its next exit on.

        Raises:
            Conflict: it is to be removed at its end.
        """
        if spec.auto_remove and policy.name != "no":
            raise Conflict(
                f"container {spec.name!r} is removed at its end (--rm): it cannot have restart policy {policy.name!r}"
            )
        changed = self._changed(spec, life=msgspec.structs.replace(spec.life, restart=policy))
        process = self.connect(spec)
        if process is not None:
            try:
                with suppress(Conflict):  # it has just ended
                    process.update(policy)
            finally:
                process.close()
        return changed

    def update_resources(self, spec: ContainerSpec, resources: Resources) -> ContainerSpec:
        """Give a container other limits; a running one has them at once.

        Args:
            spec: the container.
            resources: all limits, as they are to be.

        Raises:
            Conflict: the kernel refuses one of them; the record is as it was.
        """
        process = self.connect(spec)
        if process is not None:
            try:
                process.update(resources=resources)
            finally:
                process.close()
        return self._changed(spec, resources=resources)

    def _changed(self, spec: ContainerSpec, **changes: Any) -> ContainerSpec:
        """Record ``spec`` with changes."""
        changed = msgspec.structs.replace(spec, **changes)
        self._store.replace_container(changed)
        return changed
