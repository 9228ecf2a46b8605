"""The keys that leave an attached container without ending it: docker's ctrl-p ctrl-q."""

from __future__ import annotations

from contextkernel.errors import InvalidInput

DEFAULT = "ctrl-p,ctrl-q"
_CONTROL = {f"ctrl-{chr(ord('a') + at)}": 1 + at for at in range(26)} | {
    "ctrl-@": 0,
    "ctrl-[": 27,
    "ctrl-\\": 28,
    "ctrl-]": 29,
    "ctrl-^": 30,
    "ctrl-_": 31,
}


def parse_keys(text: str) -> bytes:
    r"""``ctrl-p,ctrl-q`` as the bytes that a terminal sends.

    Args:
        text: keys, comma separated: a character, or ``ctrl-`` with a letter or one of ``@ [ \ ] ^ _``.

    Raises:
        InvalidInput: there is no such key (docker's rule: moby/term, ``ToBytes``).
    """
    keys = bytearray()
    for key in text.split(","):
        if len(key) == 1 and key.isascii():
            keys += key.encode()
        elif key.lower() in _CONTROL:
            keys.append(_CONTROL[key.lower()])
        else:
            raise InvalidInput(
                f"invalid detach keys ({text}) provided: unknown character: {key!r}",
                hint="keys such as ctrl-p,ctrl-q or a,b",
            )
    return bytes(keys)


class DetachKeys:
    """Looks for a sequence of keys in what is typed; keys that might begin it are held back until it is clear.

    Args:
        keys: the sequence; empty: there is none.
    """

    def __init__(self, keys: bytes) -> None:
        self._keys = keys
        self._found = 0

    def scan(self, data: bytes) -> tuple[bytes, bool]:
        """What to pass on of ``data``, and whether the sequence is complete; what follows it is dropped."""
        if not self._keys:
            return data, False
        passed = bytearray()
        for byte in data:
            if byte == self._keys[self._found]:
                self._found += 1
                if self._found == len(self._keys):
                    self._found = 0
                    return bytes(passed), True
                continue
            passed += self._keys[: self._found]
            # what broke it off may begin it again
            self._found = int(byte == self._keys[0])
            if not self._found:
                passed.append(byte)
        return bytes(passed), False
