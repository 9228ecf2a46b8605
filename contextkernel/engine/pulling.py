"""Verbs that bring images from registries: pull, base ensure; and the images that builds and containers begin with."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Literal, overload

from contextkernel.engine.caches import Caches
from contextkernel.engine.composition import silent
from contextkernel.errors import ImageNotFound, InvalidInput, RegistryProblem, StoreProblem
from contextkernel.model.events import StepNote
from contextkernel.model.given import several
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

if TYPE_CHECKING:
    from contextkernel.model.digest import Digest
    from contextkernel.model.ports import Reporter
    from contextkernel.model.results import BaseRow
    from contextkernel.registry import Pulled


class Pulling(Caches):
    """Getting images."""

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
        """Fetch an image from its registry. Keyword names follow docker-py.

        Layers that are here are not fetched, and what an interrupted pull has left is continued.

        Args:
            name: ``ubuntu``, ``ubuntu:20.04``, ``host:5000/a/b@sha256:...``.
            tag: tag or digest, if the name has none.
            platform: of an image for several, e.g. ``linux/arm64``; default this machine's. An image for another
                platform gets the tag only if no image for this machine has it, and else stands beside that one.
            all_tags: every tag of the repository.
            report: receives :class:`LayerProgress` and docker's lines, as of step 0.

        Returns:
            The image's id; with ``all_tags`` those of all tags, in order.

        Raises:
            RegistryUnreachable, RegistryRefused, ImageNotFound: see there. DigestMismatch, SizeMismatch: the registry
            sent something else than promised. InvalidInput: ``all_tags`` with a tag.
        """
        text = f"{name}{'@' if ':' in tag else ':'}{tag}" if tag else name
        ref, wanted = ImageRef.parse(text), Platform.parse(platform) if platform else None
        if not all_tags:
            with self._writing():
                return self._pull(ref, wanted, report or silent)
        if ref.digest is not None or ref.tag != "latest" or text.endswith(":latest"):
            raise InvalidInput(f"{text!r} has a tag, and all tags are asked for", hint="give the repository alone")
        with self._writing():
            return self._pull_all(ref, wanted, report or silent)

    def _pull_all(self, ref: ImageRef, wanted: Platform | None, report: Reporter) -> tuple[Digest, ...]:
        """Every tag; docker has one line at the end for all of them."""
        tags = [ref.with_tag(one) for one in self._tags(ref)]
        before = [self._known(one) for one in tags]
        images = tuple(self._pull(one, wanted, report, last=False) for one in tags)
        self._tell_status(ref.familiar_name, report, fresh=list(images) != before)
        return images

    def _tags(self, ref: ImageRef) -> tuple[str, ...]:
        """The tags that the first endpoint to answer has."""
        from contextkernel.registry import repositories

        last: RegistryProblem | ImageNotFound | None = None
        for repository in repositories(ref.registry, ref.repository):
            try:
                return tuple(repository.tags())
            except (RegistryProblem, ImageNotFound) as problem:
                last = problem
        assert last is not None  # noqa: S101 - the registry itself is always the last endpoint
        raise last

    def _pull(self, ref: ImageRef, platform: Platform | None, report: Reporter, *, last: bool = True) -> Digest:
        """One image, with docker's lines."""
        from contextkernel.registry import pull_reference

        before = self._known(ref)
        wanted = platform or Platform.host()
        pulled = pull_reference(
            self._store,
            self._worker(),
            ref,
            platform=wanted,
            report=report,
            step=0,
            named=self._takes_tag(ref),
            announced=True,
        )
        self._note_pulled(ref, wanted, pulled)
        report(StepNote(0, f"Digest: {pulled.digest}"))
        if last:
            self._tell_status(ref.familiar, report, fresh=before != pulled.image)
        self._tell_platform(ref, wanted, pulled.platform, report)
        return pulled.image

    def _tell_status(self, name: str, report: Reporter, *, fresh: bool) -> None:
        state = "Downloaded newer image for" if fresh else "Image is up to date for"
        report(StepNote(0, f"Status: {state} {name}"))

    def _note_pulled(self, ref: ImageRef, wanted: Platform, pulled: Pulled) -> None:
        if wanted == Platform.host():
            self._note_platform(ref, wanted, pulled.image)
        else:  # it may have the tag now, and lose it to the image for this machine
            with suppress(ImageNotFound):  # pruned at once by somebody else
                self._store.remember_platform(ref, wanted, pulled.image)
        self._tell_image.pulled(ref.familiar)

    def _tell_platform(self, ref: ImageRef, wanted: Platform, has: Platform, report: Reporter) -> None:
        if not wanted.takes(has):
            report(
                StepNote(
                    0,
                    f"WARNING: image with reference {ref.familiar} was found but its platform ({has}) does not match "
                    f"the specified platform ({wanted})",
                )
            )

    def _known(self, ref: ImageRef) -> Digest | None:
        try:
            return self._store.resolve(str(ref))
        except ImageNotFound:
            return None

    def _takes_tag(self, ref: ImageRef) -> Callable[[Platform], bool]:
        """Whether a pulled image gets the tag: one for another platform does not take it from one for this."""
        host = Platform.host()

        def ours(has: Platform) -> bool:
            return host.takes(has)

        def takes(has: Platform) -> bool:
            known = self._known(ref)
            if known is None or ours(has):
                return True
            try:
                config = self._store.config(known)
            except (ImageNotFound, StoreProblem):
                return True
            return not ours(Platform.of(config.os, config.architecture, config.variant))

        return takes

    def ensure_bases(self, names: str | Sequence[str], *, report: Reporter | None = None) -> tuple[BaseRow, ...]:
        """Make base images available: present, else pulled, from the pack, bootstrapped, or assembled from the host.

        Returns:
            One row per name that says what was done; stand-ins are marked.
        """
        from contextkernel.build.bases import ensure

        with self._writing():
            return ensure(
                self._store,
                self._worker(),
                tuple(ImageRef.parse(name) for name in several(names)),
                idmap=self._idmap,
                report=report or silent,
            )

    # ---- images to begin with

    def _resolve_base(
        self,
        ref: ImageRef,
        *,
        pull: bool,
        platform: Platform | None = None,
        report: Reporter | None = None,
        alone: bool = False,
    ) -> Digest:
        """The image for a FROM or ``run``: the store's, if it is for the platform; else pulled.

        An image of another platform than this machine's gets no tag, so that ``run`` does not come upon it.

        Args:
            ref: its name.
            pull: ask the registry in any case.
            platform: default this machine's.
            report: receives the events of a pull.
            alone: they belong to no step of a build, and are told with docker's lines.
        """
        host = Platform.host()
        wanted, local = platform or host, None
        if not pull:
            try:
                return self._store.for_platform(ref, wanted)
            except ImageNotFound as problem:
                local = problem
        from contextkernel.registry import pull_image

        report = report or silent
        foreign = (wanted.os, wanted.architecture) != (host.os, host.architecture)
        try:
            if alone:
                if not pull:
                    report(StepNote(0, f"Unable to find image '{ref.familiar}' locally"))
                return self._pull(ref, platform, report)
            found = pull_image(self._store, self._worker(), ref, platform=wanted, report=report, named=not foreign)
            self._note_platform(ref, wanted, found)
            self._tell_image.pulled(ref.familiar)
            return found
        except ImageNotFound as problem:
            problem.hint = problem.hint or self._instead(ref)
            raise
        except RegistryProblem as problem:
            if pull:
                raise
            if local is not None and "in the store is for" in local.problem:
                raise ImageNotFound(
                    f"{local.problem}, and cannot be pulled: {problem.problem}", hint=local.hint
                ) from problem
            raise ImageNotFound(
                f"image {ref.familiar!r} is not in the store and cannot be pulled: {problem.problem}",
                hint=self._instead(ref),
            ) from problem

    def _note_platform(self, ref: ImageRef, wanted: Platform, image: Digest) -> None:
        """Find an image again that is not what its tag stands for, or not what was asked for."""
        try:
            known = self._store.for_platform(ref, wanted)
        except (ImageNotFound, StoreProblem):
            known = None
        if known != image:
            with suppress(ImageNotFound):  # pruned at once by somebody else
                self._store.remember_platform(ref, wanted, image)

    def _instead(self, ref: ImageRef) -> str:
        """What to do without an image that cannot be had."""
        from contextkernel.dockerfile.suggest import nearest

        names: dict[str, str] = {}
        for row in self._store.image_rows():
            names.setdefault(row.repository, f"{row.repository}:{row.tag}")  # the newest
        near = nearest(ref.familiar_name, names)
        if near in names:
            return f"did you mean {names[near]}?"
        return f"`base ensure {ref.familiar}` makes a stand-in where no registry is reachable"
