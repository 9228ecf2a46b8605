"""Platforms as OCI names them (image-spec, image-index.md; Go's GOOS/GOARCH values)."""

from __future__ import annotations

import os

import msgspec

from contextkernel.errors import InvalidInput

_MACHINES = {
    "x86_64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", None),
    "ppc64le": ("ppc64le", None),
    "s390x": ("s390x", None),
    "riscv64": ("riscv64", None),
}
_ALIASES = {
    "x86_64": ("amd64", None),
    "x86-64": ("amd64", None),
    "aarch64": ("arm64", None),
    "armhf": ("arm", "v7"),
    "armel": ("arm", "v6"),
    "i386": ("386", None),
}
# variants that say nothing, and the one that is meant without (containerd, platforms/database.go)
_IDLE = {("arm64", "v8"), ("amd64", "v1")}
_MEANT = {"arm": "v7"}


class Platform(msgspec.Struct, frozen=True, order=True):
    """Operating system, processor architecture and optional variant."""

    os: str
    architecture: str
    variant: str | None = None

    @classmethod
    def parse(cls, text: str) -> Platform:
        """Read ``os/arch[/variant]`` or a lone architecture.

        Raises:
            InvalidInput: for an empty part or too many parts.
        """
        parts = text.lower().split("/")
        if len(parts) == 1:
            parts = ["linux", *parts]
        if len(parts) > 3 or not all(parts):
            raise InvalidInput(
                f"not a platform: {text!r}", hint="a platform is os/architecture[/variant], e.g. linux/arm64"
            )
        architecture, usual = _ALIASES.get(parts[1], (parts[1], None))
        variant = parts[2] if len(parts) == 3 else usual or _MEANT.get(architecture)
        if (architecture, variant) in _IDLE:
            variant = None
        return cls(parts[0], architecture, variant)

    @classmethod
    def host(cls) -> Platform:
        """The platform this process runs on."""
        machine = os.uname().machine
        architecture, variant = _MACHINES.get(machine, (machine, None))
        return cls("linux", architecture, variant)

    @classmethod
    def of(cls, os: str, architecture: str, variant: str | None) -> Platform:
        """The platform that an image's configuration, or an entry of an index, names; empty parts are linux, amd64."""
        return cls.parse("/".join(filter(None, (os or "linux", architecture or "amd64", variant))))

    def acceptable(self) -> tuple[Platform, ...]:
        """Platforms whose images will do, best first: itself, lower variants, what its processors run as well.

        Source: containerd, platforms/compare.go (``platformVector``).
        """
        found = [self]
        number = self._number()
        match self.architecture:
            case "amd64":
                lower = [Platform(self.os, "amd64", f"v{one}" if one > 1 else None) for one in range(number - 1, 0, -1)]
                found += [*lower, Platform(self.os, "386")]
            case "arm":
                found += [Platform(self.os, "arm", f"v{one}") for one in range(number - 1, 4, -1)]
            case "arm64":
                found += [Platform(self.os, "arm", f"v{one}") for one in (8, 7, 6, 5)]
        return tuple(found)

    def takes(self, other: Platform) -> bool:
        """Whether an image for ``other`` will do where one for this is wanted.

        It does if it is :meth:`acceptable`; and if it is for the same processors, in a variant of which nobody has said
        whether it is more or less: better that than none.
        """
        if other in self.acceptable():
            return True
        same = (other.os, other.architecture) == (self.os, self.architecture)
        return same and not (self._number() and other._number())

    def _number(self) -> int:
        """Of the variant; 0 without one, or for one that is no number."""
        return int(self.variant[1:]) if self.variant and self.variant[1:].isdigit() else 0

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")
