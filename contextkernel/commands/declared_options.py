"""Options and filters that several commands share."""

from __future__ import annotations

from contextkernel.commands.grammar import Option

FORMAT = Option(
    name="format",
    kind="string",
    metavar="string",
    help="Layout of the output: 'table', 'table TEMPLATE', 'json' or a Go template",
)
INSPECT_FORMAT = Option(
    name="format",
    short="f",
    kind="string",
    metavar="string",
    help="Layout of the output: 'json' or a Go template",
)
NO_TRUNC = Option(name="no-trunc", help="Show ids and texts in full")
FORCE = Option(name="force", short="f", help="Do not ask first")
FILTER = Option(name="filter", short="f", kind="list", metavar="filter", help="Show only what fits KEY=VALUE")
#: `prune` has no letter for it: -f is --force
PRUNE_FILTER = Option(name="filter", kind="list", metavar="filter", help="Take only what fits KEY=VALUE")
IMAGE_FILTERS = ("reference", "dangling", "label", "before", "since")
CONTAINER_FILTERS = (
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
)
PRUNE_FILTERS = ("label", "label!", "until")
IMAGE_PRUNE_FILTERS = ("dangling", *PRUNE_FILTERS)
PLATFORM = Option(name="platform", kind="string", metavar="string", hidden=True)
