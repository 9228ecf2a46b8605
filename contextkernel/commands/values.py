"""Option values to typed ones: environment, labels, filters.

The rules are those of docker/cli (opts, pkg/kvfile).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from contextkernel.commands.grammar import nearest, usage_problem
from contextkernel.errors import InvalidInput


def parse_environment(words: Iterable[str], files: Iterable[str], environ: Mapping[str, str]) -> tuple[str, ...]:
    """``--env-file`` and ``-e`` values, in this order as docker's, so that ``-e`` wins.

    Args:
        words: ``KEY=value``; ``KEY`` alone takes the caller's value, and unsets the image's where the caller has none.
        files: paths of files with such lines.
        environ: the caller's environment.

    Returns:
        ``KEY=value``, or ``KEY`` to unset.

    Raises:
        InvalidInput: an empty name; a file that cannot be read.
    """
    items = [item for path in files for item in read_pairs(path, environ)]
    for word in words:
        key, equals, _ = word.partition("=")
        if not key:
            raise usage_problem(f"invalid environment variable: {word!r}", more="use -e NAME=value or -e NAME")
        items.append(word if equals or key not in environ else f"{key}={environ[key]}")
    return tuple(items)


def read_pairs(path: str, environ: Mapping[str, str] | None) -> tuple[str, ...]:
    """Lines ``KEY=value`` of an env or label file (docker/cli, pkg/kvfile).

    Nothing is expanded or unquoted; blank lines and lines that start with ``#`` do not count.

    Args:
        path: of the file.
        environ: gives the value of a ``KEY`` alone, which is left out where it has none; ``None``: the key is kept.

    Raises:
        InvalidInput: no such file, not UTF-8, no or an impossible name; with the line's number.
    """
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as problem:
        raise InvalidInput(f"cannot read {path}: {(problem.strerror or str(problem)).lower()}") from None
    out = []
    for number, raw in enumerate(content.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        try:
            line = raw.removesuffix(b"\r").decode().lstrip()
        except UnicodeDecodeError:
            raise InvalidInput(f"{path}, line {number}: not UTF-8 text") from None
        if not line or line.startswith("#"):
            continue
        key, equals, _ = line.partition("=")
        if not key:
            raise InvalidInput(f"{path}, line {number}: no variable name on line {line!r}")
        if " " in key or "\t" in key:
            raise InvalidInput(f"{path}, line {number}: variable {key!r} contains whitespace")
        if equals or environ is None:
            out.append(line)
        elif key in environ:
            out.append(f"{key}={environ[key]}")
    return tuple(out)


def parse_labels(words: Iterable[str], files: Iterable[str] = ()) -> dict[str, str]:
    """``KEY=value`` labels; a ``KEY`` alone has an empty value, and does not count in a file (as with docker).

    Raises:
        InvalidInput: an empty name; a file that cannot be read.
    """
    labels: dict[str, str] = {}
    for word in [item for path in files for item in read_pairs(path, {})] + list(words):
        key, _, value = word.partition("=")
        if not key:
            raise usage_problem(f"invalid label {word!r}: empty name", more="use --label name=value")
        labels[key] = value
    return labels


def parse_pairs(words: Iterable[str]) -> dict[str, str]:
    """``KEY=value`` of drivers and annotations; a ``KEY`` alone has an empty value."""
    pairs = (word.partition("=") for word in words)
    return {key: value for key, _, value in pairs}


def parse_build_args(words: Iterable[str]) -> dict[str, str | None]:
    """``--build-arg`` values; ``None`` means the caller's environment variable."""
    arguments: dict[str, str | None] = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not key:
            raise usage_problem(f"invalid build argument {word!r}: empty name", more="use --build-arg NAME=value")
        arguments[key] = value if equals else None
    return arguments


def parse_filters(words: Iterable[str], known: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """``--filter KEY=VALUE`` values by key.

    Raises:
        UsageProblem: no ``=``, or a key that is not among ``known``; exit code 1 for the latter, as docker's.
    """
    filters: dict[str, tuple[str, ...]] = {}
    keys = sorted(known)
    for word in words:
        key, equals, value = word.partition("=")
        key, value = key.strip().lower(), value.strip()
        if not equals:
            raise usage_problem(f"invalid filter {word!r}", more="use --filter KEY=VALUE")
        if key not in keys:
            raise usage_problem(
                f"invalid filter {key!r}", near=nearest(key, keys), more=f"filters: {', '.join(keys)}", exit_code=1
            )
        filters[key] = (*filters.get(key, ()), value)
    return filters
