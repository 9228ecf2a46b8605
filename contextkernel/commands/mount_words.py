"""The value of ``--mount``: ``type=volume,src=data,dst=/data`` and so on (docker/cli, opts/mount.go)."""

from __future__ import annotations

import csv
from typing import Any

from contextkernel.commands.grammar import nearest, usage_problem
from contextkernel.commands.values_build import parse_bytes
from contextkernel.errors import UsageProblem
from contextkernel.model.booleans import parse_bool
from contextkernel.model.mounts import Mount

_KEYS = (
    "type", "source", "src", "target", "dst", "destination", "readonly", "ro", "consistency", "bind-propagation",
    "bind-nonrecursive", "bind-recursive", "bind-create-src", "volume-subpath", "volume-nocopy", "volume-label",
    "volume-driver", "volume-opt", "tmpfs-size", "tmpfs-mode",
)  # fmt: skip
_ALONE = frozenset(("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "bind-create-src"))
_TYPES = ("bind", "volume", "tmpfs")
_OCTAL = 8


def parse_mount(text: str) -> Mount:
    """One value of ``--mount``.

    Args:
        text: comma separated ``KEY=VALUE``; quoted as in CSV where a value has commas.

    Raises:
        UsageProblem: not the grammar; the engine checks whether the mount can be.
    """
    try:
        rows = list(csv.reader([text], strict=True))
    except csv.Error as problem:
        raise _wrong(text, str(problem)) from None
    words = rows[0] if rows else []
    if not words:
        raise _wrong(text, "it is empty")
    found: dict[str, Any] = {"type": "volume", "labels": {}, "options": {}}
    for word in words:
        key, equals, value = word.partition("=")
        key = key.lower()
        if key not in _KEYS:
            if not equals:
                raise _wrong(text, f"invalid field '{word}' must be a key=value pair", near=nearest(key, _KEYS))
            raise _wrong(text, f"unexpected key '{key}' in '{word}'", near=nearest(key, _KEYS))
        if not equals and key not in _ALONE:
            raise _wrong(text, f"invalid field '{word}' must be a key=value pair")
        _take(found, key, value if equals else "true", text)
    return _made(found, text)


def _take(found: dict[str, Any], key: str, value: str, text: str) -> None:
    match key:
        case "type":
            found["type"] = value.lower()
        case "source" | "src":
            found["source"] = value
        case "target" | "dst" | "destination":
            found["target"] = value
        case "readonly" | "ro":
            found["read_only"] = _boolean(key, value, text)
        case "consistency":
            found["consistency"] = value.lower()
        case "bind-propagation":
            found["propagation"] = value.lower()
        case "bind-nonrecursive":
            found["recursive"] = "disabled" if _boolean(key, value, text) else "enabled"
        case "bind-recursive":
            if value not in ("enabled", "disabled", "writable", "readonly"):
                more = '(must be "enabled", "disabled", "writable", or "readonly")'
                raise _wrong(text, f"invalid value for {key}: {value} {more}")
            found["recursive"] = value
        case "bind-create-src":
            found["create_source"] = _boolean(key, value, text)
        case "volume-subpath":
            found["subpath"] = value
        case "volume-nocopy":
            found["no_copy"] = _boolean(key, value, text)
        case "volume-driver":
            found["driver"] = value
        case "volume-label" | "volume-opt":
            name, _, rest = value.partition("=")
            found["labels" if key == "volume-label" else "options"][name] = rest
        case "tmpfs-size":
            try:
                found["size"] = parse_bytes("tmpfs-size", value)
            except UsageProblem:
                raise _wrong(text, f"invalid value for {key}: {value}") from None
        case _:
            try:
                found["permissions"] = int(value, _OCTAL)
            except ValueError:
                raise _wrong(text, f"invalid value for {key}: {value}") from None
    found.setdefault("given", set()).add(key)


def _boolean(key: str, value: str, text: str) -> bool:
    found = parse_bool(value)
    if found is None:
        raise _wrong(text, f"invalid value for {key}: {value}")
    return found


def _made(found: dict[str, Any], text: str) -> Mount:
    given: set[str] = found.pop("given", set())
    kind = found["type"]
    if not found.get("target"):
        raise _wrong(text, "target is required")
    for other in _TYPES:
        if other != kind and any(key.startswith(f"{other}-") for key in given):
            raise _wrong(text, f"cannot mix '{other}-*' options with mount type '{kind}'")
    if found.get("recursive") in ("writable", "readonly") and not found.get("read_only"):
        raise _wrong(text, f"option 'bind-recursive={found['recursive']}' requires 'readonly' to be specified")
    if found.get("recursive") == "readonly" and found.get("propagation") != "rprivate":
        raise _wrong(text, "option 'bind-recursive=readonly' requires 'bind-propagation=rprivate' to be specified")
    if kind not in _TYPES:
        raise usage_problem(
            f'invalid mount config for type "{kind}": mount type unknown', more=f"one of {', '.join(_TYPES)}"
        )
    return Mount(**found)


def _wrong(text: str, problem: str, near: str = "") -> UsageProblem:
    return usage_problem(
        f'invalid argument "{text}" for "--mount" flag: {problem}', near=near, more="--mount KEY=VALUE,..."
    )
