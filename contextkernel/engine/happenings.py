"""The verb that tells what happens in a store."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition
from contextkernel.errors import InvalidInput
from contextkernel.model.given import Filters, filter_values

if TYPE_CHECKING:
    from contextkernel.engine.moments import Moment
    from contextkernel.model.engine_events import EngineEvent


class Happenings(Composition):
    """Events."""

    def events(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        filters: Filters | None = None,
    ) -> Iterator[EngineEvent]:
        """What happens to containers, images, volumes and networks of this store, whoever does it.

        Args:
            since: begin in the past; without it, and without ``until``, only what comes from now on is told.
            until: end then; a moment that is over makes the iterator end without waiting, else it waits for events.
            filters: values by key, docker's: :data:`contextkernel.model.engine_events.EVENT_FILTERS`.

        Returns:
            An iterator; to give it up, close it or drop it.

        Raises:
            InvalidInput: ``since`` or ``until`` is no moment.
        """
        from contextkernel.engine.moments import nanoseconds

        now = time.time_ns()
        begin, end = nanoseconds(since, now=now), nanoseconds(until, now=now)
        if begin is not None and end is not None and begin > end:
            raise InvalidInput(f"the events would begin ({since}) after their end ({until})", hint="exchange the two")
        return self._events_between(begin, end, now, filter_values(filters))

    def _events_between(
        self, begin: int | None, end: int | None, now: int, filters: Mapping[str, Sequence[str]]
    ) -> Iterator[EngineEvent]:
        from contextkernel.model.engine_events import includes

        if begin is None and end is not None:
            begin = 0
        log = self._events
        past = end is not None and end <= now
        found = iter(log.past(begin or 0, end)) if past else log.follow(begin, end)
        return (event for event in found if includes(event, filters))
