"""The verb ``pull`` of the fake engine: recorded calls, the events of one layer."""

from __future__ import annotations

from typing import Literal, overload

from contextkernel.model.digest import Digest
from contextkernel.model.events import StepNote
from contextkernel.model.ports import Reporter
from contextkernel.testing.fake_calls import FakeCalls
from contextkernel.testing.samples import UBUNTU, pull_events


class FakePulling(FakeCalls):
    """Has ``pull`` of :class:`contextkernel.engine.pulling.Pulling`."""

    @overload
    def pull(
        self,
        name: str,
        tag: str | None = ...,
        *,
        platform: str | None = ...,
        all_tags: Literal[False] = ...,
        report: Reporter | None = ...,
    ) -> Digest: ...

    @overload
    def pull(
        self,
        name: str,
        tag: str | None = ...,
        *,
        platform: str | None = ...,
        all_tags: bool,
        report: Reporter | None = ...,
    ) -> Digest | tuple[Digest, ...]: ...

    def pull(
        self,
        name: str,
        tag: str | None = None,
        *,
        platform: str | None = None,
        all_tags: bool = False,
        report: Reporter | None = None,
    ) -> Digest | tuple[Digest, ...]:
        """The id of ``ubuntu``, after the events of two layers, of which one was here."""
        self._note("pull", name=name, tag=tag, platform=platform, all_tags=all_tags)
        self._fail()
        for event in (*pull_events(), StepNote(0, f"Status: Downloaded newer image for {name}")):
            if report is not None:
                report(event)
        return (UBUNTU,) if all_tags else UBUNTU
