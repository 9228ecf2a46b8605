"""The commands and their options, declared once: command line, magics, completion and reference page read this table.

Names, letters and meanings are docker's; where a command is our own, its description says so.
"""

from __future__ import annotations

from contextkernel.commands.declared_archives import PACK
from contextkernel.commands.declared_builds import BUILDS
from contextkernel.commands.declared_cache import CACHES
from contextkernel.commands.declared_containers import CONTAINERS
from contextkernel.commands.declared_files import FILES
from contextkernel.commands.declared_images import IMAGES
from contextkernel.commands.declared_interaction import INTERACTION
from contextkernel.commands.declared_life import EVENTS, LIFE
from contextkernel.commands.declared_manifests import MANIFESTS
from contextkernel.commands.declared_networks import NETWORKS
from contextkernel.commands.declared_options import FORMAT, INSPECT_FORMAT
from contextkernel.commands.declared_push import PUSH
from contextkernel.commands.declared_registries import REGISTRIES
from contextkernel.commands.declared_resources import MEASUREMENTS
from contextkernel.commands.declared_serving import SERVING
from contextkernel.commands.declared_usage import USAGE
from contextkernel.commands.declared_volumes import VOLUMES
from contextkernel.commands.grammar import Command, Grammar, Group, Option

_OTHERS = (
    Command(
        path=("inspect",),
        arguments="NAME|ID [NAME|ID...]",
        summary="Show all there is to know of containers, images, networks and volumes",
        options=(
            INSPECT_FORMAT,
            Option(name="size", short="s", help="Add what containers have written (SizeRw)"),
            Option(
                name="type",
                kind="string",
                metavar="string",
                help="Look only among these: container, image, network, volume",
            ),
        ),
        minimum=1,
        subjects=("object",),
        verb="verbs_image:inspect",
    ),
    Command(
        path=("debug",),
        aliases=(("builder", "debug"), ("container", "debug")),
        arguments="[BUILD] [COMMAND] [ARG...]",
        summary="Look around in a failed build step",
        description="Our own command. Runs COMMAND, or a shell that reads standard input, with the files, environment, "
        "user, directory, network and mounts of the RUN that failed; without its secrets. What it changes is thrown "
        "away. BUILD is what the failed build printed, by default the last. Kept are the last failed step of each "
        "Dockerfile, three in all, until it is built again. In a notebook `%%container debug` gives the cell to the "
        "command's standard input.",
        options=(
            Option(name="after", help="The files as the failed step left them (the default)"),
            Option(name="before", help="The files as the failed step found them"),
        ),
        interspersed=False,
        subjects=("command",),
        verb="verbs_debug:debug",
    ),
    Command(
        path=("base", "ensure"),
        arguments="NAME [NAME...]",
        summary="Make base images available, with a stand-in where no registry can be reached",
        description="Our own command. In this order: the image is there already; pull; the pack of this "
        "installation (archives in `$CONTEXTKERNEL_PACK`); bootstrap from the distribution's package mirror with "
        "mmdebstrap; assemble from this host's files. "
        "Says what it did; stand-ins stay marked.",
        options=(FORMAT, Option(name="quiet", short="q", help="Show no progress")),
        minimum=1,
        subjects=("base",),
        verb="verbs_transfer:ensure",
    ),
    PACK,
    Command(
        path=("system", "check"),
        summary="Look for anything wrong in the store",
        description="Our own command. Exit code 1 when something is wrong and not repaired.",
        options=(FORMAT, Option(name="repair", help="Put right what can be put right")),
        maximum=0,
        verb="verbs_system:check",
    ),
    Command(
        path=("system", "info"),
        aliases=(("info",),),
        summary="Show what the store holds and what this host is",
        options=(INSPECT_FORMAT,),
        maximum=0,
        verb="verbs_system:info",
    ),
    Command(
        path=("doctor",),
        aliases=(("system", "doctor"),),
        summary="Find out what this host allows, and say what would allow more",
        description=(
            "Our own command. Each fact is found out by trying it, in a process that is thrown away, every time anew: "
            "it works, works with a limit, or is refused, with the error, its cause, who could change it, and the time "
            "that trying took. The exit code is 0 whatever the host allows."
        ),
        options=(Option(name="json", help="Print the report as JSON: tier, facts, remedies, build, run"),),
        maximum=0,
        verb="verbs_system:doctor",
    ),
    EVENTS,
    Command(
        path=("version",),
        summary="Show versions",
        options=(INSPECT_FORMAT,),
        maximum=0,
        verb="verbs_system:version",
    ),
)

GRAMMAR = Grammar(
    (
        *IMAGES,
        *PUSH,
        *MANIFESTS,
        *BUILDS,
        *CONTAINERS,
        *INTERACTION,
        *LIFE,
        *CACHES,
        *USAGE,
        *MEASUREMENTS,
        *FILES,
        *NETWORKS,
        *VOLUMES,
        *SERVING,
        *REGISTRIES,
        *_OTHERS,
    ),
    (
        Group(name="base", summary="Manage base images"),
        Group(name="builder", summary="Manage builds"),
        Group(name="builds", summary="List recorded builds"),
        Group(name="buildx", summary="Docker's other name for builder"),
        Group(name="container", summary="Manage containers"),
        Group(name="image", summary="Manage images"),
        Group(name="manifest", summary="Manage manifest lists"),
        Group(name="network", summary="Manage networks"),
        Group(name="registry", summary="Manage small registries of our own"),
        Group(name="system", summary="Manage the engine"),
        Group(name="volume", summary="Manage volumes"),
    ),
    (
        Option(name="debug", short="D", help="Show the traceback of an error"),
        Option(name="root", kind="string", metavar="string", help="Directory of the store ($CONTEXTKERNEL_ROOT)"),
        Option(name="version", short="v", help="Print the version"),
    ),
)
