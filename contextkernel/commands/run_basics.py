"""Options of ``run`` and ``create`` that every container has; they are declared with the two commands."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from contextkernel.commands.values import (
    parse_environment,
    parse_labels,
)

if TYPE_CHECKING:
    from contextkernel.commands.grammar import Parsed
    from contextkernel.engine.asked.basics import BasicKeywords

_STOP_TIMEOUT = 10


def keywords(parsed: Parsed) -> BasicKeywords:
    """The options as keyword arguments of the engine.

    Raises:
        UsageProblem: a value that cannot be.
    """
    entrypoint = parsed.maybe("entrypoint")
    stop_timeout = parsed.number("stop-timeout")
    return {
        "name": parsed.maybe("name"),
        "remove": parsed.flag("rm"),
        "environment": parse_environment(parsed.texts("env"), parsed.texts("env-file"), os.environ),
        "working_dir": parsed.maybe("workdir"),
        "user": parsed.text("user"),
        "hostname": parsed.maybe("hostname"),
        "read_only": parsed.flag("read-only"),
        "init": parsed.flag("init"),
        # docker's --entrypoint "" takes the image's entrypoint away
        "entrypoint": None if entrypoint is None else (entrypoint,),
        "labels": parse_labels(parsed.texts("label"), parsed.texts("label-file")),
        "stop_signal": parsed.maybe("stop-signal"),
        "tty": parsed.flag("tty"),
        "stop_timeout": _STOP_TIMEOUT if stop_timeout is None else stop_timeout,
    }
