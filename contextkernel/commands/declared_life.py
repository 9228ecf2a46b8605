"""The declaration of the commands about the course of containers' lives, and what is told of it."""

from __future__ import annotations

from contextkernel.commands.grammar import Command, Option

LIFE: tuple[Command, ...] = ()

EVENTS = Command(
    path=("system", "events"),
    aliases=(("events",),),
    summary="Show what happens to containers, images, volumes and networks",
    description="Waits for events until it is interrupted, unless `--until` is over. In a notebook "
    "`%container events --since 1h --until 0s` gives a DataFrame. Events are kept in the store, about 20,000 of "
    "them. Filters: `type=`, `event=`, `container=`, `image=`, `volume=`, `network=`, `label=KEY[=VALUE]`, "
    "`scope=`.",
    options=(
        Option(name="filter", short="f", kind="list", metavar="filter", help="Show only what fits KEY=VALUE"),
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
