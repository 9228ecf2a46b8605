"""The declaration of the commands about recorded builds."""

from __future__ import annotations

from contextkernel.commands.declared_options import FORMAT, INSPECT_FORMAT, NO_TRUNC
from contextkernel.commands.grammar import Command, Option

_BUILD = "BUILD is the start of an id, or `^N` for the Nth build before the newest; without it the newest is meant."

BUILDS = (
    Command(
        path=("builds",),
        aliases=(("builds", "ls"), ("buildx", "history", "ls")),
        summary="List recorded builds, the newest first",
        description="The last 200 builds are remembered, also failed ones, and those that were interrupted or killed. "
        "`builds inspect`, `builds logs` and `builds rm` look at one.",
        options=(FORMAT, NO_TRUNC, Option(name="quiet", short="q", help="Print nothing but ids")),
        maximum=0,
        verb="verbs_builds:builds",
    ),
    Command(
        path=("builds", "inspect"),
        aliases=(("buildx", "history", "inspect"),),
        arguments="[BUILD]",
        summary="Show the steps of a build: cache, time, memory, bytes written",
        description=f"{_BUILD} CPU time and memory are those of RUN's programs. `--format json` has the whole record.",
        options=(INSPECT_FORMAT,),
        maximum=1,
        subjects=("build",),
        verb="verbs_builds:inspect",
    ),
    Command(
        path=("builds", "logs"),
        aliases=(("buildx", "history", "logs"),),
        arguments="[BUILD]",
        summary="Print what the steps of a build have said",
        description=f"{_BUILD} Of a very long output the middle is not kept.",
        maximum=1,
        subjects=("build",),
        verb="verbs_builds:logs",
    ),
    Command(
        path=("builds", "rm"),
        aliases=(("buildx", "history", "rm"),),
        arguments="[BUILD...]",
        summary="Forget recorded builds",
        description="Images and the build cache stay.",
        options=(Option(name="all", help="Forget all builds that have ended"),),
        subjects=("build",),
        verb="verbs_builds:remove",
    ),
)
