"""Looking at a Dockerfile without building it: nothing is run, nothing is fetched."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import msgspec

from contextkernel.dockerfile.expand import unresolved
from contextkernel.dockerfile.instructions import Arg, Dockerfile, Env
from contextkernel.dockerfile.parse import Reading, assemble
from contextkernel.errors import DockerfileError, InvalidInput
from contextkernel.model.checks import CheckReport, Outline
from contextkernel.model.oci import ImageConfig
from contextkernel.model.reference import ImageRef
from contextkernel.plan.arguments import global_scope, platform_arguments
from contextkernel.plan.checks import Subject, check, outline
from contextkernel.plan.named import parse_contexts
from contextkernel.plan.stage import Facts, StagePlan, StageState, from_image, from_scratch, from_stage, plan_stage
from contextkernel.plan.stages import StageGraph, StageNode, build_graph
from contextkernel.plan.steps import ImageOrigin, StageOrigin

Find = Callable[[ImageRef], ImageConfig | None]
"""The configuration of an image that is here; ``None`` for one that is not."""

_UNDEFINED = "UndefinedVar"


def check_file(
    reading: Reading, subject: Subject, find: Find, contexts: Mapping[str, str] | None = None
) -> CheckReport:
    """Check a Dockerfile, and see whether it could be built.

    Args:
        reading: the Dockerfile, as far as it could be read.
        subject: how it would be built; without a target all stages are looked into.
        find: looks base images up.
        contexts: named contexts; the instructions of a stage that one of them stands for do not count.

    Raises:
        InvalidInput: there is no such target, or a context or the build argument with the options is malformed.
    """
    problem, unknown, needed = None, tuple[str, ...](), None
    plan: _Plan | None = None
    if reading.problem is None:
        try:
            plan = _Plan(assemble(reading), subject, find, contexts or {})
            subject = msgspec.structs.replace(subject, bases=plan.bases)
            needed = plan.stages(all_of_them=not subject.target)
            unknown = plan.unknown(needed)
        except DockerfileError as error:
            problem = error
    found = check(reading, msgspec.structs.replace(subject, stages=needed))
    problem = found.problem or problem or (plan.problem(needed) if plan else None)
    doubtful = any(finding.rule == _UNDEFINED for finding in found.findings)
    if problem is not None and plan is not None and plan.doubts(problem):
        problem, doubtful = None, True
    problem = problem or found.refusal(reading)
    return CheckReport(
        file=reading.file,
        source=reading.source,
        findings=found.findings,
        problem=problem,
        notes=tuple(
            f"the base image {name} is not in the store: what it sets is not known, and counts as undefined"
            for name in (unknown if doubtful else ())
        ),
    )


def outline_file(reading: Reading, subject: Subject, find: Find) -> Outline:
    """What the target takes; see :func:`contextkernel.plan.checks.outline.outline`.

    Args:
        reading: the Dockerfile.
        subject: how it would be built.
        find: looks base images up.

    Raises:
        DockerfileError: it cannot be built. InvalidInput: there is no such target.
    """
    dockerfile = assemble(reading)
    bases = _Plan(dockerfile, subject, find, {}).bases
    return outline(dockerfile, msgspec.structs.replace(subject, bases=bases))


class _Plan:
    """The stages of a file with what is known of their bases.

    Raises:
        DockerfileError: a FROM or ``--from`` that leads nowhere.
    """

    def __init__(self, dockerfile: Dockerfile, subject: Subject, find: Find, contexts: Mapping[str, str]) -> None:
        start = platform_arguments(
            subject.build_platform, subject.platform, subject.target or dockerfile.stages[-1].name, subject.build_args
        )
        scope = global_scope(dockerfile, subject.build_args, start)
        named = parse_contexts(contexts, subject.platform).origins
        graph = build_graph(dockerfile, scope=scope, target=subject.target, contexts=named)
        images: dict[ImageOrigin, ImageConfig] = {}
        for node in graph.stages:
            if isinstance(node.base, ImageOrigin):
                config = find(node.base.ref)
                if config is not None:
                    images[node.base] = config
        self._images = images
        self._facts = Facts(dockerfile=dockerfile, scope=scope, build_args=subject.build_args)
        self.graph: StageGraph = build_graph(
            dockerfile, scope=scope, target=subject.target, images=images, contexts=named
        )

    def stages(self, *, all_of_them: bool) -> tuple[int, ...]:
        """The stages to look into, without those that a named context stands for."""
        own = self._facts.dockerfile.stages
        return tuple(
            node.index
            for node in self.graph.stages
            if (all_of_them or node.index in self.graph.needed) and (node.commands or not own[node.index].instructions)
        )

    @property
    def bases(self) -> Mapping[int, ImageConfig]:
        """The configurations that are known, by the position of the stage."""
        return {
            node.index: self._images[node.base]
            for node in self.graph.stages
            if isinstance(node.base, ImageOrigin) and node.base in self._images
        }

    def unknown(self, stages: tuple[int, ...] | None) -> tuple[str, ...]:
        """The names of the base images that are not here."""
        names = {
            node.base.ref.familiar: None
            for node in self.graph.stages
            if isinstance(node.base, ImageOrigin)
            and node.base not in self._images
            and (stages is None or node.index in stages)
        }
        return tuple(names)

    def doubts(self, problem: DockerfileError) -> bool:
        """Whether a problem may be there only because a base image, and with it a variable, is not known."""
        for node in self.graph.stages:
            for command in node.commands:
                if command.span == problem.span:
                    return self._on_unknown(node) and self._uses_others(command.instruction.original)
        return False

    def _uses_others(self, text: str) -> bool:
        """Whether ``text`` uses variables that the file does not set itself."""
        dockerfile = self._facts.dockerfile
        own: set[str] = set()
        for stage in dockerfile.stages:
            for one in stage.instructions:
                if isinstance(one, Env):
                    own |= {pair.key for pair in one.pairs}
                elif isinstance(one, Arg):
                    own |= {item.name for item in one.items}
        try:
            return not own.issuperset(unresolved(text, escape=dockerfile.directives.escape))
        except InvalidInput:
            return False

    def _on_unknown(self, node: StageNode) -> bool:
        while isinstance(node.base, StageOrigin):
            node = self.graph.stages[node.base.index]
        return isinstance(node.base, ImageOrigin) and node.base not in self._images

    def problem(self, stages: tuple[int, ...] | None) -> DockerfileError | None:
        """Why a stage cannot be planned, if one cannot."""
        plans: dict[int, StagePlan] = {}
        try:
            for node in self.graph.stages:
                if stages is None or node.index in stages:
                    plans[node.index] = plan_stage(node, self._start(node.base, plans), self._facts)
        except DockerfileError as problem:
            return problem
        return None

    def _start(self, base: object, plans: Mapping[int, StagePlan]) -> StageState:
        match base:
            case StageOrigin(index=index) if index in plans:
                return from_stage(plans[index].state)
            case ImageOrigin() if base in self._images:
                return from_image(self._images[base])
            case _:
                return from_scratch()
