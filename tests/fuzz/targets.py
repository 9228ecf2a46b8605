"""What is fuzzed: readers of text and bytes that others wrote. Whatever they are given, only our own errors come out.

Each target takes bytes. A hang and too much memory are the fuzzer's to notice (``run.py``), a wrong exception is what
leaves a target. The seeds are what a fuzzer starts from; ``tests/unit/fuzz`` runs every target over them.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import tarfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import msgspec

from contextkernel.dockerfile import (
    IgnoreMatcher,
    Run,
    expand_document,
    expand_words,
    match_glob,
    parse_ignore,
    process,
    render,
    resolve_mount,
    unresolved,
)
from contextkernel.dockerfile.parse import assemble, parse_trigger, read_instructions
from contextkernel.errors import ContextKernelError, InvalidArchive, InvalidInput
from contextkernel.layer import tar
from contextkernel.layer.echo import Echo
from contextkernel.layer.tree import LayerTree
from contextkernel.layer.untar import Source, read_layer
from contextkernel.model import oci
from contextkernel.model.codec import from_json
from contextkernel.model.layers import Entry
from contextkernel.model.platform import Platform
from contextkernel.plan.checks import Subject, check, list_targets, outline
from contextkernel.registry.documents import read_document, read_image_config
from contextkernel.registry.retrying import retry_after
from contextkernel.registry.tokens import TokenAnswer, join_scopes, parse_challenges, token_of, token_query
from contextkernel.store.archive_file import ArchiveFile
from contextkernel.store.archive_images import images_in

GOLDEN = Path(__file__).parents[1] / "golden" / "dockerfile"
PLATFORM = Platform("linux", "amd64")
LAYER_LIMIT = 1 << 24


def parser(data: bytes) -> None:
    """The Dockerfile parser, and what looks at its result without building: checks, targets, outline."""
    reading = read_instructions(data)
    if reading.problem is not None:
        str(reading.problem)
    subject = Subject(build_platform=PLATFORM, platform=PLATFORM, ignore=("a", "b/*"))
    try:
        check(reading, subject)
        dockerfile = assemble(reading)
        list_targets(dockerfile)
        for instruction in reading.instructions:
            render(instruction)
            if isinstance(instruction, Run):
                instruction.script()
                for words in instruction.mounts:
                    resolve_mount(words, lambda word: word, source=reading.source)
        outline(dockerfile, subject)
    except ContextKernelError as problem:
        str(problem)
    try:
        parse_trigger(data.decode("utf-8", "surrogateescape"))
    except ContextKernelError as problem:
        str(problem)


def expansion(data: bytes) -> None:
    """Variables and quotes of words; the first byte chooses the ways, the rest is the text and the variables."""
    flags = data[0] if data else 0
    text, _, rest = data[1:].decode("utf-8", "replace").partition("\0")
    env = {name: value for name, _, value in (pair.partition("=") for pair in rest.split("\0"))}
    escape = "`" if flags & 1 else "\\"
    for one in (
        lambda: process(
            text,
            env,
            escape=escape,
            keep_quotes=bool(flags & 2),
            keep_escapes=bool(flags & 4),
            literal_quotes=bool(flags & 8),
            keep_unset=bool(flags & 16),
            lenient=bool(flags & 32),
        ),
        lambda: expand_words(text, env, escape=escape),
        lambda: expand_document(text, env),
        lambda: unresolved(text, env, escape=escape),
    ):
        try:
            one()
        except InvalidInput as problem:
            str(problem)


def ignore(data: bytes) -> None:
    """The ignore file and its matcher: patterns up to a NUL, then a path."""
    patterns, _, path = data.partition(b"\0")
    name = path.decode("utf-8", "surrogateescape").replace("\0", "/") or "a/b/c"
    found = parse_ignore(patterns)
    try:
        matcher = IgnoreMatcher(found)
        matcher.excludes(name)
        matcher.may_contain_exceptions(name)
    except InvalidInput as problem:
        str(problem)
    for pattern in found[:4]:
        try:
            match_glob(pattern, name)
        except InvalidInput as problem:
            str(problem)


def layer(data: bytes) -> None:
    """The layer reader, as the worker uses it, without a disk; what it says of rendering is tried."""
    tree = LayerTree()
    source = Source(io.BytesIO(data).read, LAYER_LIMIT)
    echo = Echo(source)
    contents: dict[str, bytes] = {}
    try:
        for member in read_layer(source, tree, echo):
            if member.entry.kind == "file":
                content = b"".join(bytes(part) for _, part in member.content())
                contents[member.entry.path] = content
                tree.replace_content(member.entry.path, len(content), hashlib.sha256(content).hexdigest())
        entries = tree.entries()
        same = echo.matches(entries)
        source.finish()
    except InvalidArchive as problem:
        str(problem)
        return
    if same:
        files = {row.path: contents[row.path] if row.kind == "file" else b"" for row in entries}
        rendered = b"".join(tar.header(row) + files[row.path] + tar.padding(row.size) for row in entries)
        if rendered + tar.END != data:
            raise AssertionError("the layer does not render to the archive that it is said to render to")


def registry(data: bytes) -> None:
    """Manifests, indexes and configurations of a registry: the media type is the first line."""
    said, _, document = data.partition(b"\n")
    try:
        found = read_document(said.decode("latin-1"), document, "team/app:v1")
        if isinstance(found, oci.Index):
            for entry in found.manifests:
                str(entry.platform)
        else:
            # a document that is both a manifest and a configuration
            read_image_config(document, found, "team/app:v1")
    except ContextKernelError as problem:
        str(problem)


def login(data: bytes) -> None:
    """What a registry asks for: a challenge in the first line, what its token server answers in the rest."""
    header, _, answer = data.partition(b"\n")
    for challenge in parse_challenges(header.decode("latin-1")):
        token_query(challenge, join_scopes(challenge.scopes, ("repository:a/b:pull",)), user="u")
    retry_after({"Retry-After": header.decode("latin-1")}, 1_700_000_000.0)
    try:
        found = from_json(answer, TokenAnswer)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return
    token = token_of(found, 1_700_000_000.0)
    assert token is None or len(token.text) < 26 or token.text not in repr(token)


class _Documents:
    """An archive of small members: name and content of each, in lines, with an empty line between two."""

    def __init__(self, data: bytes) -> None:
        parts = (part.partition(b"\n") for part in data.split(b"\n\n"))
        self._members = {name.decode("latin-1"): content for name, _, content in parts}

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def size(self, name: str) -> int:
        return len(self.document(name))

    def open(self, name: str) -> io.BytesIO:
        return io.BytesIO(self.document(name))

    def document(self, name: str) -> bytes:
        if name not in self._members:
            raise InvalidArchive(f"lacks {name!r}")
        return self._members[name]


def archive(data: bytes) -> None:
    """What images an archive has: its documents, and the tar that they are in."""
    for platform in (None, PLATFORM):
        try:
            for found in images_in(_Documents(data), "it", platform):
                str((found.names, found.platform, found.layers))
        except ContextKernelError as problem:
            str(problem)
    with open(os.memfd_create("archive"), "w+b") as stream:
        stream.write(data)
        stream.flush()
        try:
            images_in(ArchiveFile(stream, "it"), "it")
        except ContextKernelError as problem:
            str(problem)


def parser_seeds() -> Iterator[bytes]:
    """The golden Dockerfiles, and the examples of the build checks."""
    from contextkernel.plan.checks import RULES

    yield from (path.read_bytes() for path in sorted(GOLDEN.glob("*/*/Dockerfile")))
    yield from (example.dockerfile.encode() for rule in RULES for example in (*rule.bad, *rule.good))


def expansion_seeds() -> Iterator[bytes]:
    """Every operator and every kind of quote."""
    for text in (
        "$a ${a} ${a:-b} ${a-$b} ${a:+b} ${a+b} ${a:?b} ${a?b}",
        "${a#*x} ${a##*x} ${a%x*} ${a%%x*} ${a/x/y} ${a//x/y}",
        '\'$a\' "$a" \\$a `$a "\\"" ${a:-${b:-\'c d\'}}',
        "<<EOF $1 $@ $# é${é} \\",
    ):
        for flags in (0, 1, 6, 24, 32):
            yield bytes([flags]) + text.encode() + b"\0a=xyx\0b=\0x=2"


def ignore_seeds() -> Iterator[bytes]:
    """Every wildcard, exceptions, comments, and what is hard for a matcher that tries again and again."""
    return iter(
        (
            b"# comment\n*.md\n!README.md\n/a/b/\n**/c\nd/**\n?[a-z]\\*\0x/README.md",
            b"**/*a*a*a*a*b\n!**/**/x\0aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            b"[^a-z]*[!b]/[]\n[\n!\n.\n\0b",
            b"\xef\xbb\xbfa\xff\r\n..\n\0../a",
        )
    )


def layer_seeds() -> Iterator[bytes]:
    """Archives with every kind of entry, in the three formats, and one of ours."""
    for form in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT):
        buffer = io.BytesIO()
        with tarfile.TarFile(fileobj=buffer, mode="w", format=form) as archive:
            for name, kind, link in (
                ("d", tarfile.DIRTYPE, ""),
                ("d/f", tarfile.REGTYPE, ""),
                ("d/s", tarfile.SYMTYPE, "../f"),
                ("d/h", tarfile.LNKTYPE, "d/f"),
                ("d/.wh.x", tarfile.REGTYPE, ""),
                ("d/.wh..wh..opq", tarfile.REGTYPE, ""),
                ("p", tarfile.FIFOTYPE, ""),
                ("c", tarfile.CHRTYPE, ""),
            ):
                info = tarfile.TarInfo(name)
                info.type, info.linkname = kind, link
                info.size = 5 if name == "d/f" else 0
                if form == tarfile.PAX_FORMAT and name == "d/f":
                    info.pax_headers = {"SCHILY.xattr.user.a": "b", "mtime": "1.5"}
                archive.addfile(info, io.BytesIO(b"hello"))
        yield buffer.getvalue()
    rows = (
        Entry(path="d", kind="dir", mode=0o755),
        Entry(path="d", kind="opaque", mode=0),
        Entry(path="d/f", kind="file", xattrs={"user.a": b"b"}),
        Entry(path="d/h", kind="hardlink", link="d/f"),
        Entry(path="d/x", kind="whiteout", mode=0),
    )
    yield b"".join(map(tar.header, rows)) + tar.END  # as it is rendered


def login_seeds() -> Iterator[bytes]:
    """Challenges of every kind, and answers of token servers."""
    answer = {
        "token": "secret-of-a-token-of-a-server",
        "expires_in": 300,
        "issued_at": "2026-01-02T03:04:05Z",
        "refresh_token": "r",
    }
    for header in (
        'Bearer realm="https://auth.example/token",service="a",scope="repository:a/b:pull,push repository:c:pull"',
        'Basic realm="x", Bearer realm="a\\"b", error=invalid_token',
        "Wed, 21 Oct 2026 07:28:00 GMT",
        "120",
    ):
        yield header.encode() + b"\n" + json.dumps(answer).encode()


def registry_seeds() -> Iterator[bytes]:
    """Every kind of document, and what is hard to read of them."""
    descriptor = {"digest": "sha256:" + "0" * 64, "size": 7, "annotations": {"a": "b"}}
    config = {**descriptor, "mediaType": oci.MEDIA_CONFIG}
    layer = {**descriptor, "mediaType": oci.MEDIA_LAYER_GZIP}
    rootfs = {"type": "layers", "diff_ids": ["sha256:" + "1" * 64]}
    manifest = {
        "schemaVersion": 2,
        "config": config,
        "layers": [layer],
        "rootfs": rootfs,
        "history": [{"empty_layer": True}],
    }
    platform = {"os": "linux", "architecture": "arm", "variant": "v7"}
    entry = {**descriptor, "mediaType": oci.MEDIA_MANIFEST, "platform": platform}
    for media_type, document in (
        (oci.MEDIA_MANIFEST, manifest),
        ("", {**manifest, "mediaType": oci.MEDIA_DOCKER_MANIFEST, "artifactType": "x/y"}),
        (oci.MEDIA_INDEX, {"schemaVersion": 2, "manifests": [entry]}),
        ("application/json", {"schemaVersion": 2, "manifests": [entry], "layers": [], "config": config}),
        ("application/vnd.docker.distribution.manifest.v1+json", {"schemaVersion": 1, "fsLayers": []}),
    ):
        yield media_type.encode() + b"\n" + json.dumps(document).encode()
    yield oci.MEDIA_INDEX.encode() + b"\n" + b'{"manifests":[' * 300


def archive_seeds() -> Iterator[bytes]:
    """Docker's archive and an image layout with an index, as documents and as a tar; what is hard to read of them."""
    config = json.dumps({"os": "linux", "architecture": "amd64", "rootfs": {"type": "layers", "diff_ids": []}}).encode()
    blobs = [config]

    def described(media_type: str, content: bytes, **more: object) -> dict[str, object]:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return {"mediaType": media_type, "digest": digest, "size": len(content), **more}

    described_config = described(oci.MEDIA_CONFIG, config)
    blobs.append(json.dumps({"schemaVersion": 2, "config": described_config, "layers": []}).encode())
    entry = described(oci.MEDIA_MANIFEST, blobs[-1], platform={"os": "linux", "architecture": "amd64"})
    blobs.append(json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode())
    top = described(oci.MEDIA_INDEX, blobs[-1], annotations={"io.containerd.image.name": "a/b:v1"})
    named = {f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}": blob for blob in blobs}
    index = json.dumps({"schemaVersion": 2, "manifests": [top, entry]}).encode()
    layout = {**named, "oci-layout": b'{"imageLayoutVersion":"1.0.0"}', "index.json": index}
    listed = json.dumps([{"Config": "c.json", "RepoTags": ["a:v1"], "Layers": None}]).encode()
    docker = {"c.json": config, "manifest.json": listed}
    for members in (layout, docker, {"index.json": b'{"manifests":[' * 300}):
        yield b"\n\n".join(name.encode() + b"\n" + content for name, content in members.items())
        buffer = io.BytesIO()
        with tarfile.TarFile(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as made:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                made.addfile(info, io.BytesIO(content))
        yield buffer.getvalue()


TARGETS: Mapping[str, Callable[[bytes], None]] = {
    "parser": parser,
    "expansion": expansion,
    "ignore": ignore,
    "layer": layer,
    "registry": registry,
    "login": login,
    "archive": archive,
}
SEEDS: Mapping[str, Callable[[], Iterator[bytes]]] = {
    "parser": parser_seeds,
    "expansion": expansion_seeds,
    "ignore": ignore_seeds,
    "layer": layer_seeds,
    "registry": registry_seeds,
    "login": login_seeds,
    "archive": archive_seeds,
}
