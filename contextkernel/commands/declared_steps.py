"""The declaration of what ``build`` gives its RUN instructions."""

from __future__ import annotations

from contextkernel.commands.grammar import Option

STEP_OPTIONS = (
    Option(
        name="add-host",
        kind="list",
        metavar="strings",
        help="Line of /etc/hosts for RUN: NAME:ADDRESS; host-gateway is this machine",
    ),
    Option(
        name="allow",
        kind="list",
        metavar="stringArray",
        help="What RUN may ask for: network.host, security.insecure",
    ),
    Option(
        name="cgroup-parent",
        kind="string",
        metavar="string",
        help="Accepted for docker's sake; steps have no cgroup of their own",
    ),
    Option(
        name="secret",
        kind="list",
        metavar="stringArray",
        help="Secret for RUN --mount=type=secret: id=NAME,src=FILE or id=NAME,env=VARIABLE",
    ),
    Option(name="shm-size", kind="string", metavar="bytes", help="Size of /dev/shm for RUN, by default 64m"),
    Option(
        name="ssh",
        kind="list",
        metavar="stringArray",
        help="Agent for RUN --mount=type=ssh: NAME for the running one, or NAME=SOCKET|KEY",
    ),
    Option(
        name="ulimit",
        kind="list",
        metavar="ulimit",
        help="Resource limit for RUN: NAME=SOFT[:HARD]",
    ),
)
