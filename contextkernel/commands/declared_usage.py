"""The declaration of the commands about the room that everything takes."""

from __future__ import annotations

from contextkernel.commands.declared_options import FORMAT
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
)
