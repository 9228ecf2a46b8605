"""The declaration of the commands about the files of containers."""

from __future__ import annotations

from contextkernel.commands.grammar import Command, Option

FILES = (
    Command(
        path=("container", "commit"),
        aliases=(("commit",),),
        arguments="CONTAINER [REPOSITORY[:TAG]]",
        summary="Make an image of what a container has changed",
        description="Volumes are no part of it. `--change` takes CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, "
        "ONBUILD, STOPSIGNAL, USER, VOLUME and WORKDIR.",
        options=(
            Option(name="author", short="a", kind="string", metavar="string", help="Author of the image"),
            Option(name="change", short="c", kind="list", metavar="list", help="Instruction to apply to the image"),
            Option(name="message", short="m", kind="string", metavar="string", help="Comment of the image"),
            Option(name="no-pause", help="Do not pause the container meanwhile"),
            Option(name="pause", short="p", default="true", hidden=True),
        ),
        minimum=1,
        maximum=2,
        subjects=("container", "image"),
        verb="verbs_files:commit",
    ),
    Command(
        path=("container", "cp"),
        aliases=(("cp",),),
        arguments="SOURCE DESTINATION",
        summary="Copy files between a container and this host",
        description="One of the two is CONTAINER:PATH. The container need not run. `-` is a tar archive: standard "
        "input or output. `/.` at the end of a source means what is in the directory. What is mounted in a container "
        "that runs is seen, memory (`--tmpfs`) too; /proc, /sys and /dev are not.",
        options=(
            Option(name="archive", short="a", help="Give what goes in to the container's user"),
            Option(name="follow-link", short="L", help="Copy what a link leads to"),
            Option(name="quiet", short="q", help="Say nothing"),
        ),
        minimum=2,
        maximum=2,
        subjects=("file",),
        verb="verbs_files:copy",
    ),
    Command(
        path=("container", "diff"),
        aliases=(("diff",),),
        arguments="CONTAINER",
        summary="Show what a container has changed of its image",
        description="A: added, C: changed, D: deleted.",
        minimum=1,
        maximum=1,
        subjects=("container",),
        verb="verbs_files:diff",
    ),
    Command(
        path=("container", "export"),
        aliases=(("export",),),
        arguments="CONTAINER",
        summary="Write the files of a container as a tar archive",
        description="Without its volumes.",
        options=(
            Option(name="output", short="o", kind="string", metavar="string", help="File, instead of standard output"),
        ),
        minimum=1,
        maximum=1,
        subjects=("container",),
        verb="verbs_files:export",
    ),
)
