"""The declaration of the commands about indexes, and about images in registries."""

from __future__ import annotations

from contextkernel.commands.declared_options import FORMAT, NO_TRUNC
from contextkernel.commands.grammar import Command, Option

_INSECURE = Option(name="insecure", help="Allow a registry without a certificate that is known, or without TLS")
REMOTE = Option(name="remote", help="Ask the registry instead of the store; nothing is pulled (our own option)")
REMOTE_PLATFORM = Option(
    name="platform",
    kind="string",
    metavar="string",
    help="With --remote: which image of an index, e.g. linux/arm64; by default this machine's",
)

MANIFESTS = (
    Command(
        path=("manifest", "create"),
        arguments="MANIFEST_LIST MANIFEST [MANIFEST...]",
        summary="Begin a manifest list: one name for images of several platforms",
        description="The images are in a registry already. The list stays in the store until `manifest push`; its "
        "digest is docker's. `buildx imagetools create` copies images of other registries.",
        options=(Option(name="amend", short="a", help="Add to a list that there is"), _INSECURE),
        minimum=2,
        subjects=("image",),
        verb="verbs_manifest:create",
    ),
    Command(
        path=("manifest", "annotate"),
        arguments="MANIFEST_LIST MANIFEST",
        summary="Say which platform an image of a manifest list is for",
        options=(
            Option(name="arch", kind="string", metavar="string", help="Processor architecture"),
            Option(name="os", kind="string", metavar="string", help="Operating system"),
            Option(
                name="os-features",
                kind="list",
                metavar="strings",
                help="Features of the operating system, with commas; they are added",
            ),
            Option(name="os-version", kind="string", metavar="string", help="Version of the operating system"),
            Option(name="variant", kind="string", metavar="string", help="Variant of the architecture"),
        ),
        minimum=2,
        maximum=2,
        subjects=("image",),
        verb="verbs_manifest:annotate",
    ),
    Command(
        path=("manifest", "inspect"),
        arguments="[MANIFEST_LIST] MANIFEST",
        summary="Show a manifest or a manifest list, from the store or a registry",
        options=(_INSECURE, Option(name="verbose", short="v", help="Add platforms and the raw documents")),
        minimum=1,
        maximum=2,
        subjects=("image",),
        verb="verbs_manifest:inspect",
    ),
    Command(
        path=("manifest", "push"),
        arguments="MANIFEST_LIST",
        summary="Push a manifest list",
        description="Images of other repositories of the registry are mounted into the list's.",
        options=(_INSECURE, Option(name="purge", short="p", help="Forget the list afterwards")),
        minimum=1,
        maximum=1,
        subjects=("image",),
        verb="verbs_manifest:push",
    ),
    Command(
        path=("manifest", "rm"),
        arguments="MANIFEST_LIST [MANIFEST_LIST...]",
        summary="Forget manifest lists that are being put together",
        minimum=1,
        subjects=("image",),
        verb="verbs_manifest:remove",
    ),
    Command(
        path=("buildx", "imagetools", "create"),
        arguments="[SOURCE...]",
        summary="Put an index together in a registry, from images of any registries",
        description="A source is a name, a digest, or a descriptor in JSON. What the target's repository does not have "
        "is copied there. `--append` begins with what the first `--tag` stands for now.",
        options=(
            Option(
                name="annotation",
                kind="list",
                metavar="stringArray",
                help="Annotation: index:KEY=VALUE or manifest-descriptor[PLATFORM]:KEY=VALUE",
            ),
            Option(name="append", help="Add to the index that is there"),
            Option(name="builder", kind="string", metavar="string", hidden=True),
            Option(name="dry-run", help="Show the result, push nothing"),
            Option(
                name="file",
                short="f",
                kind="list",
                metavar="stringArray",
                help="File with a descriptor in JSON: one more source",
            ),
            Option(
                name="platform",
                short="p",
                kind="list",
                metavar="stringArray",
                help="Keep only images of these platforms",
            ),
            Option(
                name="prefer-index", default="true", help="An index even of a single image, else that image as it is"
            ),
            Option(
                name="progress",
                kind="string",
                metavar="string",
                default="auto",
                choices=("auto", "none", "plain", "rawjson", "tty", "quiet"),
                help="How progress is shown: auto, none, plain",
            ),
            Option(name="tag", short="t", kind="list", metavar="stringArray", help="Name for the result"),
        ),
        subjects=("image",),
        verb="verbs_manifest:assemble",
    ),
    Command(
        path=("buildx", "imagetools", "inspect"),
        arguments="NAME",
        summary="Show what a registry has under a name",
        description="`--format` has `.Name`, `.Manifest`, `.Image`, `.Provenance` and `.SBOM`; with an index of "
        "several platforms the last three are by platform.",
        options=(
            Option(name="builder", kind="string", metavar="string", hidden=True),
            Option(name="format", kind="string", metavar="string", help="Layout of the output: a Go template"),
            Option(name="raw", help="Show the document byte for byte"),
        ),
        minimum=1,
        maximum=1,
        subjects=("image",),
        verb="verbs_manifest:imagetools_inspect",
    ),
    Command(
        path=("image", "platforms"),
        arguments="NAME",
        summary="Show the platforms that a registry has an image for",
        description="Our own command. Nothing is pulled. Sizes are what a pull would download; the one that this "
        "machine takes is marked. In a notebook it is a picture of the index. A registry that limits pulls may count "
        "one for each platform; with `-q` it is one in all.",
        options=(FORMAT, NO_TRUNC, Option(name="quiet", short="q", help="Print nothing but platforms")),
        minimum=1,
        maximum=1,
        subjects=("image",),
        verb="verbs_manifest:platforms",
    ),
    Command(
        path=("image", "layers"),
        aliases=(("layers",),),
        arguments="IMAGE",
        summary="Show the layers of an image, base first",
        description="Our own command. SIZE is unpacked, DOWNLOAD what a registry sends: with `--remote` only the "
        "latter is known.",
        options=(FORMAT, NO_TRUNC, REMOTE_PLATFORM, REMOTE),
        minimum=1,
        maximum=1,
        subjects=("image",),
        verb="verbs_manifest:layers",
    ),
)
