"""From an image's configuration and the user's wishes to a container: docker's rules for command, environment, names.

Pure: nothing here looks at the host.
"""

from __future__ import annotations

import re
import signal as signals
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from contextkernel.errors import InvalidInput
from contextkernel.model.given import several
from contextkernel.model.life import Life
from contextkernel.model.oci import Healthcheck

if TYPE_CHECKING:
    from contextkernel.model.oci import RunConfig

DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
TERM = "TERM=xterm"
_NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]+\Z")


def check_name(name: str) -> str:
    """Return ``name`` without docker's optional leading slash, if it may name a container.

    Raises:
        InvalidInput: otherwise (docker's rule: ``[a-zA-Z0-9][a-zA-Z0-9_.-]+``).
    """
    bare = name.removeprefix("/")
    if not _NAME.match(bare):
        raise InvalidInput(
            f"invalid container name {name!r}",
            hint="two or more letters, digits, _ . and -, starting with a letter or digit",
        )
    return bare


def merge_environment(base: Iterable[str], extra: Iterable[str]) -> tuple[str, ...]:
    """``KEY=value`` strings of ``base`` with those of ``extra`` replacing equal keys in place or appended.

    An entry of ``extra`` without ``=`` removes the key, as docker does for ``-e NAME`` of an unset variable.
    """
    merged = {item.partition("=")[0]: item for item in base}
    for item in extra:
        key, equals, _ = item.partition("=")
        if equals:
            merged[key] = item
        else:
            merged.pop(key, None)
    return tuple(merged.values())


def environment_items(environment: Mapping[str, str] | str | Sequence[str]) -> tuple[str, ...]:
    """A mapping, or one or several ``KEY=value``, as a tuple of ``KEY=value``."""
    if isinstance(environment, Mapping):
        return tuple(f"{key}={value}" for key, value in environment.items())
    return several(environment)


def compose_command(
    config: RunConfig, entrypoint: Sequence[str] | None, command: Sequence[str]
) -> tuple[tuple[str, ...] | None, tuple[str, ...] | None]:
    """Entrypoint and command of a container (docker run: ENTRYPOINT and CMD overrides).

    A given entrypoint drops the image's CMD; a given command replaces it.

    Args:
        config: the image's.
        entrypoint: ``--entrypoint``; ``("",)`` removes the image's; ``None`` keeps it.
        command: words after the image name.

    Returns:
        ``(entrypoint, cmd)``, either may be ``None``.

    Raises:
        InvalidInput: if nothing is left to run.
    """
    if entrypoint is None:
        chosen = config.entrypoint or None
        cmd = tuple(command) or config.cmd or None
    else:
        chosen = tuple(entrypoint) if any(entrypoint) else None
        cmd = tuple(command) or None
    if not chosen and not cmd:
        raise InvalidInput(
            "no command specified",
            hint="the image has neither ENTRYPOINT nor CMD: give a command after the image name",
        )
    return chosen, cmd


def signal_number(text: str) -> int:
    """``SIGTERM``, ``term`` or ``15`` as a number.

    Raises:
        InvalidInput: for anything that is not a signal of this system.
    """
    if text.isdigit():
        number = int(text)
        if 0 < number < signals.NSIG:
            return number
    else:
        name = text.upper()
        if not name.startswith("SIG"):
            name = f"SIG{name}"
        offset = re.fullmatch(r"SIGRT(MIN\+|MAX-)(\d+)", name)
        if offset:
            base = signals.SIGRTMIN if offset[1] == "MIN+" else signals.SIGRTMAX
            number = base + int(offset[2]) * (1 if offset[1] == "MIN+" else -1)
            if signals.SIGRTMIN <= number <= signals.SIGRTMAX:
                return number
        elif name in signals.Signals.__members__:
            return signals.Signals[name].value
    raise InvalidInput(f"invalid signal {text!r}", hint="a name such as TERM or SIGKILL, or a number")


def shown_command(argv: Sequence[str]) -> str:
    """The command as ``docker ps`` shows it: words with a space are put in single quotes."""
    head, *rest = argv
    return " ".join([head, *(f"'{word}'" if " " in word else word for word in rest)])


def merge_life(asked: Life, config: RunConfig) -> Life:
    """What was asked for, completed by the image's health check (moby, daemon/commit.go).

    Each setting of the check that the user left out is the image's, also where ``--no-healthcheck`` takes the test.

    Args:
        asked: what the user wants; a check without a test changes the settings of the image's.
        config: the image's.
    """
    own, healthcheck = asked.healthcheck, config.healthcheck
    if own is None:
        merged = healthcheck
    elif healthcheck is None:
        merged = own
    else:
        merged = Healthcheck(
            test=own.test or healthcheck.test,
            interval=own.interval or healthcheck.interval,
            timeout=own.timeout or healthcheck.timeout,
            start_period=own.start_period or healthcheck.start_period,
            start_interval=own.start_interval or healthcheck.start_interval,
            retries=own.retries or healthcheck.retries,
        )
    return msgspec.structs.replace(asked, healthcheck=merged, shell=config.shell or ())
