"""The verbs of the fake engine for images as files: recorded calls, one image."""

from __future__ import annotations

from collections.abc import Sequence

from contextkernel.model.digest import Digest
from contextkernel.model.events import StepNote
from contextkernel.model.given import several
from contextkernel.model.ports import Reporter
from contextkernel.testing.fake_calls import FakeCalls
from contextkernel.testing.samples import GREET


class FakeArchives(FakeCalls):
    """Has the methods of :class:`contextkernel.engine.archives.Archives`.

    Attributes:
        load_notes: what ``load`` tells of before it is done.
    """

    def __init__(self) -> None:
        super().__init__()
        self.load_notes: tuple[str, ...] = ()

    def save(
        self, names: str | Sequence[str], output: str | int, *, platform: str | Sequence[str] | None = None
    ) -> None:
        """Check that the images are there."""
        self._note("save", names=several(names), output=output, platform=platform)
        for name in several(names):
            self._image(name)

    def load(
        self, source: str | int, *, platform: str | None = None, report: Reporter | None = None
    ) -> tuple[str, ...]:
        """``greet:latest``."""
        self._note("load", source=source, platform=platform)
        self._fail()
        for text in self.load_notes:
            if report is not None:
                report(StepNote(0, text))
        return ("greet:latest",)

    def import_image(
        self,
        source: str | int,
        name: str | None = None,
        *,
        message: str = "",
        changes: str | Sequence[str] = (),
        platform: str | None = None,
        report: Reporter | None = None,
    ) -> Digest:
        """The id of ``greet``."""
        del report
        self._note(
            "import_image", source=source, name=name, message=message, changes=several(changes), platform=platform
        )
        self._fail()
        return GREET
