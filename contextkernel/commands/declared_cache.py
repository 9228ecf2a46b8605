"""The declaration of the commands about the build cache and disk usage."""

from __future__ import annotations

from contextkernel.commands.declared_options import FORCE, FORMAT, PRUNE_FILTER
from contextkernel.commands.grammar import Command, Option

CACHE_FILTERS = (
    "until",
    "unused-for",
    "id",
    "type",
    "description",
    "shared",
    "private",
    "mutable",
    "immutable",
    "inuse",
)
_FILTERS = (
    "Filters: `until=24h` (not used for that long, or since a time), `id=`, `type=regular|exec.cachemount|debug`, "
    "`description=`, `shared`, `private`, `mutable`, `immutable`, `inuse`."
)
EXPLAIN_OPTIONS = (
    Option(
        name="cache-from",
        kind="list",
        metavar="stringArray",
        help="Cache to ask besides the store's own: type=local,src=DIR, or a cache or image in a registry",
    ),
    Option(
        name="cache-to",
        kind="list",
        metavar="stringArray",
        help="Where to write the cache of this build: type=registry,ref=NAME, type=local,dest=DIR, or type=inline",
    ),
    Option(name="explain", help="Show what the cache had for each step, and why not"),
    Option(
        name="format",
        kind="string",
        metavar="string",
        help="Layout of the table of --explain: 'table', 'json' or a Go template",
    ),
)
CACHES = (
    Command(
        path=("builder", "prune"),
        aliases=(("buildx", "prune"),),
        summary="Remove build cache",
        description="What an image or container has in common with the cache frees nothing and stays, unless `--all` "
        "is given; what a running build uses stays always. With one of the three sizes, the least recently used "
        f"entries go until the rest is small enough. {_FILTERS}",
        options=(
            Option(name="all", short="a", help="Remove entries that images and containers use too"),
            PRUNE_FILTER,
            FORCE,
            Option(
                name="keep-storage",
                kind="string",
                metavar="bytes",
                hidden=True,
            ),
            Option(name="max-used-space", kind="string", metavar="bytes", help="The most that the cache may have"),
            Option(
                name="min-free-space", kind="string", metavar="bytes", help="What the disk should have free afterwards"
            ),
            Option(name="reserved-space", kind="string", metavar="bytes", help="What the cache may have in any case"),
            Option(name="verbose", help="Show more of each entry"),
        ),
        maximum=0,
        verb="verbs_cache:prune",
    ),
    Command(
        path=("builder", "du"),
        aliases=(("buildx", "du"),),
        summary="Show what the build cache holds",
        description=f"A size with `*` is shared with an image or container. {_FILTERS}",
        options=(PRUNE_FILTER, FORMAT, Option(name="verbose", help="Show more of each entry")),
        maximum=0,
        verb="verbs_cache:usage",
    ),
)
