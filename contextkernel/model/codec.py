"""JSON and MessagePack for model values: one set of hooks, so that checked types survive the trip."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from contextkernel.model.digest import Digest

T = TypeVar("T")


def _enc_hook(value: object) -> object:
    if isinstance(value, Digest):
        return str.__str__(value)
    raise TypeError(f"cannot encode {type(value).__name__}")


def _dec_hook(kind: type, value: object) -> object:
    if kind is Digest and isinstance(value, str):
        return Digest(value)
    raise TypeError(f"cannot decode {kind!r}")


_JSON = msgspec.json.Encoder(enc_hook=_enc_hook)
_MSGPACK = msgspec.msgpack.Encoder(enc_hook=_enc_hook)


def to_json(value: object) -> bytes:
    """Compact JSON, fields in declaration order; the bytes that config and manifest digests are made of."""
    return _JSON.encode(value)


def from_json(data: bytes | str, kind: type[T]) -> T:
    """Decode JSON into ``kind``; unknown fields are ignored.

    Raises:
        msgspec.ValidationError: if the data does not fit.
    """
    return msgspec.json.decode(data, type=kind, dec_hook=_dec_hook)


def to_msgpack(value: object) -> bytes:
    """MessagePack, for messages between our processes and for layer indexes."""
    return _MSGPACK.encode(value)


def from_msgpack(data: bytes, kind: type[T]) -> T:
    """Decode MessagePack into ``kind``.

    Raises:
        msgspec.ValidationError: if the data does not fit.
    """
    return msgspec.msgpack.decode(data, type=kind, dec_hook=_dec_hook)
