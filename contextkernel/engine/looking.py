"""The verb that shows all there is to know of things of any kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from contextkernel.engine.images import Images
from contextkernel.engine.networks import Networks
from contextkernel.engine.volumes import Volumes
from contextkernel.errors import ImageNotFound, InvalidInput, NotFound
from contextkernel.model.given import several

#: docker's order in which a name is looked up
KINDS = ("container", "image", "network", "volume")


class Looking(Images, Volumes, Networks):
    """Documents of things."""

    def inspect(self, names: str | Sequence[str], kind: str | None = None) -> list[dict[str, Any]]:
        """Docker's document for each container, image, network or volume (the first kind that has the name wins).

        Args:
            names: names, ids or unique id prefixes; or a single one.
            kind: one of :data:`KINDS` to look only there.

        Raises:
            NotFound: naming the first that does not exist.
        """
        return [self._inspect(name, kind) for name in several(names)]

    def _inspect(self, name: str, kind: str | None) -> dict[str, Any]:
        looks: dict[str, Callable[[], dict[str, Any]]] = {
            "container": lambda: self._inspect_container(self._containers.find(name)),
            "image": lambda: self._store.inspect_image(self._store.resolve(name)),
            "network": lambda: self.inspect_network(name),
            "volume": lambda: self.inspect_volume(name),
        }
        if kind:
            return looks[kind]()
        hint: str | None = None
        for one in KINDS:
            try:
                return looks[one]()
            except NotFound as problem:
                if isinstance(problem, ImageNotFound):
                    hint = problem.hint
            except InvalidInput as problem:
                if one == "container":  # a prefix of several ids
                    raise
                hint = problem.hint
        raise NotFound(f"no such object: {name}", hint=hint)
