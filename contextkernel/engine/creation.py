"""The verb that makes containers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Unpack

from contextkernel.engine.builds import Builds
from contextkernel.errors import ImageNotFound
from contextkernel.model.given import words_of
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.engine.asked import CreateKeywords
    from contextkernel.model.container import ContainerSpec
    from contextkernel.model.digest import Digest
    from contextkernel.model.planned import Planned
    from contextkernel.model.ports import Reporter
    from contextkernel.runtime.container_creation import RunOptions


class Creation(Builds):
    """Making containers."""

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
        """Make a container of ``image`` without starting it.

        Args:
            image: name or id; pulled when missing (``pull``: ``missing``, ``always``, ``never``).
            command: replaces the image's CMD; a string is split as a shell does it.
            stdin_open: it is to have a standard input when it is started.
            on_created: called with the id.
            wanted: see :meth:`run`.

        Returns:
            Its id.

        Raises:
            NameInUse, ImageNotFound, InvalidInput: see there.
        """
        spec = self._create(image, command, wanted, pull=pull, report=report, stdin_open=stdin_open)
        if on_created:
            on_created(spec.id)
        return spec.id

    def _create(
        self,
        image: str,
        command: str | Sequence[str],
        wanted: CreateKeywords,
        *,
        pull: str,
        report: Reporter | None,
        stdin_open: bool,
        detached: bool = False,
    ) -> ContainerSpec:
        options = self._options(command, wanted, stdin_open=stdin_open, detached=detached)
        self._warn_of_host()
        return self._containers.create(image, self._image_of(image, pull, report), options)

    def _options(
        self, command: str | Sequence[str], wanted: CreateKeywords, *, stdin_open: bool = False, detached: bool = False
    ) -> RunOptions:
        from contextkernel.engine.asked import asked
        from contextkernel.engine.asked.basics import basics
        from contextkernel.runtime.container_creation import RunOptions

        return RunOptions(
            command=words_of(command),
            stdin_open=stdin_open,
            detached=detached,
            **basics(wanted),
            **asked(wanted)._asdict(),
        )

    def plan(
        self,
        image: str,
        command: str | Sequence[str] = (),
        *,
        pull: str = "missing",
        report: Reporter | None = None,
        **wanted: Unpack[CreateKeywords],
    ) -> Planned:
        """What :meth:`run` would do on this host; nothing is recorded or started.

        Args:
            image: name or id; pulled when missing (``pull``: ``missing``, ``always``, ``never``).
            command: replaces the image's CMD; a string is split as a shell does it.
            wanted: see :meth:`run`.

        Returns:
            The OCI runtime-spec document, and the ordered set-up operations.

        Raises:
            ImageNotFound, InvalidInput: see there.
        """
        from contextkernel.runtime.planning import planned

        request = self._containers.planned(image, self._image_of(image, pull, report), self._options(command, wanted))
        facts = self._host_facts
        return planned(request, facts, self._idmap, backing=self._backing)

    def _image_of(self, image: str, pull: str, report: Reporter | None) -> Digest:
        """The image of a new container, pulled if it must be."""
        if pull == "never":
            return self._store.resolve(image)
        if pull == "always":
            return self._resolve_base(ImageRef.parse(image), pull=True, report=report, alone=True)
        try:
            return self._store.resolve(image)
        except ImageNotFound:
            return self._resolve_base(ImageRef.parse(image), pull=False, report=report, alone=True)
