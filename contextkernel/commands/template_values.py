"""Values in Go templates: how Go prints them, what nil means, and the functions docker offers. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from contextkernel.commands.humanize import go_quote

_MAPS = frozenset(
    {"Labels", "Data", "DriverOpts", "Options", "Ports", "Networks", "ExposedPorts", "Volumes", "Annotations"}
)
_SLICES = frozenset(
    {
        "Aliases",
        "Cmd",
        "DNSNames",
        "Entrypoint",
        "Env",
        "OnBuild",
        "Shell",
        "RepoTags",
        "RepoDigests",
        "Args",
        "Binds",
        "Mounts",
        "Layers",
        "Links",
        "Manifests",
        "SecondaryIPAddresses",
        "SecondaryIPv6Addresses",
        "Test",
    }
)
#: fields that docker's documents leave out when they are empty, and what a template finds there then
_OMITTED: dict[str, Any] = {
    "Annotations": {},
    "ArgsEscaped": False,
    "Descriptor": None,
    "ExposedPorts": {},
    "Health": None,
    "Healthcheck": None,
    "ImageManifestDescriptor": None,
    "Init": None,
    "MacAddress": "",
    "Manifests": None,
    "Mounts": None,
    "NetworkDisabled": False,
    "OsVersion": "",
    "Shell": [],
    "SizeRootFs": None,
    "SizeRw": None,
    "StopSignal": "",
    "StopTimeout": None,
    "StorageOpt": {},
    "Sysctls": {},
    "Tmpfs": {},
    "Variant": "",
}
#: one field each by which documents that leave such fields out are known: the state, the configuration and the host's
#: part of a container, a whole container, and an image
_LEAVING_OUT = ("OOMKilled", "AttachStdin", "LogConfig", "ExecIDs", "RootFS")
#: the same for smaller structures: fields by which one is known, and what it leaves out (moby, api/types:
#: container.MountPoint, mount.Mount, volume.Volume, network.Inspect, network.IPAMConfig)
_OMITTED_BY: dict[tuple[str, ...], dict[str, Any]] = {
    ("RW",): {"Name": "", "Source": "", "Driver": ""},
    ("Type", "Target"): {
        "Source": "",
        "ReadOnly": False,
        "Consistency": "",
        "BindOptions": None,
        "VolumeOptions": None,
        "ImageOptions": None,
        "TmpfsOptions": None,
        "ClusterOptions": None,
    },
    ("Mountpoint",): {"CreatedAt": "", "Status": {}, "UsageData": None, "ClusterVolume": None},
    ("Ingress",): {"Peers": [], "Services": {}},
    ("Subnet",): {"IPRange": "", "Gateway": "", "AuxAddress": {}},
}
_WIDEST = 10_000


class FunctionProblem(Exception):
    """A function cannot take its arguments; the text says why."""


class _NoValue:
    """A missing entry of a map: prints ``<no value>`` and is false."""

    def __bool__(self) -> bool:
        return False


NO_VALUE = _NoValue()


class GoMap(dict[str, Any]):
    """A mapping whose keys are data, not fields: a missing one is no error."""

    is_nil = False


class GoStruct(dict[str, Any]):
    """The fields of a Go struct by their names.

    Attributes:
        wire: the same as its JSON has it, where names or order differ.
    """

    def __init__(self, fields: Mapping[str, Any], wire: Mapping[str, Any]) -> None:
        super().__init__(fields)
        self.wire = wire


class _NilList(list[Any]):
    """A nil slice: prints as ``[]``, is ``null`` in JSON."""


def omitted(value: Mapping[str, Any], name: str) -> bool:
    """Whether ``name`` is a field of docker's structure that is not in this document because it is empty."""
    return _left_out(value, name) is not None


def lookup(value: Mapping[str, Any], name: str) -> Any:
    """The field ``name``; documents do not say which of their nulls are Go's nil maps and nil slices, names do."""
    found = value[name] if name in value else (_left_out(value, name) or {})[name]
    if name in _MAPS and (found is None or isinstance(found, dict)):
        made = GoMap(found or {})
        made.is_nil = found is None
        return made
    if name in _SLICES and found is None:
        return _NilList()
    return found


def _left_out(value: Mapping[str, Any], name: str) -> Mapping[str, Any] | None:
    """What is found in the fields that this document leaves out, if ``name`` is one of them."""
    for by, fields in _OMITTED_BY.items():
        if name in fields and all(known in value for known in by):
            return fields
    return _OMITTED if name in _OMITTED and any(known in value for known in _LEAVING_OUT) else None


def show(value: Any) -> str:
    """``value`` as Go's ``fmt`` prints it (``%v``)."""
    if value is NO_VALUE:
        return "<no value>"
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return f"{value:.6g}" if abs(value) < 1e21 else f"{value:e}"
    if isinstance(value, Mapping):
        shown = sorted((str(key), show(item)) for key, item in value.items() if not callable(item))
        return "map[" + " ".join(f"{key}:{item}" for key, item in shown) + "]"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + " ".join(show(item) for item in value) + "]"
    return str(value)


def to_json(value: Any, indent: int | None = None) -> str:
    """Compact (or indented) JSON as docker's ``json`` function writes it: keys sorted only where Go has maps."""
    separators = (",", ":") if indent is None else (",", ": ")
    return json.dumps(_plain(value), ensure_ascii=False, separators=separators, indent=indent)


def _plain(value: Any) -> Any:
    if value is NO_VALUE or isinstance(value, _NilList) or (isinstance(value, GoMap) and value.is_nil):
        return None
    if isinstance(value, GoStruct):
        return _plain(value.wire)
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items() if not callable(item)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(item) for item in value]
    return value


# -- functions ----------------------------------------------------------------------------------------


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise FunctionProblem(f"wants text, not {show(value)[:60]}")
    return value


def _whole(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise FunctionProblem(f"wants a whole number, not {show(value)[:60]}")
    return value


def _join(value: Any, separator: str) -> str:
    if value is None or value is NO_VALUE:
        return ""
    if isinstance(value, Mapping):
        return _text(separator).join(sorted(show(item) for item in value.values()))
    if isinstance(value, Sequence) and not isinstance(value, str):
        return _text(separator).join(show(item) for item in value)
    raise FunctionProblem(f"expected slice, got {show(value)[:60]}")


def _title(value: str) -> str:
    """First letter of each word in upper case, the rest as it is (Go's ``strings.Title``)."""
    out, previous = [], " "
    for char in _text(value):
        out.append(char if previous.isalnum() or previous in "_'" else char.upper())
        previous = char
    return "".join(out)


def _pad(value: str, before: int, after: int) -> str:
    if not value:
        return value
    if not 0 <= _whole(before) <= _WIDEST or not 0 <= _whole(after) <= _WIDEST:
        raise FunctionProblem(f"cannot pad with {before} and {after} blanks")
    return " " * before + _text(value) + " " * after


def _truncate(value: str, length: int) -> str:
    if _whole(length) < 0:
        raise FunctionProblem(f"cannot truncate to {length} characters")
    return _text(value)[:length]


def _split(value: str, separator: str) -> list[str]:
    return _text(value).split(separator) if _text(separator) else list(value)


def _length(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogateescape"))
    if isinstance(value, Mapping | Sequence):
        return len(value)
    if value is None:  # what docker's documents have as null are lists and mappings without elements
        return 0
    raise FunctionProblem(f"len of {show(value)[:60]}")


def _index(value: Any, *keys: Any) -> Any:
    for key in keys:
        if isinstance(value, Mapping):
            value = lookup(value, key) if isinstance(key, str) and key in value else ""
        elif isinstance(value, Sequence):
            if not 0 <= _whole(key) < len(value):
                raise FunctionProblem(f"index out of range: {key}")
            value = ord(value[key]) if isinstance(value, str) else value[key]
        else:
            raise FunctionProblem(f"can't index {show(value)[:60]}")
    return value


def _slice(value: Any, *bounds: Any) -> Any:
    if isinstance(value, Mapping) or not isinstance(value, Sequence):
        raise FunctionProblem(f"can't slice {show(value)[:60]}")
    low, high = (*(_whole(bound) for bound in bounds[:2]), *(0, len(value))[len(bounds) :])[:2]
    if not 0 <= low <= high <= len(value):
        raise FunctionProblem(f"index out of range: {low} to {high} of {len(value)}")
    return value[low:high]


def _printf(layout: str, *values: Any) -> str:
    """Go's verbs ``%s %v %d %q %x %X %t %f %g %e %%`` with flags and widths."""
    import re

    queue = list(values)

    def verb(found: re.Match[str]) -> str:
        flags, kind = found[1], found[2]
        if kind == "%":
            return "%"
        if any(int(number) > _WIDEST for number in re.findall(r"\d{1,9}", flags)) or len(flags) > 12:
            raise FunctionProblem(f"%{flags}{kind} is too wide")
        if not queue:
            return f"%!{kind}(MISSING)"
        value = queue.pop(0)
        numeric = isinstance(value, int | float) and not isinstance(value, bool)
        if kind in "dc" and not (numeric and isinstance(value, int)):
            return f"%!{kind}({show(value)})"
        if kind in "feg" and not isinstance(value, float):
            return f"%!{kind}({show(value)})"
        if kind == "q":
            return ("%" + flags + "s") % go_quote(show(value))
        if kind in "xX" and not numeric:
            digits = show(value).encode("utf-8", "surrogateescape").hex()
            return ("%" + flags + "s") % (digits.upper() if kind == "X" else digits)
        if kind in "svtT":
            return ("%" + flags.replace("0", "", 1) + "s" if flags.startswith("0") else "%" + flags + "s") % show(value)
        return str(("%" + flags + kind) % value)

    out = re.sub(r"%([-+ 0#]*\d*(?:\.\d+)?)([%svdqxXtTfgec])", verb, _text(layout))
    return out + (f"%!(EXTRA {', '.join(show(value) for value in queue)})" if queue else "")


def _print(*values: Any) -> str:
    """Blanks only between operands of which neither is text (Go's ``fmt.Sprint``)."""
    out = ""
    previous: Any = ""
    for position, value in enumerate(values):
        if position and not isinstance(value, str) and not isinstance(previous, str):
            out += " "
        out += show(value)
        previous = value
    return out


def _println(*values: Any) -> str:
    return " ".join(show(value) for value in values) + "\n"


def _and(first: Any, *rest: Any) -> Any:
    value = first
    for other in rest:
        if not value:
            return value
        value = other
    return value


def _or(first: Any, *rest: Any) -> Any:
    value = first
    for other in rest:
        if value:
            return value
        value = other
    return value


def _order(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def ordered(left: Any, right: Any) -> bool:
        if isinstance(left, str) != isinstance(right, str) or isinstance(left, Mapping | list | tuple):
            raise FunctionProblem("incompatible types for comparison")
        return compare(left, right)

    return ordered


def _equal(first: Any, *rest: Any) -> bool:
    if not rest:
        raise FunctionProblem("missing argument for comparison")
    return any(first == other for other in rest)


def functions() -> dict[str, Callable[..., Any]]:
    """Docker's functions and Go's built-in ones."""
    return {
        "json": to_json,
        "split": _split,
        "join": _join,
        "title": _title,
        "lower": lambda value: _text(value).lower(),
        "upper": lambda value: _text(value).upper(),
        "pad": _pad,
        "truncate": _truncate,
        "len": _length,
        "index": _index,
        "slice": _slice,
        "print": _print,
        "println": _println,
        "printf": _printf,
        "and": _and,
        "or": _or,
        "not": lambda value: not value,
        "eq": _equal,
        "ne": lambda left, right: left != right,
        "lt": _order(lambda left, right: left < right),
        "le": _order(lambda left, right: left <= right),
        "gt": _order(lambda left, right: left > right),
        "ge": _order(lambda left, right: left >= right),
    }


def header_functions() -> dict[str, Callable[..., Any]]:
    """For a table's headings: what would take a heading apart leaves it as it is."""
    known = functions()
    for name in ("json", "split", "join", "title", "lower", "upper", "truncate"):
        known[name] = lambda value, *_: value
    return known
