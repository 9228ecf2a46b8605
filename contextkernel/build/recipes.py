"""Which package mirror and release make a base image for a reference, and which can stand in for it."""

from __future__ import annotations

import glob
import os
import platform
import re
import socket
from collections.abc import Iterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec

if TYPE_CHECKING:
    from contextkernel.model.reference import ImageRef

_TIMEOUT = 3.0  # seconds for a mirror to accept a connection

_UBUNTU = {"20.04": "focal", "22.04": "jammy", "24.04": "noble", "latest": "noble"}
_DEBIAN = {"10": "buster", "11": "bullseye", "12": "bookworm", "13": "trixie", "latest": "trixie", "stable": "trixie"}
_FAMILIES = {
    "library/ubuntu": ("ubuntu", _UBUNTU, "http://archive.ubuntu.com/ubuntu", ("bash",)),
    "library/debian": ("debian", _DEBIAN, "http://deb.debian.org/debian", ("bash",)),
}
_KEYRINGS = {
    "ubuntu": "/usr/share/keyrings/ubuntu-archive-keyring.gpg",
    "debian": "/usr/share/keyrings/debian-archive-keyring.gpg",
}


class Recipe(msgspec.Struct, frozen=True, kw_only=True):
    """One release of one distribution.

    Attributes:
        family: ``ubuntu`` or ``debian``.
        suite: code name of the release.
        mirror: where its packages are.
        genuine: it is the release that was asked for, not a stand-in.
        command: the image's CMD.
    """

    family: str
    suite: str
    mirror: str
    genuine: bool
    command: tuple[str, ...]

    @property
    def sources(self) -> tuple[str, ...]:
        """The mirror as mmdebstrap's arguments; the host's own release uses the host's mirror."""
        components = "main universe" if self.family == "ubuntu" else "main"
        return (f"deb {self.mirror} {self.suite} {components}",)

    def candidates(self) -> Iterator[Recipe]:
        """This recipe, then the host's own release as a stand-in."""
        yield self
        host = host_recipe(self.command)
        if host is not None and host.suite != self.suite:
            yield host

    def unusable(self) -> str | None:
        """Why a bootstrap cannot work, found out quickly; ``None`` if it may."""
        keyring = _KEYRINGS[self.family]
        if not os.path.exists(keyring):
            return f"{self.suite}: {keyring} is not installed"
        where = urlsplit(self.mirror)
        try:
            with socket.create_connection((where.hostname or "", where.port or 80), timeout=_TIMEOUT):
                return None
        except OSError as problem:
            return f"{self.suite}: its package mirror is not reachable ({problem})"


def recipe_for(ref: ImageRef) -> Recipe | None:
    """The recipe for a reference, ``None`` for images that are not made of Debian packages."""
    family = _FAMILIES.get(ref.repository) if ref.registry == "docker.io" else None
    if family is None or ref.digest is not None:
        return None
    name, releases, mirror, command = family
    tag = re.sub(r"-slim$", "", ref.tag or "latest")
    suite = releases.get(tag, tag)
    return Recipe(family=name, suite=suite, mirror=mirror, genuine=True, command=command)


def host_recipe(command: tuple[str, ...]) -> Recipe | None:
    """The host's own release, with the mirror that the host uses; ``None`` on other distributions."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        return None
    family, suite = release.get("ID", ""), release.get("VERSION_CODENAME", "")
    if family not in _KEYRINGS or not suite:
        return None
    mirror = _host_mirror(suite)
    if mirror is None:
        mirror = next(entry[2] for entry in _FAMILIES.values() if entry[0] == family)
    return Recipe(family=family, suite=suite, mirror=mirror, genuine=False, command=command)


def _host_mirror(suite: str) -> str | None:
    """The first mirror in the host's apt sources (one-line and deb822 forms) that serves ``suite``."""
    for path in ["/etc/apt/sources.list", *sorted(glob.glob("/etc/apt/sources.list.d/*"))]:
        try:
            with open(path, encoding="utf-8") as file:
                text = file.read()
        except OSError:
            continue
        line = re.search(rf"^deb\s+(?:\[[^\]]*\]\s+)?(http\S+)\s+{re.escape(suite)}\s", text, re.MULTILINE)
        if line:
            return line[1]
        for paragraph in re.split(r"\n\s*\n", text):
            fields = dict(re.findall(r"^(\w+):[ \t]*(.*)$", paragraph, re.MULTILINE))
            if suite in fields.get("Suites", "").split() and "deb" in fields.get("Types", "").split():
                return next((uri for uri in fields.get("URIs", "").split() if uri.startswith("http")), None)
    return None
