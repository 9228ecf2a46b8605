"""The stages of a Dockerfile as a graph: what each is based on, what it copies from, which are needed.

Images that are based on or copied from may carry ONBUILD triggers, so the graph is made from what is known of
them so far: :func:`build_graph` names the images it lacks, and is called again with more. Source of the rules:
``dockerfile2llb/convert.go`` (``buildDispatchStates``, ``toCommand``, ``initOnBuildTriggers``).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import msgspec
from msgspec.structs import replace

from contextkernel.dockerfile import parse_trigger, unresolved
from contextkernel.dockerfile.instructions import (
    Add,
    Copy,
    Dockerfile,
    From,
    Instruction,
    Onbuild,
    Run,
    Stage,
    Workdir,
)
from contextkernel.dockerfile.suggest import closest, did_you_mean
from contextkernel.errors import DockerfileError, InvalidInput, InvalidReference, Span
from contextkernel.model.oci import ImageConfig
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef
from contextkernel.plan.arguments import Expander, expander
from contextkernel.plan.named import context_name
from contextkernel.plan.remote import GitOrigin, HttpOrigin
from contextkernel.plan.steps import Base, ContextOrigin, ImageOrigin, ScratchOrigin, StageOrigin

_SCRATCH = "scratch"


class Command(msgspec.Struct, frozen=True, kw_only=True):
    """An instruction in its stage.

    Attributes:
        instruction: what is to be done.
        span: where; for a trigger the FROM that set it off.
        trigger: it comes from an ONBUILD of the base.
        origins: what it copies or mounts from, besides the build context.
    """

    instruction: Instruction
    span: Span
    trigger: bool = False
    origins: tuple[Base, ...] = ()


class StageNode(msgspec.Struct, frozen=True, kw_only=True):
    """One stage.

    Attributes:
        index: position in the file.
        name: from ``AS``, lower case.
        shown: what progress shows for it: its name, ``stage-N``, or nothing if it is the only one.
        base: what it starts from.
        span: its FROM.
        commands: triggers of the base first.
        total: number of steps that progress counts.
    """

    index: int
    name: str | None
    shown: str
    base: Base
    span: Span
    original: str
    commands: tuple[Command, ...]
    total: int

    @property
    def origins(self) -> tuple[Base, ...]:
        """Everything it needs: its base, and what its commands copy from."""
        return (self.base, *(origin for command in self.commands for origin in command.origins))


class StageGraph(msgspec.Struct, frozen=True, kw_only=True):
    """All stages, and the way through them.

    Attributes:
        stages: in the order of the file.
        target: the stage to build.
        needed: positions of the stages that the target needs, itself last, in the order of the file.
        images: images that the needed stages use, each once, in order of appearance.
    """

    stages: tuple[StageNode, ...]
    target: int
    needed: tuple[int, ...]
    images: tuple[ImageOrigin, ...]

    def missing(self, known: Mapping[ImageOrigin, object]) -> tuple[ImageOrigin, ...]:
        """Images that are used and not in ``known``."""
        return tuple(image for image in self.images if image not in known)

    def place(self, image: ImageOrigin) -> Span:
        """Where the image is first used."""
        for index in self.needed:
            stage = self.stages[index]
            if stage.base == image:
                return stage.span
            for command in stage.commands:
                if image in command.origins:
                    return command.span
        raise KeyError(image)

    def names(self) -> tuple[str, ...]:
        """The names given by ``AS``."""
        return tuple(stage.name for stage in self.stages if stage.name)


def find_target(dockerfile: Dockerfile, target: str | None) -> Stage:
    """The stage to build: by name, or the last. A position is none, as with BuildKit since it has named targets only.

    Raises:
        InvalidInput: there is no such stage.
    """
    if not target:
        return dockerfile.stages[-1]
    for stage in reversed(dockerfile.stages):
        if stage.name == target.lower():
            return stage
    names = [stage.name for stage in dockerfile.stages if stage.name]
    raise InvalidInput(
        f"target stage {target!r} is not in {dockerfile.file}",
        hint=did_you_mean(target, names) or "give a stage its name with FROM ... AS NAME",
    )


def build_graph(
    dockerfile: Dockerfile,
    *,
    scope: Mapping[str, str],
    target: str | None = None,
    images: Mapping[ImageOrigin, ImageConfig] | None = None,
    contexts: Mapping[str, Base] | None = None,
) -> StageGraph:
    """Make the graph.

    Args:
        dockerfile: the parsed text.
        scope: the global scope, for FROM lines.
        target: stage to build, the last by default.
        images: configurations of the images known so far; their ONBUILD triggers take part.
        contexts: named contexts by their name (:func:`contextkernel.plan.named.context_name`): each stands for the
            stage of that name, else for the image of that name, wherever one is used.

    Raises:
        DockerfileError: a FROM or ``--from`` that leads nowhere. InvalidInput: no such target.
    """
    wanted = find_target(dockerfile, target)
    maker = _Maker(dockerfile, scope, images or {}, contexts or {})
    single = len(dockerfile.stages) == 1 and not any(maker.extra_states(stage) for stage in dockerfile.stages)
    nodes: list[StageNode] = []
    for stage in dockerfile.stages:
        nodes.append(maker.node(stage, nodes, shown="" if single else stage.name or f"stage-{stage.index}"))
    needed = _reach(nodes, wanted.index)
    maker.refuse_later([nodes[index] for index in needed])
    found: dict[ImageOrigin, None] = {}
    for index in needed:
        for origin in nodes[index].origins:
            if isinstance(origin, ImageOrigin):
                found[origin] = None
    return StageGraph(stages=tuple(nodes), target=wanted.index, needed=needed, images=tuple(found))


def _reach(nodes: list[StageNode], target: int) -> tuple[int, ...]:
    seen: set[int] = set()
    waiting = [target]
    while waiting:
        index = waiting.pop()
        if index not in seen:
            seen.add(index)
            waiting += [origin.index for origin in nodes[index].origins if isinstance(origin, StageOrigin)]
    return tuple(sorted(seen))


class _Maker:
    """Makes nodes; what it reads never changes."""

    def refuse_later(self, nodes: Iterable[StageNode]) -> None:
        """Raise for a stage that copies from itself or from a later one; where nobody needs it, it may (BuildKit)."""
        for node in nodes:
            for command in node.commands:
                for origin in command.origins:
                    if isinstance(origin, StageOrigin) and origin.index >= node.index:
                        stage = self._dockerfile.stages[origin.index]
                        name = stage.name or str(stage.index)
                        raise self._problem(
                            f"--from={name}: stage {name!r} must be defined before the stage that copies from it",
                            command.span,
                            hint="move its FROM, and what follows, further up"
                            if origin.index > node.index
                            else "a stage cannot copy from itself: use RUN cp",
                        )

    def __init__(
        self,
        dockerfile: Dockerfile,
        scope: Mapping[str, str],
        images: Mapping[ImageOrigin, ImageConfig],
        contexts: Mapping[str, Base],
    ) -> None:
        self._dockerfile = dockerfile
        self._scope = scope
        self._images = images
        self._contexts = contexts

    def node(self, stage: Stage, earlier: list[StageNode], *, shown: str) -> StageNode:
        replaced = self._contexts.get(stage.name) if stage.name else None
        if replaced is not None:  # the stage's own instructions do not count then
            return StageNode(
                index=stage.index,
                name=stage.name,
                shown=shown,
                base=replaced,
                span=stage.base.span,
                original=stage.base.original,
                commands=(),
                total=int(isinstance(replaced, ImageOrigin)),
            )
        base = self._base(stage, earlier)
        triggers = tuple(self._command(trigger, stage, trigger=True) for trigger in self._triggers(stage, base))
        own = tuple(self._command(instruction, stage) for instruction in stage.instructions)
        total = len(triggers) + sum(isinstance(command.instruction, Add | Copy | Run | Workdir) for command in own)
        return StageNode(
            index=stage.index,
            name=stage.name,
            shown=shown,
            base=base,
            span=stage.base.span,
            original=stage.base.original,
            commands=triggers + own,
            total=total + (not isinstance(base, StageOrigin | ScratchOrigin)),
        )

    def extra_states(self, stage: Stage) -> bool:
        """BuildKit counts each image copied from, and each mount, as one more stage when it decides on prefixes."""
        return any(
            (isinstance(one, Run) and one.mounts)
            or (isinstance(one, Copy) and one.source is not None and self._stage_named(one.source) is None)
            for one in stage.instructions
        )

    def _base(self, stage: Stage, earlier: list[StageNode]) -> Base:
        instruction = stage.base
        expand_word = expander(self._dockerfile, instruction.span)
        name = expand_word(instruction.image, self._scope)
        if not name:
            raise self._problem(
                f"FROM {instruction.image}: the base name is empty",
                instruction.span,
                hint="give the ARG before FROM a default, or pass it with --build-arg",
            )
        platform = self._platform(instruction, expand_word) if instruction.platform is not None else None
        for node in reversed(earlier):
            if node.name == name:
                return StageOrigin(node.index)
        if name == _SCRATCH:
            return ScratchOrigin()
        ref = self._reference(name, instruction.span, earlier)
        given = self._contexts.get(context_name(ref))
        if given is None:
            return ImageOrigin(ref, platform)
        return replace(given, platform=platform) if isinstance(given, ImageOrigin) and platform else given

    def _platform(self, instruction: From, expand_word: Expander) -> Platform:
        """What ``--platform`` asks for; it must be right even where it means nothing, as with ``scratch``."""
        word = instruction.platform or ""
        text = expand_word(word, self._scope)
        if not text:
            names = unresolved(word, self._scope, escape=self._dockerfile.directives.escape)
            near = closest(names[0], self._scope) if names else None
            raise self._problem(
                f"FROM --platform={word}: the platform is empty",
                instruction.span,
                hint=f"did you mean ${near}?" if near else "e.g. --platform=$BUILDPLATFORM",
            )
        try:
            return Platform.parse(text)
        except InvalidInput as problem:
            raise self._problem(problem.problem, instruction.span, hint=problem.hint) from None

    def _reference(self, text: str, span: Span, earlier: list[StageNode]) -> ImageRef:
        try:
            return ImageRef.parse(text)
        except InvalidReference as problem:
            near = did_you_mean(text, [node.name for node in earlier if node.name])
            raise self._problem(problem.problem, span, hint=near or problem.hint) from None

    def _triggers(self, stage: Stage, base: Base) -> Iterator[Instruction]:
        match base:
            case StageOrigin(index):
                for one in self._dockerfile.stages[index].instructions:
                    if isinstance(one, Onbuild):
                        yield one.instruction or parse_trigger(one.expression)
            case ImageOrigin():
                config = self._images.get(base)
                for text in (config.config.on_build if config else None) or ():
                    try:
                        yield parse_trigger(text)
                    except DockerfileError as problem:
                        raise self._problem(
                            f"ONBUILD trigger {text!r} of {base.ref.familiar}: {problem.problem}", stage.base.span
                        ) from None
            case ScratchOrigin() | ContextOrigin() | HttpOrigin() | GitOrigin():
                return

    def _command(self, instruction: Instruction, stage: Stage, *, trigger: bool = False) -> Command:
        span = stage.base.span if trigger else instruction.span
        origins: tuple[Base, ...] = ()
        match instruction:
            case Copy(source=str(source)):
                origins = (self._origin(source, stage, span),)
            case Run(mounts=mounts):
                named = [mount.source_stage for mount in mounts]
                origins = tuple(self._mounted(name, stage, span) for name in named if name is not None)
            case _:
                pass
        return Command(instruction=instruction, span=span, trigger=trigger, origins=origins)

    def _mounted(self, text: str, stage: Stage, span: Span) -> Base:
        """The origin of a mount: as for COPY, but that stages go by their names only (``detectRunMount``)."""
        if text.isascii() and text.isdigit():
            raise self._problem(
                f"RUN --mount=from={text}: stages have no numbers here",
                span,
                hint="give the stage a name with FROM ... AS NAME, and mount from that",
            )
        return self._origin(text, stage, span)

    def _stage_named(self, text: str) -> Stage | None:
        for stage in reversed(self._dockerfile.stages):
            if stage.name == text.lower():
                return stage
        return None

    def _origin(self, text: str, stage: Stage, span: Span) -> Base:
        if "$" in text:
            raise self._problem(
                f"--from={text}: variables are not expanded in --from",
                span,
                hint="define a stage with FROM, which does expand them, and copy from that",
            )
        stages = self._dockerfile.stages
        if text.isascii() and text.isdigit():
            if int(text) >= len(stages):
                raise self._problem(
                    f"--from={text}: there is no stage {text}", span, hint=f"stages are numbered 0 to {len(stages) - 1}"
                )
            found: Stage | None = stages[int(text)]
        else:
            found = next((s for s in reversed(stages[: stage.index]) if s.name == text.lower()), None)
            found = found or self._stage_named(text)
        if found is not None:
            # one that comes later is wrong only if this stage is needed: see :meth:`_Maker.refuse_later`
            return StageOrigin(found.index)
        if text == _SCRATCH:
            return ScratchOrigin()
        names = [s.name for s in stages[: stage.index] if s.name]
        try:
            ref = ImageRef.parse(text)
            return self._contexts.get(context_name(ref)) or ImageOrigin(ref)
        except InvalidReference as problem:
            names += [name for name in self._contexts if name not in names]
            raise self._problem(
                f"--from={text}: {problem.problem}", span, hint=did_you_mean(text, names) or problem.hint
            ) from None

    def _problem(self, text: str, span: Span, *, hint: str | None = None) -> DockerfileError:
        return DockerfileError(text, hint=hint, span=span, source=self._dockerfile.source)
