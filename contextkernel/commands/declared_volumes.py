"""The declaration of the commands about volumes."""

from __future__ import annotations

from contextkernel.commands.declared_options import FILTER, FORCE, FORMAT, INSPECT_FORMAT, PRUNE_FILTER
from contextkernel.commands.grammar import Command, Option

LIST_FILTERS = ("dangling", "driver", "label", "name")
PRUNE_FILTERS = ("all", "label", "label!")

VOLUMES = (
    Command(
        path=("volume", "create"),
        arguments="[VOLUME]",
        summary="Make a volume",
        description="Options of the driver: `-o type=tmpfs -o device=tmpfs -o o=size=100m` is memory, for each "
        "container its own; `-o type=none -o o=bind -o device=PATH` is a directory of the host; what else mount(8) "
        "knows is mounted where this host allows it.",
        options=(
            Option(name="driver", short="d", kind="string", metavar="string", default="local", help="Driver: local"),
            Option(name="label", kind="list", metavar="list", help="Label for the volume: KEY=VALUE"),
            Option(name="name", kind="string", metavar="string", hidden=True),
            Option(name="opt", short="o", kind="list", metavar="map", help="Option of the driver: KEY=VALUE"),
        ),
        maximum=1,
        verb="verbs_volume:create",
    ),
    Command(
        path=("volume", "inspect"),
        arguments="VOLUME [VOLUME...]",
        summary="Show all there is to know of volumes",
        options=(INSPECT_FORMAT,),
        minimum=1,
        subjects=("volume",),
        verb="verbs_volume:inspect",
    ),
    Command(
        path=("volume", "ls"),
        aliases=(("volume", "list"),),
        summary="List volumes",
        description="Filters: `dangling=true|false` (no container refers to it), `driver=`, `label=KEY[=VALUE]`, "
        "`name=`.",
        options=(
            FILTER,
            FORMAT,
            Option(name="quiet", short="q", help="Print nothing but names"),
        ),
        maximum=0,
        verb="verbs_volume:list_volumes",
    ),
    Command(
        path=("volume", "prune"),
        summary="Remove volumes that no container refers to",
        description="Those without a name of somebody's choice, unless `--all` is given. Filters: "
        "`label=KEY[=VALUE]`, `label!=KEY[=VALUE]`, `all=true`.",
        options=(
            Option(name="all", short="a", help="Remove those with a name too"),
            PRUNE_FILTER,
            FORCE,
        ),
        maximum=0,
        verb="verbs_volume:prune",
    ),
    Command(
        path=("volume", "rm"),
        aliases=(("volume", "remove"),),
        arguments="VOLUME [VOLUME...]",
        summary="Remove volumes and their files",
        options=(Option(name="force", short="f", help="Do not mind volumes that do not exist"),),
        minimum=1,
        subjects=("volume",),
        verb="verbs_volume:remove",
    ),
)
