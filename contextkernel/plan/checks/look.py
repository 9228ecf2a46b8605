"""All checks of one Dockerfile, in BuildKit's order (``toDispatchState`` in ``dockerfile2llb/convert.go``)."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import msgspec

from contextkernel.dockerfile.check_options import read_check_options
from contextkernel.dockerfile.comments import comments_before
from contextkernel.dockerfile.expand import process
from contextkernel.dockerfile.instructions import CheckDirective, Dockerfile, Instruction, Onbuild, Stage
from contextkernel.dockerfile.parse import Reading, assemble, parse_trigger
from contextkernel.errors import DockerfileError, InvalidInput
from contextkernel.model.checks import RuleFinding
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.plan.arguments import global_scope, platform_arguments
from contextkernel.plan.checks import base_checks, text_checks
from contextkernel.plan.checks.settings import Collector
from contextkernel.plan.checks.stage_checks import Inherited, StageFacts, StageWalk
from contextkernel.plan.stage import DEFAULT_PATH

ARGUMENT = "BUILDKIT_DOCKERFILE_CHECK"
"""The build argument that takes the place of the ``# check=`` directive."""


class Subject(msgspec.Struct, frozen=True, kw_only=True):
    """What a Dockerfile is checked with.

    Attributes:
        build_args: ``--build-arg`` values.
        build_platform: where the build runs.
        platform: what it builds for.
        target: name of the stage to build; ``None`` for the last.
        stages: positions of the stages to look into; ``None`` for all of them.
        bases: configurations of base images by the position of the stage; those that are not known are left out.
        ignore: patterns of the ignore file.
    """

    build_args: Mapping[str, str] = {}
    build_platform: Platform
    platform: Platform
    target: str | None = None
    stages: Collection[int] | None = None
    bases: Mapping[int, ImageConfig] = {}
    ignore: tuple[str, ...] = ()


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks came to.

    Attributes:
        findings: in the order of BuildKit's checks.
        problem: why there is no more to check, if the file cannot be built.
        fatal: findings are to fail the build (``error=true``).
    """

    findings: tuple[RuleFinding, ...]
    problem: DockerfileError | None = None
    fatal: bool = False

    def refusal(self, reading: Reading) -> DockerfileError | None:
        """The error for findings that fail the build; ``None`` if they do not."""
        if not self.fatal or not self.findings:
            return None
        rules = ", ".join(sorted({finding.rule for finding in self.findings}))
        return DockerfileError(
            f"lint violation found for rules: {rules}",
            hint="put right what the warnings say, or leave error=true out of the check directive",
            span=self.findings[0].span,
            source=reading.source,
        )


def check(reading: Reading, subject: Subject) -> Found:
    """Check a Dockerfile.

    Args:
        reading: as far as it could be read.
        subject: what else is known.

    Raises:
        InvalidInput: the build argument with the options is malformed.
    """
    options = check_options(reading.directives.check, subject.build_args)
    spans = [instruction.span for instruction in reading.instructions]
    found = Collector(options, comments_before(reading.source, spans))
    text_checks.check_instructions(reading, found)
    problem = reading.problem
    if problem is None:
        try:
            _check_stages(assemble(reading), subject, found)
        except DockerfileError as error:
            problem = error
    return Found(findings=tuple(found.findings), problem=problem, fatal=found.fatal)


def check_options(directive: CheckDirective | None, build_args: Mapping[str, str]) -> CheckDirective | None:
    """The options in force: the build argument's, else the directive's.

    Raises:
        InvalidInput: the build argument is malformed.
    """
    if ARGUMENT not in build_args:
        return directive
    try:
        return read_check_options(build_args[ARGUMENT])
    except InvalidInput as problem:
        raise InvalidInput(f"build argument {ARGUMENT}: {problem.problem}", hint=problem.hint) from None


def _check_stages(dockerfile: Dockerfile, subject: Subject, found: Collector) -> None:
    text_checks.check_stage_names(dockerfile, found)
    text_checks.check_casing(dockerfile, found)
    target = subject.target or dockerfile.stages[-1].name
    start = platform_arguments(subject.build_platform, subject.platform, target, subject.build_args)
    base_checks.check_default_bases(dockerfile, start, found)
    scope = global_scope(dockerfile, subject.build_args, start)
    names = [base_checks.check_base(stage, dockerfile, scope, found) for stage in dockerfile.stages]
    chosen = range(len(dockerfile.stages)) if subject.stages is None else sorted(subject.stages)
    for index in chosen:
        _check_image(dockerfile.stages[index], names[index], scope, subject, found)
    facts = StageFacts(dockerfile=dockerfile, scope=scope, build_args=subject.build_args, ignore=subject.ignore)
    ends: dict[int, Inherited] = {}
    for index in chosen:
        stage = dockerfile.stages[index]
        parent = _parent(dockerfile, stage, names[index])
        if parent is not None and parent.index in ends:
            inherited = ends[parent.index]
        else:  # of a parent that is not looked into its base may be known
            inherited = inherited_by(subject.bases.get(index if parent is None else parent.index))
        walk = StageWalk(inherited, facts, found)
        for trigger in triggers_of(parent, subject.bases.get(index)):
            walk.visit(trigger, stage.base.span)
        for instruction in stage.instructions:
            walk.visit(instruction)
        ends[index] = walk.end


def _parent(dockerfile: Dockerfile, stage: Stage, name: str) -> Stage | None:
    """The earlier stage that ``stage`` is based on; of several of one name the last."""
    return next((one for one in reversed(dockerfile.stages[: stage.index]) if one.name == name), None)


def _check_image(stage: Stage, name: str, scope: Mapping[str, str], subject: Subject, found: Collector) -> None:
    config = subject.bases.get(stage.index)
    if config is None:
        return
    wanted = subject.platform
    if stage.base.platform is not None:
        try:
            wanted = Platform.parse(process(stage.base.platform, scope).text)
        except InvalidInput:
            return  # the build itself fails of it
    actual = Platform(config.os, config.architecture, config.variant or None)
    base_checks.check_base_platform(stage, name, wanted, actual, found)


def inherited_by(config: ImageConfig | None) -> Inherited:
    """What a stage starts with on an image; ``None`` for ``scratch`` and for an image that is not known."""
    env = {"PATH": DEFAULT_PATH}
    if config is not None:
        env |= {name: value for name, _, value in (item.partition("=") for item in config.config.env or ())}
    return Inherited(env=env, shell=bool(config and config.config.shell))


def triggers_of(parent: Stage | None, config: ImageConfig | None) -> Iterator[Instruction]:
    """The ONBUILD triggers that a stage sets off: of the stage or the image that it is based on."""
    if parent is not None:
        for instruction in parent.instructions:
            if isinstance(instruction, Onbuild):
                yield instruction.instruction or parse_trigger(instruction.expression)
    elif config is not None:
        for text in config.config.on_build or ():
            yield parse_trigger(text)
