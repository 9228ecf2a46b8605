"""What ``buildx imagetools inspect`` prints. Pure.

Source of the rules: buildx, ``util/imagetools/printers.go`` (0.29).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from contextkernel.commands.template import Template
from contextkernel.commands.template_values import GoStruct
from contextkernel.commands.template_values import to_json as to_text
from contextkernel.model.codec import from_json, to_json
from contextkernel.model.oci import Descriptor, Index
from contextkernel.model.remote import RemoteImage, RemoteManifest, read_config

_PREFIX = "  "
_ORDER = (
    "created",
    "author",
    "architecture",
    "os",
    "os.version",
    "os.features",
    "variant",
    "config",
    "rootfs",
    "history",
)
_CONFIG = (
    "User",
    "ExposedPorts",
    "Env",
    "Entrypoint",
    "Cmd",
    "Volumes",
    "WorkingDir",
    "Labels",
    "StopSignal",
    "ArgsEscaped",
)


def overview(remote: RemoteImage) -> str:
    """Name, type and digest, and those of the entries of an index."""
    shown = remote.reference.familiar if remote.reference.registry != "docker.io" else str(remote.reference)
    head = [
        ("Name:", shown),
        ("MediaType:", remote.descriptor.media_type),
        ("Digest:", str(remote.descriptor.digest)),
    ]
    if not remote.is_index:
        return _aligned(head)
    text = _aligned(head) + _aligned([("", ""), ("Manifests:", "")])
    block: list[tuple[str, str]] = []
    for number, entry in enumerate(from_json(remote.document, Index).manifests):
        if number:
            block.append(("", ""))
        block.append((f"{_PREFIX}Name:", f"{shown.partition('@')[0]}@{entry.digest}"))
        block.append((f"{_PREFIX}MediaType:", entry.media_type))
        block += _platform_lines(entry)
        if entry.urls:
            block.append((f"{_PREFIX}URLs:", ", ".join(entry.urls)))
        if entry.annotations:
            block.append((f"{_PREFIX}Annotations:", ""))
            text += _aligned(block)
            block = []
            text += _aligned([(f"{_PREFIX * 2}{key}:", value) for key, value in sorted(entry.annotations.items())])
    return text + _aligned(block)


def _platform_lines(entry: Descriptor) -> Iterable[tuple[str, str]]:
    platform = entry.platform
    if platform is None:
        return
    parts = [platform.os, platform.architecture, *([platform.variant] if platform.variant else [])]
    yield f"{_PREFIX}Platform:", "/".join(parts)
    if platform.os_version:
        yield f"{_PREFIX}OSVersion:", platform.os_version
    if platform.os_features:
        yield f"{_PREFIX}OSFeatures:", ", ".join(platform.os_features)


def _aligned(lines: Sequence[tuple[str, str]]) -> str:
    """Two columns as Go's tabwriter sets them: the first is as wide as its longest cell and a blank."""
    width = max((len(first) for first, _ in lines), default=0) + 1
    return "".join(f"{first:<{width}}{second}\n" for first, second in lines)


def template_data(name: str, remote: RemoteImage, statements: Mapping[str, Mapping[str, Any]]) -> GoStruct:
    """What a template is applied to.

    Args:
        name: as the user wrote it.
        remote: with all its images.
        statements: by platform: ``SLSA`` and ``SPDX`` documents.
    """
    found = {str(one.platform or "unknown"): _image(one) for one in remote.manifests if one.config}
    images = dict(sorted(found.items()))  # Go's maps are
    several = len(images) > 1
    fields: dict[str, Any] = {
        "Name": name,
        "Manifest": _manifest(remote),
        "Image": images if several else next(iter(images.values()), None),
        "Provenance": _stated(statements, "SLSA", several=several),
        "SBOM": _stated(statements, "SPDX", several=several),
    }
    wire = {"name": name, "manifest": fields["Manifest"], "image": fields["Image"]}
    return GoStruct(fields, wire)


def applied(layout: str, data: GoStruct) -> str:
    """The template with the data; ``json`` indents here.

    Raises:
        TemplateProblem: not a template, or a field that there is not.
    """
    return Template(layout).render(data, own={"json": lambda value: to_text(value, indent=2)})


def _manifest(remote: RemoteImage) -> GoStruct:
    top = remote.descriptor
    wire: dict[str, Any]
    if not remote.is_index:
        wire = {"mediaType": top.media_type, "digest": str(top.digest), "size": top.size}
        return GoStruct(_go_names(wire), wire)
    index = from_json(remote.document, Index)
    wire = {"schemaVersion": index.schema_version}
    if index.media_type:
        wire["mediaType"] = index.media_type
    wire |= {"digest": str(top.digest), "size": top.size}
    wire["manifests"] = [msgspec.json.decode(to_json(entry)) for entry in index.manifests]
    if index.annotations:
        wire["annotations"] = index.annotations
    return GoStruct(_go_names(wire), wire)


def _go_names(wire: Mapping[str, Any]) -> dict[str, Any]:
    """Go's names of the fields: ``Digest`` for ``digest``; inside lists too."""

    def deep(value: Any) -> Any:
        if isinstance(value, list):
            return [GoStruct(_go_names(one), one) if isinstance(one, dict) else one for one in value]
        return value

    special = {"os": "OS", "os.version": "OSVersion", "os.features": "OSFeatures", "urls": "URLs"}
    out: dict[str, Any] = {}
    for key, value in wire.items():
        name = special.get(key, key[:1].upper() + key[1:])
        out[name] = GoStruct(_go_names(value), value) if key == "platform" else deep(value)
    return out


def _image(image: RemoteManifest) -> dict[str, Any]:
    """An image's configuration with the fields of the specification, in its order."""
    read_config(image)  # what cannot be understood is refused
    source = json.loads(image.config)
    found = {key: source[key] for key in _ORDER if source.get(key) or key in ("architecture", "os", "config", "rootfs")}
    inner = found.get("config") or {}
    if isinstance(inner, dict):
        found["config"] = {key: inner[key] for key in _CONFIG if inner.get(key)}
    return found


def _stated(statements: Mapping[str, Mapping[str, Any]], kind: str, *, several: bool) -> dict[str, Any]:
    found = {
        platform: {kind: _sorted(stated[kind])} for platform, stated in sorted(statements.items()) if kind in stated
    }
    return found if several else next(iter(found.values()), {})


def _sorted(value: Any) -> Any:
    """With the keys of all mappings sorted, as Go writes maps."""
    if isinstance(value, dict):
        return {key: _sorted(item) for key, item in sorted(value.items())}
    return [_sorted(item) for item in value] if isinstance(value, list) else value
