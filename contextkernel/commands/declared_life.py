"""The declaration of the commands about the course of containers' lives, and what is told of it."""

from __future__ import annotations

from contextkernel.commands.declared_options import FILTER
from contextkernel.commands.grammar import Command, Option
from contextkernel.commands.run_life import RESTART
from contextkernel.commands.run_resources import CHANGEABLE

SIGNAL = Option(name="signal", short="s", kind="string", metavar="string", help="Signal to send first")
TIMEOUT = (
    Option(name="timeout", short="t", kind="int", metavar="int", help="Seconds until SIGKILL"),
    Option(name="time", kind="int", metavar="int", hidden=True),
)

LIFE: tuple[Command, ...] = (
    Command(
        path=("container", "restart"),
        aliases=(("restart",),),
        arguments="CONTAINER [CONTAINER...]",
        summary="Stop containers and start them again",
        options=(SIGNAL, *TIMEOUT),
        minimum=1,
        subjects=("container",),
        verb="verbs_life:restart",
    ),
    Command(
        path=("container", "rename"),
        aliases=(("rename",),),
        arguments="CONTAINER NEW_NAME",
        summary="Give a container another name",
        minimum=2,
        maximum=2,
        subjects=("container",),
        verb="verbs_life:rename",
    ),
    Command(
        path=("container", "update"),
        aliases=(("update",),),
        arguments="CONTAINER [CONTAINER...]",
        summary="Change what containers were created with, while they run or not",
        description="Of the limits, those that are given change, for a running container at once; the rest stay.",
        options=tuple(sorted((*CHANGEABLE, RESTART), key=lambda option: option.name)),
        minimum=1,
        subjects=("container",),
        verb="verbs_life:update",
    ),
    Command(
        path=("container", "top"),
        aliases=(("top",),),
        arguments="CONTAINER [ps OPTIONS]",
        summary="Show the processes of a container",
        description="Options are those of ps: `-ef` (the default), `aux`, `-l`, `-o pid,user,cmd` and the like. "
        "In a notebook the result is a DataFrame.",
        minimum=1,
        interspersed=False,
        subjects=("running",),
        verb="verbs_life:top",
    ),
    Command(
        path=("container", "port"),
        aliases=(("port",),),
        arguments="CONTAINER [PRIVATE_PORT[/PROTO]]",
        summary="Show where the ports of a container are published",
        minimum=1,
        maximum=2,
        subjects=("container",),
        verb="verbs_life:port",
    ),
)

EVENTS = Command(
    path=("system", "events"),
    aliases=(("events",),),
    summary="Show what happens to containers, images, volumes and networks",
    description="Waits for events until it is interrupted, unless `--until` is over. In a notebook "
    "`%container events --since 1h --until 0s` gives a DataFrame. Events are kept in the store, about 20,000 of "
    "them. Filters: `type=`, `event=`, `container=`, `image=`, `volume=`, `network=`, `label=KEY[=VALUE]`, "
    "`scope=`.",
    options=(
        FILTER,
        Option(
            name="format",
            kind="string",
            metavar="string",
            help="Layout of each line: 'json' or a Go template",
        ),
        Option(name="since", kind="string", metavar="string", help="Begin then: a time, or 10m for 10 minutes ago"),
        Option(name="until", kind="string", metavar="string", help="End then"),
    ),
    maximum=0,
    verb="verbs_life:events",
)
