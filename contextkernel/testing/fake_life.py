"""The verbs of the fake engine about the course of containers' lives: canned answers, recorded calls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from contextkernel.model.engine_events import EngineEvent, includes
from contextkernel.testing.samples import GREET, WEB

if TYPE_CHECKING:
    from contextkernel.engine.moments import Moment

_NOON = 1_795_608_000 * 10**9


def engine_events() -> tuple[EngineEvent, ...]:
    """A container that lived for three seconds, and its image."""
    web = {"image": "greet", "name": "web", "tier": "front"}
    return (
        EngineEvent(type="image", action="tag", id=str(GREET), attributes={"name": "greet:latest"}, time=_NOON),
        EngineEvent(type="container", action="create", id=WEB, attributes=web, time=_NOON + 1),
        EngineEvent(type="container", action="start", id=WEB, attributes=web, time=_NOON + 2),
        EngineEvent(
            type="container", action="die", id=WEB, attributes={**web, "exitCode": "0"}, time=_NOON + 3 * 10**9
        ),
        EngineEvent(type="volume", action="create", id="data", attributes={}, time=_NOON + 4 * 10**9),
    )


class FakeLife:
    """Has the methods of :class:`contextkernel.engine.happenings.Happenings`.

    Attributes:
        events_known: what :meth:`events` tells.
    """

    events_known: tuple[EngineEvent, ...] = engine_events()

    def _note(self, method: str, **arguments: Any) -> None:
        raise NotImplementedError

    def events(
        self,
        *,
        since: Moment | None = None,
        until: Moment | None = None,
        filters: Mapping[str, Sequence[str]] | None = None,
    ) -> Iterator[EngineEvent]:
        """:attr:`events_known`, filtered; never waits."""
        self._note("events", since=since, until=until, filters=dict(filters or {}))
        return iter([event for event in self.events_known if includes(event, filters or {})])
