"""The declaration of the commands for images as files."""

from __future__ import annotations

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
