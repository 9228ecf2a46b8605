"""The verbs of the fake engine about the course of containers' lives: canned answers, recorded calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from contextkernel.model.engine_events import EngineEvent, includes
from contextkernel.testing.samples import GREET, WEB

if TYPE_CHECKING:
    from contextkernel.engine.asked import CreateKeywords
    from contextkernel.engine.moments import Moment
    from contextkernel.model.ports import Reporter
    from contextkernel.model.results import ContainerRow, ImageRow

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


def plain(wanted: CreateKeywords) -> dict[str, Any]:
    """Keywords of ``run`` and ``create`` without those that say what holds anyhow."""
    found: dict[str, Any] = dict(wanted)
    if found.get("network") == "default":
        del found["network"]
    if found.get("stop_timeout") == 10:
        del found["stop_timeout"]
    if found.get("entrypoint") is not None:
        found["entrypoint"] = list(found["entrypoint"])
    return found


class FakeLife:
    """Has the methods of :class:`contextkernel.engine.happenings.Happenings`.

    Attributes:
        events_known: what :meth:`events` tells.
    """

    events_known: tuple[EngineEvent, ...] = engine_events()

    def _note(self, method: str, **arguments: Any) -> None:
        raise NotImplementedError

    def _fail(self) -> None:
        raise NotImplementedError

    def _image(self, name: str) -> ImageRow:
        raise NotImplementedError

    def _container(self, name: str) -> ContainerRow:
        raise NotImplementedError

    def create(
        self,
        image: str,
        command: Sequence[str] = (),
        *,
        stdin_open: bool = False,
        pull: str = "missing",
        report: Reporter | None = None,
        on_created: Callable[[str], None] | None = None,
        **wanted: Unpack[CreateKeywords],
    ) -> str:
        """The id of ``web``."""
        del report
        self._note(
            "create",
            image=image,
            command=tuple(command),
            stdin_open=stdin_open,
            pull="" if pull == "missing" else pull,
            **plain(wanted),
        )
        self._fail()
        self._image(image)
        if on_created is not None:
            on_created(WEB)
        return WEB

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
