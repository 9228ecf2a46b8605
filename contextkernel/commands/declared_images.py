"""The declaration of the commands about images."""

from __future__ import annotations

from contextkernel.commands.declared_archives import ARCHIVES
from contextkernel.commands.declared_cache import EXPLAIN_OPTIONS
from contextkernel.commands.declared_manifests import REMOTE, REMOTE_PLATFORM
from contextkernel.commands.declared_options import (
    FILTER,
    FORCE,
    FORMAT,
    INSPECT_FORMAT,
    NO_TRUNC,
    PRUNE_FILTER,
)
from contextkernel.commands.declared_outputs import OUTPUT_OPTIONS
from contextkernel.commands.declared_steps import STEP_OPTIONS
from contextkernel.commands.grammar import Command, Option

_BUILD_OPTIONS = (
    *EXPLAIN_OPTIONS,
    *STEP_OPTIONS,
    Option(
        name="build-context",
        kind="list",
        metavar="stringArray",
        help="A further build context: NAME=DIRECTORY, or a URL, docker-image://REF, oci-layout://DIRECTORY",
    ),
    Option(
        name="build-arg",
        kind="list",
        metavar="stringArray",
        help="Value for an ARG: NAME=VALUE, or NAME for the caller's variable",
    ),
    Option(
        name="call",
        kind="string",
        metavar="string",
        default="build",
        help="What to do: build, check, outline (what the target takes), targets (which stages there are); "
        "all but build run nothing; `,format=json` behind it for JSON",
    ),
    Option(name="check", help="Shorthand for --call=check: look the Dockerfile through, run nothing"),
    Option(
        name="context-var",
        kind="string",
        metavar="string",
        help="Notebook variable with the build context: a dict of file name to text or bytes",
    ),
    Option(
        name="file",
        short="f",
        kind="string",
        metavar="string",
        help='Path of the Dockerfile, by default PATH/Dockerfile; "-" is standard input',
    ),
    Option(
        name="jobs",
        kind="int",
        metavar="int",
        help="How many steps may run at the same time, by default one for each CPU and four at least",
    ),
    Option(name="label", kind="list", metavar="stringArray", help="Label for the image: KEY=VALUE"),
    Option(
        name="network",
        kind="string",
        metavar="string",
        default="default",
        choices=("default", "none", "host"),
        help="Network of RUN instructions: default, none, host",
    ),
    Option(name="no-cache", help="Run every step again"),
    Option(
        name="no-cache-filter",
        kind="list",
        metavar="stringArray",
        help="Run every step of these stages again: NAME[,NAME...]",
    ),
    Option(
        name="platform",
        kind="list",
        metavar="stringArray",
        help="Platform to build for, e.g. linux/arm64; several (with -o) give an index",
    ),
    Option(
        name="progress",
        kind="string",
        metavar="string",
        default="auto",
        choices=("auto", "plain", "tty", "json", "rawjson", "quiet"),
        help="How progress is shown: auto, plain, tty, json, quiet",
    ),
    Option(name="pull", help="Ask the registry for newer base images"),
    Option(name="quiet", short="q", help="Print nothing but the image's id"),
    Option(name="tag", short="t", kind="list", metavar="stringArray", help="Name for the image: NAME[:TAG]"),
    Option(name="target", kind="string", metavar="string", help="Stage to stop at, by default the last"),
    *OUTPUT_OPTIONS,
)

IMAGES = (
    Command(
        path=("image", "build"),
        aliases=(("build",), ("builder", "build"), ("buildx", "build"), ("buildx", "b")),
        arguments="PATH | URL | -",
        summary="Make an image from a Dockerfile",
        description="PATH is the directory that COPY and ADD take files from. A URL names a tar archive, a Dockerfile "
        "or a Git repository (`https://host/repo.git#ref:directory`). `-` reads a tar archive, or else a Dockerfile, "
        "from standard input. In a notebook `%%dockerfile` takes the Dockerfile from the cell.",
        options=_BUILD_OPTIONS,
        minimum=1,
        maximum=1,
        subjects=("directory",),
        verb="verbs_build:build",
        group="Common Commands",
    ),
    Command(
        path=("image", "ls"),
        aliases=(("images",), ("image", "list")),
        arguments="[REPOSITORY[:TAG]]",
        summary="List images",
        description="Filters: `reference=PATTERN`, `dangling=true|false`, `label=KEY[=VALUE]`, `before=IMAGE`, "
        "`since=IMAGE`.",
        options=(
            Option(name="all", short="a", help="Show images without a name too"),
            Option(name="digests", help="Add the column of registry digests"),
            FILTER,
            FORMAT,
            NO_TRUNC,
            Option(name="quiet", short="q", help="Print nothing but ids"),
        ),
        maximum=1,
        subjects=("image",),
        verb="verbs_image:images",
        group="Common Commands",
    ),
    Command(
        path=("image", "history"),
        aliases=(("history",),),
        arguments="IMAGE",
        summary="Show the steps an image was made by",
        options=(
            FORMAT,
            Option(name="human", short="H", default="true", help="Round sizes and times for reading"),
            NO_TRUNC,
            REMOTE_PLATFORM,
            Option(name="quiet", short="q", help="Print nothing but ids"),
            REMOTE,
        ),
        minimum=1,
        maximum=1,
        subjects=("image",),
        verb="verbs_image:history",
    ),
    Command(
        path=("image", "inspect"),
        arguments="IMAGE [IMAGE...]",
        summary="Show all there is to know of images",
        options=(INSPECT_FORMAT, REMOTE_PLATFORM, REMOTE),
        minimum=1,
        subjects=("image",),
        verb="verbs_image:inspect_images",
    ),
    Command(
        path=("image", "rm"),
        aliases=(("rmi",), ("image", "rmi"), ("image", "remove")),
        arguments="IMAGE [IMAGE...]",
        summary="Remove names of images, and images with their last name",
        options=(
            Option(name="force", short="f", help="Remove it although a stopped container or several names use it"),
            Option(name="no-prune", hidden=True),
        ),
        minimum=1,
        subjects=("image",),
        verb="verbs_image:remove",
    ),
    Command(
        path=("image", "tag"),
        aliases=(("tag",),),
        arguments="SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
        summary="Give an image one more name",
        minimum=2,
        maximum=2,
        subjects=("image", "image"),
        verb="verbs_image:tag",
    ),
    Command(
        path=("image", "compare"),
        aliases=(("compare",),),
        arguments="IMAGE IMAGE [IMAGE...]",
        summary="Compare sizes, layers and shared bytes of images",
        description="Our own command. FACTOR is the size of the largest image divided by this one's.",
        options=(FORMAT,),
        minimum=2,
        subjects=("image",),
        verb="verbs_image:compare",
    ),
    *ARCHIVES,
    Command(
        path=("image", "pull"),
        aliases=(("pull",),),
        arguments="NAME[:TAG|@DIGEST]",
        summary="Fetch an image from its registry",
        description="Layers come several at a time, and what an interrupted pull has left is continued. An image for "
        "another platform stands beside the one for this machine: the tag stays with the latter.",
        options=(
            Option(name="all-tags", short="a", help="Fetch all tags of the repository"),
            Option(
                name="platform",
                kind="string",
                metavar="string",
                help="Platform of the image, e.g. linux/arm64; by default this machine's",
            ),
            Option(name="quiet", short="q", help="Show no progress"),
        ),
        minimum=1,
        maximum=1,
        subjects=("base",),
        verb="verbs_transfer:pull",
        group="Common Commands",
    ),
    Command(
        path=("image", "prune"),
        summary="Remove images that nothing uses",
        description="Filters: `until=24h` (created before), `label=KEY[=VALUE]`, `label!=KEY[=VALUE]`, "
        "`dangling=false`.",
        options=(
            Option(name="all", short="a", help="Remove named images without a container too"),
            PRUNE_FILTER,
            FORCE,
        ),
        maximum=0,
        verb="verbs_image:prune",
    ),
)
