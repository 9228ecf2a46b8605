"""Verbs about the build cache: prune, du, system df."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from contextkernel.commands.cache_tables import summary, verbose
from contextkernel.commands.declared_cache import CACHE_FILTERS
from contextkernel.commands.grammar import Parsed, usage_problem
from contextkernel.commands.humanize import human_size, utc_now
from contextkernel.commands.outcome import Nothing, Outcome, Table, Text
from contextkernel.commands.tables import table_text
from contextkernel.commands.values import parse_filters
from contextkernel.commands.verbs_image import shown
from contextkernel.errors import InvalidInput
from contextkernel.model.cache import CacheFilter, CacheLimits, parse_size

if TYPE_CHECKING:
    from contextkernel.commands.call import Call
    from contextkernel.model.cache import CacheRow

_UNITS = {"ns": 1, "us": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9, "h": 3600 * 10**9, "d": 86400 * 10**9}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ns|us|ms|s|m|h|d)")
_TRUE = ("", "1", "t", "true")


def prune(call: Call) -> Outcome:
    """Remove build cache; docker's question and docker's table."""
    parsed = call.parsed
    wanted = cache_filter(parsed.texts("filter"), time.time_ns())
    limits = CacheLimits(
        max_used=_size(parsed, "max-used-space"),
        reserved=_size(parsed, "reserved-space") or _size(parsed, "keep-storage"),
        min_free=_size(parsed, "min-free-space"),
    )
    everything = parsed.flag("all")
    what = "all build cache" if everything else "all dangling build cache"
    if not parsed.flag("force") and not call.face.confirm(
        f"WARNING! This will remove {what}. Are you sure you want to continue?"
    ):
        return Outcome(value=Nothing())
    pruned = call.engine.prune_build_cache(wanted, limits, all=everything)
    text = _rows(parsed, pruned.rows) if pruned.rows else ""
    return Outcome(value=Text(f"{text}Total:\t{human_size(pruned.freed)}\n"))


def usage(call: Call) -> Outcome:
    """What the build cache holds."""
    rows = call.engine.build_cache(cache_filter(call.parsed.texts("filter"), time.time_ns()))
    table = Table("cache", rows)
    if call.parsed.given("format") or not call.parsed.flag("verbose"):
        return shown(call, table)
    return Outcome(value=Text(_rows(call.parsed, rows) + summary(rows)))


def _rows(parsed: Parsed, rows: tuple[CacheRow, ...]) -> str:
    return verbose(rows, utc_now()) if parsed.flag("verbose") else table_text(Table("cache", rows))


def _size(parsed: Parsed, name: str) -> int:
    text = parsed.maybe(name)
    try:
        return parse_size(text) if text else 0
    except InvalidInput as problem:
        raise usage_problem(f"invalid argument for --{name}: {problem.problem}", more=problem.hint or "") from None


def cache_filter(words: Iterable[str], now: int) -> CacheFilter:
    """``--filter`` of the cache's commands.

    Args:
        words: the values.
        now: nanoseconds since the epoch, for ``until=24h``.

    Raises:
        UsageProblem: an unknown key, or no value of its kind.
    """
    found = parse_filters([word if "=" in word else f"{word}=true" for word in words], CACHE_FILTERS)
    limit = None
    for key in ("until", "unused-for"):
        for value in found.get(key, ()):
            moment = _until(value, now)
            limit = moment if limit is None else min(limit, moment)
    return CacheFilter(
        used_before=limit,
        ids=found.get("id", ()),
        types=found.get("type", ()),
        description=found.get("description", ()),
        shared=_either(found, "shared", "private"),
        mutable=_either(found, "mutable", "immutable"),
        in_use=_either(found, "inuse", ""),
    )


def _either(found: dict[str, tuple[str, ...]], yes: str, no: str) -> bool | None:
    for key, meaning in ((yes, True), (no, False)):
        if key in found:
            return meaning if found[key][-1].lower() in _TRUE else not meaning
    return None


def _until(value: str, now: int) -> int:
    """A moment: so long ago (``24h``, ``1h30m``), Unix seconds, or RFC 3339."""
    if value and _PART.sub("", value) == "":
        return now - int(sum(float(number) * _UNITS[unit] for number, unit in _PART.findall(value)))
    if re.fullmatch(r"\d+(\.\d+)?", value):
        return int(float(value) * 10**9)
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise usage_problem(
            f"invalid filter until={value}", more="e.g. until=24h, or until=2026-01-31T12:00:00"
        ) from None
    return int((moment if moment.tzinfo else moment.astimezone()).timestamp() * 10**9)
