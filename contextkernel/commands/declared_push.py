"""The declaration of the command that sends images to registries."""

from __future__ import annotations

from contextkernel.commands.grammar import Command, Option

PUSH = (
    Command(
        path=("image", "push"),
        aliases=(("push",),),
        arguments="NAME[:TAG]",
        summary="Send an image to a registry",
        description="The name says where to: `HOST[:PORT]/REPOSITORY[:TAG]`; `tag` gives an image such a name. Layers "
        "that the registry has are not sent. An image that was pulled keeps its digest where the registry can have the "
        "same blobs. With `--platform` attestations stay here.",
        options=(
            Option(name="all-tags", short="a", help="Push all tags of the repository"),
            Option(
                name="platform",
                kind="string",
                metavar="string",
                help="Push the image of this platform alone: os[/arch[/variant]]",
            ),
            Option(name="quiet", short="q", help="Print nothing but the name"),
        ),
        minimum=1,
        maximum=1,
        subjects=("image",),
        verb="verbs_push:push",
        group="Common Commands",
    ),
)
