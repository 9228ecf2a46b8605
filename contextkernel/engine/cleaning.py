"""Removing all that is not used, at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from contextkernel.engine.filters import PRUNE_FILTERS, check_keys, one_moment
from contextkernel.engine.lifecycle import Lifecycle
from contextkernel.engine.networks import Networks
from contextkernel.engine.usage import Usage
from contextkernel.errors import InvalidInput
from contextkernel.model.given import Filters, filter_values

if TYPE_CHECKING:
    from contextkernel.model.usage import Cleaned


class Cleaning(Usage, Lifecycle, Networks):
    """Removing all that is not used."""

    def system_prune(self, *, all: bool = False, volumes: bool = False, filters: Filters | None = None) -> Cleaned:
        """Remove stopped containers, unused networks, images without a name, build cache; in docker's order.

        Args:
            all: images with a name that no container has too, and all of the build cache.
            volumes: anonymous volumes too.
            filters: ``until`` (made before), ``label`` and ``label!``; as docker has it, labels do not matter for the
                build cache, and ``until`` does not go with ``volumes``.

        Raises:
            InvalidInput: a filter that is none. Nothing is removed then.
        """
        from contextkernel.model.cache import CacheFilter
        from contextkernel.model.usage import Cleaned

        wanted = filter_values(filters)
        check_keys(wanted, PRUNE_FILTERS)
        until = one_moment(wanted)
        if until is not None and volumes:
            raise InvalidInput('the "until" filter is not supported with "--volumes"', hint="prune them one by one")
        stopped = self.prune_containers(filters=wanted)
        networks = self.prune_networks(filters=wanted)
        gone, room = self.prune_volumes(filters=wanted) if volumes else ((), 0)
        images = self.prune_images(all=all, filters=wanted)
        downloads = 0 if wanted else self._store.downloads.prune()  # what interrupted pulls have left
        cache = self.prune_build_cache(None if until is None else CacheFilter(used_before=until), all=all)
        return Cleaned(
            containers=stopped.removed,
            networks=networks,
            volumes=gone,
            images=images.removed,
            cache=tuple(row.id for row in cache.rows),
            freed=stopped.size + room + images.size + cache.freed + downloads,
        )
