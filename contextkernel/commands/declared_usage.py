"""The declaration of the commands about the room that everything takes."""

from __future__ import annotations

from contextkernel.commands.declared_options import FORCE, FORMAT, PRUNE_FILTER
from contextkernel.commands.grammar import Command, Option

USAGE = (
    Command(
        path=("system", "df"),
        summary="Show what takes how much room",
        description="With `--verbose` each image, container, volume and entry of the build cache has a line; "
        "UNIQUE SIZE is what the removal of an image frees.",
        options=(FORMAT, Option(name="verbose", short="v", help="One by one")),
        maximum=0,
        verb="verbs_usage:disk_usage",
    ),
    Command(
        path=("system", "prune"),
        summary="Remove what is not used: containers, networks, images, build cache",
        description="Removes stopped containers, networks without a container, images without a name and the build "
        "cache. Filters: `until=24h` (made before), `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`.",
        options=(
            Option(name="all", short="a", help="Remove named images without a container too"),
            PRUNE_FILTER,
            FORCE,
            Option(name="volumes", help="Remove anonymous volumes without a container too"),
        ),
        maximum=0,
        verb="verbs_usage:prune",
    ),
)
