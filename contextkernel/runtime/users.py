"""Which ids ``user[:group]`` means in an image: the rules of moby/sys/user (GetExecUser). Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from contextkernel.errors import InvalidInput

_MAX_ID = 2**31 - 1


class Identity(NamedTuple):
    """Resolved ids, and the home directory that ``HOME`` gets if the environment has none."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def resolve(spec: str, passwd: str, group: str, more_groups: Iterable[str] = ()) -> Identity:
    """Resolve a user as docker does.

    A number is always an id, even if a user of that name exists. Supplementary groups are those that list the user, and
    none if a group was named.

    Args:
        spec: ``user[:group]``, names or ids; empty is root.
        passwd, group: content of the image's /etc/passwd and /etc/group, empty if missing.
        more_groups: further supplementary groups, names or numbers.

    Raises:
        InvalidInput: a name that is not in the file, or a number that is no id.
    """
    user_text, _, group_text = spec.partition(":")
    group_text = group_text.partition(":")[0]
    wanted = 0 if not user_text else _number(user_text)
    uid, gid, home, name = 0, 0, "/", ""
    for fields in _rows(passwd, 7):
        found = _plain(fields[2])
        if found is not None and (fields[0] == user_text if wanted is None else found == wanted):
            name, uid, gid, home = fields[0], found, _plain(fields[3]) or 0, fields[5] or "/"
            break
    else:
        if wanted is None:
            raise InvalidInput(
                f"unable to find user {user_text}: no matching entries in passwd file",
                hint="create the user in the image, or give a numeric id",
            )
        uid = wanted
    more = tuple(_group(text, group) for text in more_groups)
    if group_text:
        return Identity(uid, _group(group_text, group), more, home)
    members = [
        number
        for fields in _rows(group, 4)
        if name and name in fields[3].split(",") and (number := _plain(fields[2])) is not None
    ]
    return Identity(uid, gid, (*members, *more), home)


def _group(text: str, group: str) -> int:
    wanted = _number(text)
    if wanted is not None:
        return wanted
    for fields in _rows(group, 4):
        number = _plain(fields[2])
        if fields[0] == text and number is not None:
            return number
    raise InvalidInput(
        f"unable to find group {text}: no matching entries in group file",
        hint="create the group in the image, or give a numeric id",
    )


def _rows(text: str, width: int) -> list[list[str]]:
    """Lines as fields, filled up to ``width``; comments and empty lines are skipped."""
    rows = []
    for line in text.splitlines():
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            fields = stripped.split(":")
            rows.append(fields + [""] * (width - len(fields)))
    return rows


def _plain(text: str) -> int | None:
    """A number in a file; one that is no id, as a file of an untrusted image may have, is none."""
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(_MAX_ID))):
        return None
    number = int(text)
    return number if number <= _MAX_ID else None


def _number(text: str) -> int | None:
    number = _plain(text)
    if number is None and text.isascii() and text.removeprefix("-").isdigit():
        raise InvalidInput(f"uids and gids must be in range 0-{_MAX_ID}, got {text[:20]}")
    return number
