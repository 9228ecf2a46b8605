"""The declaration of the commands for containers that run: attach, exec, pause."""

from __future__ import annotations

from contextkernel.commands.grammar import Command, Option

#: of `run` and `create`
STREAM_OPTIONS = (
    Option(
        name="attach",
        short="a",
        kind="list",
        metavar="list",
        help="Attach only these: STDIN, STDOUT, STDERR",
    ),
    Option(name="interactive", short="i", help="Give it a standard input"),
    Option(name="tty", short="t", help="Give it a terminal; in a notebook the cell is typed there"),
)
DETACH_KEYS = Option(
    name="detach-keys",
    kind="string",
    metavar="string",
    help="Keys that leave it running, at a terminal (default ctrl-p,ctrl-q)",
)

INTERACTION = (
    Command(
        path=("container", "exec"),
        aliases=(("exec",),),
        arguments="CONTAINER COMMAND [ARG...]",
        summary="Run a command in a running container",
        description="It is in the container's namespaces and limits and has its capabilities and system call filter. "
        "Exit codes: 126 the command cannot be executed, 127 it does not exist, else the command's own. In a notebook "
        "`%%container exec -i CONTAINER COMMAND` gives the cell to the command's standard input. Unlike docker's, an "
        "interrupted exec does not leave its command running.",
        options=(
            Option(name="detach", short="d", help="Do not wait for it"),
            DETACH_KEYS,
            Option(
                name="env",
                short="e",
                kind="list",
                metavar="list",
                help="Environment variable: NAME=VALUE, or NAME for the caller's",
            ),
            Option(name="env-file", kind="list", metavar="list", help="File with a line for each environment variable"),
            Option(name="interactive", short="i", help="Give it a standard input"),
            Option(name="privileged", help="Give it all capabilities that the engine has"),
            Option(name="tty", short="t", help="Give it a terminal"),
            Option(
                name="user",
                short="u",
                kind="string",
                metavar="string",
                help="User to run as: USER[:GROUP], names or numbers",
            ),
            Option(name="workdir", short="w", kind="string", metavar="string", help="Directory to start in"),
        ),
        minimum=2,
        interspersed=False,
        subjects=("running", "command"),
        verb="verbs_interaction:exec_",
        group="Common Commands",
    ),
    Command(
        path=("container", "attach"),
        aliases=(("attach",),),
        arguments="CONTAINER",
        summary="Connect to the input and output of a running container",
        description="Its output is shown from now on, until it ends; several may be attached at once. In a notebook an "
        "interrupt leaves the container running.",
        options=(
            DETACH_KEYS,
            Option(name="no-stdin", help="Do not connect standard input"),
            Option(name="sig-proxy", default="true", help="Pass signals on to the container"),
        ),
        minimum=1,
        maximum=1,
        subjects=("running",),
        verb="verbs_interaction:attach",
    ),
    Command(
        path=("container", "pause"),
        aliases=(("pause",),),
        arguments="CONTAINER [CONTAINER...]",
        summary="Pause all processes of containers",
        minimum=1,
        subjects=("running",),
        verb="verbs_interaction:pause",
    ),
    Command(
        path=("container", "unpause"),
        aliases=(("unpause",),),
        arguments="CONTAINER [CONTAINER...]",
        summary="Let all processes of paused containers go on",
        minimum=1,
        subjects=("running",),
        verb="verbs_interaction:unpause",
    ),
)
