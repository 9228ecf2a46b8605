"""The declaration of the commands about containers."""

from __future__ import annotations

from contextkernel.commands.declared_interaction import DETACH_KEYS, STREAM_OPTIONS
from contextkernel.commands.declared_life import SIGNAL, TIMEOUT
from contextkernel.commands.declared_options import (
    FILTER,
    FORCE,
    FORMAT,
    INSPECT_FORMAT,
    NO_TRUNC,
    PLATFORM,
    PRUNE_FILTER,
)
from contextkernel.commands.grammar import Command, Option
from contextkernel.commands.run_options import OPTIONS

#: what `run` and `create` have alike
_CREATE_OPTIONS = (
    *OPTIONS,
    *STREAM_OPTIONS,
    Option(name="cidfile", kind="string", metavar="string", help="File to write the container's id to"),
    Option(name="entrypoint", kind="string", metavar="string", help="Program to run instead of the image's ENTRYPOINT"),
    Option(
        name="env",
        short="e",
        kind="list",
        metavar="list",
        help="Environment variable: NAME=VALUE, or NAME for the caller's",
    ),
    Option(name="env-file", kind="list", metavar="list", help="File with a line for each environment variable"),
    Option(
        name="hostname", short="h", kind="string", metavar="string", help="Host name inside, by default the short id"
    ),
    Option(name="init", help="Let a small init be process 1: it passes signals on and collects orphans"),
    Option(name="label", short="l", kind="list", metavar="list", help="Label for the container: KEY=VALUE"),
    Option(name="label-file", kind="list", metavar="list", help="File with a line for each label"),
    Option(name="name", kind="string", metavar="string", help="Name for the container, by default a generated one"),
    PLATFORM,
    Option(
        name="pull",
        kind="string",
        metavar="string",
        default="missing",
        choices=("always", "missing", "never"),
        help="When to fetch the image: always, missing, never",
    ),
    Option(name="quiet", short="q", help="Show no progress of a pull"),
    Option(name="read-only", help="Allow no writes to the root file system"),
    Option(name="rm", help="Remove the container after its exit"),
    Option(name="stop-signal", kind="string", metavar="string", help="Signal that `stop` sends"),
    Option(
        name="stop-timeout",
        kind="int",
        metavar="int",
        help="Seconds from the stop signal to SIGKILL (default 10)",
    ),
    Option(
        name="user",
        short="u",
        kind="string",
        metavar="string",
        help="User to run as: USER[:GROUP], names or numbers",
    ),
    Option(name="workdir", short="w", kind="string", metavar="string", help="Directory to start in"),
)

_RUN_OPTIONS = tuple(
    sorted(
        (
            *_CREATE_OPTIONS,
            DETACH_KEYS,
            Option(name="detach", short="d", help="Do not wait: print the container's id and leave it running"),
            Option(name="sig-proxy", default="true", help="Pass signals on to the container"),
        ),
        key=lambda option: option.name,
    )
)

CONTAINERS = (
    Command(
        path=("container", "create"),
        aliases=(("create",),),
        arguments="IMAGE [COMMAND] [ARG...]",
        summary="Make a container from an image, without starting it",
        options=tuple(sorted(_CREATE_OPTIONS, key=lambda option: option.name)),
        minimum=1,
        interspersed=False,
        subjects=("image", "command"),
        verb="verbs_container:create",
    ),
    Command(
        path=("container", "run"),
        aliases=(("run",),),
        arguments="IMAGE [COMMAND] [ARG...]",
        summary="Make a container from an image and run it",
        description="Exit codes: 125 the container could not be set up, 126 the command cannot be executed, 127 it "
        "does not exist, else the command's own, 128+n when signal n ended it. In a notebook `%%container run` gives "
        "the cell to the command's standard input.",
        options=_RUN_OPTIONS,
        minimum=1,
        interspersed=False,
        subjects=("image", "command"),
        verb="verbs_container:run",
        group="Common Commands",
    ),
    Command(
        path=("container", "ls"),
        aliases=(("ps",), ("container", "list"), ("container", "ps")),
        summary="List containers",
        description="Filters: `ancestor=IMAGE`, `before=CONTAINER`, `exited=CODE`, `expose=PORT`, "
        "`health=none|starting|healthy|unhealthy`, `id=`, `label=KEY[=VALUE]`, `name=`, `network=`, `publish=PORT`, "
        "`since=CONTAINER`, `status=created|running|paused|restarting|exited|dead`, `volume=`.",
        options=(
            Option(name="all", short="a", help="Show containers that do not run too"),
            FILTER,
            FORMAT,
            Option(
                name="last",
                short="n",
                kind="int",
                metavar="int",
                help="Show the n newest, in any state",
            ),
            Option(name="latest", short="l", help="Show the newest, in any state"),
            NO_TRUNC,
            Option(name="quiet", short="q", help="Print nothing but ids"),
            Option(name="size", short="s", help="Add the column of what containers have written"),
        ),
        maximum=0,
        verb="verbs_container:ps",
        group="Common Commands",
    ),
    Command(
        path=("container", "inspect"),
        arguments="CONTAINER [CONTAINER...]",
        summary="Show all there is to know of containers",
        options=(INSPECT_FORMAT, Option(name="size", short="s", help="Add what containers have written (SizeRw)")),
        minimum=1,
        subjects=("container",),
        verb="verbs_image:inspect_containers",
    ),
    Command(
        path=("container", "logs"),
        aliases=(("logs",),),
        arguments="CONTAINER",
        summary="Show what a container has written",
        options=(
            Option(name="details", help="Put labels and variables before each line that the log carries (--log-opt)"),
            Option(name="follow", short="f", help="Go on until the container ends"),
            Option(
                name="since",
                kind="string",
                metavar="string",
                help="Only what was written since: a time, or 10m for ago",
            ),
            Option(
                name="tail",
                short="n",
                kind="string",
                metavar="string",
                default="all",
                help="Number of lines from the end, or all",
            ),
            Option(name="timestamps", short="t", help="Put the time before each line"),
            Option(name="until", kind="string", metavar="string", help="Only what was written until then"),
        ),
        minimum=1,
        maximum=1,
        subjects=("container",),
        verb="verbs_container:logs",
    ),
    Command(
        path=("container", "start"),
        aliases=(("start",),),
        arguments="CONTAINER [CONTAINER...]",
        summary="Start containers that do not run",
        options=(
            Option(name="attach", short="a", help="Show the output and wait for the exit"),
            DETACH_KEYS,
            Option(name="interactive", short="i", help="Connect standard input, and wait for the exit"),
        ),
        minimum=1,
        subjects=("container",),
        verb="verbs_container:start",
    ),
    Command(
        path=("container", "stop"),
        aliases=(("stop",),),
        arguments="CONTAINER [CONTAINER...]",
        summary="Stop containers: their stop signal first, then SIGKILL",
        options=(
            SIGNAL,
            *TIMEOUT,
        ),
        minimum=1,
        subjects=("running",),
        verb="verbs_container:stop",
    ),
    Command(
        path=("container", "kill"),
        aliases=(("kill",),),
        arguments="CONTAINER [CONTAINER...]",
        summary="Send a signal to containers",
        options=(
            Option(
                name="signal",
                short="s",
                kind="string",
                metavar="string",
                default="KILL",
                help="Name or number of the signal",
            ),
        ),
        minimum=1,
        subjects=("running",),
        verb="verbs_container:kill",
    ),
    Command(
        path=("container", "wait"),
        aliases=(("wait",),),
        arguments="CONTAINER [CONTAINER...]",
        summary="Wait for containers and print their exit codes",
        minimum=1,
        subjects=("container",),
        verb="verbs_container:wait",
    ),
    Command(
        path=("container", "rm"),
        aliases=(("rm",), ("container", "remove")),
        arguments="CONTAINER [CONTAINER...]",
        summary="Remove containers and what they wrote",
        options=(
            Option(name="force", short="f", help="Kill a running container first"),
            Option(name="volumes", short="v", help="Remove its anonymous volumes too"),
        ),
        minimum=1,
        subjects=("container",),
        verb="verbs_container:remove",
    ),
    Command(
        path=("container", "prune"),
        summary="Remove all containers that do not run",
        description="Filters: `until=TIME`, `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`.",
        options=(PRUNE_FILTER, FORCE),
        maximum=0,
        verb="verbs_container:prune",
    ),
)
