"""Docker's ``inspect`` document of an image, made from what the store has (moby, api/types/image and container)."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any

from contextkernel.errors import StoreProblem
from contextkernel.model.digest import Digest
from contextkernel.model.layers import Layer
from contextkernel.store.removal import names_of
from contextkernel.store.times import format_time

_NEVER = "0001-01-01T00:00:00Z"

#: Fields of Go's container.Config in its order; those without a value here are only written when set.
_CONFIG: tuple[tuple[str, Any], ...] = (
    ("Hostname", ""),
    ("Domainname", ""),
    ("User", ""),
    ("AttachStdin", False),
    ("AttachStdout", False),
    ("AttachStderr", False),
    ("ExposedPorts", ...),
    ("Tty", False),
    ("OpenStdin", False),
    ("StdinOnce", False),
    ("Env", None),
    ("Cmd", None),
    ("Healthcheck", ...),
    ("ArgsEscaped", ...),
    ("Image", ""),
    ("Volumes", None),
    ("WorkingDir", ""),
    ("Entrypoint", None),
    ("NetworkDisabled", ...),
    ("MacAddress", ...),
    ("OnBuild", None),
    ("Labels", None),
    ("StopSignal", ...),
    ("StopTimeout", ...),
    ("Shell", ...),
)


def inspect_image(sql: sqlite3.Connection, image: Digest, config: bytes, layers: Sequence[Layer]) -> dict[str, Any]:
    """The document, keys in docker's order; ``ContextKernel`` at the end is ours.

    Raises:
        StoreProblem: the image has just been removed.
    """
    row = sql.execute("SELECT origin, size FROM images WHERE id = ?", (str(image),)).fetchone()
    if row is None:
        raise StoreProblem(f"the image {image} was removed meanwhile")
    origin, size = row
    source = json.loads(config)
    names = names_of(sql, image)
    tagged = sql.execute("SELECT max(tagged) FROM tags WHERE image = ?", (str(image),)).fetchone()[0]
    container = {
        "Container": source.get("container") or "",
        "ContainerConfig": go_config(source.get("container_config")),
    }
    document = {
        "Id": str(image),
        "RepoTags": [name.familiar for name in names if name.digest is None],
        "RepoDigests": [name.familiar for name in names if name.digest is not None],
        **of_config(source, container),
    }
    return document | {
        "Size": size,
        "VirtualSize": size,
        "GraphDriver": {"Data": _directories(layers), "Name": "overlay"},
        "RootFS": {"Type": "layers", "Layers": [str(layer.diff_id) for layer in layers]},
        "Metadata": {"LastTagTime": format_time(tagged) if tagged else _NEVER},
        "ContextKernel": {
            "Origin": origin,
            "Layers": [
                {"DiffId": str(layer.diff_id), "Size": layer.size, "Entries": layer.entries} for layer in layers
            ],
        },
    }


def of_config(source: Mapping[str, Any], container: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """What an image's configuration tells of it, in docker's order.

    Args:
        source: the configuration document, decoded.
        container: fields of the container that it was made from, which have their place among these.
    """
    history = source.get("history") or [{}]
    fields: dict[str, Any] = {
        "Parent": "",
        "Comment": source.get("comment") or history[-1].get("comment") or "",
        "Created": source.get("created") or _NEVER,
        **(container or {}),
        "DockerVersion": source.get("docker_version") or "",
        "Author": source.get("author") or "",
        "Config": go_config(source.get("config")),
        "Architecture": source.get("architecture") or "",
    }
    if source.get("variant"):
        fields["Variant"] = source["variant"]
    fields["Os"] = source.get("os") or ""
    if source.get("os.version"):
        fields["OsVersion"] = source["os.version"]
    return fields


def go_config(found: Any) -> dict[str, Any]:
    """The ``config`` object of a configuration as Go's container.Config: with the fields that are never left out."""
    given = found if isinstance(found, dict) else {}
    out: dict[str, Any] = {}
    for name, default in _CONFIG:
        value = given.get(name)
        if default is ...:
            if value:
                out[name] = value
        else:
            out[name] = default if value is None else value
    return out


def _directories(layers: Sequence[Layer]) -> dict[str, str] | None:
    """Overlay's directories as docker names them: the top layer is ``UpperDir``, those below are ``LowerDir``.

    There is no ``MergedDir``: an image is mounted only while a container or a build step uses it.
    """
    if not layers:
        return None
    *below, top = layers
    data = {"LowerDir": ":".join(layer.diff for layer in reversed(below))} if below else {}
    return data | {"UpperDir": top.diff}
