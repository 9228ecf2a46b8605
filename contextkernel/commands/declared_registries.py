"""The declaration of the commands about registries elsewhere: logins, searching."""

from __future__ import annotations

from contextkernel.commands.declared_options import FILTER, FORMAT, NO_TRUNC
from contextkernel.commands.grammar import Command, Option

REGISTRIES = (
    Command(
        path=("login",),
        arguments="[SERVER]",
        summary="Show a registry who you are, and keep that",
        description="SERVER is a registry's host, by default Docker Hub. What is not given is asked for; in a notebook "
        "the password is typed into a field that shows nothing. It is kept where docker keeps it: with the credential "
        "helper that `config.json` names, else in that file.",
        options=(
            Option(name="password", short="p", kind="string", metavar="string", help="Password or access token"),
            Option(name="password-stdin", help="Take the password from standard input"),
            Option(name="username", short="u", kind="string", metavar="string", help="User name"),
        ),
        maximum=1,
        verb="verbs_registries:login",
        group="Common Commands",
    ),
    Command(
        path=("logout",),
        arguments="[SERVER]",
        summary="Forget who you are at a registry",
        maximum=1,
        verb="verbs_registries:logout",
        group="Common Commands",
    ),
    Command(
        path=("search",),
        arguments="TERM",
        summary="Search Docker Hub, or another registry, for images",
        description="With a registry before the term (`localhost:5000/demo`) that one is asked. Filters: "
        "`is-official=true|false`, `stars=NUMBER`.",
        options=(
            FILTER,
            FORMAT,
            Option(name="limit", kind="int", metavar="int", help="At most so many rows, 25 by default"),
            NO_TRUNC,
        ),
        minimum=1,
        maximum=1,
        verb="verbs_registries:search",
        group="Common Commands",
    ),
)
