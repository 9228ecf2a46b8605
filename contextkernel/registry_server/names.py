"""Names in requests: repositories, tags, digests (distribution-spec v1.1, "Pulling manifests")."""

from __future__ import annotations

import re

from contextkernel.errors import InvalidDigest
from contextkernel.model.digest import Digest
from contextkernel.registry_server.refusals import Refusal, invalid_digest, invalid_manifest

#: the separators are taken one at a time, so that no text makes the search try many ways
_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*\Z")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}\Z")
_LONGEST = 255  # characters of a name; what clients accept, and less than any path may have


def checked_name(name: str) -> str:
    """``name``, if it may name a repository; no part of it is a directory of the storage's own.

    Raises:
        Refusal: NAME_INVALID.
    """
    if len(name) > _LONGEST or not _NAME.match(name):
        raise Refusal(400, "NAME_INVALID", "invalid repository name", detail={"name": name[:_LONGEST]})
    return name


def is_tag(text: str) -> bool:
    """Whether ``text`` may be a tag."""
    return _TAG.match(text) is not None


def checked_digest(text: str) -> Digest:
    """``text`` as a digest.

    Raises:
        Refusal: DIGEST_INVALID.
    """
    try:
        return Digest(text)
    except InvalidDigest:
        raise invalid_digest("not a digest of sha256 or sha512") from None


def checked_reference(text: str) -> Digest | str:
    """A digest, or a tag as plain text.

    Raises:
        Refusal: DIGEST_INVALID; MANIFEST_INVALID if it can be neither.
    """
    if ":" in text:
        return checked_digest(text)
    if not is_tag(text):
        raise invalid_manifest("not a tag", {"tag": text[:128]})
    return text
