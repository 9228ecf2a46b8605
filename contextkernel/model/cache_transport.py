"""Where a build's cache comes from and goes to: ``--cache-from`` and ``--cache-to``, and the document that carries it.

Source of the words: buildx (``util/buildflags/cache.go``); of the document: BuildKit
(``cache/remotecache/v1/types/spec.go``, ``cache/remotecache/inline``).
"""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping
from typing import Literal, TypeAlias

import msgspec

from contextkernel.errors import InvalidInput
from contextkernel.model.digest import Digest
from contextkernel.model.reference import ImageRef

MEDIA_CACHE_CONFIG = "application/vnd.buildkit.cacheconfig.v0"
REF_NAME = "org.opencontainers.image.ref.name"
UNCOMPRESSED = "containerd.io/uncompressed"

Packing: TypeAlias = Literal["uncompressed", "gzip", "zstd"]
_REMOTE = ("gha", "s3", "azblob")
_LEVELS = {"uncompressed": 0, "gzip": 9, "zstd": 22}


class LocalCacheTarget(msgspec.Struct, frozen=True, kw_only=True):
    """An OCI image layout in a directory of this machine.

    Attributes:
        dest: the directory, absolute; made if it is not there.
        tag: name in the layout's index.
        everything: ``mode=max``: all steps; else those whose layers the image has.
        packing, level: how layers are compressed; ``None``: the form's own default.
        index: written as an image index, as BuildKit did before 0.21, instead of an image manifest.
        ignore_error: a failure is a warning.
    """

    dest: str
    tag: str = "latest"
    everything: bool = False
    packing: Packing = "gzip"
    level: int | None = None
    index: bool = False
    ignore_error: bool = False


class InlineCacheTarget(msgspec.Struct, frozen=True, kw_only=True):
    """In the configuration of the image itself."""

    ignore_error: bool = False


class LocalCacheSource(msgspec.Struct, frozen=True, kw_only=True):
    """An OCI image layout in a directory; ``digest`` of its manifest wins over ``tag``."""

    src: str
    tag: str = "latest"
    digest: Digest | None = None


class ImageCacheSource(msgspec.Struct, frozen=True, kw_only=True):
    """A cache in a registry, or an image with one in its configuration."""

    ref: ImageRef


class RegistryCacheTarget(msgspec.Struct, frozen=True, kw_only=True):
    """A repository of a registry; other attributes as for :class:`LocalCacheTarget`.

    Attributes:
        ref: with the tag.
        oci: with OCI's media types, else with Docker's.
    """

    ref: ImageRef
    everything: bool = False
    packing: Packing = "gzip"
    level: int | None = None
    index: bool = False
    oci: bool = True
    ignore_error: bool = False


CacheTarget: TypeAlias = LocalCacheTarget | InlineCacheTarget | RegistryCacheTarget
CacheSource: TypeAlias = LocalCacheSource | ImageCacheSource


class LayerNote(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is known of a layer besides its blob."""

    media_type: str = msgspec.field(default="", name="mediaType")
    diff_id: str = msgspec.field(default="", name="diffID")
    size: int = 0
    created_at: str = msgspec.field(default="", name="createdAt")


class CacheLayer(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A layer: its blob, and the position of the one below it (-1: none)."""

    blob: str = ""
    parent: int = 0
    annotations: LayerNote | None = None


class CacheResultRow(msgspec.Struct, frozen=True, kw_only=True, rename={"created_at": "createdAt"}):
    """What a record led to: the position of a layer."""

    layer: int
    created_at: str = ""


class CacheLink(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The record that an input of another one is."""

    selector: str = ""
    link: int = 0


class CacheRecord(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A key, the records it builds on, and what it led to."""

    layers: tuple[CacheResultRow, ...] = ()
    digest: str = ""
    inputs: tuple[tuple[CacheLink, ...], ...] = ()


class CacheConfig(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The document: layers, and keys that lead to them."""

    layers: tuple[CacheLayer, ...] = ()
    records: tuple[CacheRecord, ...] = ()


def parse_cache_target(word: str) -> CacheTarget:
    """A value of ``--cache-to``.

    Args:
        word: ``type=registry,ref=NAME[,mode=max]``, ``type=local,dest=DIR[,compression=zstd]...`` or ``type=inline``.

    Raises:
        InvalidInput: not that form, or a kind that is not supported.
    """
    fields = _fields("cache-to", word, bare="registry")
    kind = fields.pop("type", "registry")
    ignore = _flag("cache-to", fields, "ignore-error")
    match kind:
        case "inline":
            mode = fields.pop("mode", "min")
            if mode != "min":
                raise _problem("cache-to", word, f"mode={mode} is not possible inline", "type=local keeps every step")
            _nothing_else("cache-to", word, fields)
            return InlineCacheTarget(ignore_error=ignore)
        case "local":
            dest = fields.pop("dest", "")
            if not dest:
                raise _problem("cache-to", word, "it has no dest", "type=local,dest=DIRECTORY")
            everything, packing, level = _how(word, fields)
            oci = _flag("cache-to", fields, "oci-mediatypes", default=True)
            manifest = _flag("cache-to", fields, "image-manifest", default=oci)
            if not oci:
                raise _problem("cache-to", word, "docker's media types are not written", "leave oci-mediatypes out")
            tag = fields.pop("tag", "latest")
            _nothing_else("cache-to", word, fields)
            return LocalCacheTarget(
                dest=os.path.abspath(os.path.expanduser(dest)),
                tag=tag,
                everything=everything,
                packing=packing,
                level=level,
                index=not manifest,
                ignore_error=ignore,
            )
        case "registry":
            ref = fields.pop("ref", "")
            if not ref:
                raise _problem("cache-to", word, "it has no ref", "type=registry,ref=REGISTRY/NAME:TAG")
            everything, packing, level = _how(word, fields)
            oci = _flag("cache-to", fields, "oci-mediatypes", default=True)
            manifest = _flag("cache-to", fields, "image-manifest", default=oci)
            if manifest and not oci:
                raise _problem("cache-to", word, "image-manifest needs oci-mediatypes", "leave one of them out")
            if packing == "zstd" and not oci:
                raise _problem("cache-to", word, "docker has no media type for zstd", "leave oci-mediatypes out")
            _nothing_else("cache-to", word, fields)
            return RegistryCacheTarget(
                ref=ImageRef.parse(ref),
                everything=everything,
                packing=packing,
                level=level,
                index=not manifest,
                oci=oci,
                ignore_error=ignore,
            )
        case _:
            raise _unsupported("cache-to", kind, "type=registry,ref=NAME, type=local,dest=DIRECTORY, or type=inline")


def _how(word: str, fields: dict[str, str]) -> tuple[bool, Packing, int | None]:
    """Which steps are kept, and how their layers are packed."""
    mode, form = fields.pop("mode", "min"), fields.pop("compression", "gzip")
    if mode not in ("min", "max"):
        raise _problem("cache-to", word, f"mode={mode} is neither min nor max", "mode=max keeps every step")
    packing: Packing
    match form:
        case "uncompressed" | "gzip" | "zstd":
            packing = form
        case _:
            raise _problem("cache-to", word, f"compression={form} is not supported", "one of gzip, zstd, uncompressed")
    _flag("cache-to", fields, "force-compression")  # every layer is packed as asked for in any case
    return mode == "max", packing, _level(word, fields.pop("compression-level", ""), packing)


def parse_cache_source(word: str) -> CacheSource:
    """A value of ``--cache-from``: ``type=local,src=DIR``, or the name of a cache or an image in a registry.

    Raises:
        InvalidInput: not that form, or a kind that is not supported.
    """
    fields = _fields("cache-from", word, bare="registry")
    kind = fields.pop("type", "registry")
    match kind:
        case "local":
            src = fields.pop("src", "")
            if not src:
                raise _problem("cache-from", word, "it has no src", "type=local,src=DIRECTORY")
            digest, tag = fields.pop("digest", ""), fields.pop("tag", "latest")
            _nothing_else("cache-from", word, fields)
            return LocalCacheSource(
                src=os.path.abspath(os.path.expanduser(src)), tag=tag, digest=Digest(digest) if digest else None
            )
        case "registry":
            ref = fields.pop("ref", "")
            if not ref:
                raise _problem("cache-from", word, "it names no image", "--cache-from IMAGE")
            _nothing_else("cache-from", word, fields)
            return ImageCacheSource(ref=ImageRef.parse(ref))
        case _:
            raise _unsupported("cache-from", kind, "type=local,src=DIRECTORY, or the name of an image")


def _fields(option: str, word: str, *, bare: str) -> dict[str, str]:
    """The pairs of a value; a lone name is the ``ref`` of kind ``bare``."""
    items = next(csv.reader([word]), [])
    if items and not any("=" in item for item in items):
        if len(items) > 1:
            raise _problem(option, word, "several names", f"give --{option} for each")
        return {"type": bare, "ref": items[0]}
    found: dict[str, str] = {}
    for item in items:
        key, equals, value = item.partition("=")
        if not equals:
            raise _problem(option, word, f"{item!r} must be KEY=VALUE", "e.g. type=local")
        found[key.strip().lower()] = value
    if "type" not in found:
        raise _problem(option, word, "it has no type", "e.g. type=local")
    return found


def _flag(option: str, fields: dict[str, str], name: str, *, default: bool = False) -> bool:
    text = fields.pop(name, str(default)).lower()
    if text not in ("true", "false", "1", "0", "t", "f"):
        raise InvalidInput(f"--{option}: {name}={text} is neither true nor false")
    return text in ("true", "1", "t")


def _level(word: str, text: str, packing: Packing) -> int | None:
    if not text:
        return None
    if not text.isdigit() or int(text) > _LEVELS[packing]:
        raise _problem("cache-to", word, f"compression-level={text} is not possible", f"0 to {_LEVELS[packing]}")
    return int(text)


def _nothing_else(option: str, word: str, fields: Mapping[str, str]) -> None:
    if fields:
        raise _problem(option, word, f"unknown key {next(iter(fields))!r}", "see docs/howto/build-cache.md")


def _problem(option: str, word: str, text: str, hint: str) -> InvalidInput:
    return InvalidInput(f"invalid --{option} {word!r}: {text}", hint=hint)


def _unsupported(option: str, kind: str, instead: str) -> InvalidInput:
    what = f"the service behind type={kind}" if kind in _REMOTE else f"type={kind}"
    return InvalidInput(f"--{option}: {what} is not supported", hint=instead)
