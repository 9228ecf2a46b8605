"""The declaration of the commands for images as files."""

from __future__ import annotations

from contextkernel.commands.declared_options import FORMAT
from contextkernel.commands.grammar import Command, Option

ARCHIVES = (
    Command(
        path=("image", "save"),
        aliases=(("save",),),
        arguments="IMAGE [IMAGE...]",
        summary="Write images to an archive",
        description="The archive is a docker-archive and an OCI layout at once. Without `-o` it goes "
        "to standard output. A name without a tag stands for all tags of the repository.",
        options=(
            Option(
                name="output",
                short="o",
                kind="string",
                metavar="string",
                help="File to write, instead of standard output",
            ),
            Option(
                name="platform",
                kind="list",
                metavar="string",
                help="Write only images for this platform: OS[/ARCH[/VARIANT]]; several give each name an index",
            ),
        ),
        minimum=1,
        subjects=("image",),
        verb="verbs_transfer:save",
    ),
    Command(
        path=("image", "load"),
        aliases=(("load",),),
        summary="Read images from an archive",
        description="Reads docker-archives and OCI layouts, as docker, podman, buildah, skopeo, umoci and `save` "
        "write them: one tar file, also compressed (gzip, zstd, bzip2, xz), or a directory. All of its images are "
        "loaded, or none.",
        options=(
            Option(
                name="input",
                short="i",
                kind="string",
                metavar="string",
                help="File or directory to read, instead of standard input",
            ),
            Option(
                name="platform",
                kind="string",
                metavar="string",
                help="Load only images for this platform: OS[/ARCH[/VARIANT]]",
            ),
            Option(name="quiet", short="q", help="Show no progress"),
        ),
        maximum=0,
        verb="verbs_transfer:load",
    ),
    Command(
        path=("image", "import"),
        aliases=(("import",),),
        arguments="FILE|URL|- [REPOSITORY[:TAG]]",
        summary="Make an image of one layer from a tar of a root file system",
        options=(
            Option(
                name="change",
                short="c",
                kind="list",
                metavar="list",
                help="Dockerfile instruction for the configuration of the image: CMD, ENV, LABEL, USER and the like",
            ),
            Option(
                name="message",
                short="m",
                kind="string",
                metavar="string",
                help="Comment for the image's history",
            ),
            Option(
                name="platform",
                kind="string",
                metavar="string",
                help="Platform that the image is for, by default this machine's: OS[/ARCH[/VARIANT]]",
            ),
        ),
        minimum=1,
        maximum=2,
        subjects=("file", "image"),
        verb="verbs_transfer:import_",
    ),
)

PACK = Command(
    path=("pack",),
    arguments="[FILE|DIRECTORY...]",
    summary="Write all images that notebooks and Dockerfiles name into one pack",
    description="Our own command, for rooms without a network. Files are notebooks and Dockerfiles; directories are "
    "searched for both. Needed are the images of FROM, `COPY --from` and `RUN --mount`, of `run`, `create`, `pull` and "
    "`base ensure`; what the files build themselves is not. What is not in the store is pulled. The pack is an OCI "
    "image layout: a directory, which keeps what it has, or one file if its name ends in `.tar`. `load -i PACK` takes "
    "all of it; `base ensure` takes what it is asked for, where `$CONTEXTKERNEL_PACK` names the pack.",
    options=(
        Option(
            name="compression",
            kind="string",
            metavar="string",
            default="gzip",
            choices=("gzip", "zstd", "uncompressed"),
            help="Of layers that did not come packed: gzip, zstd, uncompressed",
        ),
        Option(name="dry-run", help="Only say which images are needed, and where they are named"),
        FORMAT,
        Option(name="image", kind="list", metavar="stringArray", help="A further image"),
        Option(
            name="output",
            short="o",
            kind="string",
            metavar="string",
            default="pack",
            help="Directory to write, or file if it ends in .tar",
        ),
        Option(
            name="platform",
            kind="list",
            metavar="stringArray",
            help="Platform of the images, by default this machine's; several give each name an index",
        ),
        Option(name="quiet", short="q", help="Show no progress"),
    ),
    subjects=("file",),
    verb="verbs_pack:pack",
)
