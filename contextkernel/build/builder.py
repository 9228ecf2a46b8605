"""The builder: from a request to its outputs, with what it was given."""

from __future__ import annotations

from contextlib import ExitStack

from contextkernel.build.executor import Build
from contextkernel.build.means import Means
from contextkernel.build.reporting import BuildReport
from contextkernel.build.request import BuildRequest
from contextkernel.model.ports import Reporter
from contextkernel.model.results import BuildResult


class Builder(Means):
    """Builds images with what it is given; knows neither registries nor namespaces itself.

    Args: see :class:`~contextkernel.build.means.Means`.
    """

    def build(self, request: BuildRequest, report: Reporter) -> BuildResult:
        """Build.

        Args:
            request: what to build.
            report: receives the events of :mod:`contextkernel.model.events`.

        Raises:
            DockerfileError: the text cannot be built; nothing was run.
            InvalidInput: a target or network that does not exist.
            SourceNotFound: a COPY source is missing; nothing was run if it should be in the context.
            ImageNotFound: a base image cannot be had.
            StepFailed: a program failed; the steps before it stay cached.
            KeyboardInterrupt, anything else: the running step was killed and its files are gone.
        """
        with ExitStack() as stack:
            return Build(self, request, BuildReport(report), stack).run()
