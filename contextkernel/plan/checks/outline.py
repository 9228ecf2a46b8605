"""What a target takes, and which targets there are (``outline.go``, ``ListTargets`` in ``convert.go``)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TypeVar

import msgspec

from contextkernel.dockerfile.comments import comments_before, description
from contextkernel.dockerfile.expand import process
from contextkernel.dockerfile.instructions import Arg, Dockerfile, Instruction, Run
from contextkernel.dockerfile.mounts import CacheMount, Mount, SecretMount, SshMount, resolve_mount
from contextkernel.errors import DockerfileError, InvalidInput, Span
from contextkernel.model.checks import Outline, OutlineArgument, OutlineMount, TargetRow
from contextkernel.plan.arguments import global_scope, platform_arguments
from contextkernel.plan.checks.look import Subject, inherited_by, triggers_of
from contextkernel.plan.checks.settings import Collector
from contextkernel.plan.checks.stage_checks import Inherited, StageFacts, StageWalk
from contextkernel.plan.stages import StageGraph, build_graph
from contextkernel.plan.steps import StageOrigin

_Named = TypeVar("_Named", OutlineArgument, OutlineMount)


def list_targets(dockerfile: Dockerfile) -> tuple[TargetRow, ...]:
    """The stages, in the order of the file."""
    comments = comments_before(dockerfile.source, [one.span for one in instructions_of(dockerfile)])
    last = len(dockerfile.stages) - 1
    return tuple(
        TargetRow(
            name=stage.name or "",
            default=stage.index == last,
            description=description(comments.get(stage.base.span.line, ()), stage.name),
            base=stage.base.image,
            platform=stage.base.platform or "",
            line=stage.base.span.line,
        )
        for stage in dockerfile.stages
    )


def instructions_of(dockerfile: Dockerfile) -> Iterator[Instruction]:
    """All instructions, in the order of the file."""
    yield from dockerfile.global_args
    for stage in dockerfile.stages:
        yield stage.base
        yield from stage.instructions


def outline(dockerfile: Dockerfile, subject: Subject) -> Outline:
    """What the target takes: build arguments, secrets, SSH agents and caches of its stage and of those it needs.

    Args:
        dockerfile: the parsed text.
        subject: what else is known; ``stages`` does not count.

    Raises:
        DockerfileError: the file cannot be built. InvalidInput: there is no such target.
    """
    start = platform_arguments(
        subject.build_platform, subject.platform, subject.target or dockerfile.stages[-1].name, subject.build_args
    )
    scope = global_scope(dockerfile, subject.build_args, start)
    graph = build_graph(dockerfile, scope=scope, target=subject.target)
    comments = comments_before(dockerfile.source, [one.span for one in instructions_of(dockerfile)])
    declared = _global_arguments(dockerfile, subject.build_args, start, comments)
    facts = StageFacts(dockerfile=dockerfile, scope=scope, build_args=subject.build_args)
    walks: dict[int, _Walk] = {}
    for index in graph.needed:
        walks[index] = _walk(index, graph, facts, subject, walks, comments, declared)
    order = tuple(_in_order(graph, graph.target, set()))
    target = dockerfile.stages[graph.target]
    return Outline(
        target=target.name or "",
        description=description(comments.get(target.base.span.line, ()), target.name),
        arguments=_unique((one for index in order for one in walks[index].used()), lambda one: one.name),
        secrets=_unique((one for index in order for one in walks[index].secrets), lambda one: one.id),
        ssh=_unique((one for index in order for one in walks[index].ssh), lambda one: one.id),
        source=dockerfile.source,
        caches=_unique((one for index in order for one in walks[index].caches), lambda one: one.id),
    )


class _Declared(msgspec.Struct, frozen=True):
    """An ARG, and the other ones that its default is made of."""

    argument: OutlineArgument
    made_of: frozenset[str] = frozenset()


def _global_arguments(
    dockerfile: Dockerfile,
    build_args: Mapping[str, str],
    start: Mapping[str, str],
    comments: Mapping[int, tuple[str, ...]],
) -> dict[str, _Declared]:
    """The ARGs before the first FROM; :func:`global_scope` has found them to be right."""
    scope, found = dict(start), dict[str, _Declared]()
    for instruction in dockerfile.global_args:
        line = instruction.span.line
        for item in instruction.items:
            value, made_of = item.default, frozenset[str]()
            if item.name in build_args:
                value = build_args[item.name]
            elif value is not None:
                expansion = process(value, scope, escape=dockerfile.directives.escape)
                value, made_of = expansion.text, expansion.matched - {item.name}
                if item.name in expansion.matched and item.name in found:
                    made_of |= found[item.name].made_of
            if value is not None:
                scope[item.name] = value
            argument = OutlineArgument(
                name=item.name,
                value=value or "",
                description=description(comments.get(line, ()), item.name),
                line=line,
            )
            found[item.name] = _Declared(argument, made_of)
    return found


class _Walk(StageWalk):
    """A walk through a stage that remembers what it takes."""

    def __init__(
        self, start: Inherited, facts: StageFacts, comments: Mapping[int, tuple[str, ...]], known: dict[str, _Declared]
    ) -> None:
        super().__init__(start, facts, Collector(None, comments))
        self._comments = comments
        self.known = known
        self._names: set[str] = set()
        self.secrets: list[OutlineMount] = []
        self.ssh: list[OutlineMount] = []
        self.caches: list[OutlineMount] = []

    def visit(self, instruction: Instruction, trigger: Span | None = None) -> None:
        """See :meth:`StageWalk.visit`; also notes arguments and mounts."""
        env = dict(self._env)
        super().visit(instruction, trigger)
        span = trigger or instruction.span
        if isinstance(instruction, Arg):
            for item in instruction.items:
                self._declare(item.name, item.default is None, span)
        elif isinstance(instruction, Run):
            for words in instruction.mounts:
                self._mount(
                    resolve_mount(
                        words, lambda word: self._expanded(word, env, span), source=self._facts.dockerfile.source
                    ),
                    span,
                )

    def _expanded(self, word: str, env: Mapping[str, str], span: Span) -> str:
        dockerfile = self._facts.dockerfile
        try:
            return process(word, env, escape=dockerfile.directives.escape).text
        except InvalidInput as problem:
            raise DockerfileError(problem.problem, hint=problem.hint, span=span, source=dockerfile.source) from None

    def _declare(self, name: str, bare: bool, span: Span) -> None:
        self._names.add(name)
        if bare and name not in self._facts.build_args and name in self._facts.scope:
            return  # it is the global one
        comments = self._comments.get(span.line, ()) if self._own else ()
        argument = OutlineArgument(
            name=name, value=self._env.get(name, ""), description=description(comments, name), line=span.line
        )
        self.known[name] = _Declared(argument)

    def _mount(self, mount: Mount, span: Span) -> None:
        match mount:
            case SecretMount(id=id, required=required):
                self.secrets.append(OutlineMount(id=id, required=required, line=span.line))
            case SshMount(id=id, required=required):
                self.ssh.append(OutlineMount(id=id, required=required, line=span.line))
            case CacheMount(id=id):
                self.caches.append(OutlineMount(id=id, line=span.line))
            case _:
                pass

    def use(self, names: Iterable[str]) -> None:
        """Note arguments that the FROM uses."""
        self._names |= set(names)

    def used(self) -> Iterator[OutlineArgument]:
        """The arguments in use, and those their defaults are made of."""
        todo, seen = list(self._names), set[str]()
        while todo:
            name = todo.pop()
            if name not in seen and name in self.known:
                seen.add(name)
                todo += self.known[name].made_of
                yield self.known[name].argument


def _walk(
    index: int,
    graph: StageGraph,
    facts: StageFacts,
    subject: Subject,
    walks: Mapping[int, _Walk],
    comments: Mapping[int, tuple[str, ...]],
    declared: Mapping[str, _Declared],
) -> _Walk:
    stage, node = facts.dockerfile.stages[index], graph.stages[index]
    parent = node.base.index if isinstance(node.base, StageOrigin) else None
    config = subject.bases.get(index)
    start = inherited_by(config) if parent is None else walks[parent].end
    walk = _Walk(start, facts, comments, dict(declared))
    for word in (stage.base.image, stage.base.platform or ""):
        walk.use(process(word, facts.scope, escape=facts.dockerfile.directives.escape).matched)
    for trigger in triggers_of(None if parent is None else facts.dockerfile.stages[parent], config):
        walk.visit(trigger, stage.base.span)
    for instruction in stage.instructions:
        walk.visit(instruction)
    return walk


def _in_order(graph: StageGraph, index: int, seen: set[int]) -> Iterator[int]:
    """A stage, then what it is based on and copies from: what is nearer to the target says what an argument is."""
    if index in seen:
        return
    seen.add(index)
    yield index
    for origin in graph.stages[index].origins:
        if isinstance(origin, StageOrigin):
            yield from _in_order(graph, origin.index, seen)


def _unique(found: Iterable[_Named], key: Callable[[_Named], str]) -> tuple[_Named, ...]:
    """The first of each name, by line."""
    first: dict[str, _Named] = {}
    for one in found:
        first.setdefault(key(one), one)
    return tuple(sorted(first.values(), key=lambda one: one.line))
