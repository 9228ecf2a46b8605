"""One stage: its instructions, applied in order to what it inherits, give steps and an image configuration.

Source of the rules: BuildKit's Dockerfile reference and ``dockerfile2llb/convert.go``. An instruction sees the
environment before it; variables are the image's ENV and the stage's ARGs, whichever came last.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import assert_never

import msgspec

from contextkernel.dockerfile.instructions import (
    Add,
    Arg,
    Cmd,
    CommandForm,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    ExecForm,
    Expose,
    From,
    Healthcheck,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from contextkernel.errors import DockerfileError
from contextkernel.model import oci
from contextkernel.model.oci import ImageConfig, RunConfig
from contextkernel.plan import texts
from contextkernel.plan.add_steps import plan_add
from contextkernel.plan.arguments import expander
from contextkernel.plan.copy_steps import plan_copy, plan_workdir
from contextkernel.plan.remote import GitOrigin, HttpOrigin, redacted
from contextkernel.plan.run_mounts import RunSettings
from contextkernel.plan.run_steps import plan_run, settle_run
from contextkernel.plan.scope import StepScope
from contextkernel.plan.stages import Command, StageNode
from contextkernel.plan.steps import ContextOrigin, ImageOrigin, LayerStep, MetadataStep, Network, Step, WorkdirStep
from contextkernel.plan.values import checked_signal, ports_of, working_dir

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
DEFAULT_SHELL = ("/bin/sh", "-c")


class Facts(msgspec.Struct, frozen=True, kw_only=True):
    """What all stages of one build share.

    Attributes:
        dockerfile: for its source and escape character.
        scope: the global scope.
        build_args: ``--build-arg`` values.
        proxy: ``NAME=value`` for every RUN.
        network: of a RUN that does not choose.
        run: what every RUN is given.
        epoch: SOURCE_DATE_EPOCH in seconds, if there is one.
    """

    dockerfile: Dockerfile
    scope: Mapping[str, str]
    build_args: Mapping[str, str] = msgspec.field(default_factory=dict)
    proxy: tuple[str, ...] = ()
    network: Network = "default"
    run: RunSettings = RunSettings()
    epoch: int | None = None


class HistoryLine(msgspec.Struct, frozen=True):
    """A history entry to be: its text, whether a layer belongs to it, and the progress title of that layer's step."""

    created_by: str
    layer: bool
    title: str = ""


class StageState(msgspec.Struct, frozen=True, kw_only=True):
    """What a stage has come to.

    Attributes:
        config: the image's ``config`` object.
        author: from MAINTAINER or the base.
        env: variables for expansion and for RUN: ENV and ARG.
        arguments: ARGs declared so far, in order, with their values.
        history: entries since the base image.
        cmd_set: this stage has a CMD of its own, which ENTRYPOINT then keeps.
        bottom: what its first layer is, if that is files that were given or fetched.
    """

    config: RunConfig
    author: str = ""
    env: Mapping[str, str] = msgspec.field(default_factory=dict)
    arguments: tuple[tuple[str, str | None], ...] = ()
    history: tuple[HistoryLine, ...] = ()
    cmd_set: bool = False
    bottom: str = ""


class StagePlan(msgspec.Struct, frozen=True, kw_only=True):
    """A stage ready to be executed.

    Attributes:
        node: the stage in its graph.
        from_title: progress title of its FROM, if the base is an image.
        steps: in order, metadata changes included.
        state: what the image is like at its end.
    """

    node: StageNode
    from_title: str
    steps: tuple[Step, ...]
    state: StageState

    @property
    def layer_steps(self) -> tuple[LayerStep, ...]:
        """The steps that make a layer."""
        return tuple(step for step in self.steps if not isinstance(step, MetadataStep))


def from_scratch() -> StageState:
    """What a stage on ``scratch`` starts with."""
    return StageState(config=RunConfig(env=(f"PATH={DEFAULT_PATH}",), working_dir="/"), env={"PATH": DEFAULT_PATH})


def from_files(origin: ContextOrigin | HttpOrigin | GitOrigin) -> StageState:
    """What a stage on a named context that is no image starts with; ``bottom`` is BuildKit's word for its layer."""
    match origin:
        case ContextOrigin(name=name):
            bottom = f"local source for {name}"
        case HttpOrigin(url=url):
            bottom = f"http url {redacted(url)}"
        case GitOrigin(remote=remote, ref=ref):
            bottom = f"git snapshot for {redacted(remote)}#{ref}"
    return msgspec.structs.replace(from_scratch(), bottom=bottom)


def from_image(base: ImageConfig) -> StageState:
    """What a stage on an image starts with: all of its configuration but its triggers, and a PATH in any case."""
    pairs = [(name, value) for name, _, value in (item.partition("=") for item in base.config.env or ())]
    if "PATH" not in dict(pairs):
        pairs.append(("PATH", DEFAULT_PATH))
    old = base.config.working_dir
    config = replace_config(
        base.config,
        env=tuple(f"{name}={value}" for name, value in pairs),
        on_build=None,
        working_dir=working_dir("", old) if old else "",
    )
    return StageState(config=config, author=base.author, env=dict(pairs))


def from_stage(base: StageState) -> StageState:
    """What a stage on an earlier stage starts with: everything but its triggers."""
    return msgspec.structs.replace(base, config=replace_config(base.config, on_build=None), cmd_set=False)


def replace_config(config: RunConfig, **changes: object) -> RunConfig:
    """A configuration with some fields changed."""
    import msgspec

    return msgspec.structs.replace(config, **changes)


def plan_stage(node: StageNode, start: StageState, facts: Facts) -> StagePlan:
    """Plan a stage.

    Args:
        node: the stage.
        start: what it inherits.
        facts: of the build.

    Raises:
        DockerfileError: an instruction whose values are not acceptable, or that is not supported.
    """
    count = 0
    from_title = ""
    if isinstance(node.base, ImageOrigin):
        count = 1
        from_title = f"{_prefix(node, 1)}FROM {node.base.ref}"
    state, steps = start, list[Step]()
    for command in node.commands:
        applier = _Applier(node, command, facts, count + 1)
        state, step = applier.apply(state)
        if step is None:
            continue
        layer = not isinstance(step, MetadataStep)
        count += layer
        steps.append(step)
        state = msgspec.structs.replace(
            state, history=(*state.history, HistoryLine(step.created_by, layer, step.title))
        )
    return StagePlan(node=node, from_title=from_title, steps=tuple(steps), state=state)


def _prefix(node: StageNode, number: int) -> str:
    if not node.total:
        return ""
    name = f"{node.shown} " if node.shown else ""
    return f"[{name}{number:>{len(str(node.total))}}/{node.total}] "


class _Applier:
    """Applies one instruction; a new one for each."""

    def __init__(self, node: StageNode, command: Command, facts: Facts, number: int) -> None:
        self._node = node
        self._command = command
        self._facts = facts
        self._number = number
        self._expand = expander(facts.dockerfile, command.span)

    def apply(self, state: StageState) -> tuple[StageState, Step | None]:
        """The state after the instruction, and its step; ONBUILD has none."""
        env = state.env
        config = state.config
        match self._command.instruction:
            case Env(pairs=pairs):
                values = [(self._expand(pair.key, env), self._expand(pair.value, env)) for pair in pairs]
                new = msgspec.structs.replace(state, config=_with_env(config, values), env={**env, **dict(values)})
                return new, self._metadata("ENV " + " ".join(f"{name}={value}" for name, value in values))
            case Arg():
                return self._arg(self._command.instruction, state)
            case Label(pairs=pairs):
                labels = [(self._expand(pair.key, env), self._expand(pair.value, env)) for pair in pairs]
                new = _configured(state, labels={**(config.labels or {}), **dict(labels)})
                return new, self._metadata("LABEL " + " ".join(f"{name}={value}" for name, value in labels))
            case Cmd(command=form):
                argv = self._argv(form, config)
                new = msgspec.structs.replace(_configured(state, cmd=argv or None, args_escaped=True), cmd_set=True)
                return new, self._metadata(f"CMD {texts.quoted_list(argv)}")
            case Entrypoint(command=form):
                argv = self._argv(form, config)
                new = _configured(state, entrypoint=argv or None, cmd=config.cmd if state.cmd_set else None)
                return new, self._metadata(f"ENTRYPOINT {texts.quoted_list(argv)}")
            case Expose(ports=words):
                ports = ports_of(words, env, self._facts.dockerfile, self._command.span)
                exposed = {**(config.exposed_ports or {}), **{port: {} for port in ports}}
                return _configured(state, exposed_ports=exposed), self._metadata(f"EXPOSE {texts.port_list(ports)}")
            case Volume(paths=paths):
                volumes = [self._expand(path, env) for path in paths]
                if not all(volumes):
                    raise self._problem("VOLUME: a path is empty", hint="check the variables it is made of")
                new = _configured(state, volumes={**(config.volumes or {}), **{path: {} for path in volumes}})
                return new, self._metadata(f"VOLUME {texts.plain_list(volumes)}")
            case User(user=word):
                user = self._expand(word, env)
                return _configured(state, user=user), self._metadata(f"USER {user}")
            case Stopsignal(signal=word):
                signal = checked_signal(self._expand(word, env), self._facts.dockerfile, self._command.span)
                return _configured(state, stop_signal=signal), self._metadata(f"STOPSIGNAL {signal}")
            case Shell(argv=argv):
                return _configured(state, shell=argv), self._metadata(f"SHELL {texts.plain_list(argv)}")
            case Maintainer(name=name):
                return msgspec.structs.replace(state, author=name), self._metadata(f"MAINTAINER {name}")
            case Healthcheck():
                check = _healthcheck(self._command.instruction)
                return _configured(state, healthcheck=check), self._metadata(
                    f"HEALTHCHECK {texts.healthcheck_text(check)}"
                )
            case Onbuild(expression=text):
                return _configured(state, on_build=(*(config.on_build or ()), text)), None
            case Workdir(path=word):
                path = working_dir(config.working_dir, self._expand(word, env))
                step = plan_workdir(path, config.user, self._scope(state))
                if isinstance(step, WorkdirStep):
                    step = msgspec.structs.replace(step, epoch=self._facts.epoch)
                return _configured(state, working_dir=path), step
            case Run():
                facts = self._facts
                run = plan_run(self._command.instruction, self._scope(state))
                source = facts.dockerfile.source
                return state, settle_run(run, facts.run, network=facts.network, proxy=facts.proxy, source=source)
            case Copy():
                return state, plan_copy(self._command.instruction, self._scope(state))
            case Add():
                return state, plan_add(self._command.instruction, self._scope(state))
            case From():
                raise self._problem("FROM cannot stand inside a stage")
            case _ as never:
                assert_never(never)

    def _arg(self, instruction: Arg, state: StageState) -> tuple[StageState, Step]:
        env, declared, shown = dict(state.env), list(state.arguments), []
        for item in instruction.items:
            value: str | None
            if item.name in self._facts.build_args:
                value = self._facts.build_args[item.name]
            elif item.default is not None:
                value = self._expand(item.default, env)
            else:
                value = self._facts.scope.get(item.name)
            if value is not None:
                env[item.name] = value
            declared.append((item.name, value))
            shown.append(item.name if value is None else f"{item.name}={value}")
        return msgspec.structs.replace(state, env=env, arguments=tuple(declared)), self._metadata(
            f"ARG {' '.join(shown)}"
        )

    def _argv(self, form: CommandForm, config: RunConfig) -> tuple[str, ...]:
        if isinstance(form, ExecForm):
            return form.argv
        return (*(config.shell or DEFAULT_SHELL), form.text)

    def _metadata(self, created_by: str) -> MetadataStep:
        return MetadataStep(
            title="",
            created_by=created_by,
            span=self._command.span,
            original=self._command.instruction.original,
        )

    def _scope(self, state: StageState) -> StepScope:
        return StepScope(
            command=self._command,
            dockerfile=self._facts.dockerfile,
            env=state.env,
            arguments=state.arguments,
            user=state.config.user,
            cwd=state.config.working_dir or "/",
            shell=state.config.shell or DEFAULT_SHELL,
            prefix=_prefix(self._node, self._number) + ("ONBUILD " if self._command.trigger else ""),
        )

    def _problem(self, text: str, *, hint: str | None = None) -> DockerfileError:
        return DockerfileError(text, hint=hint, span=self._command.span, source=self._facts.dockerfile.source)


def _configured(state: StageState, **changes: object) -> StageState:
    return msgspec.structs.replace(state, config=replace_config(state.config, **changes))


def _with_env(config: RunConfig, values: list[tuple[str, str]]) -> RunConfig:
    """ENV keeps the place of a variable that is set again."""
    pairs = {name: value for name, _, value in (item.partition("=") for item in config.env or ())}
    pairs.update(values)
    return replace_config(config, env=tuple(f"{name}={value}" for name, value in pairs.items()))


def _healthcheck(instruction: Healthcheck) -> oci.Healthcheck:
    if instruction.command is None:
        return oci.Healthcheck(test=("NONE",))
    match instruction.command:
        case ExecForm(argv):
            test = ("CMD", *argv)
        case form:
            test = ("CMD-SHELL", form.text)
    return oci.Healthcheck(
        test=test,
        interval=instruction.interval,
        timeout=instruction.timeout,
        start_period=instruction.start_period,
        start_interval=instruction.start_interval,
        retries=instruction.retries,
    )
