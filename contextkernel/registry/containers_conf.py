"""``registries.conf`` of containers (podman, buildah, skopeo), read where present.

Source: containers-registries.conf(5), version 2. Names without a registry are Docker Hub's here, as with docker:
``unqualified-search-registries`` and aliases are not used.
"""

from __future__ import annotations

import os
import tomllib
from typing import Any

from contextkernel.errors import InvalidInput


def table_for(registry: str, repository: str, *, by_digest: bool) -> tuple[str, dict[str, Any]] | None:
    """What the files say of a repository, in the words of ``registries.toml``.

    Args:
        registry, repository: as in references.
        by_digest: mirrors may be for tags or digests alone.

    Returns:
        The file's path and the table; ``None`` if no file says anything.

    Raises:
        InvalidInput: a file cannot be understood; names it.
    """
    wanted = f"{registry}/{repository}" if repository else registry
    best: tuple[int, str, dict[str, Any]] | None = None
    for path in _paths():
        for table in _registries(path):
            prefix = table.get("prefix") or table.get("location")
            if isinstance(prefix, str) and _covers(prefix, registry, wanted) and (not best or len(prefix) >= best[0]):
                best = (len(prefix), path, {**table, "prefix": prefix})
    if best is None:
        return None
    _, path, table = best
    out: dict[str, Any] = {key: table[key] for key in ("insecure", "blocked") if key in table}
    prefix, location = table["prefix"], table.get("location")
    # a part of the name is replaced, the rest stays; with a wildcard there is nothing to replace
    cut = "" if prefix.startswith("*") else prefix.removeprefix(registry).strip("/")
    if isinstance(location, str) and location and not prefix.startswith("*"):
        out |= {"location": location, "cut": cut}
    mirrors = table.get("mirror", [])
    digests_only = table.get("mirror-by-digest-only") is True
    out["mirrors"] = [
        {"location": mirror["location"], "insecure": mirror.get("insecure", False), "cut": cut}
        for mirror in (mirrors if isinstance(mirrors, list) else [])
        if isinstance(mirror, dict) and isinstance(mirror.get("location"), str)
        if by_digest or not digests_only
        if mirror.get("pull-from-mirror", "all") in ("all", "digest-only" if by_digest else "tag-only")
    ]
    return path, out


def _covers(prefix: str, registry: str, wanted: str) -> bool:
    if prefix.startswith("*."):
        return registry.endswith(prefix[1:])
    return wanted == prefix or wanted.startswith(f"{prefix}/")


def _paths() -> list[str]:
    """The files, later ones stronger: the main file, then those of the directories beside it."""
    named = os.environ.get("CONTAINERS_REGISTRIES_CONF") or os.environ.get("REGISTRIES_CONFIG_PATH")
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    own, common = f"{config}/containers/registries.conf", "/etc/containers/registries.conf"
    main = named or (own if os.path.exists(own) else common)
    found = [main]
    for folder in ("/etc/containers/registries.conf.d", f"{config}/containers/registries.conf.d") if not named else ():
        try:
            found += sorted(f"{folder}/{name}" for name in os.listdir(folder) if name.endswith(".conf"))
        except OSError:
            continue
    return found


def _registries(path: str) -> list[dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InvalidInput(
            f"{path} is not valid TOML: {problem}", hint="registries.toml of contextkernel goes before it"
        ) from None
    except OSError as problem:
        raise InvalidInput(f"cannot read {path}: {str(problem.strerror).lower()}") from None
    tables = document.get("registry", [])
    # version 1 has tables of another form there, and is not read by podman any more either
    return [table for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []
