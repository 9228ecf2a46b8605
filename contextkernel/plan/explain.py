"""Why did this miss? The inputs of a step's key beside those of an earlier one, as differences. Pure.

A record keeps the inputs as they are, but for long values, of which it keeps the beginning and a digest, and the
files of a COPY, which stand in a listing of their own: the same files are kept once however often they are copied.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from itertools import zip_longest
from typing import Any, TypeAlias

import msgspec

from contextkernel.model.digest import Digest
from contextkernel.model.explanation import KeyChange, Reason

Listing: TypeAlias = dict[str, str]
"""Files by path, each with a text that is another one if the file is."""

MAX_CHANGES = 8
"""Changes of one step that are told one by one; of the rest, the number."""
MAX_LISTED = 20_000
"""Files of one COPY that are kept in its listing."""
_LONG = 4096
_CONTENT = "content"


class StepInputs(msgspec.Struct, frozen=True, kw_only=True):
    """A step's key before it was digested, as it is kept.

    Attributes:
        kind: ``run``, ``copy`` or ``workdir``.
        inputs: by name, compact; see :func:`compact`.
        arguments: which of the variables in ``env`` come from ARG.
        parent: identity of what was below it, empty where it is not known yet.
        base: name of what its stage starts from.
        base_id: which one that was: an image's id, or an identity.
    """

    kind: str
    inputs: dict[str, Any]  # "object" is not a type that is decoded
    arguments: tuple[str, ...] = ()
    parent: str = ""
    base: str = ""
    base_id: str = ""


class Difference(msgspec.Struct, frozen=True, kw_only=True):
    """What differs between then and now: the first changes, and how many more there are."""

    changes: tuple[KeyChange, ...] = ()
    more: int = 0


def compact(inputs: Mapping[str, object]) -> dict[str, object]:
    """The inputs with long texts cut to their beginning and a digest of the whole; plain JSON values."""
    return {name: _short(json.loads(_text(value))) for name, value in inputs.items()}


def _short(value: object) -> object:
    if isinstance(value, str) and len(value) > _LONG:
        data = value.encode("utf-8", "surrogateescape")
        return f"{value[: _LONG // 2]}… ({len(data)} bytes, sha256:{Digest.of(data).short})"
    if isinstance(value, list):
        return [_short(item) for item in value]
    if isinstance(value, dict):
        return {name: _short(item) for name, item in value.items()}
    return value


def compare(
    old: StepInputs, new: StepInputs, old_files: Listing | None = None, new_files: Listing | None = None
) -> Difference:
    """The own inputs of a step that differ; what lies below it is not looked at.

    Args:
        old, new: then and now.
        old_files, new_files: listings of what they copy; ``None`` where there is none (any more).
    """
    found = _Found()
    for name in dict.fromkeys((*old.inputs, *new.inputs)):
        before, after = old.inputs.get(name), new.inputs.get(name)
        if before == after:
            continue
        if name == _CONTENT:
            found.add(_files(old_files, new_files))
        elif name == "env" and isinstance(before, dict) and isinstance(after, dict):
            found.add(_variables(before, after, {*old.arguments, *new.arguments}))
        elif name == "command":
            found.add([KeyChange(input=name, old=command_text(before), new=command_text(after))])
        elif isinstance(before, dict) and isinstance(after, dict):
            found.add(_pairs(name, before, after))
        else:
            found.add([KeyChange(input=name, old=_shown(before), new=_shown(after))])
    return found.difference()


def base_change(old: StepInputs, new: StepInputs) -> tuple[KeyChange, ...]:
    """The change of what the stage starts from, if it is another one."""
    if (old.base, old.base_id) == (new.base, new.base_id) or not old.base_id:
        return ()
    if old.base != new.base:
        return (KeyChange(input="base", old=old.base, new=new.base),)
    return (KeyChange(input="base", name=new.base, old=old.base_id, new=new.base_id),)


class _Found:
    """Collects changes up to a limit, and counts the rest."""

    def __init__(self) -> None:
        self._changes: list[KeyChange] = []
        self._more = 0

    def add(self, changes: Iterable[KeyChange]) -> None:
        for change in changes:
            if len(self._changes) < MAX_CHANGES:
                self._changes.append(change)
            else:
                self._more += 1

    def difference(self) -> Difference:
        return Difference(changes=tuple(self._changes), more=self._more)


def _files(old: Listing | None, new: Listing | None) -> Iterator[KeyChange]:
    """Changed ones first: they are what one usually looks for."""
    before, after = old or {}, new or {}
    told = False
    if old is not None and new is not None:
        for path in sorted(before.keys() & after.keys()):
            if before[path] != after[path]:
                told = True
                yield KeyChange(input="file", name=path, old=before[path], new=after[path])
        for path in sorted(after.keys() - before.keys()):
            told = True
            yield KeyChange(input="file", name=path, change="added", new=after[path])
        for path in sorted(before.keys() - after.keys()):
            told = True
            yield KeyChange(input="file", name=path, change="removed", old=before[path])
    if not told:
        # the listing is gone, or was too long to be kept as a whole
        yield KeyChange(input="files")


def _variables(old: dict[str, object], new: dict[str, object], arguments: set[str]) -> Iterator[KeyChange]:
    for change in _pairs("ENV", old, new):
        yield msgspec.structs.replace(change, input="ARG") if change.name in arguments else change


def _pairs(kind: str, old: dict[str, object], new: dict[str, object]) -> Iterator[KeyChange]:
    for name in dict.fromkeys((*old, *new)):
        if name not in old:
            yield KeyChange(input=kind, name=name, change="added", new=_shown(new[name]))
        elif name not in new:
            yield KeyChange(input=kind, name=name, change="removed", old=_shown(old[name]))
        elif old[name] != new[name]:
            yield KeyChange(input=kind, name=name, old=_shown(old[name]), new=_shown(new[name]))


def command_text(argv: object) -> str:
    """A command as one reads it: the text given to a shell, else the words as JSON."""
    if not isinstance(argv, list | tuple):
        return _shown(argv) or ""
    words = [str(word) for word in argv]
    if words[:-1] == ["/bin/sh", "-c"]:
        return words[-1]
    return json.dumps(words, ensure_ascii=False)


def _shown(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return _text(value)


def _text(value: object) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=True)


def sentence(reason: Reason, difference: Difference, *, earlier: str = "") -> str:
    """What happened, for people.

    Args:
        reason: of a miss; empty for a hit.
        difference: what changed.
        earlier: title of the earlier step that was done again, if that is why.
    """
    match reason:
        case "":
            return "found in the cache"
        case "new":
            return "never built before"
        case "pruned":
            return "built before, and removed from the cache since"
        case "no-cache":
            return "the cache was not asked (--no-cache)"
        case "parent":
            if earlier:
                return f"an earlier step was done again: {earlier}"
            if difference.changes:
                return f"it stands on something else: {listed(difference)}"
            return "it stands on other layers than before"
        case _:
            return listed(difference)


def listed(difference: Difference) -> str:
    """Changes in a line, with the number of those that are left out."""
    texts = [change_text(change) for change in difference.changes]
    return "; ".join(texts) + (f"; and {difference.more} more" if difference.more else "")


def change_text(change: KeyChange) -> str:
    """One change: ``file src/app.py changed``, ``ARG VERSION: 1 -> 2``."""
    name = f" {change.name}" if change.name else ""
    match change.input:
        case "file":
            return f"file{name} {change.change}"
        case "files":
            return "the files changed"
        case "command":
            return _command_change(change.old or "", change.new or "")
        case "base" if change.name:
            return f"base{name}: {_id(change.old)} -> {_id(change.new)}"
        case kind:
            if change.change != "changed":
                return f"{kind}{name} {change.change}" + (f": {change.new}" if change.new is not None else "")
            return f"{kind}{name}: {_value(change.old)} -> {_value(change.new)}"


def _id(text: str | None) -> str:
    return (text or "")[:19]  # sha256: and twelve digits


def _value(text: str | None) -> str:
    if not text:
        return '""' if text == "" else "none"
    return text if len(text) <= 60 else text[:59] + "…"


def _command_change(old: str, new: str) -> str:
    """The first line that differs, with what surrounds the difference."""
    before, after = old.splitlines(), new.splitlines()
    count = max(len(before), len(after))
    pairs = enumerate(zip_longest(before, after, fillvalue=""), 1)
    number, (one, two) = next(((at, pair) for at, pair in pairs if pair[0] != pair[1]), (1, (old, new)))
    where = f" line {number}" if count > 1 else ""
    start = 0
    while start < min(len(one), len(two)) and one[start] == two[start]:
        start += 1
    cut = max(0, start - 20) if max(len(one), len(two)) > 60 else 0
    lead = "…" if cut else ""
    return f"command{where}: {lead}{_value(one[cut:])} -> {lead}{_value(two[cut:])}"
