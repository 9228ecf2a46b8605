"""What an image contains, read from a docker-archive with nothing but the standard library.

Deliberately independent of the package: it judges both docker's images and ours by the same eyes.
"""

from __future__ import annotations

import hashlib
import json
import re
import tarfile
from itertools import zip_longest
from pathlib import Path
from typing import Any

#: parts of a config that say when or where a build happened, not what it made
_INCIDENTAL = (
    "created",
    "container",
    "container_config",
    "docker_version",
    "id",
    "parent",
    "moby.buildkit.buildinfo.v1",
)


def flatten(archive: Path) -> list[dict[str, Any]]:
    """Describe each image of an archive: names, config, history, layer count, and the merged files."""
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        return [_image(tar, entry) for entry in manifest]


def _image(tar: tarfile.TarFile, entry: dict[str, Any]) -> dict[str, Any]:
    config = json.load(tar.extractfile(entry["Config"]))  # type: ignore[arg-type]
    files: dict[str, dict[str, Any]] = {}
    for name in entry["Layers"]:
        with tarfile.open(fileobj=tar.extractfile(_resolve(tar, name)), mode="r:*") as layer:
            _apply(files, layer)
    rootfs = config.pop("rootfs")
    history = [{key: value for key, value in item.items() if key != "created"} for item in config.pop("history", [])]
    for key in _INCIDENTAL:
        config.pop(key, None)
    config["config"] = {key: value for key, value in config["config"].items() if value not in (None, "", False, [], {})}
    for key in ("Hostname", "Domainname", "Image"):
        config["config"].pop(key, None)
    return {
        "names": entry["RepoTags"],
        "config": config,
        "history": history,
        "layers": len(rootfs["diff_ids"]),
        "files": dict(sorted(files.items())),
    }


def _resolve(tar: tarfile.TarFile, name: str) -> str:
    """docker writes a layer it has already written as a symlink to the first one."""
    member = tar.getmember(name)
    if member.issym():
        import posixpath

        return posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname))
    return name


def _apply(files: dict[str, dict[str, Any]], layer: tarfile.TarFile) -> None:
    fresh: dict[str, dict[str, Any]] = {}
    gone: list[str] = []
    opaque: list[str] = []
    for member in layer:
        path = member.name.strip("/").removeprefix("./")
        folder, _, base = path.rpartition("/")
        if base == ".wh..wh..opq":
            opaque.append(folder)
        elif base.startswith(".wh."):
            gone.append(f"{folder}/{base[4:]}".lstrip("/"))
        elif path not in ("", "."):
            fresh[path] = _entry(layer, member, fresh)
    for path in [*gone, *opaque]:
        for known in [name for name in files if name.startswith(f"{path}/") or (name == path and path in gone)]:
            del files[known]
    for path, entry in fresh.items():
        if path in files and files[path]["type"] == "dir" and entry["type"] != "dir":
            for known in [name for name in files if name.startswith(f"{path}/")]:
                del files[known]
        files[path] = entry


def _entry(layer: tarfile.TarFile, member: tarfile.TarInfo, fresh: dict[str, dict[str, Any]]) -> dict[str, Any]:
    if member.islnk():  # a further name of a file of the same layer
        return fresh[member.linkname.strip("/").removeprefix("./")] | {"hardlink": True}
    kind = {
        tarfile.REGTYPE: "file",
        tarfile.AREGTYPE: "file",
        tarfile.DIRTYPE: "dir",
        tarfile.SYMTYPE: "symlink",
        tarfile.FIFOTYPE: "fifo",
        tarfile.CHRTYPE: "char",
        tarfile.BLKTYPE: "block",
    }[member.type]
    entry: dict[str, Any] = {"type": kind, "mode": f"{member.mode & 0o7777:04o}", "owner": f"{member.uid}:{member.gid}"}
    if kind == "symlink":
        entry["target"] = member.linkname
        del entry["mode"]  # the mode of a symlink means nothing on Linux
    if kind == "file":
        content = layer.extractfile(member)
        assert content is not None
        entry["size"] = member.size
        entry["sha256"] = hashlib.file_digest(content, "sha256").hexdigest()
    xattrs = {key: value for key, value in member.pax_headers.items() if key.startswith("SCHILY.xattr.")}
    if xattrs:
        entry["xattrs"] = {
            key.removeprefix("SCHILY.xattr."): value.encode("utf-8", "surrogateescape").hex()
            for key, value in xattrs.items()
        }
    return entry


def _any_frontend(history: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """History without what newer Dockerfile frontends write otherwise than the recorded one.

    Newer ones repeat COPY's flags, and print HEALTHCHECK's fields by name.
    """
    out = []
    for item in history:
        text = re.sub(r"^(COPY|ADD)( --\S+)+", r"\1", item.get("created_by", ""))
        text = re.sub(r"^HEALTHCHECK .*", "HEALTHCHECK ...", text)
        out.append({**item, "created_by": text})
    return out


def beyond(image: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The image as a difference to its base: what was added, changed or removed."""
    files, old = image["files"], base["files"]
    changed = {path: entry for path, entry in files.items() if without_link(old.get(path)) != without_link(entry)}
    return {
        "config": image["config"],
        "history": image["history"][len(base["history"]) :],
        "layers": image["layers"] - base["layers"],
        "files": changed,
        "removed": sorted(set(old) - set(files)),
    }


def without_link(entry: dict[str, Any] | None) -> dict[str, Any] | None:
    """An entry without the mark of a hard link: which of two names comes first is not the image's content."""
    return None if entry is None else {key: value for key, value in entry.items() if key != "hardlink"}


def differences(ours: dict[str, Any], docker: dict[str, Any]) -> list[str]:
    """Every difference between two descriptions, one line each."""
    out = [
        f"{key}: ours {ours[key]!r}, docker {docker[key]!r}"
        for key in ("config", "layers", "removed")
        if ours.get(key) != docker.get(key)
    ]
    for mine, theirs in zip_longest(_any_frontend(ours["history"]), _any_frontend(docker["history"])):
        if mine != theirs:
            out.append(f"history: ours {mine}, docker {theirs}")
    for path in sorted(set(ours["files"]) | set(docker["files"])):
        mine, theirs = without_link(ours["files"].get(path)), without_link(docker["files"].get(path))
        if mine != theirs:
            out.append(f"{path}: ours {mine}, docker {theirs}")
    return out
