"""What a registry says of its rate limit, in words."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping

from contextkernel.errors import RegistryRateLimited

_LIMIT = re.compile(r"\s*(\d{1,9})\s*(?:;\s*w=(\d{1,9}))?")


def rate_limited(
    where: str, said: str, headers: Mapping[str, str], wait: float | None, now: float, *, logged: bool
) -> RegistryRateLimited:
    """The error for 429.

    Args:
        where: repository or registry.
        said: the registry's own words.
        headers: ``RateLimit-Limit`` (``100;w=21600``: 100 in six hours, Docker Hub's form).
        wait: seconds until the reset, if it said so.
        now: seconds since the epoch.
        logged: whether somebody is logged in: limits are often higher then.
    """
    text = f"{where}: the registry limits the rate of requests"
    limit = _LIMIT.match(headers.get("RateLimit-Limit", "") or headers.get("X-RateLimit-Limit", ""))
    if limit:
        text += f": {limit[1]} requests" + (f" in {duration(float(limit[2]))}" if limit[2] else "")
    if wait is not None:
        at = time.strftime("%H:%M:%S" if wait < 86400 else "%Y-%m-%d %H:%M", time.localtime(now + wait))
        text += f"; the limit is reset at {at}, in {duration(wait)}"
    if said:
        text += f" ({said})"
    hint = "wait, or name a mirror in registries.toml"
    if not logged:
        hint = "log in (limits are often higher for users), wait, or name a mirror in registries.toml"
    return RegistryRateLimited(text, hint=hint, status=429, retry_after=wait)


def duration(seconds: float) -> str:
    """A time span in the largest unit that fits: ``45 seconds``, ``2 hours``."""
    for size, name in ((86400, "day"), (3600, "hour"), (60, "minute")):
        if seconds >= 2 * size or (seconds >= size and seconds % size == 0):
            count = round(seconds / size)
            return f"{count} {name}{'s' if count != 1 else ''}"
    count = max(0, round(seconds))
    return f"{count} second{'s' if count != 1 else ''}"
