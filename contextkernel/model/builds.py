"""Records of builds: what was asked for, what became of it, and what each step cost.

Sizes and memory are bytes, times are timezone-aware UTC datetimes, durations are seconds of wall time; what this host
could not tell is ``None``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Literal

import msgspec

from contextkernel.model.digest import Digest

BuildStatus = Literal["running", "completed", "error", "canceled"]
StepState = Literal["running", "cached", "done", "error", "canceled"]


class BuildStepRow(msgspec.Struct, frozen=True, kw_only=True):
    """One step of a recorded build.

    Attributes:
        number: within the build, from 1.
        name: as progress shows it.
        instruction: its text in the Dockerfile, empty for internal steps.
        line: in the Dockerfile, 0 for internal steps.
        started: when.
        seconds: how long it took; ``None`` while it runs, and for one that was cut off with its build.
        cpu_seconds: processor time, user and system, of the step's program and of those it waited for.
        peak_memory: most memory that one process of the step had at a time. What starts a program counts as well, so
            it is never less than some MB.
        written: bytes in the files of its layer; 0 for a step that was cached.
        layer: what it led to.
        problem: why it failed, else empty.
    """

    number: int
    name: str
    instruction: str = ""
    line: int = 0
    state: StepState = "running"
    started: datetime
    seconds: float | None = None
    cpu_seconds: float | None = None
    peak_memory: int | None = None
    written: int | None = None
    layer: Digest | None = None
    problem: str = ""


class BuildRow(msgspec.Struct, frozen=True, kw_only=True):
    """One recorded build.

    Attributes:
        id: 25 letters and digits.
        name: what a list shows for it: the context's directory, and the target if one was asked for.
        status: ``canceled`` also for a build whose process was killed.
        created: when it began.
        seconds: how long it took; ``None`` while it runs and for a build that was killed.
        context: directory, or the URL it came from; ``None`` for a build without one.
        dockerfile: name of the Dockerfile.
        dockerfile_digest: of its text; ``None`` where it was in a context that had to be fetched.
        target: stage that was asked for, else empty.
        platform: that was asked for, else empty.
        build_args: ``NAME=value``, sorted; predefined proxy variables only by name, as in an image's history.
        secrets: ids of secrets and SSH agents; never their values.
        image: what came out.
        names: that it was given.
        steps, cached: how many steps of the Dockerfile were come to, and how many of them were found in the cache.
        problem: why it failed, else empty.
    """

    id: str
    name: str
    status: BuildStatus = "running"
    created: datetime
    seconds: float | None = None
    context: str | None = None
    dockerfile: str = "Dockerfile"
    dockerfile_digest: Digest | None = None
    target: str = ""
    platform: str = ""
    build_args: tuple[str, ...] = ()
    secrets: tuple[str, ...] = ()
    image: Digest | None = None
    names: tuple[str, ...] = ()
    steps: int = 0
    cached: int = 0
    problem: str = ""


class BuildLog(msgspec.Struct, frozen=True, kw_only=True):
    """Output of a recorded step; ``left_out`` says how many characters of its middle were not kept."""

    number: int
    name: str
    text: str
    left_out: int = 0
