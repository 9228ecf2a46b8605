"""What a build or pull says while it works; the only thing a face needs to draw a live view."""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from contextkernel.model.digest import Digest


class StepStarted(msgspec.Struct, frozen=True, tag=True):
    """A step begins.

    Attributes:
        step: number of the step within this build, from 1, in order of first appearance.
        name: as docker shows it: ``[2/6] RUN apt-get update``, ``[build 3/5] WORKDIR /app``,
            ``[internal] load build context``, ``exporting to image``.
        instruction: the Dockerfile text of the step, empty for internal ones.
        line: line in the Dockerfile, 0 for internal steps.
    """

    step: int
    name: str
    instruction: str = ""
    line: int = 0


class StepCached(msgspec.Struct, frozen=True, tag=True):
    """The step's result was already there; nothing was run."""

    step: int


class StepOutput(msgspec.Struct, frozen=True, tag=True):
    """A piece of the step's output; may hold several lines or a part of one."""

    step: int
    stream: Literal["stdout", "stderr"]
    text: str


class StepNote(msgspec.Struct, frozen=True, tag=True):
    """A one-line message of a step: ``naming to docker.io/library/greet``, ``transferring context: 1.2kB``."""

    step: int
    text: str


class StepProgress(msgspec.Struct, frozen=True, tag=True):
    """How far a transfer is.

    Attributes:
        item: what is transferred, e.g. a layer's short digest.
        current, total: bytes; ``total`` is 0 when unknown.
    """

    step: int
    item: str
    current: int
    total: int


LayerPhase: TypeAlias = Literal[
    "preparing",
    "waiting",
    "pulling",
    "downloading",
    "retrying",
    "verifying",
    "downloaded",
    "extracting",
    "complete",
    "exists",
    "pushing",
    "pushed",
    "mounted",
    "present",
    "loading",
    "loaded",
]
"""What a layer does.

* any transfer: ``preparing``, ``waiting`` (for its turn), ``retrying`` (``current`` is the seconds until then);
* pull: ``pulling`` (it is not here), ``downloading``, ``verifying``, ``downloaded``, ``extracting``, and at the end
  ``complete`` or ``exists`` (it was here);
* push: ``pushing``, and at the end ``pushed``, ``mounted`` (from the repository in ``detail``) or ``present`` (the
  registry had it);
* archives: ``loading``, and at the end ``loaded``.
"""


class LayerProgress(msgspec.Struct, frozen=True, tag=True):
    """What a layer that travels does, and how far it is.

    Attributes:
        step: the step of a build that it belongs to; 0 for a pull, push or load of its own, which is shown as docker
            shows it: with ``StepNote`` of step 0 for the lines around it.
        layer: what it is called, e.g. the first 12 hex digits of its digest.
        phase: see :data:`LayerPhase`.
        current: bytes done of this phase; for ``retrying`` seconds.
        total: bytes in all; 0 when unknown.
        detail: for ``mounted`` the repository.
    """

    step: int
    layer: str
    phase: LayerPhase
    current: int = 0
    total: int = 0
    detail: str = ""


class StepDone(msgspec.Struct, frozen=True, tag=True):
    """The step is finished; ``seconds`` is wall time."""

    step: int
    seconds: float


class StepBroke(msgspec.Struct, frozen=True, tag=True):
    """The step failed; the error itself is raised by the build."""

    step: int
    seconds: float
    problem: str


class StepCanceled(msgspec.Struct, frozen=True, tag=True):
    """The step was stopped, because of another one's failure or of an interrupt; ``seconds`` is how long it ran."""

    step: int
    seconds: float


class StepUsage(msgspec.Struct, frozen=True, tag=True):
    """What a step's program used; comes before the step's end.

    Attributes:
        cpu_seconds: user and system time of the program and of those it waited for.
        peak_memory: bytes, of the largest of these processes.
    """

    step: int
    cpu_seconds: float
    peak_memory: int


class StepLayer(msgspec.Struct, frozen=True, tag=True):
    """The layer that a step led to; may come after the step's end, when it has been hashed.

    Attributes:
        layer: its diff id.
        written: bytes in its files; 0 if it was there already.
    """

    step: int
    layer: Digest
    written: int


class BuildWarning(msgspec.Struct, frozen=True, tag=True):
    """Something to know that does not change the result.

    Attributes:
        text: one line; for a build check its rule, and what was found.
        line: in the Dockerfile; 0 where none applies.
        rule: name of the build check, if it comes from one.
        url: page about the rule; may be empty.
        detail: what the rule asks for.
        source: the line of the Dockerfile, as it is written; empty where none applies.
        early: it is about what comes now, and is shown before that rather than at the end.
    """

    text: str
    line: int = 0
    rule: str = ""
    url: str = ""
    detail: str = ""
    source: str = ""
    early: bool = False


class BuildFinished(msgspec.Struct, frozen=True, tag=True):
    """The image exists and is named."""

    image: Digest
    names: tuple[str, ...]
    seconds: float


Event = (
    StepStarted
    | StepCached
    | StepOutput
    | StepNote
    | StepProgress
    | LayerProgress
    | StepDone
    | StepBroke
    | StepCanceled
    | StepUsage
    | StepLayer
    | BuildWarning
    | BuildFinished
)
