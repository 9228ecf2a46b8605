"""Image references, normalised as docker does (distribution/reference, "familiar" and canonical names)."""

from __future__ import annotations

import re

import msgspec

from contextkernel.errors import InvalidDigest, InvalidReference
from contextkernel.model.digest import Digest

DEFAULT_REGISTRY = "docker.io"
_LEGACY_REGISTRY = "index.docker.io"
_OFFICIAL = "library/"
_MAX_NAME = 255

_DOMAIN = re.compile(
    r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])(?:\.(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9]))*"
    r"(?::[0-9]+)?\Z|\[[a-fA-F0-9:]+\](?::[0-9]+)?\Z"
)
_COMPONENT = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_PATH = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}\Z")
_IDENTIFIER = re.compile(r"[a-f0-9]{64}\Z")


class ImageRef(msgspec.Struct, frozen=True, order=True):
    """A normalised image reference.

    Attributes:
        registry: host and optional port, ``docker.io`` by default.
        repository: path within the registry, ``library/ubuntu`` for ``ubuntu``.
        tag: ``latest`` by default unless there is a digest.
        digest: set for references by digest.
    """

    registry: str
    repository: str
    tag: str | None = None
    digest: Digest | None = None

    @classmethod
    def parse(cls, text: str) -> ImageRef:
        """Read and normalise a reference as the docker command line does.

        Args:
            text: e.g. ``greet``, ``ubuntu:20.04``, ``localhost:5000/a/b@sha256:...``.

        Raises:
            InvalidReference: naming the part that is wrong.
        """
        before, slash, path = text.rpartition("/")
        _, at, host = before.rpartition("@")
        if at:  # no digest has a slash, and a message is no place for a password
            raise InvalidReference(
                f"invalid reference '...@{host}{slash}{path}': names of images have no user and password in them",
                hint=f"log in: login {host.partition('/')[0]}",
            )
        if _IDENTIFIER.match(text):
            raise InvalidReference(f"invalid reference {text!r}: a repository name cannot be 64 hex digits")
        if "$" in text:
            raise InvalidReference(
                f"invalid reference {text!r}: there is a $ in it",
                hint="nothing has taken the place of the variable: is there one of that name, and is it text?",
            )
        name, digest = text, None
        if "@" in text:
            name, _, raw = text.partition("@")
            try:
                digest = Digest(raw)
            except InvalidDigest as problem:
                raise InvalidReference(f"invalid reference {text!r}: {problem.problem}", hint=problem.hint) from None
        head, slash, tail = name.partition("/")
        if slash and ("." in head or ":" in head or head == "localhost" or head.lower() != head):
            registry, path = head, tail
        else:
            registry, path = DEFAULT_REGISTRY, name
        tag: str | None = None
        if ":" in path:
            path, _, tag = path.partition(":")
        if registry == _LEGACY_REGISTRY:
            registry = DEFAULT_REGISTRY
        if not _DOMAIN.match(registry):
            raise InvalidReference(
                f"invalid reference {text!r}: {registry!r} is not a registry host",
                hint=f"leave {registry}// out" if registry in ("http:", "https:") else None,
            )
        if path != path.lower():
            raise InvalidReference(
                f"invalid reference {text!r}: repository name {path!r} must be lower case", hint=f"try {path.lower()!r}"
            )
        if not _PATH.match(path):
            raise InvalidReference(
                f"invalid reference {text!r}: {path!r} is not a repository name",
                hint="lower-case letters, digits and the separators . _ __ - between them, parts joined by /",
            )
        if tag is not None and not _TAG.match(tag):
            raise InvalidReference(
                f"invalid reference {text!r}: {tag!r} is not a tag",
                hint="up to 128 letters, digits, _ . and -, not starting with . or -",
            )
        if registry == DEFAULT_REGISTRY and "/" not in path:
            path = _OFFICIAL + path
        if len(registry) + 1 + len(path) > _MAX_NAME:
            raise InvalidReference(f"invalid reference {text!r}: the name is longer than {_MAX_NAME} characters")
        if tag is None and digest is None:
            tag = "latest"
        return cls(registry, path, tag, digest)

    @property
    def name(self) -> str:
        """Registry and repository, e.g. ``docker.io/library/greet``."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """Docker's short form of the name, e.g. ``greet``."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        return self.repository.removeprefix(_OFFICIAL)

    @property
    def familiar(self) -> str:
        """Docker's short form with tag and digest, e.g. ``greet:latest``."""
        return self.familiar_name + self._suffix()

    def _suffix(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        return tag + (f"@{self.digest}" if self.digest else "")

    def with_tag(self, tag: str) -> ImageRef:
        """The same repository under another tag."""
        return msgspec.structs.replace(self, tag=tag, digest=None)

    def __str__(self) -> str:
        return self.name + self._suffix()
