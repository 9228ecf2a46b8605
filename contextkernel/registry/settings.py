"""Where a registry is reached: ``registries.toml`` in the configuration directory, and the environment.

::

    [registry."docker.io"]
    mirrors = ["https://mirror.example.org"]

    [registry."localhost:5000"]
    insecure = true        # plain http
"""

from __future__ import annotations

import os
import tomllib
from typing import Any

import msgspec

from contextkernel.errors import InvalidInput

_LOCAL = ("localhost", "127.0.0.1", "[::1]")
_ENDPOINTS = {"docker.io": "registry-1.docker.io"}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One base URL to try for a registry; ``mirror`` endpoints come before the registry itself."""

    url: str
    mirror: bool = False


def endpoints(registry: str) -> tuple[Endpoint, ...]:
    """The URLs to try for ``registry``, mirrors first.

    Loopback registries are spoken to without TLS, as docker does. ``$CONTEXTKERNEL_MIRROR`` is one more
    mirror for ``docker.io``.

    Raises:
        InvalidInput: the settings file is not valid; names file and problem.
    """
    settings = _load().get(registry, {})
    mirrors = [str(url).rstrip("/") for url in settings.get("mirrors", [])]
    if registry == "docker.io" and os.environ.get("CONTEXTKERNEL_MIRROR"):
        mirrors.insert(0, os.environ["CONTEXTKERNEL_MIRROR"].rstrip("/"))
    host = registry.rpartition(":")[0] if registry[-1:].isdigit() and ":" in registry else registry
    plain = bool(settings.get("insecure", host in _LOCAL))
    own = f"{'http' if plain else 'https'}://{_ENDPOINTS.get(registry, registry)}"
    return (*(Endpoint(url=url, mirror=True) for url in mirrors), Endpoint(url=own))


def settings_path() -> str:
    """The settings file: ``$CONTEXTKERNEL_REGISTRIES`` or ``registries.toml`` in the configuration directory."""
    named = os.environ.get("CONTEXTKERNEL_REGISTRIES")
    if named:
        return named
    from platformdirs import user_config_dir

    return os.path.join(user_config_dir("contextkernel"), "registries.toml")


def _load() -> dict[str, dict[str, Any]]:
    path = settings_path()
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except tomllib.TOMLDecodeError as problem:
        raise InvalidInput(f"{path} is not valid TOML: {problem}") from None
    table = document.get("registry", {})
    if not isinstance(table, dict) or not all(isinstance(value, dict) for value in table.values()):
        raise InvalidInput(f"{path}: 'registry' must be a table of tables", hint='write [registry."docker.io"]')
    return table
