"""When a registry is asked again: a table of codes, growing waits with jitter, and what ``Retry-After`` says.

Sources: RFC 9110 sections 10.2.3 and 15, RFC 6585 section 4, and what containerd and Docker's own clients retry.
Clock, sleep and chance are handed in: a test waits for nothing.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

import msgspec

from contextkernel.errors import RegistryNameUnknown, RegistryProblem, RegistryUnreachable, RegistryUntrusted

T = TypeVar("T")

BROKEN = 0
"""The table's key for no answer at all."""
NAMELESS = -1
"""The table's key for a host that nobody knows."""

TABLE: Mapping[int, int] = {
    BROKEN: 5,  # network, a connection that broke or fell silent
    NAMELESS: 2,  # whoever has no network has not to wait long for every name that is misspelled
    408: 5,  # the server waited too long for us
    425: 3,
    429: 5,
    500: 3,  # often a state that stays; not as patient as with the next ones
    502: 5,
    503: 5,
    504: 5,
    507: 1,
}
"""How often a request is made in all, by the status of its answer; what is not listed is final."""

_EPOCH = 1_000_000_000
"""A ``Retry-After`` above it is a time, not a number of seconds: Docker Hub sends such ones."""


class Tries(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a client is.

    Attributes:
        connect: seconds until a connection must stand.
        silence: seconds that a server may be silent.
        first: seconds before the second try; doubled for each further one.
        longest: seconds that one wait may take; a registry that asks for more is given up at once.
        table: tries by status, see :data:`TABLE`.
        now: seconds since the epoch.
        sleep: waits; may raise to end it all.
        chance: a number from 0 to 1.
    """

    connect: float = 5.0
    silence: float = 60.0
    first: float = 0.5
    longest: float = 60.0
    table: Mapping[int, int] = msgspec.field(default_factory=lambda: TABLE)
    now: Callable[[], float] = time.time
    sleep: Callable[[float], object] = time.sleep
    chance: Callable[[], float] = random.random

    def delay(self, problem: RegistryProblem, attempt: int) -> float | None:
        """Seconds to wait after a failure.

        Args:
            problem: why it failed.
            attempt: how often it was tried so far, from 1.

        Returns:
            ``None`` if it is final.
        """
        if isinstance(problem, RegistryUntrusted):
            return None
        key = NAMELESS if isinstance(problem, RegistryNameUnknown) else problem.status
        allowed = self.table.get(key, 0) if key or isinstance(problem, RegistryUnreachable) else 0
        if attempt >= allowed:
            return None
        if problem.retry_after is not None:
            # a little later than asked for, so that those who were refused together do not come back together
            asked = problem.retry_after + self.first * self.chance()
            return asked if asked <= self.longest else None
        return float(min(self.longest, self.first * 2 ** (attempt - 1)) * (0.5 + self.chance() / 2))

    def run(self, action: Callable[[], T], told: Callable[[RegistryProblem, float], None] | None = None) -> T:
        """Do something until it succeeds or its failure is final.

        Args:
            action: is called again from the start.
            told: is told of each failure that is not final, and of the seconds that are waited.

        Raises:
            RegistryProblem: the last failure.
        """
        attempt = 0
        while True:
            try:
                return action()
            except RegistryProblem as problem:
                attempt += 1
                wait = self.delay(problem, attempt)
                if wait is None:
                    raise
                if told is not None:
                    told(problem, wait)
            self.sleep(wait)


def retry_after(headers: Mapping[str, str], now: float) -> float | None:
    """Seconds that an answer asks to wait.

    Args:
        headers: of the answer; ``Retry-After`` is a number of seconds, an HTTP date, or seconds since the epoch.
        now: seconds since the epoch.

    Returns:
        ``None`` if it does not say, or nothing that can be understood.
    """
    text = headers.get("Retry-After", "").strip() or headers.get("X-Retry-After", "").strip()
    if not text:
        return None
    if text.isascii() and text.isdigit():
        number = float(text[:15])
        return max(0.0, number - now) if number > _EPOCH else number
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - now)
    except (ValueError, TypeError, OverflowError):
        return None
