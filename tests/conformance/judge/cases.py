"""A case is a folder: what it holds, and how its context comes to lie on a disk.

``Dockerfile``
    the idea.
``files.json``
    the context, since a checkout keeps neither modes nor hard links: a name and what it is. A text is a file's
    content; a name that ends in ``/`` is a directory; ``../`` leads out of the context, for named contexts, secrets
    and the like. An object may have

    ``text``, ``base64``, ``size`` (bytes of ``fill``), ``at`` (offset to text; the rest are holes)
        the content,
    ``symlink``, ``hardlink``, ``fifo``, ``socket``
        another kind of file,
    ``tar`` (names as here), ``compress`` (``gz``, ``bz2``, ``xz``, ``zst``)
        an archive,
    ``mode``, ``mtime``, ``xattrs`` (name to text); in archives ``uid`` and ``gid``
        what else there is to say of it.
``case.json``
    may be left out; ``words`` for the build command, ``env``, ``context`` (``.``), ``stdin`` (a file),
    ``refused`` (``error``, ``line``, ``says``): what our refusal is, where docker refuses,
    ``hand``: why the expected result was not recorded.
``expected.json``
    docker's result.
"""

from __future__ import annotations

import base64
import bz2
import gzip
import io
import json
import lzma
import os
import socket
import tarfile
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

CASES = Path(__file__).parent.parent / "cases"
#: of every file of a context that does not say otherwise
MTIME = 1_500_000_000


@dataclass(frozen=True)
class Case:
    """One Dockerfile and what is asked of it.

    Attributes:
        name: group and case, ``copy/file-to-file``.
        folder: where it lies.
        words: options of the build command.
        context: the last word of the build command.
        stdin: file, relative to the context, that is standard input.
        env: environment variables of the build command.
        refused: what our refusal is, for what docker refuses.
        hand: why the expected result is written by hand; empty for recorded ones.
    """

    name: str
    folder: Path
    words: tuple[str, ...] = ()
    context: str = "."
    stdin: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    refused: dict[str, Any] | None = None
    hand: str = ""

    @property
    def tag(self) -> str:
        """A name for the image."""
        return "ck-" + self.name.replace("/", "-")

    @property
    def expected(self) -> dict[str, Any]:
        """Docker's result."""
        found: dict[str, Any] = json.loads((self.folder / "expected.json").read_text(encoding="utf-8"))
        return found

    def lay_out(self, folder: Path) -> Path:
        """Make the context.

        Args:
            folder: an empty directory; what the case names with ``../`` lies in it.

        Returns:
            The context directory.
        """
        files: dict[str, Any] = {}
        if (self.folder / "Dockerfile").exists():
            files["Dockerfile"] = {"base64": base64.b64encode((self.folder / "Dockerfile").read_bytes()).decode()}
        if (self.folder / "files.json").exists():
            files |= json.loads((self.folder / "files.json").read_text(encoding="utf-8"))
        # docker keeps the last context of a directory's name and sends the difference, which loses directory times
        context = folder / f"{folder.name}-{self.tag}"
        context.mkdir()
        for name, what in files.items():
            _make(context / name, {"text": what} if isinstance(what, str) else what or {}, is_dir=name.endswith("/"))
        _settle(folder, {os.path.normpath(context / name): what for name, what in files.items()})
        return context


def cases(*patterns: str) -> list[Case]:
    """The cases whose names match.

    Args:
        patterns: shell patterns, ``copy/*``; none for all.
    """
    found = []
    for folder in sorted(path for path in CASES.glob("*/*") if path.is_dir()):
        name = str(folder.relative_to(CASES))
        if not patterns or any(fnmatchcase(name, pattern) for pattern in patterns):
            path = folder / "case.json"
            said = json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
            said["words"] = tuple(said.get("words", ()))
            found.append(Case(name=name, folder=folder, **said))
    return found


def _make(path: Path, what: dict[str, Any], *, is_dir: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if is_dir:
        path.mkdir(exist_ok=True)
    elif "symlink" in what:
        path.symlink_to(what["symlink"])
    elif "hardlink" in what:
        os.link(path.parent / what["hardlink"], path)
    elif "fifo" in what:
        os.mkfifo(path)
    elif "socket" in what:
        # by its directory's descriptor: the path of a socket may not be long
        folder = os.open(path.parent, os.O_PATH)
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(f"/proc/self/fd/{folder}/{path.name}")
        os.close(folder)
    elif "at" in what:
        with path.open("wb") as file:
            for offset, text in what["at"].items():
                file.seek(int(offset))
                file.write(text.encode())
            file.truncate(what["size"])
    else:
        path.write_bytes(_content(what))
    for name, value in what.get("xattrs", {}).items():
        os.setxattr(path, name, value.encode(), follow_symlinks=False)


def _settle(root: Path, said: dict[str, Any]) -> None:
    """Modes and times, from the leaves to the root: making a file changes the time of its directory."""
    for folder, _, names in os.walk(root, topdown=False):
        for path in [*(os.path.join(folder, name) for name in names), folder]:
            what = said.get(path)
            what = what if isinstance(what, dict) else {}
            if not os.path.islink(path) and "hardlink" not in what:
                os.chmod(path, int(what.get("mode", "0755" if path == folder else "0644"), 8))
            mtime = what.get("mtime", MTIME)
            if "hardlink" not in what:
                os.utime(path, (mtime, mtime), follow_symlinks=False)
        for name in os.listdir(folder):
            link = os.path.join(folder, name)
            if os.path.islink(link) and os.path.isdir(link):  # os.walk counts these among the directories
                os.utime(link, (MTIME, MTIME), follow_symlinks=False)


def _content(what: dict[str, Any]) -> bytes:
    if "base64" in what:
        return base64.b64decode(what["base64"])
    if "size" in what:
        fill = what.get("fill", "0").encode()
        return (fill * (what["size"] // len(fill) + 1))[: what["size"]]
    if "tar" in what:
        return _compressed(_tar(what["tar"]), what.get("compress"))
    return str(what.get("text", "")).encode("utf-8", "surrogateescape")


def _tar(files: dict[str, Any]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, value in files.items():
            what = {"text": value} if isinstance(value, str) else value or {}
            info = tarfile.TarInfo(name.rstrip("/") if name != "./" else "./")
            info.mtime, info.uid, info.gid = what.get("mtime", MTIME), what.get("uid", 0), what.get("gid", 0)
            info.mode = int(what.get("mode", "0755" if name.endswith("/") else "0644"), 8)
            info.pax_headers = {f"SCHILY.xattr.{key}": text for key, text in what.get("xattrs", {}).items()}
            data = b""
            if name.endswith("/"):
                info.type = tarfile.DIRTYPE
            elif "symlink" in what:
                info.type, info.linkname, info.mode = tarfile.SYMTYPE, what["symlink"], 0o777
            elif "hardlink" in what:
                info.type, info.linkname = tarfile.LNKTYPE, what["hardlink"]
            elif "fifo" in what:
                info.type = tarfile.FIFOTYPE
            elif "device" in what:
                info.type, info.devmajor, info.devminor = tarfile.CHRTYPE, *what["device"]
            else:
                data = _content(what)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return out.getvalue()


def _compressed(data: bytes, how: str | None) -> bytes:
    match how:
        case None:
            return data
        case "gz":
            return gzip.compress(data, mtime=0)
        case "bz2":
            return bz2.compress(data)
        case "xz":
            return lzma.compress(data)
        case "zst":
            import zstandard

            return zstandard.compress(data)
        case other:
            raise ValueError(f"no compression {other!r}")
