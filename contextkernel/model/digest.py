"""Content digests (OCI image-spec, descriptor.md, "Digests")."""

from __future__ import annotations

import hashlib
import re

from contextkernel.errors import InvalidDigest

_FORM = re.compile(r"sha256:[a-f0-9]{64}\Z|sha512:[a-f0-9]{128}\Z")


class Digest(str):
    """A checked content digest; its text is ``algorithm:hex``.

    Being a ``str`` it is hashable, sortable and storable; the constructor is the only way to make
    one and refuses anything that is not a digest.

    Raises:
        InvalidDigest: if the text is not ``sha256:`` and 64 (``sha512:`` and 128) lower-case hex digits.
    """

    __slots__ = ()

    def __new__(cls, text: str) -> Digest:
        """Check ``text``; see the class."""
        if not _FORM.match(text):
            raise InvalidDigest(f"not a digest: {text!r}", hint="a digest is sha256: and 64 lower-case hex digits")
        return super().__new__(cls, text)

    @classmethod
    def of(cls, data: bytes) -> Digest:
        """The sha256 digest of ``data``."""
        return cls.from_hex(hashlib.sha256(data).hexdigest())

    @classmethod
    def from_hex(cls, digits: str) -> Digest:
        """A sha256 digest from its hex digits alone."""
        return cls(f"sha256:{digits}")

    def computed(self, data: bytes) -> Digest:
        """The digest of ``data`` by the algorithm of this one."""
        return Digest(f"{self.algorithm}:{hashlib.new(self.algorithm, data).hexdigest()}")

    @property
    def algorithm(self) -> str:
        """``sha256`` or ``sha512``."""
        return self.partition(":")[0]

    @property
    def hex(self) -> str:
        """The hex digits alone."""
        return self.partition(":")[2]

    @property
    def short(self) -> str:
        """The first 12 hex digits, as docker's tables show ids."""
        return self.hex[:12]

    def __repr__(self) -> str:
        return f"Digest({str.__repr__(self)})"
