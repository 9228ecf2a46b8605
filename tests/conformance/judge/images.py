"""What an image contains, read from a docker-archive with nothing but the standard library.

Deliberately independent of the package: it judges both docker's images and ours by the same eyes.
"""

from __future__ import annotations

import hashlib
import json
import posixpath
import tarfile
from collections import defaultdict
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
#: file times before this one were given (by a context, an archive, the base), later ones are of the build
GIVEN = 1_700_000_000
_DIGITS = 16  # of a content digest: enough to tell contents apart, short enough to read
_KINDS = {
    tarfile.REGTYPE: "file",
    tarfile.AREGTYPE: "file",
    tarfile.DIRTYPE: "dir",
    tarfile.SYMTYPE: "symlink",
    tarfile.FIFOTYPE: "fifo",
    tarfile.CHRTYPE: "char",
    tarfile.BLKTYPE: "block",
}


def flatten(archive: Path) -> list[dict[str, Any]]:
    """Describe each image of an archive.

    Args:
        archive: what ``docker save`` or ``contextkernel save`` wrote.

    Returns:
        Per image: names, config, history, layer count; ``files``: the merged tree, one line of text per path with
        type, mode, owner, size, content digest, link target, given time and xattrs; ``links``: groups of hard links.
    """
    with tarfile.open(archive) as tar:
        manifest = json.load(tar.extractfile("manifest.json"))  # type: ignore[arg-type]
        return [_image(tar, entry) for entry in manifest]


def imported(archive: Path) -> dict[str, Any]:
    """Describe the image that ``import`` makes of an archive.

    Args:
        archive: tar of a root file system.

    Returns:
        As :func:`flatten`, without config.
    """
    files: dict[str, tuple[str, object]] = {}
    with tarfile.open(archive) as tar:
        _apply(files, tar)
    with archive.open("rb") as file:
        diff_id = f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"
    return {
        "history": [{"comment": "Imported from -"}],
        "layers": 1,
        "diff_ids": [diff_id],
        "files": {path: line for path, (line, _) in sorted(files.items())},
        "links": [],
    }


def _image(tar: tarfile.TarFile, entry: dict[str, Any]) -> dict[str, Any]:
    config = json.load(tar.extractfile(entry["Config"]))  # type: ignore[arg-type]
    files: dict[str, tuple[str, object]] = {}
    for name in entry["Layers"] or ():
        with tarfile.open(fileobj=tar.extractfile(_resolve(tar, name)), mode="r:*") as layer:
            _apply(files, layer)
    rootfs = config.pop("rootfs")
    history = [{key: value for key, value in item.items() if key != "created"} for item in config.pop("history", [])]
    for key in _INCIDENTAL:
        config.pop(key, None)
    config["config"] = {key: value for key, value in config["config"].items() if value not in (None, "", False, [], {})}
    for key in ("Hostname", "Domainname", "Image"):
        config["config"].pop(key, None)
    groups: dict[int, list[str]] = defaultdict(list)
    for path, (_, identity) in files.items():
        groups[id(identity)].append(path)
    return {
        "names": entry["RepoTags"],
        "config": config,
        "history": history,
        "layers": len(rootfs["diff_ids"] or ()),
        "diff_ids": rootfs["diff_ids"] or [],
        "files": {path: line for path, (line, _) in sorted(files.items())},
        "links": sorted(sorted(group) for group in groups.values() if len(group) > 1),
    }


def _resolve(tar: tarfile.TarFile, name: str) -> str:
    """docker writes a layer it has already written as a symlink to the first one."""
    member = tar.getmember(name)
    return posixpath.normpath(posixpath.join(posixpath.dirname(name), member.linkname)) if member.issym() else name


def _apply(files: dict[str, tuple[str, object]], layer: tarfile.TarFile) -> None:
    fresh: dict[str, tuple[str, object]] = {}
    gone: list[str] = []
    opaque: list[str] = []
    for member in layer:
        path = member.name.strip("/").removeprefix("./")
        folder, _, base = path.rpartition("/")
        if base == ".wh..wh..opq":
            opaque.append(folder)
        elif base.startswith(".wh."):
            gone.append(f"{folder}/{base[4:]}".lstrip("/"))
        elif path in ("", "."):
            continue
        elif member.islnk():  # a further name of a file of the same layer
            fresh[path] = fresh[member.linkname.strip("/").removeprefix("./")]
        else:
            fresh[path] = (_line(layer, member), object())
    for path in [*gone, *opaque]:
        for known in [name for name in files if name.startswith(f"{path}/") or (name == path and path in gone)]:
            del files[known]
    for path, entry in fresh.items():
        if path in files and files[path][0].startswith("dir ") and not entry[0].startswith("dir "):
            for known in [name for name in files if name.startswith(f"{path}/")]:
                del files[known]
        files[path] = entry


def _line(layer: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    kind = _KINDS[member.type]
    words = [kind]
    if kind != "symlink":  # the mode of a symlink means nothing on Linux
        words.append(f"{member.mode & 0o7777:04o}")
    words.append(f"{member.uid}:{member.gid}")
    if kind == "symlink":
        words.append(f"-> {member.linkname}")
    if kind in ("char", "block"):
        words.append(f"{member.devmajor},{member.devminor}")
    if kind == "file":
        content = layer.extractfile(member)
        assert content is not None
        words += [str(member.size), hashlib.file_digest(content, "sha256").hexdigest()[:_DIGITS]]
    if member.mtime < GIVEN:
        words.append(f"@{int(member.mtime)}")
    for key, value in sorted(member.pax_headers.items()):
        if key.startswith("SCHILY.xattr."):
            words.append(f"{key.removeprefix('SCHILY.xattr.')}={value.encode('utf-8', 'surrogateescape').hex()}")
    return " ".join(words)


def beyond(image: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    """The image as a difference to its base.

    Args:
        image: from :func:`flatten`.
        base: the same of the base; an image that is not made from it is a difference to nothing.

    Returns:
        What was added, changed (``files``) or ``removed``; history and layers without the base's.
    """
    files, links = image["files"], image["links"]
    if image["diff_ids"][: base["layers"]] != base["diff_ids"]:
        base = {"files": {}, "history": [], "layers": 0, "links": []}
    old = base["files"]
    out: dict[str, Any] = {
        "config": image["config"],
        "history": image["history"][len(base["history"]) :],
        "layers": image["layers"] - base["layers"],
        "files": {path: line for path, line in files.items() if old.get(path) != line},
    }
    removed = sorted(set(old) - set(files))
    if removed:
        out["removed"] = removed
    if new := [group for group in links if group not in base["links"]]:
        out["links"] = new
    return out


def differences(ours: dict[str, Any], docker: dict[str, Any]) -> list[str]:
    """Every difference between two descriptions, one line each.

    Args:
        ours: from :func:`beyond`, or an error's description.
        docker: the same of docker's image.
    """
    out = []
    for key in ("config", "layers", "removed", "links"):
        mine, theirs = ours.get(key), docker.get(key)
        if key == "config" and mine is not None and theirs is not None:
            out += [
                f"config: ours {name}={mine.get(name)!r}, docker {theirs.get(name)!r}"
                for name in sorted(set(mine) | set(theirs))
                if mine.get(name) != theirs.get(name)
            ]
        elif mine != theirs:
            out.append(f"{key}: ours {mine!r}, docker {theirs!r}")
    mine, theirs = ours.get("history", []), docker.get("history", [])
    for number in range(max(len(mine), len(theirs))):
        one, two = (side[number] if number < len(side) else None for side in (mine, theirs))
        if one != two:
            out.append(f"history: ours {one}, docker {two}")
    mine, theirs = ours.get("files", {}), docker.get("files", {})
    out += [
        f"{path}: ours {mine.get(path)}, docker {theirs.get(path)}"
        for path in sorted(set(mine) | set(theirs))
        if mine.get(path) != theirs.get(path)
    ]
    return out
