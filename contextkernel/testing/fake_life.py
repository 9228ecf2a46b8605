"""The verbs of the fake engine about the course of containers' lives: canned answers, recorded calls."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Unpack

from contextkernel.errors import NameInUse
from contextkernel.model.engine_events import EngineEvent, includes
from contextkernel.model.given import Filters, filter_values, words_of
from contextkernel.model.results import ProcessTable, Pruned
from contextkernel.testing.fake_calls import FakeCalls
from contextkernel.testing.samples import GREET, WEB

if TYPE_CHECKING:
    from contextkernel.engine.asked import CreateKeywords
    from contextkernel.engine.asked.updating import UpdateKeywords
    from contextkernel.engine.moments import Moment
    from contextkernel.model.ports import Reporter

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


class FakeLife(FakeCalls):
    """Has the methods of ``Happenings``, ``Lifecycle`` and ``Creation`` in ``contextkernel.engine``.

    Attributes:
        events_known: what :meth:`events` tells.
    """

    events_known: tuple[EngineEvent, ...] = engine_events()

    def create(
        self,
        image: str,
        command: str | Sequence[str] = (),
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
            command=words_of(command),
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
        filters: Filters | None = None,
    ) -> Iterator[EngineEvent]:
        """:attr:`events_known`, filtered; never waits."""
        self._note("events", since=since, until=until, filters=dict(filters or {}))
        return iter([event for event in self.events_known if includes(event, filter_values(filters))])

    def restart(self, container: str, *, timeout: int | None = None, signal: str | None = None) -> None:
        """Check that the container is there."""
        self._note("restart", container=container, timeout=timeout, signal=signal)
        self._container(container)

    def rename(self, container: str, name: str) -> None:
        """Check that the container is there, and the name free."""
        self._note("rename", container=container, name=name)
        row = self._container(container)
        if any(other.name == name for other in self.container_rows):
            raise NameInUse(f'the container name "/{name}" is already in use by container "{row.id}"')

    def update(self, container: str, **wanted: Unpack[UpdateKeywords]) -> tuple[str, ...]:
        """Check that the container is there."""
        self._note("update", container=container, **wanted)
        self._container(container)
        return ()

    def top(self, container: str, ps_args: str | Sequence[str] = ()) -> ProcessTable:
        """Two processes."""
        self._note("top", container=container, ps_args=ps_args)
        self._container(container)
        return ProcessTable(titles=("UID", "PID", "CMD"), processes=(("root", "41", "sh"), ("bob", "42", "sleep 9")))

    def ports(self, container: str) -> dict[str, list[dict[str, str]] | None]:
        """Two published ones, and one that is not."""
        self._note("ports", container=container)
        self._container(container)
        return {
            "80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}, {"HostIp": "::", "HostPort": "8080"}],  # noqa: S104
            "9/udp": [{"HostIp": "127.0.0.1", "HostPort": "9"}],
            "443/tcp": None,
        }

    def prune_containers(self, *, filters: Filters | None = None) -> Pruned:
        """Take the rows away that do not run."""
        self._note("prune_containers", filters=dict(filters or {}))
        gone = [row for row in self.container_rows if row.state != "running"]
        self.container_rows = tuple(row for row in self.container_rows if row.state == "running")
        return Pruned(removed=tuple(row.id for row in gone), size=sum(row.size for row in gone))

    def container_sizes(self, container: str) -> tuple[int, int]:
        """The row's size, and a hundred more."""
        self._note("container_sizes", container=container)
        row = self._container(container)
        return row.size, row.size + 100
