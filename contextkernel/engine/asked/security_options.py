"""``--security-opt``: words to values, by docker's rules (moby, daemon/daemon_unix.go: parseSecurityOpt)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from contextkernel.errors import InvalidInput
from contextkernel.model.booleans import parse_bool

_MAX_PROFILE = 16 << 20
_HINT = (
    "no-new-privileges, seccomp=unconfined, seccomp=builtin, seccomp=PROFILE.json, systempaths=unconfined, "
    "landlock=unconfined; apparmor= and label= are noted"
)


class SecurityOptions(NamedTuple):
    """What the words come to.

    Attributes:
        shown: the words as ``inspect`` shows them; a seccomp profile is its JSON text.
        no_new_privileges, seccomp, apparmor, landlock, masks: as in :class:`contextkernel.model.security.Security`.
    """

    shown: tuple[str, ...]
    no_new_privileges: bool = False
    seccomp: str = ""
    apparmor: str = ""
    landlock: bool = True
    masks: bool = True


def parse_security_options(words: Iterable[str]) -> SecurityOptions:
    """Turn the words of ``--security-opt`` into values; a later word of a kind wins over an earlier one.

    Args:
        words: ``KEY=VALUE`` (or, as it once was, ``KEY:VALUE``).

    Raises:
        InvalidInput: an unknown word, a value that cannot be, a profile that cannot be read or is not right.
    """
    shown = []
    found = SecurityOptions(())
    for word in words:
        key, separator, value = word.partition("=") if "=" in word else word.partition(":")
        if not value and (key != "no-new-privileges" or separator):
            raise InvalidInput(f'invalid --security-opt: "{word}"', hint=_HINT)
        match key:
            case "no-new-privileges":
                found = found._replace(no_new_privileges=_flag(value or "true", word))
            case "seccomp":
                found = found._replace(seccomp=_seccomp(value))
                word = f"seccomp={found.seccomp}" if found.seccomp.startswith("{") else word  # noqa: PLW2901
            case "apparmor":
                found = found._replace(apparmor=value)
            case "label":
                pass
            case "systempaths" if value == "unconfined":
                found = found._replace(masks=False)
                continue
            case "landlock" if value == "unconfined":
                found = found._replace(landlock=False)
            case _:
                raise InvalidInput(f'invalid --security-opt 2: "{word}"', hint=_HINT)
        shown.append(word)
    return found._replace(shown=tuple(shown))


def _flag(value: str, word: str) -> bool:
    found = parse_bool(value)
    if found is None:
        raise InvalidInput(f'invalid --security-opt 2: "{word}"', hint="no-new-privileges=true or =false")
    return found


def _seccomp(value: str) -> str:
    """A word, or the JSON text of a profile that was checked, without its blanks."""
    if value in ("unconfined", "builtin"):
        return value
    from contextkernel.linux.seccomp_profile import parse_profile

    if value.lstrip().startswith("{"):
        text, name = value, ""
    else:
        text, name = _read(value), value
    parse_profile(text, name)
    return json.dumps(json.loads(text), separators=(",", ":"))


def _read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            data = file.read(_MAX_PROFILE + 1)
        if len(data) > _MAX_PROFILE:
            raise InvalidInput(f"the seccomp profile {path} is larger than {_MAX_PROFILE >> 20} MiB")
        return data.decode()
    except OSError as problem:
        reason = (problem.strerror or str(problem)).lower()
        raise InvalidInput(
            f"opening seccomp profile ({path}) failed: open {path}: {reason}",
            hint="seccomp=unconfined, seccomp=builtin, or the path of a JSON file",
        ) from None
    except UnicodeDecodeError:
        raise InvalidInput(f"the seccomp profile {path} is no text") from None
