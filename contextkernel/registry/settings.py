"""Where a registry is reached: ``registries.toml`` in the configuration directory, and what else this machine has.

::

    [registry."docker.io"]
    mirrors = ["https://mirror.example.org"]

    [registry."lab.example.org:5000"]
    insecure = true                 # TLS without a check of the certificate, else plain HTTP
    ca = "lab-ca.pem"               # further authorities for this registry
    client-cert = "me.cert.pem"     # who this machine is, for registries that ask
    client-key = "me.key.pem"
    blocked = false                 # true: never spoken to
    location = "other.example.org"  # where it really is
    chunk = "90m"                   # largest body of one request of an upload

Where the file says nothing of a registry, ``registries.conf`` of containers (podman, skopeo) is asked. Certificates are
also taken from ``certs.d/HOST/`` of docker and of containers. See docs/howto/registries.md.
"""

from __future__ import annotations

import os
import tomllib
from typing import Any, Literal

import msgspec

from contextkernel.errors import InvalidInput, RegistryDenied
from contextkernel.model.cache import parse_size
from contextkernel.model.urls import is_loopback

Access = Literal["pull", "pull,push", "pull,push,delete"]
"""What is going to be done with a repository."""

HUB_HOST = "registry-1.docker.io"
_HUB_NAMES = {"docker.io", "index.docker.io"}
_LAST_PORT = 65535
_KEYS = {"mirrors", "insecure", "ca", "client-cert", "client-key", "blocked", "location", "chunk"}


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """One base URL to try for a registry; ``mirror`` endpoints come before the registry itself.

    Attributes:
        url: without ``/v2/``.
        mirror: holds copies; it is only read from, and does not get the registry's credentials.
        other: the same host by the other scheme, tried where it does not speak the first one; empty: it is not.
        verify: whether its certificate is checked.
        ca: file of further authorities; empty for none.
        certificate, key: files of this client's certificate and its key; empty for none.
        cut, prefix: what a repository's path begins with in references, and here instead.
        chunk: largest body of one request of an upload, in bytes; 0: as large as the blob.
    """

    url: str
    mirror: bool = False
    other: str = ""
    verify: bool = True
    ca: str = ""
    certificate: str = ""
    key: str = ""
    cut: str = ""
    prefix: str = ""
    chunk: int = 0

    def path(self, repository: str) -> str:
        """The path of a repository at this endpoint."""
        rest = repository.removeprefix(self.cut).strip("/") if self.cut else repository
        return f"{self.prefix}/{rest}".strip("/") if self.prefix else rest


def endpoints(
    registry: str, repository: str = "", *, access: Access = "pull", by_digest: bool = False
) -> tuple[Endpoint, ...]:
    """The URLs to try for ``registry``, mirrors first.

    Loopback registries are spoken to without TLS where they do not want it, as docker does. ``$CONTEXTKERNEL_MIRROR``
    is one more mirror for ``docker.io``.

    Args:
        registry: as in references.
        repository: ``registries.conf`` may say something for a part of a registry.
        access: mirrors are for reading only.
        by_digest: what is asked for is named by its digest; some mirrors are for that alone.

    Raises:
        InvalidInput: the settings file is not valid; names file and problem. No registry has what is asked for: it is
            ``scratch``, or the port is none. RegistryDenied: the settings block it.
    """
    from contextkernel.registry.containers_conf import table_for

    if (registry, repository) == ("docker.io", "library/scratch"):
        raise InvalidInput("'scratch' is a reserved name", hint="it is what FROM scratch begins with: nothing")
    path = settings_path()
    settings: dict[str, Any] | None = _load(path).get(registry)
    if settings is None:
        found = table_for(registry, repository, by_digest=by_digest)
        if found is not None:
            path, settings = found
    settings = settings or {}
    if _flag(settings, "blocked", path, registry):
        raise RegistryDenied(f"{registry} is blocked by {path}", hint="name another registry")
    mirrors = [_mirror(item, path, registry) for item in _list(settings, "mirrors", path, registry)]
    if registry == "docker.io" and os.environ.get("CONTEXTKERNEL_MIRROR"):
        mirrors.insert(0, _endpoint(os.environ["CONTEXTKERNEL_MIRROR"], {}, "", "", mirror=True))
    location = _text(settings, "location", path, registry) or registry
    own = _endpoint(location, settings, path, registry)
    return (*mirrors, own) if access == "pull" else (own,)


def settings_path() -> str:
    """The settings file: ``$CONTEXTKERNEL_REGISTRIES`` or ``registries.toml`` in the configuration directory."""
    named = os.environ.get("CONTEXTKERNEL_REGISTRIES")
    if named:
        return named
    from platformdirs import user_config_dir

    return os.path.join(user_config_dir("contextkernel"), "registries.toml")


def _load(path: str) -> dict[str, dict[str, Any]]:
    try:
        with open(path, "rb") as file:
            document = tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as problem:
        raise InvalidInput(f"{path} is not valid TOML: {problem}") from None
    except OSError as problem:
        raise InvalidInput(f"cannot read {path}: {str(problem.strerror).lower()}") from None
    table = document.get("registry", {})
    if not isinstance(table, dict) or not all(isinstance(value, dict) for value in table.values()):
        raise InvalidInput(f"{path}: 'registry' must be a table of tables", hint='write [registry."docker.io"]')
    for name, settings in table.items():
        for key in settings:
            if key not in _KEYS:
                raise InvalidInput(
                    f"{path}: registry {name!r} has the unknown setting {key!r}",
                    hint=f"one of {', '.join(sorted(_KEYS))}",
                )
    return table


def _mirror(item: object, path: str, registry: str) -> Endpoint:
    if isinstance(item, str):
        return _endpoint(item, {}, path, registry, mirror=True)
    if isinstance(item, dict) and isinstance(item.get("location"), str):
        return _endpoint(item["location"], item, path, registry, mirror=True)
    raise InvalidInput(
        f"{path}: a mirror of {registry} must be a URL, or a table with 'location'",
        hint='mirrors = ["https://mirror.example.org"]',
    )


def _endpoint(location: str, settings: dict[str, Any], path: str, registry: str, *, mirror: bool = False) -> Endpoint:
    """An endpoint from a URL, or from a host with an optional prefix of repositories behind it."""
    scheme, named, rest = location.rstrip("/").rpartition("://")
    host, _, prefix = rest.partition("/")
    if named and scheme not in ("http", "https"):
        raise InvalidInput(f"{path}: {location!r} of {registry} is neither http nor https")
    if not host or "@" in host:
        raise InvalidInput(
            f"{path}: {registry.rpartition('@')[2]} has a location that is not a host",
            hint="credentials belong to `login`, not in a URL",
        )
    if not _has_port(host):
        where = f"{path}: " if path else ""
        raise InvalidInput(f"{where}{host!r} has a port that is none", hint="ports go up to 65535")
    host = HUB_HOST if host in _HUB_NAMES else host
    loopback, insecure = is_loopback(_name(host)), _flag(settings, "insecure", path, registry)
    base, other = f"https://{host}", ""
    if named:
        base = f"{scheme}://{host}" + (f"/{prefix}" if prefix else "")
    elif insecure:
        other = f"http://{host}"
    if loopback and not named:
        base, other = f"http://{host}", f"https://{host}"
    certificates = _certificates(host)
    return Endpoint(
        url=base,
        mirror=mirror,
        other=other,
        verify=not (insecure or loopback),
        ca=_file(settings, "ca", path, registry) or certificates.get("ca", ""),
        certificate=_file(settings, "client-cert", path, registry) or certificates.get("cert", ""),
        key=_file(settings, "client-key", path, registry) or certificates.get("key", ""),
        cut=str(settings.get("cut", "")),
        prefix="" if named else prefix,
        chunk=_size(settings, path, registry),
    )


def _name(host: str) -> str:
    """The host of ``host[:port]``."""
    name, colon, port = host.rpartition(":")
    return name if colon and port.isdigit() else host


def _has_port(host: str) -> bool:
    """Whether what stands behind the host as its port is one, or nothing does."""
    _, colon, port = host.rpartition(":")
    return not (colon and port.isascii() and port.isdigit()) or int(port[:9]) <= _LAST_PORT


def _certificates(host: str) -> dict[str, str]:
    """What ``certs.d/HOST/`` has: ``*.crt`` are authorities, ``X.cert`` and ``X.key`` this client's."""
    config = os.environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    found: dict[str, str] = {}
    for base in (
        f"{config}/containers/certs.d",
        os.path.expanduser("~/.docker/certs.d"),
        "/etc/containers/certs.d",
        "/etc/docker/certs.d",
    ):
        try:
            names = sorted(os.listdir(f"{base}/{host}"))
        except OSError:
            continue
        for name in names:
            stem, dot, ending = name.rpartition(".")
            if ending == "crt":
                found.setdefault("ca", f"{base}/{host}/{name}")
            elif ending == "cert" and f"{stem}{dot}key" in names and "cert" not in found:
                found["cert"], found["key"] = f"{base}/{host}/{name}", f"{base}/{host}/{stem}.key"
    return found


def _flag(settings: dict[str, Any], key: str, path: str, registry: str) -> bool:
    value = settings.get(key, False)
    if not isinstance(value, bool):
        raise InvalidInput(f"{path}: {key!r} of {registry} must be true or false")
    return value


def _text(settings: dict[str, Any], key: str, path: str, registry: str) -> str:
    value = settings.get(key, "")
    if not isinstance(value, str):
        raise InvalidInput(f"{path}: {key!r} of {registry} must be text")
    return value


def _file(settings: dict[str, Any], key: str, path: str, registry: str) -> str:
    value = _text(settings, key, path, registry)
    return os.path.join(os.path.dirname(path), os.path.expanduser(value)) if value else ""


def _list(settings: dict[str, Any], key: str, path: str, registry: str) -> list[Any]:
    value = settings.get(key, [])
    if not isinstance(value, list):
        raise InvalidInput(f"{path}: {key!r} of {registry} must be a list")
    return value


def _size(settings: dict[str, Any], path: str, registry: str) -> int:
    value = settings.get("chunk", 0)
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    if isinstance(value, str):
        return parse_size(value)
    raise InvalidInput(f"{path}: 'chunk' of {registry} must be a size", hint='chunk = "90m"')
