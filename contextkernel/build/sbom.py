"""A list of the packages in a result, as an SPDX 2.3 document (https://spdx.github.io/spdx-spec/v2.3/)."""

from __future__ import annotations

import os
import re
import tarfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import msgspec

from contextkernel.build.finished import Finished
from contextkernel.build.ports import BuildStore
from contextkernel.layer.packages import Package, find_packages, is_database, is_unread
from contextkernel.model.digest import Digest
from contextkernel.model.layers import ExportRequest
from contextkernel.model.outputs import Statement
from contextkernel.model.ports import LayerWorker

_PREDICATE = "https://spdx.dev/Document"
_NOTHING = "NOASSERTION"
_MAX_FILE = 64 << 20


def sbom(
    finished: Finished,
    store: BuildStore,
    worker: LayerWorker,
    *,
    name: str,
    created: str,
    warn: Callable[[str], None],
) -> Statement:
    """Make the list.

    Args:
        finished: what was built.
        store: for a temporary file.
        worker: reads files of the result, whoever owns them.
        name: of the document.
        created: RFC 3339.
        warn: told of package databases that are not understood.

    Raises:
        StoreProblem: the layers cannot be read.
    """
    files = _databases(finished, store, worker, warn)
    document = spdx_document(find_packages(files), name=name, created=created)
    return Statement(predicate_type=_PREDICATE, predicate=msgspec.json.encode(document), name="sbom.spdx.json")


def _databases(
    finished: Finished, store: BuildStore, worker: LayerWorker, warn: Callable[[str], None]
) -> dict[str, bytes]:
    wanted = []
    for path, entry in finished.files().items():
        if is_unread(path):
            warn(f"the SBOM lacks the packages of the rpm database /{path}, which is not read by this version")
        elif entry.kind == "file" and is_database(path):
            if entry.size > _MAX_FILE:
                warn(f"the SBOM lacks what /{path} says: it has more than {_MAX_FILE >> 20} MiB")
            else:
                wanted.append(path)
    if not wanted:
        return {}
    temporary = store.temporary_path()
    try:
        with open(temporary, "xb", buffering=0) as sink:
            layers = tuple(layer.directory for layer in finished.layers)
            worker.export_tar(ExportRequest(layers=layers, only=tuple(wanted)), sink.fileno())
        found: dict[str, bytes] = {}
        with tarfile.open(temporary) as archive:
            for member in archive:
                content = archive.extractfile(member) if member.isreg() else None
                if content is not None:
                    found[member.name] = content.read()
        return found
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary)


def spdx_document(packages: tuple[Package, ...], *, name: str, created: str) -> dict[str, Any]:
    """The document; the same packages, name and time give the same bytes.

    Args:
        packages: sorted.
        name: of the document.
        created: RFC 3339, whole seconds.
    """
    items = [_package(package, number) for number, package in enumerate(packages, start=1)]
    identity = Digest.of(msgspec.json.encode([name, created, items])).hex
    return {
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": "SPDXRef-DOCUMENT",
        "name": name,
        "documentNamespace": f"https://spdx.org/spdxdocs/contextkernel-{identity}",
        "creationInfo": {"creators": ["Tool: contextkernel"], "created": created},
        "packages": items,
        "relationships": [
            {
                "spdxElementId": "SPDXRef-DOCUMENT",
                "relatedSpdxElement": item["SPDXID"],
                "relationshipType": "DESCRIBES",
            }
            for item in items
        ],
    }


def _package(package: Package, number: int) -> dict[str, Any]:
    item: dict[str, Any] = {
        "name": package.name,
        "SPDXID": f"SPDXRef-Package-{package.kind}-{re.sub(r'[^A-Za-z0-9.-]', '-', package.name)}-{number}",
        "versionInfo": package.version,
        "supplier": f"Organization: {package.supplier}" if package.supplier else _NOTHING,
        "downloadLocation": _NOTHING,
        "filesAnalyzed": False,
        "sourceInfo": f"found in /{package.source}",
        "licenseConcluded": _NOTHING,
        "licenseDeclared": _NOTHING,
        "copyrightText": _NOTHING,
        "externalRefs": [
            {"referenceCategory": "PACKAGE-MANAGER", "referenceType": "purl", "referenceLocator": package.purl}
        ],
    }
    if package.license:  # free text in most systems, and no expression that SPDX would take
        item["licenseComments"] = package.license
    return item
