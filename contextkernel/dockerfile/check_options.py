"""The options of build checks: ``skip=A,B;error=true;experimental=all`` (BuildKit, ``linter/linter.go``).

They stand in the ``# check=`` directive, in the build argument ``BUILDKIT_DOCKERFILE_CHECK``, and in a comment before
one instruction, where they count for that instruction alone.
"""

from __future__ import annotations

from contextkernel.dockerfile.instructions import CheckDirective
from contextkernel.dockerfile.suggest import did_you_mean
from contextkernel.dockerfile.text import SPACE
from contextkernel.errors import InvalidInput
from contextkernel.model.booleans import parse_bool

_KEYS = ("skip", "experimental", "error")


def read_check_options(value: str) -> CheckDirective:
    """Read the options.

    Args:
        value: up to three ``key=value``, joined with ``;``; ``skip`` and ``experimental`` take rule names or ``all``.

    Raises:
        InvalidInput: an unknown key, or ``error`` that is neither true nor false.
    """
    names: dict[str, tuple[str, ...]] = {"skip": (), "experimental": ()}
    everything = {"skip": False, "experimental": False}
    error = False
    for part in value.strip(SPACE).split(";", 2) if value.strip(SPACE) else ():
        key, equals, setting = (word.strip(SPACE) for word in part.partition("="))
        if not equals or key not in _KEYS:
            raise InvalidInput(f"invalid check option {part!r}", hint=did_you_mean(key, _KEYS))
        if key == "error":
            flag = parse_bool(setting)
            if flag is None:
                raise InvalidInput(f"invalid check option {part!r}", hint="error=true or error=false")
            error = flag
        elif setting == "all":
            everything[key] = True
        else:
            names[key] = tuple(rule.strip(SPACE) for rule in setting.split(","))
    return CheckDirective(
        skip=names["skip"],
        skip_all=everything["skip"],
        experimental=names["experimental"],
        experimental_all=everything["experimental"],
        error=error,
    )
