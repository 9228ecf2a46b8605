"""The verbs of the fake engine that look at Dockerfiles: the real ones, without images."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from contextkernel.testing.fake_calls import FakeCalls

if TYPE_CHECKING:
    from contextkernel.engine.contexts import BuildContext
    from contextkernel.model.checks import CheckReport, Outline, Targets


class FakeChecks(FakeCalls):
    """Checks, outlines and targets need no container; only base images are never known here."""

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
        """The real check."""
        from contextkernel.build.looking import check_file
        from contextkernel.engine.checks import subject_of

        self._note("check", context=context, dockerfile=dockerfile, text=text, target=target, platform=platform)
        reading, subject = subject_of(context, dockerfile, text, build_args, target, platform)
        return check_file(reading, subject, lambda _ref: None, contexts)

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
        """The real outline."""
        from contextkernel.build.looking import outline_file
        from contextkernel.engine.checks import subject_of

        self._note("outline", context=context, dockerfile=dockerfile, text=text, target=target, platform=platform)
        reading, subject = subject_of(context, dockerfile, text, build_args, target, platform)
        return outline_file(reading, subject, lambda _ref: None)

    def targets(
        self, context: BuildContext = ".", *, dockerfile: str | None = None, text: str | None = None
    ) -> Targets:
        """The real list."""
        from contextkernel.dockerfile.parse import assemble
        from contextkernel.engine.checks import subject_of
        from contextkernel.model.checks import Targets
        from contextkernel.plan.checks import list_targets

        self._note("targets", context=context, dockerfile=dockerfile, text=text)
        reading, _ = subject_of(context, dockerfile, text, None, None, None)
        return Targets(rows=list_targets(assemble(reading)), source=reading.source)
