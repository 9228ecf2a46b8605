"""Build checks of a build: reported as warnings before anything runs, and fatal only when the Dockerfile says so."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import msgspec

from contextkernel.build.reporting import BuildReport
from contextkernel.dockerfile.parse import Reading, assemble
from contextkernel.model.oci import ImageConfig
from contextkernel.plan.checks import Found, Subject, check
from contextkernel.plan.stages import StageGraph
from contextkernel.plan.steps import ImageOrigin


class Checker:
    """Checks one build; what has been reported once is not reported again.

    Args:
        reading: the Dockerfile, as far as it could be read.
        subject: what is known before the base images are.
        report: receives the findings.
    """

    def __init__(self, reading: Reading, subject: Subject, report: BuildReport) -> None:
        self._reading = reading
        self._subject = subject
        self._report = report

    def broken(self) -> None:
        """Report what can be found in a file that cannot be built; its own problem is the caller's to raise."""
        self._look(stages=())

    def stages(self, graph: StageGraph, configs: Mapping[ImageOrigin, ImageConfig], ignore: tuple[str, ...]) -> None:
        """Report what is found in the stages that are built.

        Args:
            graph: they, and their bases.
            configs: of the base images.
            ignore: patterns of the ignore file.

        Raises:
            DockerfileError: there are findings, and the file says that they are errors.
        """
        bases = {
            node.index: configs[node.base]
            for node in graph.stages
            if isinstance(node.base, ImageOrigin) and node.base in configs
        }
        own = assemble(self._reading).stages
        # the instructions of a stage that a named context stands for do not count
        stages = [index for index in graph.needed if graph.stages[index].commands or not own[index].instructions]
        found = self._look(stages=stages, bases=bases, ignore=ignore)
        refusal = found.refusal(self._reading)
        if refusal is not None:
            raise refusal

    def _look(
        self,
        *,
        stages: Collection[int],
        bases: Mapping[int, ImageConfig] | None = None,
        ignore: tuple[str, ...] = (),
    ) -> Found:
        found = check(
            self._reading, msgspec.structs.replace(self._subject, stages=stages, bases=bases or {}, ignore=ignore)
        )
        for finding in found.findings:
            self._report.find(finding, self._reading.source)
        return found
