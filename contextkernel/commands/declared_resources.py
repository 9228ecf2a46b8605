"""The declaration of the commands that tell what containers use and see."""

from __future__ import annotations

from contextkernel.commands.declared_options import FORMAT, NO_TRUNC
from contextkernel.commands.grammar import Command, Option

MEASUREMENTS = (
    Command(
        path=("container", "stats"),
        aliases=(("stats",),),
        arguments="[CONTAINER...]",
        summary="Show what containers use: processors, memory, network, block devices, processes",
        description="Without names all that run. Goes on, once a second, until it is interrupted; "
        "`df = %container stats --no-stream` is a DataFrame. `CPU %` counts a processor in full use as 100. Memory is "
        "without file pages that could be dropped at once. Where a container has no control group the numbers are sums "
        "over its processes.",
        options=(
            Option(name="all", short="a", help="Show containers that do not run too"),
            FORMAT,
            Option(name="no-stream", help="Show one measurement and end"),
            NO_TRUNC,
        ),
        subjects=("running",),
        verb="verbs_resources:stats",
    ),
    Command(
        path=("container", "namespaces"),
        aliases=(("namespaces",),),
        arguments="[CONTAINER...]",
        summary="Show which namespaces containers live in, and what they see there",
        description="Our own command. Without names all containers that run. Equal numbers in NAMESPACE are the same "
        "namespace; the host's come first, to compare. WHOSE says whether a container has a namespace of its own, the "
        "host's, or that of other containers.",
        options=(FORMAT, NO_TRUNC),
        subjects=("running",),
        verb="verbs_resources:namespaces",
    ),
)
