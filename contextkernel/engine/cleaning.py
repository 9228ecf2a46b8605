"""Removing all that is not used, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.lifecycle import Lifecycle
from contextkernel.engine.networks import Networks
from contextkernel.engine.usage import Usage
from contextkernel.errors import InvalidInput

if TYPE_CHECKING:
    from contextkernel.model.usage import Cleaned

#: docker's keys of ``system prune --filter``
FILTERS = ("label", "label!", "until")


class Cleaning(Usage, Lifecycle, Networks):
    """Removing all that is not used."""

    def system_prune(
        self, *, all: bool = False, volumes: bool = False, filters: Mapping[str, Sequence[str]] | None = None
    ) -> Cleaned:
        """Remove stopped containers, unused networks, images without a name, build cache; in docker's order.

        Args:
            all: images with a name that no container has too, and all of the build cache.
            volumes: anonymous volumes too.
            filters: ``until`` (made before), ``label`` and ``label!``; as docker has it, labels do not matter for the
                build cache, and ``until`` does not go with ``volumes``.

        Raises:
            InvalidInput: a filter that is none. Nothing is removed then.
        """
        from contextkernel.engine.moments import nanoseconds
        from contextkernel.model.cache import CacheFilter
        from contextkernel.model.usage import Cleaned

        wanted = {key: tuple(values) for key, values in (filters or {}).items()}
        for key in wanted:
            if key not in FILTERS:
                raise InvalidInput(f"invalid filter {key!r}", hint=f"one of {', '.join(FILTERS)}")
        moments = wanted.get("until", ())
        if len(moments) > 1:
            raise InvalidInput("more than one until filter specified", hint="one moment is enough")
        if moments and volumes:
            raise InvalidInput('the "until" filter is not supported with "--volumes"', hint="prune them one by one")
        until = nanoseconds(moments[0]) if moments else None
        stopped = self.prune_containers(filters=wanted)
        networks = self.prune_networks(filters=wanted)
        gone, room = self.prune_volumes(filters=wanted) if volumes else ((), 0)
        images = self.prune_images(all=all, filters=wanted)
        cache = self.prune_build_cache(None if until is None else CacheFilter(used_before=until), all=all)
        return Cleaned(
            containers=stopped.removed,
            networks=networks,
            volumes=gone,
            images=images.removed,
            cache=tuple(row.id for row in cache.rows),
            freed=stopped.size + room + images.size + cache.freed,
        )
