"""The verbs of the fake engine about files of containers: canned answers, recorded calls."""

from __future__ import annotations

import os
from collections.abc import Sequence

from contextkernel.model.box import Change, PathFacts
from contextkernel.model.given import several
from contextkernel.testing.fake_calls import FakeCalls

_IMAGE = "sha256:" + "c0" * 32


class FakeFiles(FakeCalls):
    """Has the methods of :class:`contextkernel.engine.commits.Commits`.

    Attributes:
        changes_known: what :meth:`diff` tells.
        archive: what :meth:`export` and :meth:`get_archive` write.
    """

    changes_known: tuple[Change, ...] = (Change("C", "/etc"), Change("A", "/etc/new"), Change("D", "/old"))
    archive = b"an archive"

    def copy(
        self,
        source: str,
        destination: str,
        *,
        archive: bool = False,
        follow_link: bool = False,
        stdin: int | None = None,
        stdout: int | None = None,
    ) -> None:
        """Changes nothing."""
        self._note(
            "copy",
            source=source,
            destination=destination,
            archive=archive,
            follow_link=follow_link,
            stdin=None if stdin is None else os.read(stdin, 1 << 16),
            stdout=stdout,
        )
        self._fail()

    def get_archive(self, container: str, path: str, output: int, *, follow_link: bool = False) -> PathFacts:
        """Write :attr:`archive`."""
        self._note("get_archive", container=container, path=path, follow_link=follow_link)
        os.write(output, self.archive)
        return PathFacts(path=path, kind="file", mode=0o100644, size=3)

    def put_archive(self, container: str, path: str, source: int, *, archive: bool = False) -> None:
        """Changes nothing."""
        self._note("put_archive", container=container, path=path, source=os.read(source, 1 << 16), archive=archive)

    def diff(self, container: str) -> tuple[Change, ...]:
        """:attr:`changes_known`."""
        self._note("diff", container=container)
        self._fail()
        return self.changes_known

    def export(self, container: str, output: str | int) -> None:
        """Write :attr:`archive` to a descriptor; a path is only noted."""
        self._note("export", container=container, output=output)
        self._fail()
        if isinstance(output, int):
            os.write(output, self.archive)

    def commit(
        self,
        container: str,
        repository: str | None = None,
        tag: str | None = None,
        *,
        message: str = "",
        author: str = "",
        changes: str | Sequence[str] = (),
        pause: bool = True,
    ) -> str:
        """Answers an id."""
        self._note(
            "commit",
            container=container,
            repository=repository,
            tag=tag,
            message=message,
            author=author,
            changes=several(changes),
            pause=pause,
        )
        self._fail()
        return _IMAGE
