"""Closed unions of messages between two of our processes, as MessagePack. How they are framed is the channel's."""

from __future__ import annotations

from functools import cache
from typing import Any, Generic, TypeVar

import msgspec

from contextkernel.errors import ProtocolViolation

T = TypeVar("T")


@cache
def decoder_of(union: Any) -> msgspec.msgpack.Decoder[Any]:
    """A decoder for a union; kept, because making one is slow, and it holds no state."""
    return msgspec.msgpack.Decoder(union)


class UnionDecoder(Generic[T]):
    """Decodes the messages of one union.

    Args:
        union: the messages that may come.
        receiver, sender: names of the two processes, for the error.
    """

    def __init__(self, union: Any, receiver: str, sender: str) -> None:
        self._decoder: msgspec.msgpack.Decoder[T] = decoder_of(union)
        self._expected = " or ".join(kind.__name__ for kind in getattr(union, "__args__", (union,)))
        self._receiver = receiver
        self._sender = sender

    def decode(self, data: bytes) -> T:
        """The message in ``data``.

        Raises:
            ProtocolViolation: it is none of the expected.
        """
        try:
            return self._decoder.decode(data)
        except msgspec.MsgspecError as problem:
            raise ProtocolViolation(
                f"the {self._receiver} expected {self._expected} from the {self._sender}, "
                f"got {_name(data)!r}: {problem}"
            ) from problem


def _name(data: bytes) -> str:
    """The tag of a message that could not be decoded."""
    try:
        return str(msgspec.msgpack.decode(data)["type"])
    except (msgspec.MsgspecError, KeyError, TypeError):
        return repr(data[:20])
