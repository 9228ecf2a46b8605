"""Subordinate ids of a user: subuid(5), subgid(5)."""

from __future__ import annotations

from collections.abc import Sequence

from contextkernel.model.ids import IdMap, IdRange

#: the kernel takes up to 340 lines in an id map (user_namespaces(7)); the first one is the user's own id
_MAX_RANGES = 339


def parse_ranges(text: str, owners: Sequence[str]) -> tuple[tuple[int, int], ...]:
    """The ranges of a user.

    Args:
        text: content of ``/etc/subuid`` or ``/etc/subgid``: lines ``owner:first:count``.
        owners: what may stand for the user: login name, uid in digits.

    Returns:
        (first, count) pairs in the order of the file; lines that are not understood are passed over, as the
        programs do that use these files.
    """
    ranges = []
    for line in text.splitlines():
        owner, _, rest = line.strip().partition(":")
        first, _, count = rest.partition(":")
        if (
            owner in owners
            and first.isascii()
            and first.isdigit()
            and count.isascii()
            and count.isdigit()
            and int(count)
        ):
            ranges.append((int(first), int(count)))
    return tuple(ranges)


def range_map(own: int, ranges: Sequence[tuple[int, int]]) -> tuple[IdRange, ...]:
    """Id 0 inside is one's own id, and those from 1 on are the subordinate ranges one after another.

    Args:
        own: id of the user.
        ranges: (first, count) pairs.
    """
    mapped = [IdRange(0, own, 1)]
    following = 1
    for first, count in ranges[:_MAX_RANGES]:
        mapped.append(IdRange(following, first, count))
        following += count
    return tuple(mapped)


def own_map(text: str, most: int = 65536) -> tuple[IdRange, ...]:
    """All the ids of a user namespace from 0 on, each as itself: for a namespace inside this one.

    Args:
        text: content of ``/proc/self/uid_map`` or ``gid_map``: lines ``first outside count``.
        most: how many ids are wanted.

    Returns:
        One range for each of the lines, since the kernel takes no range that spans two of them; none if there is just
        one id, or if id 0 is missing.
    """
    mapped: list[IdRange] = []
    following = 0
    for line in sorted(tuple(int(word) for word in line.split()) for line in text.splitlines()):
        first, _, count = line
        if first != following or following >= most or len(mapped) > _MAX_RANGES:
            break
        size = min(count, most - following)
        mapped.append(IdRange(first, first, size))
        following += size
    return tuple(mapped) if following > 1 else ()


def read_idmap(
    uid: int, gid: int, user: str, *, subuid: str = "/etc/subuid", subgid: str = "/etc/subgid"
) -> IdMap | None:
    """The id map that the files promise; whether it can be had is another question.

    Args:
        uid, gid: of the user.
        user: login name.
        subuid, subgid: paths of the files.

    Returns:
        ``None`` if there is no range for the user in one of the files, or a file cannot be read.
    """
    owners = (user, str(uid))
    found = []
    for path in (subuid, subgid):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                ranges = parse_ranges(file.read(), owners)
        except OSError:
            return None
        if not ranges:
            return None
        found.append(ranges)
    return IdMap(range_map(uid, found[0]), range_map(gid, found[1]))
