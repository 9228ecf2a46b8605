"""Packages in the files of an image: what package managers have written down about themselves.

Read are dpkg's status (deb-control(5)), apk's installed database, Python's ``METADATA`` (PEP 566) and npm's
``package.json``. Nothing is guessed from programs themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from urllib.parse import quote

import msgspec

_MAX_TEXT = 1000
_NPM = re.compile(r"(?:^|.*/)node_modules/(?:@[^/]+/)?[^/]+/package\.json\Z")
_PYTHON = re.compile(r"(?:^|.*/)[^/]+\.(?:dist-info/METADATA|egg-info/PKG-INFO)\Z")
_DPKG = re.compile(r"var/lib/dpkg/(?:status|status\.d/[^/.]+)\Z")
_APK = re.compile(r"(?:usr/)?lib/apk/db/installed\Z")
_RPM = re.compile(r"(?:var|usr)/lib/(?:sysimage/)?rpm/(?:Packages|Packages\.db|rpmdb\.sqlite)\Z")
_OS_RELEASE = ("etc/os-release", "usr/lib/os-release")


class Package(msgspec.Struct, frozen=True, order=True, kw_only=True):
    """One installed package.

    Attributes:
        kind: as package URLs name it: ``deb``, ``apk``, ``pypi``, ``npm``.
        name, version: of it.
        architecture: if it has one.
        license: as it says itself; may be anything.
        supplier: who maintains it.
        source: file it was found in.
        purl: package URL.
    """

    kind: str
    name: str
    version: str
    architecture: str = ""
    license: str = ""
    supplier: str = ""
    source: str = ""
    purl: str = ""


def is_database(path: str) -> bool:
    """Whether a file of an image says what packages there are, or what system it is."""
    return path in _OS_RELEASE or any(one.match(path) for one in (_DPKG, _APK, _PYTHON, _NPM))


def is_unread(path: str) -> bool:
    """Whether a file is a package database that is not understood here (rpm's)."""
    return bool(_RPM.match(path))


def find_packages(files: Mapping[str, bytes]) -> tuple[Package, ...]:
    """The packages that files tell of, sorted.

    Args:
        files: those of :func:`is_database`, by path; damaged ones tell of less.
    """
    system = _system(files)
    readers: tuple[tuple[re.Pattern[str], Callable[[str, str, str], Iterator[Package]]], ...] = (
        (_DPKG, _dpkg),
        (_APK, _apk),
        (_PYTHON, _python),
        (_NPM, _npm),
    )
    found: set[Package] = set()
    for path, data in files.items():
        for pattern, read in readers:
            if pattern.match(path):
                found.update(read(path, data.decode("utf-8", "replace"), system))
    return tuple(sorted(found))


def _system(files: Mapping[str, bytes]) -> str:
    """The ``ID`` of os-release(5)."""
    for path in _OS_RELEASE:
        match = re.search(r'^ID=["\']?([a-z0-9._-]+)', files.get(path, b"").decode("utf-8", "replace"), re.MULTILINE)
        if match:
            return match[1]
    return ""


def _paragraphs(text: str) -> Iterator[dict[str, str]]:
    """Paragraphs of ``Key: value`` lines; of a value of several lines the first."""
    for block in re.split(r"\n\s*\n", text):
        fields = dict(re.findall(r"^([A-Za-z-]+):[ \t]*(.*)$", block, re.MULTILINE))
        if fields:
            yield fields


def _dpkg(path: str, text: str, system: str) -> Iterator[Package]:
    for fields in _paragraphs(text):
        name, version, architecture = fields.get("Package"), fields.get("Version"), fields.get("Architecture", "")
        if name and version and (fields.get("Status", "install ok installed").endswith(" installed")):
            yield Package(
                kind="deb",
                name=name,
                version=version,
                architecture=architecture,
                supplier=_short(fields.get("Maintainer", "")),
                source=path,
                purl=_purl("deb", system or "debian", name, version, architecture),
            )


def _apk(path: str, text: str, system: str) -> Iterator[Package]:
    for block in text.split("\n\n"):
        # one-letter keys; the first of each belongs to the package, later ones to its files
        fields: dict[str, str] = {}
        for key, value in re.findall(r"^([A-Za-z]):(.*)$", block, re.MULTILINE):
            fields.setdefault(key, value)
        if fields.get("P") and fields.get("V"):
            yield Package(
                kind="apk",
                name=fields["P"],
                version=fields["V"],
                architecture=fields.get("A", ""),
                license=_short(fields.get("L", "")),
                supplier=_short(fields.get("m", "")),
                source=path,
                purl=_purl("apk", system or "alpine", fields["P"], fields["V"], fields.get("A", "")),
            )


def _python(path: str, text: str, _system_id: str) -> Iterator[Package]:
    fields = next(_paragraphs(text.partition("\n\n")[0]), {})
    name, version = fields.get("Name"), fields.get("Version")
    if name and version:
        plain = re.sub(r"[-_.]+", "-", name).lower()
        yield Package(
            kind="pypi",
            name=name,
            version=version,
            license=_short(fields.get("License-Expression") or fields.get("License", "")),
            supplier=_short(fields.get("Author", "")),
            source=path,
            purl=_purl("pypi", "", plain, version, ""),
        )


def _npm(path: str, text: str, _system_id: str) -> Iterator[Package]:
    try:
        document = json.loads(text)
    except (ValueError, RecursionError):
        return
    if not isinstance(document, dict):
        return
    name, version, terms = document.get("name"), document.get("version"), document.get("license")
    if isinstance(name, str) and isinstance(version, str) and name and version:
        scope, _, plain = name.rpartition("/")
        yield Package(
            kind="npm",
            name=name,
            version=version,
            license=_short(terms) if isinstance(terms, str) else "",
            source=path,
            purl=_purl("npm", scope, plain, version, ""),
        )


def _short(text: str) -> str:
    return text.strip()[:_MAX_TEXT]


def _purl(kind: str, namespace: str, name: str, version: str, architecture: str) -> str:
    """A package URL (package-url spec)."""
    space = f"{quote(namespace, safe='')}/" if namespace else ""
    query = f"?arch={quote(architecture, safe='')}" if architecture else ""
    return f"pkg:{kind}/{space}{quote(name, safe='')}@{quote(version, safe='.:+~')}{query}"
