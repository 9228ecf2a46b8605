"""The declaration of the commands about registries of our own."""

from __future__ import annotations

from contextkernel.commands.declared_options import FORMAT
from contextkernel.commands.grammar import Command, Option
from contextkernel.model.serving import DEFAULT_NAME

SERVING = (
    Command(
        path=("registry", "images"),
        arguments="[REGISTRY]",
        summary="List what is in a registry of ours",
        description=f"Our own command. Without a name, in the one called `{DEFAULT_NAME}`, whether it runs or not.",
        options=(FORMAT, Option(name="no-trunc", help="Do not cut digests")),
        maximum=1,
        subjects=("registry",),
        verb="verbs_serving:list_images",
    ),
    Command(
        path=("registry", "ls"),
        aliases=(("registry", "list"),),
        summary="List the registries of this store",
        description="Our own command.",
        options=(FORMAT, Option(name="quiet", short="q", help="Print nothing but names")),
        maximum=0,
        verb="verbs_serving:list_registries",
    ),
    Command(
        path=("registry", "rm"),
        aliases=(("registry", "remove"),),
        arguments="REGISTRY [REGISTRY...]",
        summary="Remove registries and everything that was pushed to them",
        description="Our own command.",
        options=(Option(name="force", short="f", help="Stop those that run"),),
        minimum=1,
        subjects=("registry",),
        verb="verbs_serving:remove",
    ),
    Command(
        path=("registry", "start"),
        summary="Start a small registry on loopback",
        description="Our own command. Prints the address, which stands before the names of images: "
        "`tag greet ADDRESS/greet`, `push ADDRESS/greet`. The registry is a process of its own: it lives on when the "
        "notebook's kernel ends, until `registry stop`; what was pushed stays for the next start. It answers programs "
        "of this user and of root; with `--user`, whoever has the password, from any user of this machine. A registry "
        "that runs already is only named.",
        options=(
            Option(name="images", help="Show the images of this store, read-only, instead of what is pushed"),
            Option(
                name="name", kind="string", metavar="string", default=DEFAULT_NAME, help="Name, for several registries"
            ),
            Option(name="password-stdin", help="Take the password of --user from standard input"),
            Option(
                name="port",
                short="p",
                kind="int",
                metavar="int",
                help="Port of 127.0.0.1, 0 for any; default: as before, 5000, else any",
            ),
            Option(name="user", short="u", kind="string", metavar="string", help="User who is let in with a password"),
        ),
        maximum=0,
        verb="verbs_serving:start",
    ),
    Command(
        path=("registry", "stop"),
        arguments="[REGISTRY...]",
        summary="Stop registries; what was pushed stays",
        description=f"Our own command. Without a name, the one called `{DEFAULT_NAME}`.",
        subjects=("registry",),
        verb="verbs_serving:stop",
    ),
)
