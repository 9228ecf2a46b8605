"""The options of ``build`` that say what becomes of the result."""

from __future__ import annotations

from contextkernel.commands.grammar import Option

OUTPUT_OPTIONS = (
    Option(
        name="annotation",
        kind="list",
        metavar="stringArray",
        help="Annotation of the image: [LEVEL[PLATFORM]:]KEY=VALUE; levels are manifest, manifest-descriptor, "
        "index, index-descriptor",
    ),
    Option(
        name="attest",
        kind="list",
        metavar="stringArray",
        help="Statement about the result: type=provenance or type=sbom, and keys",
    ),
    Option(name="iidfile", kind="string", metavar="string", help="File to write the image's id to"),
    Option(name="load", help="Put the image into the store as well, when --output names other places"),
    Option(
        name="metadata-file",
        kind="string",
        metavar="string",
        help="File to write digests and names of the result to, as JSON",
    ),
    Option(
        name="output",
        short="o",
        kind="list",
        metavar="stringArray",
        help='What the result becomes: a directory, "-" for a tar on standard output, or type=NAME,KEY=VALUE; '
        "types are image, local, tar, oci, docker, cacheonly",
    ),
    Option(
        name="provenance",
        kind="string",
        metavar="string",
        help="State how the result was made: true, false, mode=min or mode=max",
    ),
    Option(name="push", help="Push the image to the registry that its name says, besides keeping it"),
    Option(
        name="sbom",
        kind="string",
        metavar="string",
        help="List the packages in the result: true or false",
    ),
)
