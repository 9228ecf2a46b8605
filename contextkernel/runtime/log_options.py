"""Log drivers and their options, by docker's rules (moby, daemon/logger). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping

from contextkernel.errors import InvalidInput
from contextkernel.model.booleans import parse_bool
from contextkernel.model.container import ContainerSpec
from contextkernel.model.life import LogOptions, LogRules

DRIVERS = ("json-file", "local", "none")
_ATTRIBUTES = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
_FILES = frozenset({"max-size", "max-file", "compress"})
_ANY = frozenset({"mode", "max-buffer-size"})
_OPTIONS = {"json-file": _FILES | _ATTRIBUTES, "local": _FILES, "none": frozenset[str]()}
#: docker's defaults: json-file keeps all, local keeps five files of 20 MB
_DEFAULTS = {"json-file": (0, 1), "local": (20 * 1000 * 1000, 5), "none": (0, 1)}
_TAG_FIELDS = frozenset(
    {"ID", "FullID", "Name", "FullName", "ImageID", "ImageFullID", "ImageName", "Command", "DaemonName"}
)
_FIELD = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


def check(logs: LogOptions) -> LogOptions:
    """Return what was asked for if it can be.

    Raises:
        InvalidInput: no such driver, an option that it does not have, or a value that cannot be.
    """
    if logs.driver not in DRIVERS:
        raise InvalidInput(f"no log driver {logs.driver!r}", hint=f"one of {', '.join(DRIVERS)}")
    if logs.driver == "none" and logs.options:
        raise InvalidInput(f"log driver none takes no options, got {_listed(logs.options)}", hint="leave --log-opt out")
    for name in logs.options:
        if name not in _OPTIONS[logs.driver] | _ANY:
            known = ", ".join(sorted(_OPTIONS[logs.driver] | _ANY))
            raise InvalidInput(f"unknown log option {name!r} for log driver {logs.driver}", hint=f"one of {known}")
    mode = logs.options.get("mode", "blocking")
    if mode not in ("", "blocking", "non-blocking"):
        raise InvalidInput(f"log mode {mode!r} is not possible", hint="blocking or non-blocking")
    for name in ("labels-regex", "env-regex"):
        try:
            re.compile(logs.options.get(name, ""))
        except re.error as problem:
            raise InvalidInput(f"log option {name}: not a regular expression: {problem}") from None
    size, files = limits(logs)
    if parse_bool(logs.options.get("compress", "false")) is None:
        raise InvalidInput(f"log option compress: {logs.options['compress']!r} is neither true nor false")
    if parse_bool(logs.options.get("compress", "false")):
        if files < 2 or not size:
            raise InvalidInput("compress cannot be true when max-file is less than 2 or max-size is not set")
        raise InvalidInput("log option compress: older log files are not compressed here", hint="leave compress out")
    _tag(logs.options.get("tag", ""), {})
    return logs


def limits(logs: LogOptions) -> tuple[int, int]:
    """Bytes of one file (0: without bound) and the number of files.

    Raises:
        InvalidInput: a value that is none.
    """
    size, files = _DEFAULTS[logs.driver]
    if "max-size" in logs.options:
        text = logs.options["max-size"]
        from contextkernel.dockerfile.text import parse_size

        found = parse_size(text)
        if not found:
            raise InvalidInput(f"log option max-size: invalid size {text!r}", hint="such as 10m or 512k")
        size = found
    if "max-file" in logs.options:
        text = logs.options["max-file"]
        if not text.isdigit():
            raise InvalidInput(f"log option max-file: {text!r} is not a whole number")
        files = int(text)
        if files < 1:
            raise InvalidInput("log option max-file cannot be less than 1")
    return size, files


def rules(spec: ContainerSpec) -> LogRules:
    """How the container's log is written.

    Args:
        spec: a container whose options were checked.
    """
    logs = spec.life.logs
    size, files = limits(logs)
    return LogRules(max_size=size, max_files=files, attributes=dict(_attributes(spec, logs.options)))


def _attributes(spec: ContainerSpec, options: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    environment = dict(item.partition("=")[::2] for item in spec.env)
    yield from _chosen(spec.labels, options.get("labels", ""), options.get("labels-regex", ""))
    yield from _chosen(environment, options.get("env", ""), options.get("env-regex", ""))
    if options.get("tag"):
        fields = {
            "ID": spec.id[:12],
            "FullID": spec.id,
            "Name": spec.name,
            "FullName": f"/{spec.name}",
            "ImageID": spec.image_id.short,
            "ImageFullID": str(spec.image_id),
            "ImageName": spec.image,
            "Command": " ".join(spec.argv),
            "DaemonName": "contextkernel",
        }
        yield "tag", _tag(options["tag"], fields)


def _chosen(values: Mapping[str, str], names: str, pattern: str) -> Iterator[tuple[str, str]]:
    for name in filter(None, names.split(",")):
        if name in values:
            yield name, values[name]
    if pattern:
        yield from ((name, value) for name, value in values.items() if re.search(pattern, name))


def _tag(text: str, fields: Mapping[str, str]) -> str:
    if "{{" in _FIELD.sub("", text) or not set(_FIELD.findall(text)) <= _TAG_FIELDS:
        raise InvalidInput(
            f"log option tag: {text!r} cannot be filled in", hint="it may have fields such as {{.Name}} and {{.ID}}"
        )
    return _FIELD.sub(lambda found: fields.get(found[1], ""), text)


def _listed(options: Iterable[str]) -> str:
    return ", ".join(sorted(options))
