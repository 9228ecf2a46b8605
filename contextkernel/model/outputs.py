"""What a build is turned into: the values of ``--output``, ``--annotation`` and ``--attest``.

Source of the rules: buildx (``util/buildflags``) for the words, BuildKit (``exporter/*``) for keys and their meaning.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Literal, TypeAlias

import msgspec

from contextkernel.errors import InvalidInput
from contextkernel.model.platform import Platform
from contextkernel.model.reference import ImageRef

CompressionKind = Literal["uncompressed", "gzip", "zstd"]
Level = Literal["manifest", "manifest-descriptor", "index", "index-descriptor"]

_LEVELS: tuple[Level, ...] = ("manifest", "manifest-descriptor", "index", "index-descriptor")
_ANNOTATION_KEY = re.compile(r"annotation(?:-([a-z-]+))?(?:\[([A-Za-z0-9_/-]+)\])?\.(\S+)\Z")
_ANNOTATION = re.compile(r"(?:([a-z-]+(?:\[[A-Za-z0-9_/-]+\])?(?:,[a-z-]+(?:\[[A-Za-z0-9_/-]+\])?)*):)?([^\s:]\S*)\Z")
_LEVEL = re.compile(r"([a-z-]+)(?:\[([A-Za-z0-9_/-]+)\])?\Z")
_MOST = {"gzip": 9, "zstd": 22}
_TYPES = ("image", "registry", "local", "tar", "oci", "docker", "cacheonly")


class Annotation(msgspec.Struct, frozen=True, kw_only=True):
    """One annotation of the result.

    Attributes:
        level: the document it is put on: the image's manifest, the index, or the descriptor of either.
        platform: the only platform whose manifest gets it; ``None``: every one.
        key, value: its text.
    """

    level: Level = "manifest"
    platform: Platform | None = None
    key: str
    value: str


class Compression(msgspec.Struct, frozen=True, kw_only=True):
    """How layers are packed.

    Attributes:
        kind: the form.
        level: 0 to 9 (gzip) or 22 (zstd); ``None``: the form's own default.
        force: also layers of the base image that came in another form.
    """

    kind: CompressionKind = "gzip"
    level: int | None = None
    force: bool = False


class ImageForm(msgspec.Struct, frozen=True, kw_only=True):
    """What an image looks like outside of the store.

    Attributes:
        compression: of its layers.
        oci_types: media types of the OCI image-spec; false: docker's own.
        oci_artifact: attestations are artifacts with a subject; false: images, as older tools expect.
        rewrite_timestamp: no file in the build's own layers is younger than SOURCE_DATE_EPOCH.
        annotations: of this output.
    """

    compression: Compression = Compression()
    oci_types: bool = True
    oci_artifact: bool = True
    rewrite_timestamp: bool = False
    annotations: tuple[Annotation, ...] = ()


class ImageOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An image in the store, in registries, or both.

    Attributes:
        form: annotations and times count; the store packs layers when they leave it.
        names: besides those of the build.
        dangling_prefix: ``PREFIX@DIGEST`` becomes a further name.
        dangling_only_empty: only if there is no other name.
        canonical: ``NAME@DIGEST`` becomes a further name for every name.
        push: to the registries that the names say.
        by_digest: pushed without a tag.
        store: it is kept in the store; images of several platforms are only pushed.
    """

    form: ImageForm = ImageForm()
    names: tuple[ImageRef, ...] = ()
    dangling_prefix: str = ""
    dangling_only_empty: bool = False
    canonical: bool = False
    push: bool = False
    by_digest: bool = False
    store: bool = True


class ArchiveOutput(msgspec.Struct, frozen=True, kw_only=True):
    """An image as an OCI image layout.

    Attributes:
        docker: with docker's ``manifest.json``, for ``docker load``.
        dest: a file, or ``-`` for standard output; with ``tar`` off a directory.
        tar: one file; else a directory with the layout in it.
        form: what the image looks like.
        names: instead of those of the build.
    """

    docker: bool = False
    dest: str
    tar: bool = True
    form: ImageForm = ImageForm()
    names: tuple[ImageRef, ...] = ()


class LocalOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The files of the result in a directory.

    Attributes:
        dest: the directory; it need not exist.
        delete: remove what is there and not in the result.
        split: in a directory for each platform; ``None``: if there are several.
        prefix: of the names of attestation files.
    """

    dest: str
    delete: bool = False
    split: bool | None = None
    prefix: str = ""


class TarOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The files of the result in one archive; ``dest`` is a file, or ``-`` for standard output."""

    dest: str
    split: bool | None = None
    prefix: str = ""


class CacheOutput(msgspec.Struct, frozen=True, kw_only=True):
    """Nothing but the build cache."""


Output: TypeAlias = ImageOutput | ArchiveOutput | LocalOutput | TarOutput | CacheOutput


class Provenance(msgspec.Struct, frozen=True, kw_only=True):
    """A statement of how the result was made (SLSA).

    Attributes:
        full: with build arguments, steps and the Dockerfile (``mode=max``).
        version: of the SLSA predicate.
        builder_id: who built, as a URI; chosen by the caller.
        reproducible: the caller's promise.
    """

    full: bool = False
    version: Literal["v0.2", "v1"] = "v1"
    builder_id: str = ""
    reproducible: bool = False


class Sbom(msgspec.Struct, frozen=True, kw_only=True):
    """A list of the packages in the result (SPDX)."""


Attest: TypeAlias = Provenance | Sbom


class Statement(msgspec.Struct, frozen=True, kw_only=True):
    """What is stated of an image, without its subject: that is known when the manifest is.

    Attributes:
        predicate_type: URI.
        predicate: JSON.
        name: of the file it becomes in exports of files, e.g. ``provenance.json``.
    """

    predicate_type: str
    predicate: bytes
    name: str


# ---- words to values


def parse_output(text: str) -> Output:
    """One ``--output`` value: a directory, ``-``, or ``type=...,key=value``.

    Raises:
        InvalidInput: not one, with the word that is wrong.
    """
    if not text:
        raise InvalidInput("an output is empty", hint="use -o DIRECTORY, -o - or -o type=...")
    fields = _fields(text)
    if len(fields) == 1 and not text.startswith("type="):
        return TarOutput(dest="-") if text == "-" else LocalOutput(dest=text)
    keys = _Keys(text, fields, "output")
    kind = keys.text("type")
    if not kind:
        raise InvalidInput(f"output {text!r} has no type", hint=f"types: {', '.join(_TYPES)}")
    output = _output(kind, keys)
    keys.finish()
    return output


def _output(kind: str, keys: _Keys) -> Output:
    match kind:
        case "cacheonly":
            return CacheOutput()
        case "local":
            dest, mode = keys.text("dest"), keys.text("mode").strip().lower() or "copy"
            if mode not in {"copy", "delete"}:
                raise InvalidInput(f"invalid mode {mode!r} of a local output", hint="copy or delete")
            if not dest or dest == "-":
                raise InvalidInput("dest is required for local exporter", hint="type=local,dest=DIRECTORY, or -o DIR")
            return LocalOutput(
                dest=dest,
                delete=mode == "delete",
                split=keys.maybe("platform-split"),
                prefix=keys.text("attestation-prefix"),
            )
        case "tar":
            return TarOutput(
                dest=keys.text("dest") or "-",
                split=keys.maybe("platform-split"),
                prefix=keys.text("attestation-prefix"),
            )
        case "oci" | "docker":
            return _archive(kind == "docker", keys)
        case "image" | "registry":
            by_digest = keys.flag("push-by-digest")
            push = keys.flag("push") or by_digest or kind == "registry"
            store = keys.flag("store", default=True)
            if not store and not push:
                raise InvalidInput("an image that is neither stored nor pushed is nothing", hint="add push=true")
            # how a registry is reached is said in registries.toml, for all commands
            keys.ignore("unpack", "registry.insecure", "attestation-inline")
            return ImageOutput(
                form=_form(keys),
                names=keys.names(),
                dangling_prefix=keys.text("dangling-name-prefix"),
                dangling_only_empty=keys.flag("danging-name-empty-only"),  # BuildKit's spelling
                canonical=keys.flag("name-canonical"),
                push=push,
                by_digest=by_digest,
                store=store,
            )
    near = get_close_matches(kind, _TYPES, n=1)
    more = f"did you mean {near[0]}?" if near else f"types: {', '.join(_TYPES)}"
    raise InvalidInput(f"output type {kind!r} could not be found", hint=more)


def _archive(docker: bool, keys: _Keys) -> Output:
    tar, dest, names, form = keys.flag("tar", default=True), keys.text("dest"), keys.names(), _form(keys)
    keys.ignore("attestation-inline", "context")
    if docker and not dest:
        return ImageOutput(form=form, names=names)  # docker: into its image store
    if not tar and dest in {"", "-"}:
        raise InvalidInput("dest is required for an image layout in a directory", hint="tar=false,dest=DIRECTORY")
    return ArchiveOutput(docker=docker, dest=dest or "-", tar=tar, form=form, names=names)


def _form(keys: _Keys) -> ImageForm:
    kind = keys.text("compression") or "gzip"
    if kind == "estargz":
        raise InvalidInput(
            "compression=estargz is not supported: its index of files is made for lazy pulling",
            hint="use gzip, zstd or uncompressed",
        )
    if kind not in {"uncompressed", "gzip", "zstd"}:
        raise InvalidInput(f"unsupported compression type {kind}", hint="use gzip, zstd or uncompressed")
    level: int | None = None
    if number := keys.text("compression-level"):
        most = _MOST.get(kind, 9)
        if not re.fullmatch(r"[0-9]{1,2}", number) or int(number) > most:
            raise InvalidInput(f"invalid compression-level {number!r} for {kind}", hint=f"a number from 0 to {most}")
        level = int(number)
    form = ImageForm(
        compression=Compression(kind=_kind(kind), level=level, force=keys.flag("force-compression")),
        oci_types=keys.flag("oci-mediatypes", default=True),
        oci_artifact=keys.flag("oci-artifact", default=True),
        rewrite_timestamp=keys.flag("rewrite-timestamp"),
        annotations=keys.annotations(),
    )
    keys.ignore("prefer-nondist-layers")
    if not form.oci_types:
        if kind == "zstd":
            raise InvalidInput('exporter option "compression=zstd" conflicts with "oci-mediatypes=false"')
        if form.annotations and any(one.level != "manifest" for one in form.annotations):
            raise InvalidInput('cannot export annotations with "oci-mediatypes=false"')
    return form


def _kind(text: str) -> CompressionKind:
    return "zstd" if text == "zstd" else "gzip" if text == "gzip" else "uncompressed"


def parse_annotation(text: str) -> tuple[Annotation, ...]:
    """One ``--annotation`` value: ``[LEVEL[PLATFORM][,LEVEL...]:]KEY=VALUE``; one annotation for each level.

    Raises:
        InvalidInput: not one, or a level that does not exist.
    """
    left, equals, value = text.partition("=")
    match = _ANNOTATION.match(left)
    if not equals or not match:
        raise InvalidInput(f"invalid annotation {text!r}, expected key=value", hint="[LEVEL:]KEY=VALUE")
    levels, key = match.groups()
    found = []
    for word in (levels or "manifest").split(","):
        parts = _LEVEL.match(word)
        if parts is None:
            raise InvalidInput(f"invalid annotation {text!r}, expected key=value", hint="[LEVEL:]KEY=VALUE")
        found.append(Annotation(level=_level(parts[1]), platform=_platform(parts[2]), key=key, value=value))
    return tuple(found)


def _level(word: str) -> Level:
    for level in _LEVELS:
        if word == level:
            return level
    raise InvalidInput(f"unknown annotation type {word!r}", hint=f"one of {', '.join(_LEVELS)}")


def _platform(word: str | None) -> Platform | None:
    return Platform.parse(word) if word else None


def parse_attests(
    words: Iterable[str] = (), *, provenance: str | None = None, sbom: str | None = None
) -> tuple[Attest, ...]:
    """What ``--attest``, ``--provenance`` and ``--sbom`` ask for.

    Args:
        words: ``--attest`` values: ``type=provenance|sbom,...``.
        provenance: value of ``--provenance``: ``true``, ``false`` or keys such as ``mode=max``.
        sbom: value of ``--sbom``.

    Returns:
        At most one of each kind; of several the last one counts.

    Raises:
        InvalidInput: a type, key or value that does not exist.
    """
    given = list(words)
    given += [f"type={kind},{_short(text)}" for kind, text in (("sbom", sbom), ("provenance", provenance)) if text]
    chosen: dict[str, Attest | None] = {}
    for text in given:
        keys = _Keys(text, _fields(text), "attestation")
        kind = keys.text("type")
        if not kind:
            raise InvalidInput(f"attestation type not specified in {text!r}", hint="type=provenance or type=sbom")
        off = keys.flag("disabled") or not keys.flag("enabled", default=True) or keys.flag("inline-only")
        match kind:
            case "provenance":
                value: Attest = _provenance(keys)
            case "sbom":
                if generator := keys.text("generator"):
                    raise InvalidInput(
                        f"the scanner {generator!r} cannot be used: packages are listed by this package itself",
                        hint="leave generator out",
                    )
                keys.ignore("generator-version", "SYFT_SELECT_CATALOGERS")
                value = Sbom()
            case _:
                raise InvalidInput(f"unknown attestation type {kind!r}", hint="provenance or sbom")
        keys.finish()
        chosen[kind] = None if off else value
    return tuple(value for value in chosen.values() if value is not None)


def _short(text: str) -> str:
    """``true`` and ``false`` of a short form, as keys."""
    known = _truth(text)
    if known is not None:
        return f"disabled={'false' if known else 'true'}"
    if "=" not in text:
        raise InvalidInput(f"invalid value {text}", hint="true, false, or keys such as mode=max")
    return text


def _provenance(keys: _Keys) -> Provenance:
    mode, version = keys.text("mode") or "min", keys.text("version") or "v1"
    if mode not in {"min", "max"}:
        raise InvalidInput(f"invalid mode {mode!r} of the provenance", hint="min or max")
    if version not in {"v1", "v0.2"}:
        raise InvalidInput(f"invalid provenance SLSA version: {version}", hint="v1 or v0.2")
    keys.ignore("filename")
    return Provenance(
        full=mode == "max",
        version="v1" if version == "v1" else "v0.2",
        builder_id=keys.text("builder-id"),
        reproducible=keys.flag("reproducible"),
    )


def _fields(text: str) -> list[str]:
    """Fields between commas; one in double quotes may contain commas (RFC 4180)."""
    try:
        return next(csv.reader([text], strict=True), [])
    except csv.Error as problem:
        raise InvalidInput(f"cannot read {text!r}: {problem}", hint='write "key=a,b" for a value with commas') from None


def _truth(text: str) -> bool | None:
    """As Go's ParseBool; ``None`` for anything else."""
    if text in {"1", "t", "T", "true", "TRUE", "True"}:
        return True
    return False if text in {"0", "f", "F", "false", "FALSE", "False"} else None


class _Keys:
    """The keys of one value; knows which were asked for, so that the others can be refused."""

    def __init__(self, text: str, fields: Iterable[str], what: str) -> None:
        self._text = text
        self._what = what
        self._asked: set[str] = set()
        self._found: dict[str, str] = {}
        for field in fields:
            key, equals, value = field.partition("=")
            if not equals:
                raise InvalidInput(f"invalid value {field!r} in {what} {text!r}", hint="expected key=value")
            self._found[key.strip()] = value
            if not key.strip().startswith("annotation"):
                self._found[key.strip().lower()] = value

    def text(self, key: str) -> str:
        self._asked.add(key)
        return self._found.get(key, "")

    def flag(self, key: str, *, default: bool = False) -> bool:
        found = self.maybe(key)
        return default if found is None else found

    def maybe(self, key: str) -> bool | None:
        value = self.text(key)
        if key not in self._found:
            return None
        known = True if value == "" else _truth(value)
        if known is None:
            raise InvalidInput(f"non-bool value {value!r} specified for {key}", hint="true or false")
        return known

    def names(self) -> tuple[ImageRef, ...]:
        return tuple(ImageRef.parse(name) for name in self.text("name").split(",") if name and name != "*")

    def annotations(self) -> tuple[Annotation, ...]:
        found = []
        for key, value in self._found.items():
            if match := _ANNOTATION_KEY.match(key):
                self._asked.add(key)
                level, platform, name = match.groups()
                found.append(
                    Annotation(level=_level(level or "manifest"), platform=_platform(platform), key=name, value=value)
                )
        return tuple(found)

    def ignore(self, *keys: str) -> None:
        """Keys that mean something to others only."""
        self._asked.update(keys)

    def finish(self) -> None:
        for key in self._found:
            if key not in self._asked and key.lower() not in self._asked:
                near = get_close_matches(key, sorted(self._asked), n=1)
                raise InvalidInput(
                    f"unknown key {key!r} in {self._what} {self._text!r}",
                    hint=f"did you mean {near[0]}?" if near else f"keys: {', '.join(sorted(self._asked))}",
                )


def chosen_annotations(
    annotations: Iterable[Annotation], level: Level, platform: Platform | None = None
) -> Mapping[str, str] | None:
    """The annotations of one document, sorted by key as Go writes a map; ``None`` for none.

    Args:
        annotations: all of them.
        level: of the document.
        platform: that the document is for; ``None`` for an index.
    """
    found = {
        one.key: one.value
        for one in annotations
        if one.level == level and (one.platform is None or platform is None or str(one.platform) == str(platform))
    }
    return dict(sorted(found.items())) or None
