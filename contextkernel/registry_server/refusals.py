"""Answers that say no, as the distribution-spec has them ("Error Codes"). They are told to a client, not to a user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contextkernel.model.codec import to_json


class Refusal(Exception):
    """A request that is refused.

    Args:
        status: of HTTP.
        code: of the specification's table, e.g. ``MANIFEST_UNKNOWN``.
        message: for people.
        detail: what it is about, for programs.
        headers: more headers of the answer.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        detail: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status = status
        self.code = code
        self.message = message
        self.detail = detail
        self.headers = dict(headers or {})

    def body(self) -> bytes:
        """The document that goes with it."""
        error: dict[str, Any] = {"code": self.code, "message": self.message}
        if self.detail is not None:
            error["detail"] = self.detail
        return to_json({"errors": [error]})


def unknown_manifest(reference: str) -> Refusal:
    """There is no manifest of this tag or digest."""
    return Refusal(404, "MANIFEST_UNKNOWN", "manifest unknown to this registry", detail={"reference": reference})


def unknown_blob(digest: str) -> Refusal:
    """The repository has no such blob."""
    return Refusal(404, "BLOB_UNKNOWN", "blob unknown to this repository", detail={"digest": digest})


def unknown_repository(name: str) -> Refusal:
    """Nothing was ever pushed under this name."""
    return Refusal(404, "NAME_UNKNOWN", "repository name not known to this registry", detail={"name": name})


def unknown_upload() -> Refusal:
    """No such upload: finished, cancelled, given up, or of an earlier life of this registry."""
    return Refusal(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to this registry")


def invalid_manifest(message: str, detail: Any = None) -> Refusal:
    """The document is not a manifest that can be taken."""
    return Refusal(400, "MANIFEST_INVALID", message, detail=detail)


def invalid_digest(message: str) -> Refusal:
    """No digest, one of an unknown algorithm, or not that of the content."""
    return Refusal(400, "DIGEST_INVALID", message)
