"""Verbs that look at a Dockerfile without building it: check, outline, targets."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING

from contextkernel.engine.composition import Composition
from contextkernel.errors import ImageNotFound, InvalidInput, SourceNotFound

if TYPE_CHECKING:
    from contextkernel.dockerfile.parse import Reading
    from contextkernel.engine.contexts import BuildContext
    from contextkernel.model.checks import CheckReport, Outline, Targets
    from contextkernel.model.oci import ImageConfig
    from contextkernel.model.reference import ImageRef
    from contextkernel.plan.checks import Subject


class Checks(Composition):
    """Looking at Dockerfiles. Nothing is run, and no image is fetched: what the store has is what is known."""

    def check(
        self,
        context: BuildContext = ".",
        *,
        dockerfile: str | None = None,
        text: str | None = None,
        build_args: Mapping[str, str | None] | None = None,
        target: str | None = None,
        platform: str | None = None,
        contexts: Mapping[str, str] | None = None,
    ) -> CheckReport:
        """Look a Dockerfile through for what is likely a mistake.

        Args:
            context: directory of files for COPY and ADD; its ignore file is looked at. A dict of file name to text or
                bytes, ``None`` for none; of a URL or an archive nothing is looked at, so it needs ``text``.
            dockerfile: path of the Dockerfile; default ``Dockerfile`` in the context.
            text: the Dockerfile itself; then no file is read.
            build_args: values for ARG; ``None`` takes the caller's environment variable.
            target: look into this stage and what it needs; default all stages.
            platform: to build for, e.g. ``linux/arm64``; default the host's.
            contexts: named contexts, as for :meth:`build`; only their names and images are looked at.

        Returns:
            The findings, and why the file cannot be built, if it cannot.

        Raises:
            SourceNotFound: there is no such file. InvalidInput: there is no such target.
        """
        from contextkernel.build.looking import check_file

        reading, subject = subject_of(context, dockerfile, text, build_args, target, platform)
        return check_file(reading, subject, self._known_config, contexts)

    def outline(
        self,
        context: BuildContext = ".",
        *,
        dockerfile: str | None = None,
        text: str | None = None,
        build_args: Mapping[str, str | None] | None = None,
        target: str | None = None,
        platform: str | None = None,
    ) -> Outline:
        """What a target takes: build arguments with their values, secrets, SSH agents, cache mounts.

        Args:
            context, dockerfile, text, build_args, platform: as for :meth:`check`.
            target: the stage; default the last.

        Raises:
            DockerfileError: the file cannot be built. SourceNotFound, InvalidInput: as for :meth:`check`.
        """
        from contextkernel.build.looking import outline_file

        reading, subject = subject_of(context, dockerfile, text, build_args, target, platform)
        return outline_file(reading, subject, self._known_config)

    def targets(
        self, context: BuildContext = ".", *, dockerfile: str | None = None, text: str | None = None
    ) -> Targets:
        """The stages of a Dockerfile, with the descriptions that comments give them.

        Args:
            context, dockerfile, text: as for :meth:`check`.

        Raises:
            DockerfileError: it is not a Dockerfile. SourceNotFound: there is no such file.
        """
        from contextkernel.dockerfile.parse import assemble
        from contextkernel.model.checks import Targets
        from contextkernel.plan.checks import list_targets

        reading, _ = subject_of(context, dockerfile, text, None, None, None)
        return Targets(rows=list_targets(assemble(reading)), source=reading.source)

    def _known_config(self, ref: ImageRef) -> ImageConfig | None:
        try:
            return self._store.config(self._store.resolve(str(ref)))
        except ImageNotFound:
            return None


def subject_of(
    context: BuildContext,
    dockerfile: str | None,
    text: str | None,
    build_args: Mapping[str, str | None] | None,
    target: str | None,
    platform: str | None,
) -> tuple[Reading, Subject]:
    """The Dockerfile, and how it would be built.

    Raises:
        SourceNotFound: there is no Dockerfile. InvalidInput: the ignore file, the platform or the context is none.
    """
    from contextkernel.build.sources import read_dockerfile, read_ignore
    from contextkernel.dockerfile.ignore import IgnoreMatcher, parse_ignore
    from contextkernel.dockerfile.parse import read_instructions
    from contextkernel.model.platform import Platform
    from contextkernel.plan.checks import Subject

    directory, text = _directory_of(context, dockerfile, text)
    source, name = read_dockerfile(directory, dockerfile, text)
    patterns: tuple[str, ...] = ()
    ignore = read_ignore(os.path.abspath(directory), name) if directory is not None else None
    if ignore:
        patterns = parse_ignore(ignore[0])
        try:
            IgnoreMatcher(patterns)
        except InvalidInput as problem:
            raise InvalidInput(f"{ignore[1]}: {problem.problem}", hint=problem.hint) from None
    given = {key: os.environ.get(key) if value is None else value for key, value in (build_args or {}).items()}
    return read_instructions(source, file=name), Subject(
        build_args={key: value for key, value in given.items() if value is not None},
        build_platform=Platform.host(),
        platform=Platform.parse(platform) if platform else Platform.host(),
        target=target,
        ignore=patterns,
    )


def _directory_of(context: BuildContext, dockerfile: str | None, text: str | None) -> tuple[str | None, str | None]:
    """The directory and the Dockerfile's text; what is not a directory has no ignore file, as in BuildKit."""
    from contextkernel.build.opening import checked_files
    from contextkernel.engine.contexts import is_remote_context

    if context is None:
        return None, text
    if isinstance(context, Mapping):
        files = checked_files(context, "the context")
        name = dockerfile or "Dockerfile"
        if text is None and name not in files:
            raise SourceNotFound(f"there is no {name} in the context", hint="name the Dockerfile with -f")
        return None, files[name].decode("utf-8", "surrogateescape") if text is None else text
    if isinstance(context, str | os.PathLike) and not is_remote_context(os.fspath(context)):
        return os.fspath(context), text
    if text is None:
        raise InvalidInput(
            "only a Dockerfile of this machine can be looked at", hint="give a directory, or the Dockerfile itself"
        )
    return None, text
