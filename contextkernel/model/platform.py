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
_ALIASES = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "armhf": "arm", "i386": "386"}


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
        variant = parts[2] if len(parts) == 3 else None
        architecture = _ALIASES.get(parts[1], parts[1])
        if architecture == "arm64" and variant == "v8":
            variant = None
        return cls(parts[0], architecture, variant)

    @classmethod
    def host(cls) -> Platform:
        """The platform this process runs on."""
        machine = os.uname().machine
        architecture, variant = _MACHINES.get(machine, (machine, None))
        return cls("linux", architecture, variant)

    def __str__(self) -> str:
        return f"{self.os}/{self.architecture}" + (f"/{self.variant}" if self.variant else "")
